// A secret that the plugin is given appears nowhere but where the descriptor refers to it.
#include <fstream>
#include <iterator>

#include "sdk/plugin/check/session.hpp"

namespace via::check {
namespace {

const std::string kFirst = minted(1), kSecond = minted(2);

void use_secrets(Session& s) {
  s.start();
  s.must(s.binding(&via_instance_api::bind, 1, kFirst), "bind");
  s.must(s.binding(&via_instance_api::describe, 1), "describe");
  s.must(s.binding(&via_instance_api::rotate, 2, kSecond), "rotate");
  s.must(s.binding(&via_instance_api::describe, 2), "describe");
  s.health();
  for (std::size_t i = 0; s.ops() != nullptr && i < s.op_count(); ++i) s.invoke(i, "{}");
  s.binding(&via_instance_api::revoke, 1);
  s.must(s.close(), "close");
}

void not_said(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  use_secrets(s);
  for (const auto& line : s.fake().log_lines())
    for (const auto& secret : {kFirst, kSecond})
      if (line.find(secret) != std::string::npos) broken("a secret is in a log line");
  const std::string all = s.everything_said();
  for (const auto& secret : {kFirst, kSecond})
    if (all.find(secret) != std::string::npos) broken("a secret is in a message, a result or a descriptor; refer to it as ${secret}");
}

void not_stored_in_clear(const Subject& subject, const fs::path& root) {
  Session s(subject, root);
  use_secrets(s);
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    for (const auto& secret : {kFirst, kSecond})
      // The fake host's box is a marker before the plain bytes: what was sealed is not in clear.
      for (std::size_t at = text.find(secret); at != std::string::npos; at = text.find(secret, at + 1))
        if (at < 7 || text.compare(at - 7, 7, "sealed:") != 0)
          broken("a secret is in clear in '" + entry.path().filename().string() + "'; seal it with via.host.secretbox/1");
  }
}

}  // namespace

std::vector<Case> secret_cases() {
  return {
      {"secrets", "not_said", "no secret in logs, messages, results or descriptors", not_said},
      {"secrets", "not_stored_in_clear", "no secret in clear in a file", not_stored_in_clear},
  };
}

}  // namespace via::check
