// Apps, their deploys and their instances under faults.
#include "fault/io_cases.hpp"

namespace via::test::faults {
namespace {

int instances(IoFault& t, const std::string& app, const std::string& state) {
  int n = 0;
  for (const json listed = t.admin("runtime.list", {{"app", app}}); const json& item : listed["items"])
    n += item.value("state", "") == state ? 1 : 0;
  return n;
}

}  // namespace

IoCase app_create() {
  IoCase c;
  c.name = c.command = "app.create";
  c.arguments = [](const json&) { return json{{"name", "fresh"}}; };
  c.state = [](IoFault& t, const json&) { return when(t.ask("app.show", {{"name", "fresh"}}).has_value()); };
  return c;
}

IoCase app_delete() {
  IoCase c;
  c.name = c.command = "app.delete";
  c.prepare = [](IoFault& t) { return t.admin("app.create", {{"name", "fresh"}}); };
  c.arguments = [](const json&) { return json{{"name", "fresh"}}; };
  c.state = [](IoFault& t, const json&) { return when(!t.ask("app.show", {{"name", "fresh"}})); };
  return c;
}

// An instance whose day is over; the repair issues a new one in its place, with its own material's folder.
IoCase app_repair() {
  IoCase c;
  c.name = c.command = "app.repair";
  c.prepare = [](IoFault& t) {
    t.admin("runtime.stop", {{"instance", other_with_snapshot(t)["instance"]}});
    const json issued = t.admin("runtime.issue", {{"app", "other"}, {"ttl_seconds", 3600}});
    EXPECT_EQ(t.host.stop(), 0);
    const std::string id = issued.value("id", "");
    one_value(t.host.state_dir() / "control-plane.db",
              ("UPDATE instances SET issued_at=issued_at-7200000, expires_at=expires_at-7200000 WHERE id='" + id + "'").c_str());
    EXPECT_TRUE(t.host.start()) << "which ends it";
    return json{{"token", (fs::path(issued.value("material", "")) / "token").string()}};
  };
  c.arguments = [](const json&) { return json{{"name", "other"}}; };
  c.state = [](IoFault& t, const json& about) {
    const fs::path token = about.value("token", "");
    if (!fs::exists(token)) return Is::old_state;
    Caller app(t.host.port(), text_of(token));
    const int answered = app.query("SELECT 1").status;
    return answered == 200 ? Is::new_state : neither("the token answers " + std::to_string(answered));
  };
  return c;
}

IoCase manifest_apply() {
  IoCase c;
  c.name = c.command = "app.manifest.apply";
  c.arguments = [](const json&) {
    return json{{"manifest",
                 "[app]\nname = \"steady\"\n\n[[addons]]\ntype = \"sqlite\"\nname = \"extra-db\"\nbind = \"EXTRA\"\n\n"
                 "[config]\nCOLOUR = \"green\"\n"}};
  };
  // What it made before a fault stays, and applying it again makes the rest.
  c.state = [](IoFault& t, const json&) {
    const auto found = addon(t);
    const std::string state = found ? found->value("state", "") : "none";
    const bool bound = has_binding(t, "EXTRA"), set = config_value(t) == "green";
    if (state != "none" && state != "failed" && state != "active") return neither("add-on " + state);
    if ((bound && state != "active") || (set && !bound)) return neither("in another order than it is made in");
    return when(set);
  };
  c.may_fail = true;
  return c;
}

IoCase deploy_create() {
  IoCase c;
  c.name = c.command = "deploy.create";
  c.prepare = [](IoFault& t) {
    t.admin("app.create", {{"name", "worker"}});
    return t.admin("deploy.create", {{"app", "worker"}, {"command", {"/bin/sleep", "1000"}}})["release"];
  };
  c.arguments = [](const json&) { return json{{"app", "worker"}, {"command", {"/bin/sleep", "2000"}}}; };
  c.state = [](IoFault& t, const json& about) {
    EXPECT_TRUE(eventually([&] { return instances(t, "worker", "running") == 1; })) << "one instance runs";
    return when(t.admin("app.show", {{"name", "worker"}}).value("current_release", "") != about.value("id", ""));
  };
  return c;
}

IoCase deploy_rollback() {
  IoCase c = deploy_create();
  c.name = c.command = "deploy.rollback";
  c.prepare = [](IoFault& t) {
    t.admin("app.create", {{"name", "worker"}});
    const json first = t.admin("deploy.create", {{"app", "worker"}, {"command", {"/bin/sleep", "1000"}}})["release"];
    const json second = t.admin("deploy.create", {{"app", "worker"}, {"command", {"/bin/sleep", "2000"}}})["release"];
    return json{{"id", second.value("id", "")}, {"first", first.value("id", "")}};
  };
  c.arguments = [](const json& about) { return json{{"app", "worker"}, {"to", about.value("first", "")}}; };
  return c;
}

IoCase runtime_issue() {
  IoCase c;
  c.name = c.command = "runtime.issue";
  c.arguments = [](const json&) { return json{{"app", "steady"}}; };
  c.state = [](IoFault& t, const json&) {
    int working = 0;
    for (const json listed = t.admin("runtime.list", {{"app", "steady"}}); const json& item : listed["items"]) {
      if (item.value("state", "") != "running") continue;
      const auto token = t.host.state_dir() / "runtimes" / item.value("id", "") / "token";
      Caller app(t.host.port(), text_of(token));
      if (app.query("SELECT 1").status != 200) return neither("an instance that runs cannot query: " + item.dump());
      ++working;
    }
    return working == 1 || working == 2 ? when(working == 2) : neither(std::to_string(working) + " instances");
  };
  return c;
}

IoCase runtime_stop() {
  IoCase c;
  c.name = c.command = "runtime.stop";
  c.prepare = [](IoFault& t) {
    const Runtime more = t.issue("steady");
    return json{{"instance", more.instance}, {"token", more.token}};
  };
  c.arguments = [](const json& about) { return json{{"instance", about.value("instance", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    std::string state;
    for (const json listed = t.admin("runtime.list", {{"app", "steady"}}); const json& item : listed["items"])
      if (item.value("id", "") == about.value("instance", "")) state = item.value("state", "");
    Caller app(t.host.port(), about.value("token", ""));
    const bool works = app.query("SELECT 1").status == 200;
    if (state == "stopped" && !works) return Is::new_state;
    if (state == "running" && works) return Is::old_state;
    return neither("the instance is " + state + (works ? " and works" : " and does not work"));
  };
  return c;
}

}  // namespace via::test::faults
