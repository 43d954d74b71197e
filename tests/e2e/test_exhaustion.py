"""Clients that want to use everything up: time, memory, connections, descriptors, patience. The process lives,
does not spin, keeps within bounds, and serves others meanwhile."""

import contextlib
import os
import resource
import smtplib
import socket
import ssl
import time

import pytest

from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.scripted import ScriptedUpstream
from wire import Wire

LIMITS = {"greeting_timeout": "2s", "command_timeout": "2s", "data_timeout": "2s", "session_timeout": "20s",
          "message_size": "100kB", "errors": 10, "commands_without_mail": 20, "recipients": 50,
          "connections": {"new_per_minute_per_network": 1000000, "concurrent_per_network": 0}}


@pytest.fixture
def upstream(parts):
    return parts.use(ScriptedUpstream())


@pytest.fixture
def start(program, parts, directory, pair, upstream):
    def started(limits=None, wrapper=(), environment=None, **changes):
        tree = settings(directory, pair, upstream.port, limits={**LIMITS, **(limits or {})}, **changes)
        return parts.use(Gateway(program, directory, tree, wrapper=wrapper, environment=environment))
    return started


def serves(port):
    """A whole message goes through."""
    with Wire(port) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        assert client.ask(b"From: out@else.test\r\n\r\nhi\r\n.")[0] == 250
    return True


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    return int(open(f"/proc/{pid}/statm", encoding="ascii").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def drip(client, octets, seconds):
    """Sends octets again and again, one at a time, until the server has had enough; what it said last."""
    until = time.monotonic() + seconds
    client.socket.settimeout(0.05)
    at = 0
    while time.monotonic() < until:
        try:
            client.socket.send(octets[at % len(octets):at % len(octets) + 1])
            at += 1
            if client.socket.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    client.socket.settimeout(10)
    replies = client.replies()
    assert replies, f"still open after {seconds} s"
    return replies[-1]


def test_one_octet_at_a_time(start):
    """A line must be whole in time, however busily its octets come."""
    port = start().port("mx")
    with Wire(port) as client:
        assert drip(client, b"N", 6)[0] == 421
    with Wire(port, greet=False) as client:
        assert client.reply()[0] == 220
        assert drip(client, b"E", 6)[0] == 421
    assert serves(port)


def test_silence_in_every_phase(start):
    port = start().port("mx")
    phases = [b"", b"MAIL FROM:<out@else.test>\r\n", b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\n",
              b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n",
              b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\nBDAT 1000\r\nFrom"]
    clients = [Wire(port) for _ in phases]
    for client, octets in zip(clients, phases):
        client.send(octets)
    for client in clients:
        client.socket.settimeout(10)
        assert client.replies()[-1][0] == 421
        client.socket.close()
    # STARTTLS and then nothing, and a client that only sends nonsense for a handshake.
    for nonsense in (b"", b"\x16\x03\x01\xff\xff", b"GET / HTTP/1.1\r\n\r\n"):
        with Wire(port) as client:
            assert client.ask(b"STARTTLS")[0] == 220
            client.send(nonsense)
            client.socket.settimeout(10)
            with contextlib.suppress(ConnectionError):
                while client.socket.recv(4096):
                    pass
    assert serves(port)


@pytest.mark.parametrize("command", [b"NOOP", b"RSET", b"EHLO client.test", b"VRFY x", b"HELP", b"FOO"])
def test_endless_commands(start, command):
    port = start().port("mx")
    for pipelined in (False, True):
        with Wire(port) as client:
            if pipelined:
                with contextlib.suppress(OSError):
                    client.send((command + b"\r\n") * 5000)
                replies = client.replies()
            else:
                replies = []
                while not replies or replies[-1][0] != 421:
                    replies.append(client.ask(command))
                    assert len(replies) < 100
            assert replies[-1][0] == 421 and len(replies) <= 25
    assert serves(port)


@pytest.mark.parametrize("octets", [b"A" * 5_000_000, b"MAIL FROM:<" + b"a" * 5_000_000 + b">\r\n",
                                    b"EHLO " + b"x" * 3000 + b"\r\n", b"AUTH PLAIN " + b"A" * 100_000 + b"\r\n"],
                         ids=["no end", "path", "helo", "auth"])
def test_giant_lines(start, octets):
    gateway = start()
    before = resident(gateway.process.pid)
    with Wire(gateway.port("mx")) as client:
        with contextlib.suppress(OSError):
            client.send(octets)
        with contextlib.suppress(ConnectionError):
            codes = [reply[0] for reply in client.replies()]
            assert codes in ([500], []), codes  # [] when the rest of the flood reset the connection
    assert resident(gateway.process.pid) - before < 16 << 20
    assert serves(gateway.port("mx"))


def test_endless_content(start, upstream):
    """Too large, and it goes on: swallowed up to a bound, then the connection ends. Nothing of it arrives."""
    gateway = start()
    before = resident(gateway.process.pid)
    with Wire(gateway.port("mx")) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: out@else.test\r\n\r\n")
        # What was swallowed enough is answered; for two seconds more the answer may be fetched.
        block, until = b"x" * 76 + b"\r\n", time.monotonic() + 60
        with contextlib.suppress(OSError):
            while time.monotonic() < until:
                client.socket.sendall(block * 1000)
        assert time.monotonic() < until, "content without an end was read without an end"
        assert resident(gateway.process.pid) - before < 32 << 20
    # A header without an end is bounded by itself.
    with Wire(gateway.port("mx")) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: out@else.test\r\n" + b"X-A: b\r\n" * 12000 + b"\r\n\r\n.\r\n")
        assert client.reply()[0] in (550, 552)
        assert client.ask(b"NOOP")[0] == 250
    assert not upstream.messages
    assert serves(gateway.port("mx"))


@pytest.mark.parametrize("size", [b"99999999999999999999999", b"18446744073709551615", b"-1", b"4294967296", b"1e9",
                                  b"0x10", b"", b"10 FIRST", b"10 LAST LAST"])
def test_absurd_chunks(start, upstream, size):
    port = start().port("mx")
    with Wire(port) as client:
        client.envelope()
        client.send(b"BDAT " + size + b"\r\nRSET\r\nNOOP\r\n")
        replies = client.replies()
        assert len(replies) == 1 and replies[0][0] in (501, 552), replies
    assert not upstream.messages
    assert serves(port)


def test_recipient_storm(start, upstream):
    gateway = start({"errors": 1000})
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<out@else.test>")[0] == 250
        client.send(b"".join(b"RCPT TO:<u%d@example.com>\r\n" % n for n in range(300)))
        codes = [client.reply()[0] for _ in range(300)]
        assert codes == [250] * 50 + [452] * 250
        assert client.silent()
    assert len(upstream.seen("RCPT")) == 50
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<out@else.test>")[0] == 250
        client.send(b"RCPT TO:<x@not-ours.test>\r\n" * 1001)
        assert [client.reply()[0] for _ in range(1001)] == [550] * 1001
        assert client.reply()[0] == 421
    assert serves(gateway.port("mx"))


def test_a_flood_behind_the_last_reply_is_not_read(start):
    """The session is over: what comes after it costs nothing, and the connection is closed."""
    gateway = start()
    with Wire(gateway.port("mx")) as client:
        client.socket.settimeout(10)
        sent, block = 0, b"NOOP\r\n" * 10000
        with contextlib.suppress(OSError):
            while sent < 200 << 20:
                sent += client.socket.send(block)
        assert sent < 20 << 20, f"{sent >> 20} MiB were read after 421"
    assert serves(gateway.port("mx"))


def test_client_that_does_not_read(start):
    """Replies pile up in no memory of ours: who does not read is not read from either."""
    # AddressSanitizer keeps freed memory back to watch it; here the program's own use is measured.
    gateway = start({"commands_without_mail": 100000, "errors": 10000},
                    environment={"ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"})
    before = resident(gateway.process.pid)
    with Wire(gateway.port("mx")) as client:
        client.socket.settimeout(1)
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.socket.sendall(b"HELP\r\n" * 10000)
        assert resident(gateway.process.pid) - before < 24 << 20
        assert serves(gateway.port("mx"))


def test_half_close(start):
    port = start().port("mx")
    with Wire(port) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: out@else.test\r\n\r\nhi\r\n.\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert [reply[0] for reply in client.replies()] == [250]
    with Wire(port) as client:  # all at once: every command before the end is answered
        client.send(b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nFrom: out@else.test\r\n\r\nx\r\n.\r\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert [reply[0] for reply in client.replies()] == [250, 250, 354, 250]
    with Wire(port) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: out@else.test\r\n\r\nhalf")
        client.socket.shutdown(socket.SHUT_WR)
        assert not [reply for reply in client.replies() if reply[0] == 250]


def test_connections_of_one_network(start):
    gateway = start({"connections": {"concurrent_per_network": 20}})
    clients = [Wire(gateway.port("mx"), greet=False) for _ in range(60)]
    codes = [client.reply()[0] for client in clients]
    assert codes.count(220) == 20 and codes.count(421) == 40
    for client in clients:
        client.socket.close()
    wait_until(lambda: gateway.metric("portcullis_connections_active") == 0, "all closed")
    assert serves(gateway.port("mx"))


def test_connections_in_a_minute(start):
    gateway = start({"connections": {"new_per_minute_per_network": 30}})
    codes = []
    for _ in range(50):
        with Wire(gateway.port("mx"), greet=False) as client:
            codes.append(client.reply()[0])
    assert codes.count(220) == 30 and set(codes) == {220, 421}


def test_no_descriptors_left(start):
    """Descriptors run out: no crash, no spinning, and mail again as soon as some are free."""
    gateway = start({"command_timeout": "60s", "greeting_timeout": "60s", "session_timeout": "10m"},
                    wrapper=("prlimit", "--nofile=120:120"))
    port = gateway.port("mx")
    # Every path once while there are descriptors: UBSan opens a pipe when it meets a type for the first time.
    assert serves(port)
    time.sleep(0.6)
    clients = []
    for _ in range(200):
        client = socket.create_connection((ADDRESS, port), timeout=5)
        clients.append(client)
    time.sleep(0.5)
    # Those that were let in want an upstream connection each: there is no descriptor for that.
    served = []
    for client in clients:
        client.settimeout(0.2)
        with contextlib.suppress(OSError):
            if client.recv(3) == b"220":
                client.sendall(b"EHLO x\r\nMAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\n")
                served.append(client)
    assert served
    before, started = cpu_seconds(gateway.process.pid), time.monotonic()
    time.sleep(3)
    spent = (cpu_seconds(gateway.process.pid) - before) / (time.monotonic() - started)
    assert gateway.process.running(), gateway.process.errors()[-3000:]
    assert spent < 0.5, f"{spent:.0%} of a CPU while idle"
    for client in clients:
        client.close()
    wait_until(lambda: descriptors(gateway.process.pid) < 60, "descriptors given back")
    wait_until(lambda: serves(port), "mail again")


def test_short_of_memory(start):
    """Who is new goes first, who has logged in last; nobody is cut off, and it ends when the shortage does."""
    # Not what a sanitizer keeps to itself of what was freed: that grows with every reload.
    gateway = start({"command_timeout": "60s", "session_timeout": "10m"},
                    environment={"ASAN_OPTIONS": "exitcode=99:quarantine_size_mb=1"})
    port = gateway.port("mx")
    user = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30, context=ssl._create_unverified_context())
    user.login(ALICE, PASSWORD)
    text = f"From: {ALICE}\r\n\r\nhi\r\n"
    stranger = Wire(port)

    def allow(share, aim):
        # A reload takes memory too: measured again until it has settled.
        for _ in range(10):
            gateway.tree["memory_max"] = f"{int(resident(gateway.process.pid) * share)}B"
            gateway.reload()
            time.sleep(1.3)
            events = [line["event"] for line in gateway.journal(type="event") if line["event"].startswith("memory_")]
            if events and events[-1] == aim:
                return
        raise AssertionError(f"not {aim}: {events}")

    allow(0.97, "memory_high")
    with Wire(port, greet=False) as late:
        code, said = late.reply()
        assert code == 421 and b"4.3.1" in said
    code, said = stranger.ask(b"MAIL FROM:<out@else.test>")
    assert code == 452 and b"4.3.1" in said
    assert user.sendmail(ALICE, "bob@example.net", text) == {}
    allow(0.8, "memory_critical")
    code, said = user.mail(ALICE)
    assert code == 452 and said.startswith(b"4.3.1")
    assert gateway.http("/metrics")[0] == 200
    gateway.tree["memory_max"] = "0B"
    gateway.reload()
    gateway.wait_for_journal(type="event", event="memory_ok")
    assert serves(port)
    assert user.sendmail(ALICE, "bob@example.net", text) == {}
    assert stranger.ask(b"MAIL FROM:<out@else.test>")[0] == 250
    assert gateway.metric("portcullis_connections_rejected_total", reason="resources") == 1


def test_thousands_of_idle_sessions(start):
    """Each costs a little memory, none costs time."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gateway = start({"command_timeout": "60s", "greeting_timeout": "60s", "session_timeout": "10m"})
    assert serves(gateway.port("mx"))
    before = resident(gateway.process.pid)
    with contextlib.ExitStack() as closing:
        for _ in range(3000):
            client = closing.enter_context(socket.create_connection((ADDRESS, gateway.port("mx")), timeout=10))
            client.sendall(b"EHLO client.test\r\n")
        wait_until(lambda: gateway.metric("portcullis_commands_total", verb="EHLO") >= 3000, "all greeted")
        # With a sanitizer, which keeps what was freed and pads what is there; the release build takes about 1 KiB.
        assert resident(gateway.process.pid) - before < 3000 * 32 * 1024
        spent = cpu_seconds(gateway.process.pid)
        time.sleep(2)
        assert cpu_seconds(gateway.process.pid) - spent < 1, "idle sessions keep it busy"
        assert serves(gateway.port("mx"))
    wait_until(lambda: gateway.metric("portcullis_connections_active") == 0, "all gone")
    assert serves(gateway.port("mx"))


def test_flood_of_handshakes(start):
    """Hellos that are cut short, and what is no hello: each ends at its deadline, and others do not wait for it."""
    gateway = start()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = ssl._create_unverified_context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    hello = outgoing.read()
    forms = [hello[:len(hello) // 2], hello, hello[:5] + b"\0" * 200, b"\x16\x03\x01\x40\x00" + b"\xff" * 500, b"EHLO x\r\n", b""]
    with contextlib.ExitStack() as closing:
        for i in range(300):
            client = closing.enter_context(socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10))
            client.sendall(forms[i % len(forms)])
        began = time.monotonic()
        assert serves(gateway.port("mx"))
        with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=10, context=ssl._create_unverified_context()) as user:
            user.login(ALICE, PASSWORD)
        assert time.monotonic() - began < 8
        wait_until(lambda: gateway.metric("portcullis_connections_active") == 0, "the handshakes given up")
    assert gateway.metric("portcullis_tls_handshakes_total", side="client", result="failure") >= 250


def test_server_behind_refuses_while_many_wait(start, upstream):
    """Every waiter gets its 451 at once; the gateway does not connect in a loop."""
    gateway = start({"command_timeout": "30s"})
    upstream.stop()
    clients = [Wire(gateway.port("mx")) for _ in range(30)]
    for client in clients:
        client.send(b"MAIL FROM:<out@else.test>\r\nRCPT TO:<bob@example.com>\r\n")
    began = time.monotonic()
    for client in clients:
        assert client.reply()[0] == 250
        assert client.reply()[0] == 451
    assert time.monotonic() - began < 5
    for client in clients:
        client.socket.close()


@pytest.mark.parametrize("listener", ["mx", "submission"])
@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1", b"POST /mail HTTP/1.1", b"CONNECT a:25 HTTP/1.0",
                                          b"Host: example.com", b"HEAD / HTTP/1.1"])
def test_http(start, upstream, listener, request_line):
    port = start().port(listener)
    with Wire(port, greet=False) as client:
        client.send(request_line + b"\r\nX: y\r\n\r\nMAIL FROM:<a@else.test>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n")
        replies = client.replies()
    assert [r[0] for r in replies] == [220, 554], replies
    assert not upstream.seen("MAIL")


def test_trust_boundaries(start):
    """Nobody is trusted to speak for others unless configured: said plainly, and nothing believed."""
    gateway = start({"errors": 100})
    port = gateway.port("mx")
    with Wire(port) as client:
        for command in (b"XCLIENT ADDR=10.0.0.1 LOGIN=alice@example.com", b"XFORWARD ADDR=10.0.0.1 NAME=trusted"):
            assert client.ask(command)[0] == 550
        assert client.ask(b"EHLO again.test")[0] == 250
    for header in (b"PROXY TCP4 10.0.0.1 10.0.0.2 1000 25\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\x0a\0\0\1" * 3):
        with Wire(port, greet=False) as client:
            client.send(header + b"EHLO x\r\nMAIL FROM:<alice@example.com>\r\n")
            replies = client.replies() if b"\0" in header else [client.reply() for _ in range(4)]
            assert replies[0][0] == 220 and replies[1][0] in (500, 554), replies
            assert all(code != 250 for code, _ in replies[3:]), replies
    lines = gateway.journal()
    assert not [line for line in lines if line.get("client") in ("10.0.0.1", "trusted")]
