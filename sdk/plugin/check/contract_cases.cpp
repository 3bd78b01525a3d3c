// What the host relies on: retries, generations, and that every call is answered exactly once whatever was asked.
#include <random>
#include <thread>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

void provision_again(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  s.must(s.close(), "close");
  s.must(s.provision(), "provision again with equal arguments");
  s.must(s.open(), "open");
}

void data_survive_provision(const Subject& subject, const fs::path& root) {
  if (!subject.can_write() || !subject.can_read()) skipped("check.json says neither how to write nor how to read");
  Session s(subject, root);
  s.start();
  s.must(s.write(), "check.json's write");
  s.must(s.close(), "close");
  s.must(s.provision(), "provision again with equal arguments");
  s.must(s.open(), "open");
  if (!s.reads_expected()) broken("what was written is gone after provision was called again");
}

void provision_otherwise(const Subject& subject, const fs::path& root) {
  if (!subject.script.contains("other_config")) skipped("check.json names no other_config that conflicts");
  Session s(subject, root);
  s.start();
  s.must(s.close(), "close");
  const via_status status = s.provision(subject.script["other_config"].dump()).status();
  if (status != VIA_E_CONFLICT) broken("provision with other arguments answered " + std::to_string(status) + ", not VIA_E_CONFLICT");
}

void of_nothing(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  if (!s.init()) broken("init failed: " + s.message());
  if (!s.create()) broken("create failed: " + s.message());
  s.must(s.close(), "close of an instance that is not open");
  s.must(s.deprovision(), "deprovision of nothing");
  s.must(s.provision(), "provision");
  s.must(s.open(), "open");
  s.must(s.binding(&via_instance_api::revoke, 1), "revoke of a generation that was never made");
  s.must(s.binding(&via_instance_api::revoke, 0), "revoke of all generations of nothing");
  s.must(s.close(), "close");
  s.must(s.close(), "close again");
  s.must(s.deprovision(), "deprovision");
  s.must(s.deprovision(), "deprovision again");
}

void open_again(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  for (int i = 0; i < 3; ++i) {
    s.must(s.close(), "close");
    s.must(s.open(), "open after close");
  }
  s.must(s.health(), "health");
}

void generations_overlap(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  const auto described = [&](std::uint32_t generation) {
    s.must(s.binding(&via_instance_api::describe, generation), "describe of generation " + std::to_string(generation));
  };
  s.must(s.binding(&via_instance_api::bind, 1, minted(1)), "bind");
  s.must(s.binding(&via_instance_api::bind, 1, minted(1)), "bind again");
  described(1);
  s.must(s.binding(&via_instance_api::rotate, 2, minted(2)), "rotate");
  s.must(s.binding(&via_instance_api::rotate, 2, minted(2)), "rotate again");
  described(1);
  described(2);
  s.must(s.binding(&via_instance_api::revoke, 1), "revoke of generation 1");
  s.must(s.binding(&via_instance_api::revoke, 1), "revoke again");
  described(2);
  s.must(s.binding(&via_instance_api::revoke, 0), "revoke of all");
}

void describe_form(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  s.must(s.binding(&via_instance_api::bind, 1, minted(1)), "bind");
  Session::Call& call = s.binding(&via_instance_api::describe, 1);
  s.must(call, "describe");
  const json answer = json::parse(call.details(), nullptr, false);
  if (!answer.is_object() || !answer.contains("descriptor") || !answer["descriptor"].is_object())
    broken("describe must answer {\"descriptor\": {…}, \"derived\": {…}}");
  // The descriptor is kept and shown by the host; a credential reaches an app by a derived value, and there by its name only.
  if (answer["descriptor"].dump().find("${secret}") != std::string::npos)
    broken("the descriptor refers to ${secret}; a descriptor is no secret: refer to it in a derived value");
  const bool applied = subject.type.value("credentials", "") == "plugin-applied";
  const json declared = subject.type.value("derived", json::array());
  const json derived = answer.value("derived", json::object());
  for (const auto& [suffix, value] : derived.items()) {
    if (std::find(declared.begin(), declared.end(), suffix) == declared.end())
      broken("describe derives '" + suffix + "', which the manifest's \"derived\" does not list");
    if (!value.is_string()) broken("a derived value must be a string");
    if (!applied && value.get<std::string>().find("${secret}") != std::string::npos)
      broken("'" + suffix + "' refers to ${secret}, which only a type with \"credentials\": \"plugin-applied\" has");
  }
}

void health_form(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  Session::Call& call = s.health();
  s.must(call, "health");
  const json answer = json::parse(call.details(), nullptr, false);
  if (!answer.is_object() || !answer.value("state", json()).is_string() || !answer.value("checks", json()).is_array())
    broken("health must answer {\"state\": \"…\", \"checks\": […]}");
  if (answer["state"] != "ok") broken("health of an add-on that was just opened is '" + answer["state"].get<std::string>() + "'");
}

