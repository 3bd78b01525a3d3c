#include "core/isolation/run.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <openssl/crypto.h>

namespace via::isolation {
namespace {

using std::chrono::milliseconds;

constexpr int kTickMs = 500;  // how often the limits of calls in flight are looked at
constexpr std::uint64_t kCancelledLimitNs = 60'000'000'000U;
constexpr std::size_t kMaximumMetrics = 4096, kLongestLine = 1000;
constexpr int kLinesASecond = 50;
constexpr std::string_view kEnded =
    "The add-on's process ended while it worked on this request, so what became of it is not known. The process is started "
    "again at its next use.";

via_bytes bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

template <class Table>
const Table* service(const via_host* host, const char* id) {
  return host == nullptr ? nullptr : static_cast<const Table*>(host->get_service(host, id));
}

// Above the numbers that the child gets.
FileHandle lift(int fd) { return FileHandle(::fcntl(fd, F_DUPFD_CLOEXEC, 10)); }

std::string describe(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return "exit code " + std::to_string(info.si_status);
  const char* const name = ::sigabbrev_np(info.si_status);
  return std::string("signal ") + (name != nullptr ? "SIG" + std::string(name) : std::to_string(info.si_status));
}

}  // namespace

// A call in flight. What the loop writes into the via_call, it writes directly while the client keeps up; else a task on a
// worker waits for the client, and what comes meanwhile (never more than the window) goes through `held`.
struct Run::Call {
  std::uint64_t id = 0;
  via_call* abi = nullptr;
  bool bytes = false;              // may answer with bytes
  After after;
  std::atomic<bool> cancelled{false};
  std::atomic<std::uint64_t> limit_ns{0};  // when the runner is ended for it; 0 = never
  Run* run = nullptr;
  bool head = false, begun = false;  // the loop's
  std::size_t room = kWindow;        // guarded by mutex, as the rest
  std::size_t owed = 0;              // taken, not told to the runner yet

  std::mutex mutex;
  bool sent = false;     // the arguments have left: the via_call's owner may have its memory back
  bool writing = false;  // a worker writes
  bool over = false;     // its end has come
  via_status lost = VIA_OK;  // bytes of it could not be written: it cannot end well any more
  std::deque<std::string> held;
  via_status status = VIA_OK;
  std::string message, details;
};

Run::Run(Setup setup) : setup_(std::move(setup)) {}

Run::~Run() {
  if (channel_) channel_->shut();
  if (thread_.joinable()) thread_.join();
}

std::string Run::reason() const {
  const std::lock_guard lock(mutex_);
  return reason_;
}

Result<void> Run::start() {
  started_ns_ = setup_.services.clock.mono_ns();
  Result<void> spawned;
  thread_ = std::thread([this, &spawned] {
    ::pthread_setname_np(::pthread_self(), "via-isolation");
    spawned = spawn();
    const bool runs = spawned.has_value();
    {
      const std::lock_guard lock(mutex_);
      launched_ = true;
      gone_ = !runs;
      changed_.notify_all();
    }
    if (runs) loop();
  });
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return launched_; });
    if (!spawned) {
      ended_ = true;
      return spawned;
    }
  }
  return await_ready();
}

Result<void> Run::start(FileHandle socket) {
  started_ns_ = setup_.services.clock.mono_ns();
  channel_ = std::make_unique<Channel>(std::move(socket));
  launched_ = true;
  thread_ = std::thread([this] { loop(); });
  return await_ready();
}

