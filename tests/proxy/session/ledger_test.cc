#include "proxy/session/ledger.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <string>

namespace portcullis::session {
namespace {

smtp::Reply reply(std::size_t number) { return {250, "2.1.5", std::to_string(number)}; }

std::string sent(Ledger& ledger) {
  std::string texts;
  while (const Ledger::Entry* entry = ledger.front_settled()) {
    texts += entry->reply.text + ' ';
    ledger.pop();
  }
  return texts;
}

TEST(Ledger, KeepsTheOrderOfCommands) {
  Ledger ledger;
  EXPECT_TRUE(ledger.empty());
  EXPECT_EQ(ledger.front_settled(), nullptr);
  ledger.add(smtp::Verb::mail, reply(1));
  ledger.add_open(smtp::Verb::rcpt, 0);
  ledger.add(smtp::Verb::rcpt, reply(3));
  ledger.add_open(smtp::Verb::rcpt, 1);
  EXPECT_EQ(sent(ledger), "1 ");
  EXPECT_EQ(sent(ledger), "");
  EXPECT_EQ(ledger.size(), 3U);
  EXPECT_EQ(ledger.first_open().recipient, 0U);
  ledger.settle(reply(2));
  EXPECT_EQ(ledger.first_open().recipient, 1U);
  EXPECT_EQ(sent(ledger), "2 3 ");
  ledger.settle(reply(4));
  EXPECT_FALSE(ledger.has_open());
  EXPECT_EQ(sent(ledger), "4 ");
  EXPECT_TRUE(ledger.empty());
  EXPECT_EQ(ledger.held_octets(), 0U);
}

// Against a deque that does the same the slow way. A client that never lets the ledger run empty must not
// make it grow either.
TEST(Ledger, BehavesAsItsModel) {
  struct Model {
    std::string text;
    std::size_t recipient;
    bool settled;
  };
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    Ledger ledger;
    std::deque<Model> model;
    std::size_t number = 0;
    for (int step = 0; step < 3000; ++step) {
      const auto open = std::find_if(model.begin(), model.end(), [](const Model& m) { return !m.settled; });
      ASSERT_EQ(ledger.has_open(), open != model.end());
      ASSERT_EQ(ledger.size(), model.size());
      std::size_t recipients = 0;
      ledger.each_open([&](std::size_t) { ++recipients; });
      ASSERT_EQ(recipients, std::count_if(model.begin(), model.end(), [](auto& m) { return !m.settled; }));
      if (open != model.end()) {
        ASSERT_EQ(ledger.first_open().recipient, open->recipient);
      }
      ++number;
      switch (random() % (model.size() > 100 ? 2 : 4)) {
        case 0:
          if (open == model.end()) break;
          open->settled = true;
          open->text = std::to_string(number);
          ledger.settle(reply(number));
          break;
        case 1: {
          // All but the last: it never runs empty.
          while (model.size() > 1 && model.front().settled) {
            ASSERT_NE(ledger.front_settled(), nullptr);
            ASSERT_EQ(ledger.front_settled()->reply.text, model.front().text);
            ledger.pop();
            model.pop_front();
          }
          break;
        }
        case 2:
          ledger.add(smtp::Verb::rcpt, reply(number));
          model.push_back({std::to_string(number), 0, true});
          break;
        default:
          ledger.add_open(smtp::Verb::rcpt, number);
          model.push_back({{}, number, false});
      }
      ASSERT_LT(ledger.held_octets(), std::size_t{300} * (sizeof(Ledger::Entry) + 10));
    }
  }
}

}  // namespace
}  // namespace portcullis::session
