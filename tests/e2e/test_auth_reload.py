"""AUTH while the configuration changes: what a reload must do, and what it must not hold up."""

import base64
import smtplib
import socket
import ssl
import struct
import time

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port
from parts.sink import Sink


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def connect(gateway):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30,
                              context=ssl._create_unverified_context())
    client.ehlo("client.test")
    return client


def plain(password):
    return "PLAIN " + base64.b64encode(f"\0{ALICE}\0{password}".encode()).decode()


def login(gateway, password):
    with connect(gateway) as client:
        return client.docmd("AUTH", plain(password))[0]


def test_a_reload_waits_for_no_directory(parts, directory, program, pair, sink):
    """A login is under way at a directory that is silent, its client leaves, and the configuration is replaced: the
    end of the old one must not hold up those who talk to the same worker."""
    with socket.create_server((ADDRESS, free_port())) as silent:
        tree = settings(directory, pair, sink.port, workers=1)
        tree["auth"] = {"backends": ["ldap"], "ldap": {
            "url": f"ldap://{ADDRESS}:{silent.getsockname()[1]}", "base_dn": "dc=example", "filter": "(mail={login})",
            "deadline": "20s", "breaker_failures": 100}}
        gateway = parts.use(Gateway(program, directory, tree, users=()))
        leaver = connect(gateway)
        leaver.putcmd("AUTH", plain(PASSWORD))
        time.sleep(0.5)
        leaver.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
        gateway.reload()
        slowest = 0.0
        for _ in range(8):
            time.sleep(0.3)
            begun = time.monotonic()
            with connect(gateway) as client:
                assert client.noop()[0] == 250
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 3


def test_the_journal_names_the_line_of_a_broken_user_file(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    with open(directory / "users", "a", encoding="ascii") as users:
        users.write("bob\n")
    [record] = gateway.wait_for_journal(event="auth_backend_trouble")
    assert record["fields"]["backend"] == "file"
    assert f"{directory / 'users'}:2:4: " in record["fields"]["detail"]
    assert login(gateway, PASSWORD) == 235


def test_a_reload_keeps_the_accounts_of_a_broken_user_file(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    with open(directory / "users", "a", encoding="ascii") as users:
        users.write("bob\n")
    gateway.wait_for_journal(event="auth_backend_trouble")
    gateway.reload()
    assert login(gateway, PASSWORD) == 235
    assert login(gateway, "wrong") == 535


def test_brute_force_control_as_reloaded(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port)
    tree["auth"]["lockout"] = {"failures_per_network": 3, "first_delay": "0ms", "max_delay": "0ms"}
    gateway = parts.use(Gateway(program, directory, tree))
    assert [login(gateway, f"guess {i}") for i in range(4)] == [535, 535, 535, 454]
    tree["auth"]["lockout"]["mode"] = "off"
    gateway.reload()
    assert login(gateway, PASSWORD) == 235
