// What a plan may show of the host.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include <gtest/gtest.h>

#include "core/sandbox/sandbox.hpp"
#include "support/fakes.hpp"

namespace via::sandbox {
namespace {

namespace fs = std::filesystem;

class PlanCheck : public ::testing::Test {
 protected:
  void SetUp() override {
    ::chmod(root.path().c_str(), 0755);
    for (const char* name : {"state", "state/keys", "work"}) {
      fs::create_directory(root.path() / name);
      ::chmod((root.path() / name).c_str(), 0755);
    }
    means.root = true;
    plan.uid = plan.gid = 61184;
    plan.state_dir = root.path() / "state";
    plan.working_folder = root.path() / "work";
  }
  test::TemporaryFolder root;
  Means means;
  Plan plan;
};

TEST_F(PlanCheck, RefusesEveryWayToShowTheStateFolder) {
  EXPECT_TRUE(check(means, plan, "/bin/sh"));
  for (const fs::path& folder : {root.path(), root.path() / "state", root.path() / "state/keys", root.path() / "work/../state"}) {
    Plan bad = plan;
    bad.working_folder = folder;
    EXPECT_FALSE(check(means, bad, "/bin/sh")) << folder;
    bad = plan;
    bad.readable = {folder};
    EXPECT_FALSE(check(means, bad, "/bin/sh")) << folder;
  }
  Plan above = plan;
  above.readable = {root.path().parent_path()};
  EXPECT_FALSE(check(means, above, "/bin/sh")) << "to be run in it means the app's own /tmp, to read it the host's";
  fs::create_directory_symlink(root.path() / "state", root.path() / "link");
  Plan linked = plan;
  linked.working_folder = root.path() / "link";
  EXPECT_FALSE(check(means, linked, "/bin/sh")) << "a link to it";
  EXPECT_FALSE(check(means, plan, root.path() / "state/program"));
}

TEST_F(PlanCheck, RefusesFoldersThatHoldEverybodysThings) {
  for (const char* folder : {"/root", "/home", "/etc", "/var", "/proc", "/sys", "/dev", "/run"}) {
    Plan bad = plan;
    bad.readable = {folder};
    EXPECT_FALSE(check(means, bad, "/bin/sh")) << folder;
  }
}

TEST_F(PlanCheck, SaysWhatTheAppsUserCannotReadBeforeItIsLaunched) {
  ::chmod((root.path() / "work").c_str(), 0700);
  const auto told = check(means, plan, "/bin/sh");
  ASSERT_FALSE(told);
  EXPECT_NE(told.error().message.find("chmod o+rX"), std::string::npos) << told.error().message;
  means.root = false;
  EXPECT_TRUE(check(means, plan, "/bin/sh")) << "without users of their own it is the host's user who reads";
}

}  // namespace
}  // namespace via::sandbox
