// PostgreSQL through the proxy against the same server by its own protocol (pgbench, prepared statements): what authorization,
// HTTP, JSON and the pool cost. Server, host and their cores are the same for both; the load has the other core. Where PostgreSQL is
// not installed there is nothing to measure.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "bench/driver/figures.hpp"
#include "bench/sample_data.hpp"

namespace bench {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* kFill =
    "INSERT INTO item SELECT i, 'item ' || lpad(i::text, 6, '0'), i % 1000, i / 100.0 FROM generate_series(1, 10000) i";
// The table that both write has a key that counts by itself.
constexpr const char* kSchemaHere =
    "CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, quantity INTEGER NOT NULL, price DOUBLE PRECISION NOT NULL); "
    "CREATE TABLE event(id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item INTEGER NOT NULL, note TEXT NOT NULL)";

// A server of scripts/temporary-postgres, on the server's core.
class PostgresServer {
 public:
  PostgresServer(const fs::path& source, const fs::path& folder, const std::vector<int>& cores)
      : script_((source.parent_path() / "scripts" / "temporary-postgres").string()), folder_(folder.string()) {
    Child(Spawn{{script_, "start", folder_}, cores, {}, {}}).finish(60);
    const json settings = json::parse(read_text(folder / "settings.json"))["servers"]["main"];
    port_ = std::to_string(settings.value("port", 0));
    password_ = read_text(folder / "admin.pass");
    while (!password_.empty() && password_.back() == '\n') password_.pop_back();
  }
  ~PostgresServer() {
    try {
      Child(Spawn{{script_, "stop", folder_}, {}, {}, {}}).finish(60);
    } catch (const Failed&) {
      // It is in the temporary folder; what is left of it goes with that.
    }
  }
  PostgresServer(const PostgresServer&) = delete;

  // Transactions a second of one statement by the server's own protocol.
  double rate(const std::string& script, const std::string& database, int connections, double seconds, const std::vector<int>& cores) const {
    Child load(Spawn{{program("pgbench"), "-n", "-M", "prepared", "-c", std::to_string(connections), "-j", "1", "-T", std::to_string(static_cast<int>(seconds + 0.5)),
                      "-f", script, "-h", "127.0.0.1", "-p", port_, "-U", "admin", database},
                     cores, {{"PGPASSWORD", password_}}, folder_ + "/pgbench.log"});
    std::istringstream lines(load.finish(120));
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("tps = ")) return std::atof(line.c_str() + 6);
    throw Failed("pgbench said nothing that is understood");
  }
  std::string toml() const { return read_text(fs::path(folder_) / "settings.toml"); }
  std::string database() const {
    Child ask(Spawn{{program("psql"), "-AtX", "-h", "127.0.0.1", "-p", port_, "-U", "admin", "-c", "SELECT datname FROM pg_database WHERE datname LIKE 'via%'", "postgres"},
                    {}, {{"PGPASSWORD", password_}}, {}});
    return ask.line(20);
  }
  static std::string program(const std::string& name) {
    for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql"))
      if (fs::exists(entry.path() / "bin" / name)) return (entry.path() / "bin" / name).string();
    return "/usr/bin/" + name;
  }

 private:
  std::string script_, folder_, port_, password_;
};

}  // namespace

void measure_postgres(Context& c) {
  if (!fs::exists("/usr/lib/postgresql")) return;
  fs::permissions(c.work, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);  // the server is another user
  const PostgresServer server(c.source, c.work / "postgres", c.cores.server);
  Host::Options options = c.host_options("postgres-host", 1, c.cores.server);
  options.more = server.toml();
  Host host(options);
  host.admin("app.create", {{"name", "bench"}});
  host.admin("addon.create", {{"type", "postgres"}, {"name", "bench-pg"}, {"app", "bench"}, {"bind", "DATABASE"}});
  host.admin("deploy.create", {{"app", "bench"}});
  const Host::Instance caller = host.issue("bench", c.work / "postgres.material");
  host.operation(caller, "setup", {{"sql", kSchemaHere}});
  host.operation(caller, "execute", {{"sql", kFill}});
  host.operation(caller, "setup", {{"sql", "ANALYZE item"}});
  std::vector<Request> points, inserts;
  for (std::uint64_t n = 0; n < 1000; ++n) {
    points.push_back({caller.token_file, "/v1/runtime/addons/DATABASE/query", json{{"sql", kPointQuery}, {"params", {spread(n)}}}.dump()});
    inserts.push_back({caller.token_file, "/v1/runtime/addons/DATABASE/execute", json{{"sql", kInsert}, {"params", {spread(n), kNote}}}.dump()});
  }
  const auto point = c.load.save("postgres.point", points), insert = c.load.save("postgres.insert", inserts);
  const fs::path point_script = c.work / "point.pgbench", insert_script = c.work / "insert.pgbench";
  write_text(point_script, "\\set id random(1, 10000)\nSELECT name, quantity, price FROM item WHERE id = :id;\n");
  write_text(insert_script, "\\set id random(1, 10000)\nINSERT INTO event(item, note) VALUES(:id, 'seen at the door, twenty bytes');\n");
  const std::string database = server.database();

  struct What {
    const char* name;
    const fs::path &load, &script;
    int connections;
  };
  for (const What& what : {What{"PostgreSQL point query", point, point_script, 64}, What{"PostgreSQL point query", point, point_script, 1},
                           What{"PostgreSQL insert", insert, insert_script, 64}, What{"PostgreSQL insert", insert, insert_script, 1}}) {
    c.load.run(host.server(), what.load, what.connections, 1, c.cores.load);
    std::vector<double> ours, base, ratios;
    for (int i = 0; i < c.plan.rounds; ++i) {
      const double direct = server.rate(what.script.string(), database, what.connections, c.plan.seconds, c.cores.load);
      const Load load = c.load.run(host.server(), what.load, what.connections, c.plan.seconds, c.cores.load);
      ours.push_back(load.rps);
      base.push_back(direct);
      ratios.push_back(load.rps / direct);
    }
    Figure f{std::string(what.name) + " by the proxy, " + std::to_string(what.connections) + (what.connections > 1 ? " connections" : " connection"), median(ours), "req/s"};
    f.baseline_name = "pgbench, direct";
    f.baseline = median(base);
    f.ratio = median(ratios);
    c.report.add(std::move(f));
  }
}

}  // namespace bench
