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
    [](via_instance*, const char* id) -> const void* { return std::strcmp(id, VIA_EXT_OPS) == 0 ? &kOpsApi : nullptr; },
    [](via_instance* i) { delete &Instance::from(i); },
};

}  // namespace via::sqlite
