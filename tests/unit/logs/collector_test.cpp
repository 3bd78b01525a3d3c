// The collector with real pipes and files; time and what the disk does are the test's. Nothing asserts how long something takes.
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "core/logs/collector.hpp"
#include "core/logs/reader.hpp"
#include "support/fakes.hpp"

namespace via::logs::test {
namespace {

constexpr int kLimit = 30'000;

bool eventually(const std::function<bool()>& condition) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kLimit);
  while (std::chrono::steady_clock::now() < limit) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return false;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    ASSERT_GT(n, 0) << std::strerror(errno);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

struct LogCollector : ::testing::Test {
  void SetUp() override { make(); }
  void make(std::function<int()> before_write = {}) {
    collector.reset();
    collector = std::make_unique<Collector>(
        clock, log, limits,
        [this](const std::string& app, std::string_view why, std::uint64_t lines) {
          const std::lock_guard lock(mutex);
          dropped[app + " " + std::string(why)] += lines;
        },
        std::move(before_write));
  }
  Collector::Run run(const std::string& instance = "ins_a", const std::string& app = "api") {
    auto opened = collector->open(app, instance, folder.path() / (instance + ".log"));
    EXPECT_TRUE(opened);
    return std::move(*opened);
  }
  std::uint64_t count(const std::string& what) {
    const std::lock_guard lock(mutex);
    return dropped[what];
  }
  std::vector<Line> lines(const std::string& instance = "ins_a") {
    Query query;
    query.sources = {{instance, true}};
    query.most = 1'000'000;
    std::vector<Line> out;
    for (;;) {
      Answer answer = read_logs(folder.path(), query, clock.unix_ms());
      for (Line& line : answer.lines) out.push_back(std::move(line));
      if (!answer.more) return out;
      query.cursor = answer.cursor;
    }
  }
  std::string texts(const std::string& instance = "ins_a") {
    std::string out;
    for (const Line& line : lines(instance)) out += std::string(to_string(line.stream)) + (line.cut ? "+" : "") + ":" + line.text + "\n";
    return out;
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (const auto& entry : fs::directory_iterator(folder.path())) sum += entry.file_size();
    return sum;
  }

