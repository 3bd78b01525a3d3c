// Runs the command line against a recording host: what was asked is kept, what to answer is set by the test.
#pragma once

#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cli/environment.hpp"

namespace via::cli::testing {

struct Call {
  std::string command;
  nlohmann::json arguments;
};

struct Host {
  std::vector<Call> calls;
  Result<nlohmann::json> answer = succeed(nlohmann::json::object());
  // What a command answers, call by call; the last of them again and again. A command that is not here gives `answer`.
  std::map<std::string, std::deque<Result<nlohmann::json>>> answers;
  std::filesystem::path state_dir;
  int opened = 0;
  bool in_process = false;
  bool may_make = false;  // as the last command asked
};

class RecordingTransport final : public AdminTransport {
 public:
  explicit RecordingTransport(Host& host) : host_(host) {}
  Result<nlohmann::json> call(std::string_view command, const nlohmann::json& arguments) override {
    host_.calls.push_back({std::string(command), arguments});
    const auto found = host_.answers.find(std::string(command));
    if (found == host_.answers.end()) return host_.answer;
    auto answer = found->second.front();
    if (found->second.size() > 1) found->second.pop_front();
    return answer;
  }
  bool in_process() const override { return host_.in_process; }

 private:
  Host& host_;
};

struct Ran {
  int code = 0;
  std::string out, err;
};

class Shell {
 public:
  Host host;
  // A machine without anything: a command that is told nothing finds nothing.
  std::map<std::string, std::string> variables{{"VIA_TEST_ROOT", "/nonexistent"}};
  std::string program = "via";
  bool input_terminal = false;
  int interrupts = 0;  // how often Ctrl-C is pressed
  std::function<bool()> on_interrupt;  // in its place
  bool terminal = false;
  int width = 0;
  ServeRequest served;
  KitRequest kit;
  std::string input;                // what standard input has
  RestoreBackupRequest restored;
  std::vector<HttpRequest> requests;  // to data APIs
  HttpAnswer http_answer{200, "{}", "application/json"};
  std::vector<std::string> opened_urls;
  ~Shell() {
    if (!file_.empty()) std::filesystem::remove(file_);
  }
  // A file of mode 0600 that goes with the shell.
  std::string private_file(const std::string& content) {
    std::string name = (std::filesystem::temp_directory_path() / "via-cli-XXXXXX").string();
    const int fd = ::mkstemp(name.data());
    if (fd >= 0) ::close(fd);
    std::ofstream(name) << content;
    file_ = name;
    return name;
  }

  Ran run(std::vector<std::string> words) {
    std::ostringstream out, err;
    Environment environment{out, err};
    environment.terminal = terminal;
    environment.width = width;
    environment.now_ms = 1795262400000;  // 2026-11-21T12:00:00Z
    environment.variable = [this](const char* name) { return variables[name]; };
    environment.open_admin = [this](const std::filesystem::path& state_dir, bool may_make) {
      host.state_dir = state_dir;
      host.may_make = may_make;
      ++host.opened;
      return Result<std::unique_ptr<AdminTransport>>(std::make_unique<RecordingTransport>(host));
    };
    environment.input_terminal = input_terminal;
    environment.interrupted = [this] { return on_interrupt ? on_interrupt() : interrupts > 0 && interrupts-- > 0; };
    std::istringstream in(input);
    environment.in = &in;
    environment.restore_backup = [this](const RestoreBackupRequest& request) {
      restored = request;
      return succeed({{"state_dir", request.state_dir.string()}});
    };
    environment.http = [this](const HttpRequest& request) -> Result<HttpAnswer> {
      requests.push_back(request);
      return http_answer;
    };
    environment.open_browser = [this](const std::string& url) {
      opened_urls.push_back(url);
      return true;
    };
    environment.kit = [this](const KitRequest& request) {
      kit = request;
      return 0;
    };
    environment.serve = [this](const ServeRequest& request) {
      served = request;
      return 0;
    };
    words.insert(words.begin(), program);
    Ran ran;
    ran.code = cli::run(words, environment);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }

 private:
  std::string file_;
};

// "addon create sqlite db --app 'my api'" -> words
inline std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  bool quoted = false, open = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
      if (!open) words.emplace_back();
      open = true;
    } else if (c == ' ' && !quoted) {
      open = false;
    } else {
      if (!open) words.emplace_back();
      open = true;
      words.back() += c;
    }
  }
  return words;
}

}  // namespace via::cli::testing
