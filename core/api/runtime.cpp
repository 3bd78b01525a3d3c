#include "core/api/runtime.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <optional>

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/api/capability.hpp"
#include "core/api/extension.hpp"
#include "core/base/json_text.hpp"
#include "core/config/resolve.hpp"
#include "core/plugins/instance.hpp"
#include "core/store/try.hpp"

namespace via::api {

namespace asio = boost::asio;
using authorization::Allowed;
using authorization::BindingGrant;
using net::Exchange;
using net::Method;
using net::Request;

struct RuntimeApi::Route {
  enum class Kind { none, health, ready, jwks, resolve, refresh, operation, http, capability } kind = Kind::none;
  Method method = Method::get;
  std::string_view binding, operation;
  std::string_view path;  // of http: from the type's prefix on, as sent
};

namespace {

constexpr std::string_view kAddons = "/v1/runtime/addons/";
constexpr std::size_t kMaximumVerifications = 256;  // waiting on workers, for each I/O thread
constexpr std::size_t kMaximumConfigBody = 256 * 1024;

std::int64_t unix_seconds(Exchange& exchange) { return exchange.thread().turn_unix_ms() / 1000; }

// Browsers send these without asking first; no client of this API does.
bool form_content(std::string_view type) {
  return type.starts_with("text/plain") || type.starts_with("application/x-www-form-urlencoded") ||
         type.starts_with("multipart/form-data");
}

Result<std::optional<std::uint32_t>> generation_of(const Request& request) {
  if (request.generation.empty()) return std::optional<std::uint32_t>();
  std::uint32_t n = 0;
  const char* last = request.generation.data() + request.generation.size();
  const auto [end, ec] = std::from_chars(request.generation.data(), last, n);
  if (ec != std::errc() || end != last) return fail(Code::bad_request, "Via-Generation must be a whole number.");
  return std::optional<std::uint32_t>(n);
}

// The caller as the ABI wants it; the views end with `storage`.
struct AbiCaller {
  std::array<via_str, 8> scopes;
  via_caller caller;
  AbiCaller(const BindingGrant& binding, std::uint32_t generation) {
    std::size_t n = 0;
    for (const std::string& s : binding.scopes)
      if (n < scopes.size()) scopes[n++] = {s.data(), s.size()};
    caller = {};
    caller.struct_size = sizeof caller;
    caller.generation = generation;
    std::copy(binding.binding_ulid.begin(), binding.binding_ulid.end(), caller.binding_id.b);
    caller.scopes = scopes.data();
    caller.scopes_len = n;
    caller.live_generations = binding.live_generations.data();
    caller.live_generations_len = binding.live_generations.size();
  }
  AbiCaller(const AbiCaller&) = delete;
  AbiCaller& operator=(const AbiCaller&) = delete;
};

via_op_args op_args(const Request& request, const BindingGrant& binding, int operation, const via_caller& caller) {
  static constexpr std::string_view kJson = "application/json";
  const std::string& name = binding.instance->type().ops[static_cast<std::size_t>(operation)].name;
  return {sizeof(via_op_args),
          static_cast<std::uint32_t>(operation),
          {name.data(), name.size()},
          {kJson.data(), kJson.size()},
          {reinterpret_cast<const std::uint8_t*>(request.body.data()), request.body.size()},
          &caller,
          {request.accept.data(), request.accept.size()}};
}

// An operation on its way through a worker. It lives until the plugin's function has returned, which may be a little
// after the call was completed.
struct WorkerCall {
  WorkerCall(const Request& request, std::shared_ptr<const authorization::InstanceGrant> held, const Allowed& allowed,
             via_call* abi)
      : grant(std::move(held)),
        instance(allowed.binding->instance),
        caller(*allowed.binding, allowed.generation),
        args(op_args(request, *allowed.binding, allowed.operation, caller.caller)),
        call(abi) {}
  std::shared_ptr<const authorization::InstanceGrant> grant;
  std::shared_ptr<plugins::AddonInstance> instance;
  AbiCaller caller;
  via_op_args args;
  via_call* call;
  std::atomic<bool> returned{false};
};

// Names that a client made up are cut short and few: the record is for ever.
std::string details_of(const authorization::InstanceGrant& grant, const config::Given& given) {
  static constexpr std::size_t kMost = 64, kLongest = 128;
  std::string out = R"({"release":)";
  append_json_string(out, grant.release);
  const auto list = [&out](const std::vector<config::Given::Key>& keys, bool rejected) {
    for (std::size_t i = 0; i < std::min(keys.size(), kMost); ++i) {
      out += i == 0 ? R"({"key":)" : R"(,{"key":)";
      append_json_string(out, std::string_view(keys[i].key).substr(0, kLongest));
      out += R"(,"generation":)" + std::to_string(keys[i].generation);
      if (rejected) {
        out += R"(,"code":)";
        append_json_string(out, info(keys[i].rejected).name);
      }
      out += '}';
    }
  };
  out += R"(,"keys":[)";
  list(given.keys, false);
  out += R"(],"rejected":[)";
  list(given.rejected, true);
  out += R"(],"missing":)" + std::to_string(given.missing);
  if (given.keys.size() > kMost || given.rejected.size() > kMost)
    out += R"(,"not_listed":)" + std::to_string(given.keys.size() + given.rejected.size() -
                                                std::min(given.keys.size(), kMost) -
                                                std::min(given.rejected.size(), kMost));
  return out + '}';
}

}  // namespace

RuntimeApi::Route RuntimeApi::route(const Request& request) {
  Route out;
  out.method = request.method;
  const std::string_view path = request.path;
  if (path.starts_with(kAddons)) {
    const std::string_view rest = path.substr(kAddons.size());
    const auto slash = rest.find('/');
    constexpr std::string_view kHttp = "/http/";
    if (slash != std::string_view::npos && slash > 0 && rest.substr(slash).starts_with(kHttp)) {
      out.kind = Route::Kind::http;
      out.binding = rest.substr(0, slash);
      out.path = rest.substr(slash + kHttp.size() - 1);
      return out;
    }
    if (slash != std::string_view::npos && slash > 0 && slash + 1 < rest.size() &&
        rest.find('/', slash + 1) == std::string_view::npos) {
      out.kind = Route::Kind::operation;
      out.binding = rest.substr(0, slash);
      out.operation = rest.substr(slash + 1);
    }
  } else if (is_capability_path(path)) {
    out.kind = Route::Kind::capability;
  } else if (path == "/v1/runtime/config/resolve") {
    out.kind = Route::Kind::resolve;
  } else if (path == "/v1/runtime/config/refresh") {
    out.kind = Route::Kind::refresh;
  } else if (path == "/health") {
    out.kind = Route::Kind::health;
  } else if (path == "/ready") {
    out.kind = Route::Kind::ready;
  } else if (path == "/.well-known/jwks.json") {
    out.kind = Route::Kind::jwks;
  }
  return out;
}

bool RuntimeApi::try_serve(Exchange& exchange, net::Pending& pending) {
  const Request& request = exchange.request();
  const Route where = route(request);
  if (where.kind == Route::Kind::http) exchange.always_send(kStoredBytes);
  if (where.kind == Route::Kind::capability) return try_capability(d_.log, exchange, pending) == Begun::done;
  if (where.kind != Route::Kind::http && (where.kind != Route::Kind::operation || where.method != Method::post)) {
    if (where.kind == Route::Kind::resolve || where.kind == Route::Kind::refresh) {
      if (where.method == Method::post) return false;
    }
    serve_public(exchange, where);
    return true;
  }
  const std::string_view token = request.bearer();
  const auto* claims = exchange.thread().tokens().peek(token, d_.keys.peek(), unix_seconds(exchange));
  if (claims == nullptr) return false;
  if (where.kind == Route::Kind::http) return begin_http(exchange, **claims, where, pending) == Begun::done;
  return begin(exchange, **claims, where, pending) == Begun::done;
}

Begun RuntimeApi::begin(Exchange& exchange, const identity::Claims& claims, const Route& where, net::Pending& pending) {
  const Request& request = exchange.request();
  if (form_content(request.content_type)) [[unlikely]] {
    exchange.fail(fail(Code::unsupported_media_type, "Send the request body as application/json."));
    return Begun::done;
  }
  const auto generation = generation_of(request);
  if (!generation) [[unlikely]] {
    exchange.fail(generation.error());
    return Begun::done;
  }
  const auto& index = exchange.thread().index();
  const auto allowed =
      authorization::decide(claims, index.find(claims.instance), where.binding, where.operation, *generation);
  if (!allowed) [[unlikely]] {
    exchange.fail(allowed.error());
    return Begun::done;
  }
  if (*generation) index.find(claims.instance)->note_use(allowed->binding, **generation, unix_seconds(exchange));
  plugins::AddonInstance& instance = *allowed->binding->instance;
  if (!instance.enter(claims.instance)) [[unlikely]] {
    exchange.fail(instance.refusal(claims.instance));
    return Begun::done;
  }
  const auto& limits = exchange.thread().limits();
  exchange.charge_to(index.find(claims.instance)->app);
  plugins::Call& call =
      exchange.begin_call(exchange.started_ns() + limits.operation_timeout_ms * 1'000'000);
  const AbiCaller caller(*allowed->binding, allowed->generation);
  const via_op_args args = op_args(request, *allowed->binding, allowed->operation, caller.caller);
  const via_status status = instance.try_invoke(args, call.abi());
  if (status == VIA_OK) {
    if (call.done()) [[likely]] {
      exchange.finish_inline();
      instance.gate().leave();
      log_failure(d_.log, exchange, instance);
      return Begun::done;
    }
    const auto grant = exchange.thread().index().share(claims.instance);
    pending = {allowed->binding->instance, grant, grant->instance, &call};
    return Begun::pending;
  }
  exchange.drop_call();
  instance.gate().leave();
  return Begun::blocked;
}

asio::awaitable<std::shared_ptr<const identity::Claims>> RuntimeApi::authenticate(Exchange& exchange) {
  net::IoThread& thread = exchange.thread();
  const std::string_view token = exchange.request().bearer();
  if (token.empty()) {
    exchange.fail(fail(Code::token_missing, "Send the workload token: Authorization: Bearer TOKEN."));
    co_return nullptr;
  }
  auto keys = d_.keys.current();
  if (const auto* known = thread.tokens().peek(token, keys.get(), unix_seconds(exchange))) co_return *known;
  if (thread.verifications >= kMaximumVerifications) {
    exchange.fail(fail(Code::overloaded, "Too many new tokens at once. Try again."));
    co_return nullptr;
  }
  ++thread.verifications;
  std::optional<Result<identity::Claims>> verified;
  co_await exchange.on_worker([&] { verified.emplace(d_.verifier.verify(token, *keys)); });
  // The keys changed meanwhile: what vouched for the token may be revoked.
  while (*verified && d_.keys.peek() != keys.get()) {
    keys = d_.keys.current();
    co_await exchange.on_worker([&] { verified.emplace(d_.verifier.verify(token, *keys)); });
  }
  --thread.verifications;
  if (!*verified) {
    exchange.fail(verified->error());
    co_return nullptr;
  }
  co_return thread.tokens().insert(token, keys, std::move(**verified));
}

std::string RuntimeApi::body_owner(Exchange& exchange) {
  if (is_capability_path(exchange.request().path)) {
    std::string_view rest;
    const auto share = find_capability(exchange, rest);
    return share ? share->id : std::string();
  }
  if (!exchange.request().path.starts_with("/v1/runtime/")) return "everybody";
  const auto* claims = exchange.thread().tokens().peek(exchange.request().bearer(), d_.keys.peek(), unix_seconds(exchange));
  return claims == nullptr ? std::string() : (*claims)->app;
}

asio::awaitable<void> RuntimeApi::before_body(Exchange& exchange) {
  std::string_view rest;
  if (is_capability_path(exchange.request().path)) (void)find_capability(exchange, rest);
  else if (exchange.request().path.starts_with("/v1/runtime/")) co_await authenticate(exchange);
}

asio::awaitable<void> RuntimeApi::serve(Exchange& exchange, net::Pending pending) {
  if (pending.call != nullptr) {
    co_await finish_pending(d_.log, exchange, std::move(pending));
    co_return;
  }
  const Route where = route(exchange.request());
  if (where.kind == Route::Kind::capability) {
    co_await serve_capability(d_.log, exchange, std::move(pending));
    co_return;
  }
  const auto claims = co_await authenticate(exchange);
  if (!claims) co_return;
  if (where.kind == Route::Kind::operation)
    co_await serve_operation(exchange, *claims, where);
  else if (where.kind == Route::Kind::http)
    co_await serve_http(exchange, *claims, where);
  else
    co_await serve_config(exchange, *claims, where.kind == Route::Kind::refresh);
}

asio::awaitable<void> RuntimeApi::serve_operation(Exchange& exchange, const identity::Claims& claims,
                                                  const Route& where) {
  net::Pending pending;
  const Begun begun = begin(exchange, claims, where, pending);
  if (begun == Begun::done) co_return;
  if (begun == Begun::pending) {
    co_await finish_pending(d_.log, exchange, std::move(pending));
    co_return;
  }
  // The plugin wants a worker. The decision is made again, because a new index may have come meanwhile.
  const Request& request = exchange.request();
  const auto grant = exchange.thread().index().share(claims.instance);
  const auto allowed = authorization::decide(claims, grant.get(), where.binding, where.operation,
                                             generation_of(request).value());
  if (!allowed) {
    exchange.fail(allowed.error());
    co_return;
  }
  const std::shared_ptr<plugins::AddonInstance>& instance = allowed->binding->instance;
  if (!instance->enter(grant->instance)) {
    exchange.fail(instance->refusal(grant->instance));
    co_return;
  }
  const auto& limits = exchange.thread().limits();
  exchange.charge_to(grant->app);
  plugins::Call& call =
      exchange.begin_call(exchange.started_ns() + limits.operation_timeout_ms * 1'000'000);
  pending = {instance, grant, grant->instance, &call};
  auto work = std::make_shared<WorkerCall>(request, grant, *allowed, call.abi());
  auto* raw = std::make_unique<std::shared_ptr<WorkerCall>>(work).release();  // owned by the task
  const via_task_fn task = [](void* data, via_status why) {
    const std::unique_ptr<std::shared_ptr<WorkerCall>> owned(static_cast<std::shared_ptr<WorkerCall>*>(data));
    WorkerCall& w = **owned;
    if (why == VIA_OK)
      w.instance->invoke(w.args, w.call);
    else
      w.call->complete(w.call, VIA_E_UNAVAILABLE, {"The add-on is closing.", 22}, {nullptr, 0});
    w.returned.store(true, std::memory_order_release);
  };
  if (!instance->post(task, raw)) task(raw, VIA_E_CANCELLED);
  co_await finish_pending(d_.log, exchange, std::move(pending));
  co_await exchange.until(work->returned);  // until then the request's bytes are lent to the plugin
}

Result<RuntimeApi::Reached> RuntimeApi::reach_http(Exchange& exchange, const identity::Claims& claims,
                                                   const authorization::InstanceGrant* grant, const Route& where) {
  VIA_TRY_LET(generation, generation_of(exchange.request()));
  VIA_TRY_LET(allowed, authorization::decide_http(claims, grant, where.binding, generation));
  const BindingGrant& binding = *allowed.binding;
  if (!below_prefix(where.path, binding.instance->type().http.prefix))
    return fail(Code::not_found, "There is nothing at this path.");
  if (generation) grant->note_use(&binding, *generation, unix_seconds(exchange));
  Reached out{&binding, {binding.scopes, binding.live_generations, allowed.generation}};
  out.caller.working_for = grant->instance;
  out.caller.owner = grant->app;
  std::copy(binding.binding_ulid.begin(), binding.binding_ulid.end(), out.caller.binding_id.b);
  return out;
}

Begun RuntimeApi::begin_http(Exchange& exchange, const identity::Claims& claims, const Route& where, net::Pending& pending) {
  const auto& index = exchange.thread().index();
  const auto reached = reach_http(exchange, claims, index.find(claims.instance), where);
  if (!reached) [[unlikely]] {
    exchange.fail(reached.error());
    return Begun::done;
  }
  const Begun begun = try_extension(d_.log, exchange, reached->binding->instance, where.path, reached->caller,
                                    exchange.thread().limits().operation_timeout_ms, pending);
  if (begun == Begun::pending) {
    const auto grant = index.share(claims.instance);
    pending.held = grant;
    pending.working_for = grant->instance;
  }
  return begun;
}

asio::awaitable<void> RuntimeApi::serve_http(Exchange& exchange, const identity::Claims& claims, const Route& where) {
  const auto grant = exchange.thread().index().share(claims.instance);
  const auto reached = reach_http(exchange, claims, grant.get(), where);
  if (!reached) {
    exchange.fail(reached.error());
    co_return;
  }
  co_await serve_extension(d_.log, exchange, reached->binding->instance, where.path, reached->caller, grant, grant->instance,
                           exchange.thread().limits().operation_timeout_ms);
}

asio::awaitable<Result<void>> RuntimeApi::recorded(Exchange& exchange, lifecycle::Access& access) {
  std::optional<Result<void>> out;
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
      [&](auto handler) {
        auto held = std::make_shared<decltype(handler)>(std::move(handler));
        d_.audit.record(std::move(access), [&out, &context = exchange.thread().context(), held](const Result<void>& written) {
          out.emplace(written);
          asio::post(context, [held] { std::move (*held)(); });
        });
      },
      asio::use_awaitable);
  co_return *out;
}

