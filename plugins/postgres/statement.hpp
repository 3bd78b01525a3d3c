// SQL texts of apps on their way to PostgreSQL: cut into statements, told apart by what they may be used for, and their
// parameters written as PostgreSQL writes them.
//
// An app that was written for SQLite says ?, ?2, :name, @name or $name; one that was written for PostgreSQL says $1. Both
// work. A question mark that is one of PostgreSQL's operators is written ?? where values are given (as in JDBC), and ?| and
// ?& are always operators. The reader knows PostgreSQL's quoting: '…', E'…', "…", $tag$…$tag$, -- and nested /* */.
// The rights of roles are what protects data; the words that are refused here are those that would break what requests share:
// a session and the transaction that the plugin holds.
// Thread: any (pure).
#pragma once

#include "plugins/sqlwire/request.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace via::postgres {

using sqlwire::Failure;
using sqlwire::Operation;
using sqlwire::Request;
using sqlwire::StatementText;

enum class Use : uint8_t {
  reads,    // SELECT, VALUES, TABLE, SHOW, EXPLAIN
  either,   // WITH: what it does shows when it runs
  writes,   // INSERT, CREATE, …
  removes,  // DELETE, DROP, TRUNCATE: allowed to an add-on that has reached its quota
  refused
};

struct Statement {
  std::string sql;              // with $1, $2, …
  std::vector<uint32_t> order;  // $n stands for value order[n-1] of the request
  Use use = Use::refused;
};

// The statements of a script, without their semicolons and without empty ones. Fails where a quote or a comment has no end.
Failure split(std::string_view script, std::vector<std::string_view>& out);

// One statement with its values. Fails where there is none or more than one, where a word is refused, and where values and
// parameters do not match.
Failure translate(std::string_view sql, const Request& request, const StatementText& text, Statement& out);
// A statement of a script, which takes no values.
Failure classify(std::string_view sql, Use& use);

}  // namespace via::postgres
