#include "core/lifecycle/access_audit.hpp"

#include <algorithm>
#include <iterator>
#include <map>

#include "core/releases/records.hpp"
#include "core/store/try.hpp"

namespace via::lifecycle {
namespace {

constexpr std::size_t kBatch = 512;
constexpr std::size_t kMaximumWaiting = 10'000;
constexpr int kRefusalsASecond = 10;

}  // namespace

AccessAudit::AccessAudit(Write write, Run run, const Clock& clock)
    : write_(std::move(write)), run_(std::move(run)), clock_(clock) {}

AccessAudit::~AccessAudit() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !flushing_; });
}

void AccessAudit::record(Access access, Done done) {
  std::unique_lock lock(mutex_);
  if (waiting_.size() >= kMaximumWaiting) {
    lock.unlock();
    return done(fail(Code::overloaded, "Too many requests wait for the audit record. Try again."));
  }
  add({std::move(access), std::move(done)}, lock);
}

void AccessAudit::refused(Access access) {
  std::unique_lock lock(mutex_);
  const std::uint64_t second = clock_.mono_ns() / 1'000'000'000;
  if (second != second_) {
    second_ = second;
    refusals_ = 0;
  }
  if (refusals_ >= kRefusalsASecond || waiting_.size() >= kMaximumWaiting) {
    ++left_out_;
    return;
  }
  ++refusals_;
  access.details = "{\"left_out\":" + std::to_string(left_out_) + "}";
  left_out_ = 0;
  add({std::move(access), nullptr}, lock);
}

void AccessAudit::add(Waiting waiting, std::unique_lock<std::mutex>& lock) {
  waiting_.push_back(std::move(waiting));
  if (flushing_) return;
  flushing_ = true;
  lock.unlock();
  run_([this] { flush(); });
}

void AccessAudit::flush() {
  std::unique_lock lock(mutex_);
  while (!waiting_.empty()) {
    std::vector<Waiting> batch;
    const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(waiting_.size(), kBatch));
    batch.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
    waiting_.erase(waiting_.begin(), end);
    lock.unlock();
    std::vector<Access> accesses;
    accesses.reserve(batch.size());
    for (auto& waiting : batch) accesses.push_back(std::move(waiting.access));
    Result<void> written = fail(Code::unavailable, "The audit record cannot be written now. Try again.");
    try {
      if (auto out = write_(accesses); out || out.error().code == Code::disk_full) written = out;
    } catch (const std::exception&) {
      // Not in the record, so not handed out.
    }
    for (const auto& waiting : batch)
      if (waiting.done) waiting.done(written);
    lock.lock();
  }
  flushing_ = false;
  idle_.notify_all();
}

Result<std::unique_ptr<AccessWriter>> AccessWriter::open(store::Store& store, const Clock& clock, Logger& log) {
  VIA_TRY_LET(db, store.db().connect_again());
  return std::unique_ptr<AccessWriter>(new AccessWriter(std::move(db), clock, log));
}

Result<void> AccessWriter::write(const std::vector<Access>& accesses) {
  const auto append = [&]() -> Result<void> {
    std::map<std::string, std::string> ids;  // by the app's name
    VIA_TRY_LET(change, store::Transaction::begin(*db_));
    releases::Apps apps(*db_);
    store::Audit audit(*db_);
    for (const auto& access : accesses) {
      const auto [known, first] = ids.try_emplace(access.app);
      if (first) {
        VIA_TRY_LET(app, apps.find(access.app));
        known->second = app ? app->id : access.app;
      }
      store::AuditEntry entry;
      entry.at = clock_.unix_ms();
      entry.actor = access.instance;
      entry.action = access.action;
      entry.target = known->second;
      entry.outcome = access.outcome;
      entry.details = access.details;
      VIA_TRY(audit.append(std::move(entry)));
    }
    return change.commit();
  };
  auto written = append();
  if (!written) log_.error("access.not_recorded", {{"entries", accesses.size()}, {"reason", written.error().message}});
  return written;
}

}  // namespace via::lifecycle
