#include "sdk/plugin/check/session.hpp"

#include <dlfcn.h>

#include <cstring>
#include <exception>
#include <mutex>
#include <set>

namespace via::check {
namespace {

// Read by the host's get_service, which has no place for more state than the fake host's; by any thread of a plugin, also while
// the session of another folder begins.
std::mutex services_mutex;
std::set<std::string> missing;  // guarded by services_mutex
const void* (*all_services)(const via_host*, const char*) = nullptr;  // guarded by services_mutex

const void* service(const via_host* host, const char* id) {
  const void* (*all)(const via_host*, const char*) = nullptr;
  {
    const std::lock_guard lock(services_mutex);
    if (missing.contains(id)) return nullptr;
    all = all_services;
  }
  return all(host, id);
}

}  // namespace

const via_plugin_entry* load_entry(const Subject& subject) {
  void* library = ::dlopen(subject.library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) broken(std::string("the library cannot be loaded: ") + ::dlerror());
  void* symbol = ::dlsym(library, VIA_PLUGIN_ENTRY_SYMBOL);
  if (symbol == nullptr) broken("the library does not export " VIA_PLUGIN_ENTRY_SYMBOL);
  via_plugin_entry_fn get = nullptr;
  std::memcpy(&get, &symbol, sizeof get);
  const via_plugin_entry* entry = get();
  if (entry == nullptr) broken(VIA_PLUGIN_ENTRY_SYMBOL " returned nothing");
  return entry;
}

std::string minted(std::uint32_t generation) {
  std::string out = "canary-7f3a91c2d4_" + std::to_string(generation) + "-";
  for (std::uint64_t state = 0x9e3779b97f4a7c15U * (generation + 1); out.size() < 43; state = state * 6364136223846793005U + 1442695040888963407U)
    out += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[state >> 58];
  return out;
}

std::size_t threads_now() {
  std::size_t n = 0;
  for ([[maybe_unused]] const auto& task : fs::directory_iterator("/proc/self/task")) ++n;
  return n;
}

Session::Session(const Subject& subject, const fs::path& root, Options options)
    : subject_(subject),
      root_(root),
      options_(std::move(options)),
      fake_(std::make_unique<testing::FakeHost>(testing::FakeHost::Options{
          .dir = (root / "storage").string(), .settings = subject.script.value("settings", json::object()).dump()})) {
  scope_names_ = subject.type["scopes"].get<std::vector<std::string>>();
  for (const auto& name : scope_names_) scopes_.push_back(plugin::str(name));
  host_ = std::make_unique<via_host>(*fake_->host());
  host_->abi_minor = options_.abi_minor;
  // Another folder is another add-on, also for a plugin whose data lie on a server.
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : root.string()) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  for (std::size_t i = 0; i < 8; ++i) host_->instance_id.b[i + 8] = static_cast<std::uint8_t>(hash >> (8 * i));
  {
    const std::lock_guard lock(services_mutex);
    all_services = host_->get_service;
    missing = options_.without;
  }
  host_->get_service = service;
}

Session::~Session() {
  if (std::uncaught_exceptions() == 0 && instance_ == nullptr) return;
  // The case failed, or ended without destroy, and the process is about to end: the plugin may be anywhere, also inside a
  // task or a call of this host.
  (void)fake_.release();
  (void)host_.release();
  (void)calls_.release();
  for (auto& bytes : memory_) (void)bytes.release();
}

template <class T>
T* Session::grown(T value) {
  const std::size_t size = sizeof(T) + options_.extra;
  auto bytes = std::make_unique<std::uint8_t[]>(size);
  std::memset(bytes.get(), 0xa5, size);
  value.struct_size = static_cast<std::uint32_t>(size);
  auto* out = new (bytes.get()) T(value);
  const std::lock_guard lock(mutex_);
  memory_.push_back(std::move(bytes));
  return out;
}

