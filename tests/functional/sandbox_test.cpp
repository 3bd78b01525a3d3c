// Apps are strangers to the host and to each other: a hostile app tries everything from inside (hostile_app.cpp), beside one that waits,
// on a host that is root and on one that is a plain user. Each line is a row of the threat model in docs/security.md.
#include "functional/routes.hpp"

#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

namespace via::test {
namespace {

constexpr uid_t kPlainUser = 65533;

class Sandbox : public World {
 protected:
  void SetUp() override {}
  // As a plain user: the state folder becomes its own.
  void start_as_plain_user() {
    host.configure("");
    ASSERT_EQ(::chown(host.folder().c_str(), kPlainUser, kPlainUser), 0);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(host.folder())) ASSERT_EQ(::lchown(entry.path().c_str(), kPlainUser, kPlainUser), 0);
    host.before_exec = [] {
      if (::setgroups(0, nullptr) != 0 || ::setgid(kPlainUser) != 0 || ::setuid(kPlainUser) != 0) ::_exit(99);
    };
    ASSERT_TRUE(host.start()) << host.log();
  }
  json deploy(const std::string& app, std::vector<std::string> command, json more = json::object()) {
    more["app"] = app;
    more["command"] = std::move(command);
    return admin("deploy.create", more);
  }
  json running(const std::string& app) {
    json found;
    EXPECT_TRUE(eventually([&] {
      const json list = admin("runtime.list", {{"app", app}});
      for (const auto& instance : list["items"])
        if (instance["state"] == "running" && !instance["pid"].is_null()) {
          found = instance;
          return true;
        }
      return false;
    })) << host.log();
    return found;
  }
  json last_of(const std::string& app) {
    const json list = admin("runtime.list", {{"app", app}});
    return list["items"][0];
  }
  // What its standard output has, without times.
  std::string log_of(const json& instance) {
    std::istringstream lines(text_of(host.state_dir() / "logs" / (instance["id"].get<std::string>() + ".log.1")));
    std::string out;
    for (std::string line; std::getline(lines, line);) {
      const auto at = line.find(" stdout F ");
      if (at != std::string::npos) out += line.substr(at + 10) + "\n";
    }
    return out;
  }
  std::string app_id(const std::string& app) { return admin("app.show", {{"name", app}})["id"]; }
  // What the hostile app says of each attempt.
  std::map<std::string, std::string> attack(const json& more = json::object()) {
    admin("app.create", {{"name", "victim"}});
    admin("app.create", {{"name", "hostile"}});
    const std::string wait_state = host.state_dir().string();
    deploy("victim", {VIA_HOSTILE_APP, wait_state, "1", "1", "-", "-", "wait"}, {{"fs", true}});
    const json victim = running("victim");
    if (victim.is_null()) return {};
    deploy("hostile", {VIA_HOSTILE_APP, host.state_dir().string(), std::to_string(host.pid()), std::to_string(victim["pid"].get<int>()),
                       victim["id"], app_id("victim")}, more);
    const json instance = running("hostile");
    if (instance.is_null()) return {};
    EXPECT_TRUE(eventually([&] { return log_of(instance).find("done\n") != std::string::npos; }, 120'000)) << log_of(instance);
    std::map<std::string, std::string> out;
    std::istringstream lines(log_of(instance));
    for (std::string line; std::getline(lines, line);) {
      const auto space = line.find(' ');
      const std::string result = line.substr(space + 1);  // what the programs that it runs say is none
      if (space != std::string::npos && (result == "refused" || result.rfind("GOT", 0) == 0)) out[line.substr(0, space)] = line.substr(space + 1);
    }
    return out;
  }
  void gets_nothing(const std::map<std::string, std::string>& attempts) {
    static const std::set<std::string> kAttempts{
        "state-folder", "signing-key", "storage", "proc-root", "proc-others", "descriptors", "symbolic-link", "working-folder", "others-token",
        "others-data", "others-log", "others-memory", "signals", "ptrace", "admin-socket", "user-namespace", "other-namespaces", "clone3", "mount",
        "new-mount-api", "set-uid-program", "core-file", "capabilities", "identity", "groups", "write-system", "write-working-folder", "write-token",
        "homes", "system-files", "kernel-files", "devices", "kernel-calls", "refused-by-filter", "fill-tmp", "fill-shm", "descriptors-without-end",
        "processes-without-end"};
    for (const std::string& name : kAttempts) {
      const auto found = attempts.find(name);
      ASSERT_NE(found, attempts.end()) << name << " was not tried";
      EXPECT_EQ(found->second, "refused") << name;
    }
    EXPECT_EQ(attempts.size(), kAttempts.size()) << "an attempt without a row here";
  }
};

TEST_F(Sandbox, AHostileAppGetsNothingOfAHostThatIsRoot) {
  if (::geteuid() != 0) GTEST_SKIP() << "this machine's user is not root";
  ASSERT_TRUE(host.start()) << host.log();
  gets_nothing(attack());
  EXPECT_EQ(admin("status")["server"]["running"], true);
}

TEST_F(Sandbox, AHostileAppGetsNothingOfAHostThatIsAPlainUser) {
  if (::geteuid() == 0) start_as_plain_user();
  else ASSERT_TRUE(host.start()) << host.log();
  gets_nothing(attack());
}

TEST_F(Sandbox, WhatGoesOverItsMemoryIsEndedAndTheInstanceSaysSo) {
  if (::geteuid() != 0) GTEST_SKIP() << "this machine's user may not make control groups";
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "eater"}});
  deploy("eater", {VIA_HOSTILE_APP, "/", "1", "1", "-", "-", "memory"}, {{"memory_bytes", 64 << 20}});
  EXPECT_TRUE(eventually([&] { return last_of("eater")["reason"] == "out of memory: 64 MiB"; })) << last_of("eater") << host.log();
  EXPECT_TRUE(eventually([&] { return last_of("eater")["state"] == "failed"; })) << "it is tried again after a pause";
  EXPECT_EQ(admin("status")["server"]["running"], true);
}

