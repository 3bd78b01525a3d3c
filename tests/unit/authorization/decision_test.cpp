#include "world.hpp"

namespace via::authorization::test {
namespace {

struct DecideTest : ::testing::Test, Parts {
  DecideTest() {
    grant = instance("ins_1");
    auto gone = binding("GONE");
    gone->live_generations.clear();
    grant->bindings = BindingList({binding("DATABASE"), binding("REPLICA", true), gone});
    claims.app = "api";
    claims.deploy = "dep_1";
    claims.release = "rel_1";
    claims.instance = "ins_1";
    claims.env = "production";
  }
  std::string verdict(std::string_view name, std::string_view op, std::optional<std::uint32_t> generation = {}) const {
    const auto allowed = decide(claims, grant.get(), name, op, generation);
    if (!allowed) return std::string(allowed.error().wire_name());
    return std::string(allowed->binding->binding) + "." + std::to_string(allowed->operation) + "@" +
           std::to_string(allowed->generation);
  }
  std::shared_ptr<InstanceGrant> grant;
  identity::Claims claims;
};

TEST_F(DecideTest, AnswersAsItsTableSays) {
  struct Case {
    const char* binding;
    const char* operation;
    std::optional<std::uint32_t> generation;
    const char* verdict;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"DATABASE", "query", {}, "DATABASE.0@4"},
           {"DATABASE", "query", 2, "DATABASE.0@2"},
           {"DATABASE", "execute", 4, "DATABASE.1@4"},
           {"DATABASE", "both", {}, "DATABASE.2@4"},
           {"DATABASE", "query", 1, "generation_revoked"},
           {"DATABASE", "query", 3, "generation_revoked"},
           {"DATABASE", "query", 0, "generation_unknown"},
           {"DATABASE", "query", 5, "generation_unknown"},
           {"DATABASE", "drop", {}, "not_found"},
           {"DATABASE", "", {}, "not_found"},
           {"REPLICA", "query", {}, "REPLICA.0@4"},
           {"REPLICA", "execute", {}, "scope_denied"},
           {"REPLICA", "both", {}, "scope_denied"},
           {"REPLICA", "execute", 1, "scope_denied"},
           {"GONE", "query", {}, "generation_revoked"},
           {"GONE", "query", 4, "generation_revoked"},
           {"NOPE", "query", {}, "unbound"},
           {"database", "query", {}, "unbound"},
           {"", "query", {}, "unbound"},
       })
    EXPECT_EQ(verdict(c.binding, c.operation, c.generation), c.verdict)
        << c.binding << '/' << c.operation << '@' << c.generation.value_or(999);
}

TEST_F(DecideTest, ClaimsOfAnotherAppDeployReleaseOrEnvironmentAreNotThisInstance) {
  for (std::string identity::Claims::*member : {&identity::Claims::app, &identity::Claims::deploy,
                                                &identity::Claims::release, &identity::Claims::env}) {
    const identity::Claims kept = claims;
    claims.*member = "other";
    EXPECT_EQ(verdict("DATABASE", "query"), "instance_unknown");
    EXPECT_EQ(verdict("NOPE", "query"), "instance_unknown") << "nothing of the bindings is told";
    claims = kept;
  }
  grant.reset();
  EXPECT_EQ(verdict("DATABASE", "query"), "instance_unknown");
}

}  // namespace
}  // namespace via::authorization::test
