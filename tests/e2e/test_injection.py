"""Whatever a peer says, what we write stays whole: journal lines, replies, Received fields, commands toward the server
behind, metrics. Line ends, controls, quotes, terminal escapes, bidi and invisible characters from everywhere."""

import base64
import http.client
import json
import re
import ssl
import unicodedata

import pytest
from parts.certificates import Pair
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port, wait_until
from parts.process import run
from parts.scripted import ScriptedUpstream
from wire import Wire

FORGED = '{"type":"transaction","forged":"yes"}'
POISON = {
    "CRLF": f"a\r\n250 2.0.0 forged\r\n{FORGED}\r\n", "LF": f"a\n{FORGED}\n", "CR": f"a\r{FORGED}\r", "NUL": "a\0b",
    "quotes": 'a","forged":"yes","x":"', "backslash": "a\\", "escape": "a\x1b[31;1mred\x1b(B", "bell": "a\x1b]0;title\x07\x08", "C1": "a\x9b31m\x85b",
    "bidi": "a\u202eexe.fdp\u2066\u2069", "invisible": "a\u200b\u2060\ufeff\u00ad\U000e0041", "line separators": f"a\u2028{FORGED}\u2029",
    "header": "a)\r\nX-Forged: yes\r\n\r\n", "comment": "a) (b\\) ;", "format": "%s%n{}{0}%1$s", "markup": "<script>&amp;</script>",
    "label": 'a",listener="forged"} 1\nforged_total 1\n', "DEL": "a\x7f\x08\x08b", "lone": "a\udcff\udcc3(", "long": "ab" * 600,
}
HEADER = b"From: alice@example.com\r\n"


def octets(text):
    return text.encode("utf-8", "surrogateescape")


def hidden(character):
    """What is not shown as what it is: controls, bidi controls, zero-width characters, line and paragraph separators."""
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co") and character not in "\n"


class Outputs:
    """Holds everything the gateway writes to what was promised."""

    def __init__(self, gateway, upstream):
        self.gateway, self.upstream = gateway, upstream

    def journal(self):
        raw = self.gateway.tree["journal"]["path"].read_bytes()
        assert raw.endswith(b"\n")
        records = []
        for line in raw[:-1].split(b"\n"):
            text = line.decode()  # valid UTF-8
            assert not [c for c in text if hidden(c)], text
            record = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"),
                                object_pairs_hook=lambda pairs: pytest.fail(text) if len(dict(pairs)) < len(pairs) else dict(pairs))
            assert record["type"] in ("transaction", "session", "event") and "forged" not in record, text
            records.append(record)
        return records

    def metrics(self):
        status, text = self.gateway.http("/metrics")
        assert status == 200 and text.isascii() and not [c for c in text if hidden(c)]
        for name, labels, _ in self.gateway.samples():
            assert "forged" not in name and "forged" not in "".join(labels.values()), (name, labels)

    def behind(self):
        for command in self.upstream.commands:
            assert not [c for c in command.decode() if unicodedata.category(c) == "Cc"], command
            assert command.split(b" ")[0] in (b"EHLO", b"MAIL", b"RCPT", b"DATA", b"QUIT", b"RSET", b"BDAT", b"NOOP"), command
        for message in self.upstream.messages:
            head = message.split(b"\r\n\r\n")[0]
            ours, rest = re.match(rb"(Received: .*?\r\n(?:\t.*?\r\n)*)(.*)", head + b"\r\n", re.DOTALL).groups()
            assert ours.isascii() and b"forged" not in ours.lower() and rest.startswith(HEADER[:5]), message
            assert all(c in b"\t\r\n" or 0x20 <= c < 0x7f for c in ours), ours
            ours = re.sub(rb'"(?:[^"\\]|\\.)*"', b"", ours)  # quoted strings
            assert ours.count(b"(") == ours.count(b")") and ours.count(b";") == 1 and b'"' not in ours, ours

    def check(self):
        self.metrics()
        self.behind()
        errors = self.gateway.process.errors()
        assert not [c for c in errors if hidden(c)], errors
        return self.journal()


