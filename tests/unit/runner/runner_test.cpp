// Real processes. Nothing here sleeps: every wait is for a condition, with a limit far above what it takes.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <thread>

#include <gtest/gtest.h>

#include "core/base/files.hpp"
#include "core/logs/record.hpp"
#include "core/releases/runner.hpp"
#include "support/fakes.hpp"

namespace via::releases::test {
namespace {

constexpr auto kLimit = std::chrono::seconds(30);

struct Change {
  std::string instance;
  ProcessState state;
  int pid, status;
};

std::string text_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }

// Waits for the end of a process that is no child of ours.
bool ends(pid_t pid) {
  const FileHandle process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  if (!process) return errno == ESRCH;
  pollfd watched{process.get(), POLLIN, 0};
  return ::poll(&watched, 1, 30'000) == 1;
}

class RunnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(work());
    std::filesystem::create_directory(material());
    make();
  }
  void make(Backoff backoff = {1, 20, 3'600'000}) {
    runner = std::make_unique<Runner>(
        clock, log, output,
        [this](const std::string& instance, ProcessState state, int pid, int status, const std::string&) {
          const std::lock_guard lock(mutex);
          changes.push_back({instance, state, pid, status});
          changed.notify_all();
        },
        SandboxTools{}, backoff);
  }
  void TearDown() override { runner.reset(); }

  std::filesystem::path work() const { return root.path() / "work"; }
  std::filesystem::path material() const { return root.path() / "ins_1"; }
  std::filesystem::path out() const { return root.path() / "app.log"; }

  ProcessSpec shell(std::string script, std::string instance = "ins_1") const {
    ProcessSpec spec;
    spec.instance = std::move(instance);
    spec.command = {"/bin/sh", "-c", std::move(script)};
    spec.working_folder = work();
    spec.material = material();
    spec.log_file = out();
    spec.config_url = "http://127.0.0.1:8181";
    spec.environment = "production";
    return spec;
  }

