// Starting, running, following and cancelling operations.
#include "core/lifecycle/operation.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/lifecycle/control_plane.hpp"
#include "core/lifecycle/unknown.hpp"
#include "core/lifecycle/views.hpp"

namespace via::lifecycle {

using nlohmann::json;
using store::Transaction;

namespace {

constexpr std::size_t kRemembered = 256;

Result<json> answer(json value) { return {boost::system::in_place_value, std::move(value)}; }

}  // namespace

Result<void> Operation::step(std::string_view name) {
  if (cancelled()) return fail(Code::cancelled, "The operation was cancelled; nothing was changed.");
  running_->done = running_->total = 0;
  VIA_TRY_LET(lock, control());
  return plane_.note_step(id(), name);
}

Result<void> Operation::remember(const json& steps) {
  VIA_TRY_LET(lock, control());
  return plane_.note_plan(id(), steps.dump());
}

plugins::Watch Operation::watch() {
  return {[running = running_](std::uint64_t done, std::uint64_t total) {
            running->done = done;
            running->total = total;
          },
          [this] { return cancelled(); }};
}

Result<std::unique_lock<ControlLock>> Operation::control() {
  if (locked_) return std::unique_lock<ControlLock>();
  return plane_.control();
}

Result<void> ControlPlane::note_step(const std::string& operation, std::string_view name) {
  d_.log.info("operation.step", {{"operation", operation}, {"step", name}});
  return d_.store.journal().add_step(operation, name, now());
}

Result<void> ControlPlane::note_plan(const std::string& operation, const std::string& steps) {
  return d_.store.journal().set_steps(operation, steps);
}

Result<void> ControlPlane::not_claimed(const std::string& claim) const {
  const auto held = claims_.find(claim);
  if (held == claims_.end()) return {};
  return fail(Code::conflict, "Operation " + held->second + " is working on it. Wait for it: via op wait " + held->second);
}

Result<json> ControlPlane::operate(Lock lock, Work work, const Actor& actor, bool wait) {
  if (stopping_) return fail(Code::unavailable, "The host is stopping. Try again when it is back.");
  for (const auto& claim : work.claims) VIA_TRY(not_claimed(claim));
  store::Operation row;
  row.id = make_id("op");
  row.kind = work.kind;
  row.target = work.target;
  row.actor = actor.name;
  row.state = "running";
  row.steps = work.steps;
  row.created_at = now();
  row.idempotency_key = work.idempotency_key;
  if (work.first) {
    VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
    VIA_TRY(d_.store.journal().add(row));
    VIA_TRY(work.first(row.id));
    if (auto committed = change.commit(); !committed) return uncommitted(committed.error());
  } else {
    VIA_TRY(d_.store.journal().add(row));
  }
  if (work.then) work.then();
  for (const auto& claim : work.claims) claims_[claim] = row.id;
  auto running = std::make_shared<RunningOperation>(row.id);
  {
    const std::lock_guard guard(operations_mutex_);
    if (running_.size() > kRemembered)
      std::erase_if(running_, [](const auto& entry) {
        const std::lock_guard one(entry.second->mutex);
        return entry.second->ended;
      });
    running_[row.id] = running;
    ++active_operations_;
  }
  lock.unlock();
  if (wait) return perform(running, work, actor);
  std::thread([this, running, work = std::move(work), actor] {
    try {
      (void)perform(running, work, actor);
    } catch (const std::exception& problem) {
      // Left as it is in the journal: the next start finishes or undoes it.
      d_.log.error("operation.broke_off", {{"operation", running->id}, {"reason", problem.what()}});
    }
  }).detach();
  return answer({{"operation", row.id}, {"state", "running"}});
}

Result<json> ControlPlane::perform(const std::shared_ptr<RunningOperation>& running, const Work& work,
                                   const Actor& actor) {
  struct Ended {
    ControlPlane& plane;
    const std::shared_ptr<RunningOperation>& running;
    ~Ended() {
      {
        const std::lock_guard one(running->mutex);
        running->ended = true;
        running->changed.notify_all();
      }
      const std::lock_guard guard(plane.operations_mutex_);
      --plane.active_operations_;
      plane.operations_idle_.notify_all();
    }
  } ended{*this, running};

  Operation operation(*this, running, work.kind, work.target, actor);
  Result<json> out = work.run(operation);
  const std::lock_guard lock(control_);
  for (const auto& claim : work.claims) claims_.erase(claim);
  if (!out && operation.is_standing() && (out.error().http_status() == 500 || out.error().code == Code::disk_full)) out = unknown(out.error());
  if (!out && is_unknown(out.error())) {
    d_.log.error("operation.outcome_unknown", {{"operation", running->id}, {"kind", work.kind}, {"reason", out.error().message}});
    return out;
  }
  auto closed = close_operation(operation, out);
  // That it failed for a full disk is still to be recorded.
  if (!closed && closed.error().code == Code::disk_full && d_.reserve != nullptr && d_.reserve->give_up()) closed = close_operation(operation, out);
  if (!closed) {
    d_.log.error("operation.not_recorded", {{"operation", running->id}, {"reason", closed.error().message}});
    // The next start finds it open, and may finish it.
    if (!out) return unknown(out.error());
  }
  return out;
}

// Most operations end their journal row in the transaction that makes their change; this is for the others and for
// those that failed.
Result<void> ControlPlane::close_operation(const Operation& operation, const Result<json>& out) {
  VIA_TRY_LET(row, d_.store.journal().find(operation.id()));
  if (!row || row->state != "running") return {};
  const std::string state = out ? "done" : out.error().code == Code::cancelled ? "cancelled" : "failed";
  std::string result, error;
  if (out) {
    result = out->dump(-1, ' ', false, json::error_handler_t::replace);
  } else {
    const bool hidden = out.error().http_status() == 500;
    error = json{{"code", out.error().wire_name()},
                 {"message", hidden ? std::string(kInternalMessage) : out.error().message}}
                .dump(-1, ' ', false, json::error_handler_t::replace);
    d_.log.warn("operation.failed", {{"operation", operation.id()}, {"kind", operation.kind()},
                                     {"code", out.error().wire_name()}, {"reason", out.error().message}});
  }
  VIA_TRY_LET(change, Transaction::begin(d_.store.db()));
  VIA_TRY(end_operation(operation.id(), operation.kind(), operation.target(), operation.actor(), state,
                        out ? "ok" : std::string(out.error().wire_name()), json::object(), result, error));
  return change.commit();
}

Result<void> ControlPlane::end_done(const Operation& operation, const json& result, const json& details) {
  return end_operation(operation.id(), operation.kind(), operation.target(), operation.actor(), "done", "ok", details,
                       result.dump(-1, ' ', false, json::error_handler_t::replace));
}

void ControlPlane::end_operations() {
  std::unique_lock guard(operations_mutex_);
  for (const auto& [id, running] : running_) running->cancel = true;
  operations_idle_.wait(guard, [this] { return active_operations_ == 0; });
}

std::shared_ptr<RunningOperation> ControlPlane::running(const std::string& id) const {
  const std::lock_guard guard(operations_mutex_);
  const auto found = running_.find(id);
  return found == running_.end() ? nullptr : found->second;
}

// A row that nobody works on any more: the disk failed where the change may stand (unknown.hpp). It stays open for the next
// start; who asks meanwhile is told that it failed and how.
bool ControlPlane::settle(store::Operation& row) const {
  if (row.state != "running") return false;
  const auto live = running(row.id);
  if (live) {
    const std::lock_guard one(live->mutex);
    if (!live->ended) return false;
  }
  row.state = "failed";
  row.error = json{{"code", kOutcomeUnknown},
                   {"message", "The host could not make sure of the change: it may or may not have been made, and the next start "
                               "of the host settles it. Look before you ask for it again."}}
                  .dump();
  return true;
}

Result<std::vector<store::Operation>> ControlPlane::list_operations(int limit, const std::string& state,
                                                                    const std::string& target) {
  VIA_TRY_LET(lock, control());
  std::string id = target;
  if (!target.empty() && !target.starts_with("addon_") && !target.starts_with("app_")) {
    VIA_TRY_LET(addon, addons_.find_by_name(target));
    VIA_TRY_LET(app, apps_.find(target));
    id = addon ? addon->id : app ? app->id : target;
  }
  VIA_TRY_LET(rows, d_.store.journal().list(limit, state, id));
  std::erase_if(rows, [&](store::Operation& row) { return settle(row) && state == "running"; });
  return rows;
}

Result<json> ControlPlane::show_operation(const std::string& id) {
  VIA_TRY_LET(lock, control());
  const auto live = running(id);
  VIA_TRY_LET(row, d_.store.journal().find(id));
  if (!row) return fail(Code::not_found, "Operation '" + id + "' does not exist. See which do: via op list");
  (void)settle(*row);
  json out = to_json(*row);
  if (live && row->state == "running") {
    if (const std::uint64_t done = live->done; done > 0) out["progress"] = {{"done", done}, {"total", live->total.load()}};
    out["cancellable"] = !live->forward && !live->cancel;
  }
  return answer(std::move(out));
}

Result<json> ControlPlane::wait_operation(const std::string& id, std::int64_t timeout_seconds) {
  if (const auto live = running(id)) {
    std::unique_lock guard(live->mutex);
    live->changed.wait_for(guard, std::chrono::seconds(timeout_seconds), [&] { return live->ended; });
    if (!live->ended)
      return fail(Code::deadline_exceeded, "Operation " + id + " still runs. Look at it: via op show " + id);
  }
  return show_operation(id);
}

Result<json> ControlPlane::cancel_operation(const std::string& id) {
  const auto live = running(id);
  {
    VIA_TRY_LET(lock, control());
    VIA_TRY_LET(row, d_.store.journal().find(id));
    if (!row) return fail(Code::not_found, "Operation '" + id + "' does not exist. See which do: via op list");
    if (row->state != "running")
      return fail(Code::conflict, "Operation " + id + " has ended already (" + row->state + ").");
    if (!live || live->forward)
      return fail(Code::refused, "Operation " + id + " is past the point from which it only goes forward. Wait for it: via op wait " + id);
    live->cancel = true;
  }
  return show_operation(id);
}

Result<std::vector<store::AuditEntry>> ControlPlane::list_audit(const Since& since, int limit,
                                                                const std::string& target) {
  VIA_TRY_LET(lock, control());
  return d_.store.audit().list(since.seconds_back == 0 ? since.unix_ms : now() - since.seconds_back * 1000, limit, target);
}

Result<json> ControlPlane::verify_audit() {
  VIA_TRY_LET(lock, control());
  VIA_TRY_LET(bad, d_.store.audit().verify());
  VIA_TRY_LET(head, d_.store.audit().head());
  return answer({{"ok", bad == 0},
                 {"entries", head.sequence},
                 {"first_bad", bad == 0 ? json(nullptr) : json(bad)},
                 {"head", head.hash}});
}

}  // namespace via::lifecycle
