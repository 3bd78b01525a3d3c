// via app: the apps that own add-ons and get releases.
#include "cli/command.hpp"

namespace via::cli {
namespace {

const std::vector<Column> kApp = {{"name", "name"},
                                  {"id", "id"},
                                  {"release", "current_release"},
                                  {"config version", "profile_version"},
                                  {"created", "created_at", Show::time}};

int render_app(Output& out, const Json& app) {
  out.fields(kApp, app);
  return 0;
}

int render_app_in_full(Output& out, const Json& app) {
  out.fields(kApp, app);
  if (app.contains("addons") && !app["addons"].empty()) {
    out.heading("Add-ons");
    out.table({{"NAME", "name"}, {"TYPE", "type"}, {"STATE", "state", Show::state}, {"ID", "id"}},
              app["addons"], "");
  }
  if (app.contains("bindings") && !app["bindings"].empty()) {
    out.heading("Bindings (of the next release)");
    out.table(
        {{"BINDING", "binding"}, {"ADD-ON", "addon"}, {"ACCESS", "access"}, {"GENERATION", "generation"}},
        app["bindings"], "");
  }
  if (app.contains("instances") && !app["instances"].empty()) {
    out.heading("Instances");
    out.table({{"INSTANCE", "id"}, {"STATE", "state", Show::state}, {"RELEASE", "release"}, {"PID", "pid"}},
              app["instances"], "");
  }
  return 0;
}

}  // namespace

void add_app_commands(CommandTree& tree) {
  CLI::App& group = tree.group("app", "apps", "APPS AND ADD-ONS");
  tree.add(group, "create", "create an app", "app.create")
      .argument("name", "APP", "its name: a-z, 0-9 and '-', a letter first")
      .begins_host()
      .examples({"via app create api", "APP_ID=$(via app create api --json | jq -r .id)"})
      .render(render_app, "id")
      .next([](const Json& app) {
        return "Next: via addon create sqlite app-db --app " + app.value("name", "APP") + " --bind DATABASE";
      });
  tree.add(group, "list", "all apps", "app.list")
      .examples({"via app list", "via app list --json", "via app list --quiet"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"NAME", "name"},
                       {"ID", "id"},
                       {"RELEASE", "current_release"},
                       {"CREATED", "created_at", Show::time}},
                      answer.value("items", Json::array()), "apps yet. Create one: via app create NAME");
            return 0;
          },
          "name");
  tree.add(group, "show", "one app with its add-ons, bindings and instances", "app.show")
      .argument("name", "APP", "name of the app")
      .examples({"via app show api", "via app show api --json"})
      .render(render_app_in_full, "id");
  tree.add(group, "delete", "delete an app that owns no add-ons", "app.delete")
      .argument("name", "APP", "name of the app")
      .destructive("name")
      .examples({"via app delete api", "via app delete api --plan"})
      .render(
          [](Output& out, const Json& answer) {
            out.line("Deleted app " + printable(answer.value("deleted", "")) + ".");
            return 0;
          },
          "deleted");
  add_manifest_commands(tree, group);
}

}  // namespace via::cli
