// wrk as load: what is sent, for how long, over how many connections, and what came back.
// Thread: one at a time.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/driver/system.hpp"

namespace bench {

struct Request {
  std::filesystem::path token_file;  // empty = no Authorization
  std::string path, body;
  std::string method = "POST";
};

struct Server {
  int port = 0, pid = 0;
};

struct Load {
  double rps = 0, p50_us = 0, p90_us = 0, p99_us = 0, p999_us = 0, max_us = 0;
  double requests = 0, refused = 0;  // refused: answers of 400 and above
  double per_core_second = 0;        // requests for each second that the server spent on a core
};

class LoadRunner {
 public:
  LoadRunner(std::filesystem::path script, std::filesystem::path work) : script_(std::move(script)), work_(std::move(work)) {}

  // Writes the requests to a file for the runs after it.
  std::filesystem::path save(const std::string& name, const std::vector<Request>& requests) const;
  // Failed when a connection broke, or an answer was refused and `may_refuse` is not set.
  Load run(const Server& server, const std::filesystem::path& requests, int connections, double seconds,
           const std::vector<int>& cores) const;

  // The same beside something else: start now, collect later.
  class Running {
   public:
    Load finish(bool may_refuse = false);

   private:
    friend class LoadRunner;
    std::unique_ptr<Child> process_;
    double seconds_ = 0, core_seconds_before_ = 0;
    int pid_ = 0;
  };
  Running start(const Server& server, const std::filesystem::path& requests, int connections, double seconds,
                const std::vector<int>& cores) const;

 private:
  std::filesystem::path script_, work_;
};

}  // namespace bench
