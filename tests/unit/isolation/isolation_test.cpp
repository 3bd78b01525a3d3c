// Plugins in processes of their own, over real processes: an add-on works as in the host, and what its plugin breaks is its own.
#include <fstream>

#include "parts.hpp"

namespace via::isolation::test {
namespace {

using ::testing::Test;

class Isolation : public Test, protected IsolatedParts {};

TEST_F(Isolation, AnInstanceGoesFromProvisionToDeprovision) {
  Bundle b("echo");
  const auto record = load(b);
  ASSERT_TRUE(record) << record.error().message;
  const auto instance = addon("echo");
  ASSERT_TRUE(instance);
  ASSERT_TRUE(host().bind(*instance, {kBinding, 1, {"read"}}));
  const auto described = host().describe(*instance, {kBinding, 1, {"read"}});
  ASSERT_TRUE(described);
  EXPECT_EQ(described->descriptor, "\"mode\":\"proxy\"");
  EXPECT_EQ(run(*instance, "echo", "hello"), "hello");
  EXPECT_EQ(run(*instance, "fail"), "always_fails: this operation always fails");
  EXPECT_EQ(run(*instance, "later"), "");
  EXPECT_NE(host().health(*instance)->find("\"ok\""), std::string::npos);
  ASSERT_TRUE(host().revoke(*instance, {kBinding, 1, {"read"}}));
  ASSERT_TRUE(host().deprovision(*instance));
  EXPECT_FALSE(fs::exists(instance->storage()));
  host().forget(instance->id());
}

TEST_F(Isolation, ThePluginIsNotInThisProcessAndSeesNothingOfIt) {
  ::setenv("VIA_SECRET", "x", 1);  // NOLINT(concurrency-mt-unsafe): before there are threads
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  const std::string where = run(*instance, "where");
  const pid_t pid = static_cast<pid_t>(std::atol(where.c_str()));
  EXPECT_NE(pid, ::getpid());
  EXPECT_NE(where.find(" 1 clean"), std::string::npos) << where;
  // Null, the pipe twice, the socket, the library, and what the runner made itself.
  std::size_t sockets = 0;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code ec;
    const std::string target = fs::read_symlink(entry.path(), ec).string();
    EXPECT_TRUE(target == "/dev/null" || target.starts_with("pipe:") || target.starts_with("socket:") ||
                target.starts_with("/memfd:via-plugin") || target.starts_with("anon_inode:[event"))
        << target;
    sockets += target.starts_with("socket:") ? 1 : 0;
  }
  EXPECT_LE(sockets, 1U);
  EXPECT_TRUE(logged().find("plugin_runner_ended") != std::string::npos);
  EXPECT_TRUE(gone(pid)) << "it ends with its host";
}

TEST_F(Isolation, ACrashFailsTheCallsInFlightAndTheNextOneIsServed) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  ASSERT_EQ(run(*instance, "echo", "before"), "before");
  const pid_t before = pid_of(*instance);
  Client waiting;
  invoke(*instance, "await", "", waiting.call.abi());
  const std::string crashed = run(*instance, "crash");
  EXPECT_TRUE(crashed.starts_with("unavailable: ")) << crashed;
  EXPECT_NE(crashed.find("ended while it worked"), std::string::npos) << crashed;
  EXPECT_TRUE(waiting.answer().starts_with("unavailable: ")) << "also those that did nothing wrong";
  EXPECT_EQ(run(*instance, "echo", "after"), "after");
  EXPECT_NE(pid_of(*instance), before);
  EXPECT_TRUE(gone(before));
  EXPECT_EQ(metric("via_plugin_runner_crashes_total{"), "via_plugin_runner_crashes_total{addon_type=\"faulty\"} 1");
  const std::string text = logged();
  EXPECT_NE(text.find("SIGABRT"), std::string::npos) << text;
  EXPECT_NE(text.find("about to crash"), std::string::npos) << "what it printed is in the log";
  EXPECT_NE(text.find("addon_opened_again"), std::string::npos);
}

TEST_F(Isolation, EveryWayToEndIsTheEndOfTheProcessOnly) {
  Bundle b("faulty");
  options.loop_after = 100;
  options.most_pause_ms = options.first_pause_ms = 1;
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  for (const char* op : {"exit", "crash", "twice", "late"}) {
    const pid_t before = pid_of(*instance);
    const std::string said = run(*instance, op, "x");
    // What was answered once is answered.
    const bool answered = op == std::string("twice") || op == std::string("late");
    EXPECT_TRUE(said.starts_with("unavailable") || (answered && said.empty())) << op << ": " << said;
    EXPECT_TRUE(eventually([&] {
      const std::string where = run(*instance, "where");
      return !where.starts_with("unavailable") && std::atol(where.c_str()) != before;
    })) << op;
  }
  const std::string text = logged();
  EXPECT_NE(text.find("answered a call twice"), std::string::npos) << text;
  EXPECT_NE(text.find("used a call that it had completed"), std::string::npos) << text;
  EXPECT_NE(text.find("exit code 7"), std::string::npos) << text;
}

