"""What the gateway finds at once: it is stopped while its peers speak, and sees all of it when it goes on, in the
order a test chose. And peers that go, or have said all, while something is on its way to them."""

import base64
import contextlib
import os
import pathlib
import signal
import smtplib
import socket
import ssl
import struct
import threading

import pytest

from faulty_upstream import DONE, GO_ON, FaultyUpstream
from parts import kernel
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, stands_still, wait_until
from wire import Wire


@pytest.fixture
def upstream(parts):
    return parts.use(FaultyUpstream())


@pytest.fixture
def start(program, parts, directory, pair, upstream):
    def started(users=((ALICE, PASSWORD),), **changes):
        tree = settings(directory, pair, upstream.port, workers=1, **changes)
        tree["upstream"][0] |= {"probe_interval": "1h", "connections_max": 1, "waiting_timeout": "2s"}
        running = parts.use(Gateway(program, directory, tree, users=users))
        wait_until(lambda: upstream.connections > 0, "the probe")
        return running
    return started


@contextlib.contextmanager
def stopped(gateway):
    gateway.send(signal.SIGSTOP)
    threads = pathlib.Path(f"/proc/{gateway.process.pid}/task")
    wait_until(lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads.glob("*/stat")),
               "all threads to stop")
    try:
        yield
        # What was sent has arrived.
        wait_until(lambda: all(kernel.delivered(connection) for connection in ours()), "delivery")
    finally:
        gateway.send(signal.SIGCONT)


def ours():
    """The TCP connections of this process."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(name))) as connection:
            if connection.family == socket.AF_INET and connection.type == socket.SOCK_STREAM:
                connection.getpeername()
                yield connection


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def message(client):
    client.envelope()
    assert client.ask(b"DATA")[0] == 354
    client.send(b"From: out@else.test\r\n\r\nbody\r\n.\r\n")
    assert client.reply()[0] == 250


def test_client_goes_while_its_connection_is_on_its_way(start, upstream):
    """The next one gets that connection: it is neither kept for the dead, nor are they told of its end."""
    gateway = start()
    answer = threading.Event()

    def wait(_):
        answer.wait(10)
        return GO_ON
    upstream.fault("EHLO", wait)
    gone = Wire(gateway.port("mx"))
    before = upstream.commands.count(b"EHLO mx.example.com")
    assert gone.ask(b"MAIL FROM:<out@else.test>")[0] == 250
    gone.send(b"RCPT TO:<bob@example.com>\r\n")
    wait_until(lambda: upstream.commands.count(b"EHLO mx.example.com") > before, "a connection being opened")
    with stopped(gateway):
        answer.set()
        wait_until(lambda: kernel.unread(far=upstream.port) > 0, "the reply to EHLO")
        reset(gone.socket)
    with Wire(gateway.port("mx")) as client:
        message(client)
        upstream.hang_up()
        wait_until(lambda: gateway.metric("portcullis_upstream_connections", state="idle") == 0, "its end")
        message(client)


def test_client_that_has_said_all_still_hears_all(start):
    """Many commands and the end of what the client sends; it reads later, more than its connection holds."""
    gateway = start(limits={"commands_without_mail": 100000}, hostname=".".join(["x" * 60] * 4))
    client = Wire(gateway.port("mx"), receive_octets=4096)
    commands = 8100
    with stopped(gateway):
        client.send(b"EHLO x\r\n" * commands + b"QUIT\r\n")
        client.socket.shutdown(socket.SHUT_WR)
    assert stands_still(lambda: kernel.unread(near=kernel.port_of(client.socket))) > 0
    codes = [code for code, _ in client.replies()]
    assert codes == [250] * commands + [221]


def test_answer_before_the_end_has_left(start, upstream):
    """The rest of a message waits for room at the server behind, its end with it. A 250 that comes then is none to
    this message: nobody has it."""
    gateway = start()
    upstream.shrink()
    read_on = threading.Event()

    def speak_and_not_read(conversation):
        conversation.send(b"354 go\r\n")
        wait_until(lambda: gateway.metric("portcullis_buffer_bytes", kind="upstream_output") > 0, "octets that wait")
        conversation.send(b"250 2.0.0 stale\r\n")
        read_on.wait(10)
        return DONE
    upstream.fault("DATA", speak_and_not_read)
    last = b"0123456789abcde\r\n" * 3500  # together they are more than the connection holds
    with Wire(gateway.port("mx")) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: out@else.test\r\n\r\n" + b"0123456789abcde\r\n" * 2500)
        wait_until(lambda: kernel.unread(near=gateway.port("mx")) == 0, "the first part to be read")
        with stopped(gateway):
            client.send(last + b".\r\n")
        code, text = client.reply()
        assert not upstream.whole
        read_on.set()
        assert code == 451, text
        assert client.ask(b"NOOP")[0] == 250


class Deaf:
    """A server that takes connections and never says a word."""

    def __init__(self):
        self._listener = socket.create_server((ADDRESS, 0))
        self.port = self._listener.getsockname()[1]
        self.asked = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.asked.append(self._listener.accept()[0])

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def test_answer_about_a_login_when_all_is_over(start, parts):
    """The client has gone, the program ends: there is no worker any more that could be told. The exit is clean."""
    deaf = parts.use(Deaf())
    gateway = start(users=(), auth={"backends": ["imap"], "imap": {
        "server": f"{ADDRESS}:{deaf.port}", "tls": "off", "deadline": "5s"}})
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=10, context=ssl._create_unverified_context())
    client.ehlo("client.test")
    client.putcmd("AUTH", "PLAIN " + base64.b64encode(f"\0{ALICE}\0{PASSWORD}".encode()).decode())
    wait_until(lambda: deaf.asked, "the directory to be asked")
    client.file.close()
    reset(client.sock)
    wait_until(lambda: gateway.metric("portcullis_connections_active") == 0, "the session to end")
    gateway.stop()
