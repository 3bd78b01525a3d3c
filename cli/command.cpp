// See command.hpp: how parsed words become an admin request and an answer becomes output and an exit code.
#include "cli/command.hpp"

#include <charconv>
#include <cstdlib>
#include <fstream>
#include <istream>
#include <optional>
#include <ostream>

#include <sys/stat.h>

#include "cli/confirm.hpp"
#include "cli/follow.hpp"
#include "core/base/clock.hpp"

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

Result<std::int64_t> parse_bytes(const std::string& name, std::string_view text) {
  std::string_view digits = text;
  int shift = 0;
  if (!digits.empty() && digits.back() == 'B') digits.remove_suffix(1);
  if (!digits.empty() && digits.back() == 'i') digits.remove_suffix(1);
  if (!digits.empty()) {
    const char last = digits.back();
    shift = last == 'K' || last == 'k' ? 10 : last == 'M' ? 20 : last == 'G' ? 30 : last == 'T' ? 40 : 0;
    if (shift != 0) digits.remove_suffix(1);
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value <= 0 || value > (std::int64_t{1} << (62 - shift)))
    return fail(Code::bad_request, name + ": '" + std::string(text) + "' is not a size. Write 64M, 256M or 1G.");
  return value << shift;
}

Result<std::int64_t> parse_processors(const std::string& name, std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0.01) || value > 1000)
    return fail(Code::bad_request, name + ": '" + std::string(text) + "' is not a number of processors. Write 0.5, 1 or 2.");
  return static_cast<std::int64_t>(value * 100 + 0.5);
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

Result<std::string> read_secret_file(const std::string& name, const std::string& path, std::istream* in) {
  if (path == "-" && in != nullptr) {
    std::string line;
    std::getline(*in, line);
    if (line.empty()) return fail(Code::bad_request, name + ": standard input has no first line.");
    return line;
  }
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail(Code::not_found, name + ": the file does not exist or cannot be read.");
  if (!S_ISREG(st.st_mode)) return fail(Code::bad_request, name + ": it must be a regular file.");
  if ((st.st_mode & 077) != 0)
    return fail(Code::not_allowed, name + ": the file is open to other users. Close it first: chmod 600 FILE");
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  if (line.empty()) return fail(Code::bad_request, name + ": the file's first line is empty.");
  return line;
}

Result<std::string> read_text_file(const std::string& name, const std::string& path) {
  constexpr std::size_t kMost = 1U << 20;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMost + 1, '\0');
  if (!file || !std::filesystem::is_regular_file(path))
    return fail(Code::not_found, name + ": there is no such file, or it cannot be read.");
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMost) return fail(Code::bad_request, name + ": the file is larger than 1 MiB.");
  return text;
}

Result<Json> convert(const std::string& name, Kind kind, const std::vector<std::string>& values, std::istream* in) {
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
    case Kind::lifetime: {
      if (values.front() == "never") return succeed(0);
      auto seconds = parse_duration(name, values.front());
      if (!seconds) return fail(Code::bad_request, seconds.error().message + " Or: never.");
      return succeed(*seconds);
    }
    case Kind::seconds_or_default: {
      if (values.empty() || values.front().empty()) return succeed(30);
      auto seconds = parse_duration(name, values.front());
      if (!seconds) return seconds.error();
      return succeed(*seconds);
    }
    case Kind::since: {
      if (parse_time(values.front())) return succeed(values.front());
      auto seconds = parse_duration(name, values.front());
      if (!seconds)
        return fail(Code::bad_request, name + ": '" + values.front() +
                                           "' is neither a duration (15m, 1h, 7d) nor a time (2026-11-21T11:54:32Z).");
      return succeed(*seconds);
    }
    case Kind::secret_file: {
      auto secret = read_secret_file(name, values.front(), in);
      if (!secret) return secret.error();
      return succeed(*secret);
    }
    case Kind::file_text: {
      auto content = read_text_file(name, values.front());
      if (!content) return content.error();
      return succeed(*content);
    }
    case Kind::words:
      return succeed(values);
    case Kind::files: {
      Json paths = Json::array();
      for (const std::string& path : values) paths.push_back(std::filesystem::absolute(path).lexically_normal().string());
      return succeed(std::move(paths));
    }
    case Kind::bytes: {
      auto bytes = parse_bytes(name, values.front());
      if (!bytes) return bytes.error();
      return succeed(*bytes);
    }
    case Kind::processors: {
      auto percent = parse_processors(name, values.front());
      if (!percent) return percent.error();
      return succeed(*percent);
    }
    case Kind::pairs:
      return parse_pairs(name, values);
    case Kind::settings: {
      auto pairs = parse_pairs(name, values);
      if (!pairs) return pairs.error();
      for (auto& [key, value] : pairs->items()) {
        Json read = Json::parse(value.get_ref<const std::string&>(), nullptr, false);
        if (!read.is_discarded()) value = std::move(read);
      }
      return succeed(std::move(*pairs));
    }
  }
  return succeed(nullptr);
}

