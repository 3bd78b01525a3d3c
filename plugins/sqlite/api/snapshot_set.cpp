#include "plugins/sqlite/api/snapshot_set.hpp"

#include "plugins/sqlite/render.hpp"
#include "plugins/sqlite/snapshot.hpp"
#include "plugins/sqlite/storage.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <vector>

namespace via::sqlite::api {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Names = std::vector<std::string>;

constexpr std::string_view kOne = R"({"format":"sqlite/1","schema":1,"position":""})";
constexpr std::string_view kSet = R"({"format":"sqlite/2","schema":1,"position":""})";
constexpr std::string_view kIndex = "databases.json", kJournal = "restore.json";
constexpr size_t kMostDatabases = 100'000, kMostIndexBytes = 64u << 20;

Failure bad_set(std::string message) { return {VIA_E_INVALID, "snapshot_invalid", std::move(message)}; }
Failure unknown(std::string message) { return {VIA_E_INTERNAL, "outcome_unknown", std::move(message)}; }

Failure disk(const char* what) {
  if (errno == ENOSPC || errno == EDQUOT) return disk_is_full();
  return internal(std::string(what) + ": " + std::strerror(errno));
}

std::string number_name(size_t i) { return std::to_string(i + 1) + ".sqlite"; }

uint64_t inode_of(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? static_cast<uint64_t>(st.st_ino) : 0;
}

bool sync_path(const fs::path& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  const bool ok = ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  errno = error;
  return ok;
}
bool sync_folder(const fs::path& path) { return sync_path(path, O_RDONLY | O_DIRECTORY); }

// Whole or not there; durable with its folder.
bool write_whole(const fs::path& path, std::string_view text) {
  const fs::path partial = path.string() + ".partial";
  ::unlink(partial.c_str());
  const int fd = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool ok = true;
  while (ok && !text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    ok = n > 0;
    if (ok) text.remove_prefix(static_cast<size_t>(n));
  }
  ok = ok && ::fsync(fd) == 0;
  int error = errno;
  ::close(fd);
  ok = ok && ::rename(partial.c_str(), path.c_str()) == 0 && sync_folder(path.parent_path());
  if (!ok) {
    error = errno;
    ::unlink(partial.c_str());
    errno = error;
  }
  return ok;
}

// A name below databases/ that a request could have made, or an operator who made its folder.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > 2048 || !is_utf8(name)) return false;
  for (;;) {
    const size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    if (part.empty() || part.size() > Databases::kMaxName || part.starts_with('.')) return false;
    for (const char c : part)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    for (const std::string_view suffix : {"-wal", "-shm", "-journal"})
      if (part.ends_with(suffix)) return false;
    if (end == name.size()) return true;
    name.remove_prefix(end + 1);
  }
}

// The databases below `folder`, by their names, in order. Links are not followed.
Failure list(const fs::path& folder, Names& out) {
  out.clear();
  std::error_code ec;
  if (!fs::exists(folder, ec)) return ec ? internal("the databases folder cannot be read") : Failure{};
  for (fs::recursive_directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) {
    std::error_code one;
    const std::string name = at->path().lexically_relative(folder).string();
    if (at->symlink_status(one).type() != fs::file_type::regular || !is_name(name)) continue;
    if (!storage::check_file(at->path().string())) out.push_back(name);
  }
  if (ec) return internal("the databases folder cannot be read");
  std::sort(out.begin(), out.end());
  return {};
}

bool read_text(const fs::path& path, std::string& out) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || static_cast<size_t>(st.st_size) > kMostIndexBytes) return false;
  std::ifstream in(path, std::ios::binary);
  out.assign(std::istreambuf_iterator<char>(in), {});
  return static_cast<bool>(in) || in.eof();
}

// The names of a snapshot's further databases; `there` tells whether it has an index.
Failure read_index(const fs::path& dir, bool& there, Names& out) {
  out.clear();
  std::error_code ec;
  there = fs::exists(fs::symlink_status(dir / kIndex, ec));
  if (!there) return {};
  std::string text;
  if (!read_text(dir / kIndex, text)) return bad_set("the snapshot's list of databases cannot be read");
  if (!parse_index(text, out)) return bad_set("the snapshot's list of databases is damaged");
  std::set<std::string> expected{std::string(kIndex), "data.sqlite"};
  for (size_t i = 0; i < out.size(); ++i) expected.insert(number_name(i));
  for (const auto& entry : fs::directory_iterator(dir, ec))
    if (expected.erase(entry.path().filename().string()) == 0) return bad_set("the snapshot holds a file that its list does not name");
  if (ec || !expected.empty()) return bad_set("the snapshot lacks a database that its list names");
  return {};
}

