// resolve and refresh of the runtime API (docs of the wire: via-api.md): pure functions of what the caller may see.
//
// A key names, in this order: a binding (answer: its descriptor), a derived key of a binding (DATABASE_URL; a value
// with scope "addon", secret), or a plain configuration value (scope "config"). Setting and binding refuse names that
// would collide. Nothing here touches a database, takes a lock or logs.
// Thread: any.
#pragma once

#include <string>
#include <string_view>

#include "core/authorization/grant.hpp"
#include "core/base/error.hpp"
#include "core/config/values.hpp"

namespace via::config {

struct Caller {
  const authorization::InstanceGrant& grant;
  const AppConfig* config = nullptr;  // Values::find(grant.app).get(); null = no values, profile version 0
  std::string_view config_url;        // "${endpoint}" = config_url + "/v1/runtime/addons/" + BINDING
};

// `body` is the request's JSON text (empty = {}). Answers the response's JSON text, or invalid_json / bad_request.
Result<std::string> resolve(const Caller& caller, std::string_view body);

// {"app","release","deploy","profile_version","keys":[{"key","scope","generation","status":"unchanged|updated|rejected",
// "code"?, "message"?, "value"?, "secret"?, "descriptor"?}]}. unbound (403) when app, release or deploy is not the
// caller's; stale_claims (409) when profile_version is one this host never gave.
Result<std::string> refresh(const Caller& caller, std::string_view body);

}  // namespace via::config
