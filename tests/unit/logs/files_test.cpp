// The files of a log: how they follow one another, what is kept, what is never written on.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <set>

#include <gtest/gtest.h>

#include "core/logs/files.hpp"
#include "core/logs/record.hpp"
#include "support/fakes.hpp"

namespace via::logs::test {
namespace {

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct LogFiles : ::testing::Test {
  LogFiles() { limits.max_bytes = 200'000; }
  std::string record(const std::string& text) {
    std::string out;
    append_record(out, format_time(clock.unix_ms()), Stream::out, false, text);
    return out;
  }
  void put(LogFile& file, const std::string& text, std::size_t instances = 1) {
    std::size_t written = 0;
    const auto done = file.append(text, instances, written);
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(written, text.size());
  }
  fs::path base() const { return folder.path() / "ins_a.log"; }
  std::vector<std::uint64_t> numbers() const {
    const auto all = numbers_in(folder.path());
    const auto found = all.find("ins_a.log");
    return found == all.end() ? std::vector<std::uint64_t>{} : found->second;
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& entry : fs::directory_iterator(folder.path())) sum += entry.is_regular_file() ? entry.file_size() : 0;
    return sum;
  }
  via::test::TemporaryFolder folder;
  via::test::FakeClock clock;
  Limits limits;
};

TEST_F(LogFiles, NextOneBeginsWhenOneIsFullAndTheOldestGoes) {
  limits.files = 3;
  LogFile file(base(), clock, limits);
  const std::string one = record(std::string(16'000, 'x'));
  for (int i = 0; i < 100; ++i) {
    put(file, one);
    ASSERT_LE(bytes(), limits.max_bytes * 3);
  }
  EXPECT_EQ(numbers(), (std::vector<std::uint64_t>{7, 8, 9}));
  for (const auto number : numbers()) {
    struct stat st {};
    ASSERT_EQ(::stat(file_of(base(), number).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777U, 0600U);
    EXPECT_TRUE(text_of(file_of(base(), number)).ends_with('\n'));
  }
}

TEST_F(LogFiles, ABatchIsSplitBetweenRecords) {
  LogFile file(base(), clock, limits);
  std::string batch;
  for (int i = 0; i < 50; ++i) batch += record(std::string(10'000, 'y') + std::to_string(i));
  put(file, batch);
  std::string all;
  for (const auto number : numbers()) {
    const std::string text = text_of(file_of(base(), number));
    EXPECT_LE(text.size(), limits.max_bytes);
    EXPECT_TRUE(text.ends_with('\n'));
    all += text;
  }
  EXPECT_EQ(all, batch);
}

TEST_F(LogFiles, InstancesOfAnAppShareItsBytes) {
  limits.max_bytes = 10 << 20;
  limits.app_bytes = 20 << 20;
  LogFile file(base(), clock, limits);
  const std::string one = record(std::string(16'000, 'x'));
  for (int i = 0; i < 1000; ++i) put(file, one, 16);
  EXPECT_LE(bytes(), limits.app_bytes / 16);
  EXPECT_EQ(numbers().size(), 5U);
}

TEST_F(LogFiles, LinesOfVeryDifferentAgeAreNotInOneFile) {
  LogFile file(base(), clock, limits);
  put(file, record("old"));
  clock.advance_ms(33LL * 3'600'000);
  put(file, record("still"));
  clock.advance_ms(3'600'000);  // over a fifth of seven days
  put(file, record("new"));
  EXPECT_EQ(numbers(), (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(LogFiles, ARestartWritesOnAndMendsATornEnd) {
  {
    LogFile file(base(), clock, limits);
    put(file, record("one"));
  }
  std::ofstream(file_of(base(), 1), std::ios::app) << "2026-11-29T18:20:54.123Z stdout F hal";
  LogFile again(base(), clock, limits);
  put(again, record("two"));
  EXPECT_EQ(numbers(), std::vector<std::uint64_t>{1});
  EXPECT_EQ(text_of(file_of(base(), 1)), record("one") + "2026-11-29T18:20:54.123Z stdout F hal\n" + record("two"));
}

TEST_F(LogFiles, WhatIsNotAFileOfOursIsNeverWrittenOn) {
  const fs::path victim = folder.path() / "victim";
  std::ofstream(victim) << "mine";
  fs::create_symlink(victim, file_of(base(), 1));
  fs::create_symlink(folder.path() / "missing", file_of(base(), 2));
  fs::create_hard_link(victim, file_of(base(), 3));
  fs::create_directory(file_of(base(), 4));
  ASSERT_EQ(::mkfifo(file_of(base(), 5).c_str(), 0666), 0);
  LogFile file(base(), clock, limits);
  put(file, record("one"));
  EXPECT_EQ(text_of(file_of(base(), 6)), record("one"));
  EXPECT_EQ(text_of(victim), "mine");
  EXPECT_FALSE(fs::exists(folder.path() / "missing"));
}

TEST_F(LogFiles, APlaceTakenMeanwhileIsPassedOver) {
  LogFile file(base(), clock, limits);
  put(file, record("one"));
  fs::create_symlink(folder.path() / "missing", file_of(base(), 2));
  for (int i = 0; i < 20; ++i) put(file, record(std::string(16'000, 'x')));
  EXPECT_FALSE(fs::exists(folder.path() / "missing"));
  EXPECT_TRUE(fs::exists(file_of(base(), 3)));
}

TEST_F(LogFiles, AFileThatWasRemovedIsFollowedByAnother) {
  LogFile file(base(), clock, limits);
  put(file, record("one"));
  fs::remove(file_of(base(), 1));
  put(file, record("two"));
  EXPECT_EQ(text_of(file_of(base(), 2)), record("two"));
}

// The disk is full for files over a size: RLIMIT_FSIZE gives a short write, then an error.
TEST_F(LogFiles, AFullDiskLeavesWholeRecordsAndTellsHowFarItCame) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    LogFile file(base(), clock, limits);
    std::size_t written = 0;
    bool good = static_cast<bool>(file.append(record("one"), 1, written));
    const rlimit small{500, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &small);
    good = good && !file.append(record(std::string(1000, 'z')), 1, written) && written == 0;
    good = good && !file.append(record(std::string(1000, 'z')), 1, written) && written == 0;
    const rlimit none{RLIM_INFINITY, RLIM_INFINITY};
    ::setrlimit(RLIMIT_FSIZE, &none);
    good = good && file.append(record("two"), 1, written);
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(text_of(file_of(base(), 1)), record("one") + record("two"));
}

// Whatever the moment: the files follow one another, one write is cut short at most, and the next start writes on behind it.
TEST_F(LogFiles, AKillInTheMiddleLosesAtMostTheLastWrite) {
  limits.files = 3;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      LogFile file(base(), clock, limits);
      const std::string one = record(std::string(8'000, 'k'));
      std::size_t written = 0;
      for (int i = 0;; ++i) {
        if (!file.append(one, 1, written)) ::_exit(1);
        if (i == 5 + round * 3 && ::write(ends[1], "x", 1) != 1) ::_exit(1);
      }
    }
    ::close(ends[1]);
    char c = 0;
    EXPECT_EQ(::read(ends[0], &c, 1), 1);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ::close(ends[0]);
    EXPECT_TRUE(WIFSIGNALED(status));
    const auto there = numbers();
    ASSERT_FALSE(there.empty());
    EXPECT_LE(there.size(), 4U) << "one more, killed before the oldest was removed";
    for (std::size_t i = 1; i < there.size(); ++i) EXPECT_EQ(there[i], there[i - 1] + 1);
    for (const auto number : there) {
      const std::string text = text_of(file_of(base(), number));
      EXPECT_LE(text.size(), limits.max_bytes);
      const std::string one = record(std::string(8'000, 'k'));
      for (std::size_t at = 0; at < text.size();) {  // whole, or the beginning of one that was killed
        const std::size_t end = std::min(text.find('\n', at), text.size());
        EXPECT_TRUE(std::string_view(one).starts_with(std::string_view(text).substr(at, end - at)));
        at = end + 1;
      }
    }
  }
}

TEST_F(LogFiles, TrimRemovesWhatIsTooOldOverTheAppsBytesOrOfNobody) {
  const auto make = [&](const std::string& name, std::size_t size, int hours_ago) {
    const fs::path path = folder.path() / name;
    std::ofstream(path) << std::string(size, 'x');
    const timespec at{clock.unix_ms() / 1000 - hours_ago * 3600LL, 0};
    const timespec both[2] = {at, at};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), both, 0), 0);
  };
  make("ins_a.log.1", 10, 200);   // too old
  make("ins_a.log.2", 4000, 50);  // closed, the oldest: goes for the bytes
  make("ins_a.log.3", 10, 1);
  make("ins_b.log.7", 10, 400);   // old, but the last of an instance that ended
  make("ins_c.log.1", 10, 1);     // of an app that is gone
  make("ins_c.log", 10, 1);
  make("ins_d.log.1", 9000, 900);  // written to, whatever its size
  make("notes.txt", 10, 900);
  limits.app_bytes = 3000;
  const Trimmed done = trim(folder.path(), numbers_in(folder.path()), {{{{"ins_a.log", true}, {"ins_b.log", false}}}, {{{"ins_d.log", true}}}}, limits, clock.unix_ms());
  EXPECT_EQ(done.files, 5U) << "ins_b too: it is older than ins_a.log.2";
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path())) left.insert(entry.path().filename());
  EXPECT_EQ(left, (std::set<std::string>{"ins_a.log.3", "ins_d.log.1", "notes.txt"}));
  make("ins_b.log.7", 10, 400);
  EXPECT_EQ(trim(folder.path(), numbers_in(folder.path()), {{{{"ins_a.log", true}, {"ins_b.log", false}}}, {{{"ins_d.log", true}}}}, limits, clock.unix_ms()).files, 0U);
  remove_log(folder.path() / "ins_a.log");
  EXPECT_FALSE(fs::exists(folder.path() / "ins_a.log.3"));
  EXPECT_TRUE(fs::exists(folder.path() / "ins_b.log.7"));
}

}  // namespace
}  // namespace via::logs::test
