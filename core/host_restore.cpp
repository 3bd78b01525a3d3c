// Restoring a whole host from an archive. A new state folder is built beside the named one, through the same plugins that a
// host would use, checked, and put in its place by one rename; until then nothing of the old one is touched.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include <nlohmann/json.hpp>

#include "core/backup/archive_reader.hpp"
#include "core/backup/folder_tar.hpp"
#include "core/host.hpp"
#include "core/identity/master_key.hpp"
#include "core/lifecycle/applied_binding.hpp"
#include "core/server.hpp"
#include "core/store/schema.hpp"

namespace via {

using nlohmann::json;

namespace {

bool there(const fs::path& path) {
  std::error_code ec;
  return fs::exists(fs::symlink_status(path, ec));
}

Result<void> move_to(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  fs::create_directories(to.parent_path(), ec);
  if (!ec) fs::rename(from, to, ec);
  if (ec) return system_error("move a file into place", ec.value());
  return {};
}

// Every folder below, so that the names in them survive a power cut.
Result<void> sync_folders(const fs::path& root) {
  std::error_code ec;
  for (fs::recursive_directory_iterator at(root, ec), end; !ec && at != end; at.increment(ec))
    if (at->is_directory(ec)) VIA_TRY(sync_folder(at->path()));
  if (ec) return system_error("read a folder", ec.value());
  return sync_folder(root);
}

// Whether the names are durable as well is not part of the answer.
Result<void> rename_into_place(const fs::path& built, const fs::path& target, bool exchange) {
  const int failed = exchange ? ::renameat2(AT_FDCWD, built.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE)
                              : ::rename(built.c_str(), target.c_str());
  if (failed == 0) return {};
  if (errno == EBUSY || errno == EXDEV || errno == EINVAL)
    return fail(Code::refused, "The state folder cannot be put in place by a rename (is it a mount point?). Restore into a "
                               "folder beside it and move that there: --state-dir OTHER");
  return system_error("put the state folder in place", errno);
}

std::string inode_of(const fs::path& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? std::to_string(st.st_ino) : std::string();
}

// `work/state` is the new host until it has changed places with the old one, and the old one from then on. `work/built`
// says which folder the new one is, so that a run that was cut off there loses nobody's host.
bool is_old_host(const fs::path& work) {
  const auto built = read_file(work / "built");
  return built && there(work / "state") && inode_of(work / "state") != *built;
}

// Moves the host that was replaced out of the working folder; where to.
Result<fs::path> keep_replaced(const fs::path& work, const fs::path& target) {
  const std::string stem = target.filename().string() + ".replaced-" + std::to_string(SystemClock().unix_ms() / 1000);
  fs::path kept = target.parent_path() / stem;
  for (int n = 2; there(kept); ++n) kept = target.parent_path() / (stem + "-" + std::to_string(n));
  std::error_code ec;
  fs::rename(work / "state", kept, ec);
  if (ec) return system_error("move the replaced host", ec.value());
  return kept;
}

// What was revoked after the backup was made stays revoked, and no generation's number is used twice.
Result<void> keep_revocations(store::Database& restored, const fs::path& old_folder) {
  VIA_TRY_LET(old, store::Database::open(old_folder / "control-plane.db", store::Database::Mode::must_exist));
  auto rows = old->query("SELECT binding_id, generation, status, created_at, revoked_at FROM generations");
  while (rows.next()) {
    const store::Row row = rows.row();
    if (row.text(2) == "revoked")
      VIA_TRY(restored.run("UPDATE generations SET status='revoked', revoked_at=?3 WHERE binding_id=?1 AND generation=?2 "
                           "AND status='live'",
                           row.text(0), row.integer(1), row.integer(4)));
    // One that was made since then: its number is spent.
    VIA_TRY(restored.run(
        "INSERT INTO generations (binding_id, generation, status, descriptor, derived, created_at, revoked_at) "
        "SELECT ?1, ?2, 'revoked', '', '{}', ?3, ?3 WHERE EXISTS (SELECT 1 FROM bindings WHERE id=?1) "
        "AND NOT EXISTS (SELECT 1 FROM generations WHERE binding_id=?1 AND generation=?2)",
        row.text(0), row.integer(1), row.integer(3)));
  }
  return rows.end();
}

struct Rebuilt {
  std::int64_t epoch = 0, secrets = 0;
  std::size_t addons = 0;
};

// The control plane of the archive as that of a new host: a higher epoch, so that tokens from before fail.
Result<Rebuilt> prepare_control_plane(const fs::path& state, const fs::path& old_folder, bool has_keys) {
  Rebuilt out;
  const fs::path file = state / "control-plane.db";
  VIA_TRY(store::check_copy(file));
  SystemClock clock;
  SystemEntropy entropy;
  VIA_TRY_LET(store, store::Store::open(state, clock, entropy));
  store::Database& db = store->db();
  out.epoch = std::max(store->meta().epoch + 1, clock.unix_ms() / 1000);
  VIA_TRY_LET(change, store::Transaction::begin(db));
  VIA_TRY(db.run("UPDATE meta SET value=?1 WHERE key='epoch'", std::to_string(out.epoch)));
  if (there(old_folder / "control-plane.db")) VIA_TRY(keep_revocations(db, old_folder));
  // Nobody holds material of before that still works.
  VIA_TRY(db.run("UPDATE instances SET wanted=0, state='stopped', pid=0, ended_at=?1 WHERE wanted=1 AND driver='external'",
                 clock.unix_ms()));
  VIA_TRY(shares::Shares(db).revoke_all(clock.unix_ms()));
  VIA_TRY_LET(sealed, db.one([](const store::Row& r) { return r.integer(0); },
                             "SELECT count(*) FROM config_values WHERE sealed<>''"));
  if (!has_keys) out.secrets = sealed.value_or(0);
  store::AuditEntry entry;
  entry.at = clock.unix_ms();
  entry.actor = "uid " + std::to_string(::geteuid());
  entry.action = "host.restore";
  entry.target = store->meta().installation;
  entry.outcome = "ok";
  entry.details = json{{"epoch", out.epoch}, {"keys", has_keys ? "from the archive" : "made anew"}}.dump();
  VIA_TRY(store->audit().append(std::move(entry)));
  VIA_TRY(change.commit());
  return out;
}

// `format`: of its data in the archive.
Result<void> restore_addon(Host& host, const catalog::Addon& addon, const std::string& format, const fs::path& archive) {
  plugins::PluginHost& plugins = host.plugins();
  const fs::path from = archive / "addons" / addon.type / addon.id;
  if (addon.state == catalog::AddonState::active) {
    if (!plugins.type(addon.type))
      return fail(Code::refused, "Add-on '" + addon.name + "' is of type '" + addon.type + "', and the plugin that brings it is neither in the archive (it was "
                                     "trusted by its path) nor where it was. Put its folder back there, or install its bundle on the host before the next backup.");
    VIA_TRY_LET(instance, plugins.instance(addon.id, addon.type, addon.config));
    VIA_TRY(plugins.provision(*instance));
    const fs::path staging = host.state_dir() / "addons" / addon.type / addon.id / ".restore-backup";
    VIA_TRY(move_to(from / "data", staging));
    const std::string id = "snap_" + addon.id.substr(addon.id.find('_') + 1);
    if (auto good = plugins.verify_snapshot(*instance, id, format, staging, {}); !good)
      return fail(Code::refused, "The data of add-on '" + addon.name + "' in the archive cannot be served: " + good.error().message);
    VIA_TRY_LET(quiet, plugins.drain(*instance, 0, {}));
    VIA_TRY(plugins.suspend(*instance));
    VIA_TRY(plugins.restore_snapshot(*instance, id, format, staging, {}));
    VIA_TRY(plugins.resume(*instance));
    VIA_TRY(remove_tree(staging));
    bindings::Bindings bindings(host.store().db());
    VIA_TRY(lifecycle::reapply_bindings(plugins, bindings, addon));
  }
  if (!there(from / "snapshots")) return {};
  if (addon.state != catalog::AddonState::destroyed)
    return move_to(from / "snapshots", host.state_dir() / "addons" / addon.type / addon.id / "snapshots");
  if (auto made = make_private_folder(host.state_dir() / "retained"); !made) return made;
  return move_to(from / "snapshots", host.state_dir() / "retained" / addon.id);
}

Result<void> restore_app_data(Host& host, const fs::path& archive, const ServerConfig& config) {
  releases::Apps records(host.store().db());
  VIA_TRY_LET(apps, records.list());
  for (const auto& app : apps) {
    const fs::path file = archive / "apps" / app.id / "data.tar", folder = host.state_dir() / "apps" / app.id;
    if (!there(file)) continue;
    VIA_TRY(make_private_folder(folder));
    const bool own_user = ::geteuid() == 0 && config.sandbox && app.uid != 0;
    VIA_TRY(backup::unpack_folder(file, folder / "data", own_user ? app.uid : static_cast<uid_t>(-1)));
  }
  return {};
}

Result<Rebuilt> build(const backup::Manifest& manifest, const fs::path& archive, const fs::path& state, const fs::path& old_folder,
                      const fs::path& config_file) {
  VIA_TRY(move_to(archive / "control-plane.db", state / "control-plane.db"));
  const bool has_keys = there(archive / "keys");
  if (has_keys) VIA_TRY(move_to(archive / "keys", state / "keys"));
  // Before the host is opened: what is pinned is loaded from there, each library by its SHA-256.
  if (there(archive / "plugins")) VIA_TRY(move_to(archive / "plugins", state / "plugins"));
  VIA_TRY_LET(rebuilt, prepare_control_plane(state, old_folder, has_keys));
  VIA_TRY_LET(config, load_server_config(config_file, there(old_folder) ? old_folder : state));
  {
    VIA_TRY_LET(host, Host::open(state, config, Logger::Target::none));
    catalog::Addons records(host->store().db());
    VIA_TRY_LET(living, records.list());
    VIA_TRY_LET(destroyed, records.in_state(catalog::AddonState::destroyed));
    std::map<std::string, std::string> formats;
    for (const auto& addon : manifest.addons) formats[addon.id] = addon.facts.format;
    for (const auto& addon : living) VIA_TRY(restore_addon(*host, addon, formats[addon.id], archive));
    for (const auto& addon : destroyed) VIA_TRY(restore_addon(*host, addon, "", archive));
    VIA_TRY(restore_app_data(*host, archive, config));
    rebuilt.addons = living.size();
    host->plugins().close_all();
  }
  if (there(old_folder / "config.toml")) {
    std::error_code ec;
    fs::copy_file(old_folder / "config.toml", state / "config.toml", ec);
    if (ec) return system_error("copy config.toml", ec.value());
  }
  VIA_TRY(sync_folders(state));
  return rebuilt;
}

}  // namespace

Result<json> restore_backup(const RestoreOptions& options) {
  ::umask(077);
  std::error_code ec;
  const fs::path target = fs::absolute(options.state_dir, ec).lexically_normal();
  const bool exists = there(target);
  const bool empty = !exists || (fs::is_directory(target, ec) && fs::is_empty(target, ec));
  if (!fs::is_directory(target.parent_path(), ec))
    return fail(Code::not_found, "The folder above the state folder does not exist. Create it first.");
  // An empty one is replaced by one of mode 0700.
  if (exists && empty) {
    VIA_TRY_LET(open, check_named_folder(target));
  } else if (exists) {
    VIA_TRY(check_private_folder(target));
  }
  std::optional<StateLock> held;
  if (!empty) {
    VIA_TRY_LET(lock, StateLock::take(target));  // no host may run on it
    held.emplace(std::move(lock));
    if (!options.replace)
      return fail(Code::refused, "The state folder holds a host already. Restore into an empty folder with --state-dir, or put "
                                 "this one in its place with --yes (the old one is kept beside it).");
  }
  const fs::path work = target.parent_path() / ("." + target.filename().string() + ".restoring");
  VIA_TRY(make_private_folder(work));
  {
    VIA_TRY_LET(lock, StateLock::take(work));  // one restore at a time
    const fs::path archive = work / "archive", state = work / "state";
    // Left by a crash.
    VIA_TRY(remove_tree(archive));
    if (is_old_host(work)) VIA_TRY(keep_replaced(work, target));
    VIA_TRY(remove_tree(state));
    VIA_TRY(remove_tree(work / "built"));
    bool replaced = false;
    const auto run = [&]() -> Result<json> {
      VIA_TRY_LET(reader, backup::ArchiveReader::open(options.file, Secret(options.passphrase)));
      std::string origin = "not checked: this machine does not hold the key of the host that made it";
      if (const auto master = identity::read_master_key(target / "keys")) {
        VIA_TRY_LET(code, reader.check_mac(*master));
        if (code == backup::Origin::foreign && !reader.encrypted())
          return fail(Code::refused, "The archive was not made by the host in this state folder, or was changed. Restore it into an empty folder.");
        origin = code == backup::Origin::ours ? "this host" : "another host";
      }
      VIA_TRY(reader.extract_all(archive, {options.progress, {}}));
      VIA_TRY(make_private_folder(state));
      VIA_TRY_LET(rebuilt, build(reader.manifest(), archive, state, empty ? fs::path() : target, options.config_file));
      if (!empty) VIA_TRY(write_file_atomic(work / "built", inode_of(state)));
      VIA_TRY(rename_into_place(state, target, !empty));
      replaced = true;
      json todo = json::array();
      if (rebuilt.secrets > 0)
        todo.push_back(std::to_string(rebuilt.secrets) + " secret(s) were sealed with the old master key and must be set again: via secret list APP");
      json out = {{"state_dir", target.string()},
                  {"addons", rebuilt.addons},
                  {"epoch", rebuilt.epoch},
                  {"keys", reader.encrypted() ? "from the archive" : "made anew"},
                  {"origin", origin},
                  {"replaced", nullptr},
                  {"todo", std::move(todo)}};
      if (!empty) {
        VIA_TRY_LET(kept, keep_replaced(work, target));
        out["replaced"] = kept.string();
      }
      VIA_TRY(sync_folder(target.parent_path()));
      return {boost::system::in_place_value, std::move(out)};
    };
    auto done = run();
    if (!done && replaced)
      return fail(Code::conflict, "The host of the archive is in its place, but the disk failed behind that (" + done.error().message +
                                      "). The one that it replaced is beside it. Start the host and look at it: via status");
    (void)remove_tree(work);
    return done;
  }
}

}  // namespace via
