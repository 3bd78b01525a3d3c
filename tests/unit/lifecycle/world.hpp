// A whole control plane on a temporary folder, with add-ons, processes and plugin trust made up, that can be stopped and
// started again as a crash would.
#pragma once

#include <fcntl.h>
#include <stdio.h>

#include <functional>
#include <map>
#include <set>
#include <stdexcept>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/api/admin.hpp"
#include "core/base/digest.hpp"
#include "core/base/files.hpp"
#include "core/lifecycle/control_plane.hpp"
#include "support/fakes.hpp"

namespace via::test {

// What kill -9 is in these tests: it unwinds everything, and nothing is committed on the way.
struct Killed : std::runtime_error {
  Killed() : std::runtime_error("killed") {}
};

// Add-ons that live on disk as one file each, as a real plugin's would.
class FakeAddonHost final : public plugins::AddonHost {
 public:
  struct Record {
    std::string id, type;
    std::string build{};           // of the plugin that it was made from
    std::uint32_t schema = 1;      // on record
    bool opened = false;
  };
  // Builds of test.box by their SHA-256: a build of schema 2 reads only data that begins with "2:".
  std::map<std::string, std::shared_ptr<const plugins::Manifest>> builds;
  std::string current;
  TemporaryFolder box;  // where the first build of it is
  explicit FakeAddonHost(std::filesystem::path state) : state_(std::move(state)) {
    type_.id = "box";
    type_.title = "A box";
    type_.scopes = type_.read_write_scopes = {"read", "write"};
    type_.read_only_scopes = {"read"};
    type_.ops = {{"look", {"read"}}, {"put", {"write"}}};
    type_.derived = {"_URL"};
    type_.plugin_id = "test.box";
    auto first = std::make_shared<plugins::Manifest>();
    first->id = "test.box";
    first->version = "1.0.0";
    first->title = "Boxes";
    first->types = {type_};
    first->text = R"({"id":"test.box"})";
    const std::string manifest =
        R"({"manifest_version":1,"id":"test.box","version":"1.0.0","abi":{"major":1},"library":"box.so","types":[{"id":"box",)"
        R"("scopes":["read","write"],"access":{"read_write":["read","write"],"read_only":["read"]},)"
        R"("ops":[{"name":"look","scopes":["read"]},{"name":"put","scopes":["write"]}],"derived":["_URL"]}]})";
    (void)write_file_atomic(box.path() / "manifest.json", manifest);
    (void)write_file_atomic(box.path() / "box.so", "the first " + manifest);
    first_ = current = sha256_hex("the first " + manifest);
    builds[current] = first;
  }
  const plugins::AddonType& box_type(const std::string& build) const { return builds.at(build)->types.front(); }
  // What a start of the host does to the plugins: only what is pinned is loaded, and no instance is left.
  void restarted(const std::string& pinned) {
    current = builds.contains(pinned) ? pinned : first_;
    records_.clear();
    schemas_.clear();
  }
  std::set<std::string> failing;  // names of calls
  std::map<std::string, int> calls;
  std::function<void(const std::string&)> before;  // may throw Killed
  std::set<std::string> bound;                     // "bind_…/1"
  bool enabled = true;

  std::filesystem::path folder(const std::string& id) const { return state_ / "addons" / "box" / id; }