Result<void> Run::await_ready() {
  const plugins::Manifest& manifest = setup_.manifest;
  Packet hello(Kind::hello, 0);
  hello.bytes(manifest.id).bytes(manifest.text);
  int level = 0;
  while (level < 6 && !setup_.services.log.enabled(static_cast<Level>(level))) ++level;
  hello.u8(static_cast<std::uint8_t>(level));
  const auto& settings = setup_.services.settings;
  const auto mine = [&](const auto& entry) {
    return std::any_of(manifest.types.begin(), manifest.types.end(), [&](const auto& t) { return t.id == entry.first; });
  };
  hello.u32(static_cast<std::uint32_t>(std::count_if(settings.begin(), settings.end(), mine)));
  for (const auto& entry : settings)
    if (mine(entry)) hello.bytes(entry.first).bytes(entry.second);
  if (!hello.fits()) {
    channel_->shut();
    return fail(Code::bad_request, "its settings are too long");
  }
  channel_->send(hello);
  std::unique_lock lock(mutex_);
  const bool told = changed_.wait_for(lock, milliseconds(setup_.options.start_ms), [&] { return ready_ || ended_; });
  if (ready_ && !ended_) return {};
  if (!told && reason_.empty()) reason_ = "it was not ready in time";
  lock.unlock();
  channel_->shut();
  (void)wait_gone(setup_.options.stop_ms);
  return fail(Code::unavailable, reason());
}

Result<void> Run::spawn() {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return system_error("make a socket", errno);
  FileHandle mine(ends[0]);
  const FileHandle low_theirs(ends[1]);
  if (::pipe2(ends, O_CLOEXEC) != 0) return system_error("make a pipe", errno);
  output_ = FileHandle(ends[0]);
  const FileHandle low_output(ends[1]);
  const FileHandle theirs = lift(low_theirs.get()), output = lift(low_output.get()), library = lift(setup_.library);
  const FileHandle null = lift(FileHandle(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get());
  if (!theirs || !output || !library || !null || ::fcntl(output_.get(), F_SETFL, O_NONBLOCK) != 0)
    return system_error("prepare a runner's descriptors", errno);

  std::vector<std::string> words{setup_.options.program.string(), setup_.type, std::to_string(::getpid()),
                                 std::to_string(setup_.options.workers), std::to_string(setup_.options.memory_mb)};
  std::vector<std::string> pairs{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/"};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) pairs.push_back(std::string(name) + "=" + value);  // NOLINT(concurrency-mt-unsafe)
#endif
  std::vector<char*> argv, envp;
  for (std::string& word : words) argv.push_back(word.data());
  for (std::string& pair : pairs) envp.push_back(pair.data());
  argv.push_back(nullptr);
  envp.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attributes);
  const std::pair<int, int> given[] = {{null.get(), 0}, {output.get(), 1}, {output.get(), 2}, {theirs.get(), 3}, {library.get(), 4}};
  for (const auto& [from, to] : given) ::posix_spawn_file_actions_adddup2(&files, from, to);
  ::posix_spawn_file_actions_addclosefrom_np(&files, 5);
  ::posix_spawn_file_actions_addchdir_np(&files, "/");
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, words[0].c_str(), &files, &attributes, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    setup_.services.log.error("plugin_runner_not_started", {{"addon_type", setup_.type}, {"reason", std::strerror(error)}});
    return fail(Code::unavailable, std::string("via-plugin-runner cannot be run: ") + std::strerror(error));
  }
  // Nobody else waits for this child, so its number cannot have gone to another process.
  pidfd_ = FileHandle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  pid_ = pid;
  channel_ = std::make_unique<Channel>(std::move(mine));
  setup_.services.log.info("plugin_runner_started", {{"addon_type", setup_.type}, {"pid", pid}});
  return {};
}

void Run::stop() {
  if (!asked_.exchange(true) && channel_ && !ended()) {
    Packet packet(Kind::stop, 0);
    channel_->send(packet);
  }
  if (!wait_gone(setup_.options.stop_ms) && channel_) {
    channel_->shut();
    (void)wait_gone(setup_.options.stop_ms);
  }
}

bool Run::wait_gone(int limit_ms) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, milliseconds(limit_ms), [&] { return gone_; });
}

// ---- the loop --------------------------------------------------------------------------------------------------

