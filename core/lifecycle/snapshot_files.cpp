#include "core/lifecycle/snapshot_files.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <future>
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

// Calls `use` with every piece of the file, from its beginning.
Result<void> each_piece(int file, const std::function<Result<void>(std::string_view)>& use) {
  const auto buffer = std::make_unique<char[]>(kPiece);
  ::posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(file, buffer.get(), kPiece, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read a snapshot file", errno);
    if (n == 0) return {};
    at += n;
    VIA_TRY(use({buffer.get(), static_cast<std::size_t>(n)}));
  }
}

Result<void> write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("write a snapshot file", errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

// Size and hash of a file; ends early with `cancelled` when `go_on` says so.
Result<catalog::SnapshotFile> digest(int file, const std::function<bool(std::size_t)>& go_on) {
  catalog::SnapshotFile out;
  Sha256 hash;
  const auto add = [&](std::string_view piece) -> Result<void> {
    hash.update(piece);
    out.bytes += piece.size();
    if (!go_on(piece.size())) return cancelled();
    return {};
  };
  VIA_TRY(each_piece(file, add));
  out.sha256 = hash.hex();
  return out;
}

Result<void> sync_file(int file) {
  if (::fsync(file) != 0) return system_error("sync a snapshot file", errno);
  return {};
}

// Hash and sync at once: one waits for the processor, the other for the disk.
Result<catalog::SnapshotFile> digest_and_sync(int file, const std::function<bool(std::size_t)>& go_on) {
  auto synced = std::async(std::launch::async, [file] { return sync_file(file); });
  auto hashed = digest(file, go_on);
  VIA_TRY(synced.get());
  return hashed;
}

// Copies the bytes; the disk begins to write them at once.
Result<FileHandle> copy_bytes(const fs::path& from, const fs::path& to, Progress& progress) {
  VIA_TRY_LET(source, open_regular(from));
  FileHandle target(::open(to.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!target) return system_error("create a snapshot file", errno);
  off_t at = 0;
  const auto copy = [&](std::string_view piece) -> Result<void> {
    VIA_TRY(write_all(target.get(), piece));
    const auto size = static_cast<off_t>(piece.size());
    ::sync_file_range(target.get(), at, size, SYNC_FILE_RANGE_WRITE);  // a hint; its failure says nothing
    at += size;
    if (!progress.add(piece.size())) return cancelled();
    return {};
  };
  VIA_TRY(each_piece(source.get(), copy));
  return target;
}

Result<catalog::SnapshotFile> copy_with(const fs::path& from, const fs::path& to, Progress& progress) {
  VIA_TRY_LET(target, copy_bytes(from, to, progress));
  VIA_TRY_LET(copied, digest_and_sync(target.get(), [](std::size_t) { return true; }));
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

Result<Sealed> unsealed(const fs::path& folder) {
  Sealed out;
  std::error_code ec;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec))
    out.files.push_back({at->path().filename().string(), 0, {}});
  if (ec) return system_error("read a snapshot folder", ec.value());
  std::sort(out.files.begin(), out.files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

namespace {

// The files of `out` by name only, in the places that `path_of` tells, sealed.
Result<Sealed> seal_files(Sealed out, std::uint64_t total, const std::function<fs::path(const std::string&)>& path_of,
                          const plugins::Watch& watch) {
  if (out.files.empty()) return fail(Code::internal, "the plugin left an empty snapshot");
  Progress progress{watch, 0, total};
  out.bytes = 0;
  for (auto& each : out.files) {
    VIA_TRY_LET(file, open_regular(path_of(each.name)));
    if (::fchmod(file.get(), 0600) != 0) return system_error("change a snapshot file's mode", errno);
    VIA_TRY_LET(hashed, digest_and_sync(file.get(), [&](std::size_t n) { return progress.add(n); }));
    hashed.name = each.name;
    out.bytes += hashed.bytes;
    each = std::move(hashed);
  }
  out.sha256 = whole_hash(out.files);
  return out;
}

}  // namespace

Result<Sealed> seal(const fs::path& folder, const plugins::Watch& watch) {
  VIA_TRY_LET(names, unsealed(folder));
  VIA_TRY_LET(sealed, seal_files(std::move(names), folder_bytes(folder), [&](const std::string& name) { return folder / name; }, watch));
  VIA_TRY(sync_folder(folder));
  return sealed;
}

Result<Sealed> seal_published(const fs::path& folder, const std::string& id, const std::vector<catalog::SnapshotFile>& files,
                              const plugins::Watch& watch) {
  Sealed names;
  names.files = files;
  const fs::path place = published(folder, id, files);
  return seal_files(std::move(names), 0, [&](const std::string& name) { return files.size() == 1 ? place : place / name; }, watch);
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
                   const plugins::Watch& watch, const std::function<Result<void>()>& check) {
  VIA_TRY(remove_tree(staging));
  VIA_TRY(make_private_folder(staging));
  const fs::path source = published(folder, snapshot.id, snapshot.files);
  const auto copy = [&]() -> Result<void> {
    Progress progress{watch, 0, snapshot.bytes};
    std::vector<FileHandle> copies;
    for (const auto& file : snapshot.files) {
      VIA_TRY_LET(copied, copy_bytes(snapshot.files.size() == 1 ? source : source / file.name, staging / file.name, progress));
      copies.push_back(std::move(copied));
    }
    std::atomic<bool> stop{false};
    auto synced = std::async(std::launch::async, [&]() -> Result<void> {
      for (const auto& file : copies) VIA_TRY(sync_file(file.get()));
      return sync_folder(staging);
    });
    auto same = std::async(std::launch::async, [&]() -> Result<bool> {
      for (std::size_t i = 0; i < copies.size(); ++i) {
        VIA_TRY_LET(hashed, digest(copies[i].get(), [&](std::size_t) { return !stop; }));
        if (hashed.bytes != snapshot.files[i].bytes || hashed.sha256 != snapshot.files[i].sha256) return false;
      }
      return true;
    });
    const Result<void> checked = check();
    if (!checked && checked.error().code == Code::cancelled) stop = true;
    auto hashed = same.get();
    auto flushed = synced.get();
    if (stop) return checked;
    if (!hashed) return hashed.error();
    if (!*hashed)
      return fail(Code::refused, "Snapshot " + snapshot.id +
                                     " is damaged: its bytes are not those that were taken. Nothing was changed. "
                                     "Choose another: via addon snapshots " + snapshot.addon);
    VIA_TRY(flushed);
    return checked;
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

bool holds(const fs::path& staging, const catalog::Snapshot& snapshot) {
  for (const auto& file : snapshot.files) {
    auto copy = open_regular(staging / file.name);
    if (!copy) return false;
    const auto hashed = digest(copy->get(), [](std::size_t) { return true; });
    if (!hashed || hashed->bytes != file.bytes || hashed->sha256 != file.sha256) return false;
  }
  return true;
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