  // Waits until `count` changes to `state` were reported; the last of them.
  Change wait_for(ProcessState state, int count = 1) {
    std::unique_lock lock(mutex);
    Change last{};
    const bool came = changed.wait_for(lock, kLimit, [&] {
      int seen = 0;
      for (const Change& change : changes)
        if (change.state == state && ++seen == count) {
          last = change;
          return true;
        }
      return false;
    });
    EXPECT_TRUE(came) << "state " << static_cast<int>(state) << " did not come";
    return last;
  }
  // What processes wrote, as it was, by stream and in order.
  std::string output_text(std::string_view stream = "") const {
    std::string all;
    std::ifstream in(root.path() / "app.log.1");
    for (std::string line; std::getline(in, line);) {
      const auto record = logs::parse_record(line);
      if (record && (stream.empty() || logs::to_string(record->stream) == stream)) all.append(record->text).append("\n");
    }
    return all;
  }
  // Of those that have ended: all of it.
  std::string ended_output(std::string_view stream = "") {
    EXPECT_TRUE(output.settle(30'000));
    return output_text(stream);
  }
  // Waits until their log holds `text`.
  std::string wait_for_output(std::string_view text) const {
    const auto limit = std::chrono::steady_clock::now() + kLimit;
    for (;;) {
      std::string all = output_text();
      if (all.find(text) != std::string::npos) return all;
      if (std::chrono::steady_clock::now() > limit) {
        ADD_FAILURE() << "no " << text << " in " << all;
        return all;
      }
      std::this_thread::yield();
    }
  }
  std::string logged() const {
    std::string all;
    for (const std::string& line : *lines) all += line + '\n';
    return all;
  }

  via::test::TemporaryFolder root;
  SystemClock clock;
  std::shared_ptr<std::vector<std::string>> lines = std::make_shared<std::vector<std::string>>();
  Logger log{lines};
  logs::Collector output{clock, log, {}};
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Change> changes;
  std::unique_ptr<Runner> runner;
};

TEST_F(RunnerTest, ProcessThatEndsWellIsDone) {
  ASSERT_TRUE(runner->start(shell("echo hello; echo trouble >&2")));
  const Change end = wait_for(ProcessState::exited);
  EXPECT_EQ(end.instance, "ins_1");
  EXPECT_EQ(end.status, 0);
  EXPECT_GT(end.pid, 0);
  EXPECT_EQ(ended_output("stdout"), "hello\n");
  EXPECT_EQ(ended_output("stderr"), "trouble\n");
  EXPECT_FALSE(runner->supervises("ins_1"));
  EXPECT_TRUE(runner->list().empty());
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].state, ProcessState::starting);
  EXPECT_EQ(changes[1].state, ProcessState::running);
  EXPECT_EQ(changes[1].pid, end.pid);
  struct stat st {};
  ASSERT_EQ(::stat((root.path() / "app.log.1").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777U, 0600U);
}

TEST_F(RunnerTest, EnvironmentIsWhatWasPromisedAndNothingElse) {
  ::setenv("VIA_TEST_CANARY", "leaked", 1);
  ProcessSpec spec = shell("");
  spec.command = {"env"};
  spec.variables = {{"GREETING", "hello world"}, {"EMPTY", ""}, {"VARY_CONFIG_URL", "http://evil"}, {"TZ", "Asia/Tokyo"}};
  ASSERT_TRUE(runner->start(std::move(spec)));
  wait_for(ProcessState::exited);
  ::unsetenv("VIA_TEST_CANARY");
  std::set<std::string> names;
  std::map<std::string, std::string> values;
  std::istringstream in(ended_output());
  for (std::string line; std::getline(in, line);) {
    const auto equals = line.find('=');
    EXPECT_TRUE(names.insert(line.substr(0, equals)).second) << line;
    values[line.substr(0, equals)] = line.substr(equals + 1);
  }
  EXPECT_EQ(names, (std::set<std::string>{"PATH", "HOME", "LANG", "TZ", "GREETING", "EMPTY", "VARY_CONFIG_URL",
                                          "VARY_CONFIG_TOKEN_PATH", "VARY_ENVIRONMENT", "VIA_BOOTSTRAP"}));
  EXPECT_EQ(values["GREETING"], "hello world");
  EXPECT_EQ(values["EMPTY"], "");
  EXPECT_EQ(values["TZ"], "Asia/Tokyo");
  EXPECT_EQ(values["HOME"], work().string());
  EXPECT_EQ(values["VARY_CONFIG_URL"], "http://127.0.0.1:8181");
  EXPECT_EQ(values["VARY_CONFIG_TOKEN_PATH"], (material() / "token").string());
  EXPECT_EQ(values["VARY_ENVIRONMENT"], "production");
  EXPECT_EQ(values["VIA_BOOTSTRAP"], (material() / "bootstrap.json").string());
  EXPECT_EQ(logged().find("hello world"), std::string::npos);
}

TEST_F(RunnerTest, NoDescriptorIsInherited) {
  std::vector<FileHandle> open;  // without close-on-exec, as a library might leave them
  for (int i = 0; i < 40; ++i) open.emplace_back(::open("/etc/passwd", O_RDONLY));
  int pair[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
  const FileHandle a(pair[0]), b(pair[1]);
  // ls itself opens /proc/self/fd as 3.
  ProcessSpec spec = shell("");
  spec.command = {"ls", "-l", "/proc/self/fd"};
  ASSERT_TRUE(runner->start(std::move(spec)));
  wait_for(ProcessState::exited);
  const std::string text = ended_output();
  EXPECT_NE(text.find("0 -> /dev/null"), std::string::npos) << text;
  EXPECT_NE(text.find("1 -> pipe:"), std::string::npos) << text;
  EXPECT_NE(text.find("2 -> pipe:"), std::string::npos) << text;
  std::size_t links = 0;
  for (std::size_t at = 0; (at = text.find(" -> ", at)) != std::string::npos; ++at) ++links;
  EXPECT_EQ(links, 4U) << text;
}

TEST_F(RunnerTest, ChildHasItsOwnSessionPlainSignalsAndAPrivateUmask) {
  struct sigaction ignore {}, before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGHUP, &ignore, &before);
  sigset_t blocked, old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &old);
  make();  // its thread takes over the mask
  ASSERT_TRUE(runner->start(shell("umask; pwd; echo $$; cut -d' ' -f5,6 /proc/$$/stat; grep -E 'SigBlk|SigIgn|NoNewPrivs' /proc/self/status")));
  const Change end = wait_for(ProcessState::exited);
  ::pthread_sigmask(SIG_SETMASK, &old, nullptr);
  ::sigaction(SIGHUP, &before, nullptr);
  std::istringstream in(ended_output());
  std::string mask, folder;
  int pid = 0, group = 0, session = 0;
  in >> mask >> folder >> pid >> group >> session;
  EXPECT_EQ(mask, "0077");
  EXPECT_EQ(folder, std::filesystem::canonical(work()).string());
  EXPECT_EQ(pid, end.pid);
  EXPECT_EQ(group, end.pid);
  EXPECT_EQ(session, end.pid);
  for (std::string name, value; in >> name >> value;)
    EXPECT_EQ(value, name == "NoNewPrivs:" ? "1" : "0000000000000000") << name;
}