bool Session::init() {
  entry_ = load_entry(subject_);
  const via_sink sink{&message_, [](void* ctx, via_bytes chunk) -> via_status {
                        static_cast<std::string*>(ctx)->append(plugin::view(chunk));
                        return VIA_OK;
                      }};
  const testing::ThreadRole role(testing::ThreadRole::kInit);
  initialised_ = entry_->init(host_.get(), &sink) == VIA_OK;
  return initialised_;
}

bool Session::create() {
  const via_sink sink{&message_, [](void* ctx, via_bytes chunk) -> via_status {
                        static_cast<std::string*>(ctx)->append(plugin::view(chunk));
                        return VIA_OK;
                      }};
  const auto* spec = grown(via_instance_spec{sizeof(via_instance_spec), 0, plugin::str(subject_.type_id)});
  via_instance* out = nullptr;
  if (entry_->create(host_.get(), spec, &out, &sink) != VIA_OK) return false;
  if (out == nullptr || out->api == nullptr) broken("create answered VIA_OK and gave no instance");
  if (!VIA_HAS(via_instance_api, out->api, destroy)) broken("the instance's table is shorter than ABI 1.0");
  instance_ = out;
  return true;
}

void Session::destroy() {
  if (instance_ != nullptr) {
    const testing::ThreadRole role(testing::ThreadRole::kControl);
    instance_->api->destroy(std::exchange(instance_, nullptr));
  }
  const testing::ThreadRole role(testing::ThreadRole::kInit);
  if (std::exchange(initialised_, false)) entry_->deinit();
}

void Session::start() {
  if (!init()) broken("init failed: " + message_);
  if (!create()) broken("create failed: " + message_);
  must(provision(), "provision");
  must(open(), "open");
}

Session::Call& Session::new_call() {
  const std::lock_guard lock(mutex_);
  return calls_->emplace_back();
}

Session::Call& Session::ended(Call& call, std::string_view what) {
  if (!call.wait_for(subject_.patience)) broken(std::string(what) + " was never answered");
  return call;
}

void Session::must(Call& call, std::string_view what) {
  if (call.status() != VIA_OK)
    broken(std::string(what) + " failed with status " + std::to_string(call.status()) + ": " + call.message());
}

Session::Call& Session::provision(std::string_view config) {
  Call& call = new_call();
  via_provision_args args{};
  args.plan = plugin::str("default");
  args.config_json = plugin::str(config);
  const testing::ThreadRole role(testing::ThreadRole::kControl);
  instance_->api->provision(instance_, grown(args), call.get());
  return ended(call, "provision");
}

Session::Call& Session::open() {
  Call& call = new_call();
  const std::string config = subject_.config();
  via_provision_args args{};
  args.storage_schema = subject_.type.value("storage_schema", 1U);
  args.plan = plugin::str("default");
  args.config_json = plugin::str(config);
  const testing::ThreadRole role(testing::ThreadRole::kControl);
  instance_->api->open(instance_, grown(args), call.get());
  return ended(call, "open");
}

Session::Call& Session::close() {
  Call& call = new_call();
  const testing::ThreadRole role(testing::ThreadRole::kControl);
  instance_->api->close(instance_, call.get());
  return ended(call, "close");
}

Session::Call& Session::deprovision() {
  Call& call = new_call();
  const testing::ThreadRole role(testing::ThreadRole::kControl);
  instance_->api->deprovision(instance_, call.get());
  return ended(call, "deprovision");
}

Session::Call& Session::health() {
  Call& call = new_call();
  const testing::ThreadRole role(testing::ThreadRole::kData);
  instance_->api->health(instance_, call.get());
  return ended(call, "health");
}

