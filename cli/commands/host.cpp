// via serve, status, doctor: the host itself.
#include <ostream>

#include "cli/command.hpp"

namespace via::cli {
namespace {

constexpr const char* kSection = "THE HOST";
constexpr int kDegraded = 7;

std::string duration_text(std::int64_t seconds) {
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m " + std::to_string(seconds % 60) + "s";
  if (seconds < 86400)
    return std::to_string(seconds / 3600) + "h " + std::to_string(seconds % 3600 / 60) + "m";
  return std::to_string(seconds / 86400) + "d " + std::to_string(seconds % 86400 / 3600) + "h";
}

int render_status(Output& out, const Json& status) {
  const Json server = status.value("server", Json::object());
  const bool running = server.value("running", false);
  Json shown = status;
  shown["server_line"] = running ? "running (pid " + std::to_string(server.value("pid", 0)) + ", " +
                                       server.value("listen", "") + ", up " +
                                       duration_text(server.value("uptime_seconds", std::int64_t{0})) + ")"
                                 : "not running";
  std::string counts;
  const Json held = status.value("counts", Json::object());
  for (const auto& [name, count] : held.items()) {
    counts += (counts.empty() ? "" : ", ") + count.dump() + " " + name;
  }
  shown["holds"] = counts;
  out.fields({{"version", "version"},
              {"state", "state_dir"},
              {"installation", "installation"},
              {"server", "server_line"},
              {"types", "types", Show::list},
              {"holds", "holds"}},
             shown);
  bool ok = true;
  if (status.contains("checks") && !status["checks"].empty()) {
    out.heading("Checks");
    ok = out.checks(status["checks"]);
  }
  return ok ? 0 : kDegraded;
}

}  // namespace

void add_host_commands(CommandTree& tree) {
  CLI::App& root = tree.root();
  Command& serve = tree.add(root, "serve", "run the host: config server, admin socket, runner", "");
  tree.place(*root.get_subcommand("serve"), kSection);
  serve
      .option("--config", "config", "FILE", "configuration file (else config.toml in the state folder)",
              Kind::file)
      .option("--listen", "listen", "ADDR",
              "address of the config server, HOST:PORT; port 0 takes a free one")
      .examples({"via serve", "via serve --state-dir /srv/via --listen 127.0.0.1:8181",
                 "via serve --config /etc/via/server.toml"})
      .local([&serve](Session& session) {
        const std::string config = serve.text("config");
        return session.environment.serve(
            {session.state_dir, config.empty() ? std::filesystem::path() : std::filesystem::absolute(config),
             serve.text("listen")});
      });

  tree.add(root, "status", "is the host well, and what does it hold (exit 7 when a check fails)", "status")
      .examples({"via status", "via status --json", "via status --quiet && echo well"})
      .render(render_status, "installation")
      .next([](const Json& status) {
        return status.value("server", Json::object()).value("running", false) ? ""
                                                                              : "Start the host: via serve";
      });
  tree.place(*root.get_subcommand("status"), kSection);

  tree.add(root, "doctor", "look for what is wrong with the host and its state folder (exit 7 when something is)", "doctor")
      .flag("--fix", "fix", "mend what can be mended without a decision")
      .examples({"via doctor", "via doctor --fix", "via doctor --json"})
      .render(
          [](Output& out, const Json& answer) {
            const bool ok = out.checks(answer.value("checks", Json::array()));
            for (const Json& check : answer.value("checks", Json::array()))
              if (!check.value("ok", true) && check.value("next", Json()).is_string()) out.hint(check.value("next", ""));
            return ok ? 0 : kDegraded;
          })
      .quiet(names_of_trouble);
  tree.place(*root.get_subcommand("doctor"), kSection);
}

}  // namespace via::cli
