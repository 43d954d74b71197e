"""Guessers and owners at the same time: what few addresses do must not make right logins of others wait. Dovecot
keeps its default delay for wrong passwords, which holds a worker for two seconds."""

import base64
import threading
import time

import pytest
from parts.dovecot import Dovecot
from parts.gateway import Gateway, settings
from parts.loopback import ADDRESS
from parts.sink import Sink
from parts.slapd import BASE, Slapd
from wire import Wire

OWNERS = {f"owner{i}@example.com": f"secret{i}" for i in range(12)}
GUESSERS = 60  # connections


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def attempt(client, login, password):
    token = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
    return client.ask(f"AUTH PLAIN {token}".encode())[0]


class Guessers:
    """Connections from a few addresses, each with one guess after the other, always of another login."""

    def __init__(self, port, addresses):
        self.port, self.over, self.answers = port, threading.Event(), []
        self.threads = [threading.Thread(target=self._guess, args=(i, f"127.9.0.{1 + i % addresses}"))
                        for i in range(GUESSERS)]
        for thread in self.threads:
            thread.start()

    def _guess(self, number, source):
        count = 0
        while not self.over.is_set():
            try:
                with Wire(self.port, source=source, timeout=40) as client:
                    for _ in range(4):
                        count += 1
                        self.answers.append(attempt(client, f"guess{number}.{count}@example.com", f"w{count}"))
                        if self.over.is_set():
                            return
            except (OSError, AssertionError):
                time.sleep(0.2)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def backend(name, parts, directory, pair, authority):
    if name == "file":
        return {"backends": ["file"], "file": {"path": directory / "users"}}
    if name == "imap":
        dovecot = parts.use(Dovecot(directory / "dovecot", pair, OWNERS))
        return {"backends": ["imap"], "imap": {"server": f"{ADDRESS}:{dovecot.imaps}", "ca_file": authority.certificate}}
    slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
    for login, password in OWNERS.items():
        slapd.add_person(login, password)
    return {"backends": ["ldap"], "ldap": {"url": slapd.url, "base_dn": f"ou=people,{BASE}",
                                           "filter": "(&(objectClass=inetOrgPerson)(mail={login}))"}}


@pytest.mark.parametrize("name", ["file", "ldap", "imap"])
@pytest.mark.parametrize("addresses", [1, 8])
def test_guessers_do_not_hold_owners_up(parts, directory, program, pair, authority, sink, name, addresses):
    tree = settings(directory, pair, sink.port, limits={"connections": {
        "new_per_minute_per_network": 1000000, "concurrent_per_network": 0}})
    tree["auth"] = backend(name, parts, directory, pair, authority)
    tree["network"] = [{"name": "here", "addresses": ["127.0.0.0/8"], "may_auth_without_tls": True}]
    gateway = parts.use(Gateway(program, directory, tree, users=OWNERS.items() if name == "file" else ()))
    guessers = Guessers(gateway.port("submission"), addresses)
    try:
        time.sleep(1)
        waited = []
        for number, (login, password) in enumerate(OWNERS.items()):
            with Wire(gateway.port("submission"), source=f"127.10.{number}.1", timeout=40) as client:
                begun = time.monotonic()
                assert attempt(client, login, password) == 235, (login, guessers.answers)
                waited.append(time.monotonic() - begun)
    finally:
        guessers.stop()
    assert sorted(waited)[len(waited) // 2] < 1.5 and max(waited) < 4, waited
    assert gateway.metric("portcullis_auth_backend_up", backend=name) == 1
    assert 235 not in guessers.answers
