// via addon share, shares, unshare: capability URLs.
#include "cli/commands/addon.hpp"

namespace via::cli {
namespace {

// What it allows, in words: "read, query only".
Json with_scope(Json share) {
  std::string scope = share.value("access", "") == "read_only" ? "read" : "read and write";
  if (share.value("only", Json()).is_string()) scope += ", GET /query only";
  share["scope"] = scope;
  if (share.value("database", Json()).is_null()) share["database"] = "all";
  share["per_second"] = std::to_string(share.value("rate", 0)) + "/s";
  return share;
}

int render_share(Output& out, const Json& share) {
  if (share.contains("url")) {
    out.fields({{"url", "url"},
                {"share", "id"},
                {"add-on", "addon"},
                {"scope", "scope"},
                {"database", "database"},
                {"rate", "per_second"},
                {"expires", "expires_at", Show::time},
                {"note", "note"},
                {"operation", "operation"}},
               with_scope(share));
  } else {
    out.fields({{"share", "id"}, {"add-on", "addon"}, {"state", "state", Show::state}}, share);
  }
  return 0;
}

}  // namespace

void add_share_commands(CommandTree& tree, CLI::App& group) {
  tree.add(group, "share", "make a URL that leads to the data of an add-on; whoever has it needs nothing else", "addon.share")
      .argument("name", "NAME", "name or id of the add-on")
      .option("--app", "app", "APP", "its app, when the name alone is not unique")
      .flag("--read-only", "read_only", "the URL may only read")
      .flag("--query-only", "query_only", "the URL may only run SQL that reads (GET /query)")
      .option("--db", "database", "DB", "the one database it reaches (all)")
      .option("--expires", "expires_seconds", "DURATION", "how long it works, or never (7d)", Kind::lifetime)
      .option("--rate", "rate", "N", "requests a second (100)", Kind::number)
      .option("--note", "note", "TEXT", "who it is for")
      .examples({"via addon share app-db --read-only", "via addon share app-db --query-only --db data.sqlite --expires 30d --note dashboard",
                 "hoody kv list --url \"$(via addon share app-db --read-only --quiet)\""})
      .render(render_share, "url")
      .next([](const Json& share) {
        return "The URL is shown this once, and it is the credential. Take it back: via addon unshare " + share.value("id", "SHARE");
      });

  tree.add(group, "shares", "the URLs that lead to an add-on, or to any, newest first", "addon.shares")
      .argument("name", "NAME", "name or id of the add-on", Kind::text, false)
      .option("--app", "app", "APP", "only those of this app's add-ons")
      .examples({"via addon shares app-db", "via addon shares --json"})
      .render(
          [](Output& out, const Json& answer) {
            Json items = answer.value("items", Json::array());
            for (Json& item : items) item = with_scope(item);
            out.table({{"SHARE", "id"},
                       {"ADD-ON", "addon"},
                       {"SCOPE", "scope"},
                       {"DATABASE", "database"},
                       {"RATE", "per_second"},
                       {"STATE", "state", Show::state},
                       {"EXPIRES", "expires_at", Show::time},
                       {"LAST USED", "last_used_at", Show::time},
                       {"NOTE", "note"}},
                      items, "shares");
            return 0;
          },
          "id");

  tree.add(group, "unshare", "revoke a URL: when this returns, nothing works under it any more", "addon.unshare")
      .argument("share", "SHARE", "id of the share (via addon shares)")
      .destructive("share")
      .examples({"via addon unshare share_01jd5qk7m8x9", "via addon unshare share_01jd5qk7m8x9 --plan"})
      .render(render_share, "id");
}

}  // namespace via::cli
