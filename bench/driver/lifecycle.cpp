// Figures of what operators do: revoke under load, and a large database copied, restored and backed up.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "bench/driver/figures.hpp"
#include "bench/sample_data.hpp"

namespace bench {

using nlohmann::json;

namespace {

// What `cp` and a sync of the copy take: the floor under every copy of a file of that size.
double copy_seconds(const std::filesystem::path& from, const std::filesystem::path& to) {
  const double before = now_seconds();
  const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
  const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (in < 0 || out < 0) throw Failed("cannot copy a file");
  std::vector<char> buffer(1U << 20);
  for (ssize_t n = 0; (n = ::read(in, buffer.data(), buffer.size())) > 0;)
    if (::write(out, buffer.data(), static_cast<std::size_t>(n)) != n) throw Failed("cannot write a file");
  ::fsync(out);
  ::close(in);
  ::close(out);
  const double took = now_seconds() - before;
  std::filesystem::remove(to);
  return took;
}

// What was written before is on the disk, and a disk that is slower behind a burst has rested.
void settle(const Context& c) {
  ::sync();
  std::this_thread::sleep_for(std::chrono::milliseconds(c.plan.copy_mib * 2));
}

void add_copy(Report& report, const std::string& name, const std::vector<double>& took, double floor) {
  Figure f{name, median(took), "s", "cp + fsync", floor, floor / median(took)};
  f.at_least = 0.7;
  f.rounds = took;
  report.add(f);
}

// Of everything that this process started, in KiB, each page counted once for all who share it (Pss).
double descendants_kib(int pid) {
  std::map<int, int> parents;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const int one = std::atoi(entry.path().filename().c_str());
    if (one <= 0) continue;
    std::ifstream in(entry.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const auto end = text.rfind(')');
    if (end == std::string::npos) continue;
    std::istringstream rest(text.substr(end + 1));
    std::string state;
    int parent = 0;
    rest >> state >> parent;
    parents[one] = parent;
  }
  double sum = 0;
  for (const auto& [one, parent] : parents) {
    int at = parent;
    while (at != pid && parents.contains(at)) at = parents[at];
    if (at != pid) continue;
    std::ifstream in("/proc/" + std::to_string(one) + "/smaps_rollup");
    for (std::string word; in >> word;)
      if (double kib = 0; word == "Pss:" && in >> kib) sum += kib;
  }
  return sum;
}

// From the call of a deploy until its process runs.
double launch_ms(Host& host, const std::string& app) {
  const double before = now_seconds();
  const json deployed = host.admin("deploy.create", {{"app", app}, {"command", {"/bin/sleep", "1000"}}});
  for (int i = 0; i < 10'000; ++i) {
    const json listed = host.admin("runtime.list", {{"app", app}});
    for (const auto& instance : listed["items"])
      if (instance["state"] == "running") return (now_seconds() - before) * 1000;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  throw Failed("a process does not start");
}

// Requests a second of an app that is itself the load: wrk, launched by the host, with the token that it was given.
double inside_rps(Context& c, Host& host, double seconds) {
  prepare_sample(host, c.work / "inside.material");
  host.admin("addon.bind", {{"app", "inside"}, {"name", "bench-db"}, {"binding", "DATABASE"}, {"read_only", true}});
  const std::string body = json{{"sql", kPointQuery}, {"params", {1}}}.dump();
  const std::string script =
      "f=$(mktemp) && printf '%s\\tPOST\\t/v1/runtime/addons/DATABASE/query\\t%s\\n' \"$VARY_CONFIG_TOKEN_PATH\" '" + body + "' > $f && "
      "BENCH_REQUESTS=$f wrk -t1 -c16 -d" + std::to_string(static_cast<int>(seconds)) + "s --latency -s load.lua http://127.0.0.1:" +
      std::to_string(host.server().port) + "/; rm -f $f; exec sleep 1000";
  host.admin("deploy.create", {{"app", "inside"}, {"command", {"/bin/sh", "-c", script}}, {"cwd", c.source.string()}});
  for (int i = 0; i < 1'000; ++i) {
    const json logs = host.admin("app.logs", {{"name", "inside"}, {"lines", 50}});
    for (const auto& line : logs["items"]) {
      const std::string text = line.value("text", "");
      if (!text.starts_with("BENCH ")) continue;
      const json said = json::parse(text.substr(6));
      if (said.value("refused", 1) != 0 || said.value("broken", 1) != 0) throw Failed("requests of an app that is the load failed");
      return said["requests"].get<double>() * 1e6 / said["us"].get<double>();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  throw Failed("an app that is the load said nothing");
}

}  // namespace

// What a sandbox costs: the launch of a process, and what it keeps in memory.
void measure_sandbox(Context& c) {
  constexpr int kLaunches = 20;
  std::vector<double> took[2];
  double kib[2] = {0, 0};
  std::vector<double> rps[2];
  for (int round = 0; round < c.plan.rounds; ++round)
    for (int on = 0; on < 2; ++on) {
      Host host(c.host_options("inside-" + std::to_string(round) + std::to_string(on), 1, c.cores.both, on ? "" : "sandbox = \"off\"\n"));
      rps[on].push_back(inside_rps(c, host, c.plan.seconds));
    }
  for (int on = 0; on < 2; ++on) {
    Host host(c.host_options(on ? "sandboxed" : "bare", 1, c.cores.both, on ? "" : "sandbox = \"off\"\n"));
    for (int i = 0; i < kLaunches; ++i) {
      const std::string app = "app-" + std::to_string(i);
      host.admin("app.create", {{"name", app}});
      took[on].push_back(launch_ms(host, app));
    }
    kib[on] = descendants_kib(host.server().pid) / kLaunches;
  }
  Figure launch{"deploy to a running process, in a sandbox", median(took[1]), "ms", "without", median(took[0]), median(took[1]) / median(took[0])};
  launch.rounds = took[1];
  c.report.add(launch);
  Figure more{"  what the sandbox adds", median(took[1]) - median(took[0]), "ms"};
  more.at_most = 40;
  c.report.add(more);
  Figure memory{"  memory that an idle sandbox adds", kib[1] - kib[0], "KiB"};
  memory.at_most = 2048;
  c.report.add(memory);
  Figure requests{"point query by an app in a sandbox, 16 connections", median(rps[1]), "req/s", "without", median(rps[0]), median(rps[1]) / median(rps[0])};
  requests.at_least = 0.95;
  requests.rounds = rps[1];
  c.report.add(requests);
}

// From the call to its return while connections work under the generation that is revoked.
void measure_revoke(Context& c) {
  constexpr int kConnections = 64;
  const auto s = c.make_sample("revoke", 1, c.cores.server);
  std::atomic<bool> stop{false};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i)
    workers.emplace_back([&] {
      std::vector<Connection> connections;
      for (int n = 0; n < kConnections / 4; ++n) connections.push_back(Connection::to_tcp(s->host.server().port));
      const std::string body = json{{"sql", kPointQuery}, {"params", {1}}}.dump();
      while (!stop)
        for (auto& connection : connections)
          (void)connection.post("/v1/runtime/addons/DATABASE/query", body, s->caller.token);
    });
  std::vector<double> took;
  try {
    for (int i = 1; i <= c.plan.stops; ++i) {
      const json binding = {{"name", "bench-db"}, {"app", "bench"}, {"binding", "DATABASE"}};
      s->host.admin("addon.rotate-credentials", binding);
      json revoke = binding;
      revoke["generation"] = i;
      revoke["yes"] = true;
      const double before = now_seconds();
      s->host.admin("addon.revoke-credentials", revoke);
      took.push_back((now_seconds() - before) * 1000);
    }
  } catch (...) {
    stop = true;
    for (auto& worker : workers) worker.join();
    throw;
  }
  stop = true;
  for (auto& worker : workers) worker.join();
  c.report.add({"revoke with 64 busy connections, p50", quantile(took, 0.5), "ms"});
  Figure f{"revoke with 64 busy connections, p99", quantile(took, 0.99), "ms"};
  f.at_most = 5;
  c.report.add(f);
}

// Snapshot, restore and backup of one large database, and cp + fsync of a file of that size in the same run.
void measure_copies(Context& c) {
  const int megabytes = c.plan.copy_mib;
  Host host(c.host_options("copies", 1, c.cores.both));
  host.admin("addon.create", {{"type", "sqlite"}, {"name", "big"}, {"app", "bench"}, {"bind", "DATABASE"}});
  host.admin("deploy.create", {{"app", "bench"}});
  const auto caller = host.issue("bench", c.work / "copies.material");
  host.operation(caller, "setup", {{"sql", "CREATE TABLE big(id INTEGER PRIMARY KEY, data BLOB)"}});
  for (int i = 0; i < megabytes; i += 16)
    host.operation(caller, "execute",
                   {{"sql", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<4096) "
                            "INSERT INTO big(data) SELECT randomblob(4000) FROM n"},
                    {"timeout_ms", 60000}});
  std::vector<double> snapshots, restores, backups, copies;
  std::string snapshot;
  std::filesystem::path file;
  for (int round = 0; round < c.plan.rounds; ++round) {
    settle(c);
    double before = now_seconds();
    snapshot = host.admin("addon.snapshot", {{"name", "big"}})["id"];
    snapshots.push_back(now_seconds() - before);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(c.work))
      if (entry.path().filename() == snapshot + ".sqlite") file = entry.path();
    settle(c);
    copies.push_back(copy_seconds(file, c.work / "copy"));
    settle(c);
    before = now_seconds();
    const json restored = host.admin(
        "addon.restore", {{"name", "big"}, {"snapshot", snapshot}, {"drain", true}, {"restart_bound_apps", true}});
    restores.push_back(now_seconds() - before);
    // A backup holds the snapshots too: without them it is one database against one copy.
    for (const std::string& id : {snapshot, restored.value("safety_snapshot", std::string())})
      host.admin("addon.snapshot.delete", {{"name", "big"}, {"snapshot", id}});
    settle(c);
    before = now_seconds();
    host.admin("backup.create", {{"file", (c.work / ("backup-" + std::to_string(round))).string()}});
    backups.push_back(now_seconds() - before);
  }
  const double floor = median(copies);
  const std::string size = std::to_string(megabytes) + " MiB";
  c.report.add({"cp + fsync of " + size, floor, "s"});
  add_copy(c.report, "snapshot of " + size + ", hashed and sealed", snapshots, floor);
  add_copy(c.report, "restore of " + size + ", checked, with a safety snapshot", restores, floor);
  Figure backup{"backup of " + size + ", compressed", median(backups), "s", "cp + fsync", floor, floor / median(backups)};
  backup.rounds = backups;
  c.report.add(backup);
}

}  // namespace bench