// ---- a restore of several files ----
//
// Beside what is there, hard links make what is to be: databases.restore/ (the new databases/), data.restore (the new
// data.sqlite) and replaced.restore/ (what is there now, as a snapshot). Three renames put them in their places, the staging
// folder, which is whole until then, last of all. restore.json tells by inodes which of them were made.

struct Journal {
  fs::path dir;                              // the staging folder
  uint64_t main = 0, folder = 0, kept = 0;   // inodes of the new data.sqlite, of the new databases/, of replaced.restore/
};

fs::path folder_of(const fs::path& storage) { return storage / "databases"; }
fs::path other_of(const fs::path& storage) { return storage / "databases.restore"; }
fs::path main_of(const fs::path& storage) { return storage / "data.restore"; }
fs::path kept_of(const fs::path& storage) { return storage / "replaced.restore"; }

bool write_journal(const fs::path& storage, const Journal& j) {
  return write_whole(storage / kJournal, json::serialize(json::object{{"dir", json::string_view(j.dir.native())},
                                                                      {"main", j.main},
                                                                      {"folder", j.folder},
                                                                      {"kept", j.kept}}));
}

Failure read_journal(const fs::path& storage, bool& there, Journal& out) {
  std::error_code ec;
  there = fs::exists(fs::symlink_status(storage / kJournal, ec));
  if (!there) return {};
  std::string text;
  json::error_code bad;
  if (!read_text(storage / kJournal, text)) return internal("the record of a restore cannot be read");
  const auto value = json::parse(text, bad);
  const auto* object = bad ? nullptr : value.if_object();
  const auto number = [&](const char* name, uint64_t& field) {
    const auto* v = object ? object->if_contains(name) : nullptr;
    if (!v || !(v->is_int64() || v->is_uint64())) return false;
    field = v->to_number<uint64_t>(bad);
    return !bad;
  };
  const auto* dir = object ? object->if_contains("dir") : nullptr;
  if (!dir || !dir->is_string() || !number("main", out.main) || !number("folder", out.folder) || !number("kept", out.kept))
    return {VIA_E_CORRUPT, "internal", "the record of a restore is damaged"};
  out.dir = std::string(dir->get_string().data(), dir->get_string().size());
  return {};
}

bool exchange(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

// `path` becomes another name's file, in one step.
bool replace_with(const fs::path& path, const fs::path& from, const fs::path& by_way_of) {
  ::unlink(by_way_of.c_str());
  return ::link(from.c_str(), by_way_of.c_str()) == 0 && ::rename(by_way_of.c_str(), path.c_str()) == 0;
}

// What is left of a restore that ended, or had not begun.
Failure clean(const fs::path& storage) {
  std::error_code ec;
  for (const auto& path : {other_of(storage), kept_of(storage), main_of(storage), storage / (std::string(kJournal) + ".partial")}) {
    fs::remove_all(path, ec);
    if (ec) return unknown("what a restore left cannot be removed");
  }
  if (::unlink((storage / kJournal).c_str()) != 0 && errno == ENOENT) return {};
  return inode_of(storage / kJournal) == 0 && sync_folder(storage) ? Failure{} : unknown("the record of a restore cannot be removed");
}

// Every place holds what was there before. `why` is what the caller is told.
Failure take_back(const fs::path& storage, const Journal& j, Failure why) {
  const fs::path data = storage / "data.sqlite", old = kept_of(storage) / "data.sqlite";
  const bool folder = inode_of(folder_of(storage)) != j.folder || exchange(other_of(storage), folder_of(storage));
  const bool main = inode_of(data) != j.main ||
                    (inode_of(old) != 0 ? replace_with(data, old, main_of(storage)) : ::unlink(data.c_str()) == 0);
  if (!folder || !main || !sync_folder(storage)) return unknown("the replaced databases could not be put back");
  if (Failure f = clean(storage)) return f;
  return why;
}

// What is no database, or has a name that no request can say, is not part of a snapshot, and stays. (A database that was
// replaced has a second name in the snapshot.)
void keep_others(const fs::path& storage) {
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(other_of(storage), ec)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with("-wal") || name.ends_with("-shm") || name.starts_with('.')) continue;
    struct stat st {};
    if (::lstat(entry.path().c_str(), &st) != 0) continue;
    if (S_ISREG(st.st_mode) && (st.st_nlink > 1 || (is_name(name) && !storage::check_file(entry.path().string())))) continue;
    (void)::renameat2(AT_FDCWD, entry.path().c_str(), AT_FDCWD, (folder_of(storage) / name).c_str(), RENAME_NOREPLACE);
  }
}

