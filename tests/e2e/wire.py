"""A client that sends exactly the octets it is told, in exactly the pieces, and reads replies one by one."""

import socket
import time

from parts.loopback import ADDRESS

MX = "mx"


class Wire:
    def __init__(self, port, greet=True, timeout=20, source="", receive_octets=0):
        """receive_octets: how much it takes that it has not read yet (0: as the system likes)."""
        self.socket = socket.socket()
        if receive_octets:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_octets)
        self.socket.settimeout(timeout)
        self.socket.bind((source, 0))
        self.socket.connect((ADDRESS, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        if greet:
            assert self.reply()[0] == 220
            assert self.ask(b"EHLO client.test")[0] == 250

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets, pieces=None):
        """pieces: how many octets a segment has (None: all in one)."""
        for at in range(0, len(octets), pieces or max(1, len(octets))):
            self.socket.sendall(octets[at:at + (pieces or len(octets))])
            if pieces:
                time.sleep(0.001)

    def reply(self):
        """(code, text) of the next reply; (None, b"") at the end of the connection."""
        lines = []
        while True:
            while b"\r\n" not in self._buffer:
                try:
                    octets = self.socket.recv(65536)
                except ConnectionError:
                    octets = b""
                if not octets:
                    return (None, b"")
                self._buffer += octets
            line, self._buffer = self._buffer.split(b"\r\n", 1)
            lines.append(line)
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def replies(self):
        """All replies up to the end of the connection."""
        found = []
        while (reply := self.reply())[0] is not None:
            found.append(reply)
        return found

    def ask(self, command):
        self.send(command + b"\r\n")
        return self.reply()

    def envelope(self, sender=b"out@else.test", recipient=b"bob@example.com"):
        """MAIL and RCPT, both accepted."""
        assert self.ask(b"MAIL FROM:<%s>" % sender)[0] == 250
        code, text = self.ask(b"RCPT TO:<%s>" % recipient)
        assert code == 250, text

    def silent(self, seconds=0.3):
        """Whether nothing comes for a while."""
        if self._buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)
