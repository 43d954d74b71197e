"""The scripted upstream with TLS: STARTTLS or from the first octet, and ways for the handshake to fail."""

import ssl

from .scripted import SILENCE, ScriptedUpstream

OFFER = b"250-scripted\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250 SIZE 50000000\r\n"


class TlsScriptedUpstream(ScriptedUpstream):
    """handshake: None to succeed, octets to send in its place, or SILENCE. `clear` has the commands that came
    without TLS."""

    def __init__(self, pair, answers=None, implicit=False, handshake=None, after_220=b""):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.certificate, pair.private_key)
        self.implicit, self.handshake, self.after_220 = implicit, handshake, after_220
        self.clear = []
        super().__init__({"EHLO": OFFER, "AUTH": b"235 2.7.0 ok\r\n", **(answers or {})})

    def _serve(self, connection):
        wire = _Wire(self, connection)
        try:
            if self.implicit:
                wire.start_tls()
            if self._say(wire, "GREETING"):
                self._converse(wire, wire)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            wire.close()


class _Wire:
    """A connection and its lines in one, which turns to TLS when a line asks for it."""

    def __init__(self, upstream, connection):
        self._upstream = upstream
        self._connection = connection
        self._lines = connection.makefile("rb")
        self.secure = False

    def start_tls(self):
        if isinstance(self._upstream.handshake, bytes):
            self._connection.recv(4096)  # the client's hello first: what comes before it is a different fault
            self._connection.sendall(self._upstream.handshake)
            raise ConnectionError("the handshake fails")
        if self._upstream.handshake is SILENCE:
            while self._connection.recv(4096):
                pass
            raise ConnectionError("the handshake never came")
        self._connection = self._upstream.context.wrap_socket(self._connection, server_side=True)
        self._lines = self._connection.makefile("rb")
        self.secure = True

    def __iter__(self):
        return self

    def __next__(self):
        line = self._lines.readline()
        if not line:
            raise StopIteration
        if not self.secure:
            self._upstream.clear.append(line.rstrip(b"\r\n"))
        if line.upper().startswith(b"STARTTLS") and not self.secure:
            self.sendall(b"220 2.0.0 go ahead\r\n" + self._upstream.after_220)
            self.start_tls()
            return self.__next__()
        return line

    def read(self, count):
        return self._lines.read(count)

    def sendall(self, octets):
        self._connection.sendall(octets)

    def close(self):
        self._connection.close()
