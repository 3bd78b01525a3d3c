#include "core/backup/archive_reader.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <set>

#include <archive.h>
#include <archive_entry.h>

#include "core/backup/envelope.hpp"
#include "core/base/tar.hpp"
#include "core/base/digest.hpp"
#include "core/store/try.hpp"

namespace via::backup {
namespace {

constexpr std::size_t kPiece = 256U << 10;

Error refused(const std::string& rule) {
  return fail(Code::refused, "The backup is damaged or was changed: " + rule +
                                 ". Nothing was changed. Choose another backup: via backup list");
}

// The manifest is member 1.
std::string member_at(std::size_t index) { return "member " + std::to_string(index + 2) + " "; }

// Reads up to `size` bytes at `at`; fewer only at the end of the file.
Result<std::size_t> read_at(int fd, std::uint64_t at, char* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd, out + done, size - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read the backup", errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

// One pass over the archive's plain bytes: file, decryption, decompression.
class Stream {
 public:
  Stream(int fd, std::uint64_t size, const Envelope* envelope)
      : fd_(fd), size_(size), at_(envelope != nullptr ? kEnvelopeHeader : 0), envelope_(envelope),
        archive_(archive_read_new(), archive_read_free) {}

  Result<void> start() {
    struct archive* a = archive_.get();
    archive_entry* entry = nullptr;
    const bool ok = a != nullptr && archive_read_support_filter_zstd(a) == ARCHIVE_OK &&
                    archive_read_support_format_raw(a) == ARCHIVE_OK &&
                    archive_read_open(a, this, nullptr, &Stream::take, nullptr) == ARCHIVE_OK &&
                    archive_read_next_header(a, &entry) == ARCHIVE_OK;
    if (!ok) return failure("it holds no archive");
    // Compression inside of compression is nothing that a writer makes. The last filter is the file itself.
    if (archive_filter_count(a) > 2) return refused("it is compressed more than once");
    return {};
  }
  // Reads up to `size` bytes; 0 at the end.
  Result<std::size_t> read(char* out, std::size_t size) {
    const la_ssize_t n = archive_read_data(archive_.get(), out, size);
    if (n < 0) return failure("its compressed bytes are cut short or not valid");
    return static_cast<std::size_t>(n);
  }
  Result<void> read_exactly(char* out, std::size_t size, const std::string& where) {
    while (size > 0) {
      VIA_TRY_LET(n, read(out, size));
      if (n == 0) return refused(where + "is cut short");
      out += n;
      size -= n;
    }
    return {};
  }
  Result<void> expect_zeros(std::size_t size, const std::string& where) {
    char block[2 * kTarBlock];
    VIA_TRY(read_exactly(block, size, where));
    if (std::any_of(block, block + size, [](char c) { return c != 0; }))
      return refused(where + "is followed by bytes that are not zero");
    return {};
  }
  Result<void> expect_end() {
    char byte = 0;
    VIA_TRY_LET(n, read(&byte, 1));
    if (n != 0) return refused("it goes on after its last member");
    return {};
  }

 private:
  static la_ssize_t take(struct archive* a, void* self, const void** data) noexcept {
    auto& me = *static_cast<Stream*>(self);
    try {
      auto filled = me.fill();
      if (filled) {
        *data = me.plain_.data();
        return static_cast<la_ssize_t>(me.plain_.size());
      }
      me.error_ = filled.error();
    } catch (...) {  // nothing may unwind through the library
      me.error_ = fail(Code::internal, "there is no memory for the backup");
    }
    archive_set_error(a, EIO, "the source failed");
    return -1;
  }
  Result<void> fill() {
    plain_.clear();
    if (at_ >= size_) {
      if (envelope_ != nullptr && chunks_ == 0) return refused("it is cut short");
      return {};
    }
    const std::size_t most = envelope_ != nullptr ? kChunk + kChunkTag : kPiece;
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(most, size_ - at_));
    std::string& target = envelope_ != nullptr ? box_ : plain_;
    target.resize(want);
    VIA_TRY_LET(n, read_at(fd_, at_, target.data(), want));
    if (n != want) return refused("its file became shorter while it was read");
    at_ += n;
    if (envelope_ != nullptr && !envelope_->unseal(chunks_++, at_ == size_, box_, plain_)) {
      plain_.clear();
      if (chunks_ == 1)
        return fail(Code::not_allowed, "The passphrase is wrong, or the backup is damaged. Nothing was changed.");
      return refused("encrypted chunk " + std::to_string(chunks_) + " does not open; it is changed or cut short");
    }
    return {};
  }
  Error failure(const char* rule) const { return error_ ? *error_ : refused(rule); }

  int fd_;
  std::uint64_t size_, at_;
  const Envelope* envelope_;
  std::uint64_t chunks_ = 0;
  std::string box_, plain_;
  std::optional<Error> error_;
  std::unique_ptr<struct archive, int (*)(struct archive*)> archive_;
};

// The text of member 1. Its size is the only number taken from a header.
Result<std::string> read_manifest(Stream& stream) {
  const std::string where = "member 1 ";
  TarBlock header{};
  VIA_TRY(stream.read_exactly(header.data(), header.size(), where));
  const auto bytes = tar_size(header);
  if (!bytes || *bytes > kMaxManifestBytes) return refused(where + "has a size that no manifest has");
  if (tar_header("manifest.json", *bytes) != header) return refused(where + "is not a manifest");
  std::string out;
  while (out.size() < *bytes) {
    // Grows with what really comes, not with what the header promises.
    const std::size_t had = out.size();
    out.resize(std::min<std::size_t>(had + kPiece, static_cast<std::size_t>(*bytes)));
    VIA_TRY(stream.read_exactly(out.data() + had, out.size() - had, where));
  }
  VIA_TRY(stream.expect_zeros(tar_padding(*bytes), where));
  return out;
}

// Opens a folder below another, made when it is not there.
Result<FileHandle> enter(int folder, const std::string& name) {
  if (::mkdirat(folder, name.c_str(), 0700) != 0 && errno != EEXIST) return system_error("create a folder", errno);
  FileHandle out(::openat(folder, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!out) return system_error("open a folder", errno);
  return out;
}

// The staging folder: names are of the closed grammar, every step is relative to an open folder and follows no link.
class Staging {
 public:
  static Result<Staging> make(const fs::path& path) {
    if (::mkdir(path.c_str(), 0700) != 0) {
      if (errno == EEXIST) return fail(Code::conflict, "The folder to restore into is there already.");
      return system_error("create the folder to restore into", errno);
    }
    Staging out(path);
    out.root_ = FileHandle(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!out.root_) return system_error("open the folder to restore into", errno);
    return out;
  }
  Staging(Staging&& other) noexcept
      : path_(std::move(other.path_)), root_(std::move(other.root_)), file_(std::move(other.file_)),
        name_(std::move(other.name_)), folders_(std::move(other.folders_)), keep_(other.keep_) {
    other.keep_ = true;
  }
  Staging& operator=(Staging&&) = delete;
  ~Staging() {
    std::error_code ec;
    if (!keep_) fs::remove_all(path_, ec);
  }

  int root() const { return root_.get(); }
  // The file of the next bytes; parts of one file go on in it.
  Result<void> begin(const Member& member) {
    if (file_ && member.file() == name_) return {};
    VIA_TRY(end());
    FileHandle folder(::dup(root_.get()));
    if (!folder) return system_error("open a folder", errno);
    name_ = member.file();
    std::string rest = name_;
    for (auto slash = rest.find('/'); slash != std::string::npos; slash = rest.find('/')) {
      VIA_TRY_LET(inner, enter(folder.get(), rest.substr(0, slash)));
      folder = std::move(inner);
      rest.erase(0, slash + 1);
      folders_.insert(name_.substr(0, name_.size() - rest.size() - 1));
    }
    file_ = FileHandle(
        ::openat(folder.get(), rest.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!file_) return system_error("create a file of the backup", errno);
    return {};
  }
  Result<void> write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_error("write a file of the backup", errno);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return {};
  }
  Result<void> finish() {
    VIA_TRY(end());
    for (const auto& folder : folders_) VIA_TRY(sync_folder(path_ / folder));
    VIA_TRY(sync_folder(path_));
    VIA_TRY(sync_folder(path_.parent_path().empty() ? fs::path(".") : path_.parent_path()));
    keep_ = true;
    return {};
  }

 private:
  explicit Staging(fs::path path) : path_(std::move(path)) {}
  Result<void> end() {
    if (file_ && ::fsync(file_.get()) != 0) return system_error("sync a file of the backup", errno);
    file_.reset();
    return {};
  }
  fs::path path_;
  FileHandle root_, file_;
  std::string name_;
  std::set<std::string> folders_;
  bool keep_ = false;
};

}  // namespace

struct ArchiveReader::Impl {
  FileHandle file;
  std::uint64_t size = 0;
  std::optional<Envelope> envelope;
  std::string text;
  Manifest manifest;

