// See command.hpp: how parsed words become an admin request and an answer becomes output and an exit code.
#include "cli/command.hpp"

#include <charconv>
#include <ostream>

namespace via::cli {
namespace {

Result<std::int64_t> parse_integer(const std::string& name, std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return fail(Code::bad_request, name + ": '" + std::string(text) + "' is not a whole number.");
  }
  return value;
}

Result<std::int64_t> parse_duration(const std::string& name, std::string_view text) {
  std::int64_t unit = 1;
  std::string_view digits = text;
  if (!text.empty()) {
    const char last = text.back();
    unit = last == 's' ? 1 : last == 'm' ? 60 : last == 'h' ? 3600 : last == 'd' ? 86400 : 0;
    if (unit != 0) digits.remove_suffix(1);
    if (unit == 0) unit = 1;
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value <= 0 ||
      value > 315360000 / unit) {
    return fail(Code::bad_request,
                name + ": '" + std::string(text) + "' is not a duration. Write 90s, 15m, 1h or 7d.");
  }
  return value * unit;
}

Result<Json> parse_pairs(const std::string& name, const std::vector<std::string>& words) {
  Json object = Json::object();
  for (const std::string& word : words) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(Code::bad_request, name + ": '" + word + "' is not of the form KEY=VALUE.");
    }
    const std::string key = word.substr(0, equals);
    if (object.contains(key)) return fail(Code::bad_request, name + ": " + key + " is given twice.");
    object[key] = word.substr(equals + 1);
  }
  return succeed(std::move(object));
}

Result<Json> convert(const std::string& name, Kind kind, const std::vector<std::string>& values) {
  switch (kind) {
    case Kind::text:
      return succeed(values.front());
    case Kind::file:
      return succeed(std::filesystem::absolute(values.front()).lexically_normal().string());
    case Kind::number: {
      auto number = parse_integer(name, values.front());
      if (!number) return number.error();
      return succeed(*number);
    }
    case Kind::duration: {
      auto seconds = parse_duration(name, values.front());
      if (!seconds) return seconds.error();
      return succeed(*seconds);
    }
    case Kind::words:
      return succeed(values);
    case Kind::pairs:
      return parse_pairs(name, values);
  }
  return succeed(nullptr);
}

std::string scalar(const Json& object, const std::string& key) {
  if (!object.is_object() || !object.contains(key)) return {};
  const Json& value = object[key];
  return value.is_string() ? value.get<std::string>() : value.dump();
}

}  // namespace

Command& Command::bind(const std::string& name, const std::string& key, const std::string& shown,
                       const std::string& help, Kind kind, bool required) {
  Binding& binding = bindings_.emplace_back();
  binding.key = key;
  binding.kind = kind;
  const bool many = kind == Kind::words || kind == Kind::pairs;
  binding.option = app_.add_option(name, binding.values, help);
  binding.option->required(required)->type_name(kind == Kind::file ? shown + ":FILE" : shown);
  if (!many) {
    binding.option->expected(1)->allow_extra_args(false);
  } else if (binding.option->get_positional()) {
    binding.option->expected(required ? 1 : 0, -1);
  } else {
    // One value for each time the flag is given.
    binding.option->expected(1)->allow_extra_args(false)->multi_option_policy(
        CLI::MultiOptionPolicy::TakeAll);
  }
  return *this;
}

Command& Command::argument(const std::string& key, const std::string& shown, const std::string& help,
                           Kind kind, bool required) {
  return bind(key, key, shown, help, kind, required);
}

Command& Command::option(const std::string& flag, const std::string& key, const std::string& shown,
                         const std::string& help, Kind kind, bool required) {
  return bind(flag, key, shown, help, kind, required);
}

Command& Command::flag(const std::string& flag, const std::string& key, const std::string& help) {
  Binding& binding = bindings_.emplace_back();
  binding.key = key;
  binding.is_flag = true;
  binding.option = app_.add_flag(flag, binding.set, help);
  return *this;
}

