"""Connections to the server behind are shared out fairly: whatever one network, a few or one account do with
those they hold, others are served at once. Default settings throughout."""

import contextlib
import smtplib
import socket
import ssl
import threading
import time

import pytest

from parts.clients import message
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.postfix import Postfix
from parts.scripted import ScriptedUpstream
from wire import Wire

# Others are served within a second on an idle machine (reclaiming looks four times a second); tests share theirs.
SOON = 5.0
ONE_ADDRESS = ["127.0.6.6"]
EIGHT_ADDRESSES = [f"127.0.6.{n}" for n in range(1, 9)]


class _Lines:
    """The command that is being answered is a thread's own, as each connection is."""

    def __init__(self, lines):
        self.lines, self.read = lines, lines.read

    def __iter__(self):
        for line in self.lines:
            threading.current_thread().command = line
            yield line


class SlowForSome(ScriptedUpstream):
    """Answers a RCPT for slow@ after 20 s."""

    def __init__(self):
        super().__init__({"RCPT": self._rcpt})

    def _converse(self, connection, lines):
        super()._converse(connection, _Lines(lines))

    @staticmethod
    def _rcpt(upstream):
        if b"slow@" in threading.current_thread().command:
            time.sleep(20)
        return b"250 2.1.5 ok\r\n"


@pytest.fixture
def upstream(parts):
    return parts.use(SlowForSome())


@pytest.fixture(params=[1, 2, 4], ids=lambda n: f"{n}-workers")
def gateway(request, program, parts, directory, pair, upstream):
    tree = settings(directory, pair, upstream.port, workers=request.param)
    return parts.use(Gateway(program, directory, tree, users=((ALICE, PASSWORD), ("mallory@example.com", "m4llory"))))


class Crowd:
    """Many sessions that do the same, and one thread that keeps them at it."""

    def __init__(self, gateway, addresses, count, login=None):
        self.gateway, self.clients = gateway, []
        self._over = threading.Event()
        self._thread = None
        for n in range(count):
            self.clients.append(self._login(*login) if login else Wire(gateway.port("mx"), source=addresses[n % len(addresses)]))

    def _login(self, name, password):
        client = smtplib.SMTP_SSL(ADDRESS, self.gateway.port("submissions"), timeout=30,
                                  context=ssl._create_unverified_context())
        client.login(name, password)
        return _Secure(client)

    def send(self, octets):
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.socket.sendall(octets)

    def keep_sending(self, make, every):
        """make(n): the octets of the n-th round, to each session."""
        def run():
            n = 0
            while not self._over.wait(every):
                self.send(make(n))
                n += 1
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def leave(self):
        for client in self.clients:
            client.socket.close()

    def stop(self):
        self._over.set()
        if self._thread:
            self._thread.join()
        self.leave()


class _Secure:
    """As Wire, over TLS."""

    def __init__(self, client):
        self.client, self.socket = client, client.sock


ENVELOPE = b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\n"
USERS_ENVELOPE = b"MAIL FROM:<mallory@example.com>\r\nRCPT TO:<bob@example.com>\r\n"
SLOW_ENVELOPE = b"MAIL FROM:<out@else.test>\r\nRCPT TO:<slow@example.com>\r\n"
HEADER = b"From: out@else.test\r\n\r\n"


def stop_after_rcpt(crowd, envelope):
    crowd.send(envelope)
    crowd.keep_sending(lambda n: b"NOOP\r\n", 1.0)


def drip_recipients(crowd, envelope):
    crowd.send(envelope)
    crowd.keep_sending(lambda n: b"RCPT TO:<u%d@example.com>\r\n" % n, 0.1)


def stop_after_data(crowd, envelope):
    crowd.send(envelope + b"DATA\r\n")


def drip_content(crowd, envelope):
    crowd.send(envelope + b"DATA\r\n" + HEADER)
    crowd.keep_sending(lambda n: b"x" if n % 50 else b"\r\n", 0.1)


