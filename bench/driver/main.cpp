// bench_driver: runs the benchmarks one after the other, prints the table and writes the JSON. Started by bench/run.
#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>

#include "bench/driver/figures.hpp"

namespace {

using namespace bench;

struct Benchmark {
  const char* name;
  const char* group;
  void (*run)(Context&);
};

constexpr Benchmark kBenchmarks[] = {
    {"point", "load", measure_point},
    {"writes", "load", measure_writes},
    {"rows", "load", measure_rows},
    {"mixed", "load", measure_mixed},
    {"neighbour", "load", measure_neighbour},
    {"stop", "load", measure_stop},
    {"threads", "load", measure_threads},
    {"keys", "data", measure_keys},
    {"listing", "data", measure_listing},
    {"bulk", "data", measure_bulk},
    {"postgres", "data", measure_postgres},
    {"revoke", "lifecycle", measure_revoke},
    {"copies", "lifecycle", measure_copies},
    {"sandbox", "lifecycle", measure_sandbox},
    {"authorization", "micro", measure_authorization},
    {"isolation", "micro", measure_isolation},
    {"idle", "scale", measure_idle},
    {"connections", "scale", measure_connections},
    {"creation", "scale", measure_creation},
    {"addons", "scale", measure_addons},
};

struct Options {
  std::filesystem::path build, source, json, temp = "/tmp";
  std::vector<std::string> only, groups;
  Plan plan;
};

int usage() {
  std::fprintf(stderr,
               "usage: bench/run [--quick] [--only NAME]... [--group load|data|micro|lifecycle|scale]... [--json FILE]\n"
               "                 [--rounds N] [--seconds N] [--addons N] [--temp FOLDER] [--peers]\nbenchmarks:");
  for (const Benchmark& b : kBenchmarks) std::fprintf(stderr, " %s", b.name);
  std::fprintf(stderr, "\n");
  return 2;
}

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--quick") {
      o.plan = {1, 1, 300, 500, 50, 64, 20'000, o.plan.peers};
      continue;
    }
    if (name == "--peers") {
      o.plan.peers = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const std::string value = argv[++i];
    const int n = std::atoi(value.c_str());
    if (name == "--build") o.build = value;
    else if (name == "--source") o.source = value;
    else if (name == "--json") o.json = value;
    else if (name == "--temp") o.temp = value;
    else if (name == "--only") o.only.push_back(value);
    else if (name == "--group") o.groups.push_back(value);
    else if (name == "--rounds" && n > 0) o.plan.rounds = n;
    else if (name == "--seconds" && n > 0) o.plan.seconds = n;
    else if (name == "--addons" && n > 0) o.plan.addons = n;
    else return false;
  }
  for (const auto& only : o.only)
    if (std::none_of(std::begin(kBenchmarks), std::end(kBenchmarks), [&](const auto& b) { return only == b.name; }))
      return false;
  return !o.build.empty() && !o.source.empty();
}

bool wanted(const Benchmark& b, const Options& o) {
  if (o.only.empty() && o.groups.empty()) return true;
  return std::find(o.only.begin(), o.only.end(), b.name) != o.only.end() ||
         std::find(o.groups.begin(), o.groups.end(), b.group) != o.groups.end();
}

nlohmann::json machine() {
  utsname system{};
  ::uname(&system);
  std::string cpu;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; cpu.empty() && std::getline(file, line);)
    if (line.starts_with("model name")) cpu = line.substr(line.find(':') + 2);
  const std::string load = read_text("/proc/loadavg");
  return {{"cpu", cpu},
          {"kernel", std::string(system.release)},
          {"cores_used", Cores::find().both.size()},
          {"load_average_before", std::atof(load.c_str())}};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) return usage();
  raise_file_limit();
  Report report;
  report.note("machine", machine());
  const double begun = now_seconds();
  int failures = 0;
  try {
    const TempFolder work(options.temp);
    Context context(options.plan, options.build / "bin", options.source, work.path(), report);
    for (const Benchmark& b : kBenchmarks) {
      if (!wanted(b, options)) continue;
      const double before = now_seconds();
      std::fprintf(stderr, "%s\n", b.name);
      try {
        b.run(context);
      } catch (const std::exception& wrong) {
        ++failures;
        std::fprintf(stderr, "bench: %s: %s\n", b.name, wrong.what());
      }
      std::fprintf(stderr, "  (%.1f s)\n", now_seconds() - before);
    }
  } catch (const std::exception& wrong) {
    std::fprintf(stderr, "bench: %s\n", wrong.what());
    return 1;
  }
  report.note("seconds", now_seconds() - begun);
  std::cout << report.table() << std::flush;
  if (!options.json.empty()) write_text(options.json, report.json().dump(2) + "\n");
  std::fprintf(stderr, "%zu goals missed, %d benchmarks failed, %.0f s\n", report.missed(), failures,
               now_seconds() - begun);
  return failures == 0 ? 0 : 1;
}
