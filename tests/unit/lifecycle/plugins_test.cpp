// Bundles on a host: install, keys, remove, upgrade and the way back. That a real library changes is for tests/functional.
#include <sys/stat.h>

#include "boxes.hpp"

namespace via::test {
namespace {

using nlohmann::json;

fs::path folder_of(World& w, const std::string& id, const std::string& version) { return w.folder.path() / "plugins" / id / version; }

std::string notes(const std::string& version = "1.0.0") { return Boxes::manifest(version, 1, "acme.notes", "notes"); }

TEST(PluginInstall, ABundleIsWrittenPinnedAndSaidByWhomItIsSigned) {
  World w;
  Boxes boxes;
  const auto key = *bundle::SigningKey::create(boxes.folder.path() / "key");
  w.must("plugin.keys.add", {{"name", "acme"}, {"key", *read_file(boxes.folder.path() / "key.pub")}});
  const json made = w.must("plugin.install", {{"file", boxes.packed(notes(), &key)}});
  EXPECT_EQ(made["id"], "acme.notes");
  EXPECT_EQ(made["signed_by"], "acme");
  EXPECT_EQ(made["signer"], bundle::fingerprint(key.public_key()));
  EXPECT_EQ(made["already"], false);
  const fs::path folder = folder_of(w, "acme.notes", "1.0.0");
  struct stat st {};
  ASSERT_EQ(::stat(folder.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700U);
  ASSERT_EQ(::stat((folder / "box.so").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  const auto pin = *w.store->pins().find("acme.notes");
  ASSERT_TRUE(pin);
  EXPECT_EQ(pin->file, "plugins/acme.notes/1.0.0") << "relative: the state folder may move";
  EXPECT_EQ(pin->sha256, made["sha256"]);
  EXPECT_EQ(w.must("op.show", {{"operation", made["operation"]}})["state"], "done");
  EXPECT_EQ(w.must("audit.list", {{"target", "acme.notes"}})["items"].back()["action"], "plugin.install");
}

TEST(PluginInstall, AgainIsFineAndAnotherBuildOfTheVersionIsNot) {
  World w;
  Boxes boxes;
  const std::string file = boxes.packed(notes());
  w.must("plugin.install", {{"file", file}});
  // A damaged file is mended on the way.
  ASSERT_TRUE(write_file_atomic(folder_of(w, "acme.notes", "1.0.0") / "box.so", "damaged"));
  const json again = w.must("plugin.install", {{"file", file}});
  EXPECT_EQ(again["already"], true);
  EXPECT_EQ(sha256_hex(*read_file(folder_of(w, "acme.notes", "1.0.0") / "box.so")), again["sha256"]);
  EXPECT_EQ(w.error("plugin.install", {{"file", boxes.packed(notes(), nullptr, "other code")}}), "conflict");
  EXPECT_NE(w.error_text("plugin.install", {{"file", boxes.packed(notes(), nullptr, "other code")}}).find("a version of its own"), std::string::npos);
}

TEST(PluginInstall, APlanChangesNothing) {
  World w;
  Boxes boxes;
  const std::string file = boxes.packed(notes());
  const json plan = w.must("plugin.install", {{"file", file}, {"plan", true}});
  EXPECT_EQ(plan["plan"]["touches"]["types"], json({"notes"}));
  EXPECT_EQ(plan["plan"]["warnings"], json({"It is not signed."}));
  EXPECT_FALSE(fs::exists(w.folder.path() / "plugins" / "acme.notes"));
  EXPECT_EQ(w.error("plugin.install", {{"file", file}, {"if_plan", "00"}}), "precondition_failed");
  w.must("plugin.install", {{"file", file}, {"if_plan", plan["hash"]}});
}

TEST(PluginInstall, WhatIsRefusedLeavesNothing) {
  World w;
  Boxes boxes;
  const std::string file = boxes.packed(notes());
  w.trust.refuses = true;
  EXPECT_EQ(w.error("plugin.install", {{"file", file}}), "refused");
  EXPECT_FALSE(fs::exists(w.folder.path() / "plugins" / "acme.notes"));
  EXPECT_FALSE(*w.store->pins().find("acme.notes"));
  w.trust.refuses = false;
  EXPECT_EQ(w.error("plugin.install", {{"file", "relative.viaplugin"}}), "bad_request");
  EXPECT_EQ(w.error("plugin.install", {{"file", "/nowhere/x.viaplugin"}}), "not_found");
  EXPECT_NE(w.error_text("plugin.install", {{"file", boxes.built(notes()).string()}}).find("via plugin pack"), std::string::npos);
  std::string bytes = *read_file(file);
  bytes[700] = static_cast<char>(bytes[700] ^ 1);
  ASSERT_TRUE(write_file_atomic(file, bytes));
  EXPECT_EQ(w.error("plugin.install", {{"file", file}}), "refused");
  EXPECT_FALSE(fs::exists(w.folder.path() / "plugins" / "acme.notes"));
}

TEST(PluginInstall, AVersionOfAPluginThatIsInUseIsAnUpgrade) {
  World w;
  Boxes boxes;
  EXPECT_NE(w.error_text("plugin.install", {{"file", boxes.packed(Boxes::manifest("2.0.0", 1))}}).find("via plugin upgrade"), std::string::npos);
}

TEST(PluginKeys, AHostThatRequiresSignaturesTakesOnlyWhatATrustedKeySigned) {
  World w;
  Boxes boxes;
  w.require_signature = true;
  w.restart();
  const auto ours = *bundle::SigningKey::create(boxes.folder.path() / "ours");
  const auto theirs = *bundle::SigningKey::create(boxes.folder.path() / "theirs");
  w.must("plugin.keys.add", {{"name", "ours"}, {"key", *read_file(boxes.folder.path() / "ours.pub")}});
  EXPECT_EQ(w.error("plugin.install", {{"file", boxes.packed(notes())}}), "refused");
  EXPECT_NE(w.error_text("plugin.install", {{"file", boxes.packed(notes(), &theirs)}}).find(bundle::fingerprint(theirs.public_key())), std::string::npos);
  // Trust is no way around it: neither a bare folder nor one that somebody else signed, nor a changed one.
  const fs::path folder = boxes.built(notes("1.5.0"));
  EXPECT_EQ(w.error("plugin.trust", {{"file", folder.string()}}), "refused");
  const auto unpack = [&](const bundle::SigningKey& key) {
    const auto made = bundle::gather(folder, &key);
    for (const auto& [name, bytes] : made->files) ASSERT_TRUE(write_file_atomic(folder / name, bytes));
  };
  unpack(theirs);
  EXPECT_EQ(w.error("plugin.trust", {{"file", folder.string()}}), "refused");
  unpack(ours);
  ASSERT_TRUE(write_file_atomic(folder / "README.md", "added"));
  EXPECT_EQ(w.error("plugin.trust", {{"file", folder.string()}}), "refused");
  fs::remove(folder / "README.md");
  EXPECT_EQ(w.must("plugin.trust", {{"file", folder.string()}})["id"], "acme.notes");

  const std::string file = boxes.packed(Boxes::manifest("1.0.0", 1, "acme.other", "other"), &ours);
  w.must("plugin.keys.remove", {{"name", "ours"}});
  EXPECT_EQ(w.error("plugin.install", {{"file", file}}), "refused") << "the key was removed";
  EXPECT_EQ(w.error("plugin.upgrade", {{"file", boxes.packed(Boxes::manifest("2.0.0", 1), &ours)}}), "refused");
}

TEST(PluginKeys, AreAddedOnceListedAndRemoved) {
  World w;
  Boxes boxes;
  (void)*bundle::SigningKey::create(boxes.folder.path() / "a");
  (void)*bundle::SigningKey::create(boxes.folder.path() / "b");
  const std::string a = *read_file(boxes.folder.path() / "a.pub"), b = *read_file(boxes.folder.path() / "b.pub");
  const json key = w.must("plugin.keys.add", {{"name", "acme"}, {"key", a}});
  EXPECT_EQ(w.must("plugin.keys.add", {{"name", "acme"}, {"key", a}}), key) << "again is fine";
  EXPECT_EQ(w.error("plugin.keys.add", {{"name", "acme"}, {"key", b}}), "conflict");
  EXPECT_EQ(w.error("plugin.keys.add", {{"name", "other"}, {"key", a}}), "conflict");
  EXPECT_EQ(w.error("plugin.keys.add", {{"name", "other"}, {"key", *read_file(boxes.folder.path() / "b")}}), "bad_request") << "a private key";
  EXPECT_EQ(w.error("plugin.keys.add", {{"name", "../x"}, {"key", b}}), "bad_request");
  EXPECT_EQ(w.must("plugin.keys.list")["items"].size(), 1U);
  w.must("plugin.keys.remove", {{"name", "acme"}});
  EXPECT_EQ(w.error("plugin.keys.remove", {{"name", "acme"}}), "not_found");
  std::vector<std::string> actions;
  const json trail = w.must("audit.list", {{"target", "acme"}})["items"];
  for (const auto& entry : trail) actions.push_back(entry["action"]);
  EXPECT_EQ(actions, (std::vector<std::string>{"plugin.keys.add", "plugin.keys.remove"}));
}

TEST(PluginRemove, TakesFilesAndPin) {
  World w;
  Boxes boxes;
  w.must("plugin.install", {{"file", boxes.packed(notes())}});
  EXPECT_EQ(w.must("plugin.remove", {{"plugin", "acme.notes"}, {"plan", true}})["plan"]["touches"]["versions"], json({"1.0.0"}));
  EXPECT_TRUE(fs::exists(folder_of(w, "acme.notes", "1.0.0")));
  EXPECT_EQ(w.error("plugin.remove", {{"plugin", "acme.notes"}, {"version", "9.9.9"}}), "not_found");
  EXPECT_EQ(w.must("plugin.remove", {{"plugin", "acme.notes"}})["removed"], json({"1.0.0"}));
  EXPECT_FALSE(fs::exists(w.folder.path() / "plugins" / "acme.notes"));
  EXPECT_FALSE(*w.store->pins().find("acme.notes"));
  EXPECT_EQ(w.trust.gone, std::vector<std::string>{"acme.notes"});
  EXPECT_EQ(w.error("plugin.remove", {{"plugin", "acme.notes"}}), "not_found");
}

TEST(PluginRemove, IsRefusedWhileAnAddonNeedsIt) {
  World w;
  Boxes boxes;
  w.addon("db");
  w.must("plugin.upgrade", {{"file", boxes.packed(Boxes::manifest("2.0.0", 1))}});
  EXPECT_NE(w.error_text("plugin.remove", {{"plugin", "test.box"}}).find("via addon destroy db"), std::string::npos);
  EXPECT_EQ(w.error("plugin.remove", {{"plugin", "test.box"}, {"version", "2.0.0"}}), "refused") << "it is in use";
  const std::string id = w.must("addon.status", {{"name", "db"}})["id"];
  w.must("addon.destroy", {{"name", "db"}});
  EXPECT_NE(w.error_text("plugin.remove", {{"plugin", "box"}}).find("via addon undelete " + id), std::string::npos)
      << "its final snapshot needs the plugin";
  const std::string kept = w.must("addon.snapshots", {{"name", id}})["items"][0]["id"];
  w.must("addon.snapshot.delete", {{"name", id}, {"snapshot", kept}});
  w.must("plugin.remove", {{"plugin", "box"}});
}

// An add-on with data of schema 1, bound and used, and the bundle of the next version.
struct Upgrade {
  World w;
  Boxes boxes;
  std::string id, runtime;
  Upgrade() {
    w.must("addon.create", {{"type", "box"}, {"name", "db"}, {"app", "api"}, {"bind", "DATABASE"}});
    w.must("deploy.create", {{"app", "api"}});
    id = w.must("addon.status", {{"name", "db"}})["id"];
    runtime = w.external();
  }
  std::string file = boxes.packed(Boxes::manifest("2.0.0", 2));
  json show() { return w.must("plugin.show", {{"plugin", "test.box"}}); }
  std::string served_by() { return reinterpret_cast<FakeAddonHost::Record*>(w.grant(runtime)->find("DATABASE")->instance.get())->build; }
};

TEST(PluginUpgrade, EveryAddonComesAlongAndTheWayBackIsKept) {
  Upgrade u;
  u.w.addon("second");
  const json plan = u.w.must("plugin.upgrade", {{"file", u.file}, {"plan", true}});
  EXPECT_EQ(plan["plan"]["touches"]["addons"].size(), 2U);
  EXPECT_EQ(plan["plan"]["touches"]["addons"][0]["to_schema"], 2);
  EXPECT_EQ(u.w.addons.calls["drain"], 0);
  const json done = u.w.must("plugin.upgrade", {{"file", u.file}, {"if_plan", plan["hash"]}});
  EXPECT_EQ(done["from"], "1.0.0");
  EXPECT_EQ(done["to"], "2.0.0");
  EXPECT_EQ(u.w.addons.data(u.id), "2:bytes");
  EXPECT_EQ(u.show()["version"], "2.0.0");
  EXPECT_EQ(u.served_by(), u.show()["sha256"]) << "the app's requests go to the new build";
  EXPECT_TRUE(u.w.addons.drained.empty());
  for (const auto& addon : done["addons"]) {
    const json snapshots = u.w.must("addon.snapshots", {{"name", addon["addon"]}})["items"];
    EXPECT_EQ(snapshots[0]["id"], addon["safety_snapshot"]);
  }
  // After a restart it is the same.
  u.w.restart();
  EXPECT_EQ(u.show()["version"], "2.0.0");
  EXPECT_TRUE(u.w.addons.open(**u.w.addons.instance(u.id, "box", "{}")));
  // A new add-on is made by the new version.
  u.w.addon("third");
  EXPECT_EQ(u.w.store->db().one([](const store::Row& r) { return r.integer(0); }, "SELECT storage_schema FROM addons WHERE name='third'").value(), 2);
}

TEST(PluginUpgrade, AVersionThatIsNotNewerIsRefused) {
  Upgrade u;
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.boxes.packed(Boxes::manifest("0.9.0", 1))}}), "refused");
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.boxes.packed(Boxes::manifest("1.0.0", 1))}}), "conflict");
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.boxes.packed(notes())}}), "not_found");
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.boxes.packed(Boxes::manifest("2.0.0", 1, "test.box", "crate"))}}), "refused") << "it lacks the type";
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"plugin", "test.box"}, {"to", "2.0.0"}}), "not_found");
  u.w.must("plugin.upgrade", {{"file", u.file}});
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.file}}), "conflict");
  EXPECT_EQ(u.w.error("plugin.rollback", {{"plugin", "nope"}}), "not_found");
}

