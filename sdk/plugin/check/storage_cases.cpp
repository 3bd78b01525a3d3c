// The folder that the add-on is given: nothing outside it, and no state of it that a crash or a full disk leaves unusable.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <random>
#include <thread>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

void one_life(Session& s) {
  s.start();
  for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) s.invoke(i, "{}");
  if (s.subject().can_write()) s.must(s.write(), "check.json's write");
  s.must(s.close(), "close");
  s.must(s.deprovision(), "deprovision");
  s.destroy();
}

void stays_inside(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  one_life(s);
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const fs::path inside = entry.path().lexically_relative(root);
    if (*inside.begin() != "storage" && inside != "elsewhere") broken("it made '" + inside.string() + "' outside its folder");
  }
}

void removes_its_data(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  one_life(s);
  for (const auto& entry : fs::recursive_directory_iterator(root / "storage"))
    if (entry.is_regular_file() && entry.file_size() > 0) broken("deprovision left '" + entry.path().filename().string() + "' behind");
}

// What leaves a plugin no room: a filesystem of its own in memory where this process may mount one, else a limit on the
// size of a file, which is the same to a plugin whose file grows.
class NoRoom {
 public:
  explicit NoRoom(const fs::path& folder) : filler_(folder / ".filler") {
    mounted_ = may_mount() && ::mount("via-plugin-check", folder.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=700") == 0;
    note() = mounted_ ? "on a full filesystem of 64 MiB" : "with a limit on the size of files: this user may mount no filesystem";
  }
  // `largest`: the largest file there is.
  void take(std::uintmax_t largest) {
    if (mounted_) {
      const int fd = ::open(filler_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
      const std::vector<char> block(64 * 1024, 'x');
      while (fd >= 0 && ::write(fd, block.data(), block.size()) > 0) {
      }
      if (fd >= 0) ::close(fd);
      return;
    }
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit tight{largest + 64, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &tight);
  }
  void give_back() {
    std::error_code ignored;
    if (mounted_) fs::remove(filler_, ignored);
    else ::setrlimit(RLIMIT_FSIZE, &old_);
  }

 private:
  // A mount namespace of this process's own: nobody else sees what is mounted, and it goes with the process.
  static bool may_mount() {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    if (::unshare(CLONE_NEWNS) != 0) {
      if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
      const auto tell = [](const char* path, const std::string& text) {
        const int fd = ::open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) return false;
        const bool ok = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::close(fd);
        return ok;
      };
      if (!tell("/proc/self/setgroups", "deny") || !tell("/proc/self/uid_map", std::to_string(uid) + " " + std::to_string(uid) + " 1") ||
          !tell("/proc/self/gid_map", std::to_string(gid) + " " + std::to_string(gid) + " 1"))
        return false;
    }
    return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }
  const fs::path filler_;
  bool mounted_ = false;
  rlimit old_{};
};

void full_disk(const Subject& subject, const fs::path& root) {
  if (!subject.can_write()) skipped("check.json does not say how to write");
  NoRoom disk(root / "storage");
  Session s(subject, root);
  s.start();
  s.must(s.write(), "check.json's write");
  std::uintmax_t largest = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root / "storage"))
    if (entry.is_regular_file()) largest = std::max(largest, entry.file_size());
  disk.take(largest);
  int refused = 0;
  for (int i = 0; i < 2000 && refused < 3; ++i)
    if (s.write().status() != VIA_OK) ++refused;
  disk.give_back();
  s.no_call_ended_twice();
  if (refused == 0) skipped("2000 writes of check.json needed no more room in its folder");
  s.must(s.close(), "close after the disk was full");
  s.must(s.open(), "open after the disk was full");
  if (subject.can_read() && !s.reads_expected()) broken("what was written before the disk was full is gone");
  s.must(s.write(), "a write after the disk had room again");
}

