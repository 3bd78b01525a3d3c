// Starts that fail, one for each step of them: the reason is said, the exit code is its own, nothing crashes, nothing is left
// behind, and the next start without the fault is a start like any other.
#include "functional/routes.hpp"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <sstream>

#include "core/base/files.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

// A start that ought to fail; one that does not is ended (124).
Finished via_with_limit(std::vector<std::string> words) {
  std::vector<std::string> command{"/usr/bin/timeout", "--kill-after=10", "40", VIA_BINARY};
  command.insert(command.end(), words.begin(), words.end());
  return run_program(command);
}

// A port that somebody listens on.
struct TakenPort {
  TakenPort() {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&at), size) != 0 || ::listen(fd.get(), 1) != 0) return;
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&at), &size);
    address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
  }
  FileHandle fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  std::string address;
};

struct Case {
  const char* name;
  int exit_code;
  const char* says;
  std::string config = {};                     // config.toml
  std::vector<std::string> more = {};          // arguments
  std::function<void(const fs::path&)> spoil = {};  // does something to the state folder
  std::function<void(const fs::path&)> mend = {};   // and takes it back
};

// Processes are counted by what they write beside the host, and by their numbers as the test sees them.
const std::string kBare = "sandbox = \"off\"\n";

class FailedStart : public World {
 protected:
  void SetUp() override {
    host.configure(kBare);
    ASSERT_TRUE(host.start()) << host.log();
    admin("app.create", {{"name", "web"}});
    admin("addon.create", {{"type", "sqlite"}, {"name", "db"}, {"app", "web"}, {"bind", "DATABASE"}});
    admin("deploy.create", {{"app", "web"}, {"command", {"/bin/sh", "-c", "echo $$ >> " + pids().string() + "; exec sleep 600"}}});
    ASSERT_TRUE(eventually([&] { return launched() == 1; }));
    ASSERT_EQ(host.stop(), 0);
  }
  fs::path pids() const { return host.folder() / "pids"; }
  std::vector<pid_t> processes() const {
    std::istringstream in(text_of(pids()));
    std::vector<pid_t> out;
    for (pid_t pid = 0; in >> pid;) out.push_back(pid);
    return out;
  }
  std::size_t launched() const { return processes().size(); }
  std::size_t living() const {
    std::size_t n = 0;
    for (const pid_t pid : processes()) n += ::kill(pid, 0) == 0 ? 1 : 0;
    return n;
  }
  void expect_failure(const Case& c, const Finished& done) {
    EXPECT_EQ(done.exit_code, c.exit_code) << done.err;
    EXPECT_NE(done.err.find(c.says), std::string::npos) << done.err;
    EXPECT_NE(done.err.find("via: "), std::string::npos) << done.err;
    EXPECT_EQ(done.out, "") << "it never said that it is ready";
    EXPECT_FALSE(fs::exists(fs::symlink_status(host.admin_socket()))) << "no socket is left behind";
    EXPECT_EQ(living(), 0U) << "no process is left behind";
  }
};

