// What comes out of the socket between a host and a plugin's runner: frames in any pieces, and the payload of each read as every
// side would. Nothing is read outside of the input, and a call that parses can be looked at whole.
#include "target.hpp"

#include <algorithm>
#include <cstring>

#include "core/isolation/message.hpp"

namespace {

std::size_t look(via_str s) {
  std::size_t sum = s.len;
  for (std::size_t i = 0; i < s.len; ++i) sum += static_cast<unsigned char>(s.ptr[i]);
  return sum;
}

std::size_t look_at_call(std::string_view payload) {
  via::isolation::CallMessage message;
  if (!message.parse(payload)) return 0;
  (void)message.add_body("more");
  std::size_t sum = look(message.provision().plan) + look(message.provision().config_json) + look(message.snapshot().dir);
  const via_http_request& request = message.request();
  sum += look(request.method) + look(request.path) + request.body.len;
  for (std::size_t i = 0; i < request.headers_len; ++i) sum += look(request.headers[i].key) + look(request.headers[i].value);
  const via_op_args& op = message.op();
  sum += look(op.op) + look(op.accept);
  if (op.caller != nullptr)
    for (std::size_t i = 0; i < op.caller->scopes_len; ++i) sum += look(op.caller->scopes[i]);
  for (std::size_t i = 0; i < message.binding().scopes_len; ++i) sum += look(message.binding().scopes[i]);
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using via::isolation::FrameReader;
  const std::string_view input = via::fuzz::text(data, size);
  std::size_t sink = 0;
  sink += look_at_call(input);
  // The pieces are as long as the first byte says.
  const std::size_t step = size == 0 ? 1 : 1U + data[0];
  FrameReader reader;
  std::size_t payloads = 0;
  for (std::size_t at = 0; at < size; at += step) {
    const std::string_view piece = input.substr(at, step);
    const auto room = reader.room(piece.size());
    std::memcpy(room.data(), piece.data(), piece.size());
    reader.commit(piece.size());
    via::isolation::Frame frame;
    FrameReader::Next next{};
    while ((next = reader.next(frame)) == FrameReader::Next::frame) {
      payloads += via::isolation::kHeaderBytes + frame.payload.size();
      VIA_FUZZ_CHECK(payloads <= size);
      sink += look_at_call(frame.payload);
      via::isolation::Reader in(frame.payload);
      (void)in.u16();
      (void)in.str();
      for (const via_pair& pair : in.pairs()) sink += look(pair.key) + look(pair.value);
      (void)in.strings();
      if (in.done()) VIA_FUZZ_CHECK(in.rest().empty());
    }
    if (next == FrameReader::Next::broken) break;
    reader.compact();
  }
  static volatile std::size_t seen = 0;
  seen = seen + sink;
  return 0;
}
