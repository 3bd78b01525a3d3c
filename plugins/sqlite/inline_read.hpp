// The read connection of an I/O thread: taken without waiting, held for the rest of the thread's turn where the host has
// turns, in one read transaction that never shows less than what was answered before.
// Thread: the I/O thread, from construction to destruction.
#pragma once

#include "plugins/sqlite/database.hpp"

namespace via::sqlite {

class InlineRead {
 public:
  // No connection: it is not open yet or knows an old schema (a worker sees to it, Database::open_wanted), or another thread
  // has it.
  InlineRead(const Host& host, const Database::Pin& pin);
  ~InlineRead();
  InlineRead(const InlineRead&) = delete;

  Connection* connection() const { return connection_; }
  uint64_t schema() const { return schema_; }  // of Handles, when it was taken
  // The statement that was looked for is not there, or not proven: a worker that runs it may hand it over.
  void miss() const { reader_->missed.store(true, std::memory_order_relaxed); }

 private:
  Reader* reader_ = nullptr;  // taken
  Connection* connection_ = nullptr;
  uint64_t schema_ = 0;
};

}  // namespace via::sqlite
