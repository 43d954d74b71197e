"""An upstream that fails where it is told to, and remembers which messages it took for its own.

    upstream = FaultyUpstream(capabilities=(b"CHUNKING",))
    upstream.fault("RCPT", say(b"450 4.2.1 later\r\n"))     # the next time it comes to RCPT
    upstream.fault("DOT", after(b"250 2.0.0 ok\r\n", b"250 again\r\n"))

Steps: CONNECT, EHLO, MAIL, RCPT, DATA, BODY (in the middle of the content), BDAT (a chunk that is not the
last), DOT (a message is whole, by either framing), RSET, IDLE (before a command that follows a whole
transaction). A fault is called with the conversation; what it returns tells what to do next."""

import random
import re
import socket
import struct
import threading
import time

from parts.loopback import ADDRESS

GO_ON, DONE, CLOSE, RESET = "go on", "done", "close", "reset"


# --- faults: each is a function of the conversation ------------------------------------------------

def say(octets, then=DONE):
    """Answers with these octets instead of the usual ones."""
    def fault(conversation):
        conversation.send(octets)
        return then
    return fault


def close(_):
    return CLOSE


def reset(_):
    return RESET


def silence(_):
    return DONE


def slow(seconds):
    def fault(_):
        time.sleep(seconds)
        return GO_ON
    return fault


def before(octets, wait=0.0):
    """Says these octets first, then answers as usual."""
    def fault(conversation):
        conversation.send(octets)
        time.sleep(wait)
        return GO_ON
    return fault


def dribble(octets):
    def fault(conversation):
        for at in range(len(octets)):
            conversation.send(octets[at:at + 1])
            time.sleep(0.002)
        return DONE
    return fault


class FaultyUpstream:
    def __init__(self, capabilities=(b"PIPELINING", b"8BITMIME"), port=0):
        self.capabilities = list(capabilities)
        self.accepted = []  # content of messages that were answered 250
        self.whole = []     # content of all messages that were ended, whatever was answered
        self.commands = []
        self.connections = 0
        self.lock = threading.Lock()
        self._faults = {}
        self._open = set()
        self.chance = None  # step -> a fault or None: now and then, besides those that were asked for
        self.remember = lambda content: content  # what is kept of a message in accepted and whole
        self._listener = socket.create_server((ADDRESS, port), backlog=256)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def fault(self, step, what, times=1):
        with self.lock:
            self._faults[step] = [what] * times

    def clear(self):
        with self.lock:
            self._faults = {}

    def take_fault(self, step):
        with self.lock:
            if self._faults.get(step):
                return self._faults[step].pop(0)
            return self.chance(step) if self.chance else None

    def talk(self, octets):
        """Says something on every open connection, unasked."""
        with self.lock:
            for connection in self._open:
                try:
                    connection.sendall(octets)
                except OSError:
                    pass

    def shrink(self):
        """From now on connections hold little that was not read: a small window, and small segments."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 500)

    def hang_up(self):
        with self.lock:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # What is said must be on its way at once, not after the gateway's delayed acknowledgement.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            connection.settimeout(60)
            _Conversation(self, connection).run()
        except (OSError, EOFError):
            pass
        finally:
            with self.lock:
                self._open.discard(connection)
            connection.close()


class _Conversation:
    def __init__(self, owner, connection):
        self.owner, self.connection = owner, connection
        self.lines = connection.makefile("rb")
        self.chunks = b""
        self.transaction_over = False

    def send(self, octets):
        self.connection.sendall(octets)

    def step(self, name, usual, on_250=lambda: None):
        """Answers a step. False when the conversation is over."""
        what = self.owner.take_fault(name)
        done = what(self) if what else GO_ON
        if done == GO_ON:
            on_250()
            self.send(usual)
        if done == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return done in (GO_ON, DONE)

    def run(self):
        if not self.step("CONNECT", b"220 faulty\r\n"):
            return
        while line := self.lines.readline():
            command = line.rstrip(b"\r\n")
            with self.owner.lock:
                self.owner.commands.append(command)
            verb = command[:4].decode("latin-1").upper()
            if self.transaction_over and verb == "MAIL" and not self.step("IDLE", b""):
                return
            if verb == "QUIT":
                return self.send(b"221 bye\r\n")
            if not getattr(self, verb.lower(), self.unknown)(command):
                return

    def unknown(self, _):
        self.send(b"500 what?\r\n")
        return True

    def ehlo(self, _):
        words = [b"faulty", *self.owner.capabilities]
        return self.step("EHLO", b"".join(b"250%s%s\r\n" % (b" " if w is words[-1] else b"-", w) for w in words))

    def mail(self, _):
        self.chunks = b""
        return self.step("MAIL", b"250 2.1.0 ok\r\n")

    def rcpt(self, _):
        return self.step("RCPT", b"250 2.1.5 ok\r\n")

    def rset(self, _):
        self.chunks = b""
        self.transaction_over = True
        return self.step("RSET", b"250 2.0.0 ok\r\n")

    def data(self, _):
        if not self.step("DATA", b"354 go\r\n"):
            return False
        lines = []
        while (line := self.lines.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                return False
            if not lines and re.match(rb"(RSET|QUIT|MAIL FROM)", line):
                self.send(b"250 2.0.0 ok\r\n")  # DATA was refused, and this is a command
                return True
            lines.append(line[1:] if line.startswith(b".") else line)
            if len(lines) == 3 and not self.step("BODY", b""):
                return False
        return self.message(b"".join(lines))

    def bdat(self, command):
        words = command.split()
        self.chunks += self.lines.read(int(words[1]))
        if len(words) == 2:
            return self.step("BDAT", b"250 2.0.0 ok\r\n")
        content, self.chunks = self.chunks, b""
        return self.message(content)

    def message(self, content):
        self.transaction_over = True
        kept = self.owner.remember(content)
        with self.owner.lock:
            self.owner.whole.append(kept)

        def accepted():
            with self.owner.lock:
                self.owner.accepted.append(kept)
        return self.step("DOT", b"250 2.0.0 Ok: queued as F%d\r\n" % len(self.owner.whole), accepted)


def without_received(content):
    """The message without the field the gateway adds."""
    assert content.startswith(b"Received: "), content[:100]
    return re.sub(rb"\AReceived: .*?\r\n(?![ \t])", b"", content, count=1, flags=re.DOTALL)
