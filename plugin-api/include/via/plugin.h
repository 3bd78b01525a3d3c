/* The stable C ABI between the Via host and an add-on plugin; the whole of it. C99..C17 and C++17..20.
 * Version 1.0 is frozen; minor versions add to it (plugin-api/README.md, abi/v1.slots).
 *
 * A plugin is one shared library that exports exactly one symbol, via_plugin_entry_v1. It runs with
 * the host's full privileges: this ABI guards against mistakes, never against a hostile plugin.
 *
 * Five rules hold for every declaration below; a comment on one only ever adds to them.
 *
 *  GROWTH   Inside major 1 a struct only gains fields at its end. Each starts with struct_size, set
 *           by whoever fills it; read a field only if VIA_HAS says it is there. A struct without
 *           struct_size is frozen. Optional behaviour is a table fetched by id, "via.<name>/<rev>"
 *           or "<reverse-dns>.<name>/<rev>"; unknown id => NULL. A breaking change is a new id, or
 *           via_plugin_entry_v2 beside v1.
 *  MEMORY   Neither side frees the other's memory. Views (via_str, via_bytes, argument structs) are
 *           borrowed until the function returns; copy to keep. Bytes travel back through a via_sink
 *           or a via_call, which copy before they return. Nothing mutable is shared, so the same
 *           calls can later be carried to a plugin in another process.
 *  ERRORS   No exception, longjmp or exit crosses. Fallible functions return via_status or end in
 *           via_call.complete. Messages are for operators and must not hold secrets.
 *  ASYNC    A function that takes a via_call must cause complete() exactly once, from any thread,
 *           inline or later. After complete() returns, the via_call is gone.
 *  THREADS  Tags say how a function may be called:
 *           [init]    one thread, while no other call into this library runs
 *           [control] at most one outstanding per instance, entry to complete(); may block; the OS
 *                     thread varies
 *           [data]    many at a time per instance (manifest "limits.parallel_ops"); may block
 *           [call]    one at a time per via_call, by whichever thread owns that call now
 *           [any]     any thread, concurrently; must not block
 *           The host's I/O threads call only [any] functions.
 *
 * What stands for every function unless its comment says otherwise: arguments are borrowed for the call, the table a
 * function came from is valid as long as what it was asked of (host: until destroy or deinit; instance: until destroy),
 * and an instance function that takes a via_call ends it with VIA_E_UNAVAILABLE when what it needs is not there now,
 * VIA_E_EXHAUSTED when memory or room is not, VIA_E_CANCELLED or VIA_E_DEADLINE when it gave up, VIA_E_INTERNAL for a bug.
 */
#ifndef VIA_PLUGIN_H
#define VIA_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#  define VIA_EXPORT __declspec(dllexport)
#else
#  define VIA_EXPORT __attribute__((visibility("default")))
#endif

#define VIA_ABI_MAJOR 1u /* what a breaking change raises; a host refuses another */
#define VIA_ABI_MINOR 1u /* what every addition raises */
/* True when *p, as built by the other side, is long enough to hold `field`. */
#define VIA_HAS(type, p, field) ((p)->struct_size >= offsetof(type, field) + sizeof((p)->field))

/* ---- values --------------------------------------------------------------------------------- */

typedef int32_t via_status; /* never renumbered; an unknown code reads as VIA_E_INTERNAL */
enum {
  VIA_OK = 0,
  VIA_E_INVALID = 1,      /* the request is wrong; retrying cannot help                  HTTP 400 */
  VIA_E_DENIED = 2,       /* scope or policy forbids it                                       403 */
  VIA_E_NOT_FOUND = 3,    /*                                                                  404 */
  VIA_E_CONFLICT = 4,     /* exists with other parameters, or a concurrent change             409 */
  VIA_E_PRECONDITION = 5, /* wrong state, e.g. draining or not provisioned                    409 */
  VIA_E_EXHAUSTED = 6,    /* quota, disk, or queue full                                       429 */
  VIA_E_UNSUPPORTED = 7,  /*                                                                  501 */
  VIA_E_UNAVAILABLE = 8,  /* transient: the host may retry under the same request_id          503 */
  VIA_E_DEADLINE = 9,     /*                                                                  504 */
  VIA_E_CANCELLED = 10,   /*                                                                  503 */
  VIA_E_CORRUPT = 11,     /* stored data failed a check: the host stops the instance          500 */
  VIA_E_INTERNAL = 12,    /* a bug on either side                                             500 */
  VIA_E_WOULD_BLOCK = 13  /* only from via_call.write/reserve and via_ops_api.try_invoke */
};

