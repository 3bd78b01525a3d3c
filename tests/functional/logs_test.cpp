// Logs of apps over a real host: what an operator sees with `via logs`, and what an app can do with its output. Nothing here asserts
// how long something takes.
#include "functional/routes.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>
#include <utility>

namespace via::test {
namespace {

class Logs : public World {
 protected:
  void SetUp() override {
    host.configure("[logs]\nmax_bytes = 262144\nfiles = 3\n");
    World::SetUp();
  }
  Finished via(std::vector<std::string> words) {
    words.insert(words.begin(), VIA_BINARY);
    words.insert(words.end(), {"--state-dir", host.state_dir().string()});
    return run_program(words);
  }
  std::string deploy(const std::string& app, const std::string& script, int replicas = 1) {
    return admin("deploy.create", {{"app", app}, {"command", {"sh", "-c", script}}, {"replicas", replicas}})["instances"][0]["id"];
  }
  std::vector<json> lines(const std::string& app, std::vector<std::string> more = {"--tail", "10000"}) {
    std::vector<std::string> words{"logs", app, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished done = via(words);
    EXPECT_EQ(done.exit_code, 0) << done.err;
    std::vector<json> out;
    for (std::size_t at = 0; at < done.out.size();) {
      const auto end = std::min(done.out.find('\n', at), done.out.size());
      out.push_back(json::parse(done.out.substr(at, end - at)));
      at = end + 1;
    }
    return out;
  }
  std::size_t count(const std::string& app, const std::string& text) {
    std::size_t n = 0;
    for (const json& line : lines(app)) n += line["text"].get<std::string>().find(text) != std::string::npos ? 1 : 0;
    return n;
  }
  std::filesystem::path folder() const { return host.state_dir() / "logs"; }
  std::uint64_t bytes_of(const std::string& instance) const {
    std::uint64_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder()))
      if (entry.path().filename().string().starts_with(instance)) sum += entry.is_regular_file() ? entry.file_size() : 0;
    return sum;
  }
  double dropped(const std::string& app, const std::string& why) {
    const std::string text = metrics();
    const auto at = text.find("via_app_log_dropped_total{app=\"" + app + "\",reason=\"" + why + "\"} ");
    return at == std::string::npos ? 0 : std::stod(text.substr(text.find("} ", at) + 2));
  }
};

// `via logs -f` in a process of its own.
class Follower {
 public:
  Follower(std::vector<std::string> words, const std::filesystem::path& out) : out_(out) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ::posix_spawn_file_actions_addopen(&actions, 2, (out.string() + ".err").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, words.front().c_str(), &actions, nullptr, arguments.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  ~Follower() {
    if (pid_ > 0) (void)end(SIGKILL);
  }
  std::size_t count(const std::string& text) const {
    const std::string all = text_of(out_);
    std::size_t n = 0;
    for (std::size_t at = 0; (at = all.find(text, at)) != std::string::npos; at += text.size()) ++n;
    return n;
  }
  std::string text() const { return text_of(out_) + text_of(out_.string() + ".err"); }
  int end(int signal) {
    ::kill(pid_, signal);
    int status = 0;
    ::waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  std::filesystem::path out_;
  pid_t pid_ = 0;
};

TEST_F(Logs, LinesOfAllInstancesComeWithTimeInstanceAndStream) {
  admin("app.create", {{"name", "api"}});
  admin("app.create", {{"name", "shop"}});
  deploy("api", "echo hello; echo trouble >&2; printf unfinished; exec sleep 1000", 2);
  deploy("shop", "echo of the shop; exec sleep 1000");
  ASSERT_TRUE(eventually([&] { return lines("api").size() == 6 && count("shop", "of the shop") == 1; }));
  std::map<std::string, std::string> seen;
  std::string before;
  for (const json& line : lines("api")) {
    const std::string time = line["time"];
    EXPECT_LE(before, time);
    before = time;
    seen[line["instance"]] += line["stream"].get<std::string>() + ":" + line["text"].get<std::string>() + (line.value("cut", false) ? "+" : "") + " ";
  }
  ASSERT_EQ(seen.size(), 2U);
  for (const auto& [instance, text] : seen) {
    for (const char* one : {"stdout:hello ", "stderr:trouble ", "stdout:unfinished+ "}) EXPECT_NE(text.find(one), std::string::npos) << text;
    const auto only = lines("api", {"--instance", instance});
    EXPECT_EQ(only.size(), 3U);
  }
  EXPECT_EQ(lines("api", {"--tail", "2"}).size(), 2U);
  EXPECT_EQ(lines("api", {"--since", "1h"}).size(), 6U);
  EXPECT_EQ(lines("api", {"--since", "2999-01-01T00:00:00Z"}).size(), 0U);
  const Finished plain = via({"logs", "api", "--tail", "6"});
  EXPECT_NE(plain.out.find(seen.begin()->first + " out hello\n"), std::string::npos) << plain.out;
  struct stat st {};
  for (const auto& entry : std::filesystem::directory_iterator(folder())) {
    ASSERT_EQ(::stat(entry.path().c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777U, 0600U);
  }
}

TEST_F(Logs, WhatIsNotThereIsSaidWithWhatIs) {
  admin("app.create", {{"name", "api"}});
  const Finished done = via({"logs", "apo"});
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_NE(done.err.find("There are: api"), std::string::npos) << done.err;
  EXPECT_EQ(via({"logs", "apo", "-f"}).exit_code, 3);
  EXPECT_EQ(via({"logs", "api", "--instance", "ins_none"}).exit_code, 3);
  EXPECT_EQ(via({"logs", "api"}).exit_code, 0);
}

TEST_F(Logs, FollowingGoesOverRestartsDeploysAndTheHostsOwnRestart) {
  admin("app.create", {{"name", "api"}});
  deploy("api", "echo first; exit 1");
  Follower follower({VIA_BINARY, "logs", "api", "-f", "--quiet", "--state-dir", host.state_dir().string()}, host.folder() / "followed");
  EXPECT_TRUE(eventually([&] { return follower.count("first\n") >= 2; })) << follower.text();
  deploy("api", "echo second; exec sleep 1000");
  EXPECT_TRUE(eventually([&] { return follower.count("second\n") == 1; })) << follower.text();
  // More than one file's worth, while it follows.
  deploy("api", "i=0; while [ $i -lt 600 ]; do i=$((i+1)); printf 'line %d %0999d\\n' $i 0; done; echo third; exec sleep 1000");
  EXPECT_TRUE(eventually([&] { return follower.count("third\n") == 1; })) << follower.text();
  EXPECT_EQ(follower.count("line "), 600U) << "every line once, over rotation";
  EXPECT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());
  EXPECT_TRUE(eventually([&] { return follower.count("third\n") == 2; })) << follower.text();
  EXPECT_EQ(follower.count("second\n"), 1U);
  EXPECT_EQ(follower.end(SIGINT), 0) << follower.text();
}

TEST_F(Logs, ThoseOfWhatEndedStayAndGoWithTheApp) {
  admin("app.create", {{"name", "api"}});
  const std::string old = deploy("api", "echo old words; exec sleep 1000");
  ASSERT_TRUE(eventually([&] { return count("api", "old words") == 1; }));
  deploy("api", "echo new words; exec sleep 1000");
  ASSERT_TRUE(eventually([&] { return count("api", "new words") == 1; }));
  EXPECT_EQ(count("api", "old words"), 1U);
  EXPECT_EQ(host.stop(), 0);
  EXPECT_EQ(count("api", "new words"), 1U) << "without a server, too";
  ASSERT_TRUE(host.start());
  EXPECT_EQ(lines("api", {"--instance", old})[0]["text"], "old words");
  admin("app.delete", {{"name", "api"}});
  EXPECT_EQ(host.stop(), 0);
  ASSERT_TRUE(host.start());  // removes what came after that, if anything did
  EXPECT_TRUE(std::filesystem::is_empty(folder()));
}

// A noisy app and a good one: every request of the good one is served, its lines are all there, and the noise takes the disk it may.
TEST_F(Logs, AFloodNeitherStarvesANeighbourNorFillsTheDisk) {
  const Runtime good = app_with_database("good");
  admin("app.create", {{"name", "bad"}});
  const std::string loud = deploy("bad", "yes 'a flood of output' & yes 'another' >&2 & exec yes flood");
  const std::string quiet = deploy("good", "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo quiet $i; done; exec sleep 1000");
  Caller app = caller(good);
  ASSERT_EQ(app.setup("CREATE TABLE t(a)").status, 200);
  std::uint64_t most = 0;
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(app.execute("INSERT INTO t VALUES(1)").status, 200);
    EXPECT_EQ(app.query("SELECT count(*) FROM t").status, 200);
    if (i % 20 == 0) most = std::max(most, bytes_of(loud));
  }
  EXPECT_TRUE(eventually([&] { return dropped("bad", "burst") > 100'000; }));
  EXPECT_TRUE(eventually([&] { return count("good", "quiet") == 100; }));
  most = std::max(most, bytes_of(loud));
  EXPECT_LE(most, 4U * 262'144) << "three files, and one that is just begun";
  EXPECT_GT(most, 0U);
  EXPECT_EQ(dropped("good", "burst") + dropped("good", "slow_disk") + dropped("good", "disk"), 0);
  admin("runtime.stop", {{"instance", loud}});
  EXPECT_TRUE(eventually([&] { return count("bad", "lines dropped: more than") > 0; }));
  EXPECT_LE(host.log().size(), 1U << 20) << "nor does it fill the host's own log";
}

TEST_F(Logs, AnAppsOutputCannotSteerTheTerminalOfWhoLooks) {
  admin("app.create", {{"name", "api"}});
  const std::string id = deploy("api", "printf '\\033]0;owned\\007\\033[2J a\\000b \\302\\233 \\342\\200\\256 \\377\\r\\n'; head -c 2000 /dev/urandom; echo; echo end; exec sleep 1000");
  ASSERT_TRUE(eventually([&] { return count("api", "end") > 0; }));
  std::string on_disk;
  for (const auto& entry : std::filesystem::directory_iterator(folder())) on_disk += text_of(entry.path());
  for (const std::string& text : {on_disk, via({"logs", "api"}).out, via({"logs", "api", "--quiet"}).out, via({"logs", "api", "--json"}).out})
    for (const char c : text) ASSERT_TRUE(c == '\n' || c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)) << text;
  EXPECT_EQ(count("api", "\\x1b]0;owned\\x07\\x1b[2J a\\x00b \\u009b \\u202e \\xff"), 1U) << on_disk;
}

TEST_F(Logs, ALineOfAHundredMegabytesCostsItsBurstAndNoMore) {
  admin("app.create", {{"name", "api"}});
  const std::string id = deploy("api", "head -c 100000000 /dev/zero | tr '\\0' A; echo; echo done >/dev/stderr; exec sleep 1000");
  ASSERT_TRUE(eventually([&] { return dropped("api", "burst") > 0; }, 120'000));
  EXPECT_LE(bytes_of(id), 4U * 262'144);
  const auto all = lines("api");
  ASSERT_FALSE(all.empty());
  for (const json& line : all) EXPECT_LE(line["text"].get<std::string>().size(), 16'384U);
  EXPECT_LE(host.resident_kib(), 400'000U);
}

// Whoever can put a link into the folder could do anything as the host's user; nothing is written through it or shown of it all the same.
TEST_F(Logs, ALinkAtTheLogsPlaceIsNeitherFollowedNorRead) {
  admin("app.create", {{"name", "api"}});
  const std::string id = deploy("api", "echo words; exec sleep 1000");
  ASSERT_TRUE(eventually([&] { return count("api", "words") == 1; }));
  const auto victim = host.state_dir() / "keys" / "master.key";
  const std::string secret = text_of(victim);
  ASSERT_FALSE(secret.empty());
  const auto file = [&](int number) { return folder() / (id + ".log." + std::to_string(number)); };
  std::filesystem::remove(file(1));
  for (const int number : {1, 2, 3}) std::filesystem::create_symlink(victim, file(number));
  const json running = admin("runtime.list", {{"app", "api"}});
  ::kill(running["items"][0]["pid"], SIGKILL);  // it is started again, and says its words again
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(file(4)); }));
  EXPECT_TRUE(eventually([&] { return count("api", "words") == 1; }));
  EXPECT_EQ(text_of(victim), secret);
  EXPECT_EQ(via({"logs", "api"}).out.find(secret.substr(0, 20)), std::string::npos);
}

}  // namespace
}  // namespace via::test
