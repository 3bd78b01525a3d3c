#include "core/store/schema.hpp"

#include <array>
#include <string>

namespace via::store {
namespace {

// Times are Unix milliseconds, 0 = never. Rows of the past stay (tombstones): ids are never used again.
constexpr const char* kVersion1 = R"sql(
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE apps (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at INTEGER NOT NULL, deleted_at INTEGER NOT NULL DEFAULT 0,
  current_release TEXT NOT NULL DEFAULT '', profile_version INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE addons (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, app_id TEXT NOT NULL REFERENCES apps(id), type TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('provisioning','active','failed','destroying','destroyed')),
  config TEXT NOT NULL, problem TEXT NOT NULL DEFAULT '', created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX addons_by_app ON addons(app_id);

CREATE TABLE bindings (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id), addon_id TEXT NOT NULL REFERENCES addons(id),
  name TEXT NOT NULL, read_only INTEGER NOT NULL, created_at INTEGER NOT NULL, removed_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX bindings_living ON bindings(app_id, name) WHERE removed_at = 0;
CREATE INDEX bindings_by_addon ON bindings(addon_id);

CREATE TABLE generations (
  binding_id TEXT NOT NULL REFERENCES bindings(id), generation INTEGER NOT NULL CHECK (generation > 0),
  status TEXT NOT NULL CHECK (status IN ('live','revoked')), descriptor TEXT NOT NULL, derived TEXT NOT NULL,
  created_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (binding_id, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE deploys (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id),
  status TEXT NOT NULL CHECK (status IN ('succeeded','failed')), created_at INTEGER NOT NULL, command TEXT NOT NULL,
  cwd TEXT NOT NULL, replicas INTEGER NOT NULL, env TEXT NOT NULL, release_id TEXT NOT NULL
) STRICT;
CREATE INDEX deploys_by_app ON deploys(app_id);

CREATE TABLE releases (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id), number INTEGER NOT NULL,
  deploy_id TEXT NOT NULL REFERENCES deploys(id), status TEXT NOT NULL CHECK (status IN ('current','superseded')),
  created_at INTEGER NOT NULL, config_version INTEGER NOT NULL,
  UNIQUE (app_id, number)
) STRICT;
CREATE UNIQUE INDEX releases_current ON releases(app_id) WHERE status = 'current';

CREATE TABLE release_bindings (
  release_id TEXT NOT NULL REFERENCES releases(id), binding TEXT NOT NULL,
  binding_id TEXT NOT NULL REFERENCES bindings(id), addon_id TEXT NOT NULL REFERENCES addons(id), type TEXT NOT NULL,
  read_only INTEGER NOT NULL, generation INTEGER NOT NULL,
  PRIMARY KEY (release_id, binding)
) STRICT, WITHOUT ROWID;
CREATE INDEX release_bindings_by_addon ON release_bindings(addon_id);

CREATE TABLE instances (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id), deploy_id TEXT NOT NULL REFERENCES deploys(id),
  release_id TEXT NOT NULL REFERENCES releases(id), driver TEXT NOT NULL CHECK (driver IN ('process','external')),
  state TEXT NOT NULL CHECK (state IN ('starting','running','stopped','failed')), wanted INTEGER NOT NULL,
  pid INTEGER NOT NULL DEFAULT 0, created_at INTEGER NOT NULL, issued_at INTEGER NOT NULL DEFAULT 0,
  expires_at INTEGER NOT NULL DEFAULT 0, ended_at INTEGER NOT NULL DEFAULT 0, material TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX instances_by_app ON instances(app_id);
CREATE INDEX instances_by_deploy ON instances(deploy_id);
CREATE INDEX instances_wanted ON instances(release_id) WHERE wanted = 1;

-- value NULL = unset; the row stays so that the key's generation goes on counting.
CREATE TABLE config_values (
  app_id TEXT NOT NULL REFERENCES apps(id), key TEXT NOT NULL, value TEXT, generation INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (app_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE operations (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, actor TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running','done','failed','undone')), steps TEXT NOT NULL DEFAULT '{}',
  created_at INTEGER NOT NULL, finished_at INTEGER NOT NULL DEFAULT 0, outcome TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX operations_running ON operations(created_at) WHERE state = 'running';

CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL,
  operation TEXT NOT NULL, outcome TEXT NOT NULL, details TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_append_only_1 BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_is_append_only_2 BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;

CREATE TABLE trusted_plugins (
  plugin_id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, file TEXT NOT NULL, trusted INTEGER NOT NULL,
  decided_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1447641411;
PRAGMA user_version = 1;
)sql";
static_assert(kApplicationId == 1447641411);

// Snapshots, backups, sealed values, releases that are not current yet, operations with steps and results.
constexpr const char* kVersion2 = R"sql(
CREATE TABLE deploys_2 (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id),
  status TEXT NOT NULL CHECK (status IN ('running','succeeded','failed')), created_at INTEGER NOT NULL,
  command TEXT NOT NULL, cwd TEXT NOT NULL, replicas INTEGER NOT NULL, env TEXT NOT NULL, release_id TEXT NOT NULL,
  check_command TEXT NOT NULL DEFAULT '', check_result TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO deploys_2 (id, app_id, status, created_at, command, cwd, replicas, env, release_id)
  SELECT id, app_id, status, created_at, command, cwd, replicas, env, release_id FROM deploys ORDER BY rowid;
DROP TABLE deploys;
ALTER TABLE deploys_2 RENAME TO deploys;
CREATE INDEX deploys_by_app ON deploys(app_id);

CREATE TABLE releases_2 (
  id TEXT PRIMARY KEY, app_id TEXT NOT NULL REFERENCES apps(id), number INTEGER NOT NULL,
  deploy_id TEXT NOT NULL REFERENCES deploys(id),
  status TEXT NOT NULL CHECK (status IN ('pending','current','superseded','failed')),
  created_at INTEGER NOT NULL, config_version INTEGER NOT NULL, rollback_of TEXT NOT NULL DEFAULT '',
  UNIQUE (app_id, number)
) STRICT;
INSERT INTO releases_2 (id, app_id, number, deploy_id, status, created_at, config_version)
  SELECT id, app_id, number, deploy_id, status, created_at, config_version FROM releases ORDER BY rowid;
DROP TABLE releases;
ALTER TABLE releases_2 RENAME TO releases;
CREATE UNIQUE INDEX releases_current ON releases(app_id) WHERE status = 'current';

CREATE TABLE operations_2 (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, target TEXT NOT NULL, actor TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running','done','failed','undone','cancelled')),
  steps TEXT NOT NULL DEFAULT '{}', created_at INTEGER NOT NULL, finished_at INTEGER NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL DEFAULT '', log TEXT NOT NULL DEFAULT '[]', result TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '', idempotency_key TEXT NOT NULL DEFAULT ''
) STRICT;
INSERT INTO operations_2 (id, kind, target, actor, state, steps, created_at, finished_at, outcome)
  SELECT id, kind, target, actor, state, steps, created_at, finished_at, outcome FROM operations ORDER BY rowid;
DROP TABLE operations;
ALTER TABLE operations_2 RENAME TO operations;
CREATE INDEX operations_running ON operations(created_at) WHERE state = 'running';
CREATE INDEX operations_by_target ON operations(target);
CREATE UNIQUE INDEX operations_by_key ON operations(kind, idempotency_key) WHERE idempotency_key <> '';

ALTER TABLE addons ADD COLUMN drained INTEGER NOT NULL DEFAULT 0;
ALTER TABLE addons ADD COLUMN destroyed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE addons ADD COLUMN final_snapshot TEXT NOT NULL DEFAULT '';

-- files: JSON [{name, bytes, sha256}]; the bytes are in the add-on's folder. deleted_at: the files are gone.
CREATE TABLE snapshots (
  id TEXT PRIMARY KEY, addon_id TEXT NOT NULL REFERENCES addons(id),
  kind TEXT NOT NULL CHECK (kind IN ('manual','safety','final','import')), note TEXT NOT NULL,
  created_at INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL, format TEXT NOT NULL,
  storage_schema INTEGER NOT NULL, files TEXT NOT NULL, expires_at INTEGER NOT NULL DEFAULT 0,
  deleted_at INTEGER NOT NULL DEFAULT 0, operation TEXT NOT NULL
) STRICT;
CREATE INDEX snapshots_by_addon ON snapshots(addon_id);

-- A sealed value (a secret) has value NULL and its box here, base64url.
ALTER TABLE config_values ADD COLUMN sealed TEXT NOT NULL DEFAULT '';

CREATE TABLE backups (
  id TEXT PRIMARY KEY, file TEXT NOT NULL, created_at INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
  encrypted INTEGER NOT NULL, addons INTEGER NOT NULL, operation TEXT NOT NULL
) STRICT;

PRAGMA user_version = 2;
)sql";

// Capability URLs. hash: SHA-256 of the capability, hexadecimal.
constexpr const char* kVersion3 = R"sql(
CREATE TABLE shares (
  id TEXT PRIMARY KEY, addon_id TEXT NOT NULL REFERENCES addons(id), hash TEXT NOT NULL UNIQUE,
  read_only INTEGER NOT NULL, query_only INTEGER NOT NULL, database TEXT NOT NULL, rate INTEGER NOT NULL, note TEXT NOT NULL,
  created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, revoked_at INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX shares_by_addon ON shares(addon_id);

PRAGMA user_version = 3;
)sql";

// Bundles of plugins, keys that sign them, the storage schema of each add-on (0 = not known yet: the next start notes it).
constexpr const char* kVersion4 = R"sql(
ALTER TABLE addons ADD COLUMN storage_schema INTEGER NOT NULL DEFAULT 0;

ALTER TABLE trusted_plugins ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE trusted_plugins ADD COLUMN previous TEXT NOT NULL DEFAULT '';
ALTER TABLE trusted_plugins ADD COLUMN operation TEXT NOT NULL DEFAULT '';

CREATE TABLE plugin_versions (
  plugin_id TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL, digest TEXT NOT NULL, file TEXT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('installed','pinned','bundled')), signed_by TEXT NOT NULL,
  installed_at INTEGER NOT NULL,
  PRIMARY KEY (plugin_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE plugin_keys (
  name TEXT PRIMARY KEY, key TEXT NOT NULL, fingerprint TEXT NOT NULL UNIQUE, added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;
)sql";

// Sandboxes. uid: the app's own user, 0 = none yet; a deleted app keeps it while anything of it is on disk. sandbox: JSON of what a
// deploy asked for, or the app's manifest for all of them (releases::Box). reason: what ended the last run.
constexpr const char* kVersion5 = R"sql(
ALTER TABLE apps ADD COLUMN uid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN sandbox TEXT NOT NULL DEFAULT '{}';
CREATE UNIQUE INDEX apps_by_uid ON apps(uid) WHERE uid <> 0;
ALTER TABLE deploys ADD COLUMN sandbox TEXT NOT NULL DEFAULT '{}';
ALTER TABLE instances ADD COLUMN reason TEXT NOT NULL DEFAULT '';

PRAGMA user_version = 5;
)sql";

constexpr std::array<const char*, kSchemaVersion> kSteps = {kVersion1, kVersion2, kVersion3, kVersion4, kVersion5};

Result<std::int64_t> pragma(Database& db, std::string_view sql) {
  VIA_TRY_LET(value, db.one([](const Row& r) { return r.integer(0); }, sql));
  return value.value_or(0);
}

}  // namespace

Result<void> migrate(Database& db, bool fresh) {
  VIA_TRY_LET(application, pragma(db, "PRAGMA application_id"));
  VIA_TRY_LET(version, pragma(db, "PRAGMA user_version"));
  if (!fresh && (application != kApplicationId || version < 1))
    return fail(Code::internal, "control-plane.db is not a control-plane database. Restore it from a backup.");
  if (version > kSchemaVersion)
    return fail(Code::unsupported, "control-plane.db was written by a newer Via (schema " + std::to_string(version) +
                                       ", this one knows up to " + std::to_string(kSchemaVersion) +
                                       "). Use that version, or restore a backup made before the upgrade.");
  if (version == kSchemaVersion) return {};
  // A step may rebuild a table that others refer to: references are checked as a whole before each commit instead
  // (https://www.sqlite.org/lang_altertable.html, section 7).
  VIA_TRY(db.script("PRAGMA foreign_keys=OFF"));
  for (std::int64_t at = version; at < kSchemaVersion; ++at) {
    VIA_TRY_LET(step, Transaction::begin(db));
    VIA_TRY(db.script(kSteps[static_cast<std::size_t>(at)]));
    VIA_TRY_LET(dangling, db.one([](const Row& r) { return r.text(0); }, "PRAGMA foreign_key_check"));
    if (dangling) return fail(Code::internal, "control-plane.db has references to rows that are missing. Restore a backup.");
    VIA_TRY(step.commit());
  }
  return db.script("PRAGMA foreign_keys=ON");
}

}  // namespace via::store
