// The bytes behind a Content-Encoding, read by the libraries' own decoders. Thread: any.
#pragma once

#include <string>
#include <string_view>

#include <zlib.h>
#include <zstd.h>

namespace via::test {

// `whole`: the end must be there and nothing behind it; else what can be read so far. "?" where it is damaged.
inline std::string decoded(std::string_view encoding, std::string_view bytes, bool whole = true) {
  std::string out;
  char room[65536];
  if (encoding == "gzip") {
    z_stream z{};
    if (::inflateInit2(&z, 15 + 16) != Z_OK) return "?";
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    z.avail_in = static_cast<uInt>(bytes.size());
    int rc = Z_OK;
    do {
      z.next_out = reinterpret_cast<Bytef*>(room);
      z.avail_out = sizeof room;
      rc = ::inflate(&z, Z_SYNC_FLUSH);
      out.append(room, sizeof room - z.avail_out);
    } while (rc == Z_OK && (z.avail_in > 0 || z.avail_out == 0));
    const bool good = whole ? rc == Z_STREAM_END && z.avail_in == 0 : rc == Z_OK || rc == Z_BUF_ERROR || rc == Z_STREAM_END;
    ::inflateEnd(&z);
    return good ? out : "?";
  }
  if (encoding == "zstd") {
    ZSTD_DCtx* const d = ::ZSTD_createDCtx();
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    std::size_t left = 1;
    do {
      ZSTD_outBuffer to{room, sizeof room, 0};
      left = ::ZSTD_decompressStream(d, &to, &in);
      if (::ZSTD_isError(left) != 0) break;
      out.append(room, to.pos);
      if (to.pos < sizeof room && in.pos == in.size) break;
    } while (left != 0 || in.pos < in.size);
    ::ZSTD_freeDCtx(d);
    if (::ZSTD_isError(left) != 0 || (whole && (left != 0 || in.pos != in.size))) return "?";
    return out;
  }
  return encoding.empty() || encoding == "identity" ? std::string(bytes) : "?";
}

}  // namespace via::test
