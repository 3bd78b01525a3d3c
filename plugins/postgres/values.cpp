// See values.hpp. Object identifiers of types are those of PostgreSQL's pg_type.dat, which never change.
#include "plugins/postgres/values.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

namespace via::postgres {
namespace {

constexpr Oid kBool = 16, kBytea = 17, kInt8 = 20, kInt2 = 21, kInt4 = 23, kOid = 26, kFloat4 = 700, kFloat8 = 701, kNumeric = 1700;

struct Named {
  Oid type;
  std::string_view name;
};
constexpr std::array<Named, 44> kNames{{{16, "boolean"}, {17, "bytea"}, {18, "\"char\""}, {19, "name"}, {20, "bigint"}, {21, "smallint"}, {23, "integer"},
                                        {25, "text"}, {26, "oid"}, {114, "json"}, {142, "xml"}, {600, "point"}, {650, "cidr"}, {700, "real"},
                                        {701, "double precision"}, {790, "money"}, {829, "macaddr"}, {869, "inet"}, {1000, "boolean[]"}, {1001, "bytea[]"},
                                        {1005, "smallint[]"}, {1007, "integer[]"}, {1009, "text[]"}, {1015, "character varying[]"}, {1016, "bigint[]"},
                                        {1021, "real[]"}, {1022, "double precision[]"}, {1042, "character"}, {1043, "character varying"}, {1082, "date"},
                                        {1083, "time without time zone"}, {1114, "timestamp without time zone"}, {1184, "timestamp with time zone"},
                                        {1186, "interval"}, {1231, "numeric[]"}, {1266, "time with time zone"}, {1560, "bit"}, {1562, "bit varying"},
                                        {1700, "numeric"}, {2205, "regclass"}, {2278, "void"}, {2950, "uuid"}, {3614, "tsvector"}, {3802, "jsonb"}}};

int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0; }

// The server writes bytea as \x and two digits a byte (bytea_output is never changed in the plugin's sessions).
bool render_bytea(sqlwire::Output& out, std::string_view text) {
  std::string bytes;
  if (text.starts_with("\\x")) {
    bytes.reserve(text.size() / 2);
    for (std::size_t i = 2; i + 1 < text.size(); i += 2) bytes += static_cast<char>(hex_digit(text[i]) << 4 | hex_digit(text[i + 1]));
  }
  return sqlwire::render_blob(out, bytes.data(), bytes.size());
}

bool is_number(std::string_view text) {
  return !text.empty() && text.find_first_not_of("-0123456789.") == text.npos && text.back() != '.';
}

bool render_value(sqlwire::Output& out, Oid type, std::string_view text, bool integers_as_text) {
  switch (type) {
    case kBool: return out.put(text == "t" ? '1' : '0');
    case kInt2:
    case kInt4:
    case kOid: return out.append(text);
    case kInt8: {
      std::int64_t n = 0;
      std::from_chars(text.data(), text.data() + text.size(), n);
      return sqlwire::render_integer(out, n, integers_as_text);
    }
    case kFloat4:
    case kFloat8: {
      double d = 0;
      std::from_chars(text.data(), text.data() + text.size(), d);
      // There is no number of JSON for NaN; null would say that there is nothing.
      return std::isnan(d) ? sqlwire::render_text(out, text) : sqlwire::render_real(out, d);
    }
    case kNumeric:
      if (text.ends_with("Infinity")) return sqlwire::render_real(out, text[0] == '-' ? -HUGE_VAL : HUGE_VAL);
      return is_number(text) ? out.append(text) : sqlwire::render_text(out, text);
    case kBytea: return render_bytea(out, text);
    default: return sqlwire::render_text(out, text);
  }
}

}  // namespace

Failure Parameters::fill(const Request& request, const Statement& statement) {
  const std::size_t n = statement.order.size();
  values_.assign(n, nullptr);
  lengths_.assign(n, 0);
  formats_.assign(n, 0);
  types_.assign(n, 0);
  numbers_.assign(n, {});
  shape_.clear();
  for (std::size_t i = 0; i < n; ++i) {
    const sqlwire::Value& v = request.values[statement.order[i]];
    const std::string_view bytes = request.bytes_of(v);
    std::string& own = numbers_[i];
    switch (v.kind) {
      case sqlwire::Value::null: continue;
      case sqlwire::Value::integer: own = std::to_string(v.number); break;
      case sqlwire::Value::real: {
        char text[40];
        char* end = std::to_chars(text, text + sizeof text, v.fraction).ptr;
        own.assign(text, end);
        break;
      }
      case sqlwire::Value::text:
        if (bytes.find('\0') != bytes.npos) return sql_wrong("a text holds a NUL, which PostgreSQL cannot keep; send it as {\"base64\":…} into a bytea column");
        own = bytes;  // a NUL must follow
        break;
      case sqlwire::Value::blob:
        values_[i] = bytes.empty() ? "" : bytes.data();
        lengths_[i] = static_cast<int>(bytes.size());
        formats_[i] = 1;
        types_[i] = kBytea;
        shape_ += ' ' + std::to_string(i);
        continue;
    }
    values_[i] = own.c_str();
  }
  return {};
}

std::string_view type_name(Oid type) {
  const auto it = std::lower_bound(kNames.begin(), kNames.end(), type, [](const Named& n, Oid t) { return n.type < t; });
  return it != kNames.end() && it->type == type ? it->name : "unknown";
}

std::string render_head(const PGresult* result) {
  sqlwire::StringOutput out;
  const int n = PQnfields(result);
  out.append("\"columns\":[");
  for (int i = 0; i < n; ++i) {
    if (i > 0) out.put(',');
    sqlwire::render_text(out, PQfname(result, i));
  }
  out.append("],\"types\":[");
  for (int i = 0; i < n; ++i) {
    if (i > 0) out.put(',');
    sqlwire::render_text(out, type_name(PQftype(result, i)));
  }
  out.put(']');
  return out.take();
}

bool render_row(sqlwire::Output& out, const PGresult* result, int row, bool integers_as_text) {
  if (!out.put('[')) return false;
  const int n = PQnfields(result);
  for (int i = 0; i < n; ++i) {
    if (i > 0 && !out.put(',')) return false;
    const bool ok = PQgetisnull(result, row, i) != 0
                        ? out.append("null")
                        : render_value(out, PQftype(result, i), {PQgetvalue(result, row, i), static_cast<std::size_t>(PQgetlength(result, row, i))}, integers_as_text);
    if (!ok) return false;
  }
  return out.put(']');
}

}  // namespace via::postgres
