#include "core/lifecycle/snapshot_files.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/store/try.hpp"

namespace via::lifecycle {
namespace {

constexpr std::size_t kPiece = 1U << 20;

Error cancelled() { return fail(Code::cancelled, "The operation was cancelled; nothing was changed."); }

struct Progress {
  const plugins::Watch& watch;
  std::uint64_t done = 0, total = 0;
  bool add(std::size_t n) {
    done += n;
    if (watch.progress) watch.progress(done, total);
    return !(watch.cancelled && watch.cancelled());
  }
};

Result<FileHandle> open_regular(const fs::path& path) {
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return system_error("open a snapshot file", errno);
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return system_error("inspect a snapshot file", errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::refused, "A snapshot may hold regular files only.");
  return file;
}

// Reads `from` to its end, hashing, and writes the bytes to `to` unless that is negative.
Result<catalog::SnapshotFile> digest(int from, int to, Progress& progress) {
  catalog::SnapshotFile out;
  Sha256 hash;
  const auto buffer = std::make_unique<char[]>(kPiece);
  ::posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
  for (;;) {
    const ssize_t n = ::read(from, buffer.get(), kPiece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read a snapshot file", errno);
    if (n == 0) break;
    const auto size = static_cast<std::size_t>(n);
    hash.update({buffer.get(), size});
    out.bytes += size;
    for (std::size_t written = 0; to >= 0 && written < size;) {
      const ssize_t w = ::write(to, buffer.get() + written, size - written);
      if (w < 0 && errno == EINTR) continue;
      if (w < 0) return system_error("write a snapshot file", errno);
      written += static_cast<std::size_t>(w);
    }
    if (!progress.add(size)) return cancelled();
  }
  out.sha256 = hash.hex();
  return out;
}

Result<catalog::SnapshotFile> copy_with(const fs::path& from, const fs::path& to, Progress& progress) {
  VIA_TRY_LET(source, open_regular(from));
  const FileHandle target(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!target) return system_error("create a snapshot file", errno);
  VIA_TRY_LET(copied, digest(source.get(), target.get(), progress));
  if (::fsync(target.get()) != 0) return system_error("sync a snapshot file", errno);
  copied.name = to.filename().string();
  return copied;
}

Result<void> rename_new(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0) {
    if (errno == EEXIST) return fail(Code::conflict, "A file of that name is there already.");
    return system_error("rename a snapshot", errno);
  }
  return {};
}

// One hash for the whole: that of the file when there is one, else of "name, size, hash" of each in order.
std::string whole_hash(const std::vector<catalog::SnapshotFile>& files) {
  if (files.size() == 1) return files.front().sha256;
  Sha256 hash;
  for (const auto& file : files) hash.update(file.name + '\0' + std::to_string(file.bytes) + '\0' + file.sha256 + '\n');
  return hash.hex();
}

}  // namespace

std::uint64_t tree_bytes(const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::error_code ec;
  for (fs::recursive_directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) {
    std::error_code one;
    if (at->is_regular_file(one) && !one) bytes += at->file_size(one);
  }
  return bytes;
}

Result<Sealed> seal(const fs::path& folder, const plugins::Watch& watch) {
  std::vector<fs::path> paths;
  std::error_code ec;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) paths.push_back(at->path());
  if (ec) return system_error("read a snapshot folder", ec.value());
  if (paths.empty()) return fail(Code::internal, "the plugin left an empty snapshot");
  std::sort(paths.begin(), paths.end());
  Sealed out;
  Progress progress{watch, 0, tree_bytes(folder)};
  for (const auto& path : paths) {
    VIA_TRY_LET(file, open_regular(path));
    if (::fchmod(file.get(), 0600) != 0) return system_error("change a snapshot file's mode", errno);
    VIA_TRY_LET(hashed, digest(file.get(), -1, progress));
    if (::fsync(file.get()) != 0) return system_error("sync a snapshot file", errno);
    hashed.name = path.filename().string();
    out.bytes += hashed.bytes;
    out.files.push_back(std::move(hashed));
  }
  VIA_TRY(sync_folder(folder));
  out.sha256 = whole_hash(out.files);
  return out;
}

fs::path published(const fs::path& folder, const std::string& id, const std::vector<catalog::SnapshotFile>& files) {
  if (files.size() != 1) return folder / id;
  return folder / (id + fs::path(files.front().name).extension().string());
}

Result<void> publish(const fs::path& partial, const Sealed& sealed, const fs::path& folder, const std::string& id) {
  const fs::path target = published(folder, id, sealed.files);
  if (sealed.files.size() == 1) {
    VIA_TRY(rename_new(partial / sealed.files.front().name, target));
    std::error_code ec;
    fs::remove(partial, ec);
  } else {
    VIA_TRY(rename_new(partial, target));
  }
  return sync_folder(folder);
}

Result<void> stage(const fs::path& folder, const catalog::Snapshot& snapshot, const fs::path& staging,
                   const plugins::Watch& watch) {
  VIA_TRY(remove_tree(staging));
  VIA_TRY(make_private_folder(staging));
  const fs::path source = published(folder, snapshot.id, snapshot.files);
  const auto copy = [&]() -> Result<void> {
    Progress progress{watch, 0, snapshot.bytes};
    for (const auto& file : snapshot.files) {
      VIA_TRY_LET(copied, copy_with(snapshot.files.size() == 1 ? source : source / file.name, staging / file.name, progress));
      if (copied.bytes != file.bytes || copied.sha256 != file.sha256)
        return fail(Code::refused, "Snapshot " + snapshot.id +
                                       " is damaged: its bytes are not those that were taken. Nothing was changed. "
                                       "Choose another: via addon snapshots " + snapshot.addon);
    }
    return sync_folder(staging);
  };
  auto copied = copy();
  if (!copied) {
    (void)remove_tree(staging);
    if (copied.error().code == Code::not_found)
      return fail(Code::not_found, "The files of snapshot " + snapshot.id +
                                       " are gone. Choose another: via addon snapshots " + snapshot.addon);
  }
  return copied;
}

Result<catalog::SnapshotFile> copy_file(const fs::path& from, const fs::path& to, const plugins::Watch& watch,
                                        bool replace) {
  std::error_code ec;
  Progress progress{watch, 0, fs::file_size(from, ec)};
  const fs::path partial = to.parent_path() / ("." + to.filename().string() + ".partial");
  fs::remove(partial, ec);
  auto copied = copy_with(from, partial, progress);
  if (copied) {
    Result<void> named{};
    if (replace && ::rename(partial.c_str(), to.c_str()) != 0) named = system_error("rename a file", errno);
    if (!replace) named = rename_new(partial, to);
    if (named) {
      named = sync_folder(to.parent_path());
      if (!named && !replace) fs::remove(to, ec);
    }
    if (!named) copied = named.error();
  }
  if (!copied) fs::remove(partial, ec);
  return copied;
}

Result<void> remove_published(const fs::path& folder, const catalog::Snapshot& snapshot) {
  std::error_code ec;
  if (!fs::exists(folder, ec)) return {};
  return remove_tree(published(folder, snapshot.id, snapshot.files));
}

}  // namespace via::lifecycle
