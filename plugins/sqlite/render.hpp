// Rows of SQLite as JSON, on the writer that all SQL types share (plugins/sqlwire).
// Thread: one at a time per Output.
#pragma once

#include "plugins/sqlwire/values.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <string>

namespace via::sqlite {

using sqlwire::CallOutput;
using sqlwire::InlineOutput;
using sqlwire::is_utf8;
using sqlwire::Output;
using sqlwire::render_base64;
using sqlwire::render_blob;
using sqlwire::render_integer;
using sqlwire::render_real;
using sqlwire::render_text;
using sqlwire::StringOutput;

bool render_column(Output& out, sqlite3_stmt* stmt, int column, bool integers_as_text);
// The current row as [v,v,…].
bool render_row(Output& out, sqlite3_stmt* stmt, int columns, bool integers_as_text);

// "columns":[…],"types":[…] of a statement. Types are the declared ones; a column without one (an expression) has
// the storage class of its value in the first row, or "NULL" when there is no row. `fixed` is set when the text does not depend on rows.
std::string render_head(sqlite3_stmt* stmt, bool has_row, bool& fixed);

}  // namespace via::sqlite
