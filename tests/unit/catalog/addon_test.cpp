#include "core/catalog/addon.hpp"

#include <gtest/gtest.h>

#include "core/releases/records.hpp"
#include "core/store/store.hpp"
#include "support/fakes.hpp"

namespace via::catalog {
namespace {

struct AddonsTest : ::testing::Test {
  test::TemporaryFolder folder;
  test::FakeClock clock;
  test::FakeEntropy entropy;
  std::unique_ptr<store::Store> store = *store::Store::open(folder.path(), clock, entropy);
  Addons addons{store->db()};
  void SetUp() override {
    ASSERT_TRUE(releases::Apps(store->db()).insert({"app_1", "api", 1, "", 0}));
    ASSERT_TRUE(addons.insert({"addon_1", "db", "app_1", "", "box", AddonState::provisioning, 1, 1, "{}", "", false, 0, ""}));
  }
};

TEST_F(AddonsTest, RecordComesBackWithTheNameOfItsApp) {
  const auto found = *addons.find_by_name("db");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->app, "api");
  EXPECT_EQ(found->state, AddonState::provisioning);
  EXPECT_EQ((*addons.find_by_id("addon_1"))->name, "db");
  EXPECT_FALSE(*addons.find_by_name("other"));
}

TEST_F(AddonsTest, NameIsTakenUntilItsTombstone) {
  const Addon second{"addon_2", "db", "app_1", "", "box", AddonState::provisioning, 1, 1, "{}", "", false, 0, ""};
  EXPECT_FALSE(addons.insert(second));
  ASSERT_TRUE(addons.rename("addon_1", tombstone("db", AddonState::destroyed, "addon_1"), 2));
  EXPECT_EQ((*addons.find_by_id("addon_1"))->name, "db#destroyed#addon_1");
  EXPECT_TRUE(addons.insert(second));
}

TEST_F(AddonsTest, DestroyedAddonsAreKeptAndNotListed) {
  ASSERT_TRUE(addons.set_state("addon_1", AddonState::destroyed, "", 2));
  EXPECT_TRUE(addons.list()->empty());
  EXPECT_EQ(*addons.count(), 0);
  EXPECT_TRUE(*addons.find_by_id("addon_1"));
}

TEST_F(AddonsTest, AppMustExist) {
  EXPECT_FALSE(addons.insert({"addon_2", "x", "app_nope", "", "box", AddonState::active, 1, 1, "{}", "", false, 0, ""}));
}

}  // namespace
}  // namespace via::catalog