TEST(PluginUpgrade, AFailureAtAnyStepLeavesTheOldVersionServingTheOldData) {
  for (const std::string step : {"drain", "take_snapshot", "suspend", "detached", "plan_migration", "migrate", "migrate late", "open"}) {
    Upgrade u;
    u.w.addon("second");
    u.w.addons.failing = {step};
    EXPECT_NE(u.w.error("plugin.upgrade", {{"file", u.file}}), "") << step;
    EXPECT_EQ(u.w.addons.data(u.id), "bytes") << step;
    u.w.addons.failing.clear();
    EXPECT_TRUE(u.w.addons.drained.empty()) << step;
    EXPECT_EQ(u.show()["version"], "1.0.0") << step;
    EXPECT_TRUE(u.w.addons.open(**u.w.addons.instance(u.id, "box", "{}"))) << step;
    EXPECT_FALSE(fs::exists(folder_of(u.w, "test.box", "2.0.0"))) << step;
    u.w.must("plugin.upgrade", {{"file", u.file}});
    EXPECT_EQ(u.w.addons.data(u.id), "2:bytes") << step;
  }
}

TEST(PluginUpgrade, AnAddonThatIsNotWellUnderTheNewVersionTakesItBack) {
  Upgrade u;
  u.w.addons.healthy = false;
  const std::string message = u.w.error_text("plugin.upgrade", {{"file", u.file}});
  EXPECT_NE(message.find("'db' is not well"), std::string::npos) << message;
  EXPECT_NE(message.find("Version 1.0.0 of test.box serves again; no data was lost."), std::string::npos) << message;
  EXPECT_EQ(u.w.addons.data(u.id), "bytes");
}

