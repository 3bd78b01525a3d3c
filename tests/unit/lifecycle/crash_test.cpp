// kill -9 before every statement and around every plugin call of each operation: the next start ends in the old or the
// new state, without a hand, and the operation can be run again.
#include "kill.hpp"

namespace via::test {
namespace {

using nlohmann::json;

std::size_t folders(World& w) {
  std::size_t n = 0;
  std::error_code ec;
  for (std::filesystem::directory_iterator at(w.folder.path() / "addons/box", ec), end; !ec && at != end; ++at) ++n;
  return n;
}

TEST(Crash, CreateEndsInNothingOrAnActiveBoundAddon) {
  const json args = {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}};
  kill_everywhere([](World&) {}, [&](World& w) { (void)w.call("addon.create", args); },
                  [&](World& w, int point) {
                    const json addons = w.must("addon.list")["items"];
                    if (addons.empty()) {
                      EXPECT_EQ(folders(w), 0U) << point;
                      w.must("addon.create", args);
                    } else {
                      EXPECT_EQ(addons[0]["state"], "active") << point;
                      EXPECT_EQ(w.must("app.show", {{"name", "api"}})["bindings"].size(), 1U) << point;
                      EXPECT_EQ(folders(w), 1U) << point;
                    }
                    w.must("deploy.create", {{"app", "api"}});
                    EXPECT_NE(w.grant(w.external())->find("DATABASE"), nullptr) << point;
                  });
}

TEST(Crash, CreateOfATypeThatIsGoneAtTheNextStartFails) {
  World w;
  w.addons.before = [](const std::string& step) {
    if (step == "after provision") throw Killed();
  };
  EXPECT_THROW((void)w.call("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}}), Killed);
  w.addons.enabled = false;
  w.restart();
  EXPECT_EQ(w.must("addon.list")["items"][0]["state"], "failed");
}

TEST(Crash, DestroyEndsInTheWholeAddonOrNothingOfIt) {
  kill_everywhere(
      [](World& w) {
        w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
        w.must("deploy.create", {{"app", "api"}});
      },
      [](World& w) { (void)w.call("addon.destroy", {{"name", "db"}, {"force", true}}); },
      [](World& w, int point) {
        const json addons = w.must("addon.list")["items"];
        const std::size_t bound = w.must("app.show", {{"name", "api"}})["bindings"].size();
        if (addons.empty()) {
          EXPECT_EQ(folders(w), 0U) << point;
          EXPECT_EQ(bound, 0U) << point;
          w.addon("db");  // the name is free
        } else {
          EXPECT_EQ(addons[0]["state"], "active") << point;
          EXPECT_EQ(folders(w), 1U) << point;
          EXPECT_EQ(bound, 1U) << point;
        }
      });
}

TEST(Crash, BindEndsInABindingOrNone) {
  kill_everywhere([](World& w) { w.addon("db"); },
                  [](World& w) { (void)w.call("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "A"}}); },
                  [](World& w, int point) {
                    const json bound = w.must("app.show", {{"name", "api"}})["bindings"];
                    EXPECT_EQ(w.addons.bound.size(), bound.size()) << point;
                    if (bound.empty()) w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "A"}});
                  });
}

TEST(Crash, DeployEndsInTheOldOrTheNewRelease) {
  const json args = {{"app", "api"}, {"command", json::array({"x"})}};
  kill_everywhere(
      [&](World& w) {
        w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
        w.must("deploy.create", args);
      },
      [&](World& w) { (void)w.call("deploy.create", args); },
      [](World& w, int point) {
        const json releases = w.must("release.list", {{"app", "api"}})["items"];
        const std::string current = w.must("app.show", {{"name", "api"}})["current_release"];
        int currents = 0;
        for (const auto& release : releases) {
          EXPECT_NE(release["status"], "pending") << point;
          currents += release["status"] == "current" ? 1 : 0;
        }
        EXPECT_EQ(currents, 1) << point;
        EXPECT_EQ(w.must("release.show", {{"release", current}})["bindings"].size(), 1U) << point;
        for (const json all = w.must("deploy.list", {{"app", "api"}}); const auto& deploy : all["items"])
          EXPECT_EQ(deploy["status"], deploy["release_id"] == current || deploy["release_id"] == releases.back()["id"]
                                          ? "succeeded"
                                          : "failed")
              << point;
        // Exactly the instance of the current release has rights.
        const json instances = w.must("app.show", {{"name", "api"}})["instances"];
        ASSERT_EQ(instances.size(), 1U) << point;
        EXPECT_EQ(instances[0]["release"], current) << point;
        EXPECT_EQ(w.authority->current()->size(), 1U) << point;
      });
}

TEST(Crash, RollbackEndsInTheOldOrTheNewReleaseAndKeepsNoGenerationWithoutARow) {
  kill_everywhere(
      [](World& w) {
        w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
        w.must("deploy.create", {{"app", "api"}, {"command", json::array({"x"})}});
        w.must("deploy.create", {{"app", "api"}, {"command", json::array({"y"})}});
        w.must("addon.revoke-credentials",
               {{"app", "api"}, {"name", "db"}, {"binding", "DATABASE"}, {"generation", 1}, {"yes", true}});
      },
      [](World& w) { (void)w.call("deploy.rollback", {{"app", "api"}, {"to", "1"}, {"reissue", true}}); },
      [](World& w, int point) {
        const std::string current = w.must("app.show", {{"name", "api"}})["current_release"];
        for (const json all = w.must("release.list", {{"app", "api"}}); const auto& release : all["items"]) {
          EXPECT_NE(release["status"], "pending") << point;
          EXPECT_EQ(release["status"] == "current", release["id"] == current) << point;
        }
        const json binding = w.must("app.show", {{"name", "api"}})["bindings"][0];
        bool second = false, third = false;  // lives; is current
        for (const auto& generation : binding["generations"])
          second = second || (generation["generation"] == 2 && generation["status"] == "live");
        for (const json all = w.must("release.list", {{"app", "api"}}); const auto& release : all["items"])
          third = third || (release["number"] == 3 && release["id"] == current);
        EXPECT_EQ(w.addons.bound.contains(binding["id"].get<std::string>() + "/2"), second) << point;
        EXPECT_EQ(second, third) << point << ": it lives with the release that it was made for";
        EXPECT_EQ(w.authority->current()->size(), 1U) << point;
      });
}

TEST(Crash, SecretIsSetWholeOrNotAtAll) {
  kill_everywhere([](World& w) { w.must("app.create", {{"name", "api"}}); },
                  [](World& w) { (void)w.call("secret.set", {{"app", "api"}, {"key", "K"}, {"value", "v"}}); },
                  [](World& w, int point) {
                    const json list = w.must("secret.list", {{"app", "api"}});
                    EXPECT_EQ(list["profile_version"], list["items"].size()) << point;
                    const auto config = w.plane->values().find("api");
                    if (config == nullptr) return;
                    for (const auto& value : config->values)
                      EXPECT_TRUE(w.plane->sealer().unseal(config->app_id, value)) << point;
                  });
}

TEST(Crash, ConfigurationAndUnbindAreOneStep) {
  kill_everywhere(
      [](World& w) {
        w.addon("db");
        w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "A"}});
        w.must("addon.bind", {{"app", "api"}, {"name", "db"}, {"binding", "B"}});
      },
      [](World& w) {
        (void)w.call("config.set", {{"app", "api"}, {"values", {{"X", "1"}, {"Y", "1"}}}});
        (void)w.call("addon.unbind", {{"app", "api"}, {"target", "db"}});
      },
      [](World& w, int point) {
        const std::size_t values = w.must("config.list", {{"app", "api"}})["items"].size();
        EXPECT_TRUE(values == 0 || values == 2) << point;
        const std::size_t bound = w.must("app.show", {{"name", "api"}})["bindings"].size();
        EXPECT_TRUE(bound == 0 || bound == 2) << point;
      });
}

