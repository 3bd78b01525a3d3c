// PluginHost and AddonInstance with real libraries: enabling types, life of an instance, calls through it.
#include <thread>

#include "bundle.hpp"
#include "core/base/files.hpp"
#include "core/plugins/call.hpp"

namespace via::plugins::test {
namespace {

struct PlainFramer final : Call::Framer {
  void begin(Buffer&, const via_head*) override {}
};

// One operation as a worker runs it; the result, or "code: message".
std::string invoke(AddonInstance& instance, const std::string& op, const std::string& body) {
  SystemClock clock;
  Buffer out;
  PlainFramer framer;
  Call call(clock);
  call.start(out, framer, via_id{}, 0);
  const via_op_args args{sizeof(via_op_args), 0, {op.data(), op.size()}, {nullptr, 0},
                         {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, nullptr, {nullptr, 0}};
  instance.invoke(args, call.abi());
  while (!call.done()) std::this_thread::yield();
  if (call.status() == VIA_OK) return std::string(out.view());
  return std::string(call.error().wire_name()) + ": " + call.error().message;
}

struct PluginHostTest : ::testing::Test, HostParts {
  Result<PluginRecord> load(const Bundle& b) { return host.load(b.folder, b.pin(), "pinned"); }
  std::shared_ptr<AddonInstance> echo(const std::string& id = "addon_01jd5000000000000000000000") {
    auto made = host.instance(id, "echo", "{}");
    return made ? *made : nullptr;
  }
  PluginHost host{services, state.path() / "addons"};
};

TEST_F(PluginHostTest, ALoadedPluginsTypesAreEnabled) {
  Bundle b("echo");
  EXPECT_FALSE(host.type("echo"));
  const auto record = load(b);
  ASSERT_TRUE(record) << record.error().message;
  EXPECT_TRUE(record->loaded);
  const auto type = host.type("echo");
  ASSERT_TRUE(type);
  EXPECT_EQ((*type)->parallel_ops, 4U);
  EXPECT_EQ(host.plugins().size(), 1U);
  EXPECT_TRUE(host.check_config(**type, "{\"size\":3}"));
  EXPECT_FALSE(host.check_config(**type, "{\"size\":0}"));
}

TEST_F(PluginHostTest, ATypeThatIsNotEnabledNamesTheNextCommand) {
  const auto missing = host.type("nothing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_NE(missing.error().message.find("via plugin list"), std::string::npos);
}

TEST_F(PluginHostTest, ARefusedPluginIsListedWithItsProblem) {
  Bundle b("init_fails");
  const auto refused = load(b);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::refused);
  EXPECT_NE(refused.error().message.find("the licence has run out"), std::string::npos);
  EXPECT_FALSE(host.type("init_fails"));
  ASSERT_EQ(host.plugins().size(), 1U);
  EXPECT_FALSE(host.plugins()[0].loaded);
  EXPECT_FALSE(host.plugins()[0].problem.empty());
}

TEST_F(PluginHostTest, ATypeThatAnotherPluginProvidesIsAConflict) {
  Bundle b("echo"), rival("rival");
  ASSERT_TRUE(load(b));
  const auto refused = load(rival);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_NE(refused.error().message.find("test.echo"), std::string::npos);
  EXPECT_EQ((*host.type("echo"))->plugin_id, "test.echo");
}

TEST_F(PluginHostTest, TheSameBuildAgainEnablesItsTypesAgain) {
  Bundle b("echo");
  ASSERT_TRUE(load(b));
  host.disable("test.echo");
  EXPECT_FALSE(host.type("echo"));
  EXPECT_FALSE(host.plugins()[0].trusted);
  ASSERT_TRUE(load(b));
  EXPECT_TRUE(host.type("echo"));
}

TEST_F(PluginHostTest, AnotherBuildIsLoadedBesideAndTakesOverWhenItIsUsed) {
  Bundle b("echo"), other("echo");
  ASSERT_TRUE(load(b));
  const AddonType* before = *host.type("echo");
  const auto old = echo();
  ASSERT_TRUE(host.provision(*old));
  ASSERT_EQ(invoke(*old, "echo", "hello"), "hello");
  std::ofstream(other.library, std::ios::app) << "another build";
  const auto prepared = host.prepare(other.folder, other.pin(), "pinned");
  ASSERT_TRUE(prepared) << prepared.error().message;
  EXPECT_EQ(*host.type("echo"), before) << "nothing changed yet";
  EXPECT_EQ(host.plugins()[0].sha256, b.pin());

  ASSERT_TRUE(*host.drain(*old, 0, {}));
  ASSERT_TRUE(host.suspend(*old));
  const auto made = host.detached(old->id(), "echo", "{}", 1, other.pin());
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(echo(), old) << "the host knows the old one still";
  ASSERT_TRUE(host.open(**made));
  ASSERT_TRUE(host.use_build("test.echo", other.pin()));
  host.adopt(old->id(), *made);
  EXPECT_EQ(echo(), *made);
  ASSERT_TRUE(host.resume(**made));
  EXPECT_EQ(invoke(**made, "echo", "hello"), "hello");
  EXPECT_EQ(host.plugins().size(), 1U);
  EXPECT_EQ(host.plugins()[0].sha256, other.pin());
  EXPECT_NE(*host.type("echo"), before);
  EXPECT_EQ(before->id, "echo") << "what type() gave before stays valid";
  EXPECT_FALSE(old->gate().enter()) << "who still holds the old one finds it draining";
  EXPECT_EQ(host.instance("addon_01jd5000000000000000000001", "echo", "{}").value()->type().plugin_id, "test.echo");
}

TEST_F(PluginHostTest, ABuildThatWasNotPreparedCannotBeUsed) {
  Bundle b("echo");
  ASSERT_TRUE(load(b));
  EXPECT_FALSE(host.use_build("test.echo", std::string(64, '0')));
  EXPECT_FALSE(host.detached("addon_01jd5000000000000000000000", "echo", "{}", 1, std::string(64, '0')));
  EXPECT_TRUE(host.type("echo"));
}

TEST_F(PluginHostTest, StorageOfAnotherSchemaIsNotOpened) {
  Bundle b("echo");
  ASSERT_TRUE(load(b));
  host.record_schema("addon_01jd5000000000000000000000", 2);
  const auto instance = echo();
  const auto opened = host.open(*instance);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::unavailable);
  EXPECT_NE(opened.error().message.find("via plugin upgrade"), std::string::npos);
  EXPECT_EQ(host.plan_migration(*instance, 2, 1).error().code, Code::unsupported) << "this type has no via.migrate/1";
}

TEST_F(PluginHostTest, AnInstanceGoesFromProvisionToDeprovision) {
  Bundle b("echo");
  ASSERT_TRUE(load(b));
  const auto instance = echo();
  ASSERT_TRUE(instance);
  EXPECT_EQ(echo(), instance) << "one object for one add-on";
  ASSERT_TRUE(host.provision(*instance));
  EXPECT_EQ(fs::status(instance->storage()).permissions(), fs::perms::owner_all);
  ASSERT_TRUE(host.bind(*instance, {"bind_01jd5000000000000000000000", 1, {"read"}}));
  const auto described = host.describe(*instance, {"bind_01jd5000000000000000000000", 1, {"read"}});
  ASSERT_TRUE(described);
  EXPECT_EQ(described->descriptor, "\"mode\":\"proxy\"");
  ASSERT_EQ(described->derived.size(), 1U);
  EXPECT_EQ(described->derived[0].first, "_URL");
  EXPECT_EQ(invoke(*instance, "echo", "hello"), "hello") << "opens itself at its first use";
  EXPECT_EQ(invoke(*instance, "fail", ""), "always_fails: this operation always fails");
  EXPECT_EQ(invoke(*instance, "later", ""), "");
  EXPECT_NE(host.health(*instance)->find("\"ok\""), std::string::npos);
  ASSERT_TRUE(host.revoke(*instance, {"bind_01jd5000000000000000000000", 1, {"read"}}));
  ASSERT_TRUE(host.deprovision(*instance));
  EXPECT_FALSE(fs::exists(instance->storage()));
  host.forget(instance->id());
  EXPECT_NE(echo(), instance);
}

TEST_F(PluginHostTest, ATypeThatAppliesCredentialsGetsTheHostsPasswordAndOthersGetNone) {
  const std::string bind = "bind_01jd5000000000000000000000";
  Bundle applied("applied"), echo_bundle("echo");
  ASSERT_TRUE(load(applied));
  ASSERT_TRUE(load(echo_bundle));
  const auto instance = *host.instance("addon_01jd5000000000000000000001", "applied", "{}");
  ASSERT_TRUE(host.provision(*instance));
  const auto stored = [&](int generation) {
    const auto text = read_file(fs::path(instance->storage()) / ("g" + std::to_string(generation)), 1000);
    return text ? *text : "none";
  };
  ASSERT_TRUE(host.bind(*instance, {bind, 1, {"read"}}));
  ASSERT_TRUE(host.rotate(*instance, {bind, 2, {"read"}}));
  EXPECT_EQ(stored(1), secrets.credential(bind, 1)->reveal());
  EXPECT_EQ(stored(2), secrets.credential(bind, 2)->reveal());
  ASSERT_TRUE(host.bind(*instance, {bind, 2, {"read"}}));  // again, after a crash
  EXPECT_EQ(stored(2), secrets.credential(bind, 2)->reveal());
  ASSERT_TRUE(host.revoke(*instance, {bind, 1, {"read"}}));
  EXPECT_EQ(stored(1), "none");
  const auto described = host.describe(*instance, {bind, 2, {"read"}});
  ASSERT_TRUE(described);
  EXPECT_EQ(described->derived[0].second, "tiny://g2:${secret}@here/");
}

TEST_F(PluginHostTest, AnInstanceThatCannotBeMadeIsAnErrorAndTheHostGoesOn) {
  for (const char* name : {"create_fails", "create_nothing", "short_api", "null_api_slot"}) {
    Bundle b(name);
    const auto loaded = load(b);
    ASSERT_TRUE(loaded) << name << ": " << loaded.error().message;
    const auto instance = host.instance(std::string("addon_") + name, name, "{}");
    ASSERT_TRUE(instance) << "making the object costs nothing";
    const auto provisioned = host.provision(**instance);
    ASSERT_FALSE(provisioned) << name;
    EXPECT_EQ(provisioned.error().code, Code::internal);
    EXPECT_TRUE(invoke(**instance, "echo", "x").starts_with("internal: ")) << name;
  }
}

TEST_F(PluginHostTest, TryInvokeAnswersShortRequestsOnceTheInstanceIsOpen) {
  Bundle b("echo");
  ASSERT_TRUE(load(b));
  const auto instance = echo();
  ASSERT_TRUE(host.provision(*instance));
  Buffer out;
  PlainFramer framer;
  Call call(clock);
  const auto attempt = [&](const std::string& body) {
    out.clear();
    call.start(out, framer, via_id{}, 0);
    const via_op_args args{sizeof(via_op_args), 0, {"echo", 4}, {nullptr, 0},
                           {reinterpret_cast<const std::uint8_t*>(body.data()), body.size()}, nullptr, {nullptr, 0}};
    return instance->try_invoke(args, call.abi());
  };
  EXPECT_EQ(attempt("a"), VIA_E_WOULD_BLOCK) << "opening blocks";
  ASSERT_TRUE(instance->open());
  EXPECT_EQ(attempt("a"), VIA_OK);
  EXPECT_EQ(out.view(), "a");
  EXPECT_EQ(attempt(std::string(100, 'b')), VIA_E_WOULD_BLOCK);
  ASSERT_TRUE(instance->close());
  EXPECT_EQ(attempt("a"), VIA_E_WOULD_BLOCK);
}

TEST_F(PluginHostTest, ClosingWaitsForOperationsThatAreAboutToOpenIt) {
  Bundle b("echo");
  ASSERT_TRUE(load(b));
  const auto instance = echo();
  ASSERT_TRUE(host.provision(*instance));
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> served{0}, refused{0};
    std::vector<std::thread> users;
    for (int u = 0; u < 3; ++u)
      users.emplace_back([&] {
        for (int i = 0; i < 20; ++i) {
          if (!instance->gate().enter()) {
            ++refused;
            continue;
          }
          EXPECT_EQ(invoke(*instance, "echo", "x"), "x");
          instance->gate().leave();
          ++served;
        }
      });
    ASSERT_TRUE(instance->close());
    ASSERT_TRUE(instance->close());
    for (auto& user : users) user.join();
    EXPECT_EQ(served + refused, 60);
    ASSERT_TRUE(instance->close());
    EXPECT_EQ(instance->gate().in_flight(), 0);
  }
}

TEST(Gate, AdmitsNothingWhileClosedAndCountsWhatIsInside) {
  Gate gate;
  EXPECT_TRUE(gate.enter());
  EXPECT_EQ(gate.in_flight(), 1);
  gate.close();
  EXPECT_TRUE(gate.closed());
  EXPECT_FALSE(gate.enter());
  EXPECT_EQ(gate.in_flight(), 1);
  gate.leave();
  gate.open();
  EXPECT_TRUE(gate.enter());
  gate.leave();
  EXPECT_EQ(gate.in_flight(), 0);
}

TEST(HostServices, ALibraryHasNoFolderAndNoSecretsAndAnInstanceHasBoth) {
  HostParts parts;
  const HostContext library(parts.services, "test.echo", "", "");
  const HostContext instance(parts.services, "echo", "addon_01jd5000000000000000000000", "/state/addons/echo/x");
  const auto has = [](const HostContext& c, const char* id) { return c.abi()->get_service(c.abi(), id) != nullptr; };
  for (const char* id : {VIA_HOST_LOG, VIA_HOST_CLOCK, VIA_HOST_METRICS, VIA_HOST_EXECUTOR, VIA_HOST_TURN}) {
    EXPECT_TRUE(has(library, id)) << id;
    EXPECT_TRUE(has(instance, id)) << id;
  }
  for (const char* id : {VIA_HOST_STORAGE, VIA_HOST_SECRETBOX}) {
    EXPECT_FALSE(has(library, id)) << id;
    EXPECT_TRUE(has(instance, id)) << id;
  }
  EXPECT_FALSE(has(instance, "via.host.unknown/1"));
  EXPECT_FALSE(has(instance, "via.host.log/2"));
}

TEST(HostServices, AnInstanceReadsWhatTheOperatorConfiguredForItsType) {
  HostParts parts;
  const Services services{parts.clock, parts.log, parts.executor, parts.metrics, parts.secrets, {{"mail", R"({"port":25})"}}};
  const auto settings = [&](const char* type, const char* id) -> std::string {
    const HostContext context(services, type, id, "");
    const auto* table = static_cast<const via_settings*>(context.abi()->get_service(context.abi(), VIA_HOST_SETTINGS));
    if (table == nullptr) return "none";
    const via_str json = table->json(context.abi());
    return {json.ptr, json.len};
  };
  EXPECT_EQ(settings("mail", "addon_01jd5000000000000000000000"), R"({"port":25})");
  EXPECT_EQ(settings("other", "addon_01jd5000000000000000000000"), "{}");
  EXPECT_EQ(settings("mail", ""), "none");
}

TEST(HostServices, APluginsLogLineNamesItsAddonAndIsRedacted) {
  HostParts parts;
  parts.log.hide_folder("/state");
  const HostContext c(parts.services, "echo", "addon_1", "/state/addons/echo/addon_1");
  const auto* log = static_cast<const via_log*>(c.abi()->get_service(c.abi(), VIA_HOST_LOG));
  const auto str = [](std::string_view s) { return via_str{s.data(), s.size()}; };
  const via_pair kv[] = {{str("file"), str("/state/addons/echo/addon_1/data")}};
  log->write(c.abi(), 99, str("opened"), kv, 1);
  ASSERT_EQ(parts.lines->size(), 1U);
  EXPECT_EQ(parts.lines->at(0), R"("level":"critical","event":"plugin","addon_type":"echo","message":"opened","addon":"addon_1","file":"[path]")");
}

TEST(HostServices, ABoxOfOneAddonDoesNotOpenForAnother) {
  HostParts parts;
  const HostContext one(parts.services, "echo", "addon_1", "/x"), two(parts.services, "echo", "addon_2", "/y");
  const auto* box = static_cast<const via_secretbox*>(one.abi()->get_service(one.abi(), VIA_HOST_SECRETBOX));
  std::string sealed, opened;
  const auto into = [](std::string& s) {
    return via_sink{&s, [](void* ctx, via_bytes b) -> via_status {
      static_cast<std::string*>(ctx)->append(reinterpret_cast<const char*>(b.ptr), b.len);
      return VIA_OK;
    }};
  };
  const auto bytes = [](std::string_view s) { return via_bytes{reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; };
  via_sink out = into(sealed);
  ASSERT_EQ(box->seal(one.abi(), bytes("aad"), bytes("plain"), &out), VIA_OK);
  out = into(opened);
  EXPECT_EQ(box->unseal(two.abi(), bytes("aad"), bytes(sealed), &out), VIA_E_INVALID);
  EXPECT_TRUE(opened.empty());
  EXPECT_EQ(box->unseal(one.abi(), bytes("aad"), bytes(sealed), &out), VIA_OK);
  EXPECT_EQ(opened, "plain");
}

}  // namespace
}  // namespace via::plugins::test
