// via plugin: the libraries that bring add-on types, and which of them this host trusts.
#include "cli/commands/plugin.hpp"

namespace via::cli {
namespace {

const std::vector<Column> kPlugin = {{"plugin", "id"},
                                     {"version", "version"},
                                     {"title", "title"},
                                     {"types", "types", Show::list},
                                     {"trusted", "trusted", Show::yes_no},
                                     {"loaded", "loaded", Show::yes_no},
                                     {"source", "source"},
                                     {"isolation", "isolation"},
                                     {"sha256", "sha256"},
                                     {"problem", "problem"}};

std::string first_type(const Json& plugin) {
  const Json types = plugin.value("types", Json::array());
  return types.empty() ? "TYPE" : types.front().get<std::string>();
}

int render_plugin(Output& out, const Json& plugin) {
  out.fields(kPlugin, plugin);
  return 0;
}

}  // namespace

void add_plugin_commands(CommandTree& tree) {
  CLI::App& group = tree.group("plugin", "plugins", "TRUST");
  tree.add(group, "list", "plugins that this host knows", "plugin.list")
      .examples({"via plugin list", "via plugin list --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"PLUGIN", "id"},
                       {"VERSION", "version"},
                       {"TYPES", "types", Show::list},
                       {"TRUSTED", "trusted", Show::yes_no},
                       {"LOADED", "loaded", Show::yes_no},
                       {"SOURCE", "source"},
                       {"SHA-256", "sha256", Show::short_hash},
                       {"PROBLEM", "problem"}},
                      answer.value("items", Json::array()), "plugins");
            return 0;
          },
          "id");
  tree.add(group, "show", "one plugin with its versions and its manifest", "plugin.show")
      .argument("plugin", "PLUGIN", "its id, or an add-on type it brings")
      .examples({"via plugin show via.sqlite", "via plugin show sqlite --json"})
      .render(
          [](Output& out, const Json& plugin) {
            out.fields(kPlugin, plugin);
            if (const Json versions = plugin.value("versions", Json::array()); !versions.empty()) {
              out.heading("Versions");
              out.table({{"VERSION", "version"},
                         {"CURRENT", "current", Show::yes_no},
                         {"WAY BACK", "previous", Show::yes_no},
                         {"SOURCE", "source"},
                         {"SIGNED BY", "signed_by"},
                         {"INSTALLED", "installed_at", Show::time},
                         {"SHA-256", "sha256", Show::short_hash}},
                        versions, "versions");
            }
            if (plugin.contains("manifest")) {
              out.heading("Manifest");
              out.line(plugin["manifest"].dump(2, ' ', true));
            }
            return 0;
          },
          "id");
  tree.add(group, "verify", "check a plugin without loading it", "plugin.verify")
      .needs_no_host()
      .argument("file", "FILE", "a bundle, a library, a manifest or a plugin's folder", Kind::file)
      .examples({"via plugin verify acme.notes-1.2.0.viaplugin", "via plugin verify ./libmy_addon.so"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"file", "file"}, {"sha256", "sha256"}}, answer);
            out.checks(answer.value("checks", Json::array()));
            return answer.value("ok", false) ? 0 : 4;
          },
          "sha256");
  tree.add(group, "trust", "pin a plugin's SHA-256, so that the host may load it", "plugin.trust")
      .argument("file", "FILE", "library, manifest or bundle folder", Kind::file)
      .begins_host()
      .examples({"via plugin trust ./libmy_addon.so"})
      .render(render_plugin, "id")
      .next([](const Json& plugin) { return "It runs with the host's privileges. Make an add-on: via addon create " + first_type(plugin) + " NAME --app APP"; });
  tree.add(group, "untrust", "do not load a plugin any more, whatever it came with", "plugin.untrust")
      .argument("plugin", "PLUGIN", "its id, or an add-on type it brings")
      .examples({"via plugin untrust my.addon"})
      .render(render_plugin, "id");
  add_plugin_bundle_commands(tree, group);
  add_plugin_new_command(tree, group);
  add_plugin_pack_commands(tree, group);
}

}  // namespace via::cli
