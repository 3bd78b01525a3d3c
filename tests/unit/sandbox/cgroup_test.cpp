// Control groups on a folder that looks like the kernel's: v2 as a delegated unit has it, v1 as a container has it, and neither.
#include <sys/stat.h>

#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "core/sandbox/cgroup.hpp"
#include "support/fakes.hpp"

namespace via::sandbox {
namespace {

namespace fs = std::filesystem;

class CgroupFiles : public ::testing::Test {
 protected:
  // A plain folder does not make the kernel's files by itself.
  void files(const fs::path& folder, const std::vector<std::string>& names) {
    fs::create_directories(folder);
    for (const auto& name : names) std::ofstream(folder / name);
  }
  void write(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string read(const fs::path& file) {
    std::ifstream in(file);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }
  test::TemporaryFolder root;
  fs::path mount() const { return root.path() / "cgroup"; }
  fs::path own() const { return root.path() / "self"; }
};

TEST_F(CgroupFiles, V2IsDividedBelowTheUnitsOwnGroup) {
  const fs::path unit = mount() / "system.slice/via.service";
  write(own(), "0::/system.slice/via.service\n");
  write(mount() / "cgroup.controllers", "cpu memory pids\n");
  write(unit / "cgroup.controllers", "cpu memory pids\n");
  files(unit, {"cgroup.subtree_control"});
  files(unit / "via-host", {"cgroup.procs"});
  const Cgroups groups = Cgroups::find(mount(), own());
  ASSERT_EQ(groups.kind(), Cgroups::Kind::v2);
  EXPECT_EQ(read(unit / "via-host/cgroup.procs"), std::to_string(::getpid())) << "the host leaves the inner node";
  files(unit / "app-ins_1", {"cgroup.procs", "memory.max", "memory.swap.max", "pids.max", "cpu.max"});
  auto group = groups.make("ins_1", {64 << 20, 50, 16, 0});
  ASSERT_TRUE(group);
  EXPECT_EQ(read(unit / "app-ins_1/memory.max"), "67108864");
  EXPECT_EQ(read(unit / "app-ins_1/memory.swap.max"), "0");
  EXPECT_EQ(read(unit / "app-ins_1/pids.max"), "16");
  EXPECT_EQ(read(unit / "app-ins_1/cpu.max"), "50000 100000");
  EXPECT_EQ((*group)->doors().size(), 1U);
  EXPECT_FALSE((*group)->ran_out_of_memory());
  write(unit / "app-ins_1/memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n");
  EXPECT_TRUE((*group)->ran_out_of_memory());
}

TEST_F(CgroupFiles, V1NeedsMemoryAndProcesses) {
  write(own(), "5:pids:/\n4:memory:/box\n3:cpu,cpuacct:/\n0::/\n");
  for (const char* folder : {"memory/box/via", "pids/via"}) files(mount() / folder, {"cgroup.procs"});
  const Cgroups groups = Cgroups::find(mount(), own());
  ASSERT_EQ(groups.kind(), Cgroups::Kind::v1);
  files(mount() / "memory/box/via/app-i", {"cgroup.procs", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"});
  files(mount() / "pids/via/app-i", {"cgroup.procs", "pids.max"});
  auto group = groups.make("i", {32 << 20, 0, 8, 0});
  ASSERT_TRUE(group);
  EXPECT_EQ(read(mount() / "memory/box/via/app-i/memory.limit_in_bytes"), "33554432");
  EXPECT_EQ(read(mount() / "pids/via/app-i/pids.max"), "8");
  EXPECT_EQ((*group)->doors().size(), 2U);
  write(mount() / "memory/box/via/app-i/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
  EXPECT_TRUE((*group)->ran_out_of_memory());
}

TEST_F(CgroupFiles, WhereNoneMayBeWrittenThereAreNone) {
  write(own(), "0::/\n");
  EXPECT_EQ(Cgroups::find(mount(), own()).kind(), Cgroups::Kind::none);
  auto group = Cgroups::find(mount(), own()).make("x", {});
  ASSERT_TRUE(group);
  EXPECT_EQ(*group, nullptr);
}

TEST_F(CgroupFiles, ALimitThatCannotBeSetIsAnErrorAndNoGroupWithoutIt) {
  write(own(), "5:pids:/\n4:memory:/\n");
  for (const char* folder : {"memory/via", "pids/via"}) files(mount() / folder, {"cgroup.procs"});
  const Cgroups groups = Cgroups::find(mount(), own());
  ASSERT_EQ(groups.kind(), Cgroups::Kind::v1);
  EXPECT_FALSE(groups.make("no-files", {32 << 20, 0, 0, 0}));
}

}  // namespace
}  // namespace via::sandbox