// Whether the last step was made, however far what follows it came. (The staging folder may have been moved on by then.)
bool is_made(const fs::path& storage, const Journal& j) { return inode_of(kept_of(storage)) != j.kept; }

Failure go_on(const fs::path& storage, const Journal& j) {
  const fs::path staged = j.dir / "data.sqlite", data = storage / "data.sqlite";
  if (!is_made(storage, j)) {
    if (inode_of(staged) != j.main) return take_back(storage, j, internal("the copy that was to be restored is gone"));
    if (inode_of(folder_of(storage)) != j.folder && !exchange(other_of(storage), folder_of(storage)))
      return take_back(storage, j, disk("the databases cannot be exchanged"));
    if (inode_of(data) != j.main && !replace_with(data, staged, main_of(storage)))
      return take_back(storage, j, disk("the database cannot be exchanged"));
    if (!sync_folder(storage)) return take_back(storage, j, disk("the restored databases cannot be made durable"));
    if (!exchange(kept_of(storage), j.dir)) return take_back(storage, j, disk("the replaced databases cannot be kept"));
  }
  if (!sync_folder(storage) || (!sync_folder(j.dir.parent_path()) && errno != ENOENT)) return unknown("the restored databases could not be made durable");
  keep_others(storage);
  return clean(storage);
}

bool link_synced(const fs::path& from, const fs::path& to) {
  return ::chmod(from.c_str(), 0600) == 0 && sync_path(from, O_RDWR) && ::link(from.c_str(), to.c_str()) == 0;
}

Failure build(const fs::path& storage, const fs::path& dir, const Names& fresh, const Names& old) {
  const fs::path other = other_of(storage), kept = kept_of(storage), data = storage / "data.sqlite";
  if (::mkdir(other.c_str(), 0700) != 0 || ::mkdir(kept.c_str(), 0700) != 0) return disk("the folder of a restore cannot be made");
  std::set<fs::path> folders{other, kept};
  std::error_code ec;
  for (size_t i = 0; i < fresh.size(); ++i) {
    const fs::path to = other / fresh[i];
    for (fs::path above = to.parent_path(); above != other; above = above.parent_path()) folders.insert(above);
    fs::create_directories(to.parent_path(), ec);
    if (ec || !link_synced(dir / number_name(i), to)) return disk("a database of the restore cannot be put in its place");
  }
  for (size_t i = 0; i < old.size(); ++i)
    if (!link_synced(folder_of(storage) / old[i], kept / number_name(i))) return disk("a database cannot be kept");
  if (inode_of(data) != 0 && !link_synced(data, kept / "data.sqlite")) return disk("the database cannot be kept");
  if (!old.empty() && !write_whole(kept / kIndex, index_text(old))) return disk("the list of databases cannot be written");
  for (const auto& folder : folders)
    if (::chmod(folder.c_str(), 0700) != 0 || !sync_folder(folder)) return disk("the folder of a restore cannot be made durable");
  if (::chmod((dir / "data.sqlite").c_str(), 0600) != 0 || !sync_path(dir / "data.sqlite", O_RDWR)) return disk("the copy cannot be made durable");
  if (::mkdir(folder_of(storage).c_str(), 0700) != 0 && errno != EEXIST) return disk("the databases folder cannot be made");
  return sync_folder(storage) ? Failure{} : disk("the folder of a restore cannot be made durable");
}

}  // namespace

bool parse_index(std::string_view text, std::vector<std::string>& out) {
  out.clear();
  json::error_code bad;
  const auto value = json::parse({text.data(), text.size()}, bad);
  const auto* object = bad ? nullptr : value.if_object();
  const auto* list = object ? object->if_contains("databases") : nullptr;
  if (!list || !list->is_array() || list->get_array().size() > kMostDatabases) return false;
  std::set<std::string, std::less<>> seen;
  for (const auto& item : list->get_array()) {
    if (!item.is_string()) return false;
    std::string name(item.get_string().data(), item.get_string().size());
    if (!is_name(name) || !seen.insert(name).second) return false;
    out.push_back(std::move(name));
  }
  for (const auto& name : out)
    for (size_t at = name.find('/'); at != name.npos; at = name.find('/', at + 1))
      if (seen.contains(std::string_view(name).substr(0, at))) return false;
  return true;
}

