// An opened add-on on real files in a temporary folder, driven through the C ABI with the fake host.
// Thread: the test's; query() and friends any.
#pragma once

#include "plugins/sqlite/instance.hpp"
#include "tests/unit/sqlite/sanitized.hpp"

#include <via/testing.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>
#include <string>

namespace via::sqlite::test {

using Json = nlohmann::json;
using via::testing::FakeCall;
using via::testing::FakeHost;
using via::testing::Turn;

class TempFolder {
 public:
  TempFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "via-sqlite-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  TempFolder(const TempFolder&) = delete;
  std::string path(const std::string& name = {}) const { return name.empty() ? path_ : path_ + "/" + name; }

 private:
  std::string path_;
};

struct Answer {
  via_status status = VIA_OK;
  std::string body, message, details;
  Json json() const { return Json::parse(body); }
  Json rows() const { return json().at("rows"); }
  std::string code() const { return details.empty() ? "" : Json::parse(details).value("code", ""); }
};

struct SetUp {
  std::string config = "{}";
  uint64_t quota = 0;
  bool turns = false;
  bool open = true;
};

class Addon {
 public:
  explicit Addon(SetUp setup = {})
      : host({folder.path(), setup.quota, 2, setup.turns}), instance_(std::make_unique<Instance>(host.host())), config_(setup.config) {
    if (!setup.open) return;
    must(provision());
    must(open());
  }
  ~Addon() {
    if (instance_) close();
  }

  Answer provision(std::string plan = "default") {
    return control([&](FakeCall& c) {
      const auto args = provision_args(plan);
      table()->provision(handle(), &args, c.get());
    });
  }
  Answer open() {
    return control([&](FakeCall& c) {
      const auto args = provision_args("default");
      table()->open(handle(), &args, c.get());
    });
  }
  Answer close() {
    return control([&](FakeCall& c) { table()->close(handle(), c.get()); });
  }
  Answer deprovision() {
    return control([&](FakeCall& c) { table()->deprovision(handle(), c.get()); });
  }

  // Arguments of one operation, kept alive for the call.
  struct Op {
    static constexpr const char* kNames[] = {"query", "execute", "setup", "batch"};
    via_str scopes[2] = {testing::str("read"), testing::str("write")};
    uint32_t live[2] = {2, 3};
    via_caller caller{};
    via_op_args args{};
    Op(Operation op, std::string_view body, bool read_only = false, std::string_view accept = {}) {
      caller.struct_size = sizeof caller;
      caller.generation = 3;
      caller.scopes = scopes;
      caller.scopes_len = read_only ? 1 : 2;
      caller.live_generations = live;
      caller.live_generations_len = 2;
      args.struct_size = sizeof args;
      args.op_index = static_cast<uint32_t>(op);
      args.op = testing::str(kNames[args.op_index]);
      args.params_content_type = testing::str("application/json");
      args.params = {reinterpret_cast<const uint8_t*>(body.data()), body.size()};
      args.caller = &caller;
      args.accept = testing::str(accept);
    }
  };

  Answer call(Operation op, const std::string& body, bool read_only = false, std::string_view accept = {}) {
    FakeCall c;
    const Op o(op, body, read_only, accept);
    ops()->invoke(handle(), &o.args, c.get());
    return answer(c);
  }
  Answer call(Operation op, const std::string& sql, const Json& params) {
    return call(op, Json{{"sql", sql}, {"params", params}}.dump());
  }
  Answer query(const std::string& sql, const Json& params = Json::array()) { return call(Operation::query, sql, params); }
  Answer execute(const std::string& sql, const Json& params = Json::array()) { return call(Operation::execute, sql, params); }
  Answer setup(const std::string& sql) { return call(Operation::setup, sql, Json::array()); }
  Answer batch(const Json& operations) { return call(Operation::batch, Json{{"operations", operations}}.dump()); }

  via_status try_query(FakeCall& c, const std::string& body) {
    const Op o(Operation::query, body);
    return ops()->try_invoke(handle(), &o.args, c.get());
  }
  // Runs the query on workers until it is answered inline; false when that never happens.
  bool learn(const std::string& body) {
    for (int i = 0; i < 200; ++i) {
      FakeCall c;
      if (try_query(c, body) == VIA_OK) return c.wait().status() == VIA_OK;
      call(Operation::query, body);
    }
    return false;
  }

  static Answer answer(FakeCall& c) {
    c.wait();
    return {c.status(), c.body(), c.message(), c.details()};
  }
  template <class Body>
  Answer control(Body&& body) {
    FakeCall c;
    body(c);
    return answer(c);
  }
  void must(const Answer& a) {
    if (a.status != VIA_OK) throw std::runtime_error("set-up failed: " + a.message);
  }
  via_instance* handle() { return instance_->handle(); }
  const via_instance_api* table() { return handle()->api; }
  const via_ops_api* ops() { return static_cast<const via_ops_api*>(table()->get_extension(handle(), VIA_EXT_OPS)); }
  via_provision_args provision_args(const std::string& plan) {
    return {sizeof(via_provision_args), 0, testing::str(plan), testing::str(config_)};
  }
  void destroy() {
    close();
    instance_.reset();
  }

  TempFolder folder;
  FakeHost host;

 private:
  std::unique_ptr<Instance> instance_;
  std::string config_;
};

}  // namespace via::sqlite::test
