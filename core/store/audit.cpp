#include "core/base/digest.hpp"
#include "core/store/store.hpp"

namespace via::store {
namespace {

const std::string kFirst(64, '0');

std::string chain_hash(const AuditEntry& e) {
  std::string text;
  const auto add = [&text](std::string_view field) {
    text += std::to_string(field.size());
    text += ':';
    text += field;
  };
  add(e.previous_hash);
  add(std::to_string(e.sequence));
  add(std::to_string(e.at));
  for (const std::string* field : {&e.actor, &e.action, &e.target, &e.operation, &e.outcome, &e.details}) add(*field);
  return sha256_hex(text);
}

AuditEntry entry(const Row& r) {
  return AuditEntry{r.integer(0), r.integer(1), r.text(2), r.text(3), r.text(4),
                    r.text(5),    r.text(6),    r.text(7), r.text(8), r.text(9)};
}

}  // namespace

Result<void> Audit::append(AuditEntry e) {
  VIA_TRY_LET(last, db_.one([](const Row& r) { return std::pair(r.integer(0), r.text(1)); },
                            "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1"));
  e.sequence = last ? last->first + 1 : 1;
  e.previous_hash = last ? last->second : kFirst;
  const std::string hash = chain_hash(e);
  return db_.run(
      "INSERT INTO audit (sequence, at, actor, action, target, operation, outcome, details, prev_hash, hash) "
      "VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
      e.sequence, e.at, e.actor, e.action, e.target, e.operation, e.outcome, e.details, e.previous_hash, hash);
}

Result<std::vector<AuditEntry>> Audit::list(std::int64_t since_ms, int limit, std::string_view target) {
  return db_.all(entry,
                 "SELECT * FROM (SELECT sequence, at, actor, action, target, operation, outcome, details, prev_hash, "
                 "hash FROM audit WHERE at >= ?1 AND (?3='' OR target=?3) ORDER BY sequence DESC LIMIT ?2) "
                 "ORDER BY sequence",
                 since_ms, limit, target);
}

Result<AuditEntry> Audit::head() {
  VIA_TRY_LET(newest, db_.one(entry,
                              "SELECT sequence, at, actor, action, target, operation, outcome, details, prev_hash, hash "
                              "FROM audit ORDER BY sequence DESC LIMIT 1"));
  return newest.value_or(AuditEntry{});
}

Result<std::int64_t> Audit::verify() {
  std::string previous = kFirst;
  std::int64_t expected = 1;
  auto rows = db_.query(
      "SELECT sequence, at, actor, action, target, operation, outcome, details, prev_hash, hash FROM audit "
      "ORDER BY sequence");
  while (rows.next()) {
    const AuditEntry e = entry(rows.row());
    const std::string hash = chain_hash(e);
    if (e.sequence != expected || e.previous_hash != previous || e.hash != hash) return expected;
    previous = hash;
    ++expected;
  }
  VIA_TRY(rows.end());
  return std::int64_t{0};
}

}  // namespace via::store
