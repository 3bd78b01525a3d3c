#include "core/releases/material.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/base/files.hpp"
#include "core/base/json_text.hpp"

namespace via::releases {
namespace {

constexpr std::string_view kToken = "token";
constexpr std::string_view kBootstrap = "bootstrap.json";
constexpr std::string_view kBindings = "bindings.json";

void append_member(std::string& out, std::string_view name, std::string_view value) {
  if (out.back() != '{') out += ',';
  append_json_string(out, name);
  out += ':';
  append_json_string(out, value);
}

std::string text_of(const Bootstrap& bootstrap) {
  std::string out = "{";
  append_member(out, "config_url", bootstrap.config_url);
  if (!bootstrap.ca_file.empty()) append_member(out, "ca_file", bootstrap.ca_file);
  append_member(out, "app", bootstrap.app);
  append_member(out, "deploy", bootstrap.deploy);
  append_member(out, "release", bootstrap.release);
  append_member(out, "instance", bootstrap.instance);
  append_member(out, "env", bootstrap.env);
  return out + "}\n";
}

std::string text_of(const std::vector<BindingClaim>& bindings) {
  std::string out = "[";
  for (const BindingClaim& claim : bindings) {
    if (out.back() != '[') out += ',';
    out += '{';
    append_member(out, "binding", claim.binding);
    append_member(out, "type", claim.type);
    out += ",\"scopes\":[";
    for (const std::string& scope : claim.scopes) {
      if (out.back() != '[') out += ',';
      append_json_string(out, scope);
    }
    out += "],\"generation\":" + std::to_string(claim.generation) + '}';
  }
  return out + "]\n";
}

// A folder that is not only the host's is held while it is written to: whoever else has it can change nothing but its own.
Result<FileHandle> hold(const std::filesystem::path& folder) {
  FileHandle held(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!held) return system_error("open the folder of the runtime material", errno);
  return held;
}

// The same order as write_file_atomic().
Result<void> put_in(int folder, std::string_view file, std::string_view text, const Readers& readers) {
  const std::string name(file), temporary = "." + name + ".partial";
  ::unlinkat(folder, temporary.c_str(), 0);
  FileHandle out(::openat(folder, temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  bool good = static_cast<bool>(out);
  for (std::string_view rest = text; good && !rest.empty();) {
    const ssize_t n = ::write(out.get(), rest.data(), rest.size());
    good = n > 0;
    if (good) rest.remove_prefix(static_cast<std::size_t>(n));
  }
  if (good && readers.group) good = ::fchown(out.get(), static_cast<uid_t>(-1), *readers.group) == 0 && ::fchmod(out.get(), 0640) == 0;
  if (good && readers.owner) good = ::fchown(out.get(), *readers.owner, static_cast<gid_t>(-1)) == 0;
  good = good && ::fsync(out.get()) == 0 && ::renameat(folder, temporary.c_str(), folder, name.c_str()) == 0 && ::fsync(folder) == 0;
  if (good) return {};
  const int why = errno;
  ::unlinkat(folder, temporary.c_str(), 0);
  return system_error("write the runtime material", why);
}

Result<void> put(const std::filesystem::path& folder, std::string_view file, std::string_view text, const Readers& readers) {
  if (!readers.group && !readers.owner) return write_file_atomic(folder / file, text);
  auto held = hold(folder);
  if (!held) return held.error();
  return put_in(held->get(), file, text, readers);
}

// One that is left from before may have been somebody else's to read.
Result<void> make_folder(const std::filesystem::path& folder, const Readers& readers) {
  if (!readers.group && !readers.owner) {
    if (auto made = make_named_folder(folder); !made) return made.error();
    return {};
  }
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return system_error("create a folder", errno);
  auto held = hold(folder);
  if (!held) return held.error();
  struct stat st {};
  if (::fstat(held->get(), &st) != 0) return system_error("inspect a folder", errno);
  const bool theirs = readers.owner && st.st_uid == *readers.owner;
  if (st.st_uid != ::geteuid() && !theirs) return fail(Code::not_allowed, "the folder of the runtime material belongs to another user");
  const bool given = readers.owner ? ::fchown(held->get(), *readers.owner, static_cast<gid_t>(-1)) == 0 && ::fchmod(held->get(), 0700) == 0
                                   : ::fchown(held->get(), static_cast<uid_t>(-1), *readers.group) == 0 && ::fchmod(held->get(), 0750) == 0;
  if (!given) return system_error("give a folder to its reader", errno);
  return sync_folder(folder.parent_path());
}

}  // namespace

Result<void> write_material(const std::filesystem::path& folder, const Secret& token, const Bootstrap& bootstrap,
                            const std::vector<BindingClaim>& bindings, const Readers& readers) {
  if (auto made = make_folder(folder, readers); !made) return made;
  if (auto written = put(folder, kBootstrap, text_of(bootstrap), readers); !written) return written;
  if (auto written = put(folder, kBindings, text_of(bindings), readers); !written) return written;
  // Last, so that who waits for the token finds the rest beside it.
  return put(folder, kToken, token.reveal(), readers);
}

Result<void> replace_token(const std::filesystem::path& folder, const Secret& token, const Readers& readers) {
  if (!readers.group && !readers.owner)
    if (auto checked = check_named_folder(folder); !checked) return checked.error();
  return put(folder, kToken, token.reveal(), readers);
}

Result<std::string> read_token(const std::filesystem::path& folder, std::size_t max_bytes) {
  auto held = hold(folder);
  if (!held) return held.error();
  const FileHandle file(::openat(held->get(), std::string(kToken).c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  struct stat st {}, of_folder {};
  if (!file || ::fstat(file.get(), &st) != 0 || ::fstat(held->get(), &of_folder) != 0) return system_error("read the token of an instance", errno);
  const bool ours = st.st_uid == ::geteuid() || st.st_uid == of_folder.st_uid;
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1 || !ours || (st.st_mode & 037) != 0)
    return fail(Code::not_allowed, "the token of an instance has the wrong owner, mode or kind");
  if (st.st_size < 0 || static_cast<std::uint64_t>(st.st_size) > max_bytes) return fail(Code::not_allowed, "the token of an instance is too large");
  std::string text(static_cast<std::size_t>(st.st_size), '\0');
  const ssize_t n = ::pread(file.get(), text.data(), text.size(), 0);
  if (n < 0) return system_error("read the token of an instance", errno);
  text.resize(static_cast<std::size_t>(n));
  return text;
}

void remove_material_files(const std::filesystem::path& folder) {
  const auto held = hold(folder);
  if (!held) return;
  for (const std::string_view file : {kToken, kBootstrap, kBindings}) ::unlinkat(held->get(), std::string(file).c_str(), 0);
}

Result<void> remove_material(const std::filesystem::path& folder) {
  struct stat st {};
  if (::lstat(folder.c_str(), &st) != 0 && errno == ENOENT) return {};
  return remove_tree(folder);
}

}  // namespace via::releases
