// Snapshots, draining and cancelling through the host's side, with real libraries.
#include <thread>

#include "bundle.hpp"
#include "core/plugins/call.hpp"

namespace via::plugins::test {
namespace {

struct PlainFramer final : Call::Framer {
  void begin(Buffer&, const via_head*) override {}
};

// An operation as a connection runs it: admitted, listed while it runs, then out of the gate. Empty = refused.
class Operation {
 public:
  Operation(AddonInstance& instance, const Clock& clock, const std::string& op) : call_(clock) {
    admitted_ = instance.gate().enter();
    if (!admitted_) return;
    call_.start(out_, framer_, via_id{}, 0);
    thread_ = std::thread([this, &instance, op] {
      {
        const AddonInstance::Running running(instance, call_);
        const via_op_args args{sizeof(via_op_args), 0, {op.data(), op.size()}, {nullptr, 0}, {nullptr, 0}, nullptr, {nullptr, 0}};
        instance.invoke(args, call_.abi());
        begun_ = true;
        while (!call_.done()) std::this_thread::yield();
      }
      instance.gate().leave();
    });
    while (!begun_) std::this_thread::yield();
  }
  ~Operation() {
    if (admitted_) call_.cancel();
    if (thread_.joinable()) thread_.join();
  }
  bool admitted() const { return admitted_; }
  bool done() const { return call_.done(); }
  via_status status() const {
    while (!call_.done()) std::this_thread::yield();
    return call_.status();
  }

