#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/pem.h>

#include "support.hpp"

namespace via::identity::test {
namespace {

constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;

class KeysFolder : public TokenTest {
 protected:
  std::filesystem::path path() const { return folder.path() / "keys"; }
  std::filesystem::path pem() const { return path() / (first_kid + ".pem"); }
  void SetUp() override {
    TokenTest::SetUp();
    first_kid = kid();
  }
  // Opens it again; the error's message, or "" when it opened.
  std::string reopen(bool create = true) {
    keys.reset();
    auto opened = Keys::open(path(), create, clock, entropy);
    if (!opened) {
      const std::string& message = opened.error().message;
      EXPECT_EQ(message.find(folder.path().string()), std::string::npos) << message;
      EXPECT_EQ(message.find(first_kid), std::string::npos) << message;
      EXPECT_EQ(message.find("BEGIN"), std::string::npos) << message;
      return message;
    }
    keys = std::move(*opened);
    return {};
  }
  static void write(const std::filesystem::path& file, std::string_view text, mode_t mode = 0600) {
    std::filesystem::remove(file);
    std::ofstream(file, std::ios::binary) << text;
    ::chmod(file.c_str(), mode);
  }
  static unsigned mode_of(const std::filesystem::path& file) {
    struct stat st {};
    ::lstat(file.c_str(), &st);
    return st.st_mode & 07777U;
  }
  std::string first_kid;
};

std::string pem_of(const char* curve) {
  EvpKey key(EVP_EC_gen(curve));
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string out(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return out;
}

TEST_F(KeysFolder, FirstKeyIsActiveAndPrivate) {
  const auto list = keys->list();
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].state, KeyState::active);
  EXPECT_EQ(list[0].created_at, clock.unix_ms());
  EXPECT_EQ(list[0].activated_at, clock.unix_ms());
  EXPECT_EQ(list[0].retires_at, 0);
  EXPECT_TRUE(list[0].kid.starts_with("key_"));
  EXPECT_EQ(mode_of(path()), 0700U);
  EXPECT_EQ(mode_of(pem()), 0600U);
  EXPECT_EQ(mode_of(path() / "keys.json"), 0600U);
  EXPECT_TRUE(text_of_file(pem()).starts_with("-----BEGIN PRIVATE KEY-----\n"));
  EXPECT_EQ(text_of_file(path() / "keys.json").find("PRIVATE"), std::string::npos);
}

TEST_F(KeysFolder, TokensOutliveARestart) {
  const std::string token = good();
  ASSERT_EQ(reopen(false), "");
  const TokenVerifier again(*keys, std::string(kIssuer), clock);
  EXPECT_TRUE(again.verify(token));
  EXPECT_EQ(kid(), first_kid);
}

TEST_F(KeysFolder, RotationKeepsTheOldKeyForADay) {
  const auto before = keys->current();
  const std::string token = good();
  clock.advance_ms(1000);
  const auto rotated = keys->rotate();
  ASSERT_TRUE(rotated);
  EXPECT_NE(keys->current(), before);
  EXPECT_NE(rotated->kid, first_kid);
  EXPECT_EQ(rotated->state, KeyState::active);
  auto list = keys->list();
  ASSERT_EQ(list.size(), 2U);
  EXPECT_EQ(list[0].state, KeyState::retiring);
  EXPECT_EQ(list[0].retires_at, clock.unix_ms() + kDayMs);
  EXPECT_EQ(list[1].state, KeyState::active);
  EXPECT_EQ(kid(), rotated->kid);
  EXPECT_EQ(verdict(token), "ok");
  ASSERT_EQ(reopen(), "");
  list = keys->list();
  EXPECT_EQ(list[0].state, KeyState::retiring);
  EXPECT_EQ(list[1].state, KeyState::active);

  clock.advance_ms(kDayMs - 1);
  EXPECT_NE(keys->current()->find(first_kid, clock.unix_ms()), nullptr);
  clock.advance_ms(1);
  EXPECT_EQ(keys->current()->find(first_kid, clock.unix_ms()), nullptr);
  EXPECT_EQ(keys->list()[0].state, KeyState::revoked);
  EXPECT_EQ(keys->jwks().find(first_kid), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(pem()));
  ASSERT_EQ(reopen(), "");
  EXPECT_EQ(keys->list()[0].state, KeyState::revoked);
  EXPECT_FALSE(std::filesystem::exists(pem()));
}

TEST_F(KeysFolder, RevokeEndsARetiringKeyAndNeverTheActiveOne) {
  EXPECT_EQ(keys->revoke(first_kid).error().code, Code::refused);
  EXPECT_EQ(keys->revoke("key_CANARY").error().code, Code::not_found);
  EXPECT_EQ(keys->revoke("key_CANARY").error().message.find("CANARY"), std::string::npos);
  ASSERT_TRUE(keys->rotate());
  const auto before = keys->current();
  ASSERT_TRUE(keys->revoke(first_kid));
  EXPECT_NE(keys->current(), before);
  EXPECT_EQ(keys->list()[0].state, KeyState::revoked);
  EXPECT_FALSE(std::filesystem::exists(pem()));
  EXPECT_TRUE(keys->revoke(first_kid));  // again is no failure
  ASSERT_EQ(reopen(), "");
  ASSERT_EQ(keys->list().size(), 2U);
  EXPECT_EQ(keys->list()[0].state, KeyState::revoked);
}

TEST_F(KeysFolder, RotationThatCannotBeWrittenChangesNothing) {
  std::filesystem::rename(path(), folder.path() / "gone");
  const auto before = keys->current();
  EXPECT_FALSE(keys->rotate());
  EXPECT_EQ(keys->current(), before);
  EXPECT_EQ(keys->list().size(), 1U);
  EXPECT_EQ(keys->list()[0].state, KeyState::active);
}

TEST_F(KeysFolder, ManyRotationsReload) {
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(keys->rotate());
    clock.advance_ms(kDayMs / 4);
  }
  ASSERT_EQ(reopen(), "");
  EXPECT_EQ(keys->list().size(), 21U);
  EXPECT_EQ(keys->current()->size(), 4U);
}

