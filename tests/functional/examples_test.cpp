// The worked examples of the data API's reference, run as they are written there, one after the other in one shell, against a
// real `via kit sqlite`.
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <sstream>
#include <utility>
#include <vector>

#include "support/world.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

// The blocks of the document as one script that says where each begins: "@@ example.block".
std::string script_of(const std::string& document, int& blocks) {
  std::istringstream in(document);
  std::string out = "set -eu -o pipefail\n", line;
  int example = 0, block = 0;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line.starts_with("### ")) {
      example = std::stoi(line.substr(4));
      block = 0;
    } else if (line.starts_with("```")) {
      inside = !inside;
      if (inside) out += "echo; echo '@@ " + std::to_string(example) + "." + std::to_string(++block) + "'\n", ++blocks;
    } else if (inside) {
      out += line + "\n";
    }
  }
  return out;
}

std::map<std::string, std::string> parts_of(const std::string& output) {
  std::map<std::string, std::string> out;
  std::istringstream in(output);
  std::string line, name;
  while (std::getline(in, line)) {
    if (line.starts_with("@@ ")) name = line.substr(3);
    else if (!line.empty()) out[name] += line + "\n";
  }
  return out;
}

TEST(WorkedExamples, RunAsTheyAreWritten) {
  HostProcess kit;
  kit.kit = std::vector<std::string>{"--allow-any-absolute-db-path"};
  ASSERT_TRUE(kit.start()) << kit.log();
  TemporaryFolder home;
  std::ofstream(home.path() / "targets.toml") << "[containers.dev]\nurl = \"http://127.0.0.1:" << kit.port() << "\"\n";
  ::chmod((home.path() / "targets.toml").c_str(), 0600);
  int blocks = 0;
  const std::string script = script_of(text_of(VIA_WORKED_EXAMPLES), blocks);
  ASSERT_EQ(blocks, 30);
  std::ofstream(home.path() / "script") << script << "echo \"@@ database\"; echo \"$DB\"\n";
  const Finished run = run_program({"/bin/bash", (home.path() / "script").string()},
                                   {{"PATH", fs::path(VIA_BINARY).parent_path().string() + ":/usr/bin:/bin"},
                                    {"HOME", home.path().string()},
                                    {"VARY_TARGETS", (home.path() / "targets.toml").string()},
                                    {"C", "dev"},
                                    {"P", "project"},
                                    {"N", "server"}});
  ASSERT_EQ(run.exit_code, 0) << run.out << run.err;
  auto said = parts_of(run.out);
  const auto expect = [&](const std::string& step, const std::string& text) {
    EXPECT_NE(said[step].find(text), std::string::npos) << step << " says " << said[step] << " and not " << text;
  };
  expect("1.1", "created: true");
  expect("1.2", "Item 2: 1 rows changed");
  expect("1.3", "Ada");
  expect("1.3", "ada@example.com");
  expect("2.1", "success: true");
  expect("2.3", "deleted: true");
  expect("3.2", "success: true");
  expect("3.3", "CAS rejected as expected");
  EXPECT_NE(run.err.find("Value mismatch for CAS"), std::string::npos) << run.err;
  expect("4.1", "value: 1");
  expect("4.2", "value: 11");
  expect("4.3", "8\n");
  EXPECT_EQ(said["5.2"], "dark\n");
  expect("6.2", "set");
  EXPECT_NE(said["6.3"].find("false"), std::string::npos) << said["6.3"];
  EXPECT_EQ(said["6.3"].find("true\nvoice"), std::string::npos);
  expect("7.1", "\"chat\":false");
  expect("7.3", "cmp-test");
  expect("7.3", "created");
  expect("8.1", "count: 3");
  expect("8.2", "u:404");
  expect("8.2", "alice");
  expect("8.3", "deleted: 3");
  expect("9.1", "Ada");
  expect("9.3", "/api/v1/sqlite/query?db=/tmp/sqlite-examples-");
  expect("10.1", "3 rows changed by 3 runs");
  expect("10.2", "4");
  expect("10.3", "deleted: true");
  const std::string database = said["database"].substr(0, said["database"].find('\n'));
  for (const char* suffix : {"", "-wal", "-shm"}) EXPECT_FALSE(fs::exists(database + suffix)) << database << suffix;
  EXPECT_FALSE(fs::exists(fs::path(database).parent_path() / ("." + fs::path(database).filename().string() + ".history")));
  EXPECT_EQ(kit.stop(), 0);
}

// docs/data-api-examples.md: each block of commands prints exactly the text block behind it.
TEST(WorkedExamples, SayByCurlWhatThePageSaysTheySay) {
  HostProcess kit;
  kit.kit.emplace();
  ASSERT_TRUE(kit.start()) << kit.log();
  std::istringstream page(text_of(VIA_CURL_EXAMPLES));
  std::string script = "set -eu -o pipefail\n", line, kind, expected;
  std::vector<std::string> wanted;
  while (std::getline(page, line)) {
    if (!line.starts_with("```")) {
      if (kind == "bash") script += line + "\n";
      if (kind == "text") expected += line + "\n";
    } else if (kind.empty()) {
      kind = line.substr(3);
      if (kind == "bash") script += "echo '@@ " + std::to_string(wanted.size()) + "'\n";
    } else {
      if (kind == "text") wanted.push_back(std::exchange(expected, {}));
      kind.clear();
    }
  }
  ASSERT_EQ(wanted.size(), 30U);
  TemporaryFolder home;
  std::ofstream(home.path() / "script") << script;
  const Finished run = run_program({"/bin/bash", (home.path() / "script").string()},
                                   {{"PATH", "/usr/bin:/bin"}, {"HOME", home.path().string()},
                                    {"KIT", "http://127.0.0.1:" + std::to_string(kit.port()) + "/api/v1/sqlite"}});
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  auto said = parts_of(run.out);
  for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_EQ(said[std::to_string(i)], wanted[i]) << "block " << i;
  EXPECT_EQ(kit.stop(), 0);
}

}  // namespace
}  // namespace via::test
