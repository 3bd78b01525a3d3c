// Content codings of answers: which one a request asks for (RFC 9110, section 12.5.3), and the encoders.
// Thread: functions any; an Encoder one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/buffer.hpp"

namespace via::net {

enum class Encoding : std::uint8_t { identity, gzip, zstd };
std::string_view name_of(Encoding encoding) noexcept;

// The one that all Accept-Encoding fields together like best. zstd only where it is named; among equals zstd, then gzip. identity
// where nothing else is accepted, or it is liked better than the others.
Encoding choose_encoding(const std::vector<std::pair<std::string_view, std::string_view>>& fields) noexcept;

// Whether bytes of this type become fewer: text, JSON and their kin. Images and what is packed already do not.
bool compresses_well(std::string_view content_type) noexcept;

// What goes before the body of an encoded answer: `head` with a strong ETag made a weak one (it named other bytes), and the coding.
void append_encoded_head(Buffer& out, std::string_view head, Encoding encoding);

class Encoder {
 public:
  // Memory of one, at most.
  static constexpr std::size_t kBytes = 1024 * 1024;

  // Null where there is no memory.
  static std::unique_ptr<Encoder> make(Encoding encoding);
  virtual ~Encoder() = default;
  enum class Until { flushed, finished };  // a reader can read all of it; and knows that it is all
  // False: no memory; the stream is of no use any more.
  virtual bool write(std::string_view bytes, Buffer& out, Until until) = 0;
};

}  // namespace via::net
