// Edits of a JSON document by path, from three lines: the path, a value, the document. A document stays one that can be read,
// an edit is found where it was made and changes nothing else, and one that is refused leaves the document as it was.
#include "target.hpp"

#include "plugins/sqlite/kv/json_path.hpp"

#include <algorithm>

namespace {

using namespace via::sqlite;
using kv::JsonPath;

std::string_view line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  const std::string_view one = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return one;
}

std::string_view trimmed(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

void check_replace(const JsonPath& path, std::string_view value, const std::string& document) {
  const auto found = path.find(document);
  const std::string before(found.value_or(""));
  if (found) VIA_FUZZ_CHECK(kv::valid_json(before));
  std::string changed = document;
  if (path.replace(changed, value)) {
    VIA_FUZZ_CHECK(changed == document);
    return;
  }
  VIA_FUZZ_CHECK(kv::valid_json(changed));
  const auto put = path.find(changed);
  VIA_FUZZ_CHECK(put == trimmed(value));
  std::string again = changed;
  VIA_FUZZ_CHECK(!path.replace(again, value) && again == changed);
  if (!found) return;
  VIA_FUZZ_CHECK(!path.replace(changed, before) && changed == document);
}

void check_array(const JsonPath& path, std::string_view value, const std::string& document) {
  std::string changed = document;
  std::vector<std::string> before;
  const auto push = [&](JsonPath::Elements& all) -> Failure {
    before.assign(all.begin(), all.end());
    all.push_back(value);
    return {};
  };
  VIA_FUZZ_CHECK(path.find(document) || path.edit_array(changed, false, push));
  if (path.edit_array(changed, true, push)) {
    VIA_FUZZ_CHECK(changed == document);
    return;
  }
  VIA_FUZZ_CHECK(kv::valid_json(changed));
  const auto pop = [&](JsonPath::Elements& all) -> Failure {
    VIA_FUZZ_CHECK(all.size() == before.size() + 1 && all.back() == trimmed(value));
    all.pop_back();
    return {};
  };
  VIA_FUZZ_CHECK(!path.edit_array(changed, false, pop) && kv::valid_json(changed));
  const auto look = [&](JsonPath::Elements& all) -> Failure {
    VIA_FUZZ_CHECK(std::equal(all.begin(), all.end(), before.begin(), before.end()));
    return {};
  };
  VIA_FUZZ_CHECK(!path.edit_array(changed, false, look));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest = via::fuzz::text(data, size);
  JsonPath path;
  const bool is_path = !JsonPath::parse(line(rest), path);
  const std::string_view value = line(rest);
  VIA_FUZZ_CHECK(kv::valid_json(rest) == kv::parse_json(rest).has_value());
  if (!is_path || !kv::valid_json(value) || !kv::valid_json(rest)) return 0;
  check_replace(path, value, std::string(rest));
  check_array(path, value, std::string(rest));
  return 0;
}