  // Everything after the manifest, handed to `staging` when there is one.
  Result<void> pass(Staging* staging, const plugins::Watch& watch) {
    Stream stream(file.get(), size, envelope ? &*envelope : nullptr);
    VIA_TRY(stream.start());
    VIA_TRY_LET(again, read_manifest(stream));
    if (again != text) return refused("its manifest changed while it was read");
    const auto buffer = std::make_unique<char[]>(kPiece);
    std::uint64_t done = 0;
    for (std::size_t i = 0; i < manifest.members.size(); ++i) {
      const Member& member = manifest.members[i];
      const std::string where = member_at(i);
      TarBlock header{};
      VIA_TRY(stream.read_exactly(header.data(), header.size(), where));
      if (tar_header(member.name, member.bytes) != header)
        return refused(where + "is not the regular file that the manifest lists there");
      if (staging != nullptr) VIA_TRY(staging->begin(member));
      Sha256 hash;
      for (std::uint64_t left = member.bytes; left > 0;) {
        VIA_TRY_LET(n, stream.read(buffer.get(), static_cast<std::size_t>(std::min<std::uint64_t>(left, kPiece))));
        if (n == 0) return refused(where + "is cut short");
        hash.update({buffer.get(), n});
        if (staging != nullptr) VIA_TRY(staging->write({buffer.get(), n}));
        left -= n;
        done += n;
        if (watch.progress) watch.progress(done, manifest.total_bytes);
        if (watch.cancelled && watch.cancelled())
          return fail(Code::cancelled, "The operation was cancelled; nothing was changed.");
      }
      if (hash.hex() != member.sha256) return refused(where + "does not have the manifest's hash");
      VIA_TRY(stream.expect_zeros(tar_padding(member.bytes), where));
    }
    VIA_TRY(stream.expect_zeros(2 * kTarBlock, "the last member "));
    return stream.expect_end();
  }
};

ArchiveReader::ArchiveReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ArchiveReader::ArchiveReader(ArchiveReader&&) noexcept = default;
ArchiveReader& ArchiveReader::operator=(ArchiveReader&&) noexcept = default;
ArchiveReader::~ArchiveReader() = default;

Result<ArchiveReader> ArchiveReader::open(const fs::path& path, const Secret& passphrase) {
  // O_NONBLOCK: a pipe in the place of a backup must not hold anybody up.
  FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) {
    if (errno == ELOOP) return fail(Code::refused, "A backup must be a regular file, and this is a symbolic link.");
    if (errno == ENOENT) return fail(Code::not_found, "There is no backup of that name. See which there are: via backup list");
    return system_error("open the backup", errno);
  }
  return open(std::move(file), passphrase);
}

Result<ArchiveReader> ArchiveReader::open(FileHandle file, const Secret& passphrase) {
  auto impl = std::make_unique<Impl>();
  impl->file = std::move(file);
  struct stat st {};
  if (::fstat(impl->file.get(), &st) != 0) return system_error("inspect the backup", errno);
  if (!S_ISREG(st.st_mode)) return fail(Code::refused, "A backup must be a regular file.");
  impl->size = static_cast<std::uint64_t>(st.st_size);
  ::posix_fadvise(impl->file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);

  std::string header(kEnvelopeHeader, '\0');
  VIA_TRY_LET(n, read_at(impl->file.get(), 0, header.data(), header.size()));
  header.resize(n);
  if (header.starts_with(kEnvelopeMagic)) {
    if (passphrase.empty())
      return fail(Code::bad_request, "This backup is encrypted. Give its passphrase: --passphrase-file FILE");
    if (impl->size <= kEnvelopeHeader + kChunkTag) return refused("it is cut short");
    VIA_TRY_LET(envelope, Envelope::open(header, passphrase));
    impl->envelope.emplace(std::move(envelope));
  } else if (!passphrase.empty()) {
    // Taking it all the same would let somebody put an archive of his own in the place of an encrypted one.
    return fail(Code::bad_request, "This backup is not encrypted. Leave the passphrase out if that is as it should be.");
  }
  Stream stream(impl->file.get(), impl->size, impl->envelope ? &*impl->envelope : nullptr);
  VIA_TRY(stream.start());
  VIA_TRY_LET(text, read_manifest(stream));
  VIA_TRY_LET(manifest, parse(text));
  VIA_TRY(check(manifest, impl->envelope.has_value()));
  impl->text = std::move(text);
  impl->manifest = std::move(manifest);
  return ArchiveReader(std::move(impl));
}

const Manifest& ArchiveReader::manifest() const { return impl_->manifest; }
bool ArchiveReader::encrypted() const { return impl_->envelope.has_value(); }

Result<Origin> ArchiveReader::check_mac(const Secret& master_key) const {
  if (impl_->manifest.mac.empty()) return Origin::absent;
  VIA_TRY_LET(expected, mac(impl_->manifest, master_key));
  return Secret(expected) == Secret(impl_->manifest.mac) ? Origin::ours : Origin::foreign;
}

Result<void> ArchiveReader::verify(const plugins::Watch& watch) { return impl_->pass(nullptr, watch); }

Result<void> ArchiveReader::extract_all(const fs::path& staging, const plugins::Watch& watch) {
  VIA_TRY_LET(folder, Staging::make(staging));
  struct statvfs room {};
  if (::fstatvfs(folder.root(), &room) == 0 &&
      impl_->manifest.total_bytes / std::max<std::uint64_t>(room.f_frsize, 1) > room.f_bavail)
    return fail(Code::refused, "There is not enough room on the disk for this backup. Nothing was changed.");
  VIA_TRY(impl_->pass(&folder, watch));
  return folder.finish();
}

}  // namespace via::backup
