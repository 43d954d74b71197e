"""Laws 1 and 2 with an upstream that fails at each step: no false 250, no half message, nothing twice, and
one reply for every command."""

import smtplib
import ssl
import time

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.scripted import CLOSE, SILENCE, ScriptedUpstream

BOB = "bob@example.net"
TEXT = f"From: {ALICE}\r\nSubject: fault\r\n\r\nbody\r\n"


@pytest.fixture
def upstream(parts):
    return parts.use(ScriptedUpstream())


@pytest.fixture
def gateway(parts, directory, program, pair, upstream):
    tree = settings(directory, pair, upstream.port)
    tree["upstream"][0].update(command_timeout="2s", end_of_data_timeout="2s", connect_timeout="2s", data_timeout="2s",
                               waiting_timeout="3s", chunking=False)
    return parts.use(Gateway(program, directory, tree))


def session(gateway):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30, context=ssl._create_unverified_context())
    client.ehlo("client.test")
    client.login(ALICE, PASSWORD)
    return client


def send(client):
    """The reply that settled the message, as (code, text), and whether the session goes on."""
    replies = [client.mail(ALICE), client.rcpt(BOB)]
    if replies[-1][0] == 250:
        replies.append(client.docmd("DATA"))
        if replies[-1][0] == 354:
            client.send(TEXT + ".\r\n")
            replies.append(client.getreply())
    return replies[-1]


FAULTS = [
    # what the upstream does, what the client may hear, whole messages the upstream may have got
    ({"EHLO": b"250-x\r\n250 PIPELINING\r\n250 again\r\n"}, (451,), 0),
    ({"EHLO": b"250 x\r\nsomething\r\n"}, (451,), 0),
    ({"MAIL": b"451 4.3.0 try later\r\n"}, (451,), 0),
    ({"MAIL": b"550 5.7.1 not you\r\n"}, (550,), 0),
    ({"MAIL": CLOSE}, (451,), 0),
    ({"MAIL": SILENCE}, (451,), 0),
    ({"RCPT": b"450 4.2.1 later\r\n"}, (450,), 0),
    ({"RCPT": b"550 5.1.1 unknown\r\n"}, (550,), 0),
    ({"RCPT": CLOSE}, (451,), 0),
    ({"RCPT": b"354 what?\r\n"}, (451,), 0),
    ({"RCPT": b"000 zero\r\n"}, (451,), 0),
    ({"RCPT": b"garbage\r\n"}, (451,), 0),
    ({"RCPT": b"421 4.3.2 going down\r\n"}, (421, 451), 0),
    ({"DATA": b"554 5.3.0 no\r\n"}, (554,), 0),
    ({"DATA": b"250 2.0.0 eager\r\n"}, (451,), 0),
    ({"DATA": CLOSE}, (451,), 0),
    ({"DATA": SILENCE}, (451,), 0),
    ({"DOT": b"451 4.3.0 disk\r\n"}, (451,), 1),
    ({"DOT": b"554 5.6.0 content\r\n"}, (554,), 1),
    ({"DOT": CLOSE}, (451,), 1),
    ({"DOT": SILENCE}, (451,), 1),
    ({"DOT": b"354 again\r\n"}, (451,), 1),
    ({"DOT": b"150 maybe\r\n"}, (451,), 1),
    ({"DOT": b"999 ok\r\n"}, (451,), 1),
    ({"DOT": b"250\x00 ok\r\n"}, (451,), 1),
]


@pytest.mark.parametrize("answers, codes, whole", FAULTS, ids=[str(f[0]) for f in FAULTS])
def test_fault(gateway, upstream, answers, codes, whole):
    good = dict(upstream.answers)
    upstream.answers.update(answers)
    client = session(gateway)
    code, text = send(client)
    assert code in codes, (code, text)
    assert len(upstream.messages) == whole
    # Mended, the next message goes through: in the same session unless that was closed.
    upstream.answers.update(good)
    if code == 421:
        client = session(gateway)
    assert client.rset()[0] == 250
    wait_until(gateway.is_ready, "the upstream to be seen as up again")
    assert send(client)[0] == 250
    assert len(upstream.messages) == whole + 1
    assert client.quit()[0] == 221
    results = [r["result"] for r in gateway.wait_for_journal(2, type="transaction")]
    assert results[-1] == "accepted" and results[0] in ("rejected", "deferred")


def test_upstream_refuses_connections(gateway, upstream):
    upstream.stop()
    client = session(gateway)
    code, text = send(client)
    assert code == 451 and b"4.4.1" in text, (code, text)
    assert client.noop()[0] == 250
    wait_until(lambda: gateway.http("/readyz")[0] == 503, "not ready without an upstream")
    assert gateway.http("/healthz")[0] == 200


def test_no_250_before_the_upstreams(gateway, upstream):
    def slow(_):
        time.sleep(1.0)
        return b"250 2.0.0 Ok: queued as SLOW1\r\n"
    upstream.answers["DOT"] = slow
    client = session(gateway)
    client.mail(ALICE)
    client.rcpt(BOB)
    client.docmd("DATA")
    started = time.monotonic()
    client.send(TEXT + ".\r\n")
    code, text = client.getreply()
    assert code == 250 and b"SLOW1" in text and time.monotonic() - started >= 0.9


def test_a_refused_body_is_never_completed(gateway, upstream):
    """The message is refused by its header: the upstream must not see an end of data."""
    client = session(gateway)
    client.mail(ALICE)
    client.rcpt(BOB)
    client.docmd("DATA")
    client.send(f"From: carol@example.com\r\n\r\n{'x' * 70}\r\n.\r\n")
    code, text = client.getreply()
    assert 500 <= code < 600 and b"identity" in text
    assert upstream.messages == []
    assert client.rset()[0] == 250 and send(client)[0] == 250


def test_a_client_that_leaves_completes_nothing(gateway, upstream):
    client = session(gateway)
    client.mail(ALICE)
    client.rcpt(BOB)
    client.docmd("DATA")
    client.send(TEXT)
    client.close()
    (record,) = gateway.wait_for_journal(type="transaction", result="aborted")
    assert record["reverse_path"] == ALICE
    assert upstream.messages == []


def test_an_unasked_reply_is_never_the_answer_to_something(gateway, upstream):
    """Two 250 to one message: the second must not confirm the next, which the upstream refuses."""
    upstream.answers["DOT"] = b"250 2.0.0 Ok: queued as A\r\n250 2.0.0 Ok: queued as B\r\n"
    client = session(gateway)
    assert send(client)[0] == 250
    upstream.answers.update({"DOT": b"554 5.6.0 refused\r\n"})
    code, text = send(client)
    assert code == 554, (code, text)


def test_connections_are_reused(gateway, upstream):
    before = upstream.connections
    for _ in range(10):
        client = session(gateway)
        assert send(client)[0] == 250
        client.quit()
    probes = len(upstream.seen("QUIT"))
    assert len(upstream.messages) == 10
    assert gateway.metric("portcullis_upstream_connection_reuses_total") >= 8
    assert upstream.connections - before <= 3 + probes
