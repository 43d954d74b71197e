"""After a login nothing of the password stays in the gateway's memory: neither itself nor its base64 forms, not in
what was given back either. Looked at as root: in a core (gcore) and, because some pages can be kept out of cores, in
/proc/PID/mem."""

import base64
import os
import random
import re
import shutil
import string

import pytest
from parts.dovecot import Dovecot
from parts.gateway import ALICE, Gateway, settings
from parts.loopback import ADDRESS
from parts.process import run
from parts.sink import Sink
from parts.slapd import BASE, Slapd
from wire import Wire

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to read the memory of another process")


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def memory(pid):
    """The writable memory of a process, mapping by mapping."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as file:
        for line in maps:
            begin, end, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if "w" not in rights or "[v" in line:
                continue
            at, end = int(begin, 16), int(end, 16)
            while at < end:
                try:
                    file.seek(at)
                    octets = file.read(min(end - at, 1 << 24))
                except OSError:  # pages that were never touched, or shadow memory of a sanitizer
                    octets = b""
                if not octets:
                    break
                yield f"{line.strip()} at {at:x}", octets
                at += len(octets)


def forms(login, password):
    """What would give the password away: itself, and what is the same of its base64 wherever it stands."""
    found = {password.encode()}
    for before in (b"", b"x", b"xx"):
        encoded = base64.b64encode(before + password.encode())
        found.add(encoded[4:-4])
    found.add(base64.b64encode(f"\0{login}\0{password}".encode())[8:-4])
    return found


def backend(name, parts, directory, pair, authority, password):
    if name == "file":
        return {"backends": ["file"], "file": {"path": directory / "users"}}
    if name == "imap":
        dovecot = parts.use(Dovecot(directory / "dovecot", pair, {ALICE: password}))
        return {"backends": ["imap"], "imap": {"server": f"{ADDRESS}:{dovecot.imaps}", "ca_file": authority.certificate}}
    slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
    slapd.add_person(ALICE, password)
    return {"backends": ["ldap"], "ldap": {
        "url": slapd.tls_url if name == "ldaps" else slapd.url, "base_dn": f"ou=people,{BASE}",
        "ca_file": authority.certificate, "filter": "(&(objectClass=inetOrgPerson)(mail={login}))"}}


def log_in(port, password):
    token = base64.b64encode(f"\0{ALICE}\0{password}".encode())
    with Wire(port) as client:
        assert client.ask(b"AUTH PLAIN " + token)[0] == 235
    with Wire(port) as client:  # in two segments
        client.send(b"AUTH PLAIN " + token[:30])
        assert client.socket.getsockname()
        client.send(token[30:] + b"\r\n")
        assert client.reply()[0] == 235
    with Wire(port) as client:
        assert client.ask(b"AUTH LOGIN")[0] == 334
        assert client.ask(base64.b64encode(ALICE.encode()))[0] == 334
        assert client.ask(base64.b64encode(password.encode()))[0] == 235


@pytest.mark.parametrize("name", ["file", "ldap", "ldaps", "imap"])
def test_nothing_of_a_password_stays(parts, directory, program, pair, authority, sink, name):
    password = "".join(random.choices(string.ascii_letters, k=24))
    tree = settings(directory, pair, sink.port)
    tree["auth"] = {**backend(name, parts, directory, pair, authority, password), "cache": {"ttl": "0s"}}
    tree["network"] = [{"name": "here", "addresses": ["127.0.0.0/8"], "may_auth_without_tls": True}]
    gateway = parts.use(Gateway(program, directory, tree, users=[(ALICE, password)] if name == "file" else ()))
    for _ in range(3):
        log_in(gateway.port("submission"), password)
    secrets = forms(ALICE, password)
    left = [(secret, where) for where, octets in memory(gateway.process.pid) for secret in secrets if secret in octets]
    assert not left
    if shutil.which("gcore"):
        run("gcore", "-o", directory / "core", gateway.process.pid)
        (core,) = directory.glob("core.*")
        octets = core.read_bytes()
        core.unlink()
        assert not [secret for secret in secrets if secret in octets]