  std::vector<plugins::PluginRecord> plugins() const override {
    plugins::PluginRecord record;
    record.manifest = *builds.at(current);
    record.sha256 = current;
    record.source = "bundled";
    record.trusted = record.loaded = true;
    record.folder = box.path().string();
    std::vector<plugins::PluginRecord> out{record};
    for (const auto& other : others) out.push_back(other);
    return out;
  }
  std::vector<plugins::PluginRecord> others;  // plugins besides test.box
  Result<const plugins::AddonType*> type(std::string_view id) const override {
    if (!enabled || id != "box") return fail(Code::not_found, "Add-on type '" + std::string(id) + "' is not enabled.");
    return &box_type(current);
  }
  Result<std::shared_ptr<plugins::AddonInstance>> instance(const std::string& id, const std::string& type_id,
                                                           const std::string&) override {
    ++calls["instance"];
    if (auto known = type(type_id); !known) return known.error();
    auto& record = records_[id];
    if (!record) record = std::make_shared<Record>(Record{id, type_id, current, schemas_.contains(id) ? schemas_[id] : box_type(current).storage_schema});
    return handle(record);
  }
  Result<void> use_build(const std::string& plugin, const std::string& build) override {
    if (plugin == "test.box") current = build;
    return {};
  }
  Result<std::shared_ptr<plugins::AddonInstance>> detached(const std::string& id, const std::string& type_id, const std::string&,
                                                           std::uint32_t schema, const std::string& build) override {
    if (auto ok = enter("detached"); !ok) return ok.error();
    if (!builds.contains(build)) return fail(Code::internal, "no such build");
    return handle(std::make_shared<Record>(Record{id, type_id, build, schema}));
  }
  void adopt(const std::string& id, std::shared_ptr<plugins::AddonInstance> instance) override {
    records_[id] = std::shared_ptr<Record>(instance, &of(*instance));
  }
  void record_schema(const std::string& id, std::uint32_t schema) override { schemas_[id] = schema; }
  Result<void> open(plugins::AddonInstance& i) override {
    if (auto ok = enter("open"); !ok) return ok;
    const std::uint32_t schema = box_type(of(i).build).storage_schema;
    if (of(i).schema != schema) return fail(Code::unavailable, "another schema is on record");
    if (data(of(i).id).starts_with("2:") != (schema == 2)) return fail(Code::internal, "the data has another schema");
    of(i).opened = true;
    return leave("open");
  }
  Result<std::string> plan_migration(plugins::AddonInstance&, std::uint32_t, std::uint32_t) override {
    if (auto ok = enter("plan_migration"); !ok) return ok.error();
    return std::string(R"({"steps":1,"reversible":false})");
  }
  Result<void> migrate(plugins::AddonInstance& i, std::uint32_t, std::uint32_t to, const plugins::Watch&) override {
    if (auto ok = enter("migrate"); !ok) return ok;
    if (const std::string bytes = data(of(i).id); !bytes.starts_with("2:"))
      if (auto done = write_file_atomic(folder(of(i).id) / "data", "2:" + bytes); !done) return done;
    of(i).schema = to;
    if (failing.contains("migrate late")) return fail(Code::refused, "The data is in the way.");
    return leave("migrate");
  }
  void forget(const std::string& id) override { records_.erase(id); }
  Result<void> check_config(const plugins::AddonType&, const std::string& config) const override {
    if (config != "{}") return fail(Code::bad_request, "This type takes no configuration.");
    return {};
  }
  Result<void> provision(plugins::AddonInstance& i) override {
    if (auto ok = enter("provision"); !ok) return ok;
    std::filesystem::create_directories(folder(of(i).id));
    if (auto done = write_file_atomic(folder(of(i).id) / "data", "bytes"); !done) return done;
    return leave("provision");
  }
  Result<void> deprovision(plugins::AddonInstance& i) override {
    if (auto ok = enter("deprovision"); !ok) return ok;
    std::filesystem::remove_all(folder(of(i).id));
    return leave("deprovision");
  }
  Result<void> bind(plugins::AddonInstance&, const plugins::BindingSpec& spec) override {
    if (auto ok = enter("bind"); !ok) return ok;
    bound.insert(spec.binding_id + "/" + std::to_string(spec.generation));
    return leave("bind");
  }
  Result<void> revoke(plugins::AddonInstance&, const plugins::BindingSpec& spec) override {
    if (auto ok = enter("revoke"); !ok) return ok;
    bound.erase(spec.binding_id + "/" + std::to_string(spec.generation));
    return leave("revoke");
  }
  Result<plugins::Description> describe(plugins::AddonInstance&, const plugins::BindingSpec&) override {
    if (auto ok = enter("describe"); !ok) return ok.error();
    return plugins::Description{R"("mode":"proxy","note":"CANARY-descriptor")",
                                {{"_URL", "${endpoint}#CANARY-derived"}, {"_UNDECLARED", "x"}}};
  }
  Result<std::string> health(plugins::AddonInstance&) override {
    return std::string(healthy ? R"({"state":"ok","checks":[]})" : R"({"state":"failing","checks":[]})");
  }
  Result<void> rotate(plugins::AddonInstance& i, const plugins::BindingSpec& spec) override { return bind(i, spec); }
  bool can_snapshot(plugins::AddonInstance&) override { return snapshots; }
  bool exchanges_on_restore(plugins::AddonInstance&) override { return exchanges; }
  Result<std::uint64_t> bytes_used(plugins::AddonInstance&) override { return std::uint64_t{5}; }
  Result<plugins::SnapshotFacts> take_snapshot(plugins::AddonInstance& i, const std::string&, const fs::path& to,
                                               const plugins::Watch& watch) override {
    if (auto ok = enter("take_snapshot"); !ok) return ok.error();
    if (watch.cancelled && watch.cancelled()) return fail(Code::cancelled, "cancelled");
    auto bytes = read_file(folder(of(i).id) / "data");
    if (!bytes) return bytes.error();
    if (auto done = write_file_atomic(to / "data.box", *bytes); !done) return done.error();
    if (auto ok = leave("take_snapshot"); !ok) return ok.error();
    return plugins::SnapshotFacts{"box/1", bytes->starts_with("2:") ? 2U : 1U};
  }
  Result<void> verify_snapshot(plugins::AddonInstance&, const std::string&, const std::string& format, const fs::path& from,
                               const plugins::Watch&) override {
    if (auto ok = enter("verify_snapshot"); !ok) return ok;
    EXPECT_EQ(format, "box/1");
    if (!read_file(from / "data.box")) return fail(Code::refused, "The snapshot cannot be read.");
    return leave("verify_snapshot");
  }
  Result<void> restore_snapshot(plugins::AddonInstance& i, const std::string&, const std::string& format, const fs::path& from,
                                const plugins::Watch&) override {
    if (auto ok = enter("restore_snapshot"); !ok) return ok;
    EXPECT_EQ(format, "box/1");
    const fs::path copy = from / "data.box", data = folder(of(i).id) / "data";
    if (!exchanges || !fs::exists(data)) fs::rename(copy, data);
    else if (::renameat2(AT_FDCWD, copy.c_str(), AT_FDCWD, data.c_str(), RENAME_EXCHANGE) != 0)
      return fail(Code::internal, "the fake cannot exchange");
    return leave("restore_snapshot");
  }
  Result<bool> drain(plugins::AddonInstance& i, int, const plugins::Watch&) override {
    if (auto ok = enter("drain"); !ok) return ok.error();
    drained.insert(of(i).id);
    return quiet;
  }
  Result<void> cancel_running(plugins::AddonInstance&) override { return enter("cancel_running"); }
  Result<void> suspend(plugins::AddonInstance& i) override {
    of(i).opened = false;
    return enter("suspend");
  }
  Result<void> resume(plugins::AddonInstance& i) override {
    drained.erase(of(i).id);
    return enter("resume");
  }
  std::int64_t in_flight(plugins::AddonInstance&) const override { return quiet ? 0 : 1; }
  // What the "data" of an add-on is.
  std::string data(const std::string& id) const {
    auto bytes = read_file(folder(id) / "data");
    return bytes ? *bytes : "none";
  }
  bool healthy = true, snapshots = true, quiet = true, exchanges = true;
  std::set<std::string> drained;

