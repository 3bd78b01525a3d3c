// The command line as an operator uses it: the seed's flow through the real binary, with a server and without
// one.
#include "functional/routes.hpp"

#include <filesystem>
#include <fstream>

namespace via::test {
namespace {

class Cli : public World {
 protected:
  void SetUp() override {}
  Finished via(std::vector<std::string> words) {
    words.insert(words.begin(), VIA_BINARY);
    words.insert(words.end(), {"--state-dir", host.state_dir().string()});
    return run_program(words);
  }
  json via_json(std::vector<std::string> words) {
    words.emplace_back("--json");
    const Finished done = via(words);
    EXPECT_EQ(done.exit_code, 0) << words[0] << " " << words[1] << ": " << done.err;
    return json::parse(done.out, nullptr, false);
  }
  // What changes from one call to the next is taken out.
  static json steady(json value) {
    if (value.is_object()) {
      for (const char* name : {"server", "operation"}) value.erase(name);
      if (value.value("name", json()) == "disk") value.erase("detail");  // the free space changes under every test
      for (auto& member : value) member = steady(member);
    } else if (value.is_array()) {
      for (auto& member : value) member = steady(member);
    }
    return value;
  }
};

TEST_F(Cli, FlowOfTheSeedEndsWithDataReadThroughTheBinding) {
  ASSERT_TRUE(host.start());
  EXPECT_EQ(via({"app", "create", "api"}).exit_code, 0);
  EXPECT_EQ(via({"addon", "create", "sqlite", "app-db", "--app", "api"}).exit_code, 0);
  EXPECT_NE(via({"addon", "list", "--app", "api"}).out.find("app-db"), std::string::npos);
  EXPECT_EQ(via({"addon", "bind", "api", "app-db", "--binding", "DATABASE"}).exit_code, 0);
  EXPECT_EQ(via({"config", "set", "api", "GREETING=hello", "EMPTY="}).exit_code, 0);
  EXPECT_EQ(via({"deploy", "create", "api"}).exit_code, 0);
  const json status = via_json({"addon", "status", "app-db"});
  EXPECT_EQ(status["state"], "active");
  EXPECT_EQ(status["layers"].size(), 5U);
  const json instance = via_json({"runtime", "issue", "api"});
  EXPECT_FALSE(instance.contains("token")) << "the token is in its file only";
  const std::string token = text_of(std::filesystem::path(instance.value("material", "")) / "token");
  Caller app(host.port(), token);
  EXPECT_EQ(app.setup("CREATE TABLE t(a); INSERT INTO t VALUES('via')").status, 200);
  EXPECT_EQ(rows_of(app.query("SELECT a FROM t")), json({{"via"}}));
  EXPECT_EQ(via({"runtime", "stop", instance.value("id", "")}).exit_code, 0);
  expect_error(app.query("SELECT a FROM t"), 403, "instance_unknown");
  EXPECT_EQ(via({"addon", "unbind", "api", "DATABASE"}).exit_code, 0);
  EXPECT_EQ(via({"config", "unset", "api", "EMPTY"}).exit_code, 0);
  EXPECT_EQ(via({"status"}).exit_code, 0);
}

TEST_F(Cli, ExitCodesSayWhatWentWrong) {
  ASSERT_TRUE(host.start());
  ASSERT_EQ(via({"app", "create", "api"}).exit_code, 0);
  ASSERT_EQ(via({"addon", "create", "sqlite", "db", "--app", "api", "--bind", "DATABASE"}).exit_code, 0);
  const struct {
    std::vector<std::string> words;
    int exit_code;
  } rows[] = {
      {{"frobnicate"}, 2},
      {{"app", "create"}, 2},
      {{"app", "create", "not a name"}, 2},
      {{"app", "show", "nobody"}, 3},
      {{"addon", "status", "nothing"}, 3},
      {{"addon", "create", "nosuchtype", "x", "--app", "api"}, 3},
      {{"deploy", "show", "dep_nothing"}, 3},
      {{"runtime", "stop", "ins_nothing"}, 3},
      {{"app", "create", "api"}, 4},
      {{"addon", "create", "sqlite", "db", "--app", "api"}, 4},
      {{"app", "delete", "api"}, 4},
      {{"runtime", "issue", "api"}, 4},
  };
  for (const auto& row : rows) {
    const Finished done = via(row.words);
    SCOPED_TRACE(row.words[0] + " " + (row.words.size() > 1 ? row.words[1] : "") + ": " + done.err);
    EXPECT_EQ(done.exit_code, row.exit_code);
    EXPECT_TRUE(done.out.empty()) << done.out;
    EXPECT_FALSE(done.err.empty());
    EXPECT_EQ(done.err.find("data.sqlite"), std::string::npos);
  }
}

TEST_F(Cli, InProcessAndThroughTheSocketAnswerTheSame) {
  ASSERT_EQ(via({"app", "create", "api"}).exit_code, 0)
      << "no server runs: the command takes the lock itself";
  ASSERT_EQ(via({"addon", "create", "sqlite", "db", "--app", "api", "--bind", "DATABASE"}).exit_code, 0);
  ASSERT_EQ(via({"config", "set", "api", "A=1"}).exit_code, 0);
  ASSERT_EQ(via({"deploy", "create", "api"}).exit_code, 0);
  const std::vector<std::vector<std::string>> commands{{"status"},
                                                       {"app", "list"},
                                                       {"app", "show", "api"},
                                                       {"addon", "list"},
                                                       {"addon", "list", "--app", "api"},
                                                       {"addon", "status", "db"},
                                                       {"deploy", "list", "--app", "api"},
                                                       {"release", "list"},
                                                       {"runtime", "list"},
                                                       {"config", "list", "api"},
                                                       {"identity", "keys", "list"},
                                                       {"plugin", "list"},
                                                       {"plugin", "show", "sqlite"}};
  std::vector<json> before;
  for (const auto& command : commands) before.push_back(steady(via_json(command)));
  ASSERT_TRUE(host.start()) << host.log();
  for (std::size_t i = 0; i < commands.size(); ++i) {
    SCOPED_TRACE(commands[i].back());
    EXPECT_EQ(steady(via_json(commands[i])), before[i]);
  }
  const Finished missing = via({"app", "show", "nobody"});
  EXPECT_EQ(host.stop(), 0);
  const Finished alone = via({"app", "show", "nobody"});
  EXPECT_EQ(alone.exit_code, missing.exit_code);
  EXPECT_EQ(alone.err, missing.err);
}

TEST_F(Cli, TokensOfEachKindAreIssuedOnceAndShownOnlyThere) {
  ASSERT_TRUE(host.start());
  ASSERT_EQ(via({"app", "create", "api"}).exit_code, 0);
  ASSERT_EQ(via({"deploy", "create", "api"}).exit_code, 0);
  for (const std::string kind : {"runtime", "build", "session"}) {
    SCOPED_TRACE(kind);
    std::vector<std::string> words{"identity", "issue", "--kind", kind};
    if (kind != "session") words.insert(words.end(), {"--app", "api"});
    const json issued = via_json(words);
    EXPECT_EQ(issued["kind"], kind);
    const Response answer = Caller(host.port(), issued.value("token", "")).resolve();
    if (kind == "runtime") {
      EXPECT_EQ(answer.status, 200);
    } else
      expect_error(answer, 403, kind + "_token");
    EXPECT_EQ(host.log().find(issued.value("token", "")), std::string::npos);
  }
}

// Whatever the folder is: one that is not there, an empty one, one with something else in it.
TEST_F(Cli, WhereThereIsNoHostACommandSaysSoAndMakesNothing) {
  const std::vector<std::vector<std::string>> commands{
      {"status"},           {"doctor"},        {"doctor", "--fix"},      {"app", "list"},         {"app", "show", "api"}, {"addon", "list"},
      {"addon", "status", "db"}, {"deploy", "list", "--app", "api"},     {"release", "list"},     {"runtime", "list"},    {"config", "list", "api"},
      {"secret", "list", "api"}, {"identity", "keys", "list"},           {"identity", "keys", "rotate"}, {"plugin", "list"},
      {"plugin", "show", "sqlite"}, {"backup", "list"}, {"backup", "create"}, {"op", "list"},     {"op", "wait", "op_1"}, {"audit", "list"},
      {"audit", "verify"},  {"addon", "create", "sqlite", "db", "--app", "api"}, {"app", "delete", "api", "--yes"},
      {"plugin", "install", "/nonexistent.viaplugin", "--plan"}};
  const auto state = host.state_dir();
  const auto entries = [&] { return std::distance(std::filesystem::directory_iterator(state), std::filesystem::directory_iterator()); };
  for (const char* folder : {"nothing", "empty", "others"}) {
    SCOPED_TRACE(folder);
    std::filesystem::remove_all(state);
    const std::string kind = folder;
    if (kind != "nothing") std::filesystem::create_directory(state);
    if (kind == "others") std::ofstream(state / "notes.txt") << "mine";
    for (const auto& words : commands) {
      SCOPED_TRACE(words.front() + " " + words.back());
      const Finished done = via(words);
      EXPECT_EQ(done.exit_code, 3) << done.err;
      EXPECT_EQ(done.err, "via: There is no host in " + state.string() + ". Start one: via serve --state-dir " + state.string() + "\n");
      EXPECT_EQ(done.out, "");
      EXPECT_EQ(std::filesystem::exists(state), kind != "nothing");
      if (kind != "nothing") {
        EXPECT_EQ(entries(), kind == "others" ? 1 : 0);
      }
    }
    const Finished program = via({"status", "--json"});
    EXPECT_EQ(program.exit_code, 3);
    const json said = json::parse(program.out, nullptr, false);
    ASSERT_TRUE(said.is_object()) << program.out;
    EXPECT_EQ(said["error"]["code"], "not_found");
    EXPECT_EQ(said["error"]["exit_code"], 3);
    EXPECT_EQ(said["error"]["state_dir"], state.string());
  }
  // By its default place.
  const Finished done = run_program({VIA_BINARY, "status"}, {{"VIA_STATE_DIR", (state / "none").string()}});
  EXPECT_EQ(done.exit_code, 3);
  EXPECT_TRUE(done.err.ends_with("Start one: via serve\n")) << done.err;
  std::filesystem::remove_all(state);
  EXPECT_EQ(via({"app", "create", "api"}).exit_code, 0) << "what begins a host still does";
  EXPECT_EQ(via({"status"}).exit_code, 0);
}

TEST_F(Cli, VersionHelpAndCompletionNeedNoHost) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"version"},
                                                {"--help"},
                                                {"addon", "create", "--help"},
                                                {"completion", "bash"},
                                                {"completion", "zsh"},
                                                {"completion", "fish"}}) {
    const Finished done = via(words);
    EXPECT_EQ(done.exit_code, 0) << words[0] << done.err;
    EXPECT_FALSE(done.out.empty());
  }
  EXPECT_FALSE(std::filesystem::exists(host.state_dir() / "control-plane.db"))
      << "asking for help makes no state";
}

}  // namespace
}  // namespace via::test
