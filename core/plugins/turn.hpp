// Turns of an I/O thread's event loop: tasks that plugins want run once before the thread waits again.
//
// net/ makes a Turn for each I/O thread, enters it on that thread, and calls finish() at the end of every round.
// Thread: its I/O thread.
#pragma once

#include <utility>
#include <vector>

#include "via/plugin.h"

namespace via::plugins {

class Turn {
 public:
  // Makes this the turn of the calling thread until leave().
  void enter() noexcept { current() = this; }
  static void leave() noexcept { current() = nullptr; }
  static Turn*& current() noexcept {
    static thread_local Turn* turn = nullptr;
    return turn;
  }

  void at_end(via_fn fn, void* data) { tasks_.emplace_back(fn, data); }
  bool has_tasks() const noexcept { return !tasks_.empty(); }
  void finish() {
    for (std::size_t i = 0; i < tasks_.size(); ++i) tasks_[i].first(tasks_[i].second);
    tasks_.clear();
  }

 private:
  std::vector<std::pair<via_fn, void*>> tasks_;
};

}  // namespace via::plugins
