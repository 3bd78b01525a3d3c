// The data commands, as a table: each is one request of the SQLite data API and a rendering of its answer. Registered for
// `via` and, with the same words, for `hoody`. Thread: one.
#pragma once

#include "cli/data_client.hpp"

namespace via::cli {

struct DataParameter {
  std::string flag;   // "--db"
  std::string name;   // in the query of the request
  std::string shown;  // "DB"; empty = a switch, sent as true, or false with --no-…
  std::string help;
  bool required = false;
};

enum class DataBody { none, text, transaction };  // transaction: the items of POST /db

struct DataCommand {
  std::vector<std::string> words;    // {"snapshots", "get-key"}
  std::vector<std::string> aliases;  // of the last word
  std::string help;
  std::string method, path;  // "/kv/{}/snapshot": {} is the positional argument
  std::string argument;      // "KEY", empty = none
  std::vector<DataParameter> parameters;
  DataBody body = DataBody::none;
  std::string default_body = {};
  std::vector<std::string> examples = {};  // without the program's name
  // What a person sees; 0 or the exit code. JSON output is the answer itself.
  std::function<int(Session&, const HttpAnswer&)> show = {};
};

// `group` is `db` or `kv`.
void add_data_command(CommandTree& tree, CLI::App& group, DataCommand spec);
// `open [INDEX] [--url]`.
void add_open_command(CommandTree& tree, CLI::App& group, const std::string& what);

// Renderings. The answer's members in their order, arrays of objects as tables.
int show_answer(Session& session, const HttpAnswer& answer);
// Rows of a result, which may be objects or lists, under their headers.
void show_rows(Session& session, const Json& headers, const Json& rows, bool truncated);

DataParameter db_parameter();

}  // namespace via::cli
