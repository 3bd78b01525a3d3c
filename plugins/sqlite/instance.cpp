// The ways of a request; see the head of instance.hpp.
#include "plugins/sqlite/instance.hpp"

#include "plugins/sqlite/api/snapshot_set.hpp"
#include "plugins/sqlite/inline_proof.hpp"
#include "plugins/sqlite/inline_read.hpp"
#include "plugins/sqlite/snapshot.hpp"
#include "plugins/sqlite/storage.hpp"
#include "plugins/sqlite/writer.hpp"
#include "plugins/sqlwire/operation.hpp"

#include <boost/json.hpp>

#include <algorithm>
#include <cstdio>

namespace via::sqlite {

using sqlwire::check_caller;
using sqlwire::format_of;
using sqlwire::operation_of;
using sqlwire::read_body;

namespace {

constexpr size_t kInlineBody = 16 * 1024;
constexpr size_t kInlineResult = 4096;
constexpr int kCheapSteps = 4'000;
constexpr uint64_t kCheapNs = 500'000;          // of processor time: being descheduled says nothing of the statement
constexpr uint64_t kCheapWaitNs = 50'000'000;   // in all: one that waits for a disk each time is not cheap either

}  // namespace

Instance::Instance(const via_host* host) : link_{{&kInstanceApi}, this}, host_(host), database_(host_), api_(host_, database_) {}

std::string Instance::dir() const {
  return host_.storage() ? storage::resolve(text(host_.storage()->dir(host_.raw()))) : std::string();
}

void Instance::provision(const via_provision_args* args, via_call* call) {
  Limits limits;
  if (Failure f = storage::parse_config(text(args->config_json), 0, limits)) return fail_call(call, f);
  if (args->storage_schema > 1) return fail_call(call, {VIA_E_UNSUPPORTED, "unsupported", "the storage is of a newer version"});
  api::Kit kit;
  if (Failure f = api::parse_kit(text(args->config_json), kit)) return fail_call(call, f);
  if (kit.on) return finish_call(call);  // a folder of databases is all it needs
  if (!database_.serving()) {
    if (Failure f = storage::provision(dir(), text(args->plan), text(args->config_json))) return fail_call(call, f);
  }
  if (Failure f = storage::make_private(dir())) return fail_call(call, f);
  finish_call(call);
}

void Instance::open(const via_provision_args* args, via_call* call) {
  Limits limits;
  const uint64_t quota = host_.storage() ? host_.storage()->quota_bytes(host_.raw()) : 0;
  if (Failure f = storage::parse_config(text(args->config_json), quota, limits)) return fail_call(call, f);
  api::Kit kit;
  if (Failure f = api::parse_kit(text(args->config_json), kit)) return fail_call(call, f);
  if (dir().empty()) return fail_call(call, internal("the storage folder is missing"));
  if (!kit.on) {
    if (Failure f = api::finish_restore(dir())) return fail_call(call, f);
    if (Failure f = database_.serve(dir(), limits)) return fail_call(call, f);
  }
  api_.databases().serve(dir(), limits, kit);
  finish_call(call);
}

void Instance::close(via_call* call) {
  database_.stop();
  api_.databases().stop();
  finish_call(call);
}

void Instance::deprovision(via_call* call) {
  database_.stop();
  api_.databases().stop();
  if (Failure f = storage::destroy(dir())) return fail_call(call, f);
  finish_call(call);
}

void Instance::take(const via_snapshot_args* args, via_call* call) {
  std::string_view facts;
  if (Failure f = api::take_set(api_.databases(), database_, std::string(text(args->dir)), call, facts)) return fail_call(call, f);
  finish_call(call, facts);
}

void Instance::restore(const via_snapshot_args* args, via_call* call) {
  if (database_.serving()) return fail_call(call, {VIA_E_PRECONDITION, "not_closed", "the add-on is open; close it before a restore"});
  std::string_view facts;
  if (Failure f = api::restore_set(dir(), std::string(text(args->dir)), host_, call, facts)) return fail_call(call, f);
  finish_call(call, facts);
}

void Instance::verify(const via_snapshot_args* args, via_call* call) {
  if (Failure f = api::verify_set(std::string(text(args->dir)), host_, call)) return fail_call(call, f);
  finish_call(call);
}

void Instance::drain(via_call* call) {
  const uint64_t until = call->deadline_ns != 0 ? call->deadline_ns : UINT64_MAX;
  Failure failure;
  const auto one = [&](const std::string&, Database& database) {
    Database::Pin pin = database.pin();
    bool whole = false;
    if (pin && !failure) failure = pin->writer->between_groups(until, call, whole, [] { return Failure{}; });
  };
  api_.databases().for_each(one);
  if (failure) return fail_call(call, failure);
  finish_call(call);
}

void Instance::stats(via_call* call) {
  finish_call(call, "{\"bytes_used\":" + std::to_string(snapshot::bytes_used(dir()) + api_.databases().folder_bytes()) + "}");
}

void Instance::describe(const via_binding_args* args, via_call* call) {
  bool write = false;
  for (size_t i = 0; i < args->scopes_len; ++i) write = write || text(args->scopes[i]) == "write";
  finish_call(call, write ? R"({"descriptor":{"mode":"proxy","operations":["query","execute","setup","batch"]},"derived":{"_URL":"${endpoint}"}})"
                          : R"({"descriptor":{"mode":"proxy","operations":["query"]},"derived":{"_URL":"${endpoint}"}})");
}

void Instance::health(via_call* call) {
  if (api_.databases().kit().on && api_.databases().serving()) return finish_call(call, R"({"state":"ok","checks":[]})");
  if (!database_.serving()) return finish_call(call, R"({"state":"closed","checks":[]})");
  const auto failing = [&](std::string_view check, std::string_view detail) {
    const auto said = boost::json::serialize(boost::json::object{
        {"state", "failing"}, {"checks", boost::json::array{boost::json::object{{"name", check}, {"ok", false}, {"detail", detail}}}}});
    finish_call(call, said);
  };
  if (const Failure f = storage::inspect(dir())) return failing("files", f.message);
  if (Database::Pin pin = database_.pin()) {
    if (pin->writer->stuck()) return failing("write", "a write does not end");
    if (database_.displaced(*pin)) return failing("files", "the database's files are not those that were opened");
    std::unique_ptr<Connection> c;
    Failure f = database_.take_reader(*pin, host_.now_ns() + 250'000'000, c);
    if (!f) {
      const bool ok = c->host_number("SELECT count(*) FROM sqlite_schema") >= 0;
      database_.give_reader(*pin, std::move(c));
      if (!ok) f = {VIA_E_CORRUPT, "internal", "the schema cannot be read"};
    }
    if (f) return failing("read", f.message);
  }
  finish_call(call, R"({"state":"ok","checks":[{"name":"files","ok":true},{"name":"read","ok":true}]})");
}

uint64_t Instance::deadline(const Request& request, const via_call* call) const {
  uint64_t ms = database_.limits().timeout_ms;
  if (request.has_timeout) ms = std::min(ms, request.timeout_ms);
  const uint64_t own = host_.now_ns() + ms * 1'000'000;
  return call->deadline_ns != 0 ? std::min(call->deadline_ns, own) : own;
}

via_status Instance::submit(const via_op_args* args, via_call* call, Request&& request, Database::Pin&& pin) {
  auto job = std::make_unique<Job>();
  job->request = std::move(request);
  job->operation = operation_of(args);
  job->call = call;
  job->deadline_ns = deadline(job->request, call);
  for (const StatementText& s : job->request.statements) job->exclusive = job->exclusive || s.operation == Operation::setup;
  job->pin = std::move(pin);
  Writer& writer = *job->pin->writer;
  if (!writer.submit(job)) {
    fail_call(call, {VIA_E_EXHAUSTED, "queue_full", "too many writes are waiting for this database", 0, -1, 100});
  }
  return VIA_OK;
}

via_status Instance::try_invoke(const via_op_args* args, via_call* call) {
  if (args->params.len == 0 || args->params.len > kInlineBody) return VIA_E_WOULD_BLOCK;
  const Operation operation = operation_of(args);
  thread_local Request request;
  Database::Pin pin = database_.pin();
  if (!pin || pin->broken.load(std::memory_order_relaxed)) return VIA_E_WOULD_BLOCK;
  const std::string_view body(reinterpret_cast<const char*>(args->params.ptr), args->params.len);
  // What is wrong is told on a worker, where the same checks run again.
  if (parse_request(body, operation, request) || check_caller(args, operation, request)) return VIA_E_WOULD_BLOCK;
  if (operation != Operation::query) return submit(args, call, std::move(request), std::move(pin));
  if (format_of(args) != Format::json) return VIA_E_WOULD_BLOCK;
  return read_inline(args, call, request, std::move(pin));
}

via_status Instance::read_inline(const via_op_args*, via_call* call, const Request& request, Database::Pin&& pin) {
  const StatementText& text = request.statements.front();
  const std::string_view sql = request.sql(text);
  const InlineRead read(host_, pin);
  if (!read.connection()) return VIA_E_WOULD_BLOCK;
  Connection& c = *read.connection();
  Statement* const s = c.find(Operation::query, sql);
  if (!s || s->proven != read.schema()) {
    read.miss();
    return VIA_E_WOULD_BLOCK;
  }
  uint8_t* buffer = nullptr;
  size_t size = 0;
  bool good = !bind(c, *s, request, text) && call->reserve(call, kInlineResult, 0, &buffer, &size) == VIA_OK;
  size_t written = 0;
  if (good) {
    InlineOutput out(buffer, size);
    const Frozen frozen(c.policy());
    const uint64_t cpu = s->suspect ? thread_cpu_ns() : 0;
    const InlineRun run(host_, kInlineOperations);
    good = !read_rows(c, *s, request, Format::json, database_.limits(), out);
    written = out.written();
    const uint64_t took = run.took_ns();
    if (!good || took > kInlineNs) overran(*s, took, cpu, good || run.late());
    else if (s->suspect) --s->suspect;
  } else {
    sqlite3_clear_bindings(s->stmt);
  }
  if (!good) return VIA_E_WOULD_BLOCK;
  call->commit(call, written);
  finish_call(call);
  return VIA_OK;
}

// Rare. Time that passed says little of the statement where the thread may just not have had a processor: it makes the next
// runs measured ones. What is dear by its steps, its pages, its values or its processor time is a worker's for a while, and
// what held the thread for long is never inline again.
void Instance::overran(Statement& s, uint64_t took_ns, uint64_t cpu_before_ns, bool only_time) {
  InlineHabits& habits = InlineHabits::get();
  const uint64_t hash = InlineHabits::hash(s.sql);
  const uint64_t cpu = s.suspect ? thread_cpu_ns() - cpu_before_ns : 0;
  if (took_ns > kLongNs) {
    const bool sure = cpu > kLongNs;
    habits.was_long(hash, sure);
    char name[20];
    std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(hash));
    host_.log(3, std::string("a statement was long on an I/O thread: statement=") + name + " ms=" + std::to_string(took_ns / 1'000'000) +
                     (sure ? " inline=never" : " inline=measured"));
  }
  const bool had_no_processor = only_time && cpu <= kInlineNs;
  s.suspect = kSuspectRuns;
  if (had_no_processor) return;
  s.proven = 0;
  habits.overran(hash, host_.now_ns());
}

