#include "smtp/sasl.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "smtp/limits.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {

std::ostream& operator<<(std::ostream& out, SaslExchange::Status status) {
  return out << static_cast<int>(status);
}

namespace {

using std::string_literals::operator""s;
using test::ExactBuffer;
using Status = SaslExchange::Status;

struct Dialog {
  Mechanism mechanism;
  std::vector<std::optional<std::string>> responses;
  std::vector<std::string> challenges;
  Status end;
  std::string authcid;
  std::string authzid;
  std::string secret;
};

void run(const Dialog& dialog) {
  SaslExchange exchange(dialog.mechanism);
  std::vector<std::string> challenges;
  Status status = Status::challenge;
  for (const auto& response : dialog.responses) {
    ASSERT_EQ(status, Status::challenge);
    const ExactBuffer bytes(response.value_or(""));
    status = exchange.step(response ? std::optional(bytes.view()) : std::nullopt);
    if (status == Status::challenge) challenges.emplace_back(exchange.challenge());
  }
  const std::string shown = testing::PrintToString(dialog.responses);
  EXPECT_EQ(status, dialog.end) << shown;
  EXPECT_EQ(challenges, dialog.challenges) << shown;
  const Credentials credentials = exchange.take_credentials();
  EXPECT_EQ(credentials.authcid, dialog.authcid) << shown;
  EXPECT_EQ(credentials.authzid, dialog.authzid) << shown;
  EXPECT_EQ(credentials.secret.view(), dialog.secret) << shown;
  if (status == Status::credentials) {
    EXPECT_EQ(credentials.mechanism, dialog.mechanism);
  }
  if (status != Status::challenge) {
    EXPECT_EQ(exchange.step("again"), Status::malformed) << shown;
    EXPECT_TRUE(exchange.take_credentials().secret.empty());
    EXPECT_TRUE(exchange.take_credentials().authcid.empty());
  }
}

TEST(SaslExchange, GivesCredentials) {
  const Dialog dialogs[] = {
      {Mechanism::plain, {"\0al@x\0pw"s}, {}, Status::credentials, "al@x", "", "pw"},
      {Mechanism::plain, {std::nullopt, "\0al@x\0pw"s}, {""}, Status::credentials, "al@x", "", "pw"},
      {Mechanism::plain, {"bob\0al\0p w\x01\xff"s}, {}, Status::credentials, "al", "bob", "p w\x01\xff"},
      {Mechanism::plain, {"\0\xc3\xa9\0p"s}, {}, Status::credentials, "\xc3\xa9", "", "p"},
      {Mechanism::login,
       {std::nullopt, "al", "pw"},
       {"Username:", "Password:"},
       Status::credentials,
       "al",
       "",
       "pw"},
      {Mechanism::login, {"al", "pw"}, {"Password:"}, Status::credentials, "al", "", "pw"},
      {Mechanism::xoauth2,
       {"user=al@x\x01"
        "auth=Bearer ya29.A-_~+/=\x01\x01"},
       {},
       Status::credentials,
       "al@x",
       "",
       "ya29.A-_~+/="},
      {Mechanism::xoauth2,
       {std::nullopt,
        "user=al\x01"
        "auth=bearer t\x01\x01"},
       {""},
       Status::credentials,
       "al",
       "",
       "t"},
      {Mechanism::oauthbearer,
       {"n,a=al@x,\x01"
        "host=mx.example.com\x01port=587\x01"
        "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"},
       {},
       Status::credentials,
       "al@x",
       "",
       "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="},
      {Mechanism::oauthbearer,
       {std::nullopt,
        "y,a=a=2Cb=3Dc,\x01"
        "auth=BEARER t\x01\x01"},
       {""},
       Status::credentials,
       "a,b=c",
       "",
       "t"},
      {Mechanism::external, {""}, {}, Status::credentials, "", "", ""},
      {Mechanism::external, {std::nullopt, ""}, {""}, Status::credentials, "", "", ""},
      {Mechanism::external, {"al@x"}, {}, Status::credentials, "", "al@x", ""},
  };
  for (const Dialog& dialog : dialogs) run(dialog);
}

TEST(SaslExchange, RefusesWhatIsMalformed) {
  const std::string long_login(limits::login_octets + 1, 'a');
  const std::string long_secret(limits::secret_octets + 1, 'p');
  const std::pair<Mechanism, std::vector<std::string>> table[] = {
      {Mechanism::plain,
       {"", "\0"s, "\0\0"s, "al", "al\0pw"s, "\0al\0"s, "\0\0pw"s, "\0al\0pw\0"s, "\0al\0pw\0x"s,
        "\0\0al\0pw"s, "\0al\npw\0x\0"s, "\0a\nl\0pw"s, "a\rb\0al\0pw"s, "\0\xff\0pw"s, "\xff\0al\0pw"s,
        "\0a\xc2\x85\0pw"s, "\0"s + long_login + "\0pw"s, long_login + "\0al\0pw"s, "\0al\0"s + long_secret}},
      {Mechanism::login, {"", "a\0b"s, "a\nb", "\xff", long_login}},
      {Mechanism::xoauth2,
       {"", "\x01", "user=al",
        "user=al\x01"
        "auth=Bearer t",
        "user=al\x01"
        "auth=Bearer t\x01",
        "user=al\x01"
        "auth=Bearer t\x01\x01\x01",
        "user=al\x01"
        "auth=Bearer t\x01\x01x",
        "user=\x01"
        "auth=Bearer t\x01\x01",
        "user=al\x01"
        "auth=Bearer \x01\x01",
        "user=al\x01"
        "auth=Basic t\x01\x01",
        "user=al\x01"
        "auth=Bearert\x01\x01",
        "auth=Bearer t\x01user=al\x01\x01", "user=a\0l\x01"s + "auth=Bearer t\x01\x01",
        "user=al\x01"
        "auth=Bearer t t\x01\x01",
        "user=al\x01"
        "auth=Bearer t\"\x01\x01",
        "user=al\x01"
        "auth=Bearer t\r\n\x01\x01",
        "user=" + long_login +
            "\x01"
            "auth=Bearer t\x01\x01",
        "user=al\x01"
        "auth=Bearer " +
            long_secret + "\x01\x01"}},
      {Mechanism::oauthbearer,
       {"",
        "\x01",
        "n,,\x01"
        "auth=Bearer t\x01\x01",
        "n,a=,\x01"
        "auth=Bearer t\x01\x01",
        "n\x01"
        "auth=Bearer t\x01\x01",
        "p=tls-exporter,a=al,\x01"
        "auth=Bearer t\x01\x01",
        "x,a=al,\x01"
        "auth=Bearer t\x01\x01",
        "n,a=al,auth=Bearer t\x01\x01",
        "n,a=al,\x01\x01",
        "n,a=al,\x01",
        "n,a=al,",
        "n,a=al,\x01"
        "auth=Bearer t\x01",
        "n,a=al,\x01"
        "auth=Bearer t",
        "n,a=al,\x01"
        "auth=\x01\x01",
        "n,a=al,\x01"
        "auth=Basic t\x01\x01",
        "n,a=al,\x01"
        "auth=Bearer t\x01"
        "auth=Bearer u\x01\x01",
        "n,a=al,\x01host\x01"
        "auth=Bearer t\x01\x01",
        "n,a=al,\x01=x\x01"
        "auth=Bearer t\x01\x01",
        "n,a=al,\x01"
        "a b=x\x01"
        "auth=Bearer t\x01\x01",
        "n,a=al,\x01\x01"
        "auth=Bearer t\x01\x01",
        "n,a=a=2cl,\x01"
        "auth=Bearer t\x01\x01",
        "n,a=a=,\x01"
        "auth=Bearer t\x01\x01",
        "n,a=a\0l,\x01"s + "auth=Bearer t\x01\x01",
        "n,user=al,\x01"
        "auth=Bearer t\x01\x01",
        "F,n,a=al,\x01"
        "auth=Bearer t\x01\x01"}},
      {Mechanism::external, {"a\0b"s, "\n", "\xff", long_login}},
  };
  for (const auto& [mechanism, messages] : table) {
    for (const std::string& message : messages)
      run({mechanism, {message}, {}, Status::malformed, "", "", ""});
  }
  for (const std::string& password : {""s, "p\0w"s, long_secret}) {
    run({Mechanism::login, {"al", password}, {"Password:"}, Status::malformed, "", "", ""});
  }
  for (const auto mechanism :
       {Mechanism::plain, Mechanism::xoauth2, Mechanism::oauthbearer, Mechanism::external}) {
    run({mechanism, {std::nullopt, std::nullopt}, {""}, Status::malformed, "", "", ""});
  }
  run({Mechanism::login,
       {std::nullopt, "al", std::nullopt},
       {"Username:", "Password:"},
       Status::malformed,
       "",
       "",
       ""});
}

TEST(Mechanism, NamesAreCaseInsensitive) {
  for (std::size_t i = 0; i < mechanism_count; ++i) {
    const auto mechanism = static_cast<Mechanism>(i);
    EXPECT_EQ(mechanism_by_name(name_of(mechanism)), mechanism);
  }
  EXPECT_EQ(mechanism_by_name("plain"), Mechanism::plain);
  for (const char* name : {"", "PLAI", "PLAINS", "CRAM-MD5", "PLAIN ", "OAUTHBEARER-PLUS"}) {
    EXPECT_EQ(mechanism_by_name(name), std::nullopt) << name;
  }
}

TEST(Mechanism, OnlyBearerTokensHaveAnErrorRound) {
  EXPECT_EQ(error_challenge(Mechanism::plain), "");
  EXPECT_EQ(error_challenge(Mechanism::login), "");
  EXPECT_EQ(error_challenge(Mechanism::external), "");
  EXPECT_NE(error_challenge(Mechanism::oauthbearer).find("\"status\":\"invalid_token\""),
            std::string_view::npos);
  EXPECT_NE(error_challenge(Mechanism::xoauth2).find("\"status\":\"401\""), std::string_view::npos);
}

TEST(Wipe, OverwritesAllOfTheBuffer) {
  std::string bytes(100, 's');
  bytes.resize(3);  // the rest of the old value still lies behind
  const std::size_t capacity = bytes.capacity();
  const char* octets = bytes.data();
  wipe(bytes);
  EXPECT_TRUE(bytes.empty());
  ASSERT_EQ(bytes.data(), octets) << "wiped where it was, not in a copy";
  EXPECT_TRUE(std::all_of(octets, octets + capacity, [](char c) { return c == '\0'; }));
}

// The octets of an object, also after its end: what a core dump would show.
template <typename T>
struct Remains {
  alignas(T) std::array<unsigned char, sizeof(T)> octets{};
  T* object() { return std::launder(reinterpret_cast<T*>(octets.data())); }
  bool contain(std::string_view text) const {
    return !std::ranges::search(octets, text, {}, {}, [](char c) {
              return static_cast<unsigned char>(c);
            }).empty();
  }
};

TEST(Secret, LeavesNothingBehind) {
  const std::string_view password = "hunter2hunter2";  // short enough to live inside the object
  Remains<Secret> first, second;
  new (first.octets.data()) Secret(password);
  ASSERT_TRUE(first.contain(password)) << "the test looks at the right place";
  new (second.octets.data()) Secret(std::move(*first.object()));
  EXPECT_FALSE(first.contain("hunter2")) << "moved from";
  EXPECT_EQ(second.object()->view(), password);
  *first.object() = std::move(*second.object());
  EXPECT_FALSE(second.contain("hunter2")) << "moved from by assignment";
  *second.object() = *first.object();
  EXPECT_EQ(second.object()->view(), password);
  second.object()->wipe();
  EXPECT_FALSE(second.contain("hunter2"));
  first.object()->~Secret();
  second.object()->~Secret();
  EXPECT_FALSE(first.contain("hunter2")) << "destroyed";
}

TEST(Secret, CopiesAndMoves) {
  Secret a("x");
  const Secret& same = a;
  a = same;
  EXPECT_EQ(a.view(), "x");
  const Secret longer(std::string(100, 'y'));
  a = longer;
  EXPECT_EQ(a.view(), longer.view());
  const Secret b(std::move(a));
  EXPECT_EQ(b.view(), longer.view());
  EXPECT_TRUE(Secret().empty());
}

}  // namespace
}  // namespace portcullis::smtp
