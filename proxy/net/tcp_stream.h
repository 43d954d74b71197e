// A TCP connection on a libuv loop. What is written leaves when the turn of the loop is over (turn_end.h),
// long content at once; what the socket does not take is queued. The handle's memory belongs to uv_close, so
// a TcpStream may be destroyed at any time outside its own callbacks; what was not handed over by then is
// dropped.
#pragma once

#include <sys/uio.h>
#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "proxy/net/turn_end.h"
#include "proxy/session/output.h"

namespace portcullis::net {

// What all connections of one loop share.
struct LoopContext {
  LoopContext(uv_loop_t* of, std::span<char> for_reads, std::span<char> for_plaintext)
      : loop(of), read_buffer(for_reads), plain_buffer(for_plaintext) {}

  uv_loop_t* loop;
  std::span<char> read_buffer;   // of the read under way
  std::span<char> plain_buffer;  // what TLS decrypted of it
  std::string cipher_out;        // what TLS encrypted, before it is handed to the socket
  TurnEnd turn_end;
};

enum class When : std::uint8_t {
  soon,      // long content at once, all else at the end of the turn
  turn_end,  // whatever its length
};

class TcpStream {
 public:
  class Handler {
   public:
    virtual void on_connected(int status) noexcept { (void)status; }
    virtual void on_bytes(std::string_view bytes) noexcept = 0;
    virtual void on_end(bool reset) noexcept = 0;  // EOF, or an error; at most once
    virtual void on_flushed() noexcept = 0;        // what the socket had not taken at once is gone
    // What was written is about to be handed to the socket. False: it must not (the handler closed the
    // stream).
    virtual bool on_sending() noexcept { return true; }

   protected:
    ~Handler() = default;
  };

  TcpStream(LoopContext& context, Handler& handler);
  ~TcpStream();
  TcpStream(const TcpStream&) = delete;
  TcpStream& operator=(const TcpStream&) = delete;

  bool adopt(int fd);  // an accepted connection; closes it when that fails
  int connect(const sockaddr* address);
  void reopen();  // a socket of its own for another attempt to connect
  void read(bool on);
  bool reading() const { return reading_; }
  void write(const session::Output& bytes, When when = When::soon);
  void write(std::string_view bytes, When when = When::soon);
  // Hands over what is written without waiting for the end of the turn.
  void flush();
  std::size_t queued() const;  // octets written that the socket has not taken
  bool awaits_room() const;    // of what was handed over, the socket has not taken all
  void shutdown();             // FIN after what is written
  void close();                // hands over what the socket takes at once, and closes
  void abort();                // closes; what was not handed over is dropped
  bool open() const { return handle_ != nullptr; }
  // Whether bytes (or the end) wait to be read.
  bool readable_now() const;
  // Whether the connection was reset. Seen without reading, and after the peer's FIN too.
  bool hung_up() const;

 private:
  friend class TurnEnd;
  struct Handle;
  struct WriteRequest;
  struct ConnectRequest;
  static constexpr std::size_t no_place = static_cast<std::size_t>(-1);
  static constexpr std::size_t most_read_octets = 64 * 1024;

  static void on_alloc(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept;
  static void on_read(uv_stream_t* stream, ssize_t status, const uv_buf_t*) noexcept;
  static void on_written(uv_write_t* request, int status) noexcept;
  int connected();
  void receive();
  bool in_budget(std::int64_t took_ns);
  void end(bool reset);
  void broken();
  void turn_over();
  bool goes_at_once(std::size_t octets, When when) const;
  std::size_t send_now(std::span<const iovec> pieces) const;
  void keep(std::string_view bytes);
  void await_room();
  void forget_written();

  LoopContext& context_;
  Handler& handler_;
  Handle* handle_;
  int fd_ = -1;                   // its descriptor, once there is a connection
  std::string written_;           // not handed to the socket yet
  std::size_t place_ = no_place;  // in context_.turn_end
  // Writes that libuv has not called back about. Until it has, nothing may pass by it: what it sent at once
  // is told later too, and something may have come behind that.
  unsigned handed_over_ = 0;
  std::size_t read_octets_ = most_read_octets;  // of the next read
  bool reading_ = false;
  bool ended_ = false;
};

}  // namespace portcullis::net
