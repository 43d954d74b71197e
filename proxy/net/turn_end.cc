#include "proxy/net/turn_end.h"

#include <utility>

#include "proxy/net/tcp_stream.h"
#include "proxy/net/uv_calls.h"

namespace portcullis::net {

void TurnEnd::start(uv_loop_t& loop) {
  uv::init(loop, prepare_);
  prepare_.data = this;
  // Right before the loop polls again: behind its reads, its timers and what those brought about.
  uv::start(prepare_, [](uv_prepare_t* handle) { static_cast<TurnEnd*>(handle->data)->flush(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(&prepare_));  // NOLINT: libuv's inheritance
}

void TurnEnd::close() {
  uv_close(reinterpret_cast<uv_handle_t*>(&prepare_), nullptr);  // NOLINT: libuv's inheritance
}

std::size_t TurnEnd::add(TcpStream& stream) {
  streams_.push_back(&stream);
  return streams_.size() - 1;
}

void TurnEnd::flush() {
  // A stream that may not send ends its session, which adds others: by index, over what is there by then.
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (TcpStream* stream = std::exchange(streams_[i], nullptr); stream != nullptr) stream->turn_over();
  }
  streams_.clear();
}

std::string TurnEnd::take_buffer() {
  if (spare_.empty()) return {};
  std::string buffer = std::move(spare_.back());
  spare_.pop_back();
  return buffer;
}

void TurnEnd::give_buffer(std::string buffer) {
  if (spare_.size() >= spare_max || buffer.capacity() > spare_octets_max) return;
  buffer.clear();
  spare_.push_back(std::move(buffer));
}

}  // namespace portcullis::net
