#include "core/isolation/message.hpp"

#include <openssl/crypto.h>

namespace via::isolation {
namespace {

void put_caller(Packet& p, const via_caller* caller) {
  p.u8(caller != nullptr ? 1 : 0);
  if (caller == nullptr) return;
  p.u32(caller->generation).id(caller->binding_id).strings(caller->scopes, caller->scopes_len);
  p.u32(static_cast<std::uint32_t>(caller->live_generations_len));
  for (std::size_t i = 0; i < caller->live_generations_len; ++i) p.u32(caller->live_generations[i]);
}

std::string_view view(via_bytes b) {
  return b.len == 0 ? std::string_view() : std::string_view(reinterpret_cast<const char*>(b.ptr), b.len);
}
via_bytes bytes_of(std::string_view s) { return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()}; }

}  // namespace

void begin_call(Packet& p, std::uint64_t id, Verb verb, std::uint64_t instance, const via_id& request_id,
                std::uint64_t remaining_ns, std::uint64_t body_bytes) {
  p.begin(Kind::call, id);
  p.u8(static_cast<std::uint8_t>(verb)).u64(instance).id(request_id).u64(remaining_ns).u64(body_bytes);
}

void put(Packet& p, const via_provision_args& a) { p.u32(a.storage_schema).bytes(a.plan).bytes(a.config_json); }

void put(Packet& p, const via_binding_args& a) {
  p.u32(a.generation).id(a.binding_id).strings(a.scopes, a.scopes_len).bytes(view(a.secret));
  p.u64(static_cast<std::uint64_t>(a.not_after_unix_ms));
}

void put(Packet& p, const via_op_args& a) {
  p.u32(a.op_index).bytes(a.op).bytes(a.params_content_type).bytes(a.accept);
  put_caller(p, a.caller);
}

void put(Packet& p, const via_http_request& r) {
  p.u32(r.route_index).bytes(r.method).bytes(r.path).pairs(r.path_params, r.path_params_len).pairs(r.query, r.query_len);
  p.pairs(r.headers, r.headers_len).pairs(r.limits, r.limits_len);
  put_caller(p, r.caller);
}

void put(Packet& p, const via_snapshot_args& a) { p.u32(a.flags).id(a.snapshot_id).bytes(a.dir).bytes(a.format); }

void put(Packet& p, const via_migrate_args& a) { p.u32(a.from_schema).u32(a.to_schema); }

CallMessage::~CallMessage() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

void CallMessage::read_caller(Reader& in) {
  has_caller_ = in.u8() == 1;
  if (!has_caller_) return;
  caller_.struct_size = sizeof caller_;
  caller_.generation = in.u32();
  caller_.binding_id = in.id();
  scopes_ = in.strings();
  const std::uint32_t n = in.u32();
  if (n > kMaximumItems) in.fail();
  for (std::uint32_t i = 0; in.ok() && i < n; ++i) live_.push_back(in.u32());
  caller_.scopes = scopes_.data();
  caller_.scopes_len = scopes_.size();
  caller_.live_generations = live_.data();
  caller_.live_generations_len = live_.size();
}

bool CallMessage::parse(std::string_view payload) {
  bytes_.assign(payload);
  Reader in(bytes_);
  const std::uint8_t number = in.u8();
  if (number > static_cast<std::uint8_t>(Verb::last)) return false;
  verb = static_cast<Verb>(number);
  instance = in.u64();
  request_id = in.id();
  remaining_ns = in.u64();
  body_bytes_ = in.u64();
  if (body_bytes_ > kMaximumBody || (body_bytes_ > 0 && !answers_bytes(verb))) return false;
  switch (verb) {
    case Verb::provision:
    case Verb::open:
      provision_.struct_size = sizeof provision_;
      provision_.storage_schema = in.u32();
      provision_.plan = in.str();
      provision_.config_json = in.str();
      break;
    case Verb::bind:
    case Verb::rotate:
    case Verb::revoke:
    case Verb::describe:
      binding_.struct_size = sizeof binding_;
      binding_.generation = in.u32();
      binding_.binding_id = in.id();
      scopes_ = in.strings();
      binding_.scopes = scopes_.data();
      binding_.scopes_len = scopes_.size();
      binding_.secret = bytes_of(in.bytes());
      binding_.not_after_unix_ms = static_cast<std::int64_t>(in.u64());
      break;
    case Verb::invoke:
      op_.struct_size = sizeof op_;
      op_.op_index = in.u32();
      op_.op = in.str();
      op_.params_content_type = in.str();
      op_.accept = in.str();
      read_caller(in);
      break;
    case Verb::handle:
      request_.struct_size = sizeof request_;
      request_.route_index = in.u32();
      request_.method = in.str();
      request_.path = in.str();
      path_params_ = in.pairs();
      query_ = in.pairs();
      headers_ = in.pairs();
      limits_ = in.pairs();
      read_caller(in);
      break;
    case Verb::take:
    case Verb::restore:
    case Verb::verify:
      snapshot_.struct_size = sizeof snapshot_;
      snapshot_.flags = in.u32();
      snapshot_.snapshot_id = in.id();
      snapshot_.dir = in.str();
      snapshot_.format = in.str();
      break;
    case Verb::plan:
    case Verb::apply:
      migrate_.struct_size = sizeof migrate_;
      migrate_.from_schema = in.u32();
      migrate_.to_schema = in.u32();
      break;
    case Verb::close:
    case Verb::deprovision:
    case Verb::health:
    case Verb::drain:
    case Verb::resume:
    case Verb::stats: break;
  }
  if (!in.ok()) return false;
  return add_body(in.rest());
}

bool CallMessage::add_body(std::string_view piece) {
  if (piece.size() > body_bytes_ - body_.size()) return false;
  body_.append(piece);
  return true;
}

const via_op_args& CallMessage::op() {
  op_.params = bytes_of(body_);
  op_.caller = has_caller_ ? &caller_ : nullptr;
  return op_;
}

const via_http_request& CallMessage::request() {
  request_.path_params = path_params_.data();
  request_.path_params_len = path_params_.size();
  request_.query = query_.data();
  request_.query_len = query_.size();
  request_.headers = headers_.data();
  request_.headers_len = headers_.size();
  request_.limits = limits_.data();
  request_.limits_len = limits_.size();
  request_.body = bytes_of(body_);
  request_.caller = has_caller_ ? &caller_ : nullptr;
  return request_;
}

}  // namespace via::isolation
