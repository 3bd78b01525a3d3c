// What is written is what is read back, and a backup that does not come to its end leaves nothing.
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <random>

#include "support.hpp"

namespace via::backup::test {
namespace {

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(random());
  return out;
}

struct Some : Files {
  Some();
};
Some::Some() {
  Files& in = *this;
  in.put("control-plane.db", noise(70'000, 1));
  in.put("plugins/acme.notes/1.2.0/Notes.so", noise(2000, 5));
  in.put(kData + "data.db", std::string(300'000, 'x') + noise(1000, 2));
  in.put(kData + "empty", "");
  in.put("addons/box/" + kAddon + "/snapshots/snap_01jd5x8z7k3m9n2p4q6r8s0t1v.db", noise(512, 3));
  in.put("addons/box/" + kAddon + "/snapshots/snap_01jd5x8z7k3m9n2p4q6r8s0t1v/a.db", noise(513, 4));
  in.put(kData + std::string(91, 'n'), noise(511, 5));
}

void round_trip(Files& in, const WriterOptions& options) {
  const auto written = write_archive(in.at("archive"), facts(), in.files, options, in.entropy, {});
  ASSERT_TRUE(written) << written.error().message;
  const std::string bytes = slurp(in.at("archive"));
  EXPECT_EQ(written->bytes, bytes.size());
  EXPECT_EQ(written->sha256, sha256_hex(bytes));
  struct stat st {};
  ASSERT_EQ(::stat(in.at("archive").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);

  auto reader = ArchiveReader::open(in.at("archive"), options.passphrase);
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_EQ(reader->encrypted(), !options.passphrase.empty());
  EXPECT_EQ(reader->manifest().members, written->manifest.members);
  EXPECT_EQ(reader->manifest().epoch, 3);
  EXPECT_EQ(reader->manifest().addons.at(0).facts.format, "box/1");
  const auto verified = reader->verify({});
  ASSERT_TRUE(verified) << verified.error().message;
  const auto extracted = reader->extract_all(in.at("out"), {});
  ASSERT_TRUE(extracted) << extracted.error().message;
  EXPECT_TRUE(tree(in.at("out")) == in.content);
  for (const auto& entry : fs::recursive_directory_iterator(in.at("out")))
    EXPECT_EQ(entry.status().permissions(), entry.is_directory() ? fs::perms(0700) : fs::perms(0600)) << entry.path();
  fs::remove_all(in.at("out"));
  fs::remove(in.at("archive"));
}

WriterOptions quick(const char* passphrase = "") {
  WriterOptions options;
  options.passphrase = Secret(passphrase);
  options.cost = kMinCost;
  return options;
}

TEST(Archive, ComesBackAsItWent) {
  for (const int level : {0, 1, 3}) {
    for (const char* passphrase : {"", "a passphrase"}) {
      Some in;
      WriterOptions options = quick(passphrase);
      options.level = level;
      options.master_key = Secret("master");
      if (*passphrase != '\0') in.put("keys/key_1.pem", "private");
      round_trip(in, options);
    }
  }
}

TEST(Archive, SplitsFilesThatAreLargerThanAMember) {
  for (const std::uint64_t part : {1U, 7U, 512U, 1000U}) {
    Files in;
    in.put("control-plane.db", noise(7 * 512, 1));
    in.put(kData + "empty", "");
    in.put(kData + "exact", noise(1000, 2));
    in.put(kData + "more", noise(1001, 3));
    WriterOptions options = quick("p");
    options.part_bytes = part;
    round_trip(in, options);
  }
}

TEST(Archive, EncryptsAtTheEdgesOfItsChunks) {
  // Sizes around one and two chunks of plain text: header, manifest and end make up the rest.
  WriterOptions options = quick("p");
  options.level = 0;
  for (std::size_t blocks = 120; blocks < 132; ++blocks) {
    Files in;
    in.put("control-plane.db", noise(blocks * 512, 1));
    round_trip(in, options);
  }
}

TEST(Archive, AnySetOfFilesComesBack) {
  std::mt19937 engine(4711);
  const auto random = [&] { return static_cast<unsigned>(engine()); };
  for (int run = 0; run < 40; ++run) {
    Files in;
    in.put("control-plane.db", noise(random() % 5000, random()));
    const unsigned count = random() % 20;
    for (unsigned i = 0; i < count; ++i) {
      std::string name(1, static_cast<char>('a' + random() % 26));
      for (unsigned n = random() % 60; n > 0; --n) name += "abcxyz0189._-"[random() % 13];
      name = kData + name + std::to_string(i);
      in.put(name, random() % 3 == 0 ? std::string(random() % 100'000, 'z') : noise(random() % 3000, random()));
    }
    WriterOptions options = quick(run % 2 == 0 ? "" : "p");
    options.level = run % 3;
    if (run % 4 == 0) options.part_bytes = 300 + random() % 2000;
    round_trip(in, options);
  }
}

TEST(Archive, OtherToolsReadItWhenItIsNotEncrypted) {
  Some in;
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, {}));
  struct archive* a = archive_read_new();
  archive_read_support_filter_zstd(a);
  archive_read_support_format_tar(a);
  ASSERT_EQ(archive_read_open_filename(a, in.at("archive").c_str(), 65536), ARCHIVE_OK) << archive_error_string(a);
  std::vector<std::string> names;
  archive_entry* entry = nullptr;
  while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
    names.emplace_back(archive_entry_pathname(entry));
    EXPECT_EQ(archive_format(a), ARCHIVE_FORMAT_TAR_USTAR);
    if (names.back() == "manifest.json") continue;
    std::string bytes(static_cast<std::size_t>(archive_entry_size(entry)), '\0');
    EXPECT_EQ(archive_read_data(a, bytes.data(), bytes.size()), static_cast<la_ssize_t>(bytes.size()));
    EXPECT_EQ(bytes, in.content.at(names.back()));
  }
  archive_read_free(a);
  EXPECT_EQ(names.size(), in.files.size() + 1);
  EXPECT_EQ(names.front(), "manifest.json");
}

TEST(Archive, EncryptionShowsNothingOfTheContentAndIsNeverTheSameTwice) {
  Files in;
  in.put("control-plane.db", std::string(1000, 'c') + "canary5151");
  WriterOptions options = quick("p");
  options.level = 0;
  ASSERT_TRUE(write_archive(in.at("a"), facts(), in.files, options, in.entropy, {}));
  ASSERT_TRUE(write_archive(in.at("b"), facts(), in.files, options, in.entropy, {}));
  const std::string a = slurp(in.at("a")), b = slurp(in.at("b"));
  EXPECT_EQ(a.find("canary5151"), std::string::npos);
  EXPECT_EQ(a.find("control-plane"), std::string::npos);
  EXPECT_NE(a.substr(kEnvelopeHeader), b.substr(kEnvelopeHeader));
}

TEST(Archive, TellsItsProgressForwardOnlyAndToTheEnd) {
  Some in;
  std::uint64_t last = 0, total = 0;
  const plugins::Watch watch{[&](std::uint64_t done, std::uint64_t all) {
                               EXPECT_GE(done, last);
                               EXPECT_LE(done, all);
                               last = done;
                               total = all;
                             },
                             {}};
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, watch));
  EXPECT_GT(last, 0U);
  EXPECT_EQ(last, total);
  auto reader = ArchiveReader::open(in.at("archive"), {});
  ASSERT_TRUE(reader);
  for (const bool extract : {false, true}) {
    last = 0;
    ASSERT_TRUE(extract ? reader->extract_all(in.at("out"), watch) : reader->verify(watch));
    EXPECT_EQ(last, reader->manifest().total_bytes);
    EXPECT_EQ(last, total);
  }
}

std::size_t entries(const fs::path& folder) {
  std::size_t out = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++out;
  return out;
}

TEST(Archive, CancelledAtAnyPointLeavesNothing) {
  Some in;
  ASSERT_TRUE(write_archive(in.at("whole"), facts(), in.files, quick(), in.entropy, {}));
  const std::size_t before = entries(in.at("."));
  bool finished = false;
  for (int stop = 1; !finished; ++stop) {
    int calls = 0;
    const plugins::Watch watch{{}, [&] { return ++calls >= stop; }};
    const auto written = write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, watch);
    finished = written.has_value();
    if (!finished) {
      EXPECT_EQ(written.error().code, Code::cancelled);
    }
    fs::remove(in.at("archive"));
    EXPECT_EQ(entries(in.at(".")), before);
    ASSERT_LT(stop, 100);
  }
  auto reader = ArchiveReader::open(in.at("whole"), {});
  ASSERT_TRUE(reader);
  int calls = 0;
  const auto extracted = reader->extract_all(in.at("out"), {{}, [&] { return ++calls >= 3; }});
  EXPECT_EQ(extracted.error().code, Code::cancelled);
  EXPECT_FALSE(fs::exists(in.at("out")));
}

TEST(Archive, NeverReplacesAFileUnlessTold) {
  Some in;
  spill(in.at("archive"), "mine");
  const auto refused = write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::conflict);
  EXPECT_EQ(slurp(in.at("archive")), "mine");
  WriterOptions options = quick();
  options.replace = true;
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, options, in.entropy, {}));
  EXPECT_TRUE(ArchiveReader::open(in.at("archive"), {}));
  // One that appears while the backup runs stays as well.
  const plugins::Watch late{[&](std::uint64_t, std::uint64_t) { spill(in.at("other"), "late"); }, {}};
  EXPECT_EQ(write_archive(in.at("other"), facts(), in.files, quick(), in.entropy, late).error().code, Code::conflict);
  EXPECT_EQ(slurp(in.at("other")), "late");
  EXPECT_FALSE(fs::exists(in.at(".other.partial")));
}

