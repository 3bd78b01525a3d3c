#include "core/bindings/binding.hpp"

#include <gtest/gtest.h>

#include "core/catalog/addon.hpp"
#include "core/releases/records.hpp"
#include "core/store/store.hpp"
#include "support/fakes.hpp"

namespace via::bindings {
namespace {

struct BindingsTest : ::testing::Test {
  test::TemporaryFolder folder;
  test::FakeClock clock;
  test::FakeEntropy entropy;
  std::unique_ptr<store::Store> store = *store::Store::open(folder.path(), clock, entropy);
  Bindings bindings{store->db()};
  static Binding binding(const std::string& id, const std::string& name) {
    Binding b;
    b.id = id;
    b.app_id = "app_1";
    b.addon_id = "addon_1";
    b.name = name;
    b.created_at = 1;
    return b;
  }
  void SetUp() override {
    ASSERT_TRUE(releases::Apps(store->db()).insert({"app_1", "api", 1, "", 0}));
    ASSERT_TRUE(catalog::Addons(store->db())
                    .insert({"addon_1", "db", "app_1", "", "box", catalog::AddonState::active, 1, 1, "{}", "", false, 0, ""}));
    ASSERT_TRUE(bindings.insert(binding("bind_1", "DATABASE"), "\"mode\":\"proxy\"", R"({"_URL":"x"})"));
  }
};

TEST_F(BindingsTest, StartsWithGenerationOne) {
  const auto found = *bindings.find("bind_1");
  ASSERT_TRUE(found);
  ASSERT_EQ(found->generations.size(), 1U);
  EXPECT_EQ(found->newest(), 1U);
  EXPECT_TRUE(found->generations[0].live);
  EXPECT_EQ(found->addon, "db");
}

TEST_F(BindingsTest, GenerationIsNeverUsedAgain) {
  ASSERT_TRUE(bindings.add_generation("bind_1", 2, "", "{}", 2));
  ASSERT_TRUE(bindings.revoke_generation("bind_1", 2, 3));
  EXPECT_FALSE(bindings.add_generation("bind_1", 2, "", "{}", 4));
  const auto found = *bindings.find("bind_1");
  EXPECT_TRUE(found->generations[0].live);
  EXPECT_FALSE(found->generations[1].live);
}

TEST_F(BindingsTest, NameIsFreeAgainAfterUnbindAndItsGenerationsStay) {
  EXPECT_FALSE(bindings.insert(binding("bind_2", "DATABASE"), "", "{}"));
  ASSERT_TRUE(bindings.remove("bind_1", 5));
  ASSERT_TRUE(bindings.insert(binding("bind_2", "DATABASE"), "", "{}"));
  EXPECT_EQ(bindings.of_app("app_1")->size(), 1U);
  EXPECT_EQ((*bindings.find("bind_1"))->generations.size(), 1U);
}

TEST_F(BindingsTest, DerivedNamesAreTakenToo) {
  const auto taken = *bindings.taken_names("app_1");
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].name, "DATABASE");
  EXPECT_EQ(taken[1].name, "DATABASE_URL");
}

TEST_F(BindingsTest, EndOfAnAddonRevokesEveryGeneration) {
  ASSERT_TRUE(bindings.add_generation("bind_1", 2, "", "{}", 2));
  ASSERT_TRUE(bindings.revoke_all_of_addon("addon_1", 3));
  const auto found = *bindings.find("bind_1");
  for (const auto& generation : found->generations) EXPECT_FALSE(generation.live);
  EXPECT_TRUE(bindings.of_addon("addon_1")->empty());
}

}  // namespace
}  // namespace via::bindings
