#include "core/config/resolve.hpp"
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

TEST(Configuration, ChangeIsSeenByRunningInstancesAtOnce) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("config.set", {{"app", "api"}, {"values", {{"GREETING", "hello"}}}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  const auto greeting = [&] {
    const auto config = w.plane->values().find("api");
    const config::Caller caller{*w.grant(instance), config.get(), "http://x"};
    return json::parse(*config::resolve(caller, R"({"keys":["GREETING"]})"))["values"];
  };
  EXPECT_EQ(greeting()[0]["value"], "hello");
  const json set = w.must("config.set", {{"app", "api"}, {"values", {{"GREETING", "hi"}}}});
  EXPECT_EQ(set["profile_version"], 2);
  EXPECT_EQ(set["keys"], json::array({{{"key", "GREETING"}, {"generation", 2}}}));
  EXPECT_EQ(greeting()[0]["value"], "hi");
  EXPECT_EQ(greeting()[0]["generation"], 2);
  w.restart();
  EXPECT_EQ(greeting()[0]["value"], "hi");
  EXPECT_EQ(w.must("config.unset", {{"app", "api"}, {"key", "GREETING"}})["profile_version"], 3);
  EXPECT_EQ(greeting(), json::array());
  EXPECT_EQ(w.error("config.unset", {{"app", "api"}, {"key", "GREETING"}}), "not_found");
}

TEST(Configuration, KeyOfABindingIsRefused) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  for (const char* key : {"DATABASE", "DATABASE_URL"})
    EXPECT_EQ(w.error("config.set", {{"app", "api"}, {"values", {{key, "x"}}}}), "conflict") << key;
  EXPECT_EQ(w.error("config.set", {{"app", "api"}, {"values", {{"lower", "x"}}}}), "bad_request");
  EXPECT_EQ(w.error("config.set", {{"app", "api"}, {"values", json::object()}}), "bad_request");
  EXPECT_EQ(w.must("config.list", {{"app", "api"}})["items"], json::array());
}

TEST(Configuration, RefusedSetChangesNothing) {
  World w;
  w.must("app.create", {{"name", "api"}});
  EXPECT_NE(w.error("config.set", {{"app", "api"}, {"values", {{"A", "1"}, {"b", "2"}}}}), "");
  EXPECT_EQ(w.must("config.list", {{"app", "api"}})["profile_version"], 0);
}

// What an instance of the app is answered.
json resolved(World& w, const std::string& instance, const json& keys) {
  const auto config = w.plane->values().find("api");
  const config::Caller caller{*w.grant(instance), config.get(), "http://x", &w.plane->sealer()};
  return json::parse(*config::resolve(caller, json{{"keys", keys}}.dump()));
}

json refreshed(World& w, const std::string& instance, const std::string& key, std::uint32_t generation) {
  const auto config = w.plane->values().find("api");
  const auto* grant = w.grant(instance);
  const config::Caller caller{*grant, config.get(), "http://x", &w.plane->sealer()};
  return json::parse(*config::refresh(
      caller, json{{"app", "api"},
                   {"release", grant->release},
                   {"deploy", grant->deploy},
                   {"profile_version", config->profile_version},
                   {"keys", {{{"key", key}, {"scope", "config"}, {"generation", generation}}}}}
                  .dump()))["keys"][0];
}

TEST(Secrets, AreGivenToInstancesAndShownToNobodyElse) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  const json set = w.must("secret.set", {{"app", "api"}, {"key", "API_TOKEN"}, {"value", "CANARY-secret-1"}});
  EXPECT_EQ(set, (json{{"app", "api"}, {"key", "API_TOKEN"}, {"generation", 1}, {"profile_version", 1}}));
  EXPECT_EQ(resolved(w, instance, {"API_TOKEN"})["values"],
            json::parse(R"([{"key":"API_TOKEN","scope":"config","generation":1,"value":"CANARY-secret-1","secret":true}])"));
  w.must("secret.rotate", {{"app", "api"}, {"key", "API_TOKEN"}, {"value", "CANARY-secret-2"}});
  w.restart();
  EXPECT_EQ(resolved(w, instance, {"API_TOKEN"})["values"][0]["value"], "CANARY-secret-2");

  std::string shown;
  for (const char* command : {"secret.list", "config.list"}) shown += w.must(command, {{"app", "api"}}).dump();
  for (const char* command : {"op.list", "audit.list"}) shown += w.must(command).dump();
  for (const json& wrong : {json{{"app", "api"}, {"key", "lower"}, {"value", "CANARY-secret-3"}},
                            json{{"app", "nope"}, {"key", "A"}, {"value", "CANARY-secret-3"}},
                            json{{"app", "api"}, {"key", "A"}, {"value", "CANARY-secret-3" + std::string(1U << 17, 'x')}}})
    shown += w.error_text("secret.set", wrong);
  for (const auto& line : *w.lines) shown += line;
  EXPECT_EQ(shown.find("CANARY-secret"), std::string::npos) << shown;
  EXPECT_EQ(w.must("secret.list", {{"app", "api"}})["items"][0]["key"], "API_TOKEN");
  EXPECT_TRUE(w.must("config.list", {{"app", "api"}})["items"].empty());
}

