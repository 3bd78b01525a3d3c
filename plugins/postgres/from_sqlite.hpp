// The tables of a SQLite database file in an empty PostgreSQL database: how an app moves that has outgrown one machine.
//
// Taken over: tables with their columns, keys, NOT NULL, unique and foreign keys, plain indexes, simple defaults, and every row. A
// column's type is the one that all its values have, whatever was declared; where they differ it is the wider one, and text where
// nothing else holds them all, so nothing is lost. Names that need no quotes are written in lower case, as PostgreSQL reads them in an
// app's SQL. An INTEGER PRIMARY KEY goes on counting. Not taken over, and said so in the log: views, triggers, generated columns'
// expressions, CHECK constraints, partial and expression indexes, virtual tables: they are SQL of another dialect.
// Thread: control; blocks.
#pragma once

#include "plugins/postgres/snapshot.hpp"

namespace via::postgres {

bool is_sqlite_file(const std::filesystem::path& file);
// Whether it is a whole database that SQLite can read.
Failure verify_sqlite(const std::filesystem::path& file, const Watch& watch);
// Into the database that `link` is connected to, in one transaction; what is made belongs to `owner`.
Failure copy_from_sqlite(const std::filesystem::path& file, Link& link, const std::string& owner, const Watch& watch);

}  // namespace via::postgres
