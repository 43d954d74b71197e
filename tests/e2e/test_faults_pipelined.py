"""The faults of test_faults.py met by a client that pipelines MAIL, RCPT and DATA: then DATA is with the upstream
before it has answered the recipients (docs/performance.md)."""

import pytest

from faulty_upstream import FaultyUpstream, say
from parts.loopback import wait_until
from test_faults import FAULTS, SURPLUS, Tally, gateway  # noqa: F401: a fixture

GROUP = b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"


@pytest.fixture(params=[(b"PIPELINING", b"8BITMIME"), (b"8BITMIME",)], ids=["data", "lockstep"])
def upstream(request, parts):
    return parts.use(FaultyUpstream(request.param))


class PipelinedTally(Tally):
    def _converse(self, client, body):
        client.send(GROUP)
        assert client.reply()[0] == 250
        recipient, code = client.reply()[0], client.reply()[0]
        assert code == 354 if recipient == 250 else code >= 400, (recipient, code)
        if code != 354:
            code = recipient
        else:
            client.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n")
            number = self.number
            code, text = client.reply()
            if code == 250:
                assert self.surplus or b"stale" not in text
                self.acknowledged.append(body)
            else:
                self.refused.append((number, code))
        assert client.ask(b"NOOP")[0] == 250  # nothing left over: the replies are in step
        assert client.ask(b"RSET")[0] == 250
        return code


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
def test_every_fault(gateway, upstream, step):  # noqa: F811
    tally = PipelinedTally(gateway.port("mx"), upstream)
    for name, what in FAULTS.items():
        upstream.fault(step, what)
        tally.send()
        upstream.clear()
        wait_until(lambda: tally.send() == 250, f"recovery from {step} {name}", 8)
    tally.reconcile()


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA"])
def test_replies_nobody_asked_for(gateway, upstream, step):  # noqa: F811
    tally = PipelinedTally(gateway.port("mx"), upstream)
    for name, what in SURPLUS.items():
        upstream.fault(step, what)
        upstream.fault("DOT", say(b"550 5.7.1 refused\r\n"))
        assert tally.send() != 250, name
        upstream.clear()
        wait_until(lambda: tally.send() == 250, f"recovery from {step} {name}", 8)
    tally.reconcile()
