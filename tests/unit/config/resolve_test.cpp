#include "core/config/resolve.hpp"

#include <gtest/gtest.h>

#include "caller.hpp"
#include "support/fakes.hpp"

namespace via::config {
namespace {

using nlohmann::json;

TEST(Resolve, WithoutKeysAnswersEverythingThatWorks) {
  const json out = World().resolve("");
  EXPECT_EQ(out["app"], "api");
  EXPECT_EQ(out["release"], "rel_1");
  EXPECT_EQ(out["deploy"], "dep_1");
  EXPECT_EQ(out["profile_version"], 3);
  ASSERT_EQ(out["descriptors"].size(), 1U);
  EXPECT_EQ(out["descriptors"][0],
            json({{"binding", "DATABASE"}, {"type", "store"}, {"scope", "addon"}, {"generation", 3},
                  {"mode", "proxy"}, {"endpoint", "/v1/runtime/addons/DATABASE"}}));
  ASSERT_EQ(out["values"].size(), 3U);
  EXPECT_EQ(out["missing"], json::array());
}

TEST(Resolve, DerivedValueIsFilledInAndMarkedSecret) {
  const json out = World().resolve(R"({"keys":["DATABASE_URL"]})");
  const std::string endpoint = "http://127.0.0.1:8181/v1/runtime/addons/DATABASE";
  EXPECT_EQ(out["values"], json::array({{{"key", "DATABASE_URL"},
                                         {"scope", "addon"},
                                         {"generation", 3},
                                         {"value", "via+" + endpoint + "?again=" + endpoint},
                                         {"secret", true}}}));
  EXPECT_EQ(out["descriptors"], json::array());
}

TEST(Resolve, ASecretIsFilledInForTheNewestLiveGenerationAndNothingElseIsTouched) {
  via::test::FakeEntropy entropy;
  const plugins::SecretBox box(Secret("a master key of this test"), entropy);
  const Sealer sealer(box);
  World world;
  world.database->binding_id = "bind_1";
  world.database->derived = {{"DATABASE_URL", "pg://role:${secret}@host/${other}$"}};
  Caller caller = world.caller();
  caller.sealer = &sealer;
  const json out = World::parse(resolve(caller, R"({"keys":["DATABASE_URL"]})"));
  const std::string secret(box.credential("bind_1", 3)->reveal());
  EXPECT_EQ(secret.size(), 43U);
  EXPECT_EQ(out["values"][0]["value"], "pg://role:" + secret + "@host/${other}$");
  EXPECT_EQ(out["values"][0]["secret"], true);

  world.database->live_generations = {2};
  const json before = World::parse(resolve(caller, R"({"keys":["DATABASE_URL"]})"));
  EXPECT_EQ(before["values"][0]["value"], "pg://role:" + std::string(box.credential("bind_1", 2)->reveal()) + "@host/${other}$");
  EXPECT_NE(before["values"][0]["value"], out["values"][0]["value"]);
}

TEST(Resolve, ASecretThatCannotBeMadeIsMissing) {
  World world;
  world.database->derived = {{"DATABASE_URL", "pg://role:${secret}@host"}};
  EXPECT_EQ(world.resolve(R"({"keys":["DATABASE_URL"]})")["missing"], json({"DATABASE_URL"}));
}

TEST(Resolve, ACredentialThatIsLostIsNotHandedOut) {
  via::test::FakeEntropy entropy;
  const plugins::SecretBox box(Secret("a master key of this test"), entropy);
  const Sealer sealer(box);
  World world;
  world.database->binding_id = "bind_1";
  world.database->derived = {{"DATABASE_URL", "pg://role:${secret}@host"}, {"DATABASE_HOST", "${endpoint}"}};
  const std::vector<const authorization::BindingGrant*> lost = {world.database.get()};
  Caller caller = world.caller();
  caller.sealer = &sealer;
  caller.lost = &lost;
  EXPECT_EQ(World::parse(resolve(caller, R"({"keys":["DATABASE_URL"]})"))["error"], "unavailable");
  EXPECT_EQ(World::parse(resolve(caller, ""))["error"], "unavailable") << "also where everything is asked for";
  EXPECT_EQ(World::parse(resolve(caller, R"({"keys":["DATABASE","DATABASE_HOST","GREETING"]})"))["values"].size(), 2U) << "what holds no credential is given";
  const json again = World::parse(refresh(caller, R"({"app":"api","release":"rel_1","deploy":"dep_1","profile_version":3,
      "keys":[{"key":"DATABASE_URL","scope":"addon","generation":3},{"key":"DATABASE_HOST","scope":"addon","generation":3}]})"));
  EXPECT_EQ(again["keys"][0]["code"], "unavailable") << again;
  EXPECT_EQ(again["keys"][1]["status"], "unchanged") << again;
}

TEST(Resolve, PlainValueHasItsOwnGeneration) {
  const json out = World().resolve(R"({"keys":["GREETING"]})");
  EXPECT_EQ(out["values"], json::array({{{"key", "GREETING"}, {"scope", "config"}, {"generation", 3},
                                         {"value", "hello \"you\""}}}));
}

TEST(Resolve, UnknownAndRevokedKeysAreMissing) {
  const json out = World().resolve(R"({"keys":["NOPE","GONE","GONE_URL","NOPE","lower case"]})");
  EXPECT_EQ(out["missing"], json({"NOPE", "GONE", "GONE_URL", "lower case"}));
}

TEST(Resolve, EmptyListOfKeysAnswersNothing) {
  const json out = World().resolve(R"({"keys":[],"unknown_field":1})");
  EXPECT_EQ(out["values"].size() + out["descriptors"].size() + out["missing"].size(), 0U);
}

TEST(Resolve, AppWithoutConfigurationHasProfileVersionZero) {
  World world;
  const auto out = json::parse(*resolve({world.grant, nullptr, "http://x"}, "{}"));
  EXPECT_EQ(out["profile_version"], 0);
}

TEST(Resolve, BindingWinsOverAValueOfTheSameName) {
  World world;
  world.config.values.insert(world.config.values.begin(), {"DATABASE", "other", 1, 0});
  EXPECT_EQ(world.resolve(R"({"keys":["DATABASE"]})")["values"], json::array());
  EXPECT_EQ(world.resolve("{}")["values"].size(), 3U);
}

TEST(Resolve, MalformedRequestsAreRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"{", "invalid_json"},           {"[]", "bad_request"},           {R"({"keys":"A"})", "bad_request"},
      {R"({"keys":[1]})", "bad_request"}, {R"({"keys":null})", "bad_request"}, {R"({"keys":{}})", "bad_request"},
      {"null", "bad_request"},         {"{}{}", "invalid_json"},        {"{\"keys\":[\"\xff\"]}", "invalid_json"},
  };
  for (const auto& [body, code] : cases) EXPECT_EQ(World().resolve(body)["error"], code) << body;
}

}  // namespace
}  // namespace via::config