TEST(Archive, APartialFileOfACrashIsInNobodysWay) {
  Some in;
  spill(in.at(".archive.partial"), "left");
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, {}));
  EXPECT_FALSE(fs::exists(in.at(".archive.partial")));
  spill(in.at("victim"), "kept");
  fs::create_symlink("victim", in.at(".second.partial"));
  ASSERT_TRUE(write_archive(in.at("second"), facts(), in.files, quick(), in.entropy, {}));
  EXPECT_EQ(slurp(in.at("victim")), "kept");
}

TEST(Archive, TwoBackupsToOneFileDoNotMix) {
  Some in;
  bool tried = false;
  Code inner = Code::internal;
  std::uint64_t half = 0;
  const plugins::Watch watch{[&](std::uint64_t done, std::uint64_t total) {
                               half = total / 2;
                               if (tried || done <= half) return;
                               tried = true;
                               via::test::FakeEntropy entropy;
                               const auto second = write_archive(in.at("archive"), facts(), in.files, quick(), entropy, {});
                               if (!second) inner = second.error().code;
                             },
                             {}};
  ASSERT_TRUE(write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, watch));
  EXPECT_TRUE(tried);
  EXPECT_EQ(inner, Code::conflict);
  EXPECT_TRUE(ArchiveReader::open(in.at("archive"), {})->verify({}));
}

