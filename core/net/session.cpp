#include "core/net/session.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "core/net/encoding.hpp"
#include "core/net/request_parser.hpp"
#include "core/net/response.hpp"

namespace via::net {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

constexpr std::size_t kFirstRead = 2048;   // an idle connection holds no more than this
constexpr std::size_t kRead = 16 * 1024;
constexpr std::size_t kAhead = 256 * 1024;   // of a body whose length is not announced, counted before it is there
constexpr std::size_t kEncodeAt = 4096;          // a smaller body is sent as it is
constexpr std::size_t kEncodeHere = 16 * 1024;   // a larger one is encoded by workers,
constexpr std::size_t kEncodePart = 256 * 1024;  // so much in one task
constexpr std::string_view kVary = "Vary: Accept-Encoding\r\n";
constexpr std::size_t kSendAt = 64 * 1024;  // answers of a burst leave in sends of about this size

template <class Stream>
struct Traits {
  static constexpr bool kPlain = true;
};
template <class Next>
struct Traits<asio::ssl::stream<Next>> {
  static constexpr bool kPlain = false;
};

// Whether header lines hold a field of this lower-case name.
bool has_field(std::string_view lines, std::string_view lower) {
  while (!lines.empty()) {
    const std::string_view name = lines.substr(0, lines.find(':'));
    if (std::equal(name.begin(), name.end(), lower.begin(), lower.end(),
                   [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; }))
      return true;
    lines.remove_prefix(std::min(lines.find('\n'), lines.size() - 1) + 1);
  }
  return false;
}

template <class Stream>
class Session final : public std::enable_shared_from_this<Session<Stream>>,
                      public Connection,
                      public Exchange,
                      private plugins::Call::Waiter,
                      private plugins::Call::Meter,
                      private plugins::Call::Framer {
 public:
  Session(IoThread& thread, Handler& handler, Stream stream, Peer peer, std::shared_ptr<void> slot)
      : thread_(thread),
        handler_(handler),
        stream_(std::move(stream)),
        peer_(peer),
        slot_(std::move(slot)),
        parser_(thread.limits()),
        call_(thread.clock()) {
    encodes_ = may_encode();
    thread_.add(*this);
    Counters::add(thread_.counters().accepted);
    thread_.counters().connections.store(thread_.connection_count(), std::memory_order_relaxed);
  }
  ~Session() override { leave_thread(); }

  asio::awaitable<void> run() {
    const Limits& limits = thread_.limits();
    if constexpr (!Traits<Stream>::kPlain) {
      set_deadline(limits.header_timeout_ms);
      auto [ec] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kToken);
      if (ec) co_return;
    } else {
      boost::system::error_code ec;
      stream_.non_blocking(true, ec);
    }
    set_deadline(limits.header_timeout_ms);
    std::size_t burst = 0;
    for (;;) {
      const auto state = parser_.parse(in_);
      if (state == RequestParser::State::ready) {
        set_deadline(0);
        busy = true;
        begin_request();
        if (thread_.draining()) keep_ = false;
        // The last answer of a burst that is too long says that it is the last.
        if (++burst >= limits.max_pipelined_burst && in_.size() > parser_.size()) keep_ = false;
        Pending pending;
        if (!handler_.try_serve(*this, pending)) co_await handler_.serve(*this, std::move(pending));
        if (encoding_ != Encoding::identity && !broken_) co_await encode_answer();
        busy = false;
        if (!answered_) fail(via::fail(Code::internal, "no handler answered"));
        finish_request();
        if (broken_) co_return;
        in_.consume(parser_.size());
        parser_.reset();
        if (body_share_.bytes() != 0) body_share_.give_back();
        if (!keep_) break;
        if ((out_.size() >= kSendAt || in_.empty()) && !send_now() && !co_await send()) co_return;
        if (answer_share_.bytes() != 0 && out_.empty()) answer_share_.give_back();
        set_deadline(in_.empty() ? limits.idle_timeout_ms : limits.header_timeout_ms);
        continue;
      }
      if (state == RequestParser::State::bad) {
        begin_request();
        keep_ = false;
        fail(parser_.error());
        finish_request();
        break;
      }
      if (state == RequestParser::State::need_body) {
        const std::size_t size = std::max(parser_.announced(), in_.size());
        if (size > ByteBudget::kCounted && size > body_share_.bytes() && !co_await admit_body(std::max(parser_.announced(), size + kAhead))) break;
      }
      if (state == RequestParser::State::need_body && !body_begun_) {
        body_begun_ = true;
        if (parser_.request().expects_continue) {
          begin_request();
          const bool kept = std::exchange(keep_, false);  // an answer here is the last one, and says so
          co_await handler_.before_body(*this);
          if (answered_) {
            finish_request();
            break;
          }
          keep_ = kept && !thread_.draining();
          out_.append("HTTP/1.1 100 Continue\r\n\r\n");
        }
        set_deadline(limits.body_timeout_ms + parser_.announced() / 65'536 * 1000);
      }
      if (!out_.empty() && !send_now() && !co_await send()) co_return;
      if (in_.empty()) {
        burst = 0;
        in_.shrink(kRead);
      }
      // A pipelined rest is small; a body has its room reserved by the parser.
      char* room = in_.reserve(in_.capacity() < kRead && in_.empty() ? kFirstRead : 4096);
      const std::size_t capacity = std::min(in_.capacity() - in_.size(), std::size_t{256 * 1024});
      auto [ec, n] = co_await stream_.async_read_some(asio::buffer(room, capacity), kToken);
      if (ec) {
        if (expired_ && (body_begun_ || !in_.empty())) {
          begin_request();
          keep_ = false;
          fail(via::fail(Code::request_timeout, "The request did not arrive in time."));
          finish_request();
          break;
        }
        co_return;
      }
      if (in_.empty()) set_deadline(limits.header_timeout_ms);
      in_.commit(n);
    }
    (void)co_await send();
    co_await close_politely();
  }

  // ---- Connection ------------------------------------------------------------------------------------------------

  void expire() override {
    expired_ = true;
    cancel_operation();
    boost::system::error_code ec;
    lowest().cancel(ec);
  }
  bool close_idle() override {
    if (busy || closing_ || !in_.empty() || !keep_) return false;
    closing_ = true;
    boost::system::error_code ec;
    lowest().cancel(ec);
    return true;
  }
  void drain() override {
    keep_ = false;
    if (!busy && in_.empty()) {
      boost::system::error_code ec;
      lowest().cancel(ec);
    }
  }
  bool works_for(const std::vector<std::string>& instances, std::uint64_t before) const override {
    return !working_for_.empty() && admitted_under_ < before &&
           std::find(instances.begin(), instances.end(), working_for_) != instances.end();
  }
  void cancel_operation() override {
    if (working_for_.empty()) return;
    call_.cancel();
    stop_streaming();
  }
  void give_up_operation() override {
    if (working_for_.empty()) return;
    withdrawn_ = true;
    working_for_.clear();
    call_.give_up();
    stop_streaming();
  }
  void operation_overdue() override {
    if (call_.done()) {  // only its answer is still on its way
      operation_deadline_ms = 0;
      return;
    }
    if (call_.cancelled()) {
      operation_deadline_ms = 0;
      call_.give_up();
      return stop_streaming();
    }
    operation_deadline_ms = thread_.coarse_ms() + kGraceMs;
    call_.cancel();
  }

  // ---- Exchange --------------------------------------------------------------------------------------------------

  const Request& request() const noexcept override { return parser_.request(); }
  IoThread& thread() noexcept override { return thread_; }
  const Peer& peer() const noexcept override { return peer_; }
  const via_id& request_ulid() const noexcept override { return id_; }
  std::uint64_t started_ns() const noexcept override { return started_ns_; }
  bool answered() const noexcept override { return answered_; }

  std::string_view request_id() override {
    static constexpr char kHex[] = "0123456789abcdef";
    if (!id_text_made_) {
      id_text_made_ = true;
      std::copy_n("req_", 4, id_text_.begin());
      for (std::size_t i = 0; i < 16; ++i) {
        id_text_[4 + 2 * i] = kHex[id_.b[i] >> 4];
        id_text_[5 + 2 * i] = kHex[id_.b[i] & 15];
      }
    }
    return {id_text_.data(), id_text_.size()};
  }

  void always_send(std::string_view lines) override { always_ = lines; }
  void charge_to(std::string_view owner) noexcept override { owner_ = owner; }

  void respond(int status, std::string_view content_type, std::string_view body, std::string_view more) override {
    respond_into(out_, status, content_type, body, more);
  }

  void fail(const Error& error) override {
    respond(error.http_status(), "application/json", error_body(error, request_id()), retry_of(error));
  }

  // The call gets a buffer with nothing else in it: where it is given up, what was answered before can still be sent.
  plugins::Call& begin_call(std::uint64_t deadline_ns) override {
    if (!out_.empty()) {
      if (ready_.empty()) std::swap(ready_, out_);
      else move_answers();
    }
    call_closes_ = !keeps();  // taken here: begin() runs on the plugin's thread, and a drain may change it meanwhile
    head_status_ = 200;
    failure_.reset();
    deadline_ns_ = deadline_ns;
    admitted_under_ = thread_.index_serial();
    call_.start(out_, *this, id_, deadline_ns, owner_.empty() ? nullptr : this);
    return call_;
  }

  void drop_call() override {
    out_.clear();
    if (!ready_.empty()) std::swap(out_, ready_);
  }

  const Error* call_failure() const noexcept override { return failure_ ? &*failure_ : nullptr; }

  void finish_inline() override {
    Counters::add(thread_.counters().inline_operations);
    end_call();
  }

  asio::awaitable<CallEnd> finish_call(std::string_view instance) override {
    Counters::add(thread_.counters().worker_operations);
    working_for_.assign(instance);
    withdrawn_ = false;
    // Rounded up: the plugin ends by itself what it can.
    operation_deadline_ms = deadline_ns_ == 0 ? 0 : deadline_ns_ / 1'000'000 + 1;
    bool streaming = false;
    for (;;) {
      co_await woken();
      const bool done = call_.done();  // asked first: what a call hands over before it ends must not be missed
      while (call_.take_chunk(chunk_)) {
        if (broken_ || call_.given_up()) continue;
        if (!streaming) begin_encoding();
        if (encoding_ != Encoding::identity && !co_await encode_chunk(streaming, Encoder::Until::flushed)) {
          broken_ = true;
          call_.cancel();
          continue;
        }
        if (call_.given_up()) continue;
        if (!co_await send_chunk(streaming)) {
          broken_ = true;
          call_.cancel();
        }
        streaming = true;
      }
      if (done || call_.given_up()) break;
    }
    operation_deadline_ms = 0;
    if (call_.given_up() && (withdrawn_ || !call_.done())) {
      working_for_.clear();
      encoder_.reset();
      encoding_ = Encoding::identity;
      begun_ = streaming;
      co_return withdrawn_ ? CallEnd::withdrawn : CallEnd::overdue;
    }
    if (!streaming) {
      working_for_.clear();
      end_call();
      co_return CallEnd::ended;
    }
    answered_ = true;
    status_ = head_status_;
    if (!broken_) {
      if (call_.status() == VIA_OK && !call_.cancelled()) {
        std::swap(chunk_, out_);
        if (encoding_ != Encoding::identity && !co_await encode_chunk(true, Encoder::Until::finished)) broken_ = true;
        if (!broken_ && !chunk_.empty() && !co_await send_chunk(true)) broken_ = true;
        out_.clear();
        if (!request().http_1_1) keep_ = false;
        else if (!broken_ && request().method != Method::head) out_.append("0\r\n\r\n");
      } else {
        broken_ = true;  // the head has left: cutting the stream is the only honest end
      }
    }
    encoder_.reset();
    encoding_ = Encoding::identity;
    working_for_.clear();
    co_return CallEnd::ended;
  }

  asio::awaitable<void> abandon_call(const Error& error) override {
    Counters::add(thread_.counters().abandoned_operations);
    slot_.reset();
    keep_ = false;
    failure_ = error;
    if (!begun_ && !broken_) {
      respond_into(ready_, error.http_status(), "application/json", error_body(error, request_id()), retry_of(error));
      set_deadline(thread_.limits().write_timeout_ms);
      auto [ec, n] = co_await asio::async_write(stream_, asio::buffer(ready_.data(), ready_.size()), kToken);
      ready_.clear();
      if (!ec) co_await close_politely();
    }
    answered_ = broken_ = true;
    boost::system::error_code ec;
    lowest().close(ec);
    set_deadline(0);
    leave_thread();
    ++thread_.abandoned;
    asio::steady_timer pause(thread_.context());
    while (!call_.done()) {
      pause.expires_after(kLook);
      co_await pause.async_wait(kToken);
    }
    --thread_.abandoned;
    call_.take_chunk(chunk_);
  }

  asio::awaitable<void> until(const std::atomic<bool>& flag) override {
    for (int i = 0; i < 64 && !flag.load(std::memory_order_acquire); ++i)
      co_await asio::post(thread_.context(), asio::use_awaitable);
    asio::steady_timer pause(thread_.context());
    while (!flag.load(std::memory_order_acquire)) {
      pause.expires_after(std::chrono::milliseconds(1));
      co_await pause.async_wait(kToken);
    }
  }

  asio::awaitable<void> on_worker(std::function<void()> work) override {
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [this, &work](auto handler) {
          auto held = std::make_shared<decltype(handler)>(std::move(handler));
          thread_.workers().run([&context = thread_.context(), held, work = std::move(work)] {
            work();
            asio::post(context, [held] { std::move (*held)(); });
          }, thread_.lane());
        },
        asio::use_awaitable);
  }

