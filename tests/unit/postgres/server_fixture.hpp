// A PostgreSQL add-on under a fake host, on the one real server that the tests of this program share.
#pragma once

#include "plugins/postgres/marker.hpp"
#include "plugins/postgres/postgres.hpp"
#include "support/fakes.hpp"
#include "support/postgres_server.hpp"

#include <via/plugin/testing.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <optional>

#include <poll.h>

namespace via::postgres {

using nlohmann::json;

inline test::PostgresServer& server() {
  static test::PostgresServer one;
  return one;
}

struct Caller {
  std::vector<std::string> scopes{"read", "write"};
  std::vector<std::uint32_t> live{1};
};

class PostgresAddon : public ::testing::Test {
 protected:
  static constexpr const char* kSecret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA-_";

  void SetUp() override { begin({}); }
  void begin(const json& config) {
    config_ = config.is_null() ? "{}" : config.dump();
    host.emplace(testing::FakeHostOptions{.dir = folder.path().string(), .threads = 6, .settings = server().settings_json()});
    Postgres::start(plugin::Host(host->host()));
    plugin.emplace(*host);
    ASSERT_TRUE(done(plugin->provision(config_)));
    ASSERT_TRUE(done(plugin->open(config_)));
  }
  void TearDown() override {
    server().start();
    if (plugin) {
      EXPECT_TRUE(done(plugin->deprovision()));
    }
    end();
  }
  // The same add-on, made anew with another configuration.
  void again_with(const json& config) {
    ASSERT_TRUE(done(plugin->deprovision()));
    end();
    begin(config);
  }
  void end() {
    plugin.reset();
    Postgres::stop();
    host.reset();
  }
  static ::testing::AssertionResult done(const plugin::Answer& answer) {
    if (answer.ok()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << answer.status << " " << answer.message << " " << answer.details;
  }

  // One operation as the host makes it: on the I/O thread first, then on a worker.
  void call(testing::FakeCall& out, std::string_view op, const std::string& body, const Caller& who = {}, std::string_view accept = {}) {
    std::vector<via_str> scopes;
    for (const auto& s : who.scopes) scopes.push_back({s.data(), s.size()});
    via_caller caller{};
    caller.struct_size = sizeof caller;
    caller.generation = who.live.empty() ? 0 : who.live.back();
    caller.scopes = scopes.data();
    caller.scopes_len = scopes.size();
    caller.live_generations = who.live.data();
    caller.live_generations_len = who.live.size();
    via_op_args args{};
    args.struct_size = sizeof args;
    args.op = plugin::str(op);
    args.op_index = op == "query" ? 0 : op == "execute" ? 1 : op == "setup" ? 2 : 3;
    args.params_content_type = plugin::str("application/json");
    args.params = plugin::bytes(body);
    args.caller = &caller;
    args.accept = plugin::str(accept);
    const auto* ops = static_cast<const via_ops_api*>(plugin->instance()->api->get_extension(plugin->instance(), VIA_EXT_OPS));
    if (ops->try_invoke(plugin->instance(), &args, out.get()) == VIA_E_WOULD_BLOCK) ops->invoke(plugin->instance(), &args, out.get());
  }
  struct Result {
    via_status status;
    json body, details;
    std::string text, message;
    std::string code() const { return details.is_object() ? details.value("code", "") : ""; }
  };
  Result run(std::string_view op, const json& body, const Caller& who = {}, std::string_view accept = {}) {
    testing::FakeCall one;
    call(one, op, body.dump(), who, accept);
    one.wait();
    EXPECT_EQ(one.completions(), 1);
    return {one.status(), json::parse(one.body(), nullptr, false), json::parse(one.details(), nullptr, false), one.body(), one.message()};
  }
  Result query(const std::string& sql, const json& params = json::array()) { return run("query", {{"sql", sql}, {"params", params}}); }
  Result execute(const std::string& sql, const json& params = json::array()) { return run("execute", {{"sql", sql}, {"params", params}}); }
  Result setup(const std::string& sql) { return run("setup", {{"sql", sql}}); }
  json rows(const std::string& sql, const json& params = json::array()) {
    const Result r = query(sql, params);
    EXPECT_EQ(r.status, VIA_OK) << r.message;
    return r.body.is_object() ? r.body.value("rows", json()) : json();
  }
  json value(const std::string& sql, const json& params = json::array()) {
    const json all = rows(sql, params);
    return all.empty() || all[0].empty() ? json() : all[0][0];
  }
  std::string database() const { return read_marker(folder.path()).value().database; }

  std::string config_;
  test::TemporaryFolder folder;
  std::optional<testing::FakeHost> host;
  std::optional<plugin::PluginUnderTest<Postgres>> plugin;
};

}  // namespace via::postgres
