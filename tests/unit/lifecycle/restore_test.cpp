// Restore over an active add-on: only by an explicit flow, all or nothing, and with a way back.
#include <fstream>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Restore : ::testing::Test {
  World w{true};
  std::string id, snapshot;
  void SetUp() override {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    id = w.must("addon.status", {{"name", "db"}})["id"];
    snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
    write("newer");
  }
  void write(const std::string& data) { (void)write_file_atomic(w.addons.folder(id) / "data", data); }
  json with_flow(json more = json::object()) const {
    json args = {{"name", "db"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}};
    args.update(more);
    return args;
  }
  // Nothing of a restore that did not happen is left.
  void expect_untouched() {
    EXPECT_EQ(w.addons.data(id), "newer");
    EXPECT_TRUE(w.addons.drained.empty()) << "it serves";
    for (const auto& entry : fs::directory_iterator(w.addons.folder(id)))
      EXPECT_FALSE(entry.path().filename().string().starts_with(".restore")) << entry.path();
  }
};

TEST_F(Restore, WithoutAFlowIsRefusedAndNamesBoth) {
  for (const json& args : {json{{"name", "db"}, {"snapshot", snapshot}},
                           json{{"name", "db"}, {"snapshot", snapshot}, {"drain", true}},
                           json{{"name", "db"}, {"snapshot", snapshot}, {"restart_bound_apps", true}}}) {
    EXPECT_EQ(w.error("addon.restore", args), "refused") << args;
    const std::string text = w.error_text("addon.restore", args);
    EXPECT_NE(text.find("--drain --restart-bound-apps"), std::string::npos) << text;
    EXPECT_NE(text.find("--force-after-timeout"), std::string::npos) << text;
    EXPECT_NE(text.find(snapshot), std::string::npos) << "the line can be copied: " << text;
  }
  expect_untouched();
  EXPECT_EQ(w.addons.calls["drain"], 0);
}

TEST_F(Restore, PutsTheSnapshotBackAndNamesTheSafetySnapshot) {
  const json done = w.must("addon.restore", with_flow());
  EXPECT_EQ(w.addons.data(id), "bytes");
  EXPECT_EQ(done["addon"], "db");
  EXPECT_EQ(done["snapshot"], snapshot);
  const std::string safety = done["safety_snapshot"];
  bool listed = false;
  const json snapshots = w.must("addon.snapshots", {{"name", "db"}})["items"];
  for (const auto& one : snapshots)
    if (one["id"] == safety) {
      listed = true;
      EXPECT_EQ(one["kind"], "safety");
    }
  EXPECT_TRUE(listed);
  EXPECT_TRUE(w.addons.drained.empty());
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "active");
  // The way back.
  w.must("addon.restore", with_flow({{"snapshot", safety}}));
  EXPECT_EQ(w.addons.data(id), "newer");
}

// A plugin that only puts the copy in place: what is there is copied before.
TEST_F(Restore, WithoutAnExchangeASafetySnapshotIsTakenFirst) {
  w.addons.exchanges = false;
  const int before = w.addons.calls["take_snapshot"];
  const std::string safety = w.must("addon.restore", with_flow())["safety_snapshot"];
  EXPECT_EQ(w.addons.data(id), "bytes");
  EXPECT_EQ(w.addons.calls["take_snapshot"], before + 1);
  w.must("addon.restore", with_flow({{"snapshot", safety}}));
  EXPECT_EQ(w.addons.data(id), "newer");
}

TEST_F(Restore, WithAnExchangeNothingIsCopiedTwice) {
  const int before = w.addons.calls["take_snapshot"];
  const json done = w.must("addon.restore", with_flow());
  EXPECT_EQ(w.addons.calls["take_snapshot"], before);
  const fs::path kept = w.addons.folder(id) / "snapshots" / (done["safety_snapshot"].get<std::string>() + ".box");
  EXPECT_EQ(*read_file(kept), "newer");
}

