// Figures of requests under load. What is compared runs in turns, round by round, and the ratio is the median of the
// rounds' ratios, so that a machine that becomes slower or faster meanwhile does not decide.
#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>

#include "bench/driver/figures.hpp"
#include "bench/sample_data.hpp"

namespace bench {

using nlohmann::json;

namespace {

const std::string kAddons = "/v1/runtime/addons/DATABASE/";
constexpr double kCommitOfGoal = 0.12, kWriteP99OfGoal = 4;  // ms: "p99 <= 4 ms where a commit is 0.12 ms"

std::string point_body(std::uint64_t n) {
  return json{{"sql", kPointQuery}, {"params", {spread(n)}}, {"generation", 1}, {"timeout_ms", 5000}}.dump();
}
std::string insert_body(std::uint64_t n) {
  return json{{"sql", kInsert}, {"params", {spread(n), kNote}}, {"generation", 1}}.dump();
}

std::vector<Request> requests(std::size_t count, const std::filesystem::path& token, const std::string& path,
                              const std::function<std::string(std::uint64_t)>& body) {
  std::vector<Request> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back({token, path, body(i)});
  return out;
}

json to_json(const Load& l) {
  return {{"rps", l.rps}, {"per_core_second", l.per_core_second}, {"p50_us", l.p50_us}, {"p99_us", l.p99_us}, {"p999_us", l.p999_us}, {"max_us", l.max_us}};
}

// One column of the rounds.
template <class T, class Pick>
double middle(const std::vector<T>& all, Pick pick) {
  std::vector<double> values;
  for (const T& one : all) values.push_back(pick(one));
  return median(std::move(values));
}

struct Pair {
  Load ours;
  double base = 0;  // what it is held against, in the same round
};

Figure against(std::string name, std::string unit, std::string base_name, const std::vector<Pair>& rounds,
               double Load::*member) {
  Figure f{std::move(name), middle(rounds, [&](const Pair& p) { return p.ours.*member; }), std::move(unit)};
  f.baseline_name = std::move(base_name);
  f.baseline = middle(rounds, [](const Pair& p) { return p.base; });
  f.ratio = middle(rounds, [&](const Pair& p) { return p.ours.*member / p.base; });
  f.rounds = json::array();
  for (const Pair& p : rounds) f.rounds.push_back({{"baseline", p.base}, {"measured", to_json(p.ours)}});
  return f;
}

}  // namespace

Host::Options Context::host_options(const std::string& name, int threads, const std::vector<int>& on, const std::string& more) const {
  return {bin / "via", work / name, work / (name + ".log"), on, threads, more};
}

std::unique_ptr<Sample> Context::make_sample(const std::string& name, int threads, const std::vector<int>& on, const std::string& more) const {
  auto s = std::unique_ptr<Sample>(new Sample{Host(host_options(name, threads, on, more)), {}, {}, {}, {}});
  s->caller = prepare_sample(s->host, work / (name + ".material"));
  const auto& token = s->caller.token_file;
  s->point = load.save(name + ".point", requests(1000, token, kAddons + "query", point_body));
  s->write = load.save(name + ".write", requests(1000, token, kAddons + "execute", insert_body));
  s->rows = load.save(name + ".rows", requests(8, token, kAddons + "query", [](std::uint64_t n) {
                        return json{{"sql", kManyRows}, {"params", {n * 1000 + 1, n * 1000 + 1000}}}.dump();
                      }));
  return s;
}

Sample& Context::sample() {
  if (!sample_) sample_ = make_sample("sample", 1, cores.server);
  return *sample_;
}

json Context::program(const std::string& name, std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), (bin / name).string());
  Child child(Spawn{std::move(arguments), cores.server, {}, {}});
  return json::parse(child.finish(120));
}

