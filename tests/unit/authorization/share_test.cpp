// Shares in the index, and how often one may be used.
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "core/authorization/authority.hpp"

namespace via::authorization::test {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;

std::shared_ptr<const ShareGrant> share(const std::string& id) {
  auto out = std::make_shared<ShareGrant>();
  out->id = id;
  out->hash = sha256(id);
  return out;
}

TEST(Shares, AreFoundByTheirHashUntilTheyEnd) {
  Authority authority;
  std::vector<std::string> quiet;
  authority.set_listener({[](const auto&) {}, [&](const std::vector<std::string>& ids) { quiet = ids; }});
  const auto one = share("share_1"), two = share("share_2");
  Change change;
  change.shares = {one, two};
  (void)authority.publish(std::move(change));
  const auto before = authority.current();
  EXPECT_EQ(before->find_share(one->hash), one);
  EXPECT_EQ(before->find_share(sha256("share_3")), nullptr);
  Change end;
  end.unshared = {one};
  end.takes_away = true;
  authority.quiesce(authority.publish(std::move(end)));
  EXPECT_EQ(authority.current()->find_share(one->hash), nullptr);
  EXPECT_EQ(authority.current()->find_share(two->hash), two);
  EXPECT_EQ(before->find_share(one->hash), one) << "a published index never changes";
  EXPECT_EQ(quiet, std::vector<std::string>{"share_1"}) << "what runs under it has ended before it is said";
  authority.replace_all({}, {one});
  EXPECT_EQ(authority.current()->find_share(one->hash), one);
  EXPECT_EQ(authority.current()->find_share(two->hash), nullptr);
}

TEST(ShareUse, AllowsASecondsWorthAtOnceAndThenItsRate) {
  ShareUse use(10);
  std::uint64_t now = 1000 * kSecond;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(use.admit(now, 1)) << i;
  EXPECT_FALSE(use.admit(now, 2));
  EXPECT_EQ(use.last_used_at(), 1) << "a refusal is no use";
  now += kSecond / 10;
  EXPECT_TRUE(use.admit(now, 3));
  EXPECT_FALSE(use.admit(now, 4));
  now += 100 * kSecond;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(use.admit(now, 5)) << "time without use is not saved up: " << i;
  EXPECT_FALSE(use.admit(now, 6));
}

TEST(ShareUse, OneASecondIsOneASecond) {
  ShareUse use(1);
  EXPECT_TRUE(use.admit(5 * kSecond, 1));
  EXPECT_FALSE(use.admit(5 * kSecond, 1));
  EXPECT_FALSE(use.admit(6 * kSecond - 1, 1));
  EXPECT_TRUE(use.admit(6 * kSecond, 1));
}

TEST(ShareUse, ThreadsTogetherGetNoMore) {
  ShareUse use(1000);
  std::atomic<int> admitted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 5000; ++n) admitted += use.admit(kSecond, 1) ? 1 : 0;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(admitted, 1000);
}

}  // namespace
}  // namespace via::authorization::test
