// See data_client.hpp.
#include "cli/data_client.hpp"

#include "cli/admin_client.hpp"
#include "cli/targets.hpp"

namespace via::cli {
namespace {

constexpr std::string_view kPrefix = "/api/v1/sqlite";

Error error_of(const HttpAnswer& answer) {
  const Json body = Json::parse(answer.body, nullptr, false);
  std::string text;
  // The data API says {"error":"text"}, a host {"error":{"message":"text"}}.
  if (body.is_object() && body.contains("error"))
    text = body["error"].is_object() ? body["error"].value("message", "") : body["error"].is_string() ? body["error"].get<std::string>() : "";
  if (text.empty()) text = "The server answered " + std::to_string(answer.status) + ".";
  switch (answer.status) {
    case 401:
    case 403:
      return fail(Code::not_allowed, text);
    case 404:
      return fail(Code::not_found, text);
    case 408:
    case 504:
      return fail(Code::deadline_exceeded, text);
    case 409:
    case 412:
      return fail(Code::conflict, text);
    case 507:
      return fail(Code::disk_full, text);
    case 429:
    case 503:
      return fail(Code::unavailable, text);
    default:
      return answer.status < 500 ? fail(Code::bad_request, text) : fail(Code::unavailable, text);
  }
}

}  // namespace

std::string percent_encoded(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                       c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += '%';
      out += kHex[u >> 4];
      out += kHex[u & 15];
    }
  }
  return out;
}

Result<DataAddress> data_address(const Environment& environment, const std::string& url, const std::string& container) {
  std::string base = url;
  if (base.empty() && !container.empty()) {
    auto found = find_container(environment, container);
    if (!found) return found.error();
    base = std::move(*found);
  }
  if (base.empty()) base = environment.variable("VIA_KIT_URL");
  if (base.empty())
    return fail(Code::bad_request, "Which databases? Say where they are: --addon NAME, --url URL, --container NAME, or VIA_KIT_URL. To serve "
                                   "a folder of them: via kit sqlite --databases DIR --listen 127.0.0.1:8080");
  if (!base.starts_with("http://") && !base.starts_with("https://"))
    return fail(Code::bad_request, "The address must begin with http:// or https://.");
  while (base.ends_with('/')) base.pop_back();
  if (!base.ends_with(kPrefix)) base += kPrefix;
  return DataAddress{std::move(base), {}};
}

Result<DataAddress> addon_address(const std::filesystem::path& state_dir, const std::string& addon) {
  const std::filesystem::path socket = state_dir / "admin.sock";
  switch (probe_socket(socket)) {
    case SocketState::listening: break;
    case SocketState::not_allowed:
      return fail(Code::not_allowed, "Only root, the owner of the state folder and the operator group may reach an add-on by --addon.");
    case SocketState::absent:
      return fail(Code::unavailable, "No host is running on this state folder, so --addon reaches nothing. Start it: via serve");
  }
  return DataAddress{"/v1/addons/" + percent_encoded(addon) + "/http" + std::string(kPrefix), socket.string()};
}

bool DataAddress::has_own_database() const { return !socket.empty() || url.find("/c/") != std::string::npos; }

std::string data_target(const DataRequest& request) {
  std::string out = request.path;
  char between = '?';
  for (const auto& [name, value] : request.parameters) {
    out += between + percent_encoded(name) + "=" + percent_encoded(value);
    between = '&';
  }
  return out;
}

Result<HttpAnswer> send_data(const Environment& environment, const DataAddress& address, const DataRequest& request) {
  auto answer = environment.http({address.url, request.method, data_target(request), request.body, request.content_type, address.socket});
  if (!answer) return answer.error();
  if (answer->status >= 400) return error_of(*answer);
  return answer;
}

}  // namespace via::cli
