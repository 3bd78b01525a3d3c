// One lifecycle operation under every fault its file and database calls can have: the host is killed before each call,
// killed in the middle of each write, and each call fails with EIO, ENOSPC or half a write, once or from there on. Then
// a start without faults has to find the old state or the new one, whole, and the operation has to work.
// Thread: the test's own.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fault/io_shim.hpp"
#include "support/world.hpp"

namespace via::test {

enum class Is { old_state, new_state, neither };

class IoFault;

// What happens under the fault.
enum class How {
  command,     // an admin command of a running host
  in_process,  // a run of the `via` command on a folder that no host holds
  start,       // the start of the host
  first_start  // the same, on an empty folder
};

struct IoCase {
  std::string name;  // "addon.create": the operation kind of the fault points' names
  How how = How::command;
  // Makes the state that the operation begins with, on a running host; what it returns goes to the others as `about`.
  std::function<json(IoFault&)> prepare;
  std::string command;                                   // How::command
  std::function<json(const json& about)> arguments;      // How::command
  // How::command, instead of the two: several commands. What failed, or "".
  std::function<std::string(IoFault&, const json& about)> act;
  // How::in_process, behind `via`; "words" of `about` replaces those that are only known then, by their place.
  std::vector<std::string> words;
  std::function<Is(IoFault&, const json& about)> state;  // on a running host without faults; explains `neither`
  // With the host stopped, once the state is known; for what a command leaves outside of the state folder.
  std::function<void(IoFault&, const json& about)> afterwards;
  bool beside = false;    // it works on the folders beside the state folder too: their files are counted as well
  bool outside = false;   // it writes into outside()
  bool new_host = false;  // the new state is another host, for which tokens from before are worth nothing
  // Errors that may be answered although the new state comes: they say themselves what has happened and what will.
  // Every other one must say `outcome_unknown`.
  std::set<std::string> explains;
  bool may_fail = false;  // a fault may leave an add-on in state "failed", which is the old state and shown by status
  std::vector<std::string> always;  // faults that are never left out, by their text
  std::set<std::string> tolerated;  // checks of `via status` that need not be ok, whatever happened
};

const std::vector<IoCase>& io_cases();

struct IoTally {
  std::map<std::string, int> runs;  // by fault
  int old_states = 0, new_states = 0, done_but_refused = 0;  // the last: an error, and yet the new state
  std::set<std::string> killed;  // names
  std::map<std::string, int> refusals;  // wire names of those errors
};

class IoFault : public World {
 public:
  IoFault();
  using World::admin;
  using World::admin_error;
  using World::app_with_database;
  using World::caller;
  using World::host;
  using World::issue;
  std::optional<json> ask(const std::string& command, const json& arguments = json::object());
  // A host that was killed at this point of the operation, for cases that begin with a crash.
  void kill_at(const std::string& command, const json& arguments, double part);
  // A command that fails because no file can be made.
  void without_room(const std::string& command, const json& arguments, const std::string& call);
  // Everybody's add-on is used by a new instance from here on.
  void replace_steady() { steady_ = issue("steady"); }
  Finished via(std::vector<std::string> words);       // on the state folder, to its end
  std::filesystem::path outside() const;              // a folder that is no part of the host, empty before each fault
  std::vector<std::filesystem::path> beside() const;  // what stands beside the state folder and came from it

 protected:
  void SetUp() override {}
  void run(const IoCase& what);

 private:
  struct Fault {
    IoPoint point;
    via_shim_action action = VIA_SHIM_KILL;
    bool sticky = false;
    std::string text() const;
  };
  struct Outcome {
    bool struck = false;
    bool died = false, succeeded = false;
    std::string error;
  };

  void make_template(const IoCase& what);
  void restore_template();
  // Empty fault: a traced run.
  Outcome act(const IoCase& what, const Fault* fault);
  void check(const IoCase& what, const Outcome& outcome, bool again);
  void check_files();
  void check_outside();
  std::vector<Fault> choose(const IoCase& what, const std::vector<IoPoint>& points, std::mt19937& random) const;

  IoShim shim_;
  std::filesystem::path template_;
  json about_;
  Runtime steady_;
  IoTally tally_;
};

}  // namespace via::test
