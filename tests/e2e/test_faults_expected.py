"""A client that does not pipeline and sends message after message to one recipient each: DATA is with the upstream
before the client says it (docs/performance.md). The faults of test_faults.py meet it there, and clients that do
something else than expected; with an upstream that fails, and with a real Postfix."""

import pytest

from faulty_upstream import FaultyUpstream, say
from parts.gateway import Gateway, settings
from parts.loopback import wait_until
from parts.postfix import Postfix
from test_faults import FAULTS, SURPLUS, Tally, gateway  # noqa: F401: a fixture
from wire import Wire

MAIL, RCPT = b"MAIL FROM:<out@else.test>", b"RCPT TO:<bob@example.com>"


@pytest.fixture
def upstream(parts):
    return parts.use(FaultyUpstream())


def expecting(tally):
    """A client whose next message is expected to have one recipient: two such messages are behind it."""
    client = Wire(tally.port)
    for _ in range(2):
        wait_until(lambda: tally.send(client) == 250, "a message of the ordinary kind", 8)
    return client


def data_was_sent(upstream):
    with upstream.lock:
        return upstream.commands[-1] == b"DATA"


def test_data_does_not_wait_for_the_client(gateway, upstream):  # noqa: F811
    client = expecting(Tally(gateway.port("mx"), upstream))
    assert client.ask(MAIL)[0] == 250
    assert client.ask(RCPT)[0] == 250
    wait_until(lambda: data_was_sent(upstream), "DATA behind RCPT")
    connections = upstream.connections
    assert client.ask(b"DATA")[0] == 354
    client.send(b"From: out@else.test\r\n\r\nexpected\r\n.\r\n")
    assert client.reply()[0] == 250
    assert upstream.connections == connections and b"expected" in upstream.accepted[-1]


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
def test_every_fault(gateway, upstream, step):  # noqa: F811
    tally = Tally(gateway.port("mx"), upstream)
    for name, what in FAULTS.items():
        client = expecting(tally)
        upstream.fault(step, what)
        tally.send(client)
        upstream.clear()
        wait_until(lambda: tally.send(client) == 250, f"recovery from {step} {name}", 8)
        client.socket.close()
    tally.reconcile()


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_replies_nobody_asked_for(gateway, upstream, step):  # noqa: F811
    tally = Tally(gateway.port("mx"), upstream)
    for name, what in SURPLUS.items():
        client = expecting(tally)
        upstream.fault(step, what)
        upstream.fault("DOT", say(b"550 5.7.1 refused\r\n"))
        assert tally.send(client) != 250, name
        upstream.clear()
        wait_until(lambda: tally.send(client) == 250, f"recovery from {step} {name}", 8)
        client.socket.close()
    tally.reconcile()


def begin_expected(client):
    assert client.ask(MAIL)[0] == 250
    assert client.ask(RCPT)[0] == 250


@pytest.mark.parametrize("what", [b"RSET", b"EHLO client.test", b"QUIT", None], ids=["rset", "ehlo", "quit", "leaves"])
def test_a_message_taken_back(gateway, upstream, what):  # noqa: F811
    tally = Tally(gateway.port("mx"), upstream)
    client = expecting(tally)
    whole = len(upstream.whole)
    begin_expected(client)
    wait_until(lambda: data_was_sent(upstream), "DATA behind RCPT")
    if what is None:
        client.socket.close()
    else:
        assert client.ask(what)[0] in (250, 221)
    assert tally.send() == 250
    tally.reconcile()
    assert len(upstream.whole) == whole + 1, "what was taken back never became a message"


def test_a_refused_header_completes_nothing(gateway, upstream):  # noqa: F811
    tally = Tally(gateway.port("mx"), upstream)
    client = expecting(tally)
    whole = len(upstream.whole)
    begin_expected(client)
    assert client.ask(b"DATA")[0] == 354
    client.send(b"From: one@else.test\r\nFrom: two@else.test\r\n\r\nx\r\n.\r\n")
    assert client.reply()[0] == 550
    assert len(upstream.whole) == whole
    for _ in range(3):
        assert tally.send(client) == 250
    # One connection is what a session may cost: from now on DATA waits for the client, and RSET takes a message back.
    for _ in range(3):
        begin_expected(client)
        assert client.ask(b"RSET")[0] == 250
        wait_until(lambda: upstream.commands[-3:] == [MAIL, RCPT, b"RSET"], "RSET where DATA was not sent")


def test_postfix_and_another_recipient(program, parts, directory, pair):
    postfix = parts.use(Postfix.upstream(directory / "postfix", pair))
    running = parts.use(Gateway(program, directory, settings(directory, pair, postfix.port)))
    bob, carol = postfix.mailbox("bob@example.com"), postfix.mailbox("carol@example.com")
    with Wire(running.port("mx")) as client:
        for number, recipients in enumerate([[b"bob"], [b"bob"], [b"bob", b"carol"], [b"carol"], [b"nobody", b"bob"]]):
            assert client.ask(MAIL)[0] == 250
            codes = [client.ask(b"RCPT TO:<%s@example.com>" % name)[0] for name in recipients]
            assert codes == [550 if name == b"nobody" else 250 for name in recipients]
            assert client.ask(b"DATA")[0] == 354
            client.send(b"From: out@else.test\r\nSubject: number %d\r\n\r\nx\r\n.\r\n" % number)
            assert client.reply()[0] == 250
    to_bob, to_carol = b"".join(bob.wait_for(4)), b"".join(carol.wait_for(2))
    assert [to_bob.count(b"Subject: number %d" % n) for n in range(5)] == [1, 1, 1, 0, 1]
    assert [to_carol.count(b"Subject: number %d" % n) for n in range(5)] == [0, 0, 1, 1, 0]


def test_postfix_refuses_the_recipient_and_data(program, parts, directory, pair):
    """What a real server says to DATA when it took no recipient leaves the connection as it was."""
    postfix = parts.use(Postfix.upstream(directory / "postfix", pair))
    running = parts.use(Gateway(program, directory, settings(directory, pair, postfix.port)))
    with Wire(running.port("mx")) as client:
        for name in [b"bob", b"bob", b"nobody", b"bob"]:
            assert client.ask(MAIL)[0] == 250
            taken = client.ask(b"RCPT TO:<%s@example.com>" % name)[0]
            assert taken == (550 if name == b"nobody" else 250)
            if taken == 550:
                assert client.ask(b"RSET")[0] == 250
                continue
            assert client.ask(b"DATA")[0] == 354
            client.send(b"From: out@else.test\r\n\r\nx\r\n.\r\n")
            assert client.reply()[0] == 250
    assert len(postfix.mailbox("bob@example.com").wait_for(3)) == 3


def test_what_the_client_did_not_say_is_not_recorded(gateway, upstream):  # noqa: F811
    """The refusal of a DATA that was sent in advance decides nothing when the client says something else."""
    tally = Tally(gateway.port("mx"), upstream)
    client = expecting(tally)
    upstream.fault("RCPT", say(b"550 5.1.1 no such user\r\n"))
    upstream.fault("DATA", say(b"503 5.5.1 no recipients\r\n"))
    assert client.ask(MAIL)[0] == 250
    assert client.ask(RCPT)[0] == 550
    wait_until(lambda: data_was_sent(upstream), "DATA behind RCPT")
    assert client.ask(b"RSET")[0] == 250
    (record,) = gateway.wait_for_journal(type="transaction", result="rejected")
    assert record["code"] == 550
    assert "upstream_code" not in record and "upstream_reply" not in record
