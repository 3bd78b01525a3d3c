// LIKE and GLOB in time linear in the text for each part of the pattern between '%' or '*', with the results of SQLite's own on
// valid UTF-8. SQLite's takes seconds for 9 MB against '%' and 990 characters, inside of one opcode.
//
// The leftmost match of each part is as good as any other, so parts are looked for one behind the other, never again: by
// comparing at each place where the first character fits, and, where that wastes work, with a bit for each character of the part
// (shift-and: R. Baeza-Yates, G. Gonnet, "A new approach to text searching", CACM 35(10), 1992).
// Thread: any; the pattern that a thread used last is kept taken apart.
#pragma once

namespace via::sqlite::engine {

// As via_sqlite_hooks.match (cmake/sqlite/via_sqlite_hooks.h): 0 = it matches. 1 also when the statement was stopped meanwhile.
int match(const unsigned char* pattern, const unsigned char* text, const unsigned char* info, unsigned other) noexcept;

}  // namespace via::sqlite::engine
