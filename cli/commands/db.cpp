// db: SQL over the data API.
#include "cli/commands/data.hpp"
#include "core/base/json_text.hpp"

namespace via::cli {
namespace {

int show_transaction(Session& session, const HttpAnswer& answer) {
  const Json body = Json::parse(parseable_json(answer.body), nullptr, false);
  if (!body.is_object()) return show_answer(session, answer);
  if (body.contains("reqIdx"))
    return report(session.environment, session.globals,
                  fail(Code::sql_error, "Item " + body["reqIdx"].dump() + ": " + body.value("error", "") +
                                             ". Everything was rolled back."));
  int number = 0;
  for (const Json& result : body.value("results", Json::array())) {
    const std::string item = "Item " + std::to_string(number++);
    if (!result.value("success", false)) {
      session.output.line(printable(item + ": failed: " + result.value("error", "")));
    } else if (result.contains("resultSet")) {
      show_rows(session, result.value("resultHeaders", Json::array()), result["resultSet"], result.value("truncated", false));
    } else if (session.globals.quiet) {
      continue;
    } else if (result.contains("rowsUpdatedBatch")) {
      std::int64_t rows = 0;
      for (const Json& n : result["rowsUpdatedBatch"]) rows += n.get<std::int64_t>();
      session.output.line(item + ": " + std::to_string(rows) + " rows changed by " +
                          std::to_string(result["rowsUpdatedBatch"].size()) + " runs");
    } else {
      session.output.line(item + ": " + std::to_string(result.value("rowsUpdated", std::int64_t{0})) + " rows changed");
    }
  }
  return 0;
}

int show_query(Session& session, const HttpAnswer& answer) {
  const Json body = Json::parse(parseable_json(answer.body), nullptr, false);
  if (!body.is_object()) return show_answer(session, answer);
  show_rows(session, body.value("columns", Json::array()), body.value("resultSet", Json::array()), body.value("truncated", false));
  return 0;
}

std::vector<DataCommand> commands() {
  const DataParameter create{"--create-db-if-missing", "create_db_if_missing", "", "make the database when it is missing"};
  return {
      {{"create"}, {"new", "add"}, "create a database", "POST", "/db/create", "",
       {{"--path", "path", "PATH", "its name, or an absolute path", true},
        {"--init-kv", "init_kv", "", "make the key-value table too"},
        {"--kv-table", "kv_table", "TABLE", "its name (kv_store)"}},
       DataBody::none, {}, {"db create --path app --init-kv"}},
      {{"exec-transaction"}, {}, "run SQL items in one transaction", "POST", "/db", "", {db_parameter(), create},
       DataBody::transaction, {},
       {"db exec-transaction --db app --transaction '[{\"query\":\"SELECT 1 AS one\"}]'",
        "db exec-transaction --db app --transaction '[{\"statement\":\"INSERT INTO t VALUES(?)\",\"values\":[1]}]'"},
       show_transaction},
      {{"exec-shareable"}, {}, "run one read-only query by a URL that can be shared", "GET", "/query", "",
       {db_parameter(), {"--sql", "sql", "SQL", "one SELECT or WITH, as URL-safe base64 or plain", true}},
       DataBody::none, {}, {"db exec-shareable --db app --sql 'SELECT 1 AS one'"}, show_query},
      {{"history", "list"}, {}, "the statements that were run, newest first", "GET", "/history", "",
       {db_parameter(), {"--limit", "limit", "N", "at most this many (100)"}}, DataBody::none, {}, {"db history list --db app"}},
      {{"history", "stats"}, {}, "how many statements the history holds", "GET", "/history/stats", "", {db_parameter()},
       DataBody::none, {}, {"db history stats --db app"}},
      {{"history", "delete"}, {"rm", "remove"}, "take one statement out of the history", "DELETE", "/history/{}", "INDEX",
       {db_parameter()}, DataBody::none, {}, {"db history delete 3 --db app"}},
      {{"history", "clear"}, {}, "empty the history", "DELETE", "/history", "", {db_parameter()}, DataBody::none, {},
       {"db history clear --db app"}},
  };
}

}  // namespace

void add_db_commands(CommandTree& tree) {
  CLI::App& db = tree.group("db", "SQL over the data API", "DATA");
  db.alias("sql");
  db.alias("sqlite");
  for (DataCommand& command : commands()) add_data_command(tree, db, std::move(command));
  db.get_subcommand("history")->description("the statements that were run");
  add_open_command(tree, db, "databases");
}

}  // namespace via::cli