class Client(Wire):
    """Holds every reply to what was promised."""

    def __init__(self, port, tls=False, pair=None, login=None):
        super().__init__(port, greet=False)
        if tls:
            context = ssl._create_unverified_context()
            if pair:
                context.load_cert_chain(pair.certificate, pair.private_key)
            self.socket = context.wrap_socket(self.socket)
        assert self.reply()[0] == 220
        assert self.ask(b"EHLO client.test")[0] == 250
        if login:
            assert self.plain(*login)[0] == 235

    def plain(self, login, password):
        return self.ask(b"AUTH PLAIN " + base64.b64encode(b"\0" + octets(login) + b"\0" + octets(password)))

    def reply(self):
        code, text = super().reply()
        shown = text.decode()
        assert not [c for c in shown if hidden(c)] and "forged" not in [line[4:10] for line in shown.split("\n")], text
        assert code is None or all(line[:3] == str(code) and line[3] in " -" for line in shown.split("\n")), text
        return code, text

    def message(self, content, sender=b"<alice@example.com>", recipient=b"<bob@example.net>", parameters=b""):
        replies = [self.ask(b"MAIL FROM:" + sender + parameters), self.ask(b"RCPT TO:" + recipient), self.ask(b"DATA")]
        if replies[-1][0] == 354:
            self.send(content + b"\r\n.\r\n")
            replies.append(self.reply())
        return replies


@pytest.fixture
def start(parts, directory, program, pair, authority):
    def start(answers=None, **changes):
        upstream = parts.use(ScriptedUpstream({
            "EHLO": b"250-scripted\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n", **(answers or {})}))
        tree = settings(directory, pair, upstream.port, limits={"connections": {"new_per_minute_per_network": 1000000}}, **changes)
        tree["tls"]["client_ca"] = authority.certificate
        tree["journal"]["subject"] = True
        tree["auth"] |= {"lockout": {"first_delay": "0ms", "max_delay": "0ms", "failures_per_network": 1000,
                                     "distinct_passwords_per_login": 1000}}
        tree["listener"].append({"name": "devices", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit",
                                 "auth": "required", "client_certificate": "request"})
        gateway = parts.use(Gateway(program, directory, tree))
        return gateway, Outputs(gateway, upstream)
    return start


def test_what_clients_say(start):
    gateway, outputs = start()
    mx, submissions = gateway.port("mx"), gateway.port("submissions")
    for poison in map(octets, POISON.values()):
        for line in (b"EHLO " + poison, b"HELO " + poison, poison, b"NOOP " + poison, b"VRFY " + poison, b"HELP " + poison,
                     b"AUTH " + poison, b"MAIL FROM:<" + poison + b"@else.test>", b'MAIL FROM:<"' + poison + b'"@else.test>',
                     b"MAIL FROM:<a@else.test> " + poison, b"MAIL FROM:<a@else.test> ENVID=" + poison, b"MAIL FROM:<a@" + poison + b">",
                     b"XCLIENT NAME=" + poison, b"XFORWARD NAME=" + poison, b"PROXY TCP4 " + poison, b"GET /" + poison):
            with Client(mx) as client:
                client.send(line + b"\r\nQUIT\r\n")
                client.replies()
        with Client(submissions, tls=True) as client:
            client.plain(poison.decode("utf-8", "surrogateescape"), poison.decode("utf-8", "surrogateescape"))
            client.ask(b"AUTH LOGIN")
            client.ask(base64.b64encode(poison))
            client.ask(base64.b64encode(poison))
            client.send(b"QUIT\r\n")
            client.replies()
        with Client(submissions, tls=True, login=(ALICE, PASSWORD)) as client:
            client.message(HEADER + b"\r\nhi", recipient=b'<"' + poison + b'"@example.net>')
            client.send(b"QUIT\r\n")
            client.replies()
        with Client(submissions, tls=True, login=(ALICE, PASSWORD)) as client:
            client.message(HEADER + b"\r\nhi", recipient=b"<" + poison + b"@example.net>", parameters=b" SMTPUTF8")
    wait_until(lambda: len(gateway.journal(type="session")) == len(POISON) * 19, "the sessions in the journal")
    records = outputs.check()
    # It did come that far: what was said is in the journal, escaped.
    assert any("\u202e" in record.get("login", "") + json.dumps(record, ensure_ascii=False) for record in records)


def test_what_stands_in_headers(start):
    gateway, outputs = start()
    taken, client = 0, None
    for poison in map(octets, POISON.values()):
        for header in (HEADER + b"Subject: " + poison, HEADER + b"Message-ID: <" + poison + b"@x>",
                       b'From: "' + poison + b'" <alice@example.com>', b"From: " + poison + b" <alice@example.com>",
                       HEADER + b"Message-ID: " + poison, HEADER + b"X-Other: " + poison, HEADER + b"To: " + poison,
                       HEADER + b"Content-Type: multipart/mixed; boundary=\"" + poison + b'"'):
            for parameters in (b"", b" SMTPUTF8"):
                # A bare CR or NUL ends the connection; it takes no more than some messages and refusals either.
                client = client or Client(gateway.port("submissions"), tls=True, login=(ALICE, PASSWORD))
                replies = client.message(header + b"\r\n\r\nhi", parameters=parameters)
                assert replies[-1][0] in (250, 550), replies
                taken += replies[-1][0] == 250
                if client.ask(b"NOOP")[0] != 250 or replies[-1][0] == 550:
                    client.socket.close()
                    client = None
    client and client.socket.close()
    wait_until(lambda: len(gateway.journal(type="transaction")) == len(POISON) * 16, "the transactions in the journal")
    records = outputs.check()
    assert len(outputs.upstream.messages) == taken
    subjects = {record.get("subject") for record in records}
    assert any("\u202e" in (s or "") for s in subjects) and any("\x1b" in (s or "") for s in subjects), subjects


