// Everything of a host but its listeners: what the server and a command in process share.
// Thread: made and ended on the main thread; its parts say their own rules.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "core/api/admin.hpp"
#include "core/authorization/authority.hpp"
#include "core/base/disk_reserve.hpp"
#include "core/base/files.hpp"
#include "core/base/log.hpp"
#include "core/identity/keys.hpp"
#include "core/identity/tokens.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/plugins/plugin_host.hpp"
#include "core/server_config.hpp"
#include "core/store/store.hpp"

namespace via {

class Host final : private lifecycle::PluginTrust {
 public:
  // Takes the lock, checks owner and modes, opens the store and the keys, loads the plugins that are pinned.
  static Result<std::unique_ptr<Host>> open(const std::filesystem::path& state_dir, const ServerConfig& config,
                                            Logger::Target log_target);
  ~Host() override;

  // Makes the control plane; `config_url` is where apps reach the config server.
  void wire(const std::string& config_url);

  const Clock& clock() const { return clock_; }
  Entropy& entropy() { return entropy_; }
  Logger& log() { return *log_; }
  plugins::Executor& executor() { return *executor_; }
  plugins::Metrics& metrics() { return metrics_; }
  plugins::PluginHost& plugins() { return *plugins_; }
  store::Store& store() { return *store_; }
  identity::Keys& keys() { return *keys_; }
  const identity::TokenVerifier& verifier() const { return *verifier_; }
  authorization::Authority& authority() { return authority_; }
  lifecycle::ControlPlane& plane() { return *plane_; }
  api::AdminApi& admin() { return *admin_; }
  const std::filesystem::path& state_dir() const { return state_dir_; }

 private:
  Host(std::filesystem::path state_dir, const ServerConfig& config, Logger::Target log_target);
  Result<void> prepare();
  Result<void> load_plugins();
  Result<std::shared_ptr<plugins::Library>> load_library(plugins::Image image);

  // lifecycle::PluginTrust
  Result<nlohmann::json> verify(const std::string& file) override;
  Result<plugins::PluginRecord> load(const std::string& folder, const std::string& sha256, const std::string& source) override;
  Result<void> untrust(const std::string& plugin_id) override;
  void removed(const std::string& plugin_id) override;

  const std::filesystem::path state_dir_;
  const ServerConfig config_;
  SystemClock clock_;
  SystemEntropy entropy_;
  std::unique_ptr<Logger> log_;
  std::optional<StateLock> lock_;
  std::optional<DiskReserve> reserve_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<identity::Keys> keys_;
  std::unique_ptr<identity::TokenIssuer> issuer_;
  std::unique_ptr<identity::TokenVerifier> verifier_;
  plugins::Metrics metrics_;
  std::unique_ptr<plugins::Executor> executor_;
  std::unique_ptr<plugins::SecretBox> secrets_;
  std::unique_ptr<plugins::Services> services_;
  std::unique_ptr<plugins::PluginHost> plugins_;
  authorization::Authority authority_;
  std::unique_ptr<lifecycle::ControlPlane> plane_;
  std::unique_ptr<api::AdminApi> admin_;
};

}  // namespace via