// J93: a file that is not exactly right keeps the host from starting.
TEST_F(KeysFolder, DamagedKeyFilesAreRefused) {
  const std::string text = text_of_file(pem());
  for (const std::string& bad :
       {std::string(), text.substr(0, text.size() / 2), text.substr(0, text.size() - 1), text + "x", text + text, '\n' + text,
        std::string(1000, 'x'), std::string(1000, '\0'), pem_of("P-384"), pem_of("secp256k1"), pem_of("P-256"),
        std::string("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")}) {
    write(pem(), bad);
    EXPECT_NE(reopen(), "") << bad.size();
  }
  std::string flipped = text;
  flipped[60] = flipped[60] == 'A' ? 'B' : 'A';
  write(pem(), flipped);
  EXPECT_NE(reopen(), "");
  write(pem(), text);
  EXPECT_EQ(reopen(), "");
}

TEST_F(KeysFolder, OpenForeignAndLinkedKeyFilesAreRefused) {
  for (const auto& file : {pem(), path() / "keys.json"}) {
    const std::string text = text_of_file(file);
    for (const mode_t mode : {0644, 0640, 0604, 0660, 0000}) {
      ::chmod(file.c_str(), mode);
      EXPECT_NE(reopen(), "") << std::oct << mode;
    }
    ::chmod(file.c_str(), 0600);
    const auto elsewhere = folder.path() / "elsewhere";
    std::filesystem::rename(file, elsewhere);
    EXPECT_NE(reopen(), "");  // missing
    std::filesystem::create_symlink(elsewhere, file);
    EXPECT_NE(reopen(), "");
    std::filesystem::remove(file);
    std::filesystem::create_hard_link(elsewhere, file);
    EXPECT_NE(reopen(), "");
    std::filesystem::remove(file);
    std::filesystem::create_directory(file);
    EXPECT_NE(reopen(), "");
    std::filesystem::remove(file);
    ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
    EXPECT_NE(reopen(), "");
    std::filesystem::remove(file);
    std::filesystem::rename(elsewhere, file);
    EXPECT_EQ(reopen(), "");
    if (::geteuid() == 0) {
      ASSERT_EQ(::chown(file.c_str(), 12345, 0), 0);
      EXPECT_NE(reopen(), "");
      ASSERT_EQ(::chown(file.c_str(), 0, 0), 0);
      EXPECT_EQ(reopen(), "");
    }
  }
}

