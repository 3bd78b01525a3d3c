// One `via serve` on a free port and a state folder of its own, and what an operator would do to it.
// Thread: one at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "bench/driver/http.hpp"
#include "bench/driver/load.hpp"
#include "bench/driver/system.hpp"

namespace bench {

class Host {
 public:
  struct Options {
    std::filesystem::path program, state, log;
    std::vector<int> cores;
    int threads = 1;
    std::string more = {};  // of its configuration
  };
  explicit Host(Options options);  // returns when it has said that it is ready
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  Server server() const { return {port_, process_->pid()}; }
  double seconds_to_ready() const noexcept { return seconds_to_ready_; }
  Memory memory() const { return memory_of(process_->pid()); }
  void restart();

  // One admin command; Failed when the answer is not 200.
  nlohmann::json admin(const std::string& command, const nlohmann::json& arguments);
  struct Instance {
    std::string id;
    std::filesystem::path token_file;
    std::string token;
  };
  Instance issue(const std::string& app, const std::filesystem::path& folder);
  // One operation on the binding DATABASE, or another; Failed when the answer is not 200.
  std::string operation(const Instance& caller, const std::string& operation, const nlohmann::json& body,
                        const std::string& binding = "DATABASE");

 private:
  void start();
  Options options_;
  std::unique_ptr<Child> process_;
  std::optional<Connection> admin_, api_;
  int port_ = 0;
  double seconds_to_ready_ = 0, admin_used_ = 0, api_used_ = 0;
};

// App `bench` with one SQLite add-on bound as DATABASE, deployed, filled with the sample data.
Host::Instance prepare_sample(Host& host, const std::filesystem::path& folder);

}  // namespace bench
