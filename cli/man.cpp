// See man.hpp.
#include "cli/man.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>

#include "cli/help.hpp"
#include "cli/version.hpp"

namespace via::cli {
namespace {

// Text that roff prints as it is. The pages are ASCII, which every formatter reads alike.
std::string plain(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i).starts_with("…")) {
      out += "...";
      i += std::string_view("…").size() - 1;
    } else if (text[i] == '\\') {
      out += "\\e";
    } else if (text[i] == '-') {
      out += "\\-";
    } else {
      out += text[i];
    }
  }
  // A control character of roff only at the beginning of a line.
  return out.starts_with('.') || out.starts_with('\'') ? "\\&" + out : out;
}

std::string sentence(std::string text) {
  if (!text.empty()) text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  return text + ".";
}

void item(std::string& out, const std::string& term, const std::string& text) {
  out += ".TP\n\\fB" + plain(term) + "\\fR\n" + plain(sentence(text)) + "\n";
}

void add_flags(std::string& out, const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (is_own_flag(*option))
      item(out, flag_text(*option), option->get_description() + (option->get_required() ? " (required)" : ""));
  }
}

Result<void> write_below(const CommandTree& tree, const CLI::App& app, const std::filesystem::path& folder, int& count) {
  const auto path = folder / (man_name(app) + ".1");
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << man_page(tree, app);
  file.close();
  if (!file)
    return fail(Code::not_found, "The manual pages cannot be written: make the folder first, and see that you may write to it.");
  ++count;
  for (const CLI::App* child : app.get_subcommands({})) {
    if (auto below = write_below(tree, *child, folder, count); !below) return below;
  }
  return {};
}

}  // namespace

std::string man_name(const CLI::App& app) {
  std::string name = path_of(app);
  std::replace(name.begin(), name.end(), ' ', '-');
  return name;
}

std::string man_page(const CommandTree& tree, const CLI::App& app) {
  std::string title = man_name(app);
  std::transform(title.begin(), title.end(), title.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  const bool root = app.get_parent() == nullptr;
  const std::string about = root ? tree.summary() : app.get_description();
  const auto children = app.get_subcommands({});
  std::string out = ".TH \"" + title + "\" 1 \"\" \"via " + kVersion + "\" \"Via manual\"\n.SH NAME\n" +
                    plain(man_name(app)) + " \\- " + plain(about.ends_with('.') ? about.substr(0, about.size() - 1) : about) +
                    "\n.SH SYNOPSIS\n.nh\n\\fB" + plain(path_of(app)) + "\\fR" +
                    plain(usage_line(tree, app).substr(path_of(app).size())) + "\n.hy\n.SH DESCRIPTION\n" +
                    plain(sentence(about.ends_with('.') ? about.substr(0, about.size() - 1) : about)) + "\n";
  const Command* command = tree.find(&app);
  if (command != nullptr && command->is_long()) {
    out += "It prints the id of an operation and waits for its end; the operation goes on when the waiting is interrupted.\n";
  }
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() && !is_hidden(*option)) item(out, shown_type(*option), option->get_description());
  }
  if (!children.empty()) out += ".SH COMMANDS\n";
  for (const CLI::App* child : children) item(out, child->get_name(), child->get_description());
  out += ".SH OPTIONS\n";
  if (!root) add_flags(out, app);
  add_flags(out, tree.root());
  out += ".SH EXIT STATUS\n";
  for (const ExitStatus& status : exit_statuses()) item(out, std::to_string(status.code), status.meaning);
  out += ".SH EXAMPLES\n.nf\n";
  for (const std::string& line : examples_of(tree, app)) out += plain(line) + "\n";
  out += ".fi\n.SH SEE ALSO\n";
  std::string also;
  const auto see = [&also](const CLI::App& other) {
    also += (also.empty() ? "" : ", ") + std::string("\\fB") + plain(man_name(other)) + "\\fR(1)";
  };
  if (!root) see(*app.get_parent());
  for (const CLI::App* child : children) see(*child);
  return out + also + "\n";
}

Result<int> write_man_pages(const CommandTree& tree, const std::filesystem::path& folder) {
  int count = 0;
  if (auto written = write_below(tree, tree.root(), folder, count); !written) return written.error();
  return count;
}

}  // namespace via::cli
