// The host as a process: start, what it refuses to start on, restart, and the end.
#include "functional/routes.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

namespace via::test {
namespace {

class Process : public World {
 protected:
  // Starts and ends once, so that everything is on disk.
  void used_once() {
    ASSERT_TRUE(host.start()) << host.log();
    api = app_with_database("api");
    ASSERT_EQ(
        caller(api).setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b); INSERT INTO t(b) VALUES('kept')").status,
        200);
    ASSERT_EQ(host.stop(), 0);
  }
  void SetUp() override {}
  void refuses(const char* what) {
    EXPECT_FALSE(host.start()) << what;
    EXPECT_GT(host.exit_code(), 0) << what;
    EXPECT_LT(host.exit_code(), 128) << what << ": refused, not crashed\n" << host.log();
  }
  std::filesystem::path key_file() const {
    for (const auto& entry : std::filesystem::directory_iterator(host.state_dir() / "keys"))
      if (entry.path().extension() == ".pem") return entry.path();
    return {};
  }
  Runtime api;
};

TEST_F(Process, RestartKeepsEverything) {
  used_once();
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{"kept"}}))
      << "the token is still good, too";
  const json status = admin("status");
  for (const json& check : status["checks"]) EXPECT_TRUE(check.value("ok", false)) << check;
  EXPECT_EQ(host.stop(), 0);
  EXPECT_FALSE(std::filesystem::exists(host.admin_socket())) << "the socket goes with the server";
}

TEST_F(Process, SigintAndSigtermBothEndWithZero) {
  for (const int number : {SIGINT, SIGTERM}) {
    ASSERT_TRUE(host.start());
    host.signal(number);
    EXPECT_TRUE(eventually([&] { return !host.running(); }));
    EXPECT_EQ(host.exit_code(), 0);
  }
  ASSERT_TRUE(host.start());
  host.signal(SIGHUP);
  host.signal(SIGPIPE);
  host.signal(SIGXFSZ);
  EXPECT_EQ(Http(host.port()).call("GET", "/health").status, 200);
  host.signal(SIGSTOP);
  host.signal(SIGCONT);
  EXPECT_EQ(Http(host.port()).call("GET", "/ready").status, 200);
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(Process, SecondServeOnTheSameStateFolderIsRefused) {
  ASSERT_TRUE(host.start());
  const Finished second =
      run_program({VIA_BINARY, "serve", "--state-dir", host.state_dir().string(), "--listen", "127.0.0.1:0"});
  EXPECT_EQ(second.exit_code, 4) << second.err;
  EXPECT_TRUE(second.out.empty());
  EXPECT_NE(second.err.find("state folder"), std::string::npos) << second.err;
  EXPECT_EQ(admin("status")["server"]["running"], true) << "the first one does not notice";
  EXPECT_TRUE(std::filesystem::exists(host.admin_socket()));
}

TEST_F(Process, TakenPortIsRefused) {
  ASSERT_TRUE(host.start());
  HostProcess other;
  other.listen = "127.0.0.1:" + std::to_string(host.port());
  EXPECT_FALSE(other.start());
  EXPECT_EQ(other.exit_code(), 4) << other.log();
}

TEST_F(Process, StateFolderThatOthersMayEnterIsRefused) {
  used_once();
  for (const mode_t mode : {0755U, 0770U, 0701U}) {
    ASSERT_EQ(::chmod(host.state_dir().c_str(), mode), 0);
    refuses("mode of the state folder");
  }
  ASSERT_EQ(::chmod(host.state_dir().c_str(), 0700), 0);
  for (const char* part : {"keys", "addons", "runtimes"}) {
    ASSERT_EQ(::chmod((host.state_dir() / part).c_str(), 0750), 0);
    refuses(part);
    ASSERT_EQ(::chmod((host.state_dir() / part).c_str(), 0700), 0);
  }
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(host.state_dir().c_str(), 12345, 12345), 0);
    refuses("owner of the state folder");
    ASSERT_EQ(::chown(host.state_dir().c_str(), 0, 0), 0);
  }
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{"kept"}}));
}

TEST_F(Process, KeyFilesThatAreNotPrivateOrNotWholeAreRefused) {  // J93
  used_once();
  const auto key = key_file();
  const std::string pem = text_of(key);
  ASSERT_FALSE(pem.empty());
  const auto restore = [&] {
    std::filesystem::remove(key);
    std::ofstream(key, std::ios::binary) << pem;
    ASSERT_EQ(::chmod(key.c_str(), 0600), 0);
  };
  for (const auto& file :
       {key, host.state_dir() / "keys" / "master.key", host.state_dir() / "keys" / "keys.json"}) {
    ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
    refuses("mode of a key file");
    ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  }
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(key.c_str(), 12345, 12345), 0);
    refuses("owner of a key file");
    ASSERT_EQ(::chown(key.c_str(), 0, 0), 0);
  }
  std::filesystem::resize_file(key, 0);
  refuses("empty key file");
  restore();
  std::filesystem::resize_file(key, pem.size() / 2);
  refuses("truncated key file");
  restore();
  std::filesystem::rename(key, key.string() + ".away");
  refuses("missing key file");
  std::filesystem::create_symlink(key.string() + ".away", key);
  refuses("linked key file");
  std::filesystem::remove(key);
  std::filesystem::remove(key.string() + ".away");
  restore();
  const std::string body = pem.substr(pem.find('\n') + 1, 40);
  EXPECT_EQ(host.log().find(body), std::string::npos) << "no refusal shows key bytes";
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{"kept"}}));
}

