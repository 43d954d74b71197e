"""Forged authors, sent through the gateway by an account of ours and from outside: the published forms (Chen, Paxson,
Jiang: Composition Kills, 2020, and its tool espoofer) and their relatives. Whoever reads what came through, with
whichever parser, finds no author that was not the sender's to use."""

import base64
import email
import email.policy
import email.utils
import re
import smtplib
import ssl

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS
from parts.sink import Sink

# {me} may be used by the sender, {admin} may not: ours, but another account's or claimed from outside.
ADMIN = "admin@example.com"
OUTSIDE = "any@attack.test"


def word(text, kind="B"):
    octets = text.encode()
    return "=?utf-8?B?" + base64.b64encode(octets).decode() + "?=" if kind == "B" else "=?utf-8?Q?" + "".join(
        f"={o:02X}" for o in octets) + "?="


# name: (header fields, what the refusal says)
HEADERS = {
    # espoofer's, for servers (A8 to A19) and for clients of a mail service
    "two From fields": ("From: <{me}>\r\nFrom: <{admin}>\r\n", "two From fields"),
    "two From fields, the other first": ("From: <{admin}>\r\nFrom: <{me}>\r\n", "two From fields"),
    "blank before the first": (" From: <{me}>\r\nFrom: <{admin}>\r\n", "continuation line without a field"),
    "blank before the second": ("From: <{me}>\r\nX: y\r\n From: <{admin}>\r\n", None),
    "blank before the colon": ("From: <{me}>\r\nFrom : <{admin}>\r\n", "white space before the colon"),
    "fold before the colon": ("From\r\n : <{me}>\r\nFrom: <{admin}>\r\n", "a line that is not a field"),
    "fold before the colon and Sender": ("From\r\n : <{me}>\r\nSender: <{admin}>\r\n", "a line that is not a field"),
    "fold before the colon and Resent-From": ("From\r\n : <{me}>\r\nResent-From: <{admin}>\r\n", "a line that is not a field"),
    "a list": ("From: <{me}>, <{admin}>\r\nSender: <{me}>\r\n", "{policy}"),
    "a list, Sender not ours": ("From: <{me}>, <{admin}>\r\nSender: <{admin}>\r\n", "{policy}"),
    "a list without Sender": ("From: <{me}>, <{admin}>\r\n", "several mailboxes without Sender"),
    "an encoded address": ("From: {admin_b},<{me}>\r\nSender: <{me}>\r\n", "From"),
    "a route": ("From: <@attack.test,@any.test:{admin}>\r\n", "a source route"),
    "a route through the sender's": ("From: <@example.com:{me}>\r\n", "a source route"),
    "a quoted pair": ("From: <{admin}>\\,<{me}>\r\n", "From"),
    "which comes first": ("From: {admin},<{me}>\r\nSender: <{me}>\r\n", "{policy}"),
    "text behind the address": ("From: <{me}>{admin}\r\n", "text after the address"),
    "plainly": ("From: <{admin}>\r\n", "{policy}"),
    "plainly, with Sender": ("From: <{admin}>\r\nSender: <{me}>\r\n", "{policy}"),
    "Sender only": ("From: <{me}>\r\nSender: <{admin}>\r\n", "{policy}"),
    "two Sender fields": ("From: <{me}>\r\nSender: <{me}>\r\nSender: <{admin}>\r\n", "two Sender fields"),
    "NUL in a field": ("From: <{me}>\r\nDKIM-Signature: v=1; d=example.com; s=x.attack.test.\0.any\r\n", ""),
    "NUL in the address": ("From: <{me}\0{admin}>\r\n", ""),
    # comments, names, quotes
    "address as the name": ("From: {admin} <{me}>\r\n", "two different addresses"),
    "address as the name, no blank": ("From: {admin}<{me}>\r\n", "two different addresses"),
    "bracket in a quoted name": ("From: \"<{admin}>\" <{me}>\r\n", "an angle bracket in a name"),
    "list in a quoted name": ("From: \"{admin},\" <{me}>\r\n", "a list of addresses in a name"),
    "escaped quotes": ("From: \"a\\\" <{admin}>, \\\"b\" <{me}>\r\n", "From"),
    "encoded bracket": ("From: {admin_bracket} <{me}>\r\n", "an angle bracket in a name"),
    "encoded name": ("From: {admin_q} <{me}>\r\n", "an encoded address in a name"),
    "encoded line end": ("From: =?utf-8?Q?x=0D=0AFrom:_=3C{admin}=3E?= <{me}>\r\n", "From"),
    "UTF-7": ("From: =?utf-7?Q?+ADw-admin+AEA-example.com+AD4-?= <{me}>\r\n", "charset that hides ASCII"),
    "comment first": ("From: ({admin}) <{me}>\r\n", "a comment before the name"),
    "comment with an address": ("From: {me} (<{admin}>)\r\n", "From"),
    "comment in the address": ("From: admin(x)@example.com\r\n", "From"),
    "nested comment": ("From: {me} (a (b) <{admin}>)\r\n", "From"),
    "unterminated comment": ("From: {me} (\r\nX: <{admin}>)\r\n", "From"),
    "unterminated quote": ("From: \"a <{me}>\r\nX: \" <{admin}>\r\n", "an unterminated quoted string"),
    "quoted local part": ("From: \"{admin}\"@attack.test\r\n", "From"),
    "two at signs": ("From: {admin}@attack.test\r\n", "From"),
    "two addresses": ("From: <{me}> <{admin}>\r\n", "text after the address"),
    "group": ("From: Staff: <{admin}>;\r\nSender: <{me}>\r\n", "a group"),
    "group in a list": ("From: <{me}>, Staff: <{admin}>;\r\nSender: <{me}>\r\n", "From"),
    "semicolon": ("From: <{me}>; <{admin}>\r\n", "text after the address"),
    "empty members": ("From: ,,<{admin}>,<{me}>\r\nSender: <{me}>\r\n", "From"),
    "empty address": ("From: <>\r\nSender: <{me}>\r\n", "an empty address"),
    "name only": ("From: admin\r\n", "a name without an address"),
    # folds, blanks, dots, case
    "fold in the address": ("From: <admin\r\n @example.com>\r\n", "a malformed address"),
    "blanks in the address": ("From: admin @ example.com\r\n", "From"),
    "trailing dot": ("From: <admin@example.com.>\r\n", "From"),
    "upper case": ("From: <ADMIN@EXAMPLE.COM>\r\n", "{policy}"),
    "subdomain": ("From: <admin@mail.example.com>\r\n", "{policy}"),
    "full-width at": ("From: <admin\uff20example.com>\r\n", "malformed address"),
    "Cyrillic": ("From: <\u0430dmin@example.com>\r\n", "octets above 127"),
    "Latin-1 name": ("From: J\udcf6rg <{me}>\r\n", "octets above 127"),
    # no author, or one in other places
    "no From": ("Subject: x\r\n", "no From field"),
    "no From but Sender": ("Sender: <{admin}>\r\n", "From"),
    "no From but Resent-From": ("Resent-From: <{admin}>\r\n", "From"),
    "empty From": ("From:\r\nSender: <{admin}>\r\n", "From"),
    "only Apparently-From": ("Apparently-From: <{admin}>\r\n", "no From field"),
    # the header's end in disguise
    "blank line of blanks": ("X: y\r\n \r\nFrom: <{admin}>\r\n", "a line of white space only"),
    "From behind a line of blanks": ("From: <{me}>\r\n\t\r\nFrom: <{admin}>\r\n", "white space only"),
    "line without a colon": ("From: <{me}>\r\nno field\r\nFrom: <{admin}>\r\n", "a line that is not a field"),
    "mbox line": ("From admin@example.com Sat Nov 21\r\nFrom: <{me}>\r\n", "a line that is not a field"),
    "bare LF": ("From: <{me}>\r\nX: y\nFrom: <{admin}>\r\n", ""),
    "bare CR": ("From: <{me}>\r\nX: y\rFrom: <{admin}>\r\n", ""),
    "LF LF": ("X: y\n\nFrom: <{admin}>\r\nFrom: <{me}>\r\n", ""),
    "control in a name": ("From: <{me}>\r\nFrom\x0b: <{admin}>\r\n", "a control character"),
    "VT as a line end": ("From: <{me}>\r\nX: y\x0bFrom: <{admin}>\r\n", "a control character"),
    "8 bit in a name": ("From: <{me}>\r\nFrom\u00a0: <{admin}>\r\n", "a line that is not a field"),
    # size
    "behind many fields": ("X: y\r\n" * 2001 + "From: <{me}>\r\n", "too many fields"),
    "behind a long field": ("X: " + "y" * 66000 + "\r\nFrom: <{me}>\r\n", None),
    "long name": ("From: " + "x" * 70000 + " <{admin}>\r\n", ""),
    # honest mail
    "honest": ("From: Honest Name <{me}>\r\n", None),
    "honest, quoted": ("From: \"Name, Honest\" <{me}>\r\nSender: {me}\r\n", None),
    "honest, encoded": ("From: =?utf-8?Q?J=C3=B6rg?= <{me}>\r\n", None),
    "honest, comment": ("From: {me} (Honest Name)\r\n", None),
    "honest, folded": ("From:\r\n Honest\r\n Name <{me}>\r\n", None),
    "honest, twice": ("From: {me} <{me}>\r\n", None),
}
# What stands in MAIL FROM (A1, A2, A5 to A7 and relatives): the reply's code and text.
ENVELOPES = {
    "<any@nowhere.example.com>": "5.7.1", "<(any@example.com>": "5.", "<any@example.com(a.attack.test>": "5.",
    "<any@example.com'@any.attack.test>": "5.",
    "<admin@example.com>": "5.7.1", "<ADMIN@EXAMPLE.COM>": "5.7.1", "<\"admin\"@example.com>": "5.7.1",
    "<admin@example.com.>": "5.", "<\"admin@example.com\"@attack.test>": "5.", "<admin@attack.test@example.com>": "5.",
    "<admin@example.com> <any@attack.test>": "5.", "<any@attack.test>,<admin@example.com>": "5.", "admin@example.com": "5.",
    "<admin@example.com,any@attack.test>": "5.", "<admin @example.com>": "5.", "<admin@[127.0.0.1]@example.com>": "5.",
    "<@attack.test:admin@example.com>": "5.7.1",
}


