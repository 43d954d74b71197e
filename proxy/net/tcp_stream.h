// A TCP connection on a libuv loop: shared read buffer, try-write first, queue the rest. The handle's
// memory belongs to uv_close, so a TcpStream may be destroyed at any time outside its own callbacks.
#pragma once

#include <sys/uio.h>
#include <uv.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "proxy/session/output.h"

namespace portcullis::net {

// What all connections of one loop share.
struct LoopContext {
  uv_loop_t* loop = nullptr;
  std::span<char> read_buffer;   // of the read under way
  std::span<char> plain_buffer;  // what TLS decrypted of it
  std::string cipher_out;        // what TLS encrypted, before it is handed to the socket
};

class TcpStream {
 public:
  class Handler {
   public:
    virtual void on_connected(int status) noexcept { (void)status; }
    virtual void on_bytes(std::string_view bytes) noexcept = 0;
    virtual void on_end(bool reset) noexcept = 0;  // EOF, or an error; at most once
    virtual void on_flushed() noexcept = 0;        // the write queue has become empty

   protected:
    ~Handler() = default;
  };

  TcpStream(LoopContext& context, Handler& handler);
  ~TcpStream();
  TcpStream(const TcpStream&) = delete;
  TcpStream& operator=(const TcpStream&) = delete;

  bool accept(uv_stream_t* server);
  int connect(const sockaddr* address);
  void reopen();  // a socket of its own for another attempt to connect
  void read(bool on);
  bool reading() const { return reading_; }
  void write(const session::Output& bytes);
  void write(std::string_view bytes);
  std::size_t queued() const;
  void shutdown();  // FIN after what is queued
  void close();     // at once
  bool open() const { return handle_ != nullptr; }
  // Whether bytes (or the end) wait to be read.
  bool readable_now() const;
  bool peer(sockaddr_storage& address) const;

 private:
  struct Handle;
  struct WriteRequest;
  struct ConnectRequest;
  static void on_alloc(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) noexcept;
  static void on_read(uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) noexcept;
  static void on_written(uv_write_t* request, int status) noexcept;
  std::size_t send_now(std::span<const iovec> pieces) const;
  void queue_rest(std::span<const iovec> pieces, std::size_t sent);

  LoopContext& context_;
  Handler& handler_;
  Handle* handle_;
  bool reading_ = false;
  bool ended_ = false;
};

}  // namespace portcullis::net