 private:
  static Record& of(plugins::AddonInstance& i) { return reinterpret_cast<Record&>(i); }
  // Core never looks behind the pointer.
  static std::shared_ptr<plugins::AddonInstance> handle(const std::shared_ptr<Record>& record) {
    return std::shared_ptr<plugins::AddonInstance>(record, reinterpret_cast<plugins::AddonInstance*>(record.get()));
  }
  Result<void> enter(const std::string& call) {
    ++calls[call];
    if (before) before("before " + call);
    if (failing.contains(call)) return fail(Code::internal, "CANARY-failure in " + state_.string());
    return {};
  }
  Result<void> leave(const std::string& call) {
    if (before) before("after " + call);
    return {};
  }
  std::filesystem::path state_;
  std::string first_;
  plugins::AddonType type_;
  std::map<std::string, std::shared_ptr<Record>> records_;
  std::map<std::string, std::uint32_t> schemas_;
};

class FakeLauncher final : public lifecycle::Launcher {
 public:
  std::map<std::string, releases::ProcessSpec> running;
  std::vector<std::string> events;
  int fail_after = -1;  // starts that succeed before one fails
  std::function<void()> on_stop;
  bool missing = false;  // the program of every command
  Result<void> look(const releases::ProcessSpec&) const override {
    if (missing) return fail(Code::refused, "no such program");
    return {};
  }
  Result<void> start(releases::ProcessSpec spec) override {
    if (fail_after == 0) return fail(Code::not_found, "no such program");
    if (fail_after > 0) --fail_after;
    events.push_back("start " + spec.instance);
    running[spec.instance] = std::move(spec);
    return {};
  }
  Result<void> stop(const std::string& instance, int) override {
    if (on_stop) on_stop();
    events.push_back("stop " + instance);
    running.erase(instance);
    return {};
  }
  bool supervises(const std::string& instance) const override { return running.contains(instance); }
};

class FakeTrust final : public lifecycle::PluginTrust {
 public:
  Result<nlohmann::json> verify(const std::string& file) override {
    return {boost::system::in_place_value, nlohmann::json{{"file", file}, {"ok", true}}};
  }
  // Reads the manifest and hashes the library of a folder that is there; of another it is one and the same plugin.
  Result<plugins::PluginRecord> load(const std::string& folder, const std::string& sha256, const std::string& source) override {
    if (refuses) return fail(Code::refused, "The plugin was not loaded: it is broken.");
    plugins::PluginRecord record;
    record.source = source;
    record.trusted = record.loaded = true;
    record.folder = folder;
    if (auto text = read_file(fs::path(folder) / "manifest.json")) {
      record.manifest = *plugins::parse_manifest(*text);
      record.sha256 = sha256_hex(*read_file(fs::path(folder) / record.manifest.library));
      if (!sha256.empty() && record.sha256 != sha256) return fail(Code::refused, "The plugin was not loaded: another SHA-256.");
      if (host != nullptr && record.manifest.id == "test.box") host->builds[record.sha256] = std::make_shared<plugins::Manifest>(record.manifest);
      return record;
    }
    record.manifest.id = "test.other";
    record.manifest.version = "1.0.0";
    record.sha256 = std::string(64, 'b');
    return record;
  }
  void removed(const std::string& id) override { gone.push_back(id); }
  Result<void> untrust(const std::string& id) override {
    untrusted.push_back(id);
    return {};
  }
  std::vector<std::string> untrusted, gone;
  bool refuses = false;
  FakeAddonHost* host = nullptr;
};

struct World {
  TemporaryFolder folder;
  FakeClock clock;
  FakeEntropy entropy;
  std::shared_ptr<std::vector<std::string>> lines = std::make_shared<std::vector<std::string>>();
  Logger log{lines};
  FakeTrust trust;
  FakeLauncher launcher;
  FakeAddonHost addons{folder.path()};
  plugins::SecretBox secrets{Secret(std::string(32, 'm')), entropy};
  std::unique_ptr<store::Store> store;
  std::unique_ptr<identity::Keys> keys;
  std::unique_ptr<identity::TokenIssuer> tokens;
  std::unique_ptr<authorization::Authority> authority;
  std::unique_ptr<lifecycle::ControlPlane> plane;
  const lifecycle::Actor actor{"root", 0};

