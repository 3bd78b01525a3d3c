// Listening sockets and the I/O threads behind them.
//
// Each I/O thread has an acceptor of its own on the same TCP port (SO_REUSEPORT), so that a connection lives and dies
// on one thread. The admin socket lives on a thread of its own, with connections of its own: whatever apps do, operators get in.
// When all places for connections are taken, one that waits for its next request gives way to a new one.
// Thread: control; callbacks on I/O threads.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/net/exchange.hpp"
#include "core/net/io_thread.hpp"
#include "core/net/limits.hpp"

namespace via::net {

struct TlsFiles {
  std::filesystem::path certificate;  // PEM chain
  std::filesystem::path key;          // PEM, private file
};

struct ListenerSettings {
  std::string address = "127.0.0.1:8181";  // host:port, port 0 = any
  bool allow_public_plaintext = false;
  std::unique_ptr<TlsFiles> tls;           // null = plain HTTP
  unsigned threads = 1;
  bool admin = false;                      // start_admin() follows
  Limits limits;
};

// How many connections of apps the process can hold beside its files, of `wanted`, with so many descriptors.
std::size_t connections_within(std::size_t wanted, std::uint64_t descriptors);
// Raises the soft limit of descriptors to the hard one; the limit.
std::uint64_t raise_descriptor_limit();

class Listener {
 public:
  Listener(ListenerSettings settings, const Clock& clock, Entropy& entropy, Logger& log, plugins::Executor& workers);
  ~Listener();

  // Takes the address: connections wait in the backlog until start(). refused for a public plaintext address that was
  // not allowed.
  Result<void> bind();
  // Takes a Unix socket for operators (mode 0660 with `group`, else 0600) in a folder whose lock the caller holds, in the
  // place of a stale one; on failure nothing of it is left. Connections wait in the backlog until start_admin().
  Result<void> bind_admin(const std::filesystem::path& path, const std::string& group);
  // Serves `handler` there. Before start().
  void start_admin(Handler& handler);
  // Starts the threads and accepts.
  void start(Handler& runtime);

  // New limits, and the certificate and key as their files are now; all of it or nothing. Connections that are open go on with the
  // certificate they began with, and meet new limits at their next request. refused when the certificate is not good, or when
  // TLS would begin or end. Once started.
  Result<void> change(const Limits& limits, const TlsFiles* tls);

  // "127.0.0.1:43121", once started.
  std::string address() const;
  std::size_t most_connections() const;  // any thread
  bool tls() const { return settings_.tls != nullptr; }
  const std::vector<std::unique_ptr<IoThread>>& threads() const { return threads_; }

  // For the authority (authorization/authority.hpp): both return when every I/O thread has done it. quiesce() is about what was
  // admitted before the last deliver(): what is admitted under the index of now has its rights from it.
  void deliver(const std::shared_ptr<const authorization::Index>& index);
  void quiesce(const std::vector<std::string>& instances);

  // Stops accepting, lets busy connections finish within the drain time (counted from `since_ns` of Clock::mono_ns, 0 = now),
  // closes the rest, ends the threads. False: operations that were given up are still in a plugin, with buffers of ours; then
  // this listener must not be destroyed, and the process ends by ExitLimit::leave().
  bool shutdown(std::uint64_t since_ns = 0);

 private:
  struct Impl;
  void admit(Handler& runtime, std::size_t index, boost::asio::ip::tcp::socket socket, int tries);
  void on_every_thread(const std::function<void(IoThread&)>& work);
  void remove_admin_socket();
  ListenerSettings settings_;
  const Clock& clock_;
  Logger& log_;
  ByteBudget memory_;
  std::vector<std::unique_ptr<IoThread>> threads_;
  std::unique_ptr<Impl> impl_;
};

// Text of the connection and request counters, for /metrics.
void append_metrics(const std::vector<std::unique_ptr<IoThread>>& threads, std::string& text);

}  // namespace via::net
