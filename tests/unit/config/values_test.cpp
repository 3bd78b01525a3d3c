#include "core/config/values.hpp"

#include <gtest/gtest.h>

#include "core/releases/records.hpp"
#include "core/store/store.hpp"
#include "support/fakes.hpp"

namespace via::config {
namespace {

struct ValueTableTest : ::testing::Test {
  test::TemporaryFolder folder;
  test::FakeClock clock;
  test::FakeEntropy entropy;
  std::unique_ptr<store::Store> store = *store::Store::open(folder.path(), clock, entropy);
  ValueTable table{store->db()};
  void SetUp() override {
    ASSERT_TRUE(releases::Apps(store->db()).insert({"app_1", "api", 1, "", 0}));
  }
  std::uint32_t generation(const std::string& key) { return (*table.load("app_1"))->find(key)->generation; }
};

TEST_F(ValueTableTest, EachChangeRaisesTheProfileVersionAndTheKeysOwnGeneration) {
  EXPECT_EQ(table.set("app_1", {{"A", "1"}, {"B", "1"}}, 1)->profile_version, 1);
  EXPECT_EQ(table.set("app_1", {{"A", "2"}}, 2)->profile_version, 2);
  EXPECT_EQ(generation("A"), 2U);
  EXPECT_EQ(generation("B"), 1U);
}

TEST_F(ValueTableTest, SameValueChangesNothing) {
  ASSERT_TRUE(table.set("app_1", {{"A", "1"}}, 1));
  const auto again = table.set("app_1", {{"A", "1"}}, 2);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->changed);
  EXPECT_EQ(again->profile_version, 1);
  EXPECT_EQ(again->keys.front().second, 1U);
}

TEST_F(ValueTableTest, GenerationsGoOnCountingAfterUnset) {
  ASSERT_TRUE(table.set("app_1", {{"A", "1"}}, 1));
  EXPECT_EQ(*table.unset("app_1", "A", 2), 2);
  EXPECT_TRUE(table.list("app_1")->empty());
  EXPECT_EQ(table.unset("app_1", "A", 3).error().code, Code::not_found);
  ASSERT_TRUE(table.set("app_1", {{"A", "1"}}, 4));
  EXPECT_EQ(generation("A"), 3U);
}

TEST_F(ValueTableTest, LoadAllIsOneQueryForEveryApp) {
  for (int i = 2; i < 50; ++i) {
    const std::string id = "app_" + std::to_string(i);
    ASSERT_TRUE(releases::Apps(store->db()).insert({id, "a" + std::to_string(i), 1, "", 0}));
    ASSERT_TRUE(table.set(id, {{"K", id}, {"L", "x"}}, 1));
  }
  const auto before = store->db().statements_run();
  const auto all = table.load_all();
  ASSERT_TRUE(all);
  EXPECT_EQ(store->db().statements_run() - before, 1U);
  ASSERT_EQ(all->size(), 48U);
  for (const auto& config : *all) EXPECT_EQ(config->values.size(), 2U);
}

TEST(Values, SnapshotThatIsHeldDoesNotChange) {
  Values values;
  EXPECT_EQ(values.find("api"), nullptr);
  auto first = std::make_shared<AppConfig>();
  first->app = "api";
  first->profile_version = 1;
  values.set(first);
  const auto held = values.find("api");
  auto second = std::make_shared<AppConfig>(*first);
  second->profile_version = 2;
  values.set(second);
  EXPECT_EQ(held->profile_version, 1);
  EXPECT_EQ(values.find("api")->profile_version, 2);
  values.forget("api");
  EXPECT_EQ(values.find("api"), nullptr);
}

}  // namespace
}  // namespace via::config
