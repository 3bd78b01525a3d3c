// Secrets planted in paths, keys, tokens, descriptors and values appear in no log, error body or metric.
#include <sys/stat.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "core/base/base64.hpp"
#include "functional/routes.hpp"
#include "functional/table.hpp"

namespace via::test {
namespace {

// A secret and its other spellings: base64 in each alignment, hexadecimal, percent escapes.
std::vector<std::string> spellings(const std::string& secret) {
  std::vector<std::string> out{secret};
  for (std::size_t shift = 0; shift < 3; ++shift) {
    std::string encoded = base64url_encode(std::string(shift, 'x') + secret);
    encoded = encoded.substr(shift == 0 ? 0 : shift + 1, encoded.size() - shift - 3);
    out.push_back(encoded);
    out.push_back(replaced(replaced(encoded, "-", "+"), "_", "/"));
  }
  std::string lower, upper, percent;
  for (const char c : secret) {
    char text[4];
    std::snprintf(text, sizeof text, "%02x", static_cast<unsigned char>(c));
    lower += text;
    std::snprintf(text, sizeof text, "%02X", static_cast<unsigned char>(c));
    upper += text;
    percent += std::string("%") + text;
  }
  out.insert(out.end(), {lower, upper, percent});
  return out;
}

class Canaries : public World {
 protected:
  void plant(const std::string& name, const std::string& secret) {
    ASSERT_GE(secret.size(), 8U) << name;
    for (const std::string& spelling : spellings(secret)) planted_.emplace_back(name, spelling);
  }
  void plant_keys() {
    for (const auto& entry : std::filesystem::directory_iterator(host.state_dir() / "keys")) {
      const std::string text = text_of(entry.path());
      if (entry.path().extension() == ".pem") {
        BIO* bio = BIO_new_mem_buf(text.data(), static_cast<int>(text.size()));
        EVP_PKEY* key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
        BIO_free(bio);
        ASSERT_NE(key, nullptr);
        BIGNUM* number = nullptr;
        ASSERT_EQ(EVP_PKEY_get_bn_param(key, "priv", &number), 1);
        std::string raw(32, '\0');
        BN_bn2binpad(number, reinterpret_cast<unsigned char*>(raw.data()), 32);
        BN_clear_free(number);
        EVP_PKEY_free(key);
        plant("private key", raw);
        plant("key file", text.substr(text.find('\n') + 1, 60));
      } else if (entry.path().filename() == "master.key") {
        plant("master key", text.substr(0, 40));
        plant("master key", *base64url_decode(text));
      }
    }
  }
  void look(const std::string& where, const std::string& text) {
    for (const auto& [name, spelling] : planted_)
      EXPECT_EQ(text.find(spelling), std::string::npos) << "the " << name << " is in " << where;
  }
  Response seen(const std::string& where, Response answer) {
    look(where, answer.head + answer.body);
    return answer;
  }

