// The logs of an app's processes: read for operators, and removed when their time is over.
#include <algorithm>
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/lifecycle/app_health.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/doctor.hpp"
#include "core/logs/reader.hpp"

namespace via::lifecycle {

using nlohmann::json;
using releases::Driver;
using releases::Instance;

namespace {

constexpr std::size_t kPage = 1000;              // lines of an answer that is not the last lines
constexpr std::chrono::milliseconds kLook{200};  // while an answer waits for lines

std::string log_name(const Instance& instance) { return instance.id + ".log"; }

std::vector<logs::Source> sources_of(const std::vector<Instance>& instances, const std::string& only) {
  std::vector<logs::Source> out;
  for (const Instance& one : instances)
    if (one.driver == Driver::process && (only.empty() || one.id == only)) out.push_back({one.id, one.wanted});
  return out;
}

json item(const logs::Line& line, const Redactor& redactor) {
  json out = {{"instance", line.instance},
              {"time", format_time(line.time)},
              {"stream", logs::to_string(line.stream)},
              {"text", redactor.text(line.text)}};
  if (line.cut) out["cut"] = true;
  return out;
}

}  // namespace

std::filesystem::path ControlPlane::logs_folder() const { return settings_.state_dir / "logs"; }

// Under the control lock: who is asked for; not_found names who there is.
Result<std::vector<Instance>> ControlPlane::logged_instances(const std::string& name, const std::string& instance) {
  VIA_TRY(check_name("The app's name", name));
  VIA_TRY_LET(app, apps_.find(name));
  if (!app) {
    VIA_TRY_LET(all, apps_.list());
    std::vector<std::string> names;
    for (const auto& one : all) names.push_back(one.name);
    return fail(Code::not_found, "App '" + name + "' does not exist. " +
                                     (names.empty() ? "There are no apps yet." : "There are: " + some_of(names) + "."));
  }
  VIA_TRY_LET(instances, instances_.list(app->id));
  if (instance.empty()) return instances;
  std::vector<std::string> ids;
  for (const auto& one : instances) {
    if (one.id == instance) return instances;
    if (one.driver == Driver::process) ids.push_back(one.id);
  }
  return fail(Code::not_found, "App '" + name + "' has no instance '" + instance + "'. " +
                                   (ids.empty() ? "It has no processes." : "There are: " + some_of(ids) + "."));
}

// Files are read without the control lock: a slow disk holds up nobody but who asked.
Result<json> ControlPlane::app_logs(const AppLogs& request) {
  logs::Query query;
  if (!request.cursor.empty()) {
    VIA_TRY_LET(cursor, logs::parse_cursor(request.cursor));
    query.cursor = std::move(cursor);
  }
  query.since = request.since.seconds_back == 0 ? request.since.unix_ms : now() - request.since.seconds_back * 1000;
  if (request.lines) query.last = static_cast<std::size_t>(*request.lines);
  query.most = kPage;
  const Redactor redactor(settings_.state_dir.string());
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(request.wait_seconds);
  for (;;) {
    {
      VIA_TRY_LET(lock, control());
      if (stopping_) return fail(Code::unavailable, "The host is stopping. Try again when it is back.");
      VIA_TRY_LET(instances, logged_instances(request.name, request.instance));
      query.sources = sources_of(instances, request.instance);
    }
    const logs::Answer found = logs::read_logs(logs_folder(), query, now());
    if (found.lines.empty() && std::chrono::steady_clock::now() < until) {
      query.cursor = found.cursor;  // or the last lines would be looked for again
      query.last.reset();
      std::this_thread::sleep_for(kLook);
      continue;
    }
    auto items = json::array();
    for (const logs::Line& line : found.lines) items.push_back(item(line, redactor));
    return {boost::system::in_place_value, json{{"app", request.name},
                                                {"items", std::move(items)},
                                                {"cursor", logs::to_text(found.cursor)},
                                                {"more", found.more}}};
  }
}

// The last lines of an app, for the debug bundle.
json ControlPlane::last_lines(const std::vector<Instance>& instances, int lines, const Redactor& redactor) const {
  logs::Query query;
  query.sources = sources_of(instances, "");
  query.last = static_cast<std::size_t>(lines);
  auto items = json::array();
  for (const logs::Line& line : logs::read_logs(logs_folder(), query, now()).lines) items.push_back(item(line, redactor));
  return items;
}

void ControlPlane::trim_logs() {
  // Before the instances: a log that is made after them is not one of nobody.
  const logs::Numbers there = logs::numbers_in(logs_folder());
  if (there.empty()) return;
  std::vector<logs::AppFiles> apps;
  const auto look = [&]() -> Result<void> {
    VIA_TRY_LET(lock, control());
    VIA_TRY_LET(all, apps_.list());
    for (const auto& app : all) {
      VIA_TRY_LET(instances, instances_.list(app.id));
      auto& files = apps.emplace_back();
      for (const Instance& one : instances)
        if (one.driver == Driver::process) files.instances.push_back({log_name(one), one.wanted});
    }
    return {};
  };
  if (const auto looked = look(); !looked) {
    d_.log.warn("logs.not_trimmed", {{"reason", looked.error().message}});
    return;
  }
  const logs::Trimmed done = logs::trim(logs_folder(), there, apps, settings_.logs, now());
  if (done.files != 0) d_.log.info("logs.trimmed", {{"files", done.files}, {"bytes", done.bytes}});
}

void ControlPlane::remove_logs(const std::vector<Instance>& instances) const {
  for (const Instance& one : instances)
    if (one.driver == Driver::process) logs::remove_log(logs_folder() / log_name(one));
}

}  // namespace via::lifecycle