 private:
  static constexpr auto kLook = std::chrono::milliseconds(50);  // at a call that was given up

  // What goes with an error besides its body.
  std::string_view retry_of(const Error& error) {
    switch (error.http_status()) {
      case 401: return "WWW-Authenticate: Bearer\r\n";
      case 429:
      case 503:
        if (error.retry_after_s <= 1) return "Retry-After: 1\r\n";
        retry_ = "Retry-After: " + std::to_string(error.retry_after_s) + "\r\n";
        return retry_;
      default: return {};
    }
  }

  void respond_into(Buffer& out, int status, std::string_view content_type, std::string_view body, std::string_view more) {
    std::string all;
    if (!always_.empty()) more = all.append(always_).append(more);
    append_response(out, {status, content_type, request_id(), !keeps(), more}, body, request().method == Method::head);
    answered_ = true;
    status_ = status;
  }

  void leave_thread() {
    if (!listed_) return;
    listed_ = false;
    thread_.remove(*this);
    thread_.counters().connections.store(thread_.connection_count(), std::memory_order_relaxed);
  }

  // Answers that are whole, behind those before them.
  void move_answers() {
    ready_.append(out_.view());
    out_.clear();
  }

  void stop_streaming() {
    if (!streaming_) return;
    boost::system::error_code ec;  // a client that takes nothing must not hold up whoever ends its right
    lowest().cancel(ec);
  }

