#include "core/releases/records.hpp"

#include <gtest/gtest.h>

#include "core/bindings/binding.hpp"
#include "core/catalog/addon.hpp"
#include "core/store/store.hpp"
#include "support/fakes.hpp"

namespace via::releases {
namespace {

struct RecordsTest : ::testing::Test {
  test::TemporaryFolder folder;
  test::FakeClock clock;
  test::FakeEntropy entropy;
  std::unique_ptr<store::Store> store = *store::Store::open(folder.path(), clock, entropy);
  Apps apps{store->db()};
  Releases releases{store->db()};
  Instances instances{store->db()};
  const App app{"app_1", "api", 1, "", 0};

  void bind(const std::string& addon, const std::string& name, catalog::AddonState state) {
    catalog::Addon record;
    record.id = "addon_" + addon;
    record.name = addon;
    record.app_id = "app_1";
    record.type = "box";
    record.state = state;
    record.config = "{}";
    ASSERT_TRUE(catalog::Addons(store->db()).insert(record));
    bindings::Binding b;
    b.id = "bind_" + addon;
    b.app_id = "app_1";
    b.addon_id = "addon_" + addon;
    b.name = name;
    ASSERT_TRUE(bindings::Bindings(store->db()).insert(b, "", "{}"));
  }
  Release deploy(int n) {
    Deploy d;
    d.id = "dep_" + std::to_string(n);
    d.app_id = "app_1";
    d.status = "succeeded";
    d.command = {"run", "a b"};
    d.env = {{"A", "1"}};
    d.release_id = "rel_" + std::to_string(n);
    EXPECT_TRUE(releases.insert_deploy(d));
    auto made = releases.snapshot(app, d.release_id, d.id, n);
    EXPECT_EQ(made->status, "pending");
    EXPECT_TRUE(releases.make_current(app.id, d.release_id));
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }
  void SetUp() override { ASSERT_TRUE(apps.insert(app)); }
};

TEST_F(RecordsTest, SnapshotTakesTheNewestLiveGenerationOfActiveAddons) {
  bind("one", "ONE", catalog::AddonState::active);
  bind("two", "TWO", catalog::AddonState::failed);
  bind("three", "THREE", catalog::AddonState::active);
  bindings::Bindings table(store->db());
  ASSERT_TRUE(table.add_generation("bind_one", 2, "", "{}", 1));
  ASSERT_TRUE(table.add_generation("bind_one", 3, "", "{}", 1));
  ASSERT_TRUE(table.revoke_generation("bind_one", 3, 1));
  ASSERT_TRUE(table.revoke_generation("bind_three", 1, 1));
  deploy(1);
  const auto bound = *releases.bindings_of("rel_1");
  ASSERT_EQ(bound.size(), 1U);
  EXPECT_EQ(bound[0].binding, "ONE");
  EXPECT_EQ(bound[0].generation, 2U);
}

TEST_F(RecordsTest, ExactlyOneReleaseIsCurrent) {
  deploy(1);
  EXPECT_EQ(deploy(2).number, 2);
  EXPECT_EQ((*apps.find("api"))->current_release, "rel_2");
  ASSERT_TRUE(releases.make_current("app_1", "rel_1"));
  EXPECT_EQ((*releases.find_release("rel_1"))->status, "current");
  EXPECT_EQ((*releases.find_release("rel_2"))->status, "superseded");
  ASSERT_TRUE(releases.make_current("app_1", ""));
  EXPECT_EQ((*apps.find("api"))->current_release, "");
}

TEST_F(RecordsTest, DeployKeepsItsCommandWordForWord) {
  deploy(1);
  const auto found = *releases.find_deploy("dep_1");
  EXPECT_EQ(found->command, (std::vector<std::string>{"run", "a b"}));
  EXPECT_EQ(found->env.at("A"), "1");
}

TEST_F(RecordsTest, EndedInstanceStaysListedAndIsNotWanted) {
  deploy(1);
  Instance i;
  i.id = "ins_1";
  i.app_id = "app_1";
  i.deploy = "dep_1";
  i.release = "rel_1";
  i.driver = Driver::process;
  ASSERT_TRUE(instances.insert(i));
  ASSERT_TRUE(instances.set_state("ins_1", InstanceState::running, 42));
  EXPECT_EQ(instances.wanted()->size(), 1U);
  ASSERT_TRUE(instances.end("ins_1", InstanceState::stopped, 5));
  EXPECT_TRUE(instances.wanted()->empty());
  ASSERT_EQ(instances.list("app_1")->size(), 1U);
  EXPECT_EQ(instances.list()->front().state, InstanceState::stopped);
  EXPECT_EQ(*instances.count(), 0);
}

TEST_F(RecordsTest, DeletedAppGivesItsNameBack) {
  ASSERT_TRUE(apps.remove(app, 5));
  EXPECT_FALSE(*apps.find("api"));
  EXPECT_TRUE(apps.insert({"app_2", "api", 6, "", 0}));
}

}  // namespace
}  // namespace via::releases
