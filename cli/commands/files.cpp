// files: the database files themselves, as far as the data API has them.
#include "cli/commands/data.hpp"

namespace via::cli {

void add_files_commands(CommandTree& tree) {
  CLI::App& files = tree.group("files", "the files of databases", "DATA");
  add_data_command(tree, files,
                   {{"rm"}, {"delete", "remove"}, "remove a database: its file, its log, its history", "DELETE", "/db?db={}", "DB", {},
                    DataBody::none, {}, {"files rm app"}});
}

}  // namespace via::cli
