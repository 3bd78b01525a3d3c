// What is about the databases and not in them: POST /maintenance, the query history, health, the OpenAPI document.
#include "plugins/sqlite/api/api.hpp"
#include "plugins/sqlite/api/maintenance.hpp"
#include "plugins/sqlite/api/openapi.hpp"
#include "plugins/sqlite/api/query_log.hpp"

#include <sys/stat.h>

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>

namespace via::sqlite::api {
namespace {

namespace json = boost::json;

constexpr int64_t kStandardSeconds = 30, kMostSeconds = 300, kStandardEntries = 100;

void answer_json(Context& c, const json::object& body) {
  Answer a;
  a.body = json::serialize(body);
  c.answer(std::move(a));
}

// ---- POST /maintenance ----

struct Maintenance {
  enum class What : uint8_t { checkpoint, vacuum, check } what = What::check;
  std::string name, dest_path;
};

Failure read_maintenance(const Request& request, Maintenance& out) {
  json::error_code ec;
  const auto value = json::parse({request.body.data(), request.body.size()}, ec);
  if (ec || !value.is_object()) return error(400, "Invalid JSON body");
  for (const auto& [key, v] : value.get_object()) {
    if (key != "op" && key != "dest_path") continue;
    if (!v.is_string()) return error(400, std::string(key) + " must be a string");
    (key == "op" ? out.name : out.dest_path) = std::string(v.get_string().data(), v.get_string().size());
  }
  if (out.name == "wal_checkpoint_truncate") out.what = Maintenance::What::checkpoint;
  else if (out.name == "vacuum_into") out.what = Maintenance::What::vacuum;
  else if (out.name == "quick_check") out.what = Maintenance::What::check;
  else return error(400, "op must be one of wal_checkpoint_truncate, vacuum_into, quick_check");
  if ((out.what == Maintenance::What::vacuum) == out.dest_path.empty())
    return error(400, out.dest_path.empty() ? "dest_path is required for vacuum_into" : "dest_path is for vacuum_into only");
  return {};
}

void maintain(Context& c) {
  Maintenance want;
  if (Failure f = read_maintenance(c.request(), want)) return c.fail(std::move(f));
  int64_t seconds = kStandardSeconds;
  if (Failure f = c.request().parameters.integer("timeout", seconds)) return c.fail(std::move(f));
  uint64_t deadline = c.host().now_ns() + static_cast<uint64_t>(std::clamp<int64_t>(seconds, 1, kMostSeconds)) * 1'000'000'000;
  if (c.call()->deadline_ns != 0) deadline = std::min(deadline, c.call()->deadline_ns);
  Place destination;
  if (want.what == Maintenance::What::vacuum) {
    if (Failure f = c.place(want.dest_path, destination)) return c.fail(std::move(f));
  }
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f));
  json::object out{{"success", true}, {"op", want.name}};
  Failure failure;
  if (want.what == Maintenance::What::check) {
    std::vector<std::string> said;
    failure = quick_check(*database, deadline, c.call(), said);
    out["ok"] = said.size() == 1 && said[0] == "ok";
    json::array lines;
    for (const auto& line : said) lines.emplace_back(json::string_view(line));
    out["result"] = std::move(lines);
  } else if (want.what == Maintenance::What::checkpoint) {
    bool whole = false;
    failure = checkpoint(*database, deadline, c.call(), whole);
    struct stat st {};
    out["complete"] = whole;
    out["wal_bytes"] = ::stat((database->path() + "-wal").c_str(), &st) == 0 ? st.st_size : 0;
  } else {
    uint64_t bytes = 0;
    failure = vacuum_into(*database, c.api().databases(), destination, deadline, c.call(), bytes);
    out["dest_path"] = destination.inside ? std::string(destination.absolute ? "/hoody/databases/" : "") + destination.name : destination.name;
    out["bytes"] = bytes;
  }
  return failure ? c.fail(std::move(failure)) : answer_json(c, out);
}

// ---- the query history ----

QueryLog& log_of(const std::shared_ptr<OpenDatabase>& database) { return database->attached<QueryLog>(database->database()); }

