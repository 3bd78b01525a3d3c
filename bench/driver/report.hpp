// The figures of a run, as one table for people and one JSON file for machines.
// Thread: one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace bench {

// What was measured, what it is held against, and whether that is good enough.
struct Figure {
  std::string name;
  double value = 0;
  std::string unit;
  std::string baseline_name = {};
  std::optional<double> baseline = {};
  std::optional<double> ratio = {};   // value to baseline
  std::optional<double> at_least = {}, at_most = {};  // the goal, on the ratio when there is one, else on the value
  nlohmann::json rounds = {};         // what each run gave

  std::optional<bool> met() const;
};

class Report {
 public:
  // Prints the name at once, so that a long run shows where it is.
  void add(Figure figure);
  void note(const std::string& name, const nlohmann::json& value) { notes_[name] = value; }
  std::string table() const;
  nlohmann::json json() const;
  std::size_t missed() const;

 private:
  std::vector<Figure> figures_;
  nlohmann::json notes_ = nlohmann::json::object();
};

}  // namespace bench
