"""A connection to the upstream always belongs to somebody: to the session that has it, or to the pool. Sessions that
end in the very moment in which they give one up, ask for another or are given one leave none behind."""

import signal
import socket
import struct
import threading

import pytest

from faulty_upstream import GO_ON, FaultyUpstream
from parts import kernel
from parts.gateway import Gateway, settings
from parts.loopback import wait_until
from wire import Wire

MAIL, RCPT = b"MAIL FROM:<out@else.test>", b"RCPT TO:<bob@example.com>"
OPEN = "portcullis_upstream_connections"


@pytest.fixture
def upstream(parts):
    return parts.use(FaultyUpstream())


@pytest.fixture
def gateway(program, parts, directory, pair, upstream):
    tree = settings(directory, pair, upstream.port)
    tree["limits"] = {"connections": {"new_per_minute_per_network": 1000000}}
    tree["upstream"][0] |= {"probe_interval": "1h"}
    tree["workers"] = 1  # one pool
    running = parts.use(Gateway(program, directory, tree))
    wait_until(lambda: upstream.connections > 0, "the probe")
    return running


def message(client):
    client.envelope()
    assert client.ask(b"DATA")[0] == 354
    assert client.ask(b"From: out@else.test\r\n\r\nx\r\n.")[0] == 250


def leave_one_idle(gateway):
    """Another session's connection, idle in the pool."""
    with Wire(gateway.port("mx")) as other:
        message(other)
        assert other.ask(b"QUIT")[0] == 221


def nothing_is_left_behind(gateway, upstream):
    wait_until(lambda: gateway.metric(OPEN, state="active") == 0, "no connection in use", 5)
    upstream.hang_up()  # who is told of that must still be there
    wait_until(lambda: gateway.metric(OPEN) == 0, "no connection left")
    with Wire(gateway.port("mx")) as client:
        message(client)


LAST_WORDS = {
    "bare LF": b"NOOP\n",
    "NUL": b"NO\0OP\r\n",
    "too long": b"x" * 3000 + b"\r\n",
    "errors": b"RCPT TO:<syntax\r\n" * 40,
}


@pytest.mark.parametrize("last", LAST_WORDS.values(), ids=LAST_WORDS)
def test_data_taken_back_and_the_session_ended(gateway, upstream, last):
    client = Wire(gateway.port("mx"))
    for _ in range(2):
        message(client)
    client.envelope()
    wait_until(lambda: upstream.commands[-1] == b"DATA", "DATA behind RCPT")
    leave_one_idle(gateway)
    client.send(b"RCPT TO:<carol@example.com>\r\n" + last)
    client.replies()
    nothing_is_left_behind(gateway, upstream)


@pytest.mark.parametrize("last", LAST_WORDS.values(), ids=LAST_WORDS)
def test_reset_and_the_session_ended(gateway, upstream, last):
    client = Wire(gateway.port("mx"))
    client.envelope()
    leave_one_idle(gateway)
    client.send(b"RSET\r\n" + MAIL + b"\r\n" + RCPT + b"\r\n" + last)
    client.replies()
    nothing_is_left_behind(gateway, upstream)


def test_granted_to_a_client_that_just_left(gateway, upstream):
    """The connection opens, and the client that waits for it leaves, in one turn of the loop."""
    hold = threading.Event()

    def held(conversation):
        hold.wait(20)
        return GO_ON

    upstream.hang_up()
    wait_until(lambda: gateway.metric(OPEN) == 0, "no connection left")
    upstream.fault("EHLO", held)
    client = Wire(gateway.port("mx"))
    before = len(upstream.commands)
    assert client.ask(MAIL)[0] == 250
    client.send(RCPT + b"\r\n")
    wait_until(lambda: len(upstream.commands) > before, "EHLO")
    gateway.send(signal.SIGSTOP)
    hold.set()
    wait_until(lambda: kernel.unread(far=upstream.port) > 0, "the reply to EHLO at the gateway's socket")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near = gateway.port("mx")
    client.socket.close()
    wait_until(lambda: kernel.established(near=near) == 0, "the reset at the gateway's socket")
    gateway.send(signal.SIGCONT)
    nothing_is_left_behind(gateway, upstream)
