// via identity: signing keys and workload tokens. `identity issue` is the one command that prints a token.
#include "cli/command.hpp"

namespace via::cli {

void add_identity_commands(CommandTree& tree) {
  CLI::App& group = tree.group("identity", "signing keys and tokens", "TRUST");
  CLI::App& keys = *group.add_subcommand("keys", "signing keys");
  keys.require_subcommand(0, 1);
  tree.add(keys, "list", "the signing keys and their states", "identity.keys.list")
      .examples({"via identity keys list", "via identity keys list --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"KEY", "kid"},
                       {"STATE", "state", Show::state},
                       {"ALGORITHM", "algorithm"},
                       {"CREATED", "created_at", Show::time},
                       {"ACTIVE SINCE", "activated_at", Show::time},
                       {"RETIRES", "retires_at", Show::time}},
                      answer.value("items", Json::array()), "keys");
            return 0;
          },
          "kid");
  const auto render_key = [](Output& out, const Json& key) {
    out.fields({{"key", "kid"}, {"state", "state", Show::state}, {"algorithm", "algorithm"}, {"active since", "activated_at", Show::time}},
               key);
    return 0;
  };
  tree.add(keys, "rotate", "sign with a new key; the one before verifies for a day more", "identity.keys.rotate")
      .examples({"via identity keys rotate"})
      .render(render_key, "kid");
  tree.add(keys, "revoke", "end a key and every token it signed, at once", "identity.keys.revoke")
      .argument("kid", "KID", "the key")
      .destructive("kid")
      .examples({"via identity keys revoke key_01jd5qk7m8x9 --yes"})
      .render(render_key, "state");
  tree.add(group, "issue", "print a token: the only command that shows one", "identity.issue")
      .option("--kind", "kind", "KIND", "what the token is for", Kind::text, true)
      .one_of({"runtime", "build", "session"})
      .option("--app", "app", "APP", "the app (runtime and build tokens)")
      .option("--subject", "subject", "NAME", "who it is for (session tokens)")
      .option("--ttl", "ttl_seconds", "TIME", "how long it is good: 90s, 15m, 1h, 1d", Kind::duration)
      .examples({"via identity issue --kind build --app api --ttl 15m",
                 "via identity issue --kind session --subject ada",
                 "via identity issue --kind runtime --app api > token"})
      .render(
          [](Output& out, const Json& answer) {
            out.line(printable(answer.value("token", "")));
            return 0;
          },
          "token")
      .next([](const Json& answer) {
        return "A " + answer.value("kind", "") + " token, good until " + answer.value("expires_at", "?") +
               ". Whoever holds it is trusted: keep it out of logs and shell history.";
      });
}

}  // namespace via::cli
