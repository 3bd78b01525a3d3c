// A host of an earlier minor version of the ABI, and its plugin calls: compiled against the frozen header of that minor
// alone, with the tables and struct sizes that it had. Every struct that it hands over ends where a page ends and the next
// one cannot be touched, so a plugin that reads or writes beyond struct_size ends the process.
//   abi_old_host LIBRARY TYPE WRITE_INDEX WRITE_OP WRITE_PARAMS READ_INDEX READ_OP READ_PARAMS EXPECTED
// Runs provision, open, bind, describe, the two operations, health, a snapshot with verify and restore, rotate, revoke,
// close, deprovision and destroy. Exit code 0 when all of it worked. Thread: main; tasks of queues on a thread each.
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include <via/plugin.h>

static_assert(VIA_ABI_MAJOR == 1 && VIA_ABI_MINOR == VIA_OLD_MINOR, "this is not the header of that minor version");

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void wrong(const std::string& what) {
  std::fprintf(stderr, "abi_old_host: %s\n", what.c_str());
  ::_exit(1);
}

// A copy of `value` at the end of a page, before one that is not there.
template <class T>
T* at_the_edge(T value) {
  static const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* pages = ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || ::mprotect(static_cast<char*>(pages) + page, page, PROT_NONE) != 0) wrong("no memory");
  static_assert(sizeof(T) % alignof(T) == 0);
  if constexpr (requires { value.struct_size; }) value.struct_size = sizeof(T);
  return new (static_cast<char*>(pages) + page - sizeof(T)) T(value);
}

via_str str(std::string_view s) { return {s.data(), s.size()}; }
via_bytes bytes(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }
std::string text(via_str s) { return s.len == 0 ? std::string() : std::string(s.ptr, s.len); }

// ---- a queue: tasks in order, one at a time ----

struct Queue {
  struct Task {
    std::uint64_t id;
    Clock::time_point due;
    via_task_fn fn;
    void* data;
  };
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<Task> tasks;
  std::uint64_t last = 0;
  bool ending = false;
  std::thread thread{[this] { run(); }};

  void run() {
    std::unique_lock lock(mutex);
    while (!ending) {
      auto next = Clock::time_point::max();
      auto ready = tasks.end();
      for (auto at = tasks.begin(); at != tasks.end() && ready == tasks.end(); ++at) {
        if (at->due <= Clock::now()) ready = at;
        else next = std::min(next, at->due);
      }
      if (ready == tasks.end()) {
        if (next == Clock::time_point::max()) changed.wait(lock);
        else changed.wait_until(lock, next);
        continue;
      }
      const Task task = *ready;
      tasks.erase(ready);
      lock.unlock();
      task.fn(task.data, VIA_OK);
      lock.lock();
    }
  }
  void end() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    changed.notify_all();
    thread.join();
    for (const Task& task : tasks) task.fn(task.data, VIA_E_CANCELLED);
  }
};

// ---- the host ----

struct Host {
  std::string storage;
  via_log* log = at_the_edge(via_log{0, 0, [](const via_host*, std::int32_t) { return 1; },
                                     [](const via_host*, std::int32_t, via_str, const via_pair*, std::size_t) {}});
  via_clock* clock = at_the_edge(via_clock{
      0, 0, [](const via_host*) { return static_cast<std::uint64_t>(Clock::now().time_since_epoch().count()); },
      [](const via_host*) { return std::int64_t{1'800'000'000'000}; }});
  via_storage* folder = at_the_edge(via_storage{
      0, 0, [](const via_host* h) { return str(static_cast<const Host*>(h->host_data)->storage); },
      [](const via_host*) { return std::uint64_t{0}; }});
  via_executor* executor = at_the_edge(via_executor{
      0, 0,
      [](const via_host*, std::uint32_t, via_queue** out) {
        *out = reinterpret_cast<via_queue*>(new Queue);
        return via_status{VIA_OK};
      },
      [](via_queue* q) {
        auto* queue = reinterpret_cast<Queue*>(q);
        queue->end();
        delete queue;
      },
      [](via_queue* q, std::uint64_t delay, via_task_fn fn, void* data, std::uint64_t* id) {
        auto* queue = reinterpret_cast<Queue*>(q);
        const std::lock_guard lock(queue->mutex);
        queue->tasks.push_back({++queue->last, Clock::now() + std::chrono::nanoseconds(delay), fn, data});
        if (id != nullptr) *id = queue->last;
        queue->changed.notify_all();
        return via_status{VIA_OK};
      },
      [](via_queue* q, std::uint64_t id) {
        auto* queue = reinterpret_cast<Queue*>(q);
        std::deque<Queue::Task> found;
        {
          const std::lock_guard lock(queue->mutex);
          for (auto at = queue->tasks.begin(); at != queue->tasks.end(); ++at)
            if (at->id == id) {
              found.push_back(*at);
              queue->tasks.erase(at);
              break;
            }
        }
        for (const auto& task : found) task.fn(task.data, VIA_E_CANCELLED);
      }});
  via_host* abi = nullptr;

