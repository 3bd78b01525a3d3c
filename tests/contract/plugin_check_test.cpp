// The checker's own table: sound.c passes every case, and with one fault it fails the cases that faults.txt names, for the
// reason beside them, and no other.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

namespace {

using nlohmann::json;

// Standard output, and the exit code.
std::pair<std::string, int> run(const std::string& arguments) {
  FILE* pipe = ::popen((VIA_PLUGIN_CHECK " " + arguments).c_str(), "r");
  std::string text;
  std::array<char, 4096> piece{};
  while (const std::size_t n = ::fread(piece.data(), 1, piece.size(), pipe)) text.append(piece.data(), n);
  return {text, WEXITSTATUS(::pclose(pipe))};
}

json check(const std::string& fault) {
  const auto [text, code] = run("--json --timeout-ms 60000 --patience-ms 1500 " VIA_BROKEN_PLUGINS "/" + fault);
  json out = json::parse(text, nullptr, false);
  if (out.is_discarded()) ADD_FAILURE() << "the checker gave no JSON: " << text;
  EXPECT_EQ(code, out.value("ok", false) ? 0 : 1);
  return out;
}

// fault -> case -> part of the reason
const std::map<std::string, std::map<std::string, std::string>>& faults() {
  static const auto all = [] {
    std::map<std::string, std::map<std::string, std::string>> out;
    std::ifstream in(VIA_FAULTS);
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line[0] == '#') continue;
      std::istringstream words(line);
      std::string fault, name, reason;
      words >> fault >> name;
      std::getline(words >> std::ws, reason);
      out[fault][name] = reason;
    }
    return out;
  }();
  return all;
}

TEST(PluginCheck, ASoundPluginPassesEveryCase) {
  const json result = check("none");
  EXPECT_EQ(result["failed"], 0) << result.dump(2);
  EXPECT_EQ(result["skipped"], 0) << result.dump(2);
}

TEST(PluginCheck, EveryCaseHasAFaultThatFailsIt) {
  const json result = check("none");
  for (const json& one : result["cases"]) {
    bool found = false;
    for (const auto& [fault, cases] : faults()) found = found || cases.contains(one["case"]);
    EXPECT_TRUE(found) << one["case"] << " is in no line of faults.txt";
  }
}

constexpr const char* kOne = "--only contract.open_again ";
constexpr const char* kSound = " " VIA_BROKEN_PLUGINS "/none";

TEST(PluginCheck, AFullDiskSaysHowItWasFull) {
  const auto [text, code] = run(std::string("--json --only storage.full_disk") + kSound);
  EXPECT_EQ(code, 0) << text;
  const json result = json::parse(text, nullptr, false);
  const std::string how = result["cases"].at(0).value("reason", "");
  EXPECT_TRUE(how.find("on a full filesystem") == 0 || how.find("with a limit on the size of files") == 0) << how;
}

TEST(PluginCheck, SettingsComeFromAFileOrTheCommandLineAndAreFilledInFromTheEnvironment) {
  const std::string file = ::testing::TempDir() + "/via-settings.json";
  std::ofstream(file) << R"({"servers": [{"mode": "a ${VIA_CHECK_TEST_MODE}"}]})";
  ASSERT_EQ(::setenv("VIA_CHECK_TEST_MODE", "\"refuse\"", 1), 0);
  EXPECT_EQ(run(kOne + ("--settings " + file) + kSound).second, 0) << "the quotes are escaped, so the plugin sees another word";
  std::ofstream(file) << R"({"mode": "${VIA_CHECK_TEST_MODE}"})";
  ASSERT_EQ(::setenv("VIA_CHECK_TEST_MODE", "refuse", 1), 0);
  const auto [text, code] = run(kOne + ("--settings " + file) + kSound);
  EXPECT_EQ(code, 1);
  EXPECT_NE(text.find("the settings refuse"), std::string::npos) << text;
  EXPECT_EQ(run(kOne + std::string(R"(--settings '{"mode": "refuse"}')") + kSound).second, 1);
  ::unsetenv("VIA_CHECK_TEST_MODE");
  const auto [unset, wrong] = run(kOne + ("--settings " + file) + kSound + " 2>&1");
  EXPECT_EQ(wrong, 3);
  EXPECT_NE(unset.find("VIA_CHECK_TEST_MODE"), std::string::npos) << unset;
  EXPECT_EQ(run(kOne + std::string("--settings /nowhere") + kSound + " 2>&1").second, 3);
}

class BrokenPlugin : public ::testing::TestWithParam<std::string> {};

TEST_P(BrokenPlugin, FailsForTheRightReason) {
  const auto& wanted = faults().at(GetParam());
  const json result = check(GetParam());
  for (const json& one : result["cases"]) {
    const auto line = wanted.find(one["case"]);
    if (one["result"] == "failed") {
      const auto& reason = line != wanted.end() ? line->second : wanted.contains("*") ? wanted.at("*") : "";
      EXPECT_FALSE(reason.empty()) << one["case"] << " fails too: " << one["reason"];
      EXPECT_NE(one["reason"].get<std::string>().find(reason), std::string::npos) << one["case"] << ": " << one["reason"];
    } else {
      EXPECT_EQ(line, wanted.end()) << one["case"] << " does not find it: " << one["result"] << " " << one["reason"];
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const auto& [fault, cases] : faults()) out.push_back(fault);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Faults, BrokenPlugin, ::testing::ValuesIn(names()), [](const auto& fault) { return fault.param; });

}  // namespace
