#include "metrics/http.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

namespace portcullis::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

HttpResponse answer(const HttpRequest& request) {
  if (request.path == "/metrics") return {.status = 200, .route = Route::metrics, .body = "body\n"};
  return {.status = 404, .body = std::string(request.path) + "?" + std::string(request.query) + "\n"};
}

struct Conversation {
  std::string out;
  std::vector<unsigned> statuses;
  bool closing = false;
  bool operator==(const Conversation&) const = default;
};

// Feeds `pieces` as a server would: what was not consumed comes again with the next piece.
Conversation converse(const std::vector<std::string>& pieces) {
  const HttpHandler handler = answer;
  HttpConnection http(handler);
  Conversation conversation;
  std::string input;
  for (const std::string& piece : pieces) {
    input += piece;
    while (!input.empty() && !http.closing()) {
      // An exact-size heap copy: ASan sees one octet too far.
      const std::unique_ptr<char[]> copy(new char[input.size()]);
      input.copy(copy.get(), input.size());
      const auto fed = http.feed({copy.get(), input.size()}, conversation.out);
      EXPECT_LE(fed.consumed, input.size());
      input.erase(0, fed.consumed);
      if (fed.status == 0) break;
      conversation.statuses.push_back(fed.status);
    }
    EXPECT_TRUE(input.empty() || http.closing());
  }
  conversation.closing = http.closing();
  return conversation;
}

std::vector<std::string> octets_of(const std::string& whole) {
  std::vector<std::string> pieces;
  for (const char c : whole) pieces.emplace_back(1, c);
  return pieces;
}

std::vector<std::string> cut(const std::string& whole, std::mt19937& random) {
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < whole.size();) {
    const std::size_t length = 1 + random() % 40;
    pieces.push_back(whole.substr(at, length));
    at += length;
  }
  return pieces;
}

// The same under every segmentation.
Conversation under_all_cuts(const std::string& whole) {
  const Conversation conversation = converse({whole});
  EXPECT_EQ(converse(octets_of(whole)), conversation) << whole;
  std::mt19937 random(42);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(converse(cut(whole, random)), conversation) << whole;
  return conversation;
}

const std::string host = "Host: localhost\r\n";

