// The seed's page, command by command, through the real binary against a real host with a supervised app. docs/seed-map.md
// says which test holds which sentence.
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include "functional/routes.hpp"

namespace via::test {
namespace {

class SeedWalk : public World {
 protected:
  // Its own folder, which it has as /data.
  fs::path folder() const {
    std::error_code none;
    for (fs::directory_iterator at(host.state_dir() / "apps", none), end; !none && at != end; at.increment(none)) return at->path() / "data";
    return {};
  }

  // A command line as the page writes it.
  Finished run(const std::string& line) {
    std::istringstream words(line);
    std::vector<std::string> command;
    for (std::string word; words >> word;) command.push_back(word);
    EXPECT_EQ(command.at(0), "via");
    command[0] = VIA_BINARY;
    const Finished done = run_program(command, {{"VIA_STATE_DIR", host.state_dir().string()}});
    outputs_ += done.out + done.err;
    return done;
  }
  std::string ok(const std::string& line) {
    const Finished done = run(line);
    EXPECT_EQ(done.exit_code, 0) << line << "\n" << done.err;
    return done.out;
  }
  json as_json(const std::string& line) { return json::parse(ok(line + " --json"), nullptr, false); }
  void deploy_app() { ok("via deploy create api --fs -- " VIA_SEED_APP " /data"); }

