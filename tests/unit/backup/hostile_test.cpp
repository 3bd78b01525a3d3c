// Archives that somebody else made: groups A and B of the hostile cases, whose numbers stand behind the tests' names.
// Each is refused whole: no staging folder stays, and the error repeats nothing of the archive.
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <initializer_list>
#include <optional>

#include "support.hpp"

namespace via::backup::test {
namespace {

using Members = std::vector<std::pair<std::string, std::string>>;

const Members kGood{{"control-plane.db", "the control plane"}, {kData + "one.db", std::string(1500, 'd')}};

std::string archive_of(const std::string& manifest, const Members& members) {
  std::string out = member("manifest.json", manifest);
  for (const auto& [name, bytes] : members) out += member(name, bytes);
  return out + kEnd;
}
std::string text_of(const Manifest& manifest) { return *text(manifest); }
std::string good() { return archive_of(text_of(manifest_of(kGood)), kGood); }

class Hostile : public ::testing::Test {
 protected:
  // The error of taking these bytes, by whichever step gives it; nothing when they are taken.
  std::optional<Error> take(std::string_view bytes, const Secret& passphrase = {}) {
    spill(folder_.path() / "archive", bytes);
    const fs::path staging = folder_.path() / "staging";
    std::optional<Error> error;
    auto reader = ArchiveReader::open(folder_.path() / "archive", passphrase);
    if (!reader) {
      error = reader.error();
    } else if (auto done = reader->extract_all(staging, {}); !done) {
      error = done.error();
    }
    if (error) {
      EXPECT_FALSE(fs::exists(staging)) << error->message;
    }
    fs::remove_all(staging);
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder_.path())) ++entries;
    EXPECT_EQ(entries, 1U);
    return error;
  }
  ::testing::AssertionResult refused(std::string_view bytes) {
    const auto error = take(bytes);
    if (!error) return ::testing::AssertionFailure() << "it was taken";
    if (error->code != Code::refused) return ::testing::AssertionFailure() << error->wire_name() << ": " << error->message;
    if (error->message.find(kCanary) != std::string::npos)
      return ::testing::AssertionFailure() << "the error repeats the archive: " << error->message;
    return ::testing::AssertionSuccess();
  }
  // The good archive with its second member's header changed.
  std::string with_header(const std::string& changed) {
    std::string bytes = good();
    const std::string original = header(kGood[1].first, kGood[1].second.size());
    const auto at = bytes.find(original);
    EXPECT_NE(at, std::string::npos);
    return bytes.replace(at, 512, changed);
  }
  via::test::TemporaryFolder folder_;
};

TEST_F(Hostile, TheHandMadeArchiveIsTakenSoThatRefusalsMeanSomething) {
  EXPECT_FALSE(take(good()));
  EXPECT_FALSE(take(zstd(good())));
}

TEST_F(Hostile, NamesThatLeaveTheirFolderAreRefused) {  // A01, A03, A11
  const std::string canary(kCanary);
  for (const std::string& name : std::initializer_list<std::string>{
        "../control-plane.db", "data/../../" + canary, "data/./" + canary, "data//" + canary, canary + "/",
        std::string(), "/etc/" + canary, kData + "../" + canary, kData + "..", kData + ".", kData + "/" + canary, kData,
        std::string("a\0b", 3), kData + std::string("a\0b", 3), kData + "a\nb", kData + "\x1b[2J", kData + "a\\b",
        std::string("C:\\x"), kData + "C:", kData + "\xff\xfe", kData + "\xc3\xa9", kData + "e\xcc\x81",
        std::string("Control-plane.db"), kData + "One.db", std::string("control-plane.db/x"), std::string("manifest.json"),
        "addons/BOX/" + kAddon + "/data/x", "addons/box/addon_x/data/x", "addons/box/" + kAddon + "/trash/x",
        "addons/box/" + kAddon + "/data/deep/x", "keys/../x", "keys/.hidden", kData + std::string(101, 'a'),
        std::string("plugins/acme/x.so"), std::string("plugins/../1.0/x.so"), std::string("plugins/acme/../x.so"),
        std::string("plugins/acme/1.0/.hidden"), std::string("plugins/acme/1.0/deep/x.so"), std::string("plugins/Acme/1.0/x.so")}) {
    const Members members{kGood[0], {name, "x"}};
    Manifest manifest = manifest_of(members);
    EXPECT_FALSE(is_file_name(name)) << name;
    EXPECT_FALSE(check(manifest, true)) << name;
    if (const auto raw = text(manifest)) {
      if (name.size() <= 100) {
        EXPECT_TRUE(refused(archive_of(*raw, members))) << name;
      }
    }
    // The manifest is good, and the container says another name.
    if (name.size() <= 100) {
      EXPECT_TRUE(refused(with_header(header(name, kGood[1].second.size())))) << name;
    }
  }
}

