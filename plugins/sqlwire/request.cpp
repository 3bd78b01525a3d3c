// A SAX handler over Boost.JSON: no tree, numbers read again exactly (Boost.JSON 1.81 rounds doubles).
#include "plugins/sqlwire/request.hpp"

#include "plugins/sqlwire/base64.hpp"
#include "plugins/sqlwire/values.hpp"

#include <boost/json/basic_parser_impl.hpp>

#include <array>
#include <charconv>
#include <cmath>

namespace via::sqlwire {
namespace {

namespace json = boost::json;
using json::error_code;

constexpr size_t kDepth = 32;
constexpr size_t kMaxSql = 1'000'000;
constexpr size_t kMaxParams = 32'766;
constexpr size_t kMaxStatements = 10'000;

enum class Place : uint8_t { document, root, operations, operation, list, object, blob, skip };
enum class Field : uint8_t { none, sql, params, generation, timeout, integers, operations, operation, base64, unknown };

class Handler {
 public:
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);

  Request* out = nullptr;
  Operation expected = Operation::query;
  Failure failure;
  bool too_deep = false;

  void begin(Request& request, Operation operation) {
    out = &request;
    expected = operation;
    failure = {};
    depth_ = 0;
    places_[0] = Place::document;
    field_ = Field::none;
    seen_ = 0;
    number_.clear();
    in_string_ = in_key_ = false;
  }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }

  bool on_object_begin(error_code& ec) {
    switch (place()) {
      case Place::document:
        return push(Place::root, ec);
      case Place::root:
        if (field_ == Field::params) return begin_params(true, ec);
        return field_ == Field::unknown ? push(Place::skip, ec) : wrong_type(ec);
      case Place::operations:
        if (out->statements.size() >= kMaxStatements) return refuse(ec, "too many operations in one batch");
        out->statements.emplace_back();
        op_seen_ = 0;
        return push(Place::operation, ec);
      case Place::operation:
        if (field_ == Field::params) return begin_params(true, ec);
        return field_ == Field::unknown ? push(Place::skip, ec) : wrong_type(ec);
      case Place::list:
      case Place::object:
        blob_seen_ = false;
        return push(Place::blob, ec);
      case Place::blob:
        return refuse(ec, "a parameter is null, a number, a string, a boolean or {\"base64\":\"…\"}");
      case Place::skip:
        return push(Place::skip, ec);
    }
    return false;
  }

  bool on_object_end(std::size_t, error_code& ec) {
    const Place left = place();
    --depth_;
    if (left == Place::blob && !blob_seen_)
      return refuse(ec, "a parameter is null, a number, a string, a boolean or {\"base64\":\"…\"}");
    return true;
  }

  bool on_array_begin(error_code& ec) {
    switch (place()) {
      case Place::document:
        return refuse(ec, "the body must be a JSON object");
      case Place::root:
        if (field_ == Field::operations) return push(Place::operations, ec);
        [[fallthrough]];
      case Place::operation:
        if (field_ == Field::params) return begin_params(false, ec);
        return field_ == Field::unknown ? push(Place::skip, ec) : wrong_type(ec);
      case Place::skip:
        return push(Place::skip, ec);
      default:
        return refuse(ec, "a parameter is null, a number, a string, a boolean or {\"base64\":\"…\"}");
    }
  }
  bool on_array_end(std::size_t, error_code&) {
    --depth_;
    return true;
  }

