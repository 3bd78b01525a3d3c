// The entry point: what the host sees of the library before there is an instance.
// Thread: as via/plugin.h tags each function.
#include "plugins/sqlite/instance.hpp"

#include <boost/json/parse.hpp>

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>

namespace via::sqlite {
namespace {

const char kManifest[] = {
#include "via_manifest.inc"
};

std::atomic<int> users{0};

// [types.sqlite.settings] of the host's configuration; what is not a number above zero is left as it is.
engine::MemoryLimits memory_limits(const via_host* host) {
  engine::MemoryLimits out;
  const auto* service = host && host->get_service ? static_cast<const via_settings*>(host->get_service(host, VIA_HOST_SETTINGS)) : nullptr;
  if (!service || !service->json) return out;
  const std::string_view json = text(service->json(host));
  boost::json::error_code ec;
  const auto value = boost::json::parse({json.data(), json.size()}, ec);
  if (ec || !value.is_object()) return out;
  const auto megabytes = [&](const char* name, int64_t& field) {
    const auto* v = value.get_object().if_contains(name);
    if (v && v->is_int64() && v->get_int64() > 0 && v->get_int64() < (1 << 24)) field = v->get_int64() << 20;
  };
  megabytes("statement_memory_mb", out.statement);
  megabytes("addon_memory_mb", out.addon);
  megabytes("memory_mb", out.host);
  return out;
}

via_status init(const via_host*, const via_sink* message) {
  const auto refuse = [message](const char* why) {
    if (message && message->write) message->write(message->ctx, {reinterpret_cast<const uint8_t*>(why), std::strlen(why)});
    return static_cast<via_status>(VIA_E_UNSUPPORTED);
  };
  if (sqlite3_libversion_number() < 3051003) return refuse("SQLite is older than 3.51.3");
  if (sqlite3_threadsafe() == 0) return refuse("SQLite is built without threads");
  if (users.fetch_add(1) > 0) return VIA_OK;
  sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
  sqlite3_config(SQLITE_CONFIG_URI, 0);
  engine::configure();
  if (sqlite3_initialize() != SQLITE_OK) {
    users.fetch_sub(1);
    return refuse("SQLite does not initialise");
  }
  return VIA_OK;
}

void deinit() {
  if (users.fetch_sub(1) == 1) sqlite3_shutdown();
}

via_status create(const via_host* host, const via_instance_spec* spec, via_instance** out, const via_sink*) {
  if (text(spec->type_id) != "sqlite") return VIA_E_NOT_FOUND;
  // A host gives settings to instances only; they are the same for all of a type.
  static std::once_flag once;
  std::call_once(once, [host] { engine::set_limits(memory_limits(host)); });
  auto* instance = new (std::nothrow) Instance(host);
  if (!instance) return VIA_E_INTERNAL;
  *out = instance->handle();
  return VIA_OK;
}

const void* no_extension(const char*) { return nullptr; }

const via_plugin_entry kEntry{
    sizeof(via_plugin_entry), VIA_ABI_MAJOR, VIA_PLUGIN_ABI_MINOR, {kManifest, sizeof kManifest}, init, deinit, no_extension, create};

}  // namespace

}  // namespace via::sqlite

extern "C" VIA_EXPORT const via_plugin_entry* via_plugin_entry_v1(void) { return &via::sqlite::kEntry; }
