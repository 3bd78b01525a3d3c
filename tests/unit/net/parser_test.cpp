// The request parser against every line of tests/fixtures/hostile/http_parser.txt, whole and in pieces.
#include "core/net/request_parser.hpp"

#include <fstream>
#include <random>

#include <gtest/gtest.h>

namespace via::net {
namespace {

struct Case {
  std::string id, raw, expected;
};

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      const char c = text[++i];
      if (c == 'r') out += '\r';
      else if (c == 'n') out += '\n';
      else if (c == 't') out += '\t';
      else if (c == 'x') {
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
        i += 2;
      } else out += c;
      continue;
    }
    if (text.substr(i).starts_with("{{")) {
      const auto star = text.find('*', i);
      const auto end = text.find("}}", star);
      const int times = std::stoi(std::string(text.substr(i + 2, star - i - 2)));
      const std::string part = unescape(text.substr(star + 1, end - star - 1));
      for (int n = 0; n < times; ++n) out += part;
      i = end + 1;
      continue;
    }
    out += text[i];
  }
  return out;
}

std::vector<Case> cases() {
  std::ifstream in(VIA_HOSTILE "/http_parser.txt");
  std::vector<Case> out;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto first = line.find(" | `");
    const auto last = line.rfind("` | ");
    out.push_back({line.substr(0, first), unescape(line.substr(first + 4, last - first - 4)), line.substr(last + 4)});
  }
  return out;
}

// What the handlers would see, as text: one record for each request, then what stopped the reading.
struct Reader {
  Limits limits;
  Buffer in;
  RequestParser parser{limits};
  std::string seen;
  bool bad = false;

  void feed(std::string_view bytes) {
    in.append(bytes);
    while (!bad && !in.empty()) {
      const auto state = parser.parse(in);
      if (state == RequestParser::State::bad) {
        bad = true;
        note(std::string(info(parser.error().code).name));
      } else if (state == RequestParser::State::ready) {
        note("ready");
        requests.push_back(text(parser.request()));
        in.consume(parser.size());
        parser.reset();
      } else {
        return;
      }
    }
  }
  void note(const std::string& what) { seen += (seen.empty() ? "" : "+") + what; }
  std::string verdict() const { return !bad && !in.empty() ? (seen.empty() ? "wait" : seen + "+wait") : seen; }
  static std::string text(const Request& r) {
    std::string out = std::to_string(static_cast<int>(r.method)) + ' ' + std::string(r.path) + '?' + std::string(r.query) +
                      (r.http_1_1 ? " 1.1 " : " 1.0 ") + (r.keep_alive ? "keep " : "close ");
    for (const auto& [name, value] : r.fields) out += std::string(name) + '=' + std::string(value) + ';';
    out.append(r.authorization).append("|").append(r.content_type).append("|").append(r.generation).append("|");
    return out + std::string(r.body);
  }
  std::vector<std::string> requests;
};

bool allowed(std::string_view verdict, std::string_view expected) {
  for (std::size_t at = 0; at <= expected.size();) {
    const auto end = std::min(expected.find(',', at), expected.size());
    if (expected.substr(at, end - at) == verdict) return true;
    at = end + 1;
  }
  return false;
}

TEST(RequestParser, EveryLineOfTheHostileListIsAnsweredAsListed) {
  const auto all = cases();
  ASSERT_GT(all.size(), 110U);
  for (const Case& c : all) {
    Reader reader;
    reader.feed(c.raw);
    EXPECT_TRUE(allowed(reader.verdict(), c.expected)) << c.id << ": " << reader.verdict() << ", not " << c.expected;
  }
}

TEST(RequestParser, TheAnswerDoesNotDependOnHowTheBytesArrive) {
  std::mt19937 random(1);  // NOLINT: repeatable
  for (const Case& c : cases()) {
    Reader whole;
    whole.feed(c.raw);
    Reader bytes;
    for (const char b : c.raw) bytes.feed({&b, 1});
    EXPECT_EQ(bytes.verdict(), whole.verdict()) << c.id << " byte by byte";
    EXPECT_EQ(bytes.requests, whole.requests) << c.id << " byte by byte";
    for (int round = 0; round < 20; ++round) {
      Reader pieces;
      for (std::size_t at = 0; at < c.raw.size();) {
        const std::size_t n = std::min<std::size_t>(c.raw.size() - at, 1 + random() % 40);
        pieces.feed(std::string_view(c.raw).substr(at, n));
        at += n;
      }
      ASSERT_EQ(pieces.verdict(), whole.verdict()) << c.id << " in pieces";
      ASSERT_EQ(pieces.requests, whole.requests) << c.id << " in pieces";
    }
  }
}

