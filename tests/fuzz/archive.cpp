// Backup archives, encrypted or not: what opens must verify or be refused, and what verifies has the manifest's bytes.
#include "target.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include "core/backup/archive_reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bool encrypted = via::fuzz::text(data, size).starts_with("VIA-ENC\n");
  via::FileHandle file(::memfd_create("archive", MFD_CLOEXEC));
  VIA_FUZZ_CHECK(file && ::write(file.get(), data, size) == static_cast<ssize_t>(size));
  auto reader = via::backup::ArchiveReader::open(std::move(file), via::Secret(encrypted ? "fuzz" : ""));
  if (!reader) {
    const auto code = reader.error().code;
    VIA_FUZZ_CHECK(code == via::Code::refused || code == via::Code::not_allowed);
    return 0;
  }
  std::uint64_t seen = 0;
  const via::plugins::Watch watch{[&](std::uint64_t done, std::uint64_t) { seen = done; }, {}};
  if (auto verified = reader->verify(watch); !verified)
    VIA_FUZZ_CHECK(verified.error().code == via::Code::refused);
  else
    VIA_FUZZ_CHECK(seen == reader->manifest().total_bytes);
  VIA_FUZZ_CHECK(seen <= reader->manifest().total_bytes);
  return 0;
}
