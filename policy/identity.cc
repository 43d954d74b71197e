#include "policy/identity.h"

#include <algorithm>

#include "policy/fold.h"
#include "smtp/limits.h"

namespace portcullis::policy {
namespace {

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// What fold_username does, for printable ASCII; nullopt for other ASCII and misplaced blanks.
std::optional<std::string> fold_ascii_username(std::string_view login) {
  std::string folded;
  folded.reserve(login.size());
  char previous = ' ';
  for (const char c : login) {
    if (c < 0x20 || c > 0x7e || (c == ' ' && previous == ' ')) return std::nullopt;
    folded += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    previous = c;
  }
  if (previous == ' ') return std::nullopt;
  return folded;
}

// Writes the folded local part; 0 when it has no canonical form or does not fit.
std::size_t write_local(std::string_view local, std::span<char> out) {
  if (!is_ascii(local)) {
    const auto folded = fold_text(local);
    if (!folded || folded->size() > out.size()) return 0;
    std::ranges::copy(*folded, out.begin());
    return folded->size();
  }
  if (local.size() > out.size()) return 0;
  for (std::size_t i = 0; i < local.size(); ++i) {
    const char c = local[i];
    if (c < 0x20 || c == 0x7f) return 0;
    out[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return local.size();
}

}  // namespace

std::optional<std::string> canonical_login(std::string_view login) {
  if (login.empty() || login.size() > smtp::limits::login_octets) return std::nullopt;
  auto folded = is_ascii(login) ? fold_ascii_username(login) : fold_username(login);
  if (!folded || folded->size() > smtp::limits::login_octets) return std::nullopt;
  // A login that is an address takes the canonical form of addresses, so that both compare.
  const auto at = folded->rfind('@');
  if (at != folded->npos && at != 0) {
    if (const auto domain = canonical_domain(std::string_view(*folded).substr(at + 1))) {
      folded->replace(at + 1, folded->npos, *domain);
      if (folded->size() > smtp::limits::login_octets) return std::nullopt;
    }
  }
  return folded;
}

std::optional<std::string_view> canonical_address(const smtp::Mailbox& mailbox, char subaddress,
                                                  AddressBuffer& buffer) {
  std::string_view local = mailbox.local;
  if (subaddress != '\0') {
    // Position 0 is not a separator: "+x@d" would become everybody's "@d".
    const auto cut = local.find(subaddress, 1);
    if (cut != local.npos) local = local.substr(0, cut);
  }
  const std::span<char> out(buffer);
  const std::size_t size = write_local(local, out.first(AddressBuffer::local_octets));
  if (size == 0) return std::nullopt;
  out[size] = '@';
  const std::size_t domain = write_canonical_domain(mailbox.domain, out.subspan(size + 1));
  if (domain == 0) return std::nullopt;
  return std::string_view(out.data(), size + 1 + domain);
}

std::optional<std::string> canonical_address(const smtp::Mailbox& mailbox, char subaddress) {
  AddressBuffer buffer;
  const auto address = canonical_address(mailbox, subaddress, buffer);
  if (!address) return std::nullopt;
  return std::string(*address);
}

std::optional<std::string> canonical_local_part(std::string_view local) {
  std::array<char, AddressBuffer::local_octets> folded{};
  const std::size_t size = write_local(local, folded);
  if (size == 0) return std::nullopt;
  return std::string(folded.data(), size);
}

}  // namespace portcullis::policy
