#include "core/backup/archive_writer.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include <archive.h>
#include <archive_entry.h>

#include "core/base/tar.hpp"
#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/store/try.hpp"

namespace via::backup {
namespace {

constexpr std::size_t kPiece = 256U << 10;

Error changed() {
  return fail(Code::refused, "A file changed while it was backed up; no backup was made. Try again: via backup create");
}

struct Progress {
  const plugins::Watch& watch;
  std::uint64_t done = 0, total = 0;
  Result<void> add(std::uint64_t n) {
    done = std::min(done + n, total);
    if (watch.progress) watch.progress(done, total);
    if (watch.cancelled && watch.cancelled()) return fail(Code::cancelled, "The backup was cancelled; no file was made.");
    return {};
  }
};

// What must be the same of a file both times.
struct Source {
  FileHandle file;
  struct stat st {};
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(st.st_size); }
  bool same(const struct stat& other) const {
    return st.st_dev == other.st_dev && st.st_ino == other.st_ino && st.st_size == other.st_size &&
           st.st_mtim.tv_sec == other.st_mtim.tv_sec && st.st_mtim.tv_nsec == other.st_mtim.tv_nsec;
  }
};

Result<Source> open_source(const fs::path& path) {
  Source out;
  out.file = FileHandle(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!out.file) return system_error("open a file for the backup", errno);
  if (::fstat(out.file.get(), &out.st) != 0) return system_error("inspect a file for the backup", errno);
  if (!S_ISREG(out.st.st_mode)) return fail(Code::refused, "A backup may hold regular files only.");
  ::posix_fadvise(out.file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return out;
}

// Reads exactly `bytes` from where the file stands and hands them on in pieces.
template <class Take>
Result<void> read_exactly(int fd, std::uint64_t bytes, std::string& buffer, const Take& take) {
  buffer.resize(kPiece);
  while (bytes > 0) {
    const ssize_t n = ::read(fd, buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(bytes, kPiece)));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read a file for the backup", errno);
    if (n == 0) return changed();
    VIA_TRY(take(std::string_view(buffer.data(), static_cast<std::size_t>(n))));
    bytes -= static_cast<std::uint64_t>(n);
  }
  return {};
}

// The archive's last layer: encryption when there is an envelope, the file's bytes and their hash.
class Output {
 public:
  Output(int fd, std::optional<Envelope> envelope) : fd_(fd), envelope_(std::move(envelope)) {}

  Result<void> start() { return envelope_ ? put(envelope_->header()) : Result<void>{}; }
  Result<void> write(std::string_view text) {
    if (!envelope_) return put(text);
    while (!text.empty()) {
      // A full chunk is held back until more comes: the last one is sealed as the last.
      if (held_.size() == kChunk) VIA_TRY(flush(false));
      const std::size_t n = std::min(kChunk - held_.size(), text.size());
      held_.append(text.substr(0, n));
      text.remove_prefix(n);
    }
    return {};
  }
  Result<void> finish() { return envelope_ ? flush(true) : Result<void>{}; }
  std::uint64_t bytes() const { return bytes_; }
  std::string sha256() { return hash_.hex(); }

