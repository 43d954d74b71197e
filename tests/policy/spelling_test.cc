#include "policy/spelling.h"

#include <gtest/gtest.h>

#include "policy/identity.h"

namespace portcullis::policy {
namespace {

std::string spelled(std::string_view domain, std::string_view local = "bob") {
  smtp::Path path{.null = false, .mailbox = {std::string(local), std::string(domain)}, .utf8 = true};
  spell_as_judged(path);
  return smtp::to_wire(path) + (path.utf8 ? " utf8" : "");
}

TEST(Spelling, IsThatInWhichADomainIsJudged) {
  for (const char* const domain :
       {"example\u3002com", "\uff45xample.com", "ex\uff41mple.com", "EXAMPLE\uff0ecom", "example.com\u3002",
        "example\uff61com", "Ex\uff21mple.Com"}) {
    ASSERT_EQ(canonical_domain(domain), "example.com") << domain;
    EXPECT_EQ(spelled(domain), "<bob@example.com>") << domain;
  }
  EXPECT_EQ(spelled("b\u00fccher.example"), "<bob@xn--bcher-kva.example>");
  EXPECT_EQ(spelled("B\u00dcCHER.example"), "<bob@xn--bcher-kva.example>");
  EXPECT_EQ(spelled("bu\u0308cher.example", "j\u00fcrgen"), "<j\u00fcrgen@xn--bcher-kva.example> utf8");
}

TEST(Spelling, LeavesOrdinaryAddressesAlone) {
  for (const char* const domain :
       {"Example.COM", "a--b.example", "XN--BCHER-kva.Example", "[192.0.2.1]", "[IPv6:2001:DB8::1]", ""}) {
    smtp::Path path{.null = false, .mailbox = {"Bob", domain}, .utf8 = false};
    spell_as_judged(path);
    EXPECT_EQ(path.mailbox, (smtp::Mailbox{"Bob", domain}));
  }
  // No canonical form: nobody's, and judged so.
  EXPECT_EQ(spelled("a\u2603\u200d.example"), "<bob@a\u2603\u200d.example> utf8");
}

// Whatever the spelling, what is sent reads as what was judged: also to one who maps nothing.
TEST(Spelling, HasNoOtherReading) {
  for (const char* const domain :
       {"xn--example-.com", "xn--bcher-kva.example", "xn--b-cher-kva.example", "ex\u212Ample.com",
        "\u2147xample.com", "exam\u00adple.com", "stra\u00dfe.example"}) {
    smtp::Path path{.null = false, .mailbox = {"bob", domain}, .utf8 = true};
    const auto judged = canonical_domain(domain);
    spell_as_judged(path);
    EXPECT_EQ(path.mailbox.domain, judged.value_or(domain)) << domain;
  }
}

}  // namespace
}  // namespace portcullis::policy
