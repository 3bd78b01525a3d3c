#include "fault/io_fault.hpp"

#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "fault/rounds.hpp"

namespace via::test {
namespace {

namespace fs = std::filesystem;

// VIA_FAULT_ALL: "1" is every fault at every point, "kill" every kill (of whole and of torn writes) and a few others.
bool every(via_shim_action action) {
  const char* set = std::getenv("VIA_FAULT_ALL");
  if (set == nullptr) return false;
  return std::string(set) == "1" || (std::string(set) == "kill" && (action == VIA_SHIM_KILL || action == VIA_SHIM_TORN));
}
bool every_kill() { return every(VIA_SHIM_KILL); }

// Files and folders with their modes. Sockets end with the process that made them.
void copy_tree(const fs::path& from, const fs::path& to) {
  fs::create_directory(to);
  fs::permissions(to, fs::status(from).permissions());
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path target = to / entry.path().filename();
    if (entry.is_symlink())
      fs::copy_symlink(entry.path(), target);
    else if (entry.is_directory())
      copy_tree(entry.path(), target);
    else if (entry.is_regular_file())
      fs::copy_file(entry.path(), target);
  }
}

std::vector<std::string> select(const fs::path& file, const std::string& sql) {
  sqlite3* db = nullptr;
  std::vector<std::string> out;
  char* message = nullptr;
  if (sqlite3_open_v2(file.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK ||
      sqlite3_exec(
          db, sql.c_str(),
          [](void* to, int, char** values, char**) {
            static_cast<std::vector<std::string>*>(to)->push_back(values[0] == nullptr ? "" : values[0]);
            return 0;
          },
          &out, &message) != SQLITE_OK)
    out.push_back("error: " + std::string(message != nullptr ? message : sqlite3_errmsg(db)));
  sqlite3_free(message);
  sqlite3_close(db);
  return out;
}

std::string tail(const std::string& log) {
  return log.substr(log.size() > 3000 ? log.size() - 3000 : 0);
}

const std::vector<std::string>& leftovers() {
  static const std::vector<std::string> all{".partial", "staging", ".tmp", "trash", "-journal", ".restore", ".import", ".verify", "restore.json"};
  return all;
}

}  // namespace

std::string IoFault::Fault::text() const {
  return std::string(name_of(action)) + (sticky ? " from here on: " : ": ") + point.name + " #" +
         std::to_string(point.occurrence);
}

IoFault::IoFault() : shim_(host.folder() / "shim", host.state_dir()), template_(host.folder() / "template") {}

std::filesystem::path IoFault::outside() const { return host.folder() / "outside"; }

std::vector<std::filesystem::path> IoFault::beside() const {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(host.folder())) {
    const std::string name = entry.path().filename().string();
    if (name != HostProcess::kCanary && name.find(HostProcess::kCanary) != std::string::npos) out.push_back(entry.path());
  }
  return out;
}

Finished IoFault::via(std::vector<std::string> words) {
  words.insert(words.begin(), VIA_BINARY);
  words.insert(words.end(), {"--state-dir", host.state_dir().string()});
  return run_program(words);
}

std::optional<json> IoFault::ask(const std::string& command, const json& arguments) {
  auto answer = cli::SocketTransport(host.admin_socket()).call(command, arguments);
  if (!answer) return std::nullopt;
  return std::move(*answer);
}

void IoFault::kill_at(const std::string& command, const json& arguments, double part) {
  // Once to learn the calls, on a copy; then again up to the point.
  EXPECT_EQ(host.stop(), 0);
  const fs::path aside = host.folder() / "aside";
  copy_tree(host.state_dir(), aside);
  host.environment = shim_.environment();
  EXPECT_TRUE(host.start()) << host.log();
  shim_.trace();
  admin(command, arguments);
  shim_.off();
  const auto calls = shim_.calls();
  EXPECT_EQ(host.stop(), 0);
  ASSERT_FALSE(calls.empty());
  // Other threads of the host make calls too, not the same in every run: the point may be one that does not come.
  unsigned struck = 0;
  for (int attempt = 0; attempt < 5 && struck == 0; ++attempt, part *= 0.9) {
    fs::remove_all(host.state_dir());
    copy_tree(aside, host.state_dir());
    fs::remove_all(outside());
    fs::create_directory(outside());
    EXPECT_TRUE(host.start()) << host.log();
    shim_.arm(calls[static_cast<std::size_t>(part * static_cast<double>(calls.size() - 1))], VIA_SHIM_KILL, false);
    (void)ask(command, arguments);
    host.kill();
    shim_.off();
    struck = shim_.struck();
  }
  EXPECT_EQ(struck, 1U);
  fs::remove_all(aside);
  host.environment.clear();
}

