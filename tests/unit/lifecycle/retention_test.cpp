// Destroy and what is kept of it: the final snapshot, the tombstone, undelete under new generations, the end of the
// retention time, and what becomes of failed records.
#include <fstream>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

constexpr std::int64_t kRetainMs = 7LL * 24 * 3600 * 1000;

struct Retention : ::testing::Test {
  World w;
  std::string id, instance;
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    id = w.must("addon.status", {{"name", "db"}})["id"];
    w.must("deploy.create", {{"app", "api"}});
    instance = w.external();
    write("precious");
  }
  void write(const std::string& data) { (void)write_file_atomic(w.addons.folder(id) / "data", data); }
  json destroy(json more = json::object()) {
    json args = {{"name", "db"}, {"force", true}};
    args.update(more);
    return w.must("addon.destroy", args);
  }
  fs::path retained() const { return w.folder.path() / "retained" / id; }
};

TEST_F(Retention, DestroyKeepsAFinalSnapshotAndTheEarlierOnes) {
  const std::string earlier = w.must("addon.snapshot", {{"name", "db"}})["id"];
  const json gone = destroy();
  EXPECT_EQ(gone["state"], "destroyed");
  EXPECT_EQ(gone["name"], "db#destroyed#" + id);
  const std::string final = gone["final_snapshot"];
  EXPECT_FALSE(fs::exists(w.addons.folder(id)));
  EXPECT_EQ(*read_file(retained() / (final + ".box")), "precious");
  EXPECT_TRUE(fs::exists(retained() / (earlier + ".box")));
  const json items = w.must("addon.snapshots", {{"name", id}})["items"];
  ASSERT_EQ(items.size(), 2U);
  for (const auto& item : items) EXPECT_EQ(item["expires_at"], format_time(w.clock.unix_ms() + kRetainMs));
}

TEST_F(Retention, NoFinalSnapshotKeepsNothingAndSaysSoInThePlan) {
  w.must("addon.snapshot", {{"name", "db"}});
  const json plan = w.must("addon.destroy", {{"name", "db"}, {"no_final_snapshot", true}, {"plan", true}});
  EXPECT_FALSE(plan["plan"]["warnings"].empty());
  EXPECT_TRUE(destroy({{"no_final_snapshot", true}})["final_snapshot"].is_null());
  EXPECT_FALSE(fs::exists(retained()));
  EXPECT_EQ(w.must("addon.snapshots", {{"name", id}})["items"].size(), 0U);
  EXPECT_EQ(w.error("addon.undelete", {{"id", id}}), "not_found");
}

TEST_F(Retention, DataThatCannotBeKeptIsNotRemoved) {
  w.addons.failing = {"take_snapshot"};
  EXPECT_EQ(w.error("addon.destroy", {{"name", "db"}, {"force", true}}), "conflict");
  EXPECT_EQ(w.addons.data(id), "precious");
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "destroying");
  const auto* grant = w.grant(instance);
  EXPECT_TRUE(grant == nullptr || grant->find("DATABASE") == nullptr) << "rights have ended all the same";
  w.addons.failing.clear();
  EXPECT_TRUE(w.must("addon.destroy", {{"name", "db"}})["final_snapshot"].is_string());
}

TEST_F(Retention, AConfirmationThatIsAnotherNameIsRefused) {
  EXPECT_EQ(w.error("addon.destroy", {{"name", "db"}, {"force", true}, {"confirm", "dc"}}), "refused");
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "active");
  destroy({{"confirm", id}});
}

