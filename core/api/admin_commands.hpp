// The tables of the admin API's handlers: one for each file of them. Private to this folder. Thread: as AdminApi.
#pragma once

#include <span>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/api/arguments.hpp"
#include "core/lifecycle/actor.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/store/try.hpp"

namespace via::api {

using lifecycle::Actor;
using lifecycle::ControlPlane;
using nlohmann::json;
using Answer = Result<json>;

struct Command {
  std::string_view name;
  Answer (*handle)(ControlPlane&, Arguments&, const Actor&);
};

std::span<const Command> addon_commands();
std::span<const Command> backup_commands();
std::span<const Command> app_commands();
std::span<const Command> operation_commands();
std::span<const Command> deploy_commands();
std::span<const Command> config_commands();
std::span<const Command> plugin_commands();

inline Answer answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

inline json with(json object, const json& more) {
  object.update(more);
  return object;
}

// Of a long command: whether the answer is the result or only that it has begun.
inline bool wait(Arguments& a) { return a.flag("wait", true); }

// Handlers of commands that are one call with one text: a look, and a long change.
inline constexpr char kName[] = "name", kManifest[] = "manifest";

template <const char* argument, Answer (ControlPlane::*look)(const std::string&)>
Answer look_at(ControlPlane& plane, Arguments& a, const Actor&) {
  const auto text = a.text(argument);
  VIA_TRY(a.done());
  return (plane.*look)(text);
}

template <const char* argument, Answer (ControlPlane::*change)(const std::string&, const Actor&, bool)>
Answer begin(ControlPlane& plane, Arguments& a, const Actor& actor) {
  const auto text = a.text(argument);
  const bool waits = wait(a);
  VIA_TRY(a.done());
  return (plane.*change)(text, actor, waits);
}

inline lifecycle::PlanRequest plan_request(Arguments& a) {
  return {a.flag("plan"), a.optional_text("if_plan").value_or("")};
}

}  // namespace via::api
