// via deploy and via release: what an app runs, with which bindings.
#include "cli/commands/deploy.hpp"

#include "cli/confirm.hpp"

namespace via::cli {
namespace {

const std::vector<Column> kInstanceRow = {
    {"INSTANCE", "id"}, {"STATE", "state", Show::state}, {"DRIVER", "driver"}, {"PID", "pid"}};

int render_release(Output& out, const Json& release) {
  out.fields({{"release", "id"},
              {"app", "app"},
              {"number", "number"},
              {"status", "status", Show::state},
              {"deploy", "deploy_id"},
              {"config version", "config_version"},
              {"created", "created_at", Show::time}},
             release);
  if (release.contains("bindings")) {
    out.heading("Bindings (as they were at the deploy)");
    out.table({{"BINDING", "binding"},
               {"ADD-ON", "addon"},
               {"TYPE", "type"},
               {"ACCESS", "access"},
               {"GENERATION", "generation"}},
              release["bindings"], "bindings");
  }
  return 0;
}

}  // namespace

// `release` is an object in an answer that shows it whole, an id elsewhere.
int render_deploy(Output& out, const Json& deploy) {
  const bool whole = deploy.contains("release") && deploy["release"].is_object();
  out.fields({{"deploy", "id"},
              {"app", "app"},
              {"status", "status", Show::state},
              {"release", whole ? "release/id" : "release_id"},
              {"number", "release/number"},
              {"command", "command"},
              {"created", "created_at", Show::time}},
             deploy);
  if (whole && deploy["release"].contains("bindings") && !deploy["release"]["bindings"].empty()) {
    out.fields({{"bindings", "release/bindings", Show::list}}, deploy);
  }
  if (deploy.contains("instances") && !deploy["instances"].empty()) {
    out.heading("Instances");
    out.table(kInstanceRow, deploy["instances"], "");
  }
  return deploy.value("status", "") == "failed" ? 1 : 0;
}

Command& deploy_options(Command& command) {
  return command
      .option("--env", "env", "KEY=VALUE", "a variable of the process; may be given again", Kind::pairs)
      .option("--replicas", "replicas", "N", "how many processes to launch (1)", Kind::number)
      .option("--cwd", "cwd", "DIR", "the folder to run in", Kind::file)
      .flag("--fs", "fs", "give it a folder /data of the app's own, which stays")
      .option("--memory", "memory_bytes", "SIZE", "the most memory of a process and all that it starts (1G)", Kind::bytes)
      .option("--cpus", "cpu_percent", "N", "the most processors, such as 0.5 (no limit)", Kind::processors)
      .option("--pids", "pids", "N", "the most processes and threads (512)", Kind::number)
      .option("--files", "files", "N", "the most open files of a process (1024)", Kind::number)
      .option("--network", "network", "host|none", "what it can reach: as the host, or nothing (host)")
      .option("--read", "read", "PATH", "a further folder or file that it sees, read-only; may be given again", Kind::files)
      .option("--check", "check", "CMD", "a shell command that must succeed before it becomes current")
      .option("--check-timeout", "check_timeout_seconds", "DURATION", "how long the check may take (60s)", Kind::duration);
}

void add_deploy_commands(CommandTree& tree) {
  CLI::App& deploy = tree.group("deploy", "deploys", "RELEASES AND RUNTIMES");
  Command& create = tree.add(deploy, "create", "snapshot an app's bindings into a release, make it current, launch it",
                             "deploy.create");
  deploy_options(create.argument("app", "APP", "the app"))
      .long_running()
      .tail("command", "COMMAND…")
      .examples({"via deploy create api -- /srv/api/bin/api --port 8080",
                 "via deploy create api --env LOG=debug --replicas 2 -- ./api",
                 "via deploy create api --check './smoke.sh' -- ./api",
                 "via deploy create api --fs --memory 256M --cpus 0.5 -- ./api",
                 "via deploy create api                    (a release for processes that you run: via "
                 "runtime issue)"})
      .render(render_deploy, "id")
      .next([](const Json& answer) {
        return "See it run: via runtime list --app " + answer.value("app", "APP");
      });
  tree.add(deploy, "list", "deploys of an app", "deploy.list")
      .option("--app", "app", "APP", "the app", Kind::text, true)
      .examples({"via deploy list --app api", "via deploy list --app api --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"DEPLOY", "id"},
                       {"STATUS", "status", Show::state},
                       {"RELEASE", "release_id"},
                       {"COMMAND", "command"},
                       {"CREATED", "created_at", Show::time}},
                      answer.value("items", Json::array()), "deploys");
            return 0;
          },
          "id");
  tree.add(deploy, "show", "one deploy", "deploy.show")
      .argument("deploy", "DEPLOY", "id of the deploy")
      .examples({"via deploy show dep_01jd5qk7m8x9", "via deploy show dep_01jd5qk7m8x9 --json"})
      .render(
          [](Output& out, const Json& answer) {
            render_deploy(out, answer);
            return 0;
          },
          "id");

  tree.add(deploy, "rollback", "make an earlier release's bindings and command current again", "deploy.rollback")
      .argument("app", "APP", "the app")
      .option("--to", "to", "RELEASE", "id or number of the release", Kind::text, true)
      .flag("--reissue", "reissue", "give it new generations where its own were revoked")
      .long_running()
      .destructive("app")
      .offer([](Session& session, const Json& plan, Json& request) {
        std::string names;
        for (const Json& item : plan.value("revoked", Json::array()))
          names += (names.empty() ? "" : ", ") + item.value("binding", "") + " generation " +
                   item.value("generation", Json()).dump();
        if (names.empty() || request.value("reissue", false)) return false;
        if (!ask(session, "That release uses credentials that were revoked: " + names + ". Give it living ones in their place?"))
          return false;
        request["reissue"] = true;
        return true;
      })
      .examples({"via deploy rollback api --to 3", "via deploy rollback api --to 3 --plan",
                 "via deploy rollback api --to rel_01jd5qk7m8x9 --reissue"})
      .render(render_deploy, "id");

  CLI::App& release = tree.group("release", "releases", "RELEASES AND RUNTIMES");
  tree.add(release, "list", "releases, of one app or of all", "release.list")
      .option("--app", "app", "APP", "only those of this app")
      .examples({"via release list --app api", "via release list --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"RELEASE", "id"},
                       {"APP", "app"},
                       {"NUMBER", "number"},
                       {"STATUS", "status", Show::state},
                       {"CREATED", "created_at", Show::time}},
                      answer.value("items", Json::array()), "releases");
            return 0;
          },
          "id");
  tree.add(release, "show", "one release with the bindings it took along", "release.show")
      .argument("release", "RELEASE", "id of the release")
      .examples({"via release show rel_01jd5qk7m8x9", "via release show rel_01jd5qk7m8x9 --json"})
      .render(render_release, "id");
  tree.add(release, "diff", "what changed from one release to another", "release.diff")
      .argument("from", "R1", "id of a release")
      .argument("to", "R2", "id of another")
      .examples({"via release diff rel_01jd5qk7m8x9 rel_01jd5qkabcd0"})
      .render(
          [](Output& out, const Json& diff) {
            out.fields({{"from", "from/id"}, {"to", "to/id"}}, diff);
            out.table({{"BINDING", "binding"},
                       {"CHANGE", "change"},
                       {"FROM", "from/addon"},
                       {"GENERATION", "from/generation"},
                       {"TO", "to/addon"},
                       {"GENERATION", "to/generation"}},
                      diff.value("bindings", Json::array()), "changes of bindings");
            return 0;
          },
          "bindings/binding");
}

}  // namespace via::cli
