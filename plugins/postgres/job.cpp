// See job.hpp. The forms of answers are those of docs/data-api.md's operations, the same as the SQLite type's.
#include "plugins/postgres/job.hpp"

#include "plugins/sqlwire/script.hpp"

#include <charconv>
#include <cstring>

namespace via::postgres {
namespace {

Failure plan_one(const Request& request, const StatementText& text, std::size_t index, bool over_quota, std::vector<Step>& steps) {
  const auto full = [&](Use use) -> Failure {
    if (!over_quota || use == Use::reads || use == Use::removes) return {};
    return {VIA_E_EXHAUSTED, "quota_exceeded", "the database has reached its size limit; delete something first"};
  };
  const std::string_view sql = request.sql(text);
  if (text.operation == Operation::setup) {
    std::vector<std::string_view> parts;
    if (Failure f = split(sql, parts)) return f;
    if (parts.empty()) return sqlwire::bad_request("the SQL text holds no statement");
    if (parts.size() > 1 && text.count > 0) return sqlwire::bad_request("setup takes parameters only with a single statement");
    sqlwire::Wrapping wrapping;
    for (const std::string_view part : parts) {
      std::size_t size = 0;
      const auto control = sqlwire::control_of(part, size);
      switch (wrapping.take(control)) {
        case sqlwire::Wrapping::Verdict::run: break;
        case sqlwire::Wrapping::Verdict::skip: continue;
        case sqlwire::Wrapping::Verdict::refuse:
          return sqlwire::denied_by_policy("BEGIN and COMMIT are not allowed: each setup is one transaction already. One pair around the whole script may stay; "
                                           "take out every other BEGIN, COMMIT, ROLLBACK, SAVEPOINT and RELEASE");
      }
      Step step;
      step.operation = Operation::setup;
      step.index = index;
      if (text.count > 0) {
        if (Failure f = translate(part, request, text, step.statement)) return f;
        if (Failure f = step.parameters.fill(request, step.statement)) return f;
      } else {
        if (Failure f = classify(part, step.statement.use)) return f;
        step.statement.sql = part;
      }
      if (Failure f = full(step.statement.use)) return f;
      steps.push_back(std::move(step));
    }
    if (wrapping.open()) return sqlwire::denied_by_policy("the script begins a transaction and does not end it: add COMMIT at its end, or take BEGIN out");
    return {};
  }
  Step step;
  step.operation = text.operation;
  step.index = index;
  step.has_values = true;
  if (Failure f = translate(sql, request, text, step.statement)) return f;
  const Use use = step.statement.use;
  if (text.operation == Operation::query) {
    if (use != Use::reads && use != Use::either) return sqlwire::writes_in_query();
  } else {
    if (use == Use::reads) return {VIA_E_INVALID, "sql_denied", "execute takes one statement that writes; use query for one that reads"};
    if (Failure f = full(use)) return f;
  }
  if (Failure f = step.parameters.fill(request, step.statement)) return f;
  steps.push_back(std::move(step));
  return {};
}

bool tag_is(const char* tag, std::string_view word) { return std::strncmp(tag, word.data(), word.size()) == 0; }

}  // namespace

Failure plan(std::string_view body, Operation operation, bool may_write, bool over_quota, Job& job) {
  if (Failure f = sqlwire::parse_request(body, operation, job.request)) return f;
  job.operation = operation;
  job.kind = operation != Operation::query ? Kind::writing : may_write ? Kind::reading : Kind::restricted;
  job.transaction = operation == Operation::setup || operation == Operation::batch;
  for (std::size_t i = 0; i < job.request.statements.size(); ++i) {
    Failure f = plan_one(job.request, job.request.statements[i], i, over_quota, job.steps);
    if (!f) continue;
    if (operation == Operation::batch) f.statement_index = static_cast<int>(i);
    return f;
  }
  return {};
}

Failure row_too_large() {
  return {VIA_E_INVALID, "result_too_large", "a row of the result is larger than a result may be (max_result_bytes)"};
}

std::uint64_t row_bytes(const PGresult* result, int row) {
  std::uint64_t bytes = 0;
  for (int i = 0; i < PQnfields(result); ++i) bytes += static_cast<std::uint64_t>(PQgetlength(result, row, i));
  return bytes;
}

std::int64_t update_count(const PGresult* result) {
  const char* tag = PQcmdStatus(const_cast<PGresult*>(result));
  if (!tag_is(tag, "INSERT") && !tag_is(tag, "UPDATE") && !tag_is(tag, "DELETE") && !tag_is(tag, "MERGE")) return 0;
  const char* count = PQcmdTuples(const_cast<PGresult*>(result));
  std::int64_t n = 0;
  std::from_chars(count, count + std::strlen(count), n);
  return n;
}

void Collector::begin() {
  job_->out.clear();
  rendered_.clear();
  rows_ = 0;
  opened_ = truncated_ = false;
  updated_ = 0;
  written_ = 0;
  if (job_->operation == Operation::batch) job_->out += "{\"results\":[";
}

// Columns, types and the begin of the rows, once a step.
void Collector::open(const PGresult* result) {
  opened_ = true;
  rows_ = 0;
  truncated_ = false;
  rendered_.clear();
  rendered_.append(render_head(result));
  rendered_.append(",\"rows\":[");
}

void Collector::row(const Step& step, const PGresult* result, int row) {
  if (step.operation == Operation::setup) return;  // nobody reads them
  if (!opened_) open(result);
  if (truncated_) return;
  // One that came in one piece, before Connection::holds_too_much() could see it.
  const std::uint64_t bytes = row_bytes(result, row);
  if (bytes > job_->max_bytes && job_->reads()) {
    job_->failure = row_too_large();
    return;
  }
  if (bytes > job_->max_bytes || rows_ >= job_->max_rows || job_->out.size() + rendered_.written() >= job_->max_bytes) {
    truncated_ = true;
    // Nothing else comes of a single statement that reads, so the server need not go on.
    job_->cut = job_->reads();
    return;
  }
  if (rows_++ > 0) rendered_.put(',');
  render_row(rendered_, result, row, job_->request.integers_as_text);
}

void Collector::end_of_step(const Step& step, const PGresult* result) {
  std::string& out = job_->out;
  const bool has_rows = PQresultStatus(result) == PGRES_TUPLES_OK;
  if (step.operation == Operation::setup) {
    updated_ += update_count(result);
    opened_ = false;
    // The last step of this setup writes its count.
    const bool last = &step == &job_->steps.back() || (&step + 1)->index != step.index;
    if (!last) return;
    if (job_->operation == Operation::batch && written_++ > 0) out += ',';
    out += "{\"update_count\":" + std::to_string(updated_) + "}";
    updated_ = 0;
    return;
  }
  if (job_->operation == Operation::batch && written_++ > 0) out += ',';
  if (has_rows && !opened_) open(result);
  if (step.operation == Operation::query) {
    out += '{';
  } else {
    out += "{\"update_count\":" + std::to_string(update_count(result)) + ",\"last_insert_rowid\":0";
    if (opened_) out += ',';
  }
  if (opened_) {
    out += rendered_.view();
    out += truncated_ ? "],\"truncated\":true" : "],\"truncated\":false";
  }
  out += '}';
  opened_ = false;
}

void Collector::finish() {
  if (job_->operation == Operation::batch) job_->out += "]}";
}

}  // namespace via::postgres