def drip_chunk(crowd, envelope):
    crowd.send(envelope + b"BDAT 100000\r\n" + HEADER)
    crowd.keep_sending(lambda n: b"x" if n % 50 else b"\r\n", 0.1)


def one_after_the_other(crowd, envelope):
    crowd.send(envelope)
    crowd.keep_sending(lambda n: [b"NOOP\r\n", b"RCPT TO:<u%d@example.com>\r\n" % n, b"RSET\r\n" + envelope, b"",
                                  b"DATA\r\n" + HEADER, b"x"][min(n, 5)], 0.4)


def wait_for_the_server(crowd, envelope):
    crowd.send(envelope.replace(b"bob@", b"slow@"))


PATTERNS = [stop_after_rcpt, drip_recipients, stop_after_data, drip_content, drip_chunk, one_after_the_other,
            wait_for_the_server]


def held(gateway):
    return gateway.metric("portcullis_upstream_connections", state="active")


def stranger(gateway, source):
    """How long a message from there takes, and its reply."""
    begun = time.monotonic()
    with Wire(gateway.port("mx"), source=source, timeout=60) as client:
        code = client.ask(b"MAIL FROM:<out@else.test>")
        for command in (b"RCPT TO:<bob@example.com>", b"DATA", b"From: out@else.test\r\n\r\nhi\r\n."):
            if code[0] in (250, 354):
                code = client.ask(command)
    return time.monotonic() - begun, code


def user(gateway):
    begun = time.monotonic()
    with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=60,
                          context=ssl._create_unverified_context()) as client:
        client.login(ALICE, PASSWORD)
        return time.monotonic() - begun, client.sendmail(ALICE, "bob@example.com", message(ALICE, "bob@example.com"))


def others_are_served(gateway, strangers=10):
    """All at once, and once more a moment later."""
    for turn in range(2):
        results, users = [], []
        threads = [threading.Thread(target=lambda n=n: results.append(stranger(gateway, f"127.0.{7 + turn}.{n + 1}")))
                   for n in range(strangers)]
        threads.append(threading.Thread(target=lambda: users.append(user(gateway))))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == strangers and len(users) == 1
        assert all(code[0] == 250 for _, code in results), results
        assert users[0][1] == {}
        slowest = max(seconds for seconds, _ in [*results, *users])
        print(f"slowest of {strangers + 1}: {slowest:.2f} s")
        assert slowest < SOON, (slowest, gateway.metric("portcullis_upstream_waiting"))


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("addresses", [ONE_ADDRESS, EIGHT_ADDRESSES], ids=["one", "eight"])
def test_networks_that_hold_connections(gateway, parts, pattern, addresses):
    crowd = parts.use(Crowd(gateway, addresses, 100))
    pattern(crowd, ENVELOPE)
    wait_until(lambda: held(gateway) >= 20, "connections held")
    others_are_served(gateway)


@pytest.mark.parametrize("pattern", [stop_after_rcpt, drip_content], ids=lambda p: p.__name__)
def test_an_account_that_holds_connections(gateway, parts, pattern):
    crowd = parts.use(Crowd(gateway, None, 80, login=("mallory@example.com", "m4llory")))
    pattern(crowd, USERS_ENVELOPE)
    wait_until(lambda: held(gateway) >= 20, "connections held")
    others_are_served(gateway)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_clients_that_leave_while_the_server_owes_an_answer(gateway, parts, reset):
    crowd = parts.use(Crowd(gateway, ONE_ADDRESS, 100))
    for client in crowd.clients:
        if reset:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    crowd.send(SLOW_ENVELOPE)
    wait_until(lambda: held(gateway) >= 20, "connections held")
    others_are_served(gateway, strangers=4)
    crowd.leave()
    others_are_served(gateway)
    if reset:
        wait_until(lambda: gateway.metric("portcullis_connections_active", listener="mx") == 0, "noticed", seconds=5)


