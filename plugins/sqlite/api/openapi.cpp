#include "plugins/sqlite/api/openapi.hpp"

#include <algorithm>

namespace via::sqlite::api {
namespace {

namespace json = boost::json;

const DescribedParameter kDb{"db", "string", false, nullptr, "a name in the databases folder, or an absolute path; required at a kit"};
const DescribedParameter kNeeded{"db", "string", true, nullptr, "a name in the databases folder, or an absolute path"};
const DescribedParameter kTable{"table", "string", false, "\"kv_store\"", "the table of the keys"};
const DescribedParameter kPath{"path", "string", false, nullptr, "a place inside of a JSON value: a.b[0].c"};
const DescribedParameter kHistory{"history", "boolean", false, "true", "record the change"};
const DescribedParameter kCreate{"create_db_if_missing", "boolean", false, "false", "make the database when it is missing (also auto_create)"};
const DescribedParameter kCursor{"cursor", "string", false, nullptr, "where to go on: the next_cursor of an answer"};
const DescribedParameter kPrefix{"prefix", "string", false, nullptr, "only keys that begin with it"};

constexpr const char* kDone = R"({"type":"object","required":["success"],"properties":{"success":{"type":"boolean"},"deleted":{"oneOf":[{"type":"boolean"},{"type":"integer"}]},"count":{"type":"integer"}}})";
constexpr const char* kNumber = R"({"type":"object","required":["success","value"],"properties":{"success":{"type":"boolean"},"value":{"type":"integer"}}})";
constexpr const char* kArray = R"({"type":"object","required":["success","length"],"properties":{"success":{"type":"boolean"},"length":{"type":"integer"},"value":{}}})";
constexpr const char* kAny = "{}";
constexpr const char* kKeys = R"({"type":"object","required":["keys"],"properties":{"keys":{"type":"array","minItems":1,"maxItems":100,"items":{"type":"string"}}}})";
constexpr const char* kGaps = R"({"type":"object","required":["has_gaps","gap_keys","candidate_truncated"],"properties":{"has_gaps":{"type":"boolean"},"gap_keys":{"type":"array","items":{"type":"string"}},"candidate_truncated":{"type":"boolean"}}})";
constexpr const char* kTableThen = R"({"type":"object","required":["entries","count","has_gaps","gap_keys","candidate_truncated","has_more","next_cursor"],"properties":{"timestamp":{"type":"integer"},"entries":{"type":"array","items":{"type":"object","required":["key","value","raw_value","content_type"]}},"count":{"type":"integer"},"has_gaps":{"type":"boolean"},"gap_keys":{"type":"array","items":{"type":"string"}},"candidate_truncated":{"type":"boolean"},"has_more":{"type":"boolean"},"next_cursor":{"type":"string","nullable":true}}})";
constexpr const char* kTransaction = R"({"type":"object","required":["transaction"],"properties":{"resultFormat":{"type":"string","enum":["map","object","list"]},"transaction":{"type":"array","maxItems":10000,"items":{"type":"object","properties":{"query":{"type":"string"},"statement":{"type":"string"},"sql":{"type":"string"},"values":{},"valuesBatch":{"type":"array","maxItems":100000},"noFail":{"type":"boolean"}}}}}})";
constexpr const char* kResults = R"({"type":"object","properties":{"results":{"type":"array","items":{"type":"object","required":["success"]}},"reqIdx":{"type":"integer"},"error":{"type":"string"},"message":{"type":"string"}}})";

const char* word(Method m) {
  switch (m) {
    case Method::get: return "get";
    case Method::head: return "head";
    case Method::put: return "put";
    case Method::post: return "post";
    case Method::del: return "delete";
    default: return "";
  }
}

json::object content(const char* type, const char* schema) { return {{type, {{"schema", json::parse(schema)}}}}; }

json::value parameter(const char* name, const char* place, const char* type, bool required, const char* otherwise, const char* text) {
  json::object schema{{"type", type}};
  if (otherwise) schema["default"] = json::parse(otherwise);
  return json::object{{"name", name}, {"in", place}, {"required", required}, {"description", text}, {"schema", std::move(schema)}};
}

json::object describe(const DescribedOperation& o) {
  json::array parameters;
  const std::string_view pattern = o.pattern;
  if (pattern.find("{key}") != pattern.npos)
    parameters.push_back(parameter("key", "path", "string", true, nullptr, "the key, percent-encoded; it may hold slashes"));
  if (pattern.find("{index}") != pattern.npos) parameters.push_back(parameter("index", "path", "integer", true, nullptr, "the number of an entry"));
  for (const auto& p : o.parameters) parameters.push_back(parameter(p.name, "query", p.type, p.required, p.otherwise, p.text));
  json::object responses;
  const char* const answer = o.answer ? o.answer : kAny;
  const bool head = o.method == Method::head;
  responses["200"] = json::object{{"description", "done"}};
  if (!head) responses["200"].get_object()["content"] = content(o.answer ? "application/json" : "*/*", answer);
  std::vector<int> statuses = o.statuses;
  statuses.insert(statuses.end(), common_statuses().begin(), common_statuses().end());
  std::sort(statuses.begin(), statuses.end());
  for (const int status : statuses)
    responses[std::to_string(status)] = head ? json::object{{"description", "refused, or failed"}} : json::object{{"$ref", "#/components/responses/Error"}};
  json::object out{{"summary", o.summary}, {"parameters", std::move(parameters)}, {"responses", std::move(responses)}};
  if (o.body) {
    const bool raw = std::string_view(o.body) == kAny;
    out["requestBody"] = json::object{{"content", content(raw ? "*/*" : "application/json", o.body)}};
  }
  return out;
}

// A JSON value as YAML in blocks. Texts are quoted as JSON quotes them, which YAML 1.2 reads.
void yaml(const json::value& v, size_t depth, std::string& out) {
  const std::string indent(depth * 2, ' ');
  if (const auto* object = v.if_object(); object && !object->empty()) {
    for (const auto& [key, member] : *object) {
      out += "\n" + indent + json::serialize(json::value(key)) + ":";
      yaml(member, depth + 1, out);
    }
  } else if (const auto* array = v.if_array(); array && !array->empty()) {
    for (const auto& item : *array) {
      out += "\n" + indent + "-";
      yaml(item, depth + 1, out);
    }
  } else {
    out += " " + json::serialize(v);
  }
}

}  // namespace

const std::vector<int>& common_statuses() {
  static const std::vector<int> all{400, 403, 404, 429, 500, 503, 504, 507};
  return all;
}

const std::vector<DescribedOperation>& described_operations() {
  static const std::vector<DescribedOperation> all{
      {Method::post, "/db/create", "create a database",
       {{"path", "string", true, nullptr, "its name"}, {"init_kv", "boolean", false, "false", "make the key-value table too"},
        {"kv_table", "string", false, "\"kv_store\"", "the name of that table"}},
       nullptr, R"({"type":"object","required":["success","path","created"],"properties":{"success":{"type":"boolean"},"path":{"type":"string"},"created":{"type":"boolean"},"kv_table":{"type":"string"}}})", {}},
      {Method::post, "/db", "run SQL items in one transaction", {kDb, kCreate}, kTransaction, kResults, {413}},
      {Method::del, "/db", "remove a database", {kNeeded}, nullptr, kDone, {409}},
      {Method::get, "/query", "run one read-only query", {kDb, {"sql", "string", true, nullptr, "one SELECT or WITH, as base64 or as it is"}}, nullptr,
       R"({"type":"object","required":["columns","resultSet","rowCount","truncated"],"properties":{"columns":{"type":"array","items":{"type":"string"}},"resultSet":{"type":"array","items":{"type":"object"}},"rowCount":{"type":"integer"},"truncated":{"type":"boolean"}}})", {}},
      {Method::post, "/maintenance", "check, empty the log, or copy", {kDb, {"timeout", "integer", false, "30", "seconds, taken as 1 to 300"}},
       R"({"type":"object","required":["op"],"properties":{"op":{"type":"string","enum":["wal_checkpoint_truncate","vacuum_into","quick_check"]},"dest_path":{"type":"string"}}})",
       R"({"type":"object","required":["success","op"],"properties":{"success":{"type":"boolean"},"op":{"type":"string"},"ok":{"type":"boolean"},"result":{"type":"array","items":{"type":"string"}},"complete":{"type":"boolean"},"wal_bytes":{"type":"integer"},"dest_path":{"type":"string"},"bytes":{"type":"integer"}}})", {409}},
      {Method::get, "/history", "the statements that were run, newest first", {kDb, {"limit", "integer", false, "100", "at most this many"}, kCursor}, nullptr,
       R"({"type":"object","required":["history","count","total","has_more","next_cursor"],"properties":{"has_more":{"type":"boolean"},"next_cursor":{"type":"string","nullable":true},"history":{"type":"array","items":{"type":"object","required":["index","sql","timestamp","duration_ms","success"],"properties":{"index":{"type":"integer"},"sql":{"type":"string"},"timestamp":{"type":"integer"},"duration_ms":{"type":"number"},"success":{"type":"boolean"},"error":{"type":"string"}}}},"count":{"type":"integer"},"total":{"type":"integer"}}})", {}},
      {Method::del, "/history", "empty that history", {kDb}, nullptr, kDone, {}},
      {Method::get, "/history/stats", "how much it holds", {kDb}, nullptr,
       R"({"type":"object","required":["total","succeeded","failed","bytes","limit"],"properties":{"total":{"type":"integer"},"succeeded":{"type":"integer"},"failed":{"type":"integer"},"bytes":{"type":"integer"},"limit":{"type":"integer"}}})", {}},
      {Method::del, "/history/{index}", "take one statement out of it", {kDb}, nullptr, kDone, {}},
      {Method::get, "/kv", "list keys", {kDb, kTable, kPrefix, {"limit", "integer", false, "100", "at most 10,000"}, {"offset", "integer", false, "0", "leave so many out"}, kCursor,
                                        {"at_timestamp", "integer", false, nullptr, "as it was then (Unix seconds or milliseconds)"}}, nullptr,
       R"({"type":"object","required":["count","has_more","next_cursor"],"properties":{"items":{"type":"array","items":{"type":"object","required":["key","value","content_type"]}},"entries":{"type":"array","items":{"type":"object"}},"count":{"type":"integer"},"limit":{"type":"integer"},"offset":{"type":"integer"},"has_more":{"type":"boolean"},"next_cursor":{"type":"string","nullable":true}}})", {}},
      {Method::head, "/kv/{key}", "whether a key is there", {kDb, kTable, kPath, {"at_timestamp", "integer", false, nullptr, "as it was then"}}, nullptr, nullptr, {409}},
      {Method::get, "/kv/{key}", "the value of a key", {kDb, kTable, kPath, {"at_timestamp", "integer", false, nullptr, "as it was then"}, {"rebuild", "boolean", false, "false", "read a directory's index anew"}},
       nullptr, nullptr, {409}},
      {Method::put, "/kv/{key}", "set a key",
       {kDb, kTable, kPath, {"ttl", "integer", false, nullptr, "seconds until it is gone"}, {"if_match", "string", false, nullptr, "the value that it must have now"}, kHistory, kCreate},
       kAny, kDone, {412, 413}},
      {Method::del, "/kv/{key}", "delete a key", {kDb, kTable, kHistory}, nullptr, kDone, {}},
      {Method::post, "/kv/{key}/incr", "add to a number", {kDb, kTable, {"delta", "integer", false, "1", "how much"}, kPath, kHistory}, nullptr, kNumber, {}},
      {Method::post, "/kv/{key}/decr", "take from a number", {kDb, kTable, {"delta", "integer", false, "1", "how much"}, kPath, kHistory}, nullptr, kNumber, {}},
      {Method::post, "/kv/{key}/push", "append to an array", {kDb, kTable, kPath, kHistory}, kAny, kArray, {413}},
      {Method::post, "/kv/{key}/pop", "take the last element out", {kDb, kTable, kPath, kHistory}, nullptr, kArray, {}},
      {Method::post, "/kv/{key}/remove", "take an element out", {kDb, kTable, kPath, {"index", "integer", false, nullptr, "its place; else the body is its value"}, kHistory}, kAny, kArray, {}},
      {Method::post, "/kv/batch/set", "set up to 100 keys", {kDb, kTable},
       R"({"type":"object","required":["items"],"properties":{"items":{"type":"array","minItems":1,"maxItems":100,"items":{"type":"object","required":["key","value"],"properties":{"key":{"type":"string"},"value":{"type":"string"},"content_type":{"type":"string"},"ttl":{"type":"integer"}}}}}})", kDone, {}},
      {Method::post, "/kv/batch/get", "the values of up to 100 keys", {kDb, kTable}, kKeys, R"({"type":"object"})", {}},
      {Method::post, "/kv/batch/delete", "delete up to 100 keys", {kDb, kTable}, kKeys, kDone, {}},
      {Method::get, "/kv/{key}/history", "the operations of a key, newest first", {kDb, kTable, {"limit", "integer", false, "50", "at most 1,000"}, kCursor}, nullptr,
       R"({"type":"object","required":["key","operations","count","has_gaps","has_more","next_cursor"],"properties":{"has_more":{"type":"boolean"},"next_cursor":{"type":"string","nullable":true},"key":{"type":"string"},"operations":{"type":"array","items":{"type":"object","required":["op_number","timestamp","operation"]}},"count":{"type":"integer"},"has_gaps":{"type":"boolean"}}})", {}},
      {Method::get, "/kv/{key}/snapshot", "a key after an operation", {kDb, kTable, {"op_number", "integer", true, nullptr, "the operation"}}, nullptr,
       R"({"type":"object","required":["key","op_number","exists","has_gaps"],"properties":{"key":{"type":"string"},"op_number":{"type":"integer"},"exists":{"type":"boolean"},"has_gaps":{"type":"boolean"}}})", {409}},
      {Method::post, "/kv/{key}/rollback", "undo the last operations of a key", {kDb, kTable, {"steps", "integer", false, "1", "how many"}}, nullptr, kDone, {409}},
      {Method::get, "/kv/snapshot", "a table at a time", {kDb, kTable, {"timestamp", "integer", true, nullptr, "Unix seconds or milliseconds"}, {"limit", "integer", false, "100", "at most 10,000"}, kCursor, kPrefix}, nullptr, kTableThen, {}},
      {Method::get, "/kv/diff", "what changed between two times", {kDb, kTable, {"from", "integer", true, nullptr, "the earlier time"}, {"to", "integer", true, nullptr, "the later one"}, {"keys", "string", false, nullptr, "only these, with commas between"}}, nullptr, kGaps, {}},
      {Method::post, "/kv/rollback", "a table as it was at a time", {kDb, kTable, {"to_timestamp", "integer", true, nullptr, "the time"}, {"dry_run", "boolean", false, "false", "only tell what would change"}, {"confirm", "string", false, nullptr, "yes"}},
       R"({"type":"object","properties":{"keys":{"type":"array","maxItems":10000,"items":{"type":"string"}},"exclude_keys":{"type":"array","maxItems":10000,"items":{"type":"string"}}}})", kGaps, {409, 413}},
      {Method::get, "/health", "whether it serves", {}, nullptr, R"({"type":"object","required":["status"],"properties":{"status":{"type":"string"},"service":{"type":"string"},"sqlite_version":{"type":"string"}}})", {}},
      {Method::get, "/health/cache", "what is open", {}, nullptr, R"({"type":"object","required":["status","databases"],"properties":{"status":{"type":"string"},"databases":{"type":"object","properties":{"known":{"type":"integer"},"open":{"type":"integer"}}},"directories":{"type":"object","properties":{"cached":{"type":"integer"},"files":{"type":"integer"}}}}})", {}},
      {Method::get, "/openapi.json", "this document", {}, nullptr, R"({"type":"object","required":["openapi","paths"]})", {}},
      {Method::get, "/openapi.yaml", "this document as YAML", {}, nullptr, nullptr, {}},
  };
  return all;
}

json::value openapi_document() {
  json::object paths;
  for (const DescribedOperation& o : described_operations()) {
    json::value& path = paths[o.pattern];
    if (!path.is_object()) path = json::object{};
    path.get_object()[word(o.method)] = describe(o);
  }
  return json::object{
      {"openapi", "3.0.3"},
      {"info", {{"title", "SQLite data API"}, {"version", "1"}, {"description", "SQL transactions, and keys with their history, over HTTP."}}},
      {"servers", json::array{json::object{{"url", "/api/v1/sqlite"}}}},
      {"paths", std::move(paths)},
      {"components",
       {{"responses", {{"Error", {{"description", "refused, or failed"},
                                  {"content", content("application/json", R"({"type":"object","required":["error"],"properties":{"error":{"type":"string"}}})")}}}}}}}};
}

std::string openapi_json() { return json::serialize(openapi_document()); }

std::string openapi_yaml() {
  std::string out;
  yaml(openapi_document(), 0, out);
  return out.substr(1) + "\n";
}

}  // namespace via::sqlite::api
