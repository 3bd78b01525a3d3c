// `via doctor`: every part of the host compared with what it ought to be, and with --fix what can be put right without
// touching anybody's data. An add-on's bytes are never removed here, whoever they belong to.
#include "core/lifecycle/doctor.hpp"

#include <sys/statvfs.h>

#include <algorithm>
#include <set>

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/snapshot_files.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/schema.hpp"

namespace via::lifecycle {

using catalog::AddonState;
using nlohmann::json;
using store::Row;
using store::Transaction;

namespace {

constexpr std::int64_t kStaleMs = 3600 * 1000, kDayMs = 24LL * 3600 * 1000, kOldKeyDays = 90;

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

std::string number(std::uint64_t n) { return std::to_string(n); }

DoctorCheck protection(const char* name, const std::vector<fs::path>& open, bool folders, const fs::path& root, bool fix) {
  DoctorCheck out{name, open.empty(), folders ? "all 0700 and ours" : "all 0600 and ours", true, false, {}};
  if (open.empty()) return out;
  std::vector<std::string> names, left;
  for (const auto& path : open) {
    const std::string relative = path == root ? "the state folder" : path.lexically_relative(root).string();
    names.push_back(relative);
    if (!fix || !make_private(path, folders)) left.push_back(relative);
  }
  out.fixed = fix && left.empty();
  out.ok = out.fixed;
  out.detail = (out.fixed ? "made private: " : "open to other users, or not ours: ") + some_of(out.fixed ? names : left);
  if (!out.ok) out.next = fix ? "" : "via doctor --fix";
  return out;
}

}  // namespace

// The control-plane database and the audit record in it.
Result<void> ControlPlane::examine_store(std::vector<DoctorCheck>& out) {
  store::Database& db = d_.store.db();
  const auto text = [](const Row& r) { return r.text(0); };
  VIA_TRY_LET(version, db.one([](const Row& r) { return r.integer(0); }, "PRAGMA user_version"));
  VIA_TRY_LET(sound, db.all(text, "PRAGMA quick_check(10)"));
  VIA_TRY_LET(dangling, db.all(text, "PRAGMA foreign_key_check"));
  const bool whole = sound.size() == 1 && sound.front() == "ok";
  const bool schema = version.value_or(0) == store::kSchemaVersion;
  out.push_back({"control_plane", whole && schema && dangling.empty(),
                 !whole ? "the database is damaged"
                 : !schema ? "schema version " + std::to_string(version.value_or(0)) + ", expected " + std::to_string(store::kSchemaVersion)
                 : !dangling.empty() ? number(dangling.size()) + " reference(s) to missing rows"
                                     : "schema version " + std::to_string(store::kSchemaVersion) + ", sound",
                 false, false, whole && schema && dangling.empty() ? "" : "via backup restore FILE --state-dir DIR"});
  VIA_TRY_LET(bad, d_.store.audit().verify());
  VIA_TRY_LET(head, d_.store.audit().head());
  out.push_back({"audit", bad == 0,
                 bad == 0 ? std::to_string(head.sequence) + " entries, the chain holds"
                          : "entry " + std::to_string(bad) + " does not fit the chain",
                 false, false, bad == 0 ? "" : "via audit verify"});
  VIA_TRY_LET(engine, db.one(text, "SELECT sqlite_version()"));
  std::string engines = "control plane: engine " + engine.value_or("unknown"), refused;
  for (const auto& plugin : d_.addons.plugins()) {
    if (plugin.loaded)
      engines += "; " + plugin.manifest.title + " " + plugin.manifest.version;
    else
      refused += (refused.empty() ? "" : "; ") + plugin.manifest.id + ": " + plugin.problem;
  }
  out.push_back({"versions", true, "via " + settings_.version + "; " + engines, false, false, {}});
  out.push_back({"plugins", refused.empty(), refused.empty() ? "all loaded" : refused, false, false,
                 refused.empty() ? "" : "via plugin list"});
  return {};
}

// Storage and snapshots against the records of them.
Result<void> ControlPlane::examine_storage(std::vector<DoctorCheck>& out) {
  std::error_code ec;
  std::vector<std::string> missing, foreign, undecided;
  std::set<std::string> known;
  VIA_TRY_LET(addons, addons_.list());
  for (const auto& addon : addons) {
    known.insert(addon.type + "/" + addon.id);
    const bool there = fs::exists(fs::symlink_status(storage_of(addon), ec));
    if (addon.state == AddonState::active && !there) missing.push_back("'" + addon.name + "'");
    if (addon.state == AddonState::failed && has_data(addon)) undecided.push_back("'" + addon.name + "'");
  }
  std::uint64_t bytes = 0;
  for (fs::directory_iterator type(settings_.state_dir / "addons", ec), end; !ec && type != end; type.increment(ec)) {
    if (!type->is_directory(ec) || type->is_symlink(ec)) continue;
    std::error_code inner;
    for (fs::directory_iterator at(type->path(), inner), last; !inner && at != last; at.increment(inner)) {
      const std::string name = type->path().filename().string() + "/" + at->path().filename().string();
      if (known.contains(name)) continue;
      // The folder of an add-on that is just being made again belongs to its operation.
      if (claims_.contains("addon:" + at->path().filename().string())) continue;
      foreign.push_back("addons/" + name);
      bytes += folder_bytes(at->path());
    }
  }
  const auto plural = [](const std::vector<std::string>& list) { return number(list.size()) + ": " + some_of(list); };
  std::string detail;
  if (!missing.empty()) detail += "add-ons without storage, " + plural(missing) + ". ";
  if (!foreign.empty()) detail += "folders without a record (" + number(bytes) + " bytes, left alone), " + plural(foreign) + ". ";
  if (!undecided.empty()) detail += "failed add-ons with data, " + plural(undecided) + ". ";
  const bool ok = detail.empty();
  out.push_back({"storage", ok, ok ? number(addons.size()) + " add-on(s), all with their storage" : detail.substr(0, detail.size() - 1),
                 false, false, ok ? "" : !undecided.empty() ? "via addon repair NAME" : "via addon list"});

  VIA_TRY_LET(snapshots, snapshots_.all());
  std::vector<std::string> bad;
  for (const auto& snapshot : snapshots) {
    VIA_TRY_LET(addon, addons_.find_by_id(snapshot.addon_id));
    if (!addon) continue;
    const fs::path at = published(folder_of(*addon, snapshot), snapshot.id, snapshot.files);
    std::uint64_t size = 0;
    bool whole = !snapshot.files.empty();
    for (const auto& file : snapshot.files) {
      const auto have = fs::file_size(snapshot.files.size() == 1 ? at : at / file.name, ec);
      whole = whole && !ec && have == file.bytes;
      size += ec ? 0 : have;
    }
    if (!whole) bad.push_back(snapshot.id + " (" + number(size) + " of " + number(snapshot.bytes) + " bytes)");
  }
  out.push_back({"snapshots", bad.empty(), bad.empty() ? number(snapshots.size()) + " snapshot(s), files of the right size"
                                                       : "missing or of another size: " + some_of(bad),
                 false, false, bad.empty() ? "" : "via addon snapshot delete NAME SNAPSHOT"});
  return {};
}

void ControlPlane::examine_keys(std::vector<DoctorCheck>& out) {
  std::size_t active = 0, all = 0;
  std::int64_t since = 0;
  for (const auto& key : d_.keys.list()) {
    ++all;
    if (key.state != identity::KeyState::active) continue;
    ++active;
    since = key.activated_at;
  }
  const std::int64_t days = active == 1 && since > 0 ? (now() - since) / kDayMs : 0;
  out.push_back({"signing_key", active == 1,
                 number(active) + " active of " + number(all) + ", in use for " + std::to_string(days) + " day(s)", false, false,
                 days >= kOldKeyDays ? "via identity keys rotate" : ""});
  auto master = read_private_file(settings_.state_dir / "keys" / "master.key", 256);
  const bool there = master && !master->empty();
  if (master) OPENSSL_cleanse(master->data(), master->size());
  out.push_back({"master_key", there, there ? "present" : "missing or unreadable: sealed values cannot be opened after a restart",
                 false, false, there ? "" : "via backup restore FILE --state-dir DIR"});
}

// Leftovers of work that nobody does any more. Under the control lock, so that nobody begins meanwhile.
Result<void> ControlPlane::examine_leftovers(std::vector<DoctorCheck>& out, const std::vector<fs::path>& temporary, bool fix) {
  VIA_TRY_LET(unfinished, d_.store.journal().unfinished());
  VIA_TRY_LET(wanted, instances_.wanted());
  std::set<std::string> busy, used;
  bool backing_up = false;
  for (const auto& operation : unfinished) {
    busy.insert(operation.target);
    busy.insert(".restore-" + operation.id);
    backing_up = backing_up || operation.kind.starts_with("backup.");
  }
  for (const auto& instance : wanted) used.insert(fs::path(instance.material).filename().string());
  const auto owned = [&](const fs::path& relative) {
    if (relative.begin()->string() == "backups" && backing_up) return true;
    return std::any_of(relative.begin(), relative.end(), [&](const fs::path& part) {
      return busy.contains(part.string()) || claims_.contains("addon:" + part.string());
    });
  };
  std::vector<fs::path> stale;
  for (const auto& path : temporary)
    if (!owned(path.lexically_relative(settings_.state_dir))) stale.push_back(path);
  std::error_code ec;
  for (fs::directory_iterator at(settings_.state_dir / "runtimes", ec), end; !ec && at != end; at.increment(ec))
    if (!used.contains(at->path().filename().string()) && now() - modified_ms(at->path()) > kStaleMs) stale.push_back(at->path());

  std::vector<std::string> names, left;
  for (const auto& path : stale) {
    const std::string relative = path.lexically_relative(settings_.state_dir).string();
    names.push_back(relative);
    if (!fix || !remove_tree(path)) left.push_back(relative);
  }
  const bool fixed = fix && !stale.empty() && left.empty();
  out.push_back({"leftovers", stale.empty() || fixed,
                 stale.empty() ? "none" : fixed ? "removed " + number(names.size()) + ": " + some_of(names)
                                                : number(left.size()) + " older than an hour: " + some_of(left),
                 true, fixed, stale.empty() || fix ? "" : "via doctor --fix"});

  std::vector<std::string> dead;
  for (const auto& operation : unfinished) {
    const auto live = running(operation.id);
    if (live == nullptr) dead.push_back(operation.id + " (" + operation.kind + ")");
  }
  out.push_back({"operations", dead.empty(),
                 dead.empty() ? number(unfinished.size()) + " running" : "nobody works on " + some_of(dead), false, false,
                 dead.empty() ? "" : "via op list --state running"});

  std::vector<std::string> idle;
  for (const auto& instance : wanted)
    if (instance.driver == releases::Driver::process &&
        (launcher_ == nullptr || instance.state == releases::InstanceState::failed || !launcher_->supervises(instance.id)))
      idle.push_back(instance.id + " of app '" + instance.app + "'");
  out.push_back({"instances", idle.empty(),
                 idle.empty() ? number(wanted.size()) + " as they ought to be"
                              : (launcher_ == nullptr ? "the host is not running: " : "not running: ") + some_of(idle),
                 false, false, idle.empty() ? "" : launcher_ == nullptr ? "via serve" : "vary app repair APP --target TARGET"});
  return {};
}

Result<json> ControlPlane::doctor(bool fix, const Actor& actor) {
  std::vector<DoctorCheck> checks;
  const StateFiles files = look_at_files(settings_.state_dir, now(), kStaleMs);
  checks.push_back(protection("folders", files.open_folders, true, settings_.state_dir, fix));
  checks.push_back(protection("private_files", files.open_files, false, settings_.state_dir, fix));
  std::size_t expired_before = 0;
  if (fix) {
    {
      VIA_TRY_LET(lock, control());
      VIA_TRY_LET(expired, snapshots_.expired(now()));
      expired_before = expired.size();
    }
    if (expired_before > 0) expire_retained();
  }
  VIA_TRY_LET(asked, ask_plugins());
  VIA_TRY_LET(lock, control());
  VIA_TRY(examine_store(checks));
  VIA_TRY(examine_storage(checks));
  checks.insert(checks.end(), asked.begin(), asked.end());
  if (server_info_) {
    const Room room = server_info_().room;
    const bool enough = room.connections >= room.connections_wanted;
    checks.push_back({"descriptors", enough,
                      enough ? number(room.descriptors) + " allowed, room for " + number(room.connections) + " connections"
                             : number(room.descriptors) + " allowed: room for " + number(room.connections) + " of " + number(room.connections_wanted) +
                                   " connections. Raise the limit (ulimit -Hn, LimitNOFILE=), or lower limits.connections",
                      false, false, {}});
  }
  const Check stuck = degraded_check();
  checks.push_back({stuck.name, stuck.ok, stuck.detail, false, false, stuck.ok ? "" : "via addon status NAME"});
  const Check sandbox = sandbox_check(true);
  checks.push_back({sandbox.name, sandbox.ok, sandbox.detail, false, false, {}});
  examine_keys(checks);
  VIA_TRY_LET(expired, snapshots_.expired(now()));
  const bool gone = expired.empty() && expired_before > 0;
  checks.push_back({"retained", expired.empty(),
                    gone ? "removed " + number(expired_before) + " whose time was over"
                    : expired.empty() ? "nothing past its time" : number(expired.size()) + " kept past their time",
                    true, gone, expired.empty() || fix ? "" : "via doctor --fix"});
  VIA_TRY(examine_leftovers(checks, files.leftovers, fix));
  const Check disk = disk_check();
  checks.push_back({disk.name, disk.ok, disk.detail, false, false, {}});

  auto fixed = json::array();
  bool ok = true;
  for (const auto& check : checks) {
    ok = ok && check.ok;
    if (check.fixed) fixed.push_back(check.name);
  }
  if (!fixed.empty()) {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(record_change("doctor.fix", "host", actor, {{"fixed", fixed}}));
    VIA_TRY(change.commit());
  }
  return answer({{"ok", ok}, {"checks", list_json(checks)}});
}

Check ControlPlane::disk_check() const {
  struct statvfs fs_info {};
  if (::statvfs(settings_.state_dir.c_str(), &fs_info) != 0) return {"disk", false, "the free space cannot be told"};
  const std::uint64_t free = static_cast<std::uint64_t>(fs_info.f_bavail) * fs_info.f_frsize;
  const std::uint64_t all = static_cast<std::uint64_t>(fs_info.f_blocks) * fs_info.f_frsize;
  const std::uint64_t percent = all == 0 ? 0 : free * 100 / all;
  const std::string room = number(free >> 20) + " MiB free (" + number(percent) + " %)";
  if (d_.reserve != nullptr && !d_.reserve->has_room())
    return {"disk", false, "the disk is full: " + room + ". Changes are refused until there is room; what stops, revokes, destroys and deletes still works" +
                               (d_.reserve->is_there() ? "" : ", as far as a few bytes do")};
  return {"disk", free >= (std::uint64_t{1} << 30) && percent >= 5, room};
}

Result<void> ControlPlane::check_disk(DiskNeed need) {
  if (need == DiskNeed::none || d_.reserve == nullptr) return {};
  if (need == DiskNeed::room) {
    if (!d_.reserve->has_room()) return DiskReserve::full();
    return {};
  }
  if (d_.reserve->is_full() && d_.reserve->give_up()) d_.log.error("disk_full", {{"what", "the disk of the state folder is full; the host's reserve was given up"}});
  return {};
}

void ControlPlane::keep_reserve() {
  if (d_.reserve != nullptr && d_.reserve->make()) d_.log.info("disk_reserve_made", {{"bytes", DiskReserve::kBytes}});
}

}  // namespace via::lifecycle
