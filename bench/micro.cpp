// What authorization adds to a request, in nanoseconds: the look-up of the verified token, the look-up of the
// instance and the decision, with 10,000 apps of ten bindings each, in an order that no cache likes.
//
//   bench_micro   → {"apps":N,"bindings":N,"decide_ns":N,"decide_hot_ns":N,"token_ns":N,"tokens":N,"publish_us":N}
//
// Thread: one.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/authorization/authority.hpp"
#include "core/authorization/decision.hpp"
#include "core/base/clock.hpp"
#include "core/base/ids.hpp"
#include "core/identity/key_set.hpp"
#include "core/identity/tokens.hpp"
#include "core/plugins/instance.hpp"

namespace {

using namespace via;

constexpr std::size_t kApps = 10'000, kBindings = 10, kLooks = 1'000'000, kRounds = 5;

// Time on a core, so that another process on it does not count.
double core_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Nanoseconds of one call of `work(i)`, the median of some rounds.
template <class Work>
double ns_each(std::size_t looks, Work work) {
  std::vector<double> rounds;
  for (std::size_t r = 0; r < kRounds; ++r) {
    const double begin = core_ns();
    for (std::size_t i = 0; i < looks; ++i) work(i);
    rounds.push_back((core_ns() - begin) / static_cast<double>(looks));
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

[[noreturn]] void wrong(const char* what) {
  std::fprintf(stderr, "bench_micro: %s\n", what);
  std::exit(1);
}

}  // namespace

int main() {
  SystemClock clock;
  SystemEntropy entropy;
  Logger log(Logger::Target::none);
  plugins::Executor executor(clock, 1);
  plugins::Metrics metrics;
  const plugins::SecretBox secrets(Secret(std::string(32, 'k')), entropy);
  const plugins::Services services{clock, log, executor, metrics, secrets};
  plugins::AddonType type;
  type.id = "sqlite";
  type.ops = {{"query", {"read"}}, {"execute", {"write"}}, {"setup", {"write"}}, {"batch", {"write"}}};

  std::vector<std::shared_ptr<const authorization::InstanceGrant>> grants;
  std::vector<identity::Claims> claims(kApps);
  std::vector<std::string> names;
  for (std::size_t b = 0; b < kBindings; ++b) names.push_back("DATABASE_" + std::to_string(b));
  for (std::size_t a = 0; a < kApps; ++a) {
    auto grant = std::make_shared<authorization::InstanceGrant>();
    identity::Claims& c = claims[a];
    grant->instance = c.instance = new_id("ins", clock, entropy);
    grant->app = c.app = c.subject = "app-" + std::to_string(a);
    grant->deploy = c.deploy = new_id("dep", clock, entropy);
    grant->release = c.release = new_id("rel", clock, entropy);
    grant->env = c.env = "production";
    c.expires_at = clock.unix_ms() / 1000 + 3600;
    authorization::BindingList::Bindings bindings;
    for (const std::string& name : names) {
      auto binding = std::make_shared<authorization::BindingGrant>();
      binding->binding = name;
      binding->binding_id = new_id("bind", clock, entropy);
      binding->addon_id = new_id("addon", clock, entropy);
      binding->type = type.id;
      binding->scopes = {"read", "write"};
      binding->live_generations = {1};
      binding->newest_generation = 1;
      binding->instance =
          std::make_shared<plugins::AddonInstance>(services, nullptr, type, binding->addon_id, "{}", "");
      bindings.push_back(std::move(binding));
    }
    grant->bindings = std::move(bindings);
    grants.push_back(std::move(grant));
  }
  authorization::Authority authority;
  authority.replace_all(grants);
  const auto index = authority.current();

  std::size_t allowed = 0;
  const double decide = ns_each(kLooks, [&](std::size_t i) {
    const identity::Claims& c = claims[i * 7919 % kApps];
    const auto& binding = names[i % kBindings];
    const auto result =
        authorization::decide(c, index->find(c.instance), binding, i % 2 == 0 ? "query" : "execute", 1U);
    allowed += result.has_value() ? 1 : 0;
  });
  if (allowed != kLooks * kRounds) wrong("a decision refused what is allowed");

  // The same while only a hundred of the apps are busy.
  const double hot = ns_each(kLooks, [&](std::size_t i) {
    const identity::Claims& c = claims[i * 7919 % 100];
    const auto result = authorization::decide(c, index->find(c.instance), names[i % kBindings],
                                              i % 2 == 0 ? "query" : "execute", 1U);
    allowed += result.has_value() ? 1 : 0;
  });

  // As many tokens as the cache holds: about the size and the shape of real ones.
  constexpr std::size_t kTokens = 8'192;
  identity::TokenCache cache(kTokens);
  const std::shared_ptr<const identity::KeySet> keys = 
      std::make_shared<const identity::KeySet>(std::vector<identity::KeySet::Entry>(), 0U);
  std::vector<std::string> tokens(kTokens);
  for (std::size_t t = 0; t < kTokens; ++t) {
    tokens[t] = "eyJhbGciOiJFUzI1NiJ9." + std::string(420, 'x') + "." + new_id("a", clock, entropy) + new_id("b", clock, entropy) + new_id("c", clock, entropy);
    cache.insert(tokens[t], keys, claims[t]);
  }
  const std::int64_t now = clock.unix_ms() / 1000;
  std::size_t found = 0;
  const double token = ns_each(kLooks, [&](std::size_t i) {
    found += cache.peek(tokens[i * 7919 % kTokens], keys.get(), now) != nullptr ? 1 : 0;
  });
  if (found != kLooks * kRounds) wrong("a token is not in the cache");

  const double publish = ns_each(1000, [&](std::size_t i) {
    authorization::Change change;
    change.granted.push_back(grants[i * 7919 % kApps]);
    (void)authority.publish(std::move(change));
  });
  std::printf("{\"apps\":%zu,\"bindings\":%zu,\"decide_ns\":%.1f,\"decide_hot_ns\":%.1f,\"token_ns\":%.1f,\"tokens\":%zu,\"publish_us\":%.1f}\n",
              index->size(), kApps * kBindings, decide, hot, token, kTokens, publish / 1000);
}
