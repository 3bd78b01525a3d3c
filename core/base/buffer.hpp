// A growing byte buffer whose room is not zeroed: what responses are written into, in place.
// Thread: whoever owns the response at the moment.
#pragma once

#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace via {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)), capacity_(std::exchange(o.capacity_, 0)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    if (this != &o) {
      std::free(data_);
      data_ = std::exchange(o.data_, nullptr);
      size_ = std::exchange(o.size_, 0);
      capacity_ = std::exchange(o.capacity_, 0);
    }
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { std::free(data_); }

  char* data() noexcept { return data_; }
  const char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return capacity_; }
  bool empty() const noexcept { return size_ == 0; }
  std::string_view view() const noexcept { return {data_, size_}; }

  // Room for at least `n` more bytes after the current end; take them with commit().
  char* reserve(std::size_t n) {
    if (capacity_ - size_ < n) grow(n);
    return data_ + size_;
  }
  void commit(std::size_t n) noexcept { size_ += n; }
  void append(std::string_view bytes) {
    if (bytes.empty()) return;
    std::memcpy(reserve(bytes.size()), bytes.data(), bytes.size());
    size_ += bytes.size();
  }
  void append(char c) {
    *reserve(1) = c;
    ++size_;
  }
  void truncate(std::size_t n) noexcept { size_ = n < size_ ? n : size_; }
  // Drops the first `n` bytes.
  void consume(std::size_t n) noexcept {
    if (n >= size_) {
      size_ = 0;
    } else {
      std::memmove(data_, data_ + n, size_ - n);
      size_ -= n;
    }
  }
  void clear() noexcept { size_ = 0; }
  // Gives memory back when more than `keep` is held and nothing is in it.
  void shrink(std::size_t keep) noexcept {
    if (size_ == 0 && capacity_ > keep) {
      std::free(data_);
      data_ = nullptr;
      capacity_ = 0;
    }
  }

 private:
  void grow(std::size_t n) {
    std::size_t wanted = capacity_ < 512 ? 512 : capacity_ * 2;
    while (wanted < size_ + n) wanted *= 2;
    void* moved = std::realloc(data_, wanted);
    if (moved == nullptr) throw std::bad_alloc();
    data_ = static_cast<char*>(moved);
    capacity_ = wanted;
  }
  char* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

}  // namespace via