void measure_point(Context& c) {
  Sample& s = c.sample();
  const Hello hello(c.bin / "bench_hello", c.cores.server);
  const auto plain = c.load.save("hello", requests(1000, {}, "/hello", point_body));
  const auto same = c.load.save("hello-same", requests(1000, s.caller.token_file, kAddons + "query", point_body));
  for (const int connections : {64, 1}) {
    const auto run = [&](const Server& server, const std::filesystem::path& what, double seconds) {
      return c.load.run(server, what, connections, seconds, c.cores.load);
    };
    run(hello.server(), plain, 1);
    run(s.host.server(), s.point, 1);
    std::vector<Pair> rates, cores, middles, tails, same_bytes;
    for (int i = 0; i < c.plan.rounds; ++i) {
      const Load base = run(hello.server(), plain, c.plan.seconds);
      const Load ours = run(s.host.server(), s.point, c.plan.seconds);
      rates.push_back({ours, base.rps});
      cores.push_back({ours, base.per_core_second});
      middles.push_back({ours, base.p50_us});
      tails.push_back({ours, base.p99_us});
      if (connections > 1) same_bytes.push_back({ours, run(hello.server(), same, c.plan.seconds).per_core_second});
    }
    const std::string name = "point query, " + std::to_string(connections) + (connections > 1 ? " connections" : " connection");
    Figure rate = against(name, "req/s", "hello", rates, &Load::rps);
    Figure p50 = against(name + ", p50", "us", "hello", middles, &Load::p50_us);
    Figure p99 = against(name + ", p99", "us", "hello", tails, &Load::p99_us);
    Figure core = against(name + ", a core", "req/core-s", "hello", cores, &Load::per_core_second);
    if (connections > 1) {
      core.at_least = 0.95;
      p99.at_most = 1.5;
    } else {
      p50.at_most = 1.15;
    }
    c.report.add(rate);
    c.report.add(core);
    if (connections > 1)
      c.report.add(against("  the same bytes sent to hello", "req/core-s", "hello", same_bytes, &Load::per_core_second));
    c.report.add(p50);
    c.report.add(p99);
  }
}

void measure_writes(Context& c) {
  Sample& s = c.sample();
  const std::string seconds = std::to_string(c.plan.seconds / 2);
  for (const int connections : {64, 1}) {
    c.load.run(s.host.server(), s.write, connections, 1, c.cores.load);
    std::vector<Pair> rates, tails;
    for (int i = 0; i < c.plan.rounds; ++i) {
      const TempFolder folder(c.work);
      const double commits = c.program("bench_raw_sqlite", {"commits", seconds, folder.path().string()}).at("per_second");
      const Load ours = c.load.run(s.host.server(), s.write, connections, c.plan.seconds, c.cores.load);
      rates.push_back({ours, commits});
      tails.push_back({ours, 1e6 / commits});
    }
    const std::string name = "durable write, " + std::to_string(connections) + (connections > 1 ? " connections" : " connection");
    Figure rate = against(name, "req/s", "commits/s in process", rates, &Load::rps);
    rate.at_least = connections > 1 ? 10 : 0.9;
    c.report.add(rate);
    Figure tail = against(name + ", p99", "us", "us a commit", tails, &Load::p99_us);
    if (connections > 1) tail.at_most = kWriteP99OfGoal / kCommitOfGoal;
    c.report.add(tail);
  }
}

void measure_rows(Context& c) {
  Sample& s = c.sample();
  const std::string seconds = std::to_string(c.plan.seconds / 2);
  for (const int connections : {64, 1}) {
    c.load.run(s.host.server(), s.rows, connections, 1, c.cores.load);
    std::vector<Pair> rates, cores;
    for (int i = 0; i < c.plan.rounds; ++i) {
      const TempFolder folder(c.work);
      const json alone = c.program("bench_raw_sqlite", {"rows", seconds, folder.path().string()});
      const Load ours = c.load.run(s.host.server(), s.rows, connections, c.plan.seconds, c.cores.load);
      rates.push_back({ours, alone.at("per_second")});
      cores.push_back({ours, alone.at("per_core_second")});
    }
    Figure f = against("1,000-row query, " + std::to_string(connections) + (connections > 1 ? " connections" : " connection"),
                       "req/s", "in process", rates, &Load::rps);
    c.report.add(f);
    if (connections == 1) continue;
    Figure core = against("  of a core", "req/core-s", "in process", cores, &Load::per_core_second);
    core.at_least = 0.8;
    c.report.add(core);
  }
}

void measure_mixed(Context& c) {
  Sample& s = c.sample();
  const Server server = s.host.server();
  constexpr int kReaders = 32;
  c.load.run(server, s.point, kReaders, 1, c.cores.load);
  for (const int writers : {1, 64}) {
    std::vector<Pair> reads;
    std::vector<double> writes;
    for (int i = 0; i < c.plan.rounds; ++i) {
      const Load alone = c.load.run(server, s.point, kReaders, c.plan.seconds, c.cores.load);
      // The writer starts before the readers and ends after them.
      auto writing = c.load.start(server, s.write, writers, c.plan.seconds + 1, c.cores.load);
      std::this_thread::sleep_for(std::chrono::milliseconds(400));
      reads.push_back({c.load.run(server, s.point, kReaders, c.plan.seconds, c.cores.load), alone.rps});
      writes.push_back(writing.finish().rps);
    }
    const std::string beside =
        writers == 1 ? "beside a writer at full speed" : "beside " + std::to_string(writers) + " writing connections";
    Figure f = against("point query " + beside, "req/s", "alone", reads, &Load::rps);
    if (writers == 1) f.at_least = 0.7;
    c.report.add(f);
    c.report.add({"  the writes meanwhile", median(writes), "req/s"});
  }
}

