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
          "keys/key");
  tree.add(group, "unset", "remove a value", "config.unset")
      .argument("app", "APP", "the app")
      .argument("key", "KEY", "the key")
      .destructive("key")
      .examples({"via config unset api GREETING", "via config unset api GREETING --plan"})
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

  CLI::App& secret = tree.group("secret", "sealed values of an app", "RELEASES AND RUNTIMES");
  const auto render_set = [](Output& out, const Json& answer) {
    out.fields({{"app", "app"}, {"key", "key"}, {"generation", "generation"}, {"config version", "profile_version"}}, answer);
    return 0;
  };
  tree.add(secret, "set", "seal a value; it comes on standard input and is never shown again", "secret.set")
      .argument("app", "APP", "the app")
      .argument("key", "KEY", "the key")
      .input("value", "The value")
      .examples({"printf %s \"$TOKEN\" | via secret set api API_TOKEN", "via secret set api API_TOKEN          (type it, or: … < token.txt)"})
      .render(render_set, "generation");
  tree.add(secret, "rotate", "put a new value in the place of one that is there", "secret.rotate")
      .argument("app", "APP", "the app")
      .argument("key", "KEY", "the key")
      .option("--generate", "generate", "BYTES", "let the host make a random one of this many bytes", Kind::number)
      .input("value", "The new value")
      .examples({"via secret rotate api SESSION_KEY --generate 32", "via secret rotate api API_TOKEN          (type it, or: … < token.txt)"})
      .render(render_set, "generation");
  tree.add(secret, "unset", "remove a sealed value", "secret.unset")
      .argument("app", "APP", "the app")
      .argument("key", "KEY", "the key")
      .destructive("key")
      .examples({"via secret unset api API_TOKEN", "via secret unset api API_TOKEN --plan"})
      .render(render_set, "profile_version");
  tree.add(secret, "list", "the names of an app's sealed values", "secret.list")
      .argument("app", "APP", "the app")
      .examples({"via secret list api"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"KEY", "key"}, {"GENERATION", "generation"}, {"UPDATED", "updated_at", Show::time}},
                      answer.value("items", Json::array()), "secrets");
            return 0;
          },
          "key");
}

}  // namespace via::cli