  auto& lowest() {
    if constexpr (Traits<Stream>::kPlain)
      return stream_;
    else
      return stream_.lowest_layer();
  }

  void set_deadline(std::uint64_t in_ms) noexcept { deadline_ms = in_ms == 0 ? 0 : thread_.coarse_ms() + in_ms; }
  bool keeps() const noexcept { return keep_ && request().keep_alive; }

  void begin_request() {
    thread_.next_request_id(id_.b);
    id_text_made_ = false;
    answered_ = false;
    always_ = owner_ = {};
    failure_.reset();
    encoder_.reset();
    encoding_ = Encoding::identity;
    encodable_ = false;
    status_ = 0;
    started_ns_ = thread_.clock().mono_ns();
  }

  void finish_request() {
    if (!request().keep_alive) keep_ = false;
    body_begun_ = false;
    Counters& counters = thread_.counters();
    Counters::add(counters.by_class[static_cast<std::size_t>(std::clamp(status_ / 100, 0, 5))]);
    const std::uint64_t took = thread_.clock().mono_ns() - started_ns_;
    Counters::add(counters.latency_ns_sum, took);
    const double seconds = static_cast<double>(took) * 1e-9;
    std::size_t bucket = 0;
    while (bucket < Counters::kBounds.size() && seconds > Counters::kBounds[bucket]) ++bucket;
    Counters::add(counters.latency[bucket]);
  }

