// One request on its way through an endpoint: the databases it may open, reading and writing them, and its one answer.
//
// An endpoint runs on a worker and may block. It ends its context exactly once: answer(), fail() or write(). A write runs
// later in the writer's group (see writer.hpp): its function executes inside a savepoint, perhaps more than once (when
// another request destroyed the group's transaction), so it captures values, starts from nothing each time and has no
// effect outside of the connection and its Answer. Its answer is sent after the commit is durable; a Failure that it
// returns undoes all it did.
//
// A quick endpoint (Route::quick) is run on the I/O thread first: "inline". There a database that is not open, and a read that
// cannot be made at once or is too much for the thread, fail with VIA_E_WOULD_BLOCK; when the endpoint fails with it, the
// request starts again on a worker.
// Thread: the worker or I/O thread that serves the request; a write's function: the writer.
#pragma once

#include "plugins/sqlite/api/answer.hpp"
#include "plugins/sqlite/api/request.hpp"
#include "plugins/sqlite/connection.hpp"

#include <functional>
#include <memory>

namespace via::sqlite::api {

class Api;           // api.hpp: the instance's side
class OpenDatabase;  // databases.hpp: a Database kept open for this request; shared, never null when handed out
struct Place;        // databases.hpp: where a name leads

using ReadFn = std::function<Failure(Connection&)>;
using WriteFn = std::function<Failure(Connection&, Answer&)>;

class Context {
 public:
  virtual ~Context() = default;
  virtual const Request& request() const = 0;
  virtual int64_t now_ms() const = 0;  // Unix time; one value for the whole request
  // The host clock's deadline of the request; work beyond it is given up with 504.
  virtual uint64_t deadline_ns() const = 0;
  virtual const Host& host() const = 0;

  // For what is beyond databases: maintenance, directories, streams.
  virtual Api& api() = 0;
  virtual via_call* call() = 0;

  // What a name given by the caller means, under the rules of names and of the caller's rights; looks at no file. An empty
  // `given` with no parameter `db` is the add-on's own, or the one database of a capability URL.
  virtual Failure place(std::string_view given, Place& out) const = 0;
  // The database that the parameter `db` names, opened. Missing: 404 "database not found", or made when `create`.
  // Missing `db`: the add-on's own under a binding or capability URL, else 400 "db is required".
  virtual Failure database(bool create, std::shared_ptr<OpenDatabase>& out) = 0;
  // create_db_if_missing / auto_create of the request, with their conflict; for database().
  virtual Failure wants_create(bool& create) const = 0;

  // Runs `fn` on a read connection inside one read transaction, under the deadline and the guard. `fn` uses host SQL
  // (Connection::host_step and statements prepared with policy().host_sql set) or app SQL through Connection::statement.
  virtual Failure read(OpenDatabase& database, const ReadFn& fn) = 0;
  // Whether the request is on an I/O thread: an endpoint that would do more than a little fails with would_block().
  virtual bool on_io_thread() const = 0;
  // Queues the write and ends the context. `exclusive` when it may change the schema. 403 without the right to write.
  virtual void write(std::shared_ptr<OpenDatabase> database, WriteFn fn, bool exclusive = false) = 0;

  virtual void answer(Answer answer) = 0;
  virtual void fail(Failure failure) = 0;
};

using Endpoint = void (*)(Context&);

}  // namespace via::sqlite::api
