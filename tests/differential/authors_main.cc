// Reads author fields from standard input, separated by NUL; writes what parse_author_list made of
// each, separated by NUL: "!fault", or the mailboxes separated by commas.
#include <iostream>
#include <string>

#include "smtp/address_list.h"

int main() {
  std::string text;
  while (std::getline(std::cin, text, '\0')) {
    const auto mailboxes = portcullis::smtp::parse_author_list(text, {});
    if (!mailboxes) {
      std::cout << '!' << mailboxes.error();
    } else {
      std::string separator;
      for (const auto& [name, mailbox] : *mailboxes) {
        std::cout << separator << mailbox.local << '@' << mailbox.domain;
        separator = ",";
      }
    }
    std::cout << '\0';
  }
}
