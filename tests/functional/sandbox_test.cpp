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
      for (const auto& instance : admin("runtime.list", {{"app", app}})["items"])
        if (instance["state"] == "running" && !instance["pid"].is_null()) {
          found = instance;
          return true;
        }
      return false;
    })) << host.log();
    return found;
  }
  json last_of(const std::string& app) { return admin("runtime.list", {{"app", app}})["items"][0]; }
  std::string log_of(const json& instance) { return text_of(host.state_dir() / "logs" / (instance["id"].get<std::string>() + ".log")); }
  std::string app_id(const std::string& app) { return admin("app.show", {{"name", app}})["id"]; }
  // What the hostile app says of each attempt.
  std::map<std::string, std::string> attack(const json& more = json::object()) {
    admin("app.create", {{"name", "victim"}});
    admin("app.create", {{"name", "hostile"}});
    const std::string wait_state = host.state_dir().string();
    deploy("victim", {VIA_HOSTILE_APP, wait_state, "1", "1", "-", "-", "wait"}, {{"fs", true}});
    const json victim = running("victim");
    deploy("hostile", {VIA_HOSTILE_APP, host.state_dir().string(), std::to_string(host.pid()), std::to_string(victim["pid"].get<int>()),
                       victim["id"], app_id("victim")}, more);
    const json instance = running("hostile");
    EXPECT_TRUE(eventually([&] { return log_of(instance).find("done\n") != std::string::npos; }, 120'000)) << log_of(instance);
    std::map<std::string, std::string> out;
    std::istringstream lines(log_of(instance));
    for (std::string line; std::getline(lines, line);) {
      const auto space = line.find(' ');
      if (space != std::string::npos) out[line.substr(0, space)] = line.substr(space + 1);
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

}  // namespace
}  // namespace via::test