TEST(PluginUpgrade, OperationsThatDoNotEndStopItBeforeAnythingChanged) {
  Upgrade u;
  u.w.addons.quiet = false;
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.file}, {"drain_timeout_seconds", 0}}), "deadline_exceeded");
  EXPECT_TRUE(u.w.addons.drained.empty());
  EXPECT_EQ(u.w.addons.calls["migrate"], 0);
}

TEST(PluginUpgrade, ATypeWithoutSnapshotsKeepsItsStorageOrIsRefused) {
  Upgrade u;
  u.w.addons.snapshots = false;
  EXPECT_EQ(u.w.error("plugin.upgrade", {{"file", u.file}}), "refused") << "there would be no way back";
  EXPECT_EQ(u.w.must("plugin.upgrade", {{"file", u.boxes.packed(Boxes::manifest("1.1.0", 1))}})["addons"][0]["safety_snapshot"], nullptr);
}

TEST(PluginUpgrade, ADrainedAddonStaysDrained) {
  Upgrade u;
  u.w.must("addon.drain", {{"name", "db"}});
  u.w.must("plugin.upgrade", {{"file", u.file}});
  EXPECT_EQ(u.w.addons.drained, std::set<std::string>{u.id});
}

TEST(PluginUpgrade, WhatIsInUseByAnotherOperationIsLeftAlone) {
  Upgrade u;
  json refused;
  u.w.addons.before = [&](const std::string& step) {
    if (step != "before migrate") return;
    u.w.addons.before = nullptr;
    refused = {u.w.error("addon.snapshot", {{"name", "db"}}), u.w.error("addon.create", {{"type", "box"}, {"name", "new"}, {"app", "api"}}),
               u.w.error("plugin.upgrade", {{"file", u.file}}), u.w.error("plugin.remove", {{"plugin", "box"}}),
               u.w.error("plugin.untrust", {{"plugin", "box"}})};
  };
  u.w.must("plugin.upgrade", {{"file", u.file}});
  EXPECT_EQ(refused, json({"conflict", "conflict", "conflict", "conflict", "conflict"}));
}

