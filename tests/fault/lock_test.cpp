// The lock of a state folder when its holder is killed at an unlucky moment.
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "core/base/files.hpp"
#include "support/fakes.hpp"

namespace via::test {
namespace {

// A holder that forks a child, as the runner does, and dies before the child has let go of what it inherited.
TEST(StateLock, OfADeadHolderIsWaitedForWhileItsChildStillHasIt) {
  const TemporaryFolder folder;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t holder = ::fork();
  if (holder == 0) {
    const auto lock = via::StateLock::take(folder.path());
    if (!lock) ::_exit(1);
    if (::fork() == 0) {
      (void)!::write(ready[1], "x", 1);
      ::poll(nullptr, 0, 300);
      ::_exit(0);
    }
    char byte = 0;
    (void)!::read(ready[0], &byte, 1);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(holder, &status, 0), holder);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(via::StateLock::take(folder.path())) << "the next start needs no hand";
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(StateLock, OfALivingHolderIsRefusedAtOnce) {
  const TemporaryFolder folder;
  const auto lock = via::StateLock::take(folder.path());
  ASSERT_TRUE(lock);
  const auto second = via::StateLock::take(folder.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::conflict);
}

}  // namespace
}  // namespace via::test
