// via op and via audit: what was done, by whom, and what still runs.
#include "cli/command.hpp"
#include "cli/follow.hpp"

namespace via::cli {
namespace {

int render_operation(Output& out, const Json& operation) {
  out.fields({{"operation", "id"},
              {"kind", "kind"},
              {"target", "target"},
              {"actor", "actor"},
              {"state", "state", Show::state},
              {"outcome", "outcome"},
              {"error", "error/message"},
              {"created", "created_at", Show::time},
              {"finished", "finished_at", Show::time}},
             operation);
  if (operation.contains("steps") && !operation["steps"].empty()) {
    out.heading("Steps");
    out.table({{"STEP", "name"}, {"AT", "at", Show::time}}, operation["steps"], "");
  }
  return 0;
}

}  // namespace

void add_operation_commands(CommandTree& tree) {
  CLI::App& op = tree.group("op", "operations: what runs and what was done", "THE HOST");
  tree.add(op, "list", "operations, newest first", "op.list")
      .option("--limit", "limit", "N", "at most this many (50)", Kind::number)
      .option("--state", "state", "STATE", "only those in this state")
      .one_of({"running", "done", "failed", "undone", "cancelled"})
      .option("--target", "target", "NAME", "only those of this app or add-on")
      .examples({"via op list", "via op list --state running", "via op list --target app-db --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"OPERATION", "id"},
                       {"KIND", "kind"},
                       {"STATE", "state", Show::state},
                       {"ACTOR", "actor"},
                       {"CREATED", "created_at", Show::time},
                       {"TARGET", "target"}},
                      answer.value("items", Json::array()), "operations");
            return 0;
          },
          "id");
  tree.add(op, "show", "one operation with its steps", "op.show")
      .argument("operation", "ID", "the operation")
      .examples({"via op show op_01jd5qk7m8x9"})
      .render(render_operation, "state");
  Command& wait = tree.add(op, "wait", "wait until an operation has ended; its result, or its error", "");
  wait.argument("operation", "ID", "the operation")
      .examples({"via op wait op_01jd5qk7m8x9"})
      .local([&wait](Session& session) {
        auto admin = open_host(session, false);
        if (!admin) return report(session.environment, session.globals, admin.error());
        const std::string id = wait.text("operation");
        if (auto ended = follow_operation(session, **admin, id); !ended)
          return report(session.environment, session.globals, ended.error());
        auto operation = (*admin)->call("op.show", {{"operation", id}});
        if (!operation) return report(session.environment, session.globals, operation.error());
        if (session.globals.json) {
          session.output.line(operation->dump(2));
          return 0;
        }
        if (!session.globals.quiet) return render_operation(session.output, *operation);
        session.output.line(printable(id));
        return 0;
      });
  tree.add(op, "cancel", "stop an operation that has not changed anything yet", "op.cancel")
      .argument("operation", "ID", "the operation")
      .examples({"via op cancel op_01jd5qk7m8x9"})
      .render(render_operation, "state");

  CLI::App& audit = tree.group("audit", "the record of who did what", "THE HOST");
  tree.add(audit, "list", "entries of the record, oldest first", "audit.list")
      .option("--since", "since", "WHEN", "only the last 1h, 7d …, or from a time on: 2026-11-21T11:54:32Z", Kind::since)
      .option("--limit", "limit", "N", "at most this many, the newest (100)", Kind::number)
      .option("--target", "target", "ID", "only those of this id")
      .examples({"via audit list", "via audit list --since 1h", "via audit list --since 2026-11-21T09:00:00+01:00",
                 "via audit list --limit 1000 --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.table({{"N", "sequence"},
                       {"AT", "at", Show::time},
                       {"ACTOR", "actor"},
                       {"ACTION", "action"},
                       {"OUTCOME", "outcome"},
                       {"TARGET", "target"}},
                      answer.value("items", Json::array()), "entries");
            return 0;
          },
          "sequence");
  tree.add(audit, "verify", "check the hash chain of the whole record (exit 7 when it is broken)", "audit.verify")
      .examples({"via audit verify", "via audit verify --json"})
      .render(
          [](Output& out, const Json& answer) {
            out.fields({{"whole", "ok", Show::yes_no},
                        {"entries", "entries"},
                        {"first that does not fit", "first_bad"},
                        {"head", "head"}},
                       answer);
            return answer.value("ok", false) ? 0 : 7;
          },
          "head");
}

}  // namespace via::cli
