#include "plugins/sqlite/api/snapshot_set.hpp"

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
  if (errno == ENOSPC || errno == EDQUOT) return {VIA_E_EXHAUSTED, "disk_full", "the disk is full; free some space and try again"};
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
  if (name.empty() || name.size() > 1024) return false;
  for (;;) {
    const size_t end = std::min(name.find('/'), name.size());
    const std::string_view part = name.substr(0, end);
    if (part.empty() || part.size() > 250 || part.starts_with('.')) return false;
    for (const char c : part)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') return false;
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

std::string index_text(const Names& names) {
  json::array list;
  for (const auto& name : names) list.emplace_back(json::string_view(name));
  return json::serialize(json::object{{"databases", std::move(list)}}) + "\n";
}

bool read_text(const fs::path& path, std::string& out) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode) || static_cast<size_t>(st.st_size) > kMostIndexBytes) return false;
  std::ifstream in(path, std::ios::binary);
  out.assign(std::istreambuf_iterator<char>(in), {});
  return static_cast<bool>(in) || in.eof();
}

// Names that are valid, different, and no folder of one another.
bool parse_names(const json::value* list, Names& out) {
  out.clear();
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

// The names of a snapshot's further databases; `there` tells whether it has an index.
Failure read_index(const fs::path& dir, bool& there, Names& out) {
  out.clear();
  std::error_code ec;
  there = fs::exists(fs::symlink_status(dir / kIndex, ec));
  if (!there) return {};
  std::string text;
  json::error_code bad;
  if (!read_text(dir / kIndex, text)) return bad_set("the snapshot's list of databases cannot be read");
  const auto value = json::parse(text, bad);
  if (bad || !value.is_object() || !parse_names(value.get_object().if_contains("databases"), out))
    return bad_set("the snapshot's list of databases is damaged");
  std::set<std::string> expected{std::string(kIndex), "data.sqlite"};
  for (size_t i = 0; i < out.size(); ++i) expected.insert(number_name(i));
  for (const auto& entry : fs::directory_iterator(dir, ec))
    if (expected.erase(entry.path().filename().string()) == 0) return bad_set("the snapshot holds a file that its list does not name");
  if (ec || !expected.empty()) return bad_set("the snapshot lacks a database that its list names");
  return {};
}

// ---- a restore of several files ----

struct Journal {
  fs::path dir;                // the staging folder
  uint64_t main = 0, folder = 0, index = 0;  // inodes of what is new: data.sqlite, databases/, databases.json (0: none)
  Names old;                   // the databases that are replaced; their order is that of their numbers
};

fs::path folder_of(const fs::path& storage) { return storage / "databases"; }
fs::path other_of(const fs::path& storage) { return storage / "databases.restore"; }

bool write_journal(const fs::path& storage, const Journal& j) {
  json::array old;
  for (const auto& name : j.old) old.emplace_back(json::string_view(name));
  return write_whole(storage / kJournal, json::serialize(json::object{{"dir", json::string_view(j.dir.native())},
                                                                      {"main", j.main},
                                                                      {"folder", j.folder},
                                                                      {"index", j.index},
                                                                      {"old", std::move(old)}}));
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
  if (!dir || !dir->is_string() || !number("main", out.main) || !number("folder", out.folder) || !number("index", out.index) ||
      !parse_names(object->if_contains("old"), out.old))
    return {VIA_E_CORRUPT, "internal", "the record of a restore is damaged"};
  out.dir = std::string(dir->get_string().data(), dir->get_string().size());
  return {};
}

bool remove_journal(const fs::path& storage) {
  return (::unlink((storage / kJournal).c_str()) == 0 || errno == ENOENT) && sync_folder(storage);
}

bool exchange(const fs::path& a, const fs::path& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0;
}

// Both places hold what was there before, and the record of the restore goes. `why` is what the caller is told.
Failure take_back(const fs::path& storage, const Journal& j, Failure why) {
  if (inode_of(folder_of(storage)) == j.folder && (!exchange(other_of(storage), folder_of(storage)) || !sync_folder(storage)))
    return unknown("the replaced databases could not be put back");
  std::error_code ec;
  if (!remove_journal(storage)) return unknown("the record of a restore could not be removed");
  fs::remove_all(other_of(storage), ec);
  return why;
}

// What was replaced goes to the staging folder, under the names of a snapshot; idempotent.
Failure keep_replaced(const fs::path& storage, const Journal& j) {
  const fs::path folder = folder_of(storage), other = other_of(storage);
  std::error_code ec;
  std::set<uint64_t> fresh;
  for (fs::recursive_directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) fresh.insert(inode_of(at->path()));
  if (ec) return unknown("the restored databases cannot be read");
  Names second_names;  // of files that are in databases/ now
  for (const auto& entry : fs::directory_iterator(j.dir, ec))
    if (const uint64_t inode = inode_of(entry.path()); fresh.contains(inode) || (j.index != 0 && inode == j.index))
      second_names.push_back(entry.path().filename().string());
  if (ec) return unknown("the folder of the restore cannot be read");
  for (const auto& name : second_names)
    if (::unlink((j.dir / name).c_str()) != 0) return unknown("the folder of the restore cannot be changed");
  for (size_t i = 0; i < j.old.size(); ++i)
    if (inode_of(other / j.old[i]) != 0 && ::rename((other / j.old[i]).c_str(), (j.dir / number_name(i)).c_str()) != 0)
      return unknown("a replaced database cannot be kept");
  if (!j.old.empty() && inode_of(j.dir / kIndex) == 0 && !write_whole(j.dir / kIndex, index_text(j.old)))
    return unknown("the list of the replaced databases cannot be written");
  // What is no database is not part of a snapshot, and stays.
  for (const auto& entry : fs::directory_iterator(other, ec)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with("-wal") && !name.ends_with("-shm") && !name.starts_with('.'))
      (void)::renameat2(AT_FDCWD, entry.path().c_str(), AT_FDCWD, (folder / name).c_str(), RENAME_NOREPLACE);
  }
  if (!sync_folder(j.dir) || !sync_folder(folder)) return unknown("the restored databases could not be made durable");
  fs::remove_all(other, ec);
  return {};
}