@pytest.fixture(scope="module")
def sink(module_parts, module_directory, program):
    return module_parts.use(Sink(program, module_directory / "sink"))


@pytest.fixture(scope="module")
def gateway(module_parts, module_directory, program, pair, sink):
    tree = settings(module_directory, pair, sink.port, local_domains=["example.com", "*.example.com"],
                    limits={"connections": {"new_per_minute_per_network": 1000000}})
    return module_parts.use(Gateway(program, module_directory, tree, users=[(ALICE, PASSWORD), (ADMIN, "root")]))


class Sender:
    """Somebody with an account (submission), or nobody we know (mx)."""

    def __init__(self, gateway, listener):
        self.gateway, self.listener = gateway, listener
        self.me, self.to = (ALICE, "bob@example.net") if listener == "submissions" else (OUTSIDE, "bob@example.com")

    def connect(self):
        port = self.gateway.port(self.listener)
        if self.listener == "mx":
            client = smtplib.SMTP(ADDRESS, port, timeout=20, local_hostname="attack.test")
        else:
            client = smtplib.SMTP_SSL(ADDRESS, port, timeout=20, context=ssl._create_unverified_context())
            client.login(ALICE, PASSWORD)
        client.ehlo_or_helo_if_needed()
        client.command_encoding = "utf-8"
        return client

    def send(self, header, parameters=""):
        """(code, text) of the reply to a message with this header."""
        with self.connect() as client:
            code, text = client.docmd("MAIL", f"FROM:<{self.me}>{parameters}")
            assert code == 250, text
            code, text = client.docmd("RCPT", f"TO:<{self.to}>")
            assert code == 250, text
            code, text = client.data(header.encode("utf-8", "surrogateescape") + b"To: <bob@example.com>\r\n\r\nhi\r\n")
            client.close()  # behind a doubtful message the connection is gone
            return code, text.decode()


