// Snapshots: what was there comes back, and what is no snapshot is refused and changes nothing.
#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

fs::path new_folder(const fs::path& root, const char* name) {
  const fs::path out = root / "storage" / name;
  fs::create_directory(out);
  fs::permissions(out, fs::perms::owner_all);
  return out;
}

void need_snapshots(Session& s) {
  const via_snapshot_api* api = s.snapshots();
  if (api == nullptr || !VIA_HAS(via_snapshot_api, api, verify)) skipped("the type has no snapshots");
}

// The format that take answered.
std::string facts(Session::Call& call) {
  const json answer = json::parse(call.details(), nullptr, false);
  if (!answer.is_object() || !answer.value("format", json()).is_string() || !answer.value("schema", json()).is_number_unsigned())
    broken("take must answer {\"format\": \"…\", \"schema\": N, \"position\": \"…\"}");
  return answer["format"];
}

// A second instance on a folder of its own, which never held what the snapshot holds.
void restored_elsewhere(const Subject& subject, const fs::path& root, const fs::path& copy, const std::string& format,
                        const Session::Options& options = {}) {
  const fs::path other = root / "other";
  fs::create_directories(other / "storage");
  const fs::path moved = other / "storage" / "copy";
  fs::copy(copy, moved, fs::copy_options::recursive);
  Session s(subject, other, options);
  if (!s.init() || !s.create()) broken("create failed: " + s.message());
  s.must(s.provision(), "provision");
  s.must(s.snapshot(&via_snapshot_api::verify, moved, "verify", format), "verify");
  s.must(s.snapshot(&via_snapshot_api::restore, moved, "restore", format), "restore");
  s.must(s.open(), "open after restore");
  s.must(s.health(), "health after restore");
  if (subject.can_write() && subject.can_read() && !s.reads_expected()) broken("what the snapshot held is not there after the restore");
  s.must(s.close(), "close");
  s.destroy();
}

void round_trip(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  need_snapshots(s);
  if (subject.can_write()) s.must(s.write(), "check.json's write");
  const fs::path copy = new_folder(root, "copy");
  Session::Call& taken = s.snapshot(&via_snapshot_api::take, copy, "take");
  s.must(taken, "take");
  restored_elsewhere(subject, root, copy, facts(taken));
}

// A host of ABI 1.0 does not say what the format was; one that does not know it says that it is empty.
void of_a_host_that_names_no_format(const Subject& subject, const fs::path& root) {
  for (const bool short_structs : {true, false}) {
    const fs::path here = root / (short_structs ? "without" : "empty");
    fs::create_directories(here / "storage");
    const Session::Options options{.without = {}, .short_structs = short_structs};
    Session s(subject, here, options);
    s.start();
    need_snapshots(s);
    if (subject.can_write()) s.must(s.write(), "check.json's write");
    const fs::path copy = new_folder(here, "copy");
    s.must(s.snapshot(&via_snapshot_api::take, copy, "take"), "take");
    restored_elsewhere(subject, here, copy, "", options);
  }
}

void taken_under_writes(const Subject& subject, const fs::path& root) {
  if (!subject.can_write()) skipped("check.json does not say how to write");
  Session s(subject, root);
  s.start();
  need_snapshots(s);
  s.must(s.write(), "check.json's write");
  std::atomic<bool> end{false};
  std::string failed;
  std::thread writer([&] {
    try {
      while (!end) s.must(s.write(), "a write while a snapshot is taken");
    } catch (const Broken& why) {
      failed = why.reason;
    }
  });
  const fs::path copy = new_folder(root, "copy");
  Session::Call* call = nullptr;
  std::string never;
  try {
    call = &s.snapshot(&via_snapshot_api::take, copy, "take under writes");
  } catch (const Broken& why) {
    never = why.reason;
  }
  end = true;
  writer.join();
  if (!never.empty()) broken(never);
  Session::Call& taken = *call;
  if (!failed.empty()) broken(failed);
  s.must(taken, "take under writes");
  restored_elsewhere(subject, root, copy, facts(taken));
}

// `spoil` makes something of a good copy that is none.
void refused(const Subject& subject, const fs::path& root, const char* what, const std::function<void(const fs::path&)>& spoil) {
  Session s(subject, root);
  s.start();
  need_snapshots(s);
  if (subject.can_write()) s.must(s.write(), "check.json's write");
  const fs::path copy = new_folder(root, "copy");
  Session::Call& taken = s.snapshot(&via_snapshot_api::take, copy, "take");
  s.must(taken, "take");
  const std::string format = facts(taken);
  spoil(copy);
  s.must(s.close(), "close");
  const bool verified = s.snapshot(&via_snapshot_api::verify, copy, "verify", format).status() == VIA_OK;
  const bool restored = s.snapshot(&via_snapshot_api::restore, copy, "restore", format).status() == VIA_OK;
  if (restored) broken(std::string("a restore of ") + what + " succeeded");
  if (verified) broken(std::string("verify called ") + what + " good");
  s.must(s.open(), std::string("open after a refused restore of ") + what);
  s.must(s.health(), "health");
  if (subject.can_write() && subject.can_read() && !s.reads_expected())
    broken(std::string("a refused restore of ") + what + " lost the data that were there");
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && entry.file_size() > 0) out.push_back(entry.path());
  if (out.empty()) skipped("its snapshots hold no file with anything in it");
  return out;
}

void empty_restore(const Subject& subject, const fs::path& root) {
  refused(subject, root, "an empty folder", [](const fs::path& copy) {
    for (const auto& entry : fs::directory_iterator(copy)) fs::remove_all(entry.path());
  });
}

void random_restore(const Subject& subject, const fs::path& root) {
  refused(subject, root, "random bytes", [&](const fs::path& copy) {
    std::mt19937_64 random(subject.seed);
    for (const auto& file : files_in(copy)) {
      std::string noise(fs::file_size(file), '\0');
      for (char& c : noise) c = static_cast<char>(random());
      std::ofstream(file, std::ios::binary) << noise;
    }
  });
}

void truncated_restore(const Subject& subject, const fs::path& root) {
  refused(subject, root, "files that are cut off", [](const fs::path& copy) {
    for (const auto& file : files_in(copy)) fs::resize_file(file, fs::file_size(file) / 2 + 1 == fs::file_size(file) ? 1 : fs::file_size(file) / 2 + 1);
  });
}

}  // namespace

std::vector<Case> snapshot_cases() {
  return {
      {"snapshot", "round_trip", "a snapshot restores what was there, on another folder too", round_trip},
      {"snapshot", "format_not_known", "a host that does not say the format of a snapshot can restore it", of_a_host_that_names_no_format},
      {"snapshot", "taken_under_writes", "a snapshot taken while others write is whole", taken_under_writes},
      {"snapshot", "empty_restore", "an empty folder is no snapshot, and changes nothing", empty_restore},
      {"snapshot", "random_restore", "random bytes are no snapshot, and change nothing", random_restore},
      {"snapshot", "truncated_restore", "a snapshot that is cut off is refused, and changes nothing", truncated_restore},
  };
}

}  // namespace via::check
