#include "bench/driver/load.hpp"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

namespace bench {

std::filesystem::path LoadRunner::save(const std::string& name, const std::vector<Request>& requests) const {
  std::string text;
  for (const Request& r : requests)
    text += (r.token_file.empty() ? "-" : r.token_file.string()) + "\t" + r.method + "\t" + r.path + "\t" + r.body + "\n";
  const auto file = work_ / (name + ".requests");
  write_text(file, text);
  return file;
}

LoadRunner::Running LoadRunner::start(const Server& server, const std::filesystem::path& requests, int connections,
                                      double seconds, const std::vector<int>& cores) const {
  // wrk takes whole seconds only.
  const int whole = std::max(1, static_cast<int>(std::lround(seconds)));
  Running out;
  out.seconds_ = whole;
  out.pid_ = server.pid;
  out.core_seconds_before_ = core_seconds_of(server.pid);
  out.process_ = std::make_unique<Child>(
      Spawn{{"wrk", "--threads", "1", "--connections", std::to_string(connections), "--duration",
             std::to_string(whole) + "s", "--timeout", "20s", "--script", script_.string(),
             "http://127.0.0.1:" + std::to_string(server.port) + "/"},
            cores,
            {{"BENCH_REQUESTS", requests.string()}},
            {}});
  return out;
}

Load LoadRunner::Running::finish(bool may_refuse) {
  const std::string text = process_->finish(seconds_ + 60);
  const double core_seconds = core_seconds_of(pid_) - core_seconds_before_;
  const auto at = text.find("BENCH {");
  if (at == std::string::npos) throw Failed("wrk said: " + text);
  const auto seen = nlohmann::json::parse(text.substr(at + 6, text.find('\n', at) - at - 6));
  Load out;
  out.requests = seen.at("requests");
  out.rps = out.requests / seen.at("us").get<double>() * 1e6;
  out.per_core_second = core_seconds > 0 ? out.requests / core_seconds : 0;
  out.p50_us = seen.at("p50");
  out.p90_us = seen.at("p90");
  out.p99_us = seen.at("p99");
  out.p999_us = seen.at("p999");
  out.max_us = seen.at("max");
  out.refused = seen.at("refused");
  if (seen.at("broken").get<double>() > 0) throw Failed("connections broke under load: " + seen.dump());
  if (out.refused > 0 && !may_refuse) throw Failed("requests were refused under load: " + seen.dump());
  if (out.requests == 0 && !may_refuse) throw Failed("no request was answered under load");
  return out;
}

Load LoadRunner::run(const Server& server, const std::filesystem::path& requests, int connections, double seconds,
                     const std::vector<int>& cores) const {
  return start(server, requests, connections, seconds, cores).finish();
}

}  // namespace bench
