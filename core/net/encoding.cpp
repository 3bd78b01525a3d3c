#include "core/net/encoding.hpp"

#include <algorithm>

#include <zlib.h>
#include <zstd.h>

#include "core/net/header_reader.hpp"

namespace via::net {
namespace {

constexpr std::size_t kRoom = 16 * 1024;
constexpr int kLevel = 1;         // of both: JSON becomes a fifth, and a worker has other things to do
constexpr int kZstdWindow = 17;   // 128 KiB: a result repeats itself within less, and memory is by connection

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// In thousandths; what is no weight is 0, so that it is not used.
int weight_of(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::size_t end = std::min(parameters.find(';'), parameters.size());
    const std::string_view one = trim(parameters.substr(0, end));
    parameters.remove_prefix(std::min(end + 1, parameters.size()));
    if (one.size() < 2 || (one[0] != 'q' && one[0] != 'Q') || one[1] != '=') continue;
    const std::string_view digits = one.substr(2);
    if (digits.empty() || digits.size() > 5 || (digits[0] != '0' && digits[0] != '1') || (digits.size() > 1 && digits[1] != '.')) return 0;
    int value = (digits[0] - '0') * 1000;
    for (std::size_t i = 2, step = 100; i < digits.size(); ++i, step /= 10) {
      if (digits[i] < '0' || digits[i] > '9') return 0;
      value += (digits[i] - '0') * static_cast<int>(step);
    }
    return value <= 1000 ? value : 0;
  }
  return 1000;
}

class Gzip final : public Encoder {
 public:
  Gzip() : good_(::deflateInit2(&stream_, kLevel, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK) {}
  ~Gzip() override {
    if (good_) ::deflateEnd(&stream_);
  }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;
  bool good() const { return good_; }
  bool write(std::string_view bytes, Buffer& out, Until until) override {
    const int flush = until == Until::finished ? Z_FINISH : Z_SYNC_FLUSH;
    while (true) {
      const std::size_t part = std::min<std::size_t>(bytes.size(), 1U << 30);
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream_.avail_in = static_cast<uInt>(part);
      bytes.remove_prefix(part);
      do {
        stream_.next_out = reinterpret_cast<Bytef*>(out.reserve(kRoom));
        stream_.avail_out = kRoom;
        const int done = ::deflate(&stream_, bytes.empty() ? flush : Z_NO_FLUSH);
        out.commit(kRoom - stream_.avail_out);
        if (done == Z_STREAM_END) return true;
        if (done != Z_OK && done != Z_BUF_ERROR) return false;
      } while (stream_.avail_out == 0);
      if (bytes.empty()) return until == Until::flushed;
    }
  }

 private:
  z_stream stream_{};
  bool good_;
};

class Zstd final : public Encoder {
 public:
  Zstd() : stream_(::ZSTD_createCCtx()) {
    if (stream_ == nullptr) return;
    ::ZSTD_CCtx_setParameter(stream_, ZSTD_c_compressionLevel, kLevel);
    ::ZSTD_CCtx_setParameter(stream_, ZSTD_c_windowLog, kZstdWindow);
  }
  ~Zstd() override { ::ZSTD_freeCCtx(stream_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;
  bool good() const { return stream_ != nullptr; }
  bool write(std::string_view bytes, Buffer& out, Until until) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    for (;;) {
      ZSTD_outBuffer room{out.reserve(kRoom), kRoom, 0};
      const std::size_t left = ::ZSTD_compressStream2(stream_, &room, &in, until == Until::finished ? ZSTD_e_end : ZSTD_e_flush);
      out.commit(room.pos);
      if (::ZSTD_isError(left) != 0) return false;
      if (left == 0) return true;
    }
  }

 private:
  ZSTD_CCtx* stream_;
};

template <class E>
std::unique_ptr<Encoder> made() {
  auto encoder = std::make_unique<E>();
  if (!encoder->good()) return nullptr;
  return encoder;
}

}  // namespace

std::string_view name_of(Encoding encoding) noexcept {
  return encoding == Encoding::gzip ? "gzip" : encoding == Encoding::zstd ? "zstd" : "identity";
}

Encoding choose_encoding(const std::vector<std::pair<std::string_view, std::string_view>>& fields) noexcept {
  int gzip = -1, zstd = -1, identity = -1, others = -1;
  for (const auto& [name, all] : fields) {
    if (!equal_ignoring_case(name, "accept-encoding")) continue;
    for (std::string_view rest = all; !rest.empty();) {
      const std::size_t end = std::min(rest.find(','), rest.size());
      const std::string_view item = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const auto semicolon = static_cast<std::size_t>(std::find(item.begin(), item.end(), ';') - item.begin());
      const std::string_view coding = trim(item.substr(0, semicolon));
      const int weight = weight_of(item.substr(std::min(semicolon + 1, item.size())));
      if (equal_ignoring_case(coding, "gzip") || equal_ignoring_case(coding, "x-gzip")) gzip = weight;
      else if (equal_ignoring_case(coding, "zstd")) zstd = weight;
      else if (equal_ignoring_case(coding, "identity")) identity = weight;
      else if (coding == "*") others = weight;
    }
  }
  if (gzip < 0) gzip = others;
  const Encoding best = zstd > 0 && zstd >= gzip ? Encoding::zstd : gzip > 0 ? Encoding::gzip : Encoding::identity;
  return identity > std::max(gzip, zstd) ? Encoding::identity : best;
}

bool compresses_well(std::string_view content_type) noexcept {
  const std::string_view type = trim(content_type.substr(0, std::min(content_type.find(';'), content_type.size())));
  const auto starts = [&](std::string_view s) { return type.size() >= s.size() && equal_ignoring_case(type.substr(0, s.size()), s); };
  const auto ends = [&](std::string_view s) { return type.size() >= s.size() && equal_ignoring_case(type.substr(type.size() - s.size()), s); };
  return starts("text/") || ends("json") || ends("+xml") || ends("/xml") || ends("javascript") || ends("yaml");
}

void append_encoded_head(Buffer& out, std::string_view head, Encoding encoding) {
  while (!head.empty()) {
    const std::size_t end = head.find('\n');
    const std::string_view line = end == std::string_view::npos ? head : head.substr(0, end + 1);
    head.remove_prefix(line.size());
    const std::size_t colon = line.find(':');
    const bool etag = colon != std::string_view::npos && equal_ignoring_case(line.substr(0, colon), "etag");
    std::string_view value = etag ? line.substr(colon + 1) : std::string_view();
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.remove_suffix(1);
    value = trim(value);
    if (value.starts_with('"')) {
      out.append("ETag: W/");
      out.append(value);
      out.append("\r\n");
    } else {
      out.append(line);
    }
  }
  out.append("Content-Encoding: ");
  out.append(name_of(encoding));
  out.append("\r\n");
}

std::unique_ptr<Encoder> Encoder::make(Encoding encoding) {
  switch (encoding) {
    case Encoding::gzip: return made<Gzip>();
    case Encoding::zstd: return made<Zstd>();
    case Encoding::identity: break;
  }
  return nullptr;
}

}  // namespace via::net