  // The result is complete and nothing of it has left.
  void end_call() {
    if (call_.status() == VIA_OK) {
      const std::size_t body = out_.size() - call_.body_start();
      set_length(out_, framing_, body);
      answered_ = true;
      status_ = head_status_;
      if (encodable_ && body >= kEncodeAt) [[unlikely]] encoding_ = encoding_for(body);
      if (encoding_ != Encoding::identity) return;  // encode_answer() goes on with it
      if (request().method == Method::head) out_.truncate(call_.body_start());
    } else {
      out_.clear();
      failure_ = call_.error();
      fail(*failure_);
    }
    put_behind_ready();
  }

  void put_behind_ready() {
    if (ready_.empty()) return;
    move_answers();
    std::swap(out_, ready_);
    ready_.shrink(kRead);
  }

  // Answers of plugins, and not to clients on this machine unless that is wanted: they have more bandwidth than processor. What the
  // host itself answers (configuration, tokens, URLs that are capabilities) is never encoded, so that its length tells nothing.
  bool may_encode() {
    if constexpr (requires { lowest().remote_endpoint().address().is_loopback(); }) {
      if (thread_.limits().compression != Compression::automatic) return thread_.limits().compression == Compression::on;
      boost::system::error_code ec;
      const auto address = lowest().remote_endpoint(ec).address();
      if (ec) return false;
      if (address.is_v6() && address.to_v6().is_v4_mapped()) return !asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
      return !address.is_loopback();
    }
    return false;
  }