TEST_F(Sandbox, WhereNobodyCountsMemoryASignalIsNamedWithTheLimit) {
  if (::geteuid() == 0) start_as_plain_user();
  else ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "eater"}});
  deploy("eater", {"/bin/sh", "-c", "kill -SEGV $$"}, {{"memory_bytes", 64 << 20}});
  EXPECT_TRUE(eventually([&] { return last_of("eater")["reason"] == "signal 11, with at most 64 MiB of memory for each process"; })) << last_of("eater");
}

// A shell that does `script` and says what came of it in its log.
#define SHELL(script) std::vector<std::string>{"/bin/sh", "-c", script}

TEST_F(Sandbox, FsGivesAFolderThatStaysAndGoesWithTheApp) {
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  deploy("api", SHELL("echo by-name > /dev/stdout; touch /tmp/x && echo can-write-tmp; touch /data/x 2>/dev/null || echo no-data; sleep 1000"));
  const json first = running("api");
  EXPECT_TRUE(eventually([&] { return log_of(first).find("no-data") != std::string::npos; })) << log_of(first);
  EXPECT_NE(log_of(first).find("by-name\n"), std::string::npos) << "its output has a name";
  deploy("api", SHELL("echo kept > /data/file; echo $HOME; sleep 1000"), {{"fs", true}});
  EXPECT_TRUE(eventually([&] { return log_of(last_of("api")).find("/data") != std::string::npos; }));
  deploy("api", SHELL("cat /data/file; sleep 1000"), {{"fs", true}});
  EXPECT_TRUE(eventually([&] { return log_of(last_of("api")).find("kept") != std::string::npos; })) << "it stays over deploys";
  const auto folder = host.state_dir() / "apps" / app_id("api");
  ASSERT_TRUE(std::filesystem::exists(folder / "data" / "file"));
  const json plan = admin("app.delete", {{"name", "api"}, {"plan", true}});
  EXPECT_NE(plan.dump().find("/data is deleted"), std::string::npos) << plan;
  admin("app.delete", {{"name", "api"}});
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(Sandbox, DataIsInBackupsAndComesBackAsTheAppsOwn) {
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  deploy("api", SHELL("mkdir -p /data/sub; echo kept > /data/sub/file; ln -s /etc/passwd /data/link; chmod 500 /data/sub; "
                      "echo written; sleep 1000"), {{"fs", true}});
  EXPECT_TRUE(eventually([&] { return log_of(last_of("api")).find("written") != std::string::npos; }));
  const std::string id = app_id("api"), file = (host.folder() / "host.backup").string();
  admin("backup.create", {{"file", file}});
  EXPECT_EQ(running("api")["state"], "running") << "it goes on afterwards";
  ASSERT_EQ(host.stop(), 0);
  const auto target = host.folder() / "restored";
  const Finished restored = run_program({VIA_BINARY, "backup", "restore", file, "--state-dir", target.string(), "--yes"});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  const auto data = target / "apps" / id / "data";
  EXPECT_EQ(text_of(data / "sub" / "file"), "kept\n");
  EXPECT_TRUE(std::filesystem::is_symlink(data / "link"));
  struct stat st {};
  ASSERT_EQ(::lstat((data / "sub" / "file").c_str(), &st), 0);
  if (::geteuid() == 0) {
    EXPECT_GE(st.st_uid, 61184U) << "the app's own user";
  }
  ASSERT_EQ(::lstat((data / "sub").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0500U);
}

TEST_F(Sandbox, TwoAppsNeverHaveOneUserWhileAnythingOfOneIsThere) {
  if (::geteuid() != 0) GTEST_SKIP() << "this machine's user is not root";
  ASSERT_TRUE(host.start()) << host.log();
  std::set<std::string> users;
  for (const char* app : {"a", "b"}) {
    admin("app.create", {{"name", app}});
    deploy(app, SHELL("id -u; sleep 1000"), {{"fs", true}});
    EXPECT_TRUE(eventually([&] { return !log_of(last_of(app)).empty(); }));
    users.insert(log_of(last_of(app)));
  }
  EXPECT_EQ(users.size(), 2U);
  admin("app.delete", {{"name", "a"}});
  admin("app.create", {{"name", "c"}});
  deploy("c", SHELL("id -u; sleep 1000"));
  EXPECT_TRUE(eventually([&] { return !log_of(last_of("c")).empty(); }));
  EXPECT_TRUE(users.contains(log_of(last_of("c")))) << "what is gone gives its number back";
  EXPECT_NE(log_of(last_of("c")), log_of(last_of("b")));
}

TEST_F(Sandbox, NothingOfAnAppOutlivesTheHostNorItsFirstProcess) {
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  // A grandchild that left the group and the session.
  deploy("api", SHELL("setsid sh -c 'exec sleep 31337' & sleep 31338"));
  running("api");
  const auto sleeps = [](const char* seconds) {
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string line = text_of(entry.path() / "cmdline");
      if (line.rfind(std::string("sleep") + '\0' + seconds, 0) == 0) ++found;
    }
    return found;
  };
  EXPECT_TRUE(eventually([&] { return sleeps("31337") == 1; }));
  host.kill();
  EXPECT_TRUE(eventually([&] { return sleeps("31337") == 0 && sleeps("31338") == 0; })) << "kill -9 of the host";
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_TRUE(eventually([&] { return sleeps("31337") == 1; })) << "launched again by the next start";
  const json instance = running("api");
  ::kill(instance["pid"], SIGKILL);
  EXPECT_TRUE(eventually([&] { return sleeps("31338") == 0 && sleeps("31337") == 0; })) << "the end of the command ends the rest";
}

TEST_F(Sandbox, ATermIsTheAppsToHandleAndItsStatusIsKept) {
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  deploy("api", SHELL("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
  const json instance = running("api");
  EXPECT_TRUE(eventually([&] { return log_of(instance).find("ready") != std::string::npos; }));
  admin("runtime.stop", {{"instance", instance["id"]}});
  EXPECT_NE(log_of(instance).find("asked"), std::string::npos);
  EXPECT_NE(host.log().find("\"status\":\"0\""), std::string::npos) << host.log();
}

TEST_F(Sandbox, ARenewedTokenIsSeenInsideAtOnce) {
  host.configure("token_ttl_seconds = 60\n");
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  deploy("api", SHELL("echo $VARY_CONFIG_TOKEN_PATH $VIA_BOOTSTRAP; last=; while :; do now=$(cat /run/via/token); "
                      "[ \"$now\" = \"$last\" ] || echo token; last=$now; sleep 0.05; done"));
  const json instance = running("api");
  const auto tokens = [&] {
    const std::string text = log_of(instance);
    int n = 0;
    for (std::size_t at = 0; (at = text.find("token\n", at)) != std::string::npos; at += 6) ++n;
    return n;
  };
  EXPECT_TRUE(eventually([&] { return tokens() == 1; }));
  admin("identity.keys.rotate");
  const json keys = admin("identity.keys.list");
  std::string old;
  for (const auto& key : keys["items"])
    if (key["state"] != "active") old = key["kid"];
  admin("identity.keys.revoke", {{"kid", old}});
  EXPECT_TRUE(eventually([&] { return tokens() >= 2; })) << "replaced on disk, and seen";
}

TEST_F(Sandbox, WithoutANetworkNothingIsReached) {
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "job"}});
  deploy("job", SHELL("wc -l < /proc/net/route; cat /proc/net/dev | grep -c eth; echo done; sleep 1000"), {{"network", "none"}});
  const json instance = running("job");
  EXPECT_TRUE(eventually([&] { return log_of(instance).find("done") != std::string::npos; }));
  EXPECT_EQ(log_of(instance), "1\n0\ndone\n") << "no route, no interface";
}

