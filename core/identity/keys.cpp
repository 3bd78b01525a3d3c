#include "core/identity/keys.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <optional>
#include <set>

#include "core/base/files.hpp"
#include "core/base/ids.hpp"
#include "core/base/json_text.hpp"
#include "core/identity/claims.hpp"
#include "core/identity/key_set.hpp"
#include "core/identity/token_json.hpp"

namespace via::identity {
namespace {

constexpr std::int64_t kRetireMs = kMaximumLifeSeconds * 1000;
constexpr std::string_view kIndex = "keys.json";
constexpr int kFormat = 1;

struct Record {
  KeyInfo info;
  std::string x, y;                  // of the public point, so that a file that was swapped is noticed
  std::shared_ptr<const EcKey> key;  // null once revoked
};

std::optional<KeyState> parse_state(std::string_view text) {
  for (const KeyState state : {KeyState::prepared, KeyState::active, KeyState::retiring, KeyState::revoked})
    if (to_string(state) == text) return state;
  return std::nullopt;
}

KeyState effective(const KeyInfo& info, std::int64_t now_ms) {
  return info.state == KeyState::retiring && now_ms >= info.retires_at ? KeyState::revoked : info.state;
}

// A kid becomes a file name, so only what new_id makes is taken from keys.json.
bool is_kid(std::string_view kid) {
  Ulid ignored{};
  return kid.starts_with("key_") && parse_ulid(kid.substr(4), ignored);
}

Error damaged(std::string_view why, Code code = Code::internal) {
  return fail(code, "The signing keys cannot be used: " + std::string(why) +
                        ". Repair the keys folder or restore it from a backup.");
}

Result<std::string> read_key_file(const fs::path& path, std::string_view what) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0)
    return damaged(std::string(what) + (errno == ENOENT ? " is missing" : " is unreadable"));
  if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
    return damaged(std::string(what) + " is a link or no regular file", Code::not_allowed);
  if (st.st_uid != ::geteuid()) return damaged(std::string(what) + " belongs to another user", Code::not_allowed);
  if ((st.st_mode & 077) != 0)
    return damaged(std::string(what) + " is open to other users; it must have mode 0600", Code::not_allowed);
  if ((st.st_mode & S_IRUSR) == 0) return damaged(std::string(what) + " is unreadable", Code::not_allowed);
  auto text = read_private_file(path);  // the same checks on the open file
  if (!text) return damaged(std::string(what) + " is unreadable");
  if (text->empty()) return damaged(std::string(what) + " is empty");
  return text;
}

}  // namespace

std::string_view to_string(KeyState state) noexcept {
  switch (state) {
    case KeyState::prepared: return "prepared";
    case KeyState::active: return "active";
    case KeyState::retiring: return "retiring";
    case KeyState::revoked: return "revoked";
  }
  return "unknown";
}

struct Keys::Impl {
  Impl(fs::path path, const Clock& c, Entropy& e) : folder(std::move(path)), clock(c), entropy(e) {}

  const fs::path folder;
  const Clock& clock;
  Entropy& entropy;
  mutable std::mutex mutex;
  std::vector<Record> records;  // in order of creation
  std::shared_ptr<const KeySet> set;
  std::atomic<const KeySet*> identity{nullptr};

  fs::path file_of(const Record& record) const { return folder / (record.info.kid + ".pem"); }

  Result<Record> make() {
    auto key = EcKey::generate();
    if (!key) return key.error();
    Record out;
    out.info.kid = new_id("key", clock, entropy);
    out.info.created_at = clock.unix_ms();
    out.x = (*key)->x();
    out.y = (*key)->y();
    auto pem = (*key)->to_pem();
    if (!pem) return pem.error();
    if (auto written = write_file_atomic(file_of(out), pem->reveal()); !written) return written.error();
    out.key = std::move(*key);
    return out;
  }

  Result<void> write_index(const std::vector<Record>& all) const {
    std::string text = "{\"format\":" + std::to_string(kFormat) + ",\"keys\":[";
    for (const Record& record : all) {
      text += &record == all.data() ? "\n{\"kid\":" : ",\n{\"kid\":";
      append_json_string(text, record.info.kid);
      text += ",\"state\":";
      append_json_string(text, to_string(record.info.state));
      text += ",\"created_at\":" + std::to_string(record.info.created_at) +
              ",\"activated_at\":" + std::to_string(record.info.activated_at) +
              ",\"retires_at\":" + std::to_string(record.info.retires_at) + ",\"x\":";
      append_json_string(text, record.x);
      text += ",\"y\":";
      append_json_string(text, record.y);
      text += '}';
    }
    text += "\n]}\n";
    const auto written = write_file_atomic(folder / kIndex, text);
    if (written) return written;
    // The new list may have its name already, and be what the next start reads.
    Error error = written.error();
    const auto there = read_file(folder / kIndex);
    if (!there || *there == text) error.name = "outcome_unknown";
    return error;
  }

