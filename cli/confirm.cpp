#include "cli/confirm.hpp"

#include <istream>
#include <ostream>

#include "cli/follow.hpp"

namespace via::cli {
namespace {

std::string listed(const Json& items) {
  std::string out;
  if (!items.is_array()) return out;
  for (const Json& item : items) {
    std::string text;
    if (item.is_string()) {
      text = item.get<std::string>();
    } else if (item.is_object() && item.contains("binding")) {
      text = item.value("binding", "") + " of " + item.value("app", "") + " (generations";
      for (const Json& generation : item.value("generations", Json::array())) text += " " + generation.dump();
      text += ")";
    } else if (item.is_object() && item.contains("from_schema")) {
      text = item.value("addon", "") + " of " + item.value("app", "");
      if (item["from_schema"] != item["to_schema"]) text += " (storage schema " + item["from_schema"].dump() + " to " + item["to_schema"].dump() + ")";
    } else {
      text = item.dump();
    }
    out += (out.empty() ? "" : ", ") + text;
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> lines_of(const Json& plan) {
  std::vector<std::pair<std::string, std::string>> out;
  out.emplace_back("action", plan.value("action", ""));
  const Json target = plan.value("target", Json::object());
  for (const auto& [name, value] : target.items())
    out.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  const Json touches = plan.value("touches", Json::object());
  for (const auto& [name, value] : touches.items()) {
    if (name == "bytes" && value.is_number_unsigned())
      out.emplace_back(name, size_text(value.get<std::uint64_t>()));
    else if (const std::string text = listed(value); !text.empty())
      out.emplace_back(name, text);
  }
  for (const Json& warning : plan.value("warnings", Json::array()))
    out.emplace_back("warning", warning.is_string() ? warning.get<std::string>() : warning.dump());
  return out;
}

}  // namespace

void render_plan(Output& out, const Json& answer) {
  Json shown = Json::object();
  std::vector<Column> columns;
  int at = 0;
  for (const auto& [name, text] : lines_of(answer.value("plan", Json::object()))) {
    const std::string key = std::to_string(at++);
    shown[key] = text;
    columns.push_back({name, key});
  }
  shown["hash"] = answer.value("hash", "");
  columns.push_back({"hash", "hash"});
  out.fields(columns, shown);
}

bool ask_to_retype(Session& session, const Json& plan, const std::string& name) {
  std::ostream& err = session.environment.err;
  err << "This would touch:\n";
  for (const auto& [label, text] : lines_of(plan)) err << "  " << printable(label) << ": " << printable(text) << '\n';
  err << "Type '" << printable(name) << "' to go on: " << std::flush;
  std::string line;
  if (session.environment.in == nullptr || !std::getline(*session.environment.in, line)) err << '\n';
  return line == name;
}

bool ask(Session& session, const std::string& question) {
  std::ostream& err = session.environment.err;
  err << printable(question) << " [y/N] " << std::flush;
  std::string line;
  if (session.environment.in == nullptr || !std::getline(*session.environment.in, line)) err << '\n';
  return line == "y" || line == "Y" || line == "yes";
}

}  // namespace via::cli
