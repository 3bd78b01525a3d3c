// Plugins under faults: bundles that are installed and removed, versions that change under an add-on and back. The plugin
// is tests/fixtures/vaults: 1.0.0 keeps storage schema 1, 2.0.0 keeps 2.
#include "fault/io_cases.hpp"

namespace via::test::faults {
namespace {

std::string packed(IoFault& t, const std::string& version) {
  const std::string file = (t.host.folder() / ("vault-" + version + ".viaplugin")).string();
  const Finished done = t.via({"plugin", "pack", std::string(VIA_TEST_VAULTS) + "/" + version, "-o", file});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  return file;
}

json with_bundle(IoFault& t) { return {{"file", packed(t, "1.0.0")}}; }

json installed(IoFault& t) {
  const json about = with_bundle(t);
  t.admin("plugin.install", about);
  return about;
}

// Add-on "safe" of app "vaults", which holds "gold".
json with_vault(IoFault& t) {
  installed(t);
  t.admin("addon.create", {{"type", "vault"}, {"name", "safe"}, {"app", "vaults"}, {"bind", "SAFE"}});
  t.admin("deploy.create", {{"app", "vaults"}});
  const Runtime runtime = t.issue("vaults");
  EXPECT_EQ(t.caller(runtime).op("put", "gold", "SAFE").status, 200);
  return {{"token", runtime.token}, {"file", packed(t, "2.0.0")}};
}

json upgraded(IoFault& t) {
  const json about = with_vault(t);
  t.admin("plugin.upgrade", {{"file", about["file"]}});
  Caller app(t.host.port(), about.value("token", ""));
  EXPECT_EQ(app.op("put", "silver", "SAFE").status, 200);
  return about;
}

// The version that serves and what it serves, which belong together.
std::string served(IoFault& t, const json& about) {
  const auto shown = t.ask("plugin.show", {{"plugin", "test.vault"}});
  Caller app(t.host.port(), about.value("token", ""));
  const Response got = app.op("get", json::object(), "SAFE");
  return (shown ? shown->value("version", "") : std::string("none")) + " " + got.body;
}

Is is_installed(IoFault& t, const json&) {
  const auto shown = t.ask("plugin.show", {{"plugin", "test.vault"}});
  const bool files = fs::exists(t.host.state_dir() / "plugins" / "test.vault" / "1.0.0");
  const bool loaded = shown && shown->value("loaded", false);
  return loaded == files ? when(loaded) : neither(loaded ? "loaded without files" : "files without a plugin");
}

}  // namespace

IoCase plugin_install() {
  IoCase c;
  c.name = c.command = "plugin.install";
  c.prepare = with_bundle;
  c.arguments = [](const json& about) { return json{{"file", about.value("file", "")}}; };
  c.state = is_installed;
  return c;
}

IoCase plugin_remove() {
  IoCase c;
  c.name = c.command = "plugin.remove";
  c.prepare = installed;
  c.arguments = [](const json&) { return json{{"plugin", "test.vault"}}; };
  c.state = [](IoFault& t, const json& about) {
    const Is is = is_installed(t, about);
    return is == Is::neither ? is : when(is == Is::old_state);
  };
  return c;
}

IoCase plugin_upgrade() {
  IoCase c;
  c.name = c.command = "plugin.upgrade";
  c.prepare = with_vault;
  c.arguments = [](const json& about) { return json{{"file", about.value("file", "")}}; };
  c.state = [](IoFault& t, const json& about) {
    const std::string is = served(t, about);
    if (is == R"(1.0.0 {"schema":1,"value":"gold"})") return Is::old_state;
    if (is == R"(2.0.0 {"schema":2,"value":"gold"})") return Is::new_state;
    return neither(is);
  };
  return c;
}

IoCase plugin_rollback() {
  IoCase c;
  c.name = c.command = "plugin.rollback";
  c.prepare = upgraded;
  c.arguments = [](const json&) { return json{{"plugin", "test.vault"}, {"yes", true}}; };
  c.state = [](IoFault& t, const json& about) {
    const std::string is = served(t, about);
    if (is == R"(2.0.0 {"schema":2,"value":"silver"})") return Is::old_state;
    if (is == R"(1.0.0 {"schema":1,"value":"gold"})") return Is::new_state;
    return neither(is);
  };
  return c;
}

}  // namespace via::test::faults
