// Space on the disk of the state folder that nobody else can use up: a file that is given up when the disk is full, so that a start
// and what takes rights away or frees space still works, and that is made again when there is room.
//
// What it gives is there for whoever writes first; the host's own records need some kilobytes of it.
// Thread: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>

#include "core/base/error.hpp"

namespace via {

class DiskReserve {
 public:
  static constexpr std::uint64_t kBytes = 4U << 20;
  static constexpr std::uint64_t kLeast = 1U << 20;  // less is full: what is begun may not end

  explicit DiskReserve(const std::filesystem::path& folder) : folder_(folder), file_(folder / "reserve") {}

  // Nothing can be written: only giving up the reserve helps.
  bool is_full() const;
  // A change may begin; without a reserve, only where there is room for one as well.
  bool has_room() const;
  // Whether there was one to give up.
  bool give_up();
  // Makes it where there is none and four times its size are free. Whether it did.
  bool make();
  bool is_there() const;

  // What is said where a change is not begun.
  static Error full() {
    return fail(Code::disk_full, "The disk of the host is full, so nothing was begun. Free some space and ask for it again; what stops, revokes "
                                 "and destroys still works.");
  }

 private:
  std::uint64_t free_bytes() const;

  const std::filesystem::path folder_, file_;
  std::mutex mutex_;
};

}  // namespace via
