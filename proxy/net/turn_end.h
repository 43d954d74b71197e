// What the streams of one loop have to send, handed to their sockets when a turn of the loop is over.
//
// All reads of a turn come before all its writes. So what one stream is told in a turn leaves in one piece,
// the peers are woken by a row of sends and not one by one between our own work, and what the poll reported
// as unasked is known before anything is sent behind it (law 1).
#pragma once

#include <uv.h>

#include <cstddef>
#include <string>
#include <vector>

namespace portcullis::net {

class TcpStream;

class TurnEnd {
 public:
  TurnEnd() = default;
  TurnEnd(const TurnEnd&) = delete;
  TurnEnd& operator=(const TurnEnd&) = delete;

  void start(uv_loop_t& loop);
  void close();  // before the loop is closed; later entries are never flushed
  void flush();  // now, without waiting for the end of the turn
  // The place of a stream that is to be flushed, for remove().
  std::size_t add(TcpStream& stream);
  void remove(std::size_t place) { streams_[place] = nullptr; }

  // Empty strings with room, so that a stream that has nothing to send owns no memory.
  std::string take_buffer();
  void give_buffer(std::string buffer);

 private:
  static constexpr std::size_t spare_max = 64;
  static constexpr std::size_t spare_octets_max = 32 * 1024;

  uv_prepare_t prepare_{};
  std::vector<TcpStream*> streams_;  // null: no longer to be flushed
  std::vector<std::string> spare_;
};

}  // namespace portcullis::net