TEST_F(RunnerTest, FailuresAreTriedAgainUntilOneEndsWell) {
  ASSERT_TRUE(runner->start(shell("n=$(cat n 2>/dev/null || echo 0); echo $((n+1)) > n; [ $n -ge 3 ] || exit 7")));
  EXPECT_EQ(wait_for(ProcessState::exited).status, 0);
  EXPECT_EQ(text_of(work() / "n"), "4\n");
  int failed = 0, started = 0;
  for (const Change& change : changes) {
    if (change.state == ProcessState::starting) ++started;
    if (change.state != ProcessState::failed) continue;
    ++failed;
    EXPECT_EQ(change.status, 7);
    EXPECT_GT(change.pid, 0);
  }
  EXPECT_EQ(failed, 3);
  EXPECT_EQ(started, 4);
}

TEST_F(RunnerTest, PausesGrowUpToTheirLimit) {
  make({1, 4, 3'600'000});
  ASSERT_TRUE(runner->start(shell("exit 1")));
  wait_for(ProcessState::failed, 5);
  ASSERT_TRUE(runner->stop("ins_1"));
  std::vector<std::string> pauses;
  for (const std::string& line : *lines) {
    const auto at = line.find("again_ms");
    if (at != std::string::npos) pauses.push_back(line.substr(at + 10));
  }
  ASSERT_GE(pauses.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    const char expected = "12444"[i];
    EXPECT_NE(pauses[i].substr(0, 3).find(expected), std::string::npos) << i << pauses[i];
  }
}

TEST_F(RunnerTest, SignalsAreReportedAsShellsDo) {
  ASSERT_TRUE(runner->start(shell("kill -9 $$")));
  EXPECT_EQ(wait_for(ProcessState::failed).status, 128 + SIGKILL);
}

TEST_F(RunnerTest, CommandThatIsNotThereFailsWithAReasonInTheLog) {
  make({60'000, 60'000, 3'600'000});
  ProcessSpec spec = shell("");
  spec.command = {"no-such-command-here"};
  spec.variables = {{"SECRET", "CANARY7f3a"}};
  ASSERT_TRUE(runner->start(std::move(spec)));
  const Change failed = wait_for(ProcessState::failed);
  EXPECT_EQ(failed.status, 127);
  EXPECT_TRUE(runner->supervises("ins_1"));
  const auto list = runner->list();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].state, ProcessState::failed);
  EXPECT_EQ(list[0].exit_status, 127);
  EXPECT_EQ(list[0].restarts, 1);
  EXPECT_EQ(list[0].pid, 0);
  ASSERT_TRUE(runner->stop("ins_1"));  // ends the pause
  EXPECT_FALSE(runner->supervises("ins_1"));
  EXPECT_NE(logged().find("its command cannot be run: No such file or directory"), std::string::npos) << logged();
  EXPECT_EQ(logged().find("CANARY"), std::string::npos);
  for (const Change& change : changes) EXPECT_NE(change.state, ProcessState::running);
}