void Run::loop() {
  std::string problem, output;
  std::uint64_t quiet_since = 0;
  for (;;) {
    std::array<pollfd, 3> watched{{{channel_->socket(), POLLIN, 0}, {channel_->wake_fd(), POLLIN, 0}, {output_.get(), POLLIN, 0}}};
    if (channel_->wants_write()) watched[0].events |= POLLOUT;
    const std::uint64_t now = setup_.services.clock.mono_ns();
    bool busy = false;
    {
      const std::lock_guard lock(mutex_);
      busy = !calls_.empty();
      // Nothing in flight for a second: whoever sends next wakes this thread.
      if (busy) quiet_since = 0;
      else if (quiet_since == 0) quiet_since = now;
      idle_.store(!busy && now - quiet_since > 1'000'000'000U, std::memory_order_seq_cst);
    }
    const int n = ::poll(watched.data(), output_ ? 3 : 2, idle_ ? -1 : kTickMs);
    if (n < 0 && errno != EINTR) break;
    if ((watched[0].revents & POLLOUT) != 0) channel_->flush();
    if ((watched[1].revents & POLLIN) != 0) channel_->clear_wake();
    if (output_ && watched[2].revents != 0) say(output, false);
    if ((watched[0].revents & ~POLLOUT) != 0 &&
        !channel_->receive([this](const Frame& frame) { return on_frame(frame); }, problem))
      break;
    if (busy) look_at_limits();
  }
  if (!problem.empty()) (void)broken(problem);
  channel_->shut();
  {
    const std::lock_guard lock(mutex_);
    ended_.store(true, std::memory_order_release);
    changed_.notify_all();
  }
  end_process();
  if (!asked_) {
    plugins::Metrics& metrics = setup_.services.metrics;
    metrics.record(metrics.define(plugins::Metrics::Kind::counter, kCrashesMetric, {"addon_type"}), {setup_.type}, 1);
  }
  if (output_) say(output, true);
  fail_all();
  const std::lock_guard lock(mutex_);
  gone_ = true;
  changed_.notify_all();
}

bool Run::broken(std::string_view what) {
  const std::lock_guard lock(mutex_);
  if (reason_.empty()) reason_ = what;
  return false;
}

// What the plugin prints, line by line into the log.
void Run::say(std::string& pending, bool all) {
  std::array<char, 4096> buffer{};
  for (int i = 0; i < 64; ++i) {
    const ssize_t n = ::read(output_.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      output_.reset();
      all = true;
      break;
    }
    pending.append(buffer.data(), static_cast<std::size_t>(n));
  }
  for (;;) {
    std::size_t end = pending.find('\n');
    if (end == std::string::npos && (pending.size() > kLongestLine || (all && !pending.empty()))) end = pending.size();
    if (end == std::string::npos) break;
    const std::uint64_t second = setup_.services.clock.mono_ns() / 1'000'000'000U;
    if (second != lines_second_) lines_ = 0;
    lines_second_ = second;
    if (end > 0 && ++lines_ <= kLinesASecond)
      setup_.services.log.warn("plugin_output", {{"addon_type", setup_.type}, {"line", pending.substr(0, std::min(end, kLongestLine))}});
    pending.erase(0, end + 1);
  }
}

// The process ends by itself after `stop` and after a crash; in every other case it is killed. Here, because this thread
// started it.
void Run::end_process() {
  const int pid = pid_;
  if (pid == 0) return;
  siginfo_t info{};
  const auto reap = [&](int options) {
    int r = 0;
    do r = ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | options);
    while (r != 0 && errno == EINTR);
    return r != 0 || info.si_pid != 0;
  };
  pollfd end{pidfd_.get(), POLLIN, 0};
  // A socket that ended is a process that ends, unless the plugin closed what is not its own.
  const int patience = asked_ ? setup_.options.stop_ms : reason().empty() ? 1000 : 0;
  if (pidfd_ && patience > 0) ::poll(&end, 1, patience);
  bool killed = false;
  if (!reap(WNOHANG | WNOWAIT)) {
    killed = true;
    ::kill(pid, SIGKILL);
    (void)reap(WNOWAIT);
  }
  ::kill(-pid, SIGKILL);  // what it left behind, while its number is still its own
  (void)reap(0);
  pid_ = 0;
  const std::string how = describe(info);
  {
    const std::lock_guard lock(mutex_);
    if (reason_.empty()) reason_ = killed ? "it closed its connection" : how;
  }
  const bool fine = asked_ && !killed && info.si_code == CLD_EXITED && info.si_status == 0;
  const std::uint64_t ran_ms = (setup_.services.clock.mono_ns() - started_ns_) / 1'000'000U;
  setup_.services.log.write(fine ? Level::info : Level::error, "plugin_runner_ended",
                            {{"addon_type", setup_.type}, {"pid", pid}, {"status", how}, {"reason", reason()}, {"ran_ms", ran_ms}});
}

