#include <gtest/gtest.h>

#include "caller.hpp"

namespace via::config {
namespace {

using nlohmann::json;

json request(const std::string& key, const std::string& scope, const json& generation) {
  return {{"app", "api"}, {"release", "rel_1"}, {"deploy", "dep_1"}, {"profile_version", 3},
          {"keys", json::array({{{"key", key}, {"scope", scope}, {"generation", generation}}})}};
}

json one(const std::string& key, const std::string& scope, const json& generation) {
  const json out = World().refresh(request(key, scope, generation));
  return out.contains("keys") ? out["keys"][0] : out;
}

TEST(Refresh, NewestGenerationIsUnchanged) {
  EXPECT_EQ(one("DATABASE", "addon", 3),
            json({{"key", "DATABASE"}, {"scope", "addon"}, {"generation", 3}, {"status", "unchanged"}}));
  EXPECT_EQ(one("GREETING", "config", 3),
            json({{"key", "GREETING"}, {"scope", "config"}, {"generation", 3}, {"status", "unchanged"}}));
}

TEST(Refresh, OlderLiveGenerationIsUpdatedToTheNewest) {
  const json database = one("DATABASE", "addon", 2);
  EXPECT_EQ(database["status"], "updated");
  EXPECT_EQ(database["generation"], 3);
  EXPECT_EQ(database["descriptor"]["generation"], 3);
  EXPECT_EQ(database["descriptor"]["binding"], "DATABASE");
  const json url = one("DATABASE_URL", "addon", 2);
  EXPECT_EQ(url["status"], "updated");
  EXPECT_EQ(url["secret"], true);
  EXPECT_TRUE(url["value"].get<std::string>().starts_with("via+http://127.0.0.1:8181/"));
  const json greeting = one("GREETING", "config", 2);
  EXPECT_EQ(greeting["status"], "updated");
  EXPECT_EQ(greeting["generation"], 3);
  EXPECT_EQ(greeting["value"], "hello \"you\"");
}

TEST(Refresh, EachWayToBeWrongHasItsCode) {
  struct Case {
    const char *key, *scope;
    int generation;
    const char* code;
  };
  const Case cases[] = {
      {"DATABASE", "addon", 4, "generation_revoked"},   {"DATABASE", "addon", 5, "generation_unknown"},
      {"DATABASE", "addon", 1, "generation_unknown"},   {"DATABASE", "addon", 0, "generation_unknown"},
      {"DATABASE_URL", "addon", 4, "generation_revoked"}, {"GONE", "addon", 1, "generation_revoked"},
      {"OTHER", "addon", 1, "unbound"},                 {"GREETING", "addon", 1, "unbound"},
      {"GREETING", "config", 4, "generation_unknown"},  {"GREETING", "config", 0, "generation_unknown"},
      {"NOPE", "config", 1, "not_found"},               {"DATABASE", "config", 3, "not_found"},
  };
  for (const Case& c : cases) {
    const json out = one(c.key, c.scope, c.generation);
    EXPECT_EQ(out["status"], "rejected") << c.key << c.generation << out;
    EXPECT_EQ(out["code"], c.code) << c.key << " " << c.generation;
    EXPECT_FALSE(out.contains("value"));
    EXPECT_FALSE(out.contains("descriptor"));
  }
}

TEST(Refresh, ClaimsOfAnotherAppReleaseOrDeployAreForbidden) {
  for (const char* claim : {"app", "release", "deploy"}) {
    json body = request("DATABASE", "addon", 3);
    body[claim] = "other";
    EXPECT_EQ(World().refresh(body)["error"], "unbound") << claim;
  }
}

TEST(Refresh, ProfileVersionFromTheFutureIsStale) {
  json body = request("GREETING", "config", 3);
  body["profile_version"] = 4;
  EXPECT_EQ(World().refresh(body)["error"], "stale_claims");
  body["profile_version"] = 2;
  EXPECT_EQ(World().refresh(body)["profile_version"], 3);
}

TEST(Refresh, MalformedRequestsAreRefused) {
  for (const char* member : {"app", "release", "deploy", "profile_version", "keys"}) {
    json body = request("GREETING", "config", 3);
    body.erase(member);
    EXPECT_EQ(World().refresh(body)["error"], "bad_request") << member;
    body[member] = true;
    EXPECT_EQ(World().refresh(body)["error"], "bad_request") << member;
  }
  for (const char* member : {"key", "scope", "generation"}) {
    json body = request("GREETING", "config", 3);
    body["keys"][0].erase(member);
    EXPECT_EQ(World().refresh(body)["error"], "bad_request") << member;
  }
  EXPECT_EQ(one("GREETING", "secret", 3)["error"], "bad_request");
  for (const json& generation : {json(-1), json(1.5), json("3"), json(4294967296), json(nullptr)})
    EXPECT_EQ(one("GREETING", "config", generation)["error"], "bad_request") << generation;
  EXPECT_EQ(World::parse(refresh(World().caller(), "{"))["error"], "invalid_json");
  EXPECT_EQ(World::parse(refresh(World().caller(), ""))["error"], "bad_request");
}

}  // namespace
}  // namespace via::config
