"""Messages of any size through bounded memory: what the gateway holds of a message does not depend on it."""

import contextlib
import pathlib
import random
import re
import resource
import smtplib
import socket
import ssl
import threading
import time

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port, listens, stands_still
from parts.process import Process

BOB = b"bob@example.net"
MIB = 1 << 20
HEADER = f"From: {ALICE}\r\nTo: bob@example.net\r\nSubject: large\r\nMIME-Version: 1.0\r\n" \
         'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n'.encode()
LINE = b"dGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZyBhbmQgdGhlbiBzbGVlcHMg\r\n"
PIECE = LINE * (MIB // len(LINE))


class Discard:
    """The program's own sink, which forgets what it reads."""

    def __init__(self, program, directory):
        self.port = free_port()
        self.process = Process("sink", [program, "sink", "--listen", f"{ADDRESS}:{self.port}", "--discard",
                                        "--max-size", "0"], directory)
        self.process.ready(lambda: listens(self.port))

    def stop(self):
        assert self.process.stop() == 0, self.process.errors()


class SlowReader:
    """An upstream that takes a message once `pause` is over, in pieces of any length."""

    def __init__(self, pause):
        self.port = free_port()
        self.pause = pause
        self.content = b""  # of the last message
        self._listener = socket.create_server((ADDRESS, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as lines:
            connection.sendall(b"220 slow ESMTP\r\n")
            for line in lines:
                verb = line[:4].upper()
                connection.sendall({b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n",
                                    b"EHLO": b"250-slow\r\n250-PIPELINING\r\n250 SIZE 0\r\n"}.get(verb, b"250 2.0.0 ok\r\n"))
                if verb == b"DATA":
                    self.pause.wait()
                    # No content comes before the 354: nothing of it is in `lines`.
                    content, sizes = bytearray(), random.Random(1)
                    while not content.endswith(b"\r\n.\r\n"):
                        some = connection.recv(sizes.randrange(1, 200_000))
                        if not some:
                            return
                        content += some
                    self.content = bytes(content)
                    connection.sendall(b"250 2.0.0 Ok: queued as SLOW\r\n")

    def stop(self):
        self.pause.set()
        self._listener.close()


def kernel_room():
    """The most that the buffers of a connection from the client and of one to the server hold."""
    most = {name: int(pathlib.Path(f"/proc/sys/net/ipv4/tcp_{name}").read_text(encoding="ascii").split()[2])
            for name in ("rmem", "wmem")}
    return most["wmem"] + most["rmem"] + most["wmem"] + 65536 * 2


def resident_octets(gateway):
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


class Watch:
    """The highest resident size of a process while in the block."""

    def __init__(self, gateway):
        self._gateway, self._end = gateway, threading.Event()
        self.highest = resident_octets(gateway)
        self._thread = threading.Thread(target=self._sample)

    def _sample(self):
        while not self._end.wait(0.02):
            self.highest = max(self.highest, resident_octets(self._gateway))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


def replies(connection, count):
    """Reads `count` whole replies; returns their last lines."""
    found, line = [], b""
    while len(found) < count:
        octet = connection.recv(1)
        assert octet, (found, line)
        line += octet
        if line.endswith(b"\r\n"):
            if line[3:4] != b"-":
                found.append(line)
            line = b""
    return found


@contextlib.contextmanager
def session(gateway, listener):
    """A raw connection, logged in."""
    with socket.create_connection((ADDRESS, gateway.port(listener)), timeout=120) as plain:
        if listener == "submissions":
            plain = ssl._create_unverified_context().wrap_socket(plain)
        replies(plain, 1)
        plain.sendall(b"EHLO client.test\r\n")
        replies(plain, 1)
        if listener == "submissions":
            client = smtplib.SMTP()
            plain.sendall(b"AUTH PLAIN " + smtplib.encode_base64(f"\0{ALICE}\0{PASSWORD}".encode(), eol="").encode() + b"\r\n")
            assert replies(plain, 1)[0].startswith(b"235")
            del client
        yield plain


def transfer(connection, mebibytes, bdat):
    """One message of so many MiB; the final reply."""
    connection.sendall(b"MAIL FROM:<" + ALICE.encode() + b">\r\nRCPT TO:<" + BOB + b">\r\n")
    assert [r[:3] for r in replies(connection, 2)] == [b"250", b"250"]
    if bdat:
        connection.sendall(b"BDAT %d\r\n" % len(HEADER) + HEADER)
        assert replies(connection, 1)[0].startswith(b"250")
        for _ in range(mebibytes):
            connection.sendall(b"BDAT %d\r\n" % len(PIECE) + PIECE)
            assert replies(connection, 1)[0].startswith(b"250")
        connection.sendall(b"BDAT 7 LAST\r\n--b--\r\n")
    else:
        connection.sendall(b"DATA\r\n")
        assert replies(connection, 1)[0].startswith(b"354")
        connection.sendall(HEADER)
        for _ in range(mebibytes):
            connection.sendall(PIECE)
        connection.sendall(b"--b--\r\n.\r\n")
    return replies(connection, 1)[0]


def before(upstream, parts, directory, program, pair, **changes):
    tree = settings(directory, pair, upstream.port, limits={"message_size": "4GiB", "session_timeout": "600s"})
    tree["listener"][0]["auth"] = "off"
    tree["listener"][0]["tls"] = "off"
    tree["network"] = [{"name": "here", "addresses": ["127.0.0.0/8"], "may_relay": True, "may_use_local_senders": True}]
    tree["upstream"][0].update(changes)
    # Freed memory goes back at once instead of waiting to catch a late use of it: what is resident is what is used.
    return parts.use(Gateway(program, directory, tree, environment={
        "ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=0:thread_local_quarantine_size_kb=0:allocator_release_to_os_interval_ms=0"}))


@pytest.mark.parametrize("chunking", [True, False], ids=["to-bdat", "to-data"])
@pytest.mark.parametrize("bdat", [False, True], ids=["data", "bdat"])
@pytest.mark.parametrize("listener, mebibytes", [("mx", 1024), ("submissions", 128)], ids=["clear", "tls"])
def test_memory_does_not_grow_with_the_message(parts, directory, program, pair, listener, mebibytes, bdat, chunking):
    if mebibytes == 1024 and chunking != bdat:
        mebibytes = 128  # a whole GiB each way of DATA and BDAT, the conversions with less
    gateway = before(parts.use(Discard(program, directory)), parts, directory, program, pair, chunking=chunking)
    with session(gateway, listener) as connection:
        for _ in range(3):
            assert transfer(connection, 8, bdat).startswith(b"250")
        level = resident_octets(gateway)
        with Watch(gateway) as watch:
            started = time.monotonic()
            reply = transfer(connection, mebibytes, bdat)
            seconds = time.monotonic() - started
    assert reply.startswith(b"250"), reply
    print(f"{mebibytes} MiB in {seconds:.1f} s, grew by {(watch.highest - level) / 1024:.0f} KiB over {level / MIB:.1f} MiB")
    assert watch.highest - level <= MIB
    record = gateway.wait_for_journal(4, type="transaction", result="accepted")[-1]
    assert record["octets"] == len(HEADER) + mebibytes * len(PIECE) + 7 and record["attachments"] == 1


@pytest.mark.parametrize("bdat", [False, True], ids=["data", "bdat"])
def test_a_slow_server_holds_the_client_back(parts, directory, program, pair, bdat):
    """The server does not read: the client is not read either, and what is held stays small."""
    pause = threading.Event()
    pause.set()
    slow = parts.use(SlowReader(pause))
    gateway = before(slow, parts, directory, program, pair)
    with session(gateway, "mx") as connection:
        assert transfer(connection, 8, bdat).startswith(b"250")
        level = resident_octets(gateway)
        pause.clear()
        room = kernel_room()
        # No two lines alike: what comes in another order than it left is seen.
        content = HEADER + b"".join(b"%08d " % number + LINE[9:] for number in range((room + 16 * MIB) // len(LINE)))
        sent, reply = [0], []

        def client():
            connection.sendall(b"MAIL FROM:<" + ALICE.encode() + b">\r\nRCPT TO:<" + BOB + b">\r\n")
            replies(connection, 2)
            connection.sendall(b"BDAT %d LAST\r\n" % len(content) if bdat else b"DATA\r\n")
            if not bdat:
                replies(connection, 1)
            for start in range(0, len(content), MIB):
                piece = content[start:start + MIB]
                connection.sendall(piece)
                sent[0] += len(piece)
            if not bdat:
                connection.sendall(b".\r\n")
            reply.extend(replies(connection, 1))
        thread = threading.Thread(target=client)
        with Watch(gateway) as watch:
            thread.start()
            # What both kernels' buffers take is gone, no more: the client stands still.
            stalled = stands_still(lambda: sent[0])
            assert 0 < stalled < room, (sent, stalled)
            assert gateway.http("/healthz")[0] == 200
            pause.set()
            thread.join(60)
        assert reply and reply[0].startswith(b"250"), reply
    # The release build takes 0.6 to 0.85 MiB; a sanitizer pads what waits in pieces.
    assert watch.highest - level <= 3 * MIB // 2, (watch.highest - level) / 1024
    as_it_left = slow.content.endswith(b"\r\n" + content + b".\r\n")  # behind the field that the gateway put in front
    assert as_it_left


def test_a_slow_server_is_given_up(parts, directory, program, pair):
    """… but not for ever: data_timeout, and the client hears 451."""
    pause = threading.Event()
    slow = parts.use(SlowReader(pause))
    gateway = before(slow, parts, directory, program, pair, data_timeout="2s")
    answers = []
    with session(gateway, "mx") as connection:
        connection.sendall(b"MAIL FROM:<" + ALICE.encode() + b">\r\nRCPT TO:<" + BOB + b">\r\nDATA\r\n")
        answers += replies(connection, 3)
        connection.sendall(HEADER)
        for _ in range(64):
            connection.sendall(PIECE)
        connection.sendall(b".\r\n")
        answers += replies(connection, 1)
    assert re.match(rb"451 4\.4\.\d ", answers[-1]), answers
