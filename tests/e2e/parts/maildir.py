"""What has been delivered to a Maildir."""

from .loopback import wait_until


class Maildir:
    def __init__(self, path):
        self.path = path

    def messages(self):
        """All messages as octets, in order of arrival."""
        files = [f for folder in ("new", "cur") for f in (self.path / folder).glob("*")]
        return [f.read_bytes() for f in sorted(files, key=lambda f: (f.stat().st_mtime_ns, f.name))]

    def wait_for(self, count, seconds=20.0):
        """Waits until `count` messages are there, and returns them; more are an error."""
        wait_until(lambda: len(self.messages()) >= count,
                   lambda: f"{count} messages in {self.path}, {len(self.messages())} there", seconds)
        found = self.messages()
        assert len(found) == count, f"{len(found)} messages where {count} were expected"
        return found

    def clear(self):
        for folder in ("new", "cur"):
            for file in (self.path / folder).glob("*"):
                file.unlink()
