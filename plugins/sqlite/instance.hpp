// One managed SQLite add-on, or the databases of a kit, behind the C ABI: lifecycle calls, the data API (api/), the four
// operations, and the way of a request: inline
// when it is proven to be bounded, on a worker otherwise, through the writer when it writes.
// Thread: as via/plugin.h tags each function.
#pragma once

#include "plugins/sqlite/api/api.hpp"
#include "plugins/sqlite/database.hpp"

namespace via::sqlite {

class Instance {
 public:
  explicit Instance(const via_host* host);
  via_instance* handle() { return &link_.base; }
  static Instance& from(via_instance* i) { return *reinterpret_cast<Link*>(i)->self; }

  void provision(const via_provision_args* args, via_call* call);
  void open(const via_provision_args* args, via_call* call);
  void close(via_call* call);
  void deprovision(via_call* call);
  void describe(const via_binding_args* args, via_call* call);
  void health(via_call* call);
  void invoke(const via_op_args* args, via_call* call);
  via_status try_invoke(const via_op_args* args, via_call* call);
  void handle(const via_http_request* request, via_call* call) { api_.handle(request, call); }
  via_status try_handle(const via_http_request* request, via_call* call) { return api_.try_handle(request, call); }
  void take(const via_snapshot_args* args, via_call* call);
  void restore(const via_snapshot_args* args, via_call* call);
  void verify(const via_snapshot_args* args, via_call* call);
  void drain(via_call* call);
  void stats(via_call* call);

 private:
  struct Link {
    via_instance base;
    Instance* self;
  };
  std::string dir() const;
  uint64_t deadline(const Request& request, const via_call* call) const;
  via_status submit(const via_op_args* args, via_call* call, Request&& request, Database::Pin&& pin);
  via_status read_inline(const via_op_args* args, via_call* call, const Request& request, Database::Pin&& pin);
  void overran(Statement& statement, uint64_t took_ns, uint64_t cpu_before_ns, bool only_time);
  Failure read_on_worker(const via_op_args* args, via_call* call, const Request& request, bool& streaming);

  Link link_;
  Host host_;
  Database database_;
  api::Api api_;
};

extern const via_instance_api kInstanceApi;

}  // namespace via::sqlite
