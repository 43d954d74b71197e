"""Floods of connections with few descriptors, with the limits that are shipped: nothing spins, /metrics answers, other
clients are served, SIGTERM works, and the service is back when the flood is over."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

import pytest

from parts import toml
from parts.gateway import Gateway, settings
from parts.loopback import ADDRESS, free_port, wait_until
from parts.process import Process, run
from parts.scripted import ScriptedUpstream
from wire import Wire


@pytest.fixture(autouse=True)
def many_descriptors_for_the_test():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def upstream(parts):
    return parts.use(ScriptedUpstream())


@pytest.fixture
def start(program, parts, directory, pair, upstream):
    def started(nofile=None, **changes):
        wrapper = ("prlimit", f"--nofile={nofile}:{nofile}") if nofile else ()
        return parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, **changes), wrapper=wrapper))
    return started


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_cpu(pid, seconds=2):
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)


def serves(port, source):
    """A whole message goes through for a client of this address."""
    with Wire(port, source=source, timeout=10, greet=False) as client:
        if client.reply()[0] != 220:
            return False
        assert client.ask(b"EHLO client.test")[0] == 250
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        assert client.ask(b"From: out@else.test\r\n\r\nhi\r\n.")[0] == 250
    return True


def flood(port, addresses, each):
    """Connections that stay silent, `each` from every one of `addresses` loopback addresses, one after another."""
    clients = []
    for i in range(addresses * each):
        client = socket.socket()
        client.settimeout(5)
        client.bind((f"127.9.0.{1 + i // each}", 0))
        with contextlib.suppress(OSError):
            client.connect((ADDRESS, port))
        clients.append(client)
    return clients


@pytest.mark.parametrize("nofile", [256, 1024])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_silent_clients_of_many_addresses(start, workers, nofile):
    gateway = start(nofile, workers=workers)
    port, pid = gateway.port("mx"), gateway.process.pid
    clients = flood(port, 16, 100)
    try:
        wait_until(lambda: gateway.metric("portcullis_connections_rejected_total", reason="fair_share") > 0, "refusals")
        began = time.monotonic()
        assert serves(port, "127.9.1.1")
        assert gateway.http("/healthz")[0] == 200 and gateway.http("/readyz")[0] == 200
        assert time.monotonic() - began < 5
        spent = share_of_a_cpu(pid)
        assert spent < 0.3, f"{spent:.0%} of a CPU while idle"
        assert len(os.listdir(f"/proc/{pid}/fd")) < nofile
        assert serves(port, "127.9.1.2")
        assert gateway.metric("portcullis_accept_pauses_total") == 0
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: gateway.metric("portcullis_connections_active") == 0, "all closed")
    assert serves(port, "127.9.0.1")
    # A flood makes one record a minute, not one a connection.
    assert len(gateway.journal(type="event", event="places_short")) == 1


def test_all_places_are_taken(start):
    """One connection each from more addresses than there are descriptors: the rest is refused, with a reason."""
    gateway = start(256, workers=2)
    port = gateway.port("mx")
    clients = []
    for i in range(200):
        client = socket.socket()
        client.settimeout(10)
        client.bind((f"127.9.2.{1 + i}", 0))
        client.connect((ADDRESS, port))
        clients.append(client)
    said = [client.recv(16)[:9] for client in clients]
    assert set(said[:20]) == {b"220 mx.ex"} and said.count(b"220 mx.ex") < 200
    assert said[-1] == b"421 4.3.2"
    assert gateway.metric("portcullis_connections_rejected_total", reason="descriptors") > 0
    assert len(gateway.wait_for_journal(type="event", event="descriptors_exhausted")) == 1
    assert share_of_a_cpu(gateway.process.pid) < 0.3
    for client in clients:
        client.close()
    wait_until(lambda: serves(port, "127.9.3.1"), "service again")


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_stops_in_the_middle_of_a_flood(start, workers):
    gateway = start(256, workers=workers, drain="1s")
    clients = flood(gateway.port("mx"), 10, 100)
    began = time.monotonic()
    assert gateway.stop() in (0, None)
    assert time.monotonic() - began < 10
    for client in clients:
        client.close()


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_no_descriptors_at_all(start, workers):
    """The limit falls below what is in use: accept4 fails, and every worker waits a moment instead of spinning."""
    gateway = start(workers=workers)
    port, pid = gateway.port("mx"), gateway.process.pid
    assert serves(port, "127.9.1.1")
    before = gateway.metric("portcullis_accept_pauses_total")
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, hard))
    clients = flood(port, 4, 50)
    spent = share_of_a_cpu(pid)
    assert gateway.process.running(), gateway.process.errors()[-3000:]
    assert spent < 0.3, f"{spent:.0%} of a CPU while nothing can be accepted"
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: gateway.metric("portcullis_accept_pauses_total") > before, "the pause counted")
    wait_until(lambda: serves(port, "127.9.1.2"), "service again")
    assert gateway.wait_for_journal(type="event", event="accept_failed")[0]["fields"]["detail"] == "Too many open files"
    for client in clients:
        client.close()
    # And once more with SIGTERM while there are none.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, hard))
    more = flood(port, 2, 20)
    began = time.monotonic()
    gateway.send(signal.SIGTERM)
    wait_until(lambda: not gateway.process.running(), "the end", 20)
    assert time.monotonic() - began < 15
    for client in more:
        client.close()


def ends(program, directory, tree, wrapper=()):
    """(exit code, what it said) of a gateway that does not start."""
    directory.mkdir(exist_ok=True)
    config = directory / "refused.toml"
    config.write_text(toml.dump(tree) + "\n")
    config.chmod(0o600)
    process = Process("refused", [*wrapper, program, "serve", "--config", config], directory)
    wait_until(lambda: not process.running(), "the end", 20)
    return process.stop(), process.errors()


def test_too_few_descriptors_to_start(program, directory, pair, upstream):
    tree = settings(directory, pair, upstream.port, workers=8)
    code, said = ends(program, directory, tree, ("prlimit", "--nofile=32:32"))
    assert code == 69, (code, said)
    assert "the process may open 32 files" in said and "8 workers" in said
    assert len([line for line in said.splitlines() if line.startswith("portcullis: ")]) == 1


@pytest.mark.parametrize("left", [6, 10, 11, 12, 16, 20, 24, 40])
def test_descriptors_that_a_parent_left_open(program, directory, pair, upstream, left):
    """They count: wherever they would run out at the start, that is one sentence, and never a crash."""
    tree = settings(directory, pair, upstream.port, workers=2)
    config = directory / "refused.toml"
    config.write_text(toml.dump(tree) + "\n")
    config.chmod(0o600)
    inherited = [os.dup(0) for _ in range(300 - left)]
    try:
        done = subprocess.run(["prlimit", "--nofile=300:300", program, "serve", "--config", config], pass_fds=inherited,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=20, text=True)
    finally:
        for descriptor in inherited:
            os.close(descriptor)
    assert done.returncode == 69, (done.returncode, done.stderr)
    assert len([line for line in done.stderr.splitlines() if line.startswith("portcullis: ")]) == 1


def test_a_second_gateway_is_refused(start, program, directory, pair, upstream):
    gateway = start(workers=2)
    tree = settings(directory, pair, upstream.port, listener=gateway.tree["listener"],
                    journal={"path": directory / "second.jsonl"}, state={"path": directory / "second.sqlite"})
    code, said = ends(program, directory, tree)
    assert code == 69, (code, said)
    assert 'listener "mx": can not listen on' in said and "another gateway" in said
    for _ in range(20):
        assert serves(gateway.port("mx"), "127.9.1.1")
    # A reload keeps its own sockets, and does not take those of others.
    gateway.reload()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind((ADDRESS, free_port()))
        other.listen(1)
        kept = gateway.tree["listener"][1]["address"]
        gateway.tree["listener"][1]["address"] = f"{ADDRESS}:{other.getsockname()[1]}"
        gateway.reload("failure")
        gateway.tree["listener"][1]["address"] = kept
    gateway.reload()
    assert serves(gateway.port("mx"), "127.9.1.1")


def test_metrics_on_an_smtp_port_does_not_pass_check(program, directory, pair, upstream):
    tree = settings(directory, pair, upstream.port)
    for address in (tree["listener"][0]["address"], "0.0.0.0:" + tree["listener"][0]["address"].rpartition(":")[2]):
        tree["metrics"] = {"address": address}
        code, said = ends(program, directory, tree)
        assert code == 78, (code, said)
        assert "metrics.address: port" in said and "is already taken by listener[1].address" in said


def test_check_compares_limits_with_descriptors(program, directory, pair, upstream):
    config = directory / "portcullis.toml"
    config.write_text(toml.dump(settings(directory, pair, upstream.port)) + "\n")
    config.chmod(0o600)
    done = run("prlimit", "--nofile=256:256", program, "check", "--config", config)
    assert "warning: the process may open 256 files" in done.stdout and "add up to 60000" in done.stdout
    done = run("prlimit", "--nofile=32:32", program, "check", "--config", config)
    assert "needs at least" in done.stdout
