#include <map>
#include <random>
#include <thread>

#include "world.hpp"

namespace via::authorization::test {
namespace {

TEST(Authority, TheIndexIsWhatAMapWouldBeAfterAnySequenceOfChanges) {
  Authority authority;
  std::map<std::string, std::shared_ptr<const InstanceGrant>> model;
  std::mt19937 random(3);  // NOLINT: repeatable
  const auto id = [&] { return "ins_" + std::to_string(random() % 400); };
  const auto check = [&](const Index& index) {
    ASSERT_EQ(index.size(), model.size());
    for (int i = 0; i < 400; ++i) {
      const std::string name = "ins_" + std::to_string(i);
      const auto it = model.find(name);
      ASSERT_EQ(index.find(name), it == model.end() ? nullptr : it->second.get()) << name;
      ASSERT_EQ(index.share(name), it == model.end() ? nullptr : it->second) << name;
    }
  };
  for (int step = 0; step < 400; ++step) {
    if (step % 97 == 50) {
      std::vector<std::shared_ptr<const InstanceGrant>> all;
      model.clear();
      for (int i = 0; i < 100; ++i) {
        auto grant = Parts::instance(id());
        model[grant->instance] = grant;
      }
      for (const auto& [name, grant] : model) all.push_back(grant);
      authority.replace_all(all);
    } else {
      Change change;
      const auto before = authority.current();
      const auto model_before = model;
      for (unsigned i = random() % 4; i > 0; --i) {
        auto grant = Parts::instance(id());
        model[grant->instance] = grant;
        change.granted.push_back(grant);
      }
      for (unsigned i = static_cast<unsigned>(random()) % 3; i > 0; --i) {
        const std::string gone = id();
        model.erase(gone);
        std::erase_if(change.granted, [&](const auto& g) { return g->instance == gone; });
        change.removed.push_back(gone);
      }
      (void)authority.publish(std::move(change));
      ASSERT_EQ(before->size(), model_before.size()) << "a published index never changes";
    }
    check(*authority.current());
  }
}

TEST(Authority, WhatTakesAwayIsDeliveredAndThenQuiesced) {
  Authority authority;
  std::vector<std::string> calls;
  authority.set_listener({[&](auto index) {
                            calls.push_back("deliver " + std::to_string(index->size()));
                            EXPECT_EQ(authority.current(), index) << "current() has it already";
                          },
                          [&](const auto& ids) {
                            std::string line = "quiesce";
                            for (const auto& id : ids) line += " " + id;
                            calls.push_back(line);
                          }});
  Change give;
  give.granted = {Parts::instance("ins_1"), Parts::instance("ins_2")};
  EXPECT_TRUE(authority.publish(std::move(give)).empty()) << "nothing ended";
  Change take;
  take.granted = {Parts::instance("ins_2")};
  take.removed = {"ins_1"};
  take.takes_away = true;
  const auto ended = authority.publish(std::move(take));
  authority.replace_all({});
  EXPECT_EQ(calls, (std::vector<std::string>{"deliver 2", "deliver 1", "deliver 0"})) << "the caller waits when it holds nothing";
  authority.quiesce(ended);
  EXPECT_EQ(calls.back(), "quiesce ins_2 ins_1");
  authority.set_listener({});
  (void)authority.publish({});
  authority.quiesce(ended);
  EXPECT_EQ(calls.size(), 4U);
}

TEST(Authority, ReadersSeeWholeIndexesWhileTheyAreReplaced) {
  Authority authority;
  // Two instances are always granted together.
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r)
    readers.emplace_back([&] {
      while (!stop) {
        const auto index = authority.current();
        EXPECT_EQ(index->find("ins_a") != nullptr, index->find("ins_b") != nullptr);
      }
    });
  for (int i = 0; i < 500; ++i) {
    Change change;
    if (i % 2 == 0)
      change.granted = {Parts::instance("ins_a"), Parts::instance("ins_b")};
    else
      change.removed = {"ins_a", "ins_b"};
    (void)authority.publish(std::move(change));
  }
  stop = true;
  for (auto& reader : readers) reader.join();
}

}  // namespace
}  // namespace via::authorization::test
