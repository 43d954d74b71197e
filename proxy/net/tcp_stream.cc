#include "proxy/net/tcp_stream.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <memory>
#include <utility>

#include "proxy/net/uv_calls.h"

namespace portcullis::net {

struct TcpStream::Handle {
  uv_tcp_t tcp;
  TcpStream* owner;  // null once the owner is gone
};

struct TcpStream::WriteRequest {
  uv_write_t request;
  std::string bytes;
};

struct TcpStream::ConnectRequest {
  uv_connect_t request;
};

namespace {

uv_stream_t* stream_of(uv_tcp_t& tcp) {
  return reinterpret_cast<uv_stream_t*>(&tcp);
}  // NOLINT: libuv's inheritance

constexpr std::size_t most_pieces = 64;  // of one system call
// Content that fills a good part of the read buffer: copying it would cost more than a wake-up saves.
constexpr std::size_t at_once_octets = 16 * 1024;

// Fills of the read buffer for one stream, before others get their turn. More of them make no message faster
// (10 MiB, 32 against 2), and everybody else wait.
constexpr int most_reads = 2;

// So long may what is done with a read take, in processor time. Content that takes more (lines of one dot
// each) is read in smaller pieces, and one piece a turn: how long others wait depends on time, not on octets.
constexpr std::int64_t read_budget_ns = 125'000;
constexpr std::size_t least_read_octets = 8 * 1024;

std::int64_t thread_ns() {
  timespec now{};
  // Cannot fail: the clock is there since Linux 2.6.12.
  static_cast<void>(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now));
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

// As recv() and sendmsg(), which the C library makes cancellation points: in a program with threads that is
// two atomic operations a call.
long receive_from(int fd, std::span<char> buffer, int flags) {
  return syscall(SYS_recvfrom, fd, buffer.data(), buffer.size(), flags | MSG_DONTWAIT, nullptr, nullptr);
}

long send_to(int fd, std::span<const iovec> pieces) {
  constexpr int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  if (pieces.size() == 1) {
    return syscall(SYS_sendto, fd, pieces[0].iov_base, pieces[0].iov_len, flags, nullptr, 0);
  }
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());  // NOLINT: only read
  message.msg_iovlen = pieces.size();
  return syscall(SYS_sendmsg, fd, &message, flags);
}

iovec iovec_of(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: only read
}

}  // namespace

TcpStream::TcpStream(LoopContext& context, Handler& handler)
    : context_(context), handler_(handler), handle_(nullptr) {
  reopen();
}

void TcpStream::reopen() {
  abort();
  reading_ = ended_ = false;
  handle_ = new Handle{};  // NOLINT: freed when uv_close() calls back
  handle_->owner = this;
  handle_->tcp.data = handle_;
  uv::init(*context_.loop, handle_->tcp);
}

TcpStream::~TcpStream() { abort(); }

void TcpStream::close() {
  flush();
  abort();
}

void TcpStream::abort() {
  if (handle_ == nullptr) return;
  forget_written();
  handed_over_ = 0;
  fd_ = -1;
  handle_->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&handle_->tcp),  // NOLINT: libuv's inheritance
           [](uv_handle_t* handle) { delete static_cast<Handle*>(handle->data); });
  handle_ = nullptr;
}

bool TcpStream::adopt(int fd) {
  if (handle_ != nullptr && uv::open(handle_->tcp, fd).ok()) {
    fd_ = fd;
    return true;
  }
  ::close(fd);
  return false;
}

int TcpStream::connect(const sockaddr* address) {
  auto request = std::make_unique<ConnectRequest>();
  request->request.data = request.get();
  const uv::Status asked =
      uv::connect(request->request, handle_->tcp, address, [](uv_connect_t* done, int status) {
        const std::unique_ptr<ConnectRequest> owner(static_cast<ConnectRequest*>(done->data));
        auto* handle = static_cast<Handle*>(done->handle->data);
        if (handle->owner == nullptr) return;
        handle->owner->handler_.on_connected(status == 0 ? handle->owner->connected() : status);
      });
  if (asked.ok()) static_cast<void>(request.release());
  return asked.code();
}

