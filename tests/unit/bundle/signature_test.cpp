// Signatures: right for one key and one set of files; key files that nobody else can read and nothing overwrites.
#include "support.hpp"

#include <sys/stat.h>

#include "core/base/digest.hpp"

namespace via::bundle::test {
namespace {

struct Keys {
  via::test::TemporaryFolder folder;
  fs::path file = folder.path() / "acme.key";
  SigningKey key = *SigningKey::create(file);
};

std::string packed(const Folder& folder, const SigningKey* key) { return *pack(*gather(folder.path(), key)); }

TEST(Signatures, ASignedBundleNamesItsKeyAndAnotherKeyMakesAnother) {
  const Keys ours, theirs;
  const Folder folder;
  const auto bundle = read(packed(folder, &ours.key));
  ASSERT_TRUE(bundle) << bundle.error().message;
  ASSERT_TRUE(bundle->signature);
  EXPECT_EQ(bundle->signature->key, ours.key.public_key());
  EXPECT_EQ(packed(folder, &ours.key), packed(folder, &ours.key)) << "Ed25519 needs no chance";
  EXPECT_NE(read(packed(folder, &theirs.key))->signature->key, ours.key.public_key());
  EXPECT_EQ(read(packed(folder, nullptr))->digest, bundle->digest) << "the signature is beside the files, not one of them";
}

TEST(Signatures, OneThatIsNotOfTheseFilesIsRefused) {
  const Keys keys;
  const Folder one, two(manifest_text("acme.notes", "1.3.0"));
  auto bundle = gather(one.path(), &keys.key);
  ASSERT_TRUE(bundle);
  bundle->files["SIGNATURE"] = gather(two.path(), &keys.key)->files["SIGNATURE"];
  const auto read_back = read(*pack(*bundle));
  ASSERT_FALSE(read_back);
  EXPECT_NE(read_back.error().message.find("changed after it was signed"), std::string::npos) << read_back.error().message;
}

TEST(Signatures, TheMessageIsThatOfAPluginBundleAndOfNothingElse) {
  const Keys keys;
  const Folder folder;
  auto bundle = gather(folder.path(), &keys.key);
  const std::string sums = bundle->files["SHA256SUMS"];
  const Signature signature = *bundle->signature;
  EXPECT_TRUE(verify(signature, "via-plugin-bundle/1\n" + sums)) << "docs/formats.md";
  EXPECT_FALSE(verify(signature, sums)) << "a signature of the bare list is another one";
  bundle->files["SIGNATURE"] = to_text(*keys.key.sign(sums));
  EXPECT_FALSE(read(*pack(*bundle)));
}

TEST(Signatures, TheirTextHasOneForm) {
  const Keys keys;
  const std::string text = to_text(*keys.key.sign("x"));
  ASSERT_TRUE(parse_signature(text));
  for (const std::string& other : {std::string(), text + "\n", text + " ", text.substr(0, text.size() - 1), " " + text,
                                   "via-plugin-signature/2" + text.substr(22), text.substr(0, 30) + text.substr(31)})
    EXPECT_FALSE(parse_signature(other)) << other;
}

TEST(Signatures, AKeyIsPrivateAndNeverOverwritten) {
  const Keys keys;
  struct stat st {};
  ASSERT_EQ(::stat(keys.file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  const std::string before = *read_file(keys.file);
  const auto again = SigningKey::create(keys.file);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, Code::conflict);
  EXPECT_EQ(*read_file(keys.file), before);
  // Neither when only one half is there.
  fs::remove(keys.file);
  EXPECT_EQ(SigningKey::create(keys.file).error().code, Code::conflict);
  EXPECT_FALSE(fs::exists(keys.file));
  const fs::path other = keys.folder.path() / "other";
  ASSERT_TRUE(write_file_atomic(other, "mine"));
  EXPECT_EQ(SigningKey::create(other).error().code, Code::conflict);
  EXPECT_FALSE(fs::exists(other.string() + ".pub"));
}

TEST(Signatures, KeyFilesAreReadBackAndOthersAreRefused) {
  const Keys keys;
  const auto back = SigningKey::read(keys.file);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->public_key(), keys.key.public_key());
  EXPECT_EQ(*read_public_key(*read_file(keys.file.string() + ".pub")), keys.key.public_key());
  EXPECT_EQ(fingerprint(keys.key.public_key()), sha256_hex(keys.key.public_key()));

  EXPECT_NE(read_public_key(*read_file(keys.file)).error().message.find("private key"), std::string::npos);
  EXPECT_EQ(read_public_key("nonsense").error().code, Code::bad_request);
  EXPECT_EQ(read_public_key("").error().code, Code::bad_request);
  EXPECT_EQ(SigningKey::read(keys.folder.path() / "none").error().code, Code::not_found);
  EXPECT_EQ(SigningKey::read(keys.file.string() + ".pub").error().code, Code::not_allowed) << "others can read it";
  ::chmod(keys.file.c_str(), 0640);
  EXPECT_EQ(SigningKey::read(keys.file).error().code, Code::not_allowed);
  const fs::path text = keys.folder.path() / "text";
  ASSERT_TRUE(write_file_atomic(text, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  EXPECT_EQ(SigningKey::read(text).error().code, Code::bad_request);
}

}  // namespace
}  // namespace via::bundle::test
