// SQL texts of apps on their way to PostgreSQL: the statements of a script are pieces of it, in order; what is passed on as one
// statement is one when it is read again, and asks for as many values as it is given.
#include "target.hpp"

#include "plugins/postgres/statement.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace via::postgres;
  const std::string_view script = via::fuzz::text(data, size);
  std::vector<std::string_view> parts, again;
  const Failure cut = split(script, parts);
  const char* from = script.data();
  for (const auto part : parts) {
    VIA_FUZZ_CHECK(part.data() >= from && part.data() + part.size() <= script.data() + script.size() && !part.empty());
    from = part.data() + part.size();
    if (cut) continue;
    VIA_FUZZ_CHECK(!split(part, again) && again.size() == 1 && again.front() == part);
    Use use = Use::refused;
    VIA_FUZZ_CHECK(static_cast<bool>(classify(part, use)) == (use == Use::refused));
  }
  for (const bool named : {false, true}) {
    Request request;
    request.bytes = "ab";
    request.values.resize(2);
    for (std::uint32_t i = 0; i < 2; ++i) {
      request.values[i].name_at = i;
      request.values[i].name_size = 1;
    }
    StatementText text;
    text.has_params = true;
    text.named = named;
    text.count = 2;
    Statement out;
    if (translate(script, request, text, out)) continue;
    VIA_FUZZ_CHECK(out.order.size() == 2);
    // PostgreSQL's operator, which is left where ?? was, would be a parameter again to this reader.
    if (out.sql.find('?') == out.sql.npos) VIA_FUZZ_CHECK(!split(out.sql, again) && again.size() == 1);
  }
  return 0;
}