Failure go_on(const fs::path& storage, const Journal& j) {
  const fs::path staged = j.dir / "data.sqlite", data = storage / "data.sqlite";
  const bool is_staged = inode_of(staged) == j.main, is_placed = inode_of(data) == j.main;
  if (!is_staged && !is_placed) return take_back(storage, j, internal("the copy that was to be restored is gone"));
  if (inode_of(folder_of(storage)) != j.folder) {
    if (!exchange(other_of(storage), folder_of(storage)) || !sync_folder(storage))
      return take_back(storage, j, disk("the databases cannot be exchanged"));
  }
  if (is_staged) {
    const bool replaces = inode_of(data) != 0;
    if (replaces ? !exchange(staged, data) : ::rename(staged.c_str(), data.c_str()) != 0)
      return take_back(storage, j, disk("the database cannot be exchanged"));
  }
  if (!sync_folder(storage)) return unknown("the restored databases could not be made durable");
  if (Failure f = keep_replaced(storage, j)) return f;
  return remove_journal(storage) ? Failure{} : unknown("the record of a restore could not be removed");
}

// The new databases/ under another name: hard links, so that the staging folder stays whole until the exchange.
Failure build(const fs::path& storage, const fs::path& dir, const Names& names) {
  const fs::path other = other_of(storage);
  std::error_code ec;
  fs::remove_all(other, ec);
  if (ec || ::mkdir(other.c_str(), 0700) != 0) return disk("the folder of a restore cannot be made");
  std::set<fs::path> folders{other};
  for (size_t i = 0; i < names.size(); ++i) {
    const fs::path from = dir / number_name(i), to = other / names[i];
    for (fs::path above = to.parent_path(); above != other; above = above.parent_path()) folders.insert(above);
    fs::create_directories(to.parent_path(), ec);
    if (ec || ::chmod(from.c_str(), 0600) != 0 || !sync_path(from, O_RDWR) || ::link(from.c_str(), to.c_str()) != 0)
      return disk("a database of the restore cannot be put in its place");
  }
  for (const auto& folder : folders)
    if (::chmod(folder.c_str(), 0700) != 0 || !sync_folder(folder)) return disk("the folder of a restore cannot be made durable");
  if (::mkdir(folder_of(storage).c_str(), 0700) != 0 && errno != EEXIST) return disk("the databases folder cannot be made");
  return sync_folder(storage) ? Failure{} : disk("the folder of a restore cannot be made durable");
}

}  // namespace

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
  if (Failure f = finish_restore(storage_dir)) return f;
  bool there = false;
  Names names;
  Journal j;
  if (Failure f = read_index(dir, there, names)) return f;
  if (Failure f = list(folder_of(storage), j.old)) return f;
  if (!j.old.empty()) facts = kSet;
  if (!there && j.old.empty()) return snapshot::restore(storage_dir, dir.string(), host, call);

  if (Failure f = snapshot::check_copy((dir / "data.sqlite").string(), call)) return f;
  for (size_t i = 0; i < names.size(); ++i)
    if (Failure f = snapshot::check_copy((dir / number_name(i)).string(), call)) return f;
  if (::chmod((dir / "data.sqlite").c_str(), 0600) != 0 || !sync_path(dir / "data.sqlite", O_RDWR)) return disk("the copy cannot be made durable");
  if (Failure f = snapshot::settle_wal((storage / "data.sqlite").string())) return f;
  for (const auto& name : j.old)
    if (Failure f = snapshot::settle_wal((folder_of(storage) / name).string())) return f;
  Failure built = build(storage, dir, names);
  j.dir = dir;
  j.main = inode_of(dir / "data.sqlite");
  j.folder = inode_of(other_of(storage));
  j.index = inode_of(dir / kIndex);
  if (!built && call->cancelled && call->cancelled(const_cast<via_call*>(call)))
    built = {VIA_E_CANCELLED, "cancelled", "the work on the snapshot was cancelled"};
  if (!built && !write_journal(storage, j)) {
    built = disk("the record of a restore cannot be written");
    if (!remove_journal(storage)) return unknown("the record of a restore could not be removed");
  }
  if (built) {
    std::error_code ec;
    fs::remove_all(other_of(storage), ec);
    return built;
  }
  return go_on(storage, j);
}

Failure finish_restore(const std::string& storage_dir) {
  if (storage_dir.empty()) return {};
  const fs::path storage(storage_dir);
  bool there = false;
  Journal j;
  if (Failure f = read_journal(storage, there, j)) return f;
  if (there) return go_on(storage, j);
  std::error_code ec;
  fs::remove_all(other_of(storage), ec);  // of one that had not begun
  return {};
}

}  // namespace via::sqlite::api
