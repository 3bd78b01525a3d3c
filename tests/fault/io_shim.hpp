// The test's end of the preloaded library (shim.c): what a host process did to its files, and one fault among it.
// Thread: the test's own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fault/shim.h"

namespace via::test {

// The n-th call of a name; what a fault is aimed at. A name and a count, not a place in the order of all calls: threads
// of the host may take turns differently in the next run.
struct IoPoint {
  std::string name;
  unsigned occurrence = 1;
  std::uint32_t actions = 0;  // bits 1 << via_shim_action

  bool can(via_shim_action action) const { return (actions & (1U << action)) != 0; }
};

class IoShim {
 public:
  // `control` is made; `root` is the folder whose files are counted.
  IoShim(const std::filesystem::path& control, const std::filesystem::path& root);
  ~IoShim();
  IoShim(const IoShim&) = delete;
  IoShim& operator=(const IoShim&) = delete;

  // For the process to be watched.
  std::map<std::string, std::string> environment() const;

  // Instead of what it was made for; and a further folder, whose name stands before those of its files.
  void watch(const std::filesystem::path& root, const std::filesystem::path& more = {});
  void trace();  // count from here, no fault
  void arm(const IoPoint& point, via_shim_action action, bool sticky);
  void off();
  unsigned struck() const;
  // Of everything since trace() or arm().
  std::vector<IoPoint> calls() const;

 private:
  std::filesystem::path control_;
  via_shim* shared_ = nullptr;
};

const char* name_of(via_shim_action action);

}  // namespace via::test
