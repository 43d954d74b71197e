#include "smtp/mime.h"

#include <gtest/gtest.h>

#include <array>
#include <ostream>
#include <random>
#include <string>

#include "smtp/content_field.h"
#include "smtp/limits.h"
#include "tests/smtp/segments.h"

namespace portcullis::smtp {

void PrintTo(const MimeFacts& facts, std::ostream* out) {
  *out << facts.parts << " parts, " << facts.attachments << " attachments, depth " << facts.depth
       << (facts.limit_exceeded ? ", limit exceeded" : "") << (facts.malformed ? ", malformed" : "");
}

namespace {

using test::Cuts;
using test::every_cut;
using test::ExactBuffer;
using test::segmentations;

MimeFacts scan(std::string_view type, std::string_view body, const Cuts& cuts,
               std::string_view disposition = "", std::string_view encoding = "") {
  MimeScanner scanner;
  scanner.begin(type, disposition, encoding);
  std::size_t at = 0;
  for (const std::size_t cut : cuts) {
    const ExactBuffer piece(body.substr(at, cut));
    scanner.feed(piece.view());
    at += cut;
  }
  return scanner.finish();
}

// Every piece a line in a test ends with '\n' for CRLF.
std::string crlf(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\n') out += '\r';
    out += c;
  }
  return out;
}

struct MimeCase {
  std::string name;
  std::string type;
  std::string body;
  MimeFacts facts;
};

void PrintTo(const MimeCase& mime, std::ostream* out) { *out << mime.name; }

class Mime : public testing::TestWithParam<MimeCase> {};

TEST_P(Mime, IsCountedAtEveryCut) {
  const auto& param = GetParam();
  const std::string body = crlf(param.body);
  auto ways = segmentations(body.size());
  for (auto& cuts : every_cut(body.size())) ways.push_back(cuts);
  for (const auto& cuts : ways) ASSERT_EQ(scan(param.type, body, cuts), param.facts);
}

constexpr MimeFacts facts(std::size_t parts, std::size_t attachments, std::size_t depth) {
  return {.parts = parts, .attachments = attachments, .depth = depth};
}
constexpr MimeFacts malformed(std::size_t parts, std::size_t attachments, std::size_t depth) {
  return {.parts = parts, .attachments = attachments, .depth = depth, .malformed = true};
}

const std::string mixed = "multipart/mixed; boundary=b";

INSTANTIATE_TEST_SUITE_P(
    Bodies, Mime,
    testing::Values(
        MimeCase{"no_header_at_all", "", "hello\n", facts(1, 0, 0)},
        MimeCase{"text", "text/plain; charset=utf-8", "--b\n", facts(1, 0, 0)},
        MimeCase{"pdf_alone", "application/pdf", "x", facts(1, 1, 0)},
        MimeCase{"not_a_type", "text", "x", facts(1, 0, 0)},
        MimeCase{"alternative", "multipart/alternative; boundary=\"b\"",
                 "preamble\n--b\nContent-Type: text/plain\n\nhi\n--b\nContent-Type: "
                 "text/html\n\n<p>\n--b--\nend\n",
                 facts(2, 0, 1)},
        MimeCase{"attachment", mixed,
                 "--b\n\ntext\n--b\nContent-Type: application/pdf; name=\"x.pdf\"\nContent-Disposition: "
                 "attachment;\n"
                 "\tfilename=\"x.pdf\"\nContent-Transfer-Encoding: base64\n\nAAAA\n--b--\n",
                 facts(2, 1, 1)},
        MimeCase{"named_text", mixed,
                 "--b\nContent-Disposition: inline; filename*=utf-8''a%20b\n\nx\n--b--\n", facts(1, 1, 1)},
        MimeCase{"split_name", mixed, "--b\nContent-Type: text/plain; name*0=a; name*1=b\n\nx\n--b--\n",
                 facts(1, 1, 1)},
        MimeCase{
            "forwarded_message", mixed,
            "--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\n--c--\n"
            "--b--\n",
            facts(1, 1, 1)},
        MimeCase{"digest", "multipart/digest; boundary=b", "--b\n\nSubject: x\n--b\n\nSubject: y\n--b--\n",
                 facts(2, 2, 1)},
        MimeCase{
            "inline_pictures", "multipart/related; boundary=b",
            "--b\nContent-Type: text/html\n\n<p>\n"
            "--b\nContent-Type: image/png; name=logo.png\nContent-ID: <1>\n\nx\n"
            "--b\nContent-Type: image/png; name=photo.png\n\nx\n"
            "--b\nContent-Type: image/png\nContent-ID: <2>\nContent-Disposition: attachment\n\nx\n--b--\n",
            facts(4, 2, 1)},
        MimeCase{"picture_in_mixed", mixed, "--b\nContent-Type: image/png\nContent-ID: <1>\n\nx\n--b--\n",
                 facts(1, 1, 1)},
        MimeCase{
            "nested", mixed,
            "--b\nContent-Type: multipart/related; boundary=r\n\n--r\nContent-Type: multipart/alternative;\n"
            " boundary=\"a\"\n\n--a\n\nx\n--a\n\ny\n--a--\n\n--r\nContent-Type: image/gif\nContent-ID: "
            "<x>\n\nx\n"
            "--r--\n\n--b\nContent-Type: application/zip\n\nx\n--b--\n",
            facts(4, 1, 3)},
        // What a multipart/related does not show inline.
        MimeCase{"programs_with_content_id", "multipart/related; boundary=b",
                 "--b\nContent-Type: text/html\n\n<p>\n"
                 "--b\nContent-Type: application/octet-stream; name=a.exe\nContent-ID: <1>\n"
                 "Content-Disposition: inline; filename=a.exe\n\nx\n"
                 "--b\nContent-Type: image/png; name=a.exe\nContent-ID: <2>\n\nx\n"
                 "--b\nContent-Type: image/png\nContent-ID: <3>\nContent-Disposition: inline; "
                 "filename*=utf-8''a.png%2Eexe\n\nx\n"
                 "--b\nContent-Type: application/pdf\nContent-ID: <4>\n\nx\n"
                 "--b\nContent-Type: image/png\nContent-ID: <5>\nContent-Disposition: x-other\n\nx\n--b--\n",
                 facts(6, 5, 1)},
        MimeCase{"pictures_by_their_names", "multipart/related; boundary=b",
                 "--b\nContent-Type: text/html\n\n<p>\n"
                 "--b\nContent-Type: application/octet-stream; name=a.PNG\nContent-ID: <1>\n\nx\n"
                 "--b\nContent-Type: image/jpeg; name=\"=?utf-8?q?b=2Ejpg?=\"\nContent-ID: <2>\n\nx\n"
                 "--b\nContent-Type: image/jpeg; name*0=c; name*1=.jpg\nContent-ID: <3>\n\nx\n--b--\n",
                 facts(4, 0, 1)},
        MimeCase{"unknown_disposition", mixed, "--b\nContent-Disposition: x-other\n\nx\n--b--\n",
                 facts(1, 1, 1)},
        MimeCase{"attached_message_with_attachments", mixed,
                 "--b\n\ntext\n--b\nContent-Type: message/rfc822\n\nReceived: x\n by y\n"
                 "Content-Type: multipart/mixed; boundary=c\nSubject: x\n\n--c\n\ntext\n"
                 "--c\nContent-Type: application/pdf\n\nx\n--c\nContent-Type: image/png\n\nx\n--c--\n"
                 "--b\nContent-Type: application/zip\n\nx\n--b--\n",
                 facts(3, 4, 1)},
        MimeCase{"message_in_message", mixed,
                 "--b\nContent-Type: message/rfc822\n\nContent-Type: message/global\n\nSubject: x\n"
                 "Content-Type: application/pdf\n\nx\n--b\n\nx\n--b--\n",
                 facts(2, 3, 1)},
        MimeCase{"digest_with_an_attachment", "multipart/digest; boundary=b",
                 "--b\n\nContent-Type: application/pdf\n\nx\n--b\n\nSubject: y\n--b--\n", facts(2, 3, 1)},
        MimeCase{"message_alone", "message/rfc822",
                 "Content-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: a/b\n\n--c--\n",
                 facts(1, 2, 0)},
        MimeCase{"message_ends_in_its_header", mixed,
                 "--b\nContent-Type: message/rfc822\n\nContent-Type: message/rfc822\n--b--\n",
                 facts(1, 2, 1)},
        MimeCase{"no_close_delimiters", mixed,
                 "--b\nContent-Type: multipart/alternative; boundary=a\n\n--a\n\nx\n--b\n"
                 "Content-Type: image/png\n\nx",
                 facts(2, 1, 2)},
        MimeCase{
            "inner_is_prefix_of_outer", "multipart/mixed; boundary=bb",
            "--bb\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b--\n--bb\n\ny\n--bb--\n",
            facts(2, 0, 2)},
        MimeCase{
            "outer_is_prefix_of_inner", mixed,
            "--b\nContent-Type: multipart/alternative; boundary=bb\n\n--bb\n\nx\n--bb--\n--b\n\ny\n--b--\n",
            facts(2, 0, 2)},
        MimeCase{"prefix_of_a_boundary_only", mixed, "--b\n\nx\n--bx\n\ny\n--b--\n", malformed(1, 0, 1)},
        MimeCase{"same_boundary_twice", mixed,
                 "--b\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--b\n\ny\n--b--\n",
                 facts(2, 0, 2)},
        MimeCase{"transport_padding", mixed, "--b \t\n\nx\n--b-- \n--b\n\nno part\n", facts(1, 0, 1)},
        MimeCase{"after_the_close_delimiter", mixed, "--b\n\nx\n--b--\n--b\n\nno part\n--b--\n",
                 facts(1, 0, 1)},
        MimeCase{"not_at_line_start", mixed, "--b\n\nx --b\n -- b\n-b\n- --b\n--\n--c\n--b--\n",
                 facts(1, 0, 1)},
        MimeCase{"no_line_end_at_the_end", mixed, "--b\n\nx\n--b--", facts(1, 0, 1)},
        MimeCase{"delimiter_ends_the_message", mixed, "--b\n\nx\n--b", facts(2, 0, 1)},
        MimeCase{"ends_in_part_header", mixed, "--b\nContent-Type: image/png", facts(1, 1, 1)},
        MimeCase{"part_without_body", mixed, "--b\nContent-Type: image/png\n--b\n\nx\n--b--\n",
                 malformed(2, 1, 1)},
        MimeCase{"header_runs_into_delimiter", mixed,
                 "--b\nContent-Type: multipart/mixed; boundary=c\n--c\nContent-Type: "
                 "image/png\n\nx\n--c--\n--b--\n",
                 malformed(1, 1, 2)},
        MimeCase{"no_boundary", "multipart/mixed", "--b\n\nx\n--b--\n", malformed(1, 0, 0)},
        MimeCase{"empty_boundary", "multipart/mixed; boundary=\"\"", "--\n\nx\n----\n", malformed(1, 0, 0)},
        MimeCase{"boundary_never_comes", mixed, "just text\n", malformed(1, 0, 1)},
        MimeCase{"inner_boundary_never_comes", mixed,
                 "--b\nContent-Type: multipart/mixed; boundary=c\n\nx\n--b--\n", malformed(1, 0, 2)},
        MimeCase{"two_boundaries", "multipart/mixed; boundary=a; boundary=b",
                 "--a\n\nx\n--a\nContent-Type: image/png\n\nx\n--b\nContent-Type: image/png\n\nx\n--b--\n",
                 malformed(3, 2, 1)},
        MimeCase{"two_types", mixed,
                 "--b\nContent-Type: text/plain\nContent-Type: multipart/mixed; boundary=c\n\n--c\n"
                 "Content-Type: image/png\n\nx\n--c--\n--b--\n",
                 malformed(1, 1, 2)},
        MimeCase{"blank_before_colon", mixed, "--b\nContent-Type : image/png\n\nx\n--b--\n", facts(1, 1, 1)},
        MimeCase{"quoted_boundary", "multipart/mixed; boundary=\"a b\\\"c\"", "--a b\"c\n\nx\n--a b\"c--\n",
                 facts(1, 0, 1)},
        MimeCase{"unquoted_blank", "multipart/mixed; boundary=a b", "--a\n\nx\n--a--\n", malformed(1, 0, 1)},
        MimeCase{"rfc2231_boundary", "multipart/mixed; boundary*=us-ascii'en'a%20b", "--a b\n\nx\n--a b--\n",
                 facts(1, 0, 1)},
        MimeCase{"rfc2231_parts", "multipart/mixed; boundary*1*=%62; boundary*0=a; boundary*2=c",
                 "--abc\n\nx\n--abc\n\ny\n--abc--\n", facts(2, 0, 1)},
        MimeCase{"comments", "multipart/mixed (a comment); (another) boundary=\"b\" (third)",
                 "--b\n\nx\n--b--\n", facts(1, 0, 1)},
        MimeCase{"case", "MultiPart/MIXED; BOUNDARY=B", "--b\n--B\n\nx\n--B--\n", facts(1, 0, 1)},
        MimeCase{"signed", "multipart/signed; boundary=b; protocol=\"application/pgp-signature\"",
                 "--b\n\nx\n--b\nContent-Type: application/pgp-signature; name=signature.asc\n\nx\n--b--\n",
                 facts(2, 1, 1)},
        MimeCase{"report", "multipart/report; report-type=delivery-status; boundary=b",
                 "--b\n\nx\n--b\nContent-Type: message/delivery-status\n\nx\n--b\n"
                 "Content-Type: text/rfc822-headers\n\nx\n--b--\n",
                 facts(3, 1, 1)}),
    [](const auto& test) { return test.param.name; });

// What cannot be looked into is said to be so: a rule that counts attachments refuses it.
TEST(MimeScanner, WhatCannotBeCounted) {
  const auto limited = [](std::string_view type, std::string_view body, std::string_view encoding) {
    const std::string wire = crlf(body);
    return scan(type, wire, {wire.size()}, "", encoding).limit_exceeded;
  };
  EXPECT_TRUE(limited("message/rfc822", "RnJvbTo=\n", "base64"));
  EXPECT_TRUE(limited("message/rfc822", "From: x\n\n", "quoted-printable"));
  EXPECT_FALSE(limited("message/rfc822", "From: x\n\n", "8bit"));
  EXPECT_TRUE(limited("message/partial; id=x; number=1; total=2", "From: x\n\n", ""));
  EXPECT_TRUE(limited(mixed, "LS1i\n", "base64"));
  EXPECT_FALSE(limited("application/pdf", "LS1i\n", "base64"));
  // Attached messages count toward the depth and the number of parts.
  std::string deep;
  for (std::size_t i = 0; i <= limits::mime_depth; ++i) deep += "Content-Type: message/rfc822\n\n";
  EXPECT_TRUE(limited("message/rfc822", deep, ""));
  std::string many = "--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=c\n\n";
  for (std::size_t i = 0; i < limits::mime_parts; ++i) many += "--c\nContent-Type: a/b\n\n";
  EXPECT_TRUE(limited(mixed, many, ""));
}

TEST(MimeScanner, InlinePicturesUpToALimit) {
  std::string body;
  for (std::size_t i = 0; i < limits::mime_inline_pictures + 3; ++i) {
    body += "--b\r\nContent-Type: image/png\r\nContent-ID: <" + std::to_string(i) + ">\r\n\r\nx\r\n";
  }
  EXPECT_EQ(scan("multipart/related; boundary=b", body, {body.size()}),
            facts(limits::mime_inline_pictures + 3, 3, 1));
}

// The header of an attached message may be longer than that of a part.
TEST(MimeScanner, LongHeaderOfAnAttachedMessage) {
  std::string body = "--b\r\nContent-Type: message/rfc822\r\n\r\n";
  for (int i = 0; i < 500; ++i) body += "Received: " + std::string(70, 'x') + "\r\n\tby y\r\n";
  body += "Content-Type: application/pdf\r\n\r\nx\r\n--b--\r\n";
  for (const auto& cuts : segmentations(body.size(), 2)) EXPECT_EQ(scan(mixed, body, cuts), facts(1, 2, 1));
}

TEST(MimeScanner, AnEncodedMultipartIsMalformed) {
  EXPECT_EQ(scan(mixed, "--b\r\n\r\nx\r\n--b--\r\n", {16}, "", "base64"), malformed(1, 0, 1));
  EXPECT_EQ(scan(mixed, "--b\r\n\r\nx\r\n--b--\r\n", {16}, "", "8bit"), facts(1, 0, 1));
  EXPECT_EQ(scan("text/plain", "", {}, "attachment", "base64"), facts(1, 1, 0));
}

std::string nested(std::size_t levels) {
  std::string body;
  for (std::size_t level = 1; level < levels; ++level) {
    body += "--b" + std::to_string(level) + "\r\nContent-Type: multipart/mixed; boundary=b" +
            std::to_string(level + 1) + "\r\n\r\n";
  }
  return body + "--b" + std::to_string(levels) + "\r\n\r\nx\r\n";
}

TEST(MimeScanner, IsBounded) {
  const std::string outer = "multipart/mixed; boundary=b1";
  const auto deep = nested(limits::mime_depth);
  EXPECT_EQ(scan(outer, deep, {deep.size()}), facts(1, 0, limits::mime_depth));
  const auto deeper = nested(limits::mime_depth + 1);
  const auto got = scan(outer, deeper, {deeper.size()});
  EXPECT_TRUE(got.limit_exceeded);
  EXPECT_EQ(got.depth, limits::mime_depth);

  std::string many;
  for (std::size_t i = 0; i < limits::mime_parts; ++i) many += "--b\r\nContent-Type: image/png\r\n\r\n";
  EXPECT_EQ(scan(mixed, many, {many.size()}), facts(limits::mime_parts, limits::mime_parts, 1));
  many += "--b\r\n\r\n";
  EXPECT_TRUE(scan(mixed, many, {many.size()}).limit_exceeded);

  const std::string longest(limits::mime_boundary_octets, 'x');
  const std::string body = "--" + longest + "\r\n\r\nx\r\n";
  EXPECT_EQ(scan("multipart/mixed; boundary=" + longest, body, {body.size()}), facts(1, 0, 1));
  EXPECT_TRUE(scan("multipart/mixed; boundary=x" + longest, body, {body.size()}).limit_exceeded);

  const std::string huge = "--b\r\nX: " + std::string(limits::mime_part_header_octets, 'x') +
                           "\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\n\r\n--b--\r\n";
  for (const auto& cuts : segmentations(huge.size(), 2)) {
    const auto bounded = scan(mixed, huge, cuts);
    EXPECT_TRUE(bounded.limit_exceeded);
    EXPECT_EQ(bounded.parts, 2u);
  }
}

// A delimiter line is told apart from a longer one however it was cut.
// Lines that almost delimit, close together: whole blocks of them are passed over, and the real delimiters
// between them are found wherever they are.
TEST(MimeScanner, ManyLinesThatAlmostDelimit) {
  std::mt19937 random(3);
  constexpr std::array<std::string_view, 9> pieces = {
      "--\r\n", "--\r\n", "-\r\n", "--b\r\n", "-- \r\n", "--x\r\n", "text\r\n", "a--in\r\n", "\n"};
  for (int round = 0; round < 3000; ++round) {
    std::string content = "--inner\r\n\r\n";
    std::size_t parts = 1;
    for (unsigned i = 0; i < 20 + random() % 100; ++i) {
      if (random() % 20 == 0) {
        content += "--inner\r\n\r\n";
        ++parts;
      } else {
        content += pieces[random() % pieces.size()];
      }
    }
    content += "--inner--\r\n";
    for (const std::size_t size : {content.size(), std::size_t{1}, std::size_t{67}}) {
      MimeScanner scanner;
      scanner.begin("multipart/mixed; boundary=inner", "", "");
      for (std::size_t at = 0; at < content.size(); at += size)
        scanner.feed(std::string_view(content).substr(at, size));
      ASSERT_EQ(scanner.finish().parts, parts)
          << "in pieces of " << size << ": " << testing::PrintToString(content);
    }
  }
}

TEST(MimeScanner, LongDelimiterLines) {
  for (const std::size_t padding : {200U, 240U, 250U, 251U, 252U, 253U, 254U, 300U, 1000U}) {
    const std::string body = "--b\r\n\r\nx\r\n--b" + std::string(padding, ' ') + "\r\n\r\ny\r\n";
    const auto whole = scan(mixed, body, {body.size()});
    EXPECT_EQ(whole.parts, padding <= 251 ? 2u : 1u) << padding;
    EXPECT_EQ(whole.limit_exceeded, padding > 251) << padding;
    for (const auto& cuts : segmentations(body.size())) EXPECT_EQ(scan(mixed, body, cuts), whole) << padding;
  }
  // Readers take any padding: what such lines delimit must not go uncounted and unseen.
  std::string hidden;
  for (int i = 0; i < 50; ++i) {
    hidden += "--b" + std::string(300, ' ') + "\r\nContent-Disposition: attachment\r\n\r\nx\r\n";
  }
  EXPECT_TRUE(scan(mixed, hidden + "--b--\r\n", {hidden.size() + 7}).limit_exceeded);
  // Long lines of text are none.
  const std::string text =
      "--b\r\n\r\n--" + std::string(300, '-') + "\r\n--c" + std::string(300, ' ') + "\r\n--b--\r\n";
  EXPECT_EQ(scan(mixed, text, {text.size()}), facts(1, 0, 1));
}

// So is a line of a part's header, which may be longer.
TEST(MimeScanner, LongLinesOfPartHeaders) {
  for (const std::size_t padding :
       {limits::mime_part_header_octets - 10, limits::mime_part_header_octets + 10}) {
    const std::string body = "--b\r\nX: y\r\n--b" + std::string(padding, ' ') + "z\r\n\r\nx\r\n--b--\r\n";
    const auto whole = scan(mixed, body, {body.size()});
    EXPECT_EQ(whole.limit_exceeded, padding > limits::mime_part_header_octets) << padding;
    for (const auto& cuts : segmentations(body.size(), 2))
      EXPECT_EQ(scan(mixed, body, cuts), whole) << padding;
  }
}

TEST(ContentField, IsReadLeniently) {
  const auto field =
      parse_content_field(" Text/Plain ; charset = \"a;b\\\"c\"; x; =y; Name=plain value ;; z=\"open");
  EXPECT_EQ(field.value, "text/plain");
  ASSERT_EQ(field.parameters.size(), 4u);
  EXPECT_EQ(field.parameters[0].name, "charset");
  EXPECT_EQ(field.parameters[0].value, "a;b\"c");
  EXPECT_EQ(field.parameters[1].name, "");
  EXPECT_EQ(field.parameters[2].value, "plain value");
  EXPECT_EQ(field.parameters[3].value, "open");
  EXPECT_TRUE(field.malformed);
  EXPECT_TRUE(field.has_name());
  EXPECT_FALSE(parse_content_field("a/b; name=\"\"").has_name());
  EXPECT_FALSE(parse_content_field("a/b; names=x").has_name());
}

}  // namespace
}  // namespace portcullis::smtp