TEST_F(RunnerTest, FolderLogFileAndCommandThatCannotBeUsedFail) {
  make({60'000, 60'000, 3'600'000});
  ProcessSpec no_folder = shell("true", "a");
  no_folder.working_folder = root.path() / "none";
  ASSERT_TRUE(runner->start(std::move(no_folder)));
  EXPECT_EQ(wait_for(ProcessState::failed).status, 127);
  ProcessSpec no_log = shell("true", "b");
  no_log.log_file = root.path() / "none" / "b.log";  // of no matter to the app: its lines are dropped
  std::filesystem::create_symlink(root.path() / "victim", root.path() / "link.log");
  ASSERT_TRUE(runner->start(std::move(no_log)));
  EXPECT_EQ(wait_for(ProcessState::exited).status, 0);
  ProcessSpec link = shell("echo x", "d");
  link.log_file = root.path() / "link.log";
  std::filesystem::create_symlink(root.path() / "victim", root.path() / "link.log.1");
  ASSERT_TRUE(runner->start(std::move(link)));
  EXPECT_EQ(wait_for(ProcessState::exited, 2).status, 0);
  EXPECT_TRUE(output.settle(30'000));
  EXPECT_FALSE(std::filesystem::exists(root.path() / "victim"));
  EXPECT_TRUE(std::filesystem::exists(root.path() / "link.log.2"));
  ProcessSpec no_program = shell("true", "c");
  no_program.command = {"/etc/passwd"};
  ASSERT_TRUE(runner->start(std::move(no_program)));
  EXPECT_EQ(wait_for(ProcessState::failed, 2).status, 127);
  runner->stop_all();
  EXPECT_NE(logged().find("its working folder cannot be entered"), std::string::npos) << logged();
  EXPECT_NE(logged().find("Permission denied"), std::string::npos) << logged();
}

TEST_F(RunnerTest, WhatCannotBeStartedIsToldBefore) {
  EXPECT_TRUE(look(shell("true")));
  ProcessSpec spec = shell("true");
  spec.command = {"sh"};
  EXPECT_TRUE(look(spec)) << "by PATH";
  std::ofstream(work() / "app") << "#!/bin/sh\n";
  spec.command = {"./app"};
  EXPECT_FALSE(look(spec)) << "it may not be run";
  std::filesystem::permissions(work() / "app", std::filesystem::perms::owner_all);
  EXPECT_TRUE(look(spec)) << "from its folder";
  for (const char* bad : {"no-such-program-anywhere", "/no/such/program", "/etc", "/etc/passwd", "app"}) {
    spec.command = {bad};
    const auto told = look(spec);
    ASSERT_FALSE(told) << bad;
    EXPECT_EQ(told.error().code, Code::refused);
    EXPECT_EQ(told.error().message.find(bad), std::string::npos) << "no paths in errors";
  }
  spec = shell("true");
  spec.working_folder = root.path() / "none";
  EXPECT_FALSE(look(spec));
  spec.working_folder = "/etc/passwd";
  EXPECT_FALSE(look(spec));
}

TEST_F(RunnerTest, CommandsAreFoundInThePathOfTheChildAndNeverInItsFolder) {
  std::filesystem::create_directory(root.path() / "bin");
  for (const auto& file : {root.path() / "bin" / "tool", work() / "other"}) {
    std::ofstream(file) << "#!/bin/sh\necho ran $0 $#\n";
    ::chmod(file.c_str(), 0700);
  }
  ProcessSpec spec = shell("");
  spec.command = {"tool", "a b", "", "c"};
  spec.variables = {{"PATH", (root.path() / "bin").string() + ":/bin"}};
  ASSERT_TRUE(runner->start(std::move(spec)));
  wait_for(ProcessState::exited);
  EXPECT_NE(ended_output().find(" 3\n"), std::string::npos) << ended_output();

  make({60'000, 60'000, 3'600'000});
  ProcessSpec local = shell("");
  local.command = {"other"};
  local.variables = {{"PATH", ":.::/bin:"}};
  ASSERT_TRUE(runner->start(std::move(local)));
  EXPECT_EQ(wait_for(ProcessState::failed).status, 127);
}

TEST_F(RunnerTest, SpecsThatCannotBeRunAreRefused) {
  const auto refused = [&](auto change) {
    ProcessSpec spec = shell("true");
    change(spec);
    const auto result = runner->start(std::move(spec));
    return !result && result.error().code == Code::bad_request;
  };
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.instance.clear(); }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.command.clear(); }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.command = {""}; }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.command.push_back(std::string("a\0b", 3)); }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.working_folder.clear(); }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.log_file.clear(); }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.variables = {{"", "x"}}; }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.variables = {{"A=B", "x"}}; }));
  EXPECT_TRUE(refused([](ProcessSpec& s) { s.variables = {{"A", std::string("x\0y", 3)}}; }));
  EXPECT_TRUE(changes.empty());
}

