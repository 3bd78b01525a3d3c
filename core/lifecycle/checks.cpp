// The check of a deploy: an operator's command under the identity that the new release will have.
#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/releases/shell.hpp"

namespace via::lifecycle {

using nlohmann::json;
using releases::Driver;
using releases::Instance;
using releases::InstanceState;
using store::Transaction;

namespace {

constexpr std::string_view kRedacted = "[redacted]";

// Output may begin in the middle of a secret: its head was cut off.
void redact(std::string& text, const Secret& secret) {
  constexpr std::size_t kShortest = 6;
  const std::string_view s = secret.reveal();
  if (s.size() < kShortest) return;
  for (auto at = text.find(s); at != std::string::npos; at = text.find(s, at + kRedacted.size()))
    text.replace(at, s.size(), kRedacted);
  for (std::size_t length = s.size() - 1; length >= kShortest; --length)
    if (text.starts_with(s.substr(s.size() - length))) {
      text.replace(0, length, kRedacted);
      return;
    }
}

// Anything else that looks like a token (base64url of a JSON object).
void redact_tokens(std::string& text) {
  static constexpr std::string_view kToken = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.";
  for (auto at = text.find("eyJ"); at != std::string::npos; at = text.find("eyJ", at + 1)) {
    const auto end = std::min(text.find_first_not_of(kToken, at), text.size());
    if (end - at >= 20) text.replace(at, end - at, kRedacted);
  }
}

}  // namespace

Result<void> ControlPlane::run_check(Operation& operation, const DeployPlan& plan) {
  const releases::Deploy& deploy = plan.deploy;
  // Not one of the processes of the app, so nothing launches or restarts it: an instance that the host does not drive.
  Instance checker;
  checker.id = make_id("ins");
  checker.app_id = plan.app.id;
  checker.app = plan.app.name;
  checker.deploy = deploy.id;
  checker.release = deploy.release_id;
  checker.driver = Driver::external;
  checker.state = InstanceState::running;
  checker.created_at = now();
  checker.material = own_material(checker.id).string();
  std::vector<Secret> hidden;
  {
    VIA_TRY_LET(lock, operation.control());
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(instances_.insert(checker));
    VIA_TRY(change.commit());
    VIA_TRY(publish_new({checker}));
    VIA_TRY(deliver_material(checker, plan.check_timeout_seconds + 60));
    VIA_TRY_LET(token, read_private_file(fs::path(checker.material) / "token"));
    hidden.emplace_back(std::move(token));
    if (const auto values = values_.find(plan.app.name))
      for (const auto& value : values->values)
        if (value.secret())
          if (auto opened = sealer_.unseal(plan.app.id, value)) hidden.push_back(std::move(*opened));
  }
  std::vector<std::pair<std::string, std::string>> variables(deploy.env.begin(), deploy.env.end());
  variables.insert(variables.end(), {{"VARY_CONFIG_URL", settings_.config_url},
                                     {"VARY_CONFIG_TOKEN_PATH", checker.material + "/token"},
                                     {"VARY_ENVIRONMENT", settings_.environment},
                                     {"VIA_BOOTSTRAP", checker.material + "/bootstrap.json"}});
  auto ran = releases::run_shell(deploy.check_command, static_cast<int>(plan.check_timeout_seconds * 1000), variables,
                                 deploy.cwd, [&] { return operation.cancelled(); });
  for (const auto& secret : hidden) redact(ran.output, secret);
  redact_tokens(ran.output);
  const std::string result = json{{"exit_code", ran.exit_code}, {"seconds", ran.seconds}, {"output", ran.output}}.dump(
      -1, ' ', false, json::error_handler_t::replace);

  VIA_TRY_LET(lock, operation.control());
  VIA_TRY(releases_.set_check_result(deploy.id, result));
  VIA_TRY(end_instances({checker}, ran.exit_code == 0 ? InstanceState::stopped : InstanceState::failed));
  if (ran.exit_code == 0) return {};
  if (operation.cancelled()) return fail(Code::cancelled, "The deploy was cancelled; the previous release stays current.");
  Error error = fail(Code::refused, (ran.exit_code == 124 ? "The check took longer than " +
                                                                std::to_string(plan.check_timeout_seconds) + " seconds"
                                                          : "The check ended with " + std::to_string(ran.exit_code)) +
                                        "; the previous release stays current. See its output: via deploy show " + deploy.id);
  error.details = "\"check\":" + result;
  return error;
}

}  // namespace via::lifecycle