Failure Instance::read_on_worker(const via_op_args* args, via_call* call, const Request& request, bool& streaming) {
  Database::Pin pin;
  if (Failure f = database_.pin_or_open(pin)) return f;
  database_.open_wanted(*pin);
  const uint64_t until = deadline(request, call);
  std::unique_ptr<Connection> c;
  if (Failure f = database_.take_reader(*pin, until, c)) return f;
  const StatementText& text = request.statements.front();
  const std::string_view sql = request.sql(text);
  const Format format = format_of(args);
  const Connection* const running = c.get();
  CallOutput out(call, [running] { return running->stopped() != Stop::none; });
  Failure failure;
  bool offer = false;
  {
    const Guarded guarded(database_.watchdog(), *c, until, call);
    Statement* s = nullptr;
    failure = c->statement(Operation::query, sql, s);
    if (!failure) failure = bind(*c, *s, request, text);
    if (!failure) {
      if (format == Format::lines) {
        via_head head{};
        head.struct_size = sizeof head;
        head.http_status = 200;
        head.content_type = view("application/x-ndjson");
        call->head(call, &head);
      }
      const int steps_before = sqlite3_stmt_status(s->stmt, SQLITE_STMTSTATUS_VM_STEP, 0);
      const uint64_t started = host_.now_ns(), started_cpu = thread_cpu_ns();
      failure = read_rows(*c, *s, request, format, database_.limits(), out);
      const bool cheap = !failure && out.written() + 64 <= kInlineResult &&
                         sqlite3_stmt_status(s->stmt, SQLITE_STMTSTATUS_VM_STEP, 0) - steps_before <= kCheapSteps &&
                         thread_cpu_ns() - started_cpu <= kCheapNs && host_.now_ns() - started <= kCheapWaitNs;
      const uint64_t schema = pin->schema.load(std::memory_order_acquire);
      if (cheap && s->judged != schema) s->judged = schema, s->provable = provable(*c, *s);
      offer = cheap && format == Format::json && s->provable;
    }
  }
  database_.give_reader(*pin, std::move(c));
  if (!failure || format == Format::lines) out.release();  // the database waits for no client from here on
  if (offer) database_.hand_over(*pin, sql);
  if (failure.status == VIA_E_WOULD_BLOCK) {
    const via_status st = out.status() == VIA_OK ? VIA_E_INTERNAL : out.status();
    failure = {st, st == VIA_E_DEADLINE ? "deadline_exceeded" : "", "the response was not taken in time"};
  } else if (failure && format == Format::lines && out.written() > 0) {
    // The stream has begun: its last line tells, since the status is already sent.
    out.append("{\"error\":{\"code\":\"");
    out.append(failure.code);
    out.append("\",\"message\":");
    render_text(out, failure.status >= VIA_E_CORRUPT ? std::string_view("internal error") : std::string_view(failure.message));
    out.append("}}\n");
    if (failure.status >= VIA_E_CORRUPT) host_.log(4, failure.message);
    failure = {};
    if (out.status() != VIA_OK) failure = {out.status(), "", "the response was not taken in time"};
    streaming = true;
  }
  if (!failure) out.flush();
  return failure;
}

void Instance::invoke(const via_op_args* args, via_call* call) {
  const Operation operation = operation_of(args);
  std::string body;
  Request request;
  if (Failure f = read_body(args, call, body)) return fail_call(call, f);
  if (Failure f = parse_request(body, operation, request)) return fail_call(call, f);
  body = {};
  if (Failure f = check_caller(args, operation, request)) return fail_call(call, f);
  if (operation == Operation::query) {
    bool streaming = false;
    if (Failure f = read_on_worker(args, call, request, streaming)) return fail_call(call, f);
    return finish_call(call);
  }
  Database::Pin pin;
  if (Failure f = database_.pin_or_open(pin)) return fail_call(call, f);
  submit(args, call, std::move(request), std::move(pin));
}

}  // namespace via::sqlite
