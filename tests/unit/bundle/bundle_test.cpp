// Bundles: the same plugin makes the same bytes, what was packed is what is read, and nothing else is taken.
#include "support.hpp"

#include <sys/stat.h>

#include "core/base/digest.hpp"

namespace via::bundle::test {
namespace {

std::string packed(const Folder& folder, const SigningKey* key = nullptr) {
  auto bundle = gather(folder.path(), key);
  if (!bundle) {
    ADD_FAILURE() << bundle.error().message;
    return {};
  }
  return *pack(*bundle);
}

void expect_refused(const std::string& archive, const std::string& rule, const std::string& what) {
  const auto bundle = read(archive);
  ASSERT_FALSE(bundle) << what;
  EXPECT_EQ(bundle.error().code, Code::refused) << what;
  EXPECT_NE(bundle.error().message.find(rule), std::string::npos) << what << ": " << bundle.error().message;
}

// An archive of these files, in this order, with the sums that belong to them.
std::string archive_of(std::vector<std::pair<std::string, std::string>> files) {
  std::map<std::string, std::string> sorted(files.begin(), files.end());
  std::string sums, out;
  for (const auto& [name, bytes] : sorted) sums += sha256_hex(bytes) + "  " + name + "\n";
  files.emplace_back("SHA256SUMS", sums);
  std::sort(files.begin(), files.end());
  for (const auto& [name, bytes] : files) out += entry(name, bytes);
  return out + kEnd;
}

TEST(Bundles, TheSamePluginMakesTheSameBytesWhateverItsFilesLookLike) {
  const Folder one;
  one.put("README.md", "# Notes\n");
  const std::string first = packed(one);
  const Folder two;
  two.put("README.md", "# Notes\n");
  two.put("notes.o", "left by the build");
  two.put("SHA256SUMS", "of another build\n");
  ::chmod((two.path() / "notes.so").c_str(), 0755);
  EXPECT_EQ(packed(two), first);
  EXPECT_EQ(first.find(one.path().string()), std::string::npos);
}

TEST(Bundles, TheBytesOfAGoldenBundleStayTheSame) {
  // What docs/formats.md promises: whoever packs this plugin, on any machine and in any year, makes this file.
  const Folder folder;
  EXPECT_EQ(sha256_hex(packed(folder)), "56a3511aa2fcd8c8d949a972fe72a3554e7e62c65af09f16959fb36fe3e14f17");
}

TEST(Bundles, WhatWasPackedIsRead) {
  const Folder folder;
  folder.put("README.md", "# Notes\n");
  folder.put("LICENSE", "MIT\n");
  folder.put("check.json", "{}\n");
  const auto bundle = read(packed(folder));
  ASSERT_TRUE(bundle) << bundle.error().message;
  EXPECT_EQ(bundle->manifest.id, "acme.notes");
  EXPECT_EQ(bundle->file_name(), "acme.notes-1.2.0.viaplugin");
  EXPECT_EQ(bundle->files.size(), 6U);
  EXPECT_EQ(bundle->files.at("notes.so"), *read_file(folder.path() / "notes.so"));
  EXPECT_EQ(bundle->library_sha256, sha256_hex(*read_file(folder.path() / "notes.so")));
  EXPECT_FALSE(bundle->signature);
  // Unpacked it is the same bundle.
  const Folder out;
  for (const auto& [name, bytes] : bundle->files) out.put(name, bytes);
  const auto again = read_unpacked(out.path());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->digest, bundle->digest);
}

TEST(Bundles, AFolderThatHoldsNoPluginIsNotPacked) {
  via::test::TemporaryFolder empty;
  EXPECT_EQ(gather(empty.path(), nullptr).error().code, Code::not_found);
  EXPECT_EQ(gather(empty.path() / "none", nullptr).error().code, Code::not_found);
  const Folder no_library;
  fs::remove(no_library.path() / "notes.so");
  EXPECT_NE(gather(no_library.path(), nullptr).error().message.find("Build the plugin first"), std::string::npos);
  const Folder other;
  other.put("notes.so", "built with another manifest");
  EXPECT_NE(gather(other.path(), nullptr).error().message.find("was not built with its manifest"), std::string::npos);
  const Folder link;
  fs::remove(link.path() / "notes.so");
  fs::create_symlink("/etc/passwd", link.path() / "notes.so");
  EXPECT_NE(gather(link.path(), nullptr).error().message.find("no regular file"), std::string::npos);
}

TEST(HostileBundles, EveryShorterAndEveryLongerOneIsRefused) {
  const std::string good = packed(Folder());
  ASSERT_TRUE(read(good));
  for (std::size_t size = 0; size < good.size(); size += size < 2048 ? 97 : 511)
    ASSERT_FALSE(read(std::string_view(good).substr(0, size))) << size;
  expect_refused(good.substr(0, good.size() - 1), "cut off", "one byte is missing");
  expect_refused(good + '\0', "follows", "one byte more");
  expect_refused(good + kEnd, "follows", "zeros behind the end");
  expect_refused(good + good, "follows", "two of them");
}

TEST(HostileBundles, EveryBitThatIsChangedIsFound) {
  const Folder folder;
  const std::string good = packed(folder);
  for (std::size_t at = 0; at < good.size(); at += 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    ASSERT_FALSE(read(bad)) << at;
  }
}

TEST(HostileBundles, NamesThatBelongToNoBundleAreRefused) {
  const std::string text = manifest_text(), library = "x" + text;
  for (const std::string name : {"../evil.so", "/etc/passwd", "a/b", ".hidden", "-rf", "notes.so/", "NOTES\n", "manifest.json ", "a\\b"})
    expect_refused(archive_of({{"manifest.json", text}, {"notes.so", library}, {name, "x"}}), "name", name);
  expect_refused(archive_of({{"manifest.json", text}, {"notes.so", library}, {"other.so", "x"}}), "belongs to no bundle", "two libraries");
  expect_refused(archive_of({{"manifest.json", text}}), "no library", "no library");
  expect_refused(archive_of({{"notes.so", library}}), "no manifest", "no manifest");
  expect_refused(archive_of({{"manifest.json", text}, {"notes.so", "built with another"}}), "not built with", "another manifest");
  expect_refused(archive_of({{"manifest.json", "{}"}, {"notes.so", "{}"}}), "manifest", "a manifest that says nothing");
  expect_refused(archive_of({{"manifest.json", manifest_text("../../etc")}, {"notes.so", manifest_text("../../etc")}}), "\"id\"", "an id that is a path");
  expect_refused(archive_of({{"manifest.json", manifest_text("a", "..")}, {"notes.so", manifest_text("a", "..")}}), "\"version\"",
                 "a version that is a path");
}

TEST(HostileBundles, FilesThatStandTwiceOrOutOfOrderAreRefused) {
  const std::string text = manifest_text(), library = "x" + text;
  expect_refused(entry("manifest.json", text) + entry("manifest.json", text) + kEnd, "twice", "twice");
  expect_refused(entry("notes.so", library) + entry("manifest.json", text) + kEnd, "order", "out of order");
}

TEST(HostileBundles, SumsThatLieAreRefused) {
  const std::string text = manifest_text(), library = "x" + text;
  const auto with = [&](const std::string& sums) {
    return entry("SHA256SUMS", sums) + entry("manifest.json", text) + entry("notes.so", library) + kEnd;
  };
  const std::string right = sha256_hex(text) + "  manifest.json\n" + sha256_hex(library) + "  notes.so\n";
  ASSERT_TRUE(read(with(right)));
  expect_refused(with(""), "SHA256SUMS", "empty");
  expect_refused(with(sha256_hex(text) + "  manifest.json\n"), "SHA256SUMS", "the library is left out");
  expect_refused(with(right + sha256_hex("") + "  LICENSE\n"), "SHA256SUMS", "a file that is not there");
  expect_refused(with(sha256_hex("") + "  manifest.json\n" + sha256_hex(library) + "  notes.so\n"), "SHA256SUMS", "another hash");
  expect_refused(entry("manifest.json", text) + entry("notes.so", library) + kEnd, "no SHA256SUMS", "none");
}

TEST(HostileBundles, AnythingButAPlainFileIsRefused) {
  const std::string text = manifest_text();
  // Byte 156 of a header is its kind: links, devices, folders, pax and GNU records, sparse files.
  for (const char kind : std::string("123456789xgLKSDMVN\0", 19)) {
    std::string head = entry("notes.so", "x" + text);
    head[156] = kind;
    expect_refused(entry("manifest.json", text) + head + kEnd, "plain file", std::string(1, kind));
  }
  for (const std::size_t at : {100U, 108U, 136U, 157U, 265U, 345U}) {  // mode, owner, time, link, owner's name, prefix
    std::string head = entry("notes.so", "x" + text);
    head[at] = '7';
    expect_refused(entry("manifest.json", text) + head + kEnd, "plain file", std::to_string(at));
  }
}

TEST(HostileBundles, DeclaredSizesAreHeldAgainstWhatIsThereAndWhatIsAllowed) {
  const std::string text = manifest_text();
  const auto header = [](std::string_view name, std::uint64_t size) {
    const auto block = tar_header(name, size);
    return std::string(block->data(), block->size());
  };
  // A library of 8 GiB less one byte, in 512 bytes.
  expect_refused(entry("manifest.json", text) + header("notes.so", (1ULL << 33) - 1), "larger", "8 GiB");
  expect_refused(header("manifest.json", 2U << 20) + std::string(1024, ' '), "larger", "a manifest of 2 MiB");
  expect_refused(entry("manifest.json", text) + header("notes.so", 64U << 20), "cut off", "64 MiB that are not there");
  std::string base256 = header("notes.so", 1);
  base256[124] = static_cast<char>(0x80);
  expect_refused(entry("manifest.json", text) + base256, "plain file", "a size of another form");
  expect_refused(std::string((73U << 20), '\0'), "72 MiB", "too large");
  // Nothing is compressed, so there is nothing that grows: what is read is never more than what was given.
}

TEST(HostileBundles, FilesThatAreNoArchiveAreRefused) {
  via::test::TemporaryFolder folder;
  EXPECT_EQ(read_archive(folder.path() / "none").error().code, Code::not_found);
  EXPECT_EQ(read_archive(folder.path()).error().code, Code::refused);
  fs::create_symlink("/dev/zero", folder.path() / "link");
  EXPECT_EQ(read_archive(folder.path() / "link").error().code, Code::refused);
  ASSERT_EQ(::mkfifo((folder.path() / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_archive(folder.path() / "pipe").error().code, Code::refused) << "and it does not wait for one";
  expect_refused("PK\x03\x04" + std::string(2000, 'x'), "plain file", "a zip");
  expect_refused("", "cut off", "nothing");
  expect_refused(kEnd, "no manifest", "an empty archive");
}

}  // namespace
}  // namespace via::bundle::test