TEST_F(Retention, UndeleteBringsDataAndBindingsBackUnderNewGenerations) {
  destroy();
  EXPECT_TRUE(w.grant(instance) == nullptr || w.grant(instance)->find("DATABASE") == nullptr);
  const json back = w.must("addon.undelete", {{"id", id}});
  EXPECT_EQ(back["state"], "active");
  EXPECT_EQ(back["name"], "db");
  EXPECT_TRUE(back["destroyed_at"].is_null());
  ASSERT_EQ(back["bindings"].size(), 1U);
  EXPECT_EQ(back["bindings"][0]["generation"], 2);
  EXPECT_EQ(back["bindings"][0]["generations"][0]["status"], "revoked");
  EXPECT_EQ(w.addons.data(id), "precious");
  EXPECT_FALSE(fs::exists(retained()));
  ASSERT_NE(w.grant(instance), nullptr);
  ASSERT_NE(w.grant(instance)->find("DATABASE"), nullptr);
  EXPECT_EQ(w.grant(instance)->find("DATABASE")->live_generations, std::vector<std::uint32_t>{2});
  for (const json items = w.must("addon.snapshots", {{"name", "db"}})["items"]; const auto& item : items)
    EXPECT_TRUE(item["expires_at"].is_null());
  EXPECT_EQ(w.error("addon.undelete", {{"id", id}}), "conflict");
}

TEST_F(Retention, UndeleteUnderANameThatIsTakenNeedsAnother) {
  destroy();
  w.addon("db");
  EXPECT_EQ(w.error("addon.undelete", {{"id", id}}), "conflict");
  EXPECT_NE(w.error_text("addon.undelete", {{"id", id}}).find("--name"), std::string::npos);
  EXPECT_EQ(w.must("addon.undelete", {{"id", id}, {"name", "db-old"}})["name"], "db-old");
  EXPECT_EQ(w.must("addon.list")["items"].size(), 2U);
}

TEST_F(Retention, UndeleteLeavesABindingNameThatWasTakenMeanwhile) {
  destroy();
  w.must("addon.create", {{"type", "box"}, {"name", "new"}, {"app", "api"}, {"bind", "DATABASE"}});
  EXPECT_EQ(w.must("addon.undelete", {{"id", id}})["bindings"].size(), 0U);
  const json bound = w.must("app.show", {{"name", "api"}})["bindings"];
  ASSERT_EQ(bound.size(), 1U);
  EXPECT_EQ(bound[0]["addon"], "new");
}

TEST_F(Retention, AnUndeleteThatFailsLeavesItDestroyedAndCanBeRunAgain) {
  destroy();
  for (const char* step : {"provision", "verify_snapshot", "restore_snapshot", "bind", "describe"}) {
    SCOPED_TRACE(step);
    w.addons.failing = {step};
    EXPECT_NE(w.error("addon.undelete", {{"id", id}}), "");
    w.addons.failing.clear();
    EXPECT_EQ(w.must("addon.status", {{"name", id}})["state"], "destroyed");
    EXPECT_FALSE(fs::exists(w.addons.folder(id)));
  }
  w.must("addon.undelete", {{"id", id}});
  EXPECT_EQ(w.addons.data(id), "precious");
}

TEST_F(Retention, DestroyAndUndeleteManyTimesLosesNothing) {
  for (int round = 2; round < 6; ++round) {
    destroy();
    EXPECT_EQ(w.must("addon.undelete", {{"id", id}})["bindings"][0]["generation"], round);
    EXPECT_EQ(w.addons.data(id), "precious");
  }
}

// A crash right after the commit of an undelete leaves the earlier snapshots where they were kept.
TEST_F(Retention, SnapshotsLeftInTheRetainedFolderSurviveTheNextDestroy) {
  const std::string first = destroy()["final_snapshot"];
  w.must("addon.undelete", {{"id", id}});
  fs::create_directories(w.folder.path() / "retained");
  fs::rename(w.addons.folder(id) / "snapshots", retained());
  w.restart();
  write("later");
  const std::string later = w.must("addon.snapshot", {{"name", "db"}})["id"];
  const json gone = destroy();
  for (const std::string& snapshot : {first, later, gone["final_snapshot"].get<std::string>()})
    EXPECT_TRUE(fs::exists(retained() / (snapshot + ".box"))) << snapshot;
  w.must("addon.undelete", {{"id", id}});
  EXPECT_EQ(w.addons.data(id), "later");
}

