"""Threads belong to the process: reloads do not multiply them, and where there are none to be had a reload fails, a
start says why, and the process goes on. Nothing that is slow holds up the end of the process."""

import base64
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest
from parts import toml
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port, listens, wait_until
from parts.sink import Sink
from wire import Wire

USER = 54321  # nobody's: the limit counts all threads of a user


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def threads(gateway):
    return len(os.listdir(f"/proc/{gateway.process.pid}/task"))


def silent_ldap(port, **more):
    return {"backends": ["ldap"], "ldap": {"url": f"ldap://{ADDRESS}:{port}", "base_dn": "dc=example",
                                           "filter": "(mail={login})", **more}}


def auth_without_tls(tree):
    tree["network"] = [{"name": "here", "addresses": ["127.0.0.0/8"], "may_auth_without_tls": True}]
    return tree


def plain(password):
    return b"AUTH PLAIN " + base64.b64encode(f"\0{ALICE}\0{password}".encode())


AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


class Unprivileged(Gateway):
    """Runs as a user of its own, whom limits of threads bind."""

    def __init__(self, program, directory, tree, limits=(), **more):
        for key in ("certificate", "private_key"):
            copy = directory / pathlib.Path(tree["tls"][key]).name
            if copy != tree["tls"][key]:
                shutil.copy(tree["tls"][key], copy)
            tree["tls"][key] = copy
        super().__init__(program, directory, tree, wrapper=[*AS_USER, *limits], **more)

    def write_config(self):
        super().write_config()
        self.give()

    def add_user(self, *more):
        super().add_user(*more)
        self.give()

    def give(self):
        for path in (self.directory, *self.directory.iterdir()):
            os.chown(path, USER, USER)


def test_reloads_do_not_multiply_threads(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port)
    tree["auth"] |= {"backends": ["file", "ldap", "imap"], "imap": {"server": f"{ADDRESS}:{free_port()}", "tls": "off"}}
    tree["auth"]["ldap"] = silent_ldap(free_port())["ldap"]
    gateway = parts.use(Gateway(program, directory, tree))
    before = threads(gateway)
    sessions = []
    for number in range(6):
        sessions.append(Wire(gateway.port("mx")))  # keeps the snapshot it began with
        tree["auth"]["cache"] = {"ttl": f"{100 + number // 2}s"}  # every other time nothing changes
        gateway.reload()
    assert threads(gateway) == before
    tree["auth"]["ldap"]["connections_max"] = 4
    gateway.reload()
    wait_until(lambda: threads(gateway) == before - 4, "surplus threads to end")
    for session in sessions:
        assert session.ask(b"NOOP")[0] == 250
        session.socket.close()


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become a user whom limits bind")


@needs_root
def test_a_reload_without_threads_fails_and_changes_nothing(parts, directory, program, pair, sink):
    tree = auth_without_tls(settings(directory, pair, sink.port))
    gateway = parts.use(Unprivileged(program, directory, tree))
    most = threads(gateway)
    gateway.stop()
    gateway = parts.use(Unprivileged(program, directory, tree, limits=["prlimit", f"--nproc={most}"], users=()))
    with Wire(gateway.port("submission")) as client:
        tree["auth"] |= {"backends": ["file", "ldap"], "ldap": silent_ldap(free_port())["ldap"]}
        tree["hostname"] = "other.example.com"
        for _ in range(3):
            gateway.reload(result="failure")
        (event, *_) = gateway.wait_for_journal(3, event="reload_failed")
        assert "no thread for the ldap backend can be started" in event["fields"]["detail"]
        assert client.ask(plain(PASSWORD))[0] == 235
    with Wire(gateway.port("submission"), greet=False) as client:
        assert b"mx.example.com" in client.reply()[1]
        assert client.ask(b"EHLO client.test")[0] == 250
        assert client.ask(plain(PASSWORD))[0] == 235
    # A reload that needs no new thread works all the same.
    tree["auth"]["backends"] = ["file"]
    gateway.reload()


@needs_root
@pytest.mark.parametrize("most", [2, 4, 6, 9])
def test_a_start_without_threads_says_why(directory, program, pair, sink, most):
    tree = settings(directory, pair, sink.port)
    tree["auth"] |= {"backends": ["file", "ldap"], "ldap": silent_ldap(free_port())["ldap"]}
    gateway = Unprivileged(program, directory, tree, limits=["prlimit", f"--nproc={most}"], ready=False)
    assert gateway.process.wait() == 69, gateway.process.errors()
    assert "cannot be started" in gateway.process.errors() or "can be started" in gateway.process.errors()


def test_a_silent_directory_does_not_hold_up_the_end(parts, directory, program, pair, sink):
    with socket.create_server((ADDRESS, free_port())) as silent:
        tree = auth_without_tls(settings(directory, pair, sink.port, drain="1s"))
        tree["auth"] = silent_ldap(silent.getsockname()[1], deadline="60s", connect_timeout="60s")
        gateway = parts.use(Gateway(program, directory, tree, users=()))
        clients = [Wire(gateway.port("submission")) for _ in range(12)]
        for client in clients:
            client.send(plain(PASSWORD) + b"\r\n")
        clients[0].socket.close()
        time.sleep(0.5)
        begun = time.monotonic()
        gateway.stop()
        assert time.monotonic() - begun < 8
        for client in clients[1:]:
            assert client.reply()[0] in (421, 454)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_login_that_is_held_back_does_not_hold_up_the_end(parts, directory, program, pair, sink, leaves):
    tree = auth_without_tls(settings(directory, pair, sink.port, drain="20s"))
    tree["auth"]["lockout"] = {"first_delay": "60s", "max_delay": "60s"}
    gateway = parts.use(Gateway(program, directory, tree))
    client = Wire(gateway.port("submission"))
    client.send(plain("wrong") + b"\r\n")
    time.sleep(1)
    if leaves:
        client.socket.close()
    begun = time.monotonic()
    gateway.stop()
    assert time.monotonic() - begun < 10
    if not leaves:
        assert client.reply()[0] == 535
        assert client.reply()[0] == 421


def test_a_standard_error_that_nobody_reads_does_not_hold_up_the_end(directory, program, pair, sink):
    tree = settings(directory, pair, sink.port, drain="0s", journal={"sink": "stderr", "level": "debug"})
    tree["journal"].pop("path")
    (directory / "portcullis.toml").write_text(toml.dump(tree) + "\n")
    users = Gateway.__new__(Gateway)
    users.program, users.tree = program, tree
    users.add_user(ALICE, PASSWORD)
    with subprocess.Popen([program, "serve", "--config", directory / "portcullis.toml"], stderr=subprocess.PIPE) as child:
        try:
            port = int(tree["listener"][0]["address"].rpartition(":")[2])
            wait_until(lambda: listens(port), "the gateway")
            for _ in range(150):  # more than a pipe holds
                with Wire(port) as client:
                    client.ask(b"MAIL FROM:<" + b"a" * 60 + b"@example.com>")
            begun = time.monotonic()
            child.send_signal(signal.SIGTERM)
            child.wait(30)
            assert time.monotonic() - begun < 9
        finally:
            child.kill()
