// Hostile SQL and names through every door of the data API, at a kit, under a workload binding and under a capability URL: each case of
// tests/fixtures/hostile/sql.txt as an item of a transaction, as shareable SQL, and as whatever else takes a text; and names
// that try to leave the databases folder, beside files that would show it. The four operations have sql_cases_test.cpp.
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <set>

#include "core/base/base64.hpp"
#include "core/base/json_text.hpp"
#include "functional/table.hpp"
#include "support/world.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::string id, operation, sql, expected;
};

std::string trimmed(std::string s) {
  s.erase(0, s.find_first_not_of(' '));
  s.erase(s.find_last_not_of(' ') + 1);
  return s;
}

std::vector<Case> cases() {
  std::vector<Case> out;
  std::ifstream in(VIA_FIXTURES "/hostile/sql.txt");
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::vector<std::string> columns = split(replaced(line, "\\|", "\x01"), "|");
    if (columns.size() != 4) throw std::runtime_error("sql.txt: " + line);
    out.push_back({trimmed(columns[0]), trimmed(columns[1]), expanded(trimmed(replaced(columns[2], "\x01", "|"))), trimmed(columns[3])});
  }
  return out;
}

std::string encoded(std::string_view text) {
  static const char* const hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '-' || c == '_') out += c;
    else out.append("%").append(1, hex[u >> 4]).append(1, hex[u & 15]);
  }
  return out;
}

json statement(const std::string& sql) { return {{"statement", sql}}; }
json query(const std::string& sql) { return {{"query", sql}}; }
std::string items(const std::vector<json>& list) { return json{{"transaction", list}}.dump(); }

enum class Door { kit, binding, capability };

const char* name_of(Door door) { return door == Door::kit ? "AKit" : door == Door::binding ? "ABinding" : "ACapability"; }

