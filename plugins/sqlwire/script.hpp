// Scripts whose author wrapped them in a transaction, as sqlite3's .dump does. A `setup` is one transaction already: one pair around the
// whole of it means the same, and is left out.
// Thread: values; any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace via::sqlwire {

enum class Control : uint8_t { none, begin, commit, other };  // other: ROLLBACK, SAVEPOINT, RELEASE

// What the statement at the front of `sql` is; `sql` begins with its first word. Of a plain BEGIN or COMMIT (END) that is all
// of its statement, `size` is how long it is, without the semicolon.
Control control_of(std::string_view sql, size_t& size);

// The statements of one script, in order. `take` says what to do with each that is a Control.
class Wrapping {
 public:
  enum class Verdict : uint8_t { run, skip, refuse };
  Verdict take(Control control) {
    if (control == Control::none) {
      if (ended_) return Verdict::refuse;
      any_ = true;
      return Verdict::run;
    }
    if (control == Control::begin && !any_ && !begun_) begun_ = true;
    else if (control == Control::commit && begun_ && !ended_) ended_ = true;
    else return Verdict::refuse;
    return Verdict::skip;
  }
  bool open() const { return begun_ && !ended_; }
  bool begun() const { return begun_; }
  bool ended() const { return ended_; }

 private:
  bool any_ = false, begun_ = false, ended_ = false;
};

}  // namespace via::sqlwire
