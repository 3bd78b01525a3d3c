// Rollbacks and the comparison of two times: both walk the keys that may differ and look their states up.
#include "plugins/sqlite/kv/rollback.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/kv/host_query.hpp"
#include "plugins/sqlite/kv/table.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <algorithm>
#include <unordered_set>

namespace via::sqlite::kv {
namespace {

constexpr size_t kSelectedKeys = 10'000;
constexpr size_t kAnswerBytes = 16u << 20;

// Created, modified or deleted on the way from one state to another; null when they are the same.
const char* change_between(const Entry* from, const Entry* to) {
  if (same_value(from, to)) return nullptr;
  return !from ? "created" : !to ? "deleted" : "modified";
}

struct Changes {
  int64_t created = 0, modified = 0, deleted = 0;
  std::string list;
  std::vector<std::string> gap_keys;
  bool gaps = false, truncated = false;

  void gap(std::string_view key) {
    gaps = true;
    if (gap_keys.size() < kShownGapKeys) gap_keys.emplace_back(key);
    else truncated = true;
  }
  // Counts the change; false when there is no room to list it.
  bool add(std::string_view key, const char* type) {
    (*type == 'c' ? created : *type == 'm' ? modified : deleted) += 1;
    if (list.size() > kAnswerBytes) {
      truncated = true;
      return false;
    }
    list += list.empty() ? "{\"key\":" : ",{\"key\":";
    append_text(list, key);
    list += ",\"type\":\"";
    list += type;
    list += '"';
    return true;
  }
  void append_to(std::string& json) const {
    json += "\"stats\":{\"created\":" + std::to_string(created) + ",\"modified\":" + std::to_string(modified) +
            ",\"deleted\":" + std::to_string(deleted) + "},\"changes\":[" + list + "],\"has_gaps\":" + (gaps ? "true" : "false") +
            ",\"gap_keys\":";
    append_keys(json, gap_keys);
    json += std::string(",\"candidate_truncated\":") + (truncated ? "true" : "false");
  }
};

// Puts the state into the table and on record. `target` null: the key goes.
Failure apply(Connection& connection, const Travel& travel, const Table& table, std::string_view key, const Entry* current,
              const Entry* target, int64_t now_ms, int64_t* op_number) {
  if (target) {
    if (!travel.has_table())
      if (Failure f = ensure_table(connection, table)) return f;
    HostQuery q(connection, "INSERT INTO \"" + table.name() +
                                "\"(key, value, content_type, created_at, updated_at, expires_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6) "
                                "ON CONFLICT(key) DO UPDATE SET value=excluded.value, content_type=excluded.content_type, "
                                "created_at=excluded.created_at, updated_at=excluded.updated_at, expires_at=excluded.expires_at");
    q.text(key).blob(target->value).text(target->content_type).integer(target->created_ms > 0 ? target->created_ms : now_ms);
    if (Failure f = q.integer(now_ms).integer(target->expires_ms).run()) return f;
  } else if (travel.has_table()) {
    HostQuery q(connection, "DELETE FROM \"" + table.name() + "\" WHERE key=?1");
    if (Failure f = q.text(key).run()) return f;
  }
  return record(connection, table, key, "rollback", current, target, now_ms, op_number);
}

Failure strings(const boost::json::value& value, std::vector<std::string>& out) {
  if (!value.is_array()) return api::error(400, "Invalid JSON body");
  if (value.get_array().size() > kSelectedKeys) return api::error(413, "keys and exclude_keys take at most 10,000 keys each");
  for (const auto& key : value.get_array()) {
    if (!key.is_string()) return api::error(400, "Invalid JSON body");
    out.emplace_back(key.get_string());
  }
  return {};
}

void sort_unique(std::vector<std::string>& keys) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
}

}  // namespace

Failure rollback_key(Connection& connection, const Table& table, std::string_view key, int64_t steps, int64_t now_ms, std::string& json) {
  if (steps < 1) return api::error(400, "steps must be a positive integer");
  std::optional<Travel> travel;
  if (Failure f = Travel::open(connection, table, now_ms, travel)) return f;
  std::optional<Entry> current;
  int64_t oldest = -1, newest = -1;
  if (Failure f = travel->current(key, current)) return f;
  if (Failure f = travel->range(key, oldest, newest)) return f;
  if (newest < 0 && !current) return api::error(404, "Key not found");
  if (newest < 1) return chain_gap();
  if (steps > newest) return api::error(400, "the key has " + std::to_string(newest) + " recorded operations");
  bool holds = false;
  if (Failure f = travel->tip_holds(key, holds)) return f;
  if (!holds) return chain_gap();
  const int64_t first = newest - steps + 1;  // the earliest operation that is undone
  {
    HostQuery q(connection, "SELECT 1 FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND broken IS NOT NULL AND op_number>?3 LIMIT 1");
    if (q.text(table.name()).text(key).integer(first).next()) return chain_gap();
    if (Failure f = q.failed()) return f;
  }
  std::optional<Operation> operation;
  const Failure read = travel->operations(key, first, [&](Operation&& o) {
    operation = std::move(o);
    return false;
  });
  if (read) return read;
  if (!operation || operation->number != first) return chain_gap();  // trimmed
  const Entry* target = operation->before ? &*operation->before : nullptr;
  if (target && target->expired(now_ms)) target = nullptr;
  int64_t op_number = 0;
  if (Failure f = apply(connection, *travel, table, key, current ? &*current : nullptr, target, now_ms, &op_number)) return f;
  json = "{\"success\":true,\"key\":";
  append_text(json, key);
  json += ",\"steps\":" + std::to_string(steps) + ",\"restored_op_number\":" + std::to_string(first - 1) +
          ",\"op_number\":" + std::to_string(op_number) + ",\"exists\":" + (target ? "true}" : "false}");
  return {};
}