TEST(Crash, LeftoverMaterialIsSwept) {
  World w;
  w.must("app.create", {{"name", "api"}});
  w.must("deploy.create", {{"app", "api"}});
  const json kept = w.must("runtime.issue", {{"app", "api"}});
  std::filesystem::create_directories(w.folder.path() / "runtimes" / "ins_unknown");
  w.restart();
  EXPECT_FALSE(std::filesystem::exists(w.folder.path() / "runtimes" / "ins_unknown"));
  EXPECT_TRUE(std::filesystem::exists(kept["material"].get<std::string>()));
}

struct Stored {
  std::string id, snapshot;
};

// An add-on with data "newer", a snapshot of "bytes", a binding and a release that uses it.
Stored with_snapshot(World& w) {
  w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
  w.must("deploy.create", {{"app", "api"}});
  Stored out{w.must("addon.status", {{"name", "db"}})["id"], w.must("addon.snapshot", {{"name", "db"}})["id"]};
  (void)write_file_atomic(w.addons.folder(out.id) / "data", "newer");
  return out;
}

// What rows and files say of the snapshots of an add-on is the same, and nothing half made is left.
void expect_snapshots_whole(World& w, const std::string& id, int point) {
  std::set<std::string> files, rows;
  std::error_code ec;
  for (const fs::path& folder : {w.addons.folder(id) / "snapshots", w.folder.path() / "retained" / id})
    for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) files.insert(at->path().filename());
  for (const json items = w.must("addon.snapshots", {{"name", id}})["items"]; const auto& item : items)
    rows.insert(item["id"].get<std::string>() + ".box");
  EXPECT_EQ(files, rows) << point;
  for (fs::directory_iterator at(w.addons.folder(id), ec), end; !ec && at != end; at.increment(ec))
    EXPECT_FALSE(at->path().filename().string().starts_with(".")) << point << " " << at->path();
}