TEST(Secrets, AreNotInTheStateFolderInTheClear) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("secret.set", {{"app", "api"}, {"key", "API_TOKEN"}, {"value", "CANARY-secret-1"}});
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(w.folder.path())) {
    if (!entry.is_regular_file()) continue;
    const auto bytes = read_file(entry.path());
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->find("CANARY-secret"), std::string::npos) << entry.path();
    ++files;
  }
  EXPECT_GT(files, 1);
}

TEST(Secrets, CountGenerationsAsPlainValuesDo) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  const json value = {{"app", "api"}, {"key", "K"}, {"value", "one"}};
  w.must("secret.set", value);
  EXPECT_EQ(w.must("secret.set", value)["generation"], 1) << "the same value changes nothing";
  EXPECT_EQ(w.must("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "two"}})["generation"], 2);
  EXPECT_EQ(refreshed(w, instance, "K", 2)["status"], "unchanged");
  const json updated = refreshed(w, instance, "K", 1);
  EXPECT_EQ(updated["status"], "updated");
  EXPECT_EQ(updated["value"], "two");
  EXPECT_EQ(updated["secret"], true);
  EXPECT_EQ(refreshed(w, instance, "K", 3)["code"], "generation_unknown");
  EXPECT_EQ(w.must("secret.unset", {{"app", "api"}, {"key", "K"}})["profile_version"], 3);
  EXPECT_EQ(refreshed(w, instance, "K", 2)["code"], "not_found");
  EXPECT_EQ(w.error("secret.unset", {{"app", "api"}, {"key", "K"}}), "not_found");
  EXPECT_EQ(w.error("secret.rotate", {{"app", "api"}, {"key", "K"}, {"value", "x"}}), "not_found");
  EXPECT_EQ(w.must("secret.set", value)["generation"], 4);
}

TEST(Secrets, ShareTheirNamesWithNothing) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  w.must("config.set", {{"app", "api"}, {"values", {{"PLAIN", "1"}}}});
  w.must("secret.set", {{"app", "api"}, {"key", "SEALED"}, {"value", "1"}});
  for (const char* key : {"DATABASE", "DATABASE_URL", "PLAIN"})
    EXPECT_EQ(w.error("secret.set", {{"app", "api"}, {"key", key}, {"value", "x"}}), "conflict") << key;
  EXPECT_EQ(w.error("config.set", {{"app", "api"}, {"values", {{"SEALED", "x"}}}}), "conflict");
  EXPECT_EQ(w.error("config.unset", {{"app", "api"}, {"key", "SEALED"}}), "not_found");
  EXPECT_EQ(w.error("secret.unset", {{"app", "api"}, {"key", "PLAIN"}}), "not_found");
  EXPECT_NE(w.error_text("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "SEALED"}}).find("via secret unset"),
            std::string::npos);
}

TEST(Secrets, GeneratedOnesAreRandomAndOfTheirLength) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  w.must("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "one"}});
  std::set<std::string> seen;
  for (int i = 0; i < 3; ++i) {
    w.must("secret.rotate", {{"app", "api"}, {"key", "K"}, {"generate", 32}});
    const std::string value = resolved(w, instance, {"K"})["values"][0]["value"];
    EXPECT_EQ(value.size(), 43U);
    EXPECT_TRUE(seen.insert(value).second);
  }
  for (const json& wrong : {json{{"generate", 15}}, json{{"generate", 257}}, json::object(),
                            json{{"generate", 32}, {"value", "x"}}}) {
    json args = {{"app", "api"}, {"key", "K"}};
    args.update(wrong);
    EXPECT_EQ(w.error("secret.rotate", args), "bad_request") << args;
  }
}

TEST(Secrets, SealedUnderAnotherMasterKeyAreMissingAndRejectedAsUnavailable) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("deploy.create", {{"app", "api"}});
  const std::string instance = w.external();
  w.must("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "one"}});
  w.must("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "two"}});
  w.must("config.set", {{"app", "api"}, {"values", {{"PLAIN", "1"}}}});
  // A box belongs to its own row: it does not open in the place of another generation either.
  ASSERT_TRUE(w.store->db().run("UPDATE config_values SET generation=3 WHERE key='K'"));
  w.restart();
  const json answer = resolved(w, instance, {"K", "PLAIN"});
  EXPECT_EQ(answer["missing"], json({"K"}));
  EXPECT_EQ(answer["values"].size(), 1U);
  EXPECT_EQ(refreshed(w, instance, "K", 1)["code"], "unavailable");
  EXPECT_EQ(w.must("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "three"}})["generation"], 4);
  EXPECT_EQ(resolved(w, instance, {"K"})["values"][0]["value"], "three");
}

}  // namespace
}  // namespace via::test