// The exchange was made, but what was replaced cannot become a snapshot: it goes back.
TEST_F(Restore, WhatCannotBeKeptGoesBack) {
  const fs::path folder = w.addons.folder(id) / "snapshots";
  w.addons.before = [&](const std::string& point) {
    if (point == "after restore_snapshot" && w.addons.calls["restore_snapshot"] == 1) {
      fs::rename(folder, w.folder.path() / "moved");
      std::ofstream(folder) << "no folder";
    }
  };
  EXPECT_NE(w.error("addon.restore", with_flow()), "");
  w.addons.before = {};
  fs::remove(folder);
  fs::rename(w.folder.path() / "moved", folder);
  EXPECT_EQ(w.addons.calls["restore_snapshot"], 2);
  expect_untouched();
}

TEST_F(Restore, CanBeRunAgainFromTheSameSnapshot) {
  w.must("addon.restore", with_flow());
  write("third");
  w.must("addon.restore", with_flow());
  EXPECT_EQ(w.addons.data(id), "bytes");
}

TEST_F(Restore, DrainThatDoesNotEndLeavesItServing) {
  w.addons.quiet = false;
  w.clock.advance_ms(1);
  EXPECT_EQ(w.error("addon.restore", with_flow({{"drain_timeout_seconds", 1}})), "deadline_exceeded");
  expect_untouched();
  EXPECT_EQ(w.addons.calls["cancel_running"], 0);
  EXPECT_EQ(w.addons.calls["restore_snapshot"], 0);
  EXPECT_EQ(w.must("op.list", {{"target", "db"}, {"limit", 1}})["items"][0]["state"], "failed");
}