std::string index_text(const std::vector<std::string>& names) {
  json::array list;
  for (const auto& name : names) list.emplace_back(json::string_view(name));
  return json::serialize(json::object{{"databases", std::move(list)}}) + "\n";
}

Failure take_set(Databases& databases, Database& own, const std::string& given, via_call* call, std::string_view& facts) {
  facts = kOne;
  const std::string dir = storage::resolve(given);
  if (dir.empty()) return internal("the folder for the snapshot is missing");
  if (Failure f = snapshot::take(own, dir, call)) return f;
  Names listed, names;
  Failure failure = list(databases.folder(), listed);
  for (const auto& name : listed) {
    if (failure) break;
    Place place;
    std::shared_ptr<OpenDatabase> open;
    if (databases.place("/hoody/databases/" + name, place)) continue;  // no request can name it
    if (Failure f = databases.open(place, false, open)) {
      if (f.http_status == 404) continue;  // removed meanwhile
      failure = std::move(f);
      break;
    }
    failure = snapshot::take(open->database(), dir, call, snapshot::Way::fastest, number_name(names.size()));
    names.push_back(name);
  }
  if (!failure && !names.empty()) {
    facts = kSet;
    if (!write_whole(fs::path(dir) / kIndex, index_text(names))) failure = disk("the list of databases cannot be written");
  }
  if (failure) {
    for (size_t i = 0; i < names.size(); ++i) ::unlink((dir + "/" + number_name(i)).c_str());
    ::unlink((dir + "/data.sqlite").c_str());
  }
  return failure;
}

Failure verify_set(const std::string& given, const Host& host, const via_call* call) {
  const std::string dir = storage::resolve(given);
  bool there = false;
  Names names;
  if (Failure f = read_index(dir, there, names)) return f;
  if (Failure f = snapshot::verify(dir, host, call)) return f;
  for (size_t i = 0; i < names.size(); ++i)
    if (Failure f = snapshot::verify(dir, host, call, number_name(i))) return f;
  return {};
}

Failure restore_set(const std::string& storage_dir, const std::string& given, const Host& host, const via_call* call,
                    std::string_view& facts) {
  facts = kOne;
  const fs::path storage(storage_dir), dir(storage::resolve(given));
  if (storage_dir.empty() || dir.empty()) return internal("a folder of the restore is missing");
  bool there = false;
  Names fresh, old;
  Journal j;
  if (Failure f = read_journal(storage, there, j)) return f;
  if (there) {
    const bool this_one = j.dir == dir && !is_made(storage, j);
    if (Failure f = go_on(storage, j)) return f;
    if (this_one) {
      if (inode_of(dir / kIndex) != 0) facts = kSet;
      return {};
    }
  } else if (Failure f = clean(storage)) {
    return f;
  }
  if (Failure f = read_index(dir, there, fresh)) return f;
  if (Failure f = list(folder_of(storage), old)) return f;
  if (!old.empty()) facts = kSet;
  if (!there && old.empty()) return snapshot::restore(storage_dir, dir.string(), host, call);

  if (Failure f = snapshot::check_copy((dir / "data.sqlite").string(), call)) return f;
  for (size_t i = 0; i < fresh.size(); ++i)
    if (Failure f = snapshot::check_copy((dir / number_name(i)).string(), call)) return f;
  if (Failure f = snapshot::settle_wal((storage / "data.sqlite").string())) return f;
  for (const auto& name : old)
    if (Failure f = snapshot::settle_wal((folder_of(storage) / name).string())) return f;
  Failure built = build(storage, dir, fresh, old);
  if (!built && call->cancelled && call->cancelled(call)) built = {VIA_E_CANCELLED, "cancelled", "the work on the snapshot was cancelled"};
  j = {dir, inode_of(dir / "data.sqlite"), inode_of(other_of(storage)), inode_of(kept_of(storage))};
  if (!built && !write_journal(storage, j)) built = disk("the record of a restore cannot be written");
  if (!built) return go_on(storage, j);
  if (Failure f = clean(storage)) return f;
  return built;
}

Failure finish_restore(const std::string& storage_dir) {
  if (storage_dir.empty()) return {};
  const fs::path storage(storage_dir);
  bool there = false;
  Journal j;
  if (Failure f = read_journal(storage, there, j)) return f;
  if (!there) return clean(storage);
  Failure f = go_on(storage, j);
  // Taken back, and surely: the add-on opens with what it had.
  return std::string_view(f.code) != "outcome_unknown" && inode_of(storage / kJournal) == 0 ? Failure{} : f;
}

}  // namespace via::sqlite::api
