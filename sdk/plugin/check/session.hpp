// The library under check in this process, with the host it is given, and its calls as a host makes them. Every call that is
// made stays where it is until the case ends, so that an answer that comes twice or too late is seen and not a crash.
// Thread: invoke() any; the rest one.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include <via/plugin/values.hpp>
#include <via/testing.hpp>

#include "sdk/plugin/check/check.hpp"

namespace via::check {

// A password as a host mints it for a generation: 43 of A-Z a-z 0-9 - _, the same again for the same generation.
std::string minted(std::uint32_t generation);
// The constant entry of the library; loads it.
const via_plugin_entry* load_entry(const Subject& subject);
std::size_t threads_now();

class Session {
 public:
  struct Options {
    std::set<std::string> without;   // services that this host does not have
    std::uint16_t abi_minor = VIA_ABI_MINOR;
    std::size_t extra = 0;           // bytes of garbage behind every struct, counted in its struct_size
    bool short_structs = false;      // without the members that a host of 1.0, or the first draft, does not have
  };
  Session(const Subject& subject, const fs::path& root) : Session(subject, root, Options()) {}
  Session(const Subject& subject, const fs::path& root, Options options);
  ~Session();
  Session(const Session&) = delete;

  // Loads and initialises; false when the plugin refused. create() likewise. Broken when it does either wrongly.
  bool init();
  bool create();
  void destroy();
  void start();  // init, create, provision, open: all must succeed

  using Call = testing::FakeCall;
  Call& new_call();
  // Waits for the end; Broken when there is none in time.
  Call& ended(Call& call, std::string_view what);

  Call& provision(std::string_view config);
  Call& provision() { return provision(subject_.config()); }
  Call& open();
  Call& close();
  Call& deprovision();
  Call& health();
  using BindingCall = void (*via_instance_api::*)(via_instance*, const via_binding_args*, via_call*);
  Call& binding(BindingCall which, std::uint32_t generation, std::string_view secret = {}, std::string_view what = "a binding call");
  Call& snapshot(void (*via_snapshot_api::*which)(via_instance*, const via_snapshot_args*, via_call*), const fs::path& dir,
                 std::string_view what, std::string_view format = {});
  // Makes the call and does not wait. `index` is the place in the manifest's "ops".
  void invoke_on(Call& call, std::size_t index, std::string_view params, bool may_try = true);
  Call& invoke(std::size_t index, std::string_view params);
  // A request to the type's own HTTP routes; waits.
  Call& request(std::string_view method, std::string_view path, std::string_view body);

  void must(Call& call, std::string_view what);  // Broken unless it succeeded
  // check.json's write and read.
  Call& write();
  bool reads_expected();

  const via_migrate_api* migrations();
  Call& migrate(void (*via_migrate_api::*which)(via_instance*, const via_migrate_args*, via_call*), std::uint32_t from,
                std::uint32_t to, std::string_view what);

  // Broken when a service or a call was used on a thread where it may not be.
  void no_rule_broken();
  // Broken when any call so far was answered more than once.
  void no_call_ended_twice();

  const Subject& subject() const { return subject_; }
  const via_plugin_entry& entry() const { return *entry_; }
  via_instance* instance() { return instance_; }
  const via_host* host() const { return host_.get(); }
  testing::FakeHost& fake() { return *fake_; }
  const fs::path& root() const { return root_; }
  fs::path storage() const { return root_ / "storage"; }
  const via_ops_api* ops();
  const via_http_api* http();
  const via_snapshot_api* snapshots();
  std::size_t op_count() const;
  std::size_t op_index(const std::string& name) const;
  const std::string& message() const { return message_; }
  // Everything that the plugin said: log lines, messages, details.
  std::string everything_said();

 private:
  via_caller* caller();
  template <class T>
  T* grown(T value);  // a copy with `extra` bytes of garbage behind it

  const Subject& subject_;
  const fs::path root_;
  const Options options_;
  std::unique_ptr<testing::FakeHost> fake_;
  std::unique_ptr<via_host> host_;
  const via_plugin_entry* entry_ = nullptr;
  bool initialised_ = false;
  via_instance* instance_ = nullptr;
  std::string message_;
  std::vector<std::string> scope_names_;  // of caller(); made before threads call
  std::vector<via_str> scopes_;
  std::mutex mutex_;
  std::unique_ptr<std::deque<Call>> calls_ = std::make_unique<std::deque<Call>>();  // guarded by mutex_
  std::deque<std::unique_ptr<std::uint8_t[]>> memory_;    // guarded by mutex_
};

}  // namespace via::check
