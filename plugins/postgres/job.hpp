// One operation on its way through a connection: what is to be sent, and the answer as it grows.
//
// An operation is one or more steps. A single statement runs in the transaction that PostgreSQL puts around it; a setup or a
// batch between BEGIN and COMMIT. Everything is sent at once (libpq's pipeline), so an operation is one round trip however many
// steps it has. What is answered is known only when the server has said that the transaction is over.
// Thread: whoever owns it: the caller until it is submitted, then the driver.
#pragma once

#include "plugins/postgres/values.hpp"
#include "plugins/sqlwire/operation.hpp"

#include <via/plugin/call.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

namespace via::postgres {

// Connections differ by what a session may do from its start on: `reading` ones are the owner's, read-only; `restricted` ones
// are the reader's.
enum class Kind : uint8_t { reading, writing, restricted };
inline constexpr std::size_t kKinds = 3;

struct Step {
  Statement statement;
  Parameters parameters;
  Operation operation = Operation::execute;
  std::size_t index = 0;    // of the statement in the request
  bool has_values = false;  // its text came with parameters, or may come again: it is prepared once
};

struct Job {
  explicit Job(plugin::Call c) : call(std::move(c)) {}

  plugin::Call call;
  Request request;
  Operation operation = Operation::query;
  Kind kind = Kind::reading;
  std::vector<Step> steps;
  bool transaction = false;
  std::uint64_t deadline_ns = 0, max_rows = 0, max_bytes = 0;

  // The driver's.
  std::uint64_t sent_ns = 0, cancelled_ns = 0;
  int tries = 0;
  bool abandoned = false;  // answered already; what still comes is dropped
  bool cut = false;        // the rest of the rows is not wanted
  bool late = false, unwanted = false;
  Failure failure;
  std::string out;

  bool reads() const { return kind != Kind::writing; }
};

// Reads the request's body and makes the steps of it. Everything that can be refused without the server is refused here.
Failure plan(std::string_view body, Operation operation, bool may_write, bool over_quota, Job& job);

// Takes results in, one at a time, into job.out.
class Collector {
 public:
  explicit Collector(Job& job) : job_(&job) {}
  // One row, or the end of a step with its counts.
  void row(const Step& step, const PGresult* result, int row);
  void end_of_step(const Step& step, const PGresult* result);
  void begin();   // of the operation, or of a new try
  void finish();  // of the operation, successful

 private:
  void open(const PGresult* result);
  Job* job_;
  sqlwire::StringOutput rendered_;  // columns and rows of the step
  std::uint64_t rows_ = 0;
  bool opened_ = false, truncated_ = false;
  std::int64_t updated_ = 0;   // of a setup
  std::size_t written_ = 0;    // statements of a batch that are in `out`
};

// One row that is larger than a whole result may be: libpq holds a row as a whole before it gives it.
Failure row_too_large();
std::uint64_t row_bytes(const PGresult* result, int row);

// What JDBC's executeUpdate returns: rows of INSERT, UPDATE, DELETE and MERGE, else 0.
std::int64_t update_count(const PGresult* result);

}  // namespace via::postgres
