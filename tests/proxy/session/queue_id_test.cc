#include "proxy/session/queue_id.h"

#include <gtest/gtest.h>

#include <string>

namespace portcullis::session {
namespace {

TEST(QueueId, IsFoundInWhatServersSay) {
  const std::string most(128, 'q');
  struct Case {
    std::string text, id;
  };
  const Case cases[] = {
      {"", ""},
      {"Ok", ""},
      {"queued as", ""},
      {"Ok: queued as 4XyZ", "4XyZ"},  // Postfix
      {"Ok: queued as 4XyZ\nsecond line", "4XyZ"},
      {"Queued as 4XyZ.", "4XyZ."},
      {"OK id=1rAbCd-0001Ab-2C", "1rAbCd-0001Ab-2C"},                                // Exim
      {"<1@example.com> [InternalId=7] Queued mail for delivery", "1@example.com"},  // Exchange
      {"31AbCd001 Message accepted for delivery", "31AbCd001"},                      // sendmail
      {"queued as <a<b>>c d", "abc"},
      {"queued as <> d", ""},
      {"queued as  4XyZ", ""},
      {"queued as 4X\x7fyZ", "4X"},
      {"queued as 4X\xc3\xbc", "4X"},
      {"queued as " + most, most},
      {"queued as " + most + "r", most},
      {"queued as <" + most + ">r", most},
      {"queued as " + most.substr(1) + "<rs", most.substr(1) + "r"},
  };
  for (const auto& [text, id] : cases) EXPECT_EQ(queue_id(text), id) << text;
}

}  // namespace
}  // namespace portcullis::session
