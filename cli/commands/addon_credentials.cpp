// via addon rotate-credentials and revoke-credentials. Neither ever shows a credential.
#include "cli/commands/addon.hpp"

namespace via::cli {
namespace {

int render_generation(Output& out, const Json& answer) {
  out.fields({{"app", "app"},
              {"add-on", "addon"},
              {"binding", "binding"},
              {"generation", "generation"},
              {"status", "status", Show::state},
              {"operation", "operation"}},
             answer);
  say_left_behind(out, answer);
  return 0;
}

}  // namespace

void add_credential_commands(CommandTree& tree, CLI::App& group) {
  tree.add(group, "rotate-credentials", "make a new credential generation; the one before works until it is revoked",
           "addon.rotate-credentials")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "the app", Kind::text, true)
      .option("--binding", "binding", "BINDING", "the binding's name", Kind::text, true)
      .option("--idempotency-key", "idempotency_key", "KEY", "the same key again answers the same rotation")
      .examples({"via addon rotate-credentials app-db --app api --binding DATABASE"})
      .render(render_generation, "generation")
      .next([](const Json& answer) {
        const std::int64_t generation = answer.value("generation", std::int64_t{0});
        if (generation < 2) return std::string();
        return "Running workloads take it at their next refresh. Then end the one before: via addon revoke-credentials " +
               answer.value("addon", "NAME") + " --app " + answer.value("app", "APP") + " --binding " +
               answer.value("binding", "BINDING") + " --generation " + std::to_string(generation - 1);
      });

  tree.add(group, "revoke-credentials", "end a credential generation; when it returns, nothing works under it",
           "addon.revoke-credentials")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "the app", Kind::text, true)
      .option("--binding", "binding", "BINDING", "the binding's name", Kind::text, true)
      .option("--generation", "generation", "N", "the generation to end", Kind::number, true)
      .option("--when-unused", "when_unused_seconds", "TIMEOUT",
              "wait until no running instance uses it, at most this long (30s)", Kind::seconds_or_default)
      .flag("--forget", "forget", "where its server is gone for good: say what is left behind and be done with it")
      .long_running()
      .destructive("name", "yes")
      .examples({"via addon revoke-credentials app-db --app api --binding DATABASE --generation 1",
                 "via addon revoke-credentials app-db --app api --binding DATABASE --generation 1 --when-unused 5m"})
      .render(render_generation, "generation");
}

}  // namespace via::cli
