// Capability URLs on a real host: what they allow, what they never tell, and that they end when it is said.
#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "functional/routes.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

class Shares : public World {
 protected:
  void SetUp() override {
    World::SetUp();
    admin("app.create", {{"name", "api"}});
    admin("addon.create", {{"type", "sqlite"}, {"name", "db"}, {"app", "api"}});
  }
  struct Shared {
    std::string id, url, path, capability;  // path: "/c/cap_…/api/v1/sqlite"
  };
  Shared share(const json& more = json::object()) {
    json arguments{{"name", "db"}};
    arguments.update(more);
    const json made = admin("addon.share", arguments);
    Shared out{made.value("id", ""), made.value("url", ""), {}, {}};
    out.path = out.url.substr(std::min(out.url.find("/c/"), out.url.size()));
    const auto from = std::min(out.path.find("cap_"), out.path.size());
    out.capability = out.path.substr(from, out.path.find('/', from) - from);
    return out;
  }
  Response call(const std::string& method, const std::string& target, const std::string& body = {}) {
    return Http(host.port()).call(method, target, body, {{"Content-Type", "application/json"}});
  }
  // What an answer says, without the id of its request.
  static std::string told(const Response& answer) {
    json body = answer.json();
    if (body.is_object() && body.contains("error") && body["error"].is_object()) body["error"].erase("request_id");
    return std::to_string(answer.status) + " " + body.dump();
  }
};

const char* const kAbsent = "/c/cap_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/api/v1/sqlite";

TEST_F(Shares, TheUrlIsTheWholeCredential) {
  const Shared one = share();
  EXPECT_TRUE(one.url.starts_with("http://127.0.0.1:" + std::to_string(host.port()) + "/c/cap_")) << "it can be pasted";
  EXPECT_EQ(one.capability.size(), 47U);
  EXPECT_EQ(call("PUT", one.path + "/kv/greeting", R"j({"hello":"world"})j").status, 200);
  EXPECT_EQ(call("GET", one.path + "/kv/greeting").body, R"j({"hello":"world"})j");
  EXPECT_EQ(call("POST", one.path + "/db", R"j({"transaction":[{"statement":"CREATE TABLE t(a)"}]})j").status, 200);
  EXPECT_EQ(call("HEAD", one.path + "/kv/greeting").status, 200);
  EXPECT_EQ(share().url == one.url, false) << "each is another";
  const json listed = admin("addon.shares", {{"name", "db"}});
  ASSERT_EQ(listed["items"].size(), 2U);
  EXPECT_EQ(admin("addon.status", {{"name", "db"}})["shares"], 2);
  EXPECT_FALSE(listed["items"][1]["last_used_at"].is_null());
  EXPECT_TRUE(listed["items"][0]["last_used_at"].is_null());
  EXPECT_EQ(listed.dump().find("cap_"), std::string::npos) << "the URL is told once";
}

TEST_F(Shares, AllowWhatTheyAreScopedToAndNoMore) {
  const Shared whole = share(), reader = share({{"read_only", true}}), query = share({{"query_only", true}}),
               one = share({{"database", "one"}}), own = share({{"database", "data.sqlite"}});
  ASSERT_EQ(call("PUT", whole.path + "/kv/k", "1").status, 200);
  ASSERT_EQ(call("PUT", whole.path + "/kv/k?db=one&create_db_if_missing=true", "2").status, 200);
  ASSERT_EQ(call("PUT", whole.path + "/kv/k?db=two&create_db_if_missing=true", "3").status, 200);

  EXPECT_EQ(call("GET", reader.path + "/kv/k").body, "1");
  EXPECT_EQ(call("PUT", reader.path + "/kv/k", "4").status, 403);
  EXPECT_EQ(call("DELETE", reader.path + "/kv/k").status, 403);
  EXPECT_EQ(call("POST", reader.path + "/kv/k/incr").status, 403);
  EXPECT_EQ(call("POST", reader.path + "/db/create?path=three").status, 403);
  EXPECT_EQ(call("DELETE", reader.path + "/db?db=two").status, 403);
  EXPECT_EQ(call("POST", reader.path + "/db", R"j({"transaction":[{"query":"SELECT 1 AS a"}]})j").status, 200);
  EXPECT_EQ(call("POST", reader.path + "/db", R"j({"transaction":[{"statement":"DELETE FROM kv_store"}]})j").status, 403);
  EXPECT_EQ(call("GET", whole.path + "/kv/k").body, "1");

  EXPECT_EQ(call("GET", query.path + "/query?sql=SELECT%201%20AS%20a").status, 200);
  EXPECT_EQ(call("GET", query.path + "/kv/k").status, 403);
  EXPECT_EQ(call("POST", query.path + "/db", R"j({"transaction":[{"query":"SELECT 1"}]})j").status, 403);
  EXPECT_EQ(call("GET", query.path + "/history").status, 403);

  EXPECT_EQ(call("GET", one.path + "/kv/k").body, "2") << "its database is the one without a name as well";
  EXPECT_EQ(call("GET", one.path + "/kv/k?db=one").body, "2");
  EXPECT_EQ(call("GET", one.path + "/kv/k?db=two").status, 403);
  EXPECT_EQ(call("GET", one.path + "/kv/k?db=/hoody/databases/two.db").status, 403);
  EXPECT_EQ(call("POST", one.path + "/db/create?path=three").status, 403);
  EXPECT_EQ(call("POST", one.path + "/maintenance?db=one", R"j({"op":"vacuum_into","dest_path":"two.db"})j").status, 403);
  EXPECT_EQ(call("GET", own.path + "/kv/k").body, "1");
  EXPECT_EQ(call("GET", own.path + "/kv/k?db=one").status, 403);
}