TEST_F(Process, DamagedOrMissingControlPlaneIsAnErrorAndNeverAFreshOne) {
  used_once();
  const auto file = host.state_dir() / "control-plane.db";
  const std::string good = text_of(file);
  ASSERT_GT(good.size(), 8192U);
  const auto write = [&](const std::string& text) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
  };
  write(std::string(good.size(), 'x'));
  refuses("garbage");
  std::string page = good;
  page.replace(4096, 4096, std::string(4096, '\xa5'));
  write(page);
  refuses("a damaged page");
  write({});
  refuses("an empty file");
  write(good.substr(0, good.size() / 2));
  refuses("half a file");
  std::filesystem::remove(file);
  refuses("no file");
  EXPECT_FALSE(std::filesystem::exists(file)) << "nothing fresh was made in its place";
  write(good);
  ASSERT_EQ(::chmod(file.c_str(), 0600), 0);
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{"kept"}}));
}

TEST_F(Process, WrongConfigurationIsRefusedByName) {
  for (const char* toml : {"unknown = 1\n", "threads = \"two\"\n", "threads = 0\n", "not toml",
                           "[tls]\ncertificate = \"/x\"\n", "listen = \"nowhere\"\n"}) {
    SCOPED_TRACE(toml);
    host.configure(toml);
    host.listen = std::string(toml).starts_with("listen") ? "" : "127.0.0.1:0";
    refuses(toml);
  }
  EXPECT_NE(host.log().find("'unknown'"), std::string::npos);
}

TEST_F(Process, NonLoopbackPlaintextListenerIsRefusedUnlessConfigured) {
  host.listen = "0.0.0.0:0";
  refuses("plaintext");
  EXPECT_EQ(host.exit_code(), 4);
  host.configure("allow_plaintext = true\n");
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(Http(host.port()).call("GET", "/health").status, 200);
}

TEST_F(Process, GracefulShutdownAnswersEveryRequestInFlight) {
  ASSERT_TRUE(host.start());
  api = app_with_database("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").status, 200);
  const auto working = [&] {
    const std::string name = "via_operations_total{where=\"worker\"} ", text = metrics();
    return std::stoll(text.substr(text.find(name) + name.size()));
  };
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int kWork = 150'000;  // the same while at the pace of a sanitizer, well inside the drain time
#else
  constexpr int kWork = 3'000'000;
#endif
  // Statements that take a while, and a request of which one half has come.
  const std::int64_t before = working();
  std::vector<std::unique_ptr<Http>> clients;
  constexpr int kReads = 3;
  for (int i = 0; i < kReads + 1; ++i) {
    clients.push_back(std::make_unique<Http>(host.port()));
    const std::string count = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT " +
                              std::to_string(kWork + i) + ") SELECT count(*) FROM c";
    const bool write = i == kReads;
    ASSERT_TRUE(clients.back()->send(Http::format(
        "POST", operation_path(write ? "execute" : "query"),
        json{{"sql", write ? "INSERT INTO t(b) " + count : count}, {"timeout_ms", 60'000}}.dump(),
        {{"Authorization", "Bearer " + api.token}})));
  }
  Http half(host.port()), idle(host.port());
  ASSERT_EQ(idle.call("GET", "/ready").status, 200);
  ASSERT_TRUE(half.send("GET /ready HTTP/1.1\r\nHost: a\r\n"));
  ASSERT_EQ(idle.call("GET", "/ready").status, 200) << "both are with the server by now";
  ASSERT_TRUE(eventually([&] { return working() >= before + kReads + 1; }));
  host.signal(SIGTERM);
  EXPECT_TRUE(idle.ends()) << "idle connections end at once";
  ASSERT_TRUE(half.send("\r\n"));
  const auto ready = half.read();
  ASSERT_TRUE(ready);
  EXPECT_EQ(ready->status, 503);
  EXPECT_TRUE(ready->closes());
  for (auto& client : clients) {
    const auto answer = client->read(60'000);
    ASSERT_TRUE(answer) << "a request that was accepted is answered";
    EXPECT_EQ(answer->status, 200) << answer->body;
    EXPECT_TRUE(client->ends());  // its head was made before the end was known
  }
  EXPECT_TRUE(eventually([&] { return !host.running(); }));
  EXPECT_EQ(host.exit_code(), 0) << host.log();
  ASSERT_TRUE(host.start());
  EXPECT_EQ(rows_of(caller(api).query("SELECT b FROM t")), json({{kWork + kReads}}));
}

TEST_F(Process, ShutdownUnderLoadLosesNoAcknowledgedWrite) {
  ASSERT_TRUE(host.start());
  api = app_with_database("api");
  ASSERT_EQ(caller(api).setup("CREATE TABLE t(a INTEGER PRIMARY KEY, w, n)").status, 200);
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    constexpr int kThreads = 6;
    std::array<int, kThreads> acknowledged{};
    std::atomic<int> total{0};
    std::vector<std::thread> threads;
    const json floor = rows_of(caller(api).query("SELECT count(*) FROM t"));
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        Caller app = caller(api);
        for (;;) {
          const Response answer = app.execute("INSERT INTO t(w, n) VALUES(?, ?)", {i, round});
          if (answer.status != 200) return;
          ++acknowledged[static_cast<std::size_t>(i)];
          ++total;
          if (answer.closes()) return;
        }
      });
    EXPECT_TRUE(eventually([&] { return total > 60; }));
    EXPECT_EQ(host.stop(), 0) << host.log();
    for (auto& thread : threads) thread.join();
    ASSERT_TRUE(host.start()) << host.log();
    int sum = floor[0][0].get<int>();
    for (const int n : acknowledged) sum += n;
    const json after = rows_of(caller(api).query("SELECT count(*) FROM t"));
    EXPECT_GE(after[0][0].get<int>(), sum);
    EXPECT_LE(after[0][0].get<int>(), sum + kThreads) << "at most the unanswered one of each";
  }
}

}  // namespace
}  // namespace via::test
