// Whole-host backup: a copy of the control plane and, through its plugin, of every add-on, in one archive. Changes of
// add-ons wait while it is made (their operations do not), so that metadata and data belong together.
#include <time.h>

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/backup/archive_reader.hpp"
#include "core/backup/archive_writer.hpp"
#include "core/backup/folder_tar.hpp"
#include "core/base/files.hpp"
#include "core/identity/master_key.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/snapshot_files.hpp"
#include "core/lifecycle/views.hpp"
#include "core/store/schema.hpp"

namespace via::lifecycle {

using catalog::Addon;
using catalog::AddonState;
using nlohmann::json;
using store::Transaction;

namespace {

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

std::string stamp(std::int64_t unix_ms) {
  const time_t seconds = unix_ms / 1000;
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  ::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
  return text;
}

Result<std::vector<fs::path>> files_of(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code ec;
  for (fs::directory_iterator at(folder, ec), end; !ec && at != end; at.increment(ec)) out.push_back(at->path());
  if (ec) return system_error("read a folder", ec.value());
  std::sort(out.begin(), out.end());
  return out;
}

// Removes what it was given when it goes.
struct Scratch {
  fs::path folder;
  explicit Scratch(fs::path path) : folder(std::move(path)) {}
  ~Scratch() { (void)remove_tree(folder); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

}  // namespace

Result<json> ControlPlane::create_backup(const std::string& file, Secret passphrase, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  const fs::path own = settings_.state_dir / "backups";
  fs::path target(file);
  if (file.empty()) {
    VIA_TRY(make_private_folder(own));
    target = own / ("via-" + stamp(now()) + ".backup");
  } else if (!target.is_absolute()) {
    return fail(Code::bad_request, "'file' must be an absolute path.");
  }
  std::error_code ec;
  if (fs::exists(fs::symlink_status(target, ec)))
    return fail(Code::conflict, "The file is there already. Name another, or remove it first.");
  if (!file.empty() && !fs::is_directory(target.parent_path(), ec))
    return fail(Code::not_found, "The folder of the archive does not exist. Create it first.");
  VIA_TRY_LET(living, addons_.list());
  Work work;
  work.kind = "backup.create";
  work.target = d_.store.meta().installation;
  work.claims = {"host:backup"};
  for (const auto& addon : living) {
    work.claims.push_back("addon:" + addon.id);
    if (addon.state != AddonState::active) continue;
    VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
    if (!d_.addons.can_snapshot(*instance))
      return fail(Code::unsupported, "Add-on '" + addon.name + "' of type '" + addon.type +
                                         "' has no snapshots and cannot be backed up.");
  }
  VIA_TRY_LET(installed, d_.store.plugin_versions().all());
  for (const auto& one : installed)
    if (const std::string claim = "plugin:" + one.plugin_id; std::find(work.claims.begin(), work.claims.end(), claim) == work.claims.end())
      work.claims.push_back(claim);
  work.steps = json{{"file", target.string()}}.dump();
  // std::function copies what it holds; a Secret is shared instead.
  work.run = [this, living = living, target, phrase = std::make_shared<Secret>(std::move(passphrase))](Operation& operation) {
    return run_backup(operation, living, target, *phrase);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

// An app is halted while its folder is copied: what is copied is what a power cut would have left, which databases in it recover from.
Result<void> ControlPlane::add_app_data(Operation& operation, const fs::path& scratch, std::vector<backup::SourceFile>& files) {
  std::vector<releases::App> apps;
  std::vector<releases::Instance> wanted;
  {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY_LET(living, apps_.list());
    VIA_TRY_LET(instances, instances_.wanted());
    apps = std::move(living);
    wanted = std::move(instances);
  }
  const plugins::Watch watch = operation.watch();
  for (const auto& app : apps) {
    const fs::path data = app_folder(app.id) / "data", file = scratch / (app.id + ".tar");
    std::error_code ec;
    if (!fs::is_directory(fs::symlink_status(data, ec))) continue;
    const auto halt = [&](bool on) {
      for (const auto& instance : wanted)
        if (instance.app_id == app.id && has_process(instance)) launcher_->halt(instance.id, on);
    };
    halt(true);
    auto packed = backup::pack_folder(data, file, watch.cancelled);
    halt(false);
    if (!packed) return packed.error();
    files.push_back({"apps/" + app.id + "/data.tar", file});
  }
  return {};
}

Result<json> ControlPlane::run_backup(Operation& operation, const std::vector<Addon>& addons, const fs::path& target,
                                      const Secret& passphrase) {
  VIA_TRY(make_private_folder(settings_.state_dir / "backups"));
  const Scratch scratch(settings_.state_dir / "backups" / (".staging-" + operation.id()));
  VIA_TRY(remove_tree(scratch.folder));
  VIA_TRY(make_private_folder(scratch.folder));
  backup::Manifest facts;
  std::vector<backup::SourceFile> files;
  VIA_TRY(operation.step("control_plane"));
  std::vector<catalog::Snapshot> snapshots;
  std::vector<Addon> kept;  // destroyed ones that can be brought back
  std::vector<store::PluginVersion> installed;
  {
    VIA_TRY_LET(held, operation.control());
    VIA_TRY(d_.store.db().copy_to(scratch.folder / "control-plane.db"));
    VIA_TRY_LET(all, snapshots_.all());
    snapshots = all;
    VIA_TRY_LET(destroyed, addons_.in_state(AddonState::destroyed));
    for (const auto& addon : destroyed)
      if (!addon.final_snapshot.empty()) kept.push_back(addon);
    VIA_TRY_LET(versions, d_.store.plugin_versions().all());
    installed = versions;
    facts.created_at = now();
  }
  files.push_back({"control-plane.db", scratch.folder / "control-plane.db"});
  facts.via_version = settings_.version;
  facts.installation = d_.store.meta().installation;
  facts.epoch = d_.store.meta().epoch;
  facts.schema = store::kSchemaVersion;
  if (!passphrase.empty()) {
    VIA_TRY_LET(keys, files_of(settings_.state_dir / "keys"));
    for (const auto& key : keys)
      if (!key.filename().string().starts_with(".")) files.push_back({"keys/" + key.filename().string(), key});
  }
  // A restored host runs its add-ons by the plugins that were installed here; those that were pinned by a path stay behind.
  for (const auto& one : installed) {
    if (one.source != "installed") continue;
    VIA_TRY_LET(parts, files_of(plugin_folder(one.file)));
    for (const auto& part : parts)
      files.push_back({"plugins/" + one.plugin_id + "/" + one.version + "/" + part.filename().string(), part});
  }

  VIA_TRY(operation.step("add_ons"));
  const plugins::Watch watch = operation.watch();
  std::uint64_t total = 0, done = 0;
  for (const auto& addon : addons) total += folder_bytes(storage_of(addon));
  const auto name_of = [](const Addon& addon) { return "addons/" + addon.type + "/" + addon.id + "/"; };
  const auto add_snapshots = [&](const Addon& addon) -> Result<void> {
    for (const auto& snapshot : snapshots) {
      if (snapshot.addon_id != addon.id) continue;
      const fs::path path = published(folder_of(addon, snapshot), snapshot.id, snapshot.files);
      const std::string name = name_of(addon) + "snapshots/" + path.filename().string();
      if (snapshot.files.size() == 1) {
        files.push_back({name, path});
        continue;
      }
      for (const auto& file : snapshot.files) files.push_back({name + "/" + file.name, path / file.name});
    }
    return {};
  };
  for (const auto& addon : addons) {
    if (addon.state != AddonState::active) continue;
    if (watch.cancelled && watch.cancelled()) return fail(Code::cancelled, "The backup was cancelled; nothing was left behind.");
    VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, addon.config));
    const fs::path folder = scratch.folder / addon.id;
    VIA_TRY(make_private_folder(folder));
    const plugins::Watch inner{[&](std::uint64_t n, std::uint64_t) {
                                 if (watch.progress) watch.progress(done + n, total);
                               },
                               watch.cancelled};
    VIA_TRY_LET(said, d_.addons.take_snapshot(*instance, "snap_" + addon.id.substr(addon.id.find('_') + 1), folder, inner));
    VIA_TRY_LET(copied, files_of(folder));
    for (const auto& file : copied) {
      done += fs::file_size(file);
      files.push_back({name_of(addon) + "data/" + file.filename().string(), file});
    }
    facts.addons.push_back({addon.id, addon.type, addon.name, std::string(to_string(addon.state)), said});
    VIA_TRY(add_snapshots(addon));
  }
  for (const auto& addon : kept) {
    facts.addons.push_back({addon.id, addon.type, addon.name, std::string(to_string(addon.state)), {}});
    VIA_TRY(add_snapshots(addon));
  }

  VIA_TRY(operation.step("apps"));
  VIA_TRY(add_app_data(operation, scratch.folder, files));

  VIA_TRY(operation.step("archive"));
  backup::WriterOptions options;
  if (!passphrase.empty()) options.passphrase = Secret(std::string(passphrase.reveal()));
  VIA_TRY_LET(master, identity::read_master_key(settings_.state_dir / "keys"));
  options.master_key = std::move(master);
  VIA_TRY_LET(written, backup::write_archive(target, std::move(facts), files, options, d_.entropy, watch));
  operation.only_forward();

  VIA_TRY_LET(held, operation.control());
  const std::string id = make_id("bak");
  const json result = {{"id", id},
                       {"file", target.string()},
                       {"bytes", written.bytes},
                       {"sha256", written.sha256},
                       {"encrypted", !passphrase.empty()},
                       {"addons", written.manifest.addons.size()},
                       {"members", written.manifest.members.size()},
                       {"operation", operation.id()}};
  const auto record = [&]() -> Result<void> {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(d_.store.db().run(
        "INSERT INTO backups (id, file, created_at, bytes, sha256, encrypted, addons, operation) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
        id, target.string(), now(), static_cast<std::int64_t>(written.bytes), written.sha256, !passphrase.empty(),
        static_cast<std::int64_t>(written.manifest.addons.size()), operation.id()));
    VIA_TRY(end_done(operation, result,
                     {{"backup", id}, {"bytes", written.bytes}, {"sha256", written.sha256}, {"encrypted", !passphrase.empty()}}));
    return change.commit();
  };
  // The archive is whole and of use, whether it is listed or not: it stays.
  if (auto recorded = record(); !recorded) return unknown(recorded.error());
  d_.log.info("backup.created", {{"backup", id}, {"bytes", written.bytes}});
  return answer(result);
}

Result<json> ControlPlane::verify_backup(const std::string& file, Secret passphrase, const Actor& actor, bool wait) {
  VIA_TRY_LET(lock, control());
  if (!fs::path(file).is_absolute()) return fail(Code::bad_request, "'file' must be an absolute path.");
  Work work;
  work.kind = "backup.verify";
  work.target = d_.store.meta().installation;
  work.run = [this, file, phrase = std::make_shared<Secret>(std::move(passphrase))](Operation& operation) {
    return run_verify(operation, file, *phrase);
  };
  return operate(std::move(lock), std::move(work), actor, wait);
}

Result<json> ControlPlane::run_verify(Operation& operation, const fs::path& file, const Secret& passphrase) {
  VIA_TRY(operation.step("read"));
  VIA_TRY_LET(reader, backup::ArchiveReader::open(file, passphrase));
  std::string origin = "unknown";
  if (const auto master = identity::read_master_key(settings_.state_dir / "keys")) {
    VIA_TRY_LET(code, reader.check_mac(*master));
    origin = code == backup::Origin::ours ? "this host" : code == backup::Origin::foreign ? "another host" : "unknown";
  }
  VIA_TRY(make_private_folder(settings_.state_dir / "backups"));
  const Scratch scratch(settings_.state_dir / "backups" / (".verify-" + operation.id()));
  VIA_TRY(operation.step("extract"));
  VIA_TRY(reader.extract_all(scratch.folder, operation.watch()));

  VIA_TRY(operation.step("check"));
  auto checks = json::array();
  bool ok = true;
  const auto note = [&](const std::string& name, const Result<void>& result, const std::string& detail) {
    ok = ok && result.has_value();
    checks.push_back({{"name", name}, {"ok", result.has_value()}, {"detail", result ? detail : result.error().message}});
  };
  note("control plane", store::check_copy(scratch.folder / "control-plane.db"), "schema " + std::to_string(reader.manifest().schema));
  std::uint64_t done = 0;
  for (const auto& addon : reader.manifest().addons) {
    if (operation.cancelled()) return fail(Code::cancelled, "The check was cancelled.");
    const fs::path data = scratch.folder / "addons" / addon.type / addon.id / "data";
    if (addon.state != "active") continue;
    bool known = false;
    {
      VIA_TRY_LET(held, operation.control());
      VIA_TRY_LET(found, addons_.find_by_id(addon.id));
      known = found.has_value();
    }
    const auto look = [&]() -> Result<void> {
      VIA_TRY_LET(type, d_.addons.type(addon.type));
      VIA_TRY_LET(instance, d_.addons.instance(addon.id, addon.type, "{}"));
      return d_.addons.verify_snapshot(*instance, "snap_" + addon.id.substr(addon.id.find('_') + 1), addon.facts.format, data, {});
    };
    note(addon.name, look(), addon.facts.format);
    if (!known) d_.addons.forget(addon.id);
    operation.watch().progress(++done, reader.manifest().addons.size());
  }
  return answer({{"file", file.string()},
                 {"ok", ok},
                 {"encrypted", reader.encrypted()},
                 {"origin", origin},
                 {"members", reader.manifest().members.size()},
                 {"checks", std::move(checks)},
                 {"operation", operation.id()}});
}

Result<json> ControlPlane::list_backups() {
  VIA_TRY_LET(lock, control());
  auto items = json::array();
  auto rows = d_.store.db().query(
      "SELECT id, file, created_at, bytes, sha256, encrypted, addons FROM backups ORDER BY created_at DESC, id DESC");
  while (rows.next()) {
    const store::Row row = rows.row();
    std::error_code ec;
    const bool present = fs::is_regular_file(fs::symlink_status(row.text(1), ec));
    items.push_back({{"id", row.text(0)},
                     {"file", row.text(1)},
                     {"created_at", format_time(row.integer(2))},
                     {"bytes", row.integer(3)},
                     {"sha256", row.text(4)},
                     {"encrypted", row.integer(5) != 0},
                     {"addons", row.integer(6)},
                     {"present", present}});
  }
  VIA_TRY(rows.end());
  return answer({{"items", std::move(items)}});
}

}  // namespace via::lifecycle