// One app asks for a row at a time; another one has 64 connections, each with a statement that works for long in one opcode: LIKE, a
// sort, a JSON patch. They share the host's core with it.
void measure_neighbour(Context& c) {
  Sample& s = c.sample();
  const Server server = s.host.server();
  s.host.admin("app.create", {{"name", "hostile"}});
  s.host.admin("addon.create", {{"type", "sqlite"}, {"name", "hostile-db"}, {"app", "hostile"}, {"bind", "DATABASE"}});
  s.host.admin("deploy.create", {{"app", "hostile"}});
  const Host::Instance hostile = s.host.issue("hostile", c.work / "hostile.material");
  s.host.operation(hostile, "setup", {{"sql", "CREATE TABLE big(id INTEGER PRIMARY KEY, a); INSERT INTO big VALUES(1, replace(hex(zeroblob(4500000)),'0','a'))"}});
  const std::string statements[] = {
      "SELECT a LIKE '%" + std::string(990, 'a') + "b' FROM big",
      "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<400000) SELECT n FROM c ORDER BY n*7919%1000003 LIMIT 1",
      "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<20000), o(x) AS MATERIALIZED (SELECT json_group_object('k'||n,n) FROM c) "
      "SELECT length(json_patch(x, replace(x,'k','z'))) FROM o",
  };
  const auto dear = c.load.save("hostile", requests(60, hostile.token_file, kAddons + "query", [&](std::uint64_t n) {
                                  return json{{"sql", statements[n % std::size(statements)]}}.dump();
                                }));
  c.load.run(server, s.point, 1, 1, c.cores.load);
  std::vector<Pair> middles, tails;
  for (int i = 0; i < c.plan.rounds; ++i) {
    const Load alone = c.load.run(server, s.point, 1, c.plan.seconds, c.cores.load);
    auto attack = c.load.start(server, dear, 64, c.plan.seconds + 2, c.cores.load);
    std::this_thread::sleep_for(std::chrono::milliseconds(1000));
    const Load beside = c.load.run(server, s.point, 1, c.plan.seconds, c.cores.load);
    middles.push_back({beside, alone.p50_us});
    tails.push_back({beside, alone.p99_us});
    (void)attack.finish(true);
  }
  const std::string name = "point query, 1 connection, beside 64 hostile ones";
  c.report.add(against(name + ", p50", "us", "alone", middles, &Load::p50_us));
  Figure p99 = against(name + ", p99", "us", "alone", tails, &Load::p99_us);
  c.report.add(p99);
  c.report.add({"  its longest", middle(tails, [](const Pair& p) { return p.ours.max_us; }), "us"});
}

void measure_threads(Context& c) {
  if (c.cores.both.size() < 2) return;
  const auto one = c.make_sample("one-thread", 1, c.cores.both);
  const auto two = c.make_sample("two-threads", 2, c.cores.both);
  const auto run = [&](const Sample& s, double seconds) {
    return c.load.run(s.host.server(), s.point, 16, seconds, c.cores.both);
  };
  run(*one, 1);
  run(*two, 1);
  std::vector<Pair> rates;
  for (int i = 0; i < c.plan.rounds; ++i) {
    const Load base = run(*one, c.plan.seconds);
    rates.push_back({run(*two, c.plan.seconds), base.rps});
  }
  Figure f = against("two server threads, 16 connections", "req/s", "one thread", rates, &Load::rps);
  f.at_least = 0.97;  // "no loss", within what a run differs from the next
  c.report.add(f);
}

void measure_authorization(Context& c) {
  const json seen = c.program("bench_micro", {});
  const double decide = seen.at("decide_ns"), token = seen.at("token_ns");
  Figure both{"authorization of a request, 10,000 apps, 100,000 bindings", decide + token, "ns"};
  both.at_most = 500;
  both.rounds = seen;
  c.report.add(both);
  c.report.add({"  instance and decision, all apps busy at random", decide, "ns"});
  c.report.add({"  instance and decision, 100 apps busy", seen.at("decide_hot_ns"), "ns"});
  c.report.add({"  verified token", token, "ns"});
  c.report.add({"  publishing one changed instance", seen.at("publish_us"), "us"});
}