Session::Call& Session::binding(BindingCall which, std::uint32_t generation, std::string_view secret, std::string_view what) {
  Call& call = new_call();
  std::vector<std::string> names = subject_.type["access"]["read_write"].get<std::vector<std::string>>();
  std::vector<via_str> scopes;
  for (const auto& name : names) scopes.push_back(plugin::str(name));
  via_binding_args args{};
  args.generation = generation;
  args.binding_id.b[15] = 7;
  args.scopes = scopes.data();
  args.scopes_len = scopes.size();
  args.secret = plugin::bytes(secret);
  const testing::ThreadRole role(testing::ThreadRole::kControl);
  (instance_->api->*which)(instance_, grown(args), call.get());
  return ended(call, what);
}

Session::Call& Session::snapshot(void (*via_snapshot_api::*which)(via_instance*, const via_snapshot_args*, via_call*),
                                 const fs::path& dir, std::string_view what, std::string_view format) {
  Call& call = new_call();
  const std::string text = dir.string();
  via_snapshot_args args{};
  args.snapshot_id.b[15] = 9;
  args.dir = plugin::str(text);
  args.format = plugin::str(format);
  auto* given = grown(args);
  if (options_.short_structs) {
    given->struct_size = offsetof(via_snapshot_args, format);
    given->format = {reinterpret_cast<const char*>(8), 1000};
  }
  const testing::ThreadRole role(which == &via_snapshot_api::verify ? testing::ThreadRole::kData : testing::ThreadRole::kControl);
  (snapshots()->*which)(instance_, given, call.get());
  return ended(call, what);
}

const via_ops_api* Session::ops() {
  return static_cast<const via_ops_api*>(instance_->api->get_extension(instance_, VIA_EXT_OPS));
}

const via_snapshot_api* Session::snapshots() {
  return static_cast<const via_snapshot_api*>(instance_->api->get_extension(instance_, VIA_EXT_SNAPSHOT));
}

std::size_t Session::op_count() const { return subject_.type.value("ops", json::array()).size(); }

std::size_t Session::op_index(const std::string& name) const {
  for (std::size_t i = 0; i < op_count(); ++i)
    if (subject_.type["ops"][i]["name"] == name) return i;
  broken("check.json names the operation '" + name + "', which the manifest does not declare");
}

// Everything lives until the case has ended; the plugin may look at it until the function returns only.
via_caller* Session::caller() {
  static const std::uint32_t generation = 1;
  via_caller who{};
  who.generation = 1;
  who.binding_id.b[15] = 7;
  who.scopes = scopes_.data();
  who.scopes_len = scopes_.size();
  who.live_generations = &generation;
  who.live_generations_len = 1;
  auto* out = grown(who);
  if (options_.short_structs) {
    out->struct_size = offsetof(via_caller, live_generations);
    out->live_generations = reinterpret_cast<const std::uint32_t*>(8);  // not there for a reader that looks at the size
    out->live_generations_len = 1000;
  }
  return out;
}

const via_http_api* Session::http() {
  return static_cast<const via_http_api*>(instance_->api->get_extension(instance_, VIA_EXT_HTTP));
}

Session::Call& Session::request(std::string_view method, std::string_view path, std::string_view body) {
  Call& call = new_call();
  via_http_request args{};
  args.method = plugin::str(method);
  args.path = plugin::str(path);
  args.body = plugin::bytes(body);
  args.caller = caller();
  auto* given = grown(args);
  if (options_.short_structs) {
    given->struct_size = offsetof(via_http_request, limits);
    given->limits = reinterpret_cast<const via_pair*>(8);
    given->limits_len = 1000;
  }
  const via_http_api* api = http();
  if (VIA_HAS(via_http_api, api, try_handle) && api->try_handle != nullptr) {
    const via_status st = [&] {
      const testing::ThreadRole role(testing::ThreadRole::kIo);
      return api->try_handle(instance_, given, call.get());
    }();
    if (st == VIA_OK) return ended(call, "a request");
    if (st != VIA_E_WOULD_BLOCK) broken("try_handle returned " + std::to_string(st) + ", which is neither VIA_OK nor VIA_E_WOULD_BLOCK");
    if (call.completions() > 0) broken("try_handle answered the call and returned VIA_E_WOULD_BLOCK");
  }
  const testing::ThreadRole role(testing::ThreadRole::kData);
  api->handle(instance_, given, call.get());
  return ended(call, "a request");
}

