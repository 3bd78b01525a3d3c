// Snapshots: what they are on disk, what is recorded of them, and what a crash or a failure leaves.
#include <fstream>

#include <sys/stat.h>

#include "core/base/digest.hpp"
#include "world.hpp"

namespace via::test {
namespace {

using nlohmann::json;

struct Snapshots : ::testing::Test {
  World w;
  std::string id;
  void SetUp() override {
    w.addon("db");
    id = w.must("addon.status", {{"name", "db"}})["id"];
  }
  fs::path folder() const { return w.addons.folder(id) / "snapshots"; }
  std::set<std::string> files() const {
    std::set<std::string> out;
    std::error_code ec;
    for (fs::directory_iterator at(folder(), ec), end; !ec && at != end; ++at) out.insert(at->path().filename());
    return out;
  }
};

TEST_F(Snapshots, LieBesideTheDataUnderTheirIdAndAreWhatWasHashed) {
  const json made = w.must("addon.snapshot", {{"name", "db"}, {"note", "before lunch"}});
  const std::string name = made["id"];
  EXPECT_TRUE(name.starts_with("snap_"));
  EXPECT_EQ(files(), std::set<std::string>{name + ".box"});
  EXPECT_EQ(*read_file(folder() / (name + ".box")), "bytes");
  EXPECT_EQ(made["sha256"], sha256_hex("bytes"));
  EXPECT_EQ(made["bytes"], 5);
  EXPECT_EQ(made["kind"], "manual");
  EXPECT_EQ(made["note"], "before lunch");
  EXPECT_EQ(made["addon"], "db");
  EXPECT_TRUE(made["expires_at"].is_null());
  EXPECT_TRUE(made["operation"].get<std::string>().starts_with("op_"));
  struct stat st {};
  ASSERT_EQ(::stat((folder() / (name + ".box")).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  ASSERT_EQ(::stat(folder().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
}

TEST_F(Snapshots, AreListedNewestFirstAndCountedInTheStatus) {
  const std::string first = w.must("addon.snapshot", {{"name", "db"}})["id"];
  w.clock.advance_ms(1000);
  const std::string second = w.must("addon.snapshot", {{"name", "db"}, {"app", "api"}})["id"];
  const json items = w.must("addon.snapshots", {{"name", "db"}})["items"];
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0]["id"], second);
  EXPECT_EQ(items[1]["id"], first);
  EXPECT_EQ(w.must("addon.status", {{"name", "db"}})["snapshots"], 2);
  EXPECT_EQ(w.error("addon.snapshots", {{"name", "db"}, {"app", "web"}}), "not_found");
}

TEST_F(Snapshots, AFailedOneLeavesNoFileAndNoRow) {
  w.addons.failing = {"take_snapshot"};
  w.clock.advance_ms(1);
  EXPECT_EQ(w.error("addon.snapshot", {{"name", "db"}}), "internal");
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(w.must("addon.snapshots", {{"name", "db"}})["items"].size(), 0U);
  const json operation = w.must("op.list", {{"target", "db"}, {"limit", 1}})["items"][0];
  EXPECT_EQ(operation["state"], "failed");
  EXPECT_EQ(operation["error"]["code"], "internal");
  EXPECT_EQ(operation.dump().find("CANARY"), std::string::npos) << "the reason is for the log only";
  w.addons.failing.clear();
  w.must("addon.snapshot", {{"name", "db"}});
}

TEST_F(Snapshots, AnAddonThatServesNothingHasNothingToTakeOneOf) {
  w.addons.failing = {"provision"};
  EXPECT_NE(w.error("addon.create", {{"type", "box"}, {"name", "bad"}, {"app", "api"}}), "");
  EXPECT_EQ(w.error("addon.snapshot", {{"name", "bad"}}), "conflict");
  w.addons.failing.clear();
  w.must("addon.destroy", {{"name", "db"}});
  EXPECT_EQ(w.error("addon.snapshot", {{"name", id}}), "conflict");
}

TEST_F(Snapshots, OfATypeWithoutThemAreUnsupported) {
  w.addons.snapshots = false;
  EXPECT_EQ(w.error("addon.snapshot", {{"name", "db"}}), "unsupported");
  EXPECT_EQ(w.error("addon.export", {{"name", "db"}, {"file", (w.folder.path() / "x").string()}}), "unsupported");
  EXPECT_TRUE(w.must("addon.destroy", {{"name", "db"}})["final_snapshot"].is_null());
}

TEST_F(Snapshots, ALongNoteIsRefused) {
  EXPECT_EQ(w.error("addon.snapshot", {{"name", "db"}, {"note", std::string(1001, 'x')}}), "bad_request");
  EXPECT_EQ(w.must("addon.snapshot", {{"name", "db"}, {"note", std::string(1000, 'x')}})["note"].get<std::string>().size(),
            1000U);
}

TEST_F(Snapshots, DeleteRemovesFileAndRowAndIsNotFoundAfterwards) {
  const std::string snapshot = w.must("addon.snapshot", {{"name", "db"}})["id"];
  const json gone = w.must("addon.snapshot.delete", {{"name", "db"}, {"snapshot", snapshot}});
  EXPECT_EQ(gone["id"], snapshot);
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(w.error("addon.snapshot.delete", {{"name", "db"}, {"snapshot", snapshot}}), "not_found");
  EXPECT_EQ(w.error("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}), "not_found");
}

TEST_F(Snapshots, OfAnotherAddonAreNotFound) {
  w.addon("other");
  const std::string snapshot = w.must("addon.snapshot", {{"name", "other"}})["id"];
  EXPECT_EQ(w.error("addon.restore", {{"name", "db"}, {"snapshot", snapshot}, {"force_after_timeout", 0}}), "not_found");
  EXPECT_EQ(w.error("addon.snapshot.delete", {{"name", "db"}, {"snapshot", snapshot}}), "not_found");
}

TEST_F(Snapshots, ExportWritesOneFileAndKeepsNoSnapshot) {
  TemporaryFolder out;
  const fs::path file = out.path() / "copy.box";
  const json made = w.must("addon.export", {{"name", "db"}, {"file", file.string()}});
  EXPECT_EQ(*read_file(file), "bytes");
  EXPECT_EQ(made["sha256"], sha256_hex("bytes"));
  EXPECT_EQ(made["bytes"], 5);
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(w.error("addon.export", {{"name", "db"}, {"file", file.string()}}), "conflict") << "nothing is overwritten";
  EXPECT_EQ(w.error("addon.export", {{"name", "db"}, {"file", "relative"}}), "bad_request");
  EXPECT_EQ(w.error("addon.export", {{"name", "db"}, {"file", (out.path() / "no" / "x").string()}}), "not_allowed");
  EXPECT_TRUE(files().empty());
}

TEST_F(Snapshots, ImportMakesASnapshotOfTheFileAndRestoresIt) {
  TemporaryFolder out;
  const fs::path file = out.path() / "in.box";
  std::ofstream(file) << "imported";
  EXPECT_EQ(w.error("addon.import", {{"name", "db"}, {"file", file.string()}}), "refused");
  const json done = w.must("addon.import", {{"name", "db"}, {"file", file.string()}, {"drain", true}, {"restart_bound_apps", true}});
  EXPECT_EQ(w.addons.data(id), "imported");
  const json items = w.must("addon.snapshots", {{"name", "db"}})["items"];
  std::set<std::string> kinds;
  for (const auto& item : items) kinds.insert(item["kind"]);
  EXPECT_EQ(kinds, (std::set<std::string>{"import", "safety"}));
  w.must("addon.restore", {{"name", "db"}, {"snapshot", done["safety_snapshot"]}, {"force_after_timeout", 0}});
  EXPECT_EQ(w.addons.data(id), "bytes");
}

TEST_F(Snapshots, ImportOfAFileThatIsNotThereOrNotSoundChangesNothing) {
  TemporaryFolder out;
  EXPECT_EQ(w.error("addon.import", {{"name", "db"}, {"file", (out.path() / "no").string()}, {"force_after_timeout", 0}}),
            "not_found");
  std::ofstream(out.path() / "in") << "imported";
  w.addons.failing = {"verify_snapshot"};
  EXPECT_NE(w.error("addon.import", {{"name", "db"}, {"file", (out.path() / "in").string()}, {"force_after_timeout", 0}}), "");
  EXPECT_EQ(w.addons.data(id), "bytes");
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(w.must("addon.snapshots", {{"name", "db"}})["items"].size(), 0U);
}

}  // namespace
}  // namespace via::test