  // Which coding this answer goes out in; the memory for it is taken from who the answer is for.
  Encoding encoding_for(std::size_t body) {
    if (!request().accepts_encodings) return Encoding::identity;
    const Encoding wanted = choose_encoding(request().fields);
    if (wanted == Encoding::identity || body <= kEncodeHere) return wanted;
    return answer_share_.grow_to(thread_.memory(), owner_.empty() ? std::string_view("everybody") : owner_, 2 * body + Encoder::kBytes) ? wanted
                                                                                                                                    : Encoding::identity;
  }

  // The answer that end_call() made, encoded if that makes it smaller.
  asio::awaitable<void> encode_answer() {
    const Encoding encoding = std::exchange(encoding_, Encoding::identity);
    const std::size_t start = call_.body_start(), whole = out_.size() - start;
    Buffer encoded;
    append_encoded_head(encoded, out_.view().substr(0, framing_), encoding);
    const std::size_t framing = append_framing(encoded), begin = encoded.size();
    bool good = true;
    if (auto encoder = Encoder::make(encoding)) {
      for (std::size_t at = 0; good && at < whole;) {
        const std::size_t part = std::min(whole - at, kEncodePart);
        const auto until = at + part == whole ? Encoder::Until::finished : Encoder::Until::flushed;
        const std::string_view bytes = out_.view().substr(start + at, part);
        if (whole <= kEncodeHere) good = encode(*encoder, bytes, encoded, until);
        else co_await on_worker([&] { good = encode(*encoder, bytes, encoded, until); });
        at += part;
        if (encoded.size() - begin >= whole) good = false;
      }
    } else {
      good = false;
    }
    if (good) {
      set_length(encoded, framing, encoded.size() - begin);
      if (request().method == Method::head) encoded.truncate(begin);
      std::swap(out_, encoded);
    } else if (request().method == Method::head) {
      out_.truncate(start);
    }
    put_behind_ready();
  }

