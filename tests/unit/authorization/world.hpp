// Grants of instances that need no plugin behind them.
#pragma once

#include <gtest/gtest.h>

#include "core/authorization/authority.hpp"
#include "core/authorization/decision.hpp"
#include "core/plugins/instance.hpp"
#include "support/fakes.hpp"

namespace via::authorization::test {

struct Parts {
  SystemClock clock;
  via::test::FakeEntropy entropy;
  Logger log{Logger::Target::none};
  plugins::Executor executor{clock, 1};
  plugins::Metrics metrics;
  plugins::SecretBox secrets{Secret(std::string(32, 'k')), entropy};
  plugins::Services services{clock, log, executor, metrics, secrets};
  plugins::AddonType type;

  Parts() {
    type.id = "store";
    type.scopes = {"read", "write"};
    type.ops = {{"query", {"read"}}, {"execute", {"write"}}, {"both", {"read", "write"}}};
  }
  std::shared_ptr<BindingGrant> binding(const std::string& name, bool read_only = false) {
    auto out = std::make_shared<BindingGrant>();
    out->binding = name;
    out->binding_id = "bind_" + name;
    out->addon_id = "addon_1";
    out->type = "store";
    out->read_only = read_only;
    out->scopes = read_only ? std::vector<std::string>{"read"} : std::vector<std::string>{"read", "write"};
    out->live_generations = {2, 4};
    out->newest_generation = 4;
    out->instance = std::make_shared<plugins::AddonInstance>(services, nullptr, type, "addon_1", "{}", "/none");
    return out;
  }
  static std::shared_ptr<InstanceGrant> instance(const std::string& id) {
    auto out = std::make_shared<InstanceGrant>();
    out->instance = id;
    out->app = "api";
    out->deploy = "dep_1";
    out->release = "rel_1";
    out->env = "production";
    return out;
  }
};

}  // namespace via::authorization::test