TEST(Crash, SnapshotEndsInAFileWithItsRowOrNeither) {
  std::string id;
  kill_everywhere([&](World& w) { id = with_snapshot(w).id; },
                  [](World& w) { (void)w.call("addon.snapshot", {{"name", "db"}}); },
                  [&](World& w, int point) {
                    expect_snapshots_whole(w, id, point);
                    EXPECT_EQ(w.addons.data(id), "newer") << point;
                    w.must("addon.snapshot", {{"name", "db"}});
                  });
}

TEST(Crash, RestoreEndsInTheOldDataOrTheNewWithItsSafetySnapshot) {
  Stored s;
  bool old_seen = false, new_seen = false;
  kill_everywhere(
      [&](World& w) { s = with_snapshot(w); },
      [&](World& w) { (void)w.call("addon.restore", {{"name", "db"}, {"snapshot", s.snapshot}, {"force_after_timeout", 0}}); },
      [&](World& w, int point) {
        const std::string data = w.addons.data(s.id);
        EXPECT_TRUE(data == "newer" || data == "bytes") << point << " " << data;
        (data == "newer" ? old_seen : new_seen) = true;
        expect_snapshots_whole(w, s.id, point);
        const json status = w.must("addon.status", {{"name", "db"}});
        EXPECT_EQ(status["state"], "active") << point;
        if (data == "bytes") {
          EXPECT_EQ(status["snapshots"], 2) << point << ": the way back is there";
        }
        EXPECT_NE(w.grant(w.external())->find("DATABASE"), nullptr) << point;
        w.must("addon.restore", {{"name", "db"}, {"snapshot", s.snapshot}, {"force_after_timeout", 0}});
        EXPECT_EQ(w.addons.data(s.id), "bytes") << point;
      });
  EXPECT_TRUE(old_seen && new_seen);
}

TEST(Crash, RestoreByACopyEndsInTheOldDataOrTheNewWithItsSafetySnapshot) {
  Stored s;
  kill_everywhere(
      [&](World& w) {
        w.addons.exchanges = false;
        s = with_snapshot(w);
      },
      [&](World& w) { (void)w.call("addon.restore", {{"name", "db"}, {"snapshot", s.snapshot}, {"force_after_timeout", 0}}); },
      [&](World& w, int point) {
        const std::string data = w.addons.data(s.id);
        EXPECT_TRUE(data == "newer" || data == "bytes") << point << " " << data;
        expect_snapshots_whole(w, s.id, point);
      });
}

TEST(Crash, ImportEndsInTheOldDataOrTheNew) {
  std::string id;
  TemporaryFolder outside;
  ASSERT_TRUE(write_file_atomic(outside.path() / "in", "imported"));
  const json args = {{"name", "db"}, {"file", (outside.path() / "in").string()}, {"force_after_timeout", 0}};
  kill_everywhere([&](World& w) { id = with_snapshot(w).id; }, [&](World& w) { (void)w.call("addon.import", args); },
                  [&](World& w, int point) {
                    const std::string data = w.addons.data(id);
                    EXPECT_TRUE(data == "newer" || data == "imported") << point << " " << data;
                    expect_snapshots_whole(w, id, point);
                    w.must("addon.import", args);
                    EXPECT_EQ(w.addons.data(id), "imported") << point;
                  });
}

TEST(Crash, ExportLeavesNothingOfItsOwn) {
  std::string id;
  TemporaryFolder outside;
  const fs::path file = outside.path() / "out";
  kill_everywhere(
      [&](World& w) {
        id = with_snapshot(w).id;
        fs::remove(file);
      },
      [&](World& w) { (void)w.call("addon.export", {{"name", "db"}, {"file", file.string()}}); },
      [&](World& w, int point) {
        expect_snapshots_whole(w, id, point);
        const auto bytes = read_file(file);
        if (bytes) {
          EXPECT_EQ(*bytes, "newer") << point;
        } else {
          w.must("addon.export", {{"name", "db"}, {"file", file.string()}});
        }
      });
}

TEST(Crash, RotationEndsInAGenerationOrNone) {
  const json args = {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}};
  kill_everywhere([](World& w) { (void)with_snapshot(w); }, [&](World& w) { (void)w.call("addon.rotate-credentials", args); },
                  [&](World& w, int point) {
                    const json binding = w.must("app.show", {{"name", "api"}})["bindings"][0];
                    const std::size_t live = binding["generations"].size();
                    EXPECT_EQ(w.addons.bound.size(), live) << point << ": the plugin knows what the host knows";
                    EXPECT_EQ(w.must("addon.rotate-credentials", args)["generation"], live + 1) << point;
                  });
}

