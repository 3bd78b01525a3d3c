// Loading is deny by default: each way a bundle can be wrong is refused with a message that says which.
#include <fcntl.h>
#include <unistd.h>

#include "bundle.hpp"

namespace via::plugins::test {
namespace {

// The refusal of load() under the library's own hash.
std::string refusal(const Bundle& b) {
  const auto loaded = Library::load(b.folder, b.pin());
  return loaded ? "" : loaded.error().message;
}

TEST(Library, AGoodBundleIsInspectedAndLoaded) {
  Bundle b("echo");
  for (const fs::path& path : {b.folder, b.manifest(), b.library, b.folder / ""}) {
    const Inspection seen = inspect(path);
    EXPECT_TRUE(seen.ok()) << seen.problem();
    EXPECT_EQ(seen.sha256.size(), 64U);
    EXPECT_EQ(seen.manifest.id, "test.echo");
  }
  const auto library = Library::load(b.folder, b.pin());
  ASSERT_TRUE(library) << library.error().message;
  EXPECT_EQ((*library)->manifest().types.at(0).id, "echo");
}

TEST(Library, EveryFaultIsRefusedWithItsReason) {
  const std::pair<const char*, const char*> faults[] = {
      {"missing_export", "does not export"}, {"wrong_major", "ABI 2.0"},        {"other_minor", "different ABI"},
      {"other_manifest", "manifest"},        {"short_entry", "too short"},      {"null_slot", "empty slot"},
      {"null_entry", "returned nothing"},    {"unresolved", "cannot be loaded"}};
  for (const auto& [name, reason] : faults) {
    const std::string message = refusal(Bundle(name));
    EXPECT_NE(message.find(reason), std::string::npos) << name << ": " << message;
  }
}

TEST(Library, AManifestForAnotherAbiIsRefusedWithoutTouchingTheLibrary) {
  Bundle b("echo");
  std::string text = b.manifest_text();
  text.replace(text.find("\"major\": 1"), 10, "\"major\": 2");
  b.set_manifest(text);
  fs::remove(b.library);
  std::ofstream(b.library) << "not a library";
  const Inspection seen = inspect(b.folder);
  EXPECT_FALSE(seen.ok());
  EXPECT_NE(seen.problem().find("ABI 2.0"), std::string::npos);
  EXPECT_NE(refusal(b).find("ABI 2.0"), std::string::npos);
}

TEST(Library, AFileThatOthersMayWriteIsRefused) {
  for (const mode_t mode : {0664U, 0646U, 0666U}) {
    Bundle b("echo");
    ::chmod(b.library.c_str(), mode);
    EXPECT_NE(refusal(b).find("written by other users"), std::string::npos) << mode;
    ::chmod(b.library.c_str(), 0644);
    ::chmod(b.manifest().c_str(), mode);
    EXPECT_NE(refusal(b).find("written by other users"), std::string::npos) << mode;
    ::chmod(b.manifest().c_str(), 0644);
    ::chmod(b.folder.c_str(), mode | 0111U);
    EXPECT_NE(refusal(b).find("written by other users"), std::string::npos) << mode;
  }
}

TEST(Library, AFileOfAnotherUserIsRefused) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a file away";
  Bundle b("echo");
  for (const fs::path& path : {b.library, b.manifest(), b.folder}) {
    const std::string pin = b.pin();
    ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
    const auto loaded = Library::load(b.folder, pin);
    ASSERT_FALSE(loaded) << path;
    EXPECT_NE(loaded.error().message.find("belongs to neither"), std::string::npos) << loaded.error().message;
    ASSERT_EQ(::chown(path.c_str(), 0, 0), 0);
  }
}

TEST(Library, SymbolicLinksAreRefused) {
  for (const bool manifest : {false, true}) {
    Bundle b("echo");
    const fs::path at = manifest ? b.manifest() : b.library;
    fs::rename(at, b.root.path() / "elsewhere");
    fs::create_symlink(b.root.path() / "elsewhere", at);
    EXPECT_NE(refusal(b).find("symbolic link"), std::string::npos);
  }
  Bundle b("echo");
  fs::rename(b.folder, b.root.path() / "elsewhere");
  fs::create_directory_symlink(b.root.path() / "elsewhere", b.folder);
  EXPECT_NE(refusal(b).find("not a folder"), std::string::npos);
}

TEST(Library, WhatIsNotARegularFileIsRefusedWithoutWaitingForIt) {
  Bundle b("echo");
  fs::remove(b.library);
  ASSERT_EQ(::mkfifo(b.library.c_str(), 0600), 0);
  EXPECT_NE(refusal(b).find("not a regular file"), std::string::npos);
  fs::remove(b.library);
  fs::create_directory(b.library);
  EXPECT_NE(refusal(b).find("not a regular file"), std::string::npos);
  fs::remove(b.library);
  EXPECT_NE(refusal(b).find("cannot be opened"), std::string::npos);
}

TEST(Library, ALibraryOver64MiBIsRefused) {
  Bundle b("echo");
  fs::resize_file(b.library, kMaximumLibraryBytes + 1);  // sparse
  EXPECT_NE(refusal(b).find("64 MiB"), std::string::npos);
}

TEST(Library, OnlyThePinnedBytesAreLoaded) {
  Bundle b("echo");
  const std::string pin = b.pin();
  EXPECT_FALSE(Library::load(b.folder, ""));
  EXPECT_FALSE(Library::load(b.folder, std::string(64, '0')));
  // Replaced between inspection and loading, by another good library.
  fs::remove(b.library);
  fs::copy_file(fs::path(VIA_TEST_PLUGINS) / "rival" / "rival.so", b.library);
  ::chmod(b.library.c_str(), 0644);
  const auto loaded = Library::load(b.folder, pin);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("SHA-256"), std::string::npos);
}

