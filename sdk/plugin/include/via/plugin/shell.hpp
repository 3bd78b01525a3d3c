// Turns a plain class into the tables of the ABI: its capabilities are the methods it has. No exception crosses, and no
// call goes unanswered. Thread: as the tags in via/plugin.h say of each table.
//
// What a class may have (each [control] method may take a Control& as its last parameter):
//
//   explicit T(Host)                                     required
//   void provision(const Provision&)                     makes the storage; again is fine
//   void open(const Provision&)                          attaches to it and serves
//   void close(), void deprovision()                     of nothing is fine
//   void bind/rotate/revoke(const Binding&)              needed for "credentials": "plugin-applied"
//   std::string describe(const Binding&)                 default: a binding through the proxy, with DATABASE_URL and the like
//   std::string health()                                 default: {"state":"ok","checks":[]}
//   std::string invoke(const Operation&)                 "via.ops/1": what it returns is the answer. It is given the whole
//                                                        body, up to static constexpr std::size_t kBodyLimit (16 MiB); or
//   void invoke(const Operation&, Call&)                 the same, answering itself, now or later (move the Call away)
//   bool try_invoke(const Operation&, Call&) noexcept    on an I/O thread, without waiting; false = nothing was done
//   std::string handle(const HttpRequest&), void handle(const HttpRequest&, Call&), bool try_handle(…) noexcept
//                                                        "via.http/1", in the same three forms
//   SnapshotFacts take(const Snapshot&), void restore(const Snapshot&), void verify(const Snapshot&)
//                                                        "via.snapshot/1": all three or none;
//                                                        static constexpr bool kExchanges = true when restore honours it
//   void drain(), void resume()                          "via.drain/1": both or none
//   std::string stats()                                  "via.stats/1"
//   std::string plan(from, to), void migrate(from, to)   "via.migrate/1": both or none
//   static void start(Host), static void stop()          around the life of the library
#pragma once

#include <via/plugin/call.hpp>

#include <concepts>
#include <cstring>
#include <new>
#include <type_traits>

namespace via::plugin {

// Runs `work`; what it throws goes to `fail`, as status, message and details.
template <class Ending, class Work>
void guarded(Ending&& fail, Work&& work) noexcept {
  try {
    work();
  } catch (const Failure& why) {
    fail(why.status(), std::string_view(why.message()), std::string_view(why.details()));
  } catch (const std::bad_alloc&) {
    fail(static_cast<via_status>(VIA_E_EXHAUSTED), std::string_view("The plugin has no memory left."), std::string_view());
  } catch (const std::exception& why) {
    fail(static_cast<via_status>(VIA_E_INTERNAL), std::string_view(why.what()), std::string_view());
  } catch (...) {
    fail(static_cast<via_status>(VIA_E_INTERNAL), std::string_view("The plugin threw something unknown."), std::string_view());
  }
}

// What the host holds of a T: made by create(), ended by the destroy of its table.
template <class T>
class Shell {
 public:
  static via_status create(const via_host* host, via_instance** out, const via_sink* message) noexcept {
    via_status status = VIA_OK;
    const auto say = [&](via_status why, std::string_view text, std::string_view) noexcept {
      status = why;
      if (message != nullptr && message->write != nullptr) (void)message->write(message->ctx, bytes(text));
    };
    guarded(say, [&] { *out = &(new Shell(host))->link_.base; });
    return status;
  }

 private:
  struct Link {  // standard layout: the host holds a pointer to its first member
    via_instance base;
    Shell* self;
  };
  explicit Shell(const via_host* host) : link_{{&kApi}, this}, plugin_(Host(host)) {}
  static T& of(via_instance* i) noexcept { return reinterpret_cast<Link*>(i)->self->plugin_; }

  static std::string json_of(const SnapshotFacts& facts) {
    return "{\"format\":" + json_string(facts.format) + ",\"schema\":" + std::to_string(facts.schema) +
           ",\"position\":" + json_string(facts.position) + "}";
  }

  // Calls `method` with the arguments, and the Control where it wants one; its result ends the call.
  template <class Method, class... Args>
  static void control(via_call* raw, Method method, Args&&... args) noexcept {
    Call call(raw);
    const auto fail = [&](via_status s, std::string_view m, std::string_view d) noexcept { call.fail(s, m, d); };
    guarded(fail, [&] {
      Control handle(raw);
      const auto run = [&]() -> decltype(auto) {
        if constexpr (std::is_invocable_v<Method, Args..., Control&>) return method(std::forward<Args>(args)..., handle);
        else return method(std::forward<Args>(args)...);
      };
      if constexpr (std::is_void_v<decltype(run())>) {
        run();
        call.result({});
      } else {
        call.result(run());
      }
    });
  }

