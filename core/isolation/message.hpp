// A call to a plugin as it crosses the socket, written by the host and read by the runner.
// Thread: values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/isolation/frame.hpp"
#include "via/plugin.h"

namespace via::isolation {

// Which function of the instance's tables is called. Never renumbered within one protocol version.
enum class Verb : std::uint8_t {
  provision, open, close, deprovision, bind, rotate, revoke, describe, health,  // the core table
  invoke, handle,                                                              // via.ops/1, via.http/1
  take, restore, verify,                                                       // via.snapshot/1
  drain, resume, stats, plan, apply,                                           // via.drain/1, via.stats/1, via.migrate/1
  last = apply,
};
// invoke and handle answer with a head and bytes; the others only with what complete() says.
constexpr bool answers_bytes(Verb verb) { return verb == Verb::invoke || verb == Verb::handle; }
// Several at a time for one instance.
constexpr bool is_data(Verb verb) {
  return answers_bytes(verb) || verb == Verb::health || verb == Verb::stats || verb == Verb::verify;
}

// What an instance offers beyond the core table, told when it is created.
enum Offer : std::uint32_t {
  kSnapshots = 1U << 0, kExchanges = 1U << 1, kDrain = 1U << 2, kResume = 1U << 3, kStats = 1U << 4, kMigrate = 1U << 5,
};

// Starts the frame of a call; the verb's own arguments follow, then the first piece of the body, if there is one.
void begin_call(Packet& packet, std::uint64_t id, Verb verb, std::uint64_t instance, const via_id& request_id,
                std::uint64_t remaining_ns, std::uint64_t body_bytes);
void put(Packet& packet, const via_provision_args& args);
void put(Packet& packet, const via_binding_args& args);
void put(Packet& packet, const via_op_args& args);            // without params
void put(Packet& packet, const via_http_request& request);    // without the body
void put(Packet& packet, const via_snapshot_args& args);
void put(Packet& packet, const via_migrate_args& args);

// What the runner reads. Owns the frame's bytes; the arguments are views of them.
class CallMessage {
 public:
  CallMessage() = default;
  CallMessage(const CallMessage&) = delete;
  CallMessage& operator=(const CallMessage&) = delete;
  ~CallMessage();  // wipes: a frame may hold a credential

  // False when the payload is not a well-formed call.
  bool parse(std::string_view payload);
  // A further piece; false when it is more than was announced.
  bool add_body(std::string_view piece);
  bool whole() const noexcept { return body_.size() == body_bytes_; }

  Verb verb = Verb::health;
  std::uint64_t instance = 0, remaining_ns = 0;
  via_id request_id{};
  const via_provision_args& provision() const noexcept { return provision_; }
  const via_binding_args& binding() const noexcept { return binding_; }
  const via_op_args& op();              // with params and caller
  const via_http_request& request();    // with body and caller
  const via_snapshot_args& snapshot() const noexcept { return snapshot_; }
  const via_migrate_args& migrate() const noexcept { return migrate_; }

 private:
  void read_caller(Reader& in);

  std::string bytes_, body_;
  std::uint64_t body_bytes_ = 0;
  via_provision_args provision_{};
  via_binding_args binding_{};
  via_op_args op_{};
  via_http_request request_{};
  via_snapshot_args snapshot_{};
  via_migrate_args migrate_{};
  via_caller caller_{};
  bool has_caller_ = false;
  std::vector<via_str> scopes_;
  std::vector<std::uint32_t> live_;
  std::vector<via_pair> path_params_, query_, headers_, limits_;
};

}  // namespace via::isolation
