// kill -9 at every step of install, upgrade, rollback and remove: the next start has the old version with the old data or
// the new one with the new, and what the command was asked for can be asked again.
#include "boxes.hpp"
#include "kill.hpp"

namespace via::test {
namespace {

using nlohmann::json;

std::set<std::string> versions_on_disk(World& w, const std::string& id) {
  std::set<std::string> out;
  std::error_code ec;
  for (fs::directory_iterator at(w.folder.path() / "plugins" / id, ec), end; !ec && at != end; at.increment(ec)) out.insert(at->path().filename());
  return out;
}

std::string version(World& w) { return w.must("plugin.show", {{"plugin", "test.box"}})["version"]; }

// Rows and files of the add-on's snapshots belong together, and nothing half made is left in its folder.
void expect_clean(World& w, const std::string& id, int point) {
  std::set<std::string> files, rows;
  std::error_code ec;
  for (fs::directory_iterator at(w.addons.folder(id) / "snapshots", ec), end; !ec && at != end; at.increment(ec)) files.insert(at->path().filename());
  const json items = w.must("addon.snapshots", {{"name", id}})["items"];
  for (const auto& item : items) rows.insert(item["id"].get<std::string>() + ".box");
  EXPECT_EQ(files, rows) << point;
  for (fs::directory_iterator at(w.addons.folder(id), ec), end; !ec && at != end; at.increment(ec))
    EXPECT_FALSE(at->path().filename().string().starts_with(".")) << point << " " << at->path();
}

TEST(PluginCrash, InstallEndsInAPinnedPluginOrNothing) {
  Boxes boxes;
  const std::string file = boxes.packed(Boxes::manifest("1.0.0", 1, "acme.notes", "notes"));
  bool there = false, gone = false;
  kill_everywhere([](World&) {}, [&](World& w) { (void)w.call("plugin.install", {{"file", file}}); },
                  [&](World& w, int point) {
                    const bool pinned = w.store->pins().find("acme.notes")->has_value();
                    (pinned ? there : gone) = true;
                    EXPECT_EQ(versions_on_disk(w, "acme.notes"), pinned ? std::set<std::string>{"1.0.0"} : std::set<std::string>{}) << point;
                    EXPECT_EQ(w.must("plugin.install", {{"file", file}})["already"], pinned) << point;
                  });
  EXPECT_TRUE(there && gone);
}

TEST(PluginCrash, RemoveEndsInThePluginOrNothingOfIt) {
  Boxes boxes;
  const std::string file = boxes.packed(Boxes::manifest("1.0.0", 1, "acme.notes", "notes"));
  kill_everywhere([&](World& w) { w.must("plugin.install", {{"file", file}}); },
                  [](World& w) { (void)w.call("plugin.remove", {{"plugin", "acme.notes"}}); },
                  [&](World& w, int point) {
                    const bool pinned = w.store->pins().find("acme.notes")->has_value();
                    EXPECT_EQ(versions_on_disk(w, "acme.notes"), pinned ? std::set<std::string>{"1.0.0"} : std::set<std::string>{}) << point;
                  });
}

struct Prepared {
  Boxes boxes;
  std::string file = boxes.packed(Boxes::manifest("2.0.0", 2));
  std::vector<std::string> ids;  // of the add-ons
  void make(World& w, bool two = false) {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    if (two) w.addon("second");
    w.must("deploy.create", {{"app", "api"}});
    ids = {w.must("addon.status", {{"name", "db"}})["id"]};
    if (two) ids.push_back(w.must("addon.status", {{"name", "second"}})["id"]);
  }
};

TEST(PluginCrash, UpgradeEndsInTheOldVersionOrTheNewWithTheDataThatBelongsToIt) {
  Prepared p;
  bool old_seen = false, new_seen = false;
  kill_everywhere([&](World& w) { p.make(w, true); }, [&](World& w) { (void)w.call("plugin.upgrade", {{"file", p.file}}); },
                  [&](World& w, int point) {
                    const bool upgraded = version(w) == "2.0.0";
                    (upgraded ? new_seen : old_seen) = true;
                    for (const std::string& id : p.ids) {
                      EXPECT_EQ(w.addons.data(id), upgraded ? "2:bytes" : "bytes") << point;
                      EXPECT_TRUE(w.addons.open(**w.addons.instance(id, "box", "{}"))) << point;
                      EXPECT_EQ(w.must("addon.status", {{"name", id}})["state"], "active") << point;
                      expect_clean(w, id, point);
                    }
                    EXPECT_EQ(versions_on_disk(w, "test.box"), upgraded ? std::set<std::string>{"2.0.0"} : std::set<std::string>{}) << point;
                    EXPECT_NE(w.grant(w.external())->find("DATABASE"), nullptr) << point;
                    if (upgraded || point % 7 != 0) return;
                    w.must("plugin.upgrade", {{"file", p.file}});
                    EXPECT_EQ(w.addons.data(p.ids[0]), "2:bytes") << point;
                  });
  EXPECT_TRUE(old_seen && new_seen);
}

TEST(PluginCrash, UpgradeOfATypeThatCopiesOnRestoreEndsTheSameWay) {
  Prepared p;
  kill_everywhere(
      [&](World& w) {
        w.addons.exchanges = false;
        p.make(w);
      },
      [&](World& w) { (void)w.call("plugin.upgrade", {{"file", p.file}}); },
      [&](World& w, int point) {
        const bool upgraded = version(w) == "2.0.0";
        for (const std::string& id : p.ids) {
          EXPECT_EQ(w.addons.data(id), upgraded ? "2:bytes" : "bytes") << point;
          expect_clean(w, id, point);
        }
      });
}

TEST(PluginCrash, AnUpgradeThatFailsAndIsKilledWhileItIsUndoneEndsInTheOldVersion) {
  Prepared p;
  kill_everywhere(
      [&](World& w) {
        p.make(w);
        w.addons.healthy = false;
      },
      [&](World& w) { (void)w.call("plugin.upgrade", {{"file", p.file}}); },
      [&](World& w, int point) {
        w.addons.healthy = true;
        EXPECT_EQ(version(w), "1.0.0") << point;
        for (const std::string& id : p.ids) {
          EXPECT_EQ(w.addons.data(id), "bytes") << point;
          expect_clean(w, id, point);
        }
        if (point % 7 == 0) w.must("plugin.upgrade", {{"file", p.file}});
      });
}

TEST(PluginCrash, RollbackEndsInTheNewVersionOrTheOldWithTheDataThatBelongsToIt) {
  Prepared p;
  bool old_seen = false, new_seen = false;
  kill_everywhere(
      [&](World& w) {
        p.make(w);
        w.must("plugin.upgrade", {{"file", p.file}});
        for (const std::string& id : p.ids) ASSERT_TRUE(write_file_atomic(w.addons.folder(id) / "data", "2:newer"));
      },
      [&](World& w) { (void)w.call("plugin.rollback", {{"plugin", "test.box"}, {"yes", true}}); },
      [&](World& w, int point) {
        const bool back = version(w) == "1.0.0";
        (back ? old_seen : new_seen) = true;
        for (const std::string& id : p.ids) {
          EXPECT_EQ(w.addons.data(id), back ? "bytes" : "2:newer") << point;
          EXPECT_TRUE(w.addons.open(**w.addons.instance(id, "box", "{}"))) << point;
          expect_clean(w, id, point);
        }
        if (!back && point % 7 == 0) w.must("plugin.rollback", {{"plugin", "test.box"}, {"yes", true}});
      });
  EXPECT_TRUE(old_seen && new_seen);
}

}  // namespace
}  // namespace via::test
