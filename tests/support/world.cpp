#include "support/world.hpp"

#include "core/base/base64.hpp"
#include "core/identity/keys.hpp"

namespace via::test {

Http& Caller::connection() {
  if (!http_ || !http_->connected()) http_ = std::make_unique<Http>(port_);
  return *http_;
}

Response Caller::post(std::string_view path, std::string_view body,
                      std::vector<std::pair<std::string, std::string>> more) {
  if (!token_.empty()) more.emplace_back("Authorization", "Bearer " + token_);
  Response answer = connection().call("POST", path, body, more);
  if (answer.status == 0 || answer.cut || answer.closes()) http_.reset();
  return answer;
}

Response Caller::op(std::string_view operation, const json& body, std::string_view binding) {
  return post("/v1/runtime/addons/" + std::string(binding) + "/" + std::string(operation), body.dump());
}

json World::admin(std::string_view command, const json& arguments) {
  auto answer = cli::SocketTransport(host.admin_socket()).call(command, arguments);
  if (!answer) {
    ADD_FAILURE() << command << " " << arguments << ": " << answer.error().message;
    return json::object();
  }
  return std::move(*answer);
}

std::string World::admin_error(std::string_view command, const json& arguments) {
  auto answer = cli::SocketTransport(host.admin_socket()).call(command, arguments);
  return answer ? std::string() : std::string(answer.error().wire_name());
}

std::string World::metrics() {
  return Http(host.admin_socket()).call("GET", "/metrics").body;
}

Runtime World::app_with_database(const std::string& name, bool read_only, const json& config) {
  admin("app.create", {{"name", name}});
  json create{{"type", "sqlite"},
              {"name", name + "-db"},
              {"app", name},
              {"bind", "DATABASE"},
              {"read_only", read_only}};
  if (!config.empty()) create["config"] = config;
  admin("addon.create", create);
  admin("deploy.create", {{"app", name}});
  return issue(name);
}

Runtime World::issue(const std::string& app) {
  const json instance = admin("runtime.issue", {{"app", app}});
  Runtime out{app, instance.value("release", ""), instance.value("deploy", ""), instance.value("id", ""),
              {},  instance.value("material", "")};
  out.token = text_of(out.material / "token");
  return out;
}

std::filesystem::path World::data_file(const std::string& addon, const std::string& app) {
  const json found = admin("addon.status", {{"name", addon}, {"app", app}});
  return host.state_dir() / "addons" / "sqlite" / found.value("id", "") / "data.sqlite";
}

const identity::EcKey& World::key() {
  if (!key_) {
    SystemClock clock;
    SystemEntropy entropy;
    auto keys = identity::Keys::open(host.state_dir() / "keys", false, clock, entropy);
    if (!keys) throw std::runtime_error("the host's keys cannot be opened: " + keys.error().message);
    kid_ = (*keys)->current()->signer()->kid;
    key_ = (*keys)->current()->signer()->key;
  }
  return *key_;
}

std::string World::kid() {
  key();
  return kid_;
}

std::string World::sign(const std::string& header, const std::string& payload) {
  std::string token = base64url_encode(header) + '.' + base64url_encode(payload);
  const auto signature = key().sign(token);
  return token + '.' + base64url_encode(*signature);
}

json World::payload_of(const Runtime& runtime) const {
  const auto first = runtime.token.find('.');
  const auto second = runtime.token.find('.', first + 1);
  return json::parse(*base64url_decode(runtime.token.substr(first + 1, second - first - 1)));
}

json rows_of(const Response& response) {
  if (response.status != 200) return nullptr;
  return response.json().value("rows", json());
}

void expect_error(const Response& response, int status, const std::string& code) {
  EXPECT_EQ(response.status, status) << response.body;
  EXPECT_EQ(response.code(), code) << response.body;
  EXPECT_EQ(response.header("Content-Type"), "application/json");
  const json parsed = response.json();
  ASSERT_TRUE(parsed.is_object() && parsed.contains("error")) << response.body;
  const json& error = parsed["error"];
  EXPECT_FALSE(error.value("message", "").empty());
  EXPECT_FALSE(error.value("request_id", "").empty());
  EXPECT_EQ(error.value("request_id", ""), response.header("Via-Request-Id"));
  EXPECT_EQ(parsed.size(), 1U);
  if (status == 401) {
    EXPECT_EQ(response.header("WWW-Authenticate"), "Bearer");
  }
  if (status == 429 || status == 503) {
    EXPECT_FALSE(response.header("Retry-After").empty());
  }
}

void expect_generic_500(const Response& response) {
  const std::string code = response.code();
  expect_error(response, 500, code == "outcome_unknown" ? code : "internal");
  const json parsed = response.json();
  if (!parsed.is_object() || !parsed.contains("error")) return;
  if (code != "outcome_unknown") {
    EXPECT_EQ(parsed["error"].value("message", ""), kInternalMessage);
  }
  for (const auto& [name, value] : parsed["error"].items())
    EXPECT_TRUE(name == "code" || name == "message" || name == "request_id" ||
                ((name == "sqlite_code" || name == "statement_index" || name == "retry_after_ms") &&
                 value.is_number()))
        << response.body;
}

}  // namespace via::test