  // A method with or without a trailing Control&, whichever the class has.
#define VIA_SHELL_CALL(name)                                                                                   \
  [&t](auto&... each) -> decltype(auto)                                                                           \
    requires requires { t.name(each...); }                                                                        \
  { return t.name(each...); }
#define VIA_SHELL_HAS(name, ...)                                                                               \
  (requires(T & t, Control & control) { t.name(__VA_ARGS__ __VA_OPT__(, ) control); } ||                       \
   requires(T & t) { t.name(__VA_ARGS__); })

  template <class A>
  static const A& some();  // for requires-expressions only

  static void provision(via_instance* i, const via_provision_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Provision args(*a);
    if constexpr (VIA_SHELL_HAS(provision, some<Provision>())) control(c, VIA_SHELL_CALL(provision), args);
    else control(c, [] {});
  }
  static void open(via_instance* i, const via_provision_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Provision args(*a);
    if constexpr (VIA_SHELL_HAS(open, some<Provision>())) control(c, VIA_SHELL_CALL(open), args);
    else control(c, [] {});
  }
  static void close(via_instance* i, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (VIA_SHELL_HAS(close)) control(c, VIA_SHELL_CALL(close));
    else control(c, [] {});
  }
  static void deprovision(via_instance* i, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (VIA_SHELL_HAS(deprovision)) control(c, VIA_SHELL_CALL(deprovision));
    else control(c, [] {});
  }
  static void bind(via_instance* i, const via_binding_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Binding args(*a);
    if constexpr (VIA_SHELL_HAS(bind, some<Binding>())) control(c, VIA_SHELL_CALL(bind), args);
    else control(c, [] {});
  }
  static void rotate(via_instance* i, const via_binding_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Binding args(*a);
    if constexpr (VIA_SHELL_HAS(rotate, some<Binding>())) control(c, VIA_SHELL_CALL(rotate), args);
    else control(c, [] {});
  }
  static void revoke(via_instance* i, const via_binding_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Binding args(*a);
    if constexpr (VIA_SHELL_HAS(revoke, some<Binding>())) control(c, VIA_SHELL_CALL(revoke), args);
    else control(c, [] {});
  }
  static void describe(via_instance* i, const via_binding_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Binding args(*a);
    if constexpr (VIA_SHELL_HAS(describe, some<Binding>())) control(c, VIA_SHELL_CALL(describe), args);
    else control(c, [] { return std::string_view(R"({"descriptor":{"mode":"proxy"},"derived":{"_URL":"${endpoint}"}})"); });
  }
  static void health(via_instance* i, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (VIA_SHELL_HAS(health)) control(c, VIA_SHELL_CALL(health));
    else control(c, [] { return std::string_view(R"({"state":"ok","checks":[]})"); });
  }
  static void destroy(via_instance* i) noexcept { delete reinterpret_cast<Link*>(i)->self; }

  // ---- operations and HTTP: one shape for both ----

  static std::string_view& body_of(Operation& o) noexcept { return o.params; }
  static std::string_view& body_of(HttpRequest& r) noexcept { return r.body; }
  static constexpr std::size_t body_limit() {
    if constexpr (requires { T::kBodyLimit; }) return T::kBodyLimit;
    else return std::size_t{16} << 20;
  }

  template <class Request, class Method>
  static void serve(const Request& request, via_call* raw, Method method) noexcept {
    Call call(raw);
    const auto fail = [&](via_status s, std::string_view m, std::string_view d) noexcept { call.fail(s, m, d); };
    guarded(fail, [&] {
      if constexpr (std::is_invocable_v<Method, const Request&, Call&>) {
        method(request, call);
      } else {
        // A method that cannot read on is given all of it.
        std::string whole;
        Request complete(request);
        if (call.more_body(body_of(complete), body_limit(), whole)) body_of(complete) = whole;
        call.answer(method(std::as_const(complete)));
      }
    });
  }
  template <class Request, class Method>
  static via_status try_serve(const Request& request, via_call* raw, Method method) noexcept {
    Call call(raw);
    if (method(request, call)) return VIA_OK;
    if (call.answered()) return VIA_OK;
    if (call.has_on_cancel()) {
      // The host may call it at any time from now on, so this is not "nothing was done".
      call.fail(VIA_E_INTERNAL, "The plugin began a call in a try_ method and then returned false.");
      return VIA_OK;
    }
    (void)call.release();
    return VIA_E_WOULD_BLOCK;
  }

