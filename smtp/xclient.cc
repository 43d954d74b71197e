#include "smtp/xclient.h"

#include <algorithm>
#include <charconv>

#include "smtp/ascii.h"
#include "smtp/extensions.h"
#include "smtp/params.h"

namespace portcullis::smtp {

namespace {

std::optional<std::string> value_of(std::string_view wire) {
  if (equals_ignoring_case(wire, "[UNAVAILABLE]") || equals_ignoring_case(wire, "[TEMPUNAVAIL]"))
    return std::string();
  // A bare '=' passes in the parameters of MAIL and RCPT; here it could begin another attribute's value.
  if (wire.find('=') != std::string_view::npos) return std::nullopt;
  std::optional<std::string> value = decode_xtext(wire);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; };
  if (!value || value->empty() || std::any_of(value->begin(), value->end(), is_control)) return std::nullopt;
  return value;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// False: the value is not one for this attribute.
bool take(XAttributes& out, std::uint16_t attribute, std::string value) {
  constexpr std::string_view v6_prefix = "IPV6:";
  switch (attribute) {
    case x_name:
      out.name = std::move(value);
      return true;
    case x_addr:
      if (starts_with_ignoring_case(value, v6_prefix)) {
        value.erase(0, v6_prefix.size());
      }
      out.addr = std::move(value);
      return true;
    case x_port:
      if (value.empty()) return true;
      out.port = parse_port(value);
      return out.port.has_value();
    case x_proto:
      out.proto = std::move(value);
      return out.proto.empty() || equals_ignoring_case(out.proto, "SMTP") ||
             equals_ignoring_case(out.proto, "ESMTP");
    case x_helo:
      out.helo = std::move(value);
      return true;
    case x_login:
      out.login = std::move(value);
      return true;
    case x_ident:
      out.ident = std::move(value);
      return true;
    case x_source:
      out.source = std::move(value);
      return out.source.empty() || equals_ignoring_case(out.source, "LOCAL") ||
             equals_ignoring_case(out.source, "REMOTE");
    default:
      return false;
  }
}

std::expected<XAttributes, std::string> parse(std::string_view argument, std::uint16_t taken) {
  XAttributes out;
  while (!argument.empty()) {
    const std::size_t end = std::min(argument.find(' '), argument.size());
    const std::string_view word = argument.substr(0, end);
    argument.remove_prefix(std::min(end + 1, argument.size()));
    if (word.empty()) continue;
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return std::unexpected("An attribute has no value");
    const std::uint16_t attribute = x_attribute_by_name(word.substr(0, equals));
    if ((attribute & taken) == 0) return std::unexpected("An attribute is not known");
    if ((out.told & attribute) != 0) return std::unexpected("An attribute comes twice");
    out.told |= attribute;
    std::optional<std::string> value = value_of(word.substr(equals + 1));
    if (!value || !take(out, attribute, std::move(*value))) {
      return std::unexpected("An attribute has a bad value");
    }
  }
  if (out.told == 0) return std::unexpected("An attribute is needed");
  return out;
}

}  // namespace

std::expected<XAttributes, std::string> parse_xclient(std::string_view argument) {
  return parse(argument, xclient_attributes_taken);
}

std::expected<XAttributes, std::string> parse_xforward(std::string_view argument) {
  return parse(argument, xforward_attributes_taken);
}

void merge(XAttributes& all, XAttributes later) {
  if ((later.told & x_name) != 0) all.name = std::move(later.name);
  if ((later.told & x_addr) != 0) all.addr = std::move(later.addr);
  if ((later.told & x_port) != 0) all.port = later.port;
  if ((later.told & x_proto) != 0) all.proto = std::move(later.proto);
  if ((later.told & x_helo) != 0) all.helo = std::move(later.helo);
  if ((later.told & x_ident) != 0) all.ident = std::move(later.ident);
  if ((later.told & x_source) != 0) all.source = std::move(later.source);
  all.told |= later.told;
}

}  // namespace portcullis::smtp
