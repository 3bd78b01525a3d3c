// A running host with apps in it: what most functional tests begin with.
// Thread: the test's own; Caller objects may be used by one thread each.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "cli/admin_client.hpp"
#include "core/identity/key_set.hpp"
#include "support/host_process.hpp"
#include "support/http.hpp"

namespace via::test {

using nlohmann::json;

// What one runtime instance was given.
struct Runtime {
  std::string app, release, deploy, instance, token;
  std::filesystem::path material;
};

// One keep-alive connection with a token; connects again after the host closed it.
class Caller {
 public:
  Caller(std::uint16_t port, std::string token) : port_(port), token_(std::move(token)) {}
  Response post(std::string_view path, std::string_view body,
                std::vector<std::pair<std::string, std::string>> more = {});
  Response resolve(const json& body = json::object()) {
    return post("/v1/runtime/config/resolve", body.dump());
  }
  Response refresh(const json& body) { return post("/v1/runtime/config/refresh", body.dump()); }
  Response op(std::string_view operation, const json& body, std::string_view binding = "DATABASE");
  Response query(std::string_view sql, const json& params = json::array()) {
    return op("query", {{"sql", sql}, {"params", params}});
  }
  Response execute(std::string_view sql, const json& params = json::array()) {
    return op("execute", {{"sql", sql}, {"params", params}});
  }
  Response setup(std::string_view sql) { return op("setup", {{"sql", sql}}); }
  // The connection in use, for tests that look at it.
  Http& connection();

 private:
  std::uint16_t port_;
  std::string token_;
  std::unique_ptr<Http> http_;
};

class World : public ::testing::Test {
 protected:
  // Starts the host unless a test wants to prepare more: those derive and override.
  void SetUp() override { ASSERT_TRUE(host.start()) << host.log(); }

  // The result of an admin command over the socket; a failure of the command fails the test.
  json admin(std::string_view command, const json& arguments = json::object());
  // The wire name of the error, empty when the command succeeded.
  std::string admin_error(std::string_view command, const json& arguments = json::object());
  std::string metrics();

  // App with an add-on "NAME-db" bound as DATABASE, deployed, with one external instance.
  Runtime app_with_database(const std::string& name, bool read_only = false,
                            const json& config = json::object());
  Runtime issue(const std::string& app);
  Caller caller(const Runtime& runtime) const { return {host.port(), runtime.token}; }
  std::filesystem::path data_file(const std::string& addon, const std::string& app);

  // Signs with the host's own key; header and payload as they stand.
  std::string sign(const std::string& header, const std::string& payload);
  json payload_of(const Runtime& runtime) const;
  std::string kid();

  HostProcess host;

 private:
  const identity::EcKey& key();
  std::shared_ptr<const identity::EcKey> key_;
  std::string kid_;
};

// The rows of a query's answer; null when the status is not 200.
json rows_of(const Response& response);

// The envelope of docs/errors.md, whole: status, code, a message, and one request id in body and header.
void expect_error(const Response& response, int status, const std::string& code);
// What every unexpected failure looks like from outside.
void expect_generic_500(const Response& response);

}  // namespace via::test
