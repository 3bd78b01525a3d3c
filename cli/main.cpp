// The one binary. Makes the real outside world and hands it to the command line; nothing is decided here but
// what the program is called as: `vary` and `hoody` get command trees of their own when they come.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <iostream>

#include "cli/environment.hpp"
#include "core/base/clock.hpp"
#include "core/server.hpp"

namespace {

// The handlers of the host in this process, as a command sees them.
class InProcessTransport final : public via::cli::AdminTransport {
 public:
  explicit InProcessTransport(std::unique_ptr<via::InProcessHost> host) : host_(std::move(host)) {}
  via::Result<nlohmann::json> call(std::string_view command, const nlohmann::json& arguments) override {
    return host_->call(command, arguments);
  }

 private:
  std::unique_ptr<via::InProcessHost> host_;
};

via::Result<std::unique_ptr<via::cli::AdminTransport>> in_process(const std::filesystem::path& state_dir) {
  auto host = via::open_in_process(state_dir);
  if (!host) return host.error();
  return std::unique_ptr<via::cli::AdminTransport>(std::make_unique<InProcessTransport>(std::move(*host)));
}

int terminal_width() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    via::cli::Environment environment{std::cout, std::cerr};
    environment.terminal = ::isatty(STDOUT_FILENO) == 1;
    environment.width = environment.terminal ? terminal_width() : 0;
    environment.now_ms = via::SystemClock().unix_ms();
    environment.variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value == nullptr ? "" : value);
    };
    environment.open_admin = [](const std::filesystem::path& state_dir) {
      return via::cli::open_admin(state_dir, in_process);
    };
    environment.serve = [](const via::cli::ServeRequest& request) {
      via::ServeOptions options;
      options.state_dir = request.state_dir;
      options.config_file = request.config_file;
      options.listen = request.listen;
      return via::run_server(options);
    };
    const int code = via::cli::run(std::vector<std::string>(argv, argv + argc), environment);
    std::cout.flush();
    // A full disk or a closed pipe behind stdout is a failure of a command that had something to say.
    return code == 0 && !std::cout ? 1 : code;
  } catch (const std::exception& problem) {
    std::cerr << "via: unexpected failure: " << problem.what()
              << "\nRun 'via status', and report it if it repeats.\n";
    return 1;
  }
}