  // "starts", "generation", "error", … as the app last told.
  std::string seen(const std::string& name) const {
    const std::string text = text_of(folder() / "seen");
    const auto at = text.find(name + "=");
    if (at == std::string::npos) return "";
    const auto begin = at + name.size() + 1;
    return text.substr(begin, text.find(' ', begin) - begin);
  }
  ::testing::AssertionResult comes(const std::string& name, const std::string& value) {
    if (eventually([&] { return seen(name) == value; })) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << name << " is not " << value << " but: " << text_of(folder() / "seen") << "\n"
                                         << host.log().substr(host.log().size() > 3000 ? host.log().size() - 3000 : 0);
  }
  std::string id_of(const std::string& addon) { return as_json("via addon status " + addon).value("id", ""); }
  std::string outputs_;
};

TEST_F(SeedWalk, LifecycleBlockInOrder) {
  ok("via addon create sqlite app-db --app api");
  const std::string id = id_of("app-db");
  const fs::path storage = host.state_dir() / "addons/sqlite" / id;
  EXPECT_TRUE(fs::exists(storage / "data.sqlite"));
  EXPECT_NE(ok("via addon list --app api").find("app-db"), std::string::npos);

  // A release from before the bind: the bind is policy for the next one.
  ok("via deploy create api");
  const Runtime before = issue("api");
  ok("via addon bind api app-db --binding DATABASE");
  expect_error(caller(before).query("SELECT 1"), 403, "unbound");
  ok("via runtime stop " + before.instance);
  deploy_app();
  ASSERT_TRUE(comes("starts", "1"));
  EXPECT_EQ(seen("generation"), "1");
  EXPECT_EQ(seen("managed"), "1");
  EXPECT_EQ(seen("own"), "direct") << "a path is a file of the app's own";
  const std::string release = as_json("via app show api").value("current_release", "");

  const json status = as_json("via addon status app-db");
  EXPECT_EQ(status["state"], "active");
  for (const auto& layer : status["layers"]) EXPECT_EQ(layer["ok"], true) << layer;

  const std::string snapshot = as_json("via addon snapshot app-db").value("id", "");
  EXPECT_TRUE(fs::exists(storage / "snapshots" / (snapshot + ".sqlite"))) << "beside the database";

  const json rotated = as_json("via addon rotate-credentials app-db --app api --binding DATABASE");
  EXPECT_EQ(rotated["app"], "api");
  EXPECT_EQ(rotated["binding"], "DATABASE");
  EXPECT_EQ(rotated["generation"], 2);
  EXPECT_EQ(rotated["status"], "live");
  EXPECT_TRUE(rotated["operation"].get<std::string>().starts_with("op_"));
  ASSERT_TRUE(comes("generation", "2"));

  const std::string instance = as_json("via runtime list --app api")["items"][0].value("id", "");
  Caller app(host.port(), text_of(host.state_dir() / "runtimes" / instance / "token"));
  const json resolved = app.resolve().json();
  ok("via addon revoke-credentials app-db --app api --binding DATABASE --generation 1");
  const json refreshed =
      app.refresh({{"app", resolved["app"]}, {"release", resolved["release"]}, {"deploy", resolved["deploy"]},
                   {"profile_version", resolved["profile_version"]},
                   {"keys", {{{"key", "DATABASE"}, {"scope", "addon"}, {"generation", 1}}}}})
          .json();
  EXPECT_NE(refreshed.dump().find("generation_revoked"), std::string::npos) << refreshed;
  EXPECT_EQ(app.query("SELECT 1").status, 200) << "the generation beside it goes on";
  ASSERT_TRUE(comes("error", ""));

  // Over an active add-on: refused without a flow; with it the data of the snapshot, and a new process of the app.
  const Finished refused = run("via addon restore app-db --snapshot " + snapshot);
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_NE(refused.err.find("--drain --restart-bound-apps"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("--force-after-timeout"), std::string::npos) << refused.err;
  ASSERT_EQ(app.setup("INSERT INTO start VALUES(0); INSERT INTO start VALUES(0)").status, 200);
  ASSERT_TRUE(comes("starts", "3"));
  const json restored = as_json("via addon restore app-db --snapshot " + snapshot + " --drain --restart-bound-apps");
  EXPECT_EQ(restored["restarted"].size(), 1U) << restored;
  EXPECT_TRUE(restored["safety_snapshot"].is_string());
  ASSERT_TRUE(eventually([&] { return seen("starts") == "2"; })) << text_of(folder() / "seen");

  // The running release keeps what it was given; only the next one is without it.
  ok("via addon unbind api DATABASE");
  EXPECT_EQ(Caller(host.port(), text_of(host.state_dir() / "runtimes" / instance / "token")).query("SELECT 1").status, 200);
  const Finished still = run("via addon destroy app-db");
  EXPECT_EQ(still.exit_code, 4);
  EXPECT_NE(still.err.find("via deploy create api"), std::string::npos) << still.err;
  deploy_app();
  ASSERT_TRUE(comes("error", "unbound"));
  EXPECT_NE(as_json("via app show api").value("current_release", ""), release);
  ok("via addon destroy app-db");

  EXPECT_EQ(run("via addon status app-db").exit_code, 3);
  const Finished destroyed = run("via addon status " + id + " --json");
  EXPECT_EQ(destroyed.exit_code, 0) << "shown, and as it should be";
  const json tombstone = json::parse(destroyed.out, nullptr, false);
  EXPECT_EQ(tombstone["name"], "app-db#destroyed#" + id);
  EXPECT_EQ(tombstone["state"], "destroyed");
  EXPECT_FALSE(fs::exists(storage / "data.sqlite"));

  // The common path, under the same names.
  ok("via addon create sqlite app-db --app api --bind DATABASE");
  EXPECT_NE(id_of("app-db"), id);
  deploy_app();
  ASSERT_TRUE(comes("starts", "1")) << "the app's code does not know that it is another add-on";

  // Nothing that was printed, and nothing that the app was started with, is a credential or a path of the data.
  const std::string token = text_of(host.state_dir() / "runtimes" / instance / "token");
  for (const std::string& text : {outputs_, text_of(folder() / "environment"), host.log()}) {
    EXPECT_EQ(text.find("data.sqlite"), std::string::npos);
    if (!token.empty()) {
      EXPECT_EQ(text.find(token), std::string::npos);
    }
  }
}

TEST_F(SeedWalk, CommandReferenceInOrder) {
  ok("via addon create sqlite first --app api");
  ok("via addon create sqlite second --app api --bind SECOND");
  ok("via addon list --app api");
  ok("via addon status first");
  ok("via addon bind api first --binding FIRST");
  ok("via addon unbind api FIRST");
  ok("via addon unbind api second");
  const std::string snapshot = as_json("via addon snapshot first").value("id", "");
  EXPECT_EQ(run("via addon restore first --snapshot " + snapshot).exit_code, 4);
  ok("via addon restore first --snapshot " + snapshot + " --drain --restart-bound-apps");
  ok("via addon restore first --snapshot " + snapshot + " --force-after-timeout");
  ok("via addon bind api first --binding FIRST");
  ok("via addon rotate-credentials first --app api --binding FIRST");
  ok("via addon revoke-credentials first --app api --binding FIRST --generation 1");
  const Finished bound = run("via addon destroy first");
  EXPECT_EQ(bound.exit_code, 4) << "bound";
  EXPECT_NE(bound.err.find("via addon unbind api FIRST"), std::string::npos) << bound.err;
  ok("via addon unbind api FIRST");
  ok("via addon destroy first");
  ok("via addon destroy second");
}

TEST_F(SeedWalk, DestroyByForceEndsTheAppsAccess) {
  ok("via addon create sqlite app-db --app api --bind DATABASE");
  deploy_app();
  ASSERT_TRUE(comes("starts", "1"));
  EXPECT_EQ(run("via addon destroy app-db").exit_code, 4);
  ok("via addon destroy app-db --force --yes");
  ASSERT_TRUE(comes("error", "unbound"));
}

TEST_F(SeedWalk, StateDirOptionNamesAnotherRoot) {
  TemporaryFolder other;
  const std::string root = (other.path() / "via").string();
  ok("via addon create sqlite app-db --app api");
  ASSERT_EQ(::mkdir(root.c_str(), 0700), 0);
  EXPECT_NE(run("via addon status app-db --state-dir " + root).exit_code, 0);
}

}  // namespace
}  // namespace via::test
