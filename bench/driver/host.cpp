#include "bench/driver/host.hpp"

#include "bench/sample_data.hpp"

namespace bench {

using nlohmann::json;

Host::Host(Options options) : options_(std::move(options)) {
  write_text(options_.log.parent_path() / (options_.state.filename().string() + ".toml"),
             "threads = " + std::to_string(options_.threads) + "\n" + options_.more);
  start();
}

void Host::start() {
  const auto config = options_.log.parent_path() / (options_.state.filename().string() + ".toml");
  const double before = now_seconds();
  process_ = std::make_unique<Child>(Spawn{{options_.program.string(), "serve", "--state-dir", options_.state.string(),
                                            "--config", config.string(), "--listen", "127.0.0.1:0"},
                                           options_.cores,
                                           {},
                                           options_.log});
  const std::string ready = process_->line(120);
  seconds_to_ready_ = now_seconds() - before;
  const auto colon = ready.rfind(':');
  if (ready.find("ready") == std::string::npos || colon == std::string::npos)
    throw Failed("the host said: " + ready);
  port_ = std::atoi(ready.c_str() + colon + 1);
}

void Host::restart() {
  admin_.reset();
  api_.reset();
  process_.reset();
  start();
}

json Host::admin(const std::string& command, const json& arguments) {
  if (!admin_ || now_seconds() - admin_used_ > 3) admin_.emplace(Connection::to_unix(options_.state / "admin.sock"));
  admin_used_ = now_seconds();
  const Answer answer = admin_->post("/v1/admin/" + command, arguments.dump());
  if (answer.status != 200) throw Failed(command + ": " + answer.body);
  return json::parse(answer.body);
}

Host::Instance Host::issue(const std::string& app, const std::filesystem::path& folder) {
  const json issued = admin("runtime.issue", {{"app", app}, {"out", folder.string()}});
  Instance out{issued.at("id"), folder / "token", read_text(folder / "token")};
  while (!out.token.empty() && out.token.back() == '\n') out.token.pop_back();
  return out;
}

std::string Host::operation(const Instance& caller, const std::string& operation, const json& body,
                            const std::string& binding) {
  // The host closes a connection that says nothing for some seconds.
  if (!api_ || now_seconds() - api_used_ > 3) api_.emplace(Connection::to_tcp(port_));
  api_used_ = now_seconds();
  const Answer answer = api_->post("/v1/runtime/addons/" + binding + "/" + operation, body.dump(), caller.token);
  if (answer.status != 200) throw Failed(operation + ": " + answer.body);
  return answer.body;
}

Host::Instance prepare_sample(Host& host, const std::filesystem::path& folder) {
  host.admin("app.create", {{"name", "bench"}});
  host.admin("addon.create", {{"type", "sqlite"}, {"name", "bench-db"}, {"app", "bench"}, {"bind", "DATABASE"}});
  host.admin("deploy.create", {{"app", "bench"}});
  const Host::Instance caller = host.issue("bench", folder);
  host.operation(caller, "setup", {{"sql", kSchema}});
  host.operation(caller, "execute", {{"sql", fill(kItems)}});
  return caller;
}

}  // namespace bench
