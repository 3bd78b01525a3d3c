// Large answers of add-ons are compressed for clients that take it, and nothing else is.
#include <sys/socket.h>

#include <algorithm>

#include "functional/routes.hpp"
#include "support/decoded.hpp"

namespace via::test {
namespace {

class Compression : public World {
 protected:
  void SetUp() override { start_with("[limits]\ncompression = \"on\"\n"); }
  void start_with(const std::string& toml) {
    if (host.running()) host.stop();
    host.configure(toml);
    ASSERT_TRUE(host.start()) << host.log();
    if (!api.token.empty()) return;
    api = app_with_database("api", false, {{"max_rows", 1'000'000}, {"max_result_bytes", 200 << 20}});
  }
  static std::string rows(int n, int width) {
    return "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT " + std::to_string(n) + ") SELECT x, hex(randomblob(4)), printf('%.*c', " +
           std::to_string(width) + ", 'r') FROM c";
  }
  using Fields = std::vector<std::pair<std::string, std::string>>;
  Response query(const std::string& sql, Fields fields) {
    fields.emplace_back("Authorization", "Bearer " + api.token);
    return Http(host.port()).call("POST", operation_path("query"), json{{"sql", sql}}.dump(), fields);
  }
  Response data(const std::string& method, const std::string& target, const std::string& body, Fields fields) {
    fields.emplace_back("Authorization", "Bearer " + api.token);
    Http http(host.port());
    http.send(Http::format(method, "/v1/runtime/addons/DATABASE/http/api/v1/sqlite" + target, body, fields));
    return http.read(30'000, method == "HEAD").value_or(Response{});
  }
  Runtime api;
};

TEST_F(Compression, OfAResultIsTheCodingThatTheClientAsksFor) {
  const std::string sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 9000) SELECT x, 'some text' FROM c";
  const Response plain = query(sql, {});
  ASSERT_EQ(plain.status, 200);
  EXPECT_EQ(plain.header("Content-Encoding"), "");
  EXPECT_EQ(plain.header("Vary"), "Accept-Encoding") << "a cache must know that there are others";
  const std::pair<const char*, const char*> rows[] = {{"gzip", "gzip"}, {"zstd", "zstd"}, {"gzip, deflate, br, zstd", "zstd"}, {"gzip;q=0", ""}, {"gzip;q=0, *;q=0", ""},
                                                      {"identity, gzip;q=0.1", ""}, {"br", ""}, {"*", "gzip"}};
  for (const auto& [asked, got] : rows) {
    SCOPED_TRACE(asked);
    const Response answer = query(sql, {{"Accept-Encoding", asked}});
    ASSERT_EQ(answer.status, 200);
    EXPECT_EQ(answer.header("Content-Encoding"), got);
    EXPECT_EQ(answer.header("Content-Type"), "application/json");
    EXPECT_EQ(answer.header("Vary"), "Accept-Encoding");
    EXPECT_EQ(answer.count("Content-Length"), 1);
    EXPECT_TRUE(decoded(got, answer.body) == plain.body);
    if (*got != '\0') {
      EXPECT_LT(answer.body.size(), plain.body.size() / 3);
    }
  }
}

TEST_F(Compression, OfEverySizeReadsBackAndStreamsAreWhole) {
  for (const int n : {60, 130, 400, 5'000, 40'000}) {  // 5 KB … 16 MB: at once, by a worker, as a stream
    for (const char* accept : {"application/json", "application/x-ndjson"}) {
      for (const char* coding : {"gzip", "zstd"}) {
        SCOPED_TRACE(std::to_string(n) + " " + accept + " " + coding);
        const Response answer = query(rows(n, 400), {{"Accept-Encoding", coding}, {"Accept", accept}});
        ASSERT_EQ(answer.status, 200);
        EXPECT_FALSE(answer.cut);
        EXPECT_EQ(answer.header("Content-Encoding"), coding);
        const std::string body = decoded(coding, answer.body);
        ASSERT_NE(body, "?");
        if (std::string(accept) == "application/json") {
          EXPECT_EQ(json::parse(body)["rows"].size(), static_cast<std::size_t>(n));
        } else {
          EXPECT_EQ(std::count(body.begin(), body.end(), '\n'), n + 2);
          EXPECT_NE(body.find("{\"row_count\":" + std::to_string(n)), std::string::npos);
        }
      }
    }
  }
}

TEST_F(Compression, AStreamCanBeReadWhileItComes) {
  Http http(host.port());
  ASSERT_TRUE(http.send(Http::format("POST", operation_path("query"), json{{"sql", rows(400'000, 500)}}.dump(),
                                     {{"Authorization", "Bearer " + api.token}, {"Accept", "application/x-ndjson"}, {"Accept-Encoding", "gzip"}})));
  std::string got;
  char buffer[65536];
  std::string body;
  for (int i = 0; i < 100 && body.size() < 100'000; ++i) {
    const ssize_t n = ::recv(http.fd(), buffer, sizeof buffer, 0);
    ASSERT_GT(n, 0);
    got.append(buffer, static_cast<std::size_t>(n));
    const auto head = got.find("\r\n\r\n");
    if (head == std::string::npos) continue;
    std::string coded;
    for (std::size_t at = head + 4; at < got.size();) {  // whole chunks
      const auto line = got.find("\r\n", at);
      if (line == std::string::npos) break;
      const std::size_t size = std::stoul(got.substr(at, line - at), nullptr, 16);
      if (got.size() < line + 2 + size + 2) break;
      coded += got.substr(line + 2, size);
      at = line + 2 + size + 2;
    }
    body = decoded("gzip", coded, false);
    ASSERT_NE(body, "?");
  }
  EXPECT_TRUE(body.starts_with("{\"columns\":")) << body.substr(0, 100);
  EXPECT_GE(body.size(), 100'000U);
}

TEST_F(Compression, HeadSaysWhatGetWouldSend) {
  const std::string text(20'000, 'x'), long_text(300'000, 'y');
  for (const auto& [key, value] : {std::pair{"small", text}, {"large", long_text}}) {
    ASSERT_EQ(data("PUT", std::string("/kv/") + key, value, {}).status, 200);
    for (const char* coding : {"", "gzip"}) {
      SCOPED_TRACE(std::string(key) + " " + coding);
      const Response got = data("GET", std::string("/kv/") + key, "", {{"Accept-Encoding", coding}});
      const Response head = data("HEAD", std::string("/kv/") + key, "", {{"Accept-Encoding", coding}});
      EXPECT_EQ(decoded(got.header("Content-Encoding"), got.body), value);
      EXPECT_EQ(head.status, 200);
      EXPECT_EQ(head.body, "");
      for (const char* field : {"Content-Encoding", "Content-Type", "Vary", "Content-Length", "Transfer-Encoding", "Content-Security-Policy"})
        EXPECT_EQ(head.header(field), got.header(field)) << field;
    }
  }
}

TEST_F(Compression, SmallAnswersSecretsErrorsAndPackedTypesAreSentAsTheyAre) {
  const Fields any{{"Accept-Encoding", "gzip, zstd"}};
  EXPECT_EQ(query("SELECT printf('%.*c', 4000, 'x')", any).header("Content-Encoding"), "");
  EXPECT_EQ(query("SELECT printf('%.*c', 4096, 'x')", any).header("Content-Encoding"), "zstd");
  EXPECT_EQ(query("SELECT nope", any).header("Content-Encoding"), "");
  ASSERT_EQ(data("PUT", "/kv/png", std::string(20'000, 'x'), {{"Content-Type", "image/png"}}).status, 200);
  const Response png = data("GET", "/kv/png", "", any);
  EXPECT_EQ(png.header("Content-Encoding"), "");
  EXPECT_EQ(png.header("Vary"), "");
  json values;
  for (int i = 0; i < 100; ++i) values["KEY_" + std::to_string(i)] = std::string(100, 'v');
  admin("config.set", {{"app", "api"}, {"values", values}});
  Http http(host.port());
  const Response resolved = http.call("POST", "/v1/runtime/config/resolve", "{}", {{"Authorization", "Bearer " + api.token}, {"Accept-Encoding", "gzip, zstd"}});
  EXPECT_EQ(resolved.status, 200);
  EXPECT_EQ(resolved.header("Content-Encoding"), "");
}

TEST_F(Compression, PipelinedAnswersStayInOrder) {
  Http http(host.port());
  const Fields fields{{"Authorization", "Bearer " + api.token}, {"Accept-Encoding", "gzip"}};
  std::string burst;
  const int widths[] = {10, 5'000, 10, 100'000, 600'000, 10, 20'000};
  for (const int width : widths)
    burst += Http::format("POST", operation_path("query"), json{{"sql", "SELECT replace(hex(zeroblob(" + std::to_string(width / 2) + ")), '0', 'x') AS x"}}.dump(), fields);
  ASSERT_TRUE(http.send(burst));
  for (const int width : widths) {
    const auto answer = http.read();
    ASSERT_TRUE(answer);
    const json body = json::parse(decoded(answer->header("Content-Encoding"), answer->body), nullptr, false);
    ASSERT_TRUE(body.is_object()) << width;
    EXPECT_EQ(body["rows"][0][0].get<std::string>().size(), static_cast<std::size_t>(width));
  }
}

TEST_F(Compression, IsOffForThisMachineUnlessItIsWantedAndCanBeOffForAll) {
  const std::string sql = "SELECT printf('%.*c', 100000, 'x')";
  for (const char* toml : {"", "[limits]\ncompression = \"auto\"\n", "[limits]\ncompression = \"off\"\n"}) {
    start_with(toml);
    const Response answer = query(sql, {{"Accept-Encoding", "gzip"}});
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.header("Content-Encoding"), "") << toml;
    EXPECT_EQ(answer.header("Vary"), "") << toml;
  }
  (void)host.stop();
  host.configure("[limits]\ncompression = \"yes\"\n");
  EXPECT_FALSE(host.start());
  EXPECT_NE(host.log().find("limits.compression"), std::string::npos);
}

}  // namespace
}  // namespace via::test
