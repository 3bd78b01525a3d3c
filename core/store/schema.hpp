// The schema of the control-plane database and the steps from each version to the next.
// Thread: the control thread, while opening.
#pragma once

#include "core/base/error.hpp"
#include "core/store/database.hpp"

namespace via::store {

inline constexpr int kSchemaVersion = 5;
inline constexpr std::int64_t kApplicationId = 0x56494143;  // "VIAC"

// Brings `db` from its user_version to `kSchemaVersion`, each step in a transaction of its own. Refuses a database of
// another application and one written by a newer Via.
Result<void> migrate(Database& db, bool fresh);

}  // namespace via::store