TEST_F(Sandbox, WhereNoneCanBeMadeNothingIsLaunchedUnlessItIsTurnedOff) {
  host.environment["VIA_SANDBOX_BWRAP"] = "/nonexistent";
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  EXPECT_EQ(admin_error("deploy.create", {{"app", "api"}, {"command", {"/bin/sleep", "1000"}}}), "refused");
  json status = admin("status");
  const auto check = [](const json& checks) {
    for (const auto& one : checks)
      if (one["name"] == "sandbox") return one;
    return json();
  };
  EXPECT_EQ(check(status["checks"])["ok"], false) << status;
  ASSERT_EQ(host.stop(), 0);
  host.configure("sandbox = \"off\"\n");
  ASSERT_TRUE(host.start()) << host.log();
  deploy("api", {"/bin/sleep", "1000"});
  running("api");
  EXPECT_EQ(check(admin("status")["checks"])["ok"], false) << "and it goes on saying so";
  EXPECT_EQ(check(admin("doctor")["checks"])["ok"], false);
  EXPECT_NE(host.log().find("sandbox_off"), std::string::npos);
}

TEST_F(Sandbox, FoldersThatWouldShowTheHostAreRefused) {
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  for (const std::string& folder : {host.state_dir().string(), host.folder().string(), (host.state_dir() / "keys").string(), std::string("/root"), std::string("/home"), std::string("/etc")}) {
    if (!std::filesystem::exists(folder)) continue;
    EXPECT_EQ(admin_error("deploy.create", {{"app", "api"}, {"command", {"/bin/sleep", "1000"}}, {"cwd", folder}}), "refused") << folder;
    EXPECT_EQ(admin_error("deploy.create", {{"app", "api"}, {"command", {"/bin/sleep", "1000"}}, {"read", {folder}}}), "refused") << folder;
  }
}

