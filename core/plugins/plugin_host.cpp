#include "core/plugins/plugin_host.hpp"

#include <nlohmann/json.hpp>

#include "core/base/files.hpp"
#include "core/plugins/config_schema.hpp"

namespace via::plugins {

PluginHost::PluginHost(const Services& services, std::filesystem::path addons, Loader loader)
    : services_(services), addons_(std::move(addons)), loader_(std::move(loader)) {}

PluginHost::~PluginHost() {
  close_all();
  instances_.clear();
  for (const Build& build : builds_) build.library->deinit();
}

const PluginHost::Build* PluginHost::find_build(const std::string& plugin_id, const std::string& build) const {
  for (const Build& one : builds_)
    if (one.record.manifest.id == plugin_id && one.record.sha256 == build) return &one;
  return nullptr;
}

Result<PluginRecord> PluginHost::load(const std::filesystem::path& folder, const std::string& pin,
                                      const std::string& source) {
  auto record = prepare(folder, pin, source);
  if (!record) {
    const Inspection seen = inspect(folder);
    PluginRecord refused{seen.manifest, seen.sha256, source, true, false, record.error().message, folder.string()};
    if (refused.manifest.id.empty()) refused.manifest.id = folder.filename().string();
    note(std::move(refused));
    return record;
  }
  if (auto used = use_build(record->manifest.id, record->sha256); !used) return used.error();
  return record;
}

Result<PluginRecord> PluginHost::prepare(const std::filesystem::path& folder, const std::string& pin, const std::string& source) {
  const Inspection seen = inspect(folder);
  PluginRecord record{seen.manifest, seen.sha256, source, true, true, {}, folder.string()};
  const auto refuse = [&](Error error) -> Result<PluginRecord> {
    services_.log.warn("plugin_refused", {{"plugin", record.manifest.id}, {"reason", error.message}});
    return error;
  };
  if (!seen.ok()) return refuse(fail(Code::refused, "The plugin was not loaded: " + seen.problem() + "."));
  {
    const std::lock_guard lock(mutex_);
    if (const Build* known = find_build(seen.manifest.id, seen.sha256); known != nullptr && seen.sha256 == pin) return known->record;
    for (const AddonType& type : seen.manifest.types)
      if (const auto other = types_.find(type.id); other != types_.end() && other->second.type->plugin_id != seen.manifest.id)
        return refuse(fail(Code::conflict, "The plugin was not loaded: the type '" + type.id + "' is already provided by " +
                                               other->second.type->plugin_id + "."));
  }
  auto image = Library::read(folder, pin);
  if (!image) return refuse(fail(Code::refused, "The plugin was not loaded: " + image.error().message + "."));
  auto library = loader_ ? loader_(std::move(*image)) : Library::load(std::move(*image));
  if (!library) return refuse(fail(Code::refused, "The plugin was not loaded: " + library.error().message + "."));
  auto context = std::make_unique<HostContext>(services_, record.manifest.id, "", "");
  std::string message;
  const via_sink sink{&message, [](void* ctx, via_bytes chunk) -> via_status {
                        auto& text = *static_cast<std::string*>(ctx);
                        if (text.size() < 4096) text.append(reinterpret_cast<const char*>(chunk.ptr), chunk.len);
                        return VIA_OK;
                      }};
  if (const via_status status = (*library)->init(context->abi(), &sink); status != VIA_OK)
    return refuse(fail(Code::refused, "The plugin refused to start: " + message));
  record.isolated = (*library)->isolated();
  const std::lock_guard lock(mutex_);
  builds_.push_back({std::move(*library), std::move(context), record});
  services_.log.info("plugin_loaded", {{"plugin", record.manifest.id}, {"version", record.manifest.version}});
  return record;
}

Result<void> PluginHost::use_build(const std::string& plugin_id, const std::string& build) {
  const std::lock_guard lock(mutex_);
  const Build* found = find_build(plugin_id, build);
  if (found == nullptr) return fail(Code::internal, "that build of the plugin is not loaded");
  for (const AddonType& type : found->library->manifest().types)
    if (const auto other = types_.find(type.id); other != types_.end() && other->second.type->plugin_id != plugin_id)
      return fail(Code::conflict, "The type '" + type.id + "' is already provided by " + other->second.type->plugin_id + ".");
  std::erase_if(types_, [&](const auto& entry) { return entry.second.type->plugin_id == plugin_id; });
  for (const AddonType& type : found->library->manifest().types) types_[type.id] = {found->library, &type, false};
  records_[plugin_id] = found->record;
  return {};
}

Result<std::shared_ptr<AddonInstance>> PluginHost::detached(const std::string& addon_id, const std::string& type_id,
                                                            const std::string& config_json, std::uint32_t storage_schema,
                                                            const std::string& build) {
  std::shared_ptr<AddonInstance> made;
  {
    const std::lock_guard lock(mutex_);
    for (const Build& one : builds_) {
      if (one.record.sha256 != build) continue;
      for (const AddonType& type : one.library->manifest().types)
        if (type.id == type_id)
          made = std::make_shared<AddonInstance>(services_, one.library, type, addon_id, config_json,
                                                 (addons_ / type_id / addon_id).string(), storage_schema);
    }
  }
  if (!made) return fail(Code::unavailable, "The add-on type '" + type_id + "' is not in that build of its plugin.");
  {
    const std::lock_guard lock(mutex_);
    if (const auto owner = owners_.find(addon_id); owner != owners_.end()) made->set_owner(owner->second);
  }
  // Nobody calls it before it is adopted and resumed.
  if (auto quiet = made->drain(0, {}); !quiet) return quiet.error();
  return made;
}

void PluginHost::adopt(const std::string& addon_id, std::shared_ptr<AddonInstance> instance) {
  const std::lock_guard lock(mutex_);
  instances_[addon_id] = std::move(instance);
}

void PluginHost::record_schema(const std::string& addon_id, std::uint32_t storage_schema) {
  const std::lock_guard lock(mutex_);
  schemas_[addon_id] = storage_schema;
}

Result<void> PluginHost::open(AddonInstance& instance) { return instance.open(); }

Result<std::string> PluginHost::plan_migration(AddonInstance& instance, std::uint32_t from, std::uint32_t to) {
  return instance.migrate(AddonInstance::Migration::plan, from, to, {});
}

Result<void> PluginHost::migrate(AddonInstance& instance, std::uint32_t from, std::uint32_t to, const Watch& watch) {
  auto done = instance.migrate(AddonInstance::Migration::apply, from, to, watch);
  if (!done) return done.error();
  return {};
}

void PluginHost::note(PluginRecord record) {
  const std::lock_guard lock(mutex_);
  auto& known = records_[record.manifest.id];
  if (!known.loaded) known = std::move(record);
}

void PluginHost::disable(const std::string& plugin_id) {
  const std::lock_guard lock(mutex_);
  for (auto& [id, enabled] : types_)
    if (enabled.type->plugin_id == plugin_id) enabled.disabled = true;
  if (const auto record = records_.find(plugin_id); record != records_.end()) record->second.trusted = false;
}

void PluginHost::drop(const std::string& plugin_id) {
  const std::lock_guard lock(mutex_);
  std::erase_if(types_, [&](const auto& entry) { return entry.second.type->plugin_id == plugin_id; });
  records_.erase(plugin_id);
}

std::vector<PluginRecord> PluginHost::plugins() const {
  const std::lock_guard lock(mutex_);
  std::vector<PluginRecord> out;
  for (const auto& [id, record] : records_) out.push_back(record);
  return out;
}

Result<const AddonType*> PluginHost::type(std::string_view type_id) const {
  const std::lock_guard lock(mutex_);
  const auto it = types_.find(type_id);
  if (it == types_.end() || it->second.disabled) {
    std::string known;
    for (const auto& [id, enabled] : types_)
      if (!enabled.disabled) known += (known.empty() ? "" : ", ") + id;
    return fail(Code::not_found, "The add-on type '" + std::string(type_id) + "' is not enabled" +
                                     (known.empty() ? "" : " (enabled: " + known + ")") +
                                     ". See: via plugin list; enable one with: via plugin trust FILE");
  }
  return it->second.type;
}

Result<std::shared_ptr<AddonInstance>> PluginHost::instance(const std::string& addon_id, const std::string& type_id,
                                                            const std::string& config_json) {
  const std::lock_guard lock(mutex_);
  if (const auto known = instances_.find(addon_id); known != instances_.end()) return known->second;
  const auto type = types_.find(type_id);
  if (type == types_.end())
    return fail(Code::unavailable, "The add-on type '" + type_id + "' is not loaded. See: via plugin list");
  const auto schema = schemas_.find(addon_id);
  auto made = std::make_shared<AddonInstance>(services_, type->second.library, *type->second.type, addon_id, config_json,
                                              (addons_ / type_id / addon_id).string(),
                                              schema == schemas_.end() ? type->second.type->storage_schema : schema->second);
  if (const auto owner = owners_.find(addon_id); owner != owners_.end()) made->set_owner(owner->second);
  instances_.emplace(addon_id, made);
  return made;
}

Result<std::shared_ptr<AddonInstance>> PluginHost::standalone(const std::string& type_id, const std::string& config_json,
                                                              const fs::path& folder) {
  const std::lock_guard lock(mutex_);
  const auto type = types_.find(type_id);
  if (type == types_.end())
    return fail(Code::not_found, "The add-on type '" + type_id + "' is not among the plugins beside this program.");
  return std::make_shared<AddonInstance>(services_, type->second.library, *type->second.type, "kit", config_json, folder.string(),
                                         type->second.type->storage_schema);
}

void PluginHost::forget(const std::string& addon_id) {
  std::shared_ptr<AddonInstance> gone;
  {
    const std::lock_guard lock(mutex_);
    const auto it = instances_.find(addon_id);
    if (it == instances_.end()) return;
    gone = std::move(it->second);
    instances_.erase(it);
    schemas_.erase(addon_id);
    owners_.erase(addon_id);
  }
  if (auto closed = gone->close(); !closed)
    services_.log.error("addon_close_failed", {{"addon", addon_id}, {"reason", closed.error().message}});
}

void PluginHost::close_all() {
  std::vector<std::shared_ptr<AddonInstance>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, instance] : instances_) all.push_back(instance);
  }
  for (const auto& instance : all)
    if (auto closed = instance->close(); !closed)
      services_.log.error("addon_close_failed", {{"addon", instance->id()}, {"reason", closed.error().message}});
}

