"""Several servers behind, of which the first hangs, is slow, is stopped or comes back; and a resolver that fails. All
with the default timeouts: mail goes on through the second server after two or three seconds, and no message is held for
long. The bounds are generous, as the machine that runs the tests may be slow; without a change of server they would be
ten seconds and more."""

import contextlib
import signal
import smtplib
import socket
import ssl
import threading
import time

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.name_server import SERVFAIL, SILENT, NameServer, may_bind
from parts.postfix import Postfix
from parts.scripted import CLOSE, SILENCE, ScriptedUpstream
from parts.sink import Sink

BOB = "bob@example.net"
HELD_SECONDS = 9  # at most, for a message that a hanging server had


@pytest.fixture
def start(parts, directory, program, pair):
    def start(*upstreams, wrapper=(), **changes):
        tree = settings(directory, pair, upstreams[0].port)
        tree["upstream"][0] |= {"servers": [f"{ADDRESS}:{u.port}" for u in upstreams], **changes}
        del tree["upstream"][0]["probe_interval"]  # as shipped
        return parts.use(Gateway(program, directory, tree, wrapper=wrapper))
    return start


class Load:
    """Clients that send one message after another, each on a connection of its own; and how long each took."""

    def __init__(self, gateway, clients=4):
        self.gateway = gateway
        self.sent = []    # (when, seconds) of messages that were accepted
        self.failed = []  # (when, what)
        self._going = True
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self, number):
        while self._going:
            with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP_SSL(
                    ADDRESS, self.gateway.port("submissions"), timeout=100, context=ssl._create_unverified_context()) as client:
                client.login(ALICE, PASSWORD)
                while self._going:
                    self._one(client, number)

    def _one(self, client, number):
        begun = time.monotonic()
        try:
            client.sendmail(ALICE, [BOB], f"From: {ALICE}\r\nSubject: load {number}\r\n\r\nbody\r\n")
            self.sent.append((time.monotonic(), time.monotonic() - begun))
            time.sleep(0.05)  # a load, not a benchmark
        except smtplib.SMTPException as error:
            self.failed.append((time.monotonic(), error))
            client.rset()

    def end(self):
        self._going = False
        for thread in self._threads:
            thread.join(100)

    def longest(self):
        return max(seconds for _, seconds in self.sent)

    def gap(self, since):
        """The longest time without a message."""
        times = [since, *sorted(when for when, _ in self.sent if when > since)]
        return max(later - earlier for earlier, later in zip(times, times[1:]))


def message(gateway):
    """One message by one client: (seconds, code of the reply that settled it)."""
    begun = time.monotonic()
    with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=100, context=ssl._create_unverified_context()) as client:
        client.login(ALICE, PASSWORD)
        try:
            client.sendmail(ALICE, [BOB], f"From: {ALICE}\r\nSubject: one\r\n\r\nbody\r\n")
            return time.monotonic() - begun, 250
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
            code = getattr(error, "smtp_code", None) or error.recipients[BOB][0]
            return time.monotonic() - begun, code


def events(gateway, name):
    return gateway.journal(type="event", event=name)


def test_the_first_is_stopped_and_comes_back(parts, start, program, directory):
    first, second = (parts.use(Sink(program, directory / name)) for name in ("first", "second"))
    gateway = start(first, second)
    load = Load(gateway)
    try:
        wait_until(lambda: len(load.sent) > 20, "mail to the first")
        assert second.maildir.messages() == []
        first.process.send(signal.SIGSTOP)
        stopped = time.monotonic()
        wait_until(lambda: len(second.maildir.messages()) > 20, "mail to the second", 30)
        wait_until(lambda: time.monotonic() > stopped + 8, "some time to pass")
        # Only a message whose end the first has is still waited for.
        assert load.gap(stopped) < HELD_SECONDS
        assert len(events(gateway, "upstream_passed_over")) == 1
    finally:
        first.process.send(signal.SIGCONT)
    wait_until(lambda: events(gateway, "upstream_preferred"), "the first to be preferred again", 60)
    wait_until(lambda: load.sent[-1][0] > stopped, "mail")
    before = len(first.maildir.messages())
    wait_until(lambda: len(first.maildir.messages()) > before + 50, "mail to the first again", 30)
    second_has = len(second.maildir.messages())
    before = len(first.maildir.messages())
    wait_until(lambda: len(first.maildir.messages()) > before + 50, "more mail to the first", 30)
    assert len(second.maildir.messages()) <= second_has + 4, "no going to and fro"
    load.end()
    assert len(events(gateway, "upstream_passed_over")) == 1
    assert len(first.maildir.messages()) + len(second.maildir.messages()) >= len(load.sent)
    assert not load.failed, load.failed


def test_the_first_is_killed(parts, start, program, directory):
    """Costs nothing."""
    first, second = parts.use(ScriptedUpstream()), parts.use(Sink(program, directory / "second"))
    gateway = start(first, second)
    load = Load(gateway)
    wait_until(lambda: len(first.messages) > 20, "mail to the first")
    first.stop()
    killed = time.monotonic()
    wait_until(lambda: len(second.maildir.messages()) > 20, "mail to the second")
    load.end()
    assert load.gap(killed) < 2


