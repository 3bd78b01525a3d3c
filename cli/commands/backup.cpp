// via backup: the whole host in one archive.
#include <istream>
#include <ostream>

#include "cli/command.hpp"
#include "cli/follow.hpp"

namespace via::cli {
namespace {

int render_backup(Output& out, const Json& backup) {
  Json shown = backup;
  shown["size"] = size_text(backup.value("bytes", std::uint64_t{0}));
  out.fields({{"file", "file"},
              {"size", "size"},
              {"sha256", "sha256"},
              {"encrypted", "encrypted", Show::yes_no},
              {"add-ons", "addons"},
              {"members", "members"},
              {"operation", "operation"}},
             shown);
  return 0;
}

// A folder that holds something is replaced only for who says so: by --yes, or by typing its name at the terminal.
Result<void> agree_to_replace(Session& session, RestoreBackupRequest& wanted) {
  std::error_code problem;
  const bool empty = std::filesystem::is_empty(wanted.state_dir, problem) || problem;
  if (empty || wanted.replace) return {};
  const Environment& environment = session.environment;
  const std::string name = wanted.state_dir.filename().string();
  if (!environment.input_terminal || !environment.terminal || environment.in == nullptr) {
    return fail(Code::refused,
                "The folder is not empty. Name another with --state-dir, or add --yes to put the backup in the place of all that is "
                "in it. Nothing was done.");
  }
  environment.err << "Everything in " << printable(wanted.state_dir.string()) << " would be replaced.\nType '" << printable(name)
                  << "' to go on: " << std::flush;
  std::string line;
  std::getline(*environment.in, line);
  if (line != name) return fail(Code::refused, "That is not '" + name + "'. Nothing was done.");
  wanted.replace = true;
  return {};
}

}  // namespace

void add_backup_commands(CommandTree& tree) {
  CLI::App& backup = tree.group("backup", "the whole host in one archive", "THE HOST");
  tree.add(backup, "create", "copy the control plane and every add-on's data into an archive", "backup.create")
      .argument("file", "FILE", "a new file (else one in the state folder's backups/)", Kind::file, false)
      .option("--passphrase-file", "passphrase", "FILE", "encrypt it; the keys of the host go in only then", Kind::secret_file)
      .long_running()
      .examples({"via backup create", "via backup create /srv/via.backup --passphrase-file /etc/via/backup.pass"})
      .render(render_backup, "file")
      .next([](const Json& answer) { return "Check it: via backup verify " + answer.value("file", "FILE"); });
  tree.add(backup, "verify", "read a whole archive, and open and check every database in it", "backup.verify")
      .argument("file", "FILE", "the archive", Kind::file)
      .option("--passphrase-file", "passphrase", "FILE", "of an encrypted one", Kind::secret_file)
      .long_running()
      .examples({"via backup verify /srv/via.backup"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"file", "file"}, {"encrypted", "encrypted", Show::yes_no}, {"origin", "origin"}, {"members", "members"}},
                       answer);
            const bool ok = out.checks(answer.value("checks", Json::array()));
            return ok && answer.value("ok", false) ? 0 : 7;
          })
      .quiet(names_of_trouble);
  tree.add(backup, "list", "the archives this host made", "backup.list")
      .examples({"via backup list", "via backup list --json"})
      .render(
          [](Output& out, const Json& answer) {
            Json items = answer.value("items", Json::array());
            for (Json& item : items) item["size"] = size_text(item.value("bytes", std::uint64_t{0}));
            out.table({{"FILE", "file"},
                       {"SIZE", "size"},
                       {"CREATED", "created_at", Show::time},
                       {"ENCRYPTED", "encrypted", Show::yes_no},
                       {"THERE", "present", Show::yes_no}},
                      items, "backups");
            return 0;
          },
          "file");
  Command& restore = tree.add(backup, "restore", "make a host from an archive, in an empty or a named state folder", "");
  restore.argument("file", "FILE", "the archive", Kind::file)
      .option("--passphrase-file", "passphrase", "FILE", "of an encrypted one", Kind::secret_file)
      .option("--config", "config_file", "FILE", "the host's configuration, where it is not in the folder or in /etc/via", Kind::file)
      .flag("--yes", "replace", "the folder holds a host already: put this one in its place")
      .examples({"via backup restore /srv/via.backup --state-dir /var/lib/via",
                 "via backup restore /srv/via.backup --state-dir /srv/drill --config /etc/via/drill.toml"})
      .local([&restore](Session& session) {
        const auto request = restore.arguments(session.environment.in);
        if (!request) return report(session.environment, session.globals, request.error());
        RestoreBackupRequest wanted;
        wanted.file = request->value("file", "");
        wanted.state_dir = session.state_dir;
        wanted.config_file = request->value("config_file", "");
        wanted.passphrase = request->value("passphrase", "");
        wanted.replace = request->value("replace", false);
        if (auto agreed = agree_to_replace(session, wanted); !agreed)
          return report(session.environment, session.globals, agreed.error());
        if (!session.environment.restore_backup)
          return report(session.environment, session.globals, fail(Code::unsupported, "This program cannot restore backups."));
        bool drawn = false;
        if (session.environment.error_terminal && !session.globals.quiet && !session.globals.json) {
          wanted.progress = [&](std::uint64_t done_bytes, std::uint64_t total) {
            const int width = session.environment.error_width > 0 ? session.environment.error_width - 1 : 79;
            session.environment.err << "\r\x1b[K" << progress_line("restoring", done_bytes, total, 0, width) << std::flush;
            drawn = true;
          };
        }
        auto done = session.environment.restore_backup(wanted);
        if (drawn) session.environment.err << "\r\x1b[K" << std::flush;
        if (!done) return report(session.environment, session.globals, done.error());
        if (session.globals.json) {
          session.output.line(done->dump(2));
          return 0;
        }
        if (session.globals.quiet) {
          session.output.line(printable(done->value("state_dir", "")));
          return 0;
        }
        session.output.fields({{"state", "state_dir"},
                               {"add-ons", "addons"},
                               {"epoch", "epoch"},
                               {"keys", "keys"},
                               {"replaced", "replaced"},
                               {"to do", "todo", Show::list}},
                              *done);
        session.output.hint("Tokens from before are not accepted. Start the host: via serve --state-dir " +
                            session.state_dir.string());
        return 0;
      });
}

}  // namespace via::cli
