"""Every fault at every step of the upstream, over real sockets: exactly one reply to every command, no false
250, no message twice from one DATA, and no connection used again that is not clean."""

import itertools

import pytest

from faulty_upstream import FaultyUpstream, before, close, dribble, reset, say, silence, slow, without_received
from parts.gateway import Gateway, settings
from parts.loopback import wait_until
from wire import Wire

BODY = b"From: out@else.test\r\nSubject: n%d\r\nX-Pad: 1\r\nX-Pad: 2\r\n\r\n.stuffed\r\n..\r\n%s"
BIG = b"0123456789abcde\r\n" * 6000  # several chunks

# What the upstream says or does -> whether the gateway may still take the message as delivered.
FAULTS = {
    "close": close, "reset": reset, "timeout": silence,
    "421": say(b"421 4.3.2 closing\r\n"), "450": say(b"450 4.2.1 later\r\n"), "550": say(b"550 5.1.1 never\r\n"),
    "garbage": say(b"\x16\x03\x01\x02\x00garbage\x00\xff\r\n"), "text": say(b"hello there\r\n"),
    "000": say(b"000 ok\r\n"), "150": say(b"150 ok\r\n"), "334": say(b"334 \r\n"), "354": say(b"354 go\r\n"),
    "999": say(b"999 ok\r\n"), "220": say(b"220 hi\r\n"), "252": say(b"252 perhaps\r\n"),
    "mixed lines": say(b"250-one\r\n550 two\r\n"), "endless lines": say(b"250-x\r\n" * 400),
    "endless line": say(b"250 " + b"x" * 100000), "half a reply": say(b"250 2.0", then="close"),
}
# Those that end the connection, and with it nothing the client has been told.
ENDS = {"close", "reset", "421", "garbage", "text", "000", "150", "999", "mixed lines", "endless lines", "endless line",
        "half a reply"}
GOOD = {
    "slow": slow(0.4), "dribble": dribble(b"250-2.0.0 one\r\n250 2.0.0 two\r\n"),
}
SURPLUS = {
    "early": before(b"250 2.0.0 stale\r\n"), "early, apart": before(b"250 2.0.0 stale\r\n", 0.05),
    "early 354": before(b"354 stale\r\n"), "early, many": before(b"250 2.0.0 stale\r\n" * 5),
}
STEPS = ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT"]


@pytest.fixture(params=[(b"PIPELINING", b"8BITMIME"), (b"PIPELINING", b"8BITMIME", b"CHUNKING"), (b"8BITMIME",)],
                ids=["data", "bdat", "lockstep"])
def upstream(request, parts):
    return parts.use(FaultyUpstream(request.param))


@pytest.fixture
def gateway(program, parts, directory, pair, upstream):
    tree = settings(directory, pair, upstream.port)
    tree["limits"] = {"connections": {"new_per_minute_per_network": 1000000}}
    # BDAT is for servers that never answer twice: its own tests leave those faults out.
    tree["upstream"][0] |= {"chunking": b"CHUNKING" in upstream.capabilities, "probe_interval": "1h", "command_timeout": "1s", "end_of_data_timeout": "1s",
                            "connect_timeout": "1s", "waiting_timeout": "1s"}
    running = parts.use(Gateway(program, directory, tree))
    wait_until(lambda: upstream.connections > 0, "the probe")
    return running


class Tally:
    """Sends numbered messages and holds what was acknowledged against what the upstream has."""

    def __init__(self, port, upstream):
        self.port, self.upstream, self.number = port, upstream, 0
        self.acknowledged, self.refused = [], []
        self.surplus = False  # the upstream answers the message itself once too often

    def send(self, client=None, size="small"):
        """One message; the code of the last reply to it. Every command is followed by exactly one reply."""
        self.number += 1
        body = BODY % (self.number, BIG if size == "big" else b"end\r\n")
        own = client or Wire(self.port)
        try:
            return self._converse(own, body)
        finally:
            if client is None:
                assert own.ask(b"QUIT")[0] == 221
                assert own.reply()[0] is None
                own.socket.close()

    def _converse(self, client, body):
        own = self.number
        assert client.ask(b"MAIL FROM:<out@else.test>")[0] == 250
        code = client.ask(b"RCPT TO:<bob@example.com>")[0]
        if code == 250:
            code = client.ask(b"DATA")[0]
        if code == 354:
            client.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            code, text = client.reply()
            if code == 250:
                assert self.surplus or b"stale" not in text
                self.acknowledged.append(body)
            else:
                self.refused.append((own, code))
        assert client.ask(b"NOOP")[0] == 250  # nothing left over: the replies are in step
        assert client.ask(b"RSET")[0] == 250
        return code

    def reconcile(self):
        """Acknowledged = accepted by the upstream, byte for byte; nothing twice; refused for good = not there."""
        with self.upstream.lock:
            accepted = [without_received(m) for m in self.upstream.accepted]
            whole = [without_received(m) for m in self.upstream.whole]
        for body in self.acknowledged:
            assert accepted.count(body) == 1 or whole.count(body) == 1
        assert len(set(whole)) == len(whole), "a message twice from one DATA"
        for number, code in self.refused:
            if code < 500:
                continue  # the upstream may have said 250 and been lost: the client tries again
            assert not [m for m in accepted if b"Subject: n%d\r\n" % number in m]


