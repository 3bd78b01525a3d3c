// The router, and the context that endpoints see.
#include "plugins/sqlite/api/api.hpp"

#include "plugins/sqlite/inline_proof.hpp"
#include "plugins/sqlite/inline_read.hpp"
#include "plugins/sqlite/kv/store.hpp"
#include "plugins/sqlite/writer.hpp"

#include <boost/container/small_vector.hpp>
#include <boost/json.hpp>

#include <algorithm>
#include <new>

namespace via::sqlite::api {
namespace {

constexpr int kInlineBytes = 16 * 1024;  // of a body, and of a value that is read
constexpr uint64_t kInlineSteps = 20'000;
constexpr std::string_view kKeyPlaces[] = {"{key}", "{index}"};

using Segments = boost::container::small_vector<std::string_view, 16>;

template <class Out>
void split(std::string_view path, Out& out) {
  while (!path.empty()) {
    path.remove_prefix(1);
    const size_t end = std::min(path.find('/'), path.size());
    out.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
}

bool is_key(std::string_view segment) {
  return std::find(std::begin(kKeyPlaces), std::end(kKeyPlaces), segment) != std::end(kKeyPlaces);
}

// Matches what `have` with the pattern `want`; the number of its fixed segments, or -1. `key` gets the raw text of its place,
// which may be empty.
int match(const std::vector<std::string_view>& want, size_t place, const Segments& have, std::string_view& key) {
  if (place == want.size()) return std::equal(want.begin(), want.end(), have.begin(), have.end()) ? static_cast<int>(want.size()) : -1;
  const size_t after = want.size() - place - 1;
  if (have.size() < want.size()) return -1;
  const auto middle = want.begin() + static_cast<std::ptrdiff_t>(place);
  if (!std::equal(want.begin(), middle, have.begin())) return -1;
  if (!std::equal(middle + 1, want.end(), have.end() - static_cast<std::ptrdiff_t>(after))) return -1;
  const char* const begin = have[place].data();
  const std::string_view last = have[have.size() - after - 1];
  key = {begin, static_cast<size_t>(last.data() + last.size() - begin)};
  return static_cast<int>(place + after);
}

const char* name_of(Method m) {
  switch (m) {
    case Method::get: return "GET";
    case Method::head: return "HEAD";
    case Method::put: return "PUT";
    case Method::post: return "POST";
    case Method::del: return "DELETE";
    default: return "";
  }
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Failure read_body(const via_http_request* request, via_call* call, std::string& out) {
  if (VIA_HAS(via_http_request, request, body))
    out.assign(reinterpret_cast<const char*>(request->body.ptr), request->body.len);
  if (!call->read) return {};
  uint8_t piece[4096];
  for (;;) {
    if (out.size() > kBodyLimit) return error(413, "the body is too large");
    size_t got = 0;
    const via_status st = call->read(call, piece, sizeof piece, VIA_WAIT, &got);
    if (st != VIA_OK) return {st, "", "the body could not be read"};
    if (got == 0) return {};
    out.append(reinterpret_cast<const char*>(piece), got);
  }
}

Failure rights_of(const via_http_request* request, Rights& out) {
  out.write = false;
  bool read = false;
  const via_caller* caller = request->caller;
  for (size_t i = 0; caller && i < caller->scopes_len; ++i) {
    read = read || text(caller->scopes[i]) == "read";
    out.write = out.write || text(caller->scopes[i]) == "write";
  }
  if (!read && !out.write) return error(403, "this caller may not read");
  if (!VIA_HAS(via_http_request, request, limits_len)) return {};
  for (size_t i = 0; i < request->limits_len; ++i) {
    const std::string_view name = text(request->limits[i].key), value = text(request->limits[i].value);
    if (name == "db") out.only_db = value;
    else if (name == "only" && value == "query") out.query_only = true;
    else return error(403, "this URL is limited in a way that is not known here");
  }
  return {};
}

class RequestContext final : public Context {
 public:
  RequestContext(Api& api, via_call* call, bool on_io_thread)
      : api_(api), call_(call), now_ms_(api.host().unix_ms()), on_io_thread_(on_io_thread) {
    const uint64_t own = api.host().now_ns() + api.databases().limits().timeout_ms * 1'000'000;
    deadline_ns_ = call->deadline_ns != 0 ? std::min(call->deadline_ns, own) : own;
  }

  Request& mutable_request() { return request_; }
  bool ended() const { return ended_; }
  bool would_block() const { return would_block_; }

  const Request& request() const override { return request_; }
  int64_t now_ms() const override { return now_ms_; }
  uint64_t deadline_ns() const override { return deadline_ns_; }
  const Host& host() const override { return api_.host(); }
  Api& api() override { return api_; }
  via_call* call() override { return call_; }

  Failure place(std::string_view given, Place& out) const override {
    const Databases& all = api_.databases();
    const std::string& only = request_.rights.only_db;
    const bool unnamed = given.empty() && !request_.parameters.find("db");
    Place allowed;
    if (only == "data.sqlite" && !all.kit().on) allowed = all.own_place();
    else if (Failure f = only.empty() ? Failure{} : all.place(only, allowed)) return f;
    if (unnamed) {
      if (only.empty() && all.kit().on) return error(400, "db is required");
      out = only.empty() ? all.own_place() : allowed;
      return {};
    }
    if (Failure f = all.place(given, out)) return f;
    if (only.empty() || (allowed.name == out.name && allowed.own == out.own)) return {};
    return error(403, "this URL does not reach that database");
  }

  Failure database(bool create, std::shared_ptr<OpenDatabase>& out) override {
    Place where;
    if (Failure f = place(request_.parameters.text("db"), where)) return f;
    if (on_io_thread_) {
      out = api_.databases().try_open(where, now_ms_);
      return out ? Failure{} : api::would_block();
    }
    return api_.databases().open(where, create && request_.rights.write, out);
  }

  Failure wants_create(bool& create) const override {
    bool one = false, other = false;
    const Parameters& p = request_.parameters;
    if (Failure f = p.boolean("create_db_if_missing", one)) return f;
    if (Failure f = p.boolean("auto_create", other)) return f;
    if (p.find("create_db_if_missing") && p.find("auto_create") && one != other)
      return error(400, "conflicting flags: create_db_if_missing and auto_create must match");
    create = one || other;
    return {};
  }

  bool on_io_thread() const override { return on_io_thread_; }

  Failure read(OpenDatabase& open, const ReadFn& fn) override {
    if (on_io_thread_) return read_inline(open, fn);
    Database& database = open.database();
    database.open_wanted(open.handles());
    std::unique_ptr<Connection> c;
    if (Failure f = database.take_reader(open.handles(), deadline_ns_, c)) return f;
    Failure failure;
    {
      const Guarded guarded(database.watchdog(), *c, deadline_ns_, call_);
      if (const int rc = c->host_exec("BEGIN"); rc != SQLITE_OK) {
        failure = c->failure(rc);
      } else {
        try {
          failure = fn(*c);
        } catch (const std::bad_alloc&) {
          failure = internal("out of memory");
        } catch (...) {
          failure = internal("an unexpected exception");
        }
      }
    }
    c->begin_guard(0, nullptr, 0);
    if (sqlite3_get_autocommit(c->db()) == 0) c->host_exec("ROLLBACK");
    c->end_guard();
    database.give_reader(open.handles(), std::move(c));
    return failure;
  }

  void write(std::shared_ptr<OpenDatabase> database, WriteFn fn, bool exclusive) override {
    if (!request_.rights.write) return fail(error(403, "this caller may not write"));
    auto job = std::make_unique<Job>();
    job->write = std::move(fn);
    job->call = call_;
    job->deadline_ns = deadline_ns_;
    job->exclusive = exclusive;
    job->pin = database->pin().clone();
    Writer& writer = *job->pin->writer;
    job->keep = std::move(database);
    ended_ = true;
    if (!writer.submit(job))
      respond(call_, answer_of({VIA_E_EXHAUSTED, "queue_full", "too many writes are waiting for this database", 0, -1, 100}));
  }

  void answer(Answer answer) override {
    ended_ = true;
    respond(call_, answer);
  }
  void fail(Failure failure) override {
    if (on_io_thread_ && failure.status == VIA_E_WOULD_BLOCK) {
      would_block_ = true;
      return;
    }
    const Answer a = answer_of(failure);
    if (a.status >= 500 && failure.status >= VIA_E_CORRUPT) api_.host().log(4, failure.message);
    answer(a);
  }

 private:
  // Whatever goes wrong is told on a worker, where the same is done again.
  Failure read_inline(OpenDatabase& open, const ReadFn& fn) {
    const InlineRead mine(host(), open.pin());
    Connection* const c = mine.connection();
    if (!c) return api::would_block();
    const int longest = sqlite3_limit(c->db(), SQLITE_LIMIT_LENGTH, kInlineBytes);
    Failure failure;
    {
      const InlineRun run(host(), kInlineSteps);
      try {
        failure = fn(*c);
      } catch (...) {  // memory; a worker tells
        failure = api::would_block();
      }
    }
    sqlite3_limit(c->db(), SQLITE_LIMIT_LENGTH, longest);
    return failure ? api::would_block() : Failure{};
  }

  Api& api_;
  via_call* call_;
  int64_t now_ms_;
  uint64_t deadline_ns_;
  const bool on_io_thread_;
  Request request_;
  bool ended_ = false, would_block_ = false;
};

Failure serve_request(const via_http_request* in, via_call* call, RequestContext& context) {
  Request& request = context.mutable_request();
  std::string_view path = text(in->path);
  if (path.starts_with(kPrefix) && (path.size() == kPrefix.size() || path[kPrefix.size()] == '/')) path.remove_prefix(kPrefix.size());
  request.method = method_of(text(in->method));
  if (Failure f = rights_of(in, request.rights)) return f;
  Router::Found found;
  if (Failure f = Router::get().find(request.method, path, found)) {
    if (f.http_status != 405) return f;
    Answer a = answer_of(f);
    a.headers.emplace_back("Allow", found.allowed);
    context.answer(std::move(a));
    return {};
  }
  if (context.on_io_thread() && !found.route->quick) return would_block();
  request.route = found.route->pattern;
  request.key = std::move(found.key);
  if (request.rights.query_only && request.route != "/query" && !request.route.starts_with("/health"))
    return error(403, "this URL allows GET /query only");
  if (found.route->needs == Needs::write && !request.rights.write) return error(403, "this caller may not write");
  for (size_t i = 0; i < in->query_len; ++i)
    request.parameters.add(std::string(text(in->query[i].key)), std::string(text(in->query[i].value)));
  for (size_t i = 0; i < in->headers_len; ++i) {
    const std::string_view name = text(in->headers[i].key);
    constexpr std::string_view kType = "content-type";
    if (std::equal(name.begin(), name.end(), kType.begin(), kType.end(), [](char a, char b) { return (a | 0x20) == (b | 0x20); }))
      request.content_type = text(in->headers[i].value);
  }
  if (Failure f = read_body(in, call, request.body)) return f;
  if (found.route->needs != Needs::nothing && !context.api().databases().serving())
    return {VIA_E_UNAVAILABLE, "not_open", "the add-on is not open"};
  found.route->endpoint(context);
  return {};
}

}  // namespace

Method method_of(std::string_view name) {
  if (name == "GET") return Method::get;
  if (name == "HEAD") return Method::head;
  if (name == "PUT") return Method::put;
  if (name == "POST") return Method::post;
  if (name == "DELETE") return Method::del;
  return Method::other;
}

bool decode_path(std::string_view s, std::string& out) {
  out.clear();
  out.reserve(s.size());
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (c == '%') {
      if (i + 2 >= s.size()) return false;
      const int high = hex(s[i + 1]), low = hex(s[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high << 4 | low);
      i += 2;
    }
    if (c == '\0') return false;
    out += c;
  }
  return true;
}

Router::Router() {
  for (auto* of : {&sql_routes, &service_routes, &kv_routes, &travel_routes})
    for (const Route& r : of()) {
      Pattern pattern;
      split(r.pattern, pattern.segments);
      pattern.place = static_cast<size_t>(std::find_if(pattern.segments.begin(), pattern.segments.end(), is_key) - pattern.segments.begin());
      routes_.push_back(r);
      patterns_.push_back(std::move(pattern));
    }
}

const Router& Router::get() {
  static const Router router;
  return router;
}

Failure Router::find(Method method, std::string_view path, Found& out) const {
  int best = -1;
  std::string_view pattern, raw_key;
  Segments have;
  split(path, have);
  for (size_t i = 0; i < routes_.size(); ++i) {
    std::string_view key;
    if (const int fixed = match(patterns_[i].segments, patterns_[i].place, have, key); fixed > best) {
      best = fixed;
      pattern = routes_[i].pattern;
      raw_key = key;
    }
  }
  const bool needs_key = pattern.find('{') != std::string_view::npos;
  if (best < 0 || (needs_key && raw_key.empty())) return error(404, "not found");
  const Route* for_head = nullptr;
  for (const Route& r : routes_) {
    if (r.pattern != pattern) continue;
    if (r.method == method) out.route = &r;
    if (r.method == Method::get) for_head = &r;
  }
  if (!out.route && method == Method::head) out.route = for_head;
  if (!out.route) {
    out.allowed.clear();
    for (const Route& r : routes_) {
      if (r.pattern != pattern) continue;
      out.allowed += out.allowed.empty() ? "" : ", ";
      out.allowed += name_of(r.method);
    }
    std::string why = "method not allowed; this path takes " + out.allowed;
    if (pattern.starts_with("/kv/"))
      why += " (a key that looks like this path is reached with the slash or a letter of its last word percent-encoded)";
    return error(405, std::move(why));
  }
  if (!decode_path(raw_key, out.key)) return error(400, "the key in the path is not properly percent-encoded");
  return {};
}

Api::Api(const Host& host, Database& own) : host_(host), databases_(host, own, kv::sweep_idle), directories_(databases_) {}

void Api::handle(const via_http_request* request, via_call* call) {
  RequestContext context(*this, call, false);
  try {
    if (Failure f = serve_request(request, call, context)) context.fail(std::move(f));
  } catch (const std::bad_alloc&) {
    if (!context.ended()) context.fail(internal("out of memory"));
  } catch (...) {
    if (!context.ended()) context.fail(internal("an unexpected exception"));
  }
}

via_status Api::try_handle(const via_http_request* request, via_call* call) {
  if (request->body.len > kInlineBytes || !databases_.serving()) return VIA_E_WOULD_BLOCK;
  RequestContext context(*this, call, true);
  try {
    // What is wrong with a request is told on a worker, where the same checks run again.
    if (serve_request(request, call, context) || context.would_block()) return VIA_E_WOULD_BLOCK;
  } catch (...) {
    if (!context.ended()) return VIA_E_WOULD_BLOCK;
  }
  return VIA_OK;
}

Failure parse_kit(std::string_view config, Kit& out) {
  out = {};
  if (config.empty()) return {};
  boost::json::error_code ec;
  const auto value = boost::json::parse({config.data(), config.size()}, ec);
  if (ec || !value.is_object()) return bad_request("the configuration is not a JSON object");
  const auto* kit = value.get_object().if_contains("kit");
  if (!kit) return {};
  if (!kit->is_object()) return bad_request("kit must be an object");
  out.on = true;
  const auto* any = kit->get_object().if_contains("allow_any_absolute_db_path");
  out.any_absolute = any && any->is_bool() && any->get_bool();
  return {};
}

}  // namespace via::sqlite::api