def test_many_networks_that_drip(program, parts, directory, pair, upstream):
    """More than there are connections: nobody's share is above another's, but long slowness ends."""
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, workers=1)))
    crowd = parts.use(Crowd(gateway, [f"127.0.9.{n}" for n in range(1, 101)], 100))
    drip_content(crowd, ENVELOPE)
    wait_until(lambda: held(gateway) >= 40, "connections held")
    seconds, code = stranger(gateway, "127.0.7.1")
    assert code[0] == 250, code
    assert gateway.metric("portcullis_upstream_reclaims_total", reason="stalled") > 0, seconds


def test_what_was_taken_back_goes_on(program, parts, directory, pair, upstream):
    """A client that pauses while others need its connection delivers its message all the same."""
    tree = settings(directory, pair, upstream.port, workers=1)
    tree["upstream"][0]["connections_max"] = 1
    gateway = parts.use(Gateway(program, directory, tree))
    with Wire(gateway.port("mx"), source="127.0.6.6") as patient:
        patient.envelope()
        assert patient.ask(b"RCPT TO:<carol@example.com>")[0] == 250
        assert stranger(gateway, "127.0.7.1")[1][0] == 250
        assert gateway.metric("portcullis_upstream_reclaims_total", reason="idle") == 1
        assert patient.ask(b"DATA")[0] == 354
        assert patient.ask(HEADER + b"patience\r\n.")[0] == 250
    assert b"patience" in upstream.messages[-1]
    assert [c.partition(b":")[2] for c in upstream.seen("RCPT")[-2:]] == [b"<bob@example.com>", b"<carol@example.com>"]


def test_fast_senders_are_left_alone(program, parts, directory, pair, upstream):
    """Far more sessions of one network than connections, all sending as fast as they can, beside others."""
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, workers=1)))
    codes, until = [], time.monotonic() + 8

    def sender(source, octets):
        with Wire(gateway.port("mx"), source=source, timeout=60) as client:
            while time.monotonic() < until:
                client.envelope()
                codes.append(client.ask(b"DATA")[0])
                codes.append(client.ask(HEADER + b"x" * 70 + b"\r\n" + b"y" * octets + b"\r\n.")[0])
    threads = [threading.Thread(target=sender, args=("127.0.6.6", 100)) for _ in range(60)]
    threads += [threading.Thread(target=sender, args=("127.0.6.6", 200_000)) for _ in range(10)]
    threads += [threading.Thread(target=sender, args=(f"127.0.7.{n}", 100)) for n in range(1, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(codes) > 200 and set(codes) == {354, 250}
    for reason in ("half_closed", "slow_client", "slow_server", "stalled", "unsettled"):
        assert gateway.metric("portcullis_upstream_reclaims_total", reason=reason) == 0
    wait_until(lambda: gateway.metric("portcullis_upstream_waiting") == 0 and held(gateway) == 0, "all given back")


@pytest.mark.parametrize("pattern", [stop_after_rcpt, drip_recipients, drip_content], ids=lambda p: p.__name__)
def test_a_real_server(program, parts, directory, pair, pattern):
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, postfix.port, workers=2)))
    crowd = parts.use(Crowd(gateway, EIGHT_ADDRESSES, 120))
    pattern(crowd, ENVELOPE)
    wait_until(lambda: held(gateway) >= 20, "connections held")
    others_are_served(gateway)


def test_refusals_of_one_client_do_not_count_against_the_next(program, parts, directory, pair):
    """Postfix counts errors by connection (smtpd_hard_error_limit), RSET or not."""
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, postfix.port, workers=1)))
    for _ in range(5):
        with Wire(gateway.port("mx")) as client:
            assert client.ask(b"MAIL FROM:<out@else.test>")[0] == 250
            codes = {client.ask(b"RCPT TO:<nobody%d@example.com>" % n)[0] for n in range(19)}
            assert codes == {550}
            assert client.ask(b"RSET")[0] == 250
    assert stranger(gateway, "127.0.7.1")[1][0] == 250