  bool require_signature = false;  // at the next start

  explicit World(bool server = false) {
    trust.host = &addons;
    open(server);
  }

  void open(bool server = false) {
    auto opened = store::Store::open(folder.path(), clock, entropy);
    if (!opened) throw std::logic_error(opened.error().message);
    store = std::move(*opened);
    std::string pinned;
    for (const auto& pin : *store->load_pins())
      if (pin.plugin_id == "test.box" && pin.trusted) pinned = pin.sha256;
    addons.restarted(pinned);
    if (!keys) {
      keys = *identity::Keys::open(folder.path() / "keys", true, clock, entropy);
      tokens = std::make_unique<identity::TokenIssuer>(*keys, "via:test", clock, entropy);
    }
    authority = std::make_unique<authorization::Authority>();
    lifecycle::Settings settings;
    settings.state_dir = folder.path();
    settings.config_url = "http://127.0.0.1:8181";
    settings.version = "test";
    settings.lock_wait_ms = 50;
    settings.sandbox.on = true;
    settings.require_plugin_signature = require_signature;
    plane = std::make_unique<lifecycle::ControlPlane>(
        lifecycle::Dependencies{*store, addons, *authority, *keys, *tokens, trust, secrets, clock, entropy, log}, settings);
    if (auto started = plane->start(server ? &launcher : nullptr); !started)
      throw std::logic_error(started.error().message);
  }
  // Everything in memory is gone; what was committed is there.
  void restart(bool server = false) {
    plane.reset();
    store.reset();
    launcher.running.clear();
    addons.before = nullptr;
    open(server);
  }

  Result<nlohmann::json> call(std::string_view command, const nlohmann::json& args = nlohmann::json::object()) {
    return api::AdminApi(*plane).call(command, args, actor);
  }
  // For calls that must succeed.
  nlohmann::json must(std::string_view command, const nlohmann::json& args = nlohmann::json::object()) {
    auto out = call(command, args);
    if (!out) {
      ADD_FAILURE() << command << " " << args << ": " << out.error().message;
      return nlohmann::json::object();
    }
    return *out;
  }
  std::string error(std::string_view command, const nlohmann::json& args = nlohmann::json::object()) {
    auto out = call(command, args);
    return out ? "" : std::string(out.error().wire_name());
  }
  std::string error_text(std::string_view command, const nlohmann::json& args = nlohmann::json::object()) {
    auto out = call(command, args);
    return out ? "" : out.error().message;
  }
  void addon(const std::string& name, const std::string& app = "api") {
    must("addon.create", {{"type", "box"}, {"name", name}, {"app", app}});
  }
  std::string external(const std::string& app = "api") { return must("runtime.issue", {{"app", app}})["id"]; }
  const authorization::InstanceGrant* grant(const std::string& instance) {
    index = authority->current();
    return index->find(instance);
  }
  std::shared_ptr<const authorization::Index> index;
};

}  // namespace via::test