  bool on_key_part(json::string_view s, std::size_t, error_code&) { return key_bytes(s); }
  bool on_key(json::string_view s, std::size_t, error_code& ec) {
    key_bytes(s);
    in_key_ = false;
    const std::string_view key(out->bytes.data() + key_at_, out->bytes.size() - key_at_);
    switch (place()) {
      case Place::root: {
        field_ = Field::unknown;
        if (key == "generation") field_ = Field::generation;
        if (key == "timeout_ms") field_ = Field::timeout;
        if (key == "integers") field_ = Field::integers;
        if (expected == Operation::batch) {
          if (key == "operations") field_ = Field::operations;
        } else {
          if (key == "sql") field_ = Field::sql;
          if (key == "params") field_ = Field::params;
        }
        out->bytes.resize(key_at_);
        return once(seen_, ec);
      }
      case Place::operation: {
        field_ = Field::unknown;
        if (key == "operation" || key == "op") field_ = Field::operation;
        if (key == "sql") field_ = Field::sql;
        if (key == "params") field_ = Field::params;
        out->bytes.resize(key_at_);
        return once(op_seen_, ec);
      }
      case Place::object:
        name_at_ = static_cast<uint32_t>(key_at_);
        name_size_ = static_cast<uint32_t>(key.size());
        return true;
      case Place::blob:
        field_ = key == "base64" && !blob_seen_ ? Field::base64 : Field::none;
        out->bytes.resize(key_at_);
        if (field_ == Field::none)
          return refuse(ec, "a parameter is null, a number, a string, a boolean or {\"base64\":\"…\"}");
        return true;
      default:
        out->bytes.resize(key_at_);
        return true;
    }
  }

  bool on_string_part(json::string_view s, std::size_t, error_code&) { return string_bytes(s); }
  bool on_string(json::string_view s, std::size_t, error_code& ec) {
    string_bytes(s);
    in_string_ = false;
    const size_t size = out->bytes.size() - string_at_;
    const std::string_view value(out->bytes.data() + string_at_, size);
    switch (place()) {
      case Place::root:
      case Place::operation:
        switch (field_) {
          case Field::sql: {
            if (value.find('\0') != value.npos) return refuse(ec, "the SQL text holds a NUL");
            if (value.starts_with("\xEF\xBB\xBF")) return refuse(ec, "the SQL text begins with a byte order mark");
            if (size > kMaxSql) return refuse(ec, "the SQL text is too long");
            StatementText& s0 = out->statements.back();
            s0.sql_at = static_cast<uint32_t>(string_at_);
            s0.sql_size = static_cast<uint32_t>(size);
            s0.has_sql = true;
            out->bytes.push_back('\0');
            return true;
          }
          case Field::integers:
            if (value != "string" && value != "number") return refuse(ec, "unknown enum value of integers");
            out->integers_as_text = value == "string";
            out->bytes.resize(string_at_);
            return true;
          case Field::operation: {
            StatementText& s0 = out->statements.back();
            if (value == "query") s0.operation = Operation::query;
            else if (value == "execute") s0.operation = Operation::execute;
            else if (value == "setup") s0.operation = Operation::setup;
            else return refuse(ec, "unknown enum value of operation");
            s0.has_operation = true;
            out->bytes.resize(string_at_);
            return true;
          }
          case Field::unknown:
            out->bytes.resize(string_at_);
            return true;
          default:
            return wrong_type(ec);
        }
      case Place::list:
      case Place::object: {
        Value v;
        v.kind = Value::text;
        v.at = static_cast<uint32_t>(string_at_);
        v.size = static_cast<uint32_t>(size);
        return parameter(v, ec);
      }
      case Place::blob: {
        const int64_t decoded = decode_base64(out->bytes.data() + string_at_, size);
        if (decoded < 0) return refuse(ec, "a blob parameter is not base64");
        out->bytes.resize(string_at_ + static_cast<size_t>(decoded));
        Value v;
        v.kind = Value::blob;
        v.at = static_cast<uint32_t>(string_at_);
        v.size = static_cast<uint32_t>(decoded);
        blob_seen_ = true;
        return parameter(v, ec);
      }
      case Place::skip:
        out->bytes.resize(string_at_);
        return true;
      default:
        return wrong_type(ec);
    }
  }

