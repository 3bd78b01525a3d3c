// The endpoints of history and time travel: parameters in, the answers of travel.hpp and rollback.hpp out.
#include "plugins/sqlite/api/endpoints.hpp"
#include "plugins/sqlite/kv/content_type.hpp"
#include "plugins/sqlite/kv/rollback.hpp"

#include <algorithm>

namespace via::sqlite::api {
namespace {

using kv::Table;

constexpr size_t kHistoryBytes = 32u << 20;

// The table and the database of a request; false when it has been answered.
bool opened(Context& c, Table& table, std::shared_ptr<OpenDatabase>& database) {
  if (Failure f = Table::parse(c.request().parameters.text("table", "kv_store"), table)) return c.fail(std::move(f)), false;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f)), false;
  return true;
}

bool checked(Context& c, Failure failure) {
  if (failure) c.fail(std::move(failure));
  return !failure;
}

using JsonFn = std::function<Failure(Connection&, const Table&, int64_t now_ms, std::string& json)>;

void answer_read(Context& c, const JsonFn& fn) {
  Table table;
  std::shared_ptr<OpenDatabase> database;
  if (!opened(c, table, database)) return;
  Answer answer;
  const Failure failure = c.read(*database, [&](Connection& connection) {
    answer.body.clear();
    return fn(connection, table, c.now_ms(), answer.body);
  });
  if (failure) return c.fail(failure);
  c.answer(std::move(answer));
}

void answer_write(Context& c, JsonFn fn) {
  Table table;
  std::shared_ptr<OpenDatabase> database;
  if (!opened(c, table, database)) return;
  c.write(std::move(database), [fn = std::move(fn), table, now = c.now_ms()](Connection& connection, Answer& answer) {
    return fn(connection, table, now, answer.body);
  });
}

bool required_time(Context& c, const char* name, int64_t& ms) {
  bool given = false;
  if (!checked(c, c.request().parameters.timestamp(name, ms, given))) return false;
  return given || checked(c, error(400, std::string(name) + " is required"));
}

void append_operation(std::string& out, const kv::Operation& o) {
  std::string values = ",\"raw_old_value\":";
  kv::append_raw(values, o.before);
  values += ",\"raw_new_value\":";
  kv::append_raw(values, o.after);
  out += "{\"op_number\":" + std::to_string(o.number) + ",\"timestamp\":" + std::to_string(o.time) + values + ",\"operation\":{\"op\":";
  kv::append_text(out, o.op);
  out += values;
  if (o.before) kv::append_document(out, "old_value", *o.before);
  if (o.after) kv::append_document(out, "new_value", *o.after);
  out += "}}";
}

void history(Context& c) {
  int64_t limit = 0;
  if (!checked(c, c.request().parameters.integer("limit", limit))) return;
  limit = limit <= 0 ? 50 : std::min<int64_t>(limit, 1000);
  int64_t newest = INT64_MAX;
  if (!checked(c, c.request().parameters.numbered_cursor(newest))) return;
  answer_read(c, [&c, limit, newest](Connection& connection, const Table& table, int64_t now_ms, std::string& json) -> Failure {
    std::optional<kv::Travel> travel;
    if (Failure f = kv::Travel::open(connection, table, now_ms, travel)) return f;
    const std::string& key = c.request().key;
    std::string list;
    int64_t count = 0, more = 0;
    const Failure read = travel->operations(key, newest, [&](kv::Operation&& o) {
      if (count >= limit || list.size() >= kHistoryBytes) {
        more = o.number;
        return false;
      }
      if (count++ != 0) list += ',';
      append_operation(list, o);
      return true;
    });
    if (read) return read;
    bool gaps = false;
    if (Failure f = travel->has_gaps(key, gaps)) return f;
    json = "{\"key\":";
    kv::append_text(json, key);
    json += ",\"operations\":[" + list + "],\"count\":" + std::to_string(count) + ",\"has_gaps\":" + (gaps ? "true" : "false") + paging(more > 0 ? std::to_string(more) : "") + "}";
    return {};
  });
}