@pytest.fixture(params=["submissions", "mx"])
def sender(request, gateway):
    return Sender(gateway, request.param)


def authors(octets):
    """All that any of several readers takes for an author."""
    found = set()
    message = email.message_from_bytes(octets)
    strict = email.message_from_bytes(octets, policy=email.policy.default)
    for field in ("From", "Sender", "Resent-From", "Resent-Sender"):
        texts = message.get_all(field, [])
        found |= {address for _, address in email.utils.getaddresses(texts)}
        found |= {address for text in texts for address in re.findall(r"<([^<>\s]*@[^<>\s]*)>", str(text))}
        for value in strict.get_all(field, []):
            found |= {address.addr_spec for address in value.addresses}
    head = re.split(rb"\r?\n\r?\n", octets)[0].decode("utf-8", "replace")
    # A reader of lines, blind to folding rules but not to blanks at a line's begin.
    found |= set(re.findall(r"(?im)^from[ \t]*:.*?([\w.+-]+@[\w.-]+)", head))
    return {address.lower() for address in found} - {""}  # "": a reader that gives up


def test_forged_headers(sender, sink):
    sink.maildir.clear()
    policy = "identity" if sender.listener == "submissions" else "local-sender"
    names = {"me": sender.me, "admin": ADMIN, "admin_b": word(f"<{ADMIN}>"), "admin_bracket": word(f"<{ADMIN}>", "Q"),
             "admin_q": word(ADMIN, "Q")}
    wrong, taken = [], 0
    for name, (header, says) in HEADERS.items():
        for key, value in names.items():
            header = header.replace("{" + key + "}", value)
        code, text = sender.send(header)
        if says is None:
            taken += 1
        if (code != 250 or says is not None) and (says is None or code != 550 or says.replace("{policy}", policy) not in text):
            wrong.append((name, code, text))
    assert not wrong, "\n".join(map(str, wrong))
    for octets in sink.maildir.wait_for(taken):
        assert authors(octets) == {sender.me}, octets


