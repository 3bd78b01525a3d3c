#include "core/lifecycle/manifest.hpp"
#include "prober.hpp"
#include "world.hpp"

namespace via::test {
namespace {

using lifecycle::read_app_manifest;
using nlohmann::json;

constexpr const char* kWhole = R"([app]
name = "api"

[[addons]]
type = "box"
name = "db"
bind = "DATABASE"

[config]
GREETING = "hello"

[secrets]
required = ["API_KEY"]

[health]
smoke = [{ binding = "DATABASE", operation = "look", body = { n = 1 } }]
)";

std::string first_problem(const std::string& text) {
  const auto read = read_app_manifest(text);
  if (read.problems.empty()) return "";
  return std::to_string(read.problems.front().line) + ": " + read.problems.front().message;
}

TEST(ReadManifest, TakesEveryMember) {
  const auto read = read_app_manifest(kWhole);
  ASSERT_TRUE(read.problems.empty()) << read.problems.front().message;
  EXPECT_EQ(read.manifest.app, "api");
  EXPECT_EQ(read.manifest.addons.at(0).binding, "DATABASE");
  EXPECT_EQ(read.manifest.config.at("GREETING"), "hello");
  EXPECT_EQ(read.manifest.secrets, std::vector<std::string>{"API_KEY"});
  EXPECT_EQ(read.manifest.probes.at(0).body, R"({"n":1})");
}

TEST(ReadManifest, RefusesUnknownMembersByNameAndLine) {
  EXPECT_EQ(first_problem("[app]\nname = \"api\"\nport = 1\n"), "3: 'port' is not known in [app]. Known: name.");
  EXPECT_EQ(first_problem("extra = 1\n[app]\nname = \"api\"\n").substr(0, 12), "1: 'extra' i");
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[[addons]]\ntype=\"box\"\nname=\"db\"\npath=\"/x\"\n").find("6: 'path'"), std::string::npos);
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[health]\nsmoke=[{binding=\"A\",operation=\"look\",when=1}]\n").find("'when'"), std::string::npos);
}

TEST(ReadManifest, SaysWhereItIsNoToml) {
  EXPECT_EQ(first_problem("[app]\nname = \"api\"\nx = = 1\n").substr(0, 21), "3: This is not TOML: ");
  EXPECT_FALSE(read_app_manifest(std::string(lifecycle::kMaximumManifestBytes + 1, ' ')).problems.empty());
  EXPECT_NE(first_problem(""), "");
}

TEST(ReadManifest, RefusesWrongTypesNamesAndDoubles) {
  EXPECT_NE(first_problem("[app]\nname = 3\n"), "");
  EXPECT_NE(first_problem("[app]\nname = \"Not A Name\"\n"), "");
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[config]\nlower=\"x\"\n"), "");
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[config]\nA=1\n"), "");
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[config]\nA=\"1\"\n[secrets]\nrequired=[\"A\"]\n").find("stands in [config]"), std::string::npos);
  EXPECT_NE(first_problem("[app]\nname=\"api\"\naddons=3\n"), "");
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[[addons]]\ntype=\"box\"\nname=\"db\"\n[[addons]]\ntype=\"box\"\nname=\"db\"\n").find("twice"), std::string::npos);
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[[addons]]\ntype=\"box\"\nname=\"db\"\nread_only=true\n").find("needs 'bind'"), std::string::npos);
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[[addons]]\ntype=\"box\"\nname=\"db\"\nconfig={at=2020-01-01}\n").find("JSON"), std::string::npos);
  EXPECT_NE(first_problem("[app]\nname=\"api\"\n[health]\nsmoke=[{binding=\"A\",operation=\"../x\"}]\n").find("a-z"), std::string::npos);
}

struct Manifests : ::testing::Test {
  World w{true};
  json apply(const std::string& text) { return w.must("app.manifest.apply", {{"manifest", text}}); }
};