Failure Selection::parse(std::string_view body, Selection& out) {
  boost::json::error_code ec;
  const auto value = boost::json::parse({body.data(), body.size()}, ec);
  if (ec || !value.is_object()) return api::error(400, "Invalid JSON body");
  for (const auto& member : value.get_object()) {
    const bool selects = member.key() == "keys";
    if (!selects && member.key() != "exclude_keys") return api::error(400, "the body takes keys and exclude_keys only");
    if (member.value().is_null()) continue;
    if (selects) out.keys.emplace();
    if (Failure f = strings(member.value(), selects ? *out.keys : out.exclude)) return f;
  }
  return {};
}

Failure rollback_table(Connection& connection, const Table& table, int64_t to_ms, const Selection& selection, bool dry_run,
                       int64_t now_ms, std::string& json) {
  std::optional<Travel> travel;
  if (Failure f = Travel::open(connection, table, now_ms, travel)) return f;
  Changes changes;
  std::vector<std::string> keys;
  if (selection.keys) {
    keys = *selection.keys;
    sort_unique(keys);
  } else if (Failure f = candidates(*travel, to_ms, INT64_MAX, keys, changes.truncated)) {
    return f;
  }
  if (to_ms < travel->horizon() && !selection.keys) {
    if (!dry_run) return chain_gap();
    changes.gaps = true;
  }
  const std::unordered_set<std::string_view> excluded(selection.exclude.begin(), selection.exclude.end());
  for (const std::string& key : keys) {
    if (excluded.contains(key)) continue;
    State state;
    if (Failure f = travel->at(key, to_ms, state)) return f;
    if (state.unknown()) {
      if (!dry_run) return chain_gap();
      changes.gap(key);
      continue;
    }
    std::optional<Entry> current;
    if (Failure f = travel->current(key, current)) return f;
    const Entry* now = current ? &*current : nullptr;
    const Entry* target = state.live();
    if (target && target->expired(now_ms)) target = nullptr;
    const char* type = change_between(now, target);
    if (!type) continue;
    if (changes.add(key, type)) changes.list += '}';
    if (dry_run) continue;
    if (Failure f = apply(connection, *travel, table, key, now, target, now_ms, nullptr)) return f;
  }
  json = std::string("{\"success\":true,\"dry_run\":") + (dry_run ? "true" : "false") + ",\"to_timestamp\":" + std::to_string(to_ms) + ",";
  changes.append_to(json);
  json += '}';
  return {};
}

Failure diff_table(Connection& connection, const Table& table, int64_t from_ms, int64_t to_ms,
                   const std::optional<std::vector<std::string>>& selected, int64_t now_ms, std::string& json) {
  std::optional<Travel> travel;
  if (Failure f = Travel::open(connection, table, now_ms, travel)) return f;
  Changes changes;
  std::vector<std::string> keys;
  if (selected) {
    keys = *selected;
    sort_unique(keys);
  } else if (Failure f = candidates(*travel, from_ms, to_ms, keys, changes.truncated)) {
    return f;
  }
  changes.gaps = from_ms < travel->horizon();
  for (const std::string& key : keys) {
    State from, to;
    if (Failure f = travel->at(key, from_ms, from)) return f;
    if (Failure f = travel->at(key, to_ms, to)) return f;
    if (from.unknown() || to.unknown()) {
      changes.gap(key);
      continue;
    }
    const char* type = change_between(from.live(), to.live());
    if (!type || !changes.add(key, type)) continue;
    const auto side = [&](const char* name, const State& state) {
      changes.list += std::string(",\"raw_") + name + "\":";
      if (state.present()) append_base64(changes.list, state.entry.value);
      else changes.list += "null";
      if (state.present()) append_document(changes.list, name, state.entry);
    };
    side("old_value", from);
    side("new_value", to);
    changes.list += '}';
  }
  json = "{\"from\":" + std::to_string(from_ms) + ",\"to\":" + std::to_string(to_ms) + ",";
  changes.append_to(json);
  json += '}';
  return {};
}

}  // namespace via::sqlite::kv
