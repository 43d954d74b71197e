"""`./dev soak [minutes]`: mixed traffic through a gateway whose upstreams fail now and then, with reloads and
drains; watches memory and descriptors, and reconciles at the end: acknowledged = delivered, byte for byte.

    PORTCULLIS_BIN=... soak.py --minutes 30 [--clients 8] [--idle 200] [--seed 1]"""

import argparse
import hashlib
import os
import pathlib
import random
import shutil
import smtplib
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from faulty_upstream import FaultyUpstream, before, close, reset, say, silence, slow, without_received  # noqa: E402
from parts.certificates import Authority  # noqa: E402
from parts.gateway import ALICE, PASSWORD, Gateway, settings  # noqa: E402
from parts.loopback import ADDRESS, free_port  # noqa: E402
from wire import Wire  # noqa: E402

CHANCE = 0.01  # of a fault at each step of each transaction
FAULTS = [close, reset, silence, slow(0.2), before(b"250 2.0.0 stale\r\n"), say(b"450 4.2.1 later\r\n"),
          say(b"550 5.1.1 never\r\n"), say(b"421 4.3.2 closing\r\n"), say(b"150 ?\r\n"), say(b"\0garbage\r\n")]
# Who says 550 in the middle of the content and takes it then all the same can not be reconciled.
FAULTS_IN_CONTENT = [close, reset, slow(0.2)]
MORE_PORT = free_port()
UNTIL_DRAINED = (1 / 6, 2 / 6)  # of the time; what is left is one long run


def digest(octets):
    return hashlib.sha256(octets).digest()


class OnPurpose(Exception):
    """The client leaves in the middle, because it is that kind of client."""


class Sender(threading.Thread):
    """One client after another, each with its own way to send; counts what it was told."""

    def __init__(self, port, number, seed, until):
        super().__init__(daemon=True)
        self.port, self.number, self.random, self.until = port, number, random.Random(seed * 1000 + number), until
        self.sent, self.acknowledged, self.refused, self.sessions, self.broken = 0, [], [], 0, []
        self.step, self.waited_in_vain, self.begun = "", 0, set()

    def run(self):
        while time.monotonic() < self.until:
            try:
                self.session()
            except OnPurpose:
                pass
            except (OSError, AssertionError, smtplib.SMTPException) as error:
                # A client that waits in vain is the gateway's fault whatever the upstream does.
                self.waited_in_vain += isinstance(error, TimeoutError)
                self.broken.append((time.monotonic(), f"{self.step}: {error!r}"[:200]))
                time.sleep(0.2)  # the pace of a client that tries again

    def content(self, sender):
        self.sent += 1
        name = b"%d-%d" % (self.number, self.sent)
        lines = self.random.choice([1, 3, 100, 1000]) if self.random.random() < 0.997 else 60_000
        # No two lines alike: what comes in another order than it left is not what was sent.
        body = b"".join(b".dots and more than that: \xc3\xa9 %d\r\n" % number for number in range(lines))
        body = b"From: %s\r\nSubject: s%s\r\n\r\n" % (sender, name) + body
        self.begun.add(digest(body))
        return name, body

    def told(self, name, code, body):
        (self.acknowledged if code == 250 else self.refused).append((name, code, digest(body)))


