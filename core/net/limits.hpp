// Every bound of a connection, in one place. Units are in the names. A change (Listener::change) is
// seen by a connection between two requests. Thread: any (values; each I/O thread has its own).
#pragma once

#include <cstddef>
#include <cstdint>

namespace via::net {

enum class Compression : std::uint8_t { automatic, on, off };

struct Limits {
  std::size_t max_header_bytes = 16 * 1024;
  std::size_t max_fields = 100;
  std::size_t max_body_bytes = 8 * 1024 * 1024;
  std::size_t max_connections = 10'000;
  // Of large requests and answers, in memory at once (byte_budget.hpp).
  std::uint64_t memory_bytes = 0;          // 0 = a quarter of the machine's
  std::uint64_t memory_per_app_bytes = 0;  // 0 = a quarter of that
  // Requests answered from one burst of pipelined ones before the connection is closed.
  std::size_t max_pipelined_burst = 1000;
  std::uint64_t header_timeout_ms = 10'000;
  std::uint64_t idle_timeout_ms = 75'000;       // between requests
  std::uint64_t body_timeout_ms = 30'000;       // plus a second for each 64 KiB announced
  std::uint64_t write_timeout_ms = 30'000;      // without progress
  std::uint64_t operation_timeout_ms = 30'000;  // given to a plugin as its deadline
  Compression compression = Compression::automatic;  // of answers; automatic: but for clients on this machine
  std::uint64_t drain_timeout_ms = 10'000;      // at shutdown

  bool operator==(const Limits&) const = default;
};

}  // namespace via::net
