"""A real rsyslogd with a socket of its own in place of /dev/log."""

from .process import Process

# One line a record: facility.severity tag message, as rsyslog took the datagram apart.
_CONFIG = """
global(workDirectory="{base}" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="{base}/log")
template(name="apart" type="string" string="%syslogfacility-text%.%syslogseverity-text% %syslogtag%%msg%\\n")
*.* action(type="omfile" file="{base}/records" template="apart")
"""


class Rsyslog:
    def __init__(self, directory):
        """`socket` is what syslog(3) would write to."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket = directory / "log"
        (directory / "rsyslog.conf").write_text(_CONFIG.format(base=directory))
        self.start()

    def start(self):
        self.process = Process("rsyslogd", ["rsyslogd", "-n", "-f", self.directory / "rsyslog.conf",
                                            "-i", self.directory / "pid"], self.directory)
        self.process.ready(self.socket.exists)

    def records(self):
        """(facility and severity, tag, message) of each."""
        try:
            lines = (self.directory / "records").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [tuple(line.split(" ", 2)) for line in lines]

    def stop(self):
        self.process.stop()