void IoFault::without_room(const std::string& command, const json& arguments, const std::string& call) {
  EXPECT_EQ(host.stop(), 0);
  host.environment = shim_.environment();
  EXPECT_TRUE(host.start()) << host.log();
  shim_.arm({call, 1, 0}, VIA_SHIM_ENOSPC, false);
  EXPECT_FALSE(ask(command, arguments)) << "no room for " << call;
  shim_.off();
  EXPECT_EQ(shim_.struck(), 1U);
  EXPECT_EQ(host.stop(), 0);
  host.environment.clear();
  EXPECT_TRUE(host.start()) << host.log();
}

void IoFault::make_template(const IoCase& what) {
  fs::create_directory(outside());
  shim_.watch(what.beside ? host.folder() : host.state_dir(), what.outside ? outside() : fs::path());
  if (what.how == How::first_start) {
    fs::create_directory(template_);
    fs::permissions(template_, fs::perms::owner_all);
    return;
  }
  ASSERT_TRUE(host.start()) << host.log();
  steady_ = app_with_database("steady");
  ASSERT_EQ(caller(steady_).setup("CREATE TABLE t(a); INSERT INTO t VALUES('steady')").status, 200);
  about_ = what.prepare ? what.prepare(*this) : json::object();
  if (host.running()) {
    ASSERT_EQ(host.stop(), 0) << tail(host.log());
  }
  copy_tree(host.state_dir(), template_);
}

void IoFault::restore_template() {
  fs::remove_all(host.state_dir());
  copy_tree(template_, host.state_dir());
  for (const auto& path : beside()) fs::remove_all(path);
  fs::remove_all(outside());
  fs::create_directory(outside());
}

IoFault::Outcome IoFault::act(const IoCase& what, const Fault* fault) {
  restore_template();
  const auto begin = [&] {
    if (fault == nullptr)
      shim_.trace();
    else
      shim_.arm(fault->point, fault->action, fault->sticky);
  };
  Outcome out;
  host.environment = shim_.environment();
  switch (what.how) {
    case How::command: {
      if (!host.start()) {
        ADD_FAILURE() << "the start before the fault\n" << tail(host.log());
        return out;
      }
      // Its database is open before the fault: opening one makes files.
      EXPECT_EQ(caller(steady_).query("SELECT a FROM t").status, 200);
      // The processes that the start launched are known to run: that is written when they report.
      EXPECT_TRUE(eventually([&] {
        const json listed = admin("runtime.list");
        return std::none_of(listed["items"].begin(), listed["items"].end(),
                            [](const json& item) { return item.value("state", "") == "starting"; });
      }));
      begin();
      if (what.act) {
        out.error = what.act(*this, about_);
        out.succeeded = out.error.empty();
      } else {
        auto answer = cli::SocketTransport(host.admin_socket()).call(what.command, what.arguments(about_));
        out.succeeded = static_cast<bool>(answer);
        if (!answer) out.error = std::string(answer.error().wire_name());
      }
      if (host.running() && out.error == "outcome_unknown") {
        EXPECT_EQ(admin("op.list", {{"state", "running"}})["items"], json::array()) << "nobody is to wait for it";
      }
      // Writes that fail are no reason to refuse a read.
      if (fault != nullptr && host.running() && shim_.struck() > 0 && fault->sticky) {
        EXPECT_EQ(caller(steady_).query("SELECT a FROM t").status, 200) << "reads go on under " << fault->text();
      }
      break;
    }
    case How::in_process: {
      begin();
      std::vector<std::string> command{VIA_BINARY};
      command.insert(command.end(), what.words.begin(), what.words.end());
      if (about_.contains("words"))
        for (const auto& [place, word] : about_["words"].items())
          command[std::stoul(place) + 1] = word.get<std::string>();
      command.insert(command.end(), {"--state-dir", host.state_dir().string()});
      const Finished run = run_program(command, shim_.environment());
      out.died = run.exit_code == 137;
      out.succeeded = run.exit_code == 0;
      if (!out.succeeded) out.error = "exit " + std::to_string(run.exit_code) + " " + run.err;
      break;
    }
    case How::start:
    case How::first_start:
      begin();
      out.succeeded = host.start();
      if (!out.succeeded) out.error = "exit " + std::to_string(host.exit_code());
      break;
  }
  shim_.off();
  out.struck = shim_.struck() > 0;
  if (what.how != How::in_process) {
    const bool kills = fault != nullptr && (fault->action == VIA_SHIM_KILL || fault->action == VIA_SHIM_TORN);
    // A host that the fault left alive ends in one of two ways: told to, or not.
    if (kills && out.struck) {
      EXPECT_TRUE(eventually([&] { return !host.running(); })) << "it was killed";
      out.died = true;
    } else if (host.running() && fault != nullptr && fault->point.occurrence % 2 == 1) {
      host.kill();
    } else if (host.running()) {
      (void)host.stop();
    }
  }
  host.environment.clear();
  return out;
}

