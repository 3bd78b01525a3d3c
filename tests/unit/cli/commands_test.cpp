// Every command: the admin call it makes and how its answer is shown.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/command.hpp"
#include "harness.hpp"
#include "support/fakes.hpp"

namespace via::cli::testing {
namespace {

using nlohmann::json;

struct Case {
  const char* line;
  const char* command;
  const char* arguments;
};

const std::string kCwd = std::filesystem::current_path().string();

class Requests : public ::testing::TestWithParam<Case> {};

TEST_P(Requests, AreTheOnesOfTheAdminContract) {
  Shell shell;
  const Ran ran = shell.run(words_of(GetParam().line));
  ASSERT_EQ(shell.host.calls.size(), 1U) << ran.err;
  EXPECT_EQ(shell.host.calls[0].command, GetParam().command);
  json sent = shell.host.calls[0].arguments;
  // Long commands are begun and followed: their answer is that of the operation.
  if (sent.contains("wait")) {
    EXPECT_EQ(sent["wait"], false);
    sent.erase("wait");
  }
  EXPECT_EQ(sent, json::parse(GetParam().arguments));
}

INSTANTIATE_TEST_SUITE_P(
    Commands, Requests,
    ::testing::Values(
        Case{"status", "status", "{}"}, Case{"app create api", "app.create", R"({"name":"api"})"},
        Case{"app list", "app.list", "{}"}, Case{"app show api", "app.show", R"({"name":"api"})"},
        Case{"app delete api", "app.delete", R"({"name":"api"})"},
        Case{"app delete api --plan", "app.delete", R"({"name":"api","plan":true})"},
        // A name that is also a command's is a name where a name is asked for.
        Case{"app show addon", "app.show", R"({"name":"addon"})"},
        Case{"app show list", "app.show", R"({"name":"list"})"},
        Case{"addon create sqlite db --app api", "addon.create",
             R"({"type":"sqlite","name":"db","app":"api"})"},
        Case{"addon create sqlite db --app api --bind DATABASE --read-only", "addon.create",
             R"({"type":"sqlite","name":"db","app":"api","bind":"DATABASE","read_only":true})"},
        Case{"addon create --app=api sqlite db", "addon.create",
             R"({"type":"sqlite","name":"db","app":"api"})"},
        Case{"addon list", "addon.list", "{}"},
        Case{"addon list --app api", "addon.list", R"({"app":"api"})"},
        Case{"addon status db", "addon.status", R"({"name":"db"})"},
        Case{"addon bind api db --binding DATABASE", "addon.bind",
             R"({"app":"api","name":"db","binding":"DATABASE"})"},
        Case{"addon bind api db --binding DATABASE --read-only", "addon.bind",
             R"({"app":"api","name":"db","binding":"DATABASE","read_only":true})"},
        Case{"addon unbind api DATABASE", "addon.unbind", R"({"app":"api","target":"DATABASE"})"},
        Case{"addon share db", "addon.share", R"({"name":"db"})"},
        Case{"addon share db --app api --query-only --db d --expires 2d --rate 5 --note n", "addon.share",
             R"({"name":"db","app":"api","query_only":true,"database":"d","expires_seconds":172800,"rate":5,"note":"n"})"},
        Case{"addon share db --read-only --expires never", "addon.share",
             R"({"name":"db","read_only":true,"expires_seconds":0})"},
        Case{"addon shares", "addon.shares", "{}"},
        Case{"addon shares db --app api", "addon.shares", R"({"name":"db","app":"api"})"},
        Case{"addon unshare share_1", "addon.unshare", R"({"share":"share_1"})"},
        Case{"addon unshare share_1 --plan", "addon.unshare", R"({"share":"share_1","plan":true})"},
        Case{"addon destroy db", "addon.destroy", R"({"name":"db"})"},
        Case{"addon destroy db --app api --force --confirm db", "addon.destroy",
             R"({"name":"db","app":"api","force":true,"confirm":"db"})"},
        Case{"addon restore db --snapshot snap_1 --drain --restart-bound-apps", "addon.restore",
             R"({"name":"db","snapshot":"snap_1","drain":true,"restart_bound_apps":true})"},
        Case{"addon resume db --app api", "addon.resume", R"({"name":"db","app":"api"})"},
        Case{"addon export db /f --app api", "addon.export", R"({"name":"db","file":"/f","app":"api"})"},
        Case{"addon restore db --snapshot snap_1 --force-after-timeout", "addon.restore",
             R"({"name":"db","snapshot":"snap_1","force_after_timeout":30})"},
        Case{"addon restore db --snapshot snap_1 --force-after-timeout 5", "addon.restore",
             R"({"name":"db","snapshot":"snap_1","force_after_timeout":5})"},
        Case{"addon restore db --snapshot snap_1 --plan", "addon.restore",
             R"({"name":"db","snapshot":"snap_1","plan":true})"},
        Case{"addon destroy db --apply 00ff", "addon.destroy", R"({"name":"db","if_plan":"00ff"})"},
        Case{"addon rotate-credentials db --app api --binding D", "addon.rotate-credentials",
             R"({"name":"db","app":"api","binding":"D"})"},
        Case{"addon revoke-credentials db --app api --binding D --generation 1 --yes", "addon.revoke-credentials",
             R"({"name":"db","app":"api","binding":"D","generation":1,"yes":true})"},
        Case{"audit list --since 1h", "audit.list", R"({"since":3600})"},
        Case{"audit list --since 2026-11-21T12:00:00+01:00", "audit.list", R"({"since":"2026-11-21T12:00:00+01:00"})"},
        Case{"backup create", "backup.create", "{}"},
        Case{"deploy rollback api --to 3 --reissue --yes", "deploy.rollback", R"({"app":"api","to":"3","reissue":true})"},
        Case{"deploy create api", "deploy.create", R"({"app":"api"})"},
        Case{
            "deploy create api --env A=1 --env B=x=y --replicas 2 -- /bin/api --json --port 80",
            "deploy.create",
            R"({"app":"api","env":{"A":"1","B":"x=y"},"replicas":2,"command":["/bin/api","--json","--port","80"]})"},
        Case{"deploy create api --cwd /srv -- ./api", "deploy.create",
             R"({"app":"api","cwd":"/srv","command":["./api"]})"},
        Case{"deploy create --env A=1 api -- run -- [a,b]", "deploy.create",
             R"({"app":"api","env":{"A":"1"},"command":["run","--","[a,b]"]})"},
        Case{"deploy list --app api", "deploy.list", R"({"app":"api"})"},
        Case{"deploy show dep_1", "deploy.show", R"({"deploy":"dep_1"})"},
        Case{"release list", "release.list", "{}"},
        Case{"release list --app api", "release.list", R"({"app":"api"})"},
        Case{"release show rel_1", "release.show", R"({"release":"rel_1"})"},
        Case{"runtime list", "runtime.list", "{}"},
        Case{"runtime issue api --out /run/x --ttl 15m", "runtime.issue",
             R"({"app":"api","out":"/run/x","ttl_seconds":900})"},
        Case{"runtime stop ins_1", "runtime.stop", R"({"instance":"ins_1"})"},
        Case{"runtime stop ins_1 --plan", "runtime.stop", R"({"instance":"ins_1","plan":true})"},
        Case{"config set api A=1 B=two", "config.set", R"({"app":"api","values":{"A":"1","B":"two"}})"},
        Case{"config unset api A", "config.unset", R"({"app":"api","key":"A"})"},
        Case{"config unset api A --apply 00ff", "config.unset", R"({"app":"api","key":"A","if_plan":"00ff"})"},
        Case{"secret unset api A --plan", "secret.unset", R"({"app":"api","key":"A","plan":true})"},
        Case{"config list api", "config.list", R"({"app":"api"})"},
        Case{"identity keys list", "identity.keys.list", "{}"},
        Case{"identity issue --kind build --app api --ttl 1h", "identity.issue",
             R"({"kind":"build","app":"api","ttl_seconds":3600})"},
        Case{"identity issue --kind session --subject ada", "identity.issue",
             R"({"kind":"session","subject":"ada"})"},
        Case{"plugin list", "plugin.list", "{}"},
        Case{"plugin show sqlite", "plugin.show", R"({"plugin":"sqlite"})"},
        Case{"plugin verify /p/x.so", "plugin.verify", R"({"file":"/p/x.so"})"},
        Case{"plugin trust /p/../p/x.so", "plugin.trust", R"({"file":"/p/x.so"})"},
        Case{"plugin untrust via.sqlite", "plugin.untrust", R"({"plugin":"via.sqlite"})"},
        Case{"plugin install /p/x.viaplugin", "plugin.install", R"({"file":"/p/x.viaplugin"})"},
        Case{"plugin install /p/x.viaplugin --plan", "plugin.install", R"({"file":"/p/x.viaplugin","plan":true})"},
        Case{"plugin upgrade /p/x.viaplugin --apply 00ff --drain-timeout 2m", "plugin.upgrade",
             R"({"file":"/p/x.viaplugin","if_plan":"00ff","drain_timeout_seconds":120})"},
        Case{"plugin upgrade --plugin acme.notes --to 1.3.0", "plugin.upgrade", R"({"plugin":"acme.notes","to":"1.3.0"})"},
        Case{"plugin rollback acme.notes", "plugin.rollback", R"({"plugin":"acme.notes"})"},
        Case{"plugin rollback acme.notes --yes", "plugin.rollback", R"({"plugin":"acme.notes","yes":true})"},
        Case{"plugin remove acme.notes --version 1.2.0", "plugin.remove", R"({"plugin":"acme.notes","version":"1.2.0"})"},
        Case{"plugin keys list", "plugin.keys.list", "{}"},
        Case{"plugin keys remove acme --plan", "plugin.keys.remove", R"({"name":"acme","plan":true})"}));

// A host's answer to any of the commands: something at every member that a command may show.
const json kEverything = json::parse(R"({
  "id":"id_1","name":"n1","app":"a1","deleted":"n1","state":"active","installation":"I1","version":"0.1","kid":"key_1","head":"h1","url":"http://u/c/1",
  "generation":2,"profile_version":3,"file":"/f","sha256":"00ff","token":"t.t.t","fingerprint":"f1","to":"1.2","plugin":"p1","safety_snapshot":null,
  "unbound":[{"id":"bind_1","binding":"DATABASE","app":"a1"},{"id":"bind_2","binding":"REPORTS","app":"a1"}],
  "bindings":[{"id":"bind_1","binding":"DATABASE","change":"added"}],
  "keys":[{"key":"A","generation":1}],
  "repaired":[{"instance":"ins_1","action":"restarted"}],
  "changes":["made the app"],
  "checks":[{"name":"disk","ok":false,"detail":"it is full"},{"name":"keys","ok":true,"detail":"all there"}],
  "layers":[{"name":"storage","ok":true,"detail":"all there"}],
  "problems":[{"code":"runtime_identity_expired","message":"It has expired."}],
  "hash":"00ff","note":"a note of some words","ok":false,"ready":true})");

// Every command of the tree, by its examples.
TEST(Quiet, PrintsIdsAndNamesOnlyWhateverTheCommand) {
  int commands = 0;
  const auto visit = [&](const auto& self, const CommandTree& tree, const CLI::App& app) -> void {
    for (const CLI::App* child : app.get_subcommands({})) self(self, tree, *child);
    const Command* command = tree.find(&app);
    if (command == nullptr || command->admin_command().empty()) return;
    ++commands;
    EXPECT_TRUE(command->has_quiet_form()) << command->admin_command();
    std::string line = command->example_lines().front();
    line = line.substr(line.find(tree.program() + " ") + tree.program().size() + 1);
    for (const char* end : {" -- ", "   ", " >", " |"}) line = line.substr(0, line.find(end));
    Shell shell;
    shell.program = tree.program();
    shell.input = "from standard input\n";
    shell.variables["VARY_TARGETS"] = shell.private_file("[targets.prod]\nstate_dir = \"/srv/prod\"\n");
    auto words = words_of(line);
    via::test::TemporaryFolder home;
    for (std::string& word : words)
      if (word == "via.app.toml" || word.starts_with("~/")) {
        word = home.path() / "file";
        std::ofstream(word) << "app = \"api\"\n";
      }
    words.emplace_back("--quiet");
    const bool list = command->admin_command().ends_with(".list") || command->admin_command().ends_with("shares") || command->admin_command().ends_with("snapshots");
    json item = kEverything;
    item["key"] = "k1";
    item["sequence"] = 7;
    shell.host.answer = succeed(list ? json{{"app", "a1"}, {"items", {item, item}}} : kEverything);
    if (command->admin_command() == "app.debug-bundle") words.insert(words.end(), {"--out", home.path() / "report.json"});
    const Ran ran = shell.run(words);
    EXPECT_EQ(ran.err, "") << line;
    std::istringstream out(ran.out);
    int lines = 0;
    for (std::string text; std::getline(out, text); ++lines) {
      EXPECT_FALSE(text.empty()) << line;
      EXPECT_EQ(text.find(' '), std::string::npos) << line << ": " << text;
      EXPECT_EQ(text.find_first_of("[{\""), std::string::npos) << line << ": " << text;
      EXPECT_NE(text, "null") << line;
      EXPECT_NE(text, "false") << line;
    }
    if (list) {
      EXPECT_EQ(lines, 2) << line;
    }
  };
  for (const char* program : {"via", "vary"}) {
    const CommandTree tree(program);
    visit(visit, tree, tree.root());
  }
  EXPECT_GT(commands, 60);
}

TEST(Quiet, OfUnbindPrintsTheBindingsThatEnded) {
  Shell shell;
  shell.host.answer = succeed(kEverything);
  EXPECT_EQ(shell.run({"addon", "unbind", "api", "db", "-q"}).out, "bind_1\nbind_2\n");
  shell.host.answer = succeed({{"unbound", json::array()}});
  EXPECT_EQ(shell.run({"addon", "unbind", "api", "db", "-q"}).out, "");
}

TEST(Quiet, OfAPlanPrintsItsHash) {
  Shell shell;
  shell.host.answer = succeed({{"plan", {{"action", "destroy"}}}, {"hash", "00ff"}});
  EXPECT_EQ(shell.run({"addon", "destroy", "db", "--plan", "-q"}).out, "00ff\n");
}

TEST(Requests, NameFilesByTheirAbsolutePath) {
  Shell shell;
  shell.run({"plugin", "verify", "x.so"});
  EXPECT_EQ(shell.host.calls.at(0).arguments["file"], kCwd + "/x.so");
}

TEST(Requests, NameTheProgramOfADeployByItsAbsolutePath) {
  Shell shell;
  shell.run({"deploy", "create", "api", "--", "./api", "./argument"});
  EXPECT_EQ(shell.host.calls.at(0).arguments["command"], (json{kCwd + "/api", "./argument"}));
}

TEST(Json, IsTheAnswerOfTheHostAsItIs) {
  Shell shell;
  shell.host.answer = succeed({{"items", {{{"name", "api"}, {"unknown_field", {1, 2}}}}}});
  for (const auto& words : {std::vector<std::string>{"--json", "app", "list"},
                            {"app", "--json", "list"},
                            {"app", "list", "--json"}}) {
    const Ran ran = shell.run(words);
    EXPECT_EQ(ran.code, 0);
    EXPECT_EQ(json::parse(ran.out), *shell.host.answer);
    EXPECT_EQ(ran.err, "");
  }
}

TEST(Json, OfAnErrorIsOnStdoutToo) {
  Shell shell;
  shell.host.answer = fail(Code::not_found, "There is no app 'api'. See them: via app list");
  const Ran ran = shell.run({"app", "show", "api", "--json"});
  EXPECT_EQ(ran.code, 3);
  EXPECT_EQ(json::parse(ran.out)["error"]["code"], "not_found");
  EXPECT_EQ(ran.err, "via: There is no app 'api'. See them: via app list\n");
}

TEST(Quiet, PrintsNamesAndIdsOnly) {
  Shell shell;
  shell.host.answer =
      succeed({{"items", {{{"name", "a"}, {"id", "app_1"}}, {{"name", "b"}, {"id", "app_2"}}}}});
  EXPECT_EQ(shell.run({"app", "list", "-q"}).out, "a\nb\n");
  shell.host.answer = succeed({{"name", "a"}, {"id", "app_1"}});
  const Ran ran = shell.run({"app", "create", "a", "--quiet"});
  EXPECT_EQ(ran.out, "app_1\n");
  EXPECT_EQ(ran.err, "");
}

TEST(Hints, GoToStderrAndNameTheNextCommand) {
  Shell shell;
  shell.host.answer = succeed({{"name", "api"}, {"id", "app_1"}});
  const Ran ran = shell.run({"app", "create", "api"});
  EXPECT_EQ(ran.out.find("Next:"), std::string::npos);
  EXPECT_NE(ran.err.find("via addon create sqlite app-db --app api --bind DATABASE"), std::string::npos);
}

TEST(ExitCodes, FollowTheErrorOfTheHost) {
  const std::pair<Code, int> cases[] = {
      {Code::internal, 1}, {Code::bad_request, 2}, {Code::not_found, 3},     {Code::conflict, 4},
      {Code::refused, 4},  {Code::not_allowed, 5}, {Code::token_missing, 5}, {Code::deadline_exceeded, 6}};
  for (const auto& [code, exit_code] : cases) {
    Shell shell;
    shell.host.answer = fail(code, "no");
    EXPECT_EQ(shell.run({"app", "list"}).code, exit_code) << info(code).name;
  }
}

TEST(ExitCodes, AreSevenWhenSomethingIsDegraded) {
  Shell shell;
  const json bad = {{{"name", "disk"}, {"ok", false}, {"detail", "full"}}};
  shell.host.answer = succeed({{"server", {{"running", true}}}, {"checks", bad}});
  EXPECT_EQ(shell.run({"status"}).code, 7);
  EXPECT_EQ(shell.run({"status", "--json"}).code, 7);
  EXPECT_EQ(shell.run({"status", "--quiet"}).code, 7);
  shell.host.answer = succeed({{"name", "db"}, {"state", "active"}, {"layers", bad}});
  EXPECT_EQ(shell.run({"addon", "status", "db"}).code, 7);
  shell.host.answer =
      succeed({{"name", "db"}, {"layers", {{{"name", "runtime"}, {"ok", false}, {"detail", "0"}}}}});
  EXPECT_EQ(shell.run({"addon", "status", "db"}).code, 0);  // not used yet is not ill
  shell.host.answer = succeed({{"name", "db"}, {"state", "destroyed"}, {"layers", bad}});
  EXPECT_EQ(shell.run({"addon", "status", "addon_1"}).code, 0);  // nor is what was destroyed
  shell.host.answer = succeed({{"ok", false}, {"checks", bad}});
  EXPECT_EQ(shell.run({"plugin", "verify", "x"}).code, 4);
}

TEST(Usage, AMomentIsADurationBackOrATime) {
  for (const char* bad : {"yesterday", "2026-11-21", "2026-11-21T12:00:00", "2026-13-21T12:00:00Z", "-1h"}) {
    Shell shell;
    EXPECT_EQ(shell.run({"audit", "list", "--since", bad}).code, 2) << bad;
    EXPECT_TRUE(shell.host.calls.empty()) << bad;
  }
}

TEST(Serve, HandsItsOptionsToTheServer) {
  Shell shell;
  EXPECT_EQ(shell.run({"serve", "--state-dir", "/s", "--listen", "127.0.0.1:0", "--config", "/c.toml"}).code,
            0);
  EXPECT_EQ(shell.served.state_dir, "/s");
  EXPECT_EQ(shell.served.listen, "127.0.0.1:0");
  EXPECT_EQ(shell.served.config_file, "/c.toml");
  EXPECT_EQ(shell.host.opened, 0);
}

TEST(StateDir, ComesFromTheFlagThenTheVariable) {
  Shell shell;
  shell.variables["VIA_STATE_DIR"] = "/from/variable";
  shell.run({"app", "list"});
  EXPECT_EQ(shell.host.state_dir, "/from/variable");
  shell.run({"--state-dir", "/from/flag", "app", "list"});
  EXPECT_EQ(shell.host.state_dir, "/from/flag");
  shell.run({"app", "list", "--state-dir=/from/flag2"});
  EXPECT_EQ(shell.host.state_dir, "/from/flag2");
}

TEST(Token, IsPrintedByIdentityIssueAndNoHint) {
  Shell shell;
  shell.host.answer =
      succeed({{"kind", "build"}, {"token", "aaa.bbb.ccc"}, {"expires_at", "2026-11-21T13:00:00Z"}});
  const Ran ran = shell.run({"identity", "issue", "--kind", "build", "--app", "api"});
  EXPECT_EQ(ran.out, "aaa.bbb.ccc\n");
  EXPECT_EQ(ran.err.find("aaa.bbb"), std::string::npos);
}

TEST(Rendering, SurvivesAnswersWithMissingMembers) {
  for (const Case& item : {Case{"status", "", ""},
                           {"app show a", "", ""},
                           {"addon status a", "", ""},
                           {"deploy show a", "", ""},
                           {"release show a", "", ""},
                           {"runtime list", "", ""},
                           {"config set a B=1", "", ""},
                           {"plugin show a", "", ""},
                           {"addon share a", "", ""},
                           {"addon shares", "", ""},
                           {"addon unbind a b", "", ""}}) {
    Shell shell;
    EXPECT_LE(shell.run(words_of(item.line)).code, 7) << item.line;
  }
}

TEST(Rendering, ShowsWhatTheHostHolds) {
  Shell shell;
  shell.host.answer = succeed(
      {{"version", "1.2.3"},
       {"server", {{"running", true}, {"pid", 7}, {"listen", "127.0.0.1:1"}, {"uptime_seconds", 3700}}},
       {"counts", {{"apps", 2}, {"addons", 3}}},
       {"types", {"sqlite"}}});
  const std::string out = shell.run({"status"}).out;
  EXPECT_NE(out.find("running (pid 7, 127.0.0.1:1, up 1h 1m)"), std::string::npos) << out;
  EXPECT_NE(out.find("3 addons, 2 apps"), std::string::npos) << out;
}

TEST(Rendering, ShowsADeployWithItsInstances) {
  Shell shell;
  shell.host.answer =
      succeed({{"id", "dep_1"},
               {"app", "api"},
               {"status", "succeeded"},
               {"command", {"./api"}},
               {"release", {{"id", "rel_1"}, {"number", 3}, {"bindings", {{{"binding", "DATABASE"}}}}}},
               {"instances", {{{"id", "ins_1"}, {"state", "running"}, {"pid", 42}}}}});
  const std::string out = shell.run({"deploy", "create", "api", "--", "./api"}).out;
  for (const char* part : {"dep_1", "rel_1", "DATABASE", "ins_1", "42", "running"}) {
    EXPECT_NE(out.find(part), std::string::npos) << part << "\n" << out;
  }
}

// A host whose long command runs a while and ends as the test says.
class SlowHost final : public AdminTransport {
 public:
  explicit SlowHost(json end) : end_(std::move(end)) {}
  Result<json> call(std::string_view command, const json& arguments) override {
    calls.push_back({std::string(command), arguments});
    if (command == "op.wait" || command == "op.show") {
      if (++asked < 3) {
        if (command == "op.wait") return fail(Code::deadline_exceeded, "still runs");
        return succeed({{"id", "op_1"}, {"state", "running"}, {"steps", {{{"name", "safety_snapshot"}}}},
                        {"progress", {{"done", 512}, {"total", 1024}}}});
      }
      return succeed(end_);
    }
    return succeed({{"operation", "op_1"}, {"state", "running"}});
  }
  std::vector<Call> calls;
  int asked = 0;