TEST(Archive, AFileThatChangesMeanwhileFailsTheBackup) {
  for (const bool grow : {true, false}) {
    Some in;
    bool changed = false;
    const plugins::Watch watch{[&](std::uint64_t done, std::uint64_t total) {
                                 if (changed || done < total / 2) return;
                                 changed = true;
                                 std::string bytes = in.content[kData + "data.db"];
                                 if (grow) bytes += "x";
                                 else bytes[5] = 'y';
                                 spill(in.files[1].path, bytes);
                               },
                               {}};
    const auto written = write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, watch);
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, Code::refused);
    EXPECT_FALSE(fs::exists(in.at("archive")));
    EXPECT_FALSE(fs::exists(in.at(".archive.partial")));
  }
}

TEST(Archive, TakesRegularFilesWithGoodNamesOnly) {
  const auto code_of_file = [](const std::string& name, const char* kind) {
    Some in;
    in.put(name, "x");
    if (*kind != '\0') fs::remove(in.files.back().path);
    if (*kind == 'l') fs::create_symlink("0", in.files.back().path);
    if (*kind == 'p') {
      EXPECT_EQ(::mkfifo(in.files.back().path.c_str(), 0600), 0);
    }
    if (*kind == 'd') fs::create_directory(in.files.back().path);
    const auto written = write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, {});
    EXPECT_FALSE(fs::exists(in.at("archive")));
    return written ? Code::conflict : written.error().code;
  };
  EXPECT_EQ(code_of_file(kData + "p", "p"), Code::refused);
  EXPECT_EQ(code_of_file(kData + "d", "d"), Code::refused);
  EXPECT_EQ(code_of_file(kData + "l", "l"), Code::internal);
  EXPECT_EQ(code_of_file(kData + "g", "gone"), Code::not_found);
  EXPECT_EQ(code_of_file("../x", ""), Code::bad_request);
  EXPECT_EQ(code_of_file("keys/a.pem", ""), Code::refused);  // not encrypted
}

// In a process of its own, whose files may not grow past `limit`: the disk is full.
int with_full_disk(rlim_t limit, const std::function<bool()>& failed_cleanly) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit bound {limit, limit};
    ::_exit(::setrlimit(RLIMIT_FSIZE, &bound) == 0 && failed_cleanly() ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return status;
}

TEST(Archive, AFullDiskLeavesNothing) {
  Some in;
  ASSERT_TRUE(write_archive(in.at("whole"), facts(), in.files, quick(), in.entropy, {}));
  for (const rlim_t limit : {0UL, 1UL, 4096UL, 65536UL}) {
    EXPECT_EQ(with_full_disk(limit, [&] {
                return !write_archive(in.at("archive"), facts(), in.files, quick(), in.entropy, {}) &&
                       !fs::exists(in.at("archive")) && !fs::exists(in.at(".archive.partial"));
              }), 0) << limit;
    EXPECT_EQ(with_full_disk(limit, [&] {
                auto reader = ArchiveReader::open(in.at("whole"), {});
                return reader && !reader->extract_all(in.at("out"), {}) && !fs::exists(in.at("out"));
              }), 0) << limit;
  }
}

}  // namespace
}  // namespace via::backup::test