TEST_F(Isolation, ACallThatHangsEndsTheProcessAfterItsDeadline) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  const std::string said = run(*instance, "hang", "", 100);
  EXPECT_TRUE(said.starts_with("unavailable")) << said;
  EXPECT_EQ(run(*instance, "echo", "after"), "after");
  EXPECT_NE(logged().find("did not end within its time"), std::string::npos);
}

TEST_F(Isolation, ACrashLoopIsCalledOneAndPauses) {
  Bundle b("faulty");
  options.first_pause_ms = options.most_pause_ms = 60'000;
  options.loop_after = 2;
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  EXPECT_TRUE(run(*instance, "crash").starts_with("unavailable"));
  EXPECT_EQ(run(*instance, "echo", "once more"), "once more") << "the first restart is at once";
  EXPECT_TRUE(run(*instance, "crash").starts_with("unavailable"));
  const std::string said = run(*instance, "echo", "x");
  EXPECT_NE(said.find("unavailable: The process of the add-on type 'faulty' ended 2 times in a row (last: signal SIGABRT); it is "
                      "in a crash loop; it is started again at its first use in"),
            std::string::npos)
      << said;
  const auto health = host().health(*instance);
  ASSERT_FALSE(health);
  EXPECT_EQ(health.error().code, Code::unavailable);
  EXPECT_NE(health.error().message.find("crash loop"), std::string::npos);
  EXPECT_NE(logged().find("plugin_runner_crash_loop"), std::string::npos);
}

TEST_F(Isolation, AProcessThatCannotOpenAgainSaysSoAndNothingElseSuffers) {
  Bundle b("faulty"), other("echo");
  options.first_pause_ms = options.most_pause_ms = 1;
  ASSERT_TRUE(load(b));
  ASSERT_TRUE(load(other));
  const auto bad = addon("faulty"), good = addon("echo", "addon_01jd5000000000000000000001");
  ASSERT_EQ(run(*bad, "echo", "x"), "x");
  ASSERT_EQ(run(*bad, "unlucky"), "");
  EXPECT_TRUE(run(*bad, "crash").starts_with("unavailable"));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(run(*bad, "echo", "x").starts_with("unavailable"));
    EXPECT_EQ(run(*good, "echo", "fine"), "fine") << "another type has another process";
  }
}

TEST_F(Isolation, ALeakEndsAtItsLimit) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's own memory is over any limit";
#endif
  Bundle b("faulty");
  options.memory_mb = 64;
  options.workers = 4;
  options.first_pause_ms = options.most_pause_ms = 1;
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  int served = 0, ended = 0;
  for (int i = 0; i < 40 && ended == 0; ++i) {
    const std::string said = run(*instance, "leak", std::to_string(i));
    if (said.empty()) ++served;
    else ++ended;
  }
  EXPECT_GT(served, 2);
  EXPECT_EQ(ended, 1) << "no call got more than the limit";
  EXPECT_TRUE(eventually([&] { return run(*instance, "echo", "after") == "after"; }));
}

TEST_F(Isolation, ALargeBodyAndALargeResultArriveWhole) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  std::string body(9'000'001, ' ');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('!' + i * 7919 % 89);
  EXPECT_TRUE(run(*instance, "echo", body) == body);
  Client client;
  invoke(*instance, "big", "20000000", client.call.abi());
  const std::string got = client.answer();
  EXPECT_EQ(client.status, 206);
  EXPECT_EQ(client.content_type, "text/plain");
  ASSERT_EQ(got.size(), 20'000'000U);
  for (std::size_t i = 0; i < got.size(); ++i)
    if (got[i] != static_cast<char>('a' + i % 4001 % 26)) FAIL() << "byte " << i;
}

TEST_F(Isolation, AClientThatReadsSlowlyHoldsUpItsOwnCallOnly) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  Client slow;
  invoke(*instance, "big", "30000000", slow.call.abi());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(run(*instance, "echo", "quick"), "quick");
  EXPECT_FALSE(slow.call.done());
  EXPECT_EQ(slow.answer().size(), 30'000'000U);
}

TEST_F(Isolation, CancellingEndsACallAndAStream) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  const pid_t pid = pid_of(*instance);
  Client waiting;
  invoke(*instance, "await", "", waiting.call.abi());
  waiting.call.cancel();
  EXPECT_EQ(waiting.answer(), "unavailable: cancelled");
  Client before;
  before.call.cancel();
  invoke(*instance, "await", "", before.call.abi());
  EXPECT_EQ(before.answer(), "unavailable: cancelled") << "also before it was sent";
  Client stream;
  invoke(*instance, "big", "1000000000", stream.call.abi());
  ASSERT_EQ(run(*instance, "echo", "x"), "x");
  stream.call.cancel();
  EXPECT_TRUE(stream.answer().starts_with("unavailable"));
  EXPECT_EQ(pid_of(*instance), pid) << "nothing of that ends the process";
}