TEST_F(Hostile, EveryKindButARegularFileIsRefused) {  // A05, A07, A09
  for (const char type : std::string("\0" "1234567ABDKLMNSVXgx\xff", 21)) {
    EXPECT_TRUE(refused(with_header(header(kGood[1].first, kGood[1].second.size(), type)))) << static_cast<int>(type);
    EXPECT_TRUE(refused(with_header(header(kGood[1].first, kGood[1].second.size(), type, "/tmp/" + std::string(kCanary)))))
        << static_cast<int>(type);
  }
  EXPECT_TRUE(refused(with_header(header(kGood[1].first, kGood[1].second.size(), '0', kCanary))));
  // Extension headers in front of a good member, and in front of everything.
  const std::string manifest = text_of(manifest_of(kGood));
  for (const char* record : {"30 path=../../canary5151/x.db\n", "22 linkpath=canary5151\n", "12 size=9999\n"}) {
    for (const char type : {'x', 'g', 'L', 'K'}) {
      const std::string extension = header("PaxHeaders/x", std::string_view(record).size(), type) + padded(record);
      EXPECT_TRUE(refused(member("manifest.json", manifest) + extension + member(kGood[0].first, kGood[0].second) +
                          member(kGood[1].first, kGood[1].second) + kEnd));
      EXPECT_TRUE(refused(extension + archive_of(manifest, kGood)));
    }
  }
  std::string gnu = header(kGood[1].first, kGood[1].second.size());
  gnu.replace(257, 8, std::string_view("ustar  \0", 8));
  fix_checksum(gnu);
  EXPECT_TRUE(refused(with_header(gnu)));
}

TEST_F(Hostile, AHeaderDiffersInNoByteFromTheOneThatItsNameAndSizeMake) {
  const std::string original = header(kGood[1].first, kGood[1].second.size());
  for (std::size_t i = 0; i < 512; ++i) {
    std::string changed = original;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_TRUE(refused(with_header(changed))) << i;
    if (i < 148 || i >= 156) {
      fix_checksum(changed);
      EXPECT_TRUE(refused(with_header(changed))) << i;
    }
  }
}

TEST_F(Hostile, PipesLinksAndFoldersInThePlaceOfAnArchiveAreRefusedWithoutWaiting) {  // A07
  const fs::path path = folder_.path() / "thing";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(ArchiveReader::open(path, {}).error().code, Code::refused);
  fs::remove(path);
  fs::create_symlink("/dev/zero", path);
  EXPECT_EQ(ArchiveReader::open(path, {}).error().code, Code::refused);
  fs::remove(path);
  fs::create_directory(path);
  EXPECT_FALSE(ArchiveReader::open(path, {}));
  EXPECT_EQ(ArchiveReader::open(folder_.path() / "none", {}).error().code, Code::not_found);
}

TEST_F(Hostile, AStagingFolderThatIsThereIsNeverUsed) {  // A05
  spill(folder_.path() / "a", good());
  auto reader = ArchiveReader::open(folder_.path() / "a", {});
  ASSERT_TRUE(reader);
  fs::create_directory(folder_.path() / "s");
  fs::create_symlink("s", folder_.path() / "link");
  EXPECT_EQ(reader->extract_all(folder_.path() / "s", {}).error().code, Code::conflict);
  EXPECT_EQ(reader->extract_all(folder_.path() / "link", {}).error().code, Code::conflict);
  EXPECT_TRUE(fs::is_empty(folder_.path() / "s"));
}