// The status for the handler: 0, or why the connection is of no use although the peer took it.
int TcpStream::connected() {
  const uv::Status found = uv::descriptor(handle_->tcp, fd_);
  return found.ok() ? uv::no_delay(handle_->tcp).code() : found.code();
}

void TcpStream::read(bool on) {
  if (handle_ == nullptr || ended_ || on == reading_) return;
  reading_ = on;
  if (on) {
    uv::start_reading(stream_of(handle_->tcp), on_alloc, on_read);
  } else {
    uv::stop_reading(stream_of(handle_->tcp));
  }
}

// No buffer: libuv then leaves the reading to us and says UV_ENOBUFS. Its own read() takes a longer way to a
// socket than recv() does.
void TcpStream::on_alloc(uv_handle_t*, std::size_t, uv_buf_t* buffer) noexcept {
  *buffer = uv_buf_init(nullptr, 0);
}

void TcpStream::on_read(uv_stream_t* stream, ssize_t status, const uv_buf_t*) noexcept {
  TcpStream* owner = static_cast<Handle*>(stream->data)->owner;
  if (owner == nullptr) return;
  if (status == UV_ENOBUFS) return owner->receive();
  if (status < 0) owner->end(status != UV_EOF);
}

void TcpStream::receive() {
  for (int rounds = 0; rounds < most_reads && reading_; ++rounds) {
    const std::span<char> buffer =
        context_.read_buffer.first(std::min(read_octets_, context_.read_buffer.size()));
    const long received = receive_from(fd_, buffer, 0);
    if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (received <= 0) return end(received < 0);
    const auto size = static_cast<std::size_t>(received);
    // Little takes little time: it is not worth the two looks at the clock.
    const bool timed = size >= least_read_octets;
    const std::int64_t started = timed ? thread_ns() : 0;
    handler_.on_bytes({buffer.data(), size});
    if (timed && !in_budget(thread_ns() - started)) return;
    // What fills the buffer has more behind it.
    if (!open() || size < buffer.size()) return;
  }
}

// Fits the size of reads to how long they take. False: others are to have their turn now.
bool TcpStream::in_budget(std::int64_t took_ns) {
  if (took_ns > read_budget_ns) {
    read_octets_ = std::max(read_octets_ / 2, least_read_octets);
    return false;
  }
  if (took_ns < read_budget_ns / 4) read_octets_ = std::min(read_octets_ * 2, most_read_octets);
  return true;
}

// The peer takes no more. What it sent before it closed is read first: it may be the reason.
void TcpStream::broken() {
  if (reading_) receive();
  if (open()) end(true);
}

void TcpStream::end(bool reset) {
  if (ended_) return;
  read(false);
  ended_ = true;
  handler_.on_end(reset);
}

// --- writing --------------------------------------------------------------------------------------

void TcpStream::write(std::string_view bytes, When when) {
  if (handle_ == nullptr || bytes.empty()) return;
  if (!goes_at_once(bytes.size(), when)) return keep(bytes);
  if (!handler_.on_sending()) return;
  const iovec piece = iovec_of(bytes);
  const std::size_t sent = send_now({&piece, 1});
  if (sent == bytes.size()) return;
  keep(bytes.substr(sent));
  await_room();
}

void TcpStream::write(const session::Output& bytes, When when) {
  if (handle_ == nullptr || bytes.empty()) return;
  if (!goes_at_once(bytes.size(), when)) {
    for (std::size_t i = 0; i < bytes.segments(); ++i) keep(bytes.segment(i));
    return;
  }
  if (!handler_.on_sending()) return;
  std::array<iovec, most_pieces> pieces;
  std::size_t at = 0;
  while (at < bytes.segments()) {
    std::size_t count = 0;
    for (; count < most_pieces && at < bytes.segments(); ++count, ++at) {
      pieces[count] = iovec_of(bytes.segment(at));
    }
    // What follows something that the socket did not take is kept behind it.
    std::size_t sent = written_.empty() ? send_now({pieces.data(), count}) : 0;
    for (const iovec& piece : std::span(pieces).first(count)) {
      const std::size_t skipped = std::min(sent, piece.iov_len);
      sent -= skipped;
      keep({static_cast<const char*>(piece.iov_base) + skipped, piece.iov_len - skipped});
    }
  }
  await_room();
}

