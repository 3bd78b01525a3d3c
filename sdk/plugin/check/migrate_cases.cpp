// A change of the storage's schema ("via.migrate/1"): what check.json calls storage of an earlier schema becomes the type's
// own, whatever happens on the way. Without "migrate" in check.json there is nothing to start from.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <thread>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

struct Change {
  std::uint32_t from, to;
};

// Puts the earlier storage into root/storage. Skipped when the type has no migration or check.json no example.
Change earlier_storage(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  if (!s.init() || !s.create()) broken("it cannot be created: " + s.message());
  const via_migrate_api* api = s.migrations();
  const bool offered = api != nullptr && VIA_HAS(via_migrate_api, api, apply) && api->plan != nullptr && api->apply != nullptr;
  s.destroy();
  if (!offered) skipped("the type has no migrations");
  if (!subject.script.contains("migrate")) skipped("check.json holds no storage of an earlier schema (\"migrate\")");
  const json& example = subject.script["migrate"];
  fs::create_directories(root / "storage");
  if (const json storage = example.value("storage", json()); storage.is_string()) {
    fs::copy(subject.script_folder / storage.get<std::string>(), root / "storage", fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  } else {
    for (const auto& [name, text] : storage.items()) std::ofstream(root / "storage" / name, std::ios::binary) << text.get<std::string>();
  }
  return {example.at("from").get<std::uint32_t>(), subject.type.value("storage_schema", 1U)};
}

void must_be_created(Session& s) {
  if (!s.init() || !s.create()) broken("it cannot be created: " + s.message());
}

// What the storage holds after the change: it opens, and reads what check.json expects.
void must_serve(Session& s, const char* when) {
  s.must(s.open(), std::string("open ") + when);
  s.must(s.health(), std::string("health ") + when);
  if (s.subject().can_read() && !s.reads_expected()) broken(std::string("what the earlier storage held is not there ") + when);
  s.must(s.close(), "close");
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    out[entry.path().lexically_relative(folder).string()] = {std::istreambuf_iterator<char>(in), {}};
  }
  return out;
}

void plan_form(const Subject& subject, const fs::path& root) {
  const Change change = earlier_storage(subject, root);
  Session s(subject, root);
  must_be_created(s);
  const auto before = files_of(root / "storage");
  for (int i = 0; i < 2; ++i) {
    Session::Call& call = s.migrate(&via_migrate_api::plan, change.from, change.to, "plan");
    s.must(call, "plan");
    const json answer = json::parse(call.details(), nullptr, false);
    if (!answer.is_object() || !answer.contains("steps") || !answer.value("reversible", json()).is_boolean())
      broken("plan must answer {\"steps\": …, \"reversible\": true or false}");
  }
  if (files_of(root / "storage") != before) broken("plan changed the storage");
  s.destroy();
}

void apply_again(const Subject& subject, const fs::path& root) {
  const Change change = earlier_storage(subject, root);
  Session s(subject, root);
  must_be_created(s);
  s.must(s.migrate(&via_migrate_api::apply, change.from, change.to, "apply"), "apply");
  s.must(s.migrate(&via_migrate_api::apply, change.from, change.to, "apply again"), "apply again");
  must_serve(s, "after the change");
  s.destroy();
  s.no_call_ended_twice();
}

void unknown_schema(const Subject& subject, const fs::path& root) {
  const Change change = earlier_storage(subject, root);
  Session s(subject, root);
  must_be_created(s);
  if (s.migrate(&via_migrate_api::apply, change.to + 998, change.to + 999, "apply to an unknown schema").status() == VIA_OK)
    broken("a change between schemas that the type does not know succeeded");
  s.must(s.migrate(&via_migrate_api::apply, change.from, change.to, "apply"), "apply after one that was refused");
  must_serve(s, "after the change");
  s.destroy();
}

// The change in a process of its own that is ended at any point; then it is made again.
void killed(const Subject& subject, const fs::path& root) {
  std::mt19937_64 random(subject.seed);
  std::uint64_t whole_us = 2000;  // how long a change takes that nothing ends
  for (int round = 0; round < 14; ++round) {
    const fs::path here = root / ("change-" + std::to_string(round));
    const Change change = earlier_storage(subject, here);
    int ends[2];
    if (::pipe(ends) != 0) broken("no pipe can be made");
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::close(ends[0]);
      try {
        Session s(subject, here);
        must_be_created(s);
        (void)!::write(ends[1], "b", 1);
        const auto begin = std::chrono::steady_clock::now();
        s.must(s.migrate(&via_migrate_api::apply, change.from, change.to, "apply"), "apply");
        const auto used = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin).count();
        const std::string text = std::to_string(used);
        (void)!::write(ends[1], text.data(), text.size());
      } catch (const Broken& why) {
        const std::string text = "!" + why.reason;
        (void)!::write(ends[1], text.data(), text.size());
      }
      ::_exit(0);
    }
    ::close(ends[1]);
    std::string said(4096, '\0');
    ssize_t n = ::read(ends[0], said.data(), 1);
    if (round > 0) {  // the first one is measured
      std::this_thread::sleep_for(std::chrono::microseconds(random() % (whole_us + 1)));
      ::kill(pid, SIGKILL);
    }
    ::waitpid(pid, nullptr, 0);
    while (n > 0 && static_cast<std::size_t>(n) < said.size()) {
      const ssize_t more = ::read(ends[0], said.data() + n, said.size() - static_cast<std::size_t>(n));
      if (more <= 0) break;
      n += more;
    }
    ::close(ends[0]);
    said.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    if (const auto at = said.find('!'); at != std::string::npos) broken(said.substr(at + 1));
    if (round == 0 && said.size() > 1) whole_us = std::strtoull(said.c_str() + 1, nullptr, 10);
    Session s(subject, here);
    must_be_created(s);
    s.must(s.migrate(&via_migrate_api::apply, change.from, change.to, "apply after a kill"), "apply after a kill");
    must_serve(s, "after a kill");
    s.destroy();
  }
}

}  // namespace

std::vector<Case> migrate_cases() {
  return {
      {"migrate", "plan_form", "plan answers its form and changes nothing", plan_form},
      {"migrate", "apply_again", "a change that was made may be asked for again, and loses nothing", apply_again},
      {"migrate", "unknown_schema", "a change between schemas that it does not know is refused", unknown_schema},
      {"migrate", "killed", "a change that a kill interrupted is made by the next one", killed},
  };
}

}  // namespace via::check
