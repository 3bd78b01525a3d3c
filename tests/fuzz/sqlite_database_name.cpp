// Names of databases, and a snapshot's list of them. What a name means lies within the databases folder, is no hidden file
// and no companion of another database, and every spelling of it means the same; only a kit that was told so goes elsewhere.
#include "target.hpp"

#include "plugins/sqlite/api/databases.hpp"
#include "plugins/sqlite/api/snapshot_set.hpp"
#include "plugins/sqlite/render.hpp"

#include <climits>

namespace {

using namespace via::sqlite;
using api::Databases;
using api::Place;

const std::string kStorage = "/fuzz/storage", kRoot = "/hoody/databases/";

// Never destroyed: a database ends with its host's threads.
Databases& databases(api::Kit kit) {
  static const Host& host = *new Host(nullptr);
  static Database& own = *new Database(host);
  auto& all = *new Databases(host, own);
  all.serve(kStorage, {}, kit);
  return all;
}

void check_parts(std::string_view name) {
  for (;;) {
    const std::size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    VIA_FUZZ_CHECK(!part.empty() && part.front() != '.' && part.size() <= Databases::kMaxName);
    for (const char* suffix : {"-wal", "-shm", "-journal"}) VIA_FUZZ_CHECK(!part.ends_with(suffix));
    if (end == name.size()) return;
    name.remove_prefix(end + 1);
  }
}

void check_place(const Databases& all, std::string_view given) {
  Place place;
  if (all.place(given, place)) return;
  VIA_FUZZ_CHECK(!place.own && place.path.starts_with('/') && place.path.find('\0') == std::string::npos && is_utf8(place.path));
  VIA_FUZZ_CHECK(place.absolute == given.starts_with('/'));
  if (!place.inside) {
    VIA_FUZZ_CHECK(all.kit().any_absolute && place.absolute && (place.path + "/").find("/../") == std::string::npos);
    return;
  }
  if (place.path == all.folder()) {
    VIA_FUZZ_CHECK(place.name == ".");
    return;
  }
  VIA_FUZZ_CHECK(place.path == all.folder() + "/" + place.name);
  check_parts(place.name);
  Place again;
  VIA_FUZZ_CHECK(!all.place(kRoot + place.name, again) || kRoot.size() + place.name.size() > PATH_MAX / 2);
  if (!again.path.empty()) VIA_FUZZ_CHECK(again.path == place.path && again.name == place.name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Databases& addon = databases({});
  static const Databases& kit = databases({true, false});
  static const Databases& free_kit = databases({true, true});
  const std::string_view input = via::fuzz::text(data, size);
  for (const Databases* all : {&addon, &kit, &free_kit}) {
    check_place(*all, input);
    check_place(*all, kRoot + std::string(input));
  }
  std::vector<std::string> names, again;
  if (!api::parse_index(input, names)) return 0;
  VIA_FUZZ_CHECK(api::parse_index(api::index_text(names), again) && again == names);
  for (const std::string& name : names) {
    Place place;
    if (addon.place(kRoot + name, place)) VIA_FUZZ_CHECK(kRoot.size() + name.size() > PATH_MAX / 2);
    else VIA_FUZZ_CHECK(place.path == addon.folder() + "/" + name);
  }
  return 0;
}
