#include "proxy/session/received.h"

#include <array>

namespace portcullis::session {

namespace {

constexpr std::size_t word_octets = 255;

constexpr std::array<bool, 256> plain_octets = [] {
  std::array<bool, 256> plain{};
  for (unsigned c = '0'; c <= '9'; ++c) plain[c] = true;
  for (unsigned c = 'A'; c <= 'Z'; ++c) plain[c] = plain[c - 'A' + 'a'] = true;
  for (const char c : std::string_view("._-:@[]+=/&*~!#$%'")) plain[static_cast<unsigned char>(c)] = true;
  return plain;
}();

// What a client said, made harmless inside a structured field: no CR, LF, quote, parenthesis,
// backslash, semicolon or angle bracket survives.
void append_word(std::string& out, std::string_view word) {
  for (const char c : word.substr(0, word_octets))
    out.push_back(plain_octets[static_cast<unsigned char>(c)] ? c : '?');
}

}  // namespace

std::string date_time(std::chrono::system_clock::time_point time) {
  static constexpr std::array<std::string_view, 7> days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(std::chrono::floor<std::chrono::seconds>(time - day));
  std::string out;
  out.reserve(std::string_view("Sat, 21 Nov 2026 12:00:00 +0000").size());
  const auto two_digits = [&out](long value) {
    out += static_cast<char>('0' + value / 10 % 10);
    out += static_cast<char>('0' + value % 10);
  };
  // By hand: it is in every message.
  out += days[std::chrono::weekday(day).c_encoding()];
  out += ", ";
  two_digits(static_cast<unsigned>(date.day()));
  out += ' ';
  out += months[static_cast<unsigned>(date.month()) - 1];
  out += ' ';
  two_digits(static_cast<int>(date.year()) / 100);
  two_digits(static_cast<int>(date.year()) % 100);
  out += ' ';
  two_digits(clock.hours().count());
  out += ':';
  two_digits(clock.minutes().count());
  out += ':';
  two_digits(clock.seconds().count());
  out += " +0000";
  return out;
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