void IoFault::check(const IoCase& what, const Outcome& outcome, bool again) {
  ASSERT_TRUE(host.start()) << "the next start needs no hand\n" << tail(host.log());
  const json status = admin("status");
  for (const json& one : status["checks"]) {
    const std::string name = one.value("name", "");
    if (!what.tolerated.contains(name) && !(name == "addons" && what.may_fail && !outcome.died)) {
      EXPECT_TRUE(one.value("ok", false)) << one << "\n" << tail(host.log());
    }
  }
  EXPECT_EQ(admin("op.list", {{"state", "running"}})["items"], json::array());
  EXPECT_TRUE(admin("audit.verify").value("ok", false));
  const Is is = what.state(*this, about_);
  if (what.how != How::first_start && !(what.new_host && is == Is::new_state)) {
    EXPECT_EQ(rows_of(caller(steady_).query("SELECT a FROM t")), json({{"steady"}})) << "nobody else notices";
  }
  EXPECT_NE(is, Is::neither) << tail(host.log());
  ++(is == Is::new_state ? tally_.new_states : tally_.old_states);
  if (outcome.succeeded) {
    EXPECT_EQ(is, Is::new_state) << "it was acknowledged";
  }
  if (!outcome.succeeded && !outcome.died && is == Is::new_state && what.how == How::command) {
    ++tally_.done_but_refused;
    ++tally_.refusals[outcome.error];
    EXPECT_TRUE(outcome.error == "outcome_unknown" || what.explains.contains(outcome.error))
        << "the error '" << outcome.error << "' does not say that it may have been done";
  }
  if (again && is == Is::old_state && what.how == How::command && !what.act) {
    auto answer = cli::SocketTransport(host.admin_socket()).call(what.command, what.arguments(about_));
    EXPECT_TRUE(answer) << "it works when it is asked for again: " << (answer ? "" : answer.error().message);
    EXPECT_EQ(what.state(*this, about_), Is::new_state);
  }
  EXPECT_EQ(host.stop(), 0) << tail(host.log());
  check_files();
  if (what.outside) check_outside();
  if (what.afterwards && again) what.afterwards(*this, about_);
}

// A file is there under its name, whole, or not at all.
void IoFault::check_outside() {
  for (const auto& entry : fs::directory_iterator(outside())) {
    const std::string name = entry.path().filename().string();
    EXPECT_FALSE(name.starts_with('.')) << "left over outside: " << name;
  }
}

