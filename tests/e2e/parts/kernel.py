"""What the kernel holds of TCP connections on this machine: conditions for tests to wait for."""

import pathlib

_ESTABLISHED, _LISTEN = 1, 10


def _sockets():
    """(local port, remote port, state, octets not acknowledged, octets not read) of every TCP socket."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text(encoding="ascii").splitlines()[1:]:
            words = line.split()
            local, remote = (int(words[n].rpartition(":")[2], 16) for n in (1, 2))
            unsent, unread = (int(octets, 16) for octets in words[4].split(":"))
            yield local, remote, int(words[3], 16), unsent, unread


def _between(near, far):
    return [s for s in _sockets() if (near in (None, s[0])) and (far in (None, s[1])) and s[2] != _LISTEN]


def port_of(connection):
    return connection.getsockname()[1]


def delivered(connection):
    """All that was sent on a socket of ours is with the peer's kernel, read or not."""
    return all(unsent == 0 for *_, unsent, _ in _between(port_of(connection), None))


def unread(near=None, far=None):
    """Octets that wait to be read at sockets with these ports."""
    return sum(octets for *_, octets in _between(near, far))


def established(near=None, far=None):
    """How many connections between these ports neither side has ended."""
    return sum(state == _ESTABLISHED for _, _, state, *_ in _between(near, far))