void Session::invoke_on(Call& call, std::size_t index, std::string_view params, bool may_try) {
  const std::string name = index < op_count() ? subject_.type["ops"][index]["name"].get<std::string>() : "no-such-operation";
  via_caller* person = caller();
  via_op_args args{};
  args.op_index = static_cast<std::uint32_t>(index);
  args.op = plugin::str(name);
  args.params_content_type = plugin::str("application/json");
  args.params = plugin::bytes(params);
  args.caller = person;
  auto* request = grown(args);
  if (options_.short_structs) {
    request->struct_size = offsetof(via_op_args, accept);
    request->accept = {reinterpret_cast<const char*>(8), 1000};
  }
  const via_ops_api* api = ops();
  if (may_try && VIA_HAS(via_ops_api, api, try_invoke) && api->try_invoke != nullptr) {
    const via_status st = [&] {
      const testing::ThreadRole role(testing::ThreadRole::kIo);
      return api->try_invoke(instance_, request, call.get());
    }();
    if (st == VIA_OK) return;
    if (st != VIA_E_WOULD_BLOCK) broken("try_invoke returned " + std::to_string(st) + ", which is neither VIA_OK nor VIA_E_WOULD_BLOCK");
    if (call.completions() > 0) broken("try_invoke answered the call and returned VIA_E_WOULD_BLOCK");
  }
  const testing::ThreadRole role(testing::ThreadRole::kData);
  api->invoke(instance_, request, call.get());
}

Session::Call& Session::invoke(std::size_t index, std::string_view params) {
  Call& call = new_call();
  invoke_on(call, index, params);
  return ended(call, "an operation");
}

Session::Call& Session::write() {
  const json& step = subject_.script["write"];
  return invoke(op_index(step.at("op")), step.value("params", json::object()).dump());
}

bool Session::reads_expected() {
  const json& step = subject_.script["read"];
  Call& call = invoke(op_index(step.at("op")), step.value("params", json::object()).dump());
  must(call, "check.json's read");
  return call.body().find(step.value("expect", "")) != std::string::npos;
}

void Session::no_call_ended_twice() {
  const std::lock_guard lock(mutex_);
  for (const Call& call : *calls_)
    if (call.completions() > 1) broken("a call was answered " + std::to_string(call.completions()) + " times");
}

const via_migrate_api* Session::migrations() {
  return static_cast<const via_migrate_api*>(instance_->api->get_extension(instance_, VIA_EXT_MIGRATE));
}

Session::Call& Session::migrate(void (*via_migrate_api::*which)(via_instance*, const via_migrate_args*, via_call*),
                                std::uint32_t from, std::uint32_t to, std::string_view what) {
  Call& call = new_call();
  const testing::ThreadRole role(testing::ThreadRole::kControl);
  (migrations()->*which)(instance_, grown(via_migrate_args{sizeof(via_migrate_args), from, to}), call.get());
  return ended(call, what);
}

void Session::no_rule_broken() {
  if (const auto rule = fake_->executor().broken_rule(); !rule.empty()) broken(rule);
  const std::lock_guard lock(mutex_);
  for (const Call& call : *calls_)
    if (const auto rule = call.broken_rule(); !rule.empty()) broken(rule);
}

std::string Session::everything_said() {
  std::string out = message_;
  for (const auto& line : fake_->log_lines()) out += "\n" + line;
  const std::lock_guard lock(mutex_);
  for (const Call& call : *calls_) out += "\n" + call.message() + "\n" + call.details() + "\n" + call.body();
  return out;
}

}  // namespace via::check