void Run::fail_all() {
  std::unordered_map<std::uint64_t, std::shared_ptr<Call>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(calls_);
  }
  if (!calls.empty())
    setup_.services.log.warn("plugin_calls_failed", {{"addon_type", setup_.type}, {"calls", calls.size()}});
  for (const auto& [id, call] : calls) finish(call, VIA_E_UNAVAILABLE, kEnded, {});
}

void Run::look_at_limits() {
  const std::uint64_t now = setup_.services.clock.mono_ns();
  bool late = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, call] : calls_) {
      const std::uint64_t limit = call->limit_ns.load(std::memory_order_relaxed);
      if (limit != 0 && now >= limit) late = true;
    }
  }
  if (!late) return;
  (void)broken("a call did not end within its time");
  channel_->shut();
}

// ---- frames ----------------------------------------------------------------------------------------------------

std::shared_ptr<Run::Call> Run::find(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto it = calls_.find(id);
  return it == calls_.end() ? nullptr : it->second;
}

bool Run::on_frame(const Frame& frame) {
  Reader in(frame.payload);
  switch (frame.kind) {
    case Kind::ready: return on_ready(frame);
    case Kind::refused: {
      const std::string_view why = in.bytes();
      return broken(in.done() && !why.empty() ? why.substr(0, 4096) : "it refused without a reason");
    }
    case Kind::fault: {
      const std::string_view what = in.bytes();
      return broken(in.done() && !what.empty() ? what.substr(0, 4096) : "it broke the protocol");
    }
    case Kind::created:
    case Kind::destroyed: {
      const std::lock_guard lock(mutex_);
      const auto it = replies_.find(frame.id);
      if (it == replies_.end() || it->second.answered) break;
      it->second.answered = true;
      it->second.payload.assign(frame.payload);
      changed_.notify_all();
      return true;
    }
    case Kind::head:
    case Kind::data:
    case Kind::progress:
    case Kind::complete: {
      const auto call = find(frame.id);
      if (!call) return broken("it answered a call that is not in flight");
      if (frame.kind == Kind::head) return on_head(*call, frame);
      if (frame.kind == Kind::data) return on_data(call, frame);
      if (frame.kind == Kind::complete) return on_complete(call, frame);
      const std::uint64_t done = in.u64(), total = in.u64();
      if (!in.done() || call->bytes) break;
      if (VIA_HAS(via_call, call->abi, progress) && call->abi->progress != nullptr) call->abi->progress(call->abi, done, total);
      return true;
    }
    case Kind::log:
    case Kind::define:
    case Kind::record:
    case Kind::box: return on_service(frame);
    default: break;
  }
  return broken("it broke the protocol (kind " + std::to_string(static_cast<int>(frame.kind)) + ")");
}

bool Run::on_ready(const Frame& frame) {
  Reader in(frame.payload);
  const std::uint16_t major = in.u16(), minor = in.u16();
  const std::string_view text = in.bytes();
  if (!in.done()) return broken("it broke the protocol (ready)");
  if (major != setup_.manifest.abi_major || minor != setup_.manifest.abi_minor || text != setup_.manifest.text)
    return broken("the library is not the one that its manifest describes");
  const std::lock_guard lock(mutex_);
  if (ready_) {
    reason_ = "it was ready twice";
    return false;
  }
  ready_ = true;
  changed_.notify_all();
  return true;
}

bool Run::on_head(Call& call, const Frame& frame) {
  Reader in(frame.payload);
  via_head head{};
  head.struct_size = sizeof head;
  head.http_status = in.u16();
  head.content_type = in.str();
  const std::vector<via_pair> headers = in.pairs();
  head.headers = headers.data();
  head.headers_len = headers.size();
  if (!in.done() || !call.bytes || call.head || call.begun) return broken("it broke the protocol (head)");
  call.head = true;
  (void)call.abi->head(call.abi, &head);
  return true;
}