  via::test::TemporaryFolder folder;
  via::test::FakeClock clock;
  std::shared_ptr<std::vector<std::string>> said = std::make_shared<std::vector<std::string>>();
  Logger log{said};
  Limits limits;
  std::mutex mutex;
  std::map<std::string, std::uint64_t> dropped;
  std::unique_ptr<Collector> collector;
};

TEST_F(LogCollector, KeepsEveryLineWithItsTimeAndStream) {
  {
    auto one = run();
    write_all(one.out.get(), "hello\n");
    ASSERT_TRUE(collector->settle(kLimit));
    clock.advance_ms(5);
    write_all(one.err.get(), "trouble\nmore");
  }
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(texts(), "stdout:hello\nstderr:trouble\nstderr:more\n");
  EXPECT_EQ(lines()[1].time - lines()[0].time, 5);
}

TEST_F(LogCollector, ReadsWhatWasWrittenRightBeforeTheEnd) {
  std::string expected;
  for (int round = 0; round < 50; ++round) {
    auto one = run();
    const std::string text = "last words " + std::to_string(round) + std::string(60'000, 'x').substr(0, 16'000);
    write_all(one.out.get(), text + "\n");
    expected += "stdout:" + text + "\n";
  }
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(texts(), expected);
}

// A grandchild has the pipe and writes on; the run is over all the same, and another begins.
TEST_F(LogCollector, WhoElseHoldsThePipeHoldsNothingUp) {
  FileHandle kept;
  std::atomic<bool> stop = false;
  std::thread grandchild;
  {
    auto one = run();
    write_all(one.out.get(), "mine\n");
    kept = FileHandle(::fcntl(one.out.get(), F_DUPFD_CLOEXEC, 0));
    ::signal(SIGPIPE, SIG_IGN);
    grandchild = std::thread([&] {
      while (!stop && ::write(kept.get(), "his\n", 4) == 4) {}
    });
  }
  ASSERT_TRUE(collector->settle(kLimit));
  grandchild.join();  // its pipe is closed
  stop = true;
  {
    auto again = run();
    write_all(again.out.get(), "next\n");
  }
  ASSERT_TRUE(collector->settle(kLimit));
  const std::string all = texts();
  EXPECT_TRUE(all.starts_with("stdout:mine\n")) << all.substr(0, 100);
  EXPECT_TRUE(all.ends_with("stdout:next\n"));
}

TEST_F(LogCollector, ALineWithoutAnEndIsWrittenAfterAWhile) {
  auto one = run();
  write_all(one.out.get(), "Password: ");
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(texts(), "");
  clock.advance_ms(1000);
  EXPECT_TRUE(eventually([&] { return texts() == "stdout+:Password: \n"; })) << texts();
  write_all(one.out.get(), "ok\n");
  EXPECT_TRUE(eventually([&] { return texts() == "stdout+:Password: \nstdout:ok\n"; })) << texts();
}

TEST_F(LogCollector, AFloodIsCutToTheBurstAndCounted) {
  limits.burst_lines_per_s = 100;
  make();
  auto one = run();
  std::string flood;
  for (int i = 0; i < 10'000; ++i) flood += "line " + std::to_string(i) + "\n";
  write_all(one.out.get(), flood);
  EXPECT_TRUE(eventually([&] { return count("api burst") == 9500; })) << count("api burst");
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(lines().size(), 500U) << "five seconds of it";
  clock.advance_ms(500);
  write_all(one.out.get(), "still too early\n");
  EXPECT_TRUE(eventually([&] { return count("api burst") == 9501; }));
  clock.advance_ms(500);
  write_all(one.out.get(), "heard again\n");
  EXPECT_TRUE(eventually([&] { return lines().size() == 502; })) << lines().size();
  EXPECT_EQ(lines()[500].stream, Stream::host);
  EXPECT_EQ(lines()[500].text, "9501 lines dropped: more than 100 lines or 1048576 bytes a second");
  EXPECT_EQ(lines()[501].text, "heard again");
  EXPECT_EQ(count("api burst"), 9501U);
  std::size_t warned = 0;
  for (const auto& event : *said) warned += event.find("app_log_dropping") != std::string::npos ? 1 : 0;
  EXPECT_EQ(warned, 1U);
}

TEST_F(LogCollector, TheNoteComesWithoutAnotherLineAndAtTheEnd) {
  limits.burst_lines_per_s = 2;
  make();
  auto one = run();
  for (int i = 0; i < 12; ++i) write_all(one.out.get(), "x\n");
  EXPECT_TRUE(eventually([&] { return count("api burst") == 2; }));
  clock.advance_ms(1000);
  EXPECT_TRUE(eventually([&] { return lines().size() == 11; }));
  EXPECT_EQ(lines()[10].text.substr(0, 16), "2 lines dropped:");
  for (int i = 0; i < 3; ++i) write_all(one.out.get(), "y\n");
  one = {};
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(lines().back().text.substr(0, 15), "1 line dropped:");
}

TEST_F(LogCollector, ALineOfAHundredMegabytesIsCutAndBounded) {
  auto one = run();
  const std::string block(1 << 20, 'A');
  for (int i = 0; i < 100; ++i) write_all(one.out.get(), block);
  write_all(one.out.get(), "\nnext\n");
  one = {};
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_LE(bytes(), 6U << 20);
  EXPECT_EQ(count("api burst"), 2U) << "the long one, and the one behind it";
  const auto all = lines();
  EXPECT_TRUE(all.front().cut);
  EXPECT_EQ(all.front().text, std::string(kMaximumLine, 'A'));
  EXPECT_EQ(all.back().stream, Stream::host);
}

TEST_F(LogCollector, EscapesNulAndBinaryAreSafeOnDisk) {
  {
    auto one = run();
    write_all(one.out.get(), std::string_view("\x1b]0;x\x07\0\xff\x9b\n", 10));
    std::string all;
    for (int i = 0; i < 256; ++i)
      if (i != '\n') all += static_cast<char>(i);
    write_all(one.err.get(), all + "\n");
  }
  ASSERT_TRUE(collector->settle(kLimit));
  std::ifstream in(folder.path() / "ins_a.log.1", std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  for (const char c : text) EXPECT_TRUE(c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  EXPECT_EQ(lines().size(), 2U);
}

TEST_F(LogCollector, AFullDiskDropsAndCountsAndTheAppGoesOn) {
  std::atomic<int> problem = ENOSPC;
  make([&] { return problem.load(); });
  auto one = run();
  for (int i = 0; i < 1000; ++i) write_all(one.out.get(), std::string(1000, 'f') + "\n");
  EXPECT_TRUE(eventually([&] { return count("api disk") == 1000; })) << count("api disk");
  EXPECT_EQ(bytes(), 0U);
  problem = 0;
  write_all(one.out.get(), "room again\n");
  EXPECT_TRUE(eventually([&] { return lines().size() == 2; }));
  EXPECT_EQ(lines()[0].text, "1000 lines dropped: the disk did not take them");
  EXPECT_EQ(lines()[1].text, "room again");
  std::size_t warned = 0;
  for (const auto& event : *said) warned += event.find("app_log_not_written") != std::string::npos ? 1 : 0;
  EXPECT_EQ(warned, 1U) << "once, not for each line";
}

// The disk hangs in the middle of a write of one app. That app goes on writing, what has no room is dropped, and what a
// neighbour wrote is there when the disk is back.
TEST_F(LogCollector, ADiskThatHangsBlocksNobody) {
  limits.burst_bytes_per_s = 1 << 30;
  limits.burst_lines_per_s = 1'000'000;
  std::mutex gate;
  std::unique_lock closed(gate);
  std::atomic<int> writes = 0;
  make([&] {
    ++writes;
    const std::lock_guard wait(gate);
    return 0;
  });
  auto one = run();
  auto quiet = run("ins_q", "shop");
  write_all(one.out.get(), "first\n");
  EXPECT_TRUE(eventually([&] { return writes == 1; }));
  write_all(quiet.out.get(), "a neighbour\n");
  const std::string block = std::string(8191, 'b') + "\n";
  for (int i = 0; i < 1000; ++i) write_all(one.out.get(), block);  // 8 MiB: far more than there is room for
  EXPECT_TRUE(eventually([&] { return count("api slow_disk") > 0; }));
  EXPECT_EQ(writes, 1);
  closed.unlock();
  one = {};
  quiet = {};
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(texts("ins_q"), "stdout:a neighbour\n");
  EXPECT_EQ(count("shop slow_disk"), 0U);
  const auto all = lines();
  std::uint64_t kept = 0;
  bool told = false;
  for (const Line& line : all) {
    kept += line.stream == Stream::out ? 1 : 0;
    told = told || line.text == std::to_string(count("api slow_disk")) + " lines dropped: the disk is too slow";
  }
  EXPECT_EQ(kept + count("api slow_disk"), 1001U);
  EXPECT_TRUE(told);
}

TEST_F(LogCollector, AFloodFromManyAppsLeavesAQuietOneWhole) {
  std::atomic<bool> stop = false;
  std::vector<Collector::Run> loud;
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) loud.push_back(run("ins_loud" + std::to_string(i), "loud"));
  for (auto& one : loud)
    writers.emplace_back([&stop, fd = one.out.get()] {
      const std::string block(4096, '\n');
      while (!stop) [[maybe_unused]] const ssize_t n = ::write(fd, block.data(), block.size());
    });
  auto quiet = run("ins_q", "shop");
  for (int i = 0; i < 200; ++i) write_all(quiet.out.get(), "request " + std::to_string(i) + "\n");
  EXPECT_TRUE(eventually([&] { return lines("ins_q").size() == 200; }));
  EXPECT_TRUE(eventually([&] { return count("loud burst") > 100'000; }));
  stop = true;
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(count("shop burst") + count("shop slow_disk") + count("shop disk"), 0U);
  EXPECT_LE(bytes(), 4U * 10'000 * 40 + 20'000) << "the burst of each, and no more: its clock stands";
}

TEST_F(LogCollector, RotatesWhileItCollects) {
  limits.max_bytes = 200'000;
  limits.burst_bytes_per_s = 1 << 30;
  limits.burst_lines_per_s = 1'000'000;
  make();
  {
    auto one = run();
    for (int i = 0; i < 3000; ++i) write_all(one.out.get(), std::to_string(i) + std::string(1000, 'r') + "\n");
  }
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_LE(bytes(), 5U * 200'000);
  const auto all = lines();
  EXPECT_TRUE(all.back().text.starts_with("2999r"));
  for (std::size_t i = 1; i < all.size(); ++i) EXPECT_EQ(std::stoi(all[i].text), std::stoi(all[i - 1].text) + 1);
}

TEST_F(LogCollector, ItsEndWritesWhatHasCome) {
  auto one = run();
  auto other = run("ins_b");
  write_all(one.out.get(), "a\npartial");
  write_all(other.err.get(), "b\n");
  collector.reset();
  EXPECT_EQ(texts(), "stdout:a\nstdout:partial\n");
  EXPECT_EQ(texts("ins_b"), "stderr:b\n");
  one = {};  // nobody is there to be told
}

TEST_F(LogCollector, LeavesNoDescriptorBehind) {
  const auto open_files = [] { return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()); };
  const auto before = open_files();
  for (int i = 0; i < 30; ++i) {
    auto one = run("ins_" + std::to_string(i));
    write_all(one.out.get(), "x\n");
  }
  ASSERT_TRUE(collector->settle(kLimit));
  EXPECT_EQ(open_files(), before);
}

}  // namespace
}  // namespace via::logs::test
