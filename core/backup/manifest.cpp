#include "core/backup/manifest.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <set>

#include <nlohmann/json.hpp>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include "core/base/ids.hpp"
#include "core/base/json_text.hpp"
#include "core/store/try.hpp"

namespace via::backup {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 16;
constexpr std::size_t kMaxName = 100;
constexpr std::string_view kFormat = "via-backup/1";

// Thrown and caught in this file only: one way out of deep reading.
struct Wrong {
  std::string what;
};

Error refused(const std::string& rule) {
  return fail(Code::refused, "The backup's manifest is not valid: " + rule +
                                 ". Nothing was changed. Choose another backup: via backup list");
}

bool is_plain_file(std::string_view s) noexcept {
  const auto word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !s.empty() && s.size() <= kMaxName && word(s.front()) &&
         std::all_of(s.begin(), s.end(), [&](char c) { return word(c) || c == '.' || c == '_' || c == '-'; });
}

bool is_type(std::string_view s) noexcept {
  return !s.empty() && s.size() <= 32 && s.front() >= 'a' && s.front() <= 'z' &&
         std::all_of(s.begin(), s.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'; });
}

bool is_id(std::string_view s, std::string_view prefix) noexcept {
  Ulid id{};
  // The alphabet of ids is lower case here: the parser alone would take upper-case twins too.
  return s.size() == prefix.size() + 1 + 26 && s.starts_with(prefix) && s[prefix.size()] == '_' &&
         std::none_of(s.begin(), s.end(), [](char c) { return c >= 'A' && c <= 'Z'; }) &&
         parse_ulid(s.substr(prefix.size() + 1), id);
}

// A file of a plugin's bundle.
bool is_plugin_file(std::string_view s) noexcept {
  return !s.empty() && s.size() <= kMaxName && s.front() != '.' && s.front() != '-' && std::all_of(s.begin(), s.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '+';
  });
}

bool is_hash(std::string_view s) noexcept {
  return s.size() == 64 &&
         std::all_of(s.begin(), s.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// At most six pieces; more than the grammar has is as good as none.
std::vector<std::string_view> pieces_of(std::string_view name) {
  std::vector<std::string_view> out;
  for (;;) {
    const auto slash = name.find('/');
    out.push_back(name.substr(0, slash));
    if (slash == std::string_view::npos || out.size() > 6) return out;
    name.remove_prefix(slash + 1);
  }
}

// An object whose members are all taken, each once; what is left over is unknown and refused.
class Object {
 public:
  explicit Object(const json& value) : value_(value) {
    if (!value.is_object()) throw Wrong{"an object is expected where something else stands"};
  }
  bool has(const char* name) const { return value_.contains(name); }
  const json& take(const char* name) {
    const auto it = value_.find(name);
    if (it == value_.end()) throw Wrong{std::string("\"") + name + "\" is missing"};
    ++taken_;
    return *it;
  }
  std::string text(const char* name, std::size_t max = 256) {
    const json& v = take(name);
    if (!v.is_string() || v.get_ref<const std::string&>().size() > max)
      throw Wrong{std::string("\"") + name + "\" must be a short text"};
    return v.get<std::string>();
  }
  std::uint64_t number(const char* name, std::uint64_t max) {
    const json& v = take(name);
    if (!v.is_number_unsigned() || v.get<std::uint64_t>() > max)
      throw Wrong{std::string("\"") + name + "\" must be a whole number in its range"};
    return v.get<std::uint64_t>();
  }
  void done() const {
    if (taken_ != value_.size()) throw Wrong{"it has a member that this version does not know"};
  }

 private:
  const json& value_;
  std::size_t taken_ = 0;
};

constexpr auto kMaxInt = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());

Manifest read(const json& value) {
  Object root(value);
  if (const json& format = root.take("format"); !format.is_string() || format.get_ref<const std::string&>() != kFormat)
    throw Wrong{"its format is not via-backup/1; a newer Via made it, so restore it with that version"};
  Manifest out;
  out.via_version = root.text("via_version");
  out.created_at = static_cast<std::int64_t>(root.number("created_at", kMaxInt));
  out.installation = root.text("installation");
  out.epoch = static_cast<std::int64_t>(root.number("epoch", kMaxInt));
  out.schema = static_cast<std::uint32_t>(root.number("schema", 0xffff'ffffU));
  if (root.has("sqlite_version")) out.engine_version = root.text("sqlite_version");
  if (root.has("mac")) {
    out.mac = root.text("mac");
    if (!is_hash(out.mac)) throw Wrong{"\"mac\" must be 64 hexadecimal digits"};
  }
  out.total_bytes = root.number("total_bytes", kMaxInt);
  const json& addons = root.take("addons");
  const json& members = root.take("members");
  root.done();
  if (!addons.is_array() || !members.is_array()) throw Wrong{"\"addons\" and \"members\" must be lists"};
  for (const json& one : addons) {
    Object object(one);
    AddonEntry addon{object.text("id"), object.text("type"), object.text("name"), object.text("state"), {}};
    Object facts(object.take("facts"));
    addon.facts.format = facts.text("format");
    addon.facts.schema = static_cast<std::uint32_t>(facts.number("schema", 0xffff'ffffU));
    facts.done();
    object.done();
    out.addons.push_back(std::move(addon));
  }
  for (const json& one : members) {
    Object object(one);
    Member member{object.text("name"), object.number("bytes", kMaxMemberBytes), object.text("sha256"), {}};
    if (object.has("part_of")) {
      member.part_of = object.text("part_of");
      if (member.part_of.empty()) throw Wrong{"\"part_of\" must not be empty"};
    }
    object.done();
    out.members.push_back(std::move(member));
  }
  return out;
}

Result<json> tree(const Manifest& manifest) {
  bool utf8 = true;
  const auto put = [&](const std::string& s) {
    utf8 = utf8 && is_utf8(s);
    return json(s);
  };
  json out = json::object();
  out["format"] = kFormat;
  out["via_version"] = put(manifest.via_version);
  out["created_at"] = static_cast<std::uint64_t>(manifest.created_at);
  out["installation"] = put(manifest.installation);
  out["epoch"] = static_cast<std::uint64_t>(manifest.epoch);
  out["schema"] = manifest.schema;
  if (!manifest.engine_version.empty()) out["sqlite_version"] = put(manifest.engine_version);
  out["total_bytes"] = manifest.total_bytes;
  out["addons"] = json::array();
  for (const auto& addon : manifest.addons) {
    json facts = json::object();
    facts["format"] = put(addon.facts.format);
    facts["schema"] = addon.facts.schema;
    json one = json::object();
    one["id"] = put(addon.id);
    one["type"] = put(addon.type);
    one["name"] = put(addon.name);
    one["state"] = put(addon.state);
    one["facts"] = std::move(facts);
    out["addons"].push_back(std::move(one));
  }
  out["members"] = json::array();
  for (const auto& member : manifest.members) {
    json one = json::object();
    one["name"] = put(member.name);
    one["bytes"] = member.bytes;
    one["sha256"] = put(member.sha256);
    if (!member.part_of.empty()) one["part_of"] = put(member.part_of);
    out["members"].push_back(std::move(one));
  }
  if (!manifest.mac.empty()) out["mac"] = put(manifest.mac);
  if (!utf8) return fail(Code::bad_request, "A text of the backup's manifest is not UTF-8.");
  return Result<json>{boost::system::in_place_value, std::move(out)};
}

}  // namespace

bool is_file_name(std::string_view name) {
  if (name.size() > 255) return false;
  const auto parts = pieces_of(name);
  if (parts.size() == 1) return name == "control-plane.db";
  if (parts.front() == "plugins")
    return parts.size() == 4 && plugins::is_plugin_id(parts[1]) && plugins::is_plugin_version(parts[2]) && is_plugin_file(parts[3]);
  if (!is_plain_file(parts.back())) return false;
  if (parts.size() == 2) return parts[0] == "keys";
  if (parts.front() == "apps") return parts.size() == 3 && is_id(parts[1], "app") && parts[2] == "data.tar";
  if (parts.size() < 5 || parts.size() > 6 || parts[0] != "addons" || !is_type(parts[1]) || !is_id(parts[2], "addon"))
    return false;
  if (parts.size() == 5) return parts[3] == "data" || parts[3] == "snapshots";
  return parts[3] == "snapshots" && is_id(parts[4], "snap");
}

std::optional<std::pair<std::string_view, std::string_view>> addon_of(std::string_view name) {
  const auto parts = pieces_of(name);
  if (parts.size() < 5 || parts[0] != "addons") return std::nullopt;
  return std::pair{parts[1], parts[2]};
}

std::string part_name(std::string_view file, unsigned number) {
  char suffix[24];
  std::snprintf(suffix, sizeof suffix, ".part%04u", number);
  return std::string(file) + suffix;
}

Result<void> check(const Manifest& manifest, bool encrypted) {
  std::map<std::string_view, std::string_view> addons;  // id -> type
  for (const auto& addon : manifest.addons) {
    if (!is_id(addon.id, "addon") || !is_type(addon.type)) return refused("an add-on has no valid id or type");
    if (!addons.emplace(addon.id, addon.type).second) return refused("an add-on stands twice");
  }
  std::set<std::string_view> names, files;
  std::uint64_t total = 0;
  unsigned part = 0;
  for (std::size_t i = 0; i < manifest.members.size(); ++i) {
    const Member& member = manifest.members[i];
    const std::string at = "member " + std::to_string(i + 2) + " ";  // the manifest itself is member 1
    if (!is_file_name(member.file())) return refused(at + "has a name that no file of a backup has");
    if (!is_hash(member.sha256)) return refused(at + "has no valid hash");
    if (member.bytes > kMaxMemberBytes) return refused(at + "is larger than a member can be");
    if (!names.insert(member.name).second) return refused(at + "has the name of another");
    const bool continues = i > 0 && !member.part_of.empty() && manifest.members[i - 1].part_of == member.part_of;
    part = member.part_of.empty() ? 0 : continues ? part + 1 : 1;
    if (!member.part_of.empty()) {
      if (part > 9999 || member.name != part_name(member.part_of, part) || !is_plain_file(pieces_of(member.name).back()))
        return refused(at + "is not the next part of its file");
    }
    if (!continues && !files.insert(member.file()).second) return refused(at + "belongs to a file that is there already");
    if (member.file().starts_with("keys/") && !encrypted)
      return refused(at + "is a private key, which only an encrypted backup may hold");
    if (const auto addon = addon_of(member.file())) {
      const auto known = addons.find(addon->second);
      if (known == addons.end() || known->second != addon->first)
        return refused(at + "belongs to an add-on that the manifest does not list");
    }
    total += member.bytes;  // each is below 2^33 and there are fewer than 2^24 of them
  }
  if (!files.contains("control-plane.db")) return refused("the control plane is missing");
  if (total != manifest.total_bytes) return refused("its total is not the sum of its members");
  return {};
}

Result<std::string> text(const Manifest& manifest) {
  VIA_TRY_LET(value, tree(manifest));
  return value.dump();
}

Result<Manifest> parse(std::string_view raw) {
  if (raw.size() > kMaxManifestBytes) return refused("it is larger than 16 MiB");
  try {
    std::vector<std::set<std::string>> open;
    const json value = json::parse(raw.begin(), raw.end(), [&](int depth, json::parse_event_t event, json& parsed) {
      if (depth > kMaxDepth) throw Wrong{"it is nested too deeply"};
      switch (event) {
        case json::parse_event_t::object_start: open.emplace_back(); break;
        case json::parse_event_t::object_end: open.pop_back(); break;
        case json::parse_event_t::key:
          if (!open.back().insert(parsed.get<std::string>()).second) throw Wrong{"a name stands twice in it"};
          break;
        case json::parse_event_t::array_start:
        case json::parse_event_t::array_end:
        case json::parse_event_t::value: break;
      }
      return true;
    });
    Manifest manifest = read(value);
    VIA_TRY_LET(canonical, text(manifest));
    if (canonical != raw) return refused("it is not written the one way that manifests are");
    return manifest;
  } catch (const Wrong& wrong) {
    return refused(wrong.what);
  } catch (const json::exception&) {
    return refused("it is not JSON");
  }
}

Result<std::string> mac(const Manifest& manifest, const Secret& master_key) {
  Manifest bare = manifest;
  bare.mac.clear();
  VIA_TRY_LET(canonical, text(bare));
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr), EVP_KDF_free);
  const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(EVP_KDF_CTX_new(kdf.get()), EVP_KDF_CTX_free);
  char digest[] = "SHA256";
  std::string info = "via/1/backup-manifest";
  std::string master(master_key.reveal());
  const OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, master.data(), master.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()),
      OSSL_PARAM_construct_end(),
  };
  std::array<unsigned char, 32> key{}, out{};
  const int derived = context ? EVP_KDF_derive(context.get(), key.data(), key.size(), params) : 0;
  OPENSSL_cleanse(master.data(), master.size());
  unsigned size = 0;
  const unsigned char* made =
      derived != 1 ? nullptr
                   : HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                          reinterpret_cast<const unsigned char*>(canonical.data()), canonical.size(), out.data(), &size);
  OPENSSL_cleanse(key.data(), key.size());
  if (made == nullptr) return fail(Code::internal, "the manifest's authentication code failed");
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : out) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

}  // namespace via::backup
