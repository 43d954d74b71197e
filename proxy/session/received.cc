#include "proxy/session/received.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace portcullis::session {

namespace {

constexpr std::size_t word_octets = 255;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._-:@[]+=/&*~!#$%'").find(c) != std::string_view::npos;
}

// What a client said, made harmless inside a structured field: no CR, LF, quote, parenthesis,
// backslash, semicolon or angle bracket survives.
void append_word(std::string& out, std::string_view word) {
  for (const char c : word.substr(0, word_octets)) out.push_back(is_plain(c) ? c : '?');
}

}  // namespace

std::string date_time(std::chrono::system_clock::time_point time) {
  static constexpr std::array<const char*, 7> days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<const char*, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  static_cast<void>(gmtime_r(&seconds, &parts));  // fails for years that do not fit only
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d +0000",
                                 days[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                                 months[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900,
                                 parts.tm_hour, parts.tm_min, parts.tm_sec);
  return {text.data(), static_cast<std::size_t>(size)};
}

void append_received(std::string& out, const ReceivedFacts& facts) {
  const bool tls = !facts.tls_version.empty();
  const bool authenticated = !facts.login.empty();
  if (!(facts.hide_client && authenticated)) {
    out += "Received: from ";
    append_word(out, facts.helo.empty() ? std::string_view("unknown") : facts.helo);
    out += " ([";
    append_word(out, facts.client_literal);
    out += "])\r\n\t";
  } else {
    out += "Received: ";
  }
  if (tls) {
    out += "(using ";
    append_word(out, facts.tls_version);
    out += " with cipher ";
    append_word(out, facts.tls_cipher);
    out += ")\r\n\t";
  }
  if (authenticated && !facts.hide_login) {
    out += "(authenticated as ";
    append_word(out, facts.login);
    out += ")\r\n\t";
  }
  out += "by ";
  append_word(out, facts.hostname);
  // RFC 3848 and 6531 4.3: the protocol tells extensions, TLS and AUTH.
  out += " (Portcullis) with ";
  if (facts.utf8) {
    out += "UTF8SMTP";
  } else {
    out += facts.esmtp ? "ESMTP" : "SMTP";
  }
  if (facts.esmtp && tls) out += 'S';
  if (facts.esmtp && authenticated) out += 'A';
  out += " id ";
  append_word(out, facts.id);
  // The recipient went through path.h: a canonical path, at most path_octets.
  if (!facts.recipient.empty()) {
    out += "\r\n\tfor ";
    out += facts.recipient;
  }
  out += ";\r\n\t";
  out += date_time(facts.time);
  out += "\r\n";
}

}  // namespace portcullis::session
