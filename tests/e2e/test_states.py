"""STARTTLS and AUTH where they do not belong, and AUTH that is malformed: what is said, and that nobody is let in."""

import base64
import ssl

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.sink import Sink
from wire import Wire

EHLO = b"EHLO client.test"
MAIL = b"MAIL FROM:<alice@example.com>"
OUTSIDE = b"MAIL FROM:<out@else.test>"


def encoded(*parts):
    return base64.b64encode(b"\0".join(part.encode() for part in parts))


RIGHT = encoded("", ALICE, PASSWORD)
PLAIN = b"AUTH PLAIN "
# name: (listener, [(line, codes of the reply)]); None: the connection ends. TLS: from here on, by STARTTLS.
TLS = object()
SCRIPTS = {
    "STARTTLS with a parameter": ("mx", [(EHLO, 250), (b"STARTTLS now", 501), (b"NOOP", 250)]),
    "STARTTLS in a transaction": ("mx", [(EHLO, 250), (OUTSIDE, 250), (b"STARTTLS", 503), (b"RSET", 250), (TLS, 220), (EHLO, 250)]),
    "STARTTLS twice": ("mx", [(EHLO, 250), (TLS, 220), (EHLO, 250), (b"STARTTLS", (502, 503)), (b"NOOP", 250)]),
    "STARTTLS where TLS is implicit": ("submissions", [(EHLO, 250), (b"STARTTLS", (502, 503))]),
    "STARTTLS after AUTH": ("submission", [(EHLO, 250), (TLS, 220), (EHLO, 250), (PLAIN + RIGHT, 235), (b"STARTTLS", (502, 503))]),
    "no EHLO after STARTTLS": ("mx", [(EHLO, 250), (TLS, 220), (OUTSIDE, 503), (EHLO, 250), (OUTSIDE, 250)]),
    "AUTH before TLS": ("submission", [(EHLO, 250), (PLAIN + RIGHT, (503, 504, 523, 530, 538)), (MAIL, 530)]),
    "AUTH before TLS, optional": ("mx", [(EHLO, 250), (PLAIN + RIGHT, (503, 504, 523, 530, 538)), (MAIL, 553)]),
    "AUTH before EHLO": ("submissions", [(PLAIN + RIGHT, 503), (EHLO, 250), (MAIL, 530)]),
    "AUTH after HELO": ("submissions", [(b"HELO client.test", 250), (PLAIN + RIGHT, (235, 502, 503)), ]),
    "AUTH twice": ("submissions", [(EHLO, 250), (PLAIN + RIGHT, 235), (PLAIN + RIGHT, 503), (MAIL, 250)]),
    "AUTH twice, wrong": ("submissions", [(EHLO, 250), (PLAIN + RIGHT, 235), (PLAIN + encoded("", ALICE, "x"), 503), (MAIL, 250)]),
    "AUTH in a transaction": ("submissions", [(EHLO, 250), (PLAIN + RIGHT, 235), (MAIL, 250), (PLAIN + RIGHT, 503), (b"RSET", 250)]),
    "EHLO keeps the login": ("submissions", [(EHLO, 250), (PLAIN + RIGHT, 235), (EHLO, 250), (PLAIN + RIGHT, 503), (MAIL, 250)]),
    "RSET keeps the login": ("submissions", [(EHLO, 250), (PLAIN + RIGHT, 235), (b"RSET", 250), (MAIL, 250)]),
    "cancelled": ("submissions", [(EHLO, 250), (b"AUTH PLAIN", 334), (b"*", 501), (MAIL, 530), (PLAIN + RIGHT, 235)]),
    "cancelled in LOGIN": ("submissions", [(EHLO, 250), (b"AUTH LOGIN", 334), (encoded(ALICE), 334), (b"*", 501), (MAIL, 530)]),
    "a command in place of an answer": ("submissions", [(EHLO, 250), (b"AUTH LOGIN", 334), (b"NOOP", 501), (b"QUIT", 221)]),
    "no base64": ("submissions", [(EHLO, 250), (PLAIN + b"!!!!", 501), (MAIL, 530), (PLAIN + RIGHT, 235)]),
    "no padding": ("submissions", [(EHLO, 250), (PLAIN + encoded("", ALICE, PASSWORD + "1").rstrip(b"="), (501, 535)), (MAIL, 530)]),
    "padding in the middle": ("submissions", [(EHLO, 250), (PLAIN + RIGHT[:8] + b"==" + RIGHT[8:], 501), (MAIL, 530)]),
    "blank in base64": ("submissions", [(EHLO, 250), (PLAIN + RIGHT[:8] + b" " + RIGHT[8:], 501), (MAIL, 530)]),
    "empty response": ("submissions", [(EHLO, 250), (PLAIN + b"=", (501, 535)), (MAIL, 530)]),
    "nothing but NUL": ("submissions", [(EHLO, 250), (PLAIN + encoded("", "", ""), (501, 535)), (MAIL, 530)]),
    "one NUL too few": ("submissions", [(EHLO, 250), (PLAIN + encoded(ALICE, PASSWORD), (501, 535)), (MAIL, 530)]),
    "one NUL too many": ("submissions", [(EHLO, 250), (PLAIN + encoded("", ALICE, PASSWORD, "x"), (501, 535)), (MAIL, 530)]),
    "password ended by NUL": ("submissions", [(EHLO, 250), (PLAIN + encoded("", ALICE, PASSWORD, ""), (501, 535)), (MAIL, 530)]),
    "LOGIN name ended by NUL": ("submissions", [(EHLO, 250), (b"AUTH LOGIN", 334), (encoded(ALICE, "x"), (334, 501, 535))]),
    "no password": ("submissions", [(EHLO, 250), (PLAIN + encoded("", ALICE, ""), (501, 535)), (MAIL, 530)]),
    "for somebody else": ("submissions", [(EHLO, 250), (PLAIN + encoded("bob@example.com", ALICE, PASSWORD), 535), (MAIL, 530)]),
    "for oneself": ("submissions", [(EHLO, 250), (PLAIN + encoded(ALICE, ALICE, PASSWORD), 235), (MAIL, 250)]),
    "too long": ("submissions", [(EHLO, 250), (PLAIN + b"QUFB" * 4000, (500, 501))]),
    "too long an answer": ("submissions", [(EHLO, 250), (b"AUTH PLAIN", 334), (b"QUFB" * 4000, (500, 501))]),
    "no mechanism": ("submissions", [(EHLO, 250), (b"AUTH", 501), (b"AUTH ", 501), (MAIL, 530)]),
    "unknown mechanism": ("submissions", [(EHLO, 250), (b"AUTH CRAM-MD5", 504), (b"AUTH GSSAPI QUFB", 504), (b"AUTH PLAINX " + RIGHT, 504)]),
    "no certificate": ("submissions", [(EHLO, 250), (b"AUTH EXTERNAL =", (504, 535)), (MAIL, 530)]),
}


@pytest.fixture(scope="module")
def gateway(module_parts, module_directory, program, pair):
    sink = module_parts.use(Sink(program, module_directory / "sink"))
    tree = settings(module_directory, pair, sink.port, limits={"connections": {"new_per_minute_per_network": 1000000}})
    tree["auth"] |= {"lockout": {"first_delay": "0ms", "max_delay": "0ms", "failures_per_network": 1000,
                                 "distinct_passwords_per_login": 1000}}
    return module_parts.use(Gateway(program, module_directory, tree))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script(gateway, name):
    listener, script = SCRIPTS[name]
    context = ssl._create_unverified_context()
    before = gateway.metric("portcullis_auth_attempts_total", result="success")
    with Wire(gateway.port(listener), greet=False) as client:
        if listener == "submissions":
            client.socket = context.wrap_socket(client.socket)
        assert client.reply()[0] == 220
        granted = 0
        for line, codes in script:
            code, text = client.ask(b"STARTTLS" if line is TLS else line)
            assert code in (codes if isinstance(codes, tuple) else (codes,)), (line, code, text)
            granted += code == 235
            if line is TLS:
                client.socket = context.wrap_socket(client.socket)
    assert gateway.metric("portcullis_auth_attempts_total", result="success") == before + granted