TEST_F(Isolation, AStreamThatIsTooLateForItsClientFails) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  Client slow(50);
  invoke(*instance, "big", "30000000", slow.call.abi());
  ASSERT_TRUE(eventually([&] { return slow.call.done(); })) << "nobody takes its bytes";
  EXPECT_EQ(slow.call.status(), VIA_E_DEADLINE);
}

TEST_F(Isolation, ManyCallsAtOnceAreEachAnsweredOnce) {
  Bundle b("faulty");
  options.loop_after = 1000;
  options.first_pause_ms = options.most_pause_ms = 1;
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  std::vector<std::thread> threads;
  std::atomic<int> fine{0}, unavailable{0}, other{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 150; ++i) {
        const std::string body = std::to_string(t) + "/" + std::to_string(i);
        const bool crash = t == 0 && i % 50 == 49;
        const std::string said = run(*instance, crash ? "crash" : "echo", body);
        if (said == body) ++fine;
        else if (said.starts_with("unavailable")) ++unavailable;
        else ++other;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(other, 0);
  EXPECT_EQ(fine + unavailable, 8 * 150);
  EXPECT_GE(unavailable, 3);
  EXPECT_GT(fine, 100);
  EXPECT_TRUE(eventually([&] { return run(*instance, "echo", "after") == "after"; }));
}

TEST_F(Isolation, LogMetricsSettingsAndSecretBoxAreTheHosts) {
  Bundle b("faulty");
  services.settings["faulty"] = R"({"server":"here"})";
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  EXPECT_EQ(run(*instance, "note", "something"), R"({"server":"here"})");
  EXPECT_TRUE(eventually([&] { return metric("addon_faulty_notes_total") == "addon_faulty_notes_total 1"; })) << metrics.text();
  EXPECT_EQ(run(*instance, "seal", "the plain text"), "the plain text");
  const std::string text = logged();
  EXPECT_NE(text.find("\"said\":\"something\""), std::string::npos) << text;
  EXPECT_NE(text.find(kAddon), std::string::npos) << text;
}

TEST_F(Isolation, CredentialsReachThePluginThatAppliesThem) {
  Bundle b("applied");
  ASSERT_TRUE(load(b));
  const auto instance = addon("applied");
  ASSERT_TRUE(host().bind(*instance, {kBinding, 1, {"read"}}));
  ASSERT_TRUE(host().bind(*instance, {kBinding, 2, {"read"}}));
  std::ifstream in(instance->storage() + "/g2");
  const std::string secret{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(secret, secrets.credential(kBinding, 2)->reveal());
  struct stat st {};
  ASSERT_EQ(::stat((instance->storage() + "/g2").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U) << "umask 077";
}

TEST_F(Isolation, SnapshotsProgressDrainAndFiguresAreCarried) {
  Bundle b("snapshots");
  ASSERT_TRUE(load(b));
  const auto instance = addon("snapshots");
  ASSERT_TRUE(host().can_snapshot(*instance));
  EXPECT_FALSE(host().exchanges_on_restore(*instance));
  const fs::path folder = state.path() / "copy";
  fs::create_directory(folder);
  std::uint64_t seen = 0, of = 0;
  plugins::Watch watch;
  watch.progress = [&](std::uint64_t done, std::uint64_t total) { seen = done, of = total; };
  const auto facts = host().take_snapshot(*instance, "snap_01jd5000000000000000000000", folder, watch);
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->format, "tiny/1");
  EXPECT_EQ(facts->schema, 3U);
  EXPECT_EQ(seen, 7U);
  EXPECT_EQ(of, 9U);
  EXPECT_TRUE(host().verify_snapshot(*instance, "snap_01jd5000000000000000000000", "tiny/1", folder, {}));
  EXPECT_EQ(*host().bytes_used(*instance), 42U);
  ASSERT_TRUE(*host().drain(*instance, 1000, {}));
  EXPECT_EQ(*host().bytes_used(*instance), 1U);
  ASSERT_TRUE(host().resume(*instance));
  EXPECT_EQ(*host().bytes_used(*instance), 42U);
  plugins::Watch cancelling;
  cancelling.cancelled = [] { return true; };
  const auto cancelled = host().take_snapshot(*instance, "snap_01jd5000000000000000000000", "", cancelling);
  ASSERT_FALSE(cancelled);
  EXPECT_EQ(cancelled.error().code, Code::unavailable);
}

TEST_F(Isolation, APluginThatLiesOrDoesNotStartIsRefusedWithItsReason) {
  options.start_ms = 500;
  const std::pair<const char*, const char*> faults[] = {
      {"missing_export", "does not export"}, {"wrong_major", "ABI 2.0"},   {"other_minor", "different ABI"},
      {"other_manifest", "manifest"},        {"short_entry", "too short"}, {"null_slot", "empty slot"},
      {"null_entry", "returned nothing"},    {"unresolved", "cannot be loaded"},
      {"init_fails", "the licence has run out"}, {"crashes_in_init", "SIGABRT"}, {"hangs_in_init", "not ready in time"}};
  for (const auto& [name, reason] : faults) {
    const Bundle b(name);
    const auto refused = load(b);
    ASSERT_FALSE(refused) << name;
    EXPECT_NE(refused.error().message.find(reason), std::string::npos) << name << ": " << refused.error().message;
    EXPECT_FALSE(host().type(name));
  }
  EXPECT_EQ(host().plugins().size(), std::size(faults)) << "each is listed with its problem";
}

TEST_F(Isolation, APluginThatCannotMakeAnInstanceFailsThatAddOnOnly) {
  Bundle crashes("crashes_in_create"), fails("create_fails"), shortened("short_api"), empty("null_api_slot"), nothing("create_nothing");
  for (const Bundle* b : {&crashes, &fails, &shortened, &empty, &nothing}) ASSERT_TRUE(load(*b));
  EXPECT_EQ(addon("crashes_in_create"), nullptr);
  for (const char* type : {"create_fails", "short_api", "null_api_slot", "create_nothing"}) EXPECT_EQ(addon(type), nullptr) << type;
  const auto made = host().instance("addon_01jd5000000000000000000009", "create_fails", "{}");
  ASSERT_TRUE(made);
  const auto refused = host().provision(**made);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("no room for another one"), std::string::npos);
}

TEST_F(Isolation, ClosingAfterACrashStartsNothing) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  EXPECT_TRUE(run(*instance, "crash").starts_with("unavailable"));
  ASSERT_TRUE(instance->close());
  EXPECT_EQ(metric("via_plugin_runner_starts_total{"), "via_plugin_runner_starts_total{addon_type=\"faulty\"} 1");
  EXPECT_EQ(run(*instance, "echo", "again"), "again");
}