TEST_F(RunnerTest, OneProcessForAnInstance) {
  ASSERT_TRUE(runner->start(shell("exec sleep 1000")));
  EXPECT_EQ(runner->start(shell("true")).error().code, Code::conflict);
  EXPECT_EQ(runner->stop("other").error().code, Code::not_found);
  const Change running = wait_for(ProcessState::running);
  EXPECT_TRUE(exists(running.pid));
  ASSERT_TRUE(runner->stop("ins_1"));
  EXPECT_FALSE(exists(running.pid));
  const Change end = wait_for(ProcessState::exited);
  EXPECT_EQ(end.status, 128 + SIGTERM);
  EXPECT_EQ(runner->stop("ins_1").error().code, Code::not_found);
  ASSERT_TRUE(runner->start(shell("true")));
  wait_for(ProcessState::exited, 2);
}

TEST_F(RunnerTest, StopReachesTheWholeGroup) {
  ASSERT_TRUE(runner->start(shell("sleep 1000 & echo child $!; wait")));
  const std::string text = wait_for_output("\n");
  const pid_t grandchild = std::stoi(text.substr(6));
  EXPECT_TRUE(exists(grandchild));
  ASSERT_TRUE(runner->stop("ins_1"));
  EXPECT_TRUE(ends(grandchild));
}

TEST_F(RunnerTest, WhatALeaderLeavesBehindEndsWithIt) {
  ASSERT_TRUE(runner->start(shell("trap '' TERM; sleep 1000 & echo child $!")));
  wait_for(ProcessState::exited);
  const pid_t grandchild = std::stoi(ended_output().substr(6));
  EXPECT_TRUE(ends(grandchild));
}

TEST_F(RunnerTest, ProcessThatIgnoresSigtermIsKilled) {
  ASSERT_TRUE(runner->start(shell("trap '' TERM; sleep 1000 & echo child $!; while :; do wait; done")));
  const pid_t grandchild = std::stoi(wait_for_output("\n").substr(6));
  ASSERT_TRUE(runner->stop("ins_1", 50));
  EXPECT_EQ(wait_for(ProcessState::exited).status, 128 + SIGKILL);
  EXPECT_TRUE(ends(grandchild));
}

