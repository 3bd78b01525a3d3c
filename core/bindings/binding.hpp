// Bindings: an add-on under a stable name in an app, and the generations of its credential.
//
// A binding acts on future releases only. Unbinding marks the row; its generations stay, because releases that were
// made before still run under them. Generations count 1, 2, 3 … and are never used again.
// Thread: the control thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::bindings {

struct Generation {
  std::uint32_t generation = 1;
  bool live = true;
  std::int64_t created_at = 0;
};

struct Binding {
  std::string id, app_id, app, addon_id, addon, type;
  std::string name;  // "DATABASE"
  bool read_only = false;
  std::int64_t created_at = 0, removed_at = 0;
  std::vector<Generation> generations;  // ascending
  std::uint32_t newest() const { return generations.empty() ? 0 : generations.back().generation; }
};

// A name that an app's living bindings take up: the binding's own and those derived from it.
struct TakenName {
  std::string name, binding;
};

class Bindings {
 public:
  explicit Bindings(store::Database& db) : db_(db) {}
  // The binding and its generation 1. `descriptor` is JSON members, `derived` a JSON object of suffix -> template.
  Result<void> insert(const Binding& binding, std::string_view descriptor, std::string_view derived);
  Result<void> add_generation(const std::string& binding_id, std::uint32_t generation, std::string_view descriptor,
                              std::string_view derived, std::int64_t now_ms);
  // What its app is told of it from now on.
  Result<void> describe_generation(const std::string& binding_id, std::uint32_t generation, std::string_view descriptor,
                                   std::string_view derived);
  Result<void> revoke_generation(const std::string& binding_id, std::uint32_t generation, std::int64_t now_ms);
  Result<void> remove(const std::string& binding_id, std::int64_t now_ms);
  Result<void> revoke_all_of_addon(const std::string& addon_id, std::int64_t now_ms);  // every generation

  Result<std::optional<Binding>> find(const std::string& id);
  Result<std::vector<Binding>> of_app(const std::string& app_id);      // living ones
  Result<std::vector<Binding>> of_addon(const std::string& addon_id);  // living ones
  // Also those that were ended: releases of before may still use their generations.
  Result<std::vector<Binding>> all_of_addon(const std::string& addon_id);
  Result<std::optional<Binding>> find_living(const std::string& app_id, const std::string& name);
  // A removed binding lives again; callers have checked that its name is free.
  Result<void> revive(const std::string& binding_id);
  Result<std::vector<TakenName>> taken_names(const std::string& app_id);
  Result<std::int64_t> count();

 private:
  Result<std::vector<Binding>> with_generations(std::vector<Binding> bindings);
  store::Database& db_;
};

}  // namespace via::bindings
