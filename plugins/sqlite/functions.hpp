// Linear replacements of instr, replace, trim/ltrim/rtrim(X,Y) and unhex(X,Y), whose built-in forms are quadratic in
// one opcode that nothing can interrupt (7 to 22 s on 1 MB). Same results on valid UTF-8.
// Thread: those of the connection.
#pragma once

#include <sqlite3.h>

namespace via::sqlite {

int register_linear_functions(sqlite3* db);

}  // namespace via::sqlite
