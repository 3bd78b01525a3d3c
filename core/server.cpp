#include "core/server.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>

#include <nlohmann/json.hpp>

#include "core/api/admin_http.hpp"
#include "core/api/runtime.hpp"
#include "core/bundled.hpp"
#include "core/exit_limit.hpp"
#include "core/host.hpp"
#include "core/net/http_probe.hpp"
#include "core/net/listener.hpp"
#include "core/service_manager.hpp"
#include "core/signals.hpp"

namespace via {
namespace {

int report(const Error& error) {
  std::fprintf(stderr, "via: %s\n", error.message.c_str());
  return error.exit_code();
}

std::string url_of(const ServerConfig& config, const std::string& address) {
  if (!config.public_url.empty()) return config.public_url;
  return (config.tls_certificate.empty() ? "http://" : "https://") + address;
}

// Smoke tests reach the config server where apps do.
class ConfigServerProber final : public lifecycle::Prober {
 public:
  explicit ConfigServerProber(net::HttpProbe probe) : probe_(std::move(probe)) {}
  Result<lifecycle::ProbeReply> post(const std::string& path, const Secret& token, const std::string& body,
                                     int timeout_ms) override {
    auto answer = probe_.post(path, token, body, timeout_ms);
    if (!answer) return answer.error();
    return lifecycle::ProbeReply{answer->status, std::move(answer->body)};
  }