class PlainSender(Sender):
    """To the MX, in the clear, sometimes in pieces, sometimes gone without a word."""

    def session(self):
        self.sessions += 1
        self.step = "greeting"
        with Wire(self.port) as client:
            for _ in range(self.random.randint(1, 5)):
                if self.random.random() < 0.05:
                    return
                self.message(client)
            self.step = "QUIT"
            assert client.ask(b"QUIT")[0] == 221

    def message(self, client):
        name, body = self.content(b"out@else.test")
        if self.random.random() < 0.3:
            return self.pipelined(client, name, body)
        self.step = "MAIL"
        code = client.ask(b"MAIL FROM:<out@else.test> BODY=8BITMIME")[0]
        assert code == 250, f"MAIL: {code}"
        self.step = "RCPT"
        code = client.ask(b"RCPT TO:<bob@example.com>")[0]
        assert code is not None, "RCPT: closed"
        if code != 250:
            code = client.ask(b"RSET")[0]
            assert code == 250, f"RSET: {code}"
            return
        self.step = "content"
        if self.random.random() < 0.4:
            client.send(b"BDAT %d LAST\r\n" % len(body) + body, self.random.choice([None, 1000]))
        else:
            code = client.ask(b"DATA")[0]
            if code != 354:
                code = client.ask(b"RSET")[0]
                assert code == 250, f"RSET: {code}"
                return
            if self.random.random() < 0.03:
                client.send(body[:len(body) // 2])
                raise OnPurpose
            client.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n", self.random.choice([None, None, 700]))
        self.step = "reply to the message"
        self.told(name, client.reply()[0], body)


    def pipelined(self, client, name, body):
        """All commands in one write, the content when 354 has come: or a body that is refused for its From."""
        self.step = "pipelined"
        client.send(b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
        codes = [client.reply()[0] for _ in range(3)]
        assert codes[0] == 250 and codes[1] is not None and codes[2] is not None, f"pipelined: {codes}"
        if codes[2] != 354:
            code = client.ask(b"RSET")[0]
            assert code == 250, f"RSET: {code}"
            return
        if self.random.random() < 0.1:
            client.send(b"From: one@example.com\r\nFrom: two@example.com\r\n\r\nforged\r\n.\r\n")
            code = client.reply()[0]
            assert code == 550 or 400 <= (code or 0) < 500, f"forged: {code}"
            return
        client.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n", self.random.choice([None, None, 700]))
        self.step = "reply to the message"
        self.told(name, client.reply()[0], body)


class UserSender(Sender):
    """A user's mail client: TLS and a login, one message a session, as often as the rate allows."""

    def session(self):
        self.sessions += 1
        with smtplib.SMTP_SSL(ADDRESS, self.port, timeout=20, context=ssl._create_unverified_context()) as client:
            client.ehlo("client.test")
            client.login(ALICE, PASSWORD)
            name, body = self.content(ALICE.encode())
            if client.mail(ALICE, ["BODY=8BITMIME"])[0] == 250 and client.rcpt("bob@example.com")[0] == 250:
                self.told(name, client.data(body)[0], body)


class RudeSender(Sender):
    """Reads late, has little room for replies, cuts its octets and itself off anywhere, speaks no TLS where it should."""

    def __init__(self, port, tls_port, number, seed, until):
        super().__init__(port, number, seed, until)
        self.tls_port = tls_port

    def session(self):
        self.sessions += 1
        if self.random.random() < 0.1:
            self.step = "no TLS"
            with socket.create_connection((ADDRESS, self.tls_port), timeout=20) as client:
                client.sendall(self.random.choice([b"\x16\x03\x01\x00\x05junk!", b"EHLO client.test\r\n", b""]))
                self.leave(client)
                raise OnPurpose
        self.step = "rude"
        with Wire(self.port, receive_octets=self.random.choice([0, 4096])) as client:
            for _ in range(self.random.randint(1, 4)):
                name, body = self.content(b"out@else.test")
                envelope = b"MAIL FROM:<out@else.test> BODY=8BITMIME\r\n" + b"RCPT TO:<bob@example.com>\r\n" * self.random.randint(1, 3)
                content = body.replace(b"\r\n.", b"\r\n..") + b".\r\n"
                what = self.random.random()
                if what < 0.3:
                    script = envelope + b"DATA\r\n" + content
                    client.send(script[:self.random.randrange(self.random.choice([200, len(script)]))])
                    return self.leave(client.socket)
                if what < 0.5:
                    # Says all that it has to say, and only then listens.
                    client.send(envelope + b"NOOP\r\n" * self.random.choice([1, 3000]) + b"QUIT\r\n")
                    client.socket.shutdown(socket.SHUT_WR)
                    time.sleep(self.random.random() * 0.2)
                    last = client.replies()[-1][0]
                    assert last in (221, 421), f"half closed: {last}"
                    return
                client.send(envelope + b"DATA\r\n")
                codes = [client.reply()[0] for _ in range(envelope.count(b"\n") + 1)]
                if codes[-1] == 354:
                    client.send(content)
                    self.told(name, client.reply()[0], body)
                assert client.ask(b"RSET")[0] == 250, codes

    def leave(self, client):
        if self.random.random() < 0.5:
            time.sleep(self.random.random() * 0.2)
        if self.random.random() < 0.5:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Idlers(threading.Thread):
    """Sessions that only hold their place."""

    def __init__(self, port, count, until):
        super().__init__(daemon=True)
        self.port, self.count, self.until = port, count, until

    def run(self):
        held = []
        while time.monotonic() < self.until:
            try:
                while len(held) < self.count:
                    held.append(socket.create_connection((ADDRESS, self.port), timeout=5))
            except OSError:
                pass
            time.sleep(5)
            for client in held[:10]:  # some go, others come
                client.close()
            held = held[10:]
        for client in held:
            client.close()


def memory(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def faulty(capabilities, seed):
    upstream = FaultyUpstream(capabilities)
    chance = random.Random(seed)

    def fault(step):
        if chance.random() >= CHANCE:
            return None
        return chance.choice(FAULTS_IN_CONTENT if step == "BODY" else FAULTS)
    upstream.chance = fault
    upstream.remember = lambda content: digest(without_received(content))
    return upstream


def soak(program, directory, given):
    upstreams = (faulty((b"PIPELINING", b"8BITMIME"), given.seed), faulty((b"8BITMIME",), given.seed + 1))
    tree = settings(directory, Authority(directory / "ca").server("mx.example.com"), upstreams[0].port)
    tree["limits"] = {"connections": {"new_per_minute_per_network": 1000000, "concurrent_per_network": 0}}
    tree["workers"] = 2
    tree["upstream"][0] |= {"servers": [f"{ADDRESS}:{upstream.port}" for upstream in upstreams],
                            "command_timeout": "2s", "end_of_data_timeout": "2s", "connect_timeout": "2s"}
    gateway = Gateway(program, directory, tree)
    start = time.monotonic()
    until = start + given.minutes * 60
    senders = [PlainSender(gateway.port("mx"), n, given.seed, until) for n in range(given.clients)]
    senders += [RudeSender(gateway.port("mx"), gateway.port("submissions"), 2000 + n, given.seed, until) for n in range(2)]
    senders += [UserSender(gateway.port("submissions"), 1000 + n, given.seed, until) for n in range(2)]
    idlers = Idlers(gateway.port("mx"), given.idle, until)
    for thread in (*senders, idlers):
        thread.start()
    drains = [start + share * given.minutes * 60 for share in UNTIL_DRAINED]
    watched, reloads, next_report, away = [], 0, 0.0, []
    while time.monotonic() < until:
        time.sleep(1)
        assert gateway.process.running(), gateway.process.errors()[-4000:]
        if drains and time.monotonic() > drains[0]:
            drains.pop(0)
            begun = time.monotonic()
            gateway.stop()  # with everything under way; exit code 0, nothing from a sanitizer
            gateway, watched = Gateway(program, directory, tree, users=()), []
            away.append((begun, time.monotonic() + 1))
        watched.append((memory(gateway.process.pid), len(os.listdir(f"/proc/{gateway.process.pid}/fd"))))
        if len(watched) % 10 == 0:
            gateway.tree = changed(tree, reloads)
            gateway.reload()
            reloads += 1
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 60
            print(f"  {sum(s.sent for s in senders)} messages, {watched[-1][0] >> 20} MiB, {watched[-1][1]} fds", flush=True)
    for thread in (*senders, idlers):
        thread.join(60)
    left = left_behind(gateway)
    gateway.stop()
    return report(senders, upstreams, watched, reloads, away, left)


def changed(tree, number):
    """What the reloads go through: each differs from the one before, and the last of a round brings all back."""
    variants = [
        {"rate": [{"name": "soak-hour", "key": "login", "limit": "1000000 messages/hour"}]},
        {"usage": [{"name": "soak-size", "message_size": "50MiB", "recipients_per_message": 50}]},
        {"upstream": [tree["upstream"][0] | {"servers": list(reversed(tree["upstream"][0]["servers"]))}]},
        {"upstream": [tree["upstream"][0] | {"connections_max": 20, "idle_max": 2}]},
        {"listener": tree["listener"] + [tree["listener"][0] | {"name": "more", "address": f"{ADDRESS}:{MORE_PORT}"}]},
        {},
    ]
    return tree | variants[number % len(variants)]


def left_behind(gateway, seconds=30):
    """What is still taken when no client is there any more: it would be missing for ever."""
    def held():
        samples = [(name, labels, value) for name, labels, value in gateway.samples() if value and name in (
            "portcullis_upstream_connections", "portcullis_upstream_waiting", "portcullis_connections_active")]
        return [sample for sample in samples if sample[1].get("state") != "idle"]
    until = time.monotonic() + seconds
    while held() and time.monotonic() < until:
        time.sleep(0.5)
    return held()


def report(senders, upstreams, watched, reloads, away, left):
    whole = [each for upstream in upstreams for each in upstream.whole]
    delivered = {each for upstream in upstreams for each in upstream.accepted}
    acknowledged = [m for s in senders for m in s.acknowledged]
    refused = [m for s in senders for m in s.refused]
    # While the gateway was away, and at its end, a session may break off; at no other time.
    broken = [line for s in senders for at, line in s.broken if not any(since <= at <= until for since, until in away)]
    excused = sum(len(s.broken) for s in senders) - len(broken)
    twice = len(whole) - len(set(whole))
    strange = len(set(whole).difference(*(s.begun for s in senders)))
    lost = [name for name, _, body in acknowledged if body not in delivered]
    false_refusals = [name for name, code, body in refused if code is not None and code >= 500 and body in delivered]
    quarter = max(1, len(watched) // 4)
    early = sum(m for m, _ in watched[quarter:2 * quarter]) / max(1, len(watched[quarter:2 * quarter]))
    late = sum(m for m, _ in watched[-quarter:]) / quarter
    print(f"messages: {sum(s.sent for s in senders)} begun in {sum(s.sessions for s in senders)} sessions, "
          f"{len(acknowledged)} acknowledged, {len(refused)} refused or unanswered, {len(whole)} whole at the upstreams\n"
          f"acknowledged but lost: {len(lost)}; twice from one DATA: {twice}; not as sent: {strange}; refused for good yet delivered: "
          f"{len(false_refusals)}; sessions that broke off: {len(broken)}, and {excused} beside a drain\n"
          f"memory since the last drain: {early / 2**20:.1f} MiB in the second quarter, {late / 2**20:.1f} MiB in the last; "
          f"descriptors: at most {max(f for _, f in watched)}, {watched[-1][1]} in the end; reloads: {reloads}; drains: {len(away)}")
    for line, count in sorted(((line, broken.count(line)) for line in set(broken)), key=lambda each: -each[1])[:8]:
        print(f"  broke off {count} times: {line}")
    vain = sum(s.waited_in_vain for s in senders)
    print(f"clients that waited for a reply in vain: {vain}")
    print(f"held when all clients had gone: {left or 'nothing'}")
    grown = late > early * 1.25 + (8 << 20)
    return not (lost or twice or strange or false_refusals or broken or vain or grown or left) and bool(acknowledged)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--idle", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        good = soak(os.environ["PORTCULLIS_BIN"], directory, given)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("soak:", "good" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
