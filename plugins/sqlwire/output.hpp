// Where rendered bytes go: the host's response buffer, or a string that waits for a commit. A write never copies
// twice; a sink that cannot take more says so once and stays failed.
// Thread: one at a time.
#pragma once

#include <via/plugin.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace via::sqlwire {

class Output {
 public:
  virtual ~Output() = default;
  Output() = default;
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Room for n bytes (n at most 4096) at cursor(); false once the sink has failed.
  bool ensure(size_t n) { return static_cast<size_t>(end_ - cursor_) >= n || grow(n); }
  char* cursor() { return cursor_; }
  void advance(char* to) { cursor_ = to; }
  bool put(char c) {
    if (!ensure(1)) return false;
    *cursor_++ = c;
    return true;
  }
  bool append(std::string_view s) {
    while (!s.empty()) {
      if (cursor_ == end_ && !grow(1)) return false;
      const size_t n = std::min(s.size(), static_cast<size_t>(end_ - cursor_));
      std::memcpy(cursor_, s.data(), n);
      cursor_ += n;
      s.remove_prefix(n);
    }
    return true;
  }
  size_t written() const { return before_ + static_cast<size_t>(cursor_ - begin_); }

 protected:
  virtual bool grow(size_t n) = 0;
  char *begin_ = nullptr, *cursor_ = nullptr, *end_ = nullptr;
  size_t before_ = 0;  // bytes of earlier buffers
};

// A buffer of fixed size, taken from the response in one reserve. Full means: not here.
class InlineOutput final : public Output {
 public:
  InlineOutput(uint8_t* buffer, size_t size) {
    begin_ = cursor_ = reinterpret_cast<char*>(buffer);
    end_ = begin_ + size;
  }

 private:
  bool grow(size_t) override { return false; }
};

class StringOutput final : public Output {
 public:
  std::string_view view() const { return {begin_, static_cast<size_t>(cursor_ - begin_)}; }
  void clear() { cursor_ = begin_; }  // keeps its memory
  std::string take() {
    text_.resize(written());
    return std::move(text_);
  }

 private:
  bool grow(size_t n) override {
    const size_t used = static_cast<size_t>(cursor_ - begin_);
    text_.resize(std::max(text_.size() * 2, used + n + 256));
    begin_ = text_.data();
    cursor_ = begin_ + used;
    end_ = begin_ + text_.size();
    return true;
  }
  std::string text_;
};

// The response itself, piece by piece; waits while the client reads slower than we write. With `ended`, which is asked while
// it waits, it stops waiting when that says so: what is written from there on is kept in memory until release(), so that a row
// that was begun is whole.
// Costs: while a client is slow, a look each few milliseconds.
class CallOutput final : public Output {
 public:
  explicit CallOutput(via_call* call, std::function<bool()> ended = {}) : call_(call), ended_(std::move(ended)) {}
  via_status status() const { return status_; }
  // Hands over what was rendered. To be called once at the end.
  void flush() {
    const auto n = static_cast<size_t>(cursor_ - begin_);
    if (kept_on_) kept_.resize(kept_size_ += n);
    else if (n != 0) call_->commit(call_, n);
    before_ += n;
    begin_ = cursor_ = end_ = nullptr;
  }
  // `ended` is asked no more: what was kept is written now, and later writes wait as long as they must.
  void release() {
    if (!kept_on_) {
      ended_ = nullptr;
      return;
    }
    flush();
    kept_on_ = false;
    ended_ = nullptr;
    const std::string kept = std::move(kept_);
    before_ -= kept.size();
    append(kept);
  }

 private:
  bool grow(size_t n) override {
    if (status_ != VIA_OK) return false;
    flush();
    uint8_t* buffer = nullptr;
    size_t size = 0;
    const size_t wanted = std::max<size_t>(n, 16384);
    if (!kept_on_) {
      status_ = call_->reserve(call_, wanted, ended_ ? 0 : VIA_WAIT, &buffer, &size);
      for (auto pause = std::chrono::microseconds(50); ended_ && status_ == VIA_E_WOULD_BLOCK && !kept_on_;) {
        if (ended_()) {
          kept_on_ = true;
          status_ = VIA_OK;
          break;
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::microseconds(5'000));
        status_ = call_->reserve(call_, wanted, 0, &buffer, &size);
      }
    }
    if (kept_on_) {
      kept_.resize(kept_size_ + wanted);
      buffer = reinterpret_cast<uint8_t*>(kept_.data()) + kept_size_;
      size = wanted;
    }
    if (status_ != VIA_OK) return false;
    begin_ = cursor_ = reinterpret_cast<char*>(buffer);
    end_ = begin_ + size;
    return true;
  }
  via_call* call_;
  std::function<bool()> ended_;
  std::string kept_;
  size_t kept_size_ = 0;
  bool kept_on_ = false;
  via_status status_ = VIA_OK;
};

}  // namespace via::sqlwire
