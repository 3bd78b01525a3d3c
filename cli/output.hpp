// What people see: tables that fit the terminal, field lists, times, colours. Programs use --json and see
// none of it. Every text is made safe first: control characters that a value holds are shown, never sent to
// the terminal. Thread: one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/environment.hpp"

namespace via::cli {

using Json = nlohmann::json;

struct Globals {
  std::string program = "via";  // the name this binary was called by
  bool json = false;
  bool quiet = false;
  bool no_color = false;
  std::string state_dir;
  std::string container;  // of the data commands
};

enum class Style { plain, bold, dim, good, warn, bad };

// How a value of a result object is shown.
enum class Show { text, state, time, yes_no, list, short_hash };

struct Column {
  std::string title;
  std::string key;  // "a/b" reads b of object a
  Show show = Show::text;
};

class Output {
 public:
  Output(Environment& environment, const Globals& globals);

  // One row per item. Nothing but "No <what>." on stderr when there is none.
  void table(const std::vector<Column>& columns, const Json& items, std::string_view what);
  // label: value, one a line; members that are absent or null are left out.
  void fields(const std::vector<Column>& columns, const Json& object);
  // [{name, ok, detail}] as a list of ticks. Returns whether all are ok, leaving out those in
  // `may_be_absent`, which are shown as "none" instead of as a failure.
  bool checks(const Json& list, const std::vector<std::string>& may_be_absent = {});
  void heading(std::string_view text);
  void line(std::string_view text);
  // The next command, to stderr; left out by --quiet.
  void hint(std::string_view text);
  std::string paint(Style style, std::string_view text) const;
  bool terminal() const { return environment_.terminal; }

 private:
  struct Cell {
    std::string text;
    Style style = Style::plain;
  };
  Cell cell(const Column& column, const Json& object, bool in_table) const;

  Environment& environment_;
  bool quiet_;
  bool color_;
};

// Columns that `text` (UTF-8) takes on a terminal: 2 for wide characters, 0 for combining ones.
int display_width(std::string_view text);
// `text` cut to `width` columns, its end replaced by an ellipsis when something is cut.
std::string fit(std::string_view text, int width);
// Control characters as visible escapes, so that a stored value cannot steer the terminal.
std::string printable(std::string_view text);
// "12s ago", "3h ago", "in 23h", "5d ago" of an RFC 3339 time; the text itself when it is none.
std::string relative_time(std::string_view rfc3339, std::int64_t now_ms);

}  // namespace via::cli
