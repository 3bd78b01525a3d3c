// Small values of a plugin: failures, views of what the host hands over, JSON text.
// Thread: any (values). A view is valid until the function it was given to returns; copy what is kept longer.
#pragma once

#include <via/plugin.h>

#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace via::plugin {

inline std::string_view view(via_str s) noexcept { return s.len == 0 ? std::string_view() : std::string_view(s.ptr, s.len); }
inline std::string_view view(via_bytes b) noexcept {
  return b.len == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(b.ptr), b.len);
}
inline via_str str(std::string_view s) noexcept { return {s.data(), s.size()}; }
inline via_bytes bytes(std::string_view s) noexcept { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

// `text` as a JSON string, with its quotes. Bytes that are no control characters go as they are.
inline std::string json_string(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (u < 0x20) {
      out += "\\u00";
      out += kDigits[u >> 4];
      out += kDigits[u & 15];
    } else {
      out += c;
    }
  }
  out += '"';
  return out;
}

// Thrown by a plugin's methods to end a call without success. `message` reaches the client (unless the status is
// VIA_E_INTERNAL or VIA_E_CORRUPT: then the host's log), so it names what was wrong and never holds a secret or a path.
// `code` ([a-z_]{1,40}) replaces the status's own code; `members` are more members of the error body, as JSON text
// without braces: "\"line\":7".
class Failure : public std::exception {
 public:
  Failure(via_status status, std::string message, std::string code = {}, std::string members = {})
      : status_(status), message_(std::move(message)) {
    if (!code.empty()) details_ = "\"code\":" + json_string(code);
    if (!members.empty()) details_ += (details_.empty() ? "" : ",") + members;
    if (!details_.empty()) details_ = "{" + details_ + "}";
  }
  const char* what() const noexcept override { return message_.c_str(); }
  via_status status() const noexcept { return status_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& details() const noexcept { return details_; }

 private:
  via_status status_;
  std::string message_, details_;
};

// Who asks; already authenticated and authorised by the host.
class Caller {
 public:
  explicit Caller(const via_caller* c) noexcept : c_(c) {}
  // False only on a route that the manifest marks public.
  explicit operator bool() const noexcept { return c_ != nullptr; }
  std::uint32_t generation() const noexcept { return c_ == nullptr ? 0 : c_->generation; }
  const via_id& binding() const noexcept {
    static constexpr via_id kNone{};
    return c_ == nullptr ? kNone : c_->binding_id;
  }
  bool may(std::string_view scope) const noexcept {
    for (std::size_t i = 0; c_ != nullptr && i < c_->scopes_len; ++i)
      if (view(c_->scopes[i]) == scope) return true;
    return false;
  }
  // Every generation of the binding that is live now, ascending.
  std::span<const std::uint32_t> live_generations() const noexcept {
    if (c_ == nullptr || !VIA_HAS(via_caller, c_, live_generations_len)) return {};
    return {c_->live_generations, c_->live_generations_len};
  }

 private:
  const via_caller* c_;
};

// One call of an operation that the manifest declares.
struct Operation {
  std::uint32_t index;                           // place in the manifest's "ops"
  std::string_view name, content_type, params;   // more than `params` may follow: Call::body()
  std::string_view accept;                       // the request's Accept
  Caller caller;

  explicit Operation(const via_op_args& a) noexcept
      : index(a.op_index),
        name(view(a.op)),
        content_type(view(a.params_content_type)),
        params(view(a.params)),
        accept(VIA_HAS(via_op_args, &a, accept) ? view(a.accept) : std::string_view()),
        caller(a.caller) {}
};

// One HTTP request at or below the prefix that the manifest declares.
struct HttpRequest {
  std::string_view method, path, body;  // more than `body` may follow: Call::body()
  Caller caller;