  bool on_number_part(json::string_view s, error_code&) {
    number_.append(s.data(), s.size());
    return true;
  }
  bool on_int64(int64_t n, json::string_view, error_code& ec) {
    number_.clear();
    return integer(n, ec);
  }
  bool on_uint64(uint64_t n, json::string_view, error_code& ec) {
    number_.clear();
    if (place() == Place::skip || (scalar_place() && field_ == Field::unknown)) return true;
    if (n > static_cast<uint64_t>(INT64_MAX)) return refuse(ec, "an integer does not fit into 64 bits");
    return integer(static_cast<int64_t>(n), ec);
  }
  bool on_double(double, json::string_view s, error_code& ec) {
    number_.append(s.data(), s.size());
    const std::string text = std::move(number_);
    number_.clear();
    if (place() == Place::skip || (scalar_place() && field_ == Field::unknown)) return true;
    if (text.find_first_of(".eE") == text.npos) return refuse(ec, "an integer does not fit into 64 bits");
    double d = 0;
    const auto [end, err] = std::from_chars(text.data(), text.data() + text.size(), d);
    if (end != text.data() + text.size() || (err != std::errc() && err != std::errc::result_out_of_range))
      return refuse(ec, "a number is malformed");
    if (err == std::errc::result_out_of_range) {
      // Too small is zero; too large is nothing that a column could hold.
      d = std::strtod(text.c_str(), nullptr);
      if (!std::isfinite(d) && !reads_as_infinity(text, d)) return refuse(ec, "a number is not finite");
    }
    if (scalar_place()) return wrong_type(ec);
    Value v;
    v.kind = Value::real;
    v.fraction = d;
    return parameter(v, ec);
  }
  bool on_bool(bool b, error_code& ec) {
    if (place() == Place::skip || (scalar_place() && field_ == Field::unknown)) return true;
    if (scalar_place()) return wrong_type(ec);
    return integer(b ? 1 : 0, ec);
  }
  bool on_null(error_code& ec) {
    if (place() == Place::skip || (scalar_place() && (field_ == Field::unknown || field_ == Field::params))) return true;
    if (scalar_place()) return wrong_type(ec);
    return parameter(Value{}, ec);
  }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

 private:
  Place place() const { return places_[depth_]; }
  bool scalar_place() const {
    return place() == Place::root || place() == Place::operation || place() == Place::document;
  }

  bool refuse(error_code& ec, const char* why) {
    if (!failure) failure = bad_request(why);
    ec = json::error::syntax;
    return false;
  }
  bool wrong_type(error_code& ec) {
    if (place() == Place::document) return refuse(ec, "the body must be a JSON object");
    return refuse(ec, "a field of the request has the wrong type");
  }
  bool push(Place next, error_code& ec) {
    if (depth_ + 1 >= places_.size()) return refuse(ec, "the JSON is nested too deep");
    places_[++depth_] = next;
    return true;
  }
  bool once(uint32_t& seen, error_code& ec) {
    if (field_ == Field::unknown) return true;
    const uint32_t bit = 1u << static_cast<int>(field_);
    if (seen & bit) return refuse(ec, "a field of the request is given twice");
    seen |= bit;
    return true;
  }
  bool begin_params(bool named, error_code& ec) {
    StatementText& s = out->statements.back();
    s.has_params = true;
    s.named = named;
    s.first = static_cast<uint32_t>(out->values.size());
    return push(named ? Place::object : Place::list, ec);
  }
  bool integer(int64_t n, error_code& ec) {
    if (place() == Place::skip) return true;
    if (scalar_place()) {
      switch (field_) {
        case Field::unknown:
          return true;
        case Field::generation:
          if (n < 1) return refuse(ec, "generation must be 1 or more");
          out->generation = static_cast<uint64_t>(n);
          out->has_generation = true;
          return true;
        case Field::timeout:
          if (n < 1) return refuse(ec, "timeout_ms must be 1 or more");
          out->timeout_ms = static_cast<uint64_t>(n);
          out->has_timeout = true;
          return true;
        default:
          return wrong_type(ec);
      }
    }
    Value v;
    v.kind = Value::integer;
    v.number = n;
    return parameter(v, ec);
  }
  bool parameter(Value v, error_code& ec) {
    Place at = place();
    if (at == Place::blob && v.kind == Value::blob) at = places_[depth_ - 1];
    else if (at == Place::blob)
      return refuse(ec, "a parameter is null, a number, a string, a boolean or {\"base64\":\"…\"}");
    if (at == Place::operations) return refuse(ec, "each operation of a batch is an object");
    StatementText& s = out->statements.back();
    if (at == Place::object) {
      v.name_at = name_at_;
      v.name_size = name_size_;
    }
    if (++s.count > kMaxParams) return refuse(ec, "too many parameters");
    out->values.push_back(v);
    return true;
  }
  bool key_bytes(json::string_view s) {
    if (!in_key_) {
      in_key_ = true;
      key_at_ = out->bytes.size();
    }
    out->bytes.append(s.data(), s.size());
    return true;
  }
  bool string_bytes(json::string_view s) {
    if (!in_string_) {
      in_string_ = true;
      string_at_ = out->bytes.size();
    }
    out->bytes.append(s.data(), s.size());
    return true;
  }

