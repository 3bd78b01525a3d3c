// Add-on types whose plugins run in processes of their own, under a real host: everything works as in the host's process, and a
// process that is killed, crashes or hangs costs the calls in flight and nothing else.
#include "functional/routes.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

namespace via::test {
namespace {

namespace fs = std::filesystem;

// Of a process that may end meanwhile.
std::string command_line(pid_t pid) {
  const FileHandle file(::open(("/proc/" + std::to_string(pid) + "/cmdline").c_str(), O_RDONLY | O_CLOEXEC));
  char text[4096];
  const ssize_t n = file ? ::read(file.get(), text, sizeof text) : -1;
  return n > 0 ? std::string(text, static_cast<std::size_t>(n)) : std::string();
}

// The runners of a host, by the type each serves.
std::vector<pid_t> runners(pid_t host, const std::string& type = "") {
  std::vector<pid_t> out;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const std::string command = command_line(static_cast<pid_t>(std::stol(name)));
    const std::string wanted = std::string("via-plugin-runner") + '\0' + type;
    const std::string parent = std::string(1, '\0') + std::to_string(host) + '\0';
    if (command.find(wanted) != std::string::npos && command.find(parent) != std::string::npos)
      out.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return out;
}
pid_t runner(pid_t host, const std::string& type) {
  const auto found = runners(host, type + '\0');
  return found.size() == 1 ? found.front() : -1;
}
bool alive(pid_t pid) { return ::kill(pid, 0) == 0; }

class IsolatedTypes : public World {
 protected:
  void SetUp() override {
    host.configure("[types.sqlite]\nisolation = \"process\"\n[types.faulty]\nisolation = \"process\"\ngrace_seconds = 1\n"
                   "[types.faulty.settings]\nserver = \"here\"\n[limits]\noperation_timeout_ms = 3000\n");
    World::SetUp();
  }
  void trust(const char* name) { admin("plugin.trust", {{"file", (fs::path(VIA_TEST_PLUGINS) / name).string()}}); }
  // After everything that a plugin did: the control plane is whole.
  void expect_sound() {
    EXPECT_EQ(admin("audit.verify")["ok"], true);
    const json checks = admin("doctor");
    EXPECT_GT(checks["checks"].size(), 3U);
    for (const json& check : checks["checks"]) EXPECT_TRUE(check["ok"] == true || check["name"] == "disk") << check;
  }
};

TEST_F(IsolatedTypes, SqliteIsServedFromItsOwnProcess) {
  ASSERT_NE(runner(host.pid(), "sqlite"), -1);
  EXPECT_EQ(admin("plugin.show", {{"plugin", "sqlite"}})["isolation"], "process");
  const Runtime runtime = app_with_database("api");
  Caller api = caller(runtime);
  ASSERT_EQ(api.setup("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").status, 200);
  EXPECT_EQ(api.execute("INSERT INTO t(b) VALUES('one')").status, 200);
  EXPECT_EQ(rows_of(api.query("SELECT b FROM t")), json::array({json::array({"one"})}));
  expect_error(api.query("SELECT * FROM missing"), 400, "sql_error");
  const json snapshot = admin("addon.snapshot", {{"name", "api-db"}});
  EXPECT_EQ(api.execute("INSERT INTO t(b) VALUES('two')").status, 200);
  admin("addon.drain", {{"name", "api-db"}});
  expect_error(api.query("SELECT 1"), 503, "draining");
  admin("addon.resume", {{"name", "api-db"}});
  EXPECT_EQ(rows_of(api.query("SELECT count(*) FROM t"))[0][0], 2);
  const json restored = admin("addon.restore", {{"name", "api-db"}, {"snapshot", snapshot["id"]}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(rows_of(api.query("SELECT count(*) FROM t"))[0][0], 1);
  admin("addon.restore", {{"name", "api-db"}, {"snapshot", restored["safety_snapshot"]}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(rows_of(api.query("SELECT count(*) FROM t"))[0][0], 2);
  admin("addon.rotate-credentials", {{"name", "api-db"}, {"app", "api"}, {"binding", "DATABASE"}});
  EXPECT_EQ(rows_of(api.query("SELECT count(*) FROM t"))[0][0], 2);
  EXPECT_EQ(admin("addon.status", {{"name", "api-db"}})["state"], "active");
  expect_sound();
  admin("addon.destroy", {{"name", "api-db"}, {"force", true}, {"confirm", "api-db"}});
  const pid_t pid = runner(host.pid(), "sqlite");
  EXPECT_EQ(host.stop(), 0);
  EXPECT_FALSE(alive(pid)) << "it ends with the host";
  EXPECT_NE(host.log().find(R"("event":"plugin_runner_ended","addon_type":"sqlite","pid":")" + std::to_string(pid) +
                            R"(","status":"exit code 0")"),
            std::string::npos)
      << "in order: closed, ended, and not killed";
}

TEST_F(IsolatedTypes, LargeResultsAndBodiesGoThrough) {
  const Runtime runtime = app_with_database("api");
  Caller api = caller(runtime);
  ASSERT_EQ(api.setup("CREATE TABLE t(a)").status, 200);
  const std::string big(700'000, 'x');
  ASSERT_EQ(api.execute("INSERT INTO t VALUES(?)", {big}).status, 200);
  const Response back = api.query("SELECT a FROM t");
  EXPECT_EQ(rows_of(back)[0][0], big);
  const Response many = api.query("WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 20000) SELECT x, printf('%.100c', 'y') FROM c");
  EXPECT_EQ(rows_of(many).size(), 20'000U);
}

TEST_F(IsolatedTypes, AcknowledgedWritesAreThereAfterItsProcessWasKilledAgainAndAgain) {
  const Runtime runtime = app_with_database("api");
  ASSERT_EQ(caller(runtime).setup("CREATE TABLE t(a INTEGER PRIMARY KEY)").status, 200);
  std::atomic<bool> end{false};
  std::atomic<int> next{0};
  std::mutex mutex;
  std::vector<int> acknowledged;
  int unavailable = 0, other = 0;
  std::vector<std::thread> writers;
  for (int w = 0; w < 4; ++w)
    writers.emplace_back([&] {
      Caller api = caller(runtime);
      while (!end) {
        const int key = ++next;
        const Response said = api.execute("INSERT INTO t VALUES(?)", {key});
        const std::lock_guard lock(mutex);
        if (said.status == 200) acknowledged.push_back(key);
        else if (said.status == 503 && said.code() == "unavailable") ++unavailable;
        else ++other;
      }
    });
  for (int round = 0; round < 3; ++round) {
    std::size_t before = 0;
    {
      const std::lock_guard lock(mutex);
      before = acknowledged.size();
    }
    EXPECT_TRUE(eventually([&] {
      const std::lock_guard lock(mutex);
      return acknowledged.size() > before + 20;
    }));
    const pid_t pid = runner(host.pid(), "sqlite");
    ASSERT_GT(pid, 0);
    ::kill(pid, SIGKILL);
  }
  EXPECT_TRUE(eventually([&] { return caller(runtime).query("SELECT 1").status == 200; }));
  end = true;
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(other, 0);
  EXPECT_GT(unavailable, 0);
  const json rows = rows_of(caller(runtime).query("SELECT a FROM t ORDER BY a"));
  std::vector<int> there;
  for (const json& row : rows) there.push_back(row[0].get<int>());
  for (const int key : acknowledged) EXPECT_TRUE(std::binary_search(there.begin(), there.end(), key)) << key;
  EXPECT_TRUE(host.running());
  EXPECT_NE(metrics().find("via_plugin_runner_crashes_total{addon_type=\"sqlite\"} 3"), std::string::npos);
  expect_sound();
}

TEST_F(IsolatedTypes, APluginThatCrashesHangsOrAnswersTwiceTouchesNothingElse) {
  trust("faulty");
  const Runtime other = app_with_database("other");
  ASSERT_EQ(caller(other).setup("CREATE TABLE t(a); INSERT INTO t VALUES(1)").status, 200);
  admin("addon.create", {{"type", "faulty"}, {"name", "bad"}, {"app", "api"}, {"bind", "BAD"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime runtime = issue("api");
  Caller api = caller(runtime);
  const auto works = [&] { return api.op("echo", {{"a", 1}}, "BAD").status == 200; };
  EXPECT_EQ(api.op("note", json::object(), "BAD").json(), json({{"server", "here"}}));
  EXPECT_TRUE(works());
  std::atomic<bool> end{false};
  std::atomic<int> failed{0};
  std::thread neighbour([&] {
    Caller mine = caller(other);
    while (!end)
      if (rows_of(mine.query("SELECT a FROM t")) != json::array({json::array({1})})) ++failed;
  });
  const pid_t sqlite = runner(host.pid(), "sqlite");
  for (const char* op : {"crash", "exit", "twice", "late"}) {
    const Response said = api.op(op, {{"a", 1}}, "BAD");
    if (said.status != 200) expect_error(said, 503, "unavailable");
    EXPECT_TRUE(eventually(works)) << op;
  }
  const Response hung = api.op("hang", json::object(), "BAD");
  EXPECT_TRUE(hung.status == 503 || hung.status == 504) << hung.body;
  EXPECT_TRUE(eventually(works));
  end = true;
  neighbour.join();
  EXPECT_EQ(failed, 0) << "the other type's add-on answered all the while";
  EXPECT_EQ(runner(host.pid(), "sqlite"), sqlite);
  EXPECT_TRUE(host.running());
  expect_sound();
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(IsolatedTypes, ACrashLoopIsSeenInTheStatusOfItsAddOnAndOthersAreServed) {
  trust("faulty");
  const Runtime other = app_with_database("other");
  admin("addon.create", {{"type", "faulty"}, {"name", "bad"}, {"app", "api"}, {"bind", "BAD"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime runtime = issue("api");
  Caller api = caller(runtime);
  ASSERT_EQ(api.op("unlucky", json::object(), "BAD").status, 200);
  expect_error(api.op("crash", json::object(), "BAD"), 503, "unavailable");
  Response said;
  ASSERT_TRUE(eventually([&] {
    said = api.op("echo", json::object(), "BAD");
    return said.body.find("crash loop") != std::string::npos;
  })) << said.body;
  EXPECT_EQ(said.status, 503);
  EXPECT_EQ(caller(other).query("SELECT 1").status, 200);
  const std::string status = admin("addon.status", {{"name", "bad"}}).dump();
  EXPECT_NE(status.find("crash loop"), std::string::npos) << status;
  EXPECT_EQ(admin("audit.verify")["ok"], true);
  EXPECT_EQ(host.stop(), 0);
}

TEST_F(IsolatedTypes, NoRunnerOutlivesAHostThatIsKilled) {
  trust("faulty");
  const Runtime runtime = app_with_database("api");
  ASSERT_EQ(caller(runtime).setup("CREATE TABLE t(a); INSERT INTO t VALUES(1)").status, 200);
  const std::vector<pid_t> before = runners(host.pid());
  ASSERT_EQ(before.size(), 2U);
  host.kill();
  for (const pid_t pid : before) EXPECT_TRUE(eventually([&] { return !alive(pid); })) << pid;
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_EQ(rows_of(caller(runtime).query("SELECT a FROM t"))[0][0], 1);
  EXPECT_EQ(runners(host.pid()).size(), 2U);
  expect_sound();
}

TEST_F(IsolatedTypes, ACommandWithoutAServerEndsItsRunnersToo) {
  trust("echo");
  ASSERT_EQ(host.stop(), 0);
  const Finished listed = run_program({VIA_BINARY, "--state-dir", host.state_dir().string(), "plugin", "list", "--json"});
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_NE(listed.out.find("sqlite"), std::string::npos);
}

TEST_F(IsolatedTypes, PasswordsReachThePluginAndNeitherLogNorCommandLine) {
  ASSERT_EQ(host.stop(), 0);
  host.configure("[types.applied]\nisolation = \"process\"\n[types.mail]\nisolation = \"process\"\n");
  ASSERT_TRUE(host.start()) << host.log();
  trust("applied");
  admin("addon.create", {{"type", "applied"}, {"name", "store"}, {"app", "api"}, {"bind", "STORE"}});
  admin("deploy.create", {{"app", "api"}});
  const Runtime runtime = issue("api");
  std::string secret;
  for (const auto& entry : fs::recursive_directory_iterator(host.state_dir() / "addons" / "applied"))
    if (entry.path().filename() == "g1") secret = text_of(entry.path());
  ASSERT_EQ(secret.size(), 43U);
  const json answer = caller(runtime).resolve({{"keys", {"STORE_URL"}}}).json();
  EXPECT_EQ(answer["values"][0]["value"], "tiny://g1:" + secret + "@here/");
  EXPECT_EQ(host.log().find(secret), std::string::npos);
  const pid_t pid = runner(host.pid(), "applied");
  ASSERT_GT(pid, 0);
  EXPECT_EQ(command_line(pid).find(HostProcess::kCanary), std::string::npos);
}

}  // namespace
}  // namespace via::test
