// via plugin new: the files of a new add-on plugin. The templates are those of sdk/plugin/scaffold, compiled in.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "cli/commands/plugin.hpp"
#include "core/base/files.hpp"

namespace via::cli {
namespace {

struct Template {
  std::string_view path, text;
};
constexpr Template kTemplates[] = {
#include "scaffold_files.inc"
};

std::string replaced(std::string_view text, const std::vector<std::pair<std::string_view, std::string>>& words) {
  std::string out;
  while (!text.empty()) {
    const auto word = std::find_if(words.begin(), words.end(), [&](const auto& w) { return text.starts_with(w.first); });
    if (word == words.end()) {
      out += text.front();
      text.remove_prefix(1);
    } else {
      out += word->second;
      text.remove_prefix(word->first.size());
    }
  }
  return out;
}

// acme-notes: AcmeNotes for the class, acme_notes for its namespace.
std::string class_name(const std::string& name) {
  std::string out;
  bool upper = true;
  for (const char c : name) {
    if (c == '-' || c == '_') {
      upper = true;
    } else {
      out += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
      upper = false;
    }
  }
  return out;
}

bool is_type_id(const std::string& name) {
  return name.size() <= 32 && !name.empty() && name.front() >= 'a' && name.front() <= 'z' &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
}

// Names of the scaffold's own files and of targets that CMake keeps for itself.
bool is_taken(std::string_view name) {
  static constexpr std::string_view kTaken[] = {"all",  "clean",         "depend",       "edit_cache", "entries", "entry",
                                                "help", "install",       "package",      "package_source", "plugin", "preinstall",
                                                "rebuild_cache", "test", "uninstall", "via", "zero_check"};
  return std::find(std::begin(kTaken), std::end(kTaken), name) != std::end(kTaken);
}

Result<std::vector<std::string>> write_scaffold(const std::string& name, const fs::path& folder) {
  if (!is_type_id(name))
    return fail(Code::bad_request, "A plugin's name is 1 to 32 of a-z, 0-9, '-' and '_' and begins with a letter; it becomes "
                                   "the id of its add-on type. For example: via plugin new acme-notes");
  if (is_taken(name))
    return fail(Code::bad_request, "'" + name + "' is the name of a part of every plugin or of its build. Put a word before it, for "
                                   "example: via plugin new acme-" + name);
  std::error_code ec;
  if (fs::exists(folder, ec) && !fs::is_empty(folder, ec))
    return fail(Code::conflict, "'" + folder.filename().string() + "' is there already and holds files. Name another folder with --folder.");
  std::string space = name;
  std::replace(space.begin(), space.end(), '-', '_');
  // A namespace of its own name would hide a class or a keyword of the language.
  const std::vector<std::pair<std::string_view, std::string>> words{
      {"@NAME@", name}, {"@CLASS@", class_name(name)}, {"@SPACE@", space + "_plugin"}};
  std::vector<std::string> written;
  for (const Template& file : kTemplates) {
    std::string path(file.path);
    if (path == "gitignore") path = ".gitignore";
    if (const auto at = path.find("NAME"); at != std::string::npos) path.replace(at, 4, name);
    const fs::path target = folder / path;
    fs::create_directories(target.parent_path(), ec);
    if (ec) return fail(Code::refused, "The folder cannot be made: " + ec.message() + ".");
    std::ofstream out(target, std::ios::binary);
    out << replaced(file.text, words);
    out.close();
    if (!out) return fail(Code::refused, "'" + path + "' cannot be written.");
    written.push_back(path);
  }
  std::sort(written.begin(), written.end());
  return written;
}

}  // namespace

void add_plugin_new_command(CommandTree& tree, CLI::App& group) {
  Command& command = tree.add(group, "new", "write a new plugin: sources, manifest, tests, README", "");
  command.argument("name", "NAME", "of the plugin and its add-on type: a-z, 0-9, '-', '_'")
      .option("--folder", "folder", "DIR", "where to write it; default: NAME", Kind::file)
      .examples({"via plugin new acme-notes", "cd acme-notes && cmake -S . -B build && cmake --build build"})
      .local([&command](Session& session) {
        const std::string name = command.text("name");
        const auto request = command.arguments();
        if (!request) return report(session.environment, session.globals, request.error());
        const fs::path folder = request->value("folder", name);
        auto written = write_scaffold(name, folder);
        if (!written) return report(session.environment, session.globals, written.error());
        if (session.globals.json) {
          session.output.line(Json{{"name", name}, {"folder", fs::absolute(folder).string()}, {"files", *written}}.dump(2));
        } else if (session.globals.quiet) {
          session.output.line(fs::absolute(folder).string());
        } else {
          for (const auto& file : *written) session.output.line(folder.filename().string() + "/" + file);
          session.output.hint("Next: cd " + folder.filename().string() + " && cmake -S . -B build && cmake --build build && ctest --test-dir build");
        }
        return 0;
      });
}

}  // namespace via::cli
