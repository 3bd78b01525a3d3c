// via config: plain configuration values of an app.
#include "cli/command.hpp"

namespace via::cli {

void add_config_commands(CommandTree& tree) {
  CLI::App& group = tree.group("config", "plain configuration values", "APPS AND ADD-ONS");
  tree.add(group, "set", "set values of an app; not for secrets", "config.set")
      .argument("app", "APP", "the app")
      .argument("values", "KEY=VALUE", "the values", Kind::pairs)
      .examples({"via config set api GREETING=hello", "via config set api LIMIT=10 MODE=fast"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"app", "app"}, {"config version", "profile_version"}}, answer);
            out.table({{"KEY", "key"}, {"GENERATION", "generation"}}, answer.value("keys", Json::array()),
                      "keys");
            return 0;
          },
          "profile_version");
  tree.add(group, "unset", "remove a value", "config.unset")
      .argument("app", "APP", "the app")
      .argument("key", "KEY", "the key")
      .examples({"via config unset api GREETING"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"app", "app"}, {"config version", "profile_version"}}, answer);
            return 0;
          },
          "profile_version");
  tree.add(group, "list", "the values of an app", "config.list")
      .argument("app", "APP", "the app")
      .examples({"via config list api", "via config list api --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"KEY", "key"},
                       {"VALUE", "value"},
                       {"GENERATION", "generation"},
                       {"UPDATED", "updated_at", Show::time}},
                      answer.value("items", Json::array()), "values");
            return 0;
          },
          "key");
}

}  // namespace via::cli
