"""The program's own receiving server, as the upstream."""

from .loopback import ADDRESS, free_port, listens
from .maildir import Maildir
from .process import Process


class Sink:
    def __init__(self, program, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.maildir = Maildir(directory / "mail")
        self.process = Process("sink", [program, "sink", "--listen", f"{ADDRESS}:{self.port}", "--maildir",
                                        directory / "mail"], directory)
        self.process.ready(lambda: listens(self.port))

    def stop(self):
        assert self.process.stop() == 0, self.process.errors()
