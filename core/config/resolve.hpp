// resolve and refresh of the runtime API (docs/formats.md, "Resolve and refresh"): pure functions of what the caller may see.
//
// A key names, in this order: a binding (answer: its descriptor), a derived key of a binding (DATABASE_URL; a value
// with scope "addon", secret), or a plain configuration value (scope "config"). Setting and binding refuse names that
// would collide. A secret is a value with "secret":true that is opened for the one answer; one that this host cannot open
// (its master key is not the one it was sealed under) counts as missing for resolve and is rejected with `unavailable` by
// refresh; a credential that its plugin has lost makes the whole of resolve `unavailable`. Nothing here touches a database, takes a lock or logs.
// Thread: any.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/authorization/grant.hpp"
#include "core/base/error.hpp"
#include "core/config/sealer.hpp"
#include "core/config/values.hpp"

namespace via::config {

struct Caller {
  const authorization::InstanceGrant& grant;
  const AppConfig* config = nullptr;  // Values::find(grant.app).get(); null = no values, profile version 0
  std::string_view config_url;        // "${endpoint}" = config_url + "/v1/runtime/addons/" + BINDING
  const Sealer* sealer = nullptr;     // null = secrets cannot be opened
  // Whose newest credential is not at its plugin any more: nobody could log in with it. Null = none.
  const std::vector<const authorization::BindingGrant*>* lost = nullptr;
};

// Whether what an app is told of it has a credential in it.
bool holds_secret(const authorization::BindingGrant& binding);

// What an answer gave out, for the audit record: names and generations, never a value.
struct Given {
  struct Key {
    std::string key;
    std::uint32_t generation = 0;
    Code rejected = Code::internal;  // of `rejected` only
  };
  std::vector<Key> keys, rejected;
  std::size_t missing = 0;
};

// `body` is the request's JSON text (empty = {}). Answers the response's JSON text, or invalid_json / bad_request, or unavailable
// where a credential that it would hold is lost.
Result<std::string> resolve(const Caller& caller, std::string_view body, Given* given = nullptr);

// {"app","release","deploy","profile_version","keys":[{"key","scope","generation","status":"unchanged|updated|rejected",
// "code"?, "message"?, "value"?, "secret"?, "descriptor"?}]}. unbound (403) when app, release or deploy is not the
// caller's; stale_claims (409) when profile_version is one this host never gave.
Result<std::string> refresh(const Caller& caller, std::string_view body, Given* given = nullptr);

}  // namespace via::config
