// Figures of size: memory and the time to start.
#include <algorithm>
#include <chrono>
#include <thread>

#include "bench/driver/figures.hpp"
#include "bench/sample_data.hpp"

namespace bench {

using nlohmann::json;

void measure_idle(Context& c) {
  Host host(c.host_options("idle", 1, c.cores.server));
  std::this_thread::sleep_for(std::chrono::seconds(1));
  const Memory memory = host.memory();
  Figure f{"memory of an idle host", memory.rss_kib / 1024, "MiB"};
  f.at_most = 40;
  f.rounds = {{"rss_kib", memory.rss_kib}, {"anonymous_kib", memory.anonymous_kib}};
  c.report.add(f);
  c.report.add({"  of it not shared with other processes", memory.anonymous_kib / 1024, "MiB"});
}

// Each connection has made one authorised request and waits for its next.
void measure_connections(Context& c) {
  const auto s = c.make_sample("connections", 1, c.cores.server);
  const std::string body = json{{"sql", kPointQuery}, {"params", {1}}}.dump();
  const auto open = [&](int count, std::vector<Connection>& into) {
    for (int i = 0; i < count; ++i) {
      into.push_back(Connection::to_tcp(s->host.server().port));
      if (into.back().post("/v1/runtime/addons/DATABASE/query", body, s->caller.token).status != 200)
        throw Failed("a connection was refused");
    }
  };
  std::vector<Connection> some, rest;
  open(50, some);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const Memory before = s->host.memory();
  open(c.plan.connections, rest);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  const Memory after = s->host.memory();
  Figure f{"memory of an idle connection", (after.rss_kib - before.rss_kib) / c.plan.connections, "KiB"};
  f.at_most = 16;
  f.rounds = {{"connections", c.plan.connections}, {"before_kib", before.rss_kib}, {"after_kib", after.rss_kib}};
  c.report.add(f);
}

// What one costs on the disk, where creating is a row of durable steps.
void measure_creation(Context& c) {
  Host host(c.host_options("creation", 1, c.cores.server));
  host.admin("app.create", {{"name", "bench"}});
  std::vector<double> took;
  for (int i = 0; i < 50; ++i) {
    const double before = now_seconds();
    host.admin("addon.create", {{"type", "sqlite"},
                                {"name", "db-" + std::to_string(i)},
                                {"app", "bench"},
                                {"bind", "DATABASE_" + std::to_string(i)}});
    took.push_back((now_seconds() - before) * 1000);
  }
  c.report.add({"creating an add-on, bound", median(took), "ms"});
}

// Kept in memory where there is /dev/shm, since ten thousand durable creations take minutes on a slow disk; neither
// the start nor the memory depends on it.
// Apps of a hundred add-ons each, all bound, deployed and with an instance, so that the index holds every binding. The
// first app's databases are the hot ones.
void measure_addons(Context& c) {
  constexpr int kEach = 100;
  const int apps = std::max(1, c.plan.addons / kEach);
  const int addons = apps * kEach;
  const std::string many = std::to_string(addons) + " add-ons";
  const TempFolder memory(std::filesystem::exists("/dev/shm") ? "/dev/shm" : c.work);
  auto options = c.host_options("addons", 1, c.cores.server);
  options.state = memory.path() / "addons";
  Host host(options);
  const double begun = now_seconds();
  Host::Instance hot;
  for (int a = 0; a < apps; ++a) {
    const std::string app = "app-" + std::to_string(a);
    host.admin("app.create", {{"name", app}});
    for (int i = 0; i < kEach; ++i)
      host.admin("addon.create", {{"type", "sqlite"},
                                  {"name", app + "-db-" + std::to_string(i)},
                                  {"app", app},
                                  {"bind", "DATABASE_" + std::to_string(i)}});
    host.admin("deploy.create", {{"app", app}});
    auto instance = host.issue(app, c.work / (app + ".material"));
    if (a == 0) hot = std::move(instance);
  }
  c.report.add({"creating " + many + ", all in all", now_seconds() - begun, "s"});

  const auto heat = [&](bool fill_them) {
    for (int i = 0; i < kEach; ++i) {
      const std::string binding = "DATABASE_" + std::to_string(i);
      if (fill_them) {
        host.operation(hot, "setup", {{"sql", kSchema}}, binding);
        host.operation(hot, "execute", {{"sql", fill(1000)}}, binding);
      }
      for (int n = 1; n <= 20; ++n)
        host.operation(hot, "query", {{"sql", kPointQuery}, {"params", {n * 47}}}, binding);
      host.operation(hot, "execute", {{"sql", kInsert}, {"params", {1, kNote}}}, binding);
    }
  };
  heat(true);
  const Memory grown = host.memory();

  const double listing = now_seconds();
  host.admin("addon.list", json::object());
  c.report.add({"listing " + many, now_seconds() - listing, "s"});
  const double backing_up = now_seconds();
  host.admin("backup.create", {{"file", (memory.path() / "all.backup").string()}});
  c.report.add({"backup of " + many, now_seconds() - backing_up, "s"});

  std::vector<double> starts;
  for (int i = 0; i < c.plan.rounds; ++i) {
    host.restart();
    starts.push_back(host.seconds_to_ready());
  }
  Figure start{"start with " + many + ", to ready", median(starts), "s"};
  start.at_most = 1;
  start.rounds = starts;
  c.report.add(start);
  const Memory cold = host.memory();
  heat(false);
  const Memory warm = host.memory();
  Figure hot_memory{"memory with " + many + ", 100 hot", warm.rss_kib / 1024, "MiB"};
  hot_memory.at_most = 300;
  hot_memory.rounds = {{"after_start_kib", cold.rss_kib}, {"hot_kib", warm.rss_kib}, {"where_they_were_made_kib", grown.rss_kib}};
  c.report.add(hot_memory);
  c.report.add({"  after the start, none hot", cold.rss_kib / 1024, "MiB"});
}

}  // namespace bench
