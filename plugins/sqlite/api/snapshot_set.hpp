// Snapshots of all databases of an add-on: data.sqlite, and those of databases/ beside it.
//
// A snapshot holds data.sqlite alone when there is no other database (format sqlite/1). Else (sqlite/2) it holds data.sqlite,
// 1.sqlite, 2.sqlite … and databases.json, {"databases":["app.db", …]}: the names below databases/ in that order. Each
// database is a consistent copy of its own moment; they are separate databases, and no transaction spans two.
//
// A restore of such a set changes several places, which no one step can. restore.json in the storage folder, written before
// the first step, says what is to be where (by inode), so that whoever comes next, the same call again or the next open,
// finishes it. Until all is in place, `dir` is what it was.
// Thread: as snapshot.hpp. The instance is closed during restore.
#pragma once

#include "plugins/sqlite/api/databases.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace via::sqlite::api {

// `facts` is what the host is told of the copy. A database that is made or removed meanwhile may be in it or not.
Failure take_set(Databases& databases, Database& own, const std::string& dir, via_call* call, std::string_view& facts);
Failure verify_set(const std::string& dir, const Host& host, const via_call* call);
// Afterwards the add-on has the databases of `dir` and no other; `dir` holds what was there before, as take_set leaves it.
// Files in databases/ that are no databases stay.
Failure restore_set(const std::string& storage, const std::string& dir, const Host& host, const via_call* call,
                    std::string_view& facts);
// databases.json. Its names are valid, different, and no folder of one another; false else, and `out` is of no use.
std::string index_text(const std::vector<std::string>& names);
bool parse_index(std::string_view text, std::vector<std::string>& out);
// Ends a restore that a crash or a failing disk interrupted, forwards, or back when its copy is gone or the disk refuses: either way whole.
Failure finish_restore(const std::string& storage);

}  // namespace via::sqlite::api
