// via logs: what an app's processes wrote, and what they write while one looks.
#include "cli/commands/logs.hpp"

#include <algorithm>
#include <ostream>

namespace via::cli {
namespace {

constexpr int kPauseMs = 500;

// As printable(), with tabs as they are.
std::string safe(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find('\t', at), text.size());
    out += printable(text.substr(at, end - at));
    if (end < text.size()) out += '\t';
    at = end + 1;
  }
  return out;
}

// A line for people: TIME INSTANCE out|err|via TEXT. The text is safe when it comes, and is made safe again.
void show(Session& session, const Json& item) {
  std::ostream& out = session.environment.out;
  const std::string stream = item.value("stream", "");
  if (session.globals.json) {
    out << item.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  const std::string text = safe(item.value("text", ""));
  if (session.globals.quiet) {
    out << text << '\n';
    return;
  }
  const Style style = stream == "stderr" ? Style::warn : stream == "via" ? Style::bold : Style::plain;
  out << session.output.paint(Style::dim, printable(item.value("time", ""))) << ' ' << printable(item.value("instance", "")) << ' '
      << session.output.paint(style, (stream.starts_with("std") ? stream.substr(3) : stream) + " " + text + (item.value("cut", false) ? "…" : "")) << '\n';
}

// A host that restarts is waited for; false when Ctrl-C was pressed.
bool wait_for_host(Session& session, const std::function<bool()>& interrupted) {
  const auto socket = session.state_dir / "admin.sock";
  bool told = false;
  while (probe_socket(socket) == SocketState::absent) {
    if (!told) session.output.hint("The host is not running; waiting for it. Ctrl-C ends this.");
    told = true;
    if (interrupted()) return false;
    if (!session.environment.sleep) return false;
    session.environment.sleep(kPauseMs);
  }
  return true;
}

int run_logs(Session& session, const Command& command) {
  auto request = command.arguments();
  if (!request) return report(session.environment, session.globals, request.error());
  const bool follow = request->value("follow", false);
  request->erase("follow");
  const auto interrupted = [&] { return session.environment.interrupted && session.environment.interrupted(); };
  if (follow) (void)interrupted();  // from here on Ctrl-C is the end, and not a failure
  auto opened = open_host(session, false);
  if (!opened) return report(session.environment, session.globals, opened.error());
  std::unique_ptr<AdminTransport> admin = std::move(*opened);
  bool any = false;
  for (;;) {
    auto answer = admin->call("app.logs", *request);
    if (!answer) {
      // Only a host that went away is waited for, and only by those who have seen it.
      const bool gone = !admin->in_process() && (answer.error().code == Code::unavailable ||
                                                 probe_socket(session.state_dir / "admin.sock") == SocketState::absent);
      if (!follow || !request->contains("cursor") || !gone) return report(session.environment, session.globals, answer.error());
      if (session.environment.sleep) session.environment.sleep(kPauseMs);
      if (interrupted() || !wait_for_host(session, interrupted)) return 0;
      continue;
    }
    for (const Json& item : answer->value("items", Json::array())) {
      show(session, item);
      any = true;
    }
    session.environment.out.flush();
    if (!session.environment.out) return 1;
    const bool more = answer->value("more", false);
    (*request)["cursor"] = answer->value("cursor", "");
    request->erase("lines");
    if (!more && !follow) break;
    if (interrupted()) return 0;
    if (follow && !more) {
      (*request)["wait_seconds"] = 1;  // so that Ctrl-C is heard
      if (admin->in_process()) {       // nothing runs, and the folder is let go for a host to start
        admin.reset();
        if (!wait_for_host(session, interrupted)) return 0;
        auto again = open_host(session, false);
        if (!again) return report(session.environment, session.globals, again.error());
        admin = std::move(*again);
      }
    }
  }
  if (!any) session.output.hint("No logs.");
  return 0;
}

}  // namespace

Command& logs_command(Command& command, const std::string& lines_flag) {
  return command.option("--instance", "instance", "ID", "only of this instance")
      .flag("--follow,-f", "follow", "go on as lines come, over restarts and new deploys, until Ctrl-C")
      .option("--since", "since", "WHEN", "only the last 10m, 1h …, or from a time on: 2026-11-21T11:54:32Z", Kind::since)
      .option(lines_flag, "lines", "N", "only the last N lines of all instances (100, without --since)", Kind::number)
      .local([&command](Session& session) { return run_logs(session, command); });
}

void add_logs_commands(CommandTree& tree) {
  logs_command(tree.add(tree.root(), "logs", "what an app's processes wrote: time, instance, stream and line", "")
                   .argument("name", "APP", "name of the app"),
               "--tail")
      .examples({"via logs api", "via logs api -f", "via logs api --since 10m --json", "via logs api --instance ins_01jd5qk7m8x9 --tail 20",
                 "via logs api --since 1h --quiet | grep -c ERROR"});
  tree.place(*tree.root().get_subcommand("logs"), "APPS AND ADD-ONS");
}

}  // namespace via::cli