asio::awaitable<void> RuntimeApi::serve_config(Exchange& exchange, const identity::Claims& claims, bool refresh) {
  const Request& request = exchange.request();
  if (form_content(request.content_type)) {
    exchange.fail(fail(Code::unsupported_media_type, "Send the request body as application/json."));
    co_return;
  }
  if (request.body.size() > kMaximumConfigBody) {
    exchange.fail(fail(Code::body_too_large, "The request body is too large for this route."));
    co_return;
  }
  const std::string action = refresh ? "config.refresh" : "config.resolve";
  const auto refuse = [&](const Error& error) {
    if (error.http_status() == 403 || error.http_status() == 409)
      d_.audit.refused({action, claims.instance, claims.app, std::string(error.wire_name()), {}});
    exchange.fail(error);
  };
  const auto grant = exchange.thread().index().share(claims.instance);
  if (auto known = authorization::check_instance(claims, grant.get()); !known) {
    refuse(known.error());
    co_return;
  }
  const identity::KeySet* const keys = d_.keys.peek();
  const auto values = d_.values.find(grant->app);
  const std::string url = d_.config_url();
  std::optional<Result<std::string>> answer;
  config::Given given;
  co_await exchange.on_worker([&] {
    std::vector<const authorization::BindingGrant*> lost;
    for (const auto& binding : grant->bindings)
      if (config::holds_secret(*binding) && binding->instance->lacks(binding->binding_ulid, binding->live_generations.back())) lost.push_back(binding.get());
    const config::Caller caller{*grant, values.get(), url, &d_.sealer, &lost};
    answer.emplace(refresh ? config::refresh(caller, request.body, &given)
                           : config::resolve(caller, request.body, &given));
  });
  if (!*answer) {
    if (answer->error().http_status() == 500)
      d_.log.error("config_failed", {{"request_id", exchange.request_id()}, {"reason", answer->error().message}});
    refuse(answer->error());
    co_return;
  }
  // First the record, then the answer.
  // (Named, because GCC 12 destroys the temporaries of a co_await expression twice.)
  lifecycle::Access access{action, claims.instance, claims.app, "ok", details_of(*grant, given)};
  const Result<void> written = co_await recorded(exchange, access);
  if (!written) {
    exchange.fail(written.error());
    co_return;
  }
  // A right that ended while the answer was made is not given out, nor what was asked for with a key that was revoked.
  if (d_.keys.peek() != keys) {
    const auto again = co_await authenticate(exchange);
    if (!again) co_return;
  }
  if (auto known = authorization::check_instance(claims, exchange.thread().index().find(claims.instance)); !known) {
    refuse(known.error());
    co_return;
  }
  for (const auto& binding : grant->bindings)
    if (!binding->live_generations.empty())
      grant->note_use(binding.get(), binding->live_generations.back(), unix_seconds(exchange));
  exchange.respond(200, "application/json", **answer, "Cache-Control: no-store\r\n");
}

