#include "core/plugins/metrics.hpp"

#include <map>
#include <mutex>

#include <prometheus/check_names.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace via::plugins {
namespace {
// Seconds from 50 µs to 10 s.
const prometheus::Histogram::BucketBoundaries kBuckets{0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                                       0.025,   0.05,   0.1,     0.25,   0.5,   1,      2.5,   10};
constexpr std::size_t kMaximumSeries = 10'000;  // label values come from plugins: memory stays bounded
}  // namespace

struct Metrics::Impl {
  struct Definition {
    Kind kind;
    std::vector<std::string> keys;
    prometheus::Family<prometheus::Counter>* counter = nullptr;
    prometheus::Family<prometheus::Gauge>* gauge = nullptr;
    prometheus::Family<prometheus::Histogram>* histogram = nullptr;
  };
  mutable std::mutex mutex;
  prometheus::Registry registry;
  std::vector<Definition> definitions;          // id - 1; guarded by mutex
  std::map<std::string, std::uint32_t> names;   // guarded by mutex
  std::map<std::string, bool> series;           // guarded by mutex
  std::vector<std::function<void(std::string&)>> sources;  // guarded by mutex
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

std::uint32_t Metrics::define(Kind kind, const std::string& name, const std::vector<std::string>& label_keys) {
  const std::lock_guard lock(impl_->mutex);
  if (const auto known = impl_->names.find(name); known != impl_->names.end()) {
    const auto& d = impl_->definitions[known->second - 1];
    return d.kind == kind && d.keys == label_keys ? known->second : 0;
  }
  if (!prometheus::CheckMetricName(name) || label_keys.size() > 8) return 0;
  for (const auto& key : label_keys)
    if (!prometheus::CheckLabelName(key)) return 0;
  Impl::Definition d{kind, label_keys, nullptr, nullptr, nullptr};
  switch (kind) {
    case Kind::counter: d.counter = &prometheus::BuildCounter().Name(name).Register(impl_->registry); break;
    case Kind::gauge: d.gauge = &prometheus::BuildGauge().Name(name).Register(impl_->registry); break;
    case Kind::histogram: d.histogram = &prometheus::BuildHistogram().Name(name).Register(impl_->registry); break;
  }
  impl_->definitions.push_back(std::move(d));
  const auto id = static_cast<std::uint32_t>(impl_->definitions.size());
  impl_->names.emplace(name, id);
  return id;
}

void Metrics::record(std::uint32_t id, const std::vector<std::string_view>& label_values, double value) {
  const std::lock_guard lock(impl_->mutex);
  if (id == 0 || id > impl_->definitions.size()) return;
  auto& d = impl_->definitions[id - 1];
  if (label_values.size() != d.keys.size()) return;
  prometheus::Labels labels;
  std::string series = std::to_string(id);
  for (std::size_t i = 0; i < d.keys.size(); ++i) {
    labels.emplace(d.keys[i], std::string(label_values[i]));
    series.append(1, '\0').append(label_values[i]);
  }
  if (!impl_->series.contains(series)) {
    if (impl_->series.size() >= kMaximumSeries) return;
    impl_->series.emplace(std::move(series), true);
  }
  if (d.counter != nullptr && value >= 0) d.counter->Add(labels).Increment(value);
  if (d.gauge != nullptr) d.gauge->Add(labels).Set(value);
  if (d.histogram != nullptr) d.histogram->Add(labels, kBuckets).Observe(value);
}

void Metrics::add_source(std::function<void(std::string&)> source) {
  const std::lock_guard lock(impl_->mutex);
  impl_->sources.push_back(std::move(source));
}

std::string Metrics::text() const {
  std::string out = prometheus::TextSerializer().Serialize(impl_->registry.Collect());
  const std::lock_guard lock(impl_->mutex);
  for (const auto& source : impl_->sources) source(out);
  return out;
}

}  // namespace via::plugins
