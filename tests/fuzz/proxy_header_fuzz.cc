// A balancer's header: the same whatever is behind it, found at the first octet at which it is whole,
// never longer than what is there.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "policy/ip.h"
#include "proxy/net/proxy_header.h"

namespace {

using namespace portcullis::net;
using Status = ProxyHeader::Status;

void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const ProxyHeader whole = parse_proxy_header(bytes);
  require(whole.status == Status::complete || !whole.client);
  if (whole.status == Status::complete) {
    require(whole.octets <= size && whole.octets <= proxy_header_octets);
    if (whole.client)
      require(portcullis::policy::parse_ip(portcullis::policy::to_string(whole.client->address)).has_value());
    require(parse_proxy_header(bytes.substr(0, whole.octets)).status == Status::complete);
    for (std::size_t cut = 0; cut < whole.octets; ++cut) {
      require(parse_proxy_header(bytes.substr(0, cut)).status == Status::need_more);
    }
  } else if (whole.status == Status::need_more) {
    require(size < proxy_header_octets);
    for (std::size_t cut = 0; cut < size; ++cut) {
      require(parse_proxy_header(bytes.substr(0, cut)).status == Status::need_more);
    }
  }
  return 0;
}
