// Parameters: what is accepted can be sent on, alone on its line, and reads the same there.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "smtp/params.h"
#include "smtp/xclient.h"

namespace {

using namespace portcullis::smtp;

void require(bool ok) {
  if (!ok) std::abort();
}

void require_token(const std::optional<std::string>& value) {
  if (!value) return;
  require(!value->empty());
  for (const char c : *value) require(c > ' ' && c < '\x7f');
}

void check_refusal(const Reply& reply) {
  require(reply.code == 501 || reply.code == 555);
  require(reply.enhanced == "5.5.4" && reply.text.size() < 100);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Extensions all{
      .esmtp = true, .eight_bit_mime = true, .smtputf8 = true, .dsn = true, .size = 0, .auth = 1};

  const auto mail = parse_mail_parameters(text, all);
  if (mail) {
    require_token(mail->envid);
    require_token(mail->ret);
    if (mail->auth) require(*mail->auth == "<>" || decode_xtext(encode_xtext(*mail->auth)) == mail->auth);
    if (mail->envid) require(decode_xtext(*mail->envid).has_value());
    require(mail->smtputf8 == has_smtputf8_parameter("FROM:<> " + std::string(text)));
  } else {
    check_refusal(mail.error());
  }
  const auto rcpt = parse_rcpt_parameters(text, all);
  if (rcpt) {
    require_token(rcpt->notify);
    require_token(rcpt->orcpt);
  } else {
    check_refusal(rcpt.error());
  }
  has_smtputf8_parameter(text);
  const auto xclient = parse_xclient(text);
  if (xclient) {
    for (const std::string* value : {&xclient->name, &xclient->addr, &xclient->helo, &xclient->login}) {
      for (const char c : *value) require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
    }
  }
  const auto xforward = parse_xforward(text);
  if (xforward) {
    for (const std::string* value : {&xforward->name, &xforward->addr, &xforward->helo, &xforward->ident}) {
      for (const char c : *value) require(static_cast<unsigned char>(c) >= ' ' && c != '\x7f');
    }
  }
  const auto bdat = parse_bdat_argument(text);
  if (bdat) require(text.size() <= 25);
  require(decode_xtext(encode_xtext(text)) == text);
  const auto decoded = decode_xtext(text);
  if (decoded) require(decode_xtext(encode_xtext(*decoded)) == *decoded);
  return 0;
}
