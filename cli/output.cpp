// See output.hpp.
#include "cli/output.hpp"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <numeric>
#include <ostream>

namespace via::cli {
namespace {

// Reads one code point; a byte that is not UTF-8 counts as itself.
char32_t next_code_point(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const int extra = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  char32_t point = extra == 3   ? first & 0x07U
                   : extra == 2 ? first & 0x0FU
                   : extra == 1 ? first & 0x1FU
                                : first;
  ++at;
  for (int i = 0; i < extra && at < text.size() && (byte(at) & 0xC0U) == 0x80U; ++i, ++at) {
    point = (point << 6U) | (byte(at) & 0x3FU);
  }
  return point;
}

int width_of(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  static constexpr Range kZero[] = {{0x0300, 0x036F}, {0x200B, 0x200F}, {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}};
  static constexpr Range kWide[] = {
      {0x1100, 0x115F}, {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},
      {0xA000, 0xA4CF}, {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
      {0xFFE0, 0xFFE6}, {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
  const auto in = [c](const Range& r) { return c >= r.first && c <= r.last; };
  if (std::any_of(std::begin(kZero), std::end(kZero), in)) return 0;
  return std::any_of(std::begin(kWide), std::end(kWide), in) ? 2 : 1;
}

const Json* find(const Json& object, std::string_view key) {
  const Json* at = &object;
  while (!key.empty()) {
    const auto slash = key.find('/');
    const std::string step(key.substr(0, slash));
    if (!at->is_object() || !at->contains(step)) return nullptr;
    at = &(*at)[step];
    key = slash == std::string_view::npos ? std::string_view() : key.substr(slash + 1);
  }
  return at->is_null() ? nullptr : at;
}

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A word of a list: the name of an object that has one, else the value.
std::string word_of(const Json& value) {
  for (const char* key : {"binding", "name", "id"}) {
    if (value.is_object() && value.contains(key)) return text_of(value[key]);
  }
  return text_of(value);
}

Style style_of_state(std::string_view state) {
  for (const char* good : {"active", "running", "current", "succeeded", "live", "prepared"}) {
    if (state == good) return Style::good;
  }
  for (const char* bad : {"failed", "revoked"}) {
    if (state == bad) return Style::bad;
  }
  for (const char* dim : {"stopped", "superseded", "destroyed"}) {
    if (state == dim) return Style::dim;
  }
  return Style::warn;
}

bool parse_time(std::string_view text, std::int64_t& seconds) {
  std::tm tm{};
  const std::string copy(text);
  if (std::sscanf(copy.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                  &tm.tm_min, &tm.tm_sec) != 6) {
    return false;
  }
  tm.tm_year -= 1900;
  tm.tm_mon -= 1;
  seconds = ::timegm(&tm);
  return true;
}

}  // namespace

int display_width(std::string_view text) {
  int width = 0;
  for (std::size_t at = 0; at < text.size();) width += width_of(next_code_point(text, at));
  return width;
}

std::string fit(std::string_view text, int width) {
  if (display_width(text) <= width) return std::string(text);
  int used = 0;
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    used += width_of(next_code_point(text, at));
    if (used > width - 1) break;
    end = at;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7F) {
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", byte);
      out += escape;
    }
  }
  // The C1 controls (U+0080 to U+009F) are two bytes in UTF-8, 0xC2 first.
  for (std::size_t i = 0; i + 1 < out.size(); ++i) {
    const auto second = static_cast<unsigned char>(out[i + 1]);
    if (static_cast<unsigned char>(out[i]) == 0xC2 && second >= 0x80 && second <= 0x9F)
      out.replace(i, 2, "?");
  }
  return out;
}

std::string relative_time(std::string_view rfc3339, std::int64_t now_ms) {
  std::int64_t seconds = 0;
  if (!parse_time(rfc3339, seconds)) return std::string(rfc3339);
  const std::int64_t age = now_ms / 1000 - seconds;
  const std::int64_t size = age < 0 ? -age : age;
  const std::string amount = size < 60       ? std::to_string(size) + "s"
                             : size < 3600   ? std::to_string(size / 60) + "m"
                             : size < 172800 ? std::to_string(size / 3600) + "h"
                                             : std::to_string(size / 86400) + "d";
  return age < 0 ? "in " + amount : amount + " ago";
}

Output::Output(Environment& environment, const Globals& globals)
    : environment_(environment),
      quiet_(globals.quiet),
      color_(environment.terminal && !globals.no_color && environment.variable("NO_COLOR").empty() &&
             environment.variable("TERM") != "dumb") {}

std::string Output::paint(Style style, std::string_view text) const {
  static constexpr const char* kCodes[] = {"", "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[31m"};
  if (!color_ || style == Style::plain) return std::string(text);
  return kCodes[static_cast<int>(style)] + std::string(text) + "\x1b[0m";
}

Output::Cell Output::cell(const Column& column, const Json& object, bool in_table) const {
  const Json* value = find(object, column.key);
  if (value == nullptr) return {"-", Style::dim};
  switch (column.show) {
    case Show::time: {
      const std::string absolute = printable(text_of(*value));
      if (!environment_.terminal) return {absolute, Style::plain};
      const std::string relative = relative_time(absolute, environment_.now_ms);
      return {in_table ? relative : absolute + " (" + relative + ")", Style::plain};
    }
    case Show::yes_no:
      return {value->is_boolean() ? (value->get<bool>() ? "yes" : "no") : text_of(*value), Style::plain};
    case Show::list: {
      std::string joined;
      for (const Json& item : *value) joined += (joined.empty() ? "" : ", ") + printable(word_of(item));
      return joined.empty() ? Cell{"-", Style::dim} : Cell{joined, Style::plain};
    }
    case Show::short_hash:
      return {printable(in_table ? text_of(*value).substr(0, 12) : text_of(*value)), Style::plain};
    case Show::state: {
      const std::string state = printable(text_of(*value));
      return {state, style_of_state(state)};
    }
    case Show::text:
      break;
  }
  const std::string text = printable(text_of(*value));
  return text.empty() ? Cell{"-", Style::dim} : Cell{text, Style::plain};
}

void Output::table(const std::vector<Column>& columns, const Json& items, std::string_view what) {
  if (!items.is_array() || items.empty()) {
    hint("No " + std::string(what) + ".");
    return;
  }
  std::vector<int> widths;
  for (const Column& column : columns) widths.push_back(display_width(column.title));
  std::vector<std::vector<Cell>> rows;
  for (const Json& item : items) {
    auto& row = rows.emplace_back();
    for (std::size_t i = 0; i < columns.size(); ++i) {
      row.push_back(cell(columns[i], item, true));
      widths[i] = std::max(widths[i], display_width(row.back().text));
    }
  }
  // On a terminal the widest column gives way until the table fits; none below 6 columns.
  constexpr int kGap = 2;
  const auto total = [&] {
    return std::accumulate(widths.begin(), widths.end(), kGap * (static_cast<int>(widths.size()) - 1));
  };
  while (environment_.terminal && environment_.width > 0 && total() > environment_.width) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= 6) break;
    --*widest;
  }
  const auto put = [&](std::string_view text, Style style, std::size_t i) {
    const std::string shown = fit(text, widths[i]);
    environment_.out << paint(style, shown);
    if (i + 1 < columns.size()) {
      environment_.out << std::string(static_cast<std::size_t>(widths[i] - display_width(shown) + kGap), ' ');
    }
  };
  for (std::size_t i = 0; i < columns.size(); ++i) put(columns[i].title, Style::bold, i);
  environment_.out << '\n';
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) put(row[i].text, row[i].style, i);
    environment_.out << '\n';
  }
}