  explicit HttpRequest(const via_http_request& r) noexcept
      : method(view(r.method)), path(view(r.path)), body(view(r.body)), caller(r.caller), raw_(r) {}
  std::optional<std::string_view> query(std::string_view name) const { return find(raw_.query, raw_.query_len, name, false); }
  // Names of fields are compared without case.
  std::optional<std::string_view> header(std::string_view name) const {
    return find(raw_.headers, raw_.headers_len, name, true);
  }
  // What a capability URL was narrowed to: "db", "only".
  std::optional<std::string_view> limit(std::string_view name) const {
    if (!VIA_HAS(via_http_request, &raw_, limits_len)) return std::nullopt;
    return find(raw_.limits, raw_.limits_len, name, false);
  }
  const via_http_request& raw() const noexcept { return raw_; }

 private:
  static bool same(std::string_view a, std::string_view b, bool without_case) noexcept {
    if (a.size() != b.size()) return false;
    const auto low = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
    for (std::size_t i = 0; i < a.size(); ++i)
      if (a[i] != b[i] && !(without_case && low(a[i]) == low(b[i]))) return false;
    return true;
  }
  static std::optional<std::string_view> find(const via_pair* pairs, std::size_t n, std::string_view name, bool without_case) {
    for (std::size_t i = 0; i < n; ++i)
      if (same(view(pairs[i].key), name, without_case)) return view(pairs[i].value);
    return std::nullopt;
  }
  const via_http_request& raw_;
};

// What provision and open are told.
struct Provision {
  std::uint32_t storage_schema;             // the one the host has on record; 0 = fresh
  std::string_view plan, config_json;       // already checked against the manifest's config_schema

  explicit Provision(const via_provision_args& a) noexcept
      : storage_schema(a.storage_schema), plan(view(a.plan)), config_json(view(a.config_json)) {}
};

// One credential generation of a binding.
struct Binding {
  via_id id;
  std::uint32_t generation;  // 0 in revoke = all
  // Minted by the host; empty unless the manifest says "credentials": "plugin-applied". Wipe copies after use.
  std::string_view secret;
  std::int64_t not_after_unix_ms;  // 0 = no expiry

  explicit Binding(const via_binding_args& a) noexcept
      : id(a.binding_id),
        generation(a.generation),
        secret(view(a.secret)),
        not_after_unix_ms(VIA_HAS(via_binding_args, &a, not_after_unix_ms) ? a.not_after_unix_ms : 0),
        raw_(a) {}
  bool may(std::string_view scope) const noexcept {
    for (std::size_t i = 0; i < raw_.scopes_len; ++i)
      if (view(raw_.scopes[i]) == scope) return true;
    return false;
  }

 private:
  const via_binding_args& raw_;
};

// The folder of a snapshot call; see via_snapshot_api for what it holds and what may be done with it.
struct Snapshot {
  via_id id;
  std::string_view dir;
  bool exchanges;  // restore: leave in `dir` what was there before
  // verify and restore: the format that take() answered for what lies there; empty when the host does not say (before 1.1).
  std::string_view format;

  explicit Snapshot(const via_snapshot_args& a) noexcept
      : id(a.snapshot_id), dir(view(a.dir)), exchanges((a.flags & VIA_SNAPSHOT_EXCHANGES) != 0),
        format(VIA_HAS(via_snapshot_args, &a, format) ? view(a.format) : std::string_view()) {}
};

// What take() made: the plugin's name for the form ("kv/1", checked by its own restore) and the storage schema.
struct SnapshotFacts {
  std::string format;
  std::uint32_t schema = 1;
  std::string position;  // how far the data went, in the plugin's own terms; may be empty
};

// An id of the host as 26 characters of Crockford's base 32, as operators see it after "bind_" or "addon_".
inline std::string text(const via_id& id) {
  static constexpr char kDigits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  std::string out(26, '0');
  // 128 bits, five at a time from the low end; the first character holds the three that are left.
  unsigned bit = 0;
  for (int i = 25; i >= 0; --i, bit += 5) {
    unsigned value = 0;
    for (unsigned k = 0; k < 5 && bit + k < 128; ++k) {
      const unsigned at = bit + k;
      value |= ((static_cast<unsigned>(id.b[15 - at / 8]) >> (at % 8)) & 1U) << k;
    }
    out[static_cast<std::size_t>(i)] = kDigits[value];
  }
  return out;
}

}  // namespace via::plugin
