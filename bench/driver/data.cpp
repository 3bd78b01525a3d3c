// Figures of the data API, through `via kit sqlite`: the key-value store, listing at a million keys, bulk inserts; and
// Redis beside it, over its own protocol, where it is wanted.
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "bench/driver/figures.hpp"
#include "bench/sample_data.hpp"

namespace bench {

using nlohmann::json;

namespace {

const std::string kApi = "/api/v1/sqlite";
constexpr int kKeys = 10'000;
constexpr int kBulkRows = 100'000;

std::string key_path(std::uint64_t n) { return kApi + "/kv/user:" + std::to_string(n % kKeys); }
std::string document(std::uint64_t n) {
  return R"({"name":"user )" + std::to_string(n) + R"(","score":)" + std::to_string(n * 7 % 1000) + "}";
}

std::vector<Request> requests(std::size_t count, const std::string& method, auto path, auto body) {
  std::vector<Request> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back({{}, path(i), body(i), method});
  return out;
}

double middle(const std::vector<Load>& all, double Load::*member) {
  std::vector<double> values;
  for (const Load& one : all) values.push_back(one.*member);
  return median(std::move(values));
}

// The rates of redis-benchmark, or nothing where Redis is not wanted or not installed.
struct Redis {
  double get = 0, set = 0;  // 64 connections; every SET on the disk before its answer
};
std::optional<Redis> measure_redis(const Context& c) {
  if (!c.plan.peers || !std::filesystem::exists("/usr/bin/redis-server")) return std::nullopt;
  const std::string folder = (c.work / "redis").string();
  std::filesystem::create_directory(folder);
  const std::string port = std::to_string(20'000 + ::getpid() % 20'000);
  Child server(Spawn{{"/usr/bin/redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "",
                      "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"},
                     c.cores.server,
                     {},
                     {}});
  for (std::string line; line.find("Ready to accept") == std::string::npos;) line = server.line(20);
  const auto rate = [&](const std::string& what, int count) {
    Child load(Spawn{{"/usr/bin/redis-benchmark", "-h", "127.0.0.1", "-p", port, "-c", "64", "-n", std::to_string(count), "-d",
                      "40", "-r", std::to_string(kKeys), "-t", what, "--csv"},
                     c.cores.load,
                     {},
                     {}});
    std::istringstream lines(load.finish(120));
    for (std::string line; std::getline(lines, line);) {
      // "GET","92592.59",…
      const auto at = line.find("\",\"");
      if (at != std::string::npos && std::isdigit(static_cast<unsigned char>(line[at + 3])) != 0)
        return std::atof(line.c_str() + at + 3);
    }
    throw Failed("redis-benchmark said nothing that is understood");
  };
  Redis out;
  std::vector<double> gets, sets;
  for (int i = 0; i < c.plan.rounds; ++i) {
    sets.push_back(rate("set", 100'000));
    gets.push_back(rate("get", 200'000));
  }
  out.set = median(sets);
  out.get = median(gets);
  return out;
}

Figure held_against(const std::string& name, double value, const std::string& unit, const std::string& base, double baseline) {
  return {name, value, unit, base, baseline, value / baseline};
}

}  // namespace

Kit::Kit(const Context& c, const std::string& name) {
  const auto folder = c.work / name;
  process_ = std::make_unique<Child>(Spawn{{(c.bin / "via").string(), "kit", "sqlite", "--databases", folder.string(), "--listen",
                                            "127.0.0.1:0"},
                                           c.cores.server,
                                           {},
                                           c.work / (name + ".log")});
  const std::string ready = process_->line(60);
  const auto colon = ready.rfind(':');
  if (colon == std::string::npos) throw Failed("the kit said: " + ready);
  port_ = std::atoi(ready.c_str() + colon + 1);
  call("POST", kApi + "/db/create?path=bench&init_kv=true");
}

std::string Kit::call(const std::string& method, const std::string& target, const std::string& body) const {
  const Answer answer = Connection::to_tcp(port_).send(method, target, body);
  if (answer.status != 200) throw Failed(method + " " + target.substr(0, 80) + ": " + answer.body);
  return answer.body;
}

// GET, PUT with and without history, incr: 64 connections and 1.
void measure_keys(Context& c) {
  const auto redis = measure_redis(c);
  const Kit kit(c, "keys");
  const auto none = [](std::uint64_t) { return std::string(); };
  const auto put = [](const char* history) {
    return [history](std::uint64_t n) { return key_path(n * 7919) + "?db=bench" + history; };
  };
  const auto gets = c.load.save("kv-get", requests(1000, "GET", [](std::uint64_t n) { return key_path(n * 7919) + "?db=bench"; }, none));
  const auto sets = c.load.save("kv-set", requests(1000, "PUT", put("&history=false"), document));
  const auto recorded = c.load.save("kv-set-history", requests(1000, "PUT", put(""), document));
  const auto incrs = c.load.save("kv-incr", requests(64, "POST", [](std::uint64_t n) {
                                   return kApi + "/kv/counter:" + std::to_string(n) + "/incr?db=bench&history=false";
                                 }, none));
  for (int at = 0; at < kKeys; at += 100) {
    json items = json::array();
    for (int i = at; i < at + 100; ++i)
      items.push_back({{"key", "user:" + std::to_string(i)}, {"value", document(static_cast<std::uint64_t>(i))}, {"content_type", "application/json"}});
    kit.call("POST", kApi + "/kv/batch/set?db=bench", json{{"items", items}}.dump());
  }
  const Hello hello(c.bin / "bench_hello", c.cores.server);
  const auto plain = c.load.save("kv-hello", requests(1000, "POST", [](std::uint64_t) { return std::string("/hello"); }, document));
  for (const int connections : {64, 1}) {
    const std::string with = ", " + std::to_string(connections) + (connections > 1 ? " connections" : " connection");
    const auto run = [&](const Server& server, const std::filesystem::path& what, double seconds) {
      return c.load.run(server, what, connections, seconds, c.cores.load);
    };
    for (const auto& what : {gets, sets, recorded, incrs}) run(kit.server(), what, 1);
    std::vector<Load> base, get, set, history, incr;
    std::vector<double> commits;
    for (int i = 0; i < c.plan.rounds; ++i) {
      base.push_back(run(hello.server(), plain, c.plan.seconds));
      get.push_back(run(kit.server(), gets, c.plan.seconds));
      const auto folder = c.work / ("raw-" + std::to_string(connections) + "-" + std::to_string(i));
      std::filesystem::create_directory(folder);
      commits.push_back(c.program("bench_raw_sqlite", {"commits", "1", folder.string()}).at("per_second"));
      set.push_back(run(kit.server(), sets, c.plan.seconds));
      history.push_back(run(kit.server(), recorded, c.plan.seconds));
      incr.push_back(run(kit.server(), incrs, c.plan.seconds));
    }
    if (connections > 1) {
      Figure core = held_against("KV get" + with + ", a core", middle(get, &Load::per_core_second), "req/core-s", "hello",
                                 middle(base, &Load::per_core_second));
      c.report.add(core);
      if (redis) {
        Figure f = held_against("KV get" + with, middle(get, &Load::rps), "req/s", "Redis GET", redis->get);
        f.at_least = 1;
        c.report.add(f);
        f = held_against("KV set, history off" + with, middle(set, &Load::rps), "req/s", "Redis SET, fsync always", redis->set);
        f.at_least = 1;
        c.report.add(f);
      }
    } else {
      c.report.add(held_against("KV get" + with + ", p50", middle(get, &Load::p50_us), "us", "hello", middle(base, &Load::p50_us)));
    }
    c.report.add(held_against("KV set, history off" + with, middle(set, &Load::rps), "req/s", "commits", median(commits)));
    Figure cost = held_against("KV set with history" + with, middle(history, &Load::rps), "req/s", "without", middle(set, &Load::rps));
    cost.at_least = 0.4;  // at most 2.5 times the cost
    c.report.add(cost);
    c.report.add(held_against("KV incr, history off" + with, middle(incr, &Load::rps), "req/s", "commits", median(commits)));
  }
  for (int i = 0; i < 1000; ++i) kit.call("PUT", kApi + "/kv/old?db=bench", document(static_cast<std::uint64_t>(i)));
  const auto histories = c.load.save("kv-history", requests(1, "GET", [](std::uint64_t) { return kApi + "/kv/old/history?db=bench&limit=50"; }, none));
  c.report.add({"history of a key, 50 of 1,000 operations, 64 connections",
                c.load.run(kit.server(), histories, 64, c.plan.seconds, c.cores.load).rps, "req/s"});
}

// A page of 100 keys under a prefix: among many keys as among few.
void measure_listing(Context& c) {
  const Kit kit(c, "listing");
  const auto fill_table = [&](const std::string& table, int keys) {
    kit.call("PUT", kApi + "/kv/first?db=bench&history=false&table=" + table, "1");
    for (int from = 0; from < keys; from += 250'000)
      kit.call("POST", kApi + "/db?db=bench",
               json{{"transaction",
                     {{{"statement", "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i+1 FROM n WHERE i+1 < ?2) "
                                     "INSERT OR REPLACE INTO " + table +
                                         "(key,value,content_type,created_at,updated_at) SELECT printf('user:%07d', i), "
                                         "CAST('{\"n\":'||i||'}' AS BLOB), 'application/json', 1, 1 FROM n"},
                       {"values", {from, std::min(from + 250'000, keys)}}}}}}
                   .dump());
  };
  fill_table("few", 1000);
  fill_table("many", c.plan.keys);
  const auto save = [&](const std::string& table, int keys) {
    return c.load.save("list-" + table, requests(200, "GET", [&](std::uint64_t n) {
                         char prefix[32];
                         std::snprintf(prefix, sizeof prefix, "user:%05d", static_cast<int>(n * 37 % static_cast<std::uint64_t>(std::max(1, keys / 100))));
                         return kApi + "/kv?db=bench&table=" + table + "&prefix=" + prefix;
                       }, [](std::uint64_t) { return std::string(); }));
  };
  const auto few = save("few", 1000), many = save("many", c.plan.keys);
  std::vector<Load> of_few, of_many;
  for (int i = 0; i < c.plan.rounds; ++i) {
    of_few.push_back(c.load.run(kit.server(), few, 16, c.plan.seconds, c.cores.load));
    of_many.push_back(c.load.run(kit.server(), many, 16, c.plan.seconds, c.cores.load));
  }
  Figure f = held_against("list of 100 keys by prefix, " + std::to_string(c.plan.keys) + " keys", middle(of_many, &Load::rps), "req/s",
                          "1,000 keys", middle(of_few, &Load::rps));
  f.at_least = 0.5;
  c.report.add(f);
}

// 100,000 rows by one valuesBatch, against one prepared INSERT in process.
void measure_bulk(Context& c) {
  const Kit kit(c, "bulk");
  kit.call("POST", kApi + "/db?db=bench",
           R"j({"transaction":[{"statement":"CREATE TABLE bulk(id INTEGER PRIMARY KEY, name TEXT, at INTEGER)"}]})j");
  std::string body = R"j({"transaction":[{"statement":"INSERT INTO bulk(name, at, id) VALUES(?, ?, NULL)","valuesBatch":[)j";
  for (int i = 0; i < kBulkRows; ++i)
    body += (i > 0 ? ",[\"name-" : "[\"name-") + std::to_string(i) + "\"," + std::to_string(i) + "]";
  body += "]}]}";
  std::vector<double> ours, base;
  for (int i = 0; i < c.plan.rounds; ++i) {
    const auto folder = c.work / ("bulk-raw-" + std::to_string(i));
    std::filesystem::create_directory(folder);
    base.push_back(c.program("bench_raw_sqlite", {"bulk", "1", folder.string()}).at("per_second").get<double>() * kBulkRows);
    const double before = now_seconds();
    kit.call("POST", kApi + "/db?db=bench", body);
    ours.push_back(kBulkRows / (now_seconds() - before));
    kit.call("POST", kApi + "/db?db=bench", R"({"transaction":[{"statement":"DELETE FROM bulk"}]})");
  }
  Figure f = held_against("valuesBatch of 100,000 rows", median(ours), "rows/s", "in process", median(base));
  f.rounds = ours;
  c.report.add(f);
}

}  // namespace bench
