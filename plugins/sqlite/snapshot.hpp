// Copies of a database file: taken while it is written, checked, and put in its place.
//
// A copy of one database is one file (data.sqlite unless it is named otherwise), 0600, complete without a -wal. take() reads the main file through SQLite's own file
// handle (closing a descriptor of our own would drop SQLite's locks) right after a complete checkpoint, and holds
// further checkpoints off meanwhile: commits go on, into the WAL only. When an old reader keeps the checkpoint from
// being complete, SQLite's backup interface copies under a read transaction instead.
// An add-on with further databases is copied by api/snapshot_set, which uses what is here for each of them.
// Thread: [control], verify [data]; all block. A failure leaves nothing behind.
#pragma once

#include "plugins/sqlite/database.hpp"

namespace via::sqlite::snapshot {

enum class Way { fastest, backup };  // `backup` is for tests and measurements

Failure take(Database& database, const std::string& dir, via_call* call, Way way = Way::fastest,
             const std::string& name = "data.sqlite");
// Reads every page.
Failure verify(const std::string& dir, const Host& host, const via_call* call, const std::string& name = "data.sqlite");
// What is cheap of that: the file, and that SQLite can open it.
Failure check_copy(const std::string& path, const via_call* call);
// Exchanges dir/data.sqlite with the closed database in `storage`, or moves it there when there is none; durable when it
// returns. What is in `dir` then is whole without a -wal, as after take(). The pages of the copy were verified before: here
// only what is cheap is checked again.
Failure restore(const std::string& storage, const std::string& dir, const Host& host, const via_call* call);
// Plays the log that a crash left into its closed database, so that nothing of it is left beside the file; `wal_remains`
// where that cannot be.
Failure settle_wal(const std::string& data);
// Bytes of the database and its WAL.
uint64_t bytes_used(const std::string& storage);

}  // namespace via::sqlite::snapshot
