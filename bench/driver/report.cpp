#include "bench/driver/report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace bench {
namespace {

std::string number(double value) {
  char text[64];
  const double size = std::fabs(value);
  std::snprintf(text, sizeof text, size >= 1000 ? "%.0f" : size >= 100 ? "%.1f" : size >= 1 ? "%.2f" : "%.3f", value);
  if (size < 10'000) return text;
  std::string out;
  const std::string digits = text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-') out.push_back(',');
    out.push_back(digits[i]);
  }
  return out;
}

double rounded(double value) { return std::round(value * 1000) / 1000; }

}  // namespace

std::optional<bool> Figure::met() const {
  const double judged = ratio.value_or(value);
  if (at_least) return judged >= *at_least;
  if (at_most) return judged <= *at_most;
  return {};
}

void Report::add(Figure figure) {
  std::fprintf(stderr, "  %-58s %s %s%s\n", figure.name.c_str(), number(figure.value).c_str(), figure.unit.c_str(),
               figure.ratio ? (", ratio " + number(*figure.ratio)).c_str() : "");
  figures_.push_back(std::move(figure));
}

std::string Report::table() const {
  using Row = std::array<std::string, 6>;
  std::vector<Row> rows{{"figure", "measured", "baseline", "ratio", "goal", "met"}};
  for (const Figure& f : figures_) {
    const std::string unit = f.ratio ? "" : " " + f.unit;
    const auto met = f.met();
    rows.push_back({f.name, number(f.value) + " " + f.unit,
                    f.baseline ? number(*f.baseline) + " " + f.baseline_name : "", f.ratio ? number(*f.ratio) : "",
                    f.at_least  ? ">= " + number(*f.at_least) + unit
                    : f.at_most ? "<= " + number(*f.at_most) + unit
                                : "",
                    !met ? "" : *met ? "yes" : "NO"});
  }
  std::array<std::size_t, 6> width{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  std::string out;
  const auto line = [&](const Row& row) {
    std::string text = "|";
    for (std::size_t i = 0; i < row.size(); ++i) text += " " + row[i] + std::string(width[i] - row[i].size(), ' ') + " |";
    out += text + "\n";
  };
  line(rows[0]);
  Row rule;
  for (std::size_t i = 0; i < rule.size(); ++i) rule[i] = std::string(width[i], '-');
  line(rule);
  for (std::size_t i = 1; i < rows.size(); ++i) line(rows[i]);
  return out;
}

nlohmann::json Report::json() const {
  auto list = nlohmann::json::array();
  for (const Figure& f : figures_) {
    nlohmann::json item = {{"figure", f.name}, {"value", rounded(f.value)}, {"unit", f.unit}, {"rounds", f.rounds}};
    if (f.baseline) item["baseline"] = {{"name", f.baseline_name}, {"value", rounded(*f.baseline)}};
    if (f.ratio) item["ratio"] = rounded(*f.ratio);
    if (f.at_least) item["goal"] = {{"at_least", *f.at_least}};
    if (f.at_most) item["goal"] = {{"at_most", *f.at_most}};
    if (const auto met = f.met()) item["met"] = *met;
    list.push_back(std::move(item));
  }
  nlohmann::json out = notes_;
  out["figures"] = std::move(list);
  return out;
}

std::size_t Report::missed() const {
  std::size_t n = 0;
  for (const Figure& f : figures_) n += f.met() == false ? 1 : 0;
  return n;
}

}  // namespace bench