  // Before the new set is published, so that what cannot be written does not take effect.
  Result<void> commit(std::vector<Record> all) {
    if (auto written = write_index(all); !written) return written;
    records = std::move(all);
    publish();
    return {};
  }

  void publish() {
    std::vector<KeySet::Entry> entries;
    std::size_t signer = records.size();
    for (const Record& record : records) {
      if (record.key == nullptr) continue;
      if (record.info.state == KeyState::active) {
        signer = entries.size();
        entries.push_back({record.info.kid, record.key});
      } else if (record.info.state == KeyState::retiring) {
        entries.push_back({record.info.kid, record.key, record.info.retires_at});
      }
    }
    set = std::make_shared<const KeySet>(std::move(entries), signer);
    identity.store(set.get(), std::memory_order_release);
  }

  // Retiring keys whose day is over become revoked in `all`; true when there was one.
  bool end_retirement(std::vector<Record>& all) const {
    bool changed = false;
    for (Record& record : all) {
      if (record.info.state != KeyState::retiring || effective(record.info, clock.unix_ms()) != KeyState::revoked)
        continue;
      record.info.state = KeyState::revoked;
      record.key = nullptr;
      changed = true;
    }
    return changed;
  }

  // A key that was made for a list which was not written. Nothing was signed with it. False: it is still there.
  bool delete_unlisted() const {
    std::vector<fs::path> unlisted;
    std::error_code ec;
    for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) {
      const std::string name = at->path().filename().string();
      const bool listed = std::any_of(records.begin(), records.end(), [&](const Record& r) { return name == r.info.kid + ".pem"; });
      if (name.starts_with("key_") && name.ends_with(".pem") && !listed) unlisted.push_back(at->path());
    }
    bool all = !ec;
    for (const auto& path : unlisted) all = (::unlink(path.c_str()) == 0 || errno == ENOENT) && all;
    return all;
  }

  void delete_revoked() const {
    for (const Record& record : records)
      if (record.info.state == KeyState::revoked) ::unlink(file_of(record).c_str());
  }

  Result<void> load(const std::string& text) {
    const auto tree = Json::parse(text, {.depth = 4, .nodes = 1U << 15});
    if (!tree || tree->integer(tree->root(), "format") != kFormat) return damaged("their list is damaged");
    const JsonNode* list = tree->member(tree->root(), "keys");
    if (list == nullptr || list->type != JsonNode::Type::array) return damaged("their list is damaged");
    std::set<std::string> seen;
    std::size_t active = 0;
    for (const JsonNode* item : tree->children(*list)) {
      Record record;
      const std::string* kid = tree->string(*item, "kid");
      const std::string* state_text = tree->string(*item, "state");
      const std::string* x = tree->string(*item, "x");
      const std::string* y = tree->string(*item, "y");
      const auto created = tree->integer(*item, "created_at");
      const auto activated = tree->integer(*item, "activated_at");
      const auto retires = tree->integer(*item, "retires_at");
      const auto listed_state = state_text == nullptr ? std::nullopt : parse_state(*state_text);
      if (kid == nullptr || !is_kid(*kid) || !listed_state || x == nullptr || y == nullptr || !created || !activated || !retires)
        return damaged("their list is damaged");
      if (!seen.insert(*kid).second || !seen.insert(*x + '.' + *y).second) return damaged("a key stands twice in their list");
      const KeyState state = *listed_state;
      record.info = {*kid, state, *created, *activated, *retires};
      record.x = *x;
      record.y = *y;
      if (state == KeyState::active) ++active;
      if (state != KeyState::revoked) {
        auto pem_text = read_key_file(file_of(record), "a key file");
        if (!pem_text) return pem_text.error();
        auto key = EcKey::from_pem(Secret(std::move(*pem_text)));
        if (!key) return damaged(key.error().code == Code::bad_request ? "a key file is damaged or not a P-256 key"
                                                                       : "the system could not read a key file");
        if ((*key)->x() != record.x || (*key)->y() != record.y) return damaged("a key file is not the one that was listed");
        record.key = std::move(*key);
      }
      records.push_back(std::move(record));
    }
    if (records.empty()) return {};
    if (active != 1) return damaged("their list has not exactly one active key");
    auto all = records;
    if (end_retirement(all)) {
      if (auto written = commit(std::move(all)); !written) return written;
    } else {
      publish();
    }
    delete_revoked();
    return {};
  }
};

Keys::Keys() = default;
Keys::~Keys() = default;

