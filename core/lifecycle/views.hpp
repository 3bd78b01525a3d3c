// The objects of docs/admin-api.md, made from records: what the admin API answers and
// what the journal keeps as the result of an operation. Thread: any (pure).
#pragma once

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"

namespace via::lifecycle {

nlohmann::json to_json(const releases::App& app);
nlohmann::json to_json(const catalog::Addon& addon);
nlohmann::json to_json(const bindings::Binding& binding);
nlohmann::json to_json(const releases::Box& box);
nlohmann::json to_json(const releases::Deploy& deploy);
nlohmann::json to_json(const releases::Release& release);
nlohmann::json to_json(const releases::ReleaseBinding& binding);
nlohmann::json to_json(const releases::Instance& instance);
nlohmann::json to_json(const plugins::PluginRecord& plugin);
nlohmann::json to_json(const store::PluginVersion& version);
nlohmann::json to_json(const store::PluginKey& key);
nlohmann::json to_json(const identity::KeyInfo& key);
nlohmann::json to_json(const Check& check);
nlohmann::json to_json(const Status& status);
nlohmann::json to_json(const catalog::Snapshot& snapshot);
nlohmann::json to_json(const store::Operation& operation);
nlohmann::json to_json(const store::AuditEntry& entry);
nlohmann::json to_json(const BindingUse& use);
nlohmann::json to_json(const DeployView& view);
nlohmann::json to_json(const ShareView& view);

// As a plan names them: with the generations that live.
nlohmann::json touched(const std::vector<bindings::Binding>& bindings);

// Null for 0.
nlohmann::json time_or_null(std::int64_t unix_ms);

template <class Records>
nlohmann::json list_json(const Records& records) {
  auto out = nlohmann::json::array();
  for (const auto& record : records) out.push_back(to_json(record));
  return out;
}

}  // namespace via::lifecycle