TEST_F(Shares, OneThatIsWrongExpiredOrRevokedIsNotThere) {
  const Shared brief = share({{"expires_seconds", 1}}), gone = share();
  ASSERT_EQ(call("GET", gone.path + "/health").status, 200);
  admin("addon.unshare", {{"share", gone.id}});
  const std::string absent = told(call("GET", std::string(kAbsent) + "/kv/k"));
  EXPECT_EQ(absent.substr(0, 4), "404 ");
  EXPECT_EQ(told(call("GET", gone.path + "/kv/k")), absent);
  EXPECT_TRUE(eventually([&] { return told(call("GET", brief.path + "/kv/k")) == absent; }));
  EXPECT_EQ(admin("addon.shares", {{"name", "db"}})["items"][0]["state"], "expired");
  for (const std::string wrong : {"/c", "/c/", "/c/cap_/api/v1/sqlite/kv/k", "/c/x", "/c/%63ap_x/api/v1/sqlite"})
    EXPECT_EQ(call("GET", wrong).status, 404) << wrong;
  const Shared live = share();
  for (const std::string& wrong :
       {"/c/" + live.capability + "A/api/v1/sqlite/kv/k", "/c/" + live.capability.substr(0, 46) + "/api/v1/sqlite/kv/k",
        "/C/" + live.capability + "/api/v1/sqlite/kv/k", "/c/" + live.capability, "/c/" + live.capability + "/",
        "/c/" + live.capability + "/v1/runtime/config/resolve", "/c/" + live.capability + "/api/v1/sqlite2/kv/k"})
    EXPECT_EQ(call("GET", wrong).status, 404) << wrong;
  EXPECT_EQ(call("GET", live.path + "/health").status, 200);
}