typedef struct via_str { const char *ptr; size_t len; } via_str;        /* UTF-8, no NUL promised; len 0 = empty */
typedef struct via_bytes { const uint8_t *ptr; size_t len; } via_bytes; /* borrowed bytes; ptr may be NULL when len is 0 */
typedef struct via_pair { via_str key, value; } via_pair;               /* a name and what it stands for */
typedef struct via_id { uint8_t b[16]; } via_id;                        /* a ULID, most significant byte first */
typedef struct via_sink {                           /* given by the receiver, valid for one call */
  void *ctx;                                        /* the receiver's; handed back to write */
  /* Takes one more piece, copied before it returns. Anything but VIA_OK: the receiver takes no more; give that up. [call] */
  via_status (*write)(void *ctx, via_bytes chunk);
} via_sink;

typedef void (*via_fn)(void *data);                          /* of on_cancel and at_end; `data` is whose fn it is */
typedef void (*via_task_fn)(void *data, via_status why);     /* of post; see there for `why` */

typedef struct via_host via_host;
typedef struct via_instance via_instance;
typedef struct via_queue via_queue;

/* ---- one request, owned by the host ---------------------------------------------------------- */

/* How a result is to be sent, where it is not "200 application/json". Borrowed for the call of head(). */
typedef struct via_head {
  uint32_t struct_size;
  uint16_t http_status, reserved0;       /* 100 to 599; reserved0 is 0 */
  via_str content_type;                  /* empty = application/json */
  const via_pair *headers; /* more response headers; the host refuses hop-by-hop and framing ones */
  size_t headers_len;                    /* how many */
} via_head;

/* Owned by the host, lent to the plugin from the function that hands it over until complete() returns. */
typedef struct via_call {
  uint32_t struct_size, flags;
  void *host_data;      /* the host's */
  via_id request_id;    /* idempotency key: the same id must have the same effect and outcome */
  uint64_t deadline_ns; /* on via_clock.mono_ns; 0 = none */
  int32_t (*cancelled)(const struct via_call *c);  /* not 0 once the host wants no answer any more  [any] */
  /* fn runs at most once, on any thread as if [any], and never once complete() has returned:
   * complete() waits for a running fn unless fn calls it. Already cancelled => fn runs inline.
   * `data` stays the plugin's. VIA_OK; a second registration replaces the first. */
  via_status (*on_cancel)(struct via_call *c, via_fn fn, void *data);                   /* [call] */
  /* Next piece of a request body that is larger than via_op_args.params; *got == 0 with VIA_OK is the end. Fills at most
   * `cap` bytes of the plugin's `buf`. With VIA_WAIT it may block; VIA_E_CANCELLED and VIA_E_DEADLINE end the body. */
  via_status (*read)(struct via_call *c, uint8_t *buf, size_t cap, uint32_t flags, size_t *got); /* [call] */
  /* Result head, copied; at most once, before the first write or reserve. Without it: 200, application/json.
   * VIA_E_PRECONDITION when the result has begun. */
  via_status (*head)(struct via_call *c, const via_head *head);                         /* [call] */
  /* One result chunk, copied. Above the high-water mark: VIA_E_WOULD_BLOCK and nothing was taken,
   * or, with VIA_WAIT, blocks until there is room, the deadline passes (VIA_E_DEADLINE) or the call is cancelled
   * (VIA_E_CANCELLED). */
  via_status (*write)(struct via_call *c, via_bytes chunk, uint32_t flags);             /* [call] */
  /* Ends the call. After VIA_OK what was written is the answer; `details_json` is the result of a [control] call
   * (empty otherwise). After a failure everything written is dropped (or the stream is cut, if it had begun);
   * `message` reaches the client unless the HTTP status is 500, then only the log (and of the details only "code");
   * `details_json` is empty or an object of typed details for the error body, of which "code" ([a-z_]{1,40})
   * replaces the status's own code: {"code":"sql_error","sqlite_code":1}. */
  void (*complete)(struct via_call *c, via_status st, via_str message, via_str details_json); /* [call] */
  /* Writing without a copy: reserve gives room for at least `min` bytes in the host's own output buffer, valid
   * until the next function of this call; commit takes the first `n` of them, at most *cap, as written. Same high-water
   * rule, flags and errors as write. */
  via_status (*reserve)(struct via_call *c, size_t min, uint32_t flags, uint8_t **buf, size_t *cap); /* [call] */
  void (*commit)(struct via_call *c, size_t n);                                         /* [call] */
  /* Optional, may be NULL where VIA_HAS says it is there: how far a long call is, in bytes; total 0 = not known. */
  void (*progress)(struct via_call *c, uint64_t done, uint64_t total);                  /* [call] */
} via_call;
enum { VIA_WAIT = 1u << 0 /* flag of read, write and reserve: block instead of VIA_E_WOULD_BLOCK */ };