void RuntimeApi::serve_public(Exchange& exchange, const Route& where) {
  const auto only = [&](std::string_view allow) {
    exchange.respond(405, "application/json",
                     error_body(fail(Code::method_not_allowed, "This route does not take that method."),
                                exchange.request_id()),
                     allow);
  };
  const bool reads = where.method == Method::get || where.method == Method::head;
  switch (where.kind) {
    case Route::Kind::health:
      if (!reads) return only("Allow: GET, HEAD\r\n");
      return exchange.respond(200, "text/plain; charset=utf-8", "ok\n");
    case Route::Kind::ready: {
      if (!reads) return only("Allow: GET, HEAD\r\n");
      const std::string failing = d_.failing_checks();
      if (failing.empty() && !exchange.thread().draining())
        return exchange.respond(200, "application/json", R"({"ready":true,"failing":[]})");
      return exchange.respond(503, "application/json",
                              R"({"ready":false,"failing":[)" + (failing.empty() ? "\"draining\"" : failing) + "]}",
                              "Retry-After: 1\r\n");
    }
    case Route::Kind::jwks:
      if (!reads) return only("Allow: GET, HEAD\r\n");
      return exchange.respond(200, "application/json", d_.keys.jwks(), "Cache-Control: max-age=60\r\n");
    case Route::Kind::none: return exchange.fail(fail(Code::not_found, "There is nothing at this path."));
    default: return only("Allow: POST\r\n");
  }
}

}  // namespace via::api
