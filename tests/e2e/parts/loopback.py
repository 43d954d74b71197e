"""Addresses and ports. Every test process has a 127.x.y.z of its own, so that tests that run side by side
never take each other's ports."""

import os
import random
import socket
import time

_pid = os.getpid()
ADDRESS = f"127.{64 + (_pid >> 16) % 64}.{(_pid >> 8) % 256}.{1 + _pid % 254}"
_used = set()


def free_port(address=ADDRESS):
    """A TCP port nothing listens on, never the same twice. Below the ephemeral range: no outgoing
    connection can take it before its server does."""
    while True:
        port = random.randrange(10000, 32000)
        if port in _used:
            continue
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
        _used.add(port)
        return port


def listens(port, address=ADDRESS):
    try:
        socket.create_connection((address, port), timeout=1).close()
        return True
    except OSError:
        return False


def wait_until(condition, what, seconds=20.0, interval=0.05):
    """The first true value of condition(); AssertionError with `what` after the time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(interval)


def stands_still(value, seconds=1.0, bound=30.0):
    """The result of value() once it has been the same for `seconds`."""
    last, since = value(), time.monotonic()
    until = since + bound
    while time.monotonic() - since < seconds:
        assert time.monotonic() < until, f"still changing after {bound} s: {last}"
        time.sleep(0.05)
        if value() != last:
            last, since = value(), time.monotonic()
    return last
