"""A client certificate is its owner's, and for as long as it holds: not the login of a client for whom a proxy
speaks, and not brought along by tickets after its end, or after a reload that no longer asks for it."""

import contextlib
import socket
import ssl
import time

import pytest
from parts.certificates import Authority
from parts.gateway import Gateway, settings
from parts.loopback import ADDRESS, free_port
from parts.sink import Sink

PROXY = "proxy@example.com"
V2_TLS = (b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\0\x14" + bytes([203, 0, 113, 8, 192, 0, 2, 1]) + b"\x12\x67\0\x19" +
          b"\x20\0\5\1\0\0\0\0")
V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x21\x11\0\x0c" + bytes([203, 0, 113, 8, 192, 0, 2, 1]) + b"\x12\x67\0\x19"


@pytest.fixture
def start(parts, directory, program, pair, authority):
    """Listeners of `submission` and `submissions` ask for certificates; `balanced` needs a PROXY header too."""
    sink = parts.use(Sink(program, directory / "sink"))

    def start(asked="request", **network):
        tree = settings(directory, pair, sink.port, tls={"client_ca": authority.certificate})
        tree["listener"] = [{**each, "client_certificate": asked} for each in tree["listener"]]
        tree["listener"].append({"name": "balanced", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit",
                                 "auth": "required", "proxy_protocol": True, "client_certificate": asked})
        tree["network"] = [{"name": "front", "addresses": ["127.0.0.1"], "may_send_proxy_header": True, **network}]
        return parts.use(Gateway(program, directory, tree))
    return start


class Client:
    """A session over TLS, line by line."""

    def __init__(self, gateway, listener, context, before=b"", session=None):
        plain = socket.create_connection((ADDRESS, gateway.port(listener)), timeout=20, source_address=("127.0.0.1", 0))
        self.lines = plain.makefile("rb")
        self.socket = plain
        if before:
            plain.sendall(before)
        if listener == "submission":
            self.reply()
            self.ask("EHLO proxy.test")
            assert self.ask("STARTTLS").startswith("220")
        self.socket = context.wrap_socket(plain, server_hostname="mx.example.com", session=session)
        self.lines = self.socket.makefile("rb")
        if listener != "submission":
            self.reply()

    def reply(self):
        text = ""
        while True:
            line = self.lines.readline().decode()
            text += line
            if line[3:4] != "-":
                return text

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.reply()

    def external(self):
        """(whether it is offered, the reply to it)"""
        offered = "EXTERNAL" in self.ask("EHLO client.test")
        return offered, self.ask("AUTH EXTERNAL =")[:3]

    def close(self):
        self.socket.close()


def context_of(pair, version=None):
    context = ssl._create_unverified_context()
    context.load_cert_chain(pair.certificate, pair.private_key)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


def test_xclient_does_not_lend_the_certificate_of_the_proxy(start, authority):
    gateway = start(may_send_xclient=True)
    context = context_of(authority.client(PROXY))
    with contextlib.closing(Client(gateway, "submission", context)) as client:
        assert client.external() == (True, "235")  # the proxy itself
    with contextlib.closing(Client(gateway, "submission", context)) as client:
        assert "EXTERNAL" in client.ask("EHLO proxy.test")
        assert client.ask("XCLIENT ADDR=203.0.113.66 PORT=4711").startswith("220")
        assert client.external() == (False, "504")
        assert client.ask("MAIL FROM:<proxy@example.com>").startswith("530")
        # Nor after another one was named, or the proxy's own address.
        assert client.ask("XCLIENT ADDR=127.0.0.1").startswith("220")
        assert client.external() == (False, "504")
        assert client.ask("XCLIENT ADDR=203.0.113.66 LOGIN=alice@example.com").startswith("220")
        client.ask("EHLO client.test")
        assert client.ask("MAIL FROM:<proxy@example.com>").startswith("553")
        assert client.ask("MAIL FROM:<alice@example.com>").startswith("250")
        assert client.ask("RCPT TO:<bob@example.net>").startswith("250")
        assert client.ask("DATA").startswith("354")
        assert client.ask("From: alice@example.com\r\n\r\nx\r\n.").startswith("250")
    # The handshake was the proxy's: nothing of it is written about the client.
    (record,) = gateway.wait_for_journal(type="transaction", result="accepted")
    assert record["client"] == "203.0.113.66" and record["via"] and not any(key.startswith("tls_") for key in record), record


def test_a_certificate_presented_by_a_balancer_is_its_own(start, authority):
    gateway = start()
    context = context_of(authority.client(PROXY))
    # The balancer passes the client's TLS on.
    with contextlib.closing(Client(gateway, "balanced", context, V2)) as client:
        assert client.external() == (True, "235")
    # The balancer says that the client's TLS ended there.
    with contextlib.closing(Client(gateway, "balanced", context, V2_TLS)) as client:
        assert client.external() == (False, "504")


@VERSIONS
@pytest.mark.parametrize("asked", ["request", "require"])
def test_tickets_end_with_the_certificate(start, authority, version, asked):
    gateway = start(asked)
    end = time.time() + 25
    context = context_of(authority.client(PROXY, seconds=25), version)
    with contextlib.closing(Client(gateway, "submissions", context)) as client:
        assert client.external() == (True, "235")
        session = client.socket.session
    resumed = 0
    while True:  # each time with the newest ticket
        began = time.time()
        try:
            with contextlib.closing(Client(gateway, "submissions", context, session=session)) as client:
                resumed += client.socket.session_reused
                offered, code = client.external()
                session = client.socket.session
        except (ssl.SSLError, OSError):
            offered, code = False, ""
        if began > end + 1:
            break
        assert began + 2 > end or (offered, code) == (True, "235")
        time.sleep(1)
    assert resumed > 0 and not offered and code in ("504", ""), (resumed, offered, code)
    # As in a new handshake.
    with contextlib.suppress(ssl.SSLError, OSError), contextlib.closing(Client(gateway, "submissions", context)) as client:
        assert asked == "request" and client.external() == (False, "504")


@VERSIONS
def test_tickets_end_with_what_vouched_for_them(start, authority, directory, version):
    gateway = start("request")
    context = context_of(authority.client(PROXY), version)

    def resume(session):
        with contextlib.closing(Client(gateway, "submissions", context, session=session)) as client:
            return client.socket.session_reused, client.external(), client.socket.session
    reused, allowed, session = resume(None)
    assert (reused, allowed) == (False, (True, "235"))
    reused, allowed, session = resume(session)
    assert (reused, allowed) == (True, (True, "235"))
    # No longer asked for.
    gateway.tree["listener"] = [{**each, "client_certificate": "off"} for each in gateway.tree["listener"]]
    gateway.reload()
    reused, allowed, _ = resume(session)
    assert (reused, allowed[0]) == (False, False)
    # Asked for again, and another authority vouches.
    gateway.tree["listener"] = [{**each, "client_certificate": "request"} for each in gateway.tree["listener"]]
    gateway.tree["tls"]["client_ca"] = Authority(directory / "other", "Other CA").certificate
    gateway.reload()
    reused, allowed, _ = resume(session)
    assert (reused, allowed[0]) == (False, False)
