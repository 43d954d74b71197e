// The messages of tests/messages, each through a session whole, octet by octet and randomly cut: what passes
// reaches the upstream octet for octet, what is refused is refused by the rule that the index names.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "tests/proxy/session/harness.h"

namespace portcullis::session::testing {
namespace {

const std::string folder = PORTCULLIS_SOURCE_DIR "/tests/messages/";

struct Message {
  std::string name, sender, verdict;
  std::string octets;
};

std::vector<Message> read_messages() {
  std::vector<Message> messages;
  std::ifstream index(folder + "index.txt");
  for (std::string line; std::getline(index, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::string columns[3];
    std::size_t at = 0;
    for (std::string& column : columns) {
      const std::size_t end = std::min(line.find(" | ", at), line.size());
      column = line.substr(at, end - at);
      at = std::min(end + 3, line.size());
    }
    std::ifstream file(folder + columns[0] + ".eml", std::ios::binary);
    EXPECT_TRUE(file) << columns[0];
    const std::string octets{std::istreambuf_iterator<char>(file), {}};
    messages.push_back({columns[0], columns[1], columns[2], octets});
  }
  return messages;
}

// As DATA carries it (RFC 5321 4.5.2).
std::string stuffed(const std::string& octets) {
  std::string out;
  bool line_start = true;
  for (const char c : octets) {
    if (line_start && c == '.') out += '.';
    out += c;
    line_start = c == '\n';
  }
  return out + ".\r\n";
}

// What a server makes of `wire`, from behind the 354 to the final dot, without the Received field on top.
std::string received(std::string wire) {
  wire.resize(wire.size() - 3);
  std::string out;
  bool ours = true;
  for (std::size_t at = 0; at < wire.size();) {
    const std::size_t end = std::min(wire.find("\r\n", at), wire.size() - 2) + 2;
    ours = ours && (at == 0 || wire[at] == '\t');
    if (!ours) out += wire.substr(wire[at] == '.' ? at + 1 : at, end - at - (wire[at] == '.' ? 1 : 0));
    at = end;
  }
  return out;
}

void send_envelope(Harness& h, const std::string& sender) {
  h.start();
  h.client("EHLO client.test\r\n");
  const bool logged_in = sender == "login" || sender == "receipt";
  if (logged_in) {
    h.client("AUTH PLAIN AGFsaWNlAHB3\r\n");
    h.auth_done(auth::Result::success, "alice@example.com");
  }
  const std::string path = sender == "person"  ? "jane@remote.test"
                           : sender == "login" ? "alice@example.com"
                                               : "";
  h.client("MAIL FROM:<" + path + ">\r\n");
  h.client("RCPT TO:<bob@example.com>\r\n");
  h.upstream("250 2.1.0 ok\r\n250 2.1.5 ok\r\n");
  h.client("DATA\r\n");
  ASSERT_TRUE(h.client_out.ends_with("<CR><LF>.<CR><LF>\r\n")) << h.client_out;
  h.client_out.clear();
}

// Sends `content` in pieces, and says 354 when the upstream is asked to take it.
void send_content(Harness& h, const std::string& content, int cut) {
  std::mt19937 random(7);
  bool asked = false;
  for (std::size_t at = 0; at < content.size();) {
    std::size_t size = cut == 0 ? content.size() : cut == 1 ? 1 : 1 + random() % 17;
    size = std::min(size, content.size() - at);
    const std::vector<char> piece(content.begin() + static_cast<std::ptrdiff_t>(at),
                                  content.begin() + static_cast<std::ptrdiff_t>(at + size));
    h.client({piece.data(), piece.size()});
    if (!asked && h.upstream_open() && h.wires.back().ends_with("DATA\r\n")) {
      asked = true;
      h.wires.back().clear();
      h.upstream("354 go on\r\n");
    }
    at += size;
  }
}

void send(const Message& message, int cut) {
  SCOPED_TRACE(message.name + ", cut " + std::to_string(cut));
  Setup setup;
  setup.auth = config::AuthMode::optional;
  setup.auth_without_tls = true;
  setup.bare_lf = smtp::BareLf::refuse;
  Harness h(setup);
  ASSERT_NO_FATAL_FAILURE(send_envelope(h, message.sender));
  send_content(h, stuffed(message.octets), cut);
  if (message.verdict == "accepted") {
    EXPECT_EQ(h.client_out, "") << "before the upstream's reply";
    ASSERT_TRUE(h.wires.back().ends_with("\r\n.\r\n"));
    const std::string there = received(h.wires.back());
    EXPECT_TRUE(there == message.octets) << there.substr(0, 500);
    h.upstream("250 2.0.0 taken\r\n");
    EXPECT_TRUE(h.client_out.starts_with("250 2.0.0 taken")) << h.client_out;
    return;
  }
  std::istringstream words(message.verdict);
  std::string rule, text;
  words >> rule >> std::ws;
  std::getline(words, text);
  EXPECT_TRUE(h.client_out.contains("(rule " + rule + ", id SID.1)")) << h.client_out;
  EXPECT_TRUE(h.client_out.contains(text)) << h.client_out;
  EXPECT_TRUE(h.client_out.starts_with("550 5.")) << h.client_out;
  for (const std::string& wire : h.wires) EXPECT_FALSE(wire.contains("\r\n.\r\n"));
}

TEST(Messages, PassUnchangedOrAreRefusedByTheirRule) {
  const std::vector<Message> messages = read_messages();
  ASSERT_GE(messages.size(), 60u);
  for (const Message& message : messages) {
    for (const int cut : {0, 1, 2}) send(message, cut);
  }
}

}  // namespace
}  // namespace portcullis::session::testing
