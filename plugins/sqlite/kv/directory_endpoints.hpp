// The key-value verbs where `db` names a directory: list, get, exists (HEAD) and delete of its files.
// Thread: as endpoints (api/context.hpp).
#pragma once

#include "plugins/sqlite/api/context.hpp"

#include <string>

namespace via::sqlite::api {

using DirectoryEndpoint = void (*)(Context&, const std::string& folder);

void list_files(Context& context, const std::string& folder);
void get_file(Context& context, const std::string& folder);
void delete_file(Context& context, const std::string& folder);

// Ends a request whose database could not be opened because of `why`: by `endpoint` where `db` is the absolute path of a
// directory (null: 400, what it asks needs a database), else with `why`.
void fail_or_directory(Context& context, Failure why, DirectoryEndpoint endpoint);

}  // namespace via::sqlite::api
