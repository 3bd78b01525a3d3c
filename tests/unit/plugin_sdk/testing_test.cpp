// The fake host gives what the C++ services ask for.
#include <gtest/gtest.h>

#include <via/plugin.hpp>
#include <via/testing.hpp>

namespace via::plugin {
namespace {

TEST(PluginHost, ServicesReachTheHost) {
  testing::FakeHost fake({.dir = "/somewhere", .quota_bytes = 9, .settings = R"({"a":1})"});
  const Host host(fake.host());
  EXPECT_EQ(host.storage(), "/somewhere");
  EXPECT_EQ(host.quota_bytes(), 9U);
  EXPECT_EQ(host.settings(), R"({"a":1})");
  host.log(Level::info, "hello", {{"n", "1"}});
  ASSERT_EQ(fake.log_lines().size(), 1U);
  EXPECT_EQ(fake.log_lines()[0], "hello n=1");
  const Metric served = host.counter("served_total", {"kind"});
  served.record(2, {"x"});
  EXPECT_EQ(fake.metric("served_total"), 2);
  Metric().record(1);
  EXPECT_EQ(host.unseal(host.seal("plain")), "plain");
  EXPECT_THROW(host.unseal("no"), Failure);
}

// The host of an earlier minor version: its tables end where version 1.0 ended, however long this header's are.
TEST(PluginHost, ATableThatIsShorterThanThisHeadersIsUsedWhileWhatIsNeededIsThere) {
  struct Grown {  // via_clock with a member that a later minor version added
    uint32_t struct_size, flags;
    uint64_t (*mono_ns)(const via_host*);
    int64_t (*unix_ms)(const via_host*);
    void (*later)(const via_host*);
  };
  testing::FakeHost fake({.dir = "/somewhere"});
  const Host host(fake.host());
  EXPECT_NE(host.service(VIA_HOST_CLOCK, &Grown::unix_ms), nullptr);
  EXPECT_EQ(host.service(VIA_HOST_CLOCK, &Grown::later), nullptr);
}

TEST(PluginHost, AnAbsentServiceIsNothingOrSaysSo) {
  via_host bare{};
  bare.struct_size = sizeof bare;
  bare.get_service = [](const via_host*, const char*) -> const void* { return nullptr; };
  const Host host(&bare);
  host.log(Level::error, "nobody hears this");
  EXPECT_EQ(host.settings(), "{}");
  EXPECT_EQ(host.quota_bytes(), 0U);
  host.gauge("size").record(1);
  EXPECT_THROW(host.storage(), Failure);
  EXPECT_THROW(host.queue(), Failure);
  EXPECT_THROW(host.seal("x"), Failure);
}

}  // namespace
}  // namespace via::plugin