// A life in a process of its own that is ended at any point; it tells by one byte each acknowledged write. Half of the
// rounds open and close often; the others only write, and are ended soon after the first write was acknowledged.
void kill_at_each_step(const Subject& subject, const fs::path& root) {
  std::mt19937_64 random(subject.seed);
  for (int round = 0; round < 16; ++round) {
    const bool only_writes = subject.can_write() && round % 2 == 0;
    const fs::path here = root / ("life-" + std::to_string(round));
    fs::create_directories(here / "storage");
    int ends[2];
    if (::pipe(ends) != 0) broken("no pipe can be made");
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(ends[0]);
      try {
        Session s(subject, here);
        s.start();
        s.binding(&via_instance_api::bind, 1, minted(1));
        for (int i = 0; i < 10000; ++i) {
          if (subject.can_write() && s.write().status() == VIA_OK) (void)!::write(ends[1], "w", 1);
          if (!only_writes && i % 50 == 49) {
            s.must(s.close(), "close");
            s.must(s.open(), "open");
          }
        }
      } catch (const Broken& why) {
        const std::string text = "!" + why.reason;
        (void)!::write(ends[1], text.data(), text.size());
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    std::string said(1 << 16, '\0');
    ssize_t n = only_writes ? ::read(ends[0], said.data(), 1) : 0;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % (only_writes ? 3'000 : 40'000)));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    if (const ssize_t more = ::read(ends[0], said.data() + n, said.size() - static_cast<std::size_t>(n)); more > 0) n += more;
    ::close(ends[0]);
    said.resize(static_cast<std::size_t>(n));
    if (const auto at = said.find('!'); at != std::string::npos) broken(said.substr(at + 1));
    Session after(subject, here);
    if (!after.init() || !after.create()) broken("it cannot be created after a kill: " + after.message());
    after.must(after.provision(), "provision after a kill");
    after.must(after.open(), "open after a kill");
    after.must(after.health(), "health after a kill");
    if (!said.empty() && subject.can_read() && !after.reads_expected()) broken("a write that was acknowledged is gone after a kill");
    after.must(after.close(), "close");
    after.destroy();
  }
}

bool says_ok(Session::Call& call) {
  if (call.status() != VIA_OK) return false;
  const auto said = nlohmann::json::parse(call.details(), nullptr, false);
  return said.is_object() && said.value("state", "") == "ok";
}

// Somebody removes the files of an add-on that is open. What its health says is all that an operator sees of it.
void behind_its_back(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  if (subject.can_write()) s.must(s.write(), "check.json's write");
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root / "storage"))
    if (entry.is_regular_file()) files.push_back(entry.path());
  if (files.empty()) skipped("it keeps no files in its folder");
  if (!says_ok(s.health())) skipped("health is not 'ok' before anything was removed; contract.health_form says more");
  for (const auto& file : files) fs::remove(file);
  if (says_ok(s.health())) broken("health says 'ok' though the add-on's files were removed: compare what is open with what is there");
  s.binding(&via_instance_api::revoke, 1);
  s.must(s.close(), "close of an add-on whose files were removed");
  if (s.open().status() == VIA_OK) {
    if (says_ok(s.health())) broken("it opens as if all were well though its files were removed");
    s.must(s.close(), "close");
  }
  s.must(s.deprovision(), "deprovision of what is not there any more");
  s.no_call_ended_twice();
}

}  // namespace

std::vector<Case> storage_cases() {
  return {
      {"storage", "stays_inside", "nothing is written outside the add-on's folder", stays_inside},
      {"storage", "removes_its_data", "deprovision destroys the data", removes_its_data},
      {"storage", "full_disk", "a full disk is an error, and nothing is lost by it", full_disk},
      {"storage", "behind_its_back", "files that somebody removed are missed by health and by open", behind_its_back},
      {"storage", "kill_at_each_step", "after a kill it opens, with every acknowledged write", kill_at_each_step},
  };
}

}  // namespace via::check
