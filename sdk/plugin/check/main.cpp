// via-plugin-check: does a plugin keep to what the host relies on? Every case runs in a process of its own.
// Exit code: 0 all held, 1 a case failed, 2 wrong usage, 3 there is no plugin to check.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>

#include <CLI/CLI.hpp>

#include "sdk/plugin/check/check.hpp"

namespace via::check {

namespace {

std::string read_text(const fs::path& path, const char* what) {
  std::ifstream in(path, std::ios::binary);
  if (!in) broken(std::string(what) + " cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

json read_json(const std::string& text, const char* what) {
  json out = json::parse(text, nullptr, false);
  if (!out.is_object()) broken(std::string(what) + " is no JSON object");
  return out;
}

// ${NAME} in the strings of `value` is the environment's NAME: where a test server listens is known when the check runs only.
void fill_in(json& value) {
  if (value.is_structured()) {
    for (auto& inner : value) fill_in(inner);
    return;
  }
  if (!value.is_string()) return;
  std::string out, text = value.get<std::string>();
  for (std::size_t at = 0;;) {
    const std::size_t begin = text.find("${", at), end = begin == std::string::npos ? begin : text.find('}', begin);
    if (end == std::string::npos) {
      value = out + text.substr(at);
      return;
    }
    const std::string name = text.substr(begin + 2, end - begin - 2);
    const char* known = std::getenv(name.c_str());
    if (known == nullptr) broken("the settings need the environment variable " + name + ", which is not set");
    out += text.substr(at, begin - at) + known;
    at = end + 1;
  }
}

}  // namespace

Subject read_subject(const fs::path& given, const std::string& type) {
  Subject out;
  const fs::path folder = fs::is_directory(given) ? given : given.parent_path();
  out.folder = fs::absolute(folder.empty() ? fs::path(".") : folder);
  out.manifest_text = read_text(out.folder / "manifest.json", "manifest.json");
  out.manifest = read_json(out.manifest_text, "manifest.json");
  for (const char* member : {"id", "version", "abi", "library", "types"})
    if (!out.manifest.contains(member)) broken(std::string("manifest.json lacks \"") + member + "\"");
  if (!out.manifest["library"].is_string()) broken("manifest.json: \"library\" must be a file name");
  out.library = out.folder / out.manifest["library"].get<std::string>();
  if (!fs::is_regular_file(out.library)) broken("the library that the manifest names is not beside it");
  if (!out.manifest["types"].is_array() || out.manifest["types"].empty()) broken("manifest.json lists no types");
  for (const json& one : out.manifest["types"])
    if (type.empty() || one.value("id", "") == type) {
      out.type = one;
      break;
    }
  if (out.type.is_null()) broken("the manifest has no type '" + type + "'");
  out.type_id = out.type.value("id", "");
  for (const char* member : {"scopes", "access"})
    if (!out.type.contains(member)) broken(std::string("the type lacks \"") + member + "\"");
  return out;
}

namespace {

int check(int argc, char** argv) {
  CLI::App app{"Checks that an add-on plugin keeps to what a Via host relies on.\n"
               "Examples:\n  via-plugin-check build/plugins/acme-notes\n  via-plugin-check . --only snapshot --json\n"
               "  via-plugin-check . --only contract.generations_overlap --seed 7",
               "via-plugin-check"};
  std::string plugin, type, script, config, settings;
  std::vector<std::string> only;
  int timeout = 20'000, patience = 5000;
  std::uint64_t seed = 1;
  bool as_json = false, list = false, scan = false;
  app.add_option("PLUGIN", plugin, "bundle folder, manifest.json or library");
  app.add_option("--only", only, "a group, or GROUP.CASE; may be given again")->allow_extra_args(false);
  app.add_option("--type", type, "the add-on type to check; default: the manifest's first");
  app.add_option("--script", script, "how to write and read; default: check.json beside the manifest");
  app.add_option("--config", config, "configuration of the add-on, as JSON");
  app.add_option("--settings", settings, "the operator's settings of the type: a file with JSON, or the JSON itself");
  app.add_option("--seed", seed, "of everything random");
  app.add_option("--timeout-ms", timeout, "for each case")->check(CLI::Range(10, 3'600'000));
  app.add_option("--patience-ms", patience, "for each answer")->check(CLI::Range(1, 3'600'000));
  app.add_flag("--json", as_json, "the result as JSON");
  app.add_flag("--list", list, "the cases and what each proves");
  app.add_flag("--scan", scan, "only what runs no code of the plugin but its entry function");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& wrong) {
    return app.exit(wrong) == 0 ? 0 : 2;
  }

  std::vector<Case> all;
  for (auto part : {library_cases, version_cases, contract_cases, thread_cases, storage_cases, snapshot_cases, migrate_cases, secret_cases})
    for (auto& one : part()) all.push_back(std::move(one));
  std::vector<Case> chosen;
  std::set<std::string> unused(only.begin(), only.end());
  for (auto& one : all) {
    const std::string name = std::string(one.group) + "." + one.name;
    const bool named = only.empty() || std::find(only.begin(), only.end(), one.group) != only.end() ||
                       std::find(only.begin(), only.end(), name) != only.end();
    if (!named) continue;
    unused.erase(one.group);
    unused.erase(name);
    if (!scan || !one.runs_code) chosen.push_back(one);
  }
  if (!unused.empty()) {
    std::cerr << "via-plugin-check: there is no case '" << *unused.begin() << "'. See them: via-plugin-check --list\n";
    return 2;
  }
  if (list) {
    if (as_json) {
      json out = json::array();
      for (const auto& one : chosen) out.push_back({{"case", std::string(one.group) + "." + one.name}, {"proves", one.proves}});
      std::cout << out.dump(2) << "\n";
    } else {
      for (const auto& one : chosen) std::printf("%-36s %s\n", (std::string(one.group) + "." + one.name).c_str(), one.proves);
    }
    return 0;
  }
  if (plugin.empty()) {
    std::cerr << "via-plugin-check: name a plugin: its bundle folder, its manifest.json or its library. See: via-plugin-check --help\n";
    return 2;
  }

  Subject subject;
  try {
    subject = read_subject(plugin, type);
    subject.seed = seed;
    subject.patience = std::chrono::milliseconds(patience);
    const fs::path beside = script.empty() ? subject.folder / "check.json" : fs::path(script);
    subject.script = !script.empty() || fs::exists(beside) ? read_json(read_text(beside, "check.json"), "check.json") : json::object();
    if (!config.empty()) subject.script["config"] = read_json(config, "--config");
    subject.script_folder = fs::absolute(beside).parent_path();
    if (!settings.empty())
      subject.script["settings"] = read_json(settings.starts_with("{") ? settings : read_text(settings, "the file of --settings"), "--settings");
    if (subject.script.contains("settings")) fill_in(subject.script["settings"]);
  } catch (const Broken& why) {
    std::cerr << "via-plugin-check: " << why.reason << "\n";
    return 3;
  }

  const bool colour = ::isatty(1) != 0 && std::getenv("NO_COLOR") == nullptr;
  json results = json::array();
  int failed = 0, skipped = 0;
  double milliseconds = 0;
  for (const auto& one : chosen) {
    const Outcome outcome = run_isolated(one, subject, timeout);
    const char* word = outcome.verdict == Verdict::ok ? "ok" : outcome.verdict == Verdict::skipped ? "skipped" : "failed";
    failed += outcome.verdict == Verdict::failed;
    skipped += outcome.verdict == Verdict::skipped;
    milliseconds += outcome.milliseconds;
    results.push_back({{"case", std::string(one.group) + "." + one.name}, {"result", word}, {"reason", outcome.reason},
                       {"ms", static_cast<std::int64_t>(outcome.milliseconds)}});
    if (as_json) continue;
    const char* paint = !colour ? "" : outcome.verdict == Verdict::ok ? "\033[32m" : outcome.verdict == Verdict::skipped ? "\033[33m" : "\033[31m";
    std::printf("%s%-7s%s %-36s %6.0f ms  %s\n", paint, word, colour ? "\033[0m" : "",
                (std::string(one.group) + "." + one.name).c_str(), outcome.milliseconds,
                outcome.reason.empty() ? one.proves : outcome.reason.c_str());
    std::fflush(stdout);
  }
  if (as_json) {
    std::cout << json{{"plugin", subject.manifest["id"]}, {"version", subject.manifest["version"]}, {"type", subject.type_id},
                      {"seed", seed}, {"ok", failed == 0}, {"failed", failed}, {"skipped", skipped}, {"cases", results}}.dump(2)
              << "\n";
  } else {
    std::printf("%zu cases, %d failed, %d skipped, %.1f s\n", chosen.size(), failed, skipped, milliseconds / 1000);
    if (failed > 0) std::printf("Again, alone: via-plugin-check %s --only GROUP.CASE --seed %llu\n", plugin.c_str(), static_cast<unsigned long long>(seed));
  }
  return failed > 0 ? 1 : 0;
}

}  // namespace
}  // namespace via::check

int main(int argc, char** argv) { return via::check::check(argc, argv); }
