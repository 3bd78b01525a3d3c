// via kit: the HTTP API of an add-on type over a plain folder.
#include "cli/command.hpp"

namespace via::cli {

void add_kit_commands(CommandTree& tree) {
  CLI::App& kit = tree.group("kit", "an add-on type's HTTP API over a plain folder, without a host", "DATA");
  Command& sqlite = tree.add(kit, "sqlite", "serve a folder of SQLite databases: SQL, keys, history", "");
  sqlite.option("--databases", "databases", "DIR", "the folder; made when missing", Kind::file, true)
      .option("--listen", "listen", "ADDR", "HOST:PORT; port 0 takes a free one", Kind::text, true)
      .flag("--allow-any-absolute-db-path", "any", "also databases outside of the folder, by their absolute path")
      .flag("--allow-public", "public", "another address than loopback: whoever reaches it has the databases")
      .examples({"via kit sqlite --databases ./data --listen 127.0.0.1:8080"})
      .local([&sqlite](Session& session) {
        const auto given = sqlite.arguments();
        if (!given) return report(session.environment, session.globals, given.error());
        return session.environment.kit({given->value("databases", ""), given->value("listen", ""), given->value("any", false),
                                        given->value("public", false), session.globals.json});
      });
}

}  // namespace via::cli
