#include <thread>

#include "support.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VIA_SLOW 1
#else
#define VIA_SLOW 0
#endif

namespace via::identity::test {
namespace {

std::shared_ptr<const KeySet> empty_set() { return std::make_shared<const KeySet>(std::vector<KeySet::Entry>{}, 0U); }

Claims until(std::int64_t expires_at, std::string id = "j") {
  Claims out;
  out.id = std::move(id);
  out.expires_at = expires_at;
  return out;
}

TEST(TokenCache, RemembersWholeTextsOnly) {
  TokenCache cache;
  const auto keys = empty_set();
  EXPECT_EQ(cache.find("", keys.get(), 0), nullptr);
  const std::string token(700, 'x');
  const auto stored = cache.insert(token, keys, until(100, "one"));
  EXPECT_EQ(cache.find(token, keys.get(), 99), stored);
  EXPECT_EQ(*cache.peek(token, keys.get(), 99), stored);
  // The same end and length, another beginning: the same hash.
  std::string other = token;
  other[0] = 'y';
  EXPECT_EQ(cache.find(other, keys.get(), 99), nullptr);
  EXPECT_EQ(cache.peek(other, keys.get(), 99), nullptr);
  cache.insert(other, keys, until(100, "two"));
  EXPECT_EQ(cache.find(token, keys.get(), 99)->id, "one");
  EXPECT_EQ(cache.find(other, keys.get(), 99)->id, "two");
  EXPECT_EQ(cache.find(token.substr(1), keys.get(), 99), nullptr);
  EXPECT_EQ(cache.find(token + 'x', keys.get(), 99), nullptr);
  EXPECT_EQ(cache.size(), 2U);
}

TEST(TokenCache, ForgetsWithTheSecondOfExp) {
  via::test::FakeClock clock;
  TokenCache cache;
  const auto keys = empty_set();
  const auto now = [&] { return clock.unix_ms() / 1000; };
  cache.insert("a.b.c", keys, until(now() + 10));
  clock.advance_ms(9'999);
  EXPECT_NE(cache.find("a.b.c", keys.get(), now()), nullptr);
  clock.advance_ms(1);
  EXPECT_EQ(cache.find("a.b.c", keys.get(), now()), nullptr);
  EXPECT_EQ(cache.size(), 0U);
  cache.insert("a.b.c", keys, until(now() + 10));
  EXPECT_NE(cache.find("a.b.c", keys.get(), now()), nullptr);
}

TEST(TokenCache, AnotherKeySetEndsEverything) {
  TokenCache cache;
  const auto first = empty_set();
  const auto second = empty_set();
  cache.insert("a.b.c", first, until(100));
  EXPECT_EQ(cache.find("a.b.c", second.get(), 1), nullptr);
  EXPECT_EQ(cache.find("a.b.c", nullptr, 1), nullptr);
  EXPECT_NE(cache.find("a.b.c", first.get(), 1), nullptr);
  cache.insert("d.e.f", second, until(100));
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_EQ(cache.find("a.b.c", second.get(), 1), nullptr);
  EXPECT_EQ(cache.find("a.b.c", first.get(), 1), nullptr);
  EXPECT_NE(cache.find("d.e.f", second.get(), 1), nullptr);
}

TEST(TokenCache, KeepsItsKeySetSoThatNoOtherGetsItsAddress) {
  TokenCache cache;
  auto keys = empty_set();
  const std::weak_ptr<const KeySet> watched = keys;
  cache.insert("a.b.c", keys, until(100));
  keys.reset();
  EXPECT_FALSE(watched.expired());
}

TEST(TokenCache, StaysBoundedUnderAMillionTokens) {  // J97
  constexpr std::size_t kCapacity = 1024;
  constexpr int kTokens = VIA_SLOW != 0 ? 50'000 : 1'000'000;
  TokenCache cache(kCapacity);
  const auto keys = empty_set();
  const std::string hot = "the.hot.token";
  cache.insert(hot, keys, until(100));
  for (int i = 0; i < kTokens; ++i) {
    cache.insert("header.payload." + std::to_string(i), keys, until(100));
    if (i % 512 == 0) {
      ASSERT_NE(cache.find(hot, keys.get(), 1), nullptr) << i;
    }
  }
  EXPECT_EQ(cache.size(), kCapacity);
  EXPECT_NE(cache.find("header.payload." + std::to_string(kTokens - 1), keys.get(), 1), nullptr);
  EXPECT_EQ(cache.find("header.payload.0", keys.get(), 1), nullptr);
}

TEST(TokenCache, TheOldestUnusedOneGoesFirst) {
  TokenCache cache(3);
  const auto keys = empty_set();
  for (const char* token : {"1", "2", "3"}) cache.insert(token, keys, until(100));
  EXPECT_NE(cache.find("1", keys.get(), 1), nullptr);
  cache.insert("4", keys, until(100));
  EXPECT_NE(cache.find("1", keys.get(), 1), nullptr);
  EXPECT_EQ(cache.find("2", keys.get(), 1), nullptr);
  EXPECT_EQ(cache.size(), 3U);
}

TEST(TokenCache, StoresNothingLongerThanAToken) {
  TokenCache cache(3);
  const auto keys = empty_set();
  EXPECT_NE(cache.insert(std::string(8193, 'x'), keys, until(100)), nullptr);
  EXPECT_EQ(cache.size(), 0U);
}

TEST(TokenCache, ZeroCapacityHoldsOne) {
  TokenCache cache(0);
  const auto keys = empty_set();
  cache.insert("1", keys, until(100));
  cache.insert("2", keys, until(100));
  EXPECT_EQ(cache.size(), 1U);
}

TEST(TokenCache, TheSameTokenTwiceIsOneEntry) {
  TokenCache cache(4);
  const auto keys = empty_set();
  cache.insert("1", keys, until(100, "a"));
  cache.insert("1", keys, until(200, "b"));
  EXPECT_EQ(cache.size(), 1U);
  EXPECT_EQ(cache.find("1", keys.get(), 150)->id, "b");
}

TEST_F(TokenTest, RevocationReachesTheCacheBeforeRevokeReturns) {
  TokenCache cache;
  const std::string first = kid();
  ASSERT_TRUE(keys->rotate());
  const std::string token = good();
  auto under = keys->current();
  cache.insert(token, under, *verifier->verify(token));
  EXPECT_NE(cache.peek(token, keys->peek(), now()), nullptr);
  ASSERT_TRUE(keys->revoke(first));
  EXPECT_EQ(cache.peek(token, keys->peek(), now()), nullptr);
  EXPECT_EQ(keys->peek(), keys->current().get());
}

TEST_F(TokenTest, RevocationBetweenVerifyAndInsertIsNotOutrun) {
  TokenCache cache;
  const std::string token = good();
  const std::string first = kid();
  ASSERT_TRUE(keys->rotate());
  const auto under = keys->current();
  const auto claims = verifier->verify(token, *under);
  ASSERT_TRUE(claims);
  ASSERT_TRUE(keys->revoke(first));
  cache.insert(token, under, *claims);
  EXPECT_EQ(cache.find(token, keys->peek(), now()), nullptr);
  EXPECT_EQ(verifier->verify(token, *keys->current()).error().code, Code::token_signature);
}

TEST_F(TokenTest, VerifiersAndRotationsRunSideBySide) {
  const std::string token = good();
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      TokenCache cache;
      while (!stop) {
        if (cache.find(token, keys->peek(), now()) != nullptr) continue;
        const auto current = keys->current();
        const auto claims = verifier->verify(token, *current);
        if (!claims) {
          ++refused;
          continue;
        }
        cache.insert(token, current, *claims);
      }
    });
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(keys->rotate());
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(refused, 0);
}

}  // namespace
}  // namespace via::identity::test
