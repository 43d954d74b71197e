// What a run of bench_load does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace portcullis::bench {

enum class Security : std::uint8_t { plain, starttls, implicit };

struct Options {
  std::string host = "127.0.0.1";
  std::uint16_t port = 25;
  Security security = Security::plain;
  bool resume = false;  // TLS: offer the last ticket
  std::string login;    // AUTH PLAIN when not empty
  std::string password;
  std::string helo = "client.example.net";
  std::string from = "sender@example.net";
  std::string to = "recipient@example.com";
  std::size_t parallel = 16;    // sessions at a time
  std::size_t sessions = 1000;  // in all
  std::size_t messages = 1;     // a session
  std::size_t message_octets = 4096;
  bool pipeline = false;           // MAIL, RCPT and DATA in one write
  bool bdat = false;               // BDAT LAST instead of DATA
  double sessions_per_second = 0;  // begun at most; 0: as fast as they end
  bool hold = false;               // open all sessions, say so, and keep them idle until stdin ends
  double patience_seconds = 120;   // without any progress
};

}  // namespace portcullis::bench
