#include "policy/identity.h"

#include <gtest/gtest.h>

#include "policy/fold.h"

namespace portcullis::policy {
namespace {

TEST(Identity, OneLoginHasOneSpelling) {
  struct Case {
    std::string_view in, out;
  };
  for (const auto& [in, out] : {
           Case{"Alice", "alice"},
           Case{"Alice@Example.COM", "alice@example.com"},
           Case{"alice@example.com.", "alice@example.com"},
           Case{"ALICE@B\u00dcCHER.example", "alice@xn--bcher-kva.example"},
           Case{"alice@xn--BCHER-kva.example", "alice@xn--bcher-kva.example"},
           Case{"alice@bu\u0308cher.example", "alice@xn--bcher-kva.example"},  // decomposed
           Case{"\uff41\uff4c\uff49\uff43\uff45", "alice"},                    // fullwidth letters
           Case{"alice\uff20example.com", "alice@example.com"},                // fullwidth @
           Case{"J\u00dcRGEN", "j\u00fcrgen"},
           Case{"ju\u0308rgen", "j\u00fcrgen"},
           Case{"\u212aelvin", "kelvin"},  // KELVIN SIGN
           Case{"Ann Lee", "ann lee"},
           Case{"DOM\\user", "dom\\user"},
       }) {
    const auto login = canonical_login(in);
    ASSERT_TRUE(login) << in;
    EXPECT_EQ(*login, out);
    EXPECT_EQ(canonical_login(*login), login) << "not idempotent: " << in;
  }
}

TEST(Identity, RefusesLoginsThatLookLikeOthers) {
  const std::string long_login(321, 'a');
  for (const std::string_view bad : {std::string_view(""),
                                     std::string_view("ali\0ce", 6),
                                     std::string_view("alice\n"),
                                     std::string_view("ali\x7f"),
                                     std::string_view("ali\u200bce"),
                                     std::string_view("\u202ealice"),
                                     std::string_view("ali\u2066ce"),
                                     std::string_view("ali\ufeffce"),
                                     std::string_view("ali\u034fce"),
                                     std::string_view("ali\u00adce"),
                                     std::string_view("ali\xff"),
                                     std::string_view("\xc0\xaf"),
                                     std::string_view("\xed\xa0\x80"),
                                     std::string_view("\ufb01sh"),
                                     std::string_view("\u2460"),
                                     std::string_view("a\u00a0b"),
                                     std::string_view("alice "),
                                     std::string_view(" alice"),
                                     std::string_view("ali  ce"),
                                     std::string_view("\u3164"),
                                     std::string_view("\ue000"),
                                     std::string_view("a\u0085b"),
                                     std::string_view("\u2603"),
                                     std::string_view(long_login)}) {
    EXPECT_FALSE(canonical_login(bad)) << bad;
  }
  EXPECT_TRUE(canonical_login(std::string(320, 'a')));
}

// ASCII takes a short way; it must lead to the same place.
TEST(Identity, TheShortWayForAsciiAgrees) {
  for (const std::string around : {"", "x", " ", "  "}) {
    for (int c = 1; c < 128; ++c) {
      const std::string login = around + static_cast<char>(c) + around;
      EXPECT_EQ(canonical_login(login), fold_username(login)) << c << " in '" << around << "'";
    }
  }
}

TEST(Identity, OneDomainHasOneSpelling) {
  struct Case {
    std::string_view in, out;
  };
  for (const auto& [in, out] : {
           Case{"Example.COM", "example.com"},
           Case{"example.com.", "example.com"},
           Case{"example\u3002com", "example.com"},  // ideographic full stop
           Case{"example.com\u3002", "example.com"},
           Case{"stra\u00dfe.example", "xn--strae-oqa.example"},
           Case{"_dmarc.example.com", "_dmarc.example.com"},
           Case{"[192.0.2.1]", "[192.0.2.1]"},
           Case{"[IPv6:2001:DB8:0::1]", "[ipv6:2001:db8::1]"},
           Case{"[IPv6:::ffff:192.0.2.1]", "[192.0.2.1]"},
           Case{"localhost", "localhost"},
           Case{"A--b.Example", "a--b.example"},
           Case{"axn--b.example", "axn--b.example"},
           Case{"XN--Strae-oqa.example", "xn--strae-oqa.example"},
           Case{"a_b.stra\u00dfe", "a_b.xn--strae-oqa"},
       }) {
    const auto domain = canonical_domain(in);
    ASSERT_TRUE(domain) << in;
    EXPECT_EQ(*domain, out);
    EXPECT_EQ(canonical_domain(*domain), domain) << in;
  }
  const std::string label(63, 'a');
  EXPECT_TRUE(canonical_domain(label + ".example"));
  for (const std::string& bad :
       {std::string(), std::string("."), std::string("a..b"), std::string(".a"), std::string("a b"),
        std::string("a@b"), label + "a.example", std::string("xn--\xff.example"),
        std::string("xn--zzzzzzzz--.example"), std::string("[192.0.2.1"), std::string("[2001:db8::1]"),
        std::string("[IPv6:192.0.2.1]"), std::string("[]"), std::string("a\0b", 3),
        std::string("b\u00fc\0b", 5), label + '.' + label + '.' + label + '.' + label + '.' + label}) {
    EXPECT_FALSE(canonical_domain(bad)) << bad;
  }
}

TEST(Identity, AddressesFoldLikeLogins) {
  EXPECT_EQ(canonical_address({"Alice+Lists", "Example.COM"}, '+'), "alice@example.com");
  EXPECT_EQ(canonical_address({"Alice+Lists", "Example.COM"}, '\0'), "alice+lists@example.com");
  EXPECT_EQ(canonical_address({"+x", "example.com"}, '+'), "+x@example.com");
  EXPECT_EQ(canonical_address({"a@b", "example.com"}, '+'), "a@b@example.com");
  EXPECT_EQ(canonical_address({"J\u00dcRGEN", "b\u00fccher.example"}, '+'),
            canonical_login("j\u00fcrgen@B\u00dcCHER.example"));
  EXPECT_FALSE(canonical_address({"", "example.com"}, '+'));
  EXPECT_FALSE(canonical_address({"Postmaster", ""}, '+'));
  EXPECT_FALSE(canonical_address({"ali\u200bce", "example.com"}, '+'));
  EXPECT_FALSE(canonical_address({"ali\nce", "example.com"}, '+'));
  EXPECT_FALSE(canonical_address({std::string(400, 'a'), "example.com"}, '+'));
}

// "*", "@", "<", "." or a blank are what they are only in ASCII: written otherwise, an address is nobody's.
TEST(Identity, NoCharacterStandsForAMarkOfAddresses) {
  for (const char* const hidden :
       {"\uff0a", "\ufe61", "\uff20", "\ufe6b", "\uff1c", "\uff1e", "\ufe64", "\uff0e", "\ufe52",
        "\u2024", "\u2026", "\uff05", "\ufe6a", "\uff01", "\uff0c", "\uff1a", "\uff1b", "\u037e",
        "\u1fef", "\uff02", "\uff3c", "\u00a0", "\u2003", "\u3000", "\u00b4", "\uff0b", "\u2100"}) {
    for (const std::string around : {"", "ceo"}) {
      const std::string local = around + hidden + around;
      EXPECT_FALSE(canonical_address({local, "example.com"}, '+')) << local;
      EXPECT_FALSE(canonical_local_part(local)) << local;
    }
  }
  for (const char* const login :
       {"\uff0a@example.com", "alice\uff0a", "alice\uff05evil", "a\uff1cb", "a\uff3cb"}) {
    EXPECT_FALSE(canonical_login(login)) << login;
  }
  // Letters may: they fold as case does.
  EXPECT_EQ(canonical_address({"\uff23\uff25\uff2f", "example.com"}, '+'), "ceo@example.com");
  EXPECT_EQ(canonical_address({"ren\u00e9e", "example.com"}, '+'), "ren\u00e9e@example.com");
  EXPECT_EQ(canonical_address({"\u7530\u4e2d", "example.com"}, '+'), "\u7530\u4e2d@example.com");
}

TEST(Identity, AddressPatterns) {
  struct Case {
    std::string_view pattern, address;
    bool matches;
  };
  for (const auto& [pattern, address, matches] : {
           Case{"a@b.example", "a@b.example", true},
           Case{"a@b.example", "c@b.example", false},
           Case{"*@b.example", "c@b.example", true},
           Case{"@b.example", "c@b.example", true},
           Case{"*@b.example", "c@a.b.example", false},
           Case{"*@*.b.example", "c@a.b.example", true},
           Case{"*@*.b.example", "c@b.example", false},
           Case{"*@*.b.example", "c@xb.example", false},
           Case{"*@b.example", "x@b.example@evil.example", false},
           Case{"*@evil.example", "x@b.example@evil.example", true},
           Case{"a@b.example", "a", false},
       }) {
    const auto parsed = AddressPattern::parse(pattern);
    ASSERT_TRUE(parsed) << pattern;
    EXPECT_EQ(parsed->matches(address), matches) << pattern << " " << address;
    EXPECT_EQ(AddressPattern::parse(parsed->text()), parsed);
  }
  EXPECT_EQ(AddressPattern::parse("@Example.COM")->text(), "*@example.com");
  EXPECT_EQ(AddressPattern::parse("Sales@*.Example.COM")->text(), "sales@*.example.com");
  for (const char* const bad : {"", "sales", "sales@", "b.example", "\uff0a@example.com",
                                "*@\uff0a.example.com", "sales\uff20example.com", "*@*"}) {
    EXPECT_FALSE(AddressPattern::parse(bad)) << bad;
  }
}

TEST(Identity, DomainPatterns) {
  EXPECT_TRUE(domain_matches("example.com", "example.com"));
  EXPECT_FALSE(domain_matches("example.com", "a.example.com"));
  EXPECT_TRUE(domain_matches("*.example.com", "a.b.example.com"));
  EXPECT_TRUE(domain_matches(".example.com", "a.example.com"));
  EXPECT_FALSE(domain_matches("*.example.com", "example.com"));
  EXPECT_FALSE(domain_matches("*.example.com", ".example.com"));
  EXPECT_EQ(canonical_domain_pattern(".Example.com"), "*.example.com");
  EXPECT_FALSE(canonical_domain_pattern("*"));
}

}  // namespace
}  // namespace portcullis::policy
