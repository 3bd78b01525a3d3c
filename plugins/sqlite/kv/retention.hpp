// Forgetting what is older than the add-on keeps. record() trims the key it writes and takes the pass below one key further.
// A key whose state at the edge is still needed keeps one row; one that was gone by then is forgotten wholly, and the
// table's horizon moves so that nothing is said about times before it.
// Thread: the writer.
#pragma once

#include "plugins/sqlite/kv/history.hpp"

namespace via::sqlite::kv {

// Where a pass over the history stands; begin with an empty one.
struct ForgetCursor {
  std::string table, key;
};

// Looks at up to `keys` keys behind the cursor. `done` when it was the end: the next pass begins anew. Nothing to do when the
// connection keeps operations however old they are. The history table must be there.
Failure forget(Connection& connection, int64_t now_ms, size_t keys, ForgetCursor& cursor, bool& done);

}  // namespace via::sqlite::kv
