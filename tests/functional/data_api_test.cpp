// The data API's reference, line by line, against a real `via kit sqlite`: data/data_api.txt has the requests and the answers.
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "support/world.hpp"

namespace via::test {
namespace {

std::string trimmed(const std::string& text) {
  const auto from = text.find_first_not_of(' ');
  return from == std::string::npos ? std::string() : text.substr(from, text.find_last_not_of(' ') - from + 1);
}

// "{3*x}" is "xxx", "{3*x,}" is "x,x,x"; braces may be part of x.
std::string expanded(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    char* end = nullptr;
    const long n = text[at] == '{' ? std::strtol(text.c_str() + at + 1, &end, 10) : 0;
    if (n <= 0 || *end != '*') {
      out += text[at];
      continue;
    }
    std::size_t last = static_cast<std::size_t>(end - text.c_str()) + 1;
    const std::size_t begin = last;
    for (int depth = 1; depth > 0; ++last) depth += text.at(last) == '{' ? 1 : text.at(last) == '}' ? -1 : 0;
    std::string unit = text.substr(begin, last - begin - 1);
    const bool listed = unit.ends_with(',');
    if (listed) unit.pop_back();
    for (long i = 0; i < n; ++i) {
      if (listed && i > 0) out += ',';
      out += unit;
    }
    at = last - 1;
  }
  return out;
}

struct Line {
  int number = 0;
  std::string method, target, body, type, answer;
  int status = 0;
};

std::vector<Line> lines_of(const std::string& file) {
  std::vector<Line> out;
  std::ifstream in(file);
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    if (text.empty() || text.starts_with('#')) continue;
    std::vector<std::string> fields;
    for (std::size_t from = 0; fields.size() < 3;) {
      const auto bar = text.find(" |", from);
      fields.push_back(trimmed(text.substr(from, bar - from)));
      from = bar + 2;
      if (fields.size() == 3) fields.push_back(from < text.size() ? text.substr(std::min(from + 1, text.size())) : "");
    }
    Line line{number, {}, {}, expanded(fields[1]), {}, fields[3], std::stoi(fields[2])};
    line.method = fields[0].substr(0, fields[0].find(' '));
    line.target = expanded(fields[0].substr(fields[0].find(' ') + 1));
    if (line.body.starts_with('@')) {
      line.type = line.body.substr(1, line.body.find(' ') - 1);
      line.body = line.body.substr(line.body.find(' ') + 1);
    }
    out.push_back(std::move(line));
  }
  return out;
}

TEST(DataApi, AnswersEachRequestOfTheReferenceExactly) {
  HostProcess kit;
  kit.kit.emplace();
  ASSERT_TRUE(kit.start()) << kit.log();
  const auto lines = lines_of(VIA_DATA_API_LINES);
  ASSERT_GT(lines.size(), 150U);
  Http http(kit.port());
  for (const Line& line : lines) {
    std::vector<std::pair<std::string, std::string>> headers;
    if (!line.type.empty()) headers.emplace_back("Content-Type", line.type);
    std::string request = Http::format(line.method, "/api/v1/sqlite" + line.target, line.body, headers);
    request.replace(request.find("Host: via"), 9, "Host: localhost");
    if (!http.connected() || !http.send(request)) {
      http = Http(kit.port());
      ASSERT_TRUE(http.send(request));
    }
    const Response answer = http.read(30'000, line.method == "HEAD").value_or(Response{});
    SCOPED_TRACE("line " + std::to_string(line.number) + ": " + line.method + " " + line.target.substr(0, 120));
    EXPECT_EQ(answer.status, line.status) << answer.body.substr(0, 400);
    const std::string wanted = line.answer.size() > 2 ? line.answer.substr(2) : "";
    if (line.answer.starts_with('=')) {
      EXPECT_EQ(answer.body, wanted);
    } else if (line.answer.starts_with('~')) {
      EXPECT_NE(answer.body.find(wanted), std::string::npos) << wanted << " is not in " << answer.body.substr(0, 400);
    }
    if (answer.closes()) http = Http(kit.port());
  }
  EXPECT_EQ(kit.stop(), 0);
}

}  // namespace
}  // namespace via::test
