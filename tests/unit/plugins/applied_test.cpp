#include "core/plugins/applied.hpp"

#include <gtest/gtest.h>

namespace via::plugins {
namespace {

TEST(AppliedCredentials, AreReadFromWhatHealthLists) {
  const auto some = applied_credentials(R"({"state":"ok","checks":[],"credentials":[{"binding":"01jd5qk7m8x900000000000000","generation":1},
                                           {"binding":"01jd5qk7m8x900000000000000","generation":7}]})");
  ASSERT_TRUE(some);
  ASSERT_EQ(some->size(), 2U);
  EXPECT_EQ(to_text((*some)[0].binding), "01jd5qk7m8x900000000000000");
  EXPECT_EQ((*some)[1].generation, 7U);
  EXPECT_TRUE(applied_credentials(R"({"credentials":[]})")) << "none is an answer";
}

TEST(AppliedCredentials, AnAnswerOfAnotherFormSaysNothing) {
  for (const char* said : {"", "x", "[]", R"({"state":"ok"})", R"({"credentials":{}})", R"({"credentials":[1]})", R"({"credentials":[{"binding":"x","generation":1}]})",
                           R"({"credentials":[{"binding":"01jd5qk7m8x900000000000000"}]})", R"({"credentials":[{"binding":"01jd5qk7m8x900000000000000","generation":-1}]})",
                           R"({"credentials":[{"binding":7,"generation":1}]})",
                           R"({"credentials":[{"binding":"01jd5qk7m8x900000000000000","generation":4294967297}]})"})
    EXPECT_FALSE(applied_credentials(said)) << said;
}

}  // namespace
}  // namespace via::plugins
