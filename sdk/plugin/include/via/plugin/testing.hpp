// A plugin class under test, without a host or a library: its calls as the host makes them, each waiting for its answer.
//   FakeHost host({.dir = folder});
//   PluginUnderTest<Counter> plugin(host);
//   plugin.provision(); plugin.open();
//   EXPECT_EQ(plugin.invoke("add", "{}").body, "1");
// Thread: one, except invoke() and handle(), which are any.
#pragma once

#include <via/plugin.hpp>
#include <via/testing.hpp>

namespace via::plugin {

// How a call ended.
struct Answer {
  via_status status = VIA_OK;
  int http_status = 200;
  std::string body;              // what was written; for control calls, the result
  std::string message, details;  // of a failure
  bool ok() const { return status == VIA_OK; }
};

// An instance of T with a host; see above. Made once, closed and destroyed at its end.
template <class T>
class PluginUnderTest {
 public:
  explicit PluginUnderTest(testing::FakeHost& host) {
    const via_sink sink{&refusal_, [](void* ctx, via_bytes chunk) -> via_status {
                          static_cast<std::string*>(ctx)->append(view(chunk));
                          return VIA_OK;
                        }};
    if (Shell<T>::create(host.host(), &instance_, &sink) != VIA_OK) throw std::runtime_error(refusal_);
  }
  ~PluginUnderTest() {
    close();
    instance_->api->destroy(instance_);
  }
  PluginUnderTest(const PluginUnderTest&) = delete;

  via_instance* instance() { return instance_; }

  Answer provision(std::string_view config = "{}") { return with_config(&via_instance_api::provision, config); }
  Answer open(std::string_view config = "{}") { return with_config(&via_instance_api::open, config); }
  Answer close() { return control([&](via_call* c) { instance_->api->close(instance_, c); }); }
  Answer deprovision() { return control([&](via_call* c) { instance_->api->deprovision(instance_, c); }); }
  Answer health() { return control([&](via_call* c) { instance_->api->health(instance_, c); }); }

  Answer bind(std::uint32_t generation = 1, std::string_view secret = {}) { return binding(&via_instance_api::bind, generation, secret); }
  Answer rotate(std::uint32_t generation, std::string_view secret = {}) { return binding(&via_instance_api::rotate, generation, secret); }
  Answer revoke(std::uint32_t generation) { return binding(&via_instance_api::revoke, generation, {}); }
  Answer describe(std::uint32_t generation = 1) { return binding(&via_instance_api::describe, generation, {}); }

  // `scopes` are those of the caller.
  Answer invoke(std::string_view name, std::string_view params = "{}",
                const std::vector<std::string_view>& scopes = {"read", "write"}) {
    const auto* ops = extension<via_ops_api>(VIA_EXT_OPS);
    const Person person(scopes);
    via_op_args args{};
    args.struct_size = sizeof args;
    args.op = str(name);
    args.params_content_type = str("application/json");
    args.params = bytes(params);
    args.caller = &person.caller;
    testing::FakeCall call;
    if (ops->try_invoke == nullptr || ops->try_invoke(instance_, &args, call.get()) == VIA_E_WOULD_BLOCK)
      ops->invoke(instance_, &args, call.get());
    return answer(call, false);
  }
  Answer handle(std::string_view method, std::string_view path, std::string_view body = {},
                const std::vector<std::string_view>& scopes = {"read", "write"}) {
    const auto* http = extension<via_http_api>(VIA_EXT_HTTP);
    const Person person(scopes);
    via_http_request request{};
    request.struct_size = sizeof request;
    request.method = str(method);
    request.path = str(path);
    request.body = bytes(body);
    request.caller = &person.caller;
    testing::FakeCall call;
    if (http->try_handle == nullptr || http->try_handle(instance_, &request, call.get()) == VIA_E_WOULD_BLOCK)
      http->handle(instance_, &request, call.get());
    return answer(call, false);
  }

  Answer take(const std::string& dir) { return snapshot(&via_snapshot_api::take, dir); }
  // `format`: what take() answered for what lies in `dir`.
  Answer restore(const std::string& dir, std::string_view format = {}) { return snapshot(&via_snapshot_api::restore, dir, format); }
  Answer verify(const std::string& dir, std::string_view format = {}) { return snapshot(&via_snapshot_api::verify, dir, format); }
  Answer stats() {
    return control([&](via_call* c) { extension<via_stats_api>(VIA_EXT_STATS)->stats(instance_, c); });
  }
  Answer drain() {
    return control([&](via_call* c) { extension<via_drain_api>(VIA_EXT_DRAIN)->drain(instance_, c); });
  }
  Answer resume() {
    return control([&](via_call* c) { extension<via_drain_api>(VIA_EXT_DRAIN)->resume(instance_, c); });
  }
  Answer migrate(std::uint32_t from, std::uint32_t to) {
    const via_migrate_args args{sizeof args, from, to};
    return control([&](via_call* c) { extension<via_migrate_api>(VIA_EXT_MIGRATE)->apply(instance_, &args, c); });
  }

 private:
  struct Person {
    explicit Person(const std::vector<std::string_view>& names) {
      for (const auto name : names) scopes.push_back(str(name));
      caller.struct_size = sizeof caller;
      caller.generation = 1;
      caller.scopes = scopes.data();
      caller.scopes_len = scopes.size();
      caller.live_generations = &caller.generation;
      caller.live_generations_len = 1;
    }
    std::vector<via_str> scopes;
    via_caller caller{};
  };

  static Answer answer(testing::FakeCall& call, bool is_control) {
    call.wait();
    Answer out{call.status(), call.http_status, is_control ? call.details() : call.body(), call.message(), call.details()};
    return out;
  }
  template <class Make>
  Answer control(Make make) {
    testing::FakeCall call;
    make(call.get());
    return answer(call, true);
  }
  Answer with_config(void (*via_instance_api::*which)(via_instance*, const via_provision_args*, via_call*), std::string_view config) {
    via_provision_args args{};
    args.struct_size = sizeof args;
    args.config_json = str(config);
    return control([&](via_call* c) { (instance_->api->*which)(instance_, &args, c); });
  }
  Answer binding(void (*via_instance_api::*which)(via_instance*, const via_binding_args*, via_call*), std::uint32_t generation,
                 std::string_view secret) {
    const via_str scopes[] = {str("read"), str("write")};
    via_binding_args args{};
    args.struct_size = sizeof args;
    args.generation = generation;
    args.binding_id.b[15] = 1;
    args.scopes = scopes;
    args.scopes_len = 2;
    args.secret = bytes(secret);
    return control([&](via_call* c) { (instance_->api->*which)(instance_, &args, c); });
  }
  Answer snapshot(void (*via_snapshot_api::*which)(via_instance*, const via_snapshot_args*, via_call*), const std::string& dir,
                  std::string_view format = {}) {
    via_snapshot_args args{};
    args.struct_size = sizeof args;
    args.snapshot_id.b[15] = 1;
    args.dir = str(dir);
    args.format = str(format);
    return control([&](via_call* c) { (extension<via_snapshot_api>(VIA_EXT_SNAPSHOT)->*which)(instance_, &args, c); });
  }
  template <class Api>
  const Api* extension(const char* id) {
    const auto* api = static_cast<const Api*>(instance_->api->get_extension(instance_, id));
    if (api == nullptr) throw std::runtime_error(std::string("the class does not offer ") + id);
    return api;
  }

  via_instance* instance_ = nullptr;
  std::string refusal_;
};

}  // namespace via::plugin
