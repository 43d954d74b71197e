// One client of the sink: its socket and its session. Deletes itself when libuv has given the handle
// back. Replies of one read go out as one write; while the client does not read them, we do not read
// from it either.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "proxy/sink/session.h"

namespace portcullis::sink {

class Connection {
 public:
  // Accepts the pending connection of `listener`. `buffer` is shared by all connections of the loop:
  // libuv fills and hands it over within one callback. `gone` is called when the connection closes.
  // Null when there was nothing to accept.
  static Connection* accept(uv_stream_t* listener, Service& service, std::vector<char>& buffer,
                            std::function<void(Connection*)> gone);

  // Closes at once; the object is gone when the loop has run.
  void close();
  std::uint64_t last_activity_ms() const { return last_activity_ms_; }  // on the loop's clock
  bool lingering() const { return lingering_; }

 private:
  Connection(Service& service, std::vector<char>& buffer, std::function<void(Connection*)> gone);
  ~Connection() = default;

  void start();
  void received(std::string_view bytes);
  void flush();
  void written(int status);
  void finish();
  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&handle_); }

  static void on_alloc(uv_handle_t* handle, std::size_t suggested, uv_buf_t* buffer) noexcept;
  static void on_read(uv_stream_t* stream, ssize_t octets, const uv_buf_t* buffer) noexcept;

  uv_tcp_t handle_{};
  Session session_;
  std::vector<char>& buffer_;
  std::function<void(Connection*)> gone_;
  std::string out_;
  std::uint64_t last_activity_ms_ = 0;
  bool writing_ = false;    // a write is queued; reading pauses
  bool lingering_ = false;  // all said; waiting for the client to close
};

}  // namespace portcullis::sink