TEST(RequestParser, AFoldedLineThatArrivesAfterItsFirstPartIsRefused) {
  Reader reader;
  reader.feed("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer x\r\n");
  reader.feed(" y\r\n\r\n");
  EXPECT_EQ(reader.verdict(), "bad_request");
}

TEST(RequestParser, ViewsFollowTheBufferWhenItMoves) {
  const std::string body(300'000, 'b');
  Reader reader;
  reader.feed("POST /p?q=1 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer tok\r\nContent-Length: 300000\r\n\r\n");
  for (std::size_t at = 0; at < body.size(); at += 1000) {
    // A buffer of another place, as after a growth that had to move.
    Buffer moved;
    moved.append(reader.in.view());
    reader.in = std::move(moved);
    reader.feed(std::string_view(body).substr(at, 1000));
  }
  ASSERT_EQ(reader.requests.size(), 1U);
  EXPECT_EQ(reader.requests[0], "2 /p?q=1 1.1 keep Host=a;Authorization=Bearer tok;Content-Length=300000;Bearer tok|||" + body);
}

TEST(RequestParser, ChunksAreJoinedInPlaceWhereverTheyAreCut) {
  std::string raw = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  std::string body;
  std::mt19937 random(7);  // NOLINT: repeatable
  for (int i = 0; i < 400; ++i) {
    const std::string part(1 + random() % 700, static_cast<char>('a' + i % 26));
    char size[40];
    std::snprintf(size, sizeof size, i % 3 == 0 ? "%zx;ext=\"v\"\r\n" : "%zX\r\n", part.size());
    raw += size + part + "\r\n";
    body += part;
  }
  raw += "0\r\n\r\n";
  for (const std::size_t step : {1UL, 7UL, 1000UL, raw.size()}) {
    Reader reader;
    const std::string next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    const std::string both = raw + next;
    for (std::size_t at = 0; at < both.size(); at += step) reader.feed(std::string_view(both).substr(at, step));
    ASSERT_EQ(reader.requests.size(), 2U) << step;
    EXPECT_TRUE(reader.requests[0].ends_with("|" + body)) << step;
    EXPECT_TRUE(reader.in.empty());
  }
}

TEST(RequestParser, TinyChunksWithLongHeadersDoNotFillTheMemory) {
  Reader reader;
  reader.feed("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "1;" + std::string(290, 'e') + "\r\nx\r\n";
  std::size_t most = 0;
  for (int i = 0; i < 20'000; ++i) {
    reader.feed(chunk);
    most = std::max(most, reader.in.capacity());
  }
  EXPECT_LT(most, 2U << 20);
  reader.feed("0\r\n\r\n");
  ASSERT_EQ(reader.requests.size(), 1U);
  EXPECT_TRUE(reader.requests[0].ends_with("|" + std::string(20'000, 'x')));
}

TEST(RequestParser, ABodyOfExactlyTheLimitIsTakenAndOneByteMoreIsNot) {
  for (const bool chunked : {false, true})
    for (const std::size_t over : {0UL, 1UL}) {
      Reader reader;
      reader.limits.max_body_bytes = 5000;
      const std::string body(5000 + over, 'x');
      char size[32];
      std::snprintf(size, sizeof size, chunked ? "%zx\r\n" : "%zu", body.size());
      reader.feed(chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + std::string(size) + body +
                                "\r\n0\r\n\r\n"
                          : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::string(size) + "\r\n\r\n" + body);
      EXPECT_EQ(reader.verdict(), over ? "body_too_large" : "ready") << chunked;
    }
}

TEST(RequestParser, KeepAliveFollowsTheVersionAndTheConnectionField) {
  const auto keeps = [](std::string_view version, std::string_view connection) {
    Reader reader;
    reader.feed("GET / " + std::string(version) + "\r\nHost: a\r\n" + std::string(connection) + "\r\n");
    return reader.requests.at(0).find(" keep ") != std::string::npos;
  };
  EXPECT_TRUE(keeps("HTTP/1.1", ""));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.1", "Connection: Upgrade, CLOSE\r\n"));
  EXPECT_FALSE(keeps("HTTP/1.0", ""));
  EXPECT_TRUE(keeps("HTTP/1.0", "Connection: keep-alive\r\n"));
}

TEST(Request, TheBearerSchemeIsReadInAnyCaseAndOthersAreNot) {
  Request r;
  r.authorization = "bEARER abc";
  EXPECT_EQ(r.bearer(), "abc");
  for (const char* other : {"", "Bearer", "Bearer ", "Basic abc", "Bearerabc"}) {
    r.authorization = other;
    EXPECT_EQ(r.bearer(), "") << other;
  }
}

}  // namespace
}  // namespace via::net