Result<void> PluginHost::check_config(const AddonType& type, const std::string& config_json) const {
  return check_against_schema(type.config_schema, config_json);
}

Result<void> PluginHost::provision(AddonInstance& instance) {
  const fs::path folder = instance.storage();
  for (const fs::path& step : {addons_, folder.parent_path(), folder})
    if (auto made = make_private_folder(step); !made) return made;
  return instance.provision();
}

Result<void> PluginHost::deprovision(AddonInstance& instance) {
  if (auto done = instance.deprovision(); !done) return done;
  return remove_tree(instance.storage());
}

Result<void> PluginHost::bind(AddonInstance& instance, const BindingSpec& spec) {
  auto done = instance.binding_call(spec.generation == 1 ? &via_instance_api::bind : &via_instance_api::rotate,
                                    spec.binding_id, spec.generation, spec.scopes);
  if (!done) return done.error();
  return {};
}

Result<void> PluginHost::revoke(AddonInstance& instance, const BindingSpec& spec) {
  auto done = instance.binding_call(&via_instance_api::revoke, spec.binding_id, spec.generation, spec.scopes);
  if (!done) return done.error();
  return {};
}

Result<Description> PluginHost::describe(AddonInstance& instance, const BindingSpec& spec) {
  auto text = instance.binding_call(&via_instance_api::describe, spec.binding_id, spec.generation, spec.scopes);
  if (!text) return text.error();
  const auto parsed = nlohmann::json::parse(*text, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("descriptor") || !parsed["descriptor"].is_object())
    return fail(Code::internal, "the plugin described a binding in a form this host does not know");
  Description out;
  const std::string members = parsed["descriptor"].dump();
  out.descriptor = members.substr(1, members.size() - 2);
  if (const auto derived = parsed.find("derived"); derived != parsed.end() && derived->is_object())
    for (const auto& [suffix, value] : derived->items())
      if (value.is_string()) out.derived.emplace_back(suffix, value.get<std::string>());
  return out;
}

