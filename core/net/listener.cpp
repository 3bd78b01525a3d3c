#include "core/net/listener.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "core/base/files.hpp"
#include "core/net/session.hpp"

namespace via::net {

namespace asio = boost::asio;
using asio::ip::tcp;
using Local = asio::local::stream_protocol;
namespace {

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

struct Endpoint {
  asio::ip::address address;
  unsigned short port = 0;
};

Result<Endpoint> parse_address(const std::string& text) {
  const auto wrong = via::fail(Code::bad_request, "The listen address '" + text +
                                                      "' must be ADDRESS:PORT, for example 127.0.0.1:8181 or [::1]:8181.");
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return wrong;
  std::string host = text.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  Endpoint out;
  boost::system::error_code ec;
  out.address = asio::ip::make_address(host, ec);
  const char* first = text.data() + colon + 1;
  const char* last = text.data() + text.size();
  const auto [end, err] = std::from_chars(first, last, out.port);
  if (ec || err != std::errc() || end != last || first == last) return wrong;
  return out;
}

// Counts connections of the whole process; a slot is held for a connection's life.
struct Slots {
  explicit Slots(std::size_t most) : maximum(most) {}
  std::atomic<std::size_t> maximum;
  std::atomic<std::size_t> used{0};
};

std::shared_ptr<void> take_slot(const std::shared_ptr<Slots>& slots) {
  if (slots->used.fetch_add(1) >= slots->maximum) {
    slots->used.fetch_sub(1);
    return nullptr;
  }
  return std::shared_ptr<void>(slots.get(), [slots](void*) { slots->used.fetch_sub(1); });
}

constexpr std::uint64_t kQuietNs = 250'000'000;
constexpr std::size_t kAdminConnections = 32;
constexpr int kTries = 4;  // to find a place for a new connection
constexpr std::uint64_t kCutNs = 500'000'000;  // at shutdown: from cancelled to given up, and from there to the end

bool out_of_descriptors(const boost::system::error_code& ec) {
  return ec == asio::error::no_descriptors || ec == boost::system::errc::too_many_files_open_in_system ||
         ec == asio::error::no_memory || ec == asio::error::no_buffer_space;
}

// Accepts until the acceptor is closed; pauses when the process is out of descriptors instead of spinning.
template <class Acceptor, class Start>
asio::awaitable<void> accept_loop(IoThread& thread, Acceptor& acceptor, Logger& log, Start start) {
  asio::steady_timer pause(thread.context());
  for (;;) {
    auto [ec, socket] = co_await acceptor.async_accept(kToken);
    if (ec == asio::error::operation_aborted || !acceptor.is_open()) co_return;
    if (ec) {
      if (out_of_descriptors(ec)) log.warn("accept_paused", {{"reason", ec.message()}});
      pause.expires_after(std::chrono::milliseconds(100));
      co_await pause.async_wait(kToken);
      continue;
    }
    start(std::move(socket));
  }
}

using Tls = std::shared_ptr<asio::ssl::context>;

Result<Tls> load_tls(const TlsFiles& files) {
  auto context = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  SSL_CTX_set_options(context->native_handle(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context->native_handle(), SSL_MODE_RELEASE_BUFFERS);
  auto key = read_private_file(files.key);
  if (!key) return via::fail(Code::refused, "The TLS key cannot be used: " + key.error().message + ".");
  auto chain = read_file(files.certificate);
  if (!chain) return via::fail(Code::refused, "The TLS certificate cannot be read.");
  boost::system::error_code ec;
  context->use_certificate_chain(asio::buffer(*chain), ec);
  if (!ec) context->use_private_key(asio::buffer(*key), asio::ssl::context::pem, ec);
  OPENSSL_cleanse(key->data(), key->size());
  if (ec) return via::fail(Code::refused, "The TLS certificate and key do not fit together.");
  return context;
}

}  // namespace

struct Listener::Impl {
  explicit Impl(std::size_t maximum) : slots(std::make_shared<Slots>(maximum)), admin_slots(std::make_shared<Slots>(kAdminConnections)) {}
  std::shared_ptr<Slots> slots, admin_slots;
  std::vector<std::unique_ptr<tcp::acceptor>> acceptors;  // one for each thread
  std::unique_ptr<Local::acceptor> admin;
  std::filesystem::path admin_path;
  struct stat admin_file {};  // what we made there
  std::vector<Tls> tls;  // of each thread, used by it alone once started; all the same between two changes
  std::string address;
  std::atomic<bool> running{false};
};

Listener::Listener(ListenerSettings settings, const Clock& clock, Entropy& entropy, Logger& log,
                   plugins::Executor& workers)
    : settings_(std::move(settings)),
      clock_(clock),
      log_(log),
      memory_(settings_.limits.memory_bytes, settings_.limits.memory_per_app_bytes),
      impl_(std::make_unique<Impl>(settings_.limits.max_connections)) {
  settings_.threads = std::max(1U, settings_.threads);
  for (unsigned i = 0; i < settings_.threads + (settings_.admin ? 1 : 0); ++i) {
    const auto lane = i < settings_.threads ? IoThread::Lane::requests : IoThread::Lane::control;
    threads_.push_back(std::make_unique<IoThread>(clock, entropy, settings_.limits, workers, memory_, lane));
    threads_.back()->log_to(log);
  }
}

Listener::~Listener() {
  shutdown();
  remove_admin_socket();  // of a start that failed
}

Result<void> Listener::bind() {
  auto endpoint = parse_address(settings_.address);
  if (!endpoint) return endpoint.error();
  if (!endpoint->address.is_loopback() && !settings_.tls && !settings_.allow_public_plaintext)
    return via::fail(Code::refused,
                     "Tokens would cross the network in the clear: " + settings_.address +
                         " is not a loopback address and TLS is off. Set [tls] certificate and key in the "
                         "configuration, or allow_plaintext = true if something in front does TLS.");
  if (settings_.tls) {
    auto context = load_tls(*settings_.tls);
    if (!context) return context.error();
    impl_->tls.assign(settings_.threads, *context);
  }
  tcp::endpoint at(endpoint->address, endpoint->port);
  for (unsigned i = 0; i < settings_.threads; ++i) {
    auto acceptor = std::make_unique<tcp::acceptor>(threads_[i]->context());
    boost::system::error_code ec;
    acceptor->open(at.protocol(), ec);
    if (!ec) acceptor->set_option(asio::socket_base::reuse_address(true), ec);
    if (!ec && settings_.threads > 1)
      acceptor->set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>(true), ec);
    if (!ec) acceptor->bind(at, ec);
    if (!ec) acceptor->listen(4096, ec);
    if (ec) {
      impl_->acceptors.clear();
      return via::fail(Code::conflict, "Cannot listen on " + settings_.address + ": " + ec.message() + ".");
    }
    at = acceptor->local_endpoint();  // the others take the port that the first one got
    impl_->acceptors.push_back(std::move(acceptor));
  }
  const std::string host = at.address().to_string();
  impl_->address = (at.address().is_v6() ? "[" + host + "]" : host) + ":" + std::to_string(at.port());
  return {};
}

// A place is free a little after its connection was told to close: what it has posted runs first.
void Listener::admit(Handler& runtime, std::size_t index, tcp::socket socket, int tries) {
  IoThread& thread = *threads_[index];
  auto slot = take_slot(impl_->slots);
  if (!slot) {
    if (tries > 0 && (tries < kTries || thread.close_idle_connection())) {
      asio::post(thread.context(), [this, &runtime, index, socket = std::move(socket), tries]() mutable {
        admit(runtime, index, std::move(socket), tries - 1);
      });
      return;
    }
    return Counters::add(thread.counters().refused);
  }
  if (!impl_->tls.empty())
    start_session(thread, runtime, std::move(socket), *impl_->tls[index], std::move(slot));
  else
    start_session(thread, runtime, std::move(socket), std::move(slot));
}

std::size_t connections_within(std::size_t wanted, std::uint64_t descriptors) {
  // Databases, plugins, the store, event loops, the admin socket.
  const std::uint64_t others = std::clamp<std::uint64_t>(descriptors / 4, 40, 4096);
  const std::uint64_t rest = descriptors > others + 8 ? descriptors - others : 8;
  return static_cast<std::size_t>(std::min<std::uint64_t>(wanted, rest));
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur;
}

void Listener::start(Handler& runtime) {
  for (std::size_t i = 0; i < settings_.threads; ++i) {
    IoThread& thread = *threads_[i];
    auto start = [this, i, &runtime](tcp::socket socket) { admit(runtime, i, std::move(socket), kTries); };
    asio::co_spawn(thread.context(), accept_loop(thread, *impl_->acceptors[i], log_, std::move(start)), asio::detached);
  }
  for (auto& thread : threads_) thread->start();
  impl_->running = true;
}

Result<void> Listener::bind_admin(const std::filesystem::path& path, const std::string& group) {
  if (path.native().size() >= 108)
    return via::fail(Code::bad_request, "The path of the admin socket, admin.sock in the state folder, has " +
                                            std::to_string(path.native().size()) +
                                            " bytes, and a Unix socket's may have 107. Use a state folder with a shorter path (--state-dir).");
  const struct group* entry = nullptr;
  if (!group.empty() && (entry = ::getgrnam(group.c_str())) == nullptr)
    return via::fail(Code::bad_request, "The admin group '" + group + "' does not exist. Create it, or correct admin_group in the configuration.");
  ::unlink(path.c_str());  // ours: the state lock is held
  impl_->admin = std::make_unique<Local::acceptor>(threads_.back()->context());
  boost::system::error_code ec;
  const mode_t old = ::umask(0177);
  impl_->admin->open(Local(), ec);
  if (!ec) impl_->admin->bind(Local::endpoint(path.string()), ec);
  ::umask(old);
  if (!ec && ::lstat(path.c_str(), &impl_->admin_file) == 0) impl_->admin_path = path;
  if (!ec && entry != nullptr && (::chown(path.c_str(), static_cast<uid_t>(-1), entry->gr_gid) != 0 || ::chmod(path.c_str(), 0660) != 0)) {
    const int problem = errno;
    remove_admin_socket();
    return via::fail(problem == EPERM ? Code::not_allowed : Code::internal,
                     "The admin socket cannot be given to the group '" + group + "': " + std::strerror(problem) + ".");
  }
  if (!ec) impl_->admin->listen(128, ec);
  if (ec) {
    remove_admin_socket();
    return via::fail(Code::internal, "Cannot open the admin socket: " + ec.message() + ".");
  }
  return {};
}

void Listener::remove_admin_socket() {
  struct stat now {};
  // Another one in its place is somebody else's.
  if (!impl_->admin_path.empty() && ::lstat(impl_->admin_path.c_str(), &now) == 0 && now.st_dev == impl_->admin_file.st_dev &&
      now.st_ino == impl_->admin_file.st_ino)
    ::unlink(impl_->admin_path.c_str());
  impl_->admin_path.clear();
}

void Listener::start_admin(Handler& handler) {
  IoThread& thread = *threads_.back();
  auto start = [this, &thread, &handler](Local::socket socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    // Taken once, at connect: a later change of the process does not matter.
    if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return;
    auto slot = take_slot(impl_->admin_slots);
    if (!slot) {
      thread.close_idle_connection();  // the next one finds a place
      return;
    }
    start_session(thread, handler, std::move(socket), Peer{credentials.uid, credentials.gid, credentials.pid},
                  std::move(slot));
  };
  asio::co_spawn(thread.context(), accept_loop(thread, *impl_->admin, log_, std::move(start)), asio::detached);
}

Result<void> Listener::change(const Limits& limits, const TlsFiles* tls) {
  if ((tls != nullptr) != this->tls()) return via::fail(Code::refused, "TLS begins and ends with a restart.");
  Tls context;
  if (tls != nullptr) {
    auto loaded = load_tls(*tls);
    if (!loaded) return loaded.error();
    context = std::move(*loaded);
  }
  settings_.limits = limits;
  impl_->slots->maximum = limits.max_connections;
  memory_.set(limits.memory_bytes, limits.memory_per_app_bytes);
  on_every_thread([&](IoThread& thread) {
    thread.set_limits(limits);
    for (std::size_t i = 0; context && i < impl_->tls.size(); ++i)
      if (threads_[i].get() == &thread) impl_->tls[i] = context;
  });
  return {};
}

std::size_t Listener::most_connections() const { return impl_->slots->maximum; }

std::string Listener::address() const { return impl_->address; }

void Listener::on_every_thread(const std::function<void(IoThread&)>& work) {
  if (!impl_->running) return;
  struct Round {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t left;    // guarded by mutex
    bool over = false;   // guarded by mutex: nobody waits, `work` is gone
  };
  const auto round = std::make_shared<Round>();
  round->left = threads_.size();
  for (auto& thread : threads_) {
    asio::post(thread->context(), [round, &work, t = thread.get()] {
      const std::lock_guard lock(round->mutex);
      if (round->over) return;
      work(*t);
      if (--round->left == 0) round->changed.notify_one();
    });
  }
  std::unique_lock lock(round->mutex);
  // A thread that has ended runs no more tasks.
  while (round->left != 0 && impl_->running) round->changed.wait_for(lock, std::chrono::milliseconds(100));
  round->over = true;
}

void Listener::deliver(const std::shared_ptr<const authorization::Index>& index) {
  if (!impl_->running) {
    for (auto& thread : threads_) thread->set_index(index);
    return;
  }
  on_every_thread([&](IoThread& thread) { thread.set_index(index); });
}

void Listener::quiesce(const std::vector<std::string>& instances) {
  // Calls that end by themselves get a moment, those that hear of their cancellation a grace; the rest is done without.
  const std::uint64_t cancel_at = clock_.mono_ns() + kQuietNs;
  const std::uint64_t give_up_at = cancel_at + kGraceMs * 1'000'000;
  std::vector<std::uint64_t> serials(threads_.size(), 0);  // of each thread when it is first asked
  for (unsigned pause_us = 50;; pause_us = std::min(pause_us * 2, 2000U)) {
    std::atomic<std::size_t> working{0};
    const std::uint64_t now = clock_.mono_ns();
    const Insist insist = now >= give_up_at ? Insist::give_up : now >= cancel_at ? Insist::cancel : Insist::wait;
    on_every_thread([&](IoThread& thread) {
      for (std::size_t i = 0; i < threads_.size(); ++i) {
        if (threads_[i].get() != &thread) continue;
        if (serials[i] == 0) serials[i] = thread.index_serial();
        working += thread.count_working(instances, serials[i], insist);
      }
    });
    if (working == 0) return;
    ::usleep(pause_us);
  }
}

bool Listener::shutdown(std::uint64_t since_ns) {
  if (!impl_->running) return true;
  on_every_thread([&](IoThread& thread) {
    boost::system::error_code ec;
    for (std::size_t i = 0; i < threads_.size(); ++i)
      if (threads_[i].get() == &thread && i < impl_->acceptors.size()) impl_->acceptors[i]->close(ec);
    if (&thread == threads_.back().get() && impl_->admin) impl_->admin->close(ec);
    thread.drain_connections();
  });
  const std::uint64_t expire_at =
      (since_ns == 0 ? clock_.mono_ns() : since_ns) + settings_.limits.drain_timeout_ms * 1'000'000;
  std::atomic<std::size_t> open{0}, stuck{0};
  for (Insist insist = Insist::wait;;) {
    open = stuck = 0;
    on_every_thread([&](IoThread& thread) {
      open += thread.connection_count();
      stuck += thread.abandoned;
      if (insist != Insist::wait) thread.expire_all();
      if (insist == Insist::give_up) thread.give_up_all();
    });
    const std::uint64_t now = clock_.mono_ns();
    if (open == 0 || now >= expire_at + kCutNs + kCutNs) break;
    insist = now >= expire_at + kCutNs ? Insist::give_up : now >= expire_at ? Insist::cancel : Insist::wait;
    ::usleep(1000);
  }
  impl_->running = false;
  for (auto& thread : threads_) thread->stop();
  for (auto& thread : threads_) thread->join();
  remove_admin_socket();
  return open == 0 && stuck == 0;
}

void append_metrics(const std::vector<std::unique_ptr<IoThread>>& threads, std::string& text) {
  const auto sum = [&](auto&& pick) {
    std::uint64_t n = 0;
    for (const auto& thread : threads) n += pick(thread->counters()).load(std::memory_order_relaxed);
    return n;
  };
  const auto line = [&](const std::string& name, std::uint64_t value) {
    text += name + " " + std::to_string(value) + "\n";
  };
  text += "# TYPE via_http_requests_total counter\n";
  for (std::size_t i = 1; i < 6; ++i)
    line("via_http_requests_total{class=\"" + std::to_string(i) + "xx\"}",
         sum([i](Counters& c) -> auto& { return c.by_class[i]; }));
  text += "# TYPE via_http_connections gauge\n";
  line("via_http_connections", sum([](Counters& c) -> auto& { return c.connections; }));
  text += "# TYPE via_http_accepted_total counter\n";
  line("via_http_accepted_total", sum([](Counters& c) -> auto& { return c.accepted; }));
  text += "# TYPE via_http_refused_total counter\n";
  line("via_http_refused_total", sum([](Counters& c) -> auto& { return c.refused; }));
  text += "# TYPE via_operations_total counter\n";
  line("via_operations_total{where=\"inline\"}", sum([](Counters& c) -> auto& { return c.inline_operations; }));
  line("via_operations_total{where=\"worker\"}", sum([](Counters& c) -> auto& { return c.worker_operations; }));
  text += "# TYPE via_operations_abandoned_total counter\n";
  line("via_operations_abandoned_total", sum([](Counters& c) -> auto& { return c.abandoned_operations; }));
  text += "# TYPE via_io_long_turns_total counter\n";
  line("via_io_long_turns_total", sum([](Counters& c) -> auto& { return c.long_turns; }));
  if (!threads.empty()) {
    text += "# TYPE via_http_memory_bytes gauge\n";
    line("via_http_memory_bytes", threads.front()->memory().used());
    text += "# TYPE via_http_memory_refused_total counter\n";
    line("via_http_memory_refused_total", threads.front()->memory().refused());
  }
  text += "# TYPE via_http_request_seconds histogram\n";
  std::uint64_t total = 0;
  for (std::size_t i = 0; i <= Counters::kBounds.size(); ++i) {
    total += sum([i](Counters& c) -> auto& { return c.latency[i]; });
    char bound[32];
    if (i < Counters::kBounds.size())
      std::snprintf(bound, sizeof bound, "%g", Counters::kBounds[i]);
    else
      std::snprintf(bound, sizeof bound, "+Inf");
    line("via_http_request_seconds_bucket{le=\"" + std::string(bound) + "\"}", total);
  }
  line("via_http_request_seconds_count", total);
  text += "via_http_request_seconds_sum " +
          std::to_string(static_cast<double>(sum([](Counters& c) -> auto& { return c.latency_ns_sum; })) * 1e-9) + "\n";
}

}  // namespace via::net
