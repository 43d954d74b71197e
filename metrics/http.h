// The server side of one HTTP connection, as far as /metrics needs it (RFC 9110, 9112): GET and HEAD,
// no bodies, keep-alive. Pure: bytes in, response bytes out. What is not plain and small gets a 4xx or
// 505 and the connection ends.
//
//   HttpConnection http(handler);
//   const auto fed = http.feed(bytes, out);   // at most one request; drop fed.consumed octets
//   // send `out`; then feed the rest, unless http.closing(): then close after sending.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "metrics/labels.h"

namespace portcullis::metrics {

struct HttpRequest {
  std::string_view path;   // as sent, without the query; begins with '/'
  std::string_view query;  // after '?', or empty
};

struct HttpResponse {
  unsigned status = 200;
  Route route = Route::other;  // for portcullis_admin_requests_total
  std::string_view content_type = "text/plain; charset=utf-8";
  std::string body;
};

// Called for GET and HEAD alike (a HEAD response is sent without the body).
using HttpHandler = std::function<HttpResponse(const HttpRequest&)>;

namespace http_limits {
inline constexpr std::size_t target_octets = 1024;  // else 414
inline constexpr std::size_t head_octets = 8192;    // request line and fields; else 431
inline constexpr std::size_t fields = 64;           // else 431
inline constexpr std::size_t requests_per_connection = 1000;
}  // namespace http_limits

class HttpConnection {
 public:
  // `handler` outlives the connection.
  explicit HttpConnection(const HttpHandler& handler);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  struct Fed {
    std::size_t consumed = 0;
    unsigned status = 0;  // of the response appended to `out`; 0: the request is not complete
    Route route = Route::other;
  };
  // Not to be called once closing().
  Fed feed(std::string_view bytes, std::string& out);
  bool closing() const;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace portcullis::metrics
