// The data API of an add-on or a kit on real files in a temporary folder, called through "via.http/1" on the fake host.
// Thread: call() any; the rest the test's.
#pragma once

#include "plugins/sqlite/instance.hpp"
#include "tests/unit/sqlite/sanitized.hpp"

#include <atomic>
#include <via/testing.hpp>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace via::sqlite::test {

using Json = nlohmann::ordered_json;
using via::testing::FakeCall;
using via::testing::FakeHost;

struct HttpAnswer {
  int status = 0;
  std::string content_type, body;
  std::map<std::string, std::string> headers;
  Json json() const { return Json::parse(body, nullptr, false); }
  std::string error() const {
    const Json j = json();
    return j.is_object() ? j.value("error", "") : "";
  }
};

inline std::string encode(std::string_view s) {
  static const char* const hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : s) {
    const auto u = static_cast<unsigned char>(c);
    if (std::isalnum(u) || std::string_view("-._~").find(c) != std::string_view::npos) out += c;
    else out.append("%").append(1, hex[u >> 4]).append(1, hex[u & 15]);
  }
  return out;
}

struct ApiSetUp {
  bool kit = false, any_absolute = false;
  std::string config = "{}";  // an add-on's
  uint64_t quota = 0;
  bool open = true;
};

class DataApi {
 public:
  explicit DataApi(ApiSetUp setup = {}) : setup_(setup), folder_(make_folder()), host({folder_, setup.quota, 4, false}) {
    if (setup_.kit)
      setup_.config = setup_.any_absolute ? R"({"kit":{"allow_any_absolute_db_path":true}})" : R"({"kit":{"allow_any_absolute_db_path":false}})";
    instance_ = std::make_unique<Instance>(host.host());
    if (setup_.open) open();
  }
  ~DataApi() {
    if (instance_) close();
    instance_.reset();
    std::error_code ec;
    std::filesystem::remove_all(folder_, ec);
  }
  DataApi(const DataApi&) = delete;

  void open() {
    EXPECT_EQ(control([&](FakeCall& c) {
                const auto a = args();
                table()->provision(instance_->handle(), &a, c.get());
              }),
              VIA_OK);
    EXPECT_EQ(control([&](FakeCall& c) {
                const auto a = args();
                table()->open(instance_->handle(), &a, c.get());
              }),
              VIA_OK);
  }
  void close() {
    EXPECT_EQ(control([&](FakeCall& c) { table()->close(instance_->handle(), c.get()); }), VIA_OK);
  }
  // Closed and opened again, as a new instance on the same files.
  void reopen() {
    close();
    instance_ = std::make_unique<Instance>(host.host());
    open();
  }

  struct Caller {
    bool read_only = false;
    std::vector<std::pair<std::string, std::string>> limits;
  };

  // `target` is the path below /api/v1/sqlite with its query, percent-encoded as on the wire.
  HttpAnswer call(std::string_view method, std::string_view target, std::string_view body = {}, std::string_view content_type = {}) {
    return call(Caller{}, method, target, body, content_type);
  }
  HttpAnswer call(const Caller& caller, std::string_view method, std::string_view target, std::string_view body = {},
                  std::string_view content_type = {}) {
    FakeCall c;
    send(c, caller, method, target, body, content_type);
    c.wait();
    EXPECT_EQ(c.status(), VIA_OK) << c.message();
    HttpAnswer a{c.http_status, c.content_type, c.body(), {}};
    for (const auto& [name, value] : c.headers) a.headers[name] = value;
    return a;
  }
  // Begins a call; it ends at c.wait().
  void send(FakeCall& c, const Caller& caller, std::string_view method, std::string_view target, std::string_view body,
            std::string_view content_type) {
    const size_t question = std::min(target.find('?'), target.size());
    const std::string path = std::string(api::kPrefix) + std::string(target.substr(0, question));
    std::vector<std::pair<std::string, std::string>> query = decode_query(target.substr(std::min(question + 1, target.size())));
    std::vector<via_pair> pairs, limits;
    for (const auto& [k, v] : query) pairs.push_back({testing::str(k), testing::str(v)});
    for (const auto& [k, v] : caller.limits) limits.push_back({testing::str(k), testing::str(v)});
    const via_str scopes[2] = {testing::str("read"), testing::str("write")};
    via_caller who{};
    who.struct_size = sizeof who;
    who.scopes = scopes;
    who.scopes_len = caller.read_only ? 1 : 2;
    const via_pair header{testing::str("Content-Type"), testing::str(content_type)};
    via_http_request r{};
    r.struct_size = sizeof r;
    r.method = testing::str(method);
    r.path = testing::str(path);
    r.query = pairs.data();
    r.query_len = pairs.size();
    r.headers = &header;
    r.headers_len = content_type.empty() ? 0 : 1;
    r.caller = &who;
    r.body = {reinterpret_cast<const uint8_t*>(body.data()), body.size()};
    r.limits = limits.data();
    r.limits_len = limits.size();
    // As the host does: first as an I/O thread, then as a worker.
    if (http()->try_handle(instance_->handle(), &r, c.get()) == VIA_OK) {
      ++answered_inline;
    } else {
      EXPECT_FALSE(c.done()) << "it has done nothing";
      http()->handle(instance_->handle(), &r, c.get());
    }
  }
  std::atomic<int> answered_inline{0};  // or taken over by the writer from there

  Instance& instance() { return *instance_; }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  const std::string& folder() const { return folder_; }

 private:
  static std::string make_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "via-sqlite-api-XXXXXX").string();
    return std::filesystem::canonical(::mkdtemp(pattern.data())).string();
  }
  static std::vector<std::pair<std::string, std::string>> decode_query(std::string_view s) {
    std::vector<std::pair<std::string, std::string>> out;
    while (!s.empty()) {
      const size_t end = std::min(s.find('&'), s.size());
      const std::string_view one = s.substr(0, end);
      s.remove_prefix(std::min(end + 1, s.size()));
      const size_t equals = std::min(one.find('='), one.size());
      const auto decode = [](std::string text) {
        std::string decoded;
        for (char& c : text) c = c == '+' ? ' ' : c;
        EXPECT_TRUE(api::decode_path(text, decoded)) << text;
        return decoded;
      };
      out.emplace_back(decode(std::string(one.substr(0, equals))), decode(std::string(one.substr(std::min(equals + 1, one.size())))));
    }
    return out;
  }
  const via_instance_api* table() { return instance_->handle()->api; }
  const via_http_api* http() {
    return static_cast<const via_http_api*>(table()->get_extension(instance_->handle(), VIA_EXT_HTTP));
  }
  via_provision_args args() const {
    via_provision_args a{};
    a.struct_size = sizeof a;
    a.plan = testing::str("default");
    a.config_json = testing::str(setup_.config);
    return a;
  }
  template <class Begin>
  via_status control(Begin begin) {
    FakeCall c;
    begin(c);
    c.wait();
    EXPECT_EQ(c.status(), VIA_OK) << c.message();
    return c.status();
  }

  ApiSetUp setup_;
  std::string folder_;

 public:
  FakeHost host;

 private:
  std::unique_ptr<Instance> instance_;
};

}  // namespace via::sqlite::test