@pytest.mark.parametrize("address, says", [
    ("\u0430dmin@example.com", "{policy}"), ("admin\uff20example.com", "From"), ("adm\u200bin@example.com", "From"),
    ("admin@\uff45xample.com", "From"), ("admin@example\u3002com", "From"), ("\u202eadmin@example.com", "From"),
    ("\uff41dmin@example.com", "From"), ("admin@example.com\u00a0", "From")])
def test_forged_in_utf8(sender, sink, address, says):
    """With SMTPUTF8, where such addresses may stand: they are refused, or compared in the form everybody maps them to."""
    sink.maildir.clear()
    policy = "identity" if sender.listener == "submissions" else "local-sender"
    code, text = sender.send(f"From: <{address}>\r\n", " SMTPUTF8")
    assert code == 550 and says.replace("{policy}", policy) in text, text
    assert not sink.maildir.messages()


def test_forged_envelopes(sender, sink):
    sink.maildir.clear()
    for path, says in ENVELOPES.items():
        with sender.connect() as client:
            code, text = client.docmd("MAIL", f"FROM:{path}")
            assert 500 <= code < 600 and text.decode().startswith(says), (path, code, text)
    assert not sink.maildir.messages()


def test_a_route_is_dropped(gateway, sink):
    """A7: what goes on is the address alone (RFC 5321 appendix F.2), which says whose it is."""
    sink.maildir.clear()
    with Sender(gateway, "mx").connect() as client:
        assert client.docmd("MAIL", "FROM:<@example.com,@any.test:'any@attack.test>")[0] == 250
        assert client.docmd("RCPT", "TO:<bob@example.com>")[0] == 250
        assert client.data("From: <any@attack.test>\r\n\r\nhi\r\n")[0] == 250
    (octets,) = sink.maildir.wait_for(1)
    assert octets.startswith(b"Return-Path: <'any@attack.test>\r\n"), octets
