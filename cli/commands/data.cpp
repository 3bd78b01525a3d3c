// See data.hpp.
#include "cli/commands/data.hpp"

#include "core/base/json_text.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <istream>
#include <iterator>
#include <ostream>

namespace via::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string printed(const OrderedJson& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "";
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

bool is_json(const HttpAnswer& answer) { return answer.content_type.find("json") != std::string::npos; }

// What a program gets: always JSON. A value that is none becomes a string of it.
std::string as_json(const HttpAnswer& answer) {
  if (is_json(answer) && Json::accept(parseable_json(answer.body))) return answer.body;
  return Json(answer.body).dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> read_body(const Json& given, std::istream* in, const std::string& otherwise) {
  if (given.contains("body") && given.contains("body_file"))
    return fail(Code::bad_request, "Give --body or --body-file, not both.");
  if (given.contains("body")) return given["body"].get<std::string>();
  if (!given.contains("body_file")) return otherwise;
  const std::string file = given["body_file"];
  if (file == "-" && in != nullptr) return std::string(std::istreambuf_iterator<char>(*in), {});
  std::ifstream from(file, std::ios::binary);
  if (!from) return fail(Code::not_found, "--body-file: there is no such file, or it cannot be read.");
  return std::string(std::istreambuf_iterator<char>(from), {});
}

// The items are passed on as they were typed, so that no number changes on the way.
Result<std::string> transaction_body(const Json& given) {
  const std::string items = given.value("transaction", "");
  const Json parsed = Json::parse(parseable_json(items), nullptr, false);
  if (!parsed.is_array())
    return fail(Code::bad_request, "--transaction must be a JSON array of items, for example: '[{\"query\":\"SELECT 1\"}]'");
  std::string body = "{";
  if (given.contains("result_format")) body += "\"resultFormat\":" + given["result_format"].dump() + ",";
  return body + "\"transaction\":" + items + "}";
}

// The request of what was typed.
Result<DataRequest> request_of(const DataCommand& spec, const Json& given, std::istream* in) {
  DataRequest request{spec.method, spec.path, {}, {}, {}};
  if (const auto hole = request.path.find("{}"); hole != std::string::npos)
    request.path.replace(hole, 2, percent_encoded(given.value("argument", "")));
  for (const DataParameter& parameter : spec.parameters) {
    if (!given.contains(parameter.name)) continue;
    const Json& value = given[parameter.name];
    request.parameters.emplace_back(parameter.name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  if (spec.body == DataBody::transaction) {
    auto body = transaction_body(given);
    if (!body) return body.error();
    request.body = std::move(*body);
    request.content_type = "application/json";
  } else if (spec.body == DataBody::text) {
    auto body = read_body(given, in, spec.default_body);
    if (!body) return body.error();
    request.body = std::move(*body);
    request.content_type = given.value("content_type", spec.method == "PUT" ? "" : "application/json");
  }
  return request;
}

void add_address_options(Command& command) {
  command.option("--addon", "to_addon", "NAME", "an add-on of this host, through its admin socket")
      .option("--url", "to_url", "URL", "the address of the data API, or a capability URL ($VIA_KIT_URL)")
      .option("--container", "to_container", "NAME", "a data API by its name in the targets file")
      .option("-o,--output", "to_output", "FORMAT", "json (as --json) or table")
      .one_of({"json", "table"});
}

// The address and the form of the output, of what was typed.
Result<DataAddress> address(CommandTree& tree, Session& session, const Json& given) {
  if (given.value("to_output", "") == "json") tree.globals().json = true;
  std::string container = given.value("to_container", "");
  if (container.empty()) container = tree.globals().container;
  if (const std::string addon = given.value("to_addon", ""); !addon.empty()) {
    if (given.contains("to_url") || given.contains("to_container"))
      return fail(Code::bad_request, "Give one of --addon, --url and --container.");
    return addon_address(session.state_dir, addon);
  }
  return data_address(session.environment, given.value("to_url", ""), container);
}

int run_data(CommandTree& tree, Command& command, const std::string& path, const DataCommand& spec, Session& session) {
  auto given = command.arguments(session.environment.in);
  if (!given) return report(session.environment, session.globals, given.error());
  auto where = address(tree, session, *given);
  // An add-on has a database of its own; at a bare address every request names one.
  const auto needs_name = [&](const DataParameter& p) { return p.required && p.name == "db" && !given->contains("db"); };
  const bool has_own = where ? where->has_own_database() : given->contains("to_addon");
  if (!has_own && std::any_of(spec.parameters.begin(), spec.parameters.end(), needs_name))
    return report(session.environment, session.globals,
                  fail(Code::bad_request, "'" + path + "' needs --db. Run '" + path + " --help'."));
  if (!where) return report(session.environment, session.globals, where.error());
  auto request = request_of(spec, *given, session.environment.in);
  if (!request) return report(session.environment, session.globals, request.error());
  auto answer = send_data(session.environment, *where, *request);
  if (!answer) return report(session.environment, session.globals, answer.error());
  if (!session.globals.json) return spec.show ? spec.show(session, *answer) : show_answer(session, *answer);
  if (spec.method == "HEAD") {
    session.environment.out << "{\"exists\":true}\n";
    return 0;
  }
  session.environment.out << as_json(*answer) << '\n';
  // A transaction that was rolled back is answered with 200.
  const Json body = Json::parse(parseable_json(answer->body), nullptr, false);
  return spec.body == DataBody::transaction && body.is_object() && body.contains("reqIdx") ? 1 : 0;
}

// What --quiet leaves of a table: what its rows are called.
void show_first_column(Session& session, const std::vector<Column>& columns, const Json& rows) {
  if (columns.empty()) return;
  for (const Json& row : rows) session.output.line(printable(row.value(columns.front().key, "")));
}

std::string upper(std::string text) {
  for (char& c : text) c = c == '_' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

// The table of objects whose members are the columns, in the order in which they are met.
void show_items(Session& session, const OrderedJson& items) {
  std::vector<Column> columns;
  Json rows = Json::array();
  for (const OrderedJson& item : items) {
    Json row = Json::object();
    for (const auto& [name, value] : item.items()) {
      if (std::none_of(columns.begin(), columns.end(), [&](const Column& c) { return c.key == name; }))
        columns.push_back({upper(name), name});
      row[name] = printed(value);
    }
    rows.push_back(std::move(row));
  }
  if (session.globals.quiet) return show_first_column(session, columns, rows);
  session.output.table(columns, rows, "entries");
}

}  // namespace

DataParameter db_parameter() { return {"--db", "db", "DB", "the database: a bare name, or an absolute path; an add-on has one of its own", true}; }

void add_data_command(CommandTree& tree, CLI::App& group, DataCommand spec) {
  CLI::App* parent = &group;
  for (std::size_t i = 0; i + 1 < spec.words.size(); ++i) {
    CLI::App* below = nullptr;
    for (CLI::App* child : parent->get_subcommands({}))
      if (child->get_name() == spec.words[i]) below = child;
    if (below == nullptr) {
      below = parent->add_subcommand(spec.words[i], "");
      below->require_subcommand(0, 1);
    }
    parent = below;
  }
  Command& command = tree.add(*parent, spec.words.back(), spec.help, "");
  CLI::App* app = parent->get_subcommand(spec.words.back());
  for (const std::string& alias : spec.aliases) app->alias(alias);
  if (!spec.argument.empty()) command.argument("argument", spec.argument, spec.argument == "KEY" ? "the key" : spec.argument == "DB" ? "the database: a bare name, or an absolute path"
                                                                                                        : "the index, from history list");
  for (const DataParameter& parameter : spec.parameters) {
    if (parameter.shown.empty()) {
      const std::string word = parameter.flag.substr(2);
      command.flag(parameter.flag + ",!--no-" + word, parameter.name, parameter.help);
    } else {
      command.option(parameter.flag, parameter.name, parameter.shown, parameter.help, Kind::text, parameter.required && parameter.name != "db");
    }
  }
  if (spec.body == DataBody::transaction)
    command.option("--transaction", "transaction", "JSON", "the items, a JSON array", Kind::text, true)
        .option("--result-format", "result_format", "FORMAT", "list: rows as arrays")
        .one_of({"list", "object"});
  if (spec.body == DataBody::text) {
    command.option("--body", "body", "TEXT", "the body of the request")
        .option("--body-file", "body_file", "FILE", "the body from a file, - = standard input");
    if (spec.method == "PUT") command.option("--content-type", "content_type", "TYPE", "of the value (else JSON is recognised)");
  }
  add_address_options(command);
  std::vector<std::string> examples;
  for (const std::string& line : spec.examples) examples.push_back(tree.program() + " " + line);
  command.examples(examples);
  std::string path = tree.program() + " " + group.get_name();
  for (const std::string& word : spec.words) path += " " + word;
  const auto shared = std::make_shared<const DataCommand>(std::move(spec));
  command.local([&tree, &command, path, shared](Session& session) { return run_data(tree, command, path, *shared, session); });
}

void add_open_command(CommandTree& tree, CLI::App& group, const std::string& what) {
  Command& command = tree.add(group, "open", "open the address of the " + what + " in your browser", "");
  command.argument("index", "INDEX", "which service of the container (1)", Kind::number, false)
      .flag("--url", "print", "print the address and open nothing")
      .option("--container", "to_container", "NAME", "a data API by its name in the targets file")
      .examples({tree.program() + " " + group.get_name() + " open --url"})
      .local([&tree, &command](Session& session) {
        auto given = command.arguments();
        if (!given) return report(session.environment, session.globals, given.error());
        if (given->value("index", 1) != 1)
          return report(session.environment, session.globals,
                        fail(Code::not_found, "There is one SQLite service behind an address: 1."));
        auto url = address(tree, session, *given);
        if (!url) return report(session.environment, session.globals, url.error());
        const std::string shown = url->url + "/openapi.json";
        const bool print = given->value("print", false);
        if (session.globals.json) {
          session.output.line(Json{{"url", shown}}.dump());
          return 0;
        }
        if (print || !session.environment.open_browser || !session.environment.open_browser(shown)) {
          session.output.line(shown);
          if (!print) session.output.hint("No browser could be started here. Open this address in one.");
        }
        return 0;
      });
}

void show_rows(Session& session, const Json& headers, const Json& rows, bool truncated) {
  std::vector<Column> columns;
  Json shown = Json::array();
  for (std::size_t i = 0; i < headers.size(); ++i) columns.push_back({headers[i].get<std::string>(), std::to_string(i)});
  for (const Json& row : rows) {
    Json cells = Json::object();
    for (std::size_t i = 0; i < headers.size(); ++i) {
      const Json value = row.is_array() ? (i < row.size() ? row[i] : Json()) : row.value(headers[i].get<std::string>(), Json());
      cells[std::to_string(i)] = value.is_string() ? value.get<std::string>() : value.is_null() ? "NULL" : value.dump();
    }
    shown.push_back(std::move(cells));
  }
  if (session.globals.quiet) return show_first_column(session, columns, shown);
  session.output.table(columns, shown, "rows");
  if (truncated) session.output.hint("There are more rows than an answer holds. Ask for a page: LIMIT … OFFSET …");
}

int show_answer(Session& session, const HttpAnswer& answer) {
  const OrderedJson body = OrderedJson::parse(parseable_json(answer.body), nullptr, false);
  if (!is_json(answer) || body.is_discarded()) {
    session.environment.out << answer.body;
    if (session.environment.terminal && !answer.body.ends_with('\n')) session.environment.out << '\n';
    return 0;
  }
  if (!body.is_object()) {
    if (body.is_array() && !body.empty() && body.front().is_object()) show_items(session, body);
    else session.output.line(printable(printed(body)));
    return 0;
  }
  static constexpr std::string_view kNames[] = {"key", "path", "db", "index", "op_number"};
  for (const auto& [name, value] : body.items()) {
    if (value.is_array() && !value.empty() && value.front().is_object()) continue;
    if (!session.globals.quiet)
      session.output.line(printable(name + ": " + printed(value)));
    else if (std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames))
      session.output.line(printable(printed(value)));
  }
  for (const auto& [name, value] : body.items()) {
    if (!value.is_array() || value.empty() || !value.front().is_object()) continue;
    if (!session.globals.quiet) session.output.heading(printable(name));
    show_items(session, value);
  }
  return 0;
}

}  // namespace via::cli