TEST_F(Retention, AfterItsTimeWhatWasKeptIsGone) {
  destroy();
  w.clock.advance_ms(kRetainMs - 1);
  w.plane->expire_retained();
  EXPECT_TRUE(fs::exists(retained()));
  w.clock.advance_ms(2);
  w.plane->expire_retained();
  EXPECT_FALSE(fs::exists(retained()));
  EXPECT_EQ(w.error("addon.undelete", {{"id", id}}), "not_found");
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["state"], "destroyed") << "it stays inspectable";
  EXPECT_EQ(w.must("audit.list", {{"target", id}})["items"].back()["action"], "addon.snapshot.expire");
}

TEST_F(Retention, ExpiryTouchesNothingOfLivingAddons) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  w.clock.advance_ms(10 * kRetainMs);
  w.plane->expire_retained();
  EXPECT_TRUE(fs::exists(w.addons.folder(id) / "snapshots" / (snapshot + ".box")));
}

TEST_F(Retention, ADestroyedAddonIsInspectableByIdAndItsNameIsFree) {
  destroy();
  EXPECT_EQ(w.error("addon.status", {{"name", "db"}}), "not_found");
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["name"], "db#destroyed#" + id);
  w.addon("db");
  EXPECT_NE(w.must("addon.status", {{"name", "db"}})["id"], id);
}

TEST_F(Retention, RepairOfADestroyedOneTakesItFromItsFinalSnapshot) {
  destroy();
  EXPECT_EQ(w.must("addon.repair", {{"name", id}})["state"], "active");
  EXPECT_EQ(w.addons.data(id), "precious");
}

struct FailedRecord : ::testing::Test {
  World w;
  // A create that failed; `data` tells whether its storage could not be taken back.
  std::string failed(bool data) {
    if (data)
      w.addons.failing = {"bind", "deprovision"};
    else
      w.addons.failing = {"provision"};
    EXPECT_NE(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}}), "");
    w.addons.failing.clear();
    const json status = w.must("addon.status", {{"name", "db"}});
    EXPECT_EQ(status["state"], "failed");
    return status["id"];
  }
};

TEST_F(FailedRecord, WithoutDataIsRenamedAtTheNextCreate) {
  const std::string id = failed(false);
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["name"], "db") << "not before";
  w.addon("db");
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["name"], "db#failed#" + id);
  EXPECT_EQ(w.must("addon.status", {{"name", id}})["state"], "failed");
  EXPECT_EQ(w.error("addon.repair", {{"name", id}}), "conflict");
}

TEST_F(FailedRecord, WithDataBlocksTheNameUntilDestroyed) {
  const std::string id = failed(true);
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}}), "conflict");
  EXPECT_NE(w.error_text("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}}).find("via addon "), std::string::npos);
  const json gone = w.must("addon.destroy", {{"name", "db"}});
  EXPECT_TRUE(gone["final_snapshot"].is_string()) << "data is kept even of a failed record";
  w.addon("db");
}

TEST_F(FailedRecord, WithDataBlocksTheNameUntilRepaired) {
  const std::string id = failed(true);
  (void)write_file_atomic(w.addons.folder(id) / "data", "what it had");
  w.addons.healthy = false;
  EXPECT_EQ(w.error("addon.repair", {{"name", "db"}}), "conflict");
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "failed");
  w.addons.healthy = true;
  EXPECT_EQ(w.must("addon.repair", {{"name", "db"}})["state"], "active");
  w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}});
  EXPECT_EQ(w.error("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}}), "conflict");
}

TEST_F(FailedRecord, WithoutDataCanBeRepairedAsWell) {
  failed(false);
  EXPECT_EQ(w.must("addon.repair", {{"name", "db"}})["state"], "active");
}

}  // namespace
}  // namespace via::test
