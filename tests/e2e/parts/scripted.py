"""An upstream that answers as a test tells it: to fail at every step.

    ScriptedUpstream({"RCPT": b"450 4.2.1 later\r\n", "DOT": CLOSE})

Keys are GREETING, EHLO, MAIL, RCPT, DATA, BDAT, DOT (after a whole message), RSET, QUIT and NOOP; a value is
the octets to answer, CLOSE (close without a word), SILENCE (never answer), or a function of the
upstream that returns one of these."""

import socket
import threading

from .loopback import ADDRESS, free_port

CLOSE = "close"
SILENCE = "silence"

_USUAL = {
    "GREETING": b"220 scripted ESMTP\r\n",
    "EHLO": b"250-scripted\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 50000000\r\n250 ENHANCEDSTATUSCODES\r\n",
    "HELO": b"250 scripted\r\n", "MAIL": b"250 2.1.0 ok\r\n", "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go\r\n", "DOT": b"250 2.0.0 Ok: queued as SCRIPTED1\r\n", "BDAT": b"250 2.0.0 ok\r\n",
    "RSET": b"250 2.0.0 ok\r\n", "NOOP": b"250 2.0.0 ok\r\n", "QUIT": b"221 2.0.0 bye\r\n",
}


class ScriptedUpstream:
    def __init__(self, answers=None):
        self.answers = {**_USUAL, **(answers or {})}
        self.port = free_port()
        self.commands = []   # of all connections, as octets without the line end
        self.messages = []   # whole messages that were ended with the dot, whatever was answered
        self.partial = []    # bodies whose connection was lost before the dot
        self.connections = 0
        self._lock = threading.Lock()
        self._open = set()
        self._listener = socket.create_server((ADDRESS, self.port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def seen(self, verb):
        with self._lock:
            return [c for c in self.commands if c.upper().startswith(verb.encode())]

    def stop(self):
        # shutdown, not only close: a thread that waits in accept or recv must learn of it.
        with self._lock:
            for each in (self._listener, *self._open):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            with connection, connection.makefile("rb") as lines:
                if self._say(connection, "GREETING"):
                    self._converse(connection, lines)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)

    def _converse(self, connection, lines):
        for line in lines:
            command = line.rstrip(b"\r\n")
            with self._lock:
                self.commands.append(command)
            verb = command.split(b" ")[0].decode("latin-1").upper()
            if verb not in self.answers:
                connection.sendall(b"500 5.5.2 what?\r\n")
                continue
            if verb == "BDAT":
                lines.read(int(command.split()[1]))
            if not self._say(connection, verb):
                return
            if verb == "QUIT":
                return
            if verb == "DATA" and self.answers["DATA"] is not SILENCE and self._is_354():
                if not self._body(connection, lines):
                    return

    def _is_354(self):
        answer = self.answers["DATA"]
        return isinstance(answer, bytes) and answer.startswith(b"354")

    def _body(self, connection, lines):
        body = b""
        for line in lines:
            if line == b".\r\n":
                with self._lock:
                    self.messages.append(body)
                return self._say(connection, "DOT")
            body += line
        with self._lock:
            self.partial.append(body)
        return False

    def _say(self, connection, key):
        """Answers; False when the connection is to be closed."""
        answer = self.answers[key]
        if callable(answer):
            answer = answer(self)
        if answer is CLOSE:
            return False
        if answer is not SILENCE:
            connection.sendall(answer)
        return True