void key_snapshot(Context& c) {
  int64_t number = 0;
  if (!checked(c, c.request().parameters.integer("op_number", number))) return;
  if (c.request().parameters.text("op_number").empty()) return c.fail(error(400, "op_number is required"));
  answer_read(c, [&c, number](Connection& connection, const Table& table, int64_t now_ms, std::string& json) -> Failure {
    std::optional<kv::Travel> travel;
    if (Failure f = kv::Travel::open(connection, table, now_ms, travel)) return f;
    const std::string& key = c.request().key;
    int64_t oldest = -1, newest = -1;
    if (Failure f = travel->range(key, oldest, newest)) return f;
    if (number < 1 || number > newest) return error(404, "Operation not found");
    std::optional<kv::Operation> found;
    if (Failure f = travel->outcome(key, number, found)) return f;
    if (!found) return kv::chain_gap();  // trimmed
    bool gaps = false;
    if (Failure f = travel->has_gaps(key, gaps)) return f;
    const auto& after = found->after;
    json = "{\"key\":";
    kv::append_text(json, key);
    json += ",\"op_number\":" + std::to_string(number) + ",\"timestamp\":" + std::to_string(found->time) + ",\"op\":";
    kv::append_text(json, found->op);
    json += std::string(",\"exists\":") + (after ? "true" : "false") + ",\"raw_value\":";
    kv::append_raw(json, after);
    if (!after) {
      json += ",\"value\":null,\"content_type\":null,\"expires_at\":null";
    } else {
      if (!kv::append_document(json, "value", *after)) {
        json += ",\"value\":";
        kv::append_text(json, after->value);
      }
      json += ",\"content_type\":";
      kv::append_text(json, kv::shown_type(*after));
      json += ",\"expires_at\":" + (after->expires_ms ? std::to_string(*after->expires_ms) : "null");
    }
    json += std::string(",\"has_gaps\":") + (gaps ? "true}" : "false}");
    return {};
  });
}

void table_snapshot(Context& c) {
  int64_t at_ms = 0, limit = 100;
  if (!required_time(c, "timestamp", at_ms)) return;
  if (!checked(c, c.request().parameters.integer("limit", limit))) return;
  answer_read(c, [&c, at_ms, limit](Connection& connection, const Table& table, int64_t now_ms, std::string& json) {
    return kv::table_at(connection, table, {c.request().parameters.text("prefix"), c.request().parameters.text("cursor"), limit}, at_ms, now_ms, json);
  });
}

void diff(Context& c) {
  int64_t from_ms = 0, to_ms = 0;
  if (!required_time(c, "from", from_ms) || !required_time(c, "to", to_ms)) return;
  if (from_ms > to_ms) return c.fail(error(400, "from must not be later than to"));
  std::optional<std::vector<std::string>> keys;
  if (std::string_view rest = c.request().parameters.text("keys"); !rest.empty()) {
    keys.emplace();
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(','), rest.size());
      if (end != 0) keys->emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  answer_read(c, [&](Connection& connection, const Table& table, int64_t now_ms, std::string& json) {
    return kv::diff_table(connection, table, from_ms, to_ms, keys, now_ms, json);
  });
}

void rollback(Context& c) {
  int64_t steps = 1;
  if (!checked(c, c.request().parameters.integer("steps", steps))) return;
  answer_write(c, [key = c.request().key, steps](Connection& connection, const Table& table, int64_t now_ms, std::string& json) {
    return kv::rollback_key(connection, table, key, steps, now_ms, json);
  });
}

void table_rollback(Context& c) {
  const Parameters& parameters = c.request().parameters;
  int64_t to_ms = 0;
  bool dry_run = false;
  if (!required_time(c, "to_timestamp", to_ms) || !checked(c, parameters.boolean("dry_run", dry_run))) return;
  if (!dry_run && parameters.text("confirm") != "yes") return c.fail(error(400, "confirm=yes is required; dry_run=true shows what would change"));
  if (c.request().body.empty()) return c.fail(error(400, "a JSON body is required; {} selects the whole table"));
  kv::Selection selection;
  if (!checked(c, kv::Selection::parse(c.request().body, selection))) return;
  JsonFn fn = [to_ms, dry_run, selection = std::move(selection)](Connection& connection, const Table& table, int64_t now_ms, std::string& json) {
    return kv::rollback_table(connection, table, to_ms, selection, dry_run, now_ms, json);
  };
  if (dry_run) answer_read(c, fn);
  else answer_write(c, std::move(fn));
}

}  // namespace

std::vector<Route> travel_routes() {
  return {
      {Method::get, "/kv/{key}/history", Needs::read, history},
      {Method::get, "/kv/{key}/snapshot", Needs::read, key_snapshot},
      {Method::post, "/kv/{key}/rollback", Needs::write, rollback},
      {Method::get, "/kv/snapshot", Needs::read, table_snapshot},
      {Method::get, "/kv/diff", Needs::read, diff},
      {Method::post, "/kv/rollback", Needs::write, table_rollback},
  };
}

}  // namespace via::sqlite::api
