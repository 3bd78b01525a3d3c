// Completion scripts, generated from the tree that parses the command line, so that the two cannot drift
// apart.
#include <algorithm>

#include "cli/help.hpp"

namespace via::cli {
namespace {

struct Flag {
  std::vector<std::string> names;  // "--state-dir", "-q"
  std::string help;
  bool takes_value = false;
  bool is_file = false;
  std::vector<std::string> choices;
};

struct Node {
  std::string path;  // "addon create", "" for the root
  std::vector<std::pair<std::string, std::string>> children;
  std::vector<Flag> flags;
  std::vector<std::string> choices;  // of the positionals
  bool files = false;                // a positional names a file
};

std::vector<std::string> choices_of(const std::string& type) {
  std::vector<std::string> words;
  const auto open = type.find('{');
  const auto close = type.find('}');
  if (open == std::string::npos || close == std::string::npos) return words;
  std::string word;
  for (std::size_t i = open + 1; i <= close; ++i) {
    if (type[i] != ',' && type[i] != '}') {
      word += type[i];
      continue;
    }
    words.push_back(word);
    word.clear();
  }
  return words;
}

void collect(const CLI::App& app, const std::string& path, std::vector<Node>& nodes) {
  Node node;
  node.path = path;
  for (const CLI::App* child : app.get_subcommands({})) {
    node.children.emplace_back(child->get_name(), child->get_description());
  }
  for (const CLI::Option* option : app.get_options()) {
    if (is_hidden(*option)) continue;
    const std::string type = option->get_type_name();
    const bool file = type.ends_with(":FILE");
    if (option->get_positional()) {
      node.files = node.files || file;
      for (const std::string& word : choices_of(type)) node.choices.push_back(word);
      continue;
    }
    Flag flag;
    for (const std::string& name : option->get_lnames()) flag.names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) flag.names.push_back("-" + name);
    flag.help = option->get_description();
    flag.takes_value = option->get_items_expected_max() > 0;
    flag.is_file = file;
    flag.choices = choices_of(type);
    node.flags.push_back(flag);
  }
  nodes.push_back(node);
  for (const CLI::App* child : app.get_subcommands({})) {
    collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), nodes);
  }
}

std::string join(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::vector<std::string> child_names(const Node& node) {
  std::vector<std::string> names;
  for (const auto& [name, _] : node.children) names.push_back(name);
  return names;
}

std::string value_flags(const std::vector<Node>& nodes) {
  std::vector<std::string> names;
  for (const Node& node : nodes) {
    for (const Flag& flag : node.flags) {
      for (const std::string& name : flag.names) {
        if (flag.takes_value && std::find(names.begin(), names.end(), name) == names.end())
          names.push_back(name);
      }
    }
  }
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : "|") + name;
  return out;
}

// The lines of a shell of the sh family that walk the words from `first` to the cursor: $at becomes the command, and
// the value of a flag is passed over.
std::string walk(const std::vector<Node>& nodes, const std::string& first, const std::string& cursor, const std::string& array) {
  std::string out = "  for ((i = " + first + "; i < " + cursor + "; i++)); do\n    word=${" + array +
                    "[i]}\n    case $word in " + value_flags(nodes) +
                    ") ((i++)); continue ;; esac\n    case $at:$word in\n";
  for (const Node& node : nodes) {
    for (const auto& [child, _] : node.children) {
      const std::string to = node.path.empty() ? child : node.path + " " + child;
      out += "      " + quoted(node.path + ":" + child) + ") at=" + quoted(to) + " ;;\n";
    }
  }
  return out + "    esac\n  done\n";
}

