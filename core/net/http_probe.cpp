#include "core/net/http_probe.hpp"

#include <chrono>
#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>

namespace via::net {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;

namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

Error not_reached(const boost::system::error_code& ec, const char* doing) {
  if (ec == beast::error::timeout) return fail(Code::deadline_exceeded, "No answer came in time.");
  if (ec == http::error::body_limit) return fail(Code::body_too_large, "The answer is too long.");
  return fail(Code::unavailable, std::string(doing) + " failed (" + ec.message() + ").");
}

using Request = http::request<http::string_body>;

struct Limits {
  std::chrono::milliseconds time;
  std::uint64_t body;
};

// Over a stream that is connected (and secured); `lowest` has the time limit.
template <class Stream, class Lowest>
asio::awaitable<Result<ProbeAnswer>> exchange(Stream& stream, Lowest& lowest, Request& request, Limits limits) {
  lowest.expires_after(limits.time);
  auto [unsent, sent] = co_await http::async_write(stream, request, kToken);
  if (unsent) co_return not_reached(unsent, "Sending the request");
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(limits.body);
  parser.skip(request.method() == http::verb::head);
  auto [unread, read] = co_await http::async_read(stream, buffer, parser, kToken);
  if (unread) co_return not_reached(unread, "Reading the answer");
  ProbeAnswer answer{static_cast<int>(parser.get().result_int()), std::move(parser.get().body()),
                     parser.get()[http::field::content_type]};
  co_return answer;
}

struct Where {
  bool tls;
  const std::string &host, &port, &ca_file, &socket;
};

asio::awaitable<Result<ProbeAnswer>> call(Where where, Request request, Limits limits) {
  const auto executor = co_await asio::this_coro::executor;
  if (!where.socket.empty()) {
    beast::basic_stream<asio::local::stream_protocol> stream(executor);
    stream.expires_after(limits.time);
    auto [refused] = co_await stream.async_connect(asio::local::stream_protocol::endpoint(where.socket), kToken);
    if (refused) co_return not_reached(refused, "Connecting");
    co_return co_await exchange(stream, stream, request, limits);
  }
  tcp::resolver resolver(executor);
  auto [unknown, endpoints] = co_await resolver.async_resolve(where.host, where.port, kToken);
  if (unknown) co_return not_reached(unknown, "Finding the host");
  if (!where.tls) {
    beast::tcp_stream stream(executor);
    stream.expires_after(limits.time);
    auto [refused, endpoint] = co_await stream.async_connect(endpoints, kToken);
    if (refused) co_return not_reached(refused, "Connecting");
    co_return co_await exchange(stream, stream, request, limits);
  }
  asio::ssl::context context(asio::ssl::context::tls_client);
  boost::system::error_code ec;
  if (where.ca_file.empty())
    context.set_default_verify_paths(ec);
  else
    context.load_verify_file(where.ca_file, ec);
  if (ec) co_return fail(Code::not_allowed, "The file of certificate authorities cannot be read.");
  asio::ssl::stream<beast::tcp_stream> stream(executor, context);
  stream.set_verify_mode(asio::ssl::verify_peer, ec);
  stream.set_verify_callback(asio::ssl::host_name_verification(where.host), ec);
  // Names only: RFC 6066 has no addresses here.
  asio::ip::make_address(where.host, ec);
  if (ec) SSL_set_tlsext_host_name(stream.native_handle(), where.host.c_str());
  stream.next_layer().expires_after(limits.time);
  auto [refused, endpoint] = co_await stream.next_layer().async_connect(endpoints, kToken);
  if (refused) co_return not_reached(refused, "Connecting");
  auto [unsafe] = co_await stream.async_handshake(asio::ssl::stream_base::client, kToken);
  if (unsafe) {
    if (unsafe == beast::error::timeout) co_return not_reached(unsafe, "The TLS handshake");
    co_return fail(Code::not_allowed, "The config server's certificate was not accepted.");
  }
  co_return co_await exchange(stream, stream.next_layer(), request, limits);
}

}  // namespace

Result<HttpProbe> HttpProbe::to(const std::string& url, const std::string& ca_file) {
  const auto wrong = fail(Code::bad_request, "The config server's URL has another form than http(s)://HOST[:PORT].");
  HttpProbe out;
  std::string rest;
  if (url.starts_with("http://"))
    rest = url.substr(7);
  else if (url.starts_with("https://"))
    rest = url.substr(8);
  else
    return wrong;
  out.tls_ = url.starts_with("https://");
  out.ca_file_ = ca_file;
  const auto slash = rest.find('/');
  if (slash != std::string::npos) out.prefix_ = rest.substr(slash);
  while (out.prefix_.ends_with('/')) out.prefix_.pop_back();
  rest = rest.substr(0, slash);
  const auto bracket = rest.find(']');
  const auto colon = rest.find(':', bracket == std::string::npos ? 0 : bracket);
  out.host_ = rest.substr(0, colon);
  out.port_ = colon == std::string::npos ? (out.tls_ ? "443" : "80") : rest.substr(colon + 1);
  if (out.host_.size() > 2 && out.host_.front() == '[') out.host_ = out.host_.substr(1, out.host_.size() - 2);
  const bool digits = !out.port_.empty() && out.port_.size() <= 5 && out.port_.find_first_not_of("0123456789") == std::string::npos;
  if (out.host_.empty() || !digits) return wrong;
  return out;
}

HttpProbe HttpProbe::over(std::string socket, std::string prefix) {
  HttpProbe out;
  out.host_ = "localhost";
  out.port_ = "80";
  out.prefix_ = std::move(prefix);
  out.socket_ = std::move(socket);
  return out;
}

Result<ProbeAnswer> HttpProbe::post(const std::string& path, const Secret& token, std::string_view body, int timeout_ms) const {
  return send({"POST", path, "application/json", std::string(body)}, token, timeout_ms);
}

Result<ProbeAnswer> HttpProbe::send(const ProbeRequest& wanted, const Secret& token, int timeout_ms, std::uint64_t max_answer) const {
  const auto method = http::string_to_verb(wanted.method);
  if (method == http::verb::unknown) return fail(Code::bad_request, "'" + wanted.method + "' is no HTTP method.");
  Request request(method, prefix_ + wanted.target, 11);
  const bool six = host_.find(':') != std::string::npos;
  request.set(http::field::host, (six ? "[" + host_ + "]" : host_) + ":" + port_);
  if (!wanted.content_type.empty() && !wanted.body.empty()) request.set(http::field::content_type, wanted.content_type);
  request.set(http::field::accept, "application/json");
  request.set(http::field::connection, "close");
  if (!token.empty()) request.set(http::field::authorization, "Bearer " + std::string(token.reveal()));
  request.body() = wanted.body;
  request.prepare_payload();
  asio::io_context context(1);
  std::optional<Result<ProbeAnswer>> answer;
  asio::co_spawn(context, call({tls_, host_, port_, ca_file_, socket_}, std::move(request), {std::chrono::milliseconds(timeout_ms), max_answer}),
                 [&](std::exception_ptr problem, Result<ProbeAnswer> out) {
                   if (!problem) answer.emplace(std::move(out));
                 });
  context.run();
  if (!answer) return fail(Code::internal, "the request broke off");
  return std::move(*answer);
}

}  // namespace via::net
