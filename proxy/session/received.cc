#include "proxy/session/received.h"

#include <algorithm>
#include <array>
#include <span>

namespace portcullis::session {

namespace {

constexpr std::size_t word_octets = 255;
constexpr std::size_t usual_octets = 320;  // of the whole field

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
  out += word.substr(0, word_octets);
  const auto appended = std::span(out).last(std::min(word.size(), word_octets));
  std::ranges::replace_if(appended, [](char c) { return !plain_octets[static_cast<unsigned char>(c)]; }, '?');
}

// "Sat, 21 Nov 2026 12:00:00 +0000", written by hand: it is in every message.
constexpr std::string_view any_date_time = "Sat, 21 Nov 2026 12:00:00 +0000";
using DateTime = std::array<char, any_date_time.size()>;

DateTime written(std::chrono::system_clock::time_point time) {
  static constexpr std::string_view days = "SunMonTueWedThuFriSat";
  static constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const auto seconds = static_cast<unsigned>(std::chrono::floor<std::chrono::seconds>(time - day).count());
  const auto year = static_cast<unsigned>(static_cast<int>(date.year()));
  DateTime text;
  std::ranges::copy(any_date_time, text.begin());
  const auto name = [&text](std::size_t at, std::string_view names, unsigned index) {
    std::ranges::copy(names.substr(std::size_t{index} * 3, 3), &text[at]);
  };
  const auto two_digits = [&text](std::size_t at, unsigned value) {
    text[at] = static_cast<char>('0' + value / 10 % 10);
    text[at + 1] = static_cast<char>('0' + value % 10);
  };
  name(0, days, std::chrono::weekday(day).c_encoding());
  two_digits(5, static_cast<unsigned>(date.day()));
  name(8, months, static_cast<unsigned>(date.month()) - 1);
  two_digits(12, year / 100);
  two_digits(14, year);
  two_digits(17, seconds / 3600);
  two_digits(20, seconds / 60 % 60);
  two_digits(23, seconds % 60);
  return text;
}

}  // namespace

std::string date_time(std::chrono::system_clock::time_point time) {
  const DateTime text = written(time);
  return {text.data(), text.size()};
}

void append_received(std::string& out, const ReceivedFacts& facts) {
  out.reserve(out.size() + usual_octets);
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
  const DateTime time = written(facts.time);
  out.append(time.data(), time.size());
  out += "\r\n";
}

}  // namespace portcullis::session
