// Every fixed bound of the protocol code, in one place (law 4: bounded).
//
// A limit that an admin may change lives in the configuration; its default and its hard ceiling
// live here. Units are part of the name. Sources: RFC 5321 4.5.3.1 unless another is named.
#pragma once

#include <cstddef>
#include <cstdint>

namespace portcullis::smtp::limits {

// Command line with CRLF. RFC 5321 says 512; MAIL grows with SIZE, BODY, AUTH, RET, ENVID, SMTPUTF8
// (RFC 4954 adds 500, RFC 6531 10 + UTF-8 paths, RFC 3461 600), so one bound for all of them.
inline constexpr std::size_t command_line_octets = 2048;
// SASL responses, initial ones too: RFC 4954 section 4 asks for 12288 octets of base64.
inline constexpr std::size_t auth_response_octets = 12288;
inline constexpr std::size_t auth_line_octets = auth_response_octets + 64;  // with the command and CRLF
inline constexpr std::size_t domain_octets = 255;
inline constexpr std::size_t path_octets = 256;
// Body line without CRLF: RFC says 998; real mail is longer and DKIM forbids folding, so lines are
// only bounded, never cut. The bound is a matter of time, not memory: lines are streamed.
inline constexpr std::size_t header_block_octets_default = std::size_t{256} * 1024;
inline constexpr std::size_t author_field_octets = std::size_t{64} * 1024;  // From, Sender, Resent-*
inline constexpr std::size_t header_fields = 2000;
inline constexpr std::size_t header_mailboxes = 1000;    // per address field
inline constexpr std::size_t mime_boundary_octets = 70;  // RFC 2046 5.1.1
inline constexpr std::size_t mime_depth = 16;
inline constexpr std::size_t mime_parts = 10000;
// Pictures shown inside a text: a long exchange repeats the logos of each signature.
inline constexpr std::size_t mime_inline_pictures = 16;
inline constexpr std::size_t mime_part_header_octets = std::size_t{16} * 1024;
inline constexpr std::size_t reply_line_octets = 2048;  // of a peer; RFC says 512
inline constexpr std::size_t reply_lines = 128;
inline constexpr std::size_t reply_text_octets = 8192;  // all lines of one reply together
inline constexpr std::size_t relayed_reply_text_octets = 1024;
inline constexpr std::size_t recipients_default = 1000;  // RFC 5321 asks for at least 100
inline constexpr std::size_t pipelined_commands = 2000;
inline constexpr std::size_t pending_input_octets = std::size_t{64} * 1024;
inline constexpr std::size_t login_octets = 320;
inline constexpr std::size_t secret_octets = 9216;  // OAuth tokens are long; what auth_line_octets can carry
inline constexpr std::uint64_t message_octets_default = 50ULL * 1024 * 1024;
// What Portcullis may add to a message (Received field); subtracted from the SIZE it offers.
inline constexpr std::size_t added_header_octets = 2048;

}  // namespace portcullis::smtp::limits
