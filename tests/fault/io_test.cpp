// kill -9, EIO, ENOSPC and short writes at every file and database call of every lifecycle operation. VIA_FAULT_ALL=1
// runs all of them and prints the table (VIA_FAULT_ALL=kill: all kills); VIA_FAULT_ONLY="EIO: fsync . #2" that one;
// otherwise a few, from a seed that is printed.
#include <algorithm>

#include "fault/io_fault.hpp"

namespace via::test {
namespace {

class IoFaults : public IoFault, public ::testing::WithParamInterface<std::size_t> {};

TEST_P(IoFaults, LeaveTheOldStateOrTheNewAndTheNextStartFinishes) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own interception of libc comes before the shim's";
#endif
  run(io_cases()[GetParam()]);
}

std::string case_name(const ::testing::TestParamInfo<std::size_t>& about) {
  std::string name = io_cases()[about.param].name;
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '.' || c == '-' || c == ' '; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Of, IoFaults, ::testing::Range<std::size_t>(0, io_cases().size()), case_name);

}  // namespace
}  // namespace via::test
