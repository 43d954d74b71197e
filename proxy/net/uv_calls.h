// The one door to those calls of libuv that can fail. Status must be looked at: a call that drops it does not
// compile ([[nodiscard]] and -Werror). A call that fails only when this program passes a wrong argument
// returns nothing and ends the process when it fails nevertheless: an event that never comes would be worse.
#pragma once

#include <uv.h>

#include <cassert>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace portcullis::net::uv {

class [[nodiscard]] Status {
 public:
  constexpr Status(int code = 0) : code_(code) {}  // NOLINT: libuv's codes, negative for errors
  constexpr bool ok() const { return code_ >= 0; }
  constexpr int code() const { return code_; }
  std::string text() const { return uv_strerror(code_); }

 private:
  int code_;
};

// --- fails for want of descriptors or memory, or because of the peer

inline Status init(uv_loop_t& loop) { return uv_loop_init(&loop); }
inline Status init(uv_loop_t& loop, uv_async_t& async, uv_async_cb call) {
  return uv_async_init(&loop, &async, call);
}
inline Status init(uv_loop_t& loop, uv_poll_t& poll, int fd) { return uv_poll_init(&loop, &poll, fd); }
inline Status init(uv_loop_t& loop, uv_signal_t& signal) { return uv_signal_init(&loop, &signal); }
inline Status start(uv_signal_t& signal, uv_signal_cb call, int number) {
  return uv_signal_start(&signal, call, number);
}
inline Status start(uv_poll_t& poll, int events, uv_poll_cb call) {
  return uv_poll_start(&poll, events, call);
}
inline Status open(uv_tcp_t& tcp, int fd) { return uv_tcp_open(&tcp, fd); }
inline Status connect(uv_connect_t& request, uv_tcp_t& tcp, const sockaddr* address, uv_connect_cb call) {
  return uv_tcp_connect(&request, &tcp, address, call);
}
inline Status no_delay(uv_tcp_t& tcp) { return uv_tcp_nodelay(&tcp, 1); }
inline Status write(uv_write_t& request, uv_stream_t* stream, const uv_buf_t& bytes, uv_write_cb call) {
  return uv_write(&request, stream, &bytes, 1, call);
}
inline Status shutdown(uv_shutdown_t& request, uv_stream_t* stream, uv_shutdown_cb call) {
  return uv_shutdown(&request, stream, call);
}
inline Status descriptor(const uv_tcp_t& tcp, int& fd) {
  return uv_fileno(reinterpret_cast<const uv_handle_t*>(&tcp), &fd);  // NOLINT: libuv's inheritance
}

// --- fails only when this program is wrong

inline void must(int code, const char* call) {
  if (code >= 0) return;
  std::fprintf(stderr, "portcullis: %s: %s\n", call, uv_strerror(code));
  std::abort();
}

inline void init(uv_loop_t& loop, uv_timer_t& timer) { must(uv_timer_init(&loop, &timer), "uv_timer_init"); }
inline void init(uv_loop_t& loop, uv_check_t& check) { must(uv_check_init(&loop, &check), "uv_check_init"); }
inline void init(uv_loop_t& loop, uv_prepare_t& prepare) {
  must(uv_prepare_init(&loop, &prepare), "uv_prepare_init");
}
inline void init(uv_loop_t& loop, uv_tcp_t& tcp) { must(uv_tcp_init(&loop, &tcp), "uv_tcp_init"); }
inline void start(uv_timer_t& timer, uv_timer_cb call, std::uint64_t after_ms, std::uint64_t every_ms) {
  must(uv_timer_start(&timer, call, after_ms, every_ms), "uv_timer_start");
}
inline void start(uv_check_t& check, uv_check_cb call) {
  must(uv_check_start(&check, call), "uv_check_start");
}
inline void start(uv_prepare_t& prepare, uv_prepare_cb call) {
  must(uv_prepare_start(&prepare, call), "uv_prepare_start");
}
inline void init(uv_loop_t& loop, uv_idle_t& idle) { must(uv_idle_init(&loop, &idle), "uv_idle_init"); }
inline void start(uv_idle_t& idle, uv_idle_cb call) { must(uv_idle_start(&idle, call), "uv_idle_start"); }
inline void stop(uv_idle_t& idle) { must(uv_idle_stop(&idle), "uv_idle_stop"); }
inline void stop(uv_poll_t& poll) { must(uv_poll_stop(&poll), "uv_poll_stop"); }
inline void start_reading(uv_stream_t* stream, uv_alloc_cb buffer, uv_read_cb call) {
  must(uv_read_start(stream, buffer, call), "uv_read_start");
}
inline void stop_reading(uv_stream_t* stream) { must(uv_read_stop(stream), "uv_read_stop"); }
inline void ring(uv_async_t& bell) { must(uv_async_send(&bell), "uv_async_send"); }

// A loop that has handles left leaks them: a mistake of ours, found by the builds that check assertions.
inline void close(uv_loop_t& loop) {
  [[maybe_unused]] const int closed = uv_loop_close(&loop);
  assert(closed == 0);
}

template <typename T>
uv_handle_t* handle_of(T* handle) {
  return reinterpret_cast<uv_handle_t*>(handle);  // NOLINT: libuv's inheritance
}

}  // namespace portcullis::net::uv