void Output::fields(const std::vector<Column>& columns, const Json& object) {
  int width = 0;
  for (const Column& column : columns) width = std::max(width, display_width(column.title));
  for (const Column& column : columns) {
    if (find(object, column.key) == nullptr) continue;
    const Cell value = cell(column, object, false);
    const auto pad = static_cast<std::size_t>(width - display_width(column.title) + 2);
    environment_.out << paint(Style::dim, column.title) << std::string(pad, ' ')
                     << paint(value.style, value.text) << '\n';
  }
}

bool Output::checks(const Json& list, const std::vector<std::string>& may_be_absent) {
  bool all = true;
  for (const Json& check : list) {
    const bool ok = check.value("ok", false);
    const std::string name = check.value("name", "");
    const bool absent =
        !ok && std::find(may_be_absent.begin(), may_be_absent.end(), name) != may_be_absent.end();
    all = all && (ok || absent);
    environment_.out << (ok       ? paint(Style::good, "  ok    ")
                         : absent ? paint(Style::dim, "  none  ")
                                  : paint(Style::bad, "  FAIL  "))
                     << printable(name);
    const std::string detail = printable(check.value("detail", ""));
    if (!detail.empty()) environment_.out << paint(Style::dim, ": " + detail);
    environment_.out << '\n';
  }
  return all;
}

void Output::heading(std::string_view text) {
  environment_.out << '\n' << paint(Style::bold, text) << '\n';
}

void Output::line(std::string_view text) {
  environment_.out << text << '\n';
}

void Output::hint(std::string_view text) {
  if (!quiet_) environment_.err << text << '\n';
}

}  // namespace via::cli
