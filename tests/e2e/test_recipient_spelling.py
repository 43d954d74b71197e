"""A domain goes to the server behind in the spelling in which it was judged: a server that trusts the gateway and
reads another domain in it would relay for strangers."""

import pytest
from parts.gateway import Gateway, settings
from parts.loopback import wait_until
from parts.postfix import Postfix
from parts.scripted import ScriptedUpstream
from wire import Wire

EHLO = b"250-scripted\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-XFORWARD NAME ADDR PROTO HELO\r\n250 SIZE 1000000\r\n"
OURS = ["example\u3002com", "\uff45xample.com", "EXAMPLE\uff0ecom", "example.com\u3002", "ex\uff21mple\uff61com"]
NOT_OURS = ["\u0435xample.com", "example\u2024com.evil.example", "example.com\u3002evil.example", "ex\u00e4mple.com"]


@pytest.fixture
def start(parts, directory, program, pair):
    def start(port, **changes):
        gateway = parts.use(Gateway(program, directory, settings(directory, pair, port, **changes)))
        wait_until(lambda: offers_utf8(gateway), "SMTPUTF8 to be offered")
        return gateway
    return start


def offers_utf8(gateway):
    with Wire(gateway.port("mx")) as client:
        return b"SMTPUTF8" in client.ask(b"EHLO client.test")[1]


@pytest.mark.parametrize("identity", ["none", "xforward"])
def test_what_was_judged_is_what_is_sent(parts, start, identity):
    upstream = parts.use(ScriptedUpstream({"EHLO": EHLO, "XFORWARD": b"250 2.0.0 ok\r\n"}))
    gateway = start(upstream.port)
    gateway.tree["upstream"][0]["client_identity"] = identity
    gateway.reload()
    for ours in OURS:
        with Wire(gateway.port("mx")) as client:
            assert client.ask(b"MAIL FROM:<a@B\xc3\xbccher.example> SMTPUTF8")[0] == 250
            assert client.ask(f"RCPT TO:<Bob@{ours}>".encode())[0] == 250, ours
            for other in NOT_OURS:
                assert client.ask(f"RCPT TO:<Bob@{other}>".encode())[0] == 550, other
            assert client.ask(b"RCPT TO:<Carol@Example.COM>")[0] == 250
            assert client.ask(b"DATA")[0] == 354
            client.send(b"From: a@b.example\r\nSubject: x\r\n\r\nx\r\n.\r\n")
            assert client.reply()[0] == 250
    assert set(upstream.seen("RCPT")) == {b"RCPT TO:<Bob@example.com>", b"RCPT TO:<Carol@Example.COM>"}
    assert all(command.startswith(b"MAIL FROM:<a@xn--bcher-kva.example>") for command in upstream.seen("MAIL"))
    for record in gateway.wait_for_journal(len(OURS), type="transaction"):
        assert record["reverse_path"] == "a@xn--bcher-kva.example"
        assert {each["recipient"] for each in record["recipients"] if each["code"] == 250} == {"Bob@example.com", "Carol@Example.COM"}


def test_a_postfix_that_trusts_us_relays_nothing(parts, directory, start):
    postfix = parts.use(Postfix.upstream(directory / "postfix", smtputf8_enable="yes",
                                         smtpd_relay_restrictions="permit_mynetworks, reject_unauth_destination"))
    gateway = start(postfix.port)
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<a@b.example> SMTPUTF8")[0] == 250
        for ours in OURS:
            assert client.ask(f"RCPT TO:<bob@{ours}>".encode())[0] == 250, ours
        for routed in ("victim\uff20elsewhere.example", "victim\ufe6belsewhere.example", "victim\uff05elsewhere.example",
                       "elsewhere.example\uff01victim", "victim%elsewhere.example"):
            assert client.ask(f"RCPT TO:<{routed}@example.com>".encode())[0] == 550, routed
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: a@b.example\r\nSubject: x\r\n\r\nx\r\n.\r\n")
        assert client.reply()[0] == 250
    wait_until(lambda: "to=<bob@example.com>" in postfix.log() and "removed" in postfix.log(), postfix.log)
    recipients = [line.split("to=<")[1].split(">")[0] for line in postfix.log().splitlines() if " to=<" in line]
    assert set(recipients) == {"bob@example.com"}, recipients
