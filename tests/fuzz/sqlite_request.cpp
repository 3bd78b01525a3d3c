// The bodies of the SQLite plugin's operations: what is read lies within its arrays, and reading again into the same
// memory gives the same.
#include "target.hpp"

#include "plugins/sqlwire/request.hpp"

namespace {

using namespace via::sqlwire;

void check(const Request& r) {
  for (const StatementText& s : r.statements) {
    if (s.has_sql) VIA_FUZZ_CHECK(std::size_t{s.sql_at} + s.sql_size < r.bytes.size() && r.bytes[s.sql_at + s.sql_size] == '\0');
    VIA_FUZZ_CHECK(std::size_t{s.first} + s.count <= r.values.size());
    for (std::uint32_t i = s.first; i < s.first + s.count; ++i) {
      const Value& v = r.values[i];
      if (v.kind == Value::text || v.kind == Value::blob) VIA_FUZZ_CHECK(std::size_t{v.at} + v.size <= r.bytes.size());
      if (s.named) VIA_FUZZ_CHECK(std::size_t{v.name_at} + v.name_size <= r.bytes.size());
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Request reused;
  for (const Operation op : {Operation::query, Operation::execute, Operation::setup, Operation::batch}) {
    Request fresh;
    const Failure first = parse_request(via::fuzz::text(data, size), op, fresh);
    const Failure again = parse_request(via::fuzz::text(data, size), op, reused);
    VIA_FUZZ_CHECK(first.status == again.status);
    if (first.status != VIA_OK) continue;
    check(fresh);
    check(reused);
    VIA_FUZZ_CHECK(fresh.statements.size() == reused.statements.size() && fresh.bytes == reused.bytes);
  }
  return 0;
}
