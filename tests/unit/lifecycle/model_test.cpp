// Random binds, unbinds, deploys and restarts against a model of a few maps.
#include <random>

#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;
using Snapshot = std::map<std::string, std::string>;  // binding name -> add-on name

struct Model {
  std::map<std::string, Snapshot> bound;                                // by app
  std::map<std::string, std::pair<std::string, Snapshot>> instances;    // by instance: app and what its release has
};

void compare(World& w, const Model& model) {
  for (const auto& [app, expected] : model.bound) {
    Snapshot real;
    const json shown = w.must("app.show", {{"name", app}});
    for (const auto& b : shown["bindings"]) real[b["binding"]] = b["addon"];
    ASSERT_EQ(real, expected) << app;
  }
  const auto index = w.authority->current();
  ASSERT_EQ(index->size(), model.instances.size());
  for (const auto& [id, expected] : model.instances) {
    const auto* grant = index->find(id);
    ASSERT_NE(grant, nullptr);
    ASSERT_EQ(grant->app, expected.first);
    ASSERT_EQ(grant->bindings.size(), expected.second.size());
    for (const auto& b : grant->bindings) {
      ASSERT_TRUE(expected.second.contains(b->binding));
      ASSERT_EQ(b->live_generations, std::vector<std::uint32_t>{1});
      ASSERT_EQ(w.must("addon.status", {{"name", b->addon_id}})["name"], expected.second.at(b->binding));
    }
  }
}

void run(std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto pick = [&](const std::vector<std::string>& of) { return of[random() % of.size()]; };
  const std::vector<std::string> apps = {"api", "web"}, addons = {"db", "cache", "logs"}, names = {"A", "B", "C"};
  World w;
  Model model;
  for (const auto& app : apps) {
    w.must("app.create", {{"name", app}});
    model.bound[app];
  }
  for (const auto& addon : addons) w.addon(addon, "api");

  for (int step = 0; step < 120; ++step) {
    const std::string app = pick(apps), name = pick(names), addon = pick(addons);
    Snapshot& bound = model.bound[app];
    switch (random() % 6) {
      case 0:
      case 1: {
        const std::string error = w.error("addon.bind", {{"app", app}, {"name", addon}, {"binding", name}});
        ASSERT_EQ(error, bound.contains(name) ? "conflict" : "");
        bound.try_emplace(name, addon);
        break;
      }
      case 2: {
        const std::string error = w.error("addon.unbind", {{"app", app}, {"target", name}});
        ASSERT_EQ(error, bound.erase(name) == 0 ? "not_found" : "");
        break;
      }
      case 3: {
        w.must("deploy.create", {{"app", app}});
        model.instances[w.external(app)] = {app, bound};
        break;
      }
      case 4: {
        if (model.instances.empty()) break;
        auto at = model.instances.begin();
        std::advance(at, random() % model.instances.size());
        w.must("runtime.stop", {{"instance", at->first}});
        model.instances.erase(at);
        break;
      }
      case 5:
        if (random() % 3 == 0) w.restart();
        break;
    }
    compare(w, model);
    if (::testing::Test::HasFatalFailure()) {
      ADD_FAILURE() << "seed " << seed << ", step " << step;
      return;
    }
  }
}

TEST(Model, RandomBindsUnbindsAndDeploysMatchTheModel) {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U}) run(seed);
}

}  // namespace
}  // namespace via::test
