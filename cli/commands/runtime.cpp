// via runtime: running instances and the material that lets a process be one.
#include "cli/command.hpp"

namespace via::cli {
namespace {

const std::vector<Column> kInstance = {{"instance", "id"},
                                       {"app", "app"},
                                       {"release", "release"},
                                       {"deploy", "deploy"},
                                       {"driver", "driver"},
                                       {"state", "state", Show::state},
                                       {"pid", "pid"},
                                       {"material", "material"},
                                       {"created", "created_at", Show::time},
                                       {"expires", "expires_at", Show::time}};

int render_instance(Output& out, const Json& instance) {
  out.fields(kInstance, instance);
  return 0;
}

}  // namespace

void add_runtime_commands(CommandTree& tree) {
  CLI::App& group = tree.group("runtime", "runtime instances", "RELEASES AND RUNTIMES");
  tree.add(group, "list", "instances, of one app or of all", "runtime.list")
      .option("--app", "app", "APP", "only those of this app")
      .examples({"via runtime list --app api", "via runtime list --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"INSTANCE", "id"},
                       {"APP", "app"},
                       {"STATE", "state", Show::state},
                       {"DRIVER", "driver"},
                       {"PID", "pid"},
                       {"RELEASE", "release"},
                       {"EXPIRES", "expires_at", Show::time}},
                      answer.value("items", Json::array()), "instances");
            return 0;
          },
          "id");
  tree.add(group, "issue", "runtime material for a process that you run yourself", "runtime.issue")
      .argument("app", "APP", "the app; its current release is what the material speaks for")
      .option("--out", "out", "DIR", "folder to write token, bootstrap.json and bindings.json to", Kind::file)
      .option("--owner", "owner", "USER", "whose the folder and the files shall be, where another user runs the process")
      .option("--ttl", "ttl_seconds", "TIME", "how long the token is good: 90s, 15m, 1h, 1d", Kind::duration)
      .examples({"via runtime issue api --out /run/api/via --ttl 1h",
                 "via runtime issue api --out /run/api/via --owner www-data",
                 "VIA_BOOTSTRAP=/run/api/via/bootstrap.json ./api"})
      .render(render_instance, "id")
      .next([](const Json& instance) {
        const std::string folder = instance.value("material", "");
        return folder.empty() ? "" : "Run your process with: VIA_BOOTSTRAP=" + folder + "/bootstrap.json";
      });
  tree.add(group, "stop", "stop an instance and end what its token may do", "runtime.stop")
      .argument("instance", "INSTANCE", "id of the instance")
      .destructive("instance")
      .examples({"via runtime stop ins_01jd5qk7m8x9", "via runtime stop ins_01jd5qk7m8x9 --plan"})
      .render(render_instance, "id");
}

}  // namespace via::cli
