#include "plugins/sqlite/api/directories.hpp"

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/descriptor.hpp"
#include "plugins/sqlite/render.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace via::sqlite::api {
namespace {

constexpr int kFolder = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
// A folder's time may stand still for a clock tick after a change: an index is trusted only when it is older than that.
constexpr int64_t kTickNs = 50'000'000;

int64_t ns_of(const timespec& t) { return static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec; }

int64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_REALTIME, &t);
  return ns_of(t);
}

Failure no_key() { return error(404, "Key not found"); }
Failure too_many() {
  return error(413, "directory-mode: the directory holds more than " + std::to_string(Directories::kMaxFiles) + " files or is too deep");
}

// One segment of a key.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.starts_with('.') || !is_utf8(name)) return false;
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/') return false;
  for (const std::string_view companion : {"-wal", "-shm", "-journal"})
    if (name.ends_with(companion)) return false;
  return true;
}

// The folder that holds the key's file, opened step by step without following a link, and the file's name.
bool walk(const std::string& folder, std::string_view key, Descriptor& parent, std::string& name) {
  parent.reset(::open(folder.c_str(), kFolder));
  for (size_t depth = 0; parent; ++depth) {
    const size_t slash = key.find('/');
    name = key.substr(0, slash);
    if (!is_name(name) || depth > Directories::kMaxDepth) return false;
    if (slash == key.npos) return true;
    parent.reset(::openat(parent.get(), name.c_str(), kFolder));
    key.remove_prefix(slash + 1);
  }
  return false;
}

}  // namespace

struct Directories::Index {
  struct Folder {
    std::string path;  // below the root, "." for the root
    ino_t inode = 0;
    int64_t changed_ns = 0;
  };
  std::vector<Folder> folders;
  std::vector<PlainFile> files;  // by key
  int64_t made_ns = 0;

  bool holds(int root) const {
    return std::all_of(folders.begin(), folders.end(), [&](const Folder& f) {
      struct stat st {};
      return ::fstatat(root, f.path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) && st.st_ino == f.inode &&
             ns_of(st.st_mtim) == f.changed_ns && f.changed_ns + kTickNs < made_ns;
    });
  }
};

