// The read connection of an I/O thread: taken without waiting, held for the rest of the thread's turn where the host has
// turns, in one read transaction that never shows less than what was answered before.
// Thread: the I/O thread, from construction to destruction.
#pragma once

#include "plugins/sqlite/database.hpp"

namespace via::sqlite {

class InlineRead {
 public:
  // No connection: it is not open yet (a worker opens it, Database::open_wanted), or another thread has it.
  InlineRead(const Host& host, const Database::Pin& pin);
  ~InlineRead();
  InlineRead(const InlineRead&) = delete;

  Connection* connection() const { return connection_; }

 private:
  Reader* reader_ = nullptr;  // taken
  Connection* connection_ = nullptr;
};

}  // namespace via::sqlite