// Bytes that the client's side took, or that nobody wants any more: the runner may send as many again.
void Run::take(Call& call, std::size_t bytes, via_status written) {
  std::uint64_t give = 0;
  bool cancel = false;
  {
    const std::lock_guard lock(call.mutex);
    call.room += bytes;
    call.owed += bytes;
    if (call.owed >= kWindow / 4) give = std::exchange(call.owed, 0);
    cancel = written != VIA_OK && call.lost == VIA_OK;
    if (cancel) call.lost = written;
  }
  Packet packet;
  if (give != 0) {
    packet.begin(Kind::window, call.id);
    packet.u64(give);
  }
  if (cancel) packet.begin(Kind::cancel, call.id);
  if (!packet.empty()) channel_->send(packet);
}

bool Run::on_data(const std::shared_ptr<Call>& call, const Frame& frame) {
  if (!call->bytes || frame.payload.empty()) return broken("it broke the protocol (data)");
  call->begun = true;
  {
    const std::lock_guard lock(call->mutex);
    if (frame.payload.size() > call->room) return broken("it sent more than there was room for");
    call->room -= frame.payload.size();
    if (call->writing) {
      call->held.emplace_back(frame.payload);
      return true;
    }
  }
  const via_status written = call->abi->write(call->abi, bytes_of(frame.payload), 0);
  if (written != VIA_E_WOULD_BLOCK) {
    take(*call, frame.payload.size(), written);
    return true;
  }
  {
    const std::lock_guard lock(call->mutex);
    call->held.emplace_back(frame.payload);
    call->writing = true;
  }
  struct Task {
    std::shared_ptr<Run> run;
    std::shared_ptr<Call> call;
  };
  auto task = std::make_unique<Task>(Task{shared_from_this(), call});
  const auto fn = [](void* data, via_status) {
    const std::unique_ptr<Task> held(static_cast<Task*>(data));
    held->run->write_out(held->call);
  };
  Task* const raw = task.release();  // crosses a C callback, which owns it from here
  if (setup_.services.executor.post(setup_.writers, 0, fn, raw, nullptr) != VIA_OK) {
    const std::unique_ptr<Task> back(raw);
    return broken("the host is ending");
  }
  return true;
}

// On a worker: waits for the client in the loop's place.
void Run::write_out(const std::shared_ptr<Call>& call) {
  for (;;) {
    std::string piece;
    {
      std::unique_lock lock(call->mutex);
      if (call->held.empty()) {
        call->writing = false;
        if (call->over && call->sent) {
          lock.unlock();
          deliver(*call);
        }
        return;
      }
      piece = std::move(call->held.front());
      call->held.pop_front();
    }
    take(*call, piece.size(), call->abi->write(call->abi, bytes_of(piece), VIA_WAIT));
  }
}

bool Run::on_complete(const std::shared_ptr<Call>& call, const Frame& frame) {
  Reader in(frame.payload);
  const auto status = static_cast<via_status>(in.u32());
  const std::string_view message = in.bytes(), details = in.bytes();
  if (!in.done()) return broken("it broke the protocol (complete)");
  {
    const std::lock_guard lock(mutex_);
    calls_.erase(call->id);
  }
  // WOULD_BLOCK is no way to end; as any code that this host does not know, it is a bug.
  finish(call, status < VIA_OK || status >= VIA_E_WOULD_BLOCK ? VIA_E_INTERNAL : status, message, details);
  return true;
}

// The end of a call that is in the table no more. It is told at once, or by who still works on it: the thread that sends its
// arguments, or the worker that writes its result.
void Run::finish(const std::shared_ptr<Call>& call, via_status status, std::string_view message, std::string_view details) {
  {
    const std::lock_guard lock(call->mutex);
    call->over = true;
    call->status = status;
    call->message = message;
    call->details = details;
    if (status != VIA_OK) call->held.clear();
    if (call->writing || !call->sent) return;
  }
  deliver(*call);
}

void Run::deliver(Call& call) {
  if ((call.status == VIA_OK || call.status == VIA_E_CANCELLED) && call.lost != VIA_OK) call.status = call.lost;
  if (call.after) call.after(call.status);
  call.abi->complete(call.abi, call.status, {call.message.data(), call.message.size()}, {call.details.data(), call.details.size()});
}