  static bool encode(Encoder& encoder, std::string_view bytes, Buffer& out, Encoder::Until until) noexcept {
    try {
      return encoder.write(bytes, out, until);
    } catch (const std::exception&) {
      return false;
    }
  }

  // At the first chunk of a stream.
  void begin_encoding() {
    if (!encodable_) return;
    encoding_ = encoding_for(plugins::Call::kHighWater);
    if (encoding_ != Encoding::identity) encoder_ = Encoder::make(encoding_);
    if (!encoder_) encoding_ = Encoding::identity;
  }

  // Replaces what is in chunk_ (the first time with the head) by its encoded form, up to which a client can read.
  asio::awaitable<bool> encode_chunk(bool begun, Encoder::Until until) {
    Buffer encoded;
    std::size_t body = 0;
    if (!begun) {
      append_encoded_head(encoded, chunk_.view().substr(0, framing_), encoding_);
      body = framing_ + kFramingSize + 2;
      framing_ = append_framing(encoded);
    }
    bool good = true;
    if (request().method != Method::head) {
      const std::string_view bytes = chunk_.view().substr(body);
      co_await on_worker([&] { good = encode(*encoder_, bytes, encoded, until); });
    }
    std::swap(chunk_, encoded);
    co_return good;
  }

  // plugins::Call::Framer. Thread: the call's owner; the connection waits.
  void begin(Buffer& out, const via_head* head) override {
    HeadOptions options{200, "application/json", request_id(), call_closes_, always_};
    std::string more(always_);
    if (head != nullptr) {
      if (head->http_status >= 200 && head->http_status <= 599) options.status = head->http_status;
      const auto clean = [](via_str s) {
        return s.len > 0 && s.len < 4096 && std::all_of(s.ptr, s.ptr + s.len, [](char c) {
                 return static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f;
               });
      };
      if (clean(head->content_type)) options.content_type = {head->content_type.ptr, head->content_type.len};
      for (std::size_t i = 0; i < head->headers_len; ++i) {
        const via_pair& field = head->headers[i];
        if (!clean(field.key) || (field.value.len > 0 && !clean(field.value))) continue;
        const std::string_view name(field.key.ptr, field.key.len);
        static constexpr std::string_view kHosts[] = {"connection", "content-length", "transfer-encoding", "keep-alive",
                                                      "upgrade", "te", "trailer", "content-type", "via-request-id"};
        std::string lower(name);
        for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        if (std::find(std::begin(kHosts), std::end(kHosts), lower) != std::end(kHosts) ||
            lower.find_first_of(" :") != std::string::npos || has_field(always_, lower))
          continue;
        more.append(name).append(": ").append(field.value.ptr, field.value.len).append("\r\n");
      }
      options.more = more;
    }
    if (encodes_) {
      encodable_ = options.status == 200 && compresses_well(options.content_type) && !has_field(more, "content-encoding") &&
                   more.find("no-transform") == std::string::npos;
      if (encodable_) options.more = more += kVary;
    }
    head_status_ = options.status;
    framing_ = append_head(out, options);
  }

