"""`./dev soak [minutes]`: mixed traffic through a gateway whose upstream fails now and then, with reloads;
watches memory and descriptors, and reconciles at the end: acknowledged = delivered, byte for byte.

    PORTCULLIS_BIN=... soak.py --minutes 30 [--clients 8] [--seed 1]"""

import argparse
import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from faulty_upstream import FaultyUpstream, before, close, reset, say, silence, slow, without_received  # noqa: E402
from parts.certificates import Authority  # noqa: E402
from parts.gateway import Gateway, settings  # noqa: E402
from wire import Wire  # noqa: E402

FAULTS = [close, reset, silence, slow(0.2), before(b"250 2.0.0 stale\r\n"), say(b"450 4.2.1 later\r\n"),
          say(b"550 5.1.1 never\r\n"), say(b"421 4.3.2 closing\r\n"), say(b"150 ?\r\n"), say(b"\0garbage\r\n")]


class Sender(threading.Thread):
    """One client after another, each with its own way to send; counts what it was told."""

    def __init__(self, port, number, seed, until):
        super().__init__(daemon=True)
        self.port, self.number, self.random, self.until = port, number, random.Random(seed * 1000 + number), until
        self.sent, self.acknowledged, self.refused, self.sessions, self.broken = 0, [], [], 0, []

    def run(self):
        while time.monotonic() < self.until:
            try:
                self.session()
            except (OSError, AssertionError) as error:
                self.broken.append(repr(error)[:300])
                time.sleep(0.2)

    def session(self):
        self.sessions += 1
        with Wire(self.port) as client:
            for _ in range(self.random.randint(1, 5)):
                if self.random.random() < 0.05:
                    return  # gone without a word
                self.message(client)
            assert client.ask(b"QUIT")[0] == 221

    def message(self, client):
        self.sent += 1
        name = b"%d-%d" % (self.number, self.sent)
        lines = self.random.choice([1, 3, 100, 3000])
        body = b"From: out@else.test\r\nSubject: s%s\r\n\r\n" % name + b".dots and more than that: \xc3\xa9\r\n" * lines
        assert client.ask(b"MAIL FROM:<out@else.test> BODY=8BITMIME")[0] == 250
        code = client.ask(b"RCPT TO:<bob@example.com>")[0]
        assert code is not None
        if code != 250:
            assert client.ask(b"RSET")[0] == 250
            return
        if self.random.random() < 0.4:
            client.send(b"BDAT %d LAST\r\n" % len(body) + body, self.random.choice([None, 1000]))
        else:
            code = client.ask(b"DATA")[0]
            if code != 354:
                return
            if self.random.random() < 0.03:
                client.send(body[:len(body) // 2])
                raise ConnectionAbortedError
            client.send(body.replace(b"\r\n.", b"\r\n..") + b".\r\n", self.random.choice([None, None, 700]))
        code = client.reply()[0]
        (self.acknowledged if code == 250 else self.refused).append((name, code, body))


def memory(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(program, directory, minutes, clients, seed):
    upstream = FaultyUpstream((b"PIPELINING", b"8BITMIME", b"CHUNKING"))
    plain = FaultyUpstream((b"PIPELINING", b"8BITMIME"))
    for each in (upstream, plain):
        each.chance = (random.Random(seed), 0.01, FAULTS)
    tree = settings(directory, Authority(directory / "ca").server("mx.example.com"), upstream.port)
    tree["limits"] = {"connections": {"new_per_minute_per_network": 1000000, "concurrent_per_network": 0}}
    tree["upstream"][0] |= {"servers": [*tree["upstream"][0]["servers"], f"{tree['upstream'][0]['servers'][0].rpartition(':')[0]}:{plain.port}"],
                            "command_timeout": "2s", "end_of_data_timeout": "2s", "connect_timeout": "2s"}
    gateway = Gateway(program, directory, tree)
    until = time.monotonic() + minutes * 60
    senders = [Sender(gateway.port("mx"), n, seed, until) for n in range(clients)]
    for sender in senders:
        sender.start()
    watched, reloads, next_report = [], 0, 0.0
    while time.monotonic() < until:
        time.sleep(1)
        assert gateway.process.running(), gateway.process.errors()[-4000:]
        watched.append((memory(gateway.process.pid), len(os.listdir(f"/proc/{gateway.process.pid}/fd"))))
        if len(watched) % 10 == 0:
            gateway.reload()
            reloads += 1
        if time.monotonic() > next_report:
            next_report = time.monotonic() + 60
            print(f"  {sum(s.sent for s in senders)} messages, {watched[-1][0] >> 20} MiB, {watched[-1][1]} fds", flush=True)
    for sender in senders:
        sender.join(60)
    gateway.stop()
    return report(senders, (upstream, plain), watched, reloads)


def report(senders, upstreams, watched, reloads):
    accepted, twice, count = {}, 0, 0
    for upstream in upstreams:
        for content in upstream.whole:
            count += 1
            body = without_received(content)
            twice += body in accepted
            accepted[body] = True
    acknowledged = [m for s in senders for m in s.acknowledged]
    refused = [m for s in senders for m in s.refused]
    delivered = {without_received(m) for u in upstreams for m in u.accepted}
    lost = [name for name, _, body in acknowledged if body not in delivered]
    false_refusals = [name for name, code, body in refused if code is not None and code >= 500 and body in delivered]
    broken = [line for s in senders for line in s.broken]
    quarter = max(1, len(watched) // 4)
    early = sum(m for m, _ in watched[quarter:2 * quarter]) / max(1, len(watched[quarter:2 * quarter]))
    late = sum(m for m, _ in watched[-quarter:]) / quarter
    print(f"messages: {sum(s.sent for s in senders)} sent in {sum(s.sessions for s in senders)} sessions, "
          f"{len(acknowledged)} acknowledged, {len(refused)} refused or unanswered, {count} whole at the upstreams\n"
          f"lost: {len(lost)}; twice from one DATA: {twice}; refused for good yet delivered: {len(false_refusals)}; "
          f"sessions that broke off: {len(broken)}\n"
          f"memory: {early / 2**20:.1f} MiB in the second quarter, {late / 2**20:.1f} MiB in the last; "
          f"descriptors: at most {max(f for _, f in watched)}; reloads: {reloads}")
    for line in sorted(set(broken))[:5]:
        print("  broke off:", line)
    grown = late > early * 1.25 + (8 << 20)
    return not lost and not twice and not false_refusals and not grown and bool(acknowledged)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--minutes", type=float, default=30)
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        good = soak(os.environ["PORTCULLIS_BIN"], directory, given.minutes, given.clients, given.seed)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("soak:", "good" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
