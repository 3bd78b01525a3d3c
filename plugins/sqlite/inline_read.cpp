#include "plugins/sqlite/inline_read.hpp"

namespace via::sqlite {
namespace {

void end_turn(void* data) {
  Reader& mine = *static_cast<Reader*>(data);
  mine.end_snapshot();
  const Database::Pin held = std::move(mine.turn_pin);
  mine.turn = false;
  mine.let_go();
}

}  // namespace

InlineRead::InlineRead(const Host& host, const Database::Pin& pin) {
  const uint32_t me = thread_token();
  Reader& r = pin->inline_readers[me % pin->inline_readers.size()];
  if (r.owner.load(std::memory_order_relaxed) != me) {
    uint32_t nobody = 0;
    if (!r.owner.compare_exchange_strong(nobody, me, std::memory_order_acquire)) return;
    if (!r.connection) {
      r.wanted.store(true, std::memory_order_relaxed);
      r.missed.store(true, std::memory_order_relaxed);
      r.let_go();
      return;
    }
    r.turn = false;
    if (host.turn()) {
      r.turn_pin = pin.clone();
      if (host.turn()->at_end(host.raw(), end_turn, &r) == VIA_OK) r.turn = true;
      else r.turn_pin.release();
    }
  }
  reader_ = &r;
  schema_ = pin->schema.load(std::memory_order_acquire);
  if (r.schema.load(std::memory_order_relaxed) != schema_) {
    r.wanted.store(true, std::memory_order_relaxed);
    miss();
    return;
  }
  if (r.turn) {
    // A read sees every write that was answered before it: an older snapshot is not used again.
    const uint64_t commits = pin->commits.load(std::memory_order_acquire);
    if (r.snapshot && r.seen != commits) r.end_snapshot();
    if (!r.snapshot) {
      r.seen = commits;
      if (r.connection->host_step(r.begin, "BEGIN") != SQLITE_OK) return;
      r.snapshot = true;
    }
  }
  connection_ = r.connection.get();
}

InlineRead::~InlineRead() {
  if (reader_ && !reader_->turn) reader_->let_go();
}

}  // namespace via::sqlite
