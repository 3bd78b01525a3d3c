// The tree of commands and its help. CLI11 parses; what people read is written here, in one shape for every
// command.
#include <algorithm>

#include "cli/commands/logs.hpp"
#include "cli/help.hpp"

namespace via::cli {
namespace {

std::string padded(const std::string& text, std::size_t width) {
  return text.size() < width ? text + std::string(width - text.size(), ' ') : text + "  ";
}

struct GlobalFlag {
  const char* name;
  const char* text;
};
constexpr GlobalFlag kGlobalFlags[] = {{"--state-dir", "the host's state folder ($VIA_STATE_DIR, /var/lib/via)"},
                                       {"--container", "a data API by its name in the targets file ($VIA_KIT_URL: by its address)"},
                                       {"--json", "the answer as JSON"},
                                       {"--quiet", "names and ids only, no hints"},
                                       {"--no-color", "no colours (also: NO_COLOR)"},
                                       {"--help", "this text"}};

void append_global_options(std::string& out, const CommandTree& tree) {
  out += "\nGLOBAL OPTIONS\n";
  for (const GlobalFlag& flag : kGlobalFlags) {
    const CLI::Option* option = tree.root().get_option_no_throw(flag.name);
    if (option != nullptr) out += "  " + padded(flag_text(*option), 18) + flag.text + "\n";
  }
}

std::string root_help(const CommandTree& tree) {
  std::string out = tree.program() + ": " + tree.summary() + "\n";
  for (const auto& [section, apps] : tree.sections()) {
    out += "\n" + section + "\n";
    for (const CLI::App* app : apps) {
      std::string words;
      for (const CLI::App* child : app->get_subcommands({})) {
        words += (words.empty() ? "" : ", ") + child->get_name();
      }
      out += "  " + padded(app->get_name(), 12) + app->get_description() + (words.empty() ? "" : ": " + words) + "\n";
    }
  }
  append_global_options(out, tree);
  out += "\nEXAMPLES\n";
  for (const std::string& line : tree.example_lines()) out += "  " + line + "\n";
  out += "\nEXIT CODES  ";
  for (const ExitStatus& status : exit_statuses()) {
    out += (status.code == 0 ? "" : ", ") + std::to_string(status.code) + " " + status.meaning;
  }
  return out + "\nRun '" + tree.program() + " COMMAND --help' for a command.\n";
}

}  // namespace

std::string path_of(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : path_of(*app.get_parent()) + " " + app.get_name();
}

std::string shown_type(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

std::string flag_text(const CLI::Option& option) {
  std::string text = option.get_name(false, true);
  std::replace(text.begin(), text.end(), ',', ' ');
  const auto space = text.find(' ');
  if (space != std::string::npos) text.insert(space, ",");
  if (option.get_expected_max() > 0 && option.get_items_expected_max() > 0) text += " " + shown_type(option);
  return text;
}

bool is_hidden(const CLI::Option& option) {
  return option.get_group().empty();
}

bool is_own_flag(const CLI::Option& option) {
  return !option.get_positional() && !is_hidden(option) && !option.check_name("--help");
}

std::string usage_line(const CommandTree& tree, const CLI::App& app) {
  std::string text = path_of(app);
  const Command* command = tree.find(&app);
  if (command == nullptr) return text + " COMMAND";
  std::string flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() && !is_hidden(*option)) {
      const std::string name = shown_type(*option) + (option->get_expected_max() > 1 ? "…" : "");
      text += option->get_required() ? " " + name : " [" + name + "]";
    } else if (is_own_flag(*option)) {
      flags = option->get_required() ? " " + flag_text(*option) + flags : flags + " [" + flag_text(*option) + "]";
    }
  }
  text += flags;
  if (command->has_tail()) text += " [-- " + command->tail_shown() + "]";
  return text;
}

std::vector<std::string> examples_of(const CommandTree& tree, const CLI::App& app) {
  if (app.get_parent() == nullptr) return tree.example_lines();
  if (const Command* command = tree.find(&app)) return command->example_lines();
  std::vector<std::string> lines;
  for (const CLI::App* child : app.get_subcommands({})) {
    if (const auto below = examples_of(tree, *child); !below.empty()) lines.push_back(below.front());
  }
  return lines;
}

const std::vector<ExitStatus>& exit_statuses() {
  static const std::vector<ExitStatus> kStatuses = {{0, "done"},        {1, "failed"},
                                                    {2, "usage"},       {3, "not found"},
                                                    {4, "conflict or refused"}, {5, "not allowed"},
                                                    {6, "timed out"},   {7, "degraded"}};
  return kStatuses;
}

