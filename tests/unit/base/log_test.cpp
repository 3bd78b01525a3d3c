// Log lines are JSON, and secrets and hidden paths do not get into them.
#include "core/base/log.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace via {
namespace {

struct LogTest : ::testing::Test {
  std::shared_ptr<std::vector<std::string>> lines = std::make_shared<std::vector<std::string>>();
  Logger log{lines};
  // The value of the last line's field "v".
  std::string logged(std::string value) {
    log.info("event", {{"v", std::move(value)}});
    return nlohmann::json::parse("{" + lines->back() + "}")["v"];
  }
};

TEST_F(LogTest, ALineIsOneJsonObjectWhateverIsLogged) {
  log.warn("something_happened", {{"text", "a\"b\n\xff{}%v"}, {"count", 3}, {"rate", 1.5}, {"on", true}});
  ASSERT_EQ(lines->size(), 1U);
  EXPECT_EQ(lines->at(0).find('\n'), std::string::npos);
  const auto line = nlohmann::json::parse("{" + lines->at(0) + "}");
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["event"], "something_happened");
  EXPECT_EQ(line["count"], "3");
}

TEST_F(LogTest, TokensAreReplaced) {
  const std::string token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhcHAifQ.c2lnbmF0dXJl-_x";
  EXPECT_EQ(logged(token), "[token]");
  EXPECT_EQ(logged("Bearer " + token + ", twice " + token + "."), "Bearer [token], twice [token]");
  EXPECT_EQ(logged("\"" + token + "\""), "\"[token]\"");
  EXPECT_EQ(logged("eyJ short"), "eyJ short") << "what is no token stays";
  EXPECT_EQ(logged("GET /c/cap_KvEfvInlsMAuKWd9oQZQ8ND9CkaIz0cinYfrvLEbSJI/api/v1"), "GET /c/[token]/api/v1");
  EXPECT_EQ(logged("cap_ shaped"), "cap_ shaped");
}

TEST_F(LogTest, PathsBelowAHiddenFolderAreReplaced) {
  log.hide_folder("/var/lib/via");
  log.hide_folder("/srv/other");
  EXPECT_EQ(logged("/var/lib/via/addons/sqlite/addon_1/data.sqlite"), "[path]");
  EXPECT_EQ(logged("cannot open '/var/lib/via/keys/a.pem': denied"), "cannot open '[path]': denied");
  EXPECT_EQ(logged("/var/lib/via and /srv/other/x, /etc/hosts"), "[path] and [path], /etc/hosts");
}

TEST_F(LogTest, ALevelThatIsOffWritesNothing) {
  Logger quiet(Logger::Target::none);
  EXPECT_FALSE(quiet.enabled(Level::critical));
  Logger some(Logger::Target::standard_error, Level::error);
  EXPECT_FALSE(some.enabled(Level::warn));
  EXPECT_TRUE(some.enabled(Level::error));
}

}  // namespace
}  // namespace via
