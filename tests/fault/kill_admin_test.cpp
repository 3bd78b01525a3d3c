// kill -9 while operators change the world: the next start ends in the old state or the new one, and all is
// well.
#include <atomic>
#include <thread>

#include "fault/rounds.hpp"
#include "support/world.hpp"

namespace via::test {
namespace {

class KillAdmin : public World {
 protected:
  // The answer of a command, or nothing when the host died under it.
  std::optional<json> ask(const char* command, const json& arguments) {
    auto answer = cli::SocketTransport(host.admin_socket()).call(command, arguments);
    if (!answer) return std::nullopt;
    return std::move(*answer);
  }
  void expect_well() {
    const json status = admin("status");
    for (const json& check : status["checks"])
      EXPECT_TRUE(check.value("ok", false))
          << check << "\n"
          << host.log().substr(host.log().size() > 2000 ? host.log().size() - 2000 : 0);
    for (const json listed = admin("addon.list"); const json& addon : listed["items"]) {
      const std::string state = addon.value("state", "");
      EXPECT_TRUE(state == "active" || state == "destroyed" || state == "failed") << addon;
    }
  }
};

// The same for what works on an add-on's data and credentials: acknowledged rows are in the data or in a snapshot, every
// listed snapshot can be restored, and an acknowledged revocation stays.
TEST_F(KillAdmin, LosesNoDataWhileItIsCopiedReplacedDestroyedAndBroughtBack) {
  auto random = random_source();
  admin("app.create", {{"name", "api"}});
  const int kills = rounds(8);
  for (int round = 0; round < kills; ++round) {
    SCOPED_TRACE(round);
    const std::string db = "db" + std::to_string(round), binding = "B" + std::to_string(round);
    const std::string id = admin("addon.create", {{"type", "sqlite"}, {"name", db}, {"app", "api"}, {"bind", binding}}).value("id", "");
    admin("deploy.create", {{"app", "api"}});
    const Runtime api = issue("api");
    Caller app = caller(api);
    ASSERT_EQ(app.op("setup", {{"sql", "CREATE TABLE t(a); INSERT INTO t VALUES('kept')"}}, binding).status, 200);
    const json credentials = {{"name", db}, {"app", "api"}, {"binding", binding}};
    std::atomic<int> step{0};
    bool revoked = false;
    std::thread operator_thread([&] {
      const auto next = [&](const char* command, const json& arguments) {
        const auto answer = ask(command, arguments);
        if (answer) ++step;
        return answer;
      };
      const auto with = [](json object, const json& more) {
        object.update(more);
        return object;
      };
      const auto taken = next("addon.snapshot", {{"name", db}});
      if (!taken) return;
      if (!next("addon.restore", {{"name", db}, {"snapshot", taken->value("id", "")}, {"force_after_timeout", 0}})) return;
      if (!next("addon.rotate-credentials", credentials)) return;
      if (!next("addon.revoke-credentials", with(credentials, {{"generation", 1}, {"yes", true}}))) return;
      revoked = true;
      if (!next("addon.drain", {{"name", db}})) return;
      if (!next("addon.resume", {{"name", db}})) return;
      const std::string file = (host.folder() / (db + ".sqlite")).string();
      if (!next("addon.export", {{"name", db}, {"file", file}})) return;
      if (!next("addon.import", {{"name", db}, {"file", file}, {"force_after_timeout", 0}})) return;
      if (!next("addon.snapshot.delete", {{"name", db}, {"snapshot", taken->value("id", "")}})) return;
      if (!next("addon.destroy", {{"name", db}, {"force", true}})) return;
      if (!next("addon.undelete", {{"id", id}})) return;
      (void)next("addon.repair", {{"name", db}});
    });
    const int at = std::uniform_int_distribution(0, 11)(random);
    const int more_us = std::uniform_int_distribution(0, 20'000)(random);
    EXPECT_TRUE(eventually([&] { return step >= at; }));
    const timespec pause{0, more_us * 1000L};
    ::nanosleep(&pause, nullptr);
    host.kill();
    operator_thread.join();
    ASSERT_TRUE(host.start()) << "the next start needs no hand\n" << host.log();
    EXPECT_EQ(admin("op.list", {{"state", "running"}})["items"].size(), 0U);
    EXPECT_EQ(admin("audit.verify").value("ok", false), true);
    expect_well();
    if (admin("addon.status", {{"name", id}}).value("state", "") == "destroyed") admin("addon.undelete", {{"id", id}});
    admin("addon.resume", {{"name", db}});
    for (const json listed = admin("addon.status", {{"name", db}}); const json& one : listed["bindings"])
      if (revoked) {
        EXPECT_EQ(one["generations"][0].value("status", ""), "revoked") << "what was acknowledged stays";
      }
    // Whatever became of its bindings, the data is all there, now and from each snapshot.
    const std::string look = "L" + std::to_string(round);
    admin("addon.bind", {{"app", "api"}, {"name", db}, {"binding", look}});
    admin("deploy.create", {{"app", "api"}});
    Caller reader = caller(issue("api"));
    const auto rows = [&] { return rows_of(reader.op("query", {{"sql", "SELECT a FROM t"}}, look)); };
    EXPECT_EQ(rows(), json({{"kept"}})) << "killed after step " << step;
    for (const json listed = admin("addon.snapshots", {{"name", db}}); const json& one : listed["items"]) {
      admin("addon.restore", {{"name", db}, {"snapshot", one.value("id", "")}, {"force_after_timeout", 0}});
      EXPECT_EQ(rows(), json({{"kept"}})) << one;
    }
  }
}

TEST_F(KillAdmin, EndsEveryOperationInTheOldStateOrTheNew) {
  auto random = random_source();
  admin("app.create", {{"name", "steady"}});
  admin("addon.create", {{"type", "sqlite"}, {"name", "steady-db"}, {"app", "steady"}, {"bind", "DATABASE"}});
  admin("deploy.create", {{"app", "steady"}});
  const Runtime steady = issue("steady");
  ASSERT_EQ(caller(steady).setup("CREATE TABLE t(a); INSERT INTO t VALUES('steady')").status, 200);
  const int kills = rounds(12);
  for (int round = 0; round < kills; ++round) {
    SCOPED_TRACE(round);
    const std::string app = "app" + std::to_string(round), db = "db" + std::to_string(round);
    std::atomic<int> step{0};
    bool created = false, bound = false, deployed = false, stopped = false;
    std::string instance, release;
    std::thread operator_thread([&] {
      const auto next = [&](const char* command, const json& arguments) {
        const auto answer = ask(command, arguments);
        if (answer) ++step;
        return answer;
      };
      if (!next("app.create", {{"name", app}})) return;
      if (!next("addon.create", {{"type", "sqlite"}, {"name", db}, {"app", app}})) return;
      created = true;
      if (!next("addon.bind", {{"app", app}, {"name", db}, {"binding", "DATABASE"}})) return;
      bound = true;
      const auto deploy = next("deploy.create", {{"app", app}, {"command", {"/bin/sleep", "1000"}}});
      if (!deploy) return;
      deployed = true;
      release = (*deploy)["release"].value("id", "");
      const auto issued = next("runtime.issue", {{"app", app}});
      if (!issued) return;
      instance = issued->value("id", "");
      if (!next("runtime.stop", {{"instance", instance}})) return;
      stopped = true;
      if (!next("addon.unbind", {{"app", app}, {"target", "DATABASE"}})) return;
      bound = false;
      (void)next("addon.destroy", {{"name", db}, {"app", app}, {"force", true}});
    });
    const int at = std::uniform_int_distribution(0, 7)(random);
    const int more_us = std::uniform_int_distribution(0, 20'000)(random);
    EXPECT_TRUE(eventually([&] { return step >= at; }));
    const timespec pause{0, more_us * 1000L};
    ::nanosleep(&pause, nullptr);
    host.kill();
    operator_thread.join();
    ASSERT_TRUE(host.start()) << "the next start needs no hand\n" << host.log();
    expect_well();
    ASSERT_EQ(rows_of(caller(steady).query("SELECT a FROM t")), json({{"steady"}}))
        << "who had nothing to do with it goes on";
    if (created) {
      const auto found = ask("addon.status", {{"name", db}, {"app", app}});
      if (found) {
        EXPECT_EQ(found->value("state", ""), "active");
      } else {
        EXPECT_GE(step, 7) << "an acknowledged add-on is gone only when its destroy was asked for";
      }
    }
    if (deployed) {
      EXPECT_EQ(admin("app.show", {{"name", app}}).value("current_release", ""), release);
    }
    if (stopped)
      for (const json listed = admin("runtime.list", {{"app", app}}); const json& item : listed["items"])
        if (item.value("id", "") == instance) {
          EXPECT_EQ(item.value("state", ""), "stopped");
        }
    // The same names can be used again, whatever was half done.
    if (step >= 1) {
      const std::string again = db + "x";
      EXPECT_TRUE(
          ask("addon.create", {{"type", "sqlite"}, {"name", again}, {"app", app}, {"bind", "AGAIN"}}));
      EXPECT_TRUE(ask("deploy.create", {{"app", app}}));
      if (const auto issued = ask("runtime.issue", {{"app", app}})) {
        Caller fresh(host.port(), text_of(std::filesystem::path(issued->value("material", "")) / "token"));
        EXPECT_EQ(fresh.op("query", {{"sql", "SELECT 1"}}, "AGAIN").status, 200);
      } else {
        ADD_FAILURE() << "no instance";
      }
    }
    (void)bound;
  }
}

}  // namespace
}  // namespace via::test
