#include "cli/follow.hpp"

#include <algorithm>
#include <cstdio>
#include <ostream>

namespace via::cli {
namespace {

constexpr int kPauseMs = 150;

// Draws over itself; nothing unless `err` is a terminal.
class ProgressLine {
 public:
  ProgressLine(Environment& environment, const Globals& globals)
      : environment_(environment), on_(environment.error_terminal && !globals.quiet && !globals.json) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  bool on() const { return on_; }
  void show(const Json& operation) {
    std::string step = operation.value("kind", "");
    if (const Json steps = operation.value("steps", Json::array()); !steps.empty()) {
      step = steps.back().value("name", "");
      std::replace(step.begin(), step.end(), '_', ' ');
    }
    if (step != step_) {
      step_ = step;
      seconds_ = 0;
    }
    seconds_ += kPauseMs / 1000.0;
    std::uint64_t done = 0, total = 0;
    if (operation.contains("progress") && operation["progress"].is_object()) {
      done = operation["progress"].value("done", std::uint64_t{0});
      total = operation["progress"].value("total", std::uint64_t{0});
    }
    const int width = environment_.error_width > 0 ? environment_.error_width - 1 : 79;
    environment_.err << "\r\x1b[K" << progress_line(step, done, total, seconds_, width) << std::flush;
    drawn_ = true;
  }
  void clear() {
    if (drawn_) environment_.err << "\r\x1b[K" << std::flush;
    drawn_ = false;
  }

 private:
  Environment& environment_;
  bool on_, drawn_ = false;
  std::string step_;
  double seconds_ = 0;
};

Error error_of(const Json& operation) {
  const Json error = operation.value("error", Json());
  const std::string state = operation.value("state", "");
  if (!error.is_object()) {
    if (state == "undone")
      return fail(Code::cancelled, "The host restarted and took the operation back. Start it again.");
    return fail(Code::internal, "The operation ended as '" + state + "'. Look at it: via op show " + operation.value("id", ""));
  }
  const std::string name = error.value("code", "");
  Error out = fail(code_of(name), error.value("message", ""));
  out.name = name;
  return out;
}

}  // namespace

std::string size_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

std::string progress_line(const std::string& step, std::uint64_t done, std::uint64_t total, double seconds, int width) {
  constexpr int kBar = 24;
  std::string line = step;
  if (total > 0) {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    std::string bar;
    for (int i = 0; i < kBar; ++i) bar += i < static_cast<int>(share * kBar) ? "█" : "░";
    line += "  " + bar + " " + std::to_string(static_cast<int>(share * 100)) + "%  " + size_text(done) + " / " + size_text(total);
    if (seconds > 0.5) line += "  " + size_text(static_cast<std::uint64_t>(static_cast<double>(done) / seconds)) + "/s";
  } else if (seconds >= 1) {
    line += "  " + std::to_string(static_cast<int>(seconds)) + "s";
  }
  return fit(line, width);
}

Result<Json> follow_operation(Session& session, AdminTransport& admin, const std::string& id) {
  ProgressLine line(session.environment, session.globals);
  for (;;) {
    if (session.environment.interrupted && session.environment.interrupted()) {
      line.clear();
      if (!admin.in_process()) {
        Error error = fail(Code::cancelled, "Still running: via op wait " + id);
        error.name = kInterrupted;
        error.details = "\"operation\":" + Json(id).dump();
        return error;
      }
      session.environment.err << (admin.call("op.cancel", {{"operation", id}})
                                      ? "Stopping: what was begun is taken back.\n"
                                      : "It can only go forward now; waiting for its end.\n");
    }
    auto operation = line.on() ? admin.call("op.show", {{"operation", id}})
                               : admin.call("op.wait", {{"operation", id}, {"timeout_seconds", 1}});
    if (!operation) {
      if (operation.error().code == Code::deadline_exceeded) continue;
      return operation.error();
    }
    if (operation->value("state", "running") == "running") {
      if (line.on()) line.show(*operation);
      if (session.environment.sleep) session.environment.sleep(kPauseMs);
      continue;
    }
    line.clear();
    if (operation->value("state", "") != "done") return error_of(*operation);
    Json result = operation->value("result", Json());
    if (!result.is_object()) result = *operation;
    return succeed(std::move(result));
  }
}

Result<Json> follow(Session& session, AdminTransport& admin, const std::string& command, Json request, bool no_wait) {
  request["wait"] = false;
  auto begun = admin.call(command, request);
  if (!begun) return begun.error();
  if (begun->value("state", "") != "running" || !begun->contains("operation")) return begun;
  const std::string id = begun->value("operation", "");
  if (no_wait && !admin.in_process()) return begun;
  if (session.environment.error_terminal) session.output.hint("operation " + id);
  return follow_operation(session, admin, id);
}

}  // namespace via::cli