@pytest.mark.parametrize("where", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "DOT", "accepted"])
def test_what_the_server_behind_says(start, where):
    """In one gateway all of them, one after the other: the answer changes."""
    said = [b"x"]
    code = {"GREETING": b"220", "EHLO": b"250", "accepted": b"250"}.get(where, b"550")

    def answer(_):
        if where == "EHLO":
            return b"250-x " + said[0] + b"\r\n250-" + said[0] + b"\r\n250-SMTPUTF8\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        return code + b"-5.0.0 " + said[0] + b"\r\n" + code + b" 5.0.0 Ok: queued as " + said[0] + b"\r\n"
    gateway, outputs = start({"DOT" if where == "accepted" else where: answer})
    for poison in map(octets, POISON.values()):
        said[0] = poison
        with Client(gateway.port("submissions"), tls=True, login=(ALICE, PASSWORD)) as client:
            for parameters in (b"", b" SMTPUTF8"):
                replies = client.message(HEADER + b"\r\nhi", parameters=parameters)
                # A line of its own in the answer may make it another answer, or none; never one of the client's.
                client.ask(b"RSET")
                assert [r for r in replies if r[0] is None or r[0] >= 400] or where in ("GREETING", "EHLO", "accepted"), replies
            assert client.ask(b"NOOP")[0] == 250
    wait_until(lambda: len(gateway.journal(type="session")) == len(POISON), "the sessions in the journal")
    records = outputs.check()
    if where in ("RCPT", "accepted"):
        assert any("%s%n" in json.dumps(record) for record in records), records[-1]


@pytest.mark.parametrize("field", ["CN", "emailAddress"])
def test_client_certificates(start, authority, directory, field):
    gateway, outputs = start(auth={"backends": ["file"], "file": {"path": directory / "users"},
                                   "certificate": {"login_from": "subject_cn"}})
    tried = 0
    for name, text in POISON.items():
        if "\0" in text or "\udcff" in text or len(text) > 64:
            text = text.replace("\0", "0").replace("\udcff\udcc3", "\u200f")[:64]
        key, request, certificate = (directory / f"{tried}.{kind}" for kind in ("key", "csr", "pem"))
        subject = "".join("\\" + c if c in "/+=\\" else c for c in text)
        if field == "emailAddress":  # an IA5String
            subject = subject.encode("ascii", "ignore").decode()
        made = run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-utf8", "-subj",
                   f"/{field}={subject}", "-keyout", key, "-out", request, check=False)
        assert made.returncode == 0, (name, made.stdout)
        run("openssl", "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.private_key,
            "-CAcreateserial", "-days", "10", "-out", certificate)
        certificate.write_text(certificate.read_text() + authority.certificate.read_text())
        with Client(gateway.port("devices"), tls=True, pair=Pair(certificate, key)) as client:
            assert client.ask(b"AUTH EXTERNAL =")[0] in (535, 504, 235), name
            client.ask(b"QUIT")
        tried += 1
    wait_until(lambda: len(gateway.journal(type="session")) == tried, "the sessions in the journal")
    subjects = [r["tls_client_subject"] for r in outputs.check() if "tls_client_subject" in r]
    assert len(subjects) == tried and any("%s%n" in s for s in subjects), subjects


def test_who_asks_for_metrics(start):
    gateway, outputs = start()
    host, _, port = gateway.metrics_url.removeprefix("http://").rpartition(":")
    for poison in map(octets, POISON.values()):
        for request in (b"GET /" + poison + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: " + poison + b"\r\n\r\n",
                        poison + b" / HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + poison + b": y\r\n\r\n"):
            connection = http.client.HTTPConnection(host, int(port), timeout=10)
            connection.connect()
            connection.sock.sendall(request)
            connection.sock.settimeout(0.2)
            try:
                answer = connection.sock.recv(65536)
            except OSError:
                answer = b""
            connection.close()
            assert b"forged" not in answer.lower() or b"X-Forged" not in answer, answer
    outputs.check()
