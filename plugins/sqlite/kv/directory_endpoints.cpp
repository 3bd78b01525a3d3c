#include "plugins/sqlite/kv/directory_endpoints.hpp"

#include "plugins/sqlite/api/api.hpp"
#include "plugins/sqlite/kv/json_path.hpp"
#include "plugins/sqlite/kv/travel.hpp"
#include "plugins/sqlite/render.hpp"

#include <sys/stat.h>

#include <algorithm>

namespace via::sqlite::api {
namespace {

constexpr int64_t kLargestLimit = 10'000;
constexpr size_t kListBytes = 32u << 20;
constexpr uint64_t kListedValue = 1u << 20;  // a larger file is listed without its value

bool is_directory(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

std::string type_of(std::string_view value) {
  if (kv::valid_json(value)) return "application/json";
  return is_utf8(value) && value.find('\0') == value.npos ? "text/plain" : "application/octet-stream";
}

Failure no_history(const Parameters& p) {
  return p.text("at_timestamp").empty() ? Failure{} : error(400, "directory-mode: files have no history");
}

Failure rebuild_of(Context& c, const std::string& folder, bool& rebuild) {
  rebuild = false;
  if (Failure f = c.request().parameters.boolean("rebuild", rebuild)) return f;
  if (rebuild) c.api().directories().forget(folder);
  return {};
}

void append_file(std::string& items, const PlainFile& file, const std::string* value) {
  items += "{\"key\":";
  kv::append_text(items, file.key);
  items += ",\"value\":";
  if (value) kv::append_text(items, *value);
  else items += "null";
  items += ",\"content_type\":";
  kv::append_text(items, value ? type_of(*value) : "application/octet-stream");
  items += ",\"updated_at\":" + std::to_string(file.modified_ms) + ",\"expires_at\":null,\"size\":" + std::to_string(file.bytes) + "}";
}

}  // namespace

void list_files(Context& c, const std::string& folder) {
  const Parameters& p = c.request().parameters;
  int64_t limit = 100, offset = 0;
  bool rebuild = false;
  Failure f = p.integer("limit", limit);
  if (!f) f = p.integer("offset", offset);
  if (!f) f = no_history(p);
  if (!f) f = rebuild_of(c, folder, rebuild);
  if (!f) f = p.numbered_cursor(offset);
  if (!f && offset < 0) f = error(400, "offset must not be negative");
  limit = limit <= 0 ? 100 : std::min(limit, kLargestLimit);
  std::vector<PlainFile> files;
  Directories& all = c.api().directories();
  if (!f) f = all.list(folder, p.text("prefix"), limit + 1, offset, rebuild, files);
  if (f) return c.fail(std::move(f));
  std::string items, value;
  int64_t count = 0, looked_at = 0;
  for (const PlainFile& file : files) {
    if (looked_at == limit || items.size() >= kListBytes) break;
    ++looked_at;
    PlainFile now = file;
    const bool small = file.bytes <= kListedValue;
    if (small && all.read(folder, file.key, value, now)) continue;  // removed meanwhile, or larger now
    if (count++ != 0) items += ',';
    append_file(items, now, small ? &value : nullptr);
  }
  Answer a;
  a.body = "{\"items\":[" + items + "],\"count\":" + std::to_string(count) + ",\"limit\":" + std::to_string(limit) +
           ",\"offset\":" + std::to_string(offset) + paging(looked_at < static_cast<int64_t>(files.size()) ? std::to_string(offset + looked_at) : "") + "}";
  c.answer(std::move(a));
}

void get_file(Context& c, const std::string& folder) {
  const Request& r = c.request();
  bool rebuild = false;
  kv::JsonPath path;
  PlainFile about;
  Answer a;
  Failure f = no_history(r.parameters);
  if (!f) f = rebuild_of(c, folder, rebuild);
  if (!f && !r.parameters.text("path").empty()) f = kv::JsonPath::parse(r.parameters.text("path"), path);
  if (!f) f = c.api().directories().read(folder, r.key, a.body, about);
  if (f) return c.fail(std::move(f));
  if (path.whole()) {
    a.content_type = type_of(a.body);
  } else {
    if (!kv::valid_json(a.body)) return c.fail(error(400, "the value is not a JSON document"));
    const auto leaf = path.find(a.body);
    if (!leaf) return c.fail(error(404, "Path not found"));
    a.body = std::string(*leaf);
  }
  c.answer(std::move(a));
}

void delete_file(Context& c, const std::string& folder) {
  if (Failure f = c.api().directories().remove(folder, c.request().key)) return c.fail(std::move(f));
  Answer a;
  a.body = R"({"success":true,"deleted":true})";
  c.answer(std::move(a));
}

void fail_or_directory(Context& c, Failure why, DirectoryEndpoint endpoint) {
  const std::string_view given = c.request().parameters.text("db");
  Place place;
  if (c.on_io_thread() || c.place(given, place) || place.own) return c.fail(std::move(why));
  Databases& all = c.api().databases();
  if (!place.absolute) {
    if (!given.empty()) place.path = all.folder() + "/" + std::string(given.substr(given.starts_with("./") ? 2 : 0));
    return c.fail(is_directory(place.path) ? error(400, "directory-mode: invalid path input: path must be absolute") : std::move(why));
  }
  std::string real;
  if (all.real_path(place, real) || !is_directory(real)) return c.fail(std::move(why));
  if (!endpoint) return c.fail(error(400, "directory-mode: files are listed, read and deleted here; this needs a database"));
  endpoint(c, real);
}

}  // namespace via::sqlite::api