 private:
  json end_;
};

struct Followed {
  int code;
  std::string out, err;
  std::size_t calls;
};

Followed follow_with(json end, std::vector<std::string> words, bool terminal = false) {
  std::ostringstream out, err;
  Environment environment{out, err};
  std::size_t calls = 0;
  environment.error_terminal = terminal;
  environment.error_width = 60;
  environment.variable = [](const char*) { return std::string(); };
  struct Counting final : AdminTransport {
    SlowHost host;
    std::size_t& calls;
    Counting(json e, std::size_t& c) : host(std::move(e)), calls(c) {}
    Result<json> call(std::string_view command, const json& arguments) override {
      ++calls;
      return host.call(command, arguments);
    }
  };
  environment.open_admin = [&](const std::filesystem::path&, bool) {
    return Result<std::unique_ptr<AdminTransport>>(std::make_unique<Counting>(end, calls));
  };
  words.insert(words.begin(), "via");
  const int code = cli::run(words, environment);
  return {code, out.str(), err.str(), calls};
}

TEST(LongCommands, ShowTheResultOfTheOperation) {
  const auto ran = follow_with({{"id", "op_1"}, {"state", "done"}, {"result", {{"id", "snap_1"}, {"addon", "db"}}}},
                               {"addon", "snapshot", "db"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_NE(ran.out.find("snap_1"), std::string::npos) << ran.out;
}

TEST(LongCommands, FailAsTheOperationDid) {
  const auto ran = follow_with({{"id", "op_1"}, {"state", "failed"},
                                {"error", {{"code", "deadline_exceeded"}, {"message", "Operations still ran."}}}},
                               {"addon", "restore", "db", "--snapshot", "s", "--drain", "--restart-bound-apps"});
  EXPECT_EQ(ran.code, 6);
  EXPECT_NE(ran.err.find("Operations still ran."), std::string::npos);
}

TEST(LongCommands, DrawProgressOnATerminalOnly) {
  const json end = {{"id", "op_1"}, {"state", "done"}, {"result", {{"id", "snap_1"}}}};
  const auto drawn = follow_with(end, {"addon", "snapshot", "db"}, true);
  EXPECT_NE(drawn.err.find("safety snapshot"), std::string::npos);
  EXPECT_NE(drawn.err.find("50%"), std::string::npos) << drawn.err;
  EXPECT_EQ(drawn.out.find("50%"), std::string::npos);
  EXPECT_EQ(follow_with(end, {"addon", "snapshot", "db"}).err.find("50%"), std::string::npos);
  EXPECT_EQ(follow_with(end, {"addon", "snapshot", "db", "--quiet"}, true).err.find("50%"), std::string::npos);
}

TEST(LongCommands, ReturnAtOnceWhenAsked) {
  const auto ran = follow_with({}, {"addon", "snapshot", "db", "--no-wait"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "op_1\n");
  EXPECT_EQ(ran.calls, 1U);
}

TEST(Destructive, ForcedDestroyWithoutAPersonNeedsAYes) {
  Shell shell;
  const Ran ran = shell.run({"addon", "destroy", "db", "--force"});
  EXPECT_EQ(ran.code, 4);
  ASSERT_EQ(shell.host.calls.size(), 1U);
  EXPECT_EQ(shell.host.calls[0].arguments["plan"], true) << "it only looked";
}

TEST(Destructive, AWrongNameIsRefusedBeforeAnythingIsAsked) {
  Shell shell;
  EXPECT_EQ(shell.run({"addon", "destroy", "db", "--confirm", "bd"}).code, 4);
  EXPECT_TRUE(shell.host.calls.empty());
}

TEST(Secrets, ComeOnStandardInputAndNeverAsAnArgument) {
  Shell shell;
  shell.input = "hush\n";
  EXPECT_EQ(shell.run({"secret", "set", "api", "KEY"}).code, 0);
  EXPECT_EQ(shell.host.calls.back().arguments["value"], "hush");
  EXPECT_EQ(shell.run({"secret", "set", "api", "KEY", "hush"}).code, 2);
  shell.input.clear();
  EXPECT_EQ(shell.run({"secret", "set", "api", "KEY"}).code, 2);
}

}  // namespace
}  // namespace via::cli::testing
