// Making and removing databases, and running SQL: POST /db/create, DELETE /db, POST /db, GET /query.
#include "plugins/sqlite/api/api.hpp"
#include "plugins/sqlite/api/query_log.hpp"
#include "plugins/sqlite/api/transaction.hpp"
#include "plugins/sqlwire/base64.hpp"
#include "plugins/sqlite/kv/table.hpp"
#include "plugins/sqlite/render.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <strings.h>

#include <cstring>

namespace via::sqlite::api {
namespace {

constexpr const char* kOnlySelect = "GET /query only accepts read-only SELECT/WITH queries; use POST /db for mutating SQL";

struct CreateRequest {
  std::string path, table = "kv_store";
  bool init_kv = false;
};

// From the parameters, or from a JSON object in the body for what they do not say.
Failure read_create(const api::Request& request, CreateRequest& out) {
  const Parameters& p = request.parameters;
  if (!request.body.empty()) {
    boost::json::error_code ec;
    const auto value = boost::json::parse({request.body.data(), request.body.size()}, ec);
    if (ec || !value.is_object()) return error(400, "Invalid JSON body");
    for (const auto& [key, v] : value.get_object()) {
      if (key == "path" && v.is_string()) out.path = std::string_view(v.get_string());
      else if (key == "kv_table" && v.is_string()) out.table = std::string_view(v.get_string());
      else if (key == "init_kv" && v.is_bool()) out.init_kv = v.get_bool();
      else if (key == "path" || key == "kv_table" || key == "init_kv") return error(400, "a field has the wrong type");
    }
  }
  out.path = p.text("path", p.text("db", out.path));
  out.table = p.text("kv_table", out.table);
  if (Failure f = p.boolean("init_kv", out.init_kv)) return f;
  return out.path.empty() ? error(400, "path is required") : Failure{};
}

void create(Context& c) {
  CreateRequest want;
  if (Failure f = read_create(c.request(), want)) return c.fail(std::move(f));
  kv::Table table;
  if (want.init_kv) {
    if (Failure f = kv::Table::parse(want.table, table)) return c.fail(std::move(f));
  }
  Place place;
  if (Failure f = c.place(want.path, place)) return c.fail(std::move(f));
  std::shared_ptr<OpenDatabase> database;
  bool created = false;
  if (Failure f = c.api().databases().open(place, true, database, &created)) return c.fail(std::move(f));
  StringOutput out;
  out.append("{\"success\":true,\"path\":");
  render_text(out, place.inside ? std::string(place.absolute ? "/hoody/databases/" : "") + place.name : place.name);
  out.append(created ? ",\"created\":true" : ",\"created\":false");
  if (want.init_kv) {
    out.append(",\"kv_table\":");
    render_text(out, table.name());
  }
  out.put('}');
  std::string body = out.take();
  if (!want.init_kv) {
    Answer a;
    a.body = std::move(body);
    return c.answer(std::move(a));
  }
  c.write(std::move(database),
          [table, body = std::move(body)](Connection& connection, Answer& answer) -> Failure {
            if (Failure f = kv::ensure_table(connection, table)) return f;
            answer.body = body;
            return {};
          },
          true);
}

// Notes each statement with the time since the one before it.
RanItem noting(RunningStatements& statements, const Host& host) {
  return [&statements, &host, began = host.now_ns(), at = host.unix_ms()](std::string_view sql, const Failure& failure) mutable {
    const uint64_t now = host.now_ns();
    statements.add(sql, at, now - began, failure);
    at += static_cast<int64_t>((now - began) / 1'000'000);
    began = now;
  };
}

void remove(Context& c) {
  Place place;
  if (Failure f = c.place(c.request().parameters.text("db"), place)) return c.fail(std::move(f));
  if (Failure f = c.api().databases().remove(place)) return c.fail(std::move(f));
  Answer a;
  a.body = "{\"success\":true,\"deleted\":true}";
  c.answer(std::move(a));
}

void transact(Context& c) {
  bool make = false;
  if (Failure f = c.wants_create(make)) return c.fail(std::move(f));
  auto transaction = std::make_shared<Transaction>();
  if (Failure f = parse_transaction(c.request().body, *transaction)) {
    if (f.statement_index < 0) return c.fail(std::move(f));
    Answer a = answer_of(f);
    a.body.insert(1, "\"reqIdx\":" + std::to_string(f.statement_index) + ",");
    return c.answer(std::move(a));
  }
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(make, database)) return c.fail(std::move(f));
  const Limits limits = c.api().databases().limits();
  bool only_queries = true, schema = false;
  for (const Item& item : transaction->items) {
    const Kind kind = kind_of(transaction->sql(item));
    only_queries = only_queries && item.query && kind != Kind::writes && kind != Kind::schema;
    schema = schema || kind == Kind::schema;
  }
  const auto statements = std::make_shared<RunningStatements>(database);
  if (only_queries) {
    bool wants_writer = false;
    Answer answer;
    const Failure f = c.read(*database, [&](Connection& connection) {
      return run_transaction(connection, *transaction, limits, false, answer.body, wants_writer, noting(*statements, c.host()));
    });
    if (!wants_writer) return f ? c.fail(f) : c.answer(std::move(answer));
  }
  c.write(std::move(database),
          [transaction, limits, statements, &host = c.host()](Connection& connection, Answer& answer) {
            bool unused = false;
            statements->begin();
            return run_transaction(connection, *transaction, limits, true, answer.body, unused, noting(*statements, host));
          },
          schema);
}

bool selects(std::string_view sql) {
  const std::string_view text = skip_blank(sql);
  const Kind kind = kind_of(text);
  if (kind == Kind::with) return true;
  const auto letter = [](char c) { return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9') || c == '_'; };
  return kind == Kind::reads && text.size() > 6 && strncasecmp(text.data(), "SELECT", 6) == 0 && !letter(text[6]);
}

void query(Context& c) {
  const std::string_view given = c.request().parameters.text("sql");
  if (given.empty()) return c.fail(error(400, "sql is required"));
  std::string sql;
  if (!sqlwire::decode_any_base64(given, sql) || !selects(sql)) sql = given;
  if (sql.find('\0') != sql.npos) return c.fail(error(400, "the SQL text holds a NUL"));
  if (!selects(sql)) return c.fail(error(400, kOnlySelect));
  std::shared_ptr<OpenDatabase> database;
  if (Failure f = c.database(false, database)) return c.fail(std::move(f));
  const Limits& limits = c.api().databases().limits();
  StringOutput out;
  RunningStatements statements(database);
  const RanItem ran = noting(statements, c.host());
  const Failure failure = c.read(*database, [&](Connection& connection) -> Failure {
    Statement* s = nullptr;
    if (Failure f = connection.statement(Operation::query, sql, s)) {
      const bool several = std::strcmp(f.code, "bad_request") == 0;
      return several || connection.policy().denied_write || connection.policy().denied_schema ? error(400, kOnlySelect) : f;
    }
    if (s->parameters > 0) return error(400, "GET /query takes no parameters in the SQL text");
    connection.policy().host_sql = false;
    connection.policy().denied = false;
    const auto columns = column_keys(s->stmt, true);
    out.append("{\"columns\":[");
    for (size_t i = 0; i < columns.size(); ++i) {
      if (i > 0) out.put(',');
      render_text(out, columns[i]);
    }
    out.append("],\"resultSet\":");
    Rows rows;
    const Failure f = render_rows(connection, *s, false, false, limits.max_result_bytes, columns, out, rows);
    sqlite3_reset(s->stmt);
    if (f) return f;
    out.append(",\"rowCount\":" + std::to_string(rows.count) + (rows.truncated ? ",\"truncated\":true}" : ",\"truncated\":false}"));
    return {};
  });
  ran(sql, failure);
  if (failure) return c.fail(failure);
  Answer a;
  a.body = out.take();
  c.answer(std::move(a));
}

}  // namespace

std::vector<Route> sql_routes() {
  return {{Method::post, "/db/create", Needs::write, create},
          {Method::post, "/db", Needs::read, transact},
          {Method::del, "/db", Needs::write, remove},
          {Method::get, "/query", Needs::read, query}};
}

}  // namespace via::sqlite::api