bool Run::on_service(const Frame& frame) {
  Reader in(frame.payload);
  const bool box = frame.kind == Kind::box;
  const std::uint64_t number = box ? in.u64() : frame.id;
  const std::lock_guard lock(instances_mutex_);
  const via_host* host = setup_.library_host;
  if (number != 0) {
    const auto it = instances_.find(number);
    if (it == instances_.end()) return broken("it spoke for an instance that does not exist");
    host = it->second;
  }
  if (box) {
    on_box(frame, host, in);
    return in.done() || broken("it broke the protocol (box)");
  }
  if (frame.kind == Kind::log) {
    const auto level = static_cast<std::int32_t>(in.u32());
    const via_str message = in.str();
    const std::vector<via_pair> fields = in.pairs();
    if (!in.done() || fields.size() > 16) return broken("it broke the protocol (log)");
    if (const auto* log = service<via_log>(host, VIA_HOST_LOG)) log->write(host, level, message, fields.data(), fields.size());
    return true;
  }
  const auto* metrics = service<via_metrics>(host, VIA_HOST_METRICS);
  const std::uint32_t id = in.u32();
  if (frame.kind == Kind::define) {
    const std::uint32_t kind = in.u32();
    const via_str name = in.str();
    const std::vector<via_str> keys = in.strings();
    if (!in.done() || metrics == nullptr || (metrics_.size() >= kMaximumMetrics && !metrics_.contains(id)))
      return broken("it broke the protocol (define)");
    std::uint32_t known = 0;
    if (metrics->define(host, kind, name, keys.data(), keys.size(), &known) != VIA_OK) known = 0;
    metrics_[id] = known;
    return true;
  }
  const double value = in.f64();
  const std::vector<via_str> values = in.strings();
  const auto known = metrics_.find(id);
  if (!in.done() || metrics == nullptr || known == metrics_.end()) return broken("it broke the protocol (record)");
  if (known->second != 0) metrics->record(host, known->second, values.data(), values.size(), value);
  return true;
}

void Run::on_box(const Frame& frame, const via_host* host, Reader& in) {
  const bool seal = in.u8() == 1;
  const std::string_view aad = in.bytes(), bytes = in.bytes();
  if (!in.done()) return;
  std::string made;
  const via_sink sink{&made, [](void* ctx, via_bytes chunk) -> via_status {
                        static_cast<std::string*>(ctx)->append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
                        return VIA_OK;
                      }};
  const auto* table = service<via_secretbox>(host, VIA_HOST_SECRETBOX);
  via_status status = VIA_E_UNSUPPORTED;
  if (table != nullptr) status = (seal ? table->seal : table->unseal)(host, bytes_of(aad), bytes_of(bytes), &sink);
  Packet packet(Kind::boxed, frame.id);
  packet.u32(static_cast<std::uint32_t>(status)).bytes(status == VIA_OK ? std::string_view(made) : std::string_view());
  channel_->send(packet);
  OPENSSL_cleanse(made.data(), made.size());
}

// ---- what the host asks ----------------------------------------------------------------------------------------

Result<std::string> Run::ask(Packet& packet, std::uint64_t id) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return fail(Code::unavailable, std::string(kEnded));
    replies_.emplace(id, Asked{});
  }
  channel_->send(packet);
  std::unique_lock lock(mutex_);
  const bool told = changed_.wait_for(lock, milliseconds(setup_.options.start_ms), [&] { return ended_ || replies_.at(id).answered; });
  Asked asked = std::move(replies_.at(id));
  if (asked.answered) {
    replies_.erase(id);
    return std::move(asked.payload);
  }
  if (!told && reason_.empty()) reason_ = "it did not answer within its time";
  lock.unlock();
  channel_->shut();
  return fail(Code::unavailable, std::string(kEnded));
}