/* ---- core instance table: every add-on type implements all of it ----------------------------- */

/* What provision and open are told. */
typedef struct via_provision_args {
  uint32_t struct_size, storage_schema; /* schema the host has on record; 0 = fresh */
  via_str plan, config_json;            /* config_json is checked against the manifest's JSON Schema already; plan may be empty */
} via_provision_args;

/* One credential generation of a binding: what bind, rotate, revoke and describe are told. */
typedef struct via_binding_args {
  uint32_t struct_size, generation;     /* generations of a binding are 1, 2, 3, ... never reused */
  via_id binding_id;                    /* whose generation it is */
  const via_str *scopes;                /* subset of the manifest's scopes */
  size_t scopes_len;                    /* how many */
  via_bytes secret;                     /* of bind and rotate; minted by the host (43 of A-Z a-z 0-9 - _), the same
                                           again when a call is repeated; empty unless the manifest says
                                           "credentials": "plugin-applied". Wipe after use. */
  int64_t not_after_unix_ms;            /* 0 = no expiry */
} via_binding_args;

/* What every instance can do; no slot is NULL. */
typedef struct via_instance_api {
  uint32_t struct_size, flags;
  /* provision creates storage; again with equal args => VIA_OK, with others => VIA_E_CONFLICT.
   * open attaches to storage that exists and makes the instance serve (VIA_E_CORRUPT when what is there cannot be
   * read); close undoes open and keeps the data; deprovision destroys the data. close and deprovision of nothing are
   * VIA_OK. Each may be called again after it failed. */
  void (*provision)(via_instance *, const via_provision_args *, via_call *);         /* [control] */
  void (*open)(via_instance *, const via_provision_args *, via_call *);              /* [control] */
  void (*close)(via_instance *, via_call *);                                         /* [control] */
  void (*deprovision)(via_instance *, via_call *);                                   /* [control] */

  /* bind makes generation 1. rotate makes generation n while n-1 stays valid. revoke ends one
   * generation (0 = all) and is VIA_OK when there is nothing to end. Each again with equal args => VIA_OK. */
  void (*bind)(via_instance *, const via_binding_args *, via_call *);                /* [control] */
  void (*rotate)(via_instance *, const via_binding_args *, via_call *);              /* [control] */
  void (*revoke)(via_instance *, const via_binding_args *, via_call *);              /* [control] */

  /* result_json = {"descriptor":{...},"derived":{"_URL":"..."}} for that generation, VIA_E_NOT_FOUND where there is none
   * and the plugin keeps them. The descriptor is no secret and holds none. Derived values may refer to
   * "${endpoint}" and, where credentials are plugin-applied, "${secret}"; the host fills them in at resolve. */
  void (*describe)(via_instance *, const via_binding_args *, via_call *);            /* [control] */

  /* result_json = {"state","checks":[...]}; "ok" serves. Where credentials are plugin-applied it may also list those that
   * work now: "credentials":[{"binding":"<ULID, 26 characters>","generation":1}]; what is not there is not handed out. < 1 s */
  void (*health)(via_instance *, via_call *);                                            /* [data] */
  /* A table of "optional tables" below, constant for the life of the instance; NULL for an id that is not known. */
  const void *(*get_extension)(via_instance *, const char *id);                          /* [any] */
  /* Called after close completed and every via_call is complete. No thread, timer or queue of the
   * instance outlives it. */
  void (*destroy)(via_instance *);                                                   /* [control] */
} via_instance_api;

