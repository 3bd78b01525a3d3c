// Today's host and the plugins of other minor versions: one that was built against the frozen header of 1.0, and one of a
// minor that does not exist yet. (A host of 1.0 and today's plugins: tests/contract/abi_old_host.cpp.)
#include <thread>

#include "bundle.hpp"
#include "core/plugins/call.hpp"

namespace via::plugins::test {
namespace {

struct PlainFramer final : Call::Framer {
  void begin(Buffer&, const via_head*) override {}
};

struct AbiCompatibility : ::testing::Test, HostParts {
  PluginHost host{services, state.path() / "addons"};

  std::pair<via_status, std::string> invoke(AddonInstance& instance, std::string_view op, std::string_view params, std::string_view accept) {
    Buffer out;
    PlainFramer framer;
    Call call(clock);
    call.start(out, framer, via_id{}, 0);
    via_op_args args{};
    args.struct_size = sizeof args;
    args.op = {op.data(), op.size()};
    args.params = {reinterpret_cast<const std::uint8_t*>(params.data()), params.size()};
    args.accept = {accept.data(), accept.size()};
    instance.invoke(args, call.abi());
    while (!call.done()) std::this_thread::yield();
    return {call.status(), std::string(out.view())};
  }

  void whole_life(const std::string& bundle, const std::string& type) {
    Bundle b(bundle);
    const auto loaded = host.load(b.folder, b.pin(), "pinned");
    ASSERT_TRUE(loaded) << loaded.error().message;
    const auto made = host.instance("addon_one", type, "{}");
    ASSERT_TRUE(made) << made.error().message;
    AddonInstance& instance = **made;
    ASSERT_TRUE(host.provision(instance));
    const BindingSpec first{"bind_01jd5000000000000000000000", 1, {"read"}}, second{"bind_01jd5000000000000000000000", 2, {"read"}};
    EXPECT_TRUE(host.bind(instance, first));
    const auto described = host.describe(instance, first);
    ASSERT_TRUE(described) << described.error().message;
    EXPECT_EQ(described->derived.at(0).first, "_URL");
    EXPECT_TRUE(host.health(instance));
    EXPECT_EQ(invoke(instance, "echo", "said", "application/json"), std::pair(via_status{VIA_OK}, std::string("said")));
    EXPECT_EQ(invoke(instance, "fail", "", "").first, VIA_E_INVALID);
    EXPECT_EQ(invoke(instance, "later", "", "").first, VIA_OK);

    const std::string snap = "snap_01jd5000000000000000000000";
    via::test::TemporaryFolder folder;
    const auto facts = host.take_snapshot(instance, snap, folder.path(), {});
    ASSERT_TRUE(facts) << facts.error().message;
    EXPECT_TRUE(host.verify_snapshot(instance, snap, facts->format, folder.path(), {}));
    EXPECT_EQ(host.bytes_used(instance).value(), 42U);
    ASSERT_TRUE(host.drain(instance, 1000, {}).value());
    ASSERT_TRUE(host.suspend(instance));
    EXPECT_TRUE(host.restore_snapshot(instance, snap, facts->format, folder.path(), {}));
    ASSERT_TRUE(host.resume(instance));
    EXPECT_EQ(invoke(instance, "echo", "again", "").second, "again");
    EXPECT_TRUE(host.rotate(instance, second));
    EXPECT_TRUE(host.revoke(instance, first));
    EXPECT_TRUE(host.deprovision(instance));
  }
};

TEST_F(AbiCompatibility, APluginBuiltAgainst10IsLoadedAndLivesItsWholeLife) { whole_life("abi_1_0", "old"); }

TEST_F(AbiCompatibility, APluginOfALaterMinorIsLoadedToo) {
  whole_life("newer_minor", "newer");
  EXPECT_EQ(host.plugins().at(0).manifest.abi_minor, 99);
}

TEST_F(AbiCompatibility, ALibraryThatNamesAnotherMinorThanItsManifestIsRefused) {
  Bundle b("other_minor");
  const auto loaded = host.load(b.folder, b.pin(), "pinned");
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("different ABI versions"), std::string::npos) << loaded.error().message;
}

}  // namespace
}  // namespace via::plugins::test