 private:
  net::HttpProbe probe_;
};

// What the host calls of a server while that is there, and not when it is gone: also after a start that failed half way.
class Serving {
 public:
  Serving(Host& host, net::Listener& listener, releases::Runner& runner) : host_(host), runner_(runner) {
    host.authority().set_listener({[&listener](auto index) { listener.deliver(index); },
                                   [&listener](const auto& instances) { listener.quiesce(instances); }});
  }
  ~Serving() {
    host_.plane().stop();
    runner_.stop_all();
    host_.authority().set_listener({});
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

 private:
  Host& host_;
  releases::Runner& runner_;
};

constexpr int kStopGraceMs = 5000;           // of apps, out of the drain time
constexpr std::uint64_t kStopOverMs = 1'800;  // behind the drain time

Result<ServerConfig> configuration(const ServeOptions& options) {
  auto config = load_server_config(options.config_file, options.state_dir);
  if (config && !options.listen.empty()) config->listen = options.listen;
  return config;
}

// As many connections as are wanted and there is room for.
net::Limits limits_within(const ServerConfig& config, std::uint64_t descriptors, Logger& log) {
  net::Limits limits = config.limits;
  limits.max_connections = net::connections_within(limits.max_connections, descriptors);
  if (limits.max_connections < config.limits.max_connections)
    log.warn("connections_limited",
             {{"wanted", config.limits.max_connections}, {"most", limits.max_connections}, {"descriptors", descriptors}});
  return limits;
}

// SIGHUP: takes up the log level, the limits and the certificate; names what else is changed. A configuration that is wrong, or a
// certificate that is not good, changes nothing.
Result<void> reload(const ServeOptions& options, ServerConfig& running, std::uint64_t descriptors, Host& host, net::Listener& listener) {
  auto wanted = configuration(options);
  if (!wanted) return wanted.error();
  const bool tls_goes = wanted->tls_certificate.empty();
  const net::TlsFiles files{tls_goes ? running.tls_certificate : wanted->tls_certificate, tls_goes ? running.tls_key : wanted->tls_key};
  const net::Limits limits = limits_within(*wanted, descriptors, host.log());
  if (auto changed = listener.change(limits, listener.tls() ? &files : nullptr); !changed) return changed.error();
  auto restart = what_needs_restart(running, *wanted);
  if (running.log_level != wanted->log_level)
    for (const auto& [type, config] : running.types)
      if (config.isolated) restart.push_back("log.level of " + type);  // its process was told at its start
  running.limits = wanted->limits;
  host.log().set_level(std::min(running.log_level, wanted->log_level));  // of what comes now, too
  running.log_level = wanted->log_level;
  if (listener.tls()) {
    running.tls_certificate = files.certificate;
    running.tls_key = files.key;
  }
  for (const std::string& name : restart) host.log().warn("restart_needed", {{"setting", name}});
  host.log().info("reloaded");
  host.log().set_level(running.log_level);
  return {};
}

Result<void> serve(const ServeOptions& options, const ServiceManager& manager, ExitLimit& limit) {
  auto config = configuration(options);
  if (!config) return config.error();
  const sigset_t signals = block_signals();
  // A command that works in process holds the lock for a moment; a server that holds it does not let go.
  auto opened = Host::open(options.state_dir, *config, Logger::Target::standard_error);
  for (int i = 0; i < 20 && !opened && opened.error().code == Code::conflict; ++i) {
    ::usleep(100'000);
    opened = Host::open(options.state_dir, *config, Logger::Target::standard_error);
  }
  if (!opened) return opened.error();
  Host& host = **opened;

  net::ListenerSettings settings;
  settings.address = config->listen;
  settings.allow_public_plaintext = config->allow_plaintext;
  settings.threads = config->threads;
  settings.admin = true;
  const std::uint64_t descriptors = net::raise_descriptor_limit();
  settings.limits = limits_within(*config, descriptors, host.log());
  std::atomic<std::size_t> wanted_connections{config->limits.max_connections};
  if (!config->tls_certificate.empty())
    settings.tls = std::make_unique<net::TlsFiles>(net::TlsFiles{config->tls_certificate, config->tls_key});
  net::Listener listener(std::move(settings), host.clock(), host.entropy(), host.log(), host.executor());
  if (auto bound = listener.bind(); !bound) return bound.error();

  const std::string url = url_of(*config, listener.address());
  host.wire(url);
  lifecycle::ControlPlane& plane = host.plane();
  const std::uint64_t started = host.clock().mono_ns();
  plane.set_server_info([&] {
    return lifecycle::ServerInfo{true, ::getpid(), listener.address(),
                                 static_cast<std::int64_t>((host.clock().mono_ns() - started) / 1'000'000'000),
                                 {wanted_connections, listener.most_connections(), descriptors}};
  });
  const std::uint32_t dropped = host.metrics().define(plugins::Metrics::Kind::counter, "via_app_log_dropped_total", {"app", "reason"});
  logs::Collector output(host.clock(), host.log(), config->logs, [&host, dropped](const std::string& app, std::string_view why, std::uint64_t lines) {
    host.metrics().record(dropped, {app, why}, static_cast<double>(lines));
  });
  releases::SandboxTools tools;
  if (config->sandbox) {
    tools.means = sandbox::Means::find(program_beside("via-sandbox-init"));
    tools.groups = sandbox::Cgroups::find();
    if (!tools.means.missing.empty())
      host.log().warn("sandbox_unavailable", {{"reason", tools.means.missing}, {"remedy", tools.means.remedy}});
  } else {
    host.log().warn("sandbox_off", {{"reason", "configured: apps can read all that the host can"}});
  }
  plane.set_sandbox_info({config->sandbox, tools.means.missing, tools.means.remedy, tools.groups.name(), tools.means.landlock});
  releases::Runner runner(host.clock(), host.log(), output, [&](const std::string& instance, auto state, int pid, int status, const std::string& reason) {
    plane.on_process_state(instance, state, pid, status, reason);
  }, tools);
  lifecycle::RunnerLauncher launcher(runner, tools);
  // Everything that an operator can have got wrong is looked at before the first app is launched.
  auto probe = net::HttpProbe::to(url, config->tls_ca.string());
  if (!probe) return probe.error();
  ConfigServerProber prober(std::move(*probe));
  plane.set_prober(&prober);
  if (auto bound = listener.bind_admin(host.state_dir() / "admin.sock", config->admin_group); !bound) return bound.error();
  auto accesses = lifecycle::AccessWriter::open(host.store(), host.clock(), host.log());
  if (!accesses) return accesses.error();
  lifecycle::AccessAudit audit([&](const auto& entries) { return (*accesses)->write(entries); },
                               [&](auto work) { host.executor().run(std::move(work)); }, host.clock());
  api::RuntimeApi runtime({host.keys(), host.verifier(), plane.values(), plane.sealer(), audit, host.log(),
                           [&] { return url; }, [] { return std::string(); }});
  api::AdminHttp admin(host.admin(), [&] { return host.metrics().text(); }, !config->admin_group.empty(), host.log());
  const Serving serving(host, listener, runner);
  if (auto ready = plane.start(&launcher); !ready) return ready.error();

  plane.trim_logs();
  host.metrics().add_source([&](std::string& text) { net::append_metrics(listener.threads(), text); });
  plane.keep_reserve();
  listener.start_admin(admin);
  listener.start(runtime);
  host.log().info("ready", {{"listen", listener.address()}, {"tls", listener.tls() ? "on" : "off"}});
  std::printf("via is ready on %s\n", url.c_str());
  std::fflush(stdout);
  manager.ready();

  for (std::uint64_t seconds = 0;;) {
    const timespec second{1, 0};
    const int signal = ::sigtimedwait(&signals, nullptr, &second);
    if (signal == SIGTERM || signal == SIGINT) {
      host.log().info("stopping", {{"signal", signal}});
      const std::chrono::milliseconds at_most(config->limits.drain_timeout_ms + kStopOverMs);
      limit.start(at_most);
      manager.stopping(at_most + std::chrono::seconds(5));
      break;
    }
    if (signal == SIGHUP) {
      manager.reloading();
      if (auto done = reload(options, *config, descriptors, host, listener); !done)
        host.log().error("reload_refused", {{"reason", done.error().message}});
      wanted_connections = config->limits.max_connections;
      manager.ready();
    }
    plane.refresh_tokens();
    if (++seconds % 60 == 0) {
      plane.expire_retained();
      plane.trim_logs();
    }
    if (seconds % 10 == 0) {
      plane.keep_reserve();
      plane.settle_credentials();
    }
  }
  // Apps first, while they can still be answered; then connections; then plugins (in ~Host).
  const std::uint64_t since = host.clock().mono_ns();
  plane.stop();
  runner.stop_all(std::min(kStopGraceMs, static_cast<int>(config->limits.drain_timeout_ms / 2)));
  const bool whole = listener.shutdown(since);
  plane.finish_background();
  host.plugins().close_all();
  host.log().info("stopped", {{"stuck_operations", whole ? "none" : "left behind"}});
  if (!whole) ExitLimit::leave();
  return {};
}

class InProcess final : public InProcessHost {
 public:
  explicit InProcess(std::unique_ptr<Host> host) : host_(std::move(host)) {}
  Result<nlohmann::json> call(std::string_view command, const nlohmann::json& args) override {
    return host_->admin().call(command, args, api::actor_of(::geteuid()));
  }

 private:
  std::unique_ptr<Host> host_;
};

}  // namespace

Result<FetchAnswer> fetch(const FetchRequest& request) {
  constexpr int kTimeoutMs = 330'000;  // the longest maintenance takes 300 s
  constexpr std::uint64_t kMaximumAnswer = 256U << 20;
  auto server = request.socket.empty() ? net::HttpProbe::to(request.url, "") : net::HttpProbe::over(request.socket, request.url);
  if (!server) return server.error();
  auto answer = server->send({request.method, request.target, request.content_type, request.body}, Secret(), kTimeoutMs, kMaximumAnswer);
  if (!answer) return answer.error();
  return FetchAnswer{answer->status, std::move(answer->body), std::move(answer->content_type)};
}

int run_server(const ServeOptions& options) {
  const ServiceManager manager;
  ExitLimit limit;  // outlives everything that serve() takes down
  auto done = serve(options, manager, limit);
  return done ? 0 : report(done.error());
}

Result<std::unique_ptr<InProcessHost>> open_in_process(const std::filesystem::path& state_dir, IfMissing missing) {
  if (missing == IfMissing::refuse && !store::Store::is_in(state_dir)) {
    Error none = fail(Code::not_found, "There is no host in " + state_dir.string() + ". Start one: via serve");
    none.details = "\"state_dir\":" + nlohmann::json(state_dir.string()).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return none;
  }
  auto config = load_server_config({}, state_dir);
  if (!config) return config.error();
  auto host = Host::open(state_dir, *config, Logger::Target::none);
  if (!host) {
    if (host.error().code == Code::conflict)
      return fail(Code::conflict, "Another via process holds this state folder, but its admin socket does not answer yet. "
                                  "Try again; see: via status");
    return host.error();
  }
  (*host)->wire(url_of(*config, config->listen));
  if (auto ready = (*host)->plane().start(); !ready) return ready.error();
  return std::unique_ptr<InProcessHost>(std::make_unique<InProcess>(std::move(*host)));
}

}  // namespace via