struct via_instance { const via_instance_api *api; }; /* made by create, the plugin's; it embeds this as first member */

/* ---- optional tables, from via_instance_api.get_extension ------------------------------------ */

typedef struct via_caller {             /* who asks; already authenticated and authorised by the host */
  uint32_t struct_size, generation;     /* the generation the request named, else the newest live one */
  via_id binding_id;                    /* the binding that was used */
  const via_str *scopes;                /* what it may do: a subset of the manifest's scopes */
  size_t scopes_len;                    /* how many */
  /* Every generation of this binding that is live now, ascending. A request that names one in its own body is
   * checked against it: absent and above the last => "generation_unknown", absent otherwise => "generation_revoked". */
  const uint32_t *live_generations;
  size_t live_generations_len;          /* how many */
} via_caller;

#define VIA_EXT_OPS "via.ops/1" /* named operations, declared in the manifest with their scopes */
typedef struct via_op_args {
  uint32_t struct_size, op_index;       /* index into manifest "ops" */
  via_str op, params_content_type;      /* the operation's name; "application/json" or "application/cbor" */
  via_bytes params;                     /* larger input streams through via_call.read */
  const via_caller *caller;             /* who asks */
  via_str accept;                       /* the request's Accept, empty when there is none */
} via_op_args;
typedef struct via_ops_api {
  uint32_t struct_size, flags;
  /* Runs one operation; what it writes is the answer. The args end with the function, the call does not. */
  void (*invoke)(via_instance *, const via_op_args *, via_call *);                      /* [data] */
  /* Optional. Called on an I/O thread: complete now without waiting (no lock that others hold long,
   * no fsync, bounded work), or return VIA_E_WOULD_BLOCK having done nothing, and invoke follows on a
   * worker. VIA_OK means that the call was taken over: complete() has been or will be called. */
  via_status (*try_invoke)(via_instance *, const via_op_args *, via_call *);             /* [any] */
} via_ops_api;

#define VIA_EXT_HTTP "via.http/1" /* routes declared in the manifest, under /i/<instance>/ */
typedef struct via_http_request {
  uint32_t struct_size, route_index;    /* index into manifest "http.routes" */
  via_str method, path;                 /* path without the query, beginning with the manifest's prefix */
  const via_pair *path_params, *query, *headers; /* query percent-decoded; no hop-by-hop headers, no Authorization */
  size_t path_params_len, query_len, headers_len; /* how many of each; path_params is empty while routes are prefixes */
  const via_caller *caller;             /* NULL only on a route the manifest marks public */
  via_bytes body;                       /* larger input streams through via_call.read */
  const via_pair *limits;               /* what a capability URL was narrowed to: "db"=NAME, "only"="query" */
  size_t limits_len;                    /* how many */
} via_http_request;
typedef struct via_http_api {
  uint32_t struct_size, flags;
  /* Answers one request: via_call.head, then what it writes. The request ends with the function, the call does not. */
  void (*handle)(via_instance *, const via_http_request *, via_call *);                 /* [data] */
  /* Optional. As via_ops_api.try_invoke: on an I/O thread, without waiting, or VIA_E_WOULD_BLOCK having done nothing, and
   * handle follows on a worker. The request ends with the function, also when the call was taken over.      */
  via_status (*try_handle)(via_instance *, const via_http_request *, via_call *);       /* [any] */
} via_http_api;

