// The library's one export. Include this in one source of the plugin and name every type of the manifest:
//   VIA_PLUGIN(via::plugin::Type<Counter>{"acme-counter"})
// The manifest is compiled in from via_manifest.inc, which via_add_plugin() makes. Thread: as via/plugin.h tags each function.
#pragma once

#include <via/plugin/shell.hpp>

namespace via::plugin {
inline constexpr char kManifest[] = {
#include "via_manifest.inc"
};
}  // namespace via::plugin

// The minor version of the ABI that the plugin was written for; via_add_plugin() takes it from the manifest.
#ifndef VIA_PLUGIN_ABI_MINOR
#define VIA_PLUGIN_ABI_MINOR VIA_ABI_MINOR
#endif
static_assert(VIA_PLUGIN_ABI_MINOR <= VIA_ABI_MINOR, "the manifest names a later ABI than this SDK has");

// Linked in statically (VIA_STATIC_PLUGIN=<name>) the symbol has the plugin's name behind it.
#ifdef VIA_STATIC_PLUGIN
#define VIA_PLUGIN_JOIN2(a, b) a##b
#define VIA_PLUGIN_JOIN(a, b) VIA_PLUGIN_JOIN2(a, b)
#define VIA_PLUGIN_SYMBOL VIA_PLUGIN_JOIN(via_plugin_entry_v1_, VIA_STATIC_PLUGIN)
#else
#define VIA_PLUGIN_SYMBOL via_plugin_entry_v1
#endif

#define VIA_PLUGIN(...)                                                                                              \
  extern "C" VIA_EXPORT const via_plugin_entry* VIA_PLUGIN_SYMBOL(void);                                             \
  extern "C" VIA_EXPORT const via_plugin_entry* VIA_PLUGIN_SYMBOL(void) {                                            \
    static constexpr via_plugin_entry entry{                                                                         \
        sizeof(via_plugin_entry),                                                                                    \
        VIA_ABI_MAJOR,                                                                                               \
        VIA_PLUGIN_ABI_MINOR,                                                                                        \
        {via::plugin::kManifest, sizeof via::plugin::kManifest},                                                     \
        [](const via_host* host, const via_sink* message) noexcept -> via_status {                                   \
          return via::plugin::start_all(host, message, __VA_ARGS__);                                                 \
        },                                                                                                           \
        []() noexcept { via::plugin::stop_all(__VA_ARGS__); },                                                       \
        [](const char*) noexcept -> const void* { return nullptr; },                                                 \
        [](const via_host* host, const via_instance_spec* spec, via_instance** out, const via_sink* message) noexcept \
        -> via_status { return via::plugin::create_one_of(host, spec, out, message, __VA_ARGS__); }};                \
    return &entry;                                                                                                   \
  }                                                                                                                  \
  static_assert(true)