 private:
  std::vector<std::pair<std::string, std::string>> planted_;
};

TEST_F(Canaries, AppearNowhereAfterAMixOfGoodAndBadRequests) {
  const Runtime api = app_with_database("api");
  const Runtime reader = app_with_database("reader", true);
  plant("state folder", HostProcess::kCanary);
  plant("file of the database", "data.sqlite");
  plant("token", api.token);
  plant("token's signature", split(api.token, ".")[2]);
  plant("token of the reader", split(reader.token, ".")[2]);
  plant("config value", "canary-config-value-51");
  plant("written value", "canary-row-value-52");
  plant("statement", "canary_table_53");
  plant("claim", "canary-claim-54");
  plant("kid", "canary-kid-55");
  plant("environment of an app", "canary-env-56");
  plant_keys();
  admin("config.set", {{"app", "api"}, {"values", {{"PASSWORD", "canary-config-value-51"}}}});
  admin("deploy.create", {{"app", "api"}, {"command", {"/bin/true"}}, {"env", {{"KEY", "canary-env-56"}}}});
  EXPECT_EQ(admin_error("deploy.create", {{"app", "api"}, {"command", {"/no/such/program-57"}}}), "refused");
  const Runtime newest = issue("api");

  for (const Runtime* runtime : {&api, &reader, &newest}) {
    Caller app = caller(*runtime);
    const json write{{"sql", "INSERT INTO t(b) VALUES(?)"}, {"params", {"canary-row-value-52"}}};
    seen("setup", app.setup("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b UNIQUE)"));
    seen("execute", app.op("execute", write));
    seen("constraint", app.op("execute", write));
    seen("batch",
         app.op("batch",
                {{"operations",
                  {{{"operation", "execute"}, {"sql", write["sql"]}, {"params", write["params"]}}}}}));
    seen("count", app.query("SELECT count(*) FROM t"));
    // The text of a client's own statement may come back to it: SQLite names what it does not know. Not to
    // the log.
    (void)app.query("SELECT * FROM canary_table_53");
    seen("deadline", app.op("query", {{"sql",
                                       "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT "
                                       "count(*), 'canary-row-value-52' FROM c"},
                                      {"timeout_ms", 30}}));
    for (const char* sql :
         {"ATTACH 'canary_table_53' AS x", "PRAGMA database_list", "SELECT * FROM pragma_database_list",
          "VACUUM INTO '/tmp/canary_table_53'", "SELECT load_extension('canary_table_53')"})
      seen(sql, app.query(sql).status == 200 ? app.query(sql) : app.execute("PRAGMA journal_mode=OFF"));
    seen("resolve one", app.resolve({{"keys", {"DATABASE"}}}));
    for (const Route& route : all_routes(*runtime)) {
      seen("malformed", app.post(route.path, "{\"canary"));
      if (route.operation)
        seen("unknown generation", app.post(route.path, route.body, {{"Via-Generation", "77"}}));
      seen("unbound", app.post(operation_path("query", "canary-claim-54"), route.body));
      seen("wrong type", app.post(route.path, route.body, {{"Content-Type", "text/plain; canary-claim-54"}}));
    }
  }
  for (const char* member : {"iss", "aud", "sub", "jti", "via"}) {
    json payload = payload_of(api);
    payload[member] = "canary-claim-54";
    const std::string token =
        sign(json{{"alg", "ES256"}, {"typ", "workload+jwt"}, {"kid", kid()}}.dump(), payload.dump());
    seen(member, Caller(host.port(), token).resolve({{"keys", {"DATABASE"}}}));
  }
  for (const char* member : {"app", "deploy", "release", "instance", "env"}) {
    json payload = payload_of(api);
    payload["via"][member] = "canary-claim-54";
    seen(member,
         Caller(host.port(),
                sign(json{{"alg", "ES256"}, {"typ", "workload+jwt"}, {"kid", kid()}}.dump(), payload.dump()))
             .resolve({{"keys", {"DATABASE"}}}));
  }
  for (const char* text : {"canary-kid-55", "../canary-kid-55"})
    seen("kid", Caller(host.port(),
                       sign(json{{"alg", "ES256"}, {"typ", "workload+jwt"}, {"kid", text}}.dump(), "{}"))
                    .resolve());
  seen("query string", Http(host.port()).call("GET", "/health?access_token=" + api.token));
  seen("path", Http(host.port()).call("GET", "/canary-claim-54/" + split(api.token, ".")[2]));
  seen("jwks", Http(host.port()).call("GET", "/.well-known/jwks.json"));
  seen("ready", Http(host.port()).call("GET", "/ready"));
  for (const auto& columns : table(VIA_FIXTURES "/hostile/http.txt")) {
    if (columns[1].find("{{") != std::string::npos) continue;
    Http http(host.port());
    (void)http.send(replaced(replaced(columns[1], "\\r", "\r"), "\\n", "\n") + "X-Secret: " + api.token);
    http.end_of_request();
    bool closed = false;
    look(columns[0], http.read_to_end(5'000, closed));
  }
  (void)admin_error("addon.create", {{"type", "sqlite"}, {"name", "canary-claim-54"}, {"app", "nobody"}});
  admin("runtime.stop", {{"instance", api.instance}});
  seen("stopped", caller(api).query("SELECT 'canary-row-value-52'"));

  look("the metrics", metrics());
  EXPECT_EQ(host.stop(), 0);
  look("the log", host.log());
}

TEST_F(Canaries, ProcessShowsItsSecretsToNobody) {
  const Runtime api = app_with_database("api");
  const std::string proc = "/proc/" + std::to_string(host.pid());
  for (const char* file : {"/cmdline", "/environ"}) {
    const std::string text = text_of(proc + file);
    EXPECT_EQ(text.find(split(api.token, ".")[2]), std::string::npos);
  }
  const std::string limits = text_of(proc + "/limits");
  const auto at = limits.find("Max core file size");
  ASSERT_NE(at, std::string::npos);
  EXPECT_NE(limits.substr(at, limits.find('\n', at) - at).find(" 0 "), std::string::npos) << "no core file";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(host.state_dir())) {
    struct stat st {};
    ASSERT_EQ(::lstat(entry.path().c_str(), &st), 0);
    if (entry.path().filename() == "config.toml") continue;
    EXPECT_EQ(st.st_mode & 077, 0U) << entry.path();
  }
}

}  // namespace
}  // namespace via::test