// What stands at "a/b" of a value, of lists in each of their elements.
void collect(const Json& value, std::string_view path, std::vector<std::string>& out) {
  if (value.is_array()) {
    for (const Json& each : value) collect(each, path, out);
  } else if (value.is_object()) {
    const auto slash = path.find('/');
    const auto found = path.empty() ? value.end() : value.find(std::string(path.substr(0, slash)));
    if (found != value.end()) collect(*found, slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1), out);
  } else if (path.empty() && value.is_string()) {
    if (!value.get_ref<const std::string&>().empty()) out.push_back(value.get<std::string>());
  } else if (path.empty() && !value.is_null()) {
    out.push_back(value.dump());
  }
}

}  // namespace

Command& Command::bind(const std::string& name, const std::string& key, const std::string& shown,
                       const std::string& help, Kind kind, bool required) {
  Binding& binding = bindings_.emplace_back();
  binding.key = key;
  binding.kind = kind;
  const bool many = kind == Kind::words || kind == Kind::files || kind == Kind::pairs || kind == Kind::settings;
  binding.option = app_.add_option(name, binding.values, help);
  binding.option->required(required)->type_name(
      kind == Kind::file || kind == Kind::file_text || kind == Kind::secret_file ? shown + ":FILE" : shown);
  if (kind == Kind::seconds_or_default) {
    binding.option->expected(0, 1);
  } else if (!many) {
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

Command& Command::quiet(Names names) {
  quiet_ = std::move(names);
  return *this;
}

Command& Command::next(std::function<std::string(const Json&)> text) {
  next_ = std::move(text);
  return *this;
}

Command& Command::long_running() {
  long_ = true;
  app_.add_flag("--no-wait", no_wait_, "return when the operation has begun (follow it: via op wait ID)");
  return *this;
}

Command& Command::destructive(std::string name_key, std::string yes_key, std::function<bool(const Json&)> needs_yes) {
  destructive_ = true;
  name_key_ = std::move(name_key);
  yes_key_ = std::move(yes_key);
  needs_yes_ = std::move(needs_yes);
  plannable();
  app_.add_flag("--yes,-y", yes_, "do not ask");
  app_.add_option("--confirm", confirm_, "do not ask: this is its name")->type_name("NAME");
  return *this;
}

Command& Command::needs_no_host() {
  needs_no_host_ = true;
  return *this;
}

Command& Command::begins_host() {
  begins_host_ = true;
  return *this;
}

Command& Command::plannable() {
  plannable_ = true;
  app_.add_flag("--plan", plan_, "show what would be touched, and change nothing");
  app_.add_option("--apply", apply_, "act only while the plan still has this hash")->type_name("HASH");
  return *this;
}

Command& Command::offer(std::function<bool(Session&, const Json&, Json&)> offer) {
  offer_ = std::move(offer);
  return *this;
}

Command& Command::input(const std::string& key, const std::string& what) {
  input_key_ = key;
  input_what_ = what;
  // Taken, and refused by read_input(): said as an unknown word, the value would be printed.
  app_.add_option("value", stray_value_)->group("")->expected(0, -1);
  return *this;
}

Result<std::string> Command::read_input(Session& session) const {
  Environment& environment = session.environment;
  if (!stray_value_.empty() || text("key").find('=') != std::string::npos) {
    return fail(Code::bad_request,
                input_what_ + " comes on standard input, so that neither the shell's history nor the list of processes holds "
                              "it: printf %s \"$VALUE\" | " + app_.get_parent()->get_parent()->get_name() + " secret " +
                    app_.get_name() + " APP KEY. What you typed is in your shell's history now.");
  }
  std::string value;
  if (environment.input_terminal && environment.read_hidden) {
    value = environment.read_hidden(input_what_ + ": ");
  } else if (environment.in != nullptr) {
    value.assign(std::istreambuf_iterator<char>(*environment.in), {});
    if (value.ends_with('\n')) value.pop_back();
    if (value.ends_with('\r')) value.pop_back();
  }
  if (value.empty())
    return fail(Code::bad_request, input_what_ + " comes on standard input, and nothing came. Pipe it in: printf %s … | via …");
  return value;
}

Result<void> Command::agree(Session& session, AdminTransport& admin, Json& request) {
  const std::string name = text(name_key_);
  // The host wants the name again for what it does not do by itself.
  const bool wants_name = needs_yes_ && needs_yes_(request);
  if (yes_ && !yes_key_.empty()) request[yes_key_] = true;
  if (!confirm_.empty() && confirm_ != name)
    return fail(Code::refused, "'" + confirm_ + "' is not '" + name + "'. Nothing was done.");
  if (yes_ || !confirm_.empty() || !apply_.empty()) {
    if (wants_name) request["confirm"] = name;
    return {};
  }
  const bool person = session.environment.input_terminal && session.environment.terminal;
  if (!person && !wants_name) return {};
  Json look = request;
  look["plan"] = true;
  auto shown = admin.call(admin_command_, look);
  if (!shown) return shown.error();
  if (!person)
    return fail(Code::refused, "This needs a yes from an operator who has seen what it hits: look with --plan, then add --confirm " +
                                   name + " or --yes. Nothing was done.");
  if (offer_ && offer_(session, shown->value("plan", Json::object()), request)) {
    look = request;
    look["plan"] = true;
    shown = admin.call(admin_command_, look);
    if (!shown) return shown.error();
  }
  if (!ask_to_retype(session, shown->value("plan", Json::object()), name))
    return fail(Code::refused, "That is not '" + name + "'. Nothing was done.");
  if (!yes_key_.empty()) request[yes_key_] = true;
  if (wants_name) request["confirm"] = name;
  request["if_plan"] = shown->value("hash", "");
  return {};
}

Result<Json> Command::ask(Session& session, AdminTransport& admin, Json request) {
  if (plannable_ && plan_) {
    request["plan"] = true;
    return admin.call(admin_command_, request);
  }
  if (plannable_ && !apply_.empty()) request["if_plan"] = apply_;
  if (destructive_) {
    if (auto agreed = agree(session, admin, request); !agreed) return agreed.error();
  }
  if (long_) return follow(session, admin, admin_command_, std::move(request), no_wait_);
  return admin.call(admin_command_, request);
}

Command& Command::targeted() {
  targeted_ = true;
  app_.add_option("--target", target_, "the host, by its name in the targets file (its default, its only one, or without any the host of this machine)")
      ->type_name("TARGET")
      ->allow_extra_args(false);
  return *this;
}

Command& Command::keep(std::vector<std::string> keys) {
  kept_ = std::move(keys);
  return *this;
}

Command& Command::amend(std::function<Result<void>(Session&, Json&)> amend) {
  amend_ = std::move(amend);
  return *this;
}

Command& Command::rescue(std::function<std::optional<Json>(const Error&)> rescue) {
  rescue_ = std::move(rescue);
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

Result<Json> Command::arguments(std::istream* in) const {
  Json request = Json::object();
  for (const Binding& binding : bindings_) {
    if (binding.option->count() == 0) continue;
    if (binding.is_flag) {
      request[binding.key] = binding.set;
      continue;
    }
    if (binding.values.empty() && binding.kind != Kind::seconds_or_default) continue;
    const std::string name = binding.option->get_name(binding.option->get_positional());
    auto value = convert(name, binding.kind, binding.values, in);
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

namespace {

// Goes with everything in it.
class ScratchFolder {
 public:
  ScratchFolder() : path_((std::filesystem::temp_directory_path() / "via-XXXXXX").string()) {
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

int Command::run(Session& session) {
  if (local_) return local_(session);
  auto request = arguments(session.environment.in);
  if (!request) return report(session.environment, session.globals, request.error());
  if (!input_key_.empty() && !request->contains("generate")) {
    auto value = read_input(session);
    if (!value) return report(session.environment, session.globals, value.error());
    (*request)[input_key_] = *value;
  }
  for (const std::string& key : kept_) request->erase(key);
  std::optional<ScratchFolder> scratch;
  auto admin = open_host(session, may_make_host());
  if (!admin && needs_no_host_ && admin.error().code == Code::not_found)
    admin = session.environment.open_admin(scratch.emplace().path(), true);
  if (!admin) return report(session.environment, session.globals, admin.error());
  auto answer = ask(session, **admin, std::move(*request));
  if (!answer && rescue_) {
    if (auto rescued = rescue_(answer.error())) answer = succeed(std::move(*rescued));
  }
  if (!answer) return report(session.environment, session.globals, answer.error());
  const bool planned = plannable_ && plan_;
  const bool begun = long_ && no_wait_ && answer->value("state", "") == "running" && answer->contains("operation");
  if ((planned || begun) && !session.globals.json) {
    if (planned && session.globals.quiet) {
      session.output.line(answer->value("hash", ""));
    } else if (planned) {
      render_plan(session.output, *answer);
      session.output.hint("Nothing was done. Apply exactly this: the same command with --apply " + answer->value("hash", ""));
    } else {
      session.output.line(answer->value("operation", ""));
      session.output.hint("Follow it: via op wait " + answer->value("operation", ""));
    }
    return 0;
  }
  if (planned || begun) {
    session.environment.out << answer->dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return 0;
  }

  if (amend_) {
    if (auto amended = amend_(session, *answer); !amended)
      return report(session.environment, session.globals, amended.error());
  }
  std::ostream& out = session.environment.out;
  if (session.globals.json) {
    out << answer->dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    return verdict(session, *answer);
  }
  if (session.globals.quiet && has_quiet_form()) {
    std::vector<std::string> names;
    if (quiet_) {
      names = quiet_(*answer);
    } else {
      collect(answer->contains("items") ? (*answer)["items"] : *answer, quiet_key_, names);
    }
    for (const std::string& name : names) out << printable(name) << '\n';
    return verdict(session, *answer);
  }
  const int code = render_ ? render_(session.output, *answer) : 0;
  if (next_) {
    const std::string text = next_(*answer);
    if (!text.empty()) session.output.hint(text);
  }
  return code;
}

std::vector<std::string> names_of_trouble(const Json& answer) {
  std::vector<std::string> names;
  for (const Json& check : answer.value("checks", Json::array()))
    if (check.is_object() && !check.value("ok", true)) names.push_back(check.value("name", ""));
  if (!names.empty()) return names;
  for (const Json& problem : answer.value("problems", Json::array()))
    if (problem.is_object()) names.push_back(problem.value("code", ""));
  return names;
}

Result<std::unique_ptr<AdminTransport>> open_host(Session& session, bool may_make) {
  auto admin = session.environment.open_admin(session.state_dir, may_make);
  // The command that the message ends with is to start it in this folder.
  if (!admin && admin.error().message.ends_with("via serve") && session.state_dir != default_state_dir(session.environment)) {
    Error none = admin.error();
    none.message += " --state-dir " + session.state_dir.string();
    return none;
  }
  return admin;
}

int report(Environment& environment, const Globals& globals, const Error& error) {
  const int exit_code = error.name == kInterrupted ? 130 : error.exit_code();
  if (globals.json) {
    Json details = Json::parse("{" + error.details + "}", nullptr, false);
    if (!details.is_object()) details = Json::object();
    details["code"] = error.wire_name();
    details["message"] = error.message;
    details["exit_code"] = exit_code;
    environment.out << Json{{"error", details}}.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  environment.err << globals.program << ": " << printable(error.message) << '\n';
  return exit_code;
}

}  // namespace via::cli