TEST_F(KeysFolder, DamagedListsAreRefused) {
  const auto file = path() / "keys.json";
  const std::string text = text_of_file(file);
  const auto tree = nlohmann::json::parse(text);
  std::vector<std::string> bad = {"", "{", "[]", "null", text.substr(0, text.size() / 2), text + "{}",
                                  R"({"format":2,"keys":[]})"};
  const auto with = [&](const auto& change) {
    auto copy = tree;
    change(copy["keys"]);
    bad.push_back(copy.dump());
  };
  with([](auto& list) { list.push_back(list[0]); });                          // the same kid twice
  with([](auto& list) { list[0]["state"] = "retiring"; });                    // none active
  with([](auto& list) { list[0]["state"] = "CANARY"; });
  with([](auto& list) { list[0]["kid"] = "../../etc/passwd"; });
  with([](auto& list) { list[0]["kid"] = "key_00000000000000000000000000"; });  // no such file
  with([](auto& list) { list[0]["x"] = list[0]["y"]; });                      // another key's point
  with([](auto& list) { list[0].erase("created_at"); });
  with([](auto& list) { list[0]["retires_at"] = "0"; });
  with([](auto& list) { list[0] = 7; });
  for (const std::string& other : bad) {
    write(file, other);
    EXPECT_NE(reopen(), "") << other;
  }
  write(file, text);
  EXPECT_EQ(reopen(), "");
}

TEST_F(KeysFolder, FolderMustBePrivate) {
  ::chmod(path().c_str(), 0755);
  EXPECT_NE(reopen(), "");
  ::chmod(path().c_str(), 0700);
  const auto real = folder.path() / "real";
  std::filesystem::rename(path(), real);
  EXPECT_NE(reopen(false), "");
  std::filesystem::create_directory_symlink(real, path());
  EXPECT_NE(reopen(), "");
}

TEST_F(KeysFolder, NothingIsMadeUnlessAsked) {
  const auto other = folder.path() / "other";
  EXPECT_EQ(Keys::open(other, false, clock, entropy).error().code, Code::not_found);
  EXPECT_FALSE(std::filesystem::exists(other));
  std::filesystem::create_directory(other);
  ::chmod(other.c_str(), 0700);
  EXPECT_EQ(Keys::open(other, false, clock, entropy).error().code, Code::not_found);
  EXPECT_TRUE(std::filesystem::is_empty(other));
}

TEST_F(KeysFolder, FilesOfOthersInTheFolderAreLeftAlone) {
  const auto other = folder.path() / "other";
  std::filesystem::create_directory(other);
  ::chmod(other.c_str(), 0700);
  write(other / "master.key", "secret");
  EXPECT_TRUE(Keys::open(other, true, clock, entropy));
  EXPECT_EQ(text_of_file(other / "master.key"), "secret");
}

// A crash between the files of the first start, and between those of a rotation.
TEST_F(KeysFolder, CutOffWritesAreFinishedOrForgotten) {
  write(path() / ".key_x.pem.partial", "half a key");
  write(path() / "key_01jd5000000000000000000000.pem", text_of_file(pem()));
  EXPECT_EQ(reopen(), "");
  EXPECT_EQ(kid(), first_kid);
  EXPECT_FALSE(std::filesystem::exists(path() / ".key_x.pem.partial"));

  write(path() / "keys.json", R"({"format":1,"keys":[]})");
  EXPECT_EQ(reopen(), "");
  EXPECT_NE(kid(), first_kid);

  std::filesystem::remove(path() / "keys.json");  // lost, not cut off
  EXPECT_NE(reopen(), "");
}

}  // namespace
}  // namespace via::identity::test
