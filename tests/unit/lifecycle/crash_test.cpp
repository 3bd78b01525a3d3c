// kill -9 before every statement and around every plugin call of each operation: the next start ends in the old or the
// new state, without a hand, and the operation can be run again.
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

// Runs `operation` in fresh worlds, killed at its 1st, 2nd, … point, until one run gets through. `check` sees each
// world after its restart.
void kill_everywhere(const std::function<void(World&)>& prepare, const std::function<void(World&)>& operation,
                     const std::function<void(World&, int)>& check) {
  for (int point = 1;; ++point) {
    ASSERT_LT(point, 200);
    World w;
    prepare(w);
    int left = point;
    const auto hit = [&](std::string_view) {
      if (left > 0 && --left == 0) throw Killed();
    };
    w.store->db().set_before_statement(hit);
    w.addons.before = [&](const std::string& step) { hit(step); };
    bool killed = false;
    try {
      operation(w);
    } catch (const Killed&) {
      killed = true;
    }
    left = 0;
    w.restart();
    EXPECT_TRUE(w.store->journal().unfinished()->empty()) << point;
    EXPECT_EQ(*w.store->audit().verify(), 0) << point;
    check(w, point);
    if (!killed) {
      EXPECT_GT(point, 4);
      return;
    }
  }
}

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
        EXPECT_EQ(releases[0]["status"], "current") << point;
        EXPECT_EQ(w.must("release.show", {{"release", releases[0]["id"]}})["bindings"].size(), 1U) << point;
        // Exactly the instance of the current release has rights.
        const json instances = w.must("app.show", {{"name", "api"}})["instances"];
        ASSERT_EQ(instances.size(), 1U) << point;
        EXPECT_EQ(instances[0]["release"], releases[0]["id"]) << point;
        EXPECT_EQ(w.authority->current()->size(), 1U) << point;
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

}  // namespace
}  // namespace via::test
