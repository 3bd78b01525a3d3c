// kill -9 at every point of an operation: before each statement of the store and around each call of a plugin.
#pragma once

#include "world.hpp"

namespace via::test {

// Runs `operation` in fresh worlds, killed at its 1st, 2nd, … point, until one run gets through. `check` sees each
// world after its restart.
inline void kill_everywhere(const std::function<void(World&)>& prepare, const std::function<void(World&)>& operation,
                     const std::function<void(World&, int)>& check) {
  for (int point = 1;; ++point) {
    ASSERT_LT(point, 1000);
    World w;
    prepare(w);
    int left = point;
    const auto hit = [&](std::string_view) {
      if (left > 0 && --left == 0) throw Killed();
    };
    w.store->db().set_before_statement(hit);
    w.addons.before = [&](const std::string& step) { hit(step); };
    bool killed = false;
    try {
      operation(w);
    } catch (const Killed&) {
      killed = true;
    }
    left = 0;
    w.restart();
    EXPECT_TRUE(w.store->journal().unfinished()->empty()) << point;
    EXPECT_EQ(*w.store->audit().verify(), 0) << point;
    check(w, point);
    if (!killed) {
      EXPECT_GT(point, 4);
      return;
    }
  }
}

}  // namespace via::test