  static constexpr bool kTriesOps = requires(T& t, const Operation& r, Call& c) {
    { t.try_invoke(r, c) } noexcept -> std::same_as<bool>;
  };
  static constexpr bool kAnswersOps = requires(T& t, const Operation& r, Call& c) { t.invoke(r, c); };
  static constexpr bool kReturnsOps = requires(T& t, const Operation& r) {
    { t.invoke(r) } -> std::convertible_to<std::string_view>;
  };
  static void invoke(via_instance* i, const via_op_args* a, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kAnswersOps) serve(Operation(*a), c, [&t](const Operation& r, Call& call) { t.invoke(r, call); });
    else if constexpr (kReturnsOps) serve(Operation(*a), c, [&t](const Operation& r) { return t.invoke(r); });
  }
  static via_status try_invoke(via_instance* i, const via_op_args* a, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kTriesOps) return try_serve(Operation(*a), c, [&t](const Operation& r, Call& call) { return t.try_invoke(r, call); });
    else return VIA_E_WOULD_BLOCK;
  }

  static constexpr bool kTriesHttp = requires(T& t, const HttpRequest& r, Call& c) {
    { t.try_handle(r, c) } noexcept -> std::same_as<bool>;
  };
  static constexpr bool kAnswersHttp = requires(T& t, const HttpRequest& r, Call& c) { t.handle(r, c); };
  static constexpr bool kReturnsHttp = requires(T& t, const HttpRequest& r) {
    { t.handle(r) } -> std::convertible_to<std::string_view>;
  };
  static void handle(via_instance* i, const via_http_request* a, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kAnswersHttp) serve(HttpRequest(*a), c, [&t](const HttpRequest& r, Call& call) { t.handle(r, call); });
    else if constexpr (kReturnsHttp) serve(HttpRequest(*a), c, [&t](const HttpRequest& r) { return t.handle(r); });
  }
  static via_status try_handle(via_instance* i, const via_http_request* a, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kTriesHttp) return try_serve(HttpRequest(*a), c, [&t](const HttpRequest& r, Call& call) { return t.try_handle(r, call); });
    else return VIA_E_WOULD_BLOCK;
  }

  // ---- snapshots, drain, stats, migration ----

  static constexpr bool kTakes = VIA_SHELL_HAS(take, some<Snapshot>());
  static constexpr bool kRestores = VIA_SHELL_HAS(restore, some<Snapshot>());
  static constexpr bool kVerifies = VIA_SHELL_HAS(verify, some<Snapshot>());
  static constexpr bool kDrains = VIA_SHELL_HAS(drain);
  static constexpr bool kResumes = VIA_SHELL_HAS(resume);
  static constexpr bool kStats = VIA_SHELL_HAS(stats);
  static constexpr bool kPlans = VIA_SHELL_HAS(plan, 1U, 2U);
  static constexpr bool kMigrates = VIA_SHELL_HAS(migrate, 1U, 2U);
  static_assert(!kTriesOps || kAnswersOps || kReturnsOps, "try_invoke needs invoke, for what it does not take over");
  static_assert(!kTriesHttp || kAnswersHttp || kReturnsHttp, "try_handle needs handle, for what it does not take over");
  static_assert(kTakes == kRestores && kRestores == kVerifies, "take, restore and verify: all three or none");
  static_assert(kDrains == kResumes, "drain and resume: both or none");
  static_assert(kPlans == kMigrates, "plan and migrate: both or none");

  static void take(via_instance* i, const via_snapshot_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Snapshot args(*a);
    if constexpr (kTakes) {
      if constexpr (requires(Control& k) { t.take(args, k); })
        control(c, [&t](const Snapshot& s, Control& k) { return json_of(t.take(s, k)); }, args);
      else control(c, [&t](const Snapshot& s) { return json_of(t.take(s)); }, args);
    }
  }
  // What an exchanging restore returns is facts as take()'s, of what was there before.
  static void restore(via_instance* i, const via_snapshot_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Snapshot args(*a);
    if constexpr (kRestores) {
      const auto run = [&t](const Snapshot& s, Control& k) {
        const auto call = [&]() -> decltype(auto) {
          if constexpr (requires { t.restore(s, k); }) return t.restore(s, k);
          else return t.restore(s);
        };
        if constexpr (std::is_void_v<decltype(call())>) {
          call();
          return std::string();
        } else {
          return json_of(call());
        }
      };
      control(c, run, args);
    }
  }
  static void verify(via_instance* i, const via_snapshot_args* a, via_call* c) noexcept {
    T& t = of(i);
    const Snapshot args(*a);
    if constexpr (kVerifies) control(c, VIA_SHELL_CALL(verify), args);
  }
  static void drain(via_instance* i, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kDrains) control(c, VIA_SHELL_CALL(drain));
  }
  static void resume(via_instance* i, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kResumes) control(c, VIA_SHELL_CALL(resume));
  }
  static void stats(via_instance* i, via_call* c) noexcept {
    T& t = of(i);
    if constexpr (kStats) control(c, VIA_SHELL_CALL(stats));
  }
  static void plan(via_instance* i, const via_migrate_args* a, via_call* c) noexcept {
    T& t = of(i);
    const std::uint32_t from = a->from_schema, to = a->to_schema;
    if constexpr (kPlans) control(c, VIA_SHELL_CALL(plan), from, to);
  }
  static void migrate(via_instance* i, const via_migrate_args* a, via_call* c) noexcept {
    T& t = of(i);
    const std::uint32_t from = a->from_schema, to = a->to_schema;
    if constexpr (kMigrates) control(c, VIA_SHELL_CALL(migrate), from, to);
  }