TEST_F(Sandbox, MaterialForAnotherUserIsThatUsersAlone) {
  if (::geteuid() != 0) GTEST_SKIP() << "this machine's user is not root";
  ASSERT_TRUE(host.start()) << host.log();
  admin("app.create", {{"name", "api"}});
  admin("deploy.create", {{"app", "api"}});
  const auto out = host.folder() / "material";
  const json issued = admin("runtime.issue", {{"app", "api"}, {"out", out.string()}, {"owner", std::to_string(kPlainUser)}});
  struct stat st {};
  for (const char* name : {"", "token", "bootstrap.json", "bindings.json"}) {
    ASSERT_EQ(::lstat((out / name).c_str(), &st), 0) << name;
    EXPECT_EQ(st.st_uid, kPlainUser) << name;
    EXPECT_EQ(st.st_mode & 0077, 0U) << name;
  }
  EXPECT_EQ(admin_error("runtime.issue", {{"app", "api"}, {"owner", "65533"}}), "bad_request");
  EXPECT_EQ(admin_error("runtime.issue", {{"app", "api"}, {"out", (host.folder() / "m2").string()}, {"owner", "no-such-user"}}), "not_found");
  // The folder is theirs now: what they make of it reaches nothing else.
  std::filesystem::rename(out, out.string() + ".away");
  std::filesystem::create_directory_symlink(host.state_dir(), out);
  admin("runtime.stop", {{"instance", issued["id"]}});
  EXPECT_TRUE(std::filesystem::exists(host.state_dir() / "control-plane.db"));
}

}  // namespace
}  // namespace via::test
