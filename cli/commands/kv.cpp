// kv: the key-value store of the data API.
#include <ctime>

#include "cli/commands/data.hpp"
#include "core/base/base64.hpp"
#include "core/base/json_text.hpp"

namespace via::cli {
namespace {

DataParameter table() { return {"--table", "table", "TABLE", "the key-value table (kv_store)"}; }
DataParameter path() { return {"--path", "path", "PATH", "a member of the JSON document, such as prefs.theme or items[0]"}; }
DataParameter history() { return {"--history", "history", "", "record the change (it is, unless --no-history)"}; }
DataParameter number(const char* flag, const char* name, const char* help, bool required = false) {
  return {flag, name, "N", help, required};
}

std::string time_text(const Json& value) {
  if (!value.is_number()) return "";
  std::int64_t ms = value.get<std::int64_t>();
  if (ms < 100'000'000'000) ms *= 1000;
  const std::time_t seconds = ms / 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string value_text(const Json& value) { return value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump(); }

// The first member that is an array, of an answer whose other members say more about it.
Json first_array(const Json& body) {
  if (body.is_array()) return body;
  if (body.is_object())
    for (const Json& value : body)
      if (value.is_array()) return value;
  return Json::array();
}

void show_gaps(Session& session, const Json& body) {
  if (body.is_object() && body.value("has_gaps", false))
    session.output.hint("Some changes were not recorded (history=false): earlier states may be missing.");
}

int show_keys(Session& session, const HttpAnswer& answer) {
  const Json body = Json::parse(parseable_json(answer.body), nullptr, false);
  Json rows = Json::array();
  for (const Json& item : first_array(body)) {
    if (!item.is_object()) return show_answer(session, answer);
    rows.push_back({{"key", item.value("key", "")},
                    {"value", value_text(item.value("value", Json()))},
                    {"type", item.value("content_type", Json())},
                    {"updated", time_text(item.value("updated_at", Json()))},
                    {"expires", time_text(item.value("expires_at", Json()))}});
  }
  if (session.globals.quiet) {
    for (const Json& row : rows) session.output.line(printable(row.value("key", "")));
    return 0;
  }
  session.output.table({{"KEY", "key"}, {"VALUE", "value"}, {"TYPE", "type"}, {"UPDATED", "updated"}, {"EXPIRES", "expires"}}, rows, "keys");
  if (body.is_object() && body.value("has_more", false) && body.contains("next_cursor") && body["next_cursor"].is_string())
    session.output.hint("There are more keys: --cursor " + printable(body["next_cursor"].get<std::string>()));
  show_gaps(session, body);
  return 0;
}

std::string decoded(const Json& raw) {
  if (!raw.is_string()) return "";
  std::string text = raw.get<std::string>();
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return base64url_decode(text).value_or(raw.get<std::string>());
}

int show_history(Session& session, const HttpAnswer& answer) {
  const Json body = Json::parse(parseable_json(answer.body), nullptr, false);
  Json rows = Json::array();
  for (const Json& item : first_array(body)) {
    if (!item.is_object()) return show_answer(session, answer);
    const Json operation = item.value("operation", Json::object());
    rows.push_back({{"number", item.value("op_number", Json())},
                    {"time", time_text(item.value("timestamp", Json()))},
                    {"operation", operation.is_object() ? operation.value("op", "") : value_text(operation)},
                    {"old", decoded(item.value("raw_old_value", Json()))},
                    {"new", decoded(item.value("raw_new_value", Json()))}});
  }
  if (session.globals.quiet) {
    for (const Json& row : rows) session.output.line(printable(value_text(row["number"])));
    return 0;
  }
  session.output.table({{"OP", "number"}, {"TIME", "time"}, {"OPERATION", "operation"}, {"OLD", "old"}, {"NEW", "new"}}, rows, "operations");
  show_gaps(session, body);
  return 0;
}

int show_exists(Session& session, const HttpAnswer&) {
  session.output.line("true");
  return 0;
}

std::vector<DataCommand> commands() {
  const DataParameter db = db_parameter();
  const DataParameter create{"--create-db-if-missing", "create_db_if_missing", "", "make the database when it is missing"};
  const DataParameter delta = number("--delta", "delta", "by how much, a signed integer (1)");
  return {
      {{"get"}, {}, "the value of a key, as it was stored", "GET", "/kv/{}", "KEY",
       {db, table(), path(), number("--at-timestamp", "at_timestamp", "as it was at this Unix time"),
        {"--rebuild", "rebuild", "", "read the directory anew (directory mode)"}},
       DataBody::none, {}, {"kv get config --db app", "kv get profile --db app --path prefs.theme"}},
      {{"exists"}, {}, "whether a key exists (exit 3 when it does not)", "HEAD", "/kv/{}", "KEY", {db, table()}, DataBody::none, {},
       {"kv exists session:1 --db app"}, show_exists},
      {{"set"}, {}, "store a value under a key", "PUT", "/kv/{}", "KEY",
       {db, table(), path(), number("--ttl", "ttl", "gone after this many seconds"),
        {"--if-match", "if_match", "VALUE", "only when this is the current value"}, history(), create},
       DataBody::text, {}, {"kv set config --db app --body '{\"version\":1}'", "kv set session:1 --db app --ttl 60 --body '\"token\"'"}},
      {{"delete"}, {}, "delete a key", "DELETE", "/kv/{}", "KEY", {db, table(), history()}, DataBody::none, {}, {"kv delete config --db app"}},
      {{"list"}, {"ls"}, "the keys and their values", "GET", "/kv", "",
       {db, table(), {"--prefix", "prefix", "PREFIX", "only keys that begin so"}, number("--limit", "limit", "at most this many (100)"),
        number("--offset", "offset", "leave out the first ones (0)"), {"--cursor", "cursor", "CURSOR", "go on where an answer ended (next_cursor)"},
        number("--at-timestamp", "at_timestamp", "as they were at this Unix time")},
       DataBody::none, {}, {"kv list --db app --prefix user:"}, show_keys},
      {{"incr"}, {}, "add to a number, atomically", "POST", "/kv/{}/incr", "KEY", {db, table(), delta, path(), history()}, DataBody::none, {},
       {"kv incr rate:1 --db app --delta 10"}},
      {{"decr"}, {}, "subtract from a number, atomically", "POST", "/kv/{}/decr", "KEY", {db, table(), delta, path(), history()}, DataBody::none,
       {}, {"kv decr rate:1 --db app --delta 3"}},
      {{"arrays", "push"}, {}, "append to an array", "POST", "/kv/{}/push", "KEY", {db, table(), path(), history()}, DataBody::text, {},
       {"kv arrays push queue --db app --body '{\"job\":1}'"}},
      {{"arrays", "pop"}, {}, "take the last element of an array", "POST", "/kv/{}/pop", "KEY", {db, table(), path(), history()}, DataBody::none,
       {}, {"kv arrays pop queue --db app"}},
      {{"arrays", "delete"}, {}, "remove an element of an array, by its index or its value", "POST", "/kv/{}/remove", "KEY",
       {db, table(), path(), number("--index", "index", "which one, from 0"), history()}, DataBody::text, {},
       {"kv arrays delete queue --db app --index 0"}},
      {{"batch", "set"}, {}, "store up to 100 keys in one transaction", "POST", "/kv/batch/set", "", {db, table()}, DataBody::text, "{}",
       {"kv batch set --db app --body '{\"items\":[{\"key\":\"a\",\"value\":\"1\"}]}'"}},
      {{"batch", "get"}, {}, "the values of up to 100 keys", "POST", "/kv/batch/get", "", {db, table()}, DataBody::text, "{}",
       {"kv batch get --db app --body '{\"keys\":[\"a\",\"b\"]}'"}},
      {{"batch", "delete"}, {}, "delete up to 100 keys in one transaction", "POST", "/kv/batch/delete", "", {db, table()}, DataBody::text, "{}",
       {"kv batch delete --db app --body '{\"keys\":[\"a\",\"b\"]}'"}},
      {{"history"}, {}, "what happened to a key, newest first", "GET", "/kv/{}/history", "KEY",
       {db, table(), number("--limit", "limit", "at most this many (50, no more than 1000)")}, DataBody::none, {},
       {"kv history config --db app --limit 10"}, show_history},
      {{"rollback"}, {}, "undo the last operations of a key", "POST", "/kv/{}/rollback", "KEY",
       {db, table(), number("--steps", "steps", "how many (1)")}, DataBody::none, {}, {"kv rollback config --db app --steps 2"}},
      {{"rollback-table"}, {}, "bring a whole table back to an earlier time", "POST", "/kv/rollback", "",
       {db, table(), number("--to-timestamp", "to_timestamp", "to this Unix time", true),
        {"--dry-run", "dry_run", "", "show what would change, and change nothing"},
        {"--confirm", "confirm", "YES", "yes: go ahead"}},
       DataBody::text, "{}", {"kv rollback-table --db app --to-timestamp 1750000000 --dry-run",
                              "kv rollback-table --db app --to-timestamp 1750000000 --confirm yes --body '{\"keys\":[\"config\"]}'"}},
      {{"snapshots", "get-key"}, {}, "a key as it was after one of its operations", "GET", "/kv/{}/snapshot", "KEY",
       {db, table(), number("--op-number", "op_number", "which operation", true)}, DataBody::none, {},
       {"kv snapshots get-key config --db app --op-number 1"}},
      {{"snapshots", "get-table"}, {}, "a table as it was at a time", "GET", "/kv/snapshot", "",
       {db, table(), number("--timestamp", "timestamp", "the Unix time", true), number("--limit", "limit", "at most this many (100)"),
        {"--prefix", "prefix", "PREFIX", "only keys that begin so"}},
       DataBody::none, {}, {"kv snapshots get-table --db app --timestamp 1750000000"}},
      {{"snapshots", "compare-table"}, {}, "what changed between two times", "GET", "/kv/diff", "",
       {db, table(), number("--from", "from", "the earlier Unix time", true), number("--to", "to", "the later one", true),
        {"--keys", "keys", "KEYS", "only these, with commas between"}},
       DataBody::none, {}, {"kv snapshots compare-table --db app --from 1750000000 --to 1750000600"}},
  };
}

}  // namespace

void add_kv_commands(CommandTree& tree) {
  CLI::App& kv = tree.group("kv", "the key-value store of the data API", "DATA");
  for (DataCommand& command : commands()) add_data_command(tree, kv, std::move(command));
  kv.get_subcommand("arrays")->description("elements of an array");
  kv.get_subcommand("batch")->description("many keys at once");
  kv.get_subcommand("snapshots")->description("earlier states");
  add_open_command(tree, kv, "keys");
}

}  // namespace via::cli