TEST_F(Isolation, SignalsForTheWholeGroupAreLeftToTheHost) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  const pid_t pid = pid_of(*instance);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ASSERT_EQ(::kill(pid, signal), 0);
  EXPECT_EQ(run(*instance, "echo", "still"), "still");
  EXPECT_EQ(pid_of(*instance), pid);
}

TEST_F(Isolation, AProcessThatIsStoppedIsEndedWhenACallIsOverdue) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  ASSERT_EQ(::kill(pid_of(*instance), SIGSTOP), 0);
  const std::string body(4U << 20, 'x');
  EXPECT_TRUE(run(*instance, "echo", body, 50).starts_with("unavailable")) << "also what the socket does not take";
  EXPECT_EQ(run(*instance, "echo", "after"), "after");
}

TEST_F(Isolation, OnAnIoThreadACallIsSentAndNeverWaitedFor) {
  Bundle b("faulty");
  ASSERT_TRUE(load(b));
  const auto instance = addon("faulty");
  const std::string op = "echo", body = "inline";
  const auto attempt = [&](const std::string& what, Client& client) {
    const via_op_args args{sizeof(via_op_args), 0, {op.data(), op.size()}, {}, {reinterpret_cast<const std::uint8_t*>(what.data()), what.size()},
                           nullptr, {}};
    return instance->try_invoke(args, client.call.abi());
  };
  Client closed, sent, large, ended;
  EXPECT_EQ(attempt(body, closed), VIA_E_WOULD_BLOCK) << "it is not open yet";
  ASSERT_EQ(run(*instance, "echo", "x"), "x");
  ASSERT_EQ(attempt(body, sent), VIA_OK);
  EXPECT_EQ(sent.answer(), "inline");
  EXPECT_EQ(attempt(std::string(1U << 20, 'x'), large), VIA_E_WOULD_BLOCK) << "the socket may not take it at once";
  const pid_t pid = pid_of(*instance);
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return gone(pid); }));
  EXPECT_EQ(attempt(body, ended), VIA_E_WOULD_BLOCK) << "a process is started on a worker";
  EXPECT_EQ(run(*instance, "echo", "after"), "after");
}

TEST_F(Isolation, AMissingRunnerIsAClearRefusal) {
  Bundle b("echo");
  options.program = "/nowhere/via-plugin-runner";
  const auto refused = load(b);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("via-plugin-runner cannot be run"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace via::isolation::test
