// What status, doctor, smoke, repair and the debug bundle of an app have in common: findings about one app, and the
// removal of what must not leave the host from text of others. Thread: any (values and pure functions).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/base/error.hpp"

namespace via::lifecycle {

struct Finding {
  std::string name;
  bool ok = true;
  std::string detail;
  std::string code, recommend;  // of one that is not ok; "{target}" in `recommend` is for the command line to fill in
};

nlohmann::json to_json(const Finding& finding);
// [{code, message, recommend}] of those that are not ok and have a code, each code and message once.
nlohmann::json problems_of(const std::vector<Finding>& findings);

// Whatever looks like a token becomes [token], every path below `folder` [path], each of `values` (of 4 bytes and more)
// [value]. What is no UTF-8 is replaced; control characters stay.
class Redactor {
 public:
  explicit Redactor(std::string folder) : folder_(std::move(folder)) {}
  void hide(std::string value);
  std::string text(std::string_view text) const;
  nlohmann::json all(nlohmann::json value) const;  // every string in it; names stay

 private:
  std::string folder_;
  std::vector<std::string> values_;  // longest first
};


}  // namespace via::lifecycle
