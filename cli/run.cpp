// From argv to an exit code: global options, what to say about words that are no command, and the call of the
// one that is selected. See environment.hpp for the promise.
#include <unistd.h>

#include <algorithm>
#include <numeric>
#include <ostream>

#include "cli/help.hpp"
#include "cli/targets.hpp"
#include "core/base/files.hpp"

namespace via::cli {
namespace {

constexpr int kUsage = 2;

// Edits (insert, delete, replace, swap of neighbours) between two words.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

const CLI::App& deepest(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : deepest(*parsed.back());
}

int usage_error(Environment& environment, const CLI::App& at, const std::string& message) {
  environment.err << path_of(at).substr(0, path_of(at).find(' ')) << ": " << printable(message) << "\nRun '" << path_of(at) << " --help'.\n";
  return kUsage;
}

// What to say about a word that nothing took.
int unknown_word(Environment& environment, const CommandTree& tree, const CLI::App& at,
                 const std::string& word) {
  std::vector<std::string> known;
  const bool flag = word.size() > 1 && word.front() == '-';
  const std::string name = word.substr(0, word.find('='));
  if (flag) {
    for (const CLI::App* app = &at; app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* option : app->get_options()) {
        for (const std::string& text : option->get_lnames()) known.push_back("--" + text);
      }
    }
  } else {
    for (const CLI::App* child : at.get_subcommands({})) known.push_back(child->get_name());
  }
  std::string message;
  if (flag) {
    message = "'" + path_of(at) + "' has no option " + name + ".";
  } else if (tree.find(&at) != nullptr) {
    message = "'" + path_of(at) + "' takes no further argument '" + word + "'.";
    if (tree.find(&at)->has_tail()) message += " Write the command to launch after '--'.";
  } else {
    message = "'" + path_of(at) + "' has no command '" + word + "'.";
  }
  const std::string guess = closest(name, known);
  if (!guess.empty())
    message += " Did you mean " + (flag ? guess : "'" + path_of(at) + " " + guess + "'") + "?";
  return usage_error(environment, at, message);
}

// CLI11's own words for a missing or malformed argument, with our names for them.
int parse_problem(Environment& environment, const CLI::App& at, const CLI::ParseError& error) {
  std::vector<std::string> missing;
  for (const CLI::Option* option : at.get_options()) {
    if (!option->get_required() || option->count() != 0) continue;
    const std::string type = option->get_type_name();
    missing.push_back(option->get_positional() ? type.substr(0, type.find(':'))
                                               : option->get_name(false, true));
  }
  if (!missing.empty() && error.get_name() == "RequiredError") {
    std::string list;
    for (const std::string& name : missing) list += (list.empty() ? "" : ", ") + name;
    return usage_error(environment, at, "'" + path_of(at) + "' needs " + list + ".");
  }
  return usage_error(environment, at, error.what());
}

}  // namespace

std::string closest(const std::string& word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const std::string& candidate : known) {
    std::size_t d = distance(word, candidate);
    if (word.size() >= 2 && candidate.starts_with(word)) d = std::min<std::size_t>(d, 1);
    if (d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best;
}

std::filesystem::path default_state_dir(const Environment& environment) {
  if (const std::string set = environment.variable("VIA_STATE_DIR"); !set.empty()) return set;
  const std::filesystem::path system = system_path("/var/lib/via", environment.variable("VIA_TEST_ROOT"));
  if (::geteuid() == 0 || ::access(system.c_str(), X_OK) == 0) return system;
  if (const std::string state = environment.variable("XDG_STATE_HOME"); state.starts_with('/')) {
    return std::filesystem::path(state) / "via";
  }
  if (const std::string home = environment.variable("HOME"); home.starts_with('/')) {
    return std::filesystem::path(home) / ".local/state/via";
  }
  return system;
}

int run(const std::vector<std::string>& arguments, Environment& environment) {
  // Another name of the binary is another program; anything but the names it has is `via`.
  const std::string called = arguments.empty() ? "via" : std::filesystem::path(arguments.front()).filename().string();
  CommandTree tree(called == "vary" || called == "hoody" ? called : "via");
  std::vector<std::string> words(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (words.empty()) {
    environment.out << help_text(tree, tree.root());
    return 0;
  }
  if (words.front() == "--version") words.front() = "version";
  // What stands after `--` is a command to launch and none of our business.
  std::vector<std::string> tail;
  bool has_tail = false;
  if (const auto dashes = std::find(words.begin(), words.end(), "--"); dashes != words.end()) {
    Command* command = tree.find(&tree.locate({words.begin(), dashes}));
    if (command != nullptr && command->has_tail()) {
      tail.assign(dashes + 1, words.end());
      words.erase(dashes, words.end());
      command->set_tail(tail);
      has_tail = true;
    }
  }

  std::vector<std::string> reversed(words.rbegin(), words.rend());
  try {
    tree.root().parse(reversed);
  } catch (const CLI::CallForHelp&) {
    const CLI::App& at = deepest(tree.root());
    // The help of a command that there is not would be that of something else.
    if (const auto extra = tree.root().remaining(true); tree.find(&at) == nullptr && !extra.empty())
      return unknown_word(environment, tree, at, extra.front());
    environment.out << help_text(tree, at);
    return 0;
  } catch (const CLI::ParseError& error) {
    const CLI::App& at = deepest(tree.root());
    // An unknown word explains a missing argument better than the missing argument does.
    const std::vector<std::string> extra = tree.root().remaining(true);
    for (const std::string& word : extra) {
      if (word != "--") return unknown_word(environment, tree, at, word);
    }
    return parse_problem(environment, at, error);
  }
  const CLI::App& selected = deepest(tree.root());
  Command* command = tree.find(&selected);
  if (command == nullptr) {
    environment.err << help_text(tree, selected);
    return kUsage;
  }
  if (has_tail && tail.empty()) return usage_error(environment, selected, "No command follows '--'.");

  const Globals& globals = tree.globals();
  Output output(environment, globals);
  Session session{environment, output, globals,
                  globals.state_dir.empty()
                      ? default_state_dir(environment)
                      : std::filesystem::absolute(globals.state_dir).lexically_normal(),
                  {}};
  if (command->wants_target()) {
    auto target = find_target(environment, command->target());
    if (!target) return report(environment, globals, target.error());
    session.state_dir = target->state_dir;
    session.target = target->name;
  }
  return command->run(session);
}

}  // namespace via::cli
