// What one transaction has charged to rates: of each rate one item a slot of its period. Begins empty and
// belongs to one transaction and to the Chain that filled it.
//
// A recipient that the upstream was asked about is charged for good, whatever becomes of the message: an
// answer about an address is what a guesser wants, and it was given. So is the message that the recipients
// belonged to. Chain::settle() gives back the rest unless the upstream accepted the message.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "policy/facts.h"

namespace portcullis::policy {

struct ChargeList {
  struct Item {
    std::uint16_t rate = 0;      // index into Settings::rates
    std::uint16_t position = 0;  // of the rate among those that apply to the client
    std::string key;
    std::uint64_t amount = 0;
    WallTime at{};  // when
  };
  std::vector<Item> items;
  std::vector<std::uint32_t> latest;  // by position: the rate's last item, counted from 1; 0: none
  std::size_t asked = 0;              // recipients, the first ones charged, that the upstream was asked about

  // The first `recipients` of the transaction were sent to the upstream.
  void note_asked(std::size_t recipients) { asked = std::max(asked, recipients); }

  // The last item of the rate at `position`, null when there is none.
  Item* find_latest(std::size_t position, std::uint16_t rate) {
    const std::uint32_t number = position < latest.size() ? latest[position] : 0;
    return number != 0 && items[number - 1].rate == rate ? &items[number - 1] : nullptr;
  }
  void add(std::size_t position, Item item) {
    if (latest.size() <= position) latest.resize(position + 1, 0);
    item.position = static_cast<std::uint16_t>(position);
    items.push_back(std::move(item));
    latest[position] = static_cast<std::uint32_t>(items.size());
  }
};

}  // namespace portcullis::policy