#undef VIA_SHELL_CALL
#undef VIA_SHELL_HAS

  static constexpr bool exchanges() {
    if constexpr (requires { T::kExchanges; }) return T::kExchanges;
    else return false;
  }

  static const void* extension(via_instance*, const char* id) noexcept {
    static constexpr via_ops_api ops{sizeof ops, 0, &Shell::invoke, kTriesOps ? &Shell::try_invoke : nullptr};
    static constexpr via_http_api http{sizeof http, 0, &Shell::handle, kTriesHttp ? &Shell::try_handle : nullptr};
    static constexpr via_snapshot_api snapshots{sizeof snapshots, exchanges() ? VIA_SNAPSHOT_EXCHANGES : 0, &Shell::take,
                                                &Shell::restore, &Shell::verify};
    static constexpr via_drain_api drains{sizeof drains, 0, &Shell::drain, &Shell::resume};
    static constexpr via_stats_api figures{sizeof figures, 0, &Shell::stats};
    static constexpr via_migrate_api migrations{sizeof migrations, 0, &Shell::plan, &Shell::migrate};
    const std::string_view name(id);
    if ((kAnswersOps || kReturnsOps) && name == VIA_EXT_OPS) return &ops;
    if ((kAnswersHttp || kReturnsHttp) && name == VIA_EXT_HTTP) return &http;
    if (kTakes && name == VIA_EXT_SNAPSHOT) return &snapshots;
    if (kDrains && name == VIA_EXT_DRAIN) return &drains;
    if (kStats && name == VIA_EXT_STATS) return &figures;
    if (kMigrates && name == VIA_EXT_MIGRATE) return &migrations;
    return nullptr;
  }

  static constexpr via_instance_api kApi{sizeof(via_instance_api), 0,
                                         &Shell::provision,        &Shell::open,
                                         &Shell::close,            &Shell::deprovision,
                                         &Shell::bind,             &Shell::rotate,
                                         &Shell::revoke,           &Shell::describe,
                                         &Shell::health,           &Shell::extension,
                                         &Shell::destroy};
  Link link_;
  T plugin_;
};

// An add-on type of the library: the id it has in the manifest, and its class.
template <class T>
struct Type {
  using Class = T;
  const char* id;
};

template <class... T>
via_status create_one_of(const via_host* host, const via_instance_spec* spec, via_instance** out, const via_sink* message,
                         Type<T>... types) noexcept {
  via_status status = VIA_E_NOT_FOUND;
  const std::string_view wanted = view(spec->type_id);
  (void)((wanted == types.id ? (status = Shell<T>::create(host, out, message), true) : false) || ...);
  return status;
}

template <class C>
void stop_one() noexcept {
  if constexpr (requires { C::stop(); }) {
    try {
      C::stop();
    } catch (...) {
      // The library ends whatever its parts say.
    }
  }
}

// The first `count` of the types, the last one first.
template <class... T>
void stop_first(std::size_t count) noexcept {
  constexpr void (*kStops[])() noexcept = {&stop_one<T>...};
  while (count > 0) kStops[--count]();
}

// Starts the types in order; what had started is stopped again when a later one fails.
template <class... T>
via_status start_all(const via_host* host, const via_sink* message, Type<T>...) noexcept {
  via_status status = VIA_OK;
  std::size_t started = 0;
  const auto say = [&](via_status why, std::string_view text, std::string_view) noexcept {
    status = why;
    if (message != nullptr && message->write != nullptr) (void)message->write(message->ctx, bytes(text));
  };
  const auto one = [&]<class C>(std::type_identity<C>) {
    if constexpr (requires { C::start(Host(host)); }) C::start(Host(host));
    (void)host;
    ++started;
  };
  guarded(say, [&] { (one(std::type_identity<T>{}), ...); });
  if (status != VIA_OK) stop_first<T...>(started);
  return status;
}

template <class... T>
void stop_all(Type<T>...) noexcept {
  stop_first<T...>(sizeof...(T));
}

}  // namespace via::plugin
