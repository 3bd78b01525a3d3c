// Every line of tests/fixtures/hostile/http.txt against the real listener, each on a connection of its own.
#include <algorithm>

#include "functional/table.hpp"
#include "support/world.hpp"

namespace via::test {
namespace {

std::string unescaped(const std::string& escaped) {
  const std::string text = expanded(escaped);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    switch (text[++i]) {
      case 'r':
        out += '\r';
        break;
      case 'n':
        out += '\n';
        break;
      case 't':
        out += '\t';
        break;
      case 'x':
        out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
        i += 2;
        break;
      default:
        out += text[i];
    }
  }
  return out;
}

class HostileHttp : public World {};

TEST_F(HostileHttp, EveryLineOfTheListIsAnsweredAsListed) {
  int lines = 0;
  for (const auto& columns : table(VIA_FIXTURES "/hostile/http.txt")) {
    ASSERT_EQ(columns.size(), 4U) << columns[0];
    SCOPED_TRACE(columns[0] + ": " + columns[1].substr(0, 120));
    const std::string request = unescaped(columns[1]);
    Http http(host.port());
    ASSERT_TRUE(http.connected());
    (void)http.send(request);
    bool head = request.starts_with("HEAD");
    Response last;
    for (const std::string& allowed : split(columns[2], ",")) {
      const auto answer = http.read(20'000, std::exchange(head, false));
      ASSERT_TRUE(answer) << "no answer";
      last = *answer;
      const auto statuses = split(allowed, "/");
      EXPECT_NE(std::find(statuses.begin(), statuses.end(), std::to_string(last.status)), statuses.end())
          << last.status << " " << last.body;
      EXPECT_FALSE(last.cut);
      EXPECT_EQ(last.body.find("smug"), std::string::npos) << "nothing of the request is in the answer";
    }
    if (columns[3] == "close") {
      EXPECT_TRUE(last.closes());
      EXPECT_TRUE(http.ends(20'000)) << "the connection ends and nothing more is answered";
    } else {
      // Whether it is kept or not: what was sent behind the request has not been taken for another one.
      (void)http.send("GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
      const auto next = http.read(20'000);
      if (columns[3] == "keep") {
        ASSERT_TRUE(next);
      }
      if (next) {
        EXPECT_EQ(next->status, 200);
        EXPECT_EQ(next->body, "ok\n");
      }
    }
    if (last.status >= 400) {
      EXPECT_FALSE(last.code().empty()) << last.body;
    }
    ++lines;
  }
  EXPECT_GE(lines, 110);
  EXPECT_TRUE(host.running());
  EXPECT_EQ(Http(host.port()).call("GET", "/health").status, 200);
}

TEST_F(HostileHttp, RefusalsAreTheSameWhenTheBytesComeOneByOne) {
  for (const auto& columns : table(VIA_FIXTURES "/hostile/http.txt")) {
    if (columns[3] != "close" || columns[2].find(',') != std::string::npos ||
        columns[1].find("{{") != std::string::npos)
      continue;
    SCOPED_TRACE(columns[0]);
    Http http(host.port());
    for (const char c : unescaped(columns[1]))
      if (!http.send({&c, 1})) break;
    const auto answer = http.read();
    ASSERT_TRUE(answer);
    EXPECT_NE(columns[2].find(std::to_string(answer->status)), std::string::npos) << answer->status;
    EXPECT_TRUE(http.ends());
  }
}

}  // namespace
}  // namespace via::test