TEST_F(Hostile, MembersAreExactlyThoseOfTheManifestInItsOrder) {  // A13
  const std::string manifest = text_of(manifest_of(kGood));
  EXPECT_TRUE(refused(archive_of(manifest, {kGood[0]})));
  EXPECT_TRUE(refused(archive_of(manifest, {kGood[1], kGood[0]})));
  EXPECT_TRUE(refused(archive_of(manifest, {kGood[0], kGood[1], {kData + "two.db", "x"}})));
  EXPECT_TRUE(refused(archive_of(manifest, {kGood[0], kGood[0], kGood[1]})));
  EXPECT_TRUE(refused(archive_of(manifest, {kGood[0], kGood[1], kGood[1]})));
  EXPECT_TRUE(refused(archive_of(manifest, {})));
  EXPECT_TRUE(refused(member(kGood[0].first, kGood[0].second) + archive_of(manifest, kGood)));
  EXPECT_TRUE(refused(""));
  EXPECT_TRUE(refused(kEnd));
  EXPECT_TRUE(refused("PK\3\4"));
  // What comes after the end.
  EXPECT_TRUE(refused(good() + "x"));
  EXPECT_TRUE(refused(good() + std::string(512, '\0')));
  EXPECT_TRUE(refused(good() + good()));
  EXPECT_TRUE(refused(zstd(good()) + "x"));
  EXPECT_TRUE(refused(zstd(good()) + zstd("x")));
  EXPECT_TRUE(refused(zstd(good(), 2)));
  // Padding that carries something.
  std::string padding = good();
  padding[padding.size() - 1025] = 'x';
  EXPECT_TRUE(refused(padding));
}

TEST_F(Hostile, ManifestsWhoseMembersContradictEachOtherAreRefused) {
  const auto wrong = [&](const char* what, const auto& change) {
    Manifest manifest = manifest_of(kGood);
    change(manifest);
    EXPECT_FALSE(check(manifest, false)) << what;
    EXPECT_TRUE(refused(archive_of(text_of(manifest), kGood))) << what;
  };
  wrong("total", [](Manifest& m) { m.total_bytes += 1; });
  wrong("no control plane", [](Manifest& m) { m.members.erase(m.members.begin()); m.total_bytes = 1500; });
  wrong("unknown add-on", [](Manifest& m) { m.addons.clear(); });
  wrong("other type", [](Manifest& m) { m.addons[0].type = "other"; });
  wrong("twice", [](Manifest& m) { m.addons.push_back(m.addons[0]); });
  wrong("same file", [](Manifest& m) { m.members.push_back(m.members[1]); m.total_bytes += 1500; });
  wrong("hash form", [](Manifest& m) { m.members[1].sha256[0] = 'A'; });
  wrong("hash length", [](Manifest& m) { m.members[1].sha256.pop_back(); });
  wrong("first part is two", [](Manifest& m) { m.members[1].part_of = m.members[1].name; m.members[1].name += ".part0002"; });
  wrong("part of another", [](Manifest& m) { m.members[1].part_of = kData + "x"; });
  wrong("key in the clear", [](Manifest& m) { m.members.push_back({"keys/a.pem", 0, sha256_hex(""), {}}); });
}

TEST_F(Hostile, BombsEndWhereTheManifestEnds) {  // A15
  // 64 MiB of zeros for a member of 1,500 bytes, and for the manifest.
  const std::string zeros(64U << 20, '\0');
  const std::string head = member("manifest.json", text_of(manifest_of(kGood))) + member(kGood[0].first, kGood[0].second);
  EXPECT_TRUE(refused(zstd(head + header(kGood[1].first, kGood[1].second.size()) + zeros)));
  EXPECT_TRUE(refused(zstd(head + header(kGood[1].first, zeros.size()) + zeros)));
  EXPECT_TRUE(refused(zstd(header("manifest.json", zeros.size()) + zeros)));
  EXPECT_TRUE(refused(zstd(header("manifest.json", 16U << 20) + zeros)));
  EXPECT_TRUE(refused(zstd(good() + zeros)));
  EXPECT_TRUE(refused(header("manifest.json", 16U << 20) + "{"));
}