TEST_F(RunnerTest, ProcessMayEndItselfWithinItsGrace) {
  ASSERT_TRUE(runner->start(shell("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done")));
  wait_for_output("up");
  ASSERT_TRUE(runner->stop("ins_1", 30'000));
  EXPECT_EQ(wait_for(ProcessState::exited).status, 3);
  EXPECT_NE(ended_output().find("bye"), std::string::npos);
}

TEST_F(RunnerTest, StopRightAfterStartLeavesNothing) {
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(runner->start(shell("exec sleep 1000")));
    ASSERT_TRUE(runner->stop("ins_1"));
    EXPECT_FALSE(runner->supervises("ins_1"));
  }
  const std::lock_guard lock(mutex);
  for (const Change& change : changes) {
    if (change.pid != 0) {
      EXPECT_FALSE(exists(change.pid));
    }
  }
}

TEST_F(RunnerTest, StopAllAndTheDestructorStopEverything) {
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 8; ++i) ASSERT_TRUE(runner->start(shell("exec sleep 1000", "ins_" + std::to_string(i))));
    wait_for(ProcessState::running, 8 * (round + 1));
    EXPECT_EQ(runner->list().size(), 8U);
    if (round == 0)
      runner->stop_all();
    else
      runner.reset();
  }
  EXPECT_EQ(std::count_if(changes.begin(), changes.end(), [](const Change& c) { return c.state == ProcessState::exited; }), 16);
  for (const Change& change : changes) {
    if (change.pid != 0) {
      EXPECT_FALSE(exists(change.pid));
    }
  }
}

TEST_F(RunnerTest, CallbackMayStartAndStop) {
  std::atomic<int> ended{0};
  std::unique_ptr<Runner> own;
  own = std::make_unique<Runner>(clock, log, output, [&](const std::string& instance, ProcessState state, int, int, const std::string&) {
    if (state == ProcessState::running && instance == "a") {
      EXPECT_TRUE(own->stop("a"));
    }
    if (state != ProcessState::exited) return;
    if (instance == "a") {
      EXPECT_TRUE(own->start(shell("true", "a2")));
    }
    const std::lock_guard lock(mutex);
    ++ended;
    changed.notify_all();
  });
  ASSERT_TRUE(own->start(shell("exec sleep 1000", "a")));
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, kLimit, [&] { return ended == 2; }));
  lock.unlock();
  own.reset();
}

// Not when the thread that called start() ends: only when the host does.
TEST_F(RunnerTest, ProcessOutlivesTheThreadThatStartedIt) {
  std::thread([&] { ASSERT_TRUE(runner->start(shell("echo up; exec sleep 1000"))); }).join();
  const Change running = wait_for(ProcessState::running);
  wait_for_output("up");
  EXPECT_TRUE(exists(running.pid));
  EXPECT_EQ(changes.size(), 2U);
}

TEST_F(RunnerTest, ProcessEndsWithAHostThatIsKilled) {
  runner.reset();
  int ends_of_pipe[2];
  ASSERT_EQ(::pipe2(ends_of_pipe, O_CLOEXEC), 0);
  const FileHandle read_end(ends_of_pipe[0]);
  FileHandle write_end(ends_of_pipe[1]);
  const pid_t host = ::fork();
  ASSERT_GE(host, 0);
  if (host == 0) {  // a host of its own, which never stops its process
    logs::Collector own_output(clock, log, {});
    Runner own(clock, log, own_output, [&](const std::string&, ProcessState state, int pid, int, const std::string&) {
      if (state == ProcessState::running && ::write(write_end.get(), &pid, sizeof pid) < 0) ::_exit(1);
    });
    if (!own.start(shell("trap '' TERM HUP; while :; do sleep 1000; done"))) ::_exit(1);
    for (;;) ::pause();
  }
  write_end.reset();
  pollfd watched{read_end.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&watched, 1, 30'000), 1);
  pid_t child = 0;
  ASSERT_EQ(::read(read_end.get(), &child, sizeof child), static_cast<ssize_t>(sizeof child));
  EXPECT_TRUE(exists(child));
  ASSERT_EQ(::kill(host, SIGKILL), 0);
  ASSERT_EQ(::waitpid(host, nullptr, 0), host);
  EXPECT_TRUE(ends(child));
}

}  // namespace
}  // namespace via::releases::test
