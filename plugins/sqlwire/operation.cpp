// See operation.hpp.
#include "plugins/sqlwire/operation.hpp"

#include <algorithm>

namespace via::sqlwire {
namespace {

constexpr size_t kBodyLimit = 32u << 20;

bool has_scope(const via_caller* caller, std::string_view scope) {
  for (size_t i = 0; caller && i < caller->scopes_len; ++i)
    if (text(caller->scopes[i]) == scope) return true;
  return false;
}

}  // namespace

Format format_of(std::string_view accept) {
  return accept.find("application/x-ndjson") != accept.npos ? Format::lines : Format::json;
}

Format format_of(const via_op_args* args) {
  return VIA_HAS(via_op_args, args, accept) ? format_of(text(args->accept)) : Format::json;
}

Failure scope_missing() { return {VIA_E_DENIED, "scope_denied", "this binding does not allow the operation"}; }

Failure check_generation(const Request& request, std::span<const uint32_t> live) {
  if (!request.has_generation || std::find(live.begin(), live.end(), request.generation) != live.end()) return {};
  if (live.empty() || request.generation > live.back())
    return {VIA_E_DENIED, "generation_unknown", "the generation is not one of this binding"};
  return {VIA_E_DENIED, "generation_revoked", "the generation was revoked"};
}

Failure check_caller(const via_op_args* args, Operation operation, const Request& request) {
  if (!has_scope(args->caller, scope_of(operation))) return scope_missing();
  return check_generation(request, {args->caller->live_generations, args->caller->live_generations_len});
}

Failure read_body(const via_op_args* args, via_call* call, std::string& out) {
  out.assign(reinterpret_cast<const char*>(args->params.ptr), args->params.len);
  if (!call->read) return {};
  uint8_t piece[4096];  // there is seldom a rest, so no big buffer is made ready for it
  for (;;) {
    if (out.size() > kBodyLimit) return {VIA_E_INVALID, "body_too_large", "the body is too large"};
    size_t got = 0;
    const via_status st = call->read(call, piece, sizeof piece, VIA_WAIT, &got);
    if (st != VIA_OK) return {st, "", "the body could not be read"};
    if (got == 0) return {};
    out.append(reinterpret_cast<const char*>(piece), got);
  }
}

}  // namespace via::sqlwire