  // plugins::Call::Meter. Thread: the call's owner; the connection waits.
  Answer grow_to(std::size_t bytes) override {
    if (answer_share_.grow_to(thread_.memory(), owner_, bytes)) return Answer::yes;
    return bytes > thread_.memory().limit() / 4 ? Answer::never : Answer::later;
  }

  // Counts a body before it is read, as that of who sends it. False: it was refused, and the answer is the last one.
  asio::awaitable<bool> admit_body(std::uint64_t bytes) {
    begin_request();
    std::string owner = handler_.body_owner(*this);
    if (owner.empty()) {
      const bool kept = std::exchange(keep_, false);
      if (!answered_) co_await handler_.before_body(*this);
      if (answered_) {
        finish_request();
        co_return false;
      }
      keep_ = kept && !thread_.draining();
      owner = handler_.body_owner(*this);
    }
    if (body_share_.grow_to(thread_.memory(), owner.empty() ? "everybody" : owner, bytes)) co_return true;
    keep_ = false;
    fail(via::fail(Code::overloaded, "Too many bytes of large requests are in memory. Send fewer at once, or try again."));
    finish_request();
    co_return false;
  }

  // plugins::Call::Waiter. Thread: any.
  void wake() override {
    auto handler = std::move(resume_);
    asio::post(thread_.context(), std::move(handler));
  }

  // Returns when the call has something: at once, or after wake().
  asio::awaitable<void> woken() {
    co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
        [this](auto handler) {
          // Not assigned: move assignment of Boost 1.81 calls itself for ever.
          asio::any_completion_handler<void()>(std::move(handler)).swap(resume_);
          if (!call_.wait(*this)) asio::post(thread_.context(), std::move(resume_));
        },
        asio::use_awaitable);
  }

  // chunk_ holds the head (the first time) and body bytes: sends them framed.
  asio::awaitable<bool> send_chunk(bool begun) {
    const bool chunked = request().http_1_1;
    if (request().method == Method::head) {  // the head of a stream, and nothing of it
      if (begun) chunk_.clear();
      else chunk_.truncate(framing_ + kFramingSize + 2);
    }
    std::size_t body = 0;
    if (!begun) {
      set_streaming(chunk_.data() + framing_, chunked);
      body = framing_ + kFramingSize + 2;
    }
    const std::size_t size = chunk_.size() - body;
    char line[24];
    int line_size = 0;
    if (chunked && size > 0) line_size = std::snprintf(line, sizeof line, "%zx\r\n", size);
    const std::array<asio::const_buffer, 5> pieces{
        asio::const_buffer(ready_.data(), ready_.size()), asio::const_buffer(chunk_.data(), body), asio::const_buffer(line, static_cast<std::size_t>(line_size)),
        asio::const_buffer(chunk_.data() + body, size), asio::const_buffer("\r\n", line_size > 0 ? 2 : 0)};
    set_deadline(thread_.limits().write_timeout_ms);
    streaming_ = true;
    auto [ec, n] = co_await asio::async_write(stream_, pieces, kToken);
    streaming_ = false;
    set_deadline(0);
    chunk_.clear();
    ready_.clear();
    co_return !ec;
  }

  // Sends what the socket takes at once; true when that was everything.
  bool send_now() {
    if constexpr (Traits<Stream>::kPlain) {
      boost::system::error_code ec;
      const std::size_t n = stream_.write_some(asio::buffer(out_.data(), out_.size()), ec);
      if (ec) return false;  // would_block, or an error that send() meets again
      if (n == out_.size()) {
        out_.clear();
        out_.shrink(kSendAt);
        return true;
      }
      out_.consume(n);
    }
    return false;
  }

  asio::awaitable<bool> send() {
    std::size_t sent = 0;
    while (sent < out_.size()) {
      set_deadline(thread_.limits().write_timeout_ms);
      auto [ec, n] = co_await stream_.async_write_some(asio::buffer(out_.data() + sent, out_.size() - sent), kToken);
      if (ec) {
        broken_ = true;
        co_return false;
      }
      sent += n;
    }
    out_.clear();
    out_.shrink(kSendAt);
    co_return true;
  }

  // The peer may still be sending what was refused: shut down our side and read a little, so that it sees the answer
  // before a reset.
  asio::awaitable<void> close_politely() {
    boost::system::error_code ec;
    if constexpr (Traits<Stream>::kPlain) {
      stream_.shutdown(Stream::shutdown_send, ec);
      set_deadline(1000);
      char sink[16 * 1024];
      for (int i = 0; i < 64 && !expired_; ++i) {
        auto [error, n] = co_await stream_.async_read_some(asio::buffer(sink), kToken);
        if (error) break;
      }
    } else {
      set_deadline(1000);
      auto [error] = co_await stream_.async_shutdown(kToken);
    }
    lowest().close(ec);
  }

  IoThread& thread_;
  Handler& handler_;
  Stream stream_;
  const Peer peer_;
  std::shared_ptr<void> slot_;
  RequestParser parser_;
  Buffer in_, out_, chunk_, ready_;
  plugins::Call call_;
  asio::any_completion_handler<void()> resume_;
  std::string working_for_;
  via_id id_{};
  std::array<char, 36> id_text_{};
  std::uint64_t started_ns_ = 0;
  std::uint64_t deadline_ns_ = 0;
  std::uint64_t admitted_under_ = 0;  // serial of the index that its call was admitted by
  std::size_t framing_ = 0;
  int head_status_ = 200, status_ = 0;
  std::string_view always_, owner_;
  std::unique_ptr<Encoder> encoder_;  // of a stream
  Encoding encoding_ = Encoding::identity;
  bool encodes_ = false, encodable_ = false;  // on this connection; this answer
  ByteBudget::Share body_share_, answer_share_;
  std::optional<Error> failure_;
  std::string retry_;
  bool call_closes_ = false;
  bool closing_ = false;  // told to by close_idle()
  bool listed_ = true;  // among the thread's connections
  bool withdrawn_ = false, begun_ = false;  // of a call that is given up: its rights ended; its head has left
  bool id_text_made_ = false, answered_ = false, keep_ = true, broken_ = false, expired_ = false, body_begun_ = false, streaming_ = false;
};

