// Directory mode: files as keys, and what is not one.
#include "unit/sqlite_api/api_fixture.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

namespace via::sqlite::test {
namespace {

namespace fs = std::filesystem;

struct Directory : ::testing::Test {
  Directory() {
    fs::create_directories(root() / "photos" / "2026");
    write("photos/a.txt", "hello");
    write("photos/b.json", R"({"n":[1,2]})");
    write("photos/2026/c.bin", std::string("\x00\xff\x01", 3));
    write("photos/empty", "");
  }
  fs::path root() const { return api.path("databases"); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(root() / name, std::ios::binary) << text; }
  HttpAnswer get(const std::string& key, const std::string& more = {}) {
    return api.call("GET", "/kv/" + key + "?db=/hoody/databases/photos" + more);
  }
  // The keys of a listing.
  std::string keys(const std::string& more = {}) {
    const auto a = api.call("GET", "/kv?db=/hoody/databases/photos" + more);
    if (a.status != 200) return std::to_string(a.status) + " " + a.body;
    std::string out;
    const Json all = a.json();
    for (const Json& item : all["items"]) out += item["key"].get<std::string>() + " ";
    return out;
  }
  DataApi api;
};

TEST_F(Directory, ItsFilesAreKeys) {
  EXPECT_EQ(get("a.txt").body, "hello");
  EXPECT_EQ(get("a.txt").content_type, "text/plain");
  EXPECT_EQ(get("b.json").content_type, "application/json");
  EXPECT_EQ(get("b.json", "&path=$.n[1]").body, "2");
  EXPECT_EQ(get("b.json", "&path=$.m").status, 404);
  EXPECT_EQ(get("2026/c.bin").body, std::string("\x00\xff\x01", 3));
  EXPECT_EQ(get("2026/c.bin").content_type, "application/octet-stream");
  EXPECT_EQ(get("empty").status, 200);
  EXPECT_EQ(get("none").body, R"({"error":"Key not found"})");
  EXPECT_EQ(api.call("HEAD", "/kv/a.txt?db=/hoody/databases/photos").status, 200);
  EXPECT_EQ(api.call("HEAD", "/kv/none?db=/hoody/databases/photos").status, 404);
  EXPECT_EQ(keys(), "2026/c.bin a.txt b.json empty ");
  EXPECT_EQ(keys("&prefix=2026/"), "2026/c.bin ");
  EXPECT_EQ(keys("&limit=2&offset=1"), "a.txt b.json ");
  EXPECT_EQ(keys("&offset=9"), "");
  const Json item = api.call("GET", "/kv?db=/hoody/databases/photos&prefix=a").json()["items"][0];
  EXPECT_EQ(item["value"], "hello");
  EXPECT_EQ(item["size"], 5);
  EXPECT_EQ(item["expires_at"], nullptr);
  EXPECT_GT(item["updated_at"].get<std::int64_t>(), 1'600'000'000'000);
}

TEST_F(Directory, AFileIsDeletedByItsKey) {
  EXPECT_EQ(api.call("DELETE", "/kv/2026/c.bin?db=/hoody/databases/photos").body, R"({"success":true,"deleted":true})");
  EXPECT_FALSE(fs::exists(root() / "photos" / "2026" / "c.bin"));
  EXPECT_EQ(api.call("DELETE", "/kv/2026/c.bin?db=/hoody/databases/photos").status, 404);
  EXPECT_EQ(api.call("DELETE", "/kv/2026?db=/hoody/databases/photos").status, 404) << "a folder is no key";
  EXPECT_EQ(api.call({true, {}}, "DELETE", "/kv/a.txt?db=/hoody/databases/photos").status, 403);
  EXPECT_TRUE(fs::exists(root() / "photos" / "a.txt"));
}

TEST_F(Directory, TheIndexFollowsTheFilesAndIsShown) {
  EXPECT_EQ(keys("&prefix=2026"), "2026/c.bin ");
  Json shown = api.call("GET", "/health/cache").json()["directories"];
  EXPECT_EQ(shown["cached"], 1);
  EXPECT_EQ(shown["files"], 4);
  for (int i = 0; i < 20; ++i) {
    write("photos/2026/new" + std::to_string(i), "x");
    EXPECT_NE(keys("&limit=100").find("new" + std::to_string(i) + " "), std::string::npos) << "also within a tick of the clock";
  }
  fs::remove(root() / "photos" / "a.txt");
  EXPECT_EQ(keys("&prefix=a"), "");
  EXPECT_EQ(keys("&rebuild=true&prefix=b"), "b.json ");
  EXPECT_EQ(get("b.json", "&rebuild=true").status, 200);
  EXPECT_EQ(api.call("GET", "/health/cache").json()["directories"]["cached"], 0);
  EXPECT_EQ(get("b.json", "&rebuild=perhaps").body, R"({"error":"rebuild must be true or false"})");
}

TEST_F(Directory, MustBeNamedByAnAbsolutePath) {
  EXPECT_EQ(api.call("GET", "/kv/a.txt?db=photos").body, R"({"error":"directory-mode: invalid path input: path must be absolute"})");
  EXPECT_EQ(api.call("GET", "/kv?db=./photos").status, 400);
  EXPECT_EQ(api.call("GET", "/kv?db=./photos").body, R"({"error":"directory-mode: invalid path input: path must be absolute"})");
  EXPECT_EQ(api.call("GET", "/kv/a.txt?db=nothing").status, 404) << "no database and no directory";
  EXPECT_EQ(api.call("GET", "/kv/a?db=/hoody/databases/none").status, 404);
  EXPECT_EQ(api.call("GET", "/kv/passwd?db=/etc").status, 400);
  EXPECT_EQ(api.call("GET", "/kv/x?db=/hoody/databases/../..").status, 400);
}

TEST_F(Directory, TakesNothingThatNeedsADatabase) {
  const std::string db = "?db=/hoody/databases/photos";
  for (const auto& [method, path] : std::vector<std::pair<std::string, std::string>>{
           {"PUT", "/kv/a.txt"}, {"POST", "/kv/a.txt/incr"}, {"POST", "/kv/b.json/push"}, {"POST", "/kv/b.json/pop"}}) {
    const auto a = api.call(method, path + db, "1");
    EXPECT_EQ(a.status, 400) << path;
    EXPECT_EQ(a.body, R"({"error":"directory-mode: files are listed, read and deleted here; this needs a database"})") << path;
  }
  EXPECT_EQ(get("a.txt", "&at_timestamp=4000000000").body, R"({"error":"directory-mode: files have no history"})");
  EXPECT_EQ(api.call("POST", "/db" + db, R"({"transaction":[{"query":"SELECT 1"}]})").status, 400);
  EXPECT_EQ(api.call("GET", "/query" + db + "&sql=SELECT%201").status, 400);
  EXPECT_EQ(api.call("DELETE", "/db" + db).status, 400);
  EXPECT_EQ(keys(), "2026/c.bin a.txt b.json empty ");
}

TEST_F(Directory, DatabasesLinksAndHiddenFilesAreNoKeys) {
  ASSERT_EQ(api.call("PUT", "/kv/k?db=/hoody/databases/photos/live.db&create_db_if_missing=true", "1").status, 200);
  ASSERT_EQ(api.call("PUT", "/kv/k?db=/hoody/databases/photos/closed&create_db_if_missing=true", "1").status, 200);
  api.reopen();
  ASSERT_EQ(api.call("PUT", "/kv/k?db=/hoody/databases/photos/live.db", "2").status, 200);
  std::ofstream(api.path("secret")) << "secret";
  fs::create_directories(api.path("outside"));
  std::ofstream(api.path("outside/file")) << "secret";
  fs::create_symlink(api.path("secret"), root() / "photos" / "link");
  fs::create_symlink(api.path("outside"), root() / "photos" / "folder");
  fs::create_symlink("a.txt", root() / "photos" / "inner");
  fs::create_hard_link(api.path("secret"), root() / "photos" / "hard");
  ASSERT_EQ(::mkfifo((root() / "photos" / "fifo").c_str(), 0600), 0);
  write("photos/.hidden", "x");
  write("photos/x-wal", "x");
  write("photos/bad\xff", "x");
  EXPECT_EQ(keys(), "2026/c.bin a.txt b.json empty ");
  for (const char* key : {"live.db", "live.db-wal", "live.db-shm", "closed", "link", "folder/file", "folder", "inner", "hard", "fifo", ".hidden",
                          "x-wal", "bad%ff", "..%2f..%2fsecret", "../photos/a.txt", "2026/../a.txt", "./a.txt", "2026//c.bin", "/a.txt",
                          "a.txt/", "a.txt/x"}) {
    EXPECT_EQ(get(key).status, 404) << key;
    EXPECT_EQ(api.call("DELETE", std::string("/kv/") + key + "?db=/hoody/databases/photos").status, 404) << key;
  }
  EXPECT_TRUE(fs::exists(root() / "photos" / "live.db"));
  EXPECT_TRUE(fs::exists(root() / "photos" / "closed"));
  EXPECT_EQ(api.call("GET", "/kv/k?db=/hoody/databases/photos/live.db").body, "2") << "nobody disturbed it";
  // The folder itself may be reached by a link that stays inside, not by one that leads out.
  fs::create_directory_symlink(root() / "photos", root() / "album");
  fs::create_directory_symlink(api.path("outside"), root() / "leak");
  EXPECT_EQ(api.call("GET", "/kv/a.txt?db=/hoody/databases/album").body, "hello");
  EXPECT_EQ(api.call("GET", "/kv/file?db=/hoody/databases/leak").status, 400);
}

TEST_F(Directory, IsBounded) {
  fs::resize_file(root() / "photos" / "empty", (32u << 20) + 1);
  EXPECT_EQ(get("empty").status, 413);
  EXPECT_EQ(keys("&prefix=e"), "empty ") << "listed, without its value";
  EXPECT_EQ(api.call("GET", "/kv?db=/hoody/databases/photos&prefix=e").json()["items"][0]["value"], nullptr);
  fs::path deep = root() / "photos";
  for (int i = 0; i < 40; ++i) deep /= "d";
  fs::create_directories(deep);
  EXPECT_EQ(keys().substr(0, 3), "413");
}

TEST_F(Directory, AShareOfOneReachesThatOneOnly) {
  fs::create_directories(root() / "other");
  write("other/x", "x");
  const DataApi::Caller share{false, {{"db", "/hoody/databases/photos"}}};
  EXPECT_EQ(api.call(share, "GET", "/kv/a.txt").body, "hello");
  EXPECT_EQ(api.call(share, "GET", "/kv/a.txt?db=/hoody/databases/photos").body, "hello");
  EXPECT_EQ(api.call(share, "GET", "/kv/x?db=/hoody/databases/other").status, 403);
  EXPECT_EQ(api.call(share, "GET", "/kv/k?db=/hoody/databases/photos/live.db").status, 403);
}

}  // namespace
}  // namespace via::sqlite::test