  explicit Host(std::string dir) : storage(std::move(dir)) {
    via_host h{};
    h.abi_major = VIA_ABI_MAJOR;
    h.abi_minor = VIA_ABI_MINOR;
    h.host_data = this;
    h.instance_id.b[15] = 1;
    h.name = "old";
    h.version = "1";
    h.get_service = [](const via_host* host, const char* id) -> const void* {
      const Host& self = *static_cast<const Host*>(host->host_data);
      const std::string_view name(id);
      if (name == VIA_HOST_LOG) return self.log;
      if (name == VIA_HOST_CLOCK) return self.clock;
      if (name == VIA_HOST_STORAGE) return self.folder;
      if (name == VIA_HOST_EXECUTOR) return self.executor;
      return nullptr;
    };
    abi = at_the_edge(h);
  }
};

// ---- a call ----

struct Call {
  std::mutex mutex;
  std::condition_variable changed;
  int ended = 0;
  via_status status = VIA_OK;
  std::string body, message, details, room;
  via_call* abi = nullptr;

  static Call& of(const via_call* c) { return *static_cast<Call*>(c->host_data); }
  Call() {
    via_call c{};
    c.host_data = this;
    c.request_id.b[15] = 1;
    c.cancelled = [](const via_call*) { return std::int32_t{0}; };
    c.on_cancel = [](via_call*, via_fn, void*) { return via_status{VIA_OK}; };
    c.read = [](via_call*, std::uint8_t*, std::size_t, std::uint32_t, std::size_t* got) {
      *got = 0;
      return via_status{VIA_OK};
    };
    c.head = [](via_call*, const via_head*) { return via_status{VIA_OK}; };
    c.write = [](via_call* call, via_bytes chunk, std::uint32_t) {
      of(call).body.append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
      return via_status{VIA_OK};
    };
    c.reserve = [](via_call* call, std::size_t min, std::uint32_t, std::uint8_t** buf, std::size_t* cap) {
      Call& self = of(call);
      if (self.room.size() < min) self.room.resize(min);
      *buf = reinterpret_cast<std::uint8_t*>(self.room.data());
      *cap = self.room.size();
      return via_status{VIA_OK};
    };
    c.commit = [](via_call* call, std::size_t n) { of(call).body.append(of(call).room, 0, n); };
    c.complete = [](via_call* call, via_status st, via_str why, via_str more) {
      Call& self = of(call);
      const std::lock_guard lock(self.mutex);
      ++self.ended;
      self.status = st;
      self.message = text(why);
      self.details = text(more);
      self.changed.notify_all();
    };
    abi = at_the_edge(c);
  }
  // The call once it has ended well.
  Call& must(const char* what) {
    std::unique_lock lock(mutex);
    if (!changed.wait_for(lock, std::chrono::seconds(60), [&] { return ended > 0; })) wrong(std::string(what) + " was never answered");
    if (status != VIA_OK) wrong(std::string(what) + " failed: " + std::to_string(status) + " " + message);
    return *this;
  }
};

struct Session {
  via_instance* instance;
  std::string type;

  template <class Make>
  std::string control(const char* what, Make make) {
    auto* call = new Call;  // a second answer would be seen, not crash
    make(call->abi);
    call->must(what);
    return call->details + call->body;
  }
  void provision(const char* what, void (*which)(via_instance*, const via_provision_args*, via_call*)) {
    via_provision_args args{};
    args.storage_schema = 1;
    args.config_json = str("{}");
    control(what, [&](via_call* c) { which(instance, at_the_edge(args), c); });
  }
  std::string binding(const char* what, std::uint32_t generation, void (*which)(via_instance*, const via_binding_args*, via_call*)) {
    static const via_str* scopes = at_the_edge(str("write"));
    via_binding_args args{};
    args.generation = generation;
    args.binding_id.b[15] = 2;
    args.scopes = scopes;
    args.scopes_len = 1;
    return control(what, [&](via_call* c) { which(instance, at_the_edge(args), c); });
  }
  std::string invoke(std::uint32_t index, std::string_view op, std::string_view params) {
    const auto* ops = static_cast<const via_ops_api*>(instance->api->get_extension(instance, VIA_EXT_OPS));
    if (ops == nullptr) wrong("it has no operations");
    static const via_str scopes[] = {str("read"), str("write")};
    via_caller caller{};
    caller.generation = 1;
    caller.binding_id.b[15] = 2;
    caller.scopes = scopes;
    caller.scopes_len = 2;
    caller.live_generations = at_the_edge(std::uint32_t{1});
    caller.live_generations_len = 1;
    via_op_args args{};
    args.op_index = index;
    args.op = str(op);
    args.params_content_type = str("application/json");
    args.params = bytes(params);
    args.caller = at_the_edge(caller);
    auto* given = at_the_edge(args);
    return control("an operation", [&](via_call* c) {
      if (VIA_HAS(via_ops_api, ops, try_invoke) && ops->try_invoke != nullptr) {
        const via_status st = ops->try_invoke(instance, given, c);
        if (st == VIA_OK) return;
        if (st != VIA_E_WOULD_BLOCK) wrong("try_invoke returned " + std::to_string(st));
      }
      ops->invoke(instance, given, c);
    });
  }
  void snapshot(const char* what, void (*which)(via_instance*, const via_snapshot_args*, via_call*), const std::string& dir) {
    via_snapshot_args args{};
    args.snapshot_id.b[15] = 3;
    args.dir = str(dir);
    control(what, [&](via_call* c) { which(instance, at_the_edge(args), c); });
  }
};

