"""A backend whose name has two addresses, of which the first drops what comes, or accepts and says nothing: logins
succeed by way of the second, and need not find out again each time."""

import base64
import contextlib
import os
import smtplib
import socket
import ssl
import time

import pytest
from parts.dovecot import Dovecot
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS
from parts.sink import Sink
from parts.slapd import BASE, Slapd

SILENT = "127.0.0.79"


def two_addresses(directory):
    """A wrapper that shows the gateway a hosts file in which backend.test has two addresses."""
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{SILENT} backend.test\n{ADDRESS} backend.test\n")
    return ("unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount",
            "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts)


@contextlib.contextmanager
def silent(port, how):
    """At the other address: `drops` lets no connection be established, as its queue is full."""
    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((SILENT, port))
        listener.listen(0 if how == "drops" else 64)
        for _ in range(4 if how == "drops" else 0):
            filler = closing.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex((SILENT, port))
        yield


def login(gateway):
    """(reply code, seconds)."""
    begun = time.monotonic()
    with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30,
                          context=ssl._create_unverified_context()) as client:
        client.ehlo("client.test")
        code, _ = client.docmd("AUTH", f"PLAIN {base64.b64encode(f'{chr(0)}{ALICE}{chr(0)}{PASSWORD}'.encode()).decode()}")
    return code, time.monotonic() - begun


@pytest.mark.parametrize("how", ["drops", "accepts"])
@pytest.mark.parametrize("backend", ["imaps", "imap", "ldap"])
def test_the_first_address_is_silent(parts, directory, program, pair, authority, backend, how):
    sink = parts.use(Sink(program, directory / "sink"))
    tree = settings(directory, pair, sink.port)
    if backend == "ldap":
        slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
        slapd.add_person(ALICE, PASSWORD)
        port = int(slapd.url.rpartition(":")[2].strip("/"))
        own = {"url": f"ldap://backend.test:{port}", "base_dn": f"ou=people,{BASE}", "filter": "(mail={login})"}
    else:
        dovecot = parts.use(Dovecot(directory / "dovecot", pair, {ALICE: PASSWORD}))
        port = dovecot.imaps if backend == "imaps" else dovecot.imap
        own = {"server": f"backend.test:{port}", "tls": "implicit" if backend == "imaps" else "starttls",
               "verify_certificate": False}
        backend = "imap"
    tree["auth"] = {"backends": [backend], "cache": {"ttl": "0s", "negative_ttl": "0s"}, backend: own}
    with silent(port, how):
        gateway = parts.use(Gateway(program, directory, tree, users=(), wrapper=two_addresses(directory)))
        code, seconds = login(gateway)
        assert code == 235, [r["fields"] for r in gateway.journal(type="event", event="auth_failed")]
        assert seconds < 9
        for _ in range(3):
            code, seconds = login(gateway)
            assert code == 235 and seconds < 2, seconds
