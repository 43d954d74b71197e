"""A DNS server that answers A queries for some names as a test tells it, and how a program is made to ask it."""

import os
import socket
import struct
import threading

from .loopback import ADDRESS

SILENT, SERVFAIL, NXDOMAIN = "silent", 2, 3


class NameServer:
    """names: name -> list of IPv4 addresses. mode: None to answer, SILENT, or a response code for everything."""

    def __init__(self, names):
        self.names = names
        self.mode = None
        self.queries = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                query, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            self.queries += 1
            if self.mode is not SILENT and len(query) > 16:
                self._socket.sendto(self._answer(query), peer)

    def _answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1"))
            at += 1 + query[at]
        question = query[12:at + 5]
        (kind,) = struct.unpack(">H", query[at + 1:at + 3])
        known = self.names.get(".".join(labels).lower())
        code = self.mode if self.mode is not None else 0 if known else NXDOMAIN
        addresses = known if code == 0 and kind == 1 else []
        records = b"".join(struct.pack(">HHHIH", 0xc00c, 1, 1, 1, 4) + socket.inet_aton(a) for a in addresses)
        return query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(addresses), 0, 0) + question + records

    def wrapper(self, directory):
        """A command that shows a program this server alone."""
        resolv, hosts, switch = directory / "resolv.conf", directory / "no-hosts", directory / "nsswitch.conf"
        resolv.write_text(f"nameserver {ADDRESS}\n")
        hosts.write_text("127.0.0.1 localhost\n")
        switch.write_text("hosts: files dns\npasswd: files\ngroup: files\n")
        mounts = [(resolv, "/etc/resolv.conf"), (hosts, "/etc/hosts"), (switch, "/etc/nsswitch.conf")]
        script = " && ".join(f"mount --bind {own} {real}" for own, real in mounts)
        return ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")

    def stop(self):
        # shutdown: the thread that waits in recvfrom must learn of it.
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


def may_bind():
    """Port 53 and mounts need root."""
    return os.geteuid() == 0