TEST(PluginRollback, RestoresWhatTheAddonsHeldBeforeAndKeepsWhatCameSince) {
  Upgrade u;
  u.w.must("plugin.upgrade", {{"file", u.file}});
  ASSERT_TRUE(write_file_atomic(u.w.addons.folder(u.id) / "data", "2:newer"));
  const std::string refusal = u.w.error_text("plugin.rollback", {{"plugin", "test.box"}});
  EXPECT_NE(refusal.find("--yes"), std::string::npos) << refusal;
  const json plan = u.w.must("plugin.rollback", {{"plugin", "test.box"}, {"plan", true}});
  EXPECT_NE(plan["plan"]["warnings"][0].get<std::string>().find("'db'"), std::string::npos);
  EXPECT_EQ(u.w.addons.data(u.id), "2:newer");
  const json done = u.w.must("plugin.rollback", {{"plugin", "test.box"}, {"if_plan", plan["hash"]}});
  EXPECT_EQ(done["to"], "1.0.0");
  EXPECT_EQ(u.w.addons.data(u.id), "bytes");
  EXPECT_EQ(u.show()["version"], "1.0.0");
  EXPECT_EQ(u.served_by(), u.show()["sha256"]);
  // What was written since is there for the newer version.
  const std::string newer = done["addons"][0]["safety_snapshot"];
  const auto kept = *u.w.store->db().one([](const store::Row& r) { return r.integer(0); }, "SELECT storage_schema FROM snapshots WHERE id=?1", newer);
  EXPECT_EQ(kept, 2);
  EXPECT_EQ(u.w.error("plugin.rollback", {{"plugin", "test.box"}}), "refused") << "there is no version before it";
  u.w.must("plugin.upgrade", {{"plugin", "test.box"}, {"to", "2.0.0"}});
  u.w.must("addon.restore", {{"name", "db"}, {"snapshot", newer}, {"force_after_timeout", 0}});
  EXPECT_EQ(u.w.addons.data(u.id), "2:newer");
}

