// Structured logs: one JSON object a line, an event name and fields; never payloads.
//
// spdlog does the writing (kept out of this header). Values pass through redaction: anything that looks like a token,
// and every path below a folder registered with hide_folder(), is replaced before it reaches the sink.
// Thread: any.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace via {

enum class Level { trace, debug, info, warn, error, critical };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  template <class N>
    requires std::is_arithmetic_v<N>
  Field(std::string_view k, N v) : key(k), value(std::to_string(v)) {}
};

class Logger {
 public:
  enum class Target { none, standard_error };
  explicit Logger(Target target, Level level = Level::info);
  // Tests read what was logged.
  explicit Logger(std::shared_ptr<std::vector<std::string>> lines);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  bool enabled(Level level) const;
  void set_level(Level level);
  void write(Level level, std::string_view event, const std::vector<Field>& fields);
  void info(std::string_view event, std::initializer_list<Field> f = {}) { write(Level::info, event, f); }
  void warn(std::string_view event, std::initializer_list<Field> f = {}) { write(Level::warn, event, f); }
  void error(std::string_view event, std::initializer_list<Field> f = {}) { write(Level::error, event, f); }
  void debug(std::string_view event, std::initializer_list<Field> f = {}) {
    if (enabled(Level::debug)) write(Level::debug, event, f);
  }

  // Paths below `folder` never appear in a log line. Call before threads start.
  void hide_folder(std::string folder);

 private:
  std::string redact(std::string_view value) const;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace via
