// See wire.hpp.
#include "wire.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "backend.hpp"

namespace via::sql {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string encode_base64(const Blob& blob) {
  std::string out;
  out.reserve((blob.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < blob.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = (group << 8U) | (i + k < blob.size() ? std::to_integer<std::uint32_t>(blob[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k <= blob.size() ? kAlphabet[(group >> (18U - 6U * k)) & 63U] : '=';
    }
  }
  return out;
}

Blob decode_base64(std::string_view text) {
  static constexpr auto kTable = [] {
    std::array<std::int8_t, 256> table{};
    table.fill(-1);
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
      table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
    }
    return table;
  }();
  while (text.ends_with('=')) text.remove_suffix(1);
  Blob out;
  out.reserve(text.size() * 3 / 4);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto value = kTable[static_cast<unsigned char>(c)];
    if (value < 0) raise("protocol", "The host's answer holds a blob that is no base64.");
    bits = (bits << 6U) | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out.push_back(static_cast<std::byte>((bits >> static_cast<unsigned>(count)) & 0xFFU));
    }
  }
  return out;
}

Json to_json(const Value& value) {
  struct Visitor {
    Json operator()(std::nullptr_t) const { return nullptr; }
    Json operator()(std::int64_t number) const { return number; }
    Json operator()(double number) const {
      if (std::isnan(number)) return nullptr;  // what SQLite stores for it
      return number;                           // see dump() for what is infinite
    }
    Json operator()(const std::string& text) const { return text; }
    Json operator()(const Blob& blob) const { return {{"base64", encode_base64(blob)}}; }
  };
  return std::visit(Visitor{}, value.variant());
}

// JSON's own numbers end at the finite doubles. Hosts write infinity as 9e999 and read it so; the parser takes no such number,
// so it gets an object in its place, and the writer writes null.
constexpr std::string_view kInfinity = "9e999";
constexpr const char* kStandIn = "infinity";

Json parse_answer(const std::string& body) {
  if (body.find(kInfinity) == std::string::npos) return Json::parse(body, nullptr, false);
  std::string text;
  text.reserve(body.size() + 64);
  bool quoted = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (quoted) {
      text += c;
      if (c == '\\' && i + 1 < body.size()) text += body[++i];
      else if (c == '"') quoted = false;
      continue;
    }
    const bool minus = c == '-';
    const char before = i == 0 ? ' ' : body[i - 1];
    const std::size_t end = i + (minus ? 1 : 0) + kInfinity.size();
    const bool starts = before == ',' || before == '[' || before == ':' || before == ' ';
    const bool ends = end == body.size() || end > body.size() || body[end] == ',' || body[end] == ']' || body[end] == '}' || body[end] == ' ';
    if (starts && ends && std::string_view(body).substr(i + (minus ? 1 : 0), kInfinity.size()) == kInfinity) {
      text += std::string("{\"") + kStandIn + "\":" + (minus ? "-1}" : "1}");
      i = end - 1;
      continue;
    }
    quoted = c == '"';
    text += c;
  }
  return Json::parse(text, nullptr, false);
}

bool has_infinity(const Json& json) {
  if (json.is_number_float()) return std::isinf(json.get<double>());
  return json.is_structured() && std::any_of(json.begin(), json.end(), has_infinity);
}

void write(const Json& json, std::string& out) {
  if (json.is_number_float() && std::isinf(json.get<double>())) {
    out += json.get<double>() < 0 ? "-" : "";
    out += kInfinity;
  } else if (json.is_array()) {
    for (std::size_t i = 0; i < json.size(); ++i) {
      out += i == 0 ? '[' : ',';
      write(json[i], out);
    }
    out += json.empty() ? "[]" : "]";
  } else if (json.is_object()) {
    bool first = true;
    for (const auto& [key, member] : json.items()) {
      out += std::exchange(first, false) ? '{' : ',';
      out += Json(key).dump() + ":";
      write(member, out);
    }
    out += first ? "{}" : "}";
  } else {
    out += json.dump();
  }
}

