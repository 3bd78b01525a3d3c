#include "core/lifecycle/applied_binding.hpp"

#include <gtest/gtest.h>

namespace via::lifecycle {
namespace {

constexpr const char* kBinding = "bind_01jd5qk7m8x900000000000000";

plugins::AppliedCredential applied(const std::string& id, std::uint32_t generation) { return {ulid_of(id), generation}; }

bindings::Binding binding(std::vector<bindings::Generation> generations) {
  bindings::Binding out;
  out.id = kBinding;
  out.name = "DATABASE";
  out.app = "api";
  out.generations = std::move(generations);
  return out;
}

TEST(CompareCredentials, FindsWhatIsGoneAndWhatCameBack) {
  const std::vector<bindings::Binding> bound = {binding({{1, false, 0}, {2, true, 0}, {3, true, 0}})};
  const auto right = compare_credentials(bound, {applied(kBinding, 2), applied(kBinding, 3)});
  EXPECT_TRUE(right.missing.empty());
  EXPECT_TRUE(right.revived.empty());

  const std::string stranger = "bind_01jd5qk7m8x911111111111111";
  const auto wrong = compare_credentials(bound, {applied(kBinding, 1), applied(kBinding, 3), applied(stranger, 4)});
  ASSERT_EQ(wrong.missing.size(), 1U);
  EXPECT_EQ(wrong.missing[0].generation, 2U);
  EXPECT_EQ(wrong.missing[0].binding, "DATABASE");
  ASSERT_EQ(wrong.revived.size(), 2U);
  EXPECT_EQ(wrong.revived[0].generation, 1U);
  EXPECT_EQ(wrong.revived[0].app, "api");
  EXPECT_EQ(wrong.revived[1].binding_id, stranger) << "of a binding that is not known here";
  EXPECT_EQ(wrong.revived[1].binding, "");
}

TEST(LeftBehind, IsReadFromTheDetailsOfAnErrorAndFromNothingElse) {
  Error error = fail(Code::unavailable, "gone");
  EXPECT_TRUE(left_behind_of(error).empty());
  error.details = R"("sqlstate":"08006","left_behind":["role x on server 'main'",7])";
  EXPECT_EQ(left_behind_of(error), std::vector<std::string>{"role x on server 'main'"});
  error.details = R"("left_behind":"role x")";
  EXPECT_TRUE(left_behind_of(error).empty());
}

}  // namespace
}  // namespace via::lifecycle