#define VIA_EXT_SNAPSHOT "via.snapshot/1" /* copies of the storage: all three functions or none */
typedef struct via_snapshot_args {
  uint32_t struct_size, flags;          /* VIA_SNAPSHOT_EXCHANGES, in restore */
  via_id snapshot_id;                   /* whose; a call that is repeated has the same */
  via_str dir;                          /* take: empty and private; verify: read-only; restore: see there */
  /* Since 1.1. verify and restore: the "format" that take answered for what lies in dir, also when a plugin of another
   * version or type took it; empty where the host does not know it, and in take. */
  via_str format;
} via_snapshot_args;
typedef struct via_snapshot_api {
  uint32_t struct_size, flags;
  /* take leaves a self-contained, consistent copy in dir while [data] calls go on. The host hashes,
   * fsyncs and seals it afterwards. result_json = {"format","schema","position"}: the plugin's name for the form
   * ("kv/1"), the storage schema, and how far the data went in the plugin's own terms. */
  void (*take)(via_instance *, const via_snapshot_args *, via_call *);               /* [control] */
  /* `dir` is a private copy on the storage's filesystem: the plugin may take files out of it (rename). All or
   * nothing, and durable when it completes. With VIA_SNAPSHOT_EXCHANGES in `flags` what was there before, if anything,
   * is in `dir` afterwards as take would have left it (so a second restore from `dir` undoes the first), and
   * result_json is that of take. VIA_E_INVALID for what is no snapshot of this type; nothing is changed then. */
  void (*restore)(via_instance *, const via_snapshot_args *, via_call *);   /* closed  [control] */
  /* VIA_OK when restore would take what is in `dir`, VIA_E_INVALID when not. The instance may be open, closed or not
   * provisioned. */
  void (*verify)(via_instance *, const via_snapshot_args *, via_call *);                /* [data] */
} via_snapshot_api;

/* In via_snapshot_api.flags: restore can keep what it replaces. In via_snapshot_args.flags: it shall. */
enum { VIA_SNAPSHOT_EXCHANGES = 1u << 0 };

#define VIA_EXT_DRAIN "via.drain/1" /* absent => the host just waits for in-flight calls to end */
typedef struct via_drain_api {
  uint32_t struct_size, flags;
  void (*drain)(via_instance *, via_call *);  /* done when quiet and durable; VIA_E_DEADLINE when not in time  [control] */
  void (*resume)(via_instance *, via_call *); /* undoes drain; of nothing is VIA_OK                            [control] */
} via_drain_api;

#define VIA_EXT_STATS "via.stats/1" /* figures of one add-on */
typedef struct via_stats_api {
  uint32_t struct_size, flags;
  void (*stats)(via_instance *, via_call *); /* result_json = {"bytes_used","rows_read",...}, numbers; < 1 s  [data] */
} via_stats_api;

#define VIA_EXT_MIGRATE "via.migrate/1" /* storage schema change; the host snapshots first */
typedef struct via_migrate_args { uint32_t struct_size, from_schema, to_schema; } via_migrate_args; /* storage schemas */
typedef struct via_migrate_api {
  uint32_t struct_size, flags;
  /* Both on a closed instance; VIA_E_INVALID for schemas that the type does not know. plan changes nothing and answers
   * result_json = {"steps","reversible"}. apply changes the storage, may be called again after a crash wherever it was,
   * and is VIA_OK where it was made already. */
  void (*plan)(via_instance *, const via_migrate_args *, via_call *);                /* [control] */
  void (*apply)(via_instance *, const via_migrate_args *, via_call *);               /* [control] */
} via_migrate_api;

/* ---- host services, from via_host.get_service; each via_host is scoped to one instance ------- */

/* The host, as one instance or the library sees it. The host's; valid until destroy of the instance, or deinit. */
struct via_host {
  uint32_t struct_size;
  uint16_t abi_major, abi_minor;        /* what the host was built with; for the log, nothing is decided by it */
  void *host_data;                      /* the host's */
  via_id instance_id;                   /* all zero on the library-wide host given to init */
  const char *name, *version;           /* the host's, with a NUL, valid as long as it */
  /* A table of "host services" below, valid as long as the host; NULL for a service that this host does not offer. */
  const void *(*get_service)(const via_host *, const char *id);                          /* [any] */
};