TEST_F(Shares, EveryAnswerKeepsTheUrlFromCachesLinksAndScripts) {
  const Shared one = share(), slow = share({{"rate", 1}});
  ASSERT_EQ(Http(host.port()).call("PUT", one.path + "/kv/page", "<script>x</script>", {{"Content-Type", "text/html"}}).status, 200);
  ASSERT_EQ(call("PUT", one.path + "/kv/large", "\"" + std::string(400'000, 'x') + "\"").status, 200);
  (void)call("GET", slow.path + "/kv/page");
  for (const auto& [target, status] : std::vector<std::pair<std::string, int>>{{one.path + "/kv/page", 200},
                                                                                {one.path + "/kv/large", 200},
                                                                                {one.path + "/kv/none", 404},
                                                                                {one.path + "/nothing", 404},
                                                                                {one.path, 404},
                                                                                {std::string(kAbsent), 404},
                                                                                {slow.path + "/kv/page", 429}}) {
    const Response answer = call("GET", target);
    EXPECT_EQ(answer.status, status) << target;
    EXPECT_EQ(answer.header("Cache-Control"), "no-store") << target;
    EXPECT_EQ(answer.count("Cache-Control"), 1) << target;
    EXPECT_EQ(answer.header("Referrer-Policy"), "no-referrer") << target;
    EXPECT_EQ(answer.header("X-Content-Type-Options"), "nosniff") << target;
    EXPECT_EQ(answer.count("X-Content-Type-Options"), 1) << target;
    EXPECT_NE(answer.header("Content-Security-Policy").find("sandbox"), std::string::npos) << target;
    EXPECT_EQ((answer.head + answer.body).find("cap_"), std::string::npos) << target;
  }
  Http both(host.port());
  EXPECT_EQ(both.call("GET", one.path + "/health").header("Referrer-Policy"), "no-referrer");
  EXPECT_EQ(both.call("GET", "/health").header("Referrer-Policy"), "") << "of this request only";
}

TEST_F(Shares, AreHeldToTheirRate) {
  const Shared slow = share({{"rate", 5}}), other = share();
  Http http(host.port());
  int served = 0, refused = 0;
  for (int i = 0; i < 200 && refused == 0; ++i) {
    const Response answer = http.call("GET", slow.path + "/health");
    if (answer.status == 200) {
      ++served;
    } else {
      expect_error(answer, 429, "rate_limited");
      EXPECT_EQ(answer.header("Retry-After"), "1");
      ++refused;
    }
  }
  EXPECT_EQ(refused, 1);
  EXPECT_GE(served, 5) << "a second's worth of them at once";
  EXPECT_EQ(http.call("GET", other.path + "/health").status, 200) << "another share has a rate of its own";
  EXPECT_TRUE(eventually([&] { return http.call("GET", slow.path + "/health").status == 200; })) << "it comes back";
}

TEST_F(Shares, NothingIsServedAfterRevokeReturned) {
  const char* set = std::getenv("VIA_RACE_ROUNDS");
  const int rounds = set == nullptr ? 12 : std::max(1, std::atoi(set));
  constexpr int kThreads = 6;
  const Shared keeper = share({{"rate", 100'000}});
  ASSERT_EQ(call("POST", keeper.path + "/db", R"j({"transaction":[{"statement":"CREATE TABLE t(a)"}]})j").status, 200);
  const auto count = [&] {
    return call("POST", keeper.path + "/db", R"j({"transaction":[{"query":"SELECT count(*) AS n FROM t"}]})j").body;
  };
  for (int round = 0; round < rounds; ++round) {
    SCOPED_TRACE(round);
    const Shared doomed = share({{"rate", 100'000}});
    std::atomic<bool> returned{false};
    std::atomic<int> served{0}, late_successes{0}, unexpected{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        Http http(host.port());
        for (bool refused = false; !refused;) {
          const bool late = returned;
          const Response answer =
              i % 2 == 0 ? http.call("POST", doomed.path + "/db", R"j({"transaction":[{"statement":"INSERT INTO t VALUES(1)"}]})j",
                                     {{"Content-Type", "application/json"}})
                         : http.call("GET", doomed.path + "/query?sql=SELECT%20count(*)%20FROM%20t");
          if (answer.status == 200) ++served;
          else if (answer.status != 404 && answer.status != 503) ++unexpected;
          if (late && answer.status == 200) ++late_successes;
          refused = late || answer.status == 0;
        }
      });
    EXPECT_TRUE(eventually([&] { return served > 4 * kThreads; }));
    admin("addon.unshare", {{"share", doomed.id}});
    const std::string at_return = count();
    returned = true;
    for (auto& thread : threads) thread.join();
    ASSERT_EQ(late_successes, 0);
    ASSERT_EQ(unexpected, 0);
    ASSERT_EQ(count(), at_return) << "a write landed after the answer";
  }
}

TEST_F(Shares, LastOverRestartsAndDrainsAndEndWithTheAddOn) {
  const Shared one = share({{"expires_seconds", 0}});
  ASSERT_EQ(call("PUT", one.path + "/kv/k", "1").status, 200);
  host.kill();
  ASSERT_TRUE(host.start());
  EXPECT_EQ(call("GET", one.path + "/kv/k").body, "1");
  admin("addon.drain", {{"name", "db"}});
  expect_error(call("GET", one.path + "/kv/k"), 503, "draining");
  admin("addon.resume", {{"name", "db"}});
  EXPECT_EQ(call("GET", one.path + "/kv/k").body, "1");
  const json plan = admin("addon.destroy", {{"name", "db"}, {"plan", true}})["plan"];
  EXPECT_EQ(plan["touches"]["shares"], json::array({one.id})) << "a plan shows who would lose their access";
  const std::string id = admin("addon.destroy", {{"name", "db"}}).value("id", "");
  EXPECT_EQ(call("GET", one.path + "/kv/k").status, 404);
  admin("addon.undelete", {{"id", id}});
  EXPECT_EQ(call("GET", one.path + "/kv/k").status, 404) << "what brings the add-on back does not bring back who had it";
  EXPECT_EQ(call("GET", share().path + "/kv/k").body, "1");
  EXPECT_EQ(admin_error("addon.unshare", {{"share", "share_none"}}), "not_found");
  EXPECT_EQ(admin("addon.unshare", {{"share", one.id}}).value("state", ""), "revoked") << "again is fine";
}

TEST_F(Shares, AreRefusedWithWhatIsWrong) {
  for (const json& wrong : {json{{"expires_seconds", -1}}, json{{"expires_seconds", 400'000'000}}, json{{"rate", 0}}, json{{"rate", 100'001}},
                            json{{"database", std::string(201, 'x')}}, json{{"note", "a\nb"}}}) {
    json arguments{{"name", "db"}};
    arguments.update(wrong);
    EXPECT_EQ(admin_error("addon.share", arguments), "bad_request") << wrong;
  }
  EXPECT_EQ(admin_error("addon.share", {{"name", "none"}}), "not_found");
}

// By the commands of the program, through the admin socket, with the operator's name in the record.
TEST_F(Shares, OperatorsReachAnAddOnWithoutOne) {
  const std::string state = host.state_dir().string();
  const auto kv = [&](std::vector<std::string> words, const std::string& addon) {
    words.insert(words.begin(), {VIA_BINARY, "kv"});
    words.insert(words.end(), {"--addon", addon, "--state-dir", state});
    return run_program(words);
  };
  EXPECT_EQ(kv({"set", "k", "--body", "{\"a\":1}"}, "db").exit_code, 0);
  EXPECT_EQ(kv({"get", "k", "-o", "json"}, "db").out, "{\"a\":1}\n");
  EXPECT_EQ(kv({"get", "k", "--db", "two"}, "db").exit_code, 3);
  EXPECT_EQ(kv({"get", "k"}, "none").exit_code, 3);
  Http socket(host.admin_socket());
  EXPECT_EQ(socket.call("GET", "/v1/addons/db/http/api/v1/sqlite/kv/k").body, "{\"a\":1}");
  EXPECT_EQ(socket.call("GET", "/v1/addons/db/http/other").status, 404);
  EXPECT_EQ(socket.call("GET", "/v1/addons/db").status, 404);
  EXPECT_EQ(call("GET", "/v1/addons/db/http/api/v1/sqlite/kv/k").status, 404) << "on the socket only";
  const json entries = admin("audit.list")["items"];
  const auto last = std::find_if(entries.rbegin(), entries.rend(), [](const json& e) { return e["action"] == "addon.request"; });
  ASSERT_NE(last, entries.rend());
  EXPECT_EQ((*last)["details"], (json{{"addon", "db"}, {"method", "GET"}}));
  (void)host.stop();
  EXPECT_EQ(kv({"get", "k"}, "db").exit_code, 1) << "no host, no data";
}

// The capability, wherever it was used, and its hash where it has no business.
TEST_F(Shares, AreInNoLogNoFileNoMetricAndNoBackup) {
  const Shared one = share({{"note", "for the canary"}}), gone = share();
  ASSERT_EQ(call("PUT", one.path + "/kv/k", "1").status, 200);
  (void)call("GET", one.path + "/kv/none");
  (void)call("POST", one.path + "/db", "{");
  (void)call("POST", one.path + "/db", R"j({"transaction":[{"query":"SELECT canary"}]})j");
  (void)call("BREW", one.path + "/db");
  (void)Http(host.port()).call("GET", one.path + "/" + std::string(70'000, 'x'));
  Http torn(host.port());
  ASSERT_TRUE(torn.send("POST " + one.path + "/db HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"));
  torn.close();
  admin("addon.unshare", {{"share", gone.id}});
  (void)call("GET", gone.path + "/kv/k");
  (void)admin_error("addon.unshare", {{"share", one.capability}});
  admin("backup.create");
  std::string seen = host.log() + metrics() + admin("op.list").dump() + admin("audit.list").dump() + admin("addon.shares").dump() +
                     admin("addon.status", {{"name", "db"}}).dump() + admin("app.debug-bundle", {{"name", "api"}}).dump();
  (void)host.stop();
  for (const auto& entry : fs::recursive_directory_iterator(host.state_dir())) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    seen.append(std::istreambuf_iterator<char>(in), {});
  }
  for (const auto& capability : {one.capability, gone.capability})
    EXPECT_EQ(seen.find(capability.substr(4)), std::string::npos);
}

}  // namespace
}  // namespace via::test