Value to_value(const Json& json) {
  switch (json.type()) {
    case Json::value_t::null:
      return {};
    case Json::value_t::boolean:
      return Value(json.get<bool>());
    case Json::value_t::number_integer:
      return Value(json.get<std::int64_t>());
    case Json::value_t::number_unsigned:
      // Beyond 64 bits with a sign it is a numeric of PostgreSQL: its digits, rather than another number.
      if (const auto n = json.get<std::uint64_t>(); n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        return Value(std::to_string(n));
      return Value(json.get<std::int64_t>());
    case Json::value_t::number_float:
      return Value(json.get<double>());
    case Json::value_t::string:
      return Value(json.get_ref<const std::string&>());
    case Json::value_t::object:
      if (const auto found = json.find("base64"); found != json.end() && found->is_string()) {
        return Value(decode_base64(found->get_ref<const std::string&>()));
      }
      if (const auto found = json.find(kStandIn); found != json.end())
        return Value(found->get<int>() < 0 ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity());
      break;
    default:
      break;
  }
  raise("protocol", "The host's answer holds a value of an unknown kind.");
}

std::int64_t integer_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::vector<std::string> strings_of(const Json& object, const char* key) {
  std::vector<std::string> out;
  if (const auto found = object.find(key); found != object.end() && found->is_array()) {
    for (const Json& item : *found) out.push_back(item.is_string() ? item.get<std::string>() : std::string());
  }
  return out;
}

}  // namespace

void write_statement(Json& body, const Statement& statement) {
  body["sql"] = statement.sql;
  if (!statement.params.named.empty()) {
    Json& params = body["params"] = Json::object();
    for (const auto& [name, value] : statement.params.named) params[name] = to_json(value);
  } else if (!statement.params.positional.empty()) {
    Json& params = body["params"] = Json::array();
    for (const Value& value : statement.params.positional) params.push_back(to_json(value));
  }
}

std::string dump(const Json& body) {
  try {
    if (has_infinity(body)) {
      std::string out;
      write(body, out);
      return out;
    }
    return body.dump();
  } catch (const Json::exception&) {
    raise("bad_request", "SQL text and text parameters must be UTF-8. Pass other bytes as a Blob.");
  }
}

Rows read_rows(const Json& object) {
  Rows rows;
  rows.columns = strings_of(object, "columns");
  rows.types = strings_of(object, "types");
  if (const auto found = object.find("truncated"); found != object.end() && found->is_boolean()) {
    rows.truncated = found->get<bool>();
  }
  const auto list = object.find("rows");
  if (list == object.end() || !list->is_array()) return rows;
  rows.cells.reserve(list->size());
  for (const Json& row : *list) {
    if (!row.is_array() || row.size() != rows.columns.size())
      raise("protocol", "The host's answer has a ragged row.");
    auto& cells = rows.cells.emplace_back();
    cells.reserve(row.size());
    for (const Json& cell : row) cells.push_back(to_value(cell));
  }
  return rows;
}

Written read_written(const Json& object) {
  Written written;
  written.update_count = integer_of(object, "update_count");
  written.last_insert_rowid = integer_of(object, "last_insert_rowid");
  written.rows = read_rows(object);
  return written;
}

Error read_error(const HttpResponse& response) {
  Error::Details details;
  details.http_status = response.status;
  details.request_id = std::string(response.header("via-request-id"));
  details.code = "protocol";
  std::string message = "The host answered with status " + std::to_string(response.status) + ".";
  const Json body = Json::parse(response.body, nullptr, false);
  if (body.is_object() && body.contains("error") && body["error"].is_object()) {
    const Json& error = body["error"];
    const auto text = [&](const char* key) {
      return error.contains(key) && error[key].is_string() ? error[key].get<std::string>() : std::string();
    };
    if (const std::string code = text("code"); !code.empty()) details.code = code;
    if (const std::string said = text("message"); !said.empty()) message = said;
    if (const std::string id = text("request_id"); !id.empty()) details.request_id = id;
    details.sqlite_code = static_cast<int>(integer_of(error, "sqlite_code"));
    details.sqlstate = text("sqlstate");
    if (error.contains("statement_index") && error["statement_index"].is_number_unsigned()) {
      details.statement_index = error["statement_index"].get<std::size_t>();
    }
    details.outcome_unknown =
        details.code == "outcome_unknown" || (error.contains("outcome") && error["outcome"] == "unknown");
  }
  return {message, std::move(details)};
}

Json read_json(const HttpResponse& response) {
  Json body = parse_answer(response.body);
  if (!body.is_object() && !body.is_array()) raise("protocol", "The host's answer is not JSON.");
  return body;
}

std::chrono::milliseconds retry_after(const HttpResponse& response) {
  const Json body = Json::parse(response.body, nullptr, false);
  if (body.is_object() && body.contains("error") && body["error"].is_object()) {
    if (const auto ms = integer_of(body["error"], "retry_after_ms"); ms > 0)
      return std::chrono::milliseconds(ms);
  }
  const std::string_view text = response.header("retry-after");
  int seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return std::chrono::seconds(std::max(0, seconds));
}

}  // namespace via::sql