TEST(PluginRollback, OfTheSameSchemaTouchesNoData) {
  Upgrade u;
  u.w.must("plugin.upgrade", {{"file", u.boxes.packed(Boxes::manifest("1.1.0", 1))}});
  ASSERT_TRUE(write_file_atomic(u.w.addons.folder(u.id) / "data", "newer"));
  u.w.must("plugin.rollback", {{"plugin", "test.box"}});
  EXPECT_EQ(u.w.addons.data(u.id), "newer");
  EXPECT_EQ(u.show()["version"], "1.0.0");
}

TEST(PluginRollback, IsRefusedForAnAddonThatHasNothingToGoBackTo) {
  Upgrade u;
  u.w.must("plugin.upgrade", {{"file", u.file}});
  u.w.addon("later");
  ASSERT_TRUE(write_file_atomic(u.w.addons.folder(u.w.must("addon.status", {{"name", "later"}})["id"]) / "data", "2:x"));
  const std::string refusal = u.w.error_text("plugin.rollback", {{"plugin", "test.box"}, {"yes", true}});
  EXPECT_NE(refusal.find("made after the upgrade"), std::string::npos) << refusal;
}

TEST(PluginRollback, AFailureLeavesTheNewVersionServingTheNewData) {
  for (const std::string step : {"take_snapshot", "restore_snapshot", "open"}) {
    Upgrade u;
    u.w.must("plugin.upgrade", {{"file", u.file}});
    ASSERT_TRUE(write_file_atomic(u.w.addons.folder(u.id) / "data", "2:newer"));
    int failures = 0;
    u.w.addons.before = [&](const std::string& at) {
      if (at == "before " + step && failures++ == 0) u.w.addons.failing = {step};
      else u.w.addons.failing.clear();
    };
    EXPECT_NE(u.w.error("plugin.rollback", {{"plugin", "test.box"}, {"yes", true}}), "") << step;
    u.w.addons.before = nullptr;
    u.w.addons.failing.clear();
    EXPECT_EQ(u.w.addons.data(u.id), "2:newer") << step;
    EXPECT_EQ(u.show()["version"], "2.0.0") << step;
    EXPECT_TRUE(u.w.addons.drained.empty()) << step;
  }
}