// Of what an operator can get wrong, nothing is found out after the first app was launched.
TEST_F(FailedStart, OfServeSaysWhyLeavesNothingBehindAndHarmsNothing) {
  const TakenPort taken;
  ASSERT_FALSE(taken.address.empty());
  const auto mode = [](const char* part, mode_t bits) {
    return [part, bits](const fs::path& state) { ASSERT_EQ(::chmod((state / part).c_str(), bits), 0); };
  };
  std::string control_plane, master;
  const std::vector<Case> cases{
      {"no such configuration", 2, "configuration file cannot be read", "", {"--config", "/nonexistent/via.toml"}},
      {"unknown member", 2, "'admin_grup'", "admin_grup = \"x\"\n"},
      {"folder open to others", 5, "state folder cannot be used", "", {}, mode("", 0777), mode("", 0700)},
      {"part of the folder open to others", 5, "'runtimes'", "", {}, mode("runtimes", 0755), mode("runtimes", 0700)},
      {"damaged control plane", 1, "control-plane", "", {},
       [&](const fs::path& state) {
         control_plane = text_of(state / "control-plane.db");
         std::ofstream(state / "control-plane.db", std::ios::binary) << std::string(control_plane.size(), 'x');
       },
       [&](const fs::path& state) { std::ofstream(state / "control-plane.db", std::ios::binary) << control_plane; }},
      {"key that others may read", 5, "private file", "", {}, mode("keys/master.key", 0644), mode("keys/master.key", 0600)},
      {"short master key", 1, "master", "", {},
       [&](const fs::path& state) {
         master = text_of(state / "keys" / "master.key");
         fs::resize_file(state / "keys" / "master.key", 3);
       },
       [&](const fs::path& state) { std::ofstream(state / "keys" / "master.key", std::ios::binary) << master; }},
      {"no address", 2, "must be ADDRESS:PORT", "", {"--listen", "nowhere"}},
      {"port taken", 4, "Cannot listen on", "", {"--listen", taken.address}},
      {"in the clear", 4, "allow_plaintext", "", {"--listen", "0.0.0.0:0"}},
      {"no certificate", 4, "TLS", "[tls]\ncertificate = \"/nonexistent/c\"\nkey = \"/nonexistent/k\"\n"},
      {"no URL", 2, "URL", "public_url = \"here\"\n"},
      {"no such group", 2, "The admin group 'nosuchgroup' does not exist", "admin_group = \"nosuchgroup\"\n"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const std::size_t before = launched();
    host.configure(kBare + c.config);
    if (c.spoil) c.spoil(host.state_dir());
    std::vector<std::string> words{"serve", "--state-dir", host.state_dir().string()};
    if (std::find(c.more.begin(), c.more.end(), "--listen") == c.more.end()) words.insert(words.end(), {"--listen", "127.0.0.1:0"});
    words.insert(words.end(), c.more.begin(), c.more.end());
    expect_failure(c, via_with_limit(words));
    if (c.mend) c.mend(host.state_dir());
    EXPECT_EQ(launched(), before) << "no app was launched";
  }
  host.configure(kBare);
  const std::size_t before = launched();
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_TRUE(eventually([&] { return launched() == before + 1 && living() == 1; })) << "the app runs again";
  EXPECT_EQ(host.stop(), 0);
  EXPECT_EQ(living(), 0U);
}

TEST_F(FailedStart, OfAFolderWhosePathIsTooLongForASocketIsRefusedAndNothingWasLaunched) {
  const fs::path deep = host.folder() / std::string(110, 'd');
  fs::rename(host.state_dir(), deep);
  const std::size_t before = launched();
  const Finished done = via_with_limit({"serve", "--state-dir", deep.string(), "--listen", "127.0.0.1:0"});
  EXPECT_EQ(done.exit_code, 2) << done.err;
  EXPECT_NE(done.err.find("107"), std::string::npos) << done.err;
  EXPECT_EQ(launched(), before);
  fs::rename(deep, host.state_dir());
  EXPECT_TRUE(host.start()) << host.log();
}

TEST_F(FailedStart, OfASecondHostLeavesTheFirstAloneEvenWithoutItsLockFile) {
  ASSERT_TRUE(host.start()) << host.log();
  ASSERT_TRUE(eventually([&] { return living() == 1; }));
  const std::size_t before = launched();
  for (const bool lock_file : {true, false}) {
    SCOPED_TRACE(lock_file);
    if (!lock_file) {
      ASSERT_TRUE(fs::remove(host.state_dir() / "lock"));
    }
    const Finished second = via_with_limit({"serve", "--state-dir", host.state_dir().string(), "--listen", "127.0.0.1:0"});
    EXPECT_EQ(second.exit_code, 4) << second.err;
    EXPECT_NE(second.err.find("state folder"), std::string::npos) << second.err;
    EXPECT_EQ(admin("status")["server"]["pid"], host.pid());
    EXPECT_EQ(launched(), before) << "nothing was launched a second time";
  }
  EXPECT_EQ(host.stop(), 0);
  EXPECT_FALSE(fs::exists(host.admin_socket()));
}

TEST_F(FailedStart, OrAnyEndOfAHostLeavesASocketThatSomebodyElseMade) {
  ASSERT_TRUE(host.start()) << host.log();
  fs::rename(host.admin_socket(), host.admin_socket() + ".away");
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  const std::string path = host.admin_socket();
  ASSERT_LT(path.size(), sizeof at.sun_path);
  path.copy(at.sun_path, path.size());
  const FileHandle other(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(other.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  EXPECT_EQ(host.stop(), 0);
  EXPECT_TRUE(fs::is_socket(host.admin_socket()));
}

// What mkdir makes is good enough; what others can write is not.
TEST(NamedFolder, OfAKitOrAHostMayBeAsMkdirMakesIt) {
  HostProcess kit;
  kit.kit.emplace();
  for (const mode_t mode : {0755U, 0750U}) {
    SCOPED_TRACE(mode);
    ASSERT_EQ(::chmod(kit.databases().c_str(), mode), 0);
    const std::size_t before = kit.log().size();
    ASSERT_TRUE(kit.start()) << kit.log();
    EXPECT_EQ(kit.stop(), 0);
    const std::string log = kit.log().substr(before);
    const auto first = log.find("folder_open_to_others");
    EXPECT_NE(first, std::string::npos) << log;
    EXPECT_EQ(log.find("folder_open_to_others", first + 1), std::string::npos) << "said once";
    struct stat st {};
    ASSERT_EQ(::stat(kit.databases().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, mode) << "it is the operator's";
  }
  for (const mode_t mode : {0775U, 0757U, 0777U}) {
    SCOPED_TRACE(mode);
    ASSERT_EQ(::chmod(kit.databases().c_str(), mode), 0);
    const Finished done = via_with_limit({"kit", "sqlite", "--databases", kit.databases().string(), "--listen", "127.0.0.1:0"});
    EXPECT_EQ(done.exit_code, 5) << done.err;
    EXPECT_NE(done.err.find("chmod go-w"), std::string::npos) << done.err;
  }
  ASSERT_EQ(::chmod(kit.databases().c_str(), 0700), 0);
  HostProcess host;
  ASSERT_EQ(::chmod(host.state_dir().c_str(), 0755), 0);
  ASSERT_TRUE(host.start()) << host.log();
  EXPECT_NE(host.log().find("state_folder_closed"), std::string::npos);
  EXPECT_EQ(host.stop(), 0);
  struct stat st {};
  ASSERT_EQ(::stat(host.state_dir().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
}

TEST(NamedFolder, OfAKitMayBeALink) {
  HostProcess kit;
  kit.kit.emplace();
  const fs::path real = kit.folder() / "real";
  fs::rename(kit.databases(), real);
  fs::create_directory_symlink(real, kit.databases());
  ASSERT_TRUE(kit.start()) << kit.log();
  EXPECT_TRUE(fs::exists(real / ".lock"));
  EXPECT_EQ(kit.stop(), 0);
}

TEST(FailedKit, SaysWhyAndLeavesNothingBehind) {
  const TakenPort taken;
  ASSERT_FALSE(taken.address.empty());
  const TemporaryFolder folder;
  const fs::path data = folder.path() / "data", file = folder.path() / "file";
  std::ofstream(file) << "x";
  struct Kit {
    const char* name;
    int exit_code;
    const char* says;
    fs::path databases;
    std::string listen;
  };
  const std::vector<Kit> cases{
      {"in public", 2, "--allow-public", data, "0.0.0.0:0"},
      {"no folder above it", 3, "folder of the databases", folder.path() / "none" / "data", "127.0.0.1:0"},
      {"a file", 5, "folder of the databases", file, "127.0.0.1:0"},
      {"port taken", 4, "Cannot listen on", data, taken.address},
      {"no port", 2, "must be ADDRESS:PORT", data, "127.0.0.1:http"},
  };
  for (const Kit& c : cases) {
    SCOPED_TRACE(c.name);
    const Finished done = via_with_limit({"kit", "sqlite", "--databases", c.databases.string(), "--listen", c.listen});
    EXPECT_EQ(done.exit_code, c.exit_code) << done.err;
    EXPECT_NE(done.err.find(c.says), std::string::npos) << done.err;
    EXPECT_EQ(done.out, "");
  }
  HostProcess kit;
  kit.kit.emplace();
  ASSERT_TRUE(kit.start()) << kit.log();
  ASSERT_TRUE(fs::remove(kit.databases() / ".lock"));
  const Finished second = via_with_limit({"kit", "sqlite", "--databases", kit.databases().string(), "--listen", "127.0.0.1:0"});
  EXPECT_EQ(second.exit_code, 4) << second.err;
  EXPECT_EQ(kit.stop(), 0);
  EXPECT_EQ(fs::file_size(file), 1U);
}

}  // namespace
}  // namespace via::test
