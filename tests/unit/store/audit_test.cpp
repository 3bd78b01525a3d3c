#include <gtest/gtest.h>

#include "core/store/store.hpp"
#include "support/fakes.hpp"

namespace via::store {
namespace {

struct AuditTest : ::testing::Test {
  test::TemporaryFolder folder;
  test::FakeClock clock;
  test::FakeEntropy entropy;
  std::unique_ptr<Store> store = *Store::open(folder.path(), clock, entropy);
  void add(const std::string& action) {
    AuditEntry entry;
    entry.at = 7;
    entry.actor = "root";
    entry.action = action;
    ASSERT_TRUE(store->audit().append(entry));
  }
};

TEST_F(AuditTest, EveryEntryIsChainedToTheOneBefore) {
  for (const char* action : {"a", "b", "c"}) add(action);
  const auto entries = *store->audit().list(0, 10);
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].previous_hash, std::string(64, '0'));
  EXPECT_EQ(entries[1].previous_hash, entries[0].hash);
  EXPECT_EQ(entries[2].previous_hash, entries[1].hash);
  EXPECT_EQ(*store->audit().verify(), 0);
}

TEST_F(AuditTest, EntriesCannotBeChangedOrRemoved) {
  add("a");
  EXPECT_FALSE(store->db().run("UPDATE audit SET action='x'"));
  EXPECT_FALSE(store->db().run("DELETE FROM audit"));
}

TEST_F(AuditTest, ChangedEntryIsFound) {
  for (const char* action : {"a", "b", "c"}) add(action);
  ASSERT_TRUE(store->db().script("DROP TRIGGER audit_is_append_only_1"));
  ASSERT_TRUE(store->db().run("UPDATE audit SET actor='mallory' WHERE sequence=2"));
  EXPECT_EQ(*store->audit().verify(), 2);
}

TEST_F(AuditTest, RemovedEntryIsFound) {
  for (const char* action : {"a", "b", "c"}) add(action);
  ASSERT_TRUE(store->db().script("DROP TRIGGER audit_is_append_only_2"));
  ASSERT_TRUE(store->db().run("DELETE FROM audit WHERE sequence=2"));
  EXPECT_EQ(*store->audit().verify(), 2);
}

}  // namespace
}  // namespace via::store
