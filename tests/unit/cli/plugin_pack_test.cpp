// `via plugin pack` and `keygen`: files on this machine, without a host.
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/files.hpp"
#include "core/bundle/bundle.hpp"
#include "support/fakes.hpp"
#include "unit/cli/harness.hpp"

namespace via::cli::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class PluginPack : public ::testing::Test {
 protected:
  PluginPack() {
    const std::string manifest =
        R"({"manifest_version":1,"id":"acme.notes","version":"1.2.0","abi":{"major":1,"minor":0},"library":"notes.so",)"
        R"("types":[{"id":"acme-notes","scopes":["r"],"access":{"read_write":["r"]}}]})";
    fs::create_directory(plugin());
    EXPECT_TRUE(write_file_atomic(plugin() / "manifest.json", manifest));
    EXPECT_TRUE(write_file_atomic(plugin() / "notes.so", "code " + manifest));
  }
  fs::path plugin() const { return root_.path() / "plugin"; }
  std::string at(const std::string& name) const { return (root_.path() / name).string(); }
  via::test::TemporaryFolder root_;
  Shell shell_;
};

TEST_F(PluginPack, WritesTheSameBundleTwiceAndSaysWhatIsInIt) {
  const Ran ran = shell_.run({"plugin", "pack", plugin().string(), "-o", at("a.viaplugin"), "--json"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const json said = json::parse(ran.out);
  EXPECT_EQ(said["id"], "acme.notes");
  EXPECT_EQ(said["files"], (json{"SHA256SUMS", "manifest.json", "notes.so"}));
  EXPECT_EQ(said["signed_by"], nullptr);
  ASSERT_EQ(shell_.run({"plugin", "pack", plugin().string(), "-o", at("b.viaplugin")}).code, 0);
  EXPECT_EQ(*read_file(at("a.viaplugin")), *read_file(at("b.viaplugin")));
  const auto bundle = bundle::read_archive(at("a.viaplugin"));
  ASSERT_TRUE(bundle);
  EXPECT_EQ(bundle->library_sha256, said["library_sha256"]);
  EXPECT_TRUE(shell_.host.calls.empty()) << "no host is asked";
}

TEST_F(PluginPack, SignsWithAKeyOfKeygenWhichIsNeverOverwritten) {
  const Ran made = shell_.run({"plugin", "keygen", at("acme.key"), "--json"});
  ASSERT_EQ(made.code, 0) << made.err;
  const json key = json::parse(made.out);
  EXPECT_EQ(made.out.find("PRIVATE KEY"), std::string::npos);
  const Ran packed = shell_.run({"plugin", "pack", plugin().string(), "--sign", at("acme.key"), "-o", at("a.viaplugin"), "--json"});
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_EQ(json::parse(packed.out)["signed_by"], key["fingerprint"]);
  EXPECT_EQ(shell_.run({"plugin", "keygen", at("acme.key")}).code, 4);
  EXPECT_EQ(shell_.run({"plugin", "pack", plugin().string(), "--sign", at("none"), "-o", at("x.viaplugin")}).code, 3);
  EXPECT_FALSE(fs::exists(at("x.viaplugin")));
}

TEST_F(PluginPack, SaysWhatIsMissing) {
  const Ran ran = shell_.run({"plugin", "pack", root_.path().string()});
  EXPECT_EQ(ran.code, 3);
  EXPECT_NE(ran.err.find("manifest.json"), std::string::npos) << ran.err;
  fs::remove(plugin() / "notes.so");
  EXPECT_NE(shell_.run({"plugin", "pack", plugin().string()}).err.find("Build the plugin first"), std::string::npos);
}

}  // namespace
}  // namespace via::cli::testing
