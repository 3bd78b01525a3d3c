// Typed access: what converts, and what is refused instead of being changed.
#include <gtest/gtest.h>

#include "via/sql.hpp"

namespace via::sql {
namespace {

template <class T>
bool refuses(const Value& value) {
  try {
    (void)value.as<T>();
    return false;
  } catch (const Error& error) {
    return error.code() == "type";
  }
}

TEST(Value, ConvertsWithoutLoss) {
  EXPECT_EQ(Value(7).as<int>(), 7);
  EXPECT_EQ(Value(7).as<double>(), 7.0);
  EXPECT_EQ(Value(7.0).as<std::int64_t>(), 7);
  EXPECT_TRUE(Value(1).as<bool>());
  EXPECT_EQ(Value("x").as<std::string>(), "x");
  EXPECT_EQ(Value().as<std::optional<std::string>>(), std::nullopt);
  EXPECT_EQ(Value("x").as<std::optional<std::string>>(), "x");
  EXPECT_EQ(Value(std::uint64_t{5}).as<std::uint64_t>(), 5U);
}

TEST(Value, RefusesToChangeWhatIsThere) {
  EXPECT_TRUE(refuses<int>(Value("7")));
  EXPECT_TRUE(refuses<int>(Value(7.5)));
  EXPECT_TRUE(refuses<int>(Value(std::int64_t{1} << 40)));
  EXPECT_TRUE(refuses<unsigned>(Value(-1)));
  EXPECT_TRUE(refuses<bool>(Value(2)));
  EXPECT_TRUE(refuses<std::int64_t>(Value()));
  EXPECT_TRUE(refuses<std::string>(Value(7)));
  EXPECT_TRUE(refuses<std::int64_t>(Value(1e300)));
  EXPECT_THROW(Value(std::numeric_limits<std::uint64_t>::max()), Error);
}

TEST(Rows, NameWhatIsMissing) {
  Rows rows;
  rows.columns = {"a"};
  rows.cells = {{Value(1)}, {Value(2)}};
  EXPECT_EQ(rows[1].get<int>("a"), 2);
  EXPECT_THROW(rows[0]["b"], Error);
  EXPECT_THROW(rows[0][1], Error);
  EXPECT_THROW(rows[2], Error);
  EXPECT_THROW(rows.one(), Error);
  int sum = 0;
  for (const Row& row : rows) sum += row.get<int>(0);
  EXPECT_EQ(sum, 3);
}

}  // namespace
}  // namespace via::sql