// SQLite in the host's process and in one of its own, by function calls and through the server.
void measure_isolation(Context& c) {
  const json seen = c.program("bench_isolation", {(c.bin / "via-plugin-runner").string(), (c.bin.parent_path() / "tests/plugins/echo").string(),
                                                  (c.bin.parent_path() / "lib/via/plugins/sqlite").string(), (c.work / "isolation").string()});
  for (const char* what : {"echo", "point"}) {
    const json& one = seen.at(what);
    const std::string name = what == std::string("echo") ? "an empty operation" : "a point query";
    Figure f{name + ", isolated, one at a time", one.at("isolated_ns"), "ns"};
    f.baseline_name = "inline";
    f.baseline = one.at("inline_ns");
    f.ratio = f.value / *f.baseline;
    f.rounds = one;
    c.report.add(f);
    c.report.add({"  isolated, sixteen in flight, each", one.at("isolated_16_ns"), "ns"});
    c.report.add({"  in process, on the caller's thread", one.at("invoke_ns"), "ns"});
    c.report.add({"  in process, on a worker and back", one.at("worker_ns"), "ns"});
  }
  Sample& inside = c.sample();
  const auto isolated = c.make_sample("isolated", 1, c.cores.server, "[types.sqlite]\nisolation = \"process\"\n");
  for (const int connections : {64, 1}) {
    const auto run = [&](const Sample& s, const std::filesystem::path& what, double seconds) {
      return c.load.run(s.host.server(), what, connections, seconds, c.cores.load);
    };
    run(inside, inside.point, 1);
    run(*isolated, isolated->point, 1);
    std::vector<Pair> points, writes;
    for (int i = 0; i < c.plan.rounds; ++i) {
      Load base = run(inside, inside.point, c.plan.seconds);
      points.push_back({run(*isolated, isolated->point, c.plan.seconds), base.rps});
      base = run(inside, inside.write, c.plan.seconds);
      writes.push_back({run(*isolated, isolated->write, c.plan.seconds), base.rps});
    }
    const std::string with = ", isolated, " + std::to_string(connections) + (connections == 1 ? " connection" : " connections");
    c.report.add(against("point query" + with, "req/s", "in process", points, &Load::rps));
    c.report.add(against("durable write" + with, "req/s", "in process", writes, &Load::rps));
  }
}

// The connections speak for the very instances that are stopped, and half of what they send are writes.
void measure_stop(Context& c) {
  Sample& s = c.sample();
  std::vector<Request> sent;
  std::vector<Host::Instance> instances;
  const double before_issue = now_seconds();
  for (int i = 0; i < c.plan.stops; ++i)
    instances.push_back(s.host.issue("bench", c.work / ("stop" + std::to_string(i) + ".material")));
  const double issue_ms = (now_seconds() - before_issue) * 1000 / c.plan.stops;
  for (std::size_t i = 0; i < instances.size(); ++i)
    for (const auto& token : {instances[i].token_file, s.caller.token_file}) {
      sent.push_back({token, kAddons + "query", point_body(i)});
      sent.push_back({token, kAddons + "execute", insert_body(i)});
    }
  const auto file = c.load.save("stop", sent);
  const double seconds = 2 + 0.02 * c.plan.stops;
  auto running = c.load.start(s.host.server(), file, 64, seconds + 1, c.cores.load);
  std::this_thread::sleep_for(std::chrono::seconds(1));
  std::vector<double> took;
  for (const auto& instance : instances) {
    const double before = now_seconds();
    s.host.admin("runtime.stop", {{"instance", instance.id}});
    took.push_back((now_seconds() - before) * 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const Load load = running.finish(true);
  Figure f{"runtime stop, from call to return, 64 busy connections, p99", quantile(took, 0.99), "ms"};
  f.at_most = 5;
  f.rounds = {{"p50_ms", median(took)}, {"max_ms", quantile(took, 1)}, {"stops", c.plan.stops}, {"load_rps", load.rps},
              {"refused", load.refused}};
  c.report.add(f);
  c.report.add({"  p50", median(took), "ms"});
  c.report.add({"runtime issue", issue_ms, "ms"});
}

}  // namespace bench
