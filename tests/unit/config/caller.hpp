// A caller with two bindings and two plain values.
#pragma once

#include <nlohmann/json.hpp>

#include "core/config/resolve.hpp"

namespace via::config {

struct World {
  authorization::InstanceGrant grant;
  AppConfig config;
  std::shared_ptr<authorization::BindingGrant> database = std::make_shared<authorization::BindingGrant>();

  World() {
    grant.instance = "ins_1";
    grant.app = "api";
    grant.deploy = "dep_1";
    grant.release = "rel_1";
    database->binding = "DATABASE";
    database->type = "store";
    database->live_generations = {2, 3};
    database->newest_generation = 4;
    database->snapshot_generation = 2;
    database->descriptor = R"("mode":"proxy","endpoint":"/v1/runtime/addons/DATABASE")";
    database->derived = {{"DATABASE_URL", "via+${endpoint}?again=${endpoint}"}};
    auto other = std::make_shared<authorization::BindingGrant>();
    other->binding = "GONE";
    other->type = "store";
    other->newest_generation = 1;
    other->derived = {{"GONE_URL", "x"}};
    grant.bindings = authorization::BindingList({database, other});
    config.app = "api";
    config.profile_version = 3;
    config.values = {{"GREETING", "hello \"you\"", 3, 0}, {"LIMIT", "5", 1, 0}};
  }
  Caller caller() const { return {grant, &config, "http://127.0.0.1:8181"}; }
  nlohmann::json resolve(std::string_view body) const { return parse(config::resolve(caller(), body)); }
  nlohmann::json refresh(const nlohmann::json& body) const { return parse(config::refresh(caller(), body.dump())); }
  static nlohmann::json parse(const Result<std::string>& answer) {
    if (!answer) return {{"error", std::string(answer.error().wire_name())}};
    return nlohmann::json::parse(*answer);
  }
};

}  // namespace via::config
