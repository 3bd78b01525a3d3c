// Looking earlier states up: bisection over a key's dense operation numbers, and the comparison with the table.
#include "plugins/sqlite/kv/travel.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlwire/base64.hpp"
#include "plugins/sqlite/kv/host_query.hpp"
#include "plugins/sqlite/kv/content_type.hpp"
#include "plugins/sqlite/kv/json_path.hpp"
#include "plugins/sqlite/kv/table.hpp"
#include "plugins/sqlite/render.hpp"

#include <algorithm>

namespace via::sqlite::kv {
namespace {

constexpr size_t kCandidates = 100'000;
constexpr size_t kAnswerBytes = 16u << 20;
constexpr int64_t kLargestLimit = 10'000;
constexpr int64_t kRowsRead = 50'000;  // operations of one key

std::optional<Entry> entry_from(const HostQuery& q, int column, int64_t updated_ms) {
  if (q.is_null(column)) return std::nullopt;
  Entry e;
  e.value = q.bytes(column);
  e.content_type = q.bytes(column + 1);
  e.expires_ms = q.number_or_null(column + 2);
  e.updated_ms = updated_ms;
  return e;
}

}  // namespace

Failure chain_gap() { return api::error(409, "time-travel chain gap"); }

Failure Travel::open(Connection& connection, const Table& table, int64_t now_ms, std::optional<Travel>& out) {
  Travel t(connection, table, now_ms);
  if (Failure f = history_exists(connection, t.has_history_)) return f;
  if (Failure f = find_table(connection, table, t.has_table_)) return f;
  if (t.has_history_) {
    HostQuery q(connection, "SELECT time FROM _via_kv_history WHERE tbl=?1 AND key='' AND op_number=0 AND op='horizon'");
    if (q.text(table.name()).next()) t.horizon_ = q.number(0);
    if (Failure f = q.failed()) return f;
  }
  out.emplace(std::move(t));
  return {};
}

Failure Travel::current(std::string_view key, std::optional<Entry>& out) {
  out.reset();
  if (!has_table_) return {};
  HostQuery q(*connection_, "SELECT value, content_type, expires_at, created_at, updated_at FROM \"" + table_.name() + "\" WHERE key=?1");
  if (q.text(key).next()) {
    out = entry_from(q, 0, q.number(4));
    if (out) out->created_ms = q.number(3);
    if (out && out->expired(now_)) out.reset();
  }
  return q.failed();
}

Failure Travel::range(std::string_view key, int64_t& oldest, int64_t& newest) {
  oldest = newest = -1;
  if (!has_history_) return {};
  HostQuery q(*connection_,
              "SELECT (SELECT op_number FROM _via_kv_history WHERE tbl=?1 AND key=?2 ORDER BY op_number LIMIT 1), "
              "(SELECT op_number FROM _via_kv_history WHERE tbl=?1 AND key=?2 ORDER BY op_number DESC LIMIT 1)");
  if (q.text(table_.name()).text(key).next() && !q.is_null(0)) {
    oldest = q.number(0);
    newest = q.number(1);
  }
  return q.failed();
}

Failure Travel::row_at(std::string_view key, int64_t at_ms, int64_t oldest, int64_t newest, int64_t& number) {
  const auto begun = [&](int64_t n, bool& yes) {
    HostQuery q(*connection_, "SELECT time<=?4 FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number=?3");
    yes = q.text(table_.name()).text(key).integer(n).integer(at_ms).next() && q.number(0) != 0;
    return q.failed();
  };
  bool yes = false;
  if (Failure f = begun(newest, yes)) return f;
  number = yes ? newest : oldest - 1;
  if (yes) return {};
  for (int64_t low = oldest - 1, high = newest; high - low > 1;) {  // low has begun (or is before all), high has not
    const int64_t middle = low + (high - low) / 2;
    if (Failure f = begun(middle, yes)) return f;
    (yes ? low : high) = middle;
    number = low;
  }
  return {};
}

Failure Travel::tip_holds(std::string_view key, bool& holds) {
  std::optional<Entry> now, tip;
  bool gap = false;
  if (Failure f = current(key, now)) return f;
  if (has_history_) {
    HostQuery q(*connection_,
                "SELECT value, content_type, expires_at, gap_at FROM _via_kv_history WHERE tbl=?1 AND key=?2 "
                "ORDER BY op_number DESC LIMIT 1");
    if (q.text(table_.name()).text(key).next()) {
      tip = entry_from(q, 0, 0);
      gap = !q.is_null(3);
    }
    if (Failure f = q.failed()) return f;
  }
  if (tip && tip->expired(now_)) tip.reset();
  holds = !gap && same_value(tip ? &*tip : nullptr, now ? &*now : nullptr);
  return {};
}

Failure Travel::at(std::string_view key, int64_t at_ms, State& out) {
  out = {};
  at_ms = std::min(at_ms, now_);
  int64_t oldest = -1, newest = -1, number = -1;
  if (Failure f = range(key, oldest, newest)) return f;
  if (newest < 0) {
    std::optional<Entry> now;
    if (Failure f = current(key, now)) return f;
    if (now || at_ms < horizon_) out.kind = State::Kind::unknown;
    return {};
  }
  if (Failure f = row_at(key, at_ms, oldest, newest, number)) return f;
  if (number < oldest) {  // before all that is known
    HostQuery q(*connection_, "SELECT op_number<=1 AND broken IS NULL FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number=?3");
    const bool absent = q.text(table_.name()).text(key).integer(oldest).next() && q.number(0) != 0 && at_ms >= horizon_;
    if (!absent) out.kind = State::Kind::unknown;
    return q.failed();
  }
  bool gap = false;
  std::optional<Entry> after;
  bool may_be_noticed_later = false;  // no mark: an unrecorded change shows in the next operation, or in the table
  {
    HostQuery q(*connection_,
                "SELECT value, content_type, expires_at, time, gap_at, created_at FROM _via_kv_history "
                "WHERE tbl=?1 AND key=?2 AND op_number=?3");
    if (q.text(table_.name()).text(key).integer(number).next()) {
      after = entry_from(q, 0, q.number(3));
      if (after) after->created_ms = q.number(5);
      may_be_noticed_later = q.is_null(4);
      gap = number == 0 || (!may_be_noticed_later && q.number(4) <= at_ms);
    }
    if (Failure f = q.failed()) return f;
  }
  if (!gap && may_be_noticed_later) {
    if (number == newest) {
      bool holds = false;
      if (Failure f = tip_holds(key, holds)) return f;
      gap = !holds;
    } else {
      HostQuery q(*connection_, "SELECT broken FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number=?3");
      gap = q.text(table_.name()).text(key).integer(number + 1).next() && !q.is_null(0);
      if (Failure f = q.failed()) return f;
    }
  }
  out.op_number = number;
  if (gap) {
    out.kind = State::Kind::unknown;
  } else if (after && !after->expired(at_ms)) {
    out.kind = State::Kind::present;
    out.entry = std::move(*after);
  }
  return {};
}

Failure Travel::operations(std::string_view key, int64_t newest, const std::function<bool(Operation&&)>& each) {
  if (!has_history_) return {};
  HostQuery q(*connection_,
              "SELECT op_number, time, op, broken, value, content_type, expires_at, created_at, old_value, old_content_type, "
              "old_expires_at FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND op_number>0 AND op_number<=?3 "
              "ORDER BY op_number DESC LIMIT ?4");
  q.text(table_.name()).text(key).integer(newest).integer(kRowsRead);
  std::optional<Operation> later;  // waits for the outcome of the one before it
  while (q.next()) {
    Operation o;
    o.number = q.number(0);
    o.time = q.number(1);
    o.op = q.bytes(2);
    o.broken = !q.is_null(3);
    o.after = entry_from(q, 4, o.time);
    if (o.after) o.after->created_ms = q.number(7);
    o.before_known = o.broken || o.number == 1;
    if (o.broken) o.before = entry_from(q, 8, o.time);
    if (later) {
      if (!later->before_known) {
        later->before_known = true;
        if (o.after && !o.after->expired(later->time)) later->before = o.after;
      }
      if (!each(std::move(*later))) return {};
    }
    later = std::move(o);
  }
  if (Failure f = q.failed()) return f;
  if (later && later->before_known) each(std::move(*later));
  return {};
}

Failure Travel::outcome(std::string_view key, int64_t number, std::optional<Operation>& out) {
  out.reset();
  if (!has_history_) return {};
  HostQuery q(*connection_,
              "SELECT time, op, value, content_type, expires_at, created_at FROM _via_kv_history "
              "WHERE tbl=?1 AND key=?2 AND op_number=?3");
  if (q.text(table_.name()).text(key).integer(number).next()) {
    Operation o;
    o.number = number;
    o.time = q.number(0);
    o.op = q.bytes(1);
    o.after = entry_from(q, 2, o.time);
    if (o.after) o.after->created_ms = q.number(5);
    out = std::move(o);
  }
  return q.failed();
}

Failure Travel::has_gaps(std::string_view key, bool& gaps) {
  int64_t oldest = -1, newest = -1;
  if (Failure f = range(key, oldest, newest)) return f;
  bool holds = false;
  if (Failure f = tip_holds(key, holds)) return f;
  gaps = !holds || oldest > 1;
  if (gaps || !has_history_) return {};
  HostQuery q(*connection_, "SELECT 1 FROM _via_kv_history WHERE tbl=?1 AND key=?2 AND broken IS NOT NULL LIMIT 1");
  gaps = q.text(table_.name()).text(key).next();
  return q.failed();
}

Failure Travel::keys(std::string_view prefix, const std::function<bool(std::string_view)>& each) {
  std::string from_history;
  bool history_left = has_history_;
  const auto next_in_history = [&](std::string_view after, bool itself) {
    HostQuery q(*connection_, itself ? "SELECT key FROM _via_kv_history WHERE tbl=?1 AND key>=?2 AND key>'' ORDER BY key LIMIT 1"
                                     : "SELECT key FROM _via_kv_history WHERE tbl=?1 AND key>?2 ORDER BY key LIMIT 1");
    const std::string bound(after);
    history_left = q.text(table_.name()).text(bound).next();
    if (history_left) from_history = q.bytes(0);
    return q.failed();
  };
  if (history_left) {
    if (Failure f = next_in_history(prefix, true)) return f;
  }
  std::optional<HostQuery> table;
  if (has_table_) table.emplace(*connection_, "SELECT key FROM \"" + table_.name() + "\" WHERE key>=?1 ORDER BY key");
  bool table_left = table && table->text(prefix).next();
  while (history_left || table_left) {
    std::string key;
    if (table_left && (!history_left || table->bytes(0) <= from_history)) {
      key = table->bytes(0);
      table_left = table->next();
    } else {
      key = from_history;
    }
    if (history_left && key == from_history) {
      if (Failure f = next_in_history(key, false)) return f;
    }
    if (!each(key)) return {};
  }
  return table ? table->failed() : Failure{};
}

Failure Travel::changed(int64_t from_ms, int64_t to_ms, size_t limit, std::vector<std::string>& out, bool& truncated) {
  out.clear();
  truncated = false;
  if (!has_history_) return {};
  HostQuery q(*connection_,
              "SELECT DISTINCT key FROM _via_kv_history INDEXED BY _via_kv_history_time WHERE tbl=?1 AND time>?2 AND time<=?3 "
              "AND key>'' LIMIT ?4");
  q.text(table_.name()).integer(from_ms).integer(to_ms).integer(static_cast<int64_t>(limit) + 1);
  while (q.next()) out.emplace_back(q.bytes(0));
  if (out.size() > limit) {
    out.pop_back();
    truncated = true;
  }
  std::sort(out.begin(), out.end());
  return q.failed();
}

Failure get_at(Connection& connection, const Table& table, std::string_view key, int64_t at_ms, int64_t now_ms, std::optional<Entry>& out) {
  std::optional<Travel> travel;
  if (Failure f = Travel::open(connection, table, now_ms, travel)) return f;
  State state;
  if (Failure f = travel->at(key, at_ms, state)) return f;
  if (state.unknown()) return chain_gap();
  if (state.present()) out = std::move(state.entry);
  else out.reset();
  return {};
}

Failure table_at(Connection& connection, const Table& table, const Page& page, int64_t at_ms, int64_t now_ms, std::string& json) {
  std::string first, next;
  if (!page.cursor.empty() && (!sqlwire::decode_any_base64(page.cursor, first) || !first.starts_with(page.prefix))) return api::wrong_cursor();
  if (first.empty()) first = page.prefix;
  std::optional<Travel> travel;
  if (Failure f = Travel::open(connection, table, now_ms, travel)) return f;
  const int64_t limit = page.limit <= 0 ? 100 : std::min(page.limit, kLargestLimit);
  std::string entries;
  std::vector<std::string> gap_keys;
  int64_t count = 0;
  size_t seen = 0;
  bool truncated = false, gaps = at_ms < travel->horizon();
  Failure failure;
  const Failure walked = travel->keys(first, [&](std::string_view key) {
    if (!key.starts_with(page.prefix)) return false;
    if (count >= limit || seen++ >= kCandidates || entries.size() > kAnswerBytes) {
      truncated = true;
      next = key;
      return false;
    }
    State state;
    if (failure = travel->at(key, at_ms, state); failure) return false;
    if (state.unknown()) {
      gaps = true;
      if (gap_keys.size() < kShownGapKeys) gap_keys.emplace_back(key);
      else truncated = true;
    }
    if (!state.present()) return true;
    entries += count++ == 0 ? "{\"key\":" : ",{\"key\":";
    append_text(entries, key);
    entries += ",\"value\":";
    append_text(entries, state.entry.value);
    entries += ",\"raw_value\":";
    append_base64(entries, state.entry.value);
    entries += ",\"content_type\":";
    append_text(entries, shown_type(state.entry));
    entries += ",\"op_number\":" + std::to_string(state.op_number) + ",\"updated_at\":" + std::to_string(state.entry.updated_ms) +
               ",\"expires_at\":" + (state.entry.expires_ms ? std::to_string(*state.entry.expires_ms) : "null") + "}";
    return true;
  });
  if (failure) return failure;
  if (walked) return walked;
  json = "{\"timestamp\":" + std::to_string(at_ms) + ",\"entries\":[" + entries + "],\"count\":" + std::to_string(count) +
         ",\"has_gaps\":" + (gaps ? "true" : "false") + ",\"gap_keys\":";
  append_keys(json, gap_keys);
  std::string cursor;
  if (!next.empty()) append_base64(cursor, next);
  json += std::string(",\"candidate_truncated\":") + (truncated ? "true" : "false") + api::paging(cursor.empty() ? cursor : cursor.substr(1, cursor.size() - 2)) + "}";
  return {};
}

Failure candidates(Travel& travel, int64_t from_ms, int64_t to_ms, std::vector<std::string>& out, bool& truncated) {
  out.clear();
  truncated = false;
  const Failure walked = travel.keys({}, [&](std::string_view key) {
    truncated = out.size() >= kCandidates;
    if (!truncated) out.emplace_back(key);
    return !truncated;
  });
  if (walked || !truncated) return walked;
  bool too_many = false;
  if (Failure f = travel.changed(from_ms, to_ms, kCandidates, out, too_many)) return f;
  if (too_many) return api::error(413, "more than 100,000 keys changed; narrow the request with keys");
  return {};
}

void append_text(std::string& out, std::string_view text) {
  StringOutput rendered;
  render_text(rendered, text);
  out += rendered.take();
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  out.reserve(out.size() + bytes.size() / 3 * 4 + 8);
  out += '"';
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](size_t at) { return at < bytes.size() ? static_cast<unsigned char>(bytes[at]) : 0u; };
    const uint32_t n = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    out += kDigits[n >> 18];
    out += kDigits[n >> 12 & 63];
    out += i + 1 < bytes.size() ? kDigits[n >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kDigits[n & 63] : '=';
  }
  out += '"';
}

void append_raw(std::string& out, const std::optional<Entry>& entry) {
  if (entry) append_base64(out, entry->value);
  else out += "null";
}

bool append_document(std::string& out, std::string_view name, const Entry& entry) {
  if (!says_json(entry.content_type)) return false;
  if (!valid_json(entry.value)) return false;
  out += ",\"";
  out += name;
  out += "\":";
  out += entry.value;  // as it was written: numbers keep every digit
  return true;
}

void append_keys(std::string& out, const std::vector<std::string>& keys) {
  out += '[';
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i != 0) out += ',';
    append_text(out, keys[i]);
  }
  out += ']';
}

}  // namespace via::sqlite::kv
