// `via kit`: a listener, the bundled plugins and one instance; no control plane.
#include "core/server.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/api/kit.hpp"
#include "core/base/files.hpp"
#include "core/base/secret.hpp"
#include "core/bundled.hpp"
#include "core/exit_limit.hpp"
#include "core/net/listener.hpp"
#include "core/plugins/plugin_host.hpp"
#include "core/signals.hpp"

namespace via {
namespace {

// "127.0.0.1:8080", "[::1]:0", "localhost:8080"
bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address.starts_with("[::1]:") || address.starts_with("localhost:");
}

Result<void> serve(const KitOptions& options, ExitLimit& limit) {
  if (!options.allow_public && !is_loopback(options.listen))
    return fail(Code::bad_request, "'" + options.listen + "' can be reached from other machines, and whoever reaches it has the "
                                   "databases. Listen on 127.0.0.1:PORT, or add --allow-public.");
  ::umask(077);
  const sigset_t signals = block_signals();
  SystemClock clock;
  SystemEntropy entropy;
  Logger log(Logger::Target::standard_error);
  // By whatever name it was called: people keep data behind links.
  std::error_code missing;
  fs::path folder = fs::canonical(options.folder, missing);
  if (missing) folder = options.folder;
  const auto open = make_named_folder(folder);
  if (!open) {
    Error error = open.error();
    error.message = "The folder of the databases cannot be used: " + error.message + ".";
    return error;
  }
  if (*open) log.warn("folder_open_to_others", {{"what", "other users may look into the folder of the databases; what the kit writes there has mode 0600"}});
  auto lock = StateLock::take(folder, ".lock");  // hidden: the folder's other files are the clients' own
  if (!lock) {
    if (lock.error().code == Code::conflict) return fail(Code::conflict, "Another kit serves this folder already.");
    return lock.error();
  }
  plugins::Metrics metrics;
  plugins::Executor executor(clock, 64);
  std::string key(32, '\0');
  entropy.fill({reinterpret_cast<std::uint8_t*>(key.data()), key.size()});
  const plugins::SecretBox secrets(Secret(std::move(key)), entropy);  // a kit seals nothing that outlives it
  const plugins::Services services{clock, log, executor, metrics, secrets};
  plugins::PluginHost plugins(services, folder);
  for (const auto& [bundle, sha256] : bundled_plugins(bundled_folder({}))) (void)plugins.load(bundle, sha256, "bundled");
  const std::string config = nlohmann::json{{"kit", {{"allow_any_absolute_db_path", options.any_absolute_path}}}}.dump();
  auto instance = plugins.standalone(options.type, config, folder);
  if (!instance) return instance.error();
  if (auto opened = (*instance)->open(); !opened) return opened.error();

  net::ListenerSettings settings;
  settings.address = options.listen;
  settings.allow_public_plaintext = options.allow_public;
  settings.limits.max_connections = net::connections_within(settings.limits.max_connections, net::raise_descriptor_limit());
  net::Listener listener(std::move(settings), clock, entropy, log, executor);
  if (auto bound = listener.bind(); !bound) return bound.error();
  api::KitApi api(*instance, options.allow_public, log);
  listener.start(api);
  const std::string url = "http://" + listener.address();
  std::printf("%s\n", options.json ? nlohmann::json{{"url", url}, {"pid", ::getpid()}}.dump().c_str() : ("listening on " + url).c_str());
  std::fflush(stdout);
  int signal = 0;
  while (::sigwait(&signals, &signal) == 0 && signal == SIGHUP) {
  }
  limit.start(std::chrono::milliseconds(net::Limits().drain_timeout_ms + 1'800));
  const bool whole = listener.shutdown();
  auto closed = (*instance)->close();
  if (!whole) ExitLimit::leave();
  return closed;
}

}  // namespace

int run_kit(const KitOptions& options) {
  ExitLimit limit;
  const auto done = serve(options, limit);
  if (done) return 0;
  std::fprintf(stderr, "via: %s\n", done.error().message.c_str());
  return done.error().exit_code();
}

}  // namespace via
