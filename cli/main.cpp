// The one binary, under each of its names (run.cpp). Makes the real outside world and hands it to the command line;
// nothing is decided here.
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <thread>
#include <vector>

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
  bool in_process() const override { return true; }

 private:
  std::unique_ptr<via::InProcessHost> host_;
};

via::Result<std::unique_ptr<via::cli::AdminTransport>> in_process(const std::filesystem::path& state_dir, bool may_make) {
  auto host = via::open_in_process(state_dir, may_make ? via::IfMissing::make : via::IfMissing::refuse);
  if (!host) return host.error();
  return std::unique_ptr<via::cli::AdminTransport>(std::make_unique<InProcessTransport>(std::move(*host)));
}

int terminal_width(int fd) {
  winsize size{};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

volatile sig_atomic_t interrupts = 0;

bool interrupted() {
  static const bool watching = [] {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupts = 1; };
    action.sa_flags = static_cast<int>(SA_RESETHAND);  // a second Ctrl-C ends the program
    return ::sigaction(SIGINT, &action, nullptr) == 0;
  }();
  const bool pressed = watching && interrupts != 0;
  interrupts = 0;
  return pressed;
}

via::Result<via::cli::HttpAnswer> send_http(const via::cli::HttpRequest& request) {
  auto answer = via::fetch({request.url, request.method, request.target, request.content_type, request.body, request.socket});
  if (!answer) return answer.error();
  return via::cli::HttpAnswer{answer->status, std::move(answer->body), std::move(answer->content_type)};
}

bool open_browser(const std::string& url) {
  std::vector<std::string> words{"xdg-open", url};
  char* arguments[] = {words[0].data(), words[1].data(), nullptr};
  pid_t child = 0;
  int status = 0;
  return ::posix_spawnp(&child, "xdg-open", nullptr, nullptr, arguments, environ) == 0 &&
         ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::string read_hidden(const std::string& prompt) {
  termios before{};
  const bool known = ::tcgetattr(STDIN_FILENO, &before) == 0;
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  std::cerr << prompt << std::flush;
  if (known) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  std::string line;
  std::getline(std::cin, line);
  if (known) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  std::cerr << '\n';
  return line;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    via::cli::Environment environment{std::cout, std::cerr};
    environment.terminal = ::isatty(STDOUT_FILENO) == 1;
    environment.width = environment.terminal ? terminal_width(STDOUT_FILENO) : 0;
    environment.in = &std::cin;
    environment.input_terminal = ::isatty(STDIN_FILENO) == 1;
    environment.error_terminal = ::isatty(STDERR_FILENO) == 1;
    environment.error_width = environment.error_terminal ? terminal_width(STDERR_FILENO) : 0;
    environment.sleep = [](int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); };
    environment.read_hidden = read_hidden;
    environment.interrupted = interrupted;
    environment.now_ms = via::SystemClock().unix_ms();
    environment.variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value == nullptr ? "" : value);
    };
    environment.open_admin = [](const std::filesystem::path& state_dir, bool may_make) {
      return via::cli::open_admin(state_dir, may_make, in_process);
    };
    environment.serve = [](const via::cli::ServeRequest& request) {
      via::ServeOptions options;
      options.state_dir = request.state_dir;
      options.config_file = request.config_file;
      options.listen = request.listen;
      return via::run_server(options);
    };
    environment.kit = [](const via::cli::KitRequest& request) {
      via::KitOptions options;
      options.type = "sqlite";
      options.folder = request.databases;
      options.listen = request.listen;
      options.any_absolute_path = request.any_absolute_path;
      options.allow_public = request.allow_public;
      options.json = request.json;
      return via::run_kit(options);
    };
    environment.restore_backup = [](const via::cli::RestoreBackupRequest& request) {
      via::RestoreOptions options;
      options.file = request.file;
      options.state_dir = request.state_dir;
      options.config_file = request.config_file;
      options.passphrase = request.passphrase;
      options.replace = request.replace;
      options.progress = request.progress;
      return via::restore_backup(options);
    };
    environment.http = send_http;
    environment.open_browser = open_browser;
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