Command& Command::one_of(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ",") + word;
  CLI::Option* option = bindings_.back().option;
  option->type_name(option->get_type_name() + ":{" + list + "}");
  option->check([words, list](const std::string& given) {
    for (const std::string& word : words) {
      if (word == given) return std::string();
    }
    return "'" + given + "' is not one of " + list;
  });
  return *this;
}

Command& Command::tail(const std::string& key, const std::string& shown) {
  tail_key_ = key;
  tail_shown_ = shown;
  return *this;
}

Command& Command::examples(const std::vector<std::string>& lines) {
  examples_ = lines;
  return *this;
}

Command& Command::render(Render render, std::string quiet_key) {
  render_ = std::move(render);
  quiet_key_ = std::move(quiet_key);
  return *this;
}

Command& Command::next(std::function<std::string(const Json&)> text) {
  next_ = std::move(text);
  return *this;
}

Command& Command::local(std::function<int(Session&)> action) {
  local_ = std::move(action);
  return *this;
}

std::string Command::text(const std::string& key) const {
  for (const Binding& binding : bindings_) {
    if (binding.key == key && !binding.values.empty()) return binding.values.front();
  }
  return {};
}

Result<Json> Command::arguments() const {
  Json request = Json::object();
  for (const Binding& binding : bindings_) {
    if (binding.option->count() == 0) continue;
    if (binding.is_flag) {
      request[binding.key] = binding.set;
      continue;
    }
    if (binding.values.empty()) continue;
    const std::string name = binding.option->get_name(true);
    auto value = convert(name, binding.kind, binding.values);
    if (!value) return value.error();
    request[binding.key] = std::move(*value);
  }
  if (!tail_.empty()) {
    request[tail_key_] = tail_;
    // The host runs in another folder: ./api is the one of the folder that the operator stands in.
    const std::string& program = tail_.front();
    if (program.find('/') != std::string::npos && !program.starts_with('/') && !request.contains("cwd")) {
      request[tail_key_][0] = std::filesystem::absolute(program).lexically_normal().string();
    }
  }
  return succeed(std::move(request));
}

int Command::verdict(const Session& session, const Json& answer) const {
  std::ostream nowhere(nullptr);
  Environment muted{nowhere, nowhere, false, 0, session.environment.now_ms, session.environment.variable,
                    {},      {}};
  Output output(muted, session.globals);
  return render_ ? render_(output, answer) : 0;
}

int Command::run(Session& session) {
  if (local_) return local_(session);
  auto request = arguments();
  if (!request) return report(session.environment, session.globals, request.error());
  auto admin = session.environment.open_admin(session.state_dir);
  if (!admin) return report(session.environment, session.globals, admin.error());
  auto answer = (*admin)->call(admin_command_, *request);
  if (!answer) return report(session.environment, session.globals, answer.error());

  std::ostream& out = session.environment.out;
  if (session.globals.json) {
    out << answer->dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return verdict(session, *answer);
  }
  if (session.globals.quiet && !quiet_key_.empty()) {
    if (answer->contains("items")) {
      for (const Json& item : (*answer)["items"]) out << printable(scalar(item, quiet_key_)) << '\n';
    } else {
      out << printable(scalar(*answer, quiet_key_)) << '\n';
    }
    return verdict(session, *answer);
  }
  const int code = render_ ? render_(session.output, *answer) : 0;
  if (next_) {
    const std::string text = next_(*answer);
    if (!text.empty()) session.output.hint(text);
  }
  return code;
}

int report(Environment& environment, const Globals& globals, const Error& error) {
  if (globals.json) {
    Json details = Json::parse("{" + error.details + "}", nullptr, false);
    if (!details.is_object()) details = Json::object();
    details["code"] = error.wire_name();
    details["message"] = error.message;
    details["exit_code"] = error.exit_code();
    environment.out << Json{{"error", details}}.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  environment.err << "via: " << printable(error.message) << '\n';
  return error.exit_code();
}

}  // namespace via::cli
