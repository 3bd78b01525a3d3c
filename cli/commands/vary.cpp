// vary app: what the developer of an app asks a host that --target names, and what mends the app.
#include <ctime>
#include <ostream>

#include "cli/commands/app_health.hpp"
#include "cli/commands/deploy.hpp"
#include "cli/commands/logs.hpp"
#include "cli/follow.hpp"
#include "core/base/files.hpp"

namespace via::cli {
namespace {

// Recommendations of the host name no target: it does not know by which name it was called.
void fill_target(Json& value, const std::string& target) {
  if (value.is_object() || value.is_array()) {
    for (Json& each : value) fill_target(each, target);
    return;
  }
  if (!value.is_string()) return;
  static constexpr std::string_view kOption = " --target {target}", kPlaceholder = "{target}";
  std::string text = value.get<std::string>();
  // The host of this machine needs no name.
  for (auto at = text.find(kOption); target.empty() && at != std::string::npos; at = text.find(kOption)) text.erase(at, kOption.size());
  for (auto at = text.find(kPlaceholder); at != std::string::npos; at = text.find(kPlaceholder, at + target.size())) {
    text.replace(at, kPlaceholder.size(), target);
  }
  value = text;
}

// Every answer about an app's health says its problems in one form, whichever command found them.
Result<void> complete_problems(Session& session, Json& answer) {
  for (const char* member : {"problems", "checks"}) {
    if (!answer.contains(member)) continue;
    for (Json& finding : answer[member]) {
      if (finding.is_object() && finding.contains("recommend")) fill_target(finding["recommend"], session.target);
    }
  }
  if (!answer.contains("problems")) {
    Json problems = Json::array();
    for (const Json& check : answer.value("checks", Json::array())) {
      if (check.value("ok", true) || !check.value("code", Json()).is_string()) continue;
      problems.push_back({{"code", check["code"]},
                          {"message", check.value("detail", Json())},
                          {"recommend", check.value("recommend", Json())}});
    }
    answer["problems"] = std::move(problems);
  }
  return {};
}

// A missing or expired identity is what these commands are to report, also where it kept them from going on.
std::function<std::optional<Json>(const Error&)> identity_problem(const Command& command) {
  return [&command](const Error& error) -> std::optional<Json> {
    if (error.code != Code::runtime_identity_expired) return std::nullopt;
    const std::string name = command.text("name");
    return Json{{"app", name},
                {"ok", false},
                {"state", "degraded"},
                {"problems",
                 Json::array({{{"code", error.wire_name()},
                               {"message", error.message},
                               {"recommend", "vary app repair " + name + " --target {target}"}}})}};
  };
}

Command& app_command(CommandTree& tree, CLI::App& group, const std::string& name, const std::string& help,
                     const std::string& admin_command, const std::string& key = "name") {
  return tree.add(group, name, help, admin_command).argument(key, "NAME", "name of the app").targeted();
}

int render_inspect(Output& out, const Json& app) {
  out.fields({{"name", "name"},
              {"id", "id"},
              {"release", "current_release"},
              {"config version", "profile_version"},
              {"created", "created_at", Show::time}},
             app);
  const auto part = [&](const char* title, const char* key, const std::vector<Column>& columns) {
    const Json items = app.value(key, Json::array());
    if (!items.is_array() || items.empty()) return;
    out.heading(title);
    out.table(columns, items, "");
  };
  part("Releases", "releases",
       {{"RELEASE", "id"}, {"NUMBER", "number"}, {"STATUS", "status", Show::state}, {"CREATED", "created_at", Show::time}});
  part("Bindings (of the next release)", "bindings",
       {{"BINDING", "binding"}, {"ADD-ON", "addon"}, {"TYPE", "type"}, {"ACCESS", "access"}, {"GENERATION", "generation"}});
  part("Configuration", "configuration",
       {{"KEY", "key"}, {"SEALED", "secret", Show::yes_no}, {"GENERATION", "generation"}, {"UPDATED", "updated_at", Show::time}});
  part("Instances", "instances",
       {{"INSTANCE", "id"}, {"STATE", "state", Show::state}, {"DRIVER", "driver"}, {"PID", "pid"}});
  part("Operations", "operations",
       {{"OPERATION", "id"}, {"KIND", "kind"}, {"STATE", "state", Show::state}, {"CREATED", "created_at", Show::time}});
  return 0;
}

int render_repair(Output& out, const Json& answer) {
  const Json repaired = answer.value("repaired", Json::array());
  const Json failed = answer.value("failed", Json::array());
  if (repaired.empty() && failed.empty()) out.line("Nothing was wrong.");
  if (!repaired.empty()) out.table({{"INSTANCE", "instance"}, {"ACTION", "action"}}, repaired, "");
  if (!failed.empty()) {
    out.heading("Not repaired");
    out.table({{"INSTANCE", "instance"}, {"WHY", "message"}}, failed, "");
  }
  return failed.empty() ? 0 : 1;
}

std::string time_of_file(std::int64_t now_ms) {
  const std::time_t seconds = now_ms / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &parts);
  return text;
}

// The report goes into a file, as it is long and meant to be sent on; the answer says where and what is in it.
Result<void> write_bundle(Session& session, const Command& command, Json& answer) {
  std::filesystem::path file = command.text("out");
  if (file.empty()) file = command.text("name") + "-debug-" + time_of_file(session.environment.now_ms) + ".json";
  file = std::filesystem::absolute(file).lexically_normal();
  std::error_code problem;
  if (std::filesystem::exists(file, problem))
    return fail(Code::conflict, "There is a file of that name already. Name another with --out.");
  const std::string text = answer.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (auto written = write_file_atomic(file, text); !written) return written.error();
  Json contains = Json::array();
  for (const auto& [name, value] : answer.items()) {
    if (value.is_structured()) contains.push_back(name);
  }
  answer = {{"file", file.string()}, {"bytes", text.size()}, {"contains", std::move(contains)}};
  return {};
}

void add_health_commands(CommandTree& tree, CLI::App& app) {
  Command& status = app_command(tree, app, "status", "how the app is (exit 7 when something is wrong)", "app.status");
  status.amend(complete_problems)
      .rescue(identity_problem(status))
      .examples({"vary app status api --target prod", "vary app status api --target prod --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"app", "app"}, {"state", "state", Show::state}}, answer);
            if (const Json layers = answer.value("layers", Json::array()); !layers.empty()) out.checks(layers);
            if (const Json identities = answer.value("identity", Json::array()); !identities.empty()) {
              out.heading("Runtime identity");
              out.table({{"INSTANCE", "instance"},
                         {"STATE", "state", Show::state},
                         {"DRIVER", "driver"},
                         {"EXPIRES", "expires_at", Show::time}},
                        identities, "");
            }
            return render_problems(out, answer) || answer.value("state", "") == "degraded" ? kDegraded : 0;
          },
          "state");
  Command& doctor =
      app_command(tree, app, "doctor", "look for what is wrong with the app (exit 7 when something is)", "app.doctor");
  doctor.amend(complete_problems)
      .rescue(identity_problem(doctor))
      .examples({"vary app doctor api --target prod", "vary app doctor api --target prod --json"})
      .render(render_health)
      .quiet(names_of_trouble);
  Command& smoke = app_command(tree, app, "smoke", "use the app's own identity and bindings, as its processes do", "app.smoke");
  smoke.long_running()
      .amend(complete_problems)
      .rescue(identity_problem(smoke))
      .examples({"vary app smoke api --target prod", "vary app smoke api --target prod --json"})
      .render(render_health)
      .quiet(names_of_trouble);
  app_command(tree, app, "repair", "mint new runtime material, and restart what cannot reload it", "app.repair")
      .long_running()
      .examples({"vary app repair api --target prod"})
      .render(render_repair, "repaired/instance");
}

}  // namespace