  std::array<Place, kDepth + 2> places_{};
  size_t depth_ = 0;
  Field field_ = Field::none;
  uint32_t seen_ = 0, op_seen_ = 0, name_at_ = 0, name_size_ = 0;
  size_t string_at_ = 0, key_at_ = 0;
  bool in_string_ = false, in_key_ = false, blob_seen_ = false;
  std::string number_;
};

json::parse_options strict() {
  json::parse_options options;
  options.max_depth = kDepth;
  return options;
}

}  // namespace

Failure parse_request(std::string_view body, Operation operation, Request& out) {
  thread_local json::basic_parser<Handler> of_this_thread{strict()};
  // One look-up for the whole request: without this the compiler asks for the thread's storage in every handler.
  json::basic_parser<Handler>* found = &of_this_thread;
  __asm__("" : "+r"(found));
  json::basic_parser<Handler>& parser = *found;
  out.bytes.clear();
  out.values.clear();
  out.statements.clear();
  out.generation = out.timeout_ms = 0;
  out.has_generation = out.has_timeout = out.integers_as_text = false;
  if (operation != Operation::batch) {
    out.statements.emplace_back();
    out.statements.back().operation = operation;
  }
  if (body.size() > (64u << 20)) return {VIA_E_INVALID, "body_too_large", "the body is too large"};
  out.bytes.reserve(body.size() + 8);
  parser.reset();
  parser.handler().begin(out, operation);
  error_code ec;
  const size_t used = parser.write_some(false, body.data(), body.size(), ec);
  if (parser.handler().failure) return parser.handler().failure;
  if (ec || !parser.done()) return {VIA_E_INVALID, "invalid_json", "the body is not valid JSON"};
  if (body.find_first_not_of(" \t\r\n", used) != body.npos)
    return {VIA_E_INVALID, "invalid_json", "the body is not valid JSON"};
  if (out.statements.empty()) return bad_request("a batch needs at least one operation in \"operations\"");
  for (size_t i = 0; i < out.statements.size(); ++i) {
    StatementText& s = out.statements[i];
    if (!s.has_sql) {
      Failure f = bad_request("sql is missing");
      if (operation == Operation::batch) f.statement_index = static_cast<int>(i);
      return f;
    }
    if (operation == Operation::batch && !s.has_operation) {
      Failure f = bad_request("operation is missing");
      f.statement_index = static_cast<int>(i);
      return f;
    }
    if (s.named) {
      for (uint32_t a = s.first; a < s.first + s.count && s.count <= 64; ++a)
        for (uint32_t b = a + 1; b < s.first + s.count; ++b)
          if (out.name_of(out.values[a]) == out.name_of(out.values[b]))
            return bad_request("a named parameter is given twice");
    }
  }
  return {};
}

}  // namespace via::sqlwire
