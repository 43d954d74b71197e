#include "metrics/http.h"

#include <fmt/format.h>
#include <llhttp.h>

#include <algorithm>
#include <iterator>

namespace portcullis::metrics {
namespace {

std::string_view reason_of(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Unknown";
  }
}

void append_response(std::string& out, const HttpResponse& response, bool with_body, bool close) {
  fmt::format_to(std::back_inserter(out),
                 "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
                 "X-Content-Type-Options: nosniff\r\n{}{}\r\n",
                 response.status, reason_of(response.status), response.content_type, response.body.size(),
                 response.status == 405 ? "Allow: GET, HEAD\r\n" : "", close ? "Connection: close\r\n" : "");
  if (with_body) out += response.body;
}

bool is_host(std::string_view name) {
  constexpr std::string_view host = "host";
  return std::equal(name.begin(), name.end(), host.begin(), host.end(),
                    [](char a, char b) { return (a | 0x20) == b; });
}

}  // namespace

struct HttpConnection::Parser {
  explicit Parser(const HttpHandler& h) : handler(h) {
    static const llhttp_settings_t settings = make_settings();
    llhttp_init(&llhttp, HTTP_REQUEST, &settings);
    llhttp.data = this;
  }

  static Parser& of(llhttp_t* llhttp) { return *static_cast<Parser*>(llhttp->data); }
  static llhttp_settings_t make_settings();
  int refuse(unsigned with) {
    status = with;
    return HPE_USER;
  }
  int end_of_head();
  unsigned status_of(llhttp_errno_t error) const;
  Fed respond(std::string& out);
  Fed fail(std::string& out, unsigned with);

  const HttpHandler& handler;
  llhttp_t llhttp{};
  std::string target;
  std::string field;  // name of the field being read, as far as "host" needs it
  std::size_t octets = 0;
  std::size_t fields = 0;
  std::size_t hosts = 0;
  std::size_t requests = 0;
  unsigned status = 0;  // why a callback refused
  bool closing = false;
};

llhttp_settings_t HttpConnection::Parser::make_settings() {
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  settings.on_url = [](llhttp_t* llhttp, const char* at, std::size_t length) {
    Parser& self = of(llhttp);
    if (self.target.size() + length > http_limits::target_octets) return self.refuse(414);
    self.target.append(at, length);
    return 0;
  };
  settings.on_header_field = [](llhttp_t* llhttp, const char* at, std::size_t length) {
    Parser& self = of(llhttp);
    constexpr std::size_t enough = 5;  // longer than "host"
    self.field.append(at, std::min(length, enough - std::min(enough, self.field.size())));
    return 0;
  };
  settings.on_header_value_complete = [](llhttp_t* llhttp) {
    Parser& self = of(llhttp);
    if (++self.fields > http_limits::fields) return self.refuse(431);
    if (is_host(self.field)) ++self.hosts;
    self.field.clear();
    return 0;
  };
  settings.on_headers_complete = [](llhttp_t* llhttp) { return of(llhttp).end_of_head(); };
  // One request at a time: the next is parsed when this one's response is on its way.
  settings.on_message_complete = [](llhttp_t*) -> int { return HPE_PAUSED; };
  return settings;
}

int HttpConnection::Parser::end_of_head() {
  const bool http_1_1 = llhttp.http_major == 1 && llhttp.http_minor == 1;
  const bool http_1_0 = llhttp.http_major == 1 && llhttp.http_minor == 0;
  if (!http_1_1 && !http_1_0) return refuse(505);
  if (llhttp.method != HTTP_GET && llhttp.method != HTTP_HEAD) return refuse(405);
  // RFC 9112 3.2: exactly one Host in HTTP/1.1. An absolute-form target is a proxy's affair.
  if (hosts > 1 || (http_1_1 && hosts == 0) || !target.starts_with('/')) return refuse(400);
  if (llhttp.content_length != 0 || (llhttp.flags & (F_CHUNKED | F_TRANSFER_ENCODING)) != 0)
    return refuse(413);
  return 0;
}

unsigned HttpConnection::Parser::status_of(llhttp_errno_t error) const {
  if (status != 0) return status;
  return error == HPE_INVALID_VERSION || error == HPE_PAUSED_H2_UPGRADE ? 505 : 400;
}

HttpConnection::Fed HttpConnection::Parser::respond(std::string& out) {
  const std::string_view whole = target;
  const std::size_t question = whole.find('?');
  const HttpRequest request{
      .path = whole.substr(0, question),
      .query = question == std::string_view::npos ? std::string_view() : whole.substr(question + 1)};
  const HttpResponse response = handler(request);
  closing = llhttp_should_keep_alive(&llhttp) == 0 || llhttp.upgrade != 0 ||
            ++requests >= http_limits::requests_per_connection;
  append_response(out, response, llhttp.method == HTTP_GET, closing);
  target.clear();
  octets = fields = hosts = 0;
  return {.consumed = 0, .status = response.status, .route = response.route};
}

HttpConnection::Fed HttpConnection::Parser::fail(std::string& out, unsigned with) {
  closing = true;
  append_response(out, {.status = with, .body = fmt::format("{}\n", reason_of(with))}, true, true);
  return {.consumed = 0, .status = with};
}

HttpConnection::HttpConnection(const HttpHandler& handler) : parser_(std::make_unique<Parser>(handler)) {}
HttpConnection::~HttpConnection() = default;
bool HttpConnection::closing() const { return parser_->closing; }

HttpConnection::Fed HttpConnection::feed(std::string_view bytes, std::string& out) {
  Parser& parser = *parser_;
  // Octet by octet: which of two errors comes first must not depend on how the network cut the bytes,
  // and llhttp reports spans no earlier than their end or the buffer's. A head is small.
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const llhttp_errno_t error = llhttp_execute(&parser.llhttp, &bytes[i], 1);
    if (error == HPE_PAUSED || error == HPE_PAUSED_UPGRADE) {
      Fed fed = parser.respond(out);
      if (error == HPE_PAUSED) llhttp_resume(&parser.llhttp);
      fed.consumed = parser.closing ? bytes.size() : i + 1;
      return fed;
    }
    ++parser.octets;
    if (error == HPE_OK && parser.octets < http_limits::head_octets) continue;
    Fed fed = parser.fail(out, error == HPE_OK ? 431 : parser.status_of(error));
    fed.consumed = bytes.size();
    return fed;
  }
  return {.consumed = bytes.size()};
}

}  // namespace portcullis::metrics
