// version, completion, man: what a program says about itself, under each of its names.
#include <ostream>

#include <sqlite3.h>

#include "cli/help.hpp"
#include "cli/man.hpp"
#include "cli/version.hpp"

namespace via::cli {
namespace {

int show_version(Session& session) {
  const Json version = {
      {"name", session.globals.program}, {"version", kVersion}, {"sqlite", SQLITE_VERSION}, {"compiler", __VERSION__}};
  if (session.globals.json) {
    session.output.line(version.dump(2));
  } else if (session.globals.quiet) {
    session.output.line(kVersion);
  } else {
    session.output.line(session.globals.program + " " + kVersion + " (SQLite " SQLITE_VERSION ")");
  }
  return 0;
}


int write_all_pages(Session& session, const std::filesystem::path& folder) {
  int count = 0;
  for (const char* program : {"via", "vary", "hoody"}) {
    const auto written = write_man_pages(CommandTree(program), folder);
    if (!written) return report(session.environment, session.globals, written.error());
    count += *written;
  }
  if (session.globals.json) {
    session.output.line(Json{{"folder", folder.string()}, {"pages", count}}.dump(2));
  } else {
    session.output.hint(std::to_string(count) + " manual pages written.");
  }
  return 0;
}

int show_page(Session& session, CommandTree& tree, const std::vector<std::string>& words) {
  CLI::App& app = tree.locate(words);
  std::string asked = tree.program();
  for (const std::string& word : words) asked += " " + word;
  if (path_of(app) != asked) {
    return report(session.environment, session.globals,
                  fail(Code::not_found, "There is no command '" + asked + "'. See them: " + tree.program() + " --help"));
  }
  const std::string page = man_page(tree, app);
  if (session.globals.json) {
    session.output.line(Json{{"name", man_name(app)}, {"page", page}}.dump(2));
  } else {
    session.environment.out << page;
  }
  return 0;
}

}  // namespace

void add_program_commands(CommandTree& tree) {
  CLI::App& root = tree.root();
  const std::string program = tree.program();
  const std::string section = program == "via" ? "THE HOST" : "THIS PROGRAM";
  tree.add(root, "version", "the version of this program", "")
      .examples({program + " version", program + " version --json"})
      .local(show_version);
  tree.place(*root.get_subcommand("version"), section);

  Command& completion = tree.add(root, "completion", "a completion script for your shell", "");
  tree.place(*root.get_subcommand("completion"), section);
  completion.argument("shell", "SHELL", "bash, zsh or fish")
      .one_of({"bash", "zsh", "fish"})
      .examples({"source <(" + program + " completion bash)", program + " completion zsh > ~/.zfunc/_" + program,
                 program + " completion fish > ~/.config/fish/completions/" + program + ".fish"})
      .local([&completion, &tree](Session& session) {
        session.environment.out << completion_script(tree, completion.text("shell"));
        return 0;
      });

  Command& man = tree.add(root, "man", "the manual page of a command", "");
  tree.place(*root.get_subcommand("man"), section);
  man.argument("command", "COMMAND", "the command, for example: " + std::string(program == "via" ? "addon restore" : program == "vary" ? "app repair" : "kv set"),
               Kind::words, false)
      .option("--all", "all", "DIR", "write every page into this folder instead, also those of the other names", Kind::file)
      .examples({program + " man | man -l -", "mkdir -p man1 && " + program + " man --all man1"})
      .local([&man, &tree](Session& session) {
        const auto request = man.arguments();
        if (!request) return report(session.environment, session.globals, request.error());
        if (request->contains("all")) return write_all_pages(session, request->value("all", ""));
        return show_page(session, tree, request->value("command", std::vector<std::string>()));
      });
}

}  // namespace via::cli
