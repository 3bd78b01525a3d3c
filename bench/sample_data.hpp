// The data and the statements that the server and the baselines share. Thread: any (pure).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

inline constexpr int kItems = 10'000;
inline constexpr const char* kSchema =
    "CREATE TABLE IF NOT EXISTS item(id INTEGER PRIMARY KEY, name TEXT NOT NULL, quantity INTEGER NOT NULL, price REAL "
    "NOT NULL); CREATE TABLE IF NOT EXISTS event(id INTEGER PRIMARY KEY, item INTEGER NOT NULL, note TEXT NOT NULL)";
inline constexpr std::string_view kPointQuery = "SELECT name, quantity, price FROM item WHERE id = ?";
inline constexpr std::string_view kInsert = "INSERT INTO event(item, note) VALUES(?, ?)";
inline constexpr std::string_view kManyRows = "SELECT id, name, quantity, price FROM item WHERE id BETWEEN ? AND ?";
inline constexpr std::string_view kNote = "seen at the door, twenty bytes";

// Fills `item` with ids 1 … items.
inline std::string fill(int items) {
  return "INSERT OR IGNORE INTO item WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < " +
         std::to_string(items) + ") SELECT i, printf('item %06d', i), i % 1000, i / 100.0 FROM n";
}

// Keys in an order that no cache likes.
inline std::int64_t spread(std::uint64_t n) {
  return static_cast<std::int64_t>(n * 7919 % static_cast<std::uint64_t>(kItems)) + 1;
}

}  // namespace bench
