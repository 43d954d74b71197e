"""AUTH while the configuration changes: what a reload must do, and what it must not hold up."""

import base64
import smtplib
import socket
import ssl
import struct
import time

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port, wait_until
from parts.sink import Sink


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def connect(gateway):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30,
                              context=ssl._create_unverified_context())
    client.ehlo("client.test")
    return client


def plain(password, user=ALICE):
    return "PLAIN " + base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def login(gateway, password, user=ALICE):
    with connect(gateway) as client:
        return client.docmd("AUTH", plain(password, user))[0]


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


def append_to(users, text):
    with open(users, "a", encoding="ascii") as file:
        file.write(text)


def test_the_journal_names_a_broken_line_and_other_accounts_go_on(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    append_to(directory / "users", "bob\ncarol:!\n")
    [record] = gateway.wait_for_journal(event="auth_backend_trouble")
    assert record["fields"]["backend"] == "file"
    assert f"{directory / 'users'}:2:4: " in record["fields"]["detail"]
    assert gateway.metric("portcullis_auth_backend_trouble_total", backend="file") == 1
    for _ in range(2):
        assert login(gateway, PASSWORD) == 235
        assert login(gateway, "wrong") == 535
        assert login(gateway, PASSWORD, "carol") == 525
        gateway.reload()


@pytest.mark.parametrize("left", [0, 40, 100])
def test_an_empty_or_cut_user_file_is_not_used(parts, directory, program, pair, sink, left):
    """What a script that opened it with ">" and a full disk leave behind."""
    users = directory / "users"
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port),
                                users=[(f"other{i}@example.com", "x") for i in range(2)] + [(ALICE, PASSWORD)]))
    whole = users.read_text()
    users.write_text(whole[:left])
    [record] = gateway.wait_for_journal(event="auth_backend_trouble")
    assert record["level"] == "error" and str(users) in record["fields"]["detail"]
    assert login(gateway, PASSWORD) == 235
    gateway.reload()
    assert login(gateway, PASSWORD) == 235
    gateway.stop()
    # A start with it: nobody is told that the password is wrong, except where an account was complete.
    again = parts.use(Gateway(program, directory, gateway.tree, users=()))
    again.wait_for_journal(2, event="auth_backend_trouble")
    assert login(again, PASSWORD) == (454 if left < 100 else 535)
    users.write_text(whole)
    wait_until(lambda: login(again, PASSWORD) == 235, "the whole file to be used")


def test_cached_logins_survive_an_edit_of_another_line(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    assert login(gateway, PASSWORD) == 235

    def hits():
        return gateway.metric("portcullis_auth_cache_lookups_total", result="hit")

    gateway.add_user("bob@example.com", "builder")
    wait_until(lambda: login(gateway, "builder", "bob@example.com") == 235, "the new account")
    gateway.reload()
    before = hits()
    assert login(gateway, PASSWORD) == 235
    assert hits() == before + 1


def test_a_damaged_state_file_is_moved_aside(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port)
    state = tree["state"]["path"]
    state.write_bytes(b"no database at all\n" * 500)
    gateway = parts.use(Gateway(program, directory, tree))
    [record] = gateway.wait_for_journal(event="state_damaged")
    assert f"{state}.damaged-" in record["fields"]["detail"]
    assert gateway.metric("portcullis_state_store_errors_total", op="load") == 1
    [aside] = directory.glob(f"{state.name}.damaged-*")
    assert aside.read_bytes().startswith(b"no database")
    assert login(gateway, PASSWORD) == 235


def test_brute_force_control_as_reloaded(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port)
    tree["auth"]["lockout"] = {"failures_per_network": 3, "first_delay": "0ms", "max_delay": "0ms"}
    gateway = parts.use(Gateway(program, directory, tree))
    assert [login(gateway, f"guess {i}") for i in range(4)] == [535, 535, 535, 454]
    tree["auth"]["lockout"]["mode"] = "off"
    gateway.reload()
    assert login(gateway, PASSWORD) == 235