TEST_F(Restore, ForceCancelsWhatStillRuns) {
  w.addons.quiet = false;
  w.must("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}});
  EXPECT_EQ(w.addons.calls["cancel_running"], 1);
  EXPECT_EQ(w.addons.data(id), "bytes");
  w.addons.quiet = true;
  write("newer");
  w.must("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 5}});
  EXPECT_EQ(w.addons.calls["cancel_running"], 1) << "nothing ran, nothing is cancelled";
}

TEST_F(Restore, EveryStepThatFailsLeavesWhatWasThere) {
  for (const char* step : {"verify_snapshot", "drain", "suspend", "restore_snapshot", "take_snapshot"}) {
    SCOPED_TRACE(step);
    w.addons.failing = {step};
    w.addons.exchanges = std::string(step) != "take_snapshot";  // which only copies
    EXPECT_NE(w.error("addon.restore", with_flow()), "");
    w.addons.failing.clear();
    expect_untouched();
    EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["state"], "active");
  }
  w.addons.exchanges = true;
  w.addons.quiet = false;
  w.addons.failing = {"cancel_running"};
  EXPECT_NE(w.error("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}), "");
  w.addons.failing.clear();
  expect_untouched();
}

TEST_F(Restore, ADamagedSnapshotIsRefusedBeforeAnythingElse) {
  const fs::path file = w.addons.folder(id) / "snapshots" / (snapshot + ".box");
  ASSERT_TRUE(write_file_atomic(file, "bytez"));
  EXPECT_EQ(w.error("addon.restore", with_flow()), "refused");
  EXPECT_NE(w.error_text("addon.restore", with_flow()).find("damaged"), std::string::npos);
  expect_untouched();
  EXPECT_EQ(w.addons.calls["drain"], 0);
  fs::remove(file);
  EXPECT_EQ(w.error("addon.restore", with_flow()), "not_found");
  expect_untouched();
}

TEST_F(Restore, RestartsTheProcessesThatUseItAndNamesThoseItCannot) {
  w.must("deploy.create", {{"app", "api"}, {"command", json::array({"run"})}});
  const std::string external = w.external();
  ASSERT_EQ(w.launcher.running.size(), 1U);
  const std::string process = w.launcher.running.begin()->first;
  w.launcher.events.clear();
  const json done = w.must("addon.restore", with_flow());
  EXPECT_EQ(done["restarted"], json::array({process}));
  EXPECT_EQ(done["not_restarted"], json::array({external}));
  EXPECT_EQ(w.launcher.events, (std::vector<std::string>{"stop " + process, "start " + process}));
  EXPECT_NE(w.grant(process), nullptr) << "it may go on";
}

// The runner tells of the end of the process that was stopped; the one started in its place is not ended by that.
TEST_F(Restore, TheRestartedProcessKeepsItsRights) {
  w.must("deploy.create", {{"app", "api"}, {"command", json::array({"run"})}});
  const std::string process = w.launcher.running.begin()->first;
  w.launcher.on_stop = [&] { w.plane->on_process_state(process, releases::ProcessState::exited, 0, 0); };
  w.must("addon.restore", with_flow());
  w.must("status");
  EXPECT_NE(w.grant(process), nullptr);
  EXPECT_EQ(w.must("runtime.list", {{"app", "api"}})["items"][0]["state"], "starting");
  EXPECT_TRUE(w.launcher.running.contains(process));
}

TEST_F(Restore, AFailedRecordNeedsNoFlow) {
  w.addons.failing = {"bind", "deprovision"};
  EXPECT_NE(w.error("addon.create", {{"type", "box"}, {"name", "bad"}, {"app", "api"}, {"bind", "BAD"}}), "");
  w.addons.failing.clear();
  ASSERT_EQ(w.must("addon.status", {{"name", "bad"}})["state"], "failed");
  TemporaryFolder out;
  std::ofstream(out.path() / "in") << "imported";
  w.must("addon.import", {{"name", "bad"}, {"file", (out.path() / "in").string()}});
  EXPECT_EQ(w.must("addon.status", {{"name", "bad"}})["state"], "active");
  EXPECT_EQ(w.addons.data(w.must("addon.status", {{"name", "bad"}})["id"]), "imported");
}

TEST_F(Restore, OfADestroyedOneSaysHowToBringItBack) {
  w.must("addon.destroy", {{"name", "db"}, {"force", true}});
  json args = with_flow({{"name", id}});
  EXPECT_EQ(w.error("addon.restore", args), "conflict");
  EXPECT_NE(w.error_text("addon.restore", args).find("via addon undelete " + id), std::string::npos);
}

TEST_F(Restore, ADrainedAddonStaysDrained) {
  w.must("addon.drain", {{"name", "db"}});
  w.must("addon.restore", with_flow());
  EXPECT_EQ(w.addons.data(id), "bytes");
  EXPECT_TRUE(w.addons.drained.contains(id));
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["drained"], true);
}

TEST_F(Restore, LimitsOfTheTimesAreChecked) {
  for (const char* name : {"drain_timeout_seconds", "force_after_timeout"})
    for (const int value : {-1, 86'401})
      EXPECT_EQ(w.error("addon.restore", with_flow({{name, value}})), "bad_request") << name << value;
}

TEST_F(Restore, DrainStaysOverRestartsUntilResumed) {
  const json drained = w.must("addon.drain", {{"name", "db"}});
  EXPECT_EQ(drained["drained"], true);
  EXPECT_EQ(drained["in_flight"], 0);
  w.addons.drained.clear();
  w.restart(true);
  EXPECT_TRUE(w.addons.drained.contains(id));
  EXPECT_EQ(w.must("addon.resume", {{"name", "db"}})["drained"], false);
  EXPECT_TRUE(w.addons.drained.empty());
  w.restart(true);
  EXPECT_TRUE(w.addons.drained.empty());
  w.must("addon.resume", {{"name", "db"}});
}

TEST_F(Restore, ADrainThatDoesNotEndServesAgain) {
  w.addons.quiet = false;
  EXPECT_EQ(w.error("addon.drain", {{"name", "db"}, {"timeout_seconds", 0}}), "deadline_exceeded");
  EXPECT_TRUE(w.addons.drained.empty());
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["drained"], false);
}

}  // namespace
}  // namespace via::test
