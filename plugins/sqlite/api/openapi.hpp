// The description of the data API as an OpenAPI 3.0 document: one table of its operations, told as JSON and as YAML.
// Thread: any; pure.
#pragma once

#include "plugins/sqlite/api/request.hpp"

#include <boost/json.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace via::sqlite::api {

struct DescribedParameter {
  const char* name;
  const char* type;         // "string", "integer", "boolean"
  bool required = false;
  const char* otherwise = nullptr;  // the default, as JSON
  const char* text = "";
};

struct DescribedOperation {
  Method method;
  const char* pattern;      // as in the router
  const char* summary;
  std::vector<DescribedParameter> parameters;  // beside {key} and {index}
  const char* body = nullptr;     // the schema of the request's body, as JSON
  const char* answer = nullptr;   // the schema of a 200, as JSON; null: the value of a key
  std::vector<int> statuses;      // beside 200 and those that every operation may answer
};

const std::vector<DescribedOperation>& described_operations();
// Statuses that any operation may answer.
const std::vector<int>& common_statuses();

boost::json::value openapi_document();
std::string openapi_json();
std::string openapi_yaml();

}  // namespace via::sqlite::api