void IoFault::check_files() {
  const fs::path control = host.state_dir() / "control-plane.db";
  const std::vector<std::string> ok{"ok"}, none;
  EXPECT_EQ(select(control, "PRAGMA integrity_check"), ok);
  EXPECT_EQ(select(control, "PRAGMA foreign_key_check"), none);
  EXPECT_EQ(select(control, "SELECT id || ' ' || kind FROM operations WHERE state = 'running'"), none);
  EXPECT_EQ(select(control, "SELECT name FROM addons WHERE state IN ('provisioning','destroying')"), none);
  const auto living = select(control, "SELECT id FROM addons WHERE state <> 'destroyed'");
  const auto known = select(control, "SELECT id FROM addons");
  auto material = select(control, "SELECT material FROM instances WHERE wanted = 1");
  for (auto& folder : material) folder = fs::path(folder).filename().string();
  const auto snapshots = select(control, "SELECT id FROM snapshots WHERE deleted_at = 0");
  const std::string key_list = text_of(host.state_dir() / "keys" / "keys.json");
  const auto in = [](const std::vector<std::string>& list, const std::string& id) {
    return std::find(list.begin(), list.end(), id) != list.end();
  };
  for (const auto& id : snapshots) {
    const auto folder = select(control, "SELECT type || '/' || addons.id FROM addons JOIN snapshots ON addon_id = addons.id WHERE snapshots.id = '" + id + "'");
    const auto retained = fs::path("retained") / fs::path(folder.at(0)).filename();
    const fs::path beside = host.state_dir() / "addons" / folder.at(0) / "snapshots";  // a file; a folder of several databases
    const auto holds = [&](const fs::path& in_folder) {  // under the extension that its type gives the one file
      std::error_code ec;
      for (fs::directory_iterator at(in_folder, ec), end; !ec && at != end; at.increment(ec))
        if (at->path().stem() == id) return true;
      return false;
    };
    EXPECT_TRUE(holds(beside) || holds(host.state_dir() / retained)) << "the files of a snapshot are gone: " << id;
  }
  for (fs::recursive_directory_iterator at(host.state_dir()), end; at != end; ++at) {
    const fs::path& path = at->path();
    const std::string name = path.filename().string();
    const fs::path below = path.lexically_relative(host.state_dir());
    struct stat st {};
    ASSERT_EQ(::lstat(path.c_str(), &st), 0);
    const mode_t others = below.begin()->string() == "runtimes" ? 027 : 077;  // material is its app's to read
    EXPECT_EQ(st.st_mode & others, 0U) << below << " is open to others";
    for (const auto& left : leftovers())
      EXPECT_EQ(name.find(left), std::string::npos) << "left over: " << below;
    const std::string parent = path.parent_path().filename().string();
    if (parent == "runtimes") {
      EXPECT_TRUE(in(material, name)) << "material of no instance: " << below;
    }
    if (path.parent_path().parent_path() == host.state_dir() / "addons") {
      EXPECT_TRUE(in(known, name)) << "data of no add-on: " << below;
    }
    if (name == "data.sqlite" && path.parent_path().parent_path().parent_path() == host.state_dir() / "addons") {
      EXPECT_TRUE(in(living, parent)) << "data of a destroyed add-on: " << below;
    }
    if (parent == "snapshots") {
      EXPECT_TRUE(in(snapshots, path.stem().string())) << "no snapshot has it: " << below;
    }
    if (parent == "keys" && name.ends_with(".pem")) {
      EXPECT_NE(key_list.find(path.stem().string()), std::string::npos) << "no key of the list has it: " << below;
    }
    if (name.ends_with(".sqlite") && at->is_regular_file()) {
      EXPECT_EQ(select(path, "PRAGMA integrity_check"), ok) << below;
    }
  }
}

