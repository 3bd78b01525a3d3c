#include "core/api/extension.hpp"

#include <algorithm>
#include <atomic>
#include <list>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/container/small_vector.hpp>

namespace via::api {

namespace asio = boost::asio;

namespace {

via_str str(std::string_view s) { return {s.data(), s.size()}; }

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// application/x-www-form-urlencoded. An escape that is none stays as it is.
std::string decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) >= 0 && hex(text[i + 2]) >= 0) {
      out += static_cast<char>(hex(text[i + 1]) * 16 + hex(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

// Fields that are the host's own business.
bool is_hidden(std::string_view name) {
  static constexpr std::string_view kHidden[] = {"authorization", "connection", "keep-alive", "te", "trailer",
                                                 "transfer-encoding", "upgrade", "proxy-authorization", "cookie"};
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; };
  return std::any_of(std::begin(kHidden), std::end(kHidden), [&](std::string_view hidden) {
    return name.size() == hidden.size() && std::equal(name.begin(), name.end(), hidden.begin(), same);
  });
}

// The request in the form of the ABI: views into the connection's buffer, but for parameters with escapes.
class ExtensionRequest {
 public:
  ExtensionRequest(const net::Request& request, std::string_view path, const ExtensionCaller& who) {
    for (std::string_view rest = request.query; !rest.empty();) {
      const auto end = std::min(rest.find('&'), rest.size());
      const std::string_view pair = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (pair.empty()) continue;
      const auto equals = std::min(pair.find('='), pair.size());
      query_.push_back({text(pair.substr(0, equals)), text(pair.substr(std::min(equals + 1, pair.size())))});
    }
    for (const auto& [name, value] : request.fields)
      if (!is_hidden(name)) headers_.push_back({str(name), str(value)});
    for (const std::string& scope : who.scopes) scopes_.push_back(str(scope));
    for (const auto& [name, value] : who.limits) limits_.push_back({str(name), str(value)});
    caller_.struct_size = sizeof caller_;
    caller_.generation = who.generation;
    caller_.binding_id = who.binding_id;
    caller_.scopes = scopes_.data();
    caller_.scopes_len = scopes_.size();
    caller_.live_generations = who.live_generations.data();
    caller_.live_generations_len = who.live_generations.size();
    http_.struct_size = sizeof http_;
    http_.method = str(method_name(request.method));
    http_.path = str(path);
    http_.query = query_.data();
    http_.query_len = query_.size();
    http_.headers = headers_.data();
    http_.headers_len = headers_.size();
    http_.caller = &caller_;
    http_.limits = limits_.data();
    http_.limits_len = limits_.size();
    http_.body = {reinterpret_cast<const std::uint8_t*>(request.body.data()), request.body.size()};
  }
  ExtensionRequest(const ExtensionRequest&) = delete;
  ExtensionRequest& operator=(const ExtensionRequest&) = delete;

  const via_http_request& abi() const { return http_; }

 private:
  via_str text(std::string_view raw) {
    if (raw.find_first_of("%+") == raw.npos) return str(raw);
    return str(decoded_.emplace_back(decoded(raw)));
  }

  std::list<std::string> decoded_;
  boost::container::small_vector<via_pair, 8> query_;
  boost::container::small_vector<via_pair, 16> headers_;
  boost::container::small_vector<via_pair, 2> limits_;
  boost::container::small_vector<via_str, 4> scopes_;
  via_caller caller_{};
  via_http_request http_{};
};

// A request on its way over a worker. It lives until the plugin's function has returned, which may be a little after the call
// was completed; the views into the connection's buffer are lent as long.
class ExtensionCall {
 public:
  ExtensionCall(const net::Request& request, std::string_view path, std::shared_ptr<plugins::AddonInstance> instance,
                const ExtensionCaller& who, std::shared_ptr<const void> held, via_call* call)
      : instance_(std::move(instance)), held_(std::move(held)), request_(request, path, who), call_(call) {}

  static void run(void* data, via_status why) {
    const std::unique_ptr<std::shared_ptr<ExtensionCall>> owned(static_cast<std::shared_ptr<ExtensionCall>*>(data));
    ExtensionCall& c = **owned;
    if (why == VIA_OK)
      c.instance_->handle(c.request_.abi(), c.call_);
    else
      c.call_->complete(c.call_, VIA_E_UNAVAILABLE, str("The add-on is closing."), {nullptr, 0});
    c.returned_.store(true, std::memory_order_release);
  }
  const std::atomic<bool>& returned() const { return returned_; }

 private:
  const std::shared_ptr<plugins::AddonInstance> instance_;
  const std::shared_ptr<const void> held_;
  const ExtensionRequest request_;
  via_call* const call_;
  std::atomic<bool> returned_{false};
};

}  // namespace

std::string_view method_name(net::Method method) {
  switch (method) {
    case net::Method::get: return "GET";
    case net::Method::head: return "HEAD";
    case net::Method::post: return "POST";
    case net::Method::put: return "PUT";
    case net::Method::del: return "DELETE";
    case net::Method::options: return "OPTIONS";
    case net::Method::other: break;
  }
  return "";
}

bool below_prefix(std::string_view path, std::string_view prefix) {
  return !prefix.empty() && path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

void log_failure(Logger& log, net::Exchange& exchange, const plugins::AddonInstance& instance) {
  const Error* error = exchange.call_failure();
  if (error == nullptr || error->http_status() < 500) [[likely]]
    return;
  log.error("operation_failed", {{"request_id", exchange.request_id()},
                                 {"addon", instance.id()},
                                 {"type", instance.type().id},
                                 {"code", error->wire_name()},
                                 {"reason", error->message}});
}

Begun try_extension(Logger& log, net::Exchange& exchange, const std::shared_ptr<plugins::AddonInstance>& instance, std::string_view path,
                    const ExtensionCaller& caller, std::uint64_t timeout_ms, net::Pending& pending) {
  if (!instance->tries_http()) return Begun::blocked;
  if (!instance->enter(caller.working_for)) [[unlikely]] {
    exchange.fail(instance->refusal(caller.working_for));
    return Begun::done;
  }
  exchange.charge_to(caller.owner);
  plugins::Call& call = exchange.begin_call(exchange.started_ns() + timeout_ms * 1'000'000);
  const ExtensionRequest request(exchange.request(), path, caller);
  if (instance->try_handle(request.abi(), call.abi()) == VIA_OK) {
    if (!call.done()) {
      pending.instance = instance;
      pending.call = &call;
      return Begun::pending;
    }
    exchange.finish_inline();
    instance->gate().leave();
    log_failure(log, exchange, *instance);
    return Begun::done;
  }
  exchange.drop_call();
  instance->gate().leave();
  return Begun::blocked;
}

asio::awaitable<void> finish_pending(Logger& log, net::Exchange& exchange, net::Pending pending) {
  using CallEnd = net::Exchange::CallEnd;
  plugins::AddonInstance& instance = *pending.instance;
  CallEnd end;
  {
    const plugins::AddonInstance::Running running(instance, *pending.call);
    end = co_await exchange.finish_call(pending.working_for);
  }
  if (end == CallEnd::ended) {
    log_failure(log, exchange, instance);
    instance.gate().leave();  // after everything else: destroying an add-on waits for the gate
    co_return;
  }
  // It is in the plugin and does not come back. Nobody waits for it any more: not who ends its rights, nor a drain.
  const bool overdue = end == CallEnd::overdue;
  const plugins::Stuck stuck(instance, overdue ? pending.working_for : std::string_view());
  instance.gate().leave();
  log.error("operation_abandoned", {{"request_id", exchange.request_id()},
                                    {"addon", instance.id()},
                                    {"type", instance.type().id},
                                    {"for", pending.working_for},
                                    {"reason", overdue ? "it did not end at its deadline" : "its rights ended"}});
  // (Named, because GCC 12 destroys the temporaries of a co_await expression twice.)
  const Error why = overdue ? fail(Code::deadline_exceeded, "The operation did not end in time and was given up.")
                            : fail(Code::unavailable, "The operation was ended together with the right to it, or its add-on is taken down.");
  co_await exchange.abandon_call(why);
  log.info("operation_came_back", {{"request_id", exchange.request_id()}, {"addon", instance.id()}});
}

asio::awaitable<void> serve_extension(Logger& log, net::Exchange& exchange,
                                      std::shared_ptr<plugins::AddonInstance> instance, std::string_view path, ExtensionCaller caller,
                                      std::shared_ptr<const void> held, std::string_view working_for, std::uint64_t timeout_ms) {
  if (!instance->enter(working_for)) {
    exchange.fail(instance->refusal(working_for));
    co_return;
  }
  exchange.charge_to(caller.owner);
  plugins::Call& call = exchange.begin_call(exchange.started_ns() + timeout_ms * 1'000'000);
  const auto work = std::make_shared<ExtensionCall>(exchange.request(), path, instance, caller, held, call.abi());
  auto* raw = std::make_unique<std::shared_ptr<ExtensionCall>>(work).release();  // owned by the task
  if (!instance->post(&ExtensionCall::run, raw)) ExtensionCall::run(raw, VIA_E_CANCELLED);
  net::Pending pending{instance, std::move(held), working_for, &call};
  co_await finish_pending(log, exchange, std::move(pending));
  co_await exchange.until(work->returned());  // until then the request's bytes are lent to the plugin
}

}  // namespace via::api
