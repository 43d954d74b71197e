#include "proxy/auth/certificate_text.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace portcullis::auth {

namespace {

constexpr std::size_t name_octets_max = 200;
constexpr std::size_t names_max = 8;

std::string printable(std::string_view text) {
  std::string out(text.substr(0, name_octets_max));
  for (char& c : out) {
    if (c < ' ' || c > '~' || c == '"') c = '?';
  }
  if (text.size() > name_octets_max) out += "...";
  return out;
}

std::string name_line(X509_NAME* name) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return "?";
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  if (BIO_mem_contents(bio.get(), &data, &size) != 1 || size == 0) return "an empty name";
  return printable({reinterpret_cast<const char*>(data), size});  // NOLINT: octets as text
}

std::string_view text_of(const ASN1_STRING* value) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),  // NOLINT: octets as text
          static_cast<std::size_t>(ASN1_STRING_length(value))};
}

std::string alternative_name(const GENERAL_NAME& name) {
  if (name.type == GEN_DNS) return '"' + printable(text_of(name.d.dNSName)) + '"';
  if (name.type == GEN_EMAIL) return '"' + printable(text_of(name.d.rfc822Name)) + '"';
  if (name.type != GEN_IPADD) return {};
  const int family = ASN1_STRING_length(name.d.iPAddress) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(name.d.iPAddress) != 16) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* shown = inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text.data(), text.size());
  return shown != nullptr ? std::string(shown) : std::string();
}

}  // namespace

std::string subject_of(x509_st* certificate) { return name_line(X509_get_subject_name(certificate)); }
std::string issuer_of(x509_st* certificate) { return name_line(X509_get_issuer_name(certificate)); }

std::string names_of(x509_st* certificate) {
  const bssl::UniquePtr<GENERAL_NAMES> list(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string names;
  std::size_t count = 0;
  for (std::size_t i = 0; list && i < sk_GENERAL_NAME_num(list.get()); ++i) {
    const std::string name = alternative_name(*sk_GENERAL_NAME_value(list.get(), i));
    if (name.empty()) continue;
    if (count++ == names_max) return names + " and more";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names.empty() ? "no name at all" : names;
}

std::chrono::system_clock::time_point time_of(const asn1_string_st* time) {
  int days = 0;
  int seconds = 0;
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  if (!epoch || ASN1_TIME_diff(&days, &seconds, epoch.get(), time) != 1) return {};
  return std::chrono::system_clock::time_point(std::chrono::hours(24) * days + std::chrono::seconds(seconds));
}

std::string date_of(const asn1_string_st* time) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time_of(time)));
  const auto two = [](unsigned number) {
    return std::string(number < 10 ? "0" : "") + std::to_string(number);
  };
  return std::to_string(static_cast<int>(date.year())) + '-' + two(static_cast<unsigned>(date.month())) +
         '-' + two(static_cast<unsigned>(date.day()));
}

}  // namespace portcullis::auth