CommandTree::CommandTree(const std::string& program) : root_("The add-on host", program) {
  globals_.program = program;
  root_.set_help_flag("--help,-h", "this text");
  root_.require_subcommand(0, 1);
  root_.fallthrough();
  root_.add_flag("--json", globals_.json, "the answer as JSON");
  root_.add_flag("--quiet,-q", globals_.quiet, "names and ids only, no hints");
  root_.add_flag("--no-color", globals_.no_color, "no colours");
  if (program == "vary") {
    describe("your app on a Via host: how it is, what it says, and what mends it.",
             {"vary app status api --target prod", "vary app repair api --target prod",
              "vary app deploy api --target prod -- /srv/api/bin/api"});
    add_vary_commands(*this);
    add_program_commands(*this);
    return;
  }
  if (program == "hoody") {
    describe("a SQLite data API: SQL transactions, and keys with their history.",
             {"hoody --container dev db create --path app --init-kv", "hoody --container dev kv set config --db app --body '{\"version\":1}'",
              "hoody --container dev kv list --db app"});
    root_.add_option("--container", globals_.container, "a data API by its name in the targets file")->type_name("NAME");
    add_db_commands(*this);
    add_kv_commands(*this);
    add_files_commands(*this);
    add_program_commands(*this);
    return;
  }
  describe("the add-on host. Apps use add-ons by binding name; the host keeps files and credentials.",
           {"via serve                                            start the host", "via app create api",
            "via addon create sqlite app-db --app api --bind DATABASE",
            "via deploy create api -- /srv/api/bin/api            launch it with that binding"});
  root_.add_option("--state-dir", globals_.state_dir, "the host's state folder")->type_name("DIR:FILE");
  add_host_commands(*this);
  add_app_commands(*this);
  add_logs_commands(*this);
  add_addon_commands(*this);
  add_deploy_commands(*this);
  add_runtime_commands(*this);
  add_config_commands(*this);
  add_identity_commands(*this);
  add_plugin_commands(*this);
  add_operation_commands(*this);
  add_backup_commands(*this);
  add_db_commands(*this);
  add_kv_commands(*this);
  add_kit_commands(*this);
  add_program_commands(*this);
}

CLI::App& CommandTree::group(const std::string& name, const std::string& help, const std::string& section) {
  CLI::App& app = *root_.add_subcommand(name, help);
  app.require_subcommand(0, 1);
  place(app, section);
  return app;
}

Command& CommandTree::add(CLI::App& parent, const std::string& name, const std::string& help,
                          const std::string& admin_command) {
  CLI::App& app = *parent.add_subcommand(name, help);
  auto& slot = commands_[&app];
  slot = std::make_unique<Command>(app, admin_command);
  return *slot;
}

Command* CommandTree::find(const CLI::App* app) {
  const auto found = commands_.find(app);
  return found == commands_.end() ? nullptr : found->second.get();
}

const Command* CommandTree::find(const CLI::App* app) const {
  const auto found = commands_.find(app);
  return found == commands_.end() ? nullptr : found->second.get();
}

void CommandTree::place(const CLI::App& app, const std::string& section) {
  for (auto& [name, apps] : sections_) {
    if (name == section) {
      apps.push_back(&app);
      return;
    }
  }
  sections_.emplace_back(section, std::vector<const CLI::App*>{&app});
}

CLI::App& CommandTree::locate(const std::vector<std::string>& words) {
  CLI::App* at = &root_;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.empty() && word.front() == '-') {
      const CLI::Option* option = nullptr;
      for (const CLI::App* app = at; app != nullptr && option == nullptr; app = app->get_parent()) {
        option = app->get_option_no_throw(word);
      }
      if (option != nullptr && option->get_items_expected_max() > 0) ++i;
      continue;
    }
    CLI::App* child = nullptr;
    for (CLI::App* candidate : at->get_subcommands({})) {
      if (candidate->get_name() == word) child = candidate;
    }
    if (child == nullptr) return *at;
    at = child;
  }
  return *at;
}

std::string help_text(const CommandTree& tree, const CLI::App& app) {
  if (app.get_parent() == nullptr) return root_help(tree);
  std::string out =
      path_of(app) + ": " + app.get_description() + "\n\nUSAGE\n  " + usage_line(tree, app) + "\n";
  const auto children = app.get_subcommands({});
  if (!children.empty()) {
    out += "\nCOMMANDS\n";
    for (const CLI::App* child : children)
      out += "  " + padded(child->get_name(), 12) + child->get_description() + "\n";
  }
  std::vector<std::pair<std::string, std::string>> positionals, flags;
  for (const CLI::Option* option : app.get_options()) {
    if (is_hidden(*option)) continue;
    if (option->get_positional()) {
      positionals.emplace_back(shown_type(*option), option->get_description());
    } else if (is_own_flag(*option)) {
      flags.emplace_back(flag_text(*option),
                         option->get_description() + (option->get_required() ? " (required)" : ""));
    }
  }
  for (const auto& [title, list] : {std::pair{"ARGUMENTS", positionals}, std::pair{"OPTIONS", flags}}) {
    if (list.empty()) continue;
    std::size_t width = 0;
    for (const auto& [name, _] : list) width = std::max(width, name.size() + 3);
    out += std::string("\n") + title + "\n";
    for (const auto& [name, help] : list) out += "  " + padded(name, width) + help + "\n";
  }
  append_global_options(out, tree);
  out += "\nEXAMPLES\n";
  for (const std::string& line : examples_of(tree, app)) out += "  " + line + "\n";
  return out;
}

}  // namespace via::cli
