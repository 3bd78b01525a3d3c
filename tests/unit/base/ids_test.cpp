#include "core/base/ids.hpp"

#include <set>

#include <gtest/gtest.h>

#include "support/fakes.hpp"

namespace via {
namespace {

TEST(Ids, AUlidSurvivesItsText) {
  via::test::FakeClock clock;
  via::test::FakeEntropy entropy;
  for (int i = 0; i < 1000; ++i) {
    const Ulid id = new_ulid(clock, entropy);
    Ulid back{};
    ASSERT_TRUE(parse_ulid(to_text(id), back));
    ASSERT_EQ(back, id);
  }
  Ulid extremes{};
  EXPECT_EQ(to_text(extremes), std::string(26, '0'));
  extremes.fill(0xff);
  EXPECT_EQ(to_text(extremes), "7" + std::string(25, 'z'));
}

TEST(Ids, TheySortByTheirTimeAndDoNotRepeat) {
  via::test::FakeClock clock;
  via::test::FakeEntropy entropy;
  std::string last;
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = new_id("rel", clock, entropy);
    EXPECT_LT(last, id);
    EXPECT_TRUE(seen.insert(id).second);
    last = id;
    clock.advance_ms(1);
  }
}

TEST(Ids, TextThatIsNotAUlidIsRefused) {
  Ulid out{};
  const std::string good(26, '0');
  EXPECT_TRUE(parse_ulid(good, out));
  for (const std::string& bad : {std::string(), good.substr(1), good + "0", "8" + good.substr(1), "z" + good.substr(1),
                                 "I" + good.substr(1), good.substr(1) + "u", good.substr(1) + "A", good.substr(1) + "-",
                                 good.substr(1) + std::string(1, '\0')})
    EXPECT_FALSE(parse_ulid(bad, out)) << bad;
}

TEST(Ids, TheUlidBehindAPrefixIsFoundAndOtherFormsAreZero) {
  via::test::FakeClock clock;
  via::test::FakeEntropy entropy;
  const std::string id = new_id("bind", clock, entropy);
  EXPECT_EQ("bind_" + to_text(ulid_of(id)), id);
  for (const char* other : {"", "bind", "bind_", "bind_x", "bind_00000000000000000000000000_1"})
    EXPECT_EQ(ulid_of(other), Ulid{}) << other;
}

TEST(Names, AnswerAsTheirRuleSays) {
  for (const std::string& good : {std::string("a"), std::string("app-db"), std::string("a1-2"), std::string(63, 'a')})
    EXPECT_TRUE(check_name("The name", good)) << good;
  for (const std::string& bad : {std::string(), std::string(64, 'a'), std::string("1a"), std::string("-a"), std::string("a-"),
                                 std::string("A"), std::string("a_b"), std::string("a b"), std::string("a.b"),
                                 std::string("a/b"), std::string("\xc3\xa4"), std::string("a\0b", 3), std::string("a#failed#x")}) {
    const auto checked = check_name("The app's name", bad);
    ASSERT_FALSE(checked) << bad;
    EXPECT_TRUE(checked.error().message.starts_with("The app's name must be"));
  }
}

TEST(Keys, AnswerAsTheirRuleSays) {
  for (const std::string& good : {std::string("A"), std::string("_"), std::string("DATABASE_2"), std::string(127, 'A')})
    EXPECT_TRUE(check_key("The key", good)) << good;
  for (const std::string& bad : {std::string(), std::string(128, 'A'), std::string("2A"), std::string("a"), std::string("A-B"),
                                 std::string("A B"), std::string("A=B"), std::string("A\n"), std::string("\xc3\x84")})
    EXPECT_FALSE(check_key("The key", bad)) << bad;
}

}  // namespace
}  // namespace via
