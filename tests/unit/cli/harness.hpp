// Runs the command line against a recording host: what was asked is kept, what to answer is set by the test.
#pragma once

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
  std::filesystem::path state_dir;
  int opened = 0;
};

class RecordingTransport final : public AdminTransport {
 public:
  explicit RecordingTransport(Host& host) : host_(host) {}
  Result<nlohmann::json> call(std::string_view command, const nlohmann::json& arguments) override {
    host_.calls.push_back({std::string(command), arguments});
    return host_.answer;
  }

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
  std::map<std::string, std::string> variables;
  bool terminal = false;
  int width = 0;
  ServeRequest served;

  Ran run(std::vector<std::string> words) {
    std::ostringstream out, err;
    Environment environment{out, err};
    environment.terminal = terminal;
    environment.width = width;
    environment.now_ms = 1795262400000;  // 2026-11-21T12:00:00Z
    environment.variable = [this](const char* name) { return variables[name]; };
    environment.open_admin = [this](const std::filesystem::path& state_dir) {
      host.state_dir = state_dir;
      ++host.opened;
      return Result<std::unique_ptr<AdminTransport>>(std::make_unique<RecordingTransport>(host));
    };
    environment.serve = [this](const ServeRequest& request) {
      served = request;
      return 0;
    };
    words.insert(words.begin(), "via");
    Ran ran;
    ran.code = cli::run(words, environment);
    ran.out = out.str();
    ran.err = err.str();
    return ran;
  }
};

// "addon create sqlite db --app api" -> words
inline std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

}  // namespace via::cli::testing
