// Which requests an I/O thread answers by itself, and that they are the same requests.
#include "unit/sqlite_api/api_fixture.hpp"

#include <thread>

namespace via::sqlite::test {
namespace {

struct Inline : ::testing::Test {
  DataApi api;
  // Whether the call was answered without a worker, or handed to the writer.
  bool quick(const std::string& method, const std::string& target, const std::string& body = {}) {
    const int before = api.answered_inline;
    last = api.call(method, target, body, "application/json");
    return api.answered_inline > before;
  }
  HttpAnswer last;
};

TEST_F(Inline, KeysAreReadAndChangedWithoutAWorkerOnceTheDatabaseIsOpen) {
  (void)quick("PUT", "/kv/k", "1");  // opens it
  (void)quick("GET", "/kv/k");       // asks for a connection of this thread
  for (int i = 0; i < 3; ++i) (void)quick("GET", "/kv/k?at_timestamp=4000000000");  // a worker opens it
  EXPECT_TRUE(quick("GET", "/kv/k"));
  EXPECT_EQ(last.body, "1");
  EXPECT_TRUE(quick("PUT", "/kv/k", R"({"a":[1,2]})"));
  EXPECT_TRUE(quick("GET", "/kv/k?path=$.a[1]"));
  EXPECT_EQ(last.body, "2") << "what was written before is seen";
  EXPECT_TRUE(quick("GET", "/kv/none"));
  EXPECT_EQ(last.status, 404);
  EXPECT_EQ(last.body, R"({"error":"Key not found"})");
  EXPECT_TRUE(quick("PUT", "/kv/k?if_match=no", "2"));
  EXPECT_EQ(last.status, 412);
  EXPECT_TRUE(quick("POST", "/kv/n/incr"));
  EXPECT_TRUE(quick("DELETE", "/kv/n"));
  EXPECT_EQ(last.status, 200);
}

TEST_F(Inline, WhatIsMoreThanALittleGoesToAWorker) {
  for (int i = 0; i < 4; ++i) (void)quick("PUT", "/kv/k", "1"), (void)quick("GET", "/kv/k");
  ASSERT_TRUE(quick("GET", "/kv/k"));
  EXPECT_FALSE(quick("GET", "/kv/k?at_timestamp=4000000000"));
  EXPECT_FALSE(quick("GET", "/kv"));
  EXPECT_FALSE(quick("GET", "/kv/k?db=other")) << "a database that is not open";
  EXPECT_EQ(last.status, 404);
  EXPECT_FALSE(quick("PUT", "/kv/large", "\"" + std::string(100'000, 'x') + "\""));
  EXPECT_EQ(last.status, 200);
  EXPECT_FALSE(quick("GET", "/kv/large"));
  EXPECT_EQ(last.body.size(), 100'002U);
  EXPECT_TRUE(quick("GET", "/kv/k")) << "one that was too large is in nobody's way";
  EXPECT_FALSE(quick("POST", "/db", R"({"transaction":[{"query":"SELECT 1"}]})"));
}

TEST_F(Inline, AFurtherDatabaseIsFoundOpen) {
  for (int i = 0; i < 4; ++i) (void)quick("PUT", "/kv/k?db=two&create_db_if_missing=true", "2"), (void)quick("GET", "/kv/k?db=two");
  EXPECT_TRUE(quick("GET", "/kv/k?db=two"));
  EXPECT_EQ(last.body, "2");
  EXPECT_EQ(api.call("DELETE", "/db?db=two").status, 200);
  EXPECT_FALSE(quick("GET", "/kv/k?db=two"));
  EXPECT_EQ(last.status, 404);
}

// A table that is known to be ours is looked at again when the schema changed, also by a transaction that was rolled back.
TEST_F(Inline, ATableThatBecameAnAppsIsNotTakenForOurs) {
  for (int i = 0; i < 4; ++i) (void)quick("PUT", "/kv/k?table=t", "1"), (void)quick("GET", "/kv/k?table=t");
  ASSERT_TRUE(quick("GET", "/kv/k?table=t"));
  EXPECT_EQ(api.call("POST", "/db", R"({"transaction":[{"statement":"DROP TABLE t"}]})", "application/json").status, 200);
  EXPECT_EQ(api.call("GET", "/kv/k?table=t").status, 404);
  EXPECT_EQ(api.call("PUT", "/kv/k?table=t", "2").status, 200);
  // Makes the table and is undone; the next schema has the same number.
  EXPECT_EQ(api.call("POST", "/db", R"({"transaction":[{"statement":"DROP TABLE t"}]})", "application/json").status, 200);
  EXPECT_EQ(api.call("PUT", "/kv/k?table=t&path=$.a&if_match=x", "1").status, 412);
  EXPECT_EQ(api.call("POST", "/db", R"s({"transaction":[{"statement":"CREATE TABLE t(a)"}]})s", "application/json").status, 200);
  EXPECT_EQ(api.call("GET", "/kv/k?table=t").status, 400);
  EXPECT_EQ(api.call("PUT", "/kv/k?table=t", "2").status, 400);
}

// Under ThreadSanitizer: I/O threads beside each other, the writer, workers and the closing of the database.
TEST_F(Inline, ManyThreadsReadAndWriteWhileDatabasesComeAndGo) {
  for (int i = 0; i < 4; ++i) (void)quick("PUT", "/kv/k", "0"), (void)quick("GET", "/kv/k");
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      const std::string key = "/kv/k" + std::to_string(t), other = "/kv/x?db=d" + std::to_string(t % 2);
      for (int i = 0; i < 150; ++i) {
        if (api.call("PUT", key, std::to_string(i)).status != 200) ++wrong;
        if (api.call("GET", key).body != std::to_string(i)) ++wrong;
        if (t == 0 && i % 25 == 0) (void)api.call("DELETE", "/db?db=d0");
        const int status = api.call("PUT", other + "&create_db_if_missing=true", "1").status;
        if (status != 200 && status != 503) ++wrong;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(api.answered_inline, 900) << "most of it needed no worker";
}

}  // namespace
}  // namespace via::sqlite::test