TEST(Crash, RevocationEndsInTheGenerationOrWithoutItInBothPlaces) {
  const json args = {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}, {"generation", 1}};
  kill_everywhere(
      [](World& w) {
        (void)with_snapshot(w);
        w.must("addon.rotate-credentials", {{"name", "db"}, {"app", "api"}, {"binding", "DATABASE"}});
      },
      [&](World& w) { (void)w.call("addon.revoke-credentials", args); },
      [&](World& w, int point) {
        const json binding = w.must("app.show", {{"name", "api"}})["bindings"][0];
        const bool live = binding["generations"][0]["status"] == "live";
        EXPECT_EQ(w.addons.bound.contains(binding["id"].get<std::string>() + "/1"), live) << point;
        const auto* grant = w.grant(w.external())->find("DATABASE");
        EXPECT_EQ(grant->is_live(1), live) << point;
        w.must("addon.revoke-credentials", args);
      });
}

TEST(Crash, DestroyKeepsItsFinalSnapshotOrTheWholeAddon) {
  Stored s;
  kill_everywhere([&](World& w) { s = with_snapshot(w); },
                  [](World& w) { (void)w.call("addon.destroy", {{"name", "db"}, {"force", true}}); },
                  [&](World& w, int point) {
                    expect_snapshots_whole(w, s.id, point);
                    if (w.must("addon.status", {{"name", s.id}})["state"] == "destroyed") {
                      EXPECT_EQ(w.must("addon.undelete", {{"id", s.id}})["bindings"].size(), 1U) << point;
                    }
                    EXPECT_EQ(w.addons.data(s.id), "newer") << point;
                  });
}

TEST(Crash, UndeleteEndsInTheWholeAddonOrNothingOfIt) {
  Stored s;
  kill_everywhere(
      [&](World& w) {
        s = with_snapshot(w);
        w.must("addon.destroy", {{"name", "db"}, {"force", true}});
      },
      [&](World& w) { (void)w.call("addon.undelete", {{"id", s.id}}); },
      [&](World& w, int point) {
        expect_snapshots_whole(w, s.id, point);
        const std::string state = w.must("addon.status", {{"name", s.id}})["state"];
        EXPECT_TRUE(state == "active" || state == "destroyed") << point << state;
        EXPECT_EQ(folders(w), state == "active" ? 1U : 0U) << point;
        if (state == "destroyed") w.must("addon.undelete", {{"id", s.id}});
        EXPECT_EQ(w.addons.data(s.id), "newer") << point;
        // And once more there and back: nothing was left where it is in the way.
        w.must("addon.destroy", {{"name", "db"}, {"force", true}});
        w.must("addon.undelete", {{"id", s.id}});
        EXPECT_EQ(w.addons.data(s.id), "newer") << point;
      });
}

TEST(Crash, RepairDrainAndDeletedSnapshotsEndOneWayOrTheOther) {
  std::string id;
  const auto failed = [&](World& w) {
    w.addons.failing = {"bind", "deprovision"};
    (void)w.call("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    w.addons.failing.clear();
    id = w.must("addon.status", {{"name", "db"}})["id"];
  };
  kill_everywhere(failed, [](World& w) { (void)w.call("addon.repair", {{"name", "db"}}); },
                  [&](World& w, int point) {
                    const std::string state = w.must("addon.status", {{"name", "db"}})["state"];
                    EXPECT_TRUE(state == "active" || state == "failed") << point << state;
                    EXPECT_EQ(w.must("addon.repair", {{"name", "db"}})["state"], "active") << point;
                  });
  kill_everywhere([&](World& w) { id = with_snapshot(w).id; }, [](World& w) { (void)w.call("addon.drain", {{"name", "db"}}); },
                  [&](World& w, int point) {
                    if (w.must("addon.status", {{"name", "db"}})["drained"] == true) {
                      EXPECT_TRUE(w.addons.drained.contains(id)) << point;
                    }
                    w.must("addon.resume", {{"name", "db"}});
                  });
  Stored s;
  kill_everywhere([&](World& w) { s = with_snapshot(w); },
                  [&](World& w) {
                    (void)w.call("addon.snapshot.delete", {{"name", "db"}, {"snapshot", s.snapshot}});
                    (void)w.call("addon.resume", {{"name", "db"}});
                  },
                  [&](World& w, int point) {
                    for (const json items = w.must("addon.snapshots", {{"name", "db"}})["items"]; const auto& item : items)
                      EXPECT_TRUE(fs::exists(w.addons.folder(s.id) / "snapshots" / (item["id"].get<std::string>() + ".box"))) << point;
                  });
}

}  // namespace
}  // namespace via::test