Result<std::string> PluginHost::health(AddonInstance& instance) { return instance.health(); }

Result<void> PluginHost::rotate(AddonInstance& instance, const BindingSpec& spec) {
  auto done = instance.binding_call(&via_instance_api::rotate, spec.binding_id, spec.generation, spec.scopes);
  if (!done) return done.error();
  return {};
}

Result<SnapshotFacts> PluginHost::take_snapshot(AddonInstance& instance, const std::string& snapshot_id,
                                                const fs::path& folder, const Watch& watch) {
  auto text = instance.snapshot(AddonInstance::SnapshotCall::take, snapshot_id, {}, folder.string(), watch);
  if (!text) return text.error();
  const auto facts = nlohmann::json::parse(*text, nullptr, false);
  if (!facts.is_object() || !facts.contains("format") || !facts["format"].is_string() || !facts.contains("schema") ||
      !facts["schema"].is_number_unsigned())
    return fail(Code::internal, "the plugin described a snapshot in a form this host does not know");
  return SnapshotFacts{facts["format"].get<std::string>(), facts["schema"].get<std::uint32_t>()};
}

Result<void> PluginHost::verify_snapshot(AddonInstance& instance, const std::string& snapshot_id, const std::string& format,
                                         const fs::path& folder, const Watch& watch) {
  auto done = instance.snapshot(AddonInstance::SnapshotCall::verify, snapshot_id, format, folder.string(), watch);
  if (!done) return done.error();
  return {};
}

