// The benchmarks: each measures a few figures and adds them to the report. Registered in main.cpp.
// Thread: one.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "bench/driver/host.hpp"
#include "bench/driver/load.hpp"
#include "bench/driver/report.hpp"
#include "bench/driver/system.hpp"

namespace bench {

class Context;

struct Plan {
  int rounds = 3;        // the median of these counts
  double seconds = 2;    // of one measured run
  int addons = 10'000;   // of the scale group
  int connections = 2'000;
  int stops = 200;
  int copy_mib = 1024;  // of the copies group
  int keys = 1'000'000;  // of the data group
  bool peers = false;   // measure Redis beside it where redis-server is installed
};

// The hello server, on the server's core.
class Hello {
 public:
  Hello(const std::filesystem::path& program, const std::vector<int>& cores)
      : process_(Spawn{{program.string()}, cores, {}, {}}), port_(std::stoi(process_.line(20))) {}
  Server server() const { return {port_, process_.pid()}; }

 private:
  Child process_;
  int port_;
};

// `via kit sqlite` on the server's core, with one database "bench" that has the key-value table.
class Kit {
 public:
  Kit(const Context& context, const std::string& name);
  Server server() const { return {port_, process_->pid()}; }
  // The answer's body; Failed unless it is 200.
  std::string call(const std::string& method, const std::string& target, const std::string& body = {}) const;

 private:
  std::unique_ptr<Child> process_;
  int port_ = 0;
};

// A host with the sample data and the requests of the load, on one core with one thread.
struct Sample {
  Host host;
  Host::Instance caller;
  std::filesystem::path point, write, rows;
};

class Context {
 public:
  Context(Plan the_plan, std::filesystem::path programs, std::filesystem::path folder_of_source, std::filesystem::path folder,
          Report& into)
      : plan(the_plan), cores(Cores::find()), bin(std::move(programs)), source(std::move(folder_of_source)), work(std::move(folder)),
        load(source / "load.lua", work), report(into) {}

  const Plan plan;
  const Cores cores;
  const std::filesystem::path bin, source, work;
  const LoadRunner load;
  Report& report;

  Sample& sample();  // started at its first use, shared by the figures of the load group
  std::unique_ptr<Sample> make_sample(const std::string& name, int threads, const std::vector<int>& on,
                                      const std::string& more = {}) const;
  Host::Options host_options(const std::string& name, int threads, const std::vector<int>& on, const std::string& more = {}) const;
  // The JSON that one of the bench programs prints, run on the server's core.
  nlohmann::json program(const std::string& name, std::vector<std::string> arguments) const;

 private:
  std::unique_ptr<Sample> sample_;
};

// requests.cpp
void measure_point(Context& context);
void measure_writes(Context& context);
void measure_rows(Context& context);
void measure_mixed(Context& context);
void measure_neighbour(Context& context);
void measure_threads(Context& context);
void measure_authorization(Context& context);
void measure_isolation(Context& context);
void measure_stop(Context& context);
// data.cpp
void measure_keys(Context& context);
void measure_listing(Context& context);
void measure_bulk(Context& context);
// lifecycle.cpp
void measure_revoke(Context& context);
void measure_copies(Context& context);
void measure_sandbox(Context& context);
// postgres.cpp
void measure_postgres(Context& context);
// scale.cpp
void measure_idle(Context& context);
void measure_connections(Context& context);
void measure_creation(Context& context);
void measure_addons(Context& context);

}  // namespace bench
