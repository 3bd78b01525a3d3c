// What the row writer writes, a JSON parser reads back as it was; what the request reader reads, it stores as sent.
#include "plugins/sqlite/render.hpp"
#include "plugins/sqlite/policy.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstring>
#include <random>

namespace via::sqlite {
namespace {

TEST(Render, AnyBytesBecomeValidJson) {
  std::mt19937 random(11);
  for (int round = 0; round < 20'000; ++round) {
    std::string s;
    for (size_t n = random() % 40; n > 0; --n) s += static_cast<char>(random() % 3 == 0 ? random() : random() % 128);
    StringOutput out;
    ASSERT_TRUE(render_text(out, s));
    const std::string json = out.take();
    const auto read = nlohmann::json::parse(json);
    // nlohmann's own replacement is the measure for broken text.
    const auto expected = nlohmann::json::parse(nlohmann::json(s).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    ASSERT_EQ(read, expected);
  }
}

TEST(Render, NumbersReadBackExactly) {
  std::mt19937_64 random(13);
  for (int round = 0; round < 50'000; ++round) {
    const uint64_t bits = random();
    double d = 0;
    std::memcpy(&d, &bits, sizeof d);
    StringOutput out;
    out.put('[');
    render_real(out, d);
    out.put(',');
    render_integer(out, static_cast<int64_t>(bits), false);
    out.put(']');
    const std::string text = out.take();
    const std::string body = "{\"sql\":\"x\",\"params\":" + text + "}";
    Request r;
    ASSERT_FALSE(parse_request(body, Operation::query, r)) << body;
    ASSERT_EQ(r.values.size(), 2u);
    if (std::isfinite(d)) {
      ASSERT_EQ(r.values[0].kind, Value::real) << body;
      ASSERT_EQ(std::memcmp(&r.values[0].fraction, &d, sizeof d), 0) << body;
    } else if (std::isinf(d)) {
      ASSERT_EQ(r.values[0].fraction, d);
    } else {
      ASSERT_EQ(r.values[0].kind, Value::null);
    }
    ASSERT_EQ(r.values[1].number, static_cast<int64_t>(bits));
  }
}

TEST(Render, BlobsRoundTrip) {
  std::mt19937 random(17);
  for (size_t size = 0; size < 2000; size += 1 + size / 20) {
    std::string blob;
    for (size_t i = 0; i < size; ++i) blob += static_cast<char>(random());
    StringOutput out;
    out.append("{\"sql\":\"x\",\"params\":{\"p\":");
    render_blob(out, blob.data(), blob.size());
    out.append("}}");
    Request r;
    ASSERT_FALSE(parse_request(out.take(), Operation::query, r));
    ASSERT_EQ(r.values[0].kind, Value::blob);
    ASSERT_EQ(r.bytes_of(r.values[0]), blob);
    ASSERT_EQ(r.name_of(r.values[0]), "p");
  }
}

}  // namespace
}  // namespace via::sqlite