TEST(PluginRollback, SnapshotsOfTheOlderSchemaAreNotRestoredUnderTheNewer) {
  Upgrade u;
  const std::string before = u.w.must("addon.snapshot", {{"name", "db"}})["id"];
  u.w.must("plugin.upgrade", {{"file", u.file}});
  const std::string refusal = u.w.error_text("addon.restore", {{"name", "db"}, {"snapshot", before}, {"force_after_timeout", 0}});
  EXPECT_NE(refusal.find("via plugin rollback"), std::string::npos) << refusal;
}

TEST(PluginTrust, AnotherBuildOfALoadedPluginTakesOverItsAddons) {
  Upgrade u;
  const fs::path same = u.boxes.built(Boxes::manifest("1.0.0", 1), "another build");
  u.w.must("plugin.trust", {{"file", same.string()}});
  EXPECT_EQ(u.served_by(), sha256_hex(*read_file(same / "box.so")));
  EXPECT_EQ(u.w.addons.data(u.id), "bytes");
  // One that would change what is on disk is for upgrade, which keeps a way back.
  const std::string refusal = u.w.error_text("plugin.trust", {{"file", u.boxes.built(Boxes::manifest("3.0.0", 2)).string()}});
  EXPECT_NE(refusal.find("via plugin upgrade"), std::string::npos) << refusal;
  EXPECT_NE(u.w.error_text("plugin.trust", {{"file", u.file}}).find("via plugin install"), std::string::npos);
}

TEST(PluginVerify, ABundleIsCheckedWithoutLoadingIt) {
  World w;
  Boxes boxes;
  const std::string file = boxes.packed(notes());
  const json good = w.must("plugin.verify", {{"file", file}});
  EXPECT_EQ(good["ok"], true) << good;
  std::string bytes = *read_file(file);
  bytes[600] = static_cast<char>(bytes[600] ^ 1);
  ASSERT_TRUE(write_file_atomic(file, bytes));
  EXPECT_EQ(w.must("plugin.verify", {{"file", file}})["ok"], false);
}

}  // namespace
}  // namespace via::test
