#!/usr/bin/python3
"""Four hostile senders against one port, until standard input ends: a message of lines that are one stuffed dot, one
of lines that almost delimit inside a multipart, BDAT 0 without end, and NOOP pipelined without end. Each begins again
as soon as it is turned away. `hostile.py ADDRESS PORT`; prints "sending" when all of them are at work."""

import contextlib
import socket
import sys
import threading
import time

SENDER, RECIPIENT = b"sender@example.net", b"recipient@example.com"
ENVELOPE = b"EHLO hostile.example.net\r\nMAIL FROM:<%s>\r\nRCPT TO:<%s>\r\n" % (SENDER, RECIPIENT)
FROM = b"From: <%s>\r\n" % SENDER
MIB = 1024 * 1024
MESSAGE = 20 * MIB

over = threading.Event()


def send(client, octets):
    """Sends, and reads what comes meanwhile: a sender that does not read is soon not read from either."""
    rest = memoryview(octets)
    while rest and not over.is_set():
        with contextlib.suppress(BlockingIOError):
            rest = rest[client.send(rest):]
            continue
        with contextlib.suppress(BlockingIOError):
            if not client.recv(256 * 1024):
                raise ConnectionError
            continue
        time.sleep(0.001)


def read_until(client, code):
    """Waits for a reply of this code, whatever comes before."""
    seen, until = b"", time.monotonic() + 10
    while b"\n%s " % code not in b"\n" + seen:
        if over.is_set() or time.monotonic() > until:
            raise ConnectionError
        with contextlib.suppress(BlockingIOError):
            octets = client.recv(65536)
            if not octets:
                raise ConnectionError
            seen += octets
            continue
        time.sleep(0.001)


def content(header, line):
    block = line * (MIB // len(line))

    def act(client):
        send(client, ENVELOPE + b"DATA\r\n")
        read_until(client, b"354")
        send(client, FROM + header + b"\r\n")
        for _ in range(MESSAGE // MIB):
            send(client, block)
        send(client, b"\r\n.\r\n")
        read_until(client, b"250")
    return act


def chunks(client):
    send(client, ENVELOPE)
    read_until(client, b"250")
    while not over.is_set():
        send(client, b"BDAT 0\r\n" * 8192)


def noops(client):
    send(client, b"EHLO hostile.example.net\r\n")
    while not over.is_set():
        send(client, b"NOOP\r\n" * 8192)


ACTS = [content(b"", b"..\r\n"),
        content(b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=next\r\n", b"--\r\n"),
        chunks, noops]


def again_and_again(act, address, started):
    while not over.is_set():
        with contextlib.suppress(OSError):
            with socket.create_connection(address, timeout=10) as client:
                client.setblocking(False)
                started.set()
                act(client)
        over.wait(0.01)


def main():
    address = (sys.argv[1], int(sys.argv[2]))
    threads, starts = [], []
    for act in ACTS:
        starts.append(threading.Event())
        threads.append(threading.Thread(target=again_and_again, args=(act, address, starts[-1]), daemon=True))
        threads[-1].start()
    for started in starts:
        started.wait(10)
    print("sending", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join(5)


if __name__ == "__main__":
    main()