#define VIA_HOST_LOG "via.host.log/1" /* lines in the host's log, with the add-on's name */
typedef struct via_log {
  uint32_t struct_size, flags;
  int32_t (*enabled)(const via_host *, int32_t level); /* not 0 when lines of it are kept; 0 trace .. 5 critical  [any] */
  /* One line; copied, and dropped when the host cannot keep it. Of the pairs the first 16. No secret, path or row. */
  void (*write)(const via_host *, int32_t level, via_str msg, const via_pair *kv, size_t n); /* [any] */
} via_log;

#define VIA_HOST_CLOCK "via.host.clock/1" /* the host's time */
typedef struct via_clock {
  uint32_t struct_size, flags;
  uint64_t (*mono_ns)(const via_host *); /* only ever grows; what deadlines are on                            [any] */
  int64_t (*unix_ms)(const via_host *);  /* milliseconds since 1970; may be set back                          [any] */
} via_clock;

#define VIA_HOST_STORAGE "via.host.storage/1" /* the add-on's own folder */
typedef struct via_storage {
  uint32_t struct_size, flags;
  via_str (*dir)(const via_host *); /* absolute, 0700, one filesystem; valid till destroy   [any] */
  uint64_t (*quota_bytes)(const via_host *); /* what the add-on may use of it; 0 = no limit          [any] */
} via_storage;

#define VIA_HOST_SETTINGS "via.host.settings/1" /* what the operator configured for the type, the same for all its add-ons */
typedef struct via_settings {
  uint32_t struct_size, flags;
  via_str (*json)(const via_host *); /* an object; "{}" when nothing is; valid till destroy [any] */
} via_settings;

#define VIA_HOST_SECRETBOX "via.host.secretbox/1" /* AEAD, per-instance key the plugin never sees */
typedef struct via_secretbox {
  uint32_t struct_size, flags;
  /* Writes to `out` a box that only unseal of the same instance with the same `aad` opens. What `out` answers is handed
   * on; else VIA_E_INTERNAL. */
  via_status (*seal)(const via_host *, via_bytes aad, via_bytes plain, const via_sink *out);   /* [any] */
  /* VIA_E_INVALID when it is no box of this instance and `aad`, or was changed; nothing is written then. */
  via_status (*unseal)(const via_host *, via_bytes aad, via_bytes box, const via_sink *out);   /* [any] */
} via_secretbox;

#define VIA_HOST_METRICS "via.host.metrics/1" /* names get the prefix addon_<type>_ */
typedef struct via_metrics {
  uint32_t struct_size, flags;
  /* kind: 0 counter, 1 gauge, 2 histogram. The same again gives the same id; VIA_E_INVALID for a name or labels that
   * another kind has, or that are none. */
  via_status (*define)(const via_host *, uint32_t kind, via_str name, const via_str *label_keys, size_t n,
                       uint32_t *id);                                                    /* [any] */
  /* Adds to a counter, sets a gauge, observes in a histogram. An unknown id or another number of labels is dropped. */
  void (*record)(const via_host *, uint32_t id, const via_str *label_values, size_t n, double v); /* [any] */
} via_metrics;

#define VIA_HOST_EXECUTOR "via.host.executor/1" /* use this instead of starting threads */
typedef struct via_executor {
  uint32_t struct_size, flags;
  /* *out is the plugin's until queue_destroy, and must be destroyed before the instance. At most `width` tasks of it run
   * at once; 1 = serial, in order. */
  via_status (*queue_create)(const via_host *, uint32_t width, via_queue **out);         /* [any] */
  /* Waits: once it returns no task of the queue runs or ever will; those that waited were let go of. Not from its own
   * tasks, and not while another thread posts to it. */
  void (*queue_destroy)(via_queue *);                                                /* [control] */
  /* An accepted task's fn runs exactly once: with VIA_OK on a thread that may block, or with
   * VIA_E_CANCELLED to let go of data. A refused task (VIA_E_UNAVAILABLE) never runs. task_id may be NULL. */
  via_status (*post)(via_queue *, uint64_t delay_ns, via_task_fn fn, void *data, uint64_t *task_id); /* [any] */
  /* A task that has not begun is let go of, on this thread, before it returns; any other goes on. */
  void (*cancel)(via_queue *, uint64_t task_id);                                         /* [any] */
} via_executor;

