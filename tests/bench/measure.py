"""CPU time and memory of processes, and one run of the load generator against one server."""

import contextlib
import json
import os
import pathlib
import subprocess
import time


def cpu_seconds(pids):
    """User and system time together, of all threads, from the scheduler's own account (nanoseconds, where the
    ticks of /proc/PID/stat are ten milliseconds). Threads that ended meanwhile are not in it: none of the servers
    ends threads at work."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:
                pass
    return total / 1e9


def resident_kib(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total


def place_apart():
    """This process, and so the load generator and the sink, leave processor 0 to the server that is measured: where
    the scheduler moves the three about, a send costs twice as much in one run as in the next."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) > 1:
        os.sched_setaffinity(0, processors[1:])


def on_processor_0(pids):
    """The threads of these processes run there, and those that they start."""
    first = {min(os.sched_getaffinity(1))}
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), first)


class LoadFailed(Exception):
    """Messages were lost or refused: a number measured there would mean nothing."""


class Load:
    def __init__(self, program):
        self.program = program

    def command(self, way, **options):
        words = [self.program, *way.arguments()]
        for name, value in options.items():
            words += [f"--{name}"] if value is True else [f"--{name}", value]
        return [str(word) for word in words]

    def run(self, server, way, **options):
        """{"cpu": s, "load": what bench_load printed}."""
        before = cpu_seconds(server.pids())
        done = subprocess.run(self.command(way, **options), capture_output=True, text=True, timeout=900, check=False)
        time.sleep(0.02)  # the journal's thread and the last close
        after = cpu_seconds(server.pids())
        if done.returncode != 0:
            raise LoadFailed(f"{server.name}: {' '.join(map(str, done.args))}\n{done.stdout}{done.stderr}")
        load = json.loads(done.stdout)
        if options.get("resume") and load["sessions_resumed"] < 0.8 * load["sessions_ok"]:
            raise LoadFailed(f"{server.name}: resumed only {load['sessions_resumed']} of {load['sessions_ok']}")
        return {"cpu": after - before, "load": load}

    def idle_kib(self, server, way, sessions):
        """Memory a session that does nothing costs, in KiB, over many of them."""
        before = resident_kib(server.pids())
        with self.crowd(way, sessions):
            time.sleep(0.5)
            after = resident_kib(server.pids())
        return (after - before) / sessions

    @contextlib.contextmanager
    def hostile(self, way, wanted):
        """Meanwhile four senders want all of the server's time."""
        if not wanted:
            yield
            return
        program = pathlib.Path(__file__).with_name("hostile.py")
        with subprocess.Popen([program, "127.0.0.1", str(way.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as senders:
            if senders.stdout.readline() != "sending\n":
                raise LoadFailed("no hostile senders")
            try:
                yield
            finally:
                senders.stdin.close()
                senders.wait(30)

    @contextlib.contextmanager
    def crowd(self, way, sessions):
        """Meanwhile so many sessions are open and do nothing."""
        if sessions == 0:
            yield
            return
        # One first: that many logins at once, none of them cached yet, are more than wait for a backend.
        subprocess.run(self.command(way, sessions=1, messages=0), capture_output=True, timeout=60, check=True)
        command = self.command(way, sessions=sessions, messages=0, hold=True)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            line = load.stdout.readline()
            if line.split() != ["holding", str(sessions)]:
                load.stdin.close()
                raise LoadFailed(f"not all idle sessions opened: {line}{load.stdout.read()}")
            try:
                yield
            finally:
                load.stdin.close()
                load.wait(120)
