// via app manifest: an app described by a file, its via.app.toml. And how an app's health is shown.
#include "cli/commands/app_health.hpp"

namespace via::cli {

bool render_problems(Output& out, const Json& answer) {
  const Json problems = answer.value("problems", Json::array());
  if (problems.empty()) return false;
  out.heading("Problems");
  for (const Json& problem : problems) {
    if (!problem.is_object()) {
      out.line("  " + printable(problem.is_string() ? problem.get<std::string>() : problem.dump()));
      continue;
    }
    const Json message = problem.value("message", Json());
    out.line("  " + out.paint(Style::bad, printable(problem.value("code", "problem"))) +
             (message.is_string() ? ": " + printable(message.get<std::string>()) : ""));
    if (const Json recommend = problem.value("recommend", Json()); recommend.is_string() && !recommend.get<std::string>().empty())
      out.line("    run: " + printable(recommend.get<std::string>()));
  }
  return true;
}

int render_health(Output& out, const Json& answer) {
  out.fields({{"app", "app"}, {"well", "ok", Show::yes_no}, {"operation", "operation"}}, answer);
  const bool ok = out.checks(answer.value("checks", Json::array()));
  return !render_problems(out, answer) && ok && answer.value("ok", true) ? 0 : kDegraded;
}

void add_manifest_commands(CommandTree& tree, CLI::App& app) {
  CLI::App& manifest = *app.add_subcommand("manifest", "an app described by a file, its via.app.toml");
  manifest.require_subcommand(0, 1);
  const auto add = [&](const char* name, const char* help, const char* admin_command) -> Command& {
    return tree.add(manifest, name, help, admin_command)
        .option("--file", "manifest", "FILE", "the manifest, for example via.app.toml", Kind::file_text, true);
  };
  add("validate", "read the file and say what it describes, and what is wrong with it", "app.manifest.validate")
      .examples({"via app manifest validate --file via.app.toml"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"app", "app"},
                        {"add-ons", "addons", Show::list},
                        {"bindings", "bindings", Show::list},
                        {"config keys", "config", Show::list},
                        {"health check", "health"}},
                       answer);
            return render_problems(out, answer) ? 1 : 0;
          },
          "app");
  add("apply", "make the app, its add-ons, bindings and values as the file says", "app.manifest.apply")
      .long_running()
      .begins_host()
      .examples({"via app manifest apply --file via.app.toml"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"app", "app"}, {"operation", "operation"}}, answer);
            const Json changes = answer.value("changes", Json::array());
            if (changes.empty()) out.line("Everything is as the file says.");
            for (const Json& change : changes)
              out.line("  " + printable(change.is_string() ? change.get<std::string>() : change.dump()));
            return 0;
          },
          "app");
  add("smoke", "check the app by its own identity and by the health check of the file", "app.manifest.smoke")
      .long_running()
      .examples({"via app manifest smoke --file via.app.toml"})
      .render(render_health)
      .quiet(names_of_trouble);
}

}  // namespace via::cli