Result<std::uint32_t> Run::create(std::uint64_t number, const via_host* host, const std::string& type, const std::string& addon,
                                  const std::string& storage) {
  {
    const std::lock_guard lock(instances_mutex_);
    instances_.emplace(number, host);
  }
  const std::uint64_t id = next_id();
  Packet packet(Kind::create, id);
  packet.u64(number).bytes(type).bytes(addon).bytes(storage);
  auto answer = ask(packet, id);
  Result<std::uint32_t> out = std::uint32_t{0};
  if (!answer) {
    out = answer.error();
  } else {
    Reader in(*answer);
    const auto status = static_cast<via_status>(in.u32());
    const std::uint32_t offers = in.u32();
    const std::string message(in.bytes());
    if (!in.done()) {
      (void)broken("it broke the protocol (created)");
      channel_->shut();
      out = fail(Code::unavailable, std::string(kEnded));
    } else if (status != VIA_OK) {
      out = fail(Code::internal, message);
    } else {
      return offers;
    }
  }
  const std::lock_guard lock(instances_mutex_);
  instances_.erase(number);
  return out;
}

void Run::destroy(std::uint64_t number) {
  const std::uint64_t id = next_id();
  Packet packet(Kind::destroy, id);
  packet.u64(number);
  (void)ask(packet, id);
  const std::lock_guard lock(instances_mutex_);
  instances_.erase(number);
}

void Run::submit(Verb verb, std::uint64_t instance, via_call* abi, const std::function<void(Packet&)>& put, via_bytes body,
                 After after) {
  const auto refuse = [&](via_status status, std::string_view why) {
    if (after) after(status);
    abi->complete(abi, status, {why.data(), why.size()}, {nullptr, 0});
  };
  const std::uint64_t now = setup_.services.clock.mono_ns();
  std::uint64_t remaining = 0;
  if (abi->deadline_ns != 0) remaining = abi->deadline_ns > now ? abi->deadline_ns - now : 1;
  const std::uint64_t id = next_id();
  Packet packet;
  begin_call(packet, id, verb, instance, abi->request_id, remaining, body.len);
  if (put) put(packet);
  if (body.len > kMaximumBody || packet.payload() > kMaximumPayload - kPiece)
    return refuse(VIA_E_INVALID, "The request is too large for an add-on in a process of its own.");
  std::size_t at = std::min(body.len, kPiece);
  const auto piece = [&](std::size_t from, std::size_t n) {
    return n == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(body.ptr) + from, n);
  };
  packet.raw(piece(0, at));

  auto call = std::make_shared<Call>();
  call->id = id;
  call->abi = abi;
  call->bytes = answers_bytes(verb);
  call->after = std::move(after);
  call->run = this;
  if (abi->deadline_ns != 0)
    call->limit_ns = std::max(abi->deadline_ns, now) + static_cast<std::uint64_t>(setup_.options.grace_ms) * 1'000'000U;
  bool registered = false;
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) registered = calls_.emplace(id, call).second;
  }
  if (!registered) {
    after = std::move(call->after);
    return refuse(VIA_E_UNAVAILABLE, kEnded);
  }
  // The function may run at once, and until complete() has returned; the call is in the table until then.
  (void)abi->on_cancel(
      abi,
      [](void* data) {
        Call& c = *static_cast<Call*>(data);
        c.cancelled.store(true, std::memory_order_relaxed);
        if (c.limit_ns == 0) c.limit_ns = c.run->setup_.services.clock.mono_ns() + kCancelledLimitNs;
        const std::lock_guard lock(c.mutex);
        if (!c.sent) return;  // who sends it sends this behind it
        Packet cancel(Kind::cancel, c.id);
        c.run->channel_->send(cancel);
      },
      call.get());
  channel_->send(packet);
  if (idle_.load(std::memory_order_seq_cst)) channel_->wake();
  while (at < body.len && channel_->wait_for_room()) {
    const std::size_t n = std::min(body.len - at, kPiece);
    Packet more(Kind::body, id);
    more.raw(piece(at, n));
    channel_->send(more);
    at += n;
  }
  bool over = false;
  {
    const std::lock_guard lock(call->mutex);
    call->sent = true;
    if (call->cancelled.load(std::memory_order_relaxed)) {
      Packet cancel(Kind::cancel, id);
      channel_->send(cancel);
    }
    over = call->over && !call->writing;
  }
  if (over) deliver(*call);
}

}  // namespace via::isolation
