// What a conformance case is: a name, what it proves, and a function that runs in a process of its own and throws when the
// plugin does not keep to it. Thread: one, except where a case says otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace via::check {

namespace fs = std::filesystem;
using nlohmann::json;

// The plugin under check, as read from its files: no code of it has run.
struct Subject {
  fs::path folder, library;
  std::string manifest_text;
  json manifest, type;   // the type that is checked
  std::string type_id;
  json script;           // check.json, see docs/plugin-checker.md; "settings" with its ${NAME}s filled in
  fs::path script_folder;
  std::uint64_t seed = 1;
  std::chrono::milliseconds patience{5000};  // how long an answer may take that nothing holds up

  std::string config() const { return script.value("config", json::object()).dump(); }
  bool can_write() const { return script.contains("write"); }
  bool can_read() const { return script.contains("read"); }
};

// What a case that held says of itself besides: how it was tried. Of this process.
std::string& note();

// Thrown by a case: the plugin broke a rule; the case does not apply to it.
struct Broken {
  std::string reason;
};
struct Skipped {
  std::string reason;
};
[[noreturn]] inline void broken(std::string reason) { throw Broken{std::move(reason)}; }
[[noreturn]] inline void skipped(std::string reason) { throw Skipped{std::move(reason)}; }

// `root` is the case's own folder: the current folder, TMPDIR and HOME are root/elsewhere, the add-on's is root/storage.
struct Case {
  const char* group;
  const char* name;
  const char* proves;
  std::function<void(const Subject&, const fs::path& root)> run;
  bool runs_code = true;  // false: the entry function at most (--scan)
};

std::vector<Case> library_cases();
std::vector<Case> version_cases();
std::vector<Case> contract_cases();
std::vector<Case> thread_cases();
std::vector<Case> storage_cases();
std::vector<Case> snapshot_cases();
std::vector<Case> migrate_cases();
std::vector<Case> secret_cases();

enum class Verdict { ok, failed, skipped };
struct Outcome {
  Verdict verdict = Verdict::ok;
  std::string reason;
  double milliseconds = 0;
};
// Runs the case in a child process that is killed after `limit_ms`.
Outcome run_isolated(const Case& one, const Subject& subject, int limit_ms);

// Reads manifest and check.json. Throws Broken with what is wrong.
Subject read_subject(const fs::path& given, const std::string& type);

}  // namespace via::check
