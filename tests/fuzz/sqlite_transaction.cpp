// The body of POST /db: what is read lies within its arrays, each item is one of the kinds that are run, and a refusal says why.
#include "target.hpp"

#include "plugins/sqlite/api/transaction.hpp"

#include <cmath>

namespace {

using namespace via::sqlite;
using namespace via::sqlite::api;

void check(const Transaction& t) {
  VIA_FUZZ_CHECK(t.items.size() <= kMaxItems);
  for (const Item& item : t.items) {
    VIA_FUZZ_CHECK(item.query != item.statement && !(item.values && item.batch) && !(item.query && item.batch));
    VIA_FUZZ_CHECK(std::size_t{item.sql_at} + item.sql_size < t.bytes.size() && t.bytes[item.sql_at + item.sql_size] == '\0');
    VIA_FUZZ_CHECK(t.sql(item).find('\0') == std::string_view::npos);
    (void)kind_of(t.sql(item));
    VIA_FUZZ_CHECK(std::size_t{item.first_row} + item.row_count <= t.rows.size());
    VIA_FUZZ_CHECK(item.values ? item.row_count == 1 : item.batch || item.row_count == 0);
    for (std::uint32_t i = item.first_row; i < item.first_row + item.row_count; ++i) {
      const Row& row = t.rows[i];
      VIA_FUZZ_CHECK(std::size_t{row.first} + row.count <= t.cells.size());
      if (!row.named) continue;
      VIA_FUZZ_CHECK(std::size_t{row.first_name} + row.count <= t.names.size());
      for (std::uint32_t n = row.first_name; n < row.first_name + row.count; ++n)
        VIA_FUZZ_CHECK(std::size_t{t.names[n].at} + t.names[n].size <= t.bytes.size());
    }
  }
  for (const Cell& c : t.cells) {
    if (c.kind == Cell::text || c.kind == Cell::blob) VIA_FUZZ_CHECK(c.at + c.size <= t.bytes.size());
    if (c.kind == Cell::real) VIA_FUZZ_CHECK(std::isfinite(c.fraction));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view body = via::fuzz::text(data, size);
  Transaction t, again;
  const Failure failure = parse_transaction(body, t);
  if (failure) {
    VIA_FUZZ_CHECK(failure.http_status == 400 && !failure.message.empty());
    VIA_FUZZ_CHECK(failure.statement_index < static_cast<int>(t.items.size()));
    return 0;
  }
  check(t);
  VIA_FUZZ_CHECK(!parse_transaction(" " + std::string(body) + "\n", again) && again.bytes == t.bytes && again.items.size() == t.items.size());
  return 0;
}
