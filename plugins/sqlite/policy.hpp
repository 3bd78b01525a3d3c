// What app SQL may do, as SQLite's authorizer: everything is denied that is not listed. Stays installed for the life
// of a connection, since statements are prepared again while they run; the host's own SQL passes under `host_sql`.
// Thread: that of its connection.
#pragma once

#include "plugins/sqlite/errors.hpp"
#include "plugins/sqlwire/request.hpp"

#include <string>
#include <vector>

namespace via::sqlite {

using sqlwire::Operation;
using sqlwire::parse_request;
using sqlwire::Request;
using sqlwire::StatementText;
using sqlwire::Value;

class Policy {
 public:
  Operation mode = Operation::query;
  bool host_sql = true;
  bool preparing = false;  // an app statement is being prepared right now
  bool frozen = false;     // on an I/O thread: what has to be prepared again is not run

  // What the last prepare met.
  bool denied = false, denied_write = false, denied_schema = false;
  bool bounded = true;  // it called only functions of constant cost
  bool drops_or_alters = false, alters = false, creates_view = false, creates_index = false;
  bool inserts = false;  // by itself, not by a trigger
  std::string why;  // of what was denied first: its kind and what to do instead
  std::vector<std::string> shadow_suspects;  // tables named like those inside of a virtual table

  void begin_prepare(Operation m);
  int decide(int action, const char* a, const char* b, const char* database, const char* trigger);

  static int callback(void* self, int action, const char* a, const char* b, const char* database, const char* trigger);

 private:
  int deny(std::string_view because = {});
  int read(const char* table, const char* database);
  int write(const char* table, const char* database);
  int schema_change(int action, const char* name, const char* database);
  int pragma(const char* name, const char* argument);
  int function(const char* name);
};

// For a scope on an I/O thread.
class Frozen {
 public:
  explicit Frozen(Policy& policy) : policy_(policy) { policy.frozen = true; }
  ~Frozen() { policy_.frozen = false; }
  Frozen(const Frozen&) = delete;

 private:
  Policy& policy_;
};

// Reserved for the host inside of an app's database.
inline constexpr char kReservedPrefix[] = "_via_";

// Skips blanks, comments and semicolons.
std::string_view skip_blank(std::string_view sql);

}  // namespace via::sqlite