void list_history(Context& c) {
  int64_t limit = kStandardEntries;
  if (Failure f = c.request().parameters.integer("limit", limit)) return c.fail(std::move(f));
  if (limit <= 0) limit = kStandardEntries;
  limit = std::min(limit, static_cast<int64_t>(QueryLog::kMaxEntries));
  int64_t from = INT64_MAX;
  if (Failure f = c.request().parameters.numbered_cursor(from)) return c.fail(std::move(f));
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f));
  json::array list;
  json::value next = nullptr;
  for (const RanStatement& s : log_of(database).newest(static_cast<size_t>(limit) + 1, static_cast<uint64_t>(from))) {
    if (list.size() == static_cast<size_t>(limit)) {
      next = std::to_string(s.index);
      break;
    }
    json::object one{{"index", s.index}, {"sql", s.sql}, {"timestamp", s.unix_ms}, {"duration_ms", static_cast<double>(s.duration_us) / 1000.0},
                     {"success", s.success}};
    if (!s.success) one["error"] = s.error;
    list.push_back(std::move(one));
  }
  const size_t count = list.size();
  answer_json(c, {{"history", std::move(list)}, {"count", count}, {"total", log_of(database).totals().entries}, {"has_more", !next.is_null()}, {"next_cursor", next}});
}

void clear_history(Context& c) {
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f));
  answer_json(c, {{"success", true}, {"deleted", log_of(database).clear()}});
}

void delete_history(Context& c) {
  const std::string& given = c.request().key;
  uint64_t index = 0;
  const auto [end, bad] = std::from_chars(given.data(), given.data() + given.size(), index);
  if (bad != std::errc() || end != given.data() + given.size()) return c.fail(error(400, "index must be an integer"));
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f));
  if (!log_of(database).remove(index)) return c.fail(error(404, "History entry not found"));
  answer_json(c, {{"success", true}, {"deleted", true}});
}

void history_stats(Context& c) {
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f));
  const QueryLog::Totals t = log_of(database).totals();
  const auto time = [&](int64_t ms) { return t.entries == 0 ? json::value(nullptr) : json::value(ms); };
  answer_json(c, {{"total", t.entries}, {"succeeded", t.entries - t.failed}, {"failed", t.failed}, {"bytes", t.bytes},
                  {"oldest", time(t.oldest_ms)}, {"newest", time(t.newest_ms)}, {"limit", QueryLog::kMaxEntries}});
}

// ---- health ----

void health(Context& c) {
  const bool serving = c.api().databases().serving();
  Answer a;
  a.status = serving ? 200 : 503;
  a.body = json::serialize(json::object{{"status", serving ? "ok" : "closed"}, {"service", "sqlite"}, {"sqlite_version", sqlite3_libversion()}});
  c.answer(std::move(a));
}

void cache_health(Context& c) {
  size_t known = 0, open = 0;
  c.api().databases().for_each([&](const std::string&, Database& database) {
    ++known;
    open += database.open() ? 1 : 0;
  });
  const Directories::Cached directories = c.api().directories().cached();
  answer_json(c, {{"status", "ok"}, {"databases", {{"known", known}, {"open", open}}},
                  {"directories", {{"cached", directories.directories}, {"files", directories.files}}}});
}

// ---- the document ----

void document(Context& c, const char* type, const std::string& text) {
  Answer a;
  a.content_type = type;
  a.body = text;
  c.answer(std::move(a));
}

void as_json(Context& c) {
  static const std::string text = openapi_json();
  document(c, "application/json", text);
}

void as_yaml(Context& c) {
  static const std::string text = openapi_yaml();
  document(c, "application/yaml", text);
}

}  // namespace

std::vector<Route> service_routes() {
  return {{Method::post, "/maintenance", Needs::write, maintain},
          {Method::get, "/history", Needs::read, list_history},
          {Method::del, "/history", Needs::write, clear_history},
          {Method::get, "/history/stats", Needs::read, history_stats},
          {Method::del, "/history/{index}", Needs::write, delete_history},
          {Method::get, "/health", Needs::nothing, health},
          {Method::get, "/health/cache", Needs::nothing, cache_health},
          {Method::get, "/openapi.json", Needs::nothing, as_json},
          {Method::get, "/openapi.yaml", Needs::nothing, as_yaml}};
}

}  // namespace via::sqlite::api