std::vector<std::string> strange_parameters(std::uint64_t seed) {
  std::vector<std::string> out{"", "{", "null", "[]", "7", "\"text\"", "{\"sql\":7}", std::string(3, '\0'), "\xff\xfe",
                               std::string(1 << 20, 'a'), std::string(5000, '['), "{\"a\":" + std::string(2000, '[') + "}"};
  std::mt19937_64 random(seed);
  for (int i = 0; i < 8; ++i) {
    std::string noise(random() % 300, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    out.push_back(noise);
  }
  return out;
}

void strange_operations(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  if (s.ops() == nullptr) skipped("the type has no operations");
  for (std::size_t i = 0; i < s.op_count(); ++i)
    for (const auto& params : strange_parameters(subject.seed)) s.invoke(i, params);
  s.must(s.health(), "health after strange parameters");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  s.no_call_ended_twice();
}

void strange_requests(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  if (s.http() == nullptr) skipped("the type answers no HTTP requests");
  const std::string prefix = subject.type.value("http", json::object()).value("prefix", "");
  const std::string long_one(5000, 'a');
  for (const char* method : {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get", ""})
    for (const std::string& path : {prefix, prefix + "/", prefix + "/../../etc", prefix + "/a%00b", prefix + "/" + long_one, prefix + "//x?y",
                                    std::string(), std::string("/\xff\xfe"), std::string("*")})
      s.request(method, path, "");
  for (const auto& body : strange_parameters(subject.seed)) {
    s.request("POST", prefix, body);
    s.request("PUT", prefix + "/x", body);
  }
  s.must(s.health(), "health after strange requests");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  s.no_call_ended_twice();
}

void completes_once(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  for (int round = 0; round < 20; ++round) {
    for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) s.invoke(i, "{}");
    s.health();
  }
  s.close();
  s.destroy();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  s.no_call_ended_twice();
}

void deadline_passed(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  if (s.ops() == nullptr) skipped("the type has no operations");
  for (std::size_t i = 0; i < s.op_count(); ++i) {
    Session::Call& call = s.new_call();
    call.set_deadline(1);
    s.invoke_on(call, i, "{}");
    s.ended(call, "an operation whose deadline had passed");
  }
  s.no_call_ended_twice();
}

void cancel_at_every_stage(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  if (s.ops() == nullptr) skipped("the type has no operations");
  std::mt19937_64 random(subject.seed);
  for (std::size_t i = 0; i < s.op_count(); ++i) {
    Session::Call& before = s.new_call();
    before.cancel();
    s.invoke_on(before, i, "{}");
    s.ended(before, "an operation that was cancelled before it began");
    for (int round = 0; round < 10; ++round) {
      Session::Call& during = s.new_call();
      std::thread other([&during, delay = random() % 300] {
        std::this_thread::sleep_for(std::chrono::microseconds(delay));
        during.cancel();
      });
      s.invoke_on(during, i, "{}");
      const bool in_time = during.wait_for(subject.patience);
      other.join();
      if (!in_time) broken("an operation that was cancelled while it ran was never answered");
    }
    Session::Call& after = s.invoke(i, "{}");
    after.cancel();
  }
  s.must(s.health(), "health after cancellations");
  s.no_call_ended_twice();
}

void quiet_after_destroy(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  s.start();
  for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) {
    Session::Call& call = s.new_call();
    s.invoke_on(call, i, "{}");
    s.ended(call, "an operation");
  }
  s.must(s.close(), "close");
  s.destroy();
  const std::size_t lines = s.fake().log_lines().size();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  s.no_call_ended_twice();
  if (s.fake().log_lines().size() != lines) broken("it logged after destroy");
}

}  // namespace

std::vector<Case> contract_cases() {
  return {
      {"contract", "provision_again", "provision with equal arguments is fine", provision_again},
      {"contract", "data_survive_provision", "provision again loses nothing", data_survive_provision},
      {"contract", "provision_otherwise", "provision with other arguments is a conflict", provision_otherwise},
      {"contract", "of_nothing", "close, deprovision and revoke of nothing are fine", of_nothing},
      {"contract", "open_again", "an instance opens again after close", open_again},
      {"contract", "generations_overlap", "a generation stays valid beside the next until it is revoked", generations_overlap},
      {"contract", "describe_form", "describe answers what the manifest declares", describe_form},
      {"contract", "health_form", "health answers its form", health_form},
      {"contract", "strange_operations", "every operation answers whatever it is given", strange_operations},
      {"contract", "strange_requests", "every HTTP request is answered whatever it is", strange_requests},
      {"contract", "completes_once", "no call is answered twice", completes_once},
      {"contract", "deadline_passed", "a call whose deadline has passed is answered", deadline_passed},
      {"contract", "cancel_at_every_stage", "a call may be cancelled before, while and after it runs", cancel_at_every_stage},
      {"contract", "quiet_after_destroy", "nothing happens after destroy", quiet_after_destroy},
  };
}

}  // namespace via::check
