"""Under systemd: readiness, watchdog, socket activation, and the unit's sandbox."""

import ctypes
import os
import pathlib
import re
import smtplib
import socket
import time

import pytest
from parts import toml
from parts.clients import swaks
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port, listens, wait_until
from parts.process import Process, run
from parts.sink import Sink

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


class NotifySocket:
    def __init__(self, path):
        self.path = path
        self.received = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def lines(self):
        try:
            while True:
                self.received += self._socket.recv(4096).decode().split("\n")
        except BlockingIOError:
            return self.received

    def fill(self):
        """From now on nobody reads, and there is no room for another datagram."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            try:
                while True:
                    other.sendto(b"x", str(self.path))
            except BlockingIOError:
                pass


def test_ready_watchdog_reload_and_stopping(parts, directory, program, pair, sink):
    notify = NotifySocket(directory / "notify")
    # exec in the shell's place: WATCHDOG_PID, if set, must be the program's own.
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port),
                                environment={"NOTIFY_SOCKET": str(notify.path), "WATCHDOG_USEC": "1000000"}))
    wait_until(lambda: "READY=1" in notify.lines(), "READY=1")
    wait_until(lambda: notify.lines().count("WATCHDOG=1") >= 3, "the watchdog fed", 5)
    gateway.reload()
    gateway.stop()
    assert "STOPPING=1" in notify.lines()


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


class HeldThread:
    """One thread of a process that does not run, while all others do."""

    def __init__(self, pid, name):
        (self.tid,) = [int(task.name) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                       if (task / "comm").read_text().strip() == name]
        self._ptrace(PTRACE_SEIZE)
        self._ptrace(PTRACE_INTERRUPT)
        os.waitpid(self.tid, 0x40000000)  # __WALL

    def _ptrace(self, request):
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        assert libc.ptrace(request, self.tid, None, None) == 0, os.strerror(ctypes.get_errno())

    def stop(self):
        """Lets it go on."""
        if self.tid:
            self._ptrace(PTRACE_DETACH)
            self.tid = 0


def test_a_worker_that_hangs_is_seen(parts, directory, program, pair, sink):
    notify = NotifySocket(directory / "notify")
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port, workers=2),
                                environment={"NOTIFY_SOCKET": str(notify.path), "WATCHDOG_USEC": "1000000"}))
    assert gateway.http("/healthz") == (200, "ok\n")
    held = parts.use(HeldThread(gateway.process.pid, "worker-1"))
    wait_until(lambda: gateway.http("/healthz")[0] == 503, "worker 1 missed", 30)
    assert gateway.http("/healthz")[1].startswith("worker 1 has not answered for ")
    assert "worker 1 has not answered for " in gateway.http("/readyz")[1] and gateway.http("/readyz")[0] == 503
    assert gateway.metric("portcullis_worker_last_turn_age_seconds", loop="worker-1") >= 10
    assert gateway.metric("portcullis_worker_last_turn_age_seconds", loop="worker-0") < 10
    fed = notify.lines().count("WATCHDOG=1")
    time.sleep(1.5)
    assert notify.lines().count("WATCHDOG=1") == fed
    held.stop()
    wait_until(lambda: gateway.http("/healthz")[0] == 200, "worker 1 is back")
    wait_until(lambda: notify.lines().count("WATCHDOG=1") > fed, "the watchdog fed")


def test_a_manager_that_does_not_read(parts, directory, program, pair, sink):
    """Nothing waits for it: not /metrics, not a reload, not the end."""
    notify = NotifySocket(directory / "notify")
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port),
                                environment={"NOTIFY_SOCKET": str(notify.path), "WATCHDOG_USEC": "200000"}))
    wait_until(lambda: "READY=1" in notify.lines(), "READY=1")
    notify.received.clear()
    notify.fill()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert gateway.http("/readyz")[0] == 200
    gateway.reload()
    wait_until(lambda: "READY=1" in notify.lines(), "what it missed")
    notify.fill()
    gateway.stop()


def test_socket_activation(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port)
    port = free_port()
    tree["listener"] = [{"name": "submission", "systemd": "submission", "tls": "starttls", "auth": "required"}]
    gateway = Gateway.__new__(Gateway)
    gateway.program, gateway.directory, gateway.tree = program, directory, tree
    gateway.config = directory / "portcullis.toml"
    gateway.write_config()
    gateway.add_user(ALICE, PASSWORD)
    process = Process("activated", ["systemd-socket-activate", "-l", f"{ADDRESS}:{port}", "--fdname=submission",
                                    program, "serve", "--config", gateway.config], directory)
    process.ready(lambda: "Listening on" in process.errors())
    assert listens(port)  # the first connection starts the gateway
    try:
        wait_until(lambda: swaks(port, ALICE, "bob@example.net", "starttls", ALICE, PASSWORD).ok, "a message", 30, 1)
    finally:
        assert process.stop() == 0, process.errors()
    sink.maildir.wait_for(1)


def test_a_socket_that_takes_no_connections_is_refused(directory, program, pair):
    tree = settings(directory, pair, free_port())
    tree["listener"] = [{"name": "submission", "systemd": "submission", "tls": "starttls", "auth": "required"}]
    config = directory / "portcullis.toml"
    config.write_text(toml.dump(tree) + "\n")
    port = free_port()
    process = Process("activated", ["systemd-socket-activate", "--datagram", "-l", f"{ADDRESS}:{port}",
                                    "--fdname=submission", program, "serve", "--config", config], directory)
    process.ready(lambda: "Listening on" in process.errors())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (ADDRESS, port))
    wait_until(lambda: not process.running(), "the end", 20)
    assert process.stop() == 69
    assert 'what systemd passed as "submission" does not listen for TCP connections' in process.errors()


def test_unit_is_valid_and_tight(directory, program):
    text = (TOP / "systemd/portcullis.service.in").read_text()
    unit = directory / "portcullis.service"
    unit.write_text(text.replace("@sbindir@/portcullis", program).replace("@sysconfdir@", "/etc"))
    done = run("systemd-analyze", "verify", "--man=no", unit, check=False)
    assert done.returncode == 0, done.stdout
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit, check=False)
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    assert exposure <= 2.0, done.stdout


def allowed_system_calls():
    """What the unit's SystemCallFilter lets through, by systemd's own lists."""
    text = (TOP / "systemd/portcullis.service.in").read_text()
    groups = {}
    for block in run("systemd-analyze", "syscall-filter", "--no-pager").stdout.split("\n\n"):
        lines = [line.strip() for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
        if lines and lines[0].startswith("@"):
            groups[lines[0]] = set(lines[1:])

    def expand(name):
        if not name.startswith("@"):
            return {name}
        return set().union(*(expand(inner) for inner in groups[name]))

    allowed = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE):
        deny = line.startswith("~")
        for name in line.lstrip("~").split():
            allowed = allowed - expand(name) if deny else allowed | expand(name)
    return allowed | {"execve", "exit", "exit_group", "rt_sigreturn", "getrlimit", "time", "sleep"}


def test_the_program_needs_no_more_than_the_unit_allows(parts, directory, program, pair, sink):
    """Every system call of a working gateway, seen by strace, against the unit's filter."""
    trace = directory / "trace"
    tree = settings(directory, pair, sink.port)
    tree["rate"] = [{"name": "r", "key": "login", "limit": "5 messages/day"}]
    gateway = Gateway(program, directory, tree, wrapper=("strace", "-f", "-qq", "-o", trace),
                      # LeakSanitizer and strace both trace: only one of them can.
                      environment={"ASAN_OPTIONS": "detect_leaks=0:exitcode=99"})
    parts.use(gateway)
    with smtplib.SMTP(ADDRESS, gateway.port("submission"), timeout=60) as client:
        client.starttls()
        client.login(ALICE, PASSWORD)
        client.sendmail(ALICE, ["bob@example.net"], f"From: {ALICE}\r\n\r\nhi\r\n")
    gateway.reload()
    gateway.http("/metrics")
    gateway.stop()
    used = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE))
    assert {"epoll_ctl", "accept4", "sendmsg"} & used
    # SQLite calls fchown only when it runs as root, as here; the unit's user does not.
    assert used - allowed_system_calls() - {"fchown"} == set()
