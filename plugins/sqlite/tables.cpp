// The C tables of an instance: nothing but forwarding, with the barrier that keeps exceptions inside.
// Thread: as via/plugin.h tags each function.
#include "plugins/sqlite/instance.hpp"

#include <cstring>
#include <new>

namespace via::sqlite {
namespace {

template <class Body>
void barrier(via_call* call, Body&& body) noexcept {
  try {
    body();
  } catch (const std::bad_alloc&) {
    fail_call(call, internal("out of memory"));
  } catch (...) {
    fail_call(call, internal("an unexpected exception"));
  }
}

void op_invoke(via_instance* i, const via_op_args* args, via_call* call) {
  barrier(call, [&] { Instance::from(i).invoke(args, call); });
}
via_status op_try_invoke(via_instance* i, const via_op_args* args, via_call* call) {
  try {
    return Instance::from(i).try_invoke(args, call);
  } catch (...) {
    return VIA_E_WOULD_BLOCK;
  }
}
const via_ops_api kOpsApi{sizeof(via_ops_api), 0, op_invoke, op_try_invoke};

const via_snapshot_api kSnapshotApi{
    sizeof(via_snapshot_api),
    VIA_SNAPSHOT_EXCHANGES,
    [](via_instance* i, const via_snapshot_args* a, via_call* c) { barrier(c, [&] { Instance::from(i).take(a, c); }); },
    [](via_instance* i, const via_snapshot_args* a, via_call* c) { barrier(c, [&] { Instance::from(i).restore(a, c); }); },
    [](via_instance* i, const via_snapshot_args* a, via_call* c) { barrier(c, [&] { Instance::from(i).verify(a, c); }); },
};
const via_drain_api kDrainApi{
    sizeof(via_drain_api),
    0,
    [](via_instance* i, via_call* c) { barrier(c, [&] { Instance::from(i).drain(c); }); },
    [](via_instance*, via_call* c) { finish_call(c); },  // the gate is the host's: there is nothing to open again
};
const via_stats_api kStatsApi{
    sizeof(via_stats_api), 0, [](via_instance* i, via_call* c) { barrier(c, [&] { Instance::from(i).stats(c); }); }};
const via_http_api kHttpApi{sizeof(via_http_api), 0, [](via_instance* i, const via_http_request* r, via_call* c) {
                              barrier(c, [&] { Instance::from(i).handle(r, c); });
                            },
                            [](via_instance* i, const via_http_request* r, via_call* c) { return Instance::from(i).try_handle(r, c); }};

const void* extension(via_instance*, const char* id) {
  if (std::strcmp(id, VIA_EXT_OPS) == 0) return &kOpsApi;
  if (std::strcmp(id, VIA_EXT_SNAPSHOT) == 0) return &kSnapshotApi;
  if (std::strcmp(id, VIA_EXT_DRAIN) == 0) return &kDrainApi;
  if (std::strcmp(id, VIA_EXT_STATS) == 0) return &kStatsApi;
  if (std::strcmp(id, VIA_EXT_HTTP) == 0) return &kHttpApi;
  return nullptr;
}

// Credentials are the host's ("credentials": "host"): a generation needs nothing of ours.
void nothing(via_instance*, const via_binding_args*, via_call* call) { finish_call(call); }

}  // namespace

const via_instance_api kInstanceApi{
    sizeof(via_instance_api),
    0,
    [](via_instance* i, const via_provision_args* a, via_call* c) { barrier(c, [&] { Instance::from(i).provision(a, c); }); },
    [](via_instance* i, const via_provision_args* a, via_call* c) { barrier(c, [&] { Instance::from(i).open(a, c); }); },
    [](via_instance* i, via_call* c) { barrier(c, [&] { Instance::from(i).close(c); }); },
    [](via_instance* i, via_call* c) { barrier(c, [&] { Instance::from(i).deprovision(c); }); },
    nothing,
    nothing,
    nothing,
    [](via_instance* i, const via_binding_args* a, via_call* c) { barrier(c, [&] { Instance::from(i).describe(a, c); }); },
    [](via_instance* i, via_call* c) { barrier(c, [&] { Instance::from(i).health(c); }); },
    extension,
    [](via_instance* i) { delete &Instance::from(i); },
};

}  // namespace via::sqlite
