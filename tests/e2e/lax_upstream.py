"""The upstream that smuggling needs: it ends data at every spelling that some server was seen to take for
the end, takes bare CR and bare LF for line ends in commands, and ignores NULs. If a second message ever
stands behind this one, the gateway let something through."""

import re
import socketserver
import threading

from parts.loopback import ADDRESS

_LINE_END = rb"(?:\r\n|\r|\n)"
_NULS = rb"\0*"
_END = re.compile(_NULS + _LINE_END + _NULS + rb"\." + _NULS + _LINE_END)


class LaxUpstream:
    def __init__(self, chunking=False):
        self.chunking = chunking
        self.messages = []  # (reverse-path line, content)
        self.commands = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    _Conversation(outer, self.request).run()
                except OSError:
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self._server = Server((ADDRESS, 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class _Conversation:
    def __init__(self, outer, connection):
        self.outer, self.connection, self.buffer, self.sender = outer, connection, b"", b""

    def more(self):
        octets = self.connection.recv(65536)
        if not octets:
            raise ConnectionError
        self.buffer += octets

    def say(self, text):
        self.connection.sendall(text + b"\r\n")

    def line(self):
        while not (match := re.search(_LINE_END, self.buffer)):
            self.more()
        line, self.buffer = self.buffer[:match.start()], self.buffer[match.end():].lstrip(b"\n")
        return line.replace(b"\0", b"")

    def run(self):
        self.say(b"220 lax")
        chunks = b""
        while True:
            line = self.line()
            self.outer.commands.append(line)
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say(b"250-lax\r\n250-PIPELINING\r\n250-8BITMIME\r\n" +
                         (b"250-CHUNKING\r\n" if self.outer.chunking else b"") + b"250 SIZE 0")
            elif verb == b"DATA":
                self.say(b"354 go")
                self.data()
            elif verb == b"BDAT":
                words = line.split()
                while len(self.buffer) < int(words[1]):
                    self.more()
                chunks, self.buffer = chunks + self.buffer[:int(words[1])], self.buffer[int(words[1]):]
                if len(words) == 3:
                    self.outer.messages.append((self.sender, chunks))
                    chunks = b""
                self.say(b"250 2.0.0 queued as LAX")
            elif verb == b"QUIT":
                return self.say(b"221 bye")
            else:
                if verb == b"MAIL":
                    self.sender = line
                self.say(b"250 2.0.0 ok")

    def data(self):
        while not (match := _END.search(self.buffer)):
            self.more()
        content, self.buffer = self.buffer[:match.start()], self.buffer[match.end():]
        self.outer.messages.append((self.sender, content))
        self.say(b"250 2.0.0 queued as LAX")
