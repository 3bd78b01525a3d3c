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

}  // namespace
}  // namespace via::test
