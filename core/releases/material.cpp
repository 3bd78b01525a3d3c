#include "core/releases/material.hpp"

#include <sys/stat.h>

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

}  // namespace

Result<void> write_material(const std::filesystem::path& folder, const Secret& token, const Bootstrap& bootstrap,
                            const std::vector<BindingClaim>& bindings) {
  if (auto made = make_named_folder(folder); !made) return made.error();
  if (auto written = write_file_atomic(folder / kBootstrap, text_of(bootstrap)); !written) return written;
  if (auto written = write_file_atomic(folder / kBindings, text_of(bindings)); !written) return written;
  // Last, so that who waits for the token finds the rest beside it.
  return write_file_atomic(folder / kToken, token.reveal());
}

Result<void> replace_token(const std::filesystem::path& folder, const Secret& token) {
  if (auto checked = check_named_folder(folder); !checked) return checked.error();
  return write_file_atomic(folder / kToken, token.reveal());
}

Result<void> remove_material(const std::filesystem::path& folder) {
  struct stat st {};
  if (::lstat(folder.c_str(), &st) != 0 && errno == ENOENT) return {};
  return remove_tree(folder);
}

}  // namespace via::releases