TEST(Http, AnswersGet) {
  const auto c = under_all_cuts("GET /metrics HTTP/1.1\r\n" + host + "\r\n");
  EXPECT_EQ(c.out,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\nbody\n");
  EXPECT_FALSE(c.closing);
}

TEST(Http, AnswersHeadWithoutBody) {
  const auto c = under_all_cuts("HEAD /metrics HTTP/1.1\r\n" + host + "\r\n");
  EXPECT_THAT(c.out, HasSubstr("Content-Length: 5\r\n"));
  EXPECT_THAT(c.out, testing::EndsWith("\r\n\r\n"));
}

TEST(Http, SplitsTheTarget) {
  const auto c = under_all_cuts("GET /a/b?c=d?e HTTP/1.1\r\n" + host + "\r\n");
  EXPECT_THAT(c.out, testing::EndsWith("\r\n\r\n/a/b?c=d?e\n"));
  EXPECT_THAT(c.out, StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_FALSE(c.closing);
}

TEST(Http, KeepsOrEndsTheConnection) {
  const std::string get = "GET /metrics HTTP/1.1\r\n" + host;
  EXPECT_FALSE(under_all_cuts(get + "\r\n").closing);
  EXPECT_TRUE(under_all_cuts(get + "Connection: close\r\n\r\n").closing);
  EXPECT_TRUE(under_all_cuts("GET /metrics HTTP/1.0\r\n\r\n").closing);
  EXPECT_FALSE(under_all_cuts("GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").closing);
  const auto upgrade = under_all_cuts(get + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nmore");
  EXPECT_EQ(upgrade.statuses, std::vector<unsigned>{200});
  EXPECT_TRUE(upgrade.closing);
}

TEST(Http, AnswersPipelinedRequestsInOrder) {
  const auto c =
      under_all_cuts("GET /metrics HTTP/1.1\r\n" + host + "\r\nHEAD /x HTTP/1.1\r\n" + host +
                     "\r\nGET /metrics HTTP/1.1\r\n" + host + "Connection: close\r\n\r\nGET /never");
  EXPECT_EQ(c.statuses, (std::vector<unsigned>{200, 404, 200}));
  EXPECT_TRUE(c.closing);
}

TEST(Http, EndsAConnectionThatNeverEnds) {
  std::string many;
  for (std::size_t i = 0; i < http_limits::requests_per_connection + 5; ++i)
    many += "GET /metrics HTTP/1.1\r\n" + host + "\r\n";
  const auto c = converse({many});
  EXPECT_EQ(c.statuses.size(), http_limits::requests_per_connection);
  EXPECT_TRUE(c.closing);
}

TEST(Http, RefusesWhatIsNotPlainAndSmall) {
  struct Case {
    std::string name;
    std::string request;
    unsigned status;
  };
  std::string fields;
  for (int i = 0; i < 70; ++i) fields += "X: y\r\n";
  const std::string get = "GET /metrics HTTP/1.1\r\n";
  const Case cases[] = {
      {"POST", "POST /metrics HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc", 405},
      {"PUT", "PUT /metrics HTTP/1.1\r\n" + host + "\r\n", 405},
      {"CONNECT", "CONNECT localhost:25 HTTP/1.1\r\n" + host + "\r\n", 405},
      {"unknown method", "BREW /metrics HTTP/1.1\r\n" + host + "\r\n", 400},
      {"lower case", "get /metrics HTTP/1.1\r\n" + host + "\r\n", 400},
      {"body", get + host + "Content-Length: 3\r\n\r\nabc", 413},
      {"huge body", get + host + "Content-Length: 18446744073709551615\r\n\r\n", 413},
      {"overflow", get + host + "Content-Length: 18446744073709551616\r\n\r\n", 400},
      {"two lengths", get + host + "Content-Length: 0\r\nContent-Length: 3\r\n\r\n", 400},
      {"negative", get + host + "Content-Length: -1\r\n\r\n", 400},
      {"chunked", get + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413},
      {"both framings", get + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"no host", get + "\r\n", 400},
      {"two hosts", get + host + host + "\r\n", 400},
      {"absolute form", "GET http://localhost/metrics HTTP/1.1\r\n" + host + "\r\n", 400},
      {"asterisk", "GET * HTTP/1.1\r\n" + host + "\r\n", 400},
      {"HTTP/0.9", "GET /metrics\r\n\r\n", 505},
      {"HTTP/1.2", "GET /metrics HTTP/1.2\r\n" + host + "\r\n", 505},
      {"HTTP/2.0", "GET /metrics HTTP/2.0\r\n" + host + "\r\n", 505},
      {"h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"long target", "GET /" + std::string(2000, 'a') + " HTTP/1.1\r\n" + host + "\r\n", 414},
      {"endless target", "GET /" + std::string(20000, 'a'), 414},
      {"many fields", get + host + fields + "\r\n", 431},
      {"long field", get + host + "X: " + std::string(9000, 'a') + "\r\n\r\n", 431},
      {"endless field", get + "X" + std::string(9000, 'a'), 431},
      {"endless blank lines", std::string(9000, '\n'), 431},
      {"space before colon", get + "Host : localhost\r\n\r\n", 400},
      {"folded field", get + host + "X: a\r\n b\r\n\r\n", 0},
      {"bare CR in a field", get + host + "X: a\rb\r\n\r\n", 400},
      {"NUL", get + host + std::string("X: a\0b\r\n\r\n", 10), 400},
      {"control in the target", "GET /\x01 HTTP/1.1\r\n" + host + "\r\n", 400},
      {"SMTP", "EHLO localhost\r\n", 400},
      {"TLS", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 400},
  };
  for (const auto& [name, request, status] : cases) {
    const auto c = under_all_cuts(request);
    if (status == 0) continue;  // judged by llhttp either way; the same under all cuts
    ASSERT_EQ(c.statuses, std::vector<unsigned>{status}) << name << ": " << c.out;
    EXPECT_TRUE(c.closing) << name;
    EXPECT_THAT(c.out, HasSubstr("\r\nConnection: close\r\n")) << name;
    EXPECT_THAT(c.out, StartsWith("HTTP/1.1 " + std::to_string(status) + " ")) << name;
    if (status == 405) {
      EXPECT_THAT(c.out, HasSubstr("\r\nAllow: GET, HEAD\r\n"));
    }
  }
}

// What a request says never appears in a head, and never in an error.
TEST(Http, EchoesNothing) {
  const auto c = under_all_cuts("BAD <script>alert(1)</script> HTTP/1.1\r\nX: <script>\r\n\r\n");
  EXPECT_THAT(c.out, Not(HasSubstr("script")));
}

TEST(Http, WaitsForTheRest) {
  const auto c = under_all_cuts("GET /metrics HTTP/1.1\r\n" + host);
  EXPECT_TRUE(c.statuses.empty());
  EXPECT_EQ(c.out, "");
  EXPECT_FALSE(c.closing);
}

}  // namespace
}  // namespace portcullis::metrics
