// A value that must never be printed: no operator<<, wiped when it ends, compared in constant time.
// Thread: any (a value; not shared).
#pragma once

#include <string>
#include <string_view>

#include <openssl/crypto.h>

namespace via {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret& operator=(const Secret& other) {
    if (this != &other) {
      wipe();
      value_ = other.value_;
    }
    return *this;
  }
  Secret(Secret&& other) noexcept : value_(std::move(other.value_)) { other.wipe(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      value_ = std::move(other.value_);
      other.wipe();
    }
    return *this;
  }
  ~Secret() { wipe(); }

  bool empty() const { return value_.empty(); }
  // The one way to the bytes; every call is a place to review.
  std::string_view reveal() const { return value_; }

  friend bool operator==(const Secret& a, const Secret& b) {
    return a.value_.size() == b.value_.size() &&
           CRYPTO_memcmp(a.value_.data(), b.value_.data(), a.value_.size()) == 0;
  }

 private:
  void wipe() noexcept {
    // All of the room, not only what is in use: a short string that was moved from still holds its bytes.
    value_.resize(value_.capacity());
    OPENSSL_cleanse(value_.data(), value_.size());
    value_.clear();
  }
  std::string value_;
};

}  // namespace via