def applies(step, upstream):
    return not (b"CHUNKING" in upstream.capabilities and step in ("DATA", "BODY"))


@pytest.mark.parametrize("step", STEPS)
def test_every_fault_at_every_step(gateway, upstream, step):
    if not applies(step, upstream):
        step = "BDAT"
    tally = Tally(gateway.port("mx"), upstream)
    for name, what in FAULTS.items():
        # Connections that are already open know no opening.
        upstream.hang_up() if step in ("CONNECT", "EHLO") else None
        upstream.fault(step, what)
        code = tally.send(size="big" if step in ("BDAT", "BODY") else "small")
        harmless = (step == "DATA" and name == "354") or (step == "CONNECT" and name == "220")
        # EHLO refused: HELO, as RFC 5321 has it. A pooled connection lost before it answered a recipient is replaced.
        retried = step in ("CONNECT", "EHLO") or (step in ("MAIL", "RCPT") and name in ENDS)
        if not harmless and not retried:
            assert code in (250,) if step == "BODY" and name in ("timeout",) else code >= 400, (step, name, code)
        if step == "BODY" and name == "550":
            tally.refused.pop()  # said before its time and taken back: the client was told what the upstream said
        upstream.clear()
        # The next one, by whatever connection, is clean again (a server that failed is left alone for a while).
        wait_until(lambda: tally.send() == 250, f"recovery from {step} {name}", 8)
    tally.reconcile()


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT", "BDAT"])
def test_slow_and_in_pieces(gateway, upstream, step):
    if not applies(step, upstream):
        step = "BDAT"
    tally = Tally(gateway.port("mx"), upstream)
    for name, what in GOOD.items():
        if step == "DATA" and name == "dribble":
            what = dribble(b"354-go\r\n354 on\r\n")
        upstream.fault(step, what)
        assert tally.send(size="big") == 250, (step, name)
    assert len(tally.acknowledged) == len(GOOD)


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "BDAT", "DOT", "RSET"])
def test_replies_nobody_asked_for(gateway, upstream, step):
    """The upstream answers once too often and then refuses what comes after: no stale 250 is ever the answer."""
    if b"CHUNKING" in upstream.capabilities and step in ("MAIL", "RCPT", "BDAT"):
        step = "DOT"  # what BDAT can not tell apart: docs/security.md, "Known limits"
    tally = Tally(gateway.port("mx"), upstream)
    for name, what in SURPLUS.items():
        upstream.fault(step, what)
        if step != "DOT":
            upstream.fault("DOT", say(b"550 5.7.1 refused\r\n"))
        tally.surplus = step == "DOT"
        code = tally.send(size="big" if step == "BDAT" else "small")
        tally.surplus = False
        if step != "DOT":
            assert code != 250, (step, name)
        upstream.clear()
        wait_until(lambda: tally.send() == 250, f"recovery from {step} {name}", 8)
    tally.reconcile()


@pytest.mark.parametrize("how", ["closed", "late", "talking", "talking 421", "half a reply"])
def test_stale_pooled_connection(gateway, upstream, how):
    tally = Tally(gateway.port("mx"), upstream)
    for _ in range(5):
        assert tally.send() == 250
        if how == "closed":
            upstream.hang_up()
        elif how == "late":
            upstream.fault("DOT", before(b"", 0.0))
        else:
            upstream.talk({"talking": b"250 2.0.0 stale\r\n", "talking 421": b"421 4.4.2 idle\r\n",
                           "half a reply": b"250-"}[how])
    assert len(tally.acknowledged) == 5
    tally.reconcile()


def test_transactions_of_one_client_after_faults(gateway, upstream):
    """One session goes on through faults; each message has its own outcome."""
    tally = Tally(gateway.port("mx"), upstream)
    with Wire(gateway.port("mx")) as client:
        for name, step in itertools.product(("close", "450", "550", "150", "reset"), ("RCPT", "DOT")):
            upstream.fault(step, FAULTS[name])
            code = tally.send(client)
            assert code >= 400 or (step == "RCPT" and name in ENDS), (name, step, code)
            upstream.clear()
            wait_until(lambda: tally.send(client) == 250, name, 8)
    tally.reconcile()


def test_capabilities_that_change(gateway, upstream):
    """A server behind that lost an extension since it was asked: nothing it can not do is sent to it."""
    tally = Tally(gateway.port("mx"), upstream)
    assert tally.send() == 250
    upstream.capabilities[:] = [b"X-NOTHING"]
    upstream.hang_up()
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<out@else.test> BODY=8BITMIME")[0] == 250
        assert client.ask(b"RCPT TO:<bob@example.com>")[0] == 250
        assert client.ask(b"DATA")[0] == 354
        client.send("From: out@else.test\r\n\r\nné\r\n.\r\n".encode())
        code, text = client.reply()
        assert code == 451 and b"4.6.3" in text and b"8-bit" in text  # the next session hears what it can do now
    assert tally.send() == 250
    assert b"BODY=" not in b"".join(upstream.commands[-8:])
    tally.reconcile()
