#include "core/net/byte_budget.hpp"

#include <unistd.h>

#include <algorithm>

namespace via::net {
namespace {

std::uint64_t quarter_of_machine() {
  const auto all = static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return std::max<std::uint64_t>(all / 4, 256U << 20);
}

}  // namespace

ByteBudget::ByteBudget(std::uint64_t in_all, std::uint64_t per_owner) { set(in_all, per_owner); }

void ByteBudget::set(std::uint64_t in_all, std::uint64_t per_owner) {
  if (in_all == 0) in_all = quarter_of_machine();
  in_all_.store(in_all, std::memory_order_relaxed);
  per_owner_.store(per_owner != 0 ? per_owner : in_all / 4, std::memory_order_relaxed);
}

ByteBudget::Account ByteBudget::account_of(std::string_view owner) {
  const std::lock_guard lock(mutex_);
  const auto known = accounts_.find(owner);
  if (known != accounts_.end())
    if (auto account = known->second.lock()) return account;
  std::erase_if(accounts_, [](const auto& entry) { return entry.second.expired(); });
  auto fresh = std::make_shared<std::atomic<std::uint64_t>>(0);
  accounts_.insert_or_assign(std::string(owner), fresh);
  return fresh;
}

bool ByteBudget::Share::grow_to(ByteBudget& budget, std::string_view owner, std::uint64_t bytes) {
  if (bytes <= bytes_) return true;
  if (!account_) {
    budget_ = &budget;
    account_ = budget.account_of(owner);
  }
  const std::uint64_t more = bytes - bytes_;
  const bool owner_has = account_->fetch_add(more) + more <= budget.per_owner_;
  const bool host_has = budget.used_.fetch_add(more) + more <= budget.in_all_;
  if (!owner_has || !host_has) {
    budget.used_.fetch_sub(more);
    account_->fetch_sub(more);
    budget.refused_.fetch_add(1, std::memory_order_relaxed);
    if (bytes_ == 0) account_.reset();
    return false;
  }
  bytes_ = bytes;
  return true;
}

void ByteBudget::Share::give_back() noexcept {
  if (bytes_ != 0) {
    budget_->used_.fetch_sub(bytes_);
    account_->fetch_sub(bytes_);
    bytes_ = 0;
  }
  account_.reset();
}

}  // namespace via::net
