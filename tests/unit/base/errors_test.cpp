// The closed list of codes, its page in docs/errors.md, and the error body.
#include "core/base/error.hpp"

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace via {
namespace {

constexpr std::size_t kCodes = static_cast<std::size_t>(Code::version_not_supported) + 1;

std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out;
  std::istringstream in(line.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) {
    const auto first = cell.find_first_not_of(" `");
    const auto last = cell.find_last_not_of(" `");
    out.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return out;
}

// Rows of a section of docs/errors.md by the code in their first cell.
std::map<std::string, std::vector<std::string>> rows(const std::string& section) {
  std::ifstream in(VIA_DOCS "/errors.md");
  std::map<std::string, std::vector<std::string>> out;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("## ")) inside = line == "## " + section;
    if (inside && line.starts_with("| `")) {
      auto row = cells(line);
      EXPECT_TRUE(out.emplace(row[0], row).second) << row[0] << " stands twice";
    }
  }
  return out;
}

TEST(ErrorTable, EveryCodeIsInTheDocumentWithItsStatusAndExitCode) {
  auto documented = rows("Codes");
  for (std::size_t i = 0; i < kCodes; ++i) {
    const CodeInfo& code = info(static_cast<Code>(i));
    const auto row = documented.find(std::string(code.name));
    ASSERT_NE(row, documented.end()) << code.name << " is not in docs/errors.md";
    ASSERT_GE(row->second.size(), 5U) << code.name;
    EXPECT_EQ(row->second[1], std::to_string(code.http_status)) << code.name;
    EXPECT_EQ(row->second[2], std::to_string(code.exit_code)) << code.name;
    EXPECT_FALSE(row->second[3].empty()) << code.name << " has no meaning";
    EXPECT_FALSE(row->second[4].empty()) << code.name << " does not say what to do";
    documented.erase(row);
  }
  for (const auto& [name, row] : documented) ADD_FAILURE() << name << " is documented and does not exist";
}

TEST(ErrorTable, NamesAreUniqueAndStatusesAreThoseOfErrors) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < kCodes; ++i) {
    const CodeInfo& code = info(static_cast<Code>(i));
    EXPECT_TRUE(names.insert(code.name).second) << code.name;
    EXPECT_GE(code.http_status, 400) << code.name;
    EXPECT_LE(code.http_status, 599) << code.name;
    EXPECT_GE(code.exit_code, 1) << code.name;
    EXPECT_LE(code.exit_code, 6) << code.name;
    for (const char c : code.name) EXPECT_TRUE((c >= 'a' && c <= 'z') || c == '_') << code.name;
  }
}

// The codes that a plugin puts in its own details, and their statuses.
TEST(ErrorTable, EveryCodeOfTheSqlitePluginIsInTheDocument) {
  const auto plugin = rows("Codes of the SQLite plugin");
  const auto core = rows("Codes");
  EXPECT_GT(plugin.size(), 5U);
  const std::string folder = VIA_DOCS "/../plugins/sqlite/";
  for (const char* file : {"errors.cpp", "connection.cpp", "database.cpp", "instance.cpp", "request.cpp", "storage.cpp",
                           "writer.cpp", "render.cpp", "run.cpp"}) {
    std::ifstream in(folder + file);
    std::stringstream text;
    text << in.rdbuf();
    const std::string source = text.str();
    for (std::size_t at = 0; (at = source.find("VIA_E_", at)) != std::string::npos; ++at) {
      const auto comma = source.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", at + 6);
      if (comma == std::string::npos || source.compare(comma, 3, ", \"") != 0) continue;
      const std::string code = source.substr(comma + 3, source.find('"', comma + 3) - comma - 3);
      EXPECT_TRUE(code.empty() || plugin.contains(code) || core.contains(code)) << file << " uses " << code;
    }
  }
}

TEST(ErrorBody, IsJsonWithEverythingAndHidesWhatIsInternal) {
  const Error wrong{Code::bad_request, "say \"what\"\n\xff", "\"sqlite_code\":1", "sql_error"};
  const auto body = nlohmann::json::parse(error_body(wrong, "req_1"))["error"];
  EXPECT_EQ(body["code"], "sql_error");
  EXPECT_EQ(body["message"], "say \"what\"\n\xEF\xBF\xBD");
  EXPECT_EQ(body["request_id"], "req_1");
  EXPECT_EQ(body["sqlite_code"], 1);
  const auto hidden = nlohmann::json::parse(error_body(fail(Code::internal, "/secret/path"), "req_2"))["error"];
  EXPECT_EQ(hidden["code"], "internal");
  EXPECT_EQ(hidden["message"], std::string(kInternalMessage));
}

TEST(Result, AFailureUsedAsAValueSaysSo) {
  const Result<int> failed = fail(Code::conflict, "taken");
  EXPECT_THROW((void)failed.value(), std::logic_error);
  EXPECT_EQ(failed.error().exit_code(), 4);
}

}  // namespace
}  // namespace via
