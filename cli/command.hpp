// One command of `via`: its words, its arguments, the admin call they become and how the answer is shown. A
// command file states these and nothing else; parsing, transport, --json, --quiet, errors and exit codes are
// here once. Thread: one.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/environment.hpp"
#include "cli/output.hpp"

namespace via::cli {

// What an argument means in the admin request.
enum class Kind {
  text,      // a string
  file,      // a string that names a path, sent absolute
  number,    // an integer
  duration,  // "90s", "15m", "1h", "7d": sent in seconds
  words,     // a list of strings
  pairs,     // KEY=VALUE…: an object
  settings,  // the same, but numbers, true, false and JSON objects are sent as what they are
  lifetime,  // a duration, or "never": 0
  seconds_or_default,  // a duration that may be left out: the flag alone means 30 s
  since,               // a duration back from now, or an RFC 3339 time
  secret_file,         // the first line of a private file, "-" = standard input
  file_text,           // the content of a file
  files,               // a list of paths, sent absolute
  bytes,               // "256M", "1G": sent in bytes
  processors,          // "0.5", "2": sent in percent of one
};

struct Session {
  Environment& environment;
  Output& output;
  const Globals& globals;
  std::filesystem::path state_dir;
  std::string target;  // the name of the target that state_dir is of; empty when none was asked for
};

class Command {
 public:
  // `admin_command` is empty for the few commands that call no host.
  Command(CLI::App& app, std::string admin_command) : app_(app), admin_command_(std::move(admin_command)) {}

  // A positional; `key` is its name in the request, `shown` in the help.
  Command& argument(const std::string& key, const std::string& shown, const std::string& help,
                    Kind kind = Kind::text, bool required = true);
  Command& option(const std::string& flag, const std::string& key, const std::string& shown,
                  const std::string& help, Kind kind = Kind::text, bool required = false);
  Command& flag(const std::string& flag, const std::string& key, const std::string& help);
  // Restricts the argument declared last to these words.
  Command& one_of(const std::vector<std::string>& words);
  // Everything after `--` becomes the list `key`, a command. Its program, when a relative path, is made
  // absolute unless the request names a folder to run in.
  Command& tail(const std::string& key, const std::string& shown);
  Command& examples(const std::vector<std::string>& lines);

  // How the answer is shown, and what --quiet prints instead: this member of the result, or of each item; "a/b" is b of a, or of
  // each of a list a. Every command that asks the host has one, or a quiet() of its own.
  // A render function returns the exit code; 0 unless it found something degraded.
  using Render = std::function<int(Output&, const Json&)>;
  Command& render(Render render, std::string quiet_key = "");
  // The names and ids that --quiet prints, where they are not a member.
  using Names = std::function<std::vector<std::string>(const Json&)>;
  Command& quiet(Names names);
  // The next command a person may want, to stderr.
  Command& next(std::function<std::string(const Json&)> text);
  // The command may take long: it is followed as an operation, and --no-wait returns when it has begun.
  Command& long_running();
  // Where there is no host yet, this command makes one. No other does: there is nothing there that it could be about.
  Command& begins_host();
  // About a file alone: where there is no host, one in a temporary folder answers.
  Command& needs_no_host();
  // Adds --plan, --apply, --yes and --confirm. `name_key` is the argument that a person is asked to retype;
  // `yes_key`, when given, is what --yes is in the request. Without a terminal the command goes ahead, unless
  // `needs_yes` says that this request wants an explicit yes.
  Command& destructive(std::string name_key, std::string yes_key = "", std::function<bool(const Json&)> needs_yes = {});
  // Adds --plan and --apply, for what is no loss: nobody is asked.
  Command& plannable();
  // For destructive ones, on a terminal: sees the plan, may ask, and changes the request; true when it did.
  Command& offer(std::function<bool(Session&, const Json& plan, Json& request)> offer);
  // The request member that is read from standard input: a secret, never an argument.
  Command& input(const std::string& key, const std::string& what);
  // The host is the one that --target names, instead of --state-dir's.
  Command& targeted();
  // Arguments of these names stay here: they are not of the request.
  Command& keep(std::vector<std::string> keys);
  // Works on the answer before it is shown, in every form.
  Command& amend(std::function<Result<void>(Session&, Json&)> amend);
  // An error that is an answer after all.
  Command& rescue(std::function<std::optional<Json>(const Error&)> rescue);
  // For commands that do not call the host.
  Command& local(std::function<int(Session&)> action);

  // Reads the parsed arguments and does the work.
  int run(Session& session);

  // The admin request of what was parsed; "-" as a file of a secret reads `in`.
  Result<Json> arguments(std::istream* in = nullptr) const;
  bool wants_target() const { return targeted_; }
  bool has_quiet_form() const { return !quiet_key_.empty() || quiet_; }
  const std::string& target() const { return target_; }
  bool is_long() const { return long_; }
  bool may_make_host() const { return begins_host_ && !plan_; }
  const std::string& admin_command() const { return admin_command_; }
  bool has_tail() const { return !tail_key_.empty(); }
  const std::string& tail_shown() const { return tail_shown_; }
  void set_tail(std::vector<std::string> words) { tail_ = std::move(words); }
  const std::vector<std::string>& example_lines() const { return examples_; }
  std::string text(const std::string& key) const;  // of a parsed argument, empty when absent

