// SASL: the first octet chooses the mechanism, each line after it is a response in base64. What
// comes out as credentials is bounded and can be named in a log.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "smtp/ascii.h"
#include "smtp/base64.h"
#include "smtp/limits.h"
#include "smtp/sasl.h"
#include "smtp/utf8.h"

namespace {

using namespace portcullis::smtp;

void require(bool ok) {
  if (!ok) std::abort();
}

void check_name(std::string_view name) {
  require(name.size() <= limits::login_octets && is_valid_utf8(name));
  for (const char c : name) require(!is_control(c));
}

void check(const Credentials& credentials, Mechanism mechanism) {
  require(credentials.mechanism == mechanism);
  check_name(credentials.authcid);
  check_name(credentials.authzid);
  const std::string_view secret = credentials.secret.view();
  require(secret.size() <= limits::secret_octets && secret.find('\0') == std::string_view::npos);
  const bool external = mechanism == Mechanism::external;
  require(credentials.authcid.empty() == external && secret.empty() == external);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto mechanism = static_cast<Mechanism>(data[0] % mechanism_count);
  std::string_view rest(reinterpret_cast<const char*>(data + 1), size - 1);
  SaslExchange exchange(mechanism);
  // A first line "-": no initial response. Others that are not base64 go in as they are.
  for (int rounds = 0; rounds < 4; ++rounds) {
    const std::string_view line = next_token(rest, '\n');
    std::optional<std::string> response = decode_base64(line);
    if (response) {
      require(encode_base64(*response) == line);
    } else if (!(rounds == 0 && line == "-")) {
      response = std::string(line);
    }
    const auto status = exchange.step(response ? std::optional<std::string_view>(*response) : std::nullopt);
    if (status == SaslExchange::Status::challenge) continue;
    if (status == SaslExchange::Status::credentials) check(exchange.take_credentials(), mechanism);
    require(exchange.step("") == SaslExchange::Status::malformed);
    require(exchange.take_credentials().secret.empty());
    return 0;
  }
  require(false);  // no mechanism takes four rounds
  return 0;
}