int run(char** a) {
  void* library = ::dlopen(a[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) wrong(::dlerror());
  const auto get = reinterpret_cast<via_plugin_entry_fn>(::dlsym(library, VIA_PLUGIN_ENTRY_SYMBOL));
  if (get == nullptr) wrong("it does not export " VIA_PLUGIN_ENTRY_SYMBOL);
  const via_plugin_entry& entry = *get();
  if (entry.abi_major != VIA_ABI_MAJOR || !VIA_HAS(via_plugin_entry, &entry, create)) wrong("it is of another major version");

  char name[] = "/tmp/via-old-host-XXXXXX";
  if (::mkdtemp(name) == nullptr) wrong("no temporary folder");
  const std::filesystem::path root = name;
  for (const char* part : {"storage", "storage/copy"}) {
    std::filesystem::create_directory(root / part);
    std::filesystem::permissions(root / part, std::filesystem::perms::owner_all);
  }
  Host host((root / "storage").string());
  const via_sink* sink = at_the_edge(via_sink{nullptr, [](void*, via_bytes chunk) {
                                                std::fprintf(stderr, "%.*s\n", static_cast<int>(chunk.len), reinterpret_cast<const char*>(chunk.ptr));
                                                return via_status{VIA_OK};
                                              }});
  if (entry.init(host.abi, sink) != VIA_OK) wrong("init failed");
  via_instance_spec spec{};
  spec.type_id = str(a[2]);
  Session s{nullptr, a[2]};
  if (entry.create(host.abi, at_the_edge(spec), &s.instance, sink) != VIA_OK) wrong("create failed");
  const via_instance_api& api = *s.instance->api;
  if (!VIA_HAS(via_instance_api, &api, destroy)) wrong("the instance's table is too short");

  s.provision("provision", api.provision);
  s.provision("open", api.open);
  s.binding("bind", 1, api.bind);
  if (s.binding("describe", 1, api.describe).find("descriptor") == std::string::npos) wrong("describe says nothing");
  s.invoke(static_cast<std::uint32_t>(std::atoi(a[3])), a[4], a[5]);
  const auto reads = [&] {
    if (s.invoke(static_cast<std::uint32_t>(std::atoi(a[6])), a[7], a[8]).find(a[9]) == std::string::npos) wrong("what was written is not there");
  };
  reads();
  s.control("health", [&](via_call* c) { api.health(s.instance, c); });
  if (const auto* snapshots = static_cast<const via_snapshot_api*>(api.get_extension(s.instance, VIA_EXT_SNAPSHOT))) {
    const std::string copy = (root / "storage" / "copy").string();
    s.snapshot("take", snapshots->take, copy);
    s.snapshot("verify", snapshots->verify, copy);
    s.control("close", [&](via_call* c) { api.close(s.instance, c); });
    s.snapshot("restore", snapshots->restore, copy);
    s.provision("open after restore", api.open);
    reads();
  } else {
    wrong("it has no snapshots");
  }
  if (const auto* stats = static_cast<const via_stats_api*>(api.get_extension(s.instance, VIA_EXT_STATS)))
    s.control("stats", [&](via_call* c) { stats->stats(s.instance, c); });
  s.binding("rotate", 2, api.rotate);
  s.binding("revoke", 0, api.revoke);
  s.control("close", [&](via_call* c) { api.close(s.instance, c); });
  s.control("deprovision", [&](via_call* c) { api.deprovision(s.instance, c); });
  api.destroy(s.instance);
  entry.deinit();
  std::error_code ec;
  std::filesystem::remove_all(root, ec);
  std::printf("a host of ABI %u.%u ran a plugin of %u.%u\n", VIA_ABI_MAJOR, VIA_ABI_MINOR, entry.abi_major, entry.abi_minor);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 10) wrong("usage: LIBRARY TYPE WRITE_INDEX WRITE_OP WRITE_PARAMS READ_INDEX READ_OP READ_PARAMS EXPECTED");
  const int code = run(argv);
  std::fflush(stdout);
  ::_exit(code);
}
