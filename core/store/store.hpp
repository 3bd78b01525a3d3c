// The control-plane database: metadata only. Opens, checks and migrates it, and keeps the tables that belong to no
// single part: meta, the journal of operations, the audit record, what was decided about plugins.
//
// A state folder is fresh only when it holds no control-plane.db, no keys and no add-ons. In any other folder a missing
// or damaged database is an error: an empty one would silently forget what the storage beside it belongs to.
// Thread: the control thread (one at a time).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/entropy.hpp"
#include "core/base/error.hpp"
#include "core/store/database.hpp"
#include "core/store/plugins.hpp"

namespace via::store {

struct Meta {
  std::string installation;  // ULID text, made once; the token issuer's name is built from it
  std::int64_t epoch = 1;    // raised by a restore of the whole host
  std::int64_t created_at = 0;
};

// One change of the world. state: running, done, failed, undone, cancelled.
struct Operation {
  std::string id, kind, target, actor, state;
  std::string steps = "{}";  // JSON: what recovery needs to finish or undo it; no secrets, no paths
  std::int64_t created_at = 0, finished_at = 0;
  std::string outcome;
  std::string log = "[]";          // JSON [{name, at}]: the steps it went through
  std::string result, error;       // JSON objects, empty until it ended; {code, message} of a failure
  std::string idempotency_key;     // of the request, empty = none
};

struct OperationEnd {
  std::string state, outcome, result, error;
};

class Journal {
 public:
  explicit Journal(Database& db) : db_(db) {}
  Result<void> add(const Operation& operation);
  Result<void> set_steps(const std::string& id, const std::string& steps);
  Result<void> add_step(const std::string& id, std::string_view name, std::int64_t now_ms);
  Result<void> finish(const std::string& id, const OperationEnd& end, std::int64_t now_ms);
  Result<std::optional<Operation>> find(const std::string& id);
  Result<std::optional<Operation>> find_by_key(std::string_view kind, std::string_view idempotency_key);
  Result<std::optional<Operation>> last(std::string_view kind, const std::string& target);  // that is done
  // Whether the steps of any operation on this target, or of a change of a plugin (which is on many), name this id.
  Result<bool> mentions(const std::string& target, const std::string& id);
  Result<std::vector<Operation>> unfinished();  // oldest first
  // Newest first; an empty state or target means any.
  Result<std::vector<Operation>> list(int limit, std::string_view state = {}, std::string_view target = {});

 private:
  Database& db_;
};

struct AuditEntry {
  std::int64_t sequence = 0, at = 0;
  std::string actor, action, target, operation, outcome;
  std::string details = "{}";
  std::string previous_hash, hash;  // hexadecimal SHA-256
};

// Append-only (triggers refuse UPDATE and DELETE). hash = SHA-256 of the previous hash and every field, each as its
// length in decimal, ':' and its bytes; the first previous hash is 64 zeros.
class Audit {
 public:
  explicit Audit(Database& db) : db_(db) {}
  Result<void> append(AuditEntry entry);
  // The newest `limit` since then, oldest first; an empty target means any.
  Result<std::vector<AuditEntry>> list(std::int64_t since_ms, int limit, std::string_view target = {});
  Result<AuditEntry> head();  // the newest; sequence 0 when there is none
  // The sequence number of the first entry that does not fit the chain, 0 when all do.
  Result<std::int64_t> verify();

 private:
  Database& db_;
};

// Whether a file is a whole control-plane database of a version this program knows; it is opened read-only and not
// changed. `refused` names what is wrong.
Result<void> check_copy(const std::filesystem::path& file);

class Store {
 public:
  // Whether the folder holds a host, or what is left of one: in any other folder open() makes a new one. Makes nothing.
  static bool is_in(const std::filesystem::path& folder);
  // `folder` exists, is private and its lock is held by the caller.
  static Result<std::unique_ptr<Store>> open(const std::filesystem::path& folder, const Clock& clock, Entropy& entropy);

  Database& db() { return *db_; }
  const Meta& meta() const { return meta_; }
  Journal journal() { return Journal(*db_); }
  Audit audit() { return Audit(*db_); }
  Pins pins() { return Pins(*db_); }
  PluginVersions plugin_versions() { return PluginVersions(*db_); }
  PluginKeys plugin_keys() { return PluginKeys(*db_); }
  // What the server needs before it can make an AddonHost.
  Result<std::vector<Pin>> load_pins() { return pins().load(); }

 private:
  Store(std::unique_ptr<Database> db, Meta meta) : db_(std::move(db)), meta_(std::move(meta)) {}
  std::unique_ptr<Database> db_;
  Meta meta_;
};

}  // namespace via::store
