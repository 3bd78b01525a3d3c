// SQLite values as JSON, written by hand into an Output. Always valid UTF-8 and valid JSON, whatever a column holds.
// Thread: one at a time per Output.
#pragma once

#include "plugins/sqlite/output.hpp"

#include <sqlite3.h>

#include <cstdint>
#include <string>

namespace via::sqlite {

// Text in quotes. Bytes that are not UTF-8 become U+FFFD, one for each maximal broken piece.
bool is_utf8(std::string_view s);
bool render_text(Output& out, std::string_view text);
bool render_integer(Output& out, int64_t n, bool as_text_beyond_2_53);
// Shortest digits that read back as the same double, always with a point or an exponent; what is not finite is null.
bool render_real(Output& out, double d);
bool render_base64(Output& out, const void* data, size_t size);  // in quotes
bool render_blob(Output& out, const void* data, size_t size);    // {"base64":"…"}
bool render_column(Output& out, sqlite3_stmt* stmt, int column, bool integers_as_text);
// The current row as [v,v,…].
bool render_row(Output& out, sqlite3_stmt* stmt, int columns, bool integers_as_text);

// "columns":[…],"types":[…] of a statement. Types are the declared ones; a column without one (an expression) has
// the storage class of its value in the first row, or "NULL" when there is no row. `fixed` is set when the text does not depend on rows.
std::string render_head(sqlite3_stmt* stmt, bool has_row, bool& fixed);

}  // namespace via::sqlite
