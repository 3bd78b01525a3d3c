// How many bytes of requests and answers are in memory, in all and for each owner (an app), with a limit for both. Small ones are
// not counted: they are bounded by the number of connections.
//
// Owned by the listener. Thread: any; an owner's account is looked up under a mutex, which only what is large comes to.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace via::net {

class ByteBudget {
 public:
  static constexpr std::size_t kCounted = 64 * 1024;  // what is smaller is not

  // 0 = a quarter of the machine's memory in all, a quarter of that for one owner.
  ByteBudget(std::uint64_t in_all, std::uint64_t per_owner);

  // What one connection has taken on one owner's account; gives it back at its end.
  class Share {
   public:
    Share() = default;
    ~Share() { give_back(); }
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

    // Makes it at least `bytes`; false = that is more than there is, and nothing changed.
    bool grow_to(ByteBudget& budget, std::string_view owner, std::uint64_t bytes);
    void give_back() noexcept;
    std::uint64_t bytes() const noexcept { return bytes_; }

   private:
    friend class ByteBudget;
    ByteBudget* budget_ = nullptr;
    std::shared_ptr<std::atomic<std::uint64_t>> account_;
    std::uint64_t bytes_ = 0;
  };

  // As given at its making. Who holds more than that keeps it, and gets no more.
  void set(std::uint64_t in_all, std::uint64_t per_owner);

  std::uint64_t used() const noexcept { return used_.load(std::memory_order_relaxed); }
  std::uint64_t limit() const noexcept { return in_all_.load(std::memory_order_relaxed); }
  std::uint64_t refused() const noexcept { return refused_.load(std::memory_order_relaxed); }

 private:
  using Account = std::shared_ptr<std::atomic<std::uint64_t>>;
  Account account_of(std::string_view owner);

  std::atomic<std::uint64_t> in_all_{0}, per_owner_{0};
  std::atomic<std::uint64_t> used_{0}, refused_{0};
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<std::atomic<std::uint64_t>>, std::less<>> accounts_;  // guarded by mutex_
};

}  // namespace via::net
