#include "core/isolation/channel.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include <openssl/crypto.h>

namespace via::isolation {
namespace {
constexpr std::size_t kHighQueue = 1U << 20;
constexpr int kReadsAtOnce = 16;
}  // namespace

Channel::Channel(FileHandle socket) : socket_(std::move(socket)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!wake_) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Channel::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t ignored = ::write(wake_.get(), &one, sizeof one);
}

void Channel::clear_wake() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t ignored = ::read(wake_.get(), &count, sizeof count);
}

void Channel::write_held() {
  while (sent_ < queue_.size()) {
    const ssize_t n = ::send(socket_.get(), queue_.data() + sent_, queue_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!blocked_) {
        blocked_ = true;
        wake();
      }
      if (sent_ > kHighQueue) {
        OPENSSL_cleanse(queue_.data(), sent_);
        queue_.erase(0, sent_);
        sent_ = 0;
      }
      return;
    }
    if (n < 0) {  // the other side has gone: the poller finds out by reading
      shut_ = true;
      ::shutdown(socket_.get(), SHUT_RDWR);
      break;
    }
    sent_ += static_cast<std::size_t>(n);
  }
  blocked_ = false;
  OPENSSL_cleanse(queue_.data(), queue_.size());  // a frame may have held a credential
  queue_.clear();
  sent_ = 0;
  if (queue_.capacity() > kHighQueue) queue_.shrink_to_fit();
  room_.notify_all();
}

bool Channel::send(Packet& packet) {
  const std::lock_guard lock(mutex_);
  if (shut_) return false;
  queue_.append(packet.finish());
  if (!blocked_) write_held();
  return !shut_;
}

void Channel::later(Packet& packet) {
  const std::lock_guard lock(mutex_);
  if (shut_) return;
  const bool first = queue_.empty();
  queue_.append(packet.finish());
  if (queue_.size() > kHighQueue / 4 && !blocked_) write_held();
  else if (first) wake();
}

bool Channel::has_room() const {
  const std::lock_guard lock(mutex_);
  return queue_.size() - sent_ < kHighQueue;
}

bool Channel::wait_for_room() {
  std::unique_lock lock(mutex_);
  room_.wait(lock, [&] { return shut_ || queue_.size() - sent_ < kHighQueue; });
  return !shut_;
}

void Channel::shut() {
  const std::lock_guard lock(mutex_);
  shut_ = true;
  ::shutdown(socket_.get(), SHUT_RDWR);
  room_.notify_all();
}

bool Channel::is_shut() const {
  const std::lock_guard lock(mutex_);
  return shut_;
}

bool Channel::wants_write() const {
  const std::lock_guard lock(mutex_);
  return blocked_ && !shut_;
}

bool Channel::has_later() const {
  const std::lock_guard lock(mutex_);
  return !queue_.empty() && !blocked_ && !shut_;
}

void Channel::flush() {
  const std::lock_guard lock(mutex_);
  if (!shut_ && !queue_.empty()) write_held();
}

bool Channel::receive(const std::function<bool(const Frame&)>& on_frame, std::string& problem) {
  for (int i = 0; i < kReadsAtOnce; ++i) {
    const auto room = in_.room();
    const ssize_t n = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (n <= 0) return false;
    in_.commit(static_cast<std::size_t>(n));
    Frame frame;
    FrameReader::Next next{};
    while ((next = in_.next(frame)) == FrameReader::Next::frame)
      if (!on_frame(frame)) return false;
    if (next == FrameReader::Next::broken) {
      problem = "it sent bytes that are no frame";
      return false;
    }
    in_.compact();
    if (static_cast<std::size_t>(n) < room.size()) return true;
  }
  return true;
}

}  // namespace via::isolation