 private:
  struct Binding {
    std::string key;
    Kind kind = Kind::text;
    CLI::Option* option = nullptr;
    std::vector<std::string> values;
    bool set = false;
    bool is_flag = false;
  };
  Command& bind(const std::string& name, const std::string& key, const std::string& shown,
                const std::string& help, Kind kind, bool required);
  Result<Json> ask(Session& session, AdminTransport& admin, Json request);
  // Empty when the command may go ahead, else why not.
  Result<void> agree(Session& session, AdminTransport& admin, Json& request);
  Result<std::string> read_input(Session& session) const;
  // The exit code that render() gives, whichever way the answer is shown.
  int verdict(const Session& session, const Json& answer) const;

  CLI::App& app_;
  std::string admin_command_;
  std::deque<Binding> bindings_;  // CLI11 keeps references
  std::string tail_key_, tail_shown_;
  std::vector<std::string> tail_;
  std::vector<std::string> examples_;
  Render render_;
  std::string quiet_key_;
  Names quiet_;
  std::function<std::string(const Json&)> next_;
  std::function<int(Session&)> local_;
  bool long_ = false, no_wait_ = false, begins_host_ = false, needs_no_host_ = false;
  bool destructive_ = false, plannable_ = false, plan_ = false, yes_ = false;
  std::string apply_, confirm_, name_key_, yes_key_, input_key_, input_what_;
  std::function<bool(const Json&)> needs_yes_;
  std::function<bool(Session&, const Json&, Json&)> offer_;
  bool targeted_ = false;
  std::string target_;
  std::vector<std::string> kept_;
  std::vector<std::string> stray_value_;  // of input(): a secret that was put where everybody can read it
  std::function<Result<void>(Session&, Json&)> amend_;
  std::function<std::optional<Json>(const Error&)> rescue_;
};

// The tree of commands. Other names of the binary (vary, hoody) get a tree of their own here.
class CommandTree {
 public:
  explicit CommandTree(const std::string& program = "via");
  const std::string& program() const { return globals_.program; }
  // What the short help begins with, and its examples.
  void describe(std::string summary, std::vector<std::string> examples) {
    summary_ = std::move(summary);
    examples_ = std::move(examples);
  }
  const std::string& summary() const { return summary_; }
  const std::vector<std::string>& example_lines() const { return examples_; }
  CLI::App& root() { return root_; }
  const CLI::App& root() const { return root_; }
  Globals& globals() { return globals_; }

  CLI::App& group(const std::string& name, const std::string& help, const std::string& section);
  Command& add(CLI::App& parent, const std::string& name, const std::string& help,
               const std::string& admin_command);
  Command* find(const CLI::App* app);
  const Command* find(const CLI::App* app) const;

  // Headings of the short help, in order, with the commands below them.
  const std::vector<std::pair<std::string, std::vector<const CLI::App*>>>& sections() const {
    return sections_;
  }
  void place(const CLI::App& app, const std::string& section);

  // The command that these words select, walking over options and their values.
  CLI::App& locate(const std::vector<std::string>& words);

 private:
  CLI::App root_;
  Globals globals_;
  std::string summary_;
  std::vector<std::string> examples_;
  std::map<const CLI::App*, std::unique_ptr<Command>> commands_;
  std::vector<std::pair<std::string, std::vector<const CLI::App*>>> sections_;
};

// The host that the command is about; of one that is not there, how to start it.
Result<std::unique_ptr<AdminTransport>> open_host(Session& session, bool may_make);

// Of an answer with checks or problems, what --quiet prints: the names of those that are not well.
std::vector<std::string> names_of_trouble(const Json& answer);

// "via: …" and the exit code of an error.
int report(Environment& environment, const Globals& globals, const Error& error);

// The registrations, one file each.
void add_host_commands(CommandTree& tree);
void add_app_commands(CommandTree& tree);
void add_addon_commands(CommandTree& tree);
void add_deploy_commands(CommandTree& tree);
void add_runtime_commands(CommandTree& tree);
void add_config_commands(CommandTree& tree);
void add_identity_commands(CommandTree& tree);
void add_plugin_commands(CommandTree& tree);
void add_operation_commands(CommandTree& tree);
void add_backup_commands(CommandTree& tree);
void add_manifest_commands(CommandTree& tree, CLI::App& app);
void add_program_commands(CommandTree& tree);  // version, completion, man: of every tree
void add_vary_commands(CommandTree& tree);
void add_db_commands(CommandTree& tree);  // of via and hoody
void add_files_commands(CommandTree& tree);  // of hoody
void add_kv_commands(CommandTree& tree);
void add_kit_commands(CommandTree& tree);

// Help text of a command or a group, generated from the tree.
std::string help_text(const CommandTree& tree, const CLI::App& app);
// The commands of the tree closest to a mistyped word, or "".
std::string closest(const std::string& word, const std::vector<std::string>& known);
// A completion script for bash, zsh or fish, generated from the tree.
std::string completion_script(const CommandTree& tree, const std::string& shell);

}  // namespace via::cli
