// How a command reaches the host: one admin call, over the Unix socket of a running server or, when none
// runs, in this process under the state folder's lock. Both answer from the same handlers
// (docs/admin-api.md). Thread: one; every call may block.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "core/base/error.hpp"

namespace via::cli {

// A successful Result of JSON. (nlohmann's json converts to everything, so that a plain `return json;` is
// ambiguous.)
inline Result<nlohmann::json> succeed(nlohmann::json value) {
  return Result<nlohmann::json>(boost::system::in_place_value, std::move(value));
}

class AdminTransport {
 public:
  virtual ~AdminTransport() = default;
  // The result object of the command, or the error of its envelope.
  virtual Result<nlohmann::json> call(std::string_view command, const nlohmann::json& arguments) = 0;
  // The host ends with this process, and with it what it has begun.
  virtual bool in_process() const { return false; }
};

// HTTP/1.1 over <state-dir>/admin.sock. Every call is a connection of its own. Answers over 64 MiB are
// refused.
class SocketTransport final : public AdminTransport {
 public:
  explicit SocketTransport(std::filesystem::path socket) : socket_(std::move(socket)) {}
  Result<nlohmann::json> call(std::string_view command, const nlohmann::json& arguments) override;

 private:
  std::filesystem::path socket_;
};

enum class SocketState { absent, listening, not_allowed };
// Whether something accepts connections at `socket`. A file that a crashed server left behind is `absent`.
SocketState probe_socket(const std::filesystem::path& socket);

using InProcessOpener =
    std::function<Result<std::unique_ptr<AdminTransport>>(const std::filesystem::path& state_dir, bool may_make)>;
// The server when one holds the state folder, else the same handlers in process. Where there is no host either, `may_make` says
// whether one is made; else Code::not_found, and nothing was made.
Result<std::unique_ptr<AdminTransport>> open_admin(const std::filesystem::path& state_dir, bool may_make,
                                                   const InProcessOpener& in_process);

// The answer of an admin call from what came over the wire. Separate for tests.
Result<nlohmann::json> parse_admin_response(std::string_view response);

}  // namespace via::cli
