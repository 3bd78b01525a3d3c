// A binding through the config server: who we are (bootstrap and token), what the binding is (resolve,
// refresh), and operations with the retries that are safe. See via/sql.hpp for what is promised.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backend.hpp"
#include "wire.hpp"

namespace via::sql {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The host ends a statement at timeout_ms; its answer may take this much longer to arrive.
constexpr milliseconds kGrace{1000};
constexpr milliseconds kShortestPause{20};
constexpr int kMostRetries = 20;

std::string read_text(const std::string& path, std::size_t limit, const char* what) {
  std::ifstream file(path, std::ios::binary);
  std::string text(limit + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  const auto size = static_cast<std::size_t>(file.gcount());
  if (!file.is_open() || size == 0 || size > limit) {
    raise("not_configured",
          std::string("The ") + what +
              " of this process cannot be read. It is the host's to write: redeploy the app, or run "
              "'via runtime issue' again.");
  }
  text.resize(size);
  return text;
}

struct Identity {
  std::string config_url, ca_file, app, deploy, release, instance, env;
  std::string token_file;
  std::string token;

  void load_token() {
    token = read_text(token_file, 16384, "runtime token");
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' '))
      token.pop_back();
    if (token.find_first_of(" \r\n\t") != std::string::npos) {
      raise("not_configured", "The runtime token of this process is damaged.");
    }
  }
};

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Identity load_identity(const ConnectOptions& options) {
  const std::string file =
      options.bootstrap_file.empty() ? variable("VIA_BOOTSTRAP") : options.bootstrap_file;
  const Json json = Json::parse(read_text(file, 1U << 20, "bootstrap file"), nullptr, false);
  Identity identity;
  for (const auto& [key, member] : {std::pair{"config_url", &Identity::config_url},
                                    {"ca_file", &Identity::ca_file},
                                    {"app", &Identity::app},
                                    {"deploy", &Identity::deploy},
                                    {"release", &Identity::release},
                                    {"instance", &Identity::instance},
                                    {"env", &Identity::env}}) {
    if (json.is_object() && json.contains(key) && json[key].is_string()) identity.*member = json[key];
  }
  if (identity.config_url.empty()) raise("not_configured", "The bootstrap file of this process is damaged.");
  identity.token_file = options.token_file;
  // A bootstrap that was named by hand brings its own token; the environment's belongs to the environment's.
  if (identity.token_file.empty() && options.bootstrap_file.empty()) {
    identity.token_file = variable("VARY_CONFIG_TOKEN_PATH");
  }
  if (identity.token_file.empty()) {
    identity.token_file = (std::filesystem::path(file).parent_path() / "token").string();
  }
  identity.load_token();
  return identity;
}

Url config_server(const Identity& identity) {
  auto url = Url::parse(identity.config_url);
  if (!url) raise("not_configured", "The bootstrap file names no usable config server.");
  return *url;
}

class Remote final : public Connection::Backend {
 public:
  Remote(std::string binding, const ConnectOptions& options)
      : binding_(std::move(binding)),
        timeout_(options.timeout),
        refresh_interval_(options.refresh_interval),
        identity_(load_identity(options)),
        http_(config_server(identity_), identity_.ca_file) {
    resolve(steady_clock::now() + timeout_);
  }

  Rows query(const Statement& statement) override {
    return read_rows(operate("query", single(statement), statement.timeout.value_or(timeout_), true));
  }

  Written execute(const Statement& statement) override {
    return read_written(operate("execute", single(statement), statement.timeout.value_or(timeout_), false));
  }

  std::int64_t setup(const std::string& sql) override {
    return read_written(operate("setup", {{"sql", sql}}, timeout_, false)).update_count;
  }

  std::vector<BatchResult> batch(const std::vector<Statement>& statements) override {
    static constexpr const char* kNames[] = {"query", "execute", "setup"};
    if (statements.empty()) return {};
    Json operations = Json::array();
    for (const Statement& statement : statements) {
      Json& item = operations.emplace_back(Json{{"operation", kNames[static_cast<int>(statement.kind)]}});
      write_statement(item, statement);
    }
    const Json answer = operate("batch", {{"operations", std::move(operations)}}, timeout_, false);
    const Json& list = answer.is_object() && answer.contains("results") ? answer["results"] : answer;
    if (!list.is_array() || list.size() != statements.size()) {
      raise("protocol", "The host's answer to a batch has not one result for each statement.");
    }
    std::vector<BatchResult> results;
    results.reserve(list.size());
    for (const Json& item : list) results.push_back(read_written(item));
    return results;
  }

  Access access() const noexcept override { return access_; }
  bool managed() const noexcept override { return true; }
  std::int64_t generation() const noexcept override { return generation_; }

 private:
  static Json single(const Statement& statement) {
    Json body = Json::object();
    write_statement(body, statement);
    return body;
  }

  // One operation with the current generation; a new one is fetched once when the host says that ours is old.
  Json operate(const char* operation, Json body, milliseconds timeout, bool read) {
    const Deadline deadline = steady_clock::now() + timeout;
    if (refresh_interval_.count() > 0 && steady_clock::now() - refreshed_at_ > refresh_interval_)
      refresh(deadline);
    for (bool refreshed = false;; refreshed = true) {
      body["generation"] = generation_;
      const HttpResponse response = send(endpoint_ + "/" + operation, body, deadline, read);
      if (response.status >= 200 && response.status <= 299) return read_json(response);
      const Error error = read_error(response);
      const bool old = error.code() == "generation_revoked" || error.code() == "generation_unknown" ||
                       error.code() == "stale_claims";
      if (!old || refreshed || !refresh(deadline)) throw error;
    }
  }

