#include "core/releases/material.hpp"

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

Result<void> put(const std::filesystem::path& file, std::string_view text, std::optional<gid_t> reader) {
  return reader ? write_file_atomic_for(*reader, file, text) : write_file_atomic(file, text);
}

// One that is left from before may have been somebody else's to read.
Result<void> make_folder(const std::filesystem::path& folder, std::optional<gid_t> reader) {
  if (!reader) return make_private_folder(folder);
  struct stat st {};
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return system_error("create a folder", errno);
  if (::lstat(folder.c_str(), &st) != 0) return system_error("inspect a folder", errno);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid()) return fail(Code::not_allowed, "the folder of the runtime material is not the host's own");
  if (::chown(folder.c_str(), static_cast<uid_t>(-1), *reader) != 0 || ::chmod(folder.c_str(), 0750) != 0)
    return system_error("give a folder to a group", errno);
  return sync_folder(folder.parent_path());
}

}  // namespace

Result<void> write_material(const std::filesystem::path& folder, const Secret& token, const Bootstrap& bootstrap,
                            const std::vector<BindingClaim>& bindings, std::optional<gid_t> reader) {
  if (auto made = make_folder(folder, reader); !made) return made;
  if (auto written = put(folder / kBootstrap, text_of(bootstrap), reader); !written) return written;
  if (auto written = put(folder / kBindings, text_of(bindings), reader); !written) return written;
  // Last, so that who waits for the token finds the rest beside it.
  return put(folder / kToken, token.reveal(), reader);
}

Result<void> replace_token(const std::filesystem::path& folder, const Secret& token, std::optional<gid_t> reader) {
  if (!reader)
    if (auto checked = check_private_folder(folder); !checked) return checked;
  return put(folder / kToken, token.reveal(), reader);
}

Result<void> remove_material(const std::filesystem::path& folder) {
  struct stat st {};
  if (::lstat(folder.c_str(), &st) != 0 && errno == ENOENT) return {};
  return remove_tree(folder);
}

}  // namespace via::releases