std::string all_flags(const Node& node, const Node& root) {
  std::vector<std::string> names;
  for (const Node* from : {&node, &root}) {
    for (const Flag& flag : from->flags) {
      for (const std::string& name : flag.names) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
    if (&node == &root) break;
  }
  return join(names);
}

std::string bash_script(const std::string& program, const std::vector<Node>& nodes) {
  std::string out = "# bash completion of " + program + ". Load it with: source <(" + program + " completion bash)\n_" +
                    program +
                    "() {\n"
                    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at='' words='' i word\n" +
                    walk(nodes, "1", "COMP_CWORD", "COMP_WORDS") + "  case $at:$prev in\n";
  for (const Node& node : nodes) {
    for (const Flag& flag : node.flags) {
      if (!flag.takes_value) continue;
      for (const std::string& name : flag.names) {
        const std::string pattern = node.path.empty() ? "*:" + name : quoted(node.path + ":" + name);
        const std::string words = flag.is_file
                                      ? "$(compgen -f -- \"$cur\")"
                                      : "$(compgen -W " + quoted(join(flag.choices)) + " -- \"$cur\")";
        out += "    " + pattern + ") mapfile -t COMPREPLY < <(printf '%s' \"" + words + "\"); return ;;\n";
      }
    }
  }
  out += "  esac\n  case $at in\n";
  for (const Node& node : nodes) {
    const std::vector<std::string> names = child_names(node);
    out += "    " + quoted(node.path) + ") words=" +
           quoted(join(names) + (names.empty() ? "" : " ") + join(node.choices) +
                  (node.choices.empty() ? "" : " ") + all_flags(node, nodes.front()));
    if (node.files) out += "; words+=\" $(compgen -f -- \"$cur\")\"";
    out += " ;;\n";
  }
  out +=
      "  esac\n"
      "  if [[ $cur != -* ]]; then words=$(printf '%s\\n' $words | grep -v '^-'); fi\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
      "}\n";
  return out + "complete -o default -F _" + program + " " + program + "\n";
}

std::string zsh_script(const std::string& program, const std::vector<Node>& nodes) {
  std::string out = "#compdef " + program + "\n# zsh completion of " + program + ". Put it as _" + program +
                    " into a folder of $fpath, or: source <(" + program + " completion zsh)\n_" + program +
                    "() {\n  local at='' word i\n  local -a commands flags\n" + walk(nodes, "2", "CURRENT", "words") +
                    "  case $at in\n";
  for (const Node& node : nodes) {
    out += "    " + quoted(node.path) + ")\n      commands=(";
    for (const auto& [name, help] : node.children) out += quoted(name + ":" + help) + " ";
    for (const std::string& word : node.choices) out += quoted(word) + " ";
    out += ")\n      flags=(";
    for (const Flag& flag : node.flags) {
      for (const std::string& name : flag.names) out += quoted(name + ":" + flag.help) + " ";
    }
    out += ")\n";
    if (node.files) out += "      _files\n";
    out += "      ;;\n";
  }
  out += "  esac\n  case ${words[CURRENT-1]} in\n";
  for (const Node& node : nodes) {
    for (const Flag& flag : node.flags) {
      if (!flag.takes_value) continue;
      for (const std::string& name : flag.names) {
        if (flag.is_file) out += "    " + name + ") _files; return ;;\n";
        if (!flag.choices.empty()) out += "    " + name + ") compadd " + join(flag.choices) + "; return ;;\n";
      }
    }
  }
  out += "  esac\n  [[ -n $at ]] && flags+=(";
  for (const Flag& flag : nodes.front().flags) {
    for (const std::string& name : flag.names) out += quoted(name + ":" + flag.help) + " ";
  }
  out +=
      ")\n"
      "  (( ${#commands} )) && _describe 'command' commands\n"
      "  [[ ${words[CURRENT]} == -* ]] && _describe 'option' flags\n"
      "}\n";
  return out + "if [[ ${funcstack[1]} == _" + program + " ]]; then _" + program + " \"$@\"; else compdef _" + program + " " +
         program + "; fi\n";
}

std::string fish_script(const std::string& program, const std::vector<Node>& nodes) {
  const std::string complete = "complete -c " + program;
  const std::string at = "__" + program + "_at";
  std::string out =
      "# fish completion of " + program + ". Load it with: " + program + " completion fish | source\n" +
      "function __" + program + "_at\n"
      "  set -l at ''\n"
      "  set -l skip 0\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    if test $skip = 1; set skip 0; continue; end\n"
      "    switch $word\n";
  std::string flags = value_flags(nodes);
  std::replace(flags.begin(), flags.end(), '|', ' ');
  out +=
      "      case " + flags + "\n        set skip 1\n        continue\n    end\n    switch \"$at:$word\"\n";
  for (const Node& node : nodes) {
    for (const auto& [child, _] : node.children) {
      const std::string to = node.path.empty() ? child : node.path + " " + child;
      out += "      case " + quoted(node.path + ":" + child) + "\n        set at " + quoted(to) + "\n";
    }
  }
  out += "    end\n  end\n  test \"$at\" = \"$argv[1]\"\nend\n" + complete + " -f\n";
  for (const Node& node : nodes) {
    const std::string when = node.path.empty() ? "" : " -n " + quoted(at + " \"" + node.path + "\"");
    const std::string here = " -n " + quoted(at + " \"" + node.path + "\"");
    for (const auto& [name, help] : node.children) {
      out += complete + here + " -a " + name + " -d " + quoted(help) + "\n";
    }
    if (!node.choices.empty()) out += complete + here + " -a " + quoted(join(node.choices)) + "\n";
    if (node.files) out += complete + here + " -F\n";
    for (const Flag& flag : node.flags) {
      if (!node.path.empty() && flag.names.front() == "--help") continue;
      out += complete + when;
      for (const std::string& name : flag.names) {
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      if (flag.takes_value) out += flag.is_file ? " -rF" : " -x";
      if (!flag.choices.empty()) out += " -a " + quoted(join(flag.choices));
      out += " -d " + quoted(flag.help) + "\n";
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const CommandTree& tree, const std::string& shell) {
  std::vector<Node> nodes;
  collect(tree.root(), "", nodes);
  if (shell == "zsh") return zsh_script(tree.program(), nodes);
  if (shell == "fish") return fish_script(tree.program(), nodes);
  return bash_script(tree.program(), nodes);
}

}  // namespace via::cli
