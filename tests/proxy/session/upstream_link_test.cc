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