TEST_F(Hostile, SizesInAnyOtherFormAreRefused) {  // A17
  for (const std::string& size : {std::string("77777777777\0", 12), std::string("\x80\0\0\0\0\0\0\0\0\0\5\xdc", 12),
                                  std::string(12, '\xff'), std::string("-0000002734\0", 12), std::string("\x80\0\0\0\x80\0\0\0\0\0\0\0", 12),
                                  std::string("      2734 \0", 12), std::string("00000002734 ", 12), std::string("000000027349", 12),
                                  std::string("00000002738\0", 12), std::string(12, '\0'), std::string("2734\0\0\0\0\0\0\0\0", 12)}) {
    std::string changed = header(kGood[1].first, kGood[1].second.size());
    changed.replace(124, 12, size);
    fix_checksum(changed);
    EXPECT_TRUE(refused(with_header(changed)));
    std::string first = header("manifest.json", 100);
    first.replace(124, 12, size);
    fix_checksum(first);
    EXPECT_TRUE(refused(first + good().substr(512)));
  }
}

TEST_F(Hostile, CutAnywhereItIsRefused) {  // A19
  for (const std::string& whole : {good(), zstd(good())}) {
    for (std::size_t n = 0; n < whole.size(); n += n < 4096 ? 1 : 512) EXPECT_TRUE(refused(whole.substr(0, n))) << n;
    EXPECT_TRUE(refused(whole.substr(0, whole.size() - 1)));
  }
}

TEST_F(Hostile, AnEncryptedArchiveCutOrChangedAnywhereIsRefused) {  // A19
  Files in;
  in.put("control-plane.db", std::string(200'000, 'c'));
  WriterOptions options;
  options.passphrase = Secret("right");
  options.cost = kMinCost;
  options.level = 0;
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, options, in.entropy, {}));
  const std::string whole = slurp(in.at("archive"));
  ASSERT_FALSE(take(whole, options.passphrase));
  const auto fails = [&](const std::string& bytes, std::size_t at) {
    const auto error = take(bytes, options.passphrase);
    ASSERT_TRUE(error) << at;
    EXPECT_TRUE(error->code == Code::refused || error->code == Code::not_allowed || error->code == Code::bad_request)
        << at << error->message;
  };
  for (std::size_t n = 0; n < 256; ++n) fails(whole.substr(0, n), n);
  for (std::size_t n = 512; n < whole.size(); n += 4096) fails(whole.substr(0, n), n);
  const std::size_t chunk = kChunk + kChunkTag;
  for (std::size_t i = 1; kEnvelopeHeader + i * chunk < whole.size(); ++i) fails(whole.substr(0, kEnvelopeHeader + i * chunk), i);
  fails(whole.substr(0, whole.size() - 1), whole.size());
  fails(whole + "x", whole.size());
  fails(whole + whole.substr(kEnvelopeHeader), whole.size());
  // Chunks in another order, and one twice.
  const std::string first = whole.substr(kEnvelopeHeader, chunk), second = whole.substr(kEnvelopeHeader + chunk, chunk);
  const std::string head = whole.substr(0, kEnvelopeHeader), rest = whole.substr(kEnvelopeHeader + 2 * chunk);
  fails(head + second + first + rest, 0);
  fails(head + first + first + rest, 0);
  fails(head + first + rest, 0);
  for (std::size_t i = 0; i < whole.size(); i += i < kEnvelopeHeader ? 1 : 3001) {
    if (i == 9) continue;  // the cost: below
    std::string changed = whole;
    changed[i] = static_cast<char>(changed[i] ^ 0x40);
    fails(changed, i);
  }
  for (const int cost : {0, 1, 9, 21, 32, 63, 255}) {
    std::string changed = whole;
    changed[9] = static_cast<char>(cost);
    EXPECT_EQ(take(changed, options.passphrase)->code, Code::refused) << cost;
  }
}