  void resolve(Deadline deadline) {
    const Json request = {{"keys", Json::array({binding_})}};
    const HttpResponse response = send("/v1/runtime/config/resolve", request, deadline, true);
    if (response.status != 200) throw read_error(response);
    const Json answer = read_json(response);
    refreshed_at_ = steady_clock::now();
    for (const char* key : {"app", "release", "deploy", "profile_version"}) {
      if (answer.contains(key)) claims_[key] = answer[key];
    }
    for (const Json& descriptor : answer.value("descriptors", Json::array())) {
      if (descriptor.is_object() && descriptor.value("binding", "") == binding_) {
        adopt(descriptor);
        return;
      }
    }
    throw Error("This release has no binding " + binding_ + ". Bind an add-on with 'via addon bind " +
                    (identity_.app.empty() ? "APP" : identity_.app) + " NAME --binding " + binding_ +
                    "' and deploy again: a binding is part of the next release.",
                {"unbound", 0, 0, {}, std::string(response.header("via-request-id")), false});
  }

  // Asks for a newer generation. False when the host has none for this release: a new deploy is needed.
  bool refresh(Deadline deadline) {
    refreshed_at_ = steady_clock::now();
    Json request = claims_;
    request["keys"] = Json::array({Json{{"key", binding_}, {"scope", "addon"}, {"generation", generation_}}});
    const HttpResponse response = send("/v1/runtime/config/refresh", request, deadline, true);
    if (response.status != 200) return false;
    const Json answer = read_json(response);
    if (!answer.is_object()) return false;
    if (answer.contains("profile_version")) claims_["profile_version"] = answer["profile_version"];
    for (const Json& item : answer.value("keys", Json::array())) {
      if (!item.is_object() || item.value("key", "") != binding_ || item.value("status", "") != "updated")
        continue;
      const std::int64_t before = generation_;
      adopt(item.value("descriptor", item));
      return generation_ != before;
    }
    return false;
  }

  void adopt(const Json& descriptor) {
    generation_ = descriptor.value("generation", generation_);
    if (descriptor.value("access", "") == "read_only") access_ = Access::read_only;
    if (descriptor.value("access", "") == "read_write") access_ = Access::read_write;
    const std::string endpoint = descriptor.value("endpoint", "");
    // Always on the server that the bootstrap names: a descriptor cannot send the token elsewhere.
    if (endpoint.starts_with('/')) endpoint_ = endpoint;
    if (endpoint_.empty()) endpoint_ = "/v1/runtime/addons/" + binding_;
  }

  // Sends until there is an answer to give back, or throws. `read`: may be sent twice without harm.
  HttpResponse send(const std::string& path, Json body, Deadline deadline, bool read) {
    bool token_reloaded = false;
    bool reconnected = false;
    for (int attempt = 0;; ++attempt) {
      const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
      if (left.count() <= 0) {
        throw Error("The host did not get to it in time.", {"deadline_exceeded", 0, 0, {}, {}, false});
      }
      body["timeout_ms"] = left.count();
      auto outcome = http_.post(path, identity_.token, dump(body), deadline + kGrace);
      if (outcome.failure != HttpClient::Failure::none) {
        const bool safe = read || !outcome.may_have_arrived;
        if (outcome.failure == HttpClient::Failure::lost && safe && !reconnected) {
          reconnected = true;
          continue;
        }
        fail_with(outcome, read);
      }
      const HttpResponse& response = outcome.response;
      if (response.status == 401 && !token_reloaded &&
          read_error(response).code() == "runtime_identity_expired") {
        token_reloaded = true;
        const std::string before = identity_.token;
        identity_.load_token();
        if (identity_.token != before) continue;
      }
      if ((response.status == 503 || response.status == 429) && attempt < kMostRetries) {
        const auto pause = std::max(retry_after(response), kShortestPause);
        if (steady_clock::now() + pause < deadline) {
          std::this_thread::sleep_for(pause);
          continue;
        }
      }
      return std::move(outcome.response);
    }
  }

  [[noreturn]] static void fail_with(const HttpClient::Outcome& outcome, bool read) {
    using Failure = HttpClient::Failure;
    const std::string why = " (" + outcome.reason + ")";
    if (!read && outcome.may_have_arrived) {
      throw Error("The answer to a write did not come" + why +
                      ". It may or may not have been made: look before you repeat it.",
                  {"outcome_unknown", 0, 0, {}, {}, true});
    }
    switch (outcome.failure) {
      case Failure::timed_out:
        throw Error("The host did not answer in time" + why + ".",
                    {"deadline_exceeded", 0, 0, {}, {}, false});
      case Failure::protocol:
        throw Error("The host's answer cannot be read" + why + ".", {"protocol", 0, 0, {}, {}, false});
      case Failure::tls:
        throw Error("The host's certificate is not trusted" + why + ".",
                    {"unreachable", 0, 0, {}, {}, false});
      default:
        throw Error("The config server cannot be reached" + why + ".", {"unreachable", 0, 0, {}, {}, false});
    }
  }

  const std::string binding_;
  const milliseconds timeout_;
  const milliseconds refresh_interval_;
  Identity identity_;
  HttpClient http_;
  std::string endpoint_;
  std::int64_t generation_ = 0;
  Json claims_ =
      Json::object();  // app, release, deploy, profile_version as resolve gave them; refresh wants them back
  steady_clock::time_point refreshed_at_{};
  Access access_ = Access::read_write;
};

}  // namespace

std::unique_ptr<Connection::Backend> open_remote(const std::string& binding, const ConnectOptions& options) {
  return std::make_unique<Remote>(binding, options);
}

}  // namespace via::sql