class HostileDataApi : public World, public ::testing::WithParamInterface<Door> {
 protected:
  void SetUp() override {
    if (GetParam() == Door::kit) host.kit.emplace();
    ASSERT_TRUE(host.start()) << host.log();
    if (GetParam() == Door::kit) {
      databases_ = host.databases();
    } else {
      runtime_ = app_with_database("api", false, {{"timeout_ms", 25'000}, {"quota_bytes", 64 << 20}});
      other_ = app_with_database("other");
      ASSERT_EQ(caller(other_).setup("CREATE TABLE private(a)").status, 200);
      databases_ = data_file("api-db", "api").parent_path() / "databases";
      others_file_ = data_file("other-db", "other");
      prefix_ = "/v1/runtime/addons/DATABASE/http/api/v1/sqlite";
    }
    if (GetParam() == Door::capability) {
      const std::string url = admin("addon.share", {{"name", "api-db"}, {"app", "api"}, {"rate", 10'000}}).value("url", "");
      prefix_ = url.substr(std::min(url.find("/c/"), url.size()));
    }
    ASSERT_EQ(call("POST", "/db/create?path=app").status, 200);
    const Response made = call("POST", "/db?db=app",
                               items({statement("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"), statement("CREATE TABLE secret(k, v)"),
                                      statement("INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 300) SELECT x, 'row'||x FROM c"),
                                      statement("CREATE TABLE autoinc(id INTEGER PRIMARY KEY AUTOINCREMENT, x)"), statement("INSERT INTO autoinc(x) VALUES(1)")}));
    ASSERT_TRUE(made.json().contains("results")) << made.body;
    // A whole database outside, which every way there would find.
    ASSERT_EQ(call("POST", "/maintenance?db=app", R"({"op":"vacuum_into","dest_path":"moved.db"})").status, 200);
    fs::create_directory(outside());
    fs::rename(databases_ / "moved.db", outside() / "canary.db");
    std::ofstream(outside() / "canary.txt") << "canary";
    outside_ = contents(outside());
    beside_ = names(host.folder());
  }

  void TearDown() override {
    EXPECT_EQ(contents(outside()), outside_) << "what lies outside is as it was";
    EXPECT_EQ(names(host.folder()), beside_);
    if (GetParam() != Door::kit) {
      EXPECT_EQ(names(databases_.parent_path()), (std::set<std::string>{"data.sqlite", "databases", "provision.json"}));
      EXPECT_EQ(names(others_file_.parent_path()), (std::set<std::string>{"data.sqlite", "provision.json"}));
      EXPECT_EQ(rows_of(caller(other_).query("SELECT count(*) FROM private")), json({{0}}));
    }
    EXPECT_EQ(count("t"), 300);
    EXPECT_EQ(count("secret"), 0);
    EXPECT_EQ(call("POST", "/maintenance?db=app", R"({"op":"quick_check"})").json()["result"], json::array({"ok"}));
    const std::string log = host.log();
    for (const char* text : {"SELECT", "INSERT", "PRAGMA", "ATTACH", "sqlite_schema", "evil", "passwd"})
      EXPECT_EQ(log.find(text), std::string::npos) << text;
    EXPECT_EQ(host.stop(), 0);
  }

  // `target` is below the API's prefix, percent-encoded.
  Response call(const std::string& method, const std::string& target, const std::string& body = {}) {
    std::vector<std::pair<std::string, std::string>> fields;
    if (GetParam() == Door::binding) fields.emplace_back("Authorization", "Bearer " + runtime_.token);
    std::string request = Http::format(method, prefix_ + target, body, fields);
    if (GetParam() == Door::kit) request = replaced(request, "Host: via\r\n", "Host: localhost\r\n");
    if (!http_) http_ = std::make_unique<Http>(host.port());
    http_->send(request);
    Response answer = http_->read().value_or(Response{});
    if (answer.status == 0 || answer.cut || answer.closes()) http_.reset();
    EXPECT_EQ(answer.body.find(HostProcess::kCanary), std::string::npos) << "no path of the machine is told";
    return answer;
  }
  int64_t count(const std::string& table) {
    return call("GET", "/query?db=app&sql=" + encoded("SELECT count(*) AS n FROM " + table)).json()["resultSet"][0].value("n", int64_t{-1});
  }

  fs::path outside() const { return host.folder() / "outside"; }
  // Without what an open database has beside it.
  static std::set<std::string> names(const fs::path& folder) {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder))
      if (const std::string name = entry.path().filename().string(); !name.ends_with("-wal") && !name.ends_with("-shm") && name.find(".history") == std::string::npos)
        out.insert(name);
    return out;
  }
  // What is in the databases folder, and what else is expected there.
  std::set<std::string> with(std::set<std::string> more = {}) const {
    more.insert("app.db");
    if (GetParam() == Door::kit) more.insert(".lock");
    return more;
  }
  static std::map<std::string, std::string> contents(const fs::path& folder) {
    std::map<std::string, std::string> out;
    for (const auto& entry : fs::directory_iterator(folder)) out[entry.path().filename().string()] = text_of(entry.path());
    return out;
  }

  fs::path databases_;

 private:
  std::string prefix_ = "/api/v1/sqlite";
  Runtime runtime_, other_;
  fs::path others_file_;
  std::unique_ptr<Http> http_;
  std::map<std::string, std::string> outside_;
  std::set<std::string> beside_;
};

// Refused to the operations `query` or `execute`, and what a transaction is for: changes of the app's own tables.
bool is_own_change(const Case& c) {
  static const std::set<std::string> ids{"S01", "S02", "S03", "S04", "S05", "S06", "S07", "S09", "S10", "S57", "S58"};
  return ids.contains(c.id);
}

TEST_P(HostileDataApi, HoldsSqlOfTransactionsAndUrlsToItsPolicy) {
  int refused = 0;
  for (const Case& c : cases()) {
    if (c.expected == "stop") continue;
    SCOPED_TRACE(c.id + " " + c.sql.substr(0, 100));
    const bool several = c.sql.find(';') < c.sql.size() - 1 && c.id != "V37";
    const bool selects = c.sql.starts_with("SELECT") || c.sql.starts_with("WITH");
    // With an item behind it that fails, so that nothing of it stays: the index tells which of them was refused.
    for (const bool as_query : {false, true}) {
      if (c.id == "M09" && !as_query) continue;  // endless; as a query its rows are cut off
      const Response r = call("POST", "/db?db=app", items({as_query ? query(c.sql) : statement(c.sql), query("SELECT * FROM nowhere")}));
      ASSERT_EQ(r.status, 200) << r.body.substr(0, 300);
      const int failed = r.json().value("reqIdx", -1);
      const bool reads = c.operation == "query" && c.expected == "allow";
      const bool runs = reads || c.id == "S05" || (!as_query && !several && (c.expected == "allow" || is_own_change(c)));
      EXPECT_EQ(failed, runs ? 1 : 0) << as_query << r.body.substr(0, 300);
      refused += failed == 0;
      for (const char* name : {"evil", "e4_data", "/tmp"}) EXPECT_TRUE(c.expected != "deny" || r.body.find(name) == std::string::npos) << r.body;
    }
    for (const std::string& sql : {encoded(c.sql), base64url_encode(c.sql)}) {
      const Response r = call("GET", "/query?db=app&sql=" + sql);
      const int expected = c.id == "C15" ? 431 : c.operation == "query" && c.expected == "allow" && selects ? 200 : 400;
      EXPECT_EQ(r.status, expected) << r.body.substr(0, 300);
      refused += r.status == 400;
    }
    if (c.expected == "allow" && c.operation != "query" && !several) {  // later cases are about it
      EXPECT_TRUE(call("POST", "/db?db=app", items({statement(c.sql)})).json().contains("results"));
    }
    EXPECT_EQ(call("POST", "/db?db=app", items({query("SELECT 1 AS one")})).json()["results"][0]["resultSet"], json::array({json{{"one", 1}}}));
  }
  EXPECT_GT(refused, 350);
  EXPECT_EQ(names(databases_), with());
}

TEST_P(HostileDataApi, TakesHostileTextForTextAndNothingElse) {
  ASSERT_EQ(call("PUT", "/kv/k?db=app", R"({"a":1})").status, 200);
  std::vector<std::string> texts;
  for (const Case& c : cases())
    if (!c.sql.empty()) texts.push_back(c.sql);
  json set = json::array(), rows = json::array(), got = json::object();
  for (const std::string& text : texts) {
    SCOPED_TRACE(text.substr(0, 100));
    const bool fits = text.size() <= 4096;
    if (fits) {
      set.push_back({{"key", text}, {"value", text}});
      rows.push_back(json::array({text}));
      got[text] = text;
    }
    const std::string one = encoded(text);
    if (one.size() > 8'000) continue;  // than a target takes
    // As a key.
    EXPECT_EQ(call("PUT", "/kv/" + one + "?db=app&table=keys", text).status, 200);
    EXPECT_EQ(call("GET", "/kv/" + one + "?db=app&table=keys").body, text);
    EXPECT_EQ(call("POST", "/kv/" + one + "/rollback?db=app&table=keys").status, 200) << "before it was made";
    // As the place in a document: a name of a member, or no path at all.
    const Response put = call("PUT", "/kv/k?db=app&path=" + one, "7"), read = call("GET", "/kv/k?db=app&path=" + one);
    EXPECT_TRUE(put.status == 200 ? read.body == "7" : put.status == 400 && read.status == 400) << put.body << read.body;
    EXPECT_EQ(call("GET", "/kv/k?db=app&path=a").body, "1");
    // As what is none.
    for (const std::string target : {"/kv?limit=", "/kv?offset=", "/kv?at_timestamp=", "/kv/k/snapshot?op_number=", "/history?limit="})
      EXPECT_EQ(call("GET", target + one + "&db=app").status, 400) << target;
    for (const std::string target : {"/kv/k/incr?delta=", "/kv/k/rollback?steps=", "/kv/k/remove?index=", "/kv/rollback?confirm=yes&to_timestamp=", "/maintenance?timeout="})
      EXPECT_EQ(call("POST", target + one + "&db=app", "{}").status, 400) << target;
    if (text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ") != std::string::npos) {  // BEGIN is a fine name
      for (const std::string target : {"/kv?table=", "/kv/k?table=", "/kv/snapshot?timestamp=1&table=", "/kv/diff?from=0&to=1&table=", "/kv/k/history?table="})
        EXPECT_EQ(call("GET", target + one + "&db=app").status, 400) << target;
      for (const std::string target : {"/kv/k/incr?table=", "/kv/k/push?table=", "/kv/rollback?confirm=yes&to_timestamp=1&table=", "/db/create?path=app&init_kv=true&kv_table="})
        EXPECT_EQ(call("POST", target + one + "&db=app", "{}").status, 400) << target;
    }
    EXPECT_EQ(call("PUT", "/kv/k?ttl=" + one + "&db=app", "1").status, 400);
    EXPECT_EQ(call("PUT", "/kv/new?auto_create=" + one + "&db=app", "1").status, 400);
    EXPECT_EQ(call("GET", "/kv?db=app&prefix=" + one).json()["count"], 0);
    EXPECT_EQ(call("POST", "/maintenance?db=app", json{{"op", text}}.dump()).status, 400);
    const Response erased = call("DELETE", "/history/" + one + "?db=app");
    EXPECT_TRUE(erased.status == 400 || erased.status == 404) << erased.body;
  }
  // As keys and values of batches, and as values that are bound.
  for (std::size_t at = 0; at < set.size(); at += 100) {
    const std::size_t n = std::min<std::size_t>(100, set.size() - at);
    const json part(set.begin() + static_cast<std::ptrdiff_t>(at), set.begin() + static_cast<std::ptrdiff_t>(at + n));
    EXPECT_EQ(call("POST", "/kv/batch/set?db=app&table=batch", json{{"items", part}}.dump()).json()["count"], n);
    json keys = json::array();
    for (const auto& item : part) keys.push_back(item["key"]);
    const json back = call("POST", "/kv/batch/get?db=app&table=batch", json{{"keys", keys}}.dump()).json();
    for (const auto& key : keys) EXPECT_EQ(back[key.get<std::string>()]["value"], key);
  }
  const Response bound = call("POST", "/db?db=app", items({statement("CREATE TABLE bound(x UNIQUE)"),
                                                           json{{"statement", "INSERT OR IGNORE INTO bound VALUES(?)"}, {"valuesBatch", rows}},
                                                           query("SELECT count(*) AS n FROM bound JOIN batch ON x = key AND CAST(value AS TEXT) = x")}));
  EXPECT_EQ(bound.json()["results"][2]["resultSet"][0]["n"], got.size()) << bound.body.substr(0, 300);
  EXPECT_EQ(call("POST", "/db?db=app", items({json{{"query", "SELECT :a"}, {"values", got}}})).json()["reqIdx"], 0);
  for (const char* table : {"sqlite_schema", "SQLITE_MASTER", "_via_kv_history", "_VIA_kv_history", "main.t", "\"t\"", "t;", "t--", "1t", "t t", "t\xc3\xa9"})
    EXPECT_EQ(call("PUT", "/kv/k?db=app&table=" + encoded(table), "1").body, R"({"error":"invalid table name"})") << table;
  for (const char* table : {"t", "T", "secret", "autoinc"})
    EXPECT_EQ(call("PUT", "/kv/k?db=app&table=" + std::string(table), "1").body, R"({"error":")" + std::string(table) + R"( is not a key-value table"})");
  EXPECT_EQ(names(databases_), with());
}

TEST_P(HostileDataApi, OpensNothingOutsideOfTheDatabasesFolder) {
  const std::string canary = (outside() / "canary.db").string();
  fs::create_symlink(canary, databases_ / "link.db");
  fs::create_directory_symlink(outside(), databases_ / "out");
  fs::create_symlink("loop.db", databases_ / "loop.db");
  fs::create_hard_link(canary, databases_ / "hard.db");
  fs::create_directory(databases_ / "folder.db");
  ASSERT_EQ(::mkfifo((databases_ / "pipe.db").c_str(), 0600), 0);
  std::ofstream(databases_ / "text.db") << std::string(5000, 'x');
  const auto before = names(databases_);
  std::vector<std::string> refused{
      "", ".", "..", "/", "//", "/etc/passwd", "//etc/passwd", "../outside/canary.db", "./../outside/canary.db", ".//etc/passwd", "..\\outside\\canary.db",
      "a/../../outside/canary.db", "folder.db/x.db", "a\\b", canary, "/" + canary, "/hoody",
      "/hoody/databases/..", "/hoody/databases/../outside/canary.db", "/hoody/databases/folder.db/../../outside/canary.db", "/hoody/databases/./../x.db",
      "/hoody/databasesx/x.db", "/HOODY/databases/x.db", "hoody/databases/app.db", "/hoody/databases/no/such.db", "/hoody/databases/app.db/x.db",
      "/hoody/databases/out/canary.db", "/hoody/databases/out/new.db", "/hoody/databases/out", "link.db", "/hoody/databases/link.db", "hard.db", "loop.db",
      "folder.db", "pipe.db", "text.db", "/proc/self/root" + canary, "/proc/self/cwd/x.db", "/dev/null", "/dev/shm/x.db", ":memory:", "file:app.db", "file:" + canary,
      "file://" + canary + "?mode=rw", "file:x?mode=memory&cache=shared", ".hidden.db", "/hoody/databases/.via/x.db", ".app.db.history", "app.db-wal", "app.db-shm",
      "app.db-journal", "/hoody/databases/app.db-wal", "a\nb", "a\tb", "a\x7f", std::string("a\0b", 3), "\xff", "\xc0\xae\xc0\xae/x", "\xed\xa0\x80",
      std::string(198, 'n'), std::string(201, 'n') + ".db", std::string(5000, 'n'), "/hoody/databases/" + std::string(3000, 'n')};
  if (GetParam() != Door::kit)
    for (const char* own : {"../data.sqlite", "/hoody/databases/../data.sqlite", "../storage.json", "../../"}) refused.emplace_back(own);
  for (const std::string& name : refused) {
    SCOPED_TRACE(name.substr(0, 100));
    const std::string one = encoded(name);
    const auto no = [&](const std::string& method, const std::string& target, const std::string& body = {}) {
      const Response r = call(method, target, body);
      EXPECT_TRUE(r.status == 400 || r.status == 404 || (r.status == 409 && target == "/maintenance?db=app")) << method << " " << target.substr(0, 60) << " " << r.status << r.body;
    };
    no("POST", "/db?create_db_if_missing=true&db=" + one, items({statement("CREATE TABLE evil(a)")}));
    no("POST", "/db?db=" + one, items({query("SELECT * FROM secret")}));
    no("GET", "/query?sql=SELECT+1&db=" + one);
    no("POST", "/db/create?path=" + one);
    if (is_utf8(name)) no("POST", "/db/create", json{{"path", name}, {"init_kv", true}}.dump());
    no("DELETE", "/db?db=" + one);
    no("PUT", "/kv/k?auto_create=true&db=" + one, "1");
    no("GET", "/kv/k?db=" + one);
    no("GET", "/kv?db=" + one);
    no("POST", "/kv/k/incr?auto_create=true&db=" + one);
    no("DELETE", "/kv/k?db=" + one);
    no("POST", "/kv/batch/set?auto_create=true&db=" + one, R"({"items":[{"key":"k","value":"1"}]})");
    no("GET", "/kv/k/history?db=" + one);
    no("GET", "/kv/snapshot?db=" + one);
    no("GET", "/kv/diff?from=0&to=1&db=" + one);
    no("POST", "/kv/rollback?confirm=yes&to_timestamp=1&db=" + one, "{}");
    no("GET", "/history?db=" + one);
    no("DELETE", "/history?db=" + one);
    no("POST", "/maintenance?db=" + one, R"({"op":"quick_check"})");
    no("POST", "/maintenance?db=" + one, R"({"op":"vacuum_into","dest_path":"copy.db"})");
    if (is_utf8(name)) no("POST", "/maintenance?db=app", json{{"op", "vacuum_into"}, {"dest_path", name}}.dump());
  }
  EXPECT_EQ(names(databases_), before);
  EXPECT_EQ(text_of(databases_ / "text.db"), std::string(5000, 'x'));
  for (const char* made : {"link.db", "out", "loop.db", "hard.db", "folder.db", "pipe.db", "text.db"}) fs::remove(databases_ / made);

  // Odd names are files of that very name, in the folder.
  std::vector<std::string> odd{"%2e%2e%2fx", "~root", "$HOME", "-rf", "`id`", "\xef\xbc\x8e\xef\xbc\x8e", "a b", "*", "CON", "x;y", "'\"", "FILE:x"};
  if (GetParam() == Door::kit) {  // the same code, and a file each: every other case, at one door
    const std::vector<Case> all = cases();
    for (std::size_t i = 0; i < all.size(); i += 2)
      if (all[i].sql.size() < 150 && all[i].sql.find_first_of("/\\") == std::string::npos && !all[i].sql.empty()) odd.push_back(all[i].sql);
  }
  std::set<std::string> seen;
  for (const std::string& name : odd) {
    SCOPED_TRACE(name);
    const std::string file = name.find('.') == std::string::npos ? name + ".db" : name;
    if (!seen.insert(name).second) continue;
    EXPECT_EQ(call("POST", "/db/create?path=" + encoded(name)).json()["created"], true);
    EXPECT_EQ(names(databases_), with({file}));
    const Response gone = call("DELETE", "/db?db=" + encoded("/hoody/databases/" + file));
    EXPECT_EQ(gone.status, 200) << gone.body;
    EXPECT_EQ(names(databases_), with());
  }
  EXPECT_GT(odd.size(), GetParam() == Door::kit ? 60U : 10U);
}

TEST_P(HostileDataApi, KeepsDirectoriesToTheirOwnPlainFiles) {
  ASSERT_EQ(call("POST", "/db/create?path=/hoody/databases/plain.db").status, 200);
  const fs::path files = databases_ / "files";
  fs::create_directories(files / "a");
  std::ofstream(files / "note.txt") << "note";
  std::ofstream(files / "a" / "b.txt") << "b";
  std::ofstream(files / ".hidden") << "hidden";
  std::ofstream(files / "x.db-wal") << "log";
  fs::create_symlink(outside() / "canary.txt", files / "link.txt");
  fs::create_symlink("note.txt", files / "inner.txt");
  fs::create_directory_symlink(outside(), files / "out");
  fs::create_hard_link(outside() / "canary.txt", files / "hard.txt");
  ASSERT_EQ(::mkfifo((files / "pipe").c_str(), 0600), 0);
  ASSERT_EQ(call("POST", "/db/create?path=/hoody/databases/files/closed.db").status, 200);
  const auto before = names(databases_), within = names(files);
  const std::vector<std::string> keys{
      ".", "..", "../app.db", "../../outside/canary.txt", "a/../../app.db", "/etc/passwd", (outside() / "canary.txt").string(), "a", "a/", "a//b.txt", "/note.txt", "./note.txt",
      "a/./b.txt", "note.txt/", "note.txt/x", "link.txt", "inner.txt", "out", "out/canary.txt", "out/canary.db", "hard.txt", "pipe", ".hidden", "x.db-wal", "closed.db",
      "closed.db-shm", "..\\app.db", "note.txt\n", "\xff", "app.db", ".lock", "lock", ".app.db.history", "plain.db", "files/closed.db", "files/link.txt", "files/../app.db",
      std::string(256, 'n'), std::string(4097, 'n')};
  for (const char* folder : {"/hoody/databases", "/hoody/databases/", "/hoody//databases/./files", "/hoody/databases/files/"}) {
    const std::string db = "db=" + encoded(folder);
    for (const std::string& key : keys)
      for (const char* method : {"GET", "DELETE"}) {
        const Response r = call(method, "/kv/" + encoded(key) + "?rebuild=true&" + db);
        EXPECT_TRUE(r.status == 400 || r.status == 404) << method << " " << key << " in " << folder << ": " << r.status << r.body;
      }
    std::set<std::string> listed;
    const json list = call("GET", "/kv?rebuild=true&" + db).json();
    for (const auto& item : list["items"]) listed.insert(item.value("key", ""));
    EXPECT_EQ(listed, std::string(folder).find("files") == std::string::npos ? (std::set<std::string>{"files/a/b.txt", "files/note.txt"})
                                                                             : (std::set<std::string>{"a/b.txt", "note.txt"}));
    for (const std::string target : {"PUT /kv/new.txt?", "PUT /kv/new.txt?auto_create=true&", "PUT /kv/note.txt?", "POST /kv/note.txt/incr?", "POST /kv/note.txt/push?",
                                     "POST /kv/batch/set?", "POST /kv/batch/delete?", "GET /kv/note.txt/history?", "POST /kv/note.txt/rollback?", "GET /kv/snapshot?timestamp=1&",
                                     "POST /kv/rollback?confirm=yes&to_timestamp=1&", "POST /db?create_db_if_missing=true&", "GET /query?sql=SELECT+1&", "DELETE /db?",
                                     "POST /maintenance?", "GET /history?", "DELETE /history?"}) {
      const std::vector<std::string> words = split(target, " ");
      const std::string body = words[1].starts_with("/db") ? items({query("SELECT 1")}) : words[1].starts_with("/maint") ? R"({"op":"quick_check"})" : R"({"keys":["note.txt"],"items":[{"key":"k","value":"v"}]})";
      const Response r = call(words[0], words[1] + db, body);
      EXPECT_TRUE(r.status == 400 || r.status == 404) << target << r.status << r.body;
    }
  }
  EXPECT_EQ(names(databases_), before);
  EXPECT_EQ(names(files), within);
  EXPECT_EQ(call("GET", "/kv/a%2Fb.txt?db=/hoody/databases/files").body, "b");
  EXPECT_EQ(call("DELETE", "/kv/files/note.txt?db=/hoody/databases").status, 200);
  EXPECT_FALSE(fs::exists(files / "note.txt"));
  fs::remove_all(files);
}

INSTANTIATE_TEST_SUITE_P(At, HostileDataApi, ::testing::Values(Door::kit, Door::binding, Door::capability),
                         [](const auto& of) { return std::string(name_of(of.param)); });

// Where an operator says how long is long, the cases that would not end by themselves end, whoever else waits.
class EndlessSql : public World {};

TEST_F(EndlessSql, EndsByALimitAndLeavesTheDatabaseToOthers) {
  const Runtime runtime = app_with_database("api", false, {{"timeout_ms", 300}, {"quota_bytes", 16 << 20}});
  const auto call = [&](const std::string& method, const std::string& target, const std::string& body = {}) {
    return Http(host.port()).call(method, "/v1/runtime/addons/DATABASE/http/api/v1/sqlite" + target, body, {{"Authorization", "Bearer " + runtime.token}});
  };
  ASSERT_TRUE(call("POST", "/db", items({statement("CREATE TABLE t(a INTEGER PRIMARY KEY, b)"), statement("INSERT INTO t(b) VALUES('x'),('y'),('z')")})).json().contains("results"));
  int ended = 0;
  for (const Case& c : cases()) {
    if (c.expected != "stop" && c.id != "M09") continue;
    SCOPED_TRACE(c.id);
    const bool reads = c.operation == "query";
    for (const bool as_query : {false, true}) {
      if (as_query && (!reads || c.id == "M09")) continue;
      const Response r = call("POST", "/db", items({as_query ? query(c.sql) : statement(c.sql), query("SELECT * FROM nowhere")}));
      EXPECT_TRUE(r.status == 504 || r.status == 429 || (r.status == 200 && (r.json().value("reqIdx", -1) == 0 || c.id == "C25"))) << r.status << r.body.substr(0, 300);
      ++ended;
    }
    if (reads && c.id != "M09") {
      const Response r = call("GET", "/query?sql=" + encoded(c.sql));
      EXPECT_TRUE(r.status == 504 || r.status == 429 || r.status == 400) << r.status << r.body.substr(0, 300);
      ++ended;
    }
    EXPECT_EQ(call("GET", "/query?sql=" + encoded("SELECT count(*) AS n FROM t")).json()["resultSet"], json::array({json{{"n", 3}}}));
    EXPECT_TRUE(call("POST", "/db", items({statement("UPDATE t SET b = b WHERE a = 1")})).json().contains("results"));
  }
  EXPECT_GE(ended, 8);
  EXPECT_EQ(call("POST", "/maintenance", R"({"op":"quick_check"})").json()["result"], json::array({"ok"}));
}

}  // namespace
}  // namespace via::test
