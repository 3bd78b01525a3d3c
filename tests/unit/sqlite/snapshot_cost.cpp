// What a snapshot and a restore cost beside cp and fsync. Run it by hand: sqlite_snapshot_cost [MiB]
#include "unit/sqlite/fixture.hpp"

#include "plugins/sqlite/snapshot.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

namespace {
using namespace via::sqlite;
using namespace via::sqlite::test;

double since(std::chrono::steady_clock::time_point t) { return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count(); }
void flush(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd >= 0) {
    ::fsync(fd);
    ::close(fd);
  }
}
}  // namespace

int main(int argc, char** argv) {
  const int mib = argc > 1 ? std::atoi(argv[1]) : 1024;
  Addon a;
  if (a.setup("CREATE TABLE t(id INTEGER PRIMARY KEY, v)").status != VIA_OK) return 1;
  for (int i = 0; i < mib / 16; ++i)
    if (a.execute("INSERT INTO t(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 8192) SELECT randomblob(1950) FROM c").status != VIA_OK) return 1;
  a.close();
  const std::string data = a.folder.path("data.sqlite");
  const Host host(a.host.host());
  for (int round = 0; round < 4; ++round) {
    for (const int way : {0, 1, 2}) {  // the file way, the backup way, the file way while nobody writes
      // Beside each run its own cp, whose pages are free again before the run: both begin alike.
      ::sync();
      auto start = std::chrono::steady_clock::now();
      double cp = 0;
      {
        const TempFolder plain;
        if (std::system(("cp " + data + " " + plain.path("data.sqlite")).c_str()) != 0) return 1;
        flush(plain.path("data.sqlite"));
        cp = since(start);
      }
      const TempFolder copy;
      Database database(host);
      if (database.serve(a.folder.path(), Limits{})) return 1;
      a.open();
      a.query("SELECT 1");
      std::atomic<bool> end{false};
      std::atomic<int> writes{0};
      std::thread writer([&] {
        while (!end && way != 2 && a.execute("INSERT INTO t(v) VALUES(1)").status == VIA_OK) ++writes;
      });
      ::sync();
      FakeCall call;
      bool failed = false;
      start = std::chrono::steady_clock::now();
      if (way != 1) {
        via::testing::FakeSnapshots(a.handle()).take(copy.path(), call);
        failed = call.status() != VIA_OK;
      } else {
        failed = static_cast<bool>(snapshot::take(database, copy.path(), call.get(), snapshot::Way::backup));
      }
      const double copied = since(start);
      flush(copy.path("data.sqlite"));
      const double all = since(start);
      end = true;
      writer.join();
      database.stop();
      a.close();
      std::printf("%-16s copied %.2f s, flushed %.2f s, %5d writes; cp+fsync %.2f s: %3.0f %%%s\n",
                  way == 0 ? "file" : way == 1 ? "backup" : "file, no writes", copied, all, writes.load(), cp, 100 * cp / all,
                  failed ? " FAILED" : "");
      if (way != 2) continue;
      FakeCall check, back;
      start = std::chrono::steady_clock::now();
      via::testing::FakeSnapshots(a.handle()).verify(copy.path(), check);
      const double verified = since(start);
      start = std::chrono::steady_clock::now();
      via::testing::FakeSnapshots(a.handle()).restore(copy.path(), back);
      std::printf("verify %.2f s, restore %.3f s%s\n", verified, since(start),
                  check.status() != VIA_OK || back.status() != VIA_OK ? " FAILED" : "");
    }
  }
  return 0;
}
