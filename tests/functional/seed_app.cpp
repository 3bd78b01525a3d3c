// The app of the seed's walk: it knows the binding name DATABASE and a folder of its own, writes a row at its start and tells
// in a file, again and again, what it sees.
//
//     seed_app FOLDER
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include <via/sql.hpp>

namespace {

volatile std::sig_atomic_t ended = 0;

void tell(const std::filesystem::path& folder, const std::string& name, const std::string& text) {
  const auto partial = folder / ("." + name + std::to_string(::getpid()));
  std::ofstream(partial) << text;
  std::filesystem::rename(partial, folder / name);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  std::signal(SIGTERM, [](int) { ended = 1; });
  const std::filesystem::path folder = argv[1];
  std::string environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment += std::string(*entry) + "\n";
  tell(folder, "environment", environment);
  bool wrote = false;
  while (ended == 0) {
    std::string seen = "pid=" + std::to_string(::getpid());
    try {
      // A connection of its own each time: what is resolved now is what it gets.
      auto db = via::sql::connect("DATABASE");
      db.setup("CREATE TABLE IF NOT EXISTS start(pid INTEGER NOT NULL)");
      if (!wrote) db.execute("INSERT INTO start VALUES(?)", static_cast<std::int64_t>(::getpid()));
      wrote = true;
      seen += " starts=" + std::to_string(db.query("SELECT count(*) FROM start").scalar<std::int64_t>()) +
              " generation=" + std::to_string(db.generation()) + " managed=" + (db.managed() ? "1" : "0");
      auto own = via::sql::connect((folder / "app.sqlite").string());
      own.setup("CREATE TABLE IF NOT EXISTS t(a)");
      auto memory = via::sql::connect(":memory:");
      seen += " own=" + std::string(own.managed() || memory.managed() ? "managed" : "direct");
    } catch (const via::sql::Error& error) {
      seen += " error=" + error.code();
    }
    tell(folder, "seen", seen + " ");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}