namespace {

// Fills the index with what `fd`, which is closed here, holds. `prefix` ends with a slash or is empty.
template <class Index>
Failure gather(Databases& databases, int fd, const std::string& prefix, size_t depth, Index& out) {
  struct stat st {};
  DIR* const listing = ::fdopendir(fd);
  if (!listing || ::fstat(fd, &st) != 0) {
    if (listing) ::closedir(listing);
    else ::close(fd);
    return internal("a directory cannot be read");
  }
  out.folders.push_back({prefix.empty() ? "." : prefix.substr(0, prefix.size() - 1), st.st_ino, ns_of(st.st_mtim)});
  Failure failure;
  while (const dirent* entry = ::readdir(listing)) {
    const std::string name = entry->d_name;
    if (!is_name(name) || ::fstatat(fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (S_ISDIR(st.st_mode)) {
      if (depth >= Directories::kMaxDepth || out.folders.size() >= Directories::kMaxFiles) failure = too_many();
      else if (const int below = ::openat(fd, name.c_str(), kFolder); below >= 0)
        failure = gather(databases, below, prefix + name + "/", depth + 1, out);
    } else if (const Descriptor file(databases.open_plain(fd, name.c_str(), st)); file) {
      if (out.files.size() >= Directories::kMaxFiles) failure = too_many();
      else out.files.push_back({prefix + name, static_cast<uint64_t>(st.st_size), ns_of(st.st_mtim) / 1'000'000});
    }
    if (failure) break;
  }
  ::closedir(listing);
  return failure;
}

}  // namespace

Failure Directories::index_of(const std::string& folder, bool rebuild, std::shared_ptr<const Index>& out) {
  const Descriptor root(::open(folder.c_str(), kFolder));
  if (!root) return error(404, "database not found");
  if (!rebuild) {
    const std::lock_guard lock(mutex_);
    const auto it = std::find_if(cache_.begin(), cache_.end(), [&](const auto& c) { return c.first == folder; });
    if (it != cache_.end()) {
      std::rotate(it, it + 1, cache_.end());
      out = cache_.back().second;
    }
  }
  if (out && out->holds(root.get())) return {};
  auto fresh = std::make_shared<Index>();
  fresh->made_ns = now_ns();
  const int fd = ::openat(root.get(), ".", kFolder);
  if (fd < 0) return internal("a directory cannot be read");
  if (Failure f = gather(databases_, fd, "", 0, *fresh)) {
    forget(folder);
    return f;
  }
  std::sort(fresh->files.begin(), fresh->files.end(), [](const PlainFile& a, const PlainFile& b) { return a.key < b.key; });
  out = std::move(fresh);
  const std::lock_guard lock(mutex_);
  std::erase_if(cache_, [&](const auto& c) { return c.first == folder; });
  if (cache_.size() >= kMaxCached) cache_.erase(cache_.begin());
  cache_.emplace_back(folder, out);
  return {};
}

void Directories::forget(const std::string& folder) {
  const std::lock_guard lock(mutex_);
  std::erase_if(cache_, [&](const auto& c) { return c.first == folder; });
}

Directories::Cached Directories::cached() const {
  const std::lock_guard lock(mutex_);
  Cached out{cache_.size(), 0};
  for (const auto& [folder, index] : cache_) out.files += index->files.size();
  return out;
}

Failure Directories::list(const std::string& folder, std::string_view prefix, int64_t limit, int64_t offset, bool rebuild,
                          std::vector<PlainFile>& out) {
  out.clear();
  std::shared_ptr<const Index> index;
  if (Failure f = index_of(folder, rebuild, index)) return f;
  auto it = std::lower_bound(index->files.begin(), index->files.end(), prefix,
                             [](const PlainFile& file, std::string_view p) { return file.key < p; });
  const auto more = [&] { return it != index->files.end() && std::string_view(it->key).starts_with(prefix); };
  for (; more() && offset > 0; --offset) ++it;
  for (; more() && out.size() < static_cast<size_t>(limit); ++it) out.push_back(*it);
  return {};
}

Failure Directories::read(const std::string& folder, std::string_view key, std::string& value, PlainFile& about) {
  Descriptor parent;
  std::string name;
  struct stat st {};
  if (!walk(folder, key, parent, name)) return no_key();
  const Descriptor file(databases_.open_plain(parent.get(), name.c_str(), st));
  if (!file) return no_key();
  if (static_cast<uint64_t>(st.st_size) > kMaxValue) return error(413, "directory-mode: the file is larger than 32 MiB");
  about = {std::string(key), static_cast<uint64_t>(st.st_size), ns_of(st.st_mtim) / 1'000'000};
  value.resize(static_cast<size_t>(st.st_size));
  size_t have = 0;
  while (have < value.size()) {
    const ssize_t n = ::pread(file.get(), value.data() + have, value.size() - have, static_cast<off_t>(have));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return internal("a file cannot be read");
    if (n == 0) break;  // it was cut short meanwhile
    have += static_cast<size_t>(n);
  }
  value.resize(have);
  return {};
}

Failure Directories::remove(const std::string& folder, std::string_view key) {
  Descriptor parent;
  std::string name;
  struct stat st {};
  if (!walk(folder, key, parent, name)) return no_key();
  const Descriptor file(databases_.open_plain(parent.get(), name.c_str(), st));
  if (!file) return no_key();
  if (::unlinkat(parent.get(), name.c_str(), 0) != 0) return errno == ENOENT ? no_key() : internal("a file cannot be removed");
  return ::fsync(parent.get()) == 0 ? Failure{} : internal("the removal of a file cannot be made durable");
}

}  // namespace via::sqlite::api
