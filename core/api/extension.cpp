#include "core/api/extension.hpp"

#include <algorithm>
#include <atomic>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

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

bool is_hidden(std::string_view name) {
  static constexpr std::string_view kHidden[] = {"authorization", "connection", "keep-alive", "te", "trailer",
                                                 "transfer-encoding", "upgrade", "proxy-authorization", "cookie"};
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return std::find(std::begin(kHidden), std::end(kHidden), lower) != std::end(kHidden);
}

// The request in the form of the ABI. It lives until the plugin's function has returned, which may be a little after the
// call was completed; the views into the connection's buffer are lent as long.
class ExtensionCall {
 public:
  ExtensionCall(const net::Request& request, std::string_view path, std::shared_ptr<plugins::AddonInstance> instance,
                ExtensionCaller who, std::shared_ptr<const void> held, via_call* call)
      : instance_(std::move(instance)), who_(std::move(who)), held_(std::move(held)), call_(call) {
    for (std::string_view rest = request.query; !rest.empty();) {
      const auto end = std::min(rest.find('&'), rest.size());
      const std::string_view pair = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (pair.empty()) continue;
      const auto equals = std::min(pair.find('='), pair.size());
      decoded_.emplace_back(decoded(pair.substr(0, equals)), decoded(pair.substr(std::min(equals + 1, pair.size()))));
    }
    for (const auto& [name, value] : decoded_) query_.push_back({str(name), str(value)});
    for (const auto& [name, value] : request.fields)
      if (!is_hidden(name)) headers_.push_back({str(name), str(value)});
    for (const std::string& scope : who_.scopes) scopes_.push_back(str(scope));
    for (const auto& [name, value] : who_.limits) limits_.push_back({str(name), str(value)});
    caller_.struct_size = sizeof caller_;
    caller_.generation = who_.generation;
    caller_.binding_id = who_.binding_id;
    caller_.scopes = scopes_.data();
    caller_.scopes_len = scopes_.size();
    caller_.live_generations = who_.live_generations.data();
    caller_.live_generations_len = who_.live_generations.size();
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
  ExtensionCall(const ExtensionCall&) = delete;
  ExtensionCall& operator=(const ExtensionCall&) = delete;

  static void run(void* data, via_status why) {
    const std::unique_ptr<std::shared_ptr<ExtensionCall>> owned(static_cast<std::shared_ptr<ExtensionCall>*>(data));
    ExtensionCall& c = **owned;
    if (why == VIA_OK)
      c.instance_->handle(c.http_, c.call_);
    else
      c.call_->complete(c.call_, VIA_E_UNAVAILABLE, str("The add-on is closing."), {nullptr, 0});
    c.returned_.store(true, std::memory_order_release);
  }
  bool returned() const { return returned_.load(std::memory_order_acquire); }

 private:
  const std::shared_ptr<plugins::AddonInstance> instance_;
  const ExtensionCaller who_;
  const std::shared_ptr<const void> held_;
  via_call* const call_;
  std::vector<std::pair<std::string, std::string>> decoded_;
  std::vector<via_pair> query_, headers_, limits_;
  std::vector<via_str> scopes_;
  via_caller caller_{};
  via_http_request http_{};
  std::atomic<bool> returned_{false};
};

}  // namespace

bool below_prefix(std::string_view path, std::string_view prefix) {
  return !prefix.empty() && path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

asio::awaitable<void> serve_extension(net::Exchange& exchange, std::shared_ptr<plugins::AddonInstance> instance,
                                      std::string_view path, ExtensionCaller caller, std::shared_ptr<const void> held,
                                      std::string_view working_for, std::uint64_t timeout_ms) {
  plugins::Call& call = exchange.begin_call(exchange.started_ns() + timeout_ms * 1'000'000);
  const auto work = std::make_shared<ExtensionCall>(exchange.request(), path, instance, std::move(caller), std::move(held), call.abi());
  auto* raw = std::make_unique<std::shared_ptr<ExtensionCall>>(work).release();  // owned by the task
  if (!instance->post(&ExtensionCall::run, raw)) ExtensionCall::run(raw, VIA_E_CANCELLED);
  {
    const plugins::AddonInstance::Running running(*instance, call);
    co_await exchange.finish_call(working_for);
  }
  instance->gate().leave();
  // The request's bytes are lent to the plugin until its function returns.
  while (!work->returned()) co_await asio::post(exchange.thread().context(), asio::use_awaitable);
}

}  // namespace via::api
