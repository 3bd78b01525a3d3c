// What the harness needs of the operating system: child processes on chosen cores, their memory, temporary folders.
// Only children of this object are ever stopped, by their process id. Thread: one, unless noted.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace bench {

// Ends the run with a message; every destructor on the way stops its child or removes its folder.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Which cores the two sides run on: one each where there are two, no pinning where there is one.
struct Cores {
  std::vector<int> server, load, both;
  static Cores find();
};

struct Spawn {
  std::vector<std::string> command;
  std::vector<int> cores;                                        // empty = anywhere
  std::vector<std::pair<std::string, std::string>> environment;  // added to ours
  std::filesystem::path log;                                     // standard error; empty = ours
};

class Child {
 public:
  explicit Child(const Spawn& spawn);
  ~Child();  // SIGTERM, and SIGKILL when that takes longer than 20 seconds
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int pid() const noexcept { return pid_; }
  // The next line of its standard output; Failed when it ends or says nothing for `seconds`.
  std::string line(double seconds);
  // Everything until it ends, which must be with 0.
  std::string finish(double seconds);
  void stop();
  bool running();

 private:
  bool fill(double seconds);  // false at the end of the output
  int pid_ = -1, out_ = -1, status_ = 0;
  std::string name_, text_;
};

struct Memory {
  double rss_kib = 0, anonymous_kib = 0;
};
Memory memory_of(int pid);
// The time on a core that the process and all its threads have had.
double core_seconds_of(int pid);

class TempFolder {
 public:
  explicit TempFolder(const std::filesystem::path& parent);
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const noexcept { return path_; }

 private:
  std::filesystem::path path_;
};

double now_seconds();
void raise_file_limit();
void write_text(const std::filesystem::path& file, const std::string& text);
std::string read_text(const std::filesystem::path& file);  // empty when it cannot be read
double median(std::vector<double> values);
double quantile(std::vector<double> values, double q);

}  // namespace bench
