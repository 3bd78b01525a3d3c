// Hosts that are older, newer or poorer than the one the plugin was built against.
#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

// One life with every operation in it. Operations may refuse what they are given; they must answer.
void whole_life(Session& s) {
  s.start();
  s.must(s.binding(&via_instance_api::bind, 1, minted(1)), "bind");
  for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) s.invoke(i, "{}");
  if (s.subject().can_write()) s.must(s.write(), "check.json's write");
  s.must(s.health(), "health");
  s.must(s.binding(&via_instance_api::revoke, 0), "revoke");
  s.must(s.close(), "close");
  s.must(s.deprovision(), "deprovision");
  s.destroy();
  s.no_call_ended_twice();
}

void longer_structs(const Subject& subject, const fs::path& root) {
  Session s(subject, root, {.without = {}, .extra = 256});
  whole_life(s);
}

void shorter_structs(const Subject& subject, const fs::path& root) {
  Session s(subject, root, {.without = {}, .short_structs = true});
  whole_life(s);
}

void newer_host(const Subject& subject, const fs::path& root) {
  Session s(subject, root, {.without = {}, .abi_minor = 999});
  whole_life(s);
}

void missing_services(const Subject& subject, const fs::path& root) {
  const std::vector<std::string> all{VIA_HOST_LOG, VIA_HOST_CLOCK, VIA_HOST_STORAGE, VIA_HOST_SECRETBOX, VIA_HOST_METRICS,
                                     VIA_HOST_EXECUTOR, VIA_HOST_TURN, VIA_HOST_THREADCHECK, VIA_HOST_SETTINGS};
  std::vector<std::set<std::string>> absent{{all.begin(), all.end()}};
  for (const auto& one : all) absent.push_back({one});
  for (const auto& without : absent) {
    Session s(subject, root, {.without = without});
    if (!s.init()) continue;
    if (!s.create()) {
      s.destroy();
      continue;
    }
    // Each step may refuse; none may crash, hang or answer twice.
    if (s.provision().status() == VIA_OK && s.open().status() == VIA_OK) {
      for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) s.invoke(i, "{}");
      s.health();
    }
    s.close();
    s.deprovision();
    s.destroy();
    s.no_call_ended_twice();
  }
}

void no_message_sink(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  const via_plugin_entry* entry = load_entry(subject);
  if (entry->init(s.host(), nullptr) != VIA_OK) broken("init failed without a message sink");
  via_instance* out = nullptr;
  const via_instance_spec unknown{sizeof unknown, 0, plugin::str("no-such-type")};
  if (entry->create(s.host(), &unknown, &out, nullptr) == VIA_OK) broken("create of an unknown type succeeded");
  entry->deinit();
}

}  // namespace

std::vector<Case> version_cases() {
  return {
      {"versions", "longer_structs", "members behind the ones it knows are not read", longer_structs},
      {"versions", "shorter_structs", "members that a shorter struct does not have are not read", shorter_structs},
      {"versions", "newer_host", "a host of a later minor version is accepted", newer_host},
      {"versions", "missing_services", "a host without a service is refused or served, never crashed", missing_services},
      {"versions", "no_message_sink", "a host need not take messages", no_message_sink},
  };
}

}  // namespace via::check
