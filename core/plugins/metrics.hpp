// Metrics as Prometheus reads them. prometheus-cpp keeps families and writes the text; it stays out of this header.
// Thread: any. The per-request counters of net/ are kept per I/O thread and read when somebody scrapes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace via::plugins {

class Metrics {
 public:
  Metrics();
  ~Metrics();
  enum class Kind { counter, gauge, histogram };
  // The same name and labels again give the same id. 0 = the name or its labels are not valid, or differ from before.
  std::uint32_t define(Kind kind, const std::string& name, const std::vector<std::string>& label_keys);
  void record(std::uint32_t id, const std::vector<std::string_view>& label_values, double value);
  // Text appended to each scrape, for figures that are kept elsewhere.
  void add_source(std::function<void(std::string& text)> source);
  std::string text() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace via::plugins