Result<std::unique_ptr<Keys>> Keys::open(fs::path folder, bool create, const Clock& clock, Entropy& entropy) {
  std::unique_ptr<Keys> out(new Keys);
  out->impl_ = std::make_unique<Impl>(std::move(folder), clock, entropy);
  Impl& impl = *out->impl_;

  const auto private_folder = create ? make_private_folder(impl.folder) : check_private_folder(impl.folder);
  if (!private_folder) {
    const bool missing = private_folder.error().code == Code::not_found;
    return damaged(missing ? "their folder is missing" : "their folder is not private (expected: own, 0700, no link)",
                   private_folder.error().code);
  }

  std::error_code ec;
  bool has_index = false, has_keys = false;
  for (const auto& entry : fs::directory_iterator(impl.folder, ec)) {
    const std::string name = entry.path().filename().string();
    if (name == kIndex) has_index = true;
    if (name.starts_with("key_") && name.ends_with(".pem")) has_keys = true;
    // A write that a crash cut off. It may hold a private key that nothing was signed with.
    if (name.starts_with(".key") && name.ends_with(".partial")) ::unlink(entry.path().c_str());
  }
  if (ec) return damaged("their folder is unreadable");

  if (has_index) {
    auto text = read_key_file(impl.folder / kIndex, "their list");
    if (!text) return text.error();
    if (auto loaded = impl.load(*text); !loaded) return loaded.error();
  } else if (has_keys) {
    return damaged("their list is missing");
  }
  if (!impl.records.empty()) return out;

  // An empty list comes first: a crash behind it leaves a folder that is known to hold nothing of worth yet.
  if (!create) return damaged("there are none", Code::not_found);
  if (auto written = impl.write_index({}); !written) return written.error();
  impl.delete_unlisted();  // of a first start that was cut off here
  auto first = impl.make();
  if (!first) return first.error();
  first->info.state = KeyState::active;
  first->info.activated_at = first->info.created_at;
  std::vector<Record> all;
  all.push_back(std::move(*first));
  if (auto committed = impl.commit(std::move(all)); !committed) return committed.error();
  return out;
}

std::vector<KeyInfo> Keys::list() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<KeyInfo> out;
  for (const Record& record : impl_->records) {
    out.push_back(record.info);
    out.back().state = effective(record.info, impl_->clock.unix_ms());
  }
  return out;
}

Result<KeyInfo> Keys::rotate() {
  const std::lock_guard lock(impl_->mutex);
  auto all = impl_->records;
  impl_->end_retirement(all);
  const std::int64_t now = impl_->clock.unix_ms();
  for (Record& record : all) {
    if (record.info.state != KeyState::active) continue;
    record.info.state = KeyState::retiring;
    record.info.retires_at = now + kRetireMs;
  }
  auto next = std::find_if(all.begin(), all.end(), [](const Record& r) { return r.info.state == KeyState::prepared; });
  if (next == all.end()) {
    auto made = impl_->make();
    if (!made) {
      impl_->delete_unlisted();
      return made.error();
    }
    all.push_back(std::move(*made));
    next = all.end() - 1;
  }
  next->info.state = KeyState::active;
  next->info.activated_at = now;
  const KeyInfo info = next->info;
  if (auto committed = impl_->commit(std::move(all)); !committed) {
    if (committed.error().name.empty()) impl_->delete_unlisted();
    return committed.error();
  }
  impl_->delete_revoked();
  return info;
}

bool Keys::discard_unlisted() {
  const std::lock_guard lock(impl_->mutex);
  return impl_->delete_unlisted();
}

Result<void> Keys::revoke(std::string_view kid) {
  const std::lock_guard lock(impl_->mutex);
  auto all = impl_->records;
  const auto found = std::find_if(all.begin(), all.end(), [&](const Record& r) { return r.info.kid == kid; });
  if (found == all.end()) return fail(Code::not_found, "There is no signing key with this id.");
  if (found->info.state == KeyState::active)
    return fail(Code::refused, "This is the only key that signs. Rotate first, then revoke it.");
  if (found->info.state == KeyState::revoked) return {};
  found->info.state = KeyState::revoked;
  found->info.retires_at = impl_->clock.unix_ms();
  found->key = nullptr;
  impl_->end_retirement(all);
  if (auto committed = impl_->commit(std::move(all)); !committed) return committed;
  impl_->delete_revoked();
  return {};
}

std::shared_ptr<const KeySet> Keys::current() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->set;
}

const KeySet* Keys::peek() const noexcept { return impl_->identity.load(std::memory_order_acquire); }

std::string Keys::jwks() const {
  const std::lock_guard lock(impl_->mutex);
  std::string out = "{\"keys\":[";
  bool first = true;
  for (const Record& record : impl_->records) {
    if (effective(record.info, impl_->clock.unix_ms()) == KeyState::revoked) continue;
    if (!first) out += ',';
    first = false;
    // Kids and coordinates hold nothing that JSON escapes.
    out += R"({"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":")" + record.info.kid + R"(","x":")" + record.x +
           R"(","y":")" + record.y + "\"}";
  }
  return out + "]}";
}

}  // namespace via::identity