 private:
  Result<void> flush(bool last) {
    VIA_TRY(envelope_->seal(chunks_++, last, held_, box_));
    held_.clear();
    return put(box_);
  }
  Result<void> put(std::string_view text) {
    hash_.update(text);
    bytes_ += text.size();
    while (!text.empty()) {
      const ssize_t n = ::write(fd_, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("write the backup", errno);
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }

  int fd_;
  std::optional<Envelope> envelope_;
  std::string held_, box_;
  std::uint64_t chunks_ = 0, bytes_ = 0;
  Sha256 hash_;
};

// zstd over the output, by libarchive's raw format: the tar blocks are ours, the compression is its.
class Compressor {
 public:
  Compressor(Output& output, int level) : output_(output), archive_(archive_write_new(), archive_write_free) {
    struct archive* a = archive_.get();
    bool ok = a != nullptr && archive_write_set_format_raw(a) == ARCHIVE_OK;
    if (ok && level > 0) {
      ok = archive_write_add_filter_zstd(a) == ARCHIVE_OK &&
           archive_write_set_filter_option(a, "zstd", "compression-level", std::to_string(level).c_str()) == ARCHIVE_OK;
      // A help where the library can; the bytes mean the same without it.
      if (ok) (void)archive_write_set_filter_option(a, "zstd", "threads", "2");
    }
    ok = ok && archive_write_set_bytes_per_block(a, static_cast<int>(kChunk)) == ARCHIVE_OK &&
         archive_write_set_bytes_in_last_block(a, 1) == ARCHIVE_OK &&
         archive_write_open2(a, this, nullptr, &Compressor::take, nullptr, nullptr) == ARCHIVE_OK;
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(archive_entry_new(), archive_entry_free);
    if (ok && entry) {
      archive_entry_set_filetype(entry.get(), AE_IFREG);
      archive_entry_set_pathname(entry.get(), "data");
      ok_ = archive_write_header(a, entry.get()) == ARCHIVE_OK;
    }
  }
  Result<void> write(std::string_view text) {
    while (ok_ && !text.empty()) {
      const la_ssize_t n = archive_write_data(archive_.get(), text.data(), text.size());
      if (n <= 0) ok_ = false;
      else text.remove_prefix(static_cast<std::size_t>(n));
    }
    return result();
  }
  Result<void> finish() {
    if (ok_) ok_ = archive_write_close(archive_.get()) == ARCHIVE_OK;
    return result();
  }

 private:
  static la_ssize_t take(struct archive*, void* self, const void* data, size_t size) noexcept {
    auto& me = *static_cast<Compressor*>(self);
    try {
      if (auto written = me.output_.write({static_cast<const char*>(data), size}); !written) {
        me.error_ = written.error();
        return -1;
      }
    } catch (...) {  // nothing may unwind through the library
      me.error_ = fail(Code::internal, "there is no memory for the backup");
      return -1;
    }
    return static_cast<la_ssize_t>(size);
  }
  Result<void> result() const {
    if (error_) return *error_;
    if (!ok_) return fail(Code::internal, "the compression of the backup failed");
    return {};
  }

  Output& output_;
  std::unique_ptr<struct archive, int (*)(struct archive*)> archive_;
  bool ok_ = false;
  std::optional<Error> error_;
};

// The file beside the target that becomes it. Removed when it does not get that far.
class Partial {
 public:
  static Result<Partial> create(const fs::path& target) {
    const fs::path path = target.parent_path() / ("." + target.filename().string() + ".partial");
    for (int attempt = 0; attempt < 2; ++attempt) {
      FileHandle file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (file && ::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return Partial(path, std::move(file));
      if (!file && errno != EEXIST) return system_error("create the backup's file", errno);
      // Left by a crash, unless somebody holds it.
      const FileHandle old(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      if (old && ::flock(old.get(), LOCK_EX | LOCK_NB) != 0) break;
      ::unlink(path.c_str());
    }
    return fail(Code::conflict, "Another backup is being written to that file. Wait for it: via op list");
  }
  Partial(Partial&&) noexcept = default;
  Partial& operator=(Partial&&) = delete;
  ~Partial() {
    if (file_ && !path_.empty()) ::unlink(path_.c_str());
  }
  int fd() const { return file_.get(); }
  Result<void> publish(const fs::path& target, bool replace) {
    if (::fsync(file_.get()) != 0) return system_error("sync the backup", errno);
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), replace ? 0U : RENAME_NOREPLACE) != 0) {
      if (errno == EEXIST) return fail(Code::conflict, "A file of that name is there already. Choose another name.");
      return system_error("rename the backup", errno);
    }
    path_.clear();
    auto synced = sync_folder(target.parent_path().empty() ? fs::path(".") : target.parent_path());
    if (!synced && !replace) ::unlink(target.c_str());
    return synced;
  }

 private:
  Partial(fs::path path, FileHandle file) : path_(std::move(path)), file_(std::move(file)) {}
  fs::path path_;
  FileHandle file_;
};


}  // namespace

Result<Written> write_archive(const fs::path& target, Manifest facts, const std::vector<SourceFile>& files,
                              const WriterOptions& options, Entropy& entropy, const plugins::Watch& watch) {
  if (target.filename().empty()) return fail(Code::bad_request, "The backup needs the name of a file.");
  std::error_code ec;
  if (!options.replace && fs::symlink_status(target, ec).type() != fs::file_type::not_found)
    return fail(Code::conflict, "A file of that name is there already. Choose another name.");
  const std::uint64_t part_bytes = std::clamp<std::uint64_t>(options.part_bytes, 1, kMaxMemberBytes);
  const bool encrypted = !options.passphrase.empty();

  facts.members.clear();
  facts.mac.clear();
  facts.total_bytes = 0;
  std::vector<struct stat> seen;
  Progress progress{watch};
  for (const auto& file : files) {
    if (!is_file_name(file.name)) return fail(Code::bad_request, "A file of the backup has a name that none may have.");
    VIA_TRY_LET(source, open_source(file.path));
    progress.total += 2 * source.bytes();
    seen.push_back(source.st);
  }
  std::string buffer;
  for (std::size_t i = 0; i < files.size(); ++i) {
    VIA_TRY_LET(source, open_source(files[i].path));
    if (!source.same(seen[i])) return changed();
    const bool split = source.bytes() > part_bytes;
    std::uint64_t left = source.bytes();
    for (unsigned part = 1; part == 1 || left > 0; ++part) {
      Member member;
      member.name = split ? part_name(files[i].name, part) : files[i].name;
      if (split) member.part_of = files[i].name;
      member.bytes = std::min(left, part_bytes);
      Sha256 hash;
      VIA_TRY(read_exactly(source.file.get(), member.bytes, buffer, [&](std::string_view piece) -> Result<void> {
        hash.update(piece);
        return progress.add(piece.size());
      }));
      member.sha256 = hash.hex();
      left -= member.bytes;
      facts.total_bytes += member.bytes;
      facts.members.push_back(std::move(member));
    }
  }
  VIA_TRY(check(facts, encrypted));
  if (!options.master_key.empty()) {
    VIA_TRY_LET(code, mac(facts, options.master_key));
    facts.mac = code;
  }
  VIA_TRY_LET(manifest_text, text(facts));
  VIA_TRY(parse(manifest_text));  // what no reader would take must not be written

  std::optional<Envelope> envelope;
  if (encrypted) {
    VIA_TRY_LET(made, Envelope::create(options.passphrase, options.cost, entropy));
    envelope.emplace(std::move(made));
  }
  VIA_TRY_LET(partial, Partial::create(target));
  Output output(partial.fd(), std::move(envelope));
  VIA_TRY(output.start());
  Compressor compressor(output, options.level);
  const std::string zeros(2 * kTarBlock, '\0');
  const auto begin = [&](std::string_view name, std::uint64_t bytes) -> Result<void> {
    const auto header = tar_header(name, bytes);
    if (!header) return fail(Code::bad_request, "A name of the backup is too long for its container.");
    return compressor.write({header->data(), header->size()});
  };
  const auto end = [&](std::uint64_t bytes) { return compressor.write({zeros.data(), tar_padding(bytes)}); };

  VIA_TRY(begin("manifest.json", manifest_text.size()));
  VIA_TRY(compressor.write(manifest_text));
  VIA_TRY(end(manifest_text.size()));
  std::size_t next = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    VIA_TRY_LET(source, open_source(files[i].path));
    if (!source.same(seen[i])) return changed();
    do {
      const Member& member = facts.members[next];
      VIA_TRY(begin(member.name, member.bytes));
      Sha256 hash;
      VIA_TRY(read_exactly(source.file.get(), member.bytes, buffer, [&](std::string_view piece) -> Result<void> {
        hash.update(piece);
        auto written = compressor.write(piece);
        return written ? progress.add(piece.size()) : written;
      }));
      if (hash.hex() != member.sha256) return changed();
      VIA_TRY(end(member.bytes));
    } while (++next < facts.members.size() && facts.members[next].part_of == files[i].name);
  }
  VIA_TRY(compressor.write(zeros));
  VIA_TRY(compressor.finish());
  VIA_TRY(output.finish());
  VIA_TRY(partial.publish(target, options.replace));
  Written out;
  out.manifest = std::move(facts);
  out.bytes = output.bytes();
  out.sha256 = output.sha256();
  return out;
}

}  // namespace via::backup
