// How a connection to an upstream is opened.
#include "proxy/session/upstream_link.h"

#include <gtest/gtest.h>

#include "proxy/session/upstream_commands.h"

namespace portcullis::session {
namespace {

// What a server hears that offers these attributes.
std::string xclient_told(const std::string& offered, const ClientIdentityFacts& client,
                         UpstreamLink::Step* last = nullptr) {
  config::Upstream settings;
  settings.tls = config::UpstreamTls::off;
  settings.client_identity = config::ClientIdentity::xclient;
  UpstreamLink link(settings, "mx.example.com", true, {xclient_attributes(client), "client.test"});
  Output out;
  link.connected();
  UpstreamLink::Step step{};
  for (const std::string& reply : {std::string("220 up\r\n"), "250-up\r\n250 XCLIENT " + offered + "\r\n"}) {
    out.clear();
    std::string_view bytes = reply;
    step = link.feed(bytes, out);
    link.sent();
  }
  if (last != nullptr) *last = step;
  return out.joined();
}

ClientIdentityFacts client() { return {"192.0.2.7", 4711, "client.test", true, "carol@example.com", {}, {}}; }

TEST(UpstreamLinkXClient, AllAttributes) {
  EXPECT_EQ(xclient_told("NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", client()),
            "XCLIENT NAME=[UNAVAILABLE] PORT=4711 PROTO=ESMTP HELO=client.test LOGIN=carol@example.com "
            "ADDR=192.0.2.7\r\n");
}

// One that a server does not know makes it refuse the command.
TEST(UpstreamLinkXClient, OnlyAttributesThatAreOffered) {
  EXPECT_EQ(xclient_told("NAME ADDR PROTO HELO", client()),
            "XCLIENT NAME=[UNAVAILABLE] PROTO=ESMTP HELO=client.test ADDR=192.0.2.7\r\n");
  EXPECT_EQ(xclient_told("ADDR", client()), "XCLIENT ADDR=192.0.2.7\r\n");
}

// Then the server would take the client for the gateway, with all that this one may.
TEST(UpstreamLinkXClient, NothingWithoutTheAddress) {
  UpstreamLink::Step last{};
  EXPECT_EQ(xclient_told("NAME PROTO HELO LOGIN", client(), &last), "");
  EXPECT_EQ(last, UpstreamLink::Step::failed);
}

// A probe speaks for no client: it sends no XCLIENT, and must find out all the same.
UpstreamLink::Step probed(config::ClientIdentity identity, const std::string& offer) {
  config::Upstream settings;
  settings.tls = config::UpstreamTls::off;
  settings.client_identity = identity;
  UpstreamLink link(settings, "mx.example.com", true, {});
  Output out;
  link.connected();
  UpstreamLink::Step step{};
  for (const std::string& reply : {std::string("220 up\r\n"), "250-up\r\n250 " + offer + "\r\n"}) {
    std::string_view bytes = reply;
    step = link.feed(bytes, out);
    link.sent();
  }
  EXPECT_EQ(out.joined(), "EHLO mx.example.com\r\n");
  EXPECT_EQ(link.failure(), step == UpstreamLink::Step::ready ? LinkFailure::none : LinkFailure::xclient);
  return step;
}

TEST(UpstreamLinkXClient, AProbeMissesIt) {
  EXPECT_EQ(probed(config::ClientIdentity::xclient, "PIPELINING"), UpstreamLink::Step::failed);
  EXPECT_EQ(probed(config::ClientIdentity::xclient, "XCLIENT NAME HELO"), UpstreamLink::Step::failed);
  EXPECT_EQ(probed(config::ClientIdentity::xclient, "XCLIENT ADDR"), UpstreamLink::Step::ready);
  EXPECT_EQ(probed(config::ClientIdentity::none, "PIPELINING"), UpstreamLink::Step::ready);
}

// What the server says when nothing was asked. How TCP has cut it must not matter.
TEST(UpstreamLinkUnasked, ARefusalIsKept) {
  config::Upstream settings;
  settings.tls = config::UpstreamTls::off;
  for (const std::string_view reply : {"552 5.3.4 too big\r\n", "421 4.4.2 timeout\r\n", "250 2.0.0 ok\r\n",
                                       "354 go\r\n", "5xx\r\n", "quite another thing\r\n"}) {
    for (std::size_t cut = 1; cut < reply.size(); ++cut) {
      UpstreamLink link(settings, "mx.example.com", true, {});
      Output out;
      link.connected();
      for (std::string_view bytes : {std::string_view("220 up\r\n"), std::string_view("250 up\r\n")}) {
        link.feed(bytes, out);
        link.sent();
      }
      ASSERT_TRUE(link.ready());
      std::string_view first = reply.substr(0, cut);
      link.feed(first, out);
      EXPECT_TRUE(link.interrupted());
      link.command("MAIL FROM:<a@b.test>\r\n", Expect::mail, out);  // must not be answered by the rest
      link.sent();
      std::string_view rest = reply.substr(cut);
      EXPECT_EQ(link.feed(rest, out), UpstreamLink::Step::failed) << reply << cut;
      const bool refusal = reply.starts_with("552") || reply.starts_with("421");
      EXPECT_EQ(link.parting().code != 0, refusal) << reply << cut;
      EXPECT_EQ(link.failure(), refusal ? LinkFailure::closed : LinkFailure::unasked) << reply << cut;
    }
  }
}

// The beginning of a login is somebody else's.
TEST(UpstreamLinkXClient, ALoginIsToldWholeOrNotAtAll) {
  ClientIdentityFacts told = client();
  const std::string long_login = std::string(100, 'a') + "@example.com";
  told.login = long_login;
  EXPECT_NE(xclient_told("ADDR LOGIN", told).find("LOGIN=" + long_login + ' '), std::string::npos);
  const std::string longest = std::string(300, 'a') + "@example.com";
  told.login = longest;
  EXPECT_EQ(xclient_told("ADDR LOGIN", told), "XCLIENT LOGIN=[UNAVAILABLE] ADDR=192.0.2.7\r\n");
}

}  // namespace
}  // namespace portcullis::session
