// The body of POST /db, by events: no tree is made of a million values.
#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/api/transaction.hpp"
#include "plugins/sqlwire/base64.hpp"
#include "plugins/sqlwire/values.hpp"

#include <boost/json/basic_parser_impl.hpp>

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace via::sqlite::api {
namespace {

namespace json = boost::json;
using json::error_code;

constexpr size_t kDepth = 8;
constexpr size_t kSkipDepth = 64;
constexpr size_t kMaxSql = 1'000'000;

enum class Place : uint8_t { document, root, items, item, values, row_list, batch, blob, skip };
enum class Field : uint8_t { none, unknown, format, items, query, statement, values, batch, no_fail, base64 };

struct Handler {
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);

  Transaction* out = nullptr;
  Failure failure;
  bool has_items = false;

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }

  bool on_object_begin(error_code& ec) {
    switch (place()) {
      case Place::document: return push(Place::root, ec);
      case Place::root: return field_ == Field::unknown ? push(Place::skip, ec) : wrong(ec);
      case Place::items:
        if (out->items.size() >= kMaxItems) return refuse(ec, "a transaction takes at most 10000 items", false);
        out->items.emplace_back();
        seen_ = 0;
        return push(Place::item, ec);
      case Place::item:
        if (field_ == Field::values) return begin_row(true, Place::values, ec);
        return field_ == Field::unknown ? push(Place::skip, ec) : wrong(ec);
      case Place::batch: return begin_row(true, Place::row_list, ec);
      case Place::values:
      case Place::row_list:
        blob_seen_ = false;
        return push(Place::blob, ec);
      case Place::blob: return bad_value(ec);
      case Place::skip: return push(Place::skip, ec);
    }
    return false;
  }
  bool on_object_end(std::size_t, error_code& ec) {
    const Place left = place();
    --depth_;
    return left != Place::blob || blob_seen_ || bad_value(ec);
  }
  bool on_array_begin(error_code& ec) {
    switch (place()) {
      case Place::document: return refuse(ec, "Invalid JSON body", false);
      case Place::root:
        if (field_ == Field::items) {
          has_items = true;
          return push(Place::items, ec);
        }
        return field_ == Field::unknown ? push(Place::skip, ec) : wrong(ec);
      case Place::item:
        if (field_ == Field::values) return begin_row(false, Place::values, ec);
        if (field_ == Field::batch) {
          Item& i = out->items.back();
          i.batch = true;
          i.first_row = static_cast<uint32_t>(out->rows.size());
          return push(Place::batch, ec);
        }
        return field_ == Field::unknown ? push(Place::skip, ec) : wrong(ec);
      case Place::batch: return begin_row(false, Place::row_list, ec);
      case Place::items: return refuse(ec, "each item of a transaction is an object", false);
      case Place::skip: return push(Place::skip, ec);
      default: return bad_value(ec);
    }
  }
  bool on_array_end(std::size_t, error_code&) {
    --depth_;
    return true;
  }

  bool on_key_part(json::string_view s, std::size_t, error_code&) { return bytes(s); }
  bool on_key(json::string_view s, std::size_t, error_code& ec) {
    bytes(s);
    const size_t at = std::exchange(text_at_, kNone);
    const std::string_view key = std::string_view(out->bytes).substr(at);
    if (place() == Place::values || place() == Place::row_list) {
      out->names.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(key.size())});
      return true;
    }
    field_ = Field::unknown;
    if (place() == Place::root) {
      if (key == "resultFormat") field_ = Field::format;
      if (key == "transaction") field_ = Field::items;
    } else if (place() == Place::item) {
      if (key == "query") field_ = Field::query;
      if (key == "statement" || key == "sql") field_ = Field::statement;
      if (key == "values") field_ = Field::values;
      if (key == "valuesBatch") field_ = Field::batch;
      if (key == "noFail") field_ = Field::no_fail;
    } else if (place() == Place::blob) {
      if (key != "base64" || blob_seen_) return bad_value(ec);
      field_ = Field::base64;
    }
    out->bytes.resize(at);
    if (field_ == Field::unknown || place() == Place::blob) return true;
    uint32_t& seen = place() == Place::root ? root_seen_ : seen_;
    const uint32_t bit = 1u << static_cast<int>(field_);
    if (seen & bit) return refuse(ec, field_ == Field::statement ? "statement and sql are the same; give one of them" : "a field is given twice", place() == Place::item);
    seen |= bit;
    return true;
  }

  bool on_string_part(json::string_view s, std::size_t, error_code&) { return bytes(s); }
  bool on_string(json::string_view s, std::size_t, error_code& ec) {
    bytes(s);
    const size_t at = std::exchange(text_at_, kNone), size = out->bytes.size() - at;
    const std::string_view value = std::string_view(out->bytes).substr(at);
    switch (place()) {
      case Place::root:
        if (field_ == Field::format) {
          if (value != "map" && value != "list") return refuse(ec, "resultFormat must be map or list", false);
          out->list = value == "list";
        } else if (field_ != Field::unknown) {
          return wrong(ec);
        }
        break;
      case Place::item: {
        if (field_ == Field::unknown) break;
        if (field_ != Field::query && field_ != Field::statement) return wrong(ec);
        if (value.find('\0') != value.npos) return refuse(ec, "the SQL text holds a NUL", true);
        if (size > kMaxSql) return refuse(ec, "the SQL text is too long", true);
        Item& i = out->items.back();
        (field_ == Field::query ? i.query : i.statement) = true;
        i.sql_at = static_cast<uint32_t>(at);
        i.sql_size = static_cast<uint32_t>(size);
        out->bytes.push_back('\0');
        return true;
      }
      case Place::values:
      case Place::row_list: {
        Cell c;
        c.kind = Cell::text;
        c.size = static_cast<uint32_t>(size);
        c.at = at;
        return cell(c, ec);
      }
      case Place::blob: {
        const int64_t n = sqlwire::decode_base64(out->bytes.data() + at, size);
        if (n < 0) return refuse(ec, "a blob value is not base64", true);
        out->bytes.resize(at + static_cast<size_t>(n));
        blob_seen_ = true;
        Cell c;
        c.kind = Cell::blob;
        c.size = static_cast<uint32_t>(n);
        c.at = at;
        return cell(c, ec);
      }
      case Place::skip: break;
      default: return wrong(ec);
    }
    out->bytes.resize(at);
    return true;
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
    if (ignored()) return true;
    if (n > static_cast<uint64_t>(INT64_MAX)) return refuse(ec, "an integer does not fit into 64 bits", true);
    return integer(static_cast<int64_t>(n), ec);
  }
  bool on_double(double, json::string_view s, error_code& ec) {
    number_.append(s.data(), s.size());
    const std::string text = std::exchange(number_, {});
    if (ignored()) return true;
    if (text.find_first_of(".eE") == text.npos) return refuse(ec, "an integer does not fit into 64 bits", true);
    double d = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), d).ec == std::errc::result_out_of_range) d = std::strtod(text.c_str(), nullptr);
    if (!std::isfinite(d) && !sqlwire::reads_as_infinity(text, d)) return refuse(ec, "a number is not finite", true);
    Cell c;
    c.kind = Cell::real;
    c.fraction = d;
    return cell(c, ec);
  }
  bool on_bool(bool b, error_code& ec) {
    if (ignored()) return true;
    if (place() == Place::item && field_ == Field::no_fail) {
      out->items.back().no_fail = b;
      return true;
    }
    return integer(b ? 1 : 0, ec);
  }
  bool on_null(error_code& ec) {
    if (ignored()) return true;
    // Clients that write every field send null for those that are not meant.
    if (place() == Place::root && field_ == Field::format) return true;
    if (place() == Place::item) return true;
    return cell(Cell{}, ec);
  }
  bool on_comment_part(json::string_view, error_code&) { return true; }
  bool on_comment(json::string_view, error_code&) { return true; }

 private:
  static constexpr size_t kNone = static_cast<size_t>(-1);
  Place place() const { return places_[depth_]; }
  bool ignored() const {
    return place() == Place::skip || ((place() == Place::root || place() == Place::item) && field_ == Field::unknown);
  }
  bool refuse(error_code& ec, const char* why, bool of_item) {
    if (!failure) {
      failure = error(400, why);
      if (of_item && !out->items.empty()) failure.statement_index = static_cast<int>(out->items.size()) - 1;
    }
    ec = json::error::syntax;
    return false;
  }
  bool wrong(error_code& ec) {
    if (place() == Place::document) return refuse(ec, "Invalid JSON body", false);
    if (place() == Place::items) return refuse(ec, "each item of a transaction is an object", false);
    if (place() == Place::batch) return refuse(ec, "valuesBatch is an array of arrays or objects", true);
    return refuse(ec, "a field has the wrong type", place() == Place::item);
  }
  bool bad_value(error_code& ec) {
    return refuse(ec, "a value is null, a boolean, a number, a string or {\"base64\":\"…\"}", true);
  }
  bool push(Place next, error_code& ec) {
    if (depth_ + 1 >= places_.size()) return refuse(ec, "the JSON is nested too deep", false);
    places_[++depth_] = next;
    return true;
  }
  bool begin_row(bool named, Place next, error_code& ec) {
    if (out->rows.size() >= kMaxRows) return refuse(ec, "a request takes at most 1000000 rows of values", false);
    Item& i = out->items.back();
    if (next == Place::values) {
      i.values = true;
      if (!i.batch) i.first_row = static_cast<uint32_t>(out->rows.size());
    }
    if (++i.row_count > kMaxBatchRows && next == Place::row_list) return refuse(ec, "valuesBatch takes at most 100000 rows", true);
    Row row;
    row.first = static_cast<uint32_t>(out->cells.size());
    row.first_name = static_cast<uint32_t>(out->names.size());
    row.named = named;
    out->rows.push_back(row);
    return push(next, ec);
  }
  bool integer(int64_t n, error_code& ec) {
    if (ignored()) return true;
    Cell c;
    c.kind = Cell::integer;
    c.number = n;
    return cell(c, ec);
  }
  bool cell(const Cell& c, error_code& ec) {
    Place at = place();
    if (at == Place::blob) {
      if (c.kind != Cell::blob) return bad_value(ec);
      at = places_[depth_ - 1];
    }
    if (at != Place::values && at != Place::row_list) return wrong(ec);
    if (out->cells.size() >= kMaxCells) return refuse(ec, "the request holds too many values", false);
    out->cells.push_back(c);
    ++out->rows.back().count;
    return true;
  }
  bool bytes(json::string_view s) {
    if (text_at_ == kNone) text_at_ = out->bytes.size();
    out->bytes.append(s.data(), s.size());
    return true;
  }

  std::array<Place, kDepth + kSkipDepth> places_{Place::document};
  size_t depth_ = 0;
  Field field_ = Field::none;
  uint32_t root_seen_ = 0, seen_ = 0;
  size_t text_at_ = kNone;
  bool blob_seen_ = false;
  std::string number_;
};

Failure of_item(size_t index, std::string text) {
  Failure f = error(400, std::move(text));
  f.statement_index = static_cast<int>(index);
  return f;
}

}  // namespace

Failure parse_transaction(std::string_view body, Transaction& out) {
  json::parse_options options;
  options.max_depth = kSkipDepth;
  json::basic_parser<Handler> parser(options);
  parser.handler().out = &out;
  out.bytes.reserve(body.size() + 8);
  error_code ec;
  const size_t used = parser.write_some(false, body.data(), body.size(), ec);
  if (parser.handler().failure) return parser.handler().failure;
  if (ec || !parser.done() || body.find_first_not_of(" \t\r\n", used) != body.npos) return error(400, "Invalid JSON body");
  if (!parser.handler().has_items) return error(400, "transaction is required: an array of items");
  for (size_t i = 0; i < out.items.size(); ++i) {
    const Item& item = out.items[i];
    if (item.query == item.statement) return of_item(i, "an item has exactly one of query and statement");
    if (item.values && item.batch) return of_item(i, "values and valuesBatch are mutually exclusive");
    if (item.query && item.batch) return of_item(i, "a query takes no valuesBatch");
  }
  return {};
}

}  // namespace via::sqlite::api
