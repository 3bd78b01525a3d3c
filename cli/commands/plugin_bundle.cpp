// via plugin install, upgrade, rollback, remove and keys: bundles on a host.
#include "cli/commands/plugin.hpp"

namespace via::cli {
namespace {

int render_installed(Output& out, const Json& plugin) {
  Json shown = plugin;
  if (plugin.value("signed_by", Json()).is_null())
    shown["signed_by"] = plugin.value("signer", Json()).is_string() ? "a key that is not trusted here (" + plugin.value("signer", "") + ")" : "nobody";
  out.fields({{"plugin", "id"},
              {"version", "version"},
              {"types", "types", Show::list},
              {"sha256", "sha256"},
              {"signed by", "signed_by"},
              {"installed before", "already", Show::yes_no},
              {"operation", "operation"}},
             shown);
  return 0;
}

int render_changed(Output& out, const Json& change) {
  out.fields({{"plugin", "plugin"}, {"from", "from"}, {"to", "to"}, {"sha256", "sha256"}, {"signed by", "signed_by"}, {"operation", "operation"}}, change);
  if (const Json addons = change.value("addons", Json::array()); !addons.empty()) {
    out.heading("Add-ons");
    out.table({{"ADD-ON", "addon"}, {"SCHEMA", "from_schema"}, {"NOW", "to_schema"}, {"SNAPSHOT OF BEFORE", "safety_snapshot"}, {"RESTORED", "restores"}},
              addons, "add-ons");
  }
  return 0;
}

int render_key(Output& out, const Json& key) {
  out.fields({{"key", "name"}, {"fingerprint", "fingerprint"}, {"added", "added_at", Show::time}}, key);
  return 0;
}

}  // namespace

void add_plugin_bundle_commands(CommandTree& tree, CLI::App& group) {
  tree.add(group, "install", "take in a bundle: check it, pin it, load it", "plugin.install")
      .argument("file", "BUNDLE", "an ID-VERSION.viaplugin", Kind::file)
      .long_running()
      .plannable()
      .begins_host()
      .examples({"via plugin install acme.notes-1.2.0.viaplugin", "via plugin install acme.notes-1.2.0.viaplugin --plan"})
      .render(render_installed, "sha256")
      .next([](const Json& plugin) {
        const Json types = plugin.value("types", Json::array());
        return "It runs with the host's privileges. Make an add-on: via addon create " +
               (types.empty() ? std::string("TYPE") : types.front().get<std::string>()) + " NAME --app APP";
      });
  tree.add(group, "upgrade", "change every add-on of a plugin to a newer version of it, with a way back", "plugin.upgrade")
      .argument("file", "BUNDLE", "an ID-VERSION.viaplugin, or a plugin's folder", Kind::file, false)
      .option("--plugin", "plugin", "ID", "instead of a bundle: a plugin, to a version that is here (--to)")
      .option("--to", "to", "VERSION", "the version (via plugin show ID)")
      .option("--drain-timeout", "drain_timeout_seconds", "DURATION", "how long operations may take to end (30s)", Kind::duration)
      .long_running()
      .plannable()
      .examples({"via plugin upgrade acme.notes-1.3.0.viaplugin --plan", "via plugin upgrade acme.notes-1.3.0.viaplugin",
                 "via plugin upgrade --plugin acme.notes --to 1.3.0"})
      .render(render_changed, "to")
      .next([](const Json& change) { return "If it does not work out: via plugin rollback " + change.value("plugin", "ID"); });
  tree.add(group, "rollback", "go back to the version before the last upgrade", "plugin.rollback")
      .argument("plugin", "ID", "the plugin")
      .option("--drain-timeout", "drain_timeout_seconds", "DURATION", "how long operations may take to end (30s)", Kind::duration)
      .long_running()
      .destructive("plugin", "yes")
      .examples({"via plugin rollback acme.notes --plan", "via plugin rollback acme.notes --yes"})
      .render(render_changed, "to")
      .next([](const Json& change) {
        return "What was written since the upgrade is in the snapshots: via addon snapshots NAME. Remove the newer version: via plugin remove " +
               change.value("plugin", "ID") + " --version " + change.value("from", "VERSION");
      });
  tree.add(group, "remove", "remove a plugin that no add-on uses, or one version of it", "plugin.remove")
      .argument("plugin", "ID", "the plugin, or an add-on type it brings")
      .option("--version", "version", "VERSION", "only this version (via plugin show ID)")
      .destructive("plugin")
      .examples({"via plugin remove acme.notes --plan", "via plugin remove acme.notes --version 1.2.0 --yes"})
      .render(
          [](Output& out, const Json& removed) {
            out.fields({{"plugin", "id"}, {"removed", "removed", Show::list}, {"operation", "operation"}}, removed);
            return 0;
          },
          "id");

  CLI::App& keys = *group.add_subcommand("keys", "whose signatures of bundles count");
  tree.add(keys, "add", "trust a key that signs bundles", "plugin.keys.add")
      .argument("name", "NAME", "whose it is: a-z, 0-9, '-'")
      .argument("key", "FILE", "the public key (PEM; via plugin keygen writes it to FILE.pub)", Kind::file_text)
      .begins_host()
      .examples({"via plugin keys add acme ~/acme.key.pub"})
      .render(render_key, "fingerprint")
      .next([](const Json&) { return "To take nothing else: require_plugin_signature = true in the host's config.toml"; });
  tree.add(keys, "list", "the keys that are trusted", "plugin.keys.list")
      .examples({"via plugin keys list"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"KEY", "name"}, {"FINGERPRINT", "fingerprint"}, {"ADDED", "added_at", Show::time}}, answer.value("items", Json::array()), "keys");
            return 0;
          },
          "name");
  tree.add(keys, "remove", "trust a key no more; what it signed and is installed stays", "plugin.keys.remove")
      .argument("name", "NAME", "the key")
      .destructive("name")
      .examples({"via plugin keys remove acme --yes"})
      .render(render_key, "fingerprint");
}

}  // namespace via::cli