TEST_F(Hostile, AWrongPassphraseAndADamagedFirstChunkReadTheSame) {
  Files in;
  in.put("control-plane.db", "c");
  WriterOptions options;
  options.passphrase = Secret("right");
  options.cost = kMinCost;
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, options, in.entropy, {}));
  std::string bytes = slurp(in.at("archive"));
  const auto wrong = take(bytes, Secret("wrong"));
  bytes[kEnvelopeHeader + 3] = static_cast<char>(bytes[kEnvelopeHeader + 3] ^ 1);
  const auto damaged = take(bytes, Secret("right"));
  ASSERT_TRUE(wrong && damaged);
  EXPECT_EQ(wrong->code, Code::not_allowed);
  EXPECT_EQ(wrong->code, damaged->code);
  EXPECT_EQ(wrong->message, damaged->message);
  EXPECT_EQ(take(bytes)->code, Code::bad_request);
  EXPECT_EQ(take(good(), Secret("right"))->code, Code::bad_request);
}

TEST_F(Hostile, WrongHashesAreRefusedAndForeignManifestsAreKnown) {  // A21
  Members changed = kGood;
  changed[1].second[700] = 'x';
  EXPECT_TRUE(refused(archive_of(text_of(manifest_of(kGood)), changed)));
  const Secret ours("our master key"), theirs("their master key");
  const auto origin = [&](const Manifest& manifest) {
    spill(folder_.path() / "archive", archive_of(text_of(manifest), kGood));
    return *ArchiveReader::open(folder_.path() / "archive", {})->check_mac(ours);
  };
  Manifest manifest = manifest_of(kGood);
  EXPECT_EQ(origin(manifest), Origin::absent);
  manifest.mac = *mac(manifest, theirs);
  EXPECT_EQ(origin(manifest), Origin::foreign);
  manifest.mac = *mac(manifest, ours);
  EXPECT_EQ(origin(manifest), Origin::ours);
  manifest.epoch += 1;
  EXPECT_EQ(origin(manifest), Origin::foreign);
}

TEST_F(Hostile, ManifestsThatAreNotExactlyOneAreRefused) {  // A23, A29
  const std::string right = text_of(manifest_of(kGood));
  const auto wrong = [&](const std::string& manifest) {
    EXPECT_TRUE(refused(archive_of(manifest, kGood))) << manifest.substr(0, 200);
  };
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string out = right;
    const auto at = out.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return out.replace(at, from.size(), to);
  };
  wrong(replaced("\"epoch\":3", "\"epoch\":3,\"epoch\":4"));
  wrong(replaced("\"epoch\":3", "\"epoch\":3,\"canary5151\":4"));
  for (const char* number : {"-1", "1e400", "3.0", "3e0", "03", "\"3\"", "null", "18446744073709551616", "9223372036854775808"})
    wrong(replaced("\"epoch\":3", std::string("\"epoch\":") + number));
  wrong(replaced("\"total_bytes\":1517", "\"total_bytes\":1e400"));
  wrong(replaced("\"bytes\":1500", "\"bytes\":8589934592"));
  wrong(replaced("\"epoch\":3", "\"epoch\":" + std::string(33, '[') + std::string(33, ']')));
  wrong(replaced("\"epoch\":3", "\"epoch\":" + std::string(100'000, '[')));
  wrong(replaced("\"inst\"", "\"\xff\""));
  wrong(replaced("\"inst\"", "\"\\u0069nst\""));
  wrong(replaced("\"inst\"", "\"" + std::string(300, 'x') + "\""));
  wrong(right + " ");
  wrong(" " + right);
  wrong("\xef\xbb\xbf" + right);
  wrong(right + right);
  wrong("[]");
  wrong("{}");
  wrong("null");
  wrong("");
  wrong(right.substr(0, right.size() - 1));
  EXPECT_TRUE(refused(archive_of("{\"x\":\"" + std::string(20U << 20, 'x') + "\"}", kGood)));
  const auto newer = take(archive_of(replaced("via-backup/1", "via-backup/2"), kGood));
  ASSERT_TRUE(newer);
  EXPECT_EQ(newer->code, Code::refused);
  EXPECT_NE(newer->message.find("newer Via"), std::string::npos);
}

}  // namespace
}  // namespace via::backup::test