void add_vary_commands(CommandTree& tree) {
  CLI::App& app = tree.group("app", "your app on a host", "YOUR APP");
  add_health_commands(tree, app);
  app_command(tree, app, "inspect", "releases, bindings, configuration keys and operations of the app", "app.inspect")
      .examples({"vary app inspect api --target prod", "vary app inspect api --target prod --json"})
      .render(render_inspect, "id");
  deploy_options(app_command(tree, app, "deploy", "make a release of the app's bindings, and launch it", "deploy.create", "app"))
      .long_running()
      .tail("command", "COMMAND…")
      .examples({"vary app deploy api --target prod -- /srv/api/bin/api --port 8080",
                 "vary app deploy api --target prod --check ./smoke.sh --replicas 2 -- /srv/api/bin/api"})
      .render(render_deploy, "id")
      .next([](const Json& deploy) { return "See that it works: vary app smoke " + deploy.value("app", "NAME"); });
  logs_command(app_command(tree, app, "logs", "what the app's processes wrote: time, instance, stream and line", ""), "--tail,--lines")
      .examples({"vary app logs api --target prod", "vary app logs api --target prod -f", "vary app logs api --target prod --since 10m --json"});
  Command& bundle = app_command(tree, app, "debug-bundle", "write a report without secrets, to send to who can help",
                                "app.debug-bundle");
  bundle.option("--out", "out", "FILE", "the file (else NAME-debug-TIME.json in this folder)", Kind::file)
      .keep({"out"})
      .amend([&bundle](Session& session, Json& answer) { return write_bundle(session, bundle, answer); })
      .examples({"vary app debug-bundle api --target prod", "vary app debug-bundle api --out api.json"})
      .render(
          [](Output& out, const Json& answer) {
            Json shown = answer;
            shown["size"] = size_text(answer.value("bytes", std::uint64_t{0}));
            out.fields({{"file", "file"}, {"size", "size"}, {"contains", "contains", Show::list}}, shown);
            return 0;
          },
          "file")
      .next([](const Json&) { return "Only you can read the file. Secrets and tokens are left out; look through it before you send it."; });
}

}  // namespace via::cli
