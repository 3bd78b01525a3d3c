#include <fstream>

#include <sys/stat.h>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Runtimes : ::testing::Test {
  World w{true};
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    w.must("deploy.create", {{"app", "api"}});
  }
};

TEST_F(Runtimes, IssueWritesMaterialAndNeverAnswersTheToken) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  const std::filesystem::path folder = made["material"].get<std::string>();
  const std::string token = *read_file(folder / "token");
  EXPECT_EQ(made.dump().find(token), std::string::npos);
  EXPECT_EQ(made["driver"], "external");
  EXPECT_EQ(made["expires_at"], format_time(w.clock.unix_ms() / 1000 * 1000 + 3'600'000));
  struct stat st {};
  ASSERT_EQ(::stat(folder.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
  const json bootstrap = json::parse(*read_file(folder / "bootstrap.json"));
  EXPECT_EQ(bootstrap["instance"], made["id"]);
  EXPECT_EQ(bootstrap["config_url"], "http://127.0.0.1:8181");
}

TEST_F(Runtimes, IssueNeedsARelease) {
  w.must("app.create", {{"name", "web"}});
  EXPECT_EQ(w.error("runtime.issue", {{"app", "web"}}), "precondition_failed");
  EXPECT_EQ(w.error("identity.issue", {{"kind", "runtime"}, {"app", "web"}}), "precondition_failed");
}

TEST_F(Runtimes, OutMustBeAbsolutePrivateAndOutsideTheStateFolder) {
  TemporaryFolder other;
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", "relative"}}), "bad_request");
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", w.folder.path() / "x"}}), "bad_request");
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", other.path() / "a" / "b"}}), "not_found");
  ::chmod(other.path().c_str(), 0755);
  EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"out", other.path()}}), "not_allowed");
  const json made = w.must("runtime.issue", {{"app", "api"}, {"out", other.path() / "new"}});
  EXPECT_TRUE(std::filesystem::exists(other.path() / "new" / "token"));
  std::ofstream(other.path() / "new" / "mine") << "x";
  w.must("runtime.stop", {{"instance", made["id"]}});
  EXPECT_FALSE(std::filesystem::exists(other.path() / "new" / "token"));
  EXPECT_TRUE(std::filesystem::exists(other.path() / "new" / "mine"));  // what others put there stays
}

TEST_F(Runtimes, StopEndsRightsAndMaterialBeforeItAnswers) {
  const json made = w.must("runtime.issue", {{"app", "api"}});
  ASSERT_NE(w.grant(made["id"]), nullptr);
  EXPECT_EQ(w.must("runtime.stop", {{"instance", made["id"]}})["state"], "stopped");
  EXPECT_EQ(w.grant(made["id"]), nullptr);
  EXPECT_FALSE(std::filesystem::exists(made["material"].get<std::string>()));
  EXPECT_EQ(w.must("runtime.stop", {{"instance", made["id"]}})["state"], "stopped");  // again is fine
  w.restart(true);
  EXPECT_EQ(w.grant(made["id"]), nullptr);
}

TEST_F(Runtimes, ExpiredExternalInstanceIsStopped) {
  const std::string id = w.must("runtime.issue", {{"app", "api"}, {"ttl_seconds", 60}})["id"];
  w.clock.advance_ms(30'000);
  w.plane->refresh_tokens();
  EXPECT_NE(w.grant(id), nullptr);
  w.clock.advance_ms(31'000);
  w.plane->refresh_tokens();
  EXPECT_EQ(w.grant(id), nullptr);
  EXPECT_EQ(w.must("runtime.list")["items"][0]["state"], "stopped");
}

TEST_F(Runtimes, TokenOfASupervisedInstanceIsReplacedAfterTwoThirdsOfItsLife) {
  const std::string id =
      w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}})["instances"][0]["id"];
  const auto token = [&] { return *read_file(w.launcher.running.at(id).material / "token"); };
  const std::string first = token();
  w.clock.advance_ms(2'390'000);
  w.plane->refresh_tokens();
  EXPECT_EQ(token(), first);
  w.clock.advance_ms(11'000);
  w.plane->refresh_tokens();
  const std::string second = token();
  EXPECT_NE(second, first);
  w.plane->refresh_tokens();
  EXPECT_EQ(token(), second);
}

TEST_F(Runtimes, LifeOfATokenHasLimits) {
  for (const json& ttl : {json(0), json(-5), json(86401)})
    EXPECT_EQ(w.error("runtime.issue", {{"app", "api"}, {"ttl_seconds", ttl}}), "bad_request") << ttl;
}

TEST_F(Runtimes, MaterialThatCannotBeWrittenLeavesNoInstance) {
  std::filesystem::remove_all(w.folder.path() / "runtimes");
  std::ofstream(w.folder.path() / "runtimes") << "in the way";
  EXPECT_NE(w.error("runtime.issue", {{"app", "api"}}), "");
  EXPECT_EQ(w.authority->current()->size(), 0U);
}

TEST_F(Runtimes, RuntimeTokenIsAnInstanceOfTheCurrentRelease) {
  const json issued = w.must("identity.issue", {{"kind", "runtime"}, {"app", "api"}});
  const identity::TokenVerifier verifier(*w.keys, "via:test", w.clock);
  const auto claims = verifier.verify(issued["token"].get<std::string>());
  ASSERT_TRUE(claims) << claims.error().message;
  EXPECT_EQ(claims->app, "api");
  ASSERT_NE(w.grant(claims->instance), nullptr);
  EXPECT_EQ(w.grant(claims->instance)->release, claims->release);
}

TEST_F(Runtimes, BuildAndSessionTokensGiveNoInstance) {
  const identity::TokenVerifier verifier(*w.keys, "via:test", w.clock);
  const json build = w.must("identity.issue", {{"kind", "build"}, {"app", "api"}});
  EXPECT_EQ(verifier.verify(build["token"].get<std::string>()).error().code, Code::build_token);
  const json session = w.must("identity.issue", {{"kind", "session"}, {"subject", "ann"}});
  EXPECT_EQ(verifier.verify(session["token"].get<std::string>()).error().code, Code::session_token);
  EXPECT_EQ(w.must("runtime.list")["items"].size(), 0U);
}

}  // namespace
}  // namespace via::test
