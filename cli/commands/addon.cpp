// via addon: add-ons, their bindings, their end.
#include "cli/commands/addon.hpp"

namespace via::cli {
namespace {

constexpr int kDegraded = 7;

const std::vector<Column> kAddon = {{"name", "name"},
                                    {"id", "id"},
                                    {"app", "app"},
                                    {"type", "type"},
                                    {"state", "state", Show::state},
                                    {"drained", "drained", Show::yes_no},
                                    {"snapshots", "snapshots"},
                                    {"shares", "shares"},
                                    {"binding", "binding/binding"},
                                    {"access", "binding/access"},
                                    {"operation", "operation"},
                                    {"created", "created_at", Show::time},
                                    {"updated", "updated_at", Show::time},
                                    {"config", "config"}};

const std::vector<Column> kBindingRow = {{"BINDING", "binding"},       {"APP", "app"},
                                         {"ADD-ON", "addon"},          {"ACCESS", "access"},
                                         {"GENERATION", "generation"}, {"CREATED", "created_at", Show::time}};

int render_addon(Output& out, const Json& addon) {
  out.fields(kAddon, addon);
  return 0;
}

int render_status(Output& out, const Json& addon) {
  out.fields(kAddon, addon);
  if (addon.contains("bindings") && !addon["bindings"].empty()) {
    out.heading("Bindings");
    out.table(kBindingRow, addon["bindings"], "");
  }
  if (addon.contains("usage") && !addon["usage"].empty()) {
    out.heading("Generations in use");
    out.table({{"INSTANCE", "instance"},
               {"APP", "app"},
               {"BINDING", "binding"},
               {"GENERATION", "generation"},
               {"LAST", "last_used_at", Show::time}},
              addon["usage"], "");
  }
  bool ok = true;
  if (addon.contains("layers") && !addon["layers"].empty()) {
    out.heading("Layers");
    // An add-on that nobody uses yet is well; one without its data is not.
    ok = out.checks(addon["layers"], {"binding", "release", "runtime"});
  }
  // One that was destroyed is as it ought to be.
  return ok || addon.value("state", "") == "destroyed" ? 0 : kDegraded;
}

int render_binding(Output& out, const Json& binding) {
  out.fields({{"binding", "binding"},
              {"app", "app"},
              {"add-on", "addon"},
              {"type", "type"},
              {"access", "access"},
              {"generation", "generation"},
              {"id", "id"}},
             binding);
  return 0;
}

std::string next_deploy(const std::string& app) {
  return "Running releases keep their claims. For the next release: via deploy create " + app +
         " -- COMMAND…";
}

}  // namespace

void add_addon_commands(CommandTree& tree) {
  CLI::App& group = tree.group("addon", "add-ons", "APPS AND ADD-ONS");

  tree.add(group, "create", "create an add-on for an app, and bind it when asked", "addon.create")
      .argument("type", "TYPE", "add-on type, for example sqlite (via plugin list)")
      .argument("name", "NAME", "its name, unique within the app")
      .option("--app", "app", "APP", "the app that owns it", Kind::text, true)
      .option("--bind", "bind", "BINDING", "also bind it under this name, for example DATABASE")
      .flag("--read-only", "read_only", "the binding may only read (with --bind)")
      .option("--config", "config", "KEY=VALUE", "configuration of this add-on (via plugin show TYPE); may be repeated", Kind::settings)
      .examples({"via addon create sqlite app-db --app api",
                 "via addon create sqlite app-db --app api --bind DATABASE",
                 "via addon create sqlite reports --app api --bind REPORTS --read-only",
                 "via addon create sqlite cache --app api --config quota_bytes=1000000000"})
      .render(render_addon, "id")
      .next([](const Json& addon) {
        const std::string app = addon.value("app", "APP");
        return addon.contains("binding") && !addon["binding"].is_null()
                   ? "Next: via deploy create " + app + " -- COMMAND…"
                   : "Next: via addon bind " + app + " " + addon.value("name", "NAME") +
                         " --binding DATABASE";
      });

  tree.add(group, "ensure", "create, bind and check an add-on; does nothing when all is there", "addon.ensure")
      .argument("type", "TYPE", "add-on type, for example sqlite")
      .argument("name", "NAME", "its name")
      .option("--app", "app", "APP", "the app that owns it", Kind::text, true)
      .option("--bind", "bind", "BINDING", "the name it is bound under", Kind::text, true)
      .flag("--read-only", "read_only", "the binding may only read")
      .option("--config", "config", "KEY=VALUE", "configuration of this add-on (via plugin show TYPE); may be repeated", Kind::settings)
      .examples({"via addon ensure sqlite app-db --app api --bind DATABASE"})
      .render(
          [](Output& out, const Json& addon) {
            render_status(out, addon);
            return addon.value("ready", true) ? 0 : kDegraded;
          },
          "id");

  tree.add(group, "list", "add-ons, of one app or of all", "addon.list")
      .option("--app", "app", "APP", "only those of this app")
      .examples({"via addon list --app api", "via addon list", "via addon list --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"NAME", "name"},
                       {"APP", "app"},
                       {"TYPE", "type"},
                       {"STATE", "state", Show::state},
                       {"ID", "id"},
                       {"CREATED", "created_at", Show::time}},
                      answer.value("items", Json::array()), "add-ons");
            return 0;
          },
          "name");

  tree.add(group, "status",
           "metadata, binding, storage, release and runtime of an add-on (exit 7 when one is not well)",
           "addon.status")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .examples({"via addon status app-db", "via addon status app-db --app api --json"})
      .render(render_status, "state");

  tree.add(group, "bind", "bind an add-on to an app for future releases", "addon.bind")
      .argument("app", "APP", "the app that will use it")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--binding", "binding", "BINDING", "the name the app's code uses, for example DATABASE",
              Kind::text, true)
      .flag("--read-only", "read_only", "the app may only read")
      .examples({"via addon bind api app-db --binding DATABASE",
                 "via addon bind api app-db --binding REPORTS --read-only"})
      .render(render_binding, "id")
      .next([](const Json& binding) { return next_deploy(binding.value("app", "APP")); });

  tree.add(group, "unbind", "end a binding for future releases", "addon.unbind")
      .argument("app", "APP", "the app")
      .argument("target", "ADDON_OR_BINDING",
                "binding name, or name or id of the add-on (ends all its bindings)")
      .examples({"via addon unbind api DATABASE", "via addon unbind api app-db"})
      .render([](Output& out, const Json& answer) {
        out.table(kBindingRow, answer.value("unbound", Json::array()), "binding was there to end");
        return 0;
      }, "unbound/id")
      .next([](const Json& answer) {
        const Json list = answer.value("unbound", Json::array());
        return list.empty() ? std::string() : next_deploy(list.front().value("app", "APP"));
      });

  tree.add(group, "destroy", "destroy an add-on and its data; refused while it is bound", "addon.destroy")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .flag("--force", "force", "also when bindings or releases still use it")
      .flag("--no-final-snapshot", "no_final_snapshot", "keep nothing: it cannot be brought back")
      .flag("--forget", "forget", "where its server is gone for good: end the rights, free the name, say what is left behind")
      .long_running()
      .destructive("name", "", [](const Json& request) {
        return request.value("force", false) || request.value("no_final_snapshot", false) || request.value("forget", false);
      })
      .examples({"via addon destroy app-db", "via addon destroy app-db --plan",
                 "via addon destroy app-db --force --confirm app-db", "via addon destroy app-db --forget --confirm app-db"})
      .render(
          [](Output& out, const Json& addon) {
            auto columns = kAddon;
            columns.push_back({"final snapshot", "final_snapshot"});
            out.fields(columns, addon);
            say_left_behind(out, addon);
            return 0;
          },
          "id")
      .next([](const Json& addon) {
        return addon.value("final_snapshot", Json()).is_string()
                   ? "It can be brought back for some days: via addon undelete " + addon.value("id", "ID")
                   : std::string();
      });

  tree.add(group, "undelete", "bring a destroyed add-on back from its final snapshot, under new generations",
           "addon.undelete")
      .argument("id", "ID", "id of the destroyed add-on")
      .option("--name", "name", "NAME", "another name for it")
      .long_running()
      .examples({"via addon undelete addon_01jd5qk7m8x9"})
      .render(render_addon, "id")
      .next([](const Json& addon) { return next_deploy(addon.value("app", "APP")); });

  tree.add(group, "repair", "make a failed add-on serve again on the data it has", "addon.repair")
      .argument("name", "NAME", "name or id of the add-on")
      .long_running()
      .examples({"via addon repair app-db"})
      .render(render_addon, "id");

  add_credential_commands(tree, group);
  add_share_commands(tree, group);
  add_snapshot_commands(tree, group);
}

}  // namespace via::cli
