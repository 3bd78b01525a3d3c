// Provision, open, close, deprovision, describe, health, damage, and the library's entry through dlopen.
#include "unit/sqlite/fixture.hpp"

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <sys/stat.h>

#include <fstream>

namespace via::sqlite::test {
namespace {

TEST(Provision, IsIdempotentAndRefusesOtherArguments) {
  Addon a({.open = false});
  EXPECT_EQ(a.open().code(), "not_provisioned");
  EXPECT_EQ(a.provision().status, VIA_OK);
  EXPECT_EQ(a.provision().status, VIA_OK);
  EXPECT_EQ(a.provision("other").status, VIA_E_CONFLICT);
  struct stat st {};
  ASSERT_EQ(::stat(a.folder.path("data.sqlite").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_FALSE(std::filesystem::exists(a.folder.path("data.sqlite.partial")));
}

TEST(Provision, GoesOnWhereACrashLeftIt) {
  Addon a({.open = false});
  std::ofstream(a.folder.path("data.sqlite.partial")) << "half";
  EXPECT_EQ(a.provision().status, VIA_OK);
  std::filesystem::remove(a.folder.path("provision.json"));
  EXPECT_EQ(a.provision().status, VIA_OK);
  EXPECT_EQ(a.open().status, VIA_OK);
  EXPECT_EQ(a.query("SELECT 1").status, VIA_OK);
}

TEST(Close, KeepsTheDataAndCheckpoints) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(x); INSERT INTO t VALUES(1)").status, VIA_OK);
  EXPECT_EQ(a.close().status, VIA_OK);
  EXPECT_EQ(a.close().status, VIA_OK);
  EXPECT_FALSE(std::filesystem::exists(a.folder.path("data.sqlite-wal")));
  EXPECT_EQ(a.query("SELECT 1").status, VIA_E_PRECONDITION);
  EXPECT_EQ(a.open().status, VIA_OK);
  EXPECT_EQ(a.query("SELECT x FROM t").rows(), (Json{{1}}));
}

TEST(Deprovision, LeavesNothing) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(x)").status, VIA_OK);
  EXPECT_EQ(a.deprovision().status, VIA_OK);
  EXPECT_TRUE(std::filesystem::is_empty(a.folder.path()));
  EXPECT_EQ(a.deprovision().status, VIA_OK);
}

TEST(Open, RefusesADamagedOrReplacedFile) {
  Addon a({.open = false});
  ASSERT_EQ(a.provision().status, VIA_OK);
  const std::string path = a.folder.path("data.sqlite");
  std::filesystem::copy_file(path, a.folder.path("kept"));
  std::ofstream(path, std::ios::trunc) << "not a database at all";
  EXPECT_EQ(a.open().status, VIA_E_CORRUPT);
  std::filesystem::remove(path);
  std::filesystem::create_symlink("kept", path);
  EXPECT_EQ(a.open().status, VIA_E_CORRUPT);
  std::filesystem::remove(path);
  std::filesystem::create_hard_link(a.folder.path("kept"), path);
  EXPECT_EQ(a.open().status, VIA_E_CORRUPT);
}

TEST(Open, DamageInsideIsReportedWithoutAPath) {
  Addon a;
  ASSERT_EQ(a.setup("CREATE TABLE t(x); INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 5000) SELECT x FROM c").status, VIA_OK);
  ASSERT_EQ(a.close().status, VIA_OK);
  {
    std::fstream f(a.folder.path("data.sqlite"), std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(100);
    f << std::string(8000, '\xee');
  }
  ASSERT_EQ(a.open().status, VIA_OK);
  const Answer r = a.query("SELECT sum(x) FROM t");
  EXPECT_EQ(r.status, VIA_E_CORRUPT);
  EXPECT_EQ(r.message.find(a.folder.path()), std::string::npos);
}

TEST(Describe, NamesTheOperationsOfTheScopes) {
  Addon a;
  const auto describe = [&](std::vector<std::string_view> names) {
    std::vector<via_str> scopes;
    for (const auto n : names) scopes.push_back(testing::str(n));
    via_binding_args args{};
    args.struct_size = sizeof args;
    args.scopes = scopes.data();
    args.scopes_len = scopes.size();
    return Json::parse(a.control([&](FakeCall& c) { a.table()->describe(a.handle(), &args, c.get()); }).details);
  };
  EXPECT_EQ(describe({"read", "write"})["descriptor"]["operations"], (Json{"query", "execute", "setup", "batch"}));
  EXPECT_EQ(describe({"read"})["descriptor"]["operations"], (Json{"query"}));
  EXPECT_EQ(describe({"read"})["derived"]["_URL"], "${endpoint}");
}

TEST(Idle, OnlyHotDatabasesStayOpen) {
  const size_t cap = OpenList::get().cap;
  OpenList::get().cap = 2;
  std::vector<std::unique_ptr<Addon>> addons;
  for (int i = 0; i < 5; ++i) {
    addons.push_back(std::make_unique<Addon>());
    ASSERT_EQ(addons.back()->setup("CREATE TABLE t(x); INSERT INTO t VALUES(1)").status, VIA_OK);
  }
  // A closed one has checkpointed and has no log; each answers again all the same.
  const auto open = [&] {
    size_t n = 0;
    for (auto& a : addons) n += std::filesystem::exists(a->folder.path("data.sqlite-wal"));
    return n;
  };
  while (open() > 2) OpenList::get().trim(nullptr);
  for (auto& a : addons) EXPECT_EQ(a->query("SELECT x FROM t").rows(), (Json{{1}}));
  OpenList::get().cap = cap;
}

TEST(Library, TheEntryCreatesInstancesOfItsTypeOnly) {
  void* library = ::dlopen(VIA_SQLITE_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr) << ::dlerror();
  const auto entry_fn = reinterpret_cast<via_plugin_entry_fn>(::dlsym(library, VIA_PLUGIN_ENTRY_SYMBOL));
  ASSERT_NE(entry_fn, nullptr);
  const via_plugin_entry* entry = entry_fn();
  EXPECT_EQ(Json::parse(testing::to_string(entry->manifest_json))["id"], "via.sqlite");
  TempFolder folder;
  FakeHost host({folder.path()});
  ASSERT_EQ(entry->init(host.host(), nullptr), VIA_OK);
  via_instance* instance = nullptr;
  via_instance_spec spec{sizeof spec, 0, testing::str("mysql")};
  EXPECT_EQ(entry->create(host.host(), &spec, &instance, nullptr), VIA_E_NOT_FOUND);
  spec.type_id = testing::str("sqlite");
  ASSERT_EQ(entry->create(host.host(), &spec, &instance, nullptr), VIA_OK);
  EXPECT_NE(instance->api->get_extension(instance, VIA_EXT_OPS), nullptr);
  EXPECT_EQ(instance->api->get_extension(instance, "via.nosuch/1"), nullptr);
  instance->api->destroy(instance);
  entry->deinit();
  ::dlclose(library);
}

}  // namespace
}  // namespace via::sqlite::test