// Every fault of every point; or a sample: two kills, and one fault of one other kind.
std::vector<IoFault::Fault> IoFault::choose(const IoCase& what, const std::vector<IoPoint>& points,
                                            std::mt19937& random) const {
  std::vector<Fault> out;
  const auto add_named = [&](const std::string& text) {
    for (const auto& point : points)
      for (const auto action : {VIA_SHIM_KILL, VIA_SHIM_TORN, VIA_SHIM_EIO, VIA_SHIM_ENOSPC, VIA_SHIM_SHORT})
        for (const bool sticky : {false, true})
          if (Fault one{point, action, sticky}; point.can(action) && one.text() == text) out.push_back(one);
  };
  if (const char* only = std::getenv("VIA_FAULT_ONLY")) {  // a failure's trace: that fault again
    add_named(only);
    return out;
  }
  for (const auto& text : what.always) add_named(text);
  const auto add = [&](via_shim_action action, bool sticky, std::size_t at_most) {
    std::vector<Fault> can;
    for (const auto& point : points)
      if (point.can(action)) can.push_back({point, action, sticky});
    if (every(action) || can.size() <= at_most) {
      out.insert(out.end(), can.begin(), can.end());
      return;
    }
    const std::size_t step = can.size() / at_most;
    const std::size_t first = std::uniform_int_distribution<std::size_t>(0, step - 1)(random);
    std::cout << name_of(action) << (sticky ? " from there on" : "") << ": point " << first + 1 << " of " << can.size()
              << (at_most > 1 ? " and every " + std::to_string(step) + "th behind it" : "") << '\n';
    for (std::size_t at = first, n = 0; n < at_most; at += step, ++n) out.push_back(can[at]);
  };
  add(VIA_SHIM_KILL, false, 2);
  const std::vector<std::pair<via_shim_action, bool>> others{{VIA_SHIM_TORN, false},  {VIA_SHIM_EIO, false},
                                                             {VIA_SHIM_EIO, true},    {VIA_SHIM_ENOSPC, false},
                                                             {VIA_SHIM_ENOSPC, true}, {VIA_SHIM_SHORT, false}};
  const std::size_t chosen = std::uniform_int_distribution<std::size_t>(0, others.size() - 1)(random);
  for (std::size_t i = 0; i < others.size(); ++i)
    if (i == chosen || every_kill()) add(others[i].first, others[i].second, 1);
  return out;
}

void IoFault::run(const IoCase& what) {
  auto random = random_source();
  ASSERT_NO_FATAL_FAILURE(make_template(what));
  const Outcome traced = act(what, nullptr);
  ASSERT_TRUE(traced.succeeded) << traced.error << "\n" << tail(host.log());
  const auto points = shim_.calls();
  ASSERT_FALSE(points.empty()) << "the shim sees the host's calls";
  check(what, traced, false);
  ASSERT_EQ(tally_.new_states, 1) << "the operation works without a fault";
  tally_ = {};
  std::set<std::string> names;
  for (const auto& point : points) names.insert(point.name);

  const auto chosen = choose(what, points, random);
  ASSERT_FALSE(chosen.empty()) << "VIA_FAULT_ONLY names no fault of this case: it is one fault's text, such as 'kill: "
                               << points.front().name << " #1'. The case is chosen by --gtest_filter.";
  int missed = 0;
  for (const Fault& fault : chosen) {
    SCOPED_TRACE(what.name + ": " + fault.text());
    Outcome outcome;
    // Threads may have done less before the operation ended; the point comes in another run.
    for (int attempt = 0; attempt < 4 && !outcome.struck; ++attempt) outcome = act(what, &fault);
    if (!outcome.struck) {
      ++missed;
      continue;
    }
    ++tally_.runs[std::string(name_of(fault.action)) + (fault.sticky ? "+" : "")];
    if (fault.action == VIA_SHIM_KILL) tally_.killed.insert(fault.point.name);
    ASSERT_NO_FATAL_FAILURE(check(what, outcome, true));
    if (HasFailure() && !every_kill()) return;
  }
  std::ostringstream line;
  line << "io-fault | " << what.name << " | calls " << points.size() << " | names " << names.size() << " | killed at "
       << tally_.killed.size();
  for (const auto& [fault, runs] : tally_.runs) line << " | " << fault << ' ' << runs;
  line << " | old " << tally_.old_states << " | new " << tally_.new_states << " | done but refused "
       << tally_.done_but_refused;
  for (const auto& [name, times] : tally_.refusals) line << " (" << name << ' ' << times << ')';
  line << " | missed " << missed;
  std::cout << line.str() << std::endl;
  if (every_kill() && std::getenv("VIA_FAULT_ONLY") == nullptr) {
    for (const auto& name : names) std::cout << "io-point | " << what.name << ": " << name << '\n';
    EXPECT_EQ(tally_.killed, names) << "every named point was killed at";
  }
}

}  // namespace via::test
