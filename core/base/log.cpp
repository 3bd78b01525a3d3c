#include "core/base/log.hpp"

#include <mutex>

#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "core/base/json_text.hpp"

namespace via {
namespace {

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LineSink(std::shared_ptr<std::vector<std::string>> lines) : lines_(std::move(lines)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& msg) override {
    lines_->emplace_back(msg.payload.data(), msg.payload.size());
  }
  void flush_() override {}

 private:
  std::shared_ptr<std::vector<std::string>> lines_;
};

spdlog::level::level_enum map(Level level) { return static_cast<spdlog::level::level_enum>(level); }

std::string_view name(Level level) {
  static constexpr std::string_view kNames[] = {"trace", "debug", "info", "warn", "error", "critical"};
  return kNames[static_cast<std::size_t>(level)];
}

bool token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
         c == '.';
}

}  // namespace

struct Logger::Impl {
  std::shared_ptr<spdlog::logger> logger;
  std::vector<std::string> hidden;
};

Logger::Logger(Target target, Level level) : impl_(std::make_unique<Impl>()) {
  spdlog::sink_ptr sink;
  if (target == Target::standard_error)
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  else
    sink = std::make_shared<spdlog::sinks::null_sink_mt>();
  impl_->logger = std::make_shared<spdlog::logger>("via", std::move(sink));
  impl_->logger->set_pattern("{\"time\":\"%Y-%m-%dT%H:%M:%S.%e%z\",%v}");
  impl_->logger->set_level(target == Target::none ? spdlog::level::off : map(level));
  impl_->logger->flush_on(spdlog::level::info);
}

Logger::Logger(std::shared_ptr<std::vector<std::string>> lines) : impl_(std::make_unique<Impl>()) {
  impl_->logger = std::make_shared<spdlog::logger>("via", std::make_shared<LineSink>(std::move(lines)));
  impl_->logger->set_level(spdlog::level::trace);
}

Logger::~Logger() = default;

bool Logger::enabled(Level level) const { return impl_->logger->should_log(map(level)); }

void Logger::set_level(Level level) { impl_->logger->set_level(map(level)); }

void Logger::hide_folder(std::string folder) {
  if (folder.size() > 1) impl_->hidden.push_back(std::move(folder));
}

std::string Logger::redact(std::string_view value) const {
  std::string out(value);
  for (const auto& folder : impl_->hidden) {
    for (std::size_t at = out.find(folder); at != std::string::npos; at = out.find(folder, at)) {
      std::size_t end = at + folder.size();
      while (end < out.size() && out[end] != ' ' && out[end] != '\'' && out[end] != '"' && out[end] != ',') ++end;
      out.replace(at, end - at, "[path]");
      at += 6;
    }
  }
  // A compact JWT starts with base64url of {" : "eyJ"; what a capability URL holds starts with "cap_".
  for (const std::string_view start : {"eyJ", "cap_"}) {
    for (std::size_t at = out.find(start); at != std::string::npos; at = out.find(start, at)) {
      std::size_t end = at;
      while (end < out.size() && token_char(out[end])) ++end;
      if (end - at >= 20) out.replace(at, end - at, "[token]");
      at += 3;
    }
  }
  return out;
}

void Logger::write(Level level, std::string_view event, const std::vector<Field>& fields) {
  if (!enabled(level)) return;
  std::string line = "\"level\":";
  append_json_string(line, name(level));
  line += ",\"event\":";
  append_json_string(line, event);
  for (const auto& field : fields) {
    line += ',';
    append_json_string(line, field.key);
    line += ':';
    append_json_string(line, redact(field.value));
  }
  impl_->logger->log(map(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace via
