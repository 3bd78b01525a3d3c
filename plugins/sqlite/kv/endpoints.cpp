// The key-value store over HTTP: parameters in, one read or one change of the store, the answer out.
#include "plugins/sqlite/api/endpoints.hpp"
#include "plugins/sqlite/kv/content_type.hpp"
#include "plugins/sqlite/kv/directory_endpoints.hpp"
#include "plugins/sqlite/kv/json_path.hpp"
#include "plugins/sqlite/kv/store.hpp"
#include "plugins/sqlite/kv/travel.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <charconv>

namespace via::sqlite::api {
namespace {

using kv::Entry;
using kv::JsonPath;
using kv::Table;

constexpr int64_t kLongestTtl = 100ll * 366 * 86'400;  // seconds
constexpr size_t kBatch = 100;
constexpr int64_t kLargestLimit = 10'000;
constexpr size_t kListBytes = 32u << 20;

Failure not_found() { return error(404, "Key not found"); }
Failure invalid_body() { return error(400, "Invalid JSON body"); }

// Fit to be a response field: a batch or SQL can name any text.
bool sendable(std::string_view type) {
  return !type.empty() && type.size() <= 255 && std::all_of(type.begin(), type.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

Failure ttl_of(const Parameters& p, int64_t now_ms, std::optional<int64_t>& expires_ms) {
  if (p.text("ttl").empty()) return {};
  int64_t ttl = 0;
  if (Failure f = p.integer("ttl", ttl)) return f;
  if (ttl < 1 || ttl > kLongestTtl) return error(400, "ttl must be a positive number of seconds");
  expires_ms = now_ms + ttl * 1000;
  return {};
}

// The database that the request names; false when the request has been answered, perhaps in directory mode.
bool opened(Context& c, bool create, std::shared_ptr<OpenDatabase>& out, DirectoryEndpoint otherwise = nullptr) {
  Failure f = c.database(create, out);
  if (f) fail_or_directory(c, std::move(f), otherwise);
  return out != nullptr;
}

bool checked(Context& c, Failure failure) {
  if (failure) c.fail(std::move(failure));
  return !failure;
}

// What every change of one key has in common; false when the request has been answered.
struct Prepared {
  kv::Change change;
  JsonPath path;
  std::shared_ptr<OpenDatabase> database;
};
bool prepare(Context& c, const char* op, Prepared& out, DirectoryEndpoint otherwise = nullptr) {
  const Parameters& p = c.request().parameters;
  bool create = false;
  out.change.op = op;
  out.change.key = c.request().key;
  out.change.now_ms = c.now_ms();
  if (!checked(c, kv::check_key(out.change.key)) || !checked(c, Table::parse(p.text("table", "kv_store"), out.change.table))) return false;
  if (!checked(c, p.boolean("history", out.change.history)) || !checked(c, c.wants_create(create))) return false;
  if (!p.text("path").empty() && !checked(c, JsonPath::parse(p.text("path"), out.path))) return false;
  return opened(c, create, out.database, otherwise);
}

using KeyFn = std::function<Failure(const Entry* before, std::optional<Entry>& after, Answer& answer)>;
void write_key(Context& c, Prepared prepared, KeyFn fn) {
  c.write(std::move(prepared.database), [what = std::move(prepared.change), fn = std::move(fn)](Connection& connection, Answer& answer) {
    return kv::change(connection, what, [&](const Entry* before, std::optional<Entry>& after) { return fn(before, after, answer); });
  });
}

Failure leaf_of(const JsonPath& path, const Entry& entry, std::string_view& leaf) {
  leaf = entry.value;
  if (path.whole()) return {};
  if (!kv::valid_json(entry.value)) return error(400, "the value is not a JSON document");
  const auto found = path.find(entry.value);
  if (!found) return error(404, "Path not found");
  leaf = *found;
  return {};
}

void get_key(Context& c) {
  const Request& r = c.request();
  Table table;
  JsonPath path;
  int64_t at_ms = 0;
  bool at = false;
  std::shared_ptr<OpenDatabase> database;
  if (!checked(c, kv::check_key(r.key)) || !checked(c, Table::parse(r.parameters.text("table", "kv_store"), table))) return;
  if (!r.parameters.text("path").empty() && !checked(c, JsonPath::parse(r.parameters.text("path"), path))) return;
  if (!checked(c, r.parameters.timestamp("at_timestamp", at_ms, at))) return;
  if (at && c.on_io_thread()) return c.fail(would_block());  // a walk through the history
  if (!opened(c, false, database, get_file)) return;
  std::optional<Entry> entry;
  const Failure failure = c.read(*database, [&](Connection& connection) {
    return at ? kv::get_at(connection, table, r.key, at_ms, c.now_ms(), entry) : kv::get(connection, table, r.key, c.now_ms(), entry);
  });
  if (failure) return c.fail(failure);
  if (!entry) return c.fail(not_found());
  std::string_view leaf;
  if (!checked(c, leaf_of(path, *entry, leaf))) return;
  Answer a;
  a.body = leaf;
  if (path.whole()) a.content_type = sendable(entry->content_type) ? kv::shown_type(*entry) : "application/octet-stream";
  c.answer(std::move(a));
}

void put_key(Context& c) {
  Prepared p;
  std::optional<int64_t> expires;
  if (!prepare(c, "set", p) || !checked(c, ttl_of(c.request().parameters, c.now_ms(), expires))) return;
  const Request& r = c.request();
  std::optional<std::string> match;
  if (const auto given = r.parameters.find("if_match")) match = std::string(*given);
  if (!p.path.whole() && !kv::valid_json(r.body)) return c.fail(invalid_body());
  std::string type = kv::type_for(r.content_type, r.body);
  if (!sendable(type)) return c.fail(error(400, "content_type must be 1 to 255 printable ASCII characters"));
  write_key(c, std::move(p), [path = p.path, value = r.body, type, match, expires](const Entry* before, std::optional<Entry>& after, Answer& a) -> Failure {
    if (match && !before) return error(412, "Key does not exist for CAS");
    if (match && before->value != *match) return error(412, "Value mismatch for CAS");
    after.emplace();
    if (path.whole()) {
      after->value = value;
      after->content_type = type;
      after->expires_ms = expires;
    } else {
      if (before) *after = *before;
      else after->value = "{}", after->content_type = "application/json";
      if (!kv::valid_json(after->value)) return error(400, "the value is not a JSON document");
      if (Failure f = path.replace(after->value, value)) return f;
      if (expires) after->expires_ms = expires;
    }
    a.body = R"({"success":true})";
    return {};
  });
}

void delete_key(Context& c) {
  Prepared p;
  if (!prepare(c, "delete", p, delete_file)) return;
  write_key(c, std::move(p), [](const Entry* before, std::optional<Entry>&, Answer& a) -> Failure {
    if (!before) return not_found();
    a.body = R"({"success":true,"deleted":true})";
    return {};
  });
}

bool integer_of(std::string_view s, int64_t& n) {
  const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), n);
  return !s.empty() && ec == std::errc() && end == s.data() + s.size();
}

void count_by(Context& c, bool down) {
  int64_t delta = 1;
  Prepared p;
  if (c.request().parameters.integer("delta", delta)) return c.fail(error(400, "delta must be an integer"));
  if (!prepare(c, down ? "decr" : "incr", p)) return;
  write_key(c, std::move(p), [path = p.path, delta, down](const Entry* before, std::optional<Entry>& after, Answer& a) -> Failure {
    int64_t n = 0;
    if (before) after = *before;
    else after = Entry{path.whole() ? "0" : "{}", path.whole() ? "text/plain" : "application/json", 0, 0, {}};
    std::string_view leaf = after->value;
    if (!path.whole()) {
      if (!kv::valid_json(after->value)) return error(400, "the value is not a JSON document");
      leaf = path.find(after->value).value_or("0");
    }
    if (!integer_of(leaf, n)) return error(400, "the value is not an integer");
    if (down ? __builtin_sub_overflow(n, delta, &n) : __builtin_add_overflow(n, delta, &n)) return error(400, "integer overflow");
    const std::string text = std::to_string(n);
    if (path.whole()) after->value = text;
    else if (Failure f = path.replace(after->value, text)) return f;
    a.body = "{\"success\":true,\"value\":" + text + "}";
    return {};
  });
}
void incr(Context& c) { count_by(c, false); }
void decr(Context& c) { count_by(c, true); }

// The array at the path, its elements, and what to put in its place.
using ArrayFn = std::function<Failure(std::vector<std::string_view>& all, Answer& answer)>;
void change_array(Context& c, const char* op, bool make, ArrayFn fn) {
  Prepared p;
  if (!prepare(c, op, p)) return;
  write_key(c, std::move(p), [path = p.path, make, fn = std::move(fn)](const Entry* before, std::optional<Entry>& after, Answer& a) -> Failure {
    if (!before && !make) return not_found();
    if (before) after = *before;
    else after = Entry{path.whole() ? "[]" : "{}", "application/json", 0, 0, {}};
    if (!kv::valid_json(after->value)) return error(400, "the value is not a JSON array");
    return path.edit_array(after->value, make, [&](std::vector<std::string_view>& all) { return fn(all, a); });
  });
}

void push(Context& c) {
  std::string value = c.request().body;
  if (!kv::valid_json(value)) return c.fail(invalid_body());
  change_array(c, "push", true, [value = std::move(value)](std::vector<std::string_view>& all, Answer& a) -> Failure {
    all.push_back(value);
    a.body = "{\"success\":true,\"length\":" + std::to_string(all.size()) + "}";
    return {};
  });
}

Failure take(std::vector<std::string_view>& all, size_t at, Answer& a) {
  a.body = "{\"success\":true,\"value\":" + std::string(all[at]) + ",\"length\":" + std::to_string(all.size() - 1) + "}";
  all.erase(all.begin() + static_cast<std::ptrdiff_t>(at));
  return {};
}

void pop(Context& c) {
  change_array(c, "pop", false, [](std::vector<std::string_view>& all, Answer& a) -> Failure {
    if (all.empty()) return error(400, "the array is empty");
    return take(all, all.size() - 1, a);
  });
}

void remove(Context& c) {
  const Request& r = c.request();
  int64_t index = 0;
  if (!checked(c, r.parameters.integer("index", index))) return;
  if (!r.parameters.text("index").empty())
    return change_array(c, "remove", false, [index](std::vector<std::string_view>& all, Answer& a) -> Failure {
      const int64_t at = index < 0 ? index + static_cast<int64_t>(all.size()) : index;
      if (at < 0 || at >= static_cast<int64_t>(all.size())) return error(404, "Element not found");
      return take(all, static_cast<size_t>(at), a);
    });
  const auto wanted = kv::parse_json(r.body);
  if (!wanted) return c.fail(invalid_body());
  change_array(c, "remove", false, [wanted, text = r.body](std::vector<std::string_view>& all, Answer& a) -> Failure {
    // By its digits first: numbers beyond 64 bits are compared as doubles below, where neighbours are one.
    if (const auto same = std::find(all.begin(), all.end(), text); same != all.end()) return take(all, static_cast<size_t>(same - all.begin()), a);
    for (size_t i = 0; i < all.size(); ++i)
      if (kv::parse_json(all[i]) == wanted) return take(all, i, a);
    return error(404, "Element not found");
  });
}

void list(Context& c) {
  const Parameters& p = c.request().parameters;
  Table table;
  int64_t limit = 100, offset = 0, at_ms = 0;
  bool at = false;
  std::shared_ptr<OpenDatabase> database;
  if (!checked(c, Table::parse(p.text("table", "kv_store"), table)) || !checked(c, p.integer("limit", limit))) return;
  if (!checked(c, p.integer("offset", offset)) || !checked(c, p.timestamp("at_timestamp", at_ms, at))) return;
  limit = limit <= 0 ? 100 : std::min(limit, kLargestLimit);
  if (offset < 0) return c.fail(error(400, "offset must not be negative"));
  if (!at && !checked(c, p.numbered_cursor(offset))) return;
  if (!opened(c, false, database, list_files)) return;
  Answer a;
  const Failure failure = c.read(*database, [&](Connection& connection) -> Failure {
    if (at) return kv::table_at(connection, table, {p.text("prefix"), p.text("cursor"), limit}, at_ms, c.now_ms(), a.body);
    std::string items;
    int64_t count = 0;
    bool more = false;
    const Failure read = kv::list(connection, table, p.text("prefix"), limit + 1, offset, c.now_ms(), [&](std::string_view key, const Entry& e) {
      if (more = count >= limit || items.size() >= kListBytes; more) return false;
      items += count++ == 0 ? "{\"key\":" : ",{\"key\":";
      kv::append_text(items, key);
      items += ",\"value\":";
      kv::append_text(items, e.value);
      items += ",\"content_type\":";
      kv::append_text(items, kv::shown_type(e));
      items += ",\"updated_at\":" + std::to_string(e.updated_ms) + ",\"expires_at\":" + (e.expires_ms ? std::to_string(*e.expires_ms) : "null") + "}";
      return true;
    });
    a.body = "{\"items\":[" + items + "],\"count\":" + std::to_string(count) + ",\"limit\":" + std::to_string(limit) +
             ",\"offset\":" + std::to_string(offset) + paging(more ? std::to_string(offset + count) : "") + "}";
    return read;
  });
  if (failure) return c.fail(failure);
  c.answer(std::move(a));
}

struct Batch {
  Table table;
  bool history = true;
  std::shared_ptr<OpenDatabase> database;
  boost::json::array entries;
};
bool prepare_batch(Context& c, const char* member, Batch& out) {
  const Parameters& p = c.request().parameters;
  bool create = false;
  if (!checked(c, Table::parse(p.text("table", "kv_store"), out.table)) || !checked(c, p.boolean("history", out.history))) return false;
  const auto body = kv::parse_json(c.request().body);
  const auto* entries = body && body->is_object() ? body->get_object().if_contains(member) : nullptr;
  if (!entries || !entries->is_array()) return checked(c, invalid_body());
  out.entries = entries->get_array();
  if (out.entries.empty() || out.entries.size() > kBatch) return checked(c, error(400, "a batch takes 1 to 100 entries"));
  return checked(c, c.wants_create(create)) && opened(c, create, out.database);
}

Failure keys_of(const boost::json::array& entries, std::vector<std::string>& out) {
  for (const auto& key : entries) {
    if (!key.is_string()) return invalid_body();
    out.emplace_back(key.get_string());
    if (Failure f = kv::check_key(out.back())) return f;
  }
  return {};
}

void batch_get(Context& c) {
  Batch b;
  std::vector<std::string> keys;
  if (!prepare_batch(c, "keys", b) || !checked(c, keys_of(b.entries, keys))) return;
  Answer a;
  const Failure failure = c.read(*b.database, [&](Connection& connection) -> Failure {
    a.body = "{";
    for (const std::string& key : keys) {
      std::optional<Entry> e;
      if (Failure f = kv::get(connection, b.table, key, c.now_ms(), e)) return f;
      if (a.body.size() > 1) a.body += ',';
      kv::append_text(a.body, key);
      a.body += e ? ":{\"value\":" : ":null";
      if (!e) continue;
      kv::append_text(a.body, e->value);
      a.body += ",\"content_type\":";
      kv::append_text(a.body, kv::shown_type(*e));
      a.body += '}';
    }
    a.body += '}';
    return {};
  });
  if (failure) return c.fail(failure);
  c.answer(std::move(a));
}

void batch_delete(Context& c) {
  Batch b;
  std::vector<std::string> keys;
  if (!prepare_batch(c, "keys", b) || !checked(c, keys_of(b.entries, keys))) return;
  c.write(b.database, [keys, table = b.table, history = b.history, now = c.now_ms()](Connection& connection, Answer& a) -> Failure {
    int64_t deleted = 0;
    for (const std::string& key : keys) {
      std::optional<Entry> e;
      if (Failure f = kv::get(connection, table, key, now, e)) return f;
      if (!e) continue;
      ++deleted;
      const Failure f = kv::change(connection, {table, key, "delete", history, now}, [](const Entry*, std::optional<Entry>&) { return Failure{}; });
      if (f) return f;
    }
    a.body = "{\"deleted\":" + std::to_string(deleted) + ",\"success\":true}";
    return {};
  });
}

void batch_set(Context& c) {
  Batch b;
  if (!prepare_batch(c, "items", b)) return;
  std::vector<std::pair<std::string, Entry>> items;
  for (const auto& item : b.entries) {
    const auto* o = item.if_object();
    const auto* key = o ? o->if_contains("key") : nullptr;
    const auto* value = o ? o->if_contains("value") : nullptr;
    const auto* type = o ? o->if_contains("content_type") : nullptr;
    const auto* ttl = o ? o->if_contains("ttl") : nullptr;
    if (!key || !key->is_string() || !value || !value->is_string() || (type && !type->is_string() && !type->is_null())) return c.fail(invalid_body());
    auto& [name, e] = items.emplace_back();
    name = std::string_view(key->get_string());
    e.value = std::string_view(value->get_string());
    e.content_type = kv::type_for(type && type->is_string() ? std::string_view(type->get_string()) : "", e.value);
    if (!checked(c, kv::check_key(name))) return;
    if (!sendable(e.content_type)) return c.fail(error(400, "content_type must be 1 to 255 printable ASCII characters"));
    if (!ttl || ttl->is_null()) continue;
    if (!ttl->is_int64() || ttl->get_int64() < 1 || ttl->get_int64() > kLongestTtl)
      return c.fail(error(400, "ttl must be a positive number of seconds"));
    e.expires_ms = c.now_ms() + ttl->get_int64() * 1000;
  }
  c.write(b.database, [items, table = b.table, history = b.history, now = c.now_ms()](Connection& connection, Answer& a) -> Failure {
    for (const auto& item : items) {
      const Failure f = kv::change(connection, {table, item.first, "set", history, now}, [&](const Entry*, std::optional<Entry>& after) {
        after = item.second;
        return Failure{};
      });
      if (f) return f;
    }
    a.body = "{\"success\":true,\"count\":" + std::to_string(items.size()) + "}";
    return {};
  });
}

}  // namespace

std::vector<Route> kv_routes() {
  return {
      {Method::get, "/kv", Needs::read, list},
      {Method::get, "/kv/{key}", Needs::read, get_key, true},
      {Method::put, "/kv/{key}", Needs::write, put_key, true},
      {Method::del, "/kv/{key}", Needs::write, delete_key, true},
      {Method::post, "/kv/{key}/incr", Needs::write, incr, true},
      {Method::post, "/kv/{key}/decr", Needs::write, decr, true},
      {Method::post, "/kv/{key}/push", Needs::write, push, true},
      {Method::post, "/kv/{key}/pop", Needs::write, pop, true},
      {Method::post, "/kv/{key}/remove", Needs::write, remove, true},
      {Method::post, "/kv/batch/set", Needs::write, batch_set},
      {Method::post, "/kv/batch/get", Needs::read, batch_get},
      {Method::post, "/kv/batch/delete", Needs::write, batch_delete},
  };
}

}  // namespace via::sqlite::api