TEST_F(Manifests, ApplyMakesEverythingAndTheSecondTimeNothing) {
  const json before = w.must("app.manifest.validate", {{"manifest", kWhole}});
  EXPECT_EQ(before["ok"], true) << before;
  EXPECT_EQ(before["missing_secrets"], json::array({"API_KEY"}));
  EXPECT_EQ(w.error("app.show", {{"name", "api"}}), "not_found");  // validate changes nothing
  const json done = apply(kWhole);
  EXPECT_EQ(done["changes"], before["changes"]);
  EXPECT_EQ(done["changes"].size(), 4U) << done;
  const json app = w.must("app.show", {{"name", "api"}});
  EXPECT_EQ(app["addons"][0]["name"], "db");
  EXPECT_EQ(app["bindings"][0]["binding"], "DATABASE");
  EXPECT_EQ(w.must("config.list", {{"app", "api"}})["items"][0]["value"], "hello");
  EXPECT_EQ(apply(kWhole)["changes"], json::array());
}

TEST_F(Manifests, ApplyFinishesWhatIsThereInPart) {
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}});
  const json done = apply(kWhole);
  EXPECT_EQ(done["changes"], json::array({{{"change", "addon.bind"}, {"addon", "db"}, {"binding", "DATABASE"}},
                                          {{"change", "config.set"}, {"key", "GREETING"}}}));
}

TEST_F(Manifests, OneProblemAnywhereLeavesTheHostUntouched) {
  const std::string text = std::string(kWhole) + "[[addons]]\ntype = \"nothing\"\nname = \"other\"\n";
  EXPECT_EQ(w.error("app.manifest.apply", {{"manifest", text}}), "conflict");
  EXPECT_EQ(w.error("app.show", {{"name", "api"}}), "not_found");
  EXPECT_NE(w.error_text("app.manifest.apply", {{"manifest", text}}).find("Line 17"), std::string::npos)
      << w.error_text("app.manifest.apply", {{"manifest", text}});
  EXPECT_EQ(w.error("app.manifest.apply", {{"manifest", "x = 1"}}), "bad_request");
}

TEST_F(Manifests, ConflictsWithTheHostAreProblems) {
  const auto problem = [&](const std::string& text) {
    const json out = w.must("app.manifest.validate", {{"manifest", text}});
    return out["problems"].empty() ? std::string() : out["problems"][0]["message"].get<std::string>();
  };
  const std::string head = "[app]\nname=\"api\"\n[[addons]]\ntype=\"box\"\nname=\"db\"\nbind=\"DATABASE\"\n";
  EXPECT_EQ(problem(head), "");
  EXPECT_NE(problem(head + "[config]\nDATABASE_URL=\"x\"\n").find("DATABASE_URL"), std::string::npos);
  EXPECT_NE(problem(head + "config={a=1}\n"), "");
  EXPECT_NE(problem(head + "[health]\nsmoke=[{binding=\"OTHER\",operation=\"look\"}]\n").find("no such binding"), std::string::npos);
  EXPECT_NE(problem(head + "[health]\nsmoke=[{binding=\"DATABASE\",operation=\"fly\"}]\n").find("no operation"), std::string::npos);
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "web"}});
  EXPECT_NE(problem(head).find("of app 'web'"), std::string::npos);
}

TEST_F(Manifests, SmokeMakesTheManifestsHealthChecks) {
  FakeProber prober;
  w.plane->set_prober(&prober);
  apply(kWhole);
  w.must("deploy.create", {{"app", "api"}});
  w.must("runtime.issue", {{"app", "api"}});
  EXPECT_EQ(w.must("app.manifest.smoke", {{"manifest", kWhole}})["ok"], true);
  EXPECT_EQ(prober.calls.back().path, "/v1/runtime/addons/DATABASE/look");
  EXPECT_EQ(prober.calls.back().body, R"({"n":1})");
  prober.operation_status = 500;
  EXPECT_EQ(w.must("app.manifest.smoke", {{"manifest", kWhole}})["problems"][0]["code"], "health_failed");
  prober.operation_status = 200;
  const std::string command = std::string(kWhole) + "command = \"test $VIA_APP = web\"\n";
  const json out = w.must("app.manifest.smoke", {{"manifest", command}});
  EXPECT_EQ(out["ok"], false);
  EXPECT_EQ(out["checks"].back()["name"], "health command");
}

}  // namespace
}  // namespace via::test