 private:
  Buffer out_;
  PlainFramer framer_;
  Call call_;
  bool admitted_ = false;
  std::atomic<bool> begun_{false};
  std::thread thread_;
};

struct Quiesce : ::testing::Test, HostParts {
  std::shared_ptr<AddonInstance> make(const Bundle& b, const std::string& type, const std::string& id) {
    EXPECT_TRUE(host.load(b.folder, b.pin(), "pinned"));
    auto made = host.instance(id, type, "{}");
    EXPECT_TRUE(made && host.provision(**made));
    return *made;
  }
  PluginHost host{services, state.path() / "addons"};
  const std::string snap = "snap_01jd5000000000000000000000";
};

TEST_F(Quiesce, ADrainedAddOnAdmitsNothingUntilItIsResumedAlsoWhenItsStorageIsClosed) {
  Bundle b("echo");
  const auto instance = make(b, "echo", "addon_one");
  EXPECT_EQ(Operation(*instance, clock, "echo").status(), VIA_OK);
  ASSERT_TRUE(host.drain(*instance, 1000, {}).value());
  EXPECT_FALSE(Operation(*instance, clock, "echo").admitted());
  ASSERT_TRUE(host.suspend(*instance));
  EXPECT_FALSE(Operation(*instance, clock, "echo").admitted());
  EXPECT_NE(host.health(*instance)->find("draining"), std::string::npos) << "health does not open it";
  ASSERT_TRUE(host.resume(*instance));
  ASSERT_TRUE(host.resume(*instance)) << "of nothing";
  EXPECT_EQ(Operation(*instance, clock, "later").status(), VIA_OK);
}

TEST_F(Quiesce, CancellingEndsTheOperationsOfThisAddOnAndOfNoOther) {
  Bundle b("echo");
  const auto one = make(b, "echo", "addon_one"), two = make(b, "echo", "addon_two");
  EXPECT_FALSE(host.cancel_running(*one)) << "operations would come in behind it";
  Operation first(*one, clock, "await"), second(*one, clock, "await"), other(*two, clock, "await");
  EXPECT_FALSE(host.drain(*one, 5, {}).value());
  EXPECT_EQ(host.in_flight(*one), 2);
  EXPECT_FALSE(first.done());
  EXPECT_FALSE(Operation(*one, clock, "echo").admitted()) << "it stays closed";
  ASSERT_TRUE(host.cancel_running(*one));
  EXPECT_EQ(host.in_flight(*one), 0);
  EXPECT_TRUE(first.done() && second.done());
  EXPECT_EQ(first.status(), VIA_E_CANCELLED);
  EXPECT_FALSE(other.done());
  EXPECT_EQ(host.in_flight(*two), 1);
  EXPECT_TRUE(host.drain(*one, 1000, {}).value());
}

TEST_F(Quiesce, OperationsThatEndByThemselvesRaceWithTheirCancellation) {
  Bundle b("echo");
  const auto instance = make(b, "echo", "addon_one");
  for (int round = 0; round < 30; ++round) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> users;
    for (int u = 0; u < 3; ++u)
      users.emplace_back([&] {
        while (!stop) Operation(*instance, clock, "later");
      });
    ASSERT_TRUE(host.drain(*instance, 0, {}));
    ASSERT_TRUE(host.cancel_running(*instance));
    EXPECT_TRUE(host.drain(*instance, 1000, {}).value());
    stop = true;
    for (auto& user : users) user.join();
    EXPECT_EQ(host.in_flight(*instance), 0);
    ASSERT_TRUE(host.resume(*instance));
  }
}

TEST_F(Quiesce, ASnapshotIsTakenVerifiedAndRestored) {
  Bundle b("snapshots");
  const auto instance = make(b, "snapshots", "addon_one");
  EXPECT_TRUE(host.can_snapshot(*instance));
  via::test::TemporaryFolder folder;
  std::uint64_t done = 0, total = 0;
  std::thread::id told;
  Watch watch;
  watch.progress = [&](std::uint64_t d, std::uint64_t t) { done = d, total = t, told = std::this_thread::get_id(); };
  const auto facts = host.take_snapshot(*instance, snap, folder.path(), watch);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->format, "tiny/1");
  EXPECT_EQ(facts->schema, 3U);
  EXPECT_EQ(done, 7U);
  EXPECT_EQ(total, 9U);
  EXPECT_EQ(told, std::this_thread::get_id()) << "whatever thread the plugin told it on";
  EXPECT_TRUE(host.verify_snapshot(*instance, snap, "tiny/1", folder.path(), {})) << "open";
  const auto open = host.restore_snapshot(*instance, snap, "tiny/1", folder.path(), {});
  ASSERT_FALSE(open);
  EXPECT_EQ(open.error().code, Code::conflict);
  EXPECT_FALSE(host.suspend(*instance)) << "not drained";
  ASSERT_TRUE(host.drain(*instance, 1000, {}).value());
  EXPECT_EQ(host.bytes_used(*instance).value(), 1U) << "the plugin was told to be quiet";
  ASSERT_TRUE(host.suspend(*instance));
  EXPECT_TRUE(host.restore_snapshot(*instance, snap, "tiny/1", folder.path(), {}));
  EXPECT_TRUE(host.verify_snapshot(*instance, snap, "tiny/1", folder.path(), {})) << "closed";
  via::test::TemporaryFolder empty;
  const auto bad = host.restore_snapshot(*instance, snap, "tiny/1", empty.path(), {});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().wire_name(), "snapshot_invalid");
  EXPECT_FALSE(host.restore_snapshot(*instance, snap, "other/1", folder.path(), {})) << "the plugin is told the format";
  EXPECT_FALSE(host.verify_snapshot(*instance, snap, "", folder.path(), {})) << "and that it is not known";
  ASSERT_TRUE(host.resume(*instance));
  EXPECT_EQ(host.bytes_used(*instance).value(), 42U);
  const auto never = host.instance("addon_two", "snapshots", "{}");
  EXPECT_TRUE(host.verify_snapshot(**never, snap, "tiny/1", folder.path(), {})) << "not provisioned";
}

TEST_F(Quiesce, ACancelledSnapshotEndsWhereverThePluginWorks) {
  Bundle b("snapshots");
  const auto instance = make(b, "snapshots", "addon_one");
  int asked = 0;
  Watch watch;
  watch.cancelled = [&] { return ++asked > 2; };
  const auto waiting = host.take_snapshot(*instance, snap, {}, watch);  // ends by on_cancel
  ASSERT_FALSE(waiting);
  EXPECT_EQ(waiting.error().message, "cancelled");
  watch.cancelled = [] { return true; };
  EXPECT_FALSE(host.verify_snapshot(*instance, snap, "", {}, watch));  // asks on this thread
}

TEST_F(Quiesce, ATypeWithoutSnapshotsSaysSoAndItsFilesAreCounted) {
  Bundle b("echo");
  const auto instance = make(b, "echo", "addon_one");
  EXPECT_FALSE(host.can_snapshot(*instance));
  via::test::TemporaryFolder folder;
  const auto none = host.take_snapshot(*instance, snap, folder.path(), {});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::unsupported);
  fs::create_directory(fs::path(instance->storage()) / "snapshots");
  std::ofstream(fs::path(instance->storage()) / "snapshots" / "copy") << "not counted";
  std::ofstream(fs::path(instance->storage()) / "data") << "12345";
  EXPECT_EQ(host.bytes_used(*instance).value(), 5U);
}

}  // namespace
}  // namespace via::plugins::test