template <class Stream>
void launch(IoThread& thread, Handler& handler, Stream stream, Peer peer, std::shared_ptr<void> slot) {
  auto session = std::make_shared<Session<Stream>>(thread, handler, std::move(stream), peer, std::move(slot));
  asio::co_spawn(
      thread.context(),
      [session]() -> asio::awaitable<void> {
        try {
          co_await session->run();
        } catch (const std::exception&) {
          // Out of memory or a bug: this connection ends, the others do not notice.
          Counters::add(session->thread().counters().refused);
        }
      },
      asio::detached);
}

}  // namespace

void start_session(IoThread& thread, Handler& handler, tcp::socket socket, std::shared_ptr<void> slot) {
  boost::system::error_code ec;
  socket.set_option(tcp::no_delay(true), ec);
  launch(thread, handler, std::move(socket), Peer{}, std::move(slot));
}

void start_session(IoThread& thread, Handler& handler, tcp::socket socket, asio::ssl::context& tls,
                   std::shared_ptr<void> slot) {
  boost::system::error_code ec;
  socket.set_option(tcp::no_delay(true), ec);
  launch(thread, handler, asio::ssl::stream<tcp::socket>(std::move(socket), tls), Peer{}, std::move(slot));
}

void start_session(IoThread& thread, Handler& handler, asio::local::stream_protocol::socket socket, Peer peer,
                   std::shared_ptr<void> slot) {
  launch(thread, handler, std::move(socket), peer, std::move(slot));
}

}  // namespace via::net