def test_the_first_accepts_and_never_greets(parts, start):
    first, second = parts.use(ScriptedUpstream()), parts.use(ScriptedUpstream())
    gateway = start(first, second)
    assert message(gateway)[1] == 250 and len(first.messages) == 1
    first.answers |= {"GREETING": SILENCE, "MAIL": CLOSE}
    seconds, code = message(gateway)
    assert code == 250 and seconds < HELD_SECONDS
    # From now on there is nothing to wait for.
    for _ in range(5):
        seconds, code = message(gateway)
        assert code == 250 and seconds < 2
    assert len(first.messages) == 1 and len(second.messages) == 6


def test_never_greeted_since_the_start(parts, start):
    first, second = parts.use(ScriptedUpstream({"GREETING": SILENCE})), parts.use(ScriptedUpstream())
    gateway = start(first, second)
    assert message(gateway)[1] == 250 and len(second.messages) == 1


@pytest.mark.parametrize("seconds", [3, 1.3], ids=["slower than is waited", "slow"])
def test_the_first_answers_slowly(parts, start, seconds):
    """Not so slowly that it would be down. What is clearly faster is preferred, after a few replies at the latest."""
    def slowly(answer):
        return lambda _: (time.sleep(seconds), answer)[1]
    first, second = parts.use(ScriptedUpstream()), parts.use(ScriptedUpstream())
    gateway = start(first, second)
    assert message(gateway)[1] == 250 and len(first.messages) == 1
    first.answers |= {key: slowly(answer) for key, answer in first.answers.items() if key != "DATA"}
    for _ in range(2):
        assert message(gateway)[1] == 250
    wait_until(lambda: events(gateway, "upstream_passed_over"), "the first to be passed over")
    taken = len(second.messages)
    for _ in range(3):
        took, code = message(gateway)
        assert code == 250 and took < seconds
    assert len(second.messages) == taken + 3
    assert len(events(gateway, "upstream_passed_over")) == 1


def test_a_single_server_is_used_however_slow(parts, start):
    def slowly(answer):
        return lambda _: (time.sleep(2.5), answer)[1]
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream)
    upstream.answers["RCPT"] = slowly(upstream.answers["RCPT"])
    assert message(gateway)[1] == 250 and len(upstream.messages) == 1
    assert upstream.seen("RCPT") == [b"RCPT TO:<bob@example.net>"], "and not asked twice"


def test_both_are_slow(parts, start):
    """Verification of recipients takes three seconds at either: mail goes, and keeps to one of them."""
    def slowly(_):
        time.sleep(3)
        return b"250 2.1.5 ok\r\n"
    first, second = (parts.use(ScriptedUpstream({"RCPT": slowly})) for _ in range(2))
    gateway = start(first, second)
    for _ in range(3):
        took, code = message(gateway)
        assert code == 250 and took < 20
    assert len(first.messages) + len(second.messages) == 3


def test_a_stopped_postfix(parts, start, directory):
    """Real servers, each a family of processes: all of the first are stopped."""
    first, second = (parts.use(Postfix.upstream(directory / name)) for name in ("one", "two"))
    gateway = start(first, second)
    assert message(gateway)[1] == 250
    first.mailbox(BOB).wait_for(1)
    first.freeze()
    try:
        seconds, code = message(gateway)
        assert code == 250 and seconds < HELD_SECONDS
        second.mailbox(BOB).wait_for(1)
        seconds, code = message(gateway)
        assert code == 250 and seconds < 3
    finally:
        first.thaw()
    assert len(first.mailbox(BOB).messages()) == 1


# --- names


needs_root = pytest.mark.skipif(not may_bind(), reason="port 53 and mounts need root")


@needs_root
@pytest.mark.parametrize("mode", [SERVFAIL, SILENT], ids=["SERVFAIL", "silence"])
def test_the_resolver_fails(parts, start, directory, mode):
    """The address was good a moment ago: it is used, and nothing waits for the resolver."""
    upstream = parts.use(ScriptedUpstream())
    names = parts.use(NameServer({"legacy.test": [ADDRESS]}))
    gateway = start(upstream, servers=[f"legacy.test:{upstream.port}"], transactions_per_connection=1,
                    wrapper=names.wrapper(directory))
    assert message(gateway)[1] == 250
    names.mode = mode
    # Until the answer is no longer fresh, and has been asked for again.
    asked = names.queries
    wait_until(lambda: message(gateway)[1] == 250 and names.queries > asked, "another query", 60, 0.5)
    connections = upstream.connections
    for _ in range(5):
        seconds, code = message(gateway)
        assert code == 250 and seconds < 3
    assert upstream.connections >= connections + 5, "connections of their own"


@needs_root
def test_two_addresses_of_which_the_first_never_greets(parts, start, directory):
    """The second is found within the time for a connection, and asked first from then on."""
    upstream = parts.use(ScriptedUpstream())
    silent = socket.create_server(("127.0.0.78", upstream.port), backlog=64)
    names = parts.use(NameServer({"legacy.test": ["127.0.0.78", ADDRESS]}))
    try:
        gateway = start(upstream, servers=[f"legacy.test:{upstream.port}"], wrapper=names.wrapper(directory))
        assert message(gateway)[1] == 250
        seconds, code = message(gateway)
        assert code == 250 and seconds < 3
    finally:
        silent.close()
