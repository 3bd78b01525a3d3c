// via addon snapshot, snapshots, restore, export, import, drain, resume.
#include "cli/commands/addon.hpp"
#include "cli/follow.hpp"

namespace via::cli {
namespace {

int render_snapshot(Output& out, const Json& snapshot) {
  Json shown = snapshot;
  shown["size"] = size_text(snapshot.value("bytes", std::uint64_t{0}));
  out.fields({{"snapshot", "id"},
              {"add-on", "addon"},
              {"kind", "kind"},
              {"note", "note"},
              {"size", "size"},
              {"sha256", "sha256"},
              {"created", "created_at", Show::time},
              {"expires", "expires_at", Show::time},
              {"operation", "operation"}},
             shown);
  say_left_behind(out, shown);
  return 0;
}

int render_restore(Output& out, const Json& answer) {
  out.fields({{"add-on", "addon"},
              {"restored from", "snapshot"},
              {"safety snapshot", "safety_snapshot"},
              {"restarted", "restarted", Show::list},
              {"not restarted", "not_restarted", Show::list},
              {"operation", "operation"}},
             answer);
  return 0;
}

std::string after_restore(const Json& answer) {
  std::string text;
  if (answer.value("safety_snapshot", Json()).is_string())
    text = "The data of before: via addon restore " + answer.value("addon", "NAME") + " --snapshot " +
           answer.value("safety_snapshot", "") + " --drain --restart-bound-apps";
  if (!answer.value("not_restarted", Json::array()).empty())
    text += (text.empty() ? "" : "\n") + std::string("Restart what the host does not supervise; it has no command for it ([restart] in its configuration).");
  return text;
}

Command& flow_options(Command& command) {
  return command.option("--app", "app", "APP", "its app, when the name alone is not unique")
      .flag("--drain", "drain", "let running operations end first")
      .flag("--restart-bound-apps", "restart_bound_apps", "restart the instances that use it, with fresh material")
      .option("--force-after-timeout", "force_after_timeout", "[SECONDS]",
              "emergency: cancel what still runs after this long (30)", Kind::seconds_or_default)
      .option("--drain-timeout", "drain_timeout_seconds", "DURATION", "how long --drain waits (30s)", Kind::duration);
}

}  // namespace

void add_snapshot_commands(CommandTree& tree, CLI::App& group) {
  tree.add(group, "snapshot", "take a consistent copy of the data while it is in use", "addon.snapshot")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .option("--note", "note", "TEXT", "what it is for")
      .long_running()
      .examples({"via addon snapshot app-db", "via addon snapshot app-db --note before-migration"})
      .render(render_snapshot, "id")
      .next([](const Json& snapshot) {
        return "Go back to it: via addon restore " + snapshot.value("addon", "NAME") + " --snapshot " +
               snapshot.value("id", "ID") + " --drain --restart-bound-apps";
      });

  tree.add(group, "snapshots", "the snapshots of an add-on, newest first", "addon.snapshots")
      .argument("name", "NAME", "name or id of the add-on (a destroyed one by id)")
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .examples({"via addon snapshots app-db", "via addon snapshots app-db --json"})
      .render(
          [](Output& out, const Json& answer) {
            Json items = answer.value("items", Json::array());
            for (Json& item : items) item["size"] = size_text(item.value("bytes", std::uint64_t{0}));
            out.table({{"SNAPSHOT", "id"},
                       {"KIND", "kind"},
                       {"SIZE", "size"},
                       {"CREATED", "created_at", Show::time},
                       {"EXPIRES", "expires_at", Show::time},
                       {"NOTE", "note"}},
                      items, "snapshots");
            return 0;
          },
          "id");

  tree.add(group, "snapshot-delete", "remove one snapshot", "addon.snapshot.delete")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--snapshot", "snapshot", "ID", "the snapshot", Kind::text, true)
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .destructive("name")
      .examples({"via addon snapshot-delete app-db --snapshot snap_01jd5qk7m8x9"})
      .render(render_snapshot, "id");

  Command& restore = tree.add(group, "restore", "put a snapshot in the place of the data", "addon.restore");
  restore.argument("name", "NAME", "name or id of the add-on")
      .option("--snapshot", "snapshot", "ID", "the snapshot (via addon snapshots NAME)", Kind::text, true);
  flow_options(restore)
      .long_running()
      .destructive("name")
      .examples({"via addon restore app-db --snapshot snap_123 --drain --restart-bound-apps",
                 "via addon restore app-db --snapshot snap_123 --force-after-timeout 10",
                 "via addon restore app-db --snapshot snap_123 --plan"})
      .render(render_restore, "safety_snapshot")
      .next(after_restore);

  tree.add(group, "export", "write the data to a file of yours", "addon.export")
      .argument("name", "NAME", "name or id of the add-on")
      .argument("file", "FILE", "a new file", Kind::file)
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .long_running()
      .examples({"via addon export app-db /srv/app-db.sqlite"})
      .render(
          [](Output& out, const Json& answer) {
            Json shown = answer;
            shown["size"] = size_text(answer.value("bytes", std::uint64_t{0}));
            out.fields({{"add-on", "addon"}, {"file", "file"}, {"size", "size"}, {"sha256", "sha256"}}, shown);
            return 0;
          },
          "file");

  Command& import = tree.add(group, "import", "put the data of a file in the place of the add-on's", "addon.import");
  import.argument("name", "NAME", "name or id of the add-on").argument("file", "FILE", "the file", Kind::file);
  flow_options(import)
      .long_running()
      .destructive("name")
      .examples({"via addon import app-db /srv/app-db.sqlite --drain --restart-bound-apps"})
      .render(render_restore, "safety_snapshot")
      .next(after_restore);

  tree.add(group, "drain", "refuse new operations and wait until those that run have ended", "addon.drain")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--timeout", "timeout_seconds", "DURATION", "how long to wait (30s)", Kind::duration)
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .long_running()
      .examples({"via addon drain app-db", "via addon drain app-db --timeout 2m"})
      .render(
          [](Output& out, const Json& addon) {
            out.fields({{"add-on", "name"}, {"drained", "drained", Show::yes_no}, {"operation", "operation"}}, addon);
            return 0;
          },
          "id")
      .next([](const Json& addon) { return "Serve again: via addon resume " + addon.value("name", "NAME"); });

  tree.add(group, "resume", "let a drained add-on serve again", "addon.resume")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .examples({"via addon resume app-db"})
      .render(
          [](Output& out, const Json& addon) {
            out.fields({{"add-on", "name"}, {"drained", "drained", Show::yes_no}}, addon);
            return 0;
          },
          "id");
}

}  // namespace via::cli
