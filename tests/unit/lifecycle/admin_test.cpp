#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

// Every command with its arguments: r = required, then a value of the right type.
struct Argument {
  const char* name;
  bool required;
  json good;
};
struct Command {
  const char* name;
  std::vector<Argument> arguments;
};

const std::vector<Command>& table() {
  static const std::vector<Command> kTable = {
      {"status", {}},
      {"app.create", {{"name", true, "api"}}},
      {"app.list", {}},
      {"app.show", {{"name", true, "api"}}},
      {"app.delete", {{"name", true, "api"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"addon.create",
       {{"type", true, "box"}, {"name", true, "db"}, {"app", true, "api"}, {"bind", false, "A"},
        {"read_only", false, false}, {"config", false, json::object()}}},
      {"addon.list", {{"app", false, "api"}}},
      {"addon.status", {{"name", true, "db"}, {"app", false, "api"}}},
      {"addon.bind",
       {{"app", true, "api"}, {"name", true, "db"}, {"binding", true, "A"}, {"read_only", false, true}}},
      {"addon.unbind", {{"app", true, "api"}, {"target", true, "A"}}},
      {"addon.ensure",
       {{"type", true, "box"}, {"name", true, "db"}, {"app", true, "api"}, {"bind", true, "A"},
        {"read_only", false, false}, {"config", false, json::object()}}},
      {"addon.snapshot", {{"name", true, "db"}, {"app", false, "api"}, {"note", false, "x"}, {"wait", false, true}}},
      {"addon.snapshots", {{"name", true, "db"}, {"app", false, "api"}}},
      {"addon.snapshot.delete",
       {{"name", true, "db"}, {"snapshot", true, "snap_x"}, {"app", false, "api"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"addon.restore",
       {{"name", true, "db"}, {"snapshot", true, "snap_x"}, {"app", false, "api"}, {"drain", false, true},
        {"restart_bound_apps", false, true}, {"force_after_timeout", false, 1}, {"drain_timeout_seconds", false, 1},
        {"plan", false, true}, {"if_plan", false, "x"}, {"wait", false, true}}},
      {"addon.import",
       {{"name", true, "db"}, {"file", true, "/x"}, {"app", false, "api"}, {"drain", false, true},
        {"restart_bound_apps", false, true}, {"force_after_timeout", false, 1}, {"drain_timeout_seconds", false, 1},
        {"plan", false, true}, {"if_plan", false, "x"}, {"wait", false, true}}},
      {"addon.export", {{"name", true, "db"}, {"file", true, "/x"}, {"app", false, "api"}, {"wait", false, true}}},
      {"addon.drain", {{"name", true, "db"}, {"app", false, "api"}, {"timeout_seconds", false, 1}, {"wait", false, true}}},
      {"addon.resume", {{"name", true, "db"}, {"app", false, "api"}}},
      {"addon.rotate-credentials",
       {{"name", true, "db"}, {"app", true, "api"}, {"binding", true, "A"}, {"idempotency_key", false, "k"}}},
      {"addon.revoke-credentials",
       {{"name", true, "db"}, {"app", true, "api"}, {"binding", true, "A"}, {"generation", false, 1}, {"yes", false, true},
        {"when_unused_seconds", false, 1}, {"plan", false, true}, {"if_plan", false, "x"}, {"wait", false, true}}},
      {"addon.destroy",
       {{"name", true, "db"}, {"app", false, "api"}, {"force", false, true}, {"confirm", false, "db"},
        {"no_final_snapshot", false, true}, {"plan", false, true}, {"if_plan", false, "x"}, {"wait", false, true}}},
      {"addon.share",
       {{"name", true, "db"}, {"app", false, "api"}, {"read_only", false, true}, {"query_only", false, true}, {"database", false, "x"},
        {"note", false, "x"}, {"expires_seconds", false, 5}, {"rate", false, 5}}},
      {"addon.shares", {{"name", false, "db"}, {"app", false, "api"}}},
      {"addon.unshare", {{"share", true, "share_x"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"addon.undelete", {{"id", true, "addon_x"}, {"name", false, "db"}, {"wait", false, true}}},
      {"addon.repair", {{"name", true, "db"}, {"wait", false, true}}},
      {"op.list", {{"limit", false, 5}, {"state", false, "done"}, {"target", false, "db"}}},
      {"op.show", {{"operation", true, "op_x"}}},
      {"op.wait", {{"operation", true, "op_x"}, {"timeout_seconds", false, 1}}},
      {"op.cancel", {{"operation", true, "op_x"}}},
      {"audit.list", {{"since", false, 5}, {"limit", false, 5}, {"target", false, "db"}}},
      {"audit.verify", {}},
      {"doctor", {{"fix", false, true}}},
      {"backup.create", {{"file", false, "/x"}, {"passphrase", false, "x"}, {"wait", false, true}}},
      {"backup.verify", {{"file", true, "/x"}, {"passphrase", false, "x"}, {"wait", false, true}}},
      {"backup.list", {}},
      {"deploy.create",
       {{"app", true, "api"}, {"command", false, json::array({"x"})}, {"cwd", false, "/"}, {"replicas", false, 1},
        {"env", false, json::object()}, {"check", false, "true"}, {"check_timeout_seconds", false, 1}, {"wait", false, true}}},
      {"deploy.rollback", {{"app", true, "api"}, {"to", true, "1"}, {"reissue", false, true}, {"wait", false, true}}},
      {"release.diff", {{"from", true, "rel_x"}, {"to", true, "rel_y"}}},
      {"secret.set", {{"app", true, "api"}, {"key", true, "A"}, {"value", true, "x"}}},
      {"secret.rotate", {{"app", true, "api"}, {"key", true, "A"}, {"value", false, "x"}}},
      {"secret.unset", {{"app", true, "api"}, {"key", true, "A"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"secret.list", {{"app", true, "api"}}},
      {"identity.keys.rotate", {}},
      {"identity.keys.revoke", {{"kid", true, "x"}}},
      {"app.status", {{"name", true, "api"}}},
      {"app.doctor", {{"name", true, "api"}}},
      {"app.inspect", {{"name", true, "api"}}},
      {"app.smoke", {{"name", true, "api"}, {"wait", false, true}}},
      {"app.repair", {{"name", true, "api"}, {"wait", false, true}}},
      {"app.logs", {{"name", true, "api"}, {"instance", false, "ins_x"}, {"lines", false, 5}, {"since", false, 60}, {"wait_seconds", false, 0}}},
      {"app.debug-bundle", {{"name", true, "api"}}},
      {"app.manifest.validate", {{"manifest", true, "x"}}},
      {"app.manifest.apply", {{"manifest", true, "x"}, {"wait", false, true}}},
      {"app.manifest.smoke", {{"manifest", true, "x"}, {"wait", false, true}}},
      {"deploy.list", {{"app", true, "api"}}},
      {"deploy.show", {{"deploy", true, "dep_x"}}},
      {"release.list", {{"app", false, "api"}}},
      {"release.show", {{"release", true, "rel_x"}}},
      {"runtime.list", {{"app", false, "api"}}},
      {"runtime.issue", {{"app", true, "api"}, {"out", false, "/x"}, {"ttl_seconds", false, 5}}},
      {"runtime.stop", {{"instance", true, "ins_x"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"config.set", {{"app", true, "api"}, {"values", true, {{"A", "1"}}}}},
      {"config.unset", {{"app", true, "api"}, {"key", true, "A"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"config.list", {{"app", true, "api"}}},
      {"identity.keys.list", {}},
      {"identity.issue",
       {{"kind", true, "session"}, {"app", false, "api"}, {"ttl_seconds", false, 5}, {"subject", false, "x"}}},
      {"plugin.list", {}},
      {"plugin.show", {{"plugin", true, "box"}}},
      {"plugin.verify", {{"file", true, "/x"}}},
      {"plugin.trust", {{"file", true, "/x"}}},
      {"plugin.untrust", {{"plugin", true, "box"}}},
      {"plugin.install", {{"file", true, "/x"}, {"plan", false, true}, {"if_plan", false, "x"}, {"wait", false, true}}},
      {"plugin.upgrade",
       {{"file", false, "/x"}, {"plugin", false, "box"}, {"to", false, "1"}, {"drain_timeout_seconds", false, 1},
        {"plan", false, true}, {"if_plan", false, "x"}, {"wait", false, true}}},
      {"plugin.rollback",
       {{"plugin", true, "box"}, {"drain_timeout_seconds", false, 1}, {"yes", false, true}, {"plan", false, true},
        {"if_plan", false, "x"}, {"wait", false, true}}},
      {"plugin.remove", {{"plugin", true, "box"}, {"version", false, "1"}, {"plan", false, true}, {"if_plan", false, "x"}}},
      {"plugin.keys.add", {{"name", true, "acme"}, {"key", true, "x"}}},
      {"plugin.keys.list", {}},
      {"plugin.keys.remove", {{"name", true, "acme"}, {"plan", false, true}, {"if_plan", false, "x"}}},
  };
  return kTable;
}

json good_arguments(const Command& command) {
  json out = json::object();
  for (const auto& argument : command.arguments) out[argument.name] = argument.good;
  return out;
}

TEST(Admin, TableOfTheTestIsTheTableOfTheApi) {
  std::set<std::string_view> expected, real;
  for (const auto& command : table()) expected.emplace(command.name);
  for (const auto name : api::AdminApi::commands()) EXPECT_TRUE(real.emplace(name).second) << name << " stands twice";
  EXPECT_EQ(real, expected);
}

TEST(Admin, UnknownCommandIsNotFound) {
  World w;
  for (const char* command : {"", "app", "app.create ", "addon.explode"}) EXPECT_EQ(w.error(command), "not_found");
}

TEST(Admin, MissingArgumentIsNamed) {
  World w;
  for (const auto& command : table())
    for (const auto& argument : command.arguments) {
      if (!argument.required) continue;
      for (const json& absent : {json(), json(nullptr)}) {
        json args = good_arguments(command);
        if (absent.is_discarded()) continue;
        args.erase(argument.name);
        const auto out = w.call(command.name, args);
        ASSERT_FALSE(out) << command.name;
        EXPECT_EQ(out.error().code, Code::bad_request) << command.name;
        EXPECT_NE(out.error().message.find(std::string("'") + argument.name + "'"), std::string::npos);
        EXPECT_NE(out.error().message.find("missing"), std::string::npos);
      }
    }
}

TEST(Admin, WrongTypeIsNamed) {
  World w;
  for (const auto& command : table())
    for (const auto& argument : command.arguments) {
      const std::vector<json> wrong = {json::array({1}), json(1.5), argument.good.is_string() ? json("") : json("x")};
      for (const json& value : wrong) {
        json args = good_arguments(command);
        args[argument.name] = value;
        const auto out = w.call(command.name, args);
        ASSERT_FALSE(out) << command.name << " " << args;
        EXPECT_EQ(out.error().code, Code::bad_request) << command.name << " " << args;
        EXPECT_NE(out.error().message.find(std::string("'") + argument.name + "'"), std::string::npos)
            << out.error().message;
      }
    }
}

TEST(Admin, UnknownArgumentIsNamed) {
  World w;
  for (const auto& command : table()) {
    json args = good_arguments(command);
    args["surprise"] = 1;
    const auto out = w.call(command.name, args);
    ASSERT_FALSE(out) << command.name;
    EXPECT_EQ(out.error().code, Code::bad_request) << command.name;
    EXPECT_NE(out.error().message.find("'surprise'"), std::string::npos) << command.name;
  }
}

TEST(Admin, ArgumentsMustBeAnObject) {
  World w;
  EXPECT_EQ(w.error("status", json::array()), "bad_request");
  EXPECT_EQ(w.error("status", nullptr), "");
}

TEST(Admin, ErrorsNameTheNextCommand) {
  World w;
  EXPECT_NE(w.error_text("deploy.create", {{"app", "api"}}).find("via app create api"), std::string::npos);
  w.must("app.create", {{"name", "api"}});
  EXPECT_NE(w.error_text("runtime.issue", {{"app", "api"}}).find("via deploy create api"), std::string::npos);
  EXPECT_NE(w.error_text("addon.status", {{"name", "db"}}).find("via addon list"), std::string::npos);
  EXPECT_NE(w.error_text("app.create", {{"name", "api"}}).find("via app show api"), std::string::npos);
  EXPECT_EQ(w.error("app.create", {{"name", "Bad_Name"}}), "bad_request");
}

TEST(Admin, IssueArgumentsFitTheKindOfToken) {
  World w;
  w.must("app.create", {{"name", "api"}});
  EXPECT_EQ(w.error("identity.issue", {{"kind", "root"}}), "bad_request");
  EXPECT_EQ(w.error("identity.issue", {{"kind", "build"}}), "bad_request");
  EXPECT_EQ(w.error("identity.issue", {{"kind", "session"}, {"app", "api"}}), "bad_request");
  EXPECT_EQ(w.error("identity.issue", {{"kind", "build"}, {"app", "api"}, {"subject", "x"}}), "bad_request");
  EXPECT_EQ(w.error("identity.issue", {{"kind", "build"}, {"app", "web"}}), "not_found");
}

TEST(Admin, StatusCountsWhatIsThere) {
  World w;
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  w.must("deploy.create", {{"app", "api"}});
  w.external();
  const json status = w.must("status");
  EXPECT_EQ(status["counts"], json({{"apps", 1}, {"addons", 1}, {"bindings", 1}, {"releases", 1}, {"instances", 1}}));
  EXPECT_EQ(status["types"], json({"box"}));
  EXPECT_EQ(status["server"]["running"], false);
  for (const auto& check : status["checks"]) EXPECT_EQ(check["ok"], true) << check;
}

TEST(Admin, ObjectsHaveTheMembersOfTheContract) {
  World w;
  const auto has = [](const json& object, std::vector<const char*> names) {
    for (const char* name : names) EXPECT_TRUE(object.contains(name)) << name << " in " << object;
  };
  const json addon = w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  has(addon, {"id", "name", "app", "type", "state", "created_at", "updated_at", "config", "binding", "operation"});
  has(addon["binding"], {"id", "app", "addon", "addon_id", "type", "binding", "access", "generation", "generations",
                         "created_at"});
  const json deploy = w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}});
  has(deploy, {"id", "app", "status", "created_at", "command", "release_id", "release", "instances"});
  has(deploy["release"], {"id", "app", "number", "deploy_id", "status", "created_at", "config_version"});
  has(deploy["instances"][0], {"id", "app", "deploy", "release", "driver", "state", "pid", "created_at", "expires_at"});
  const json release = w.must("release.show", {{"release", deploy["release_id"]}});
  has(release["bindings"][0], {"binding", "binding_id", "addon", "addon_id", "type", "access", "generation"});
  has(w.must("app.show", {{"name", "api"}}), {"id", "name", "created_at", "current_release", "profile_version",
                                             "addons", "bindings", "instances"});
  has(w.must("plugin.show", {{"plugin", "box"}}), {"id", "version", "title", "types", "sha256", "trusted", "loaded",
                                                  "source", "isolation", "problem", "manifest", "versions"});
  has(w.must("identity.keys.list")["items"][0], {"kid", "state", "algorithm", "created_at", "activated_at",
                                                "retires_at"});
  has(w.must("deploy.show", {{"deploy", deploy["id"]}}), {"release", "instances"});
  EXPECT_EQ(w.must("app.delete", {{"name", w.must("app.create", {{"name", "gone"}})["name"]}}), json({{"deleted", "gone"}}));
}

TEST(Admin, PluginTrustIsKept) {
  World w;
  w.must("plugin.trust", {{"file", "/opt/x.so"}});
  EXPECT_EQ(w.must("plugin.untrust", {{"plugin", "box"}})["trusted"], false);
  EXPECT_EQ(w.trust.untrusted, std::vector<std::string>{"test.box"});
  const auto pins = *w.store->load_pins();
  ASSERT_EQ(pins.size(), 2U);
  EXPECT_EQ(pins[0].plugin_id, "test.box");
  EXPECT_FALSE(pins[0].trusted);
  EXPECT_EQ(pins[1].file, "/opt");
  EXPECT_TRUE(pins[1].trusted);
  EXPECT_EQ(w.error("plugin.trust", {{"file", "relative.so"}}), "bad_request");
  EXPECT_EQ(w.error("plugin.show", {{"plugin", "nope"}}), "not_found");
}

}  // namespace
}  // namespace via::test
