#include "proxy/net/upstream_demands.h"

namespace portcullis::net {

std::string missed_demands(const config::Upstream& settings, const smtp::Extensions& extensions) {
  std::string text;
  const auto missed = [&text](bool missing, const char* sentence) {
    if (missing) text += std::string("; warning: ") + sentence;
  };
  missed(
      settings.client_identity == config::ClientIdentity::xforward && extensions.xforward == 0,
      "client_identity = \"xforward\", but the server does not offer XFORWARD: it logs every message as from "
      "this gateway");
  missed(
      settings.chunking && !(extensions.chunking && extensions.pipelining),
      "chunking = true, but the server does not offer CHUNKING and PIPELINING: messages are sent with DATA");
  missed(settings.trusted_for_auth && extensions.auth == 0,
         "trusted_for_auth = true, but the server does not offer AUTH: it is not told the login");
  return text;
}

std::string ready_text(const UpstreamConnection& connection) {
  return (connection.link().tls() ? "ready, TLS" : "ready, no TLS") +
         missed_demands(*connection.target().settings, connection.link().extensions());
}

}  // namespace portcullis::net