bool TcpStream::goes_at_once(std::size_t octets, When when) const {
  return when == When::soon && octets >= at_once_octets && written_.empty() && handed_over_ == 0;
}

void TcpStream::keep(std::string_view bytes) {
  if (bytes.empty()) return;
  if (written_.empty()) {
    written_ = context_.turn_end.take_buffer();
    place_ = context_.turn_end.add(*this);
  }
  written_.append(bytes);
}

void TcpStream::turn_over() {
  place_ = no_place;
  const bool much = queued() >= at_once_octets;  // somebody may wait until it is gone
  flush();
  if (much && open() && queued() == 0) handler_.on_flushed();
}

void TcpStream::flush() {
  // Behind what the socket has no room for: on_written() goes on.
  if (handle_ == nullptr || written_.empty() || handed_over_ > 0) return;
  if (!handler_.on_sending()) return;
  const iovec piece = iovec_of(written_);
  const std::size_t sent = send_now({&piece, 1});
  if (sent < written_.size()) {
    written_.erase(0, sent);
    return await_room();
  }
  forget_written();
}

void TcpStream::forget_written() {
  if (place_ != no_place) context_.turn_end.remove(std::exchange(place_, no_place));
  context_.turn_end.give_buffer(std::exchange(written_, {}));
}

// How much the socket takes at once. 0 on an error: the write that waits for room meets it again. Not
// uv_try_write(): write() and writev() take a longer way to a socket too.
std::size_t TcpStream::send_now(std::span<const iovec> pieces) const {
  const long sent = send_to(fd_, pieces);
  return sent < 0 ? 0 : static_cast<std::size_t>(sent);
}

// Gives what the socket did not take to libuv, which goes on when there is room.
void TcpStream::await_room() {
  if (written_.empty()) return;
  if (place_ != no_place) context_.turn_end.remove(std::exchange(place_, no_place));
  auto request = std::make_unique<WriteRequest>();
  request->bytes = std::exchange(written_, {});
  request->request.data = request.get();
  const uv_buf_t rest = uv_buf_init(request->bytes.data(), static_cast<unsigned>(request->bytes.size()));
  if (uv::write(request->request, stream_of(handle_->tcp), rest, on_written).ok()) {
    ++handed_over_;
    static_cast<void>(request.release());
  } else {
    // What was dropped may be the middle of a message: the peer must not take the rest for its end.
    static_cast<void>(::shutdown(fd_, SHUT_RDWR));  // fails only where the connection is gone already
  }
}

void TcpStream::on_written(uv_write_t* request, int status) noexcept {
  const std::unique_ptr<WriteRequest> owner(static_cast<WriteRequest*>(request->data));
  TcpStream* stream = static_cast<Handle*>(request->handle->data)->owner;
  if (stream == nullptr) return;
  --stream->handed_over_;
  if (status < 0) return stream->broken();
  stream->flush();
  if (stream->open() && stream->queued() == 0) stream->handler_.on_flushed();
}

std::size_t TcpStream::queued() const {
  return handed_over_ > 0 ? written_.size() + uv_stream_get_write_queue_size(stream_of(handle_->tcp))
                          : written_.size();
}

bool TcpStream::awaits_room() const {
  return handed_over_ > 0 && uv_stream_get_write_queue_size(stream_of(handle_->tcp)) > 0;
}

void TcpStream::shutdown() {
  flush();
  if (handle_ == nullptr) return;
  await_room();                       // what is behind something the socket has no room for
  auto* request = new uv_shutdown_t;  // NOLINT: freed in its callback
  const auto done = [](uv_shutdown_t* ended, int) { delete ended; };
  // Fails where the connection has ended already.
  if (!uv::shutdown(*request, stream_of(handle_->tcp), done).ok()) delete request;
}

bool TcpStream::readable_now() const {
  char octet = 0;
  return handle_ != nullptr && receive_from(fd_, {&octet, 1}, MSG_PEEK) >= 0;
}

bool TcpStream::hung_up() const {
  pollfd poll_for{fd_, 0, 0};  // POLLHUP and POLLERR are reported unasked
  return handle_ != nullptr && fd_ >= 0 && poll(&poll_for, 1, 0) == 1 &&
         (poll_for.revents & (POLLHUP | POLLERR)) != 0;
}

}  // namespace portcullis::net
