// Values, secrets and signing keys under faults.
#include <ctime>

#include "fault/io_cases.hpp"

namespace via::test::faults {
namespace {

int secret_generation(IoFault& t) {
  for (const json listed = t.admin("secret.list", {{"app", "steady"}}); const json& item : listed["items"])
    if (item.value("key", "") == "PASSWORD") return item.value("generation", 0);
  return 0;
}

std::string active_key(IoFault& t) {
  for (const json listed = t.admin("identity.keys.list"); const json& key : listed["items"])
    if (key.value("state", "") == "active") return key.value("kid", "");
  return "";
}

}  // namespace

IoCase config_set() {
  IoCase c;
  c.name = c.command = "config.set";
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"values", {{"COLOUR", "green"}, {"SIZE", "4"}}}}; };
  c.state = [](IoFault& t, const json&) { return when(config_value(t) == "green"); };
  return c;
}

IoCase config_unset() {
  IoCase c;
  c.name = c.command = "config.unset";
  c.prepare = [](IoFault& t) { return t.admin("config.set", {{"app", "steady"}, {"values", {{"COLOUR", "green"}}}}); };
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "COLOUR"}}; };
  c.state = [](IoFault& t, const json&) { return when(config_value(t).empty()); };
  return c;
}

IoCase secret_set() {
  IoCase c;
  c.name = c.command = "secret.set";
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "PASSWORD"}, {"value", "correct horse"}}; };
  c.state = [](IoFault& t, const json&) { return when(secret_generation(t) > 0); };
  return c;
}

IoCase secret_rotate() {
  IoCase c;
  c.name = c.command = "secret.rotate";
  c.prepare = [](IoFault& t) {
    return t.admin("secret.set", {{"app", "steady"}, {"key", "PASSWORD"}, {"value", "correct horse"}});
  };
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "PASSWORD"}, {"generate", 32}}; };
  c.state = [](IoFault& t, const json&) { return when(secret_generation(t) > 1); };
  return c;
}

IoCase secret_unset() {
  IoCase c;
  c.name = c.command = "secret.unset";
  c.prepare = [](IoFault& t) {
    return t.admin("secret.set", {{"app", "steady"}, {"key", "PASSWORD"}, {"value", "correct horse"}});
  };
  c.arguments = [](const json&) { return json{{"app", "steady"}, {"key", "PASSWORD"}}; };
  c.state = [](IoFault& t, const json&) { return when(secret_generation(t) == 0); };
  return c;
}

IoCase keys_rotate() {
  IoCase c;
  c.name = c.command = "identity.keys.rotate";
  c.prepare = [](IoFault& t) { return json{{"kid", active_key(t)}}; };
  c.arguments = [](const json&) { return json::object(); };
  c.state = [](IoFault& t, const json& about) { return when(active_key(t) != about.value("kid", "")); };
  return c;
}

IoCase keys_revoke() {
  IoCase c;
  c.name = c.command = "identity.keys.revoke";
  c.prepare = [](IoFault& t) {
    const json other = other_with_snapshot(t);
    const std::string kid = active_key(t);
    t.admin("identity.keys.rotate");
    // Tokens are told apart by the second they were issued in.
    const std::int64_t now = std::time(nullptr);
    EXPECT_TRUE(eventually([&] { return std::time(nullptr) > now + 1; }));
    t.replace_steady();
    return json{{"kid", kid}, {"token", other["token"]}};
  };
  c.arguments = [](const json& about) { return json{{"kid", about.value("kid", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    std::string is;
    for (const json listed = t.admin("identity.keys.list"); const json& key : listed["items"])
      if (key.value("kid", "") == about.value("kid", "")) is = key.value("state", "");
    Caller app(t.host.port(), about.value("token", ""));
    const bool works = app.query("SELECT 1").status == 200;
    if (is == "revoked" && !works) return Is::new_state;
    if (is == "retiring" && works) return Is::old_state;
    return neither("the key is " + is + " and its token " + (works ? "works" : "does not work"));
  };
  return c;
}

}  // namespace via::test::faults
