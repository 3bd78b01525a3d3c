// Atlas: the demo's app. It knows one thing about its database, the binding name DATABASE, and opens it with
// the runtime client. It loads ISO country codes and the time zone table, joins them and prints what it
// finds.
//
//     atlas [load] [answer] [--hold] [--binding NAME] [--iso FILE] [--zoneinfo DIR]
//
// Without a verb it loads and answers. --hold keeps the process until SIGTERM, so that it can be looked at.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <via/sql.hpp>

#include "sources.hpp"

namespace {

namespace sql = via::sql;

struct Options {
  bool load = false, answer = false, hold = false;
  std::string binding = "DATABASE";
  std::string iso = "/usr/share/iso-codes/json/iso_3166-1.json";
  std::string zoneinfo = "/usr/share/zoneinfo";
};

// SQL that SQLite and PostgreSQL read alike, so that the app moves from one to the other without a change.
constexpr const char* kSchema = R"(
CREATE TABLE IF NOT EXISTS country(
  code TEXT PRIMARY KEY, code3 TEXT NOT NULL UNIQUE, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS zone(
  name TEXT PRIMARY KEY, coordinates TEXT NOT NULL, comment TEXT, offset_minutes INTEGER);
CREATE TABLE IF NOT EXISTS zone_country(
  zone TEXT NOT NULL REFERENCES zone(name), country TEXT NOT NULL REFERENCES country(code),
  PRIMARY KEY(zone, country));
CREATE INDEX IF NOT EXISTS zone_country_by_country ON zone_country(country);
)";

// Sends statements in transactions of a few hundred.
void run_in_batches(sql::Connection& db, const std::vector<sql::Statement>& statements) {
  constexpr std::size_t kPerBatch = 250;
  for (std::size_t at = 0; at < statements.size(); at += kPerBatch) {
    const auto first = statements.begin() + static_cast<std::ptrdiff_t>(at);
    const auto last =
        statements.begin() + static_cast<std::ptrdiff_t>(std::min(at + kPerBatch, statements.size()));
    db.batch({first, last});
  }
}

// Can be run again: every row is put in place of the one that was there.
void load(sql::Connection& db, const Options& options) {
  const auto countries = atlas::read_countries(options.iso);
  const auto zones = atlas::read_zones(options.zoneinfo + "/zone1970.tab");
  const auto offsets = atlas::read_offsets(options.zoneinfo + "/tzdata.zi");

  db.setup(kSchema);
  std::vector<sql::Statement> statements;
  for (const auto& country : countries) {
    statements.push_back(
        sql::execute("INSERT INTO country(code, code3, name) VALUES(?, ?, ?) "
                     "ON CONFLICT(code) DO UPDATE SET code3 = excluded.code3, name = excluded.name",
                     country.alpha_2, country.alpha_3, country.name));
  }
  for (const auto& zone : zones) {
    statements.push_back(sql::execute(
        "INSERT INTO zone(name, coordinates, comment) VALUES(?, ?, ?) ON CONFLICT(name) DO UPDATE SET "
        "coordinates = excluded.coordinates, comment = excluded.comment",
        zone.name, zone.coordinates, zone.comment.empty() ? sql::Value() : sql::Value(zone.comment)));
    for (const auto& country : zone.countries) {
      statements.push_back(
          sql::execute("INSERT INTO zone_country(zone, country) SELECT name, :country FROM zone "
                       "WHERE name = :zone AND EXISTS(SELECT 1 FROM country WHERE code = :country) "
                       "ON CONFLICT(zone, country) DO NOTHING",
                       sql::named({{"country", country}, {"zone", zone.name}})));
    }
  }
  for (const auto& offset : offsets) {
    statements.push_back(
        sql::execute("UPDATE zone SET offset_minutes = ? WHERE name = ?", offset.minutes, offset.zone));
  }
  run_in_batches(db, statements);
  std::cout << "loaded " << countries.size() << " countries, " << zones.size() << " time zones and "
            << offsets.size() << " offsets through the binding " << options.binding << " in "
            << statements.size() << " statements\n";
}

// "UTC+05:30" of minutes east of UTC.
std::string utc(std::int64_t minutes) {
  char text[16];
  std::snprintf(text, sizeof text, "UTC%+03d:%02d", static_cast<int>(minutes / 60), static_cast<int>(std::abs(minutes % 60)));
  return text;
}

void print(const char* title, const sql::Rows& rows) {
  std::cout << '\n' << title << '\n';
  for (const auto& row : rows) {
    std::cout << "  " << std::setw(4) << row.get<std::int64_t>("n") << "  " << row.get<std::string>("what");
    if (const auto detail = row.get<std::optional<std::string>>("detail")) std::cout << "  (" << *detail << ")";
    const auto least = row.get<std::optional<std::int64_t>>("least"), most = row.get<std::optional<std::int64_t>>("most");
    if (least && most) std::cout << "  (" << utc(*least) << " to " << utc(*most) << ")";
    std::cout << '\n';
  }
}

void answer(sql::Connection& db) {
  print("Countries with the most time zones", db.query(R"(
SELECT c.name AS what, count(*) AS n, NULL AS detail, min(z.offset_minutes) AS least, max(z.offset_minutes) AS most
FROM country c JOIN zone_country zc ON zc.country = c.code JOIN zone z ON z.name = zc.zone
GROUP BY c.code, c.name ORDER BY n DESC, what LIMIT ?)",
                                                       5));
  print("Time zones that the most countries share", db.query(R"(
SELECT z.name AS what, count(*) AS n, string_agg(zc.country, ' ' ORDER BY zc.country) AS detail, NULL AS least, NULL AS most
FROM zone z JOIN zone_country zc ON zc.zone = z.name
GROUP BY z.name HAVING count(*) > 1 ORDER BY n DESC, what LIMIT ?)",
                                                             5));
  print("Countries of ISO 3166-1 without a time zone of their own", db.query(R"(
SELECT count(*) AS n, coalesce(string_agg(name, ', ' ORDER BY name), 'none') AS what, NULL AS detail, NULL AS least, NULL AS most
FROM country c WHERE NOT EXISTS(SELECT 1 FROM zone_country WHERE country = c.code))"));
  const auto shared =
      db.query("SELECT count(*) FROM (SELECT 1 FROM zone_country GROUP BY zone HAVING count(*) > 1) AS shared");
  std::cout << "\n" << shared.scalar<std::int64_t>() << " time zones belong to more than one country.\n";
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const auto value = [&] {
      if (i + 1 >= argc) throw std::runtime_error(word + " needs a value");
      return std::string(argv[++i]);
    };
    if (word == "load")
      options.load = true;
    else if (word == "answer")
      options.answer = true;
    else if (word == "--hold")
      options.hold = true;
    else if (word == "--binding")
      options.binding = value();
    else if (word == "--iso")
      options.iso = value();
    else if (word == "--zoneinfo")
      options.zoneinfo = value();
    else
      throw std::runtime_error(
          "usage: atlas [load] [answer] [--hold] [--binding NAME] [--iso FILE] [--zoneinfo DIR]");
  }
  if (!options.load && !options.answer) options.load = options.answer = true;
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  // Blocked before any thread exists: --hold waits for them, and they must not end a transaction half way.
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigaddset(&end, SIGINT);
  try {
    const Options options = parse(argc, argv);
    if (options.hold) pthread_sigmask(SIG_BLOCK, &end, nullptr);
    sql::ConnectOptions connect;
    connect.timeout = std::chrono::seconds(30);
    auto db = sql::connect(options.binding, connect);
    if (options.load) load(db, options);
    if (options.answer) answer(db);
    std::cout << "atlas: done" << std::endl;
    if (options.hold) {
      int signal = 0;
      sigwait(&end, &signal);
    }
  } catch (const sql::Error& error) {
    std::cerr << "atlas: " << error.what() << " [" << error.code() << "]\n";
    return 1;
  } catch (const std::exception& error) {
    std::cerr << "atlas: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