Result<void> PluginHost::restore_snapshot(AddonInstance& instance, const std::string& snapshot_id, const std::string& format,
                                          const fs::path& folder, const Watch& watch) {
  auto done = instance.snapshot(AddonInstance::SnapshotCall::restore, snapshot_id, format, folder.string(), watch);
  if (!done) return done.error();
  return {};
}

bool PluginHost::can_snapshot(AddonInstance& instance) { return instance.can_snapshot(); }

bool PluginHost::exchanges_on_restore(AddonInstance& instance) { return instance.exchanges_on_restore(); }

Result<std::uint64_t> PluginHost::bytes_used(AddonInstance& instance) {
  auto text = instance.stats();
  if (!text) return text.error();
  const auto stats = nlohmann::json::parse(*text, nullptr, false);
  if (stats.is_object() && stats.contains("bytes_used") && stats["bytes_used"].is_number_unsigned())
    return stats["bytes_used"].get<std::uint64_t>();
  std::uint64_t sum = 0;
  std::error_code ec;
  for (fs::recursive_directory_iterator it(instance.storage(), ec), end; !ec && it != end; it.increment(ec)) {
    std::error_code gone;  // files come and go while the add-on works
    if (it.depth() == 0 && it->path().filename() == "snapshots") {
      it.disable_recursion_pending();  // the host's, not the add-on's
    } else if (it->is_regular_file(gone) && !it->is_symlink(gone)) {
      if (const auto size = it->file_size(gone); !gone) sum += size;
    }
  }
  return sum;
}

Result<bool> PluginHost::drain(AddonInstance& instance, int limit_ms, const Watch& watch) {
  return instance.drain(limit_ms, watch);
}

void PluginHost::record_owner(const std::string& addon_id, const std::string& app) {
  const std::lock_guard lock(mutex_);
  owners_[addon_id] = "app:" + app;
}

std::vector<DegradedAddon> PluginHost::degraded() const {
  const std::lock_guard lock(mutex_);
  std::vector<DegradedAddon> out;
  for (const auto& [id, instance] : instances_) {
    Abandoned& abandoned = instance->abandoned();
    if (abandoned.degraded(services_.clock.mono_ns())) out.push_back({id, abandoned.stuck(), abandoned.total()});
  }
  return out;
}

Result<void> PluginHost::cancel_running(AddonInstance& instance) {
  if (!instance.drained()) return fail(Code::conflict, "The add-on takes operations; drain it before they are cancelled.");
  instance.cancel_running();
  return {};
}

Result<void> PluginHost::suspend(AddonInstance& instance) {
  if (!instance.drained()) return fail(Code::conflict, "The add-on takes operations; drain it before it is closed.");
  return instance.close();
}

Result<void> PluginHost::resume(AddonInstance& instance) { return instance.resume(); }

std::int64_t PluginHost::in_flight(AddonInstance& instance) const { return instance.in_flight(); }

}  // namespace via::plugins