TEST(Library, WhatIsLoadedDoesNotChangeWithTheFile) {
  Bundle b("echo");
  const auto library = Library::load(b.folder, b.pin());
  ASSERT_TRUE(library);
  std::ofstream(b.library, std::ios::trunc) << "overwritten";
  HostParts host;
  const HostContext context(host.services, "test.echo", "", "");
  EXPECT_EQ((*library)->init(context.abi(), nullptr), VIA_OK);
  (*library)->deinit();
}

TEST(Library, EachOfSeveralLoadedLibrariesIsItself) {
  std::vector<std::unique_ptr<Bundle>> bundles;
  std::vector<std::shared_ptr<Library>> loaded;
  for (const char* name : {"echo", "rival", "init_fails", "create_fails"}) {
    bundles.push_back(std::make_unique<Bundle>(name));
    auto library = Library::load(bundles.back()->folder, bundles.back()->pin());
    ASSERT_TRUE(library) << name << ": " << library.error().message;
    loaded.push_back(*library);
    EXPECT_EQ((*library)->manifest().id, std::string("test.") + name);
  }
}

TEST(Library, AManifestThatIsMissingOrWrongIsRefused) {
  Bundle b("echo");
  const std::string good = b.manifest_text();
  for (const std::string& text : {std::string("{"), std::string(), "{\"id\":\"twice\"," + good.substr(1),
                                  good + std::string(2U << 20, ' ')}) {
    b.set_manifest(text);
    EXPECT_FALSE(inspect(b.folder).ok());
    EXPECT_NE(refusal(b).find("manifest"), std::string::npos);
  }
  b.set_manifest(good + " ");
  EXPECT_NE(refusal(b).find("not the one that it was built with"), std::string::npos) << "one byte more is another manifest";
  fs::remove(b.manifest());
  EXPECT_NE(refusal(b).find("manifest"), std::string::npos);
  EXPECT_FALSE(inspect(b.root.path() / "nothing").ok());
}

}  // namespace
}  // namespace via::plugins::test
