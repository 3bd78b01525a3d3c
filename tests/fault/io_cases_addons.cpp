// Add-ons, their bindings and their credentials under faults.
#include "fault/io_cases.hpp"

namespace via::test::faults {
namespace {

Is created(IoFault& t) {
  const auto found = addon(t);
  const bool bound = has_binding(t, "EXTRA");
  const std::string state = found ? found->value("state", "") : "none";
  if (state == "active" && bound) return Is::new_state;
  if ((state == "none" || state == "failed") && !bound) return Is::old_state;
  return neither("add-on " + state + (bound ? ", bound" : ", not bound"));
}

Is destroyed(IoFault& t, const json& about) {
  const auto found = addon(t, about.value("id", ""));
  const std::string state = found ? found->value("state", "") : "none";
  if (state == "destroyed") return when(true);
  if (state != "active") return neither("add-on " + state);
  for (const json& layer : (*found)["layers"])
    if (layer.value("name", "") == "storage" && !layer.value("ok", false)) return neither(layer.dump());
  return when(false);
}

// A destroyed add-on's id, with the token of the app that used it.
json destroyed_other(IoFault& t) {
  json about = other_with_snapshot(t);
  about["id"] = t.admin("addon.status", {{"name", "other-db"}}).value("id", "");
  t.admin("addon.destroy", {{"name", "other-db"}, {"force", true}, {"confirm", "other-db"}});
  return about;
}

json generations(IoFault& t) {
  const auto found = addon(t, "other-db");
  return found ? (*found)["bindings"][0]["generations"] : json::array();
}

}  // namespace

IoCase addon_create() {
  IoCase c;
  c.name = c.command = "addon.create";
  c.arguments = [](const json&) {
    return json{{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}, {"bind", "EXTRA"}};
  };
  c.state = [](IoFault& t, const json&) { return created(t); };
  c.may_fail = true;
  return c;
}

IoCase addon_ensure() {
  IoCase c = addon_create();
  c.name = c.command = "addon.ensure";
  // It may have made the add-on and not the binding: the next `ensure` binds.
  c.state = [](IoFault& t, const json&) {
    const auto found = addon(t);
    const std::string state = found ? found->value("state", "") : "none";
    if (state != "none" && state != "failed" && state != "active") return neither("add-on " + state);
    return when(has_binding(t, "EXTRA"));
  };
  return c;
}

IoCase addon_bind() {
  IoCase c;
  c.name = c.command = "addon.bind";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"name", "extra-db"}, {"binding", "EXTRA"}}; };
  c.state = [](IoFault& t, const json&) { return when(has_binding(t, "EXTRA")); };
  return c;
}

IoCase addon_unbind() {
  IoCase c;
  c.name = c.command = "addon.unbind";
  c.prepare = extra_bound;
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"target", "EXTRA"}}; };
  c.state = [](IoFault& t, const json&) { return when(!has_binding(t, "EXTRA")); };
  return c;
}

IoCase addon_share() {
  IoCase c;
  c.name = c.command = "addon.share";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) { return when(!t.admin("addon.shares", {{"name", "extra-db"}})["items"].empty()); };
  return c;
}

IoCase addon_unshare() {
  IoCase c;
  c.name = c.command = "addon.unshare";
  c.prepare = [](IoFault& t) {
    extra_addon(t);
    return t.admin("addon.share", {{"name", "extra-db"}});
  };
  c.arguments = [](const json& about) { return json{{"share", about.value("id", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    const std::string url = about.value("url", "");
    const int status = Http(t.host.port()).call("GET", url.substr(url.find("/c/")) + "/health").status;
    const bool listed = !t.admin("addon.shares", {{"name", "extra-db"}})["items"].empty();
    if (status != (listed ? 200 : 404)) return neither("listed " + std::to_string(listed) + ", answers " + std::to_string(status));
    return when(!listed);
  };
  return c;
}

IoCase addon_destroy() {
  IoCase c;
  c.name = c.command = "addon.destroy";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = destroyed;
  c.explains = {"conflict"};
  return c;
}

IoCase addon_undelete() {
  IoCase c;
  c.name = c.command = "addon.undelete";
  c.prepare = destroyed_other;
  c.arguments = [](const json& about) { return json{{"id", about.value("id", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    const Is is = destroyed(t, about);
    return is == Is::neither ? is : when(is == Is::old_state);
  };
  return c;
}

IoCase addon_repair() {
  IoCase c;
  c.name = c.command = "addon.repair";
  c.prepare = [](IoFault& t) {
    t.without_room("addon.create", {{"type", "sqlite"}, {"name", "extra-db"}, {"app", "steady"}},
                   "mkdir addons/sqlite/*");
    return json::object();
  };
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) {
    const auto found = addon(t);
    const std::string state = found ? found->value("state", "") : "none";
    if (state != "active" && state != "failed") return neither("add-on " + state);
    return when(state == "active");
  };
  c.may_fail = true;
  c.tolerated = {"addons"};
  return c;
}

IoCase addon_drain() {
  IoCase c;
  c.name = c.command = "addon.drain";
  c.prepare = extra_addon;
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) { return when(addon(t)->value("drained", false)); };
  c.tolerated = {"drained"};
  return c;
}

IoCase addon_resume() {
  IoCase c;
  c.name = c.command = "addon.resume";
  c.prepare = [](IoFault& t) {
    extra_addon(t);
    return t.admin("addon.drain", {{"name", "extra-db"}});
  };
  c.arguments = [](const json&) { return json{{"name", "extra-db"}}; };
  c.state = [](IoFault& t, const json&) { return when(!addon(t)->value("drained", true)); };
  c.tolerated = {"drained"};
  return c;
}

IoCase rotate() {
  IoCase c;
  c.name = c.command = "addon.rotate-credentials";
  c.prepare = other_with_snapshot;
  c.arguments = [](const json&) { return json{{"name", "other-db"}, {"app", "other"}, {"binding", "DATABASE"}}; };
  c.state = [](IoFault& t, const json& about) {
    const json is = generations(t);
    if (!rows_of_other(t, about).is_array()) return neither("the old generation works until it is revoked");
    return is.size() == 1 || is.size() == 2 ? when(is.size() == 2) : neither(is.dump());
  };
  return c;
}

IoCase revoke() {
  IoCase c;
  c.name = c.command = "addon.revoke-credentials";
  c.prepare = [](IoFault& t) {
    json about = other_with_snapshot(t);
    t.admin("addon.rotate-credentials", {{"name", "other-db"}, {"app", "other"}, {"binding", "DATABASE"}});
    return about;
  };
  c.arguments = [](const json&) {
    return json{{"name", "other-db"}, {"app", "other"}, {"binding", "DATABASE"}, {"generation", 1}, {"yes", true}};
  };
  // The caller names the generation it holds, as the client library does.
  c.state = [](IoFault& t, const json& about) {
    std::string first;
    for (const json listed = generations(t); const json& g : listed)
      if (g.value("generation", 0) == 1) first = g.value("status", "");
    Caller app(t.host.port(), about.value("token", ""));
    const bool works = app.post("/v1/runtime/addons/DATABASE/query", R"({"sql":"SELECT 1"})",
                                {{"Via-Generation", "1"}})
                           .status == 200;
    if (first == "revoked" && !works) return Is::new_state;
    if (first == "live" && works) return Is::old_state;
    return neither("generation 1 is " + first + (works ? " and works" : " and does not work"));
  };
  return c;
}

}  // namespace via::test::faults
