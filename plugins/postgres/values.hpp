// Values on their way to the server and back: a request's parameters as libpq takes them, a result's rows as JSON.
//
// Parameters go as text without a type, so that PostgreSQL decides by their place (an integer fits into any numeric column, and
// into text); only bytes say that they are bytea. Results: integers and numeric exactly as the server writes them, double
// precision as the shortest digits, boolean as 1 and 0 (as SQLite has them), bytea as {"base64":…}, everything else as text.
// Thread: any (pure).
#pragma once

#include "plugins/postgres/errors.hpp"
#include "plugins/postgres/statement.hpp"
#include "plugins/sqlwire/values.hpp"

#include <string>
#include <vector>

namespace via::postgres {

// Borrowed from the request, but for numbers.
class Parameters {
 public:
  Failure fill(const Request& request, const Statement& statement);
  int count() const { return static_cast<int>(values_.size()); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }
  const Oid* types() const { return types_.data(); }
  // What tells apart statements of the same text whose parameters have other types.
  const std::string& shape() const { return shape_; }

 private:
  std::vector<const char*> values_;
  std::vector<int> lengths_, formats_;
  std::vector<Oid> types_;
  std::vector<std::string> numbers_;
  std::string shape_;
};

// "columns":[…],"types":[…]
std::string render_head(const PGresult* result);
bool render_row(sqlwire::Output& out, const PGresult* result, int row, bool integers_as_text);
// The name of a type as SQL writes it; "unknown" where the plugin does not know it (enumerations, types of extensions).
std::string_view type_name(Oid type);

}  // namespace via::postgres