/* Absent on hosts without an event loop (fakes, the isolated runner). A turn is one round of an I/O thread's event
 * loop: everything that was ready is answered, then the thread waits. */
#define VIA_HOST_TURN "via.host.turn/1"
typedef struct via_turn {
  uint32_t struct_size, flags;
  /* Calls fn(data) once on this thread before it waits again. VIA_E_UNSUPPORTED when the calling thread is not an
   * I/O thread. Registered tasks run in order; fn must be as short as any [any] function. */
  via_status (*at_end)(const via_host *, via_fn fn, void *data);                         /* [any] */
} via_turn;

#define VIA_HOST_THREADCHECK "via.host.threadcheck/1" /* given by the checker and by debug hosts */
typedef struct via_threadcheck {
  uint32_t struct_size, flags;
  uint32_t (*current)(const via_host *); /* as what this thread runs: bits 1 init, 2 control, 4 data, 8 host I/O  [any] */
} via_threadcheck;

/* ---- the library ----------------------------------------------------------------------------- */

/* Which type create is to make an instance of. */
typedef struct via_instance_spec {
  uint32_t struct_size, flags;
  via_str type_id;                      /* exact match against manifest "types" */
} via_instance_spec;

/* The library, as via_plugin_entry_v1 gives it: constant, the plugin's. */
typedef struct via_plugin_entry {
  uint32_t struct_size;
  uint16_t abi_major, abi_minor;        /* what the plugin was written for; as the manifest's "abi" says */
  via_str manifest_json;                /* static; byte-identical to manifest.json beside it */
  /* Once after loading, with the library-wide host, which is valid until deinit. Anything but VIA_OK: the plugin is not
   * used, and `message` (may be NULL) says why to the operator. */
  via_status (*init)(const via_host *, const via_sink *message);                        /* [init] */
  void (*deinit)(void);         /* once for each init that returned VIA_OK; every instance is destroyed  [init] */
  const void *(*get_extension)(const char *id); /* tables of the library itself; none yet: NULL      [any] */
  /* Cheap, leaves storage alone. *out is valid until its destroy. Unknown type => VIA_E_NOT_FOUND and *out untouched;
   * other failures say why in `message` (may be NULL). */
  via_status (*create)(const via_host *, const via_instance_spec *, via_instance **out,
                               const via_sink *message);                                 /* [any] */
} via_plugin_entry;

/* The one export. Constant: runs no other code, so `via-plugin-check --scan` can call it safely.
 * Linked in statically, the symbol is via_plugin_entry_v1_<name> (VIA_STATIC_PLUGIN=<name>). */
typedef const via_plugin_entry *(*via_plugin_entry_fn)(void);
#define VIA_PLUGIN_ENTRY_SYMBOL "via_plugin_entry_v1" /* the name of that export */

#ifdef __cplusplus
}
#  define VIA_STATIC_ASSERT static_assert
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#  define VIA_STATIC_ASSERT _Static_assert
#else /* C99: an array of negative size says it too */
#  define VIA_JOIN2(a, b) a##b
#  define VIA_JOIN(a, b) VIA_JOIN2(a, b)
#  define VIA_STATIC_ASSERT(truth, text) typedef char VIA_JOIN(via_static_assert_, __LINE__)[(truth) ? 1 : -1]
#endif
/* Frozen offsets (LP64). CI compares every slot with plugin-api/abi/v1.slots. */
#if UINTPTR_MAX == 0xffffffffffffffffu
VIA_STATIC_ASSERT(offsetof(via_call, request_id) == 16, "via_call layout");
VIA_STATIC_ASSERT(offsetof(via_call, complete) == 80, "via_call layout");
VIA_STATIC_ASSERT(offsetof(via_call, commit) == 96, "via_call layout");
VIA_STATIC_ASSERT(offsetof(via_binding_args, secret) == 40, "via_binding_args layout");
VIA_STATIC_ASSERT(offsetof(via_instance_api, destroy) == 88, "via_instance_api layout");
VIA_STATIC_ASSERT(offsetof(via_plugin_entry, create) == 48, "via_plugin_entry layout");
#endif
#endif /* VIA_PLUGIN_H */
