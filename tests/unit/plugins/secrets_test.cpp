#include "core/plugins/secret_box.hpp"

#include <gtest/gtest.h>

#include "support/fakes.hpp"

namespace via::plugins {
namespace {

struct SecretBoxTest : ::testing::Test {
  via::test::FakeEntropy entropy;
  SecretBox box{Secret(std::string(32, 'k')), entropy};
};

TEST_F(SecretBoxTest, WhatWasSealedIsUnsealed) {
  for (const std::string& plain : {std::string(), std::string("x"), std::string("\0\xff", 2), std::string(100'000, 'y')}) {
    const auto sealed = box.seal("addon:1", "aad", plain);
    ASSERT_TRUE(sealed);
    EXPECT_EQ(sealed->size(), plain.size() + 29);
    EXPECT_EQ(sealed->at(0), 1) << "the version byte";
    const auto opened = box.unseal("addon:1", "aad", *sealed);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->reveal(), plain);
  }
}

TEST_F(SecretBoxTest, EveryChangedByteIsRefused) {
  const std::string sealed = *box.seal("p", "aad", "a secret of some length");
  for (std::size_t i = 0; i < sealed.size(); ++i)
    for (const int bit : {1, 0x80}) {
      std::string changed = sealed;
      changed[i] = static_cast<char>(changed[i] ^ bit);
      EXPECT_FALSE(box.unseal("p", "aad", changed)) << i;
    }
  for (std::size_t n = 0; n < sealed.size(); ++n) EXPECT_FALSE(box.unseal("p", "aad", sealed.substr(0, n))) << n;
  EXPECT_FALSE(box.unseal("p", "aad", sealed + "x"));
}

TEST_F(SecretBoxTest, AnotherPurposeAadOrMasterKeyDoesNotOpenIt) {
  const std::string sealed = *box.seal("p", "aad", "plain");
  EXPECT_FALSE(box.unseal("q", "aad", sealed));
  EXPECT_FALSE(box.unseal("p", "add", sealed));
  EXPECT_FALSE(box.unseal("p", "", sealed));
  SecretBox other(Secret(std::string(32, 'l')), entropy);
  EXPECT_FALSE(other.unseal("p", "aad", sealed));
  SecretBox same(Secret(std::string(32, 'k')), entropy);
  EXPECT_TRUE(same.unseal("p", "aad", sealed));
}

TEST_F(SecretBoxTest, ACredentialIsTheSameAgainAndItsOwnForEachBindingGenerationAndMasterKey) {
  const SecretBox other{Secret(std::string(32, 'o')), entropy};
  const std::string one(box.credential("bind_1", 1)->reveal());
  EXPECT_EQ(one.size(), 43U);
  EXPECT_EQ(one.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), std::string::npos);
  EXPECT_EQ(box.credential("bind_1", 1)->reveal(), one);
  for (const auto& [binding, generation] : {std::pair("bind_1", 2U), {"bind_2", 1U}, {"bind_1/1", 1U}, {"bind_11", 1U}, {"bind_1", 11U}})
    EXPECT_NE(box.credential(binding, generation)->reveal(), one) << binding << " " << generation;
  EXPECT_NE(other.credential("bind_1", 1)->reveal(), one);
}

TEST_F(SecretBoxTest, TheSamePlaintextNeverGivesTheSameBox) {
  EXPECT_NE(*box.seal("p", "a", "same"), *box.seal("p", "a", "same"));
}

}  // namespace
}  // namespace via::plugins
