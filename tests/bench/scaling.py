"""How much more two workers carry than one, where the processors are too few to see it directly.

The load generator and the sink need a processor of their own, so on a small machine two workers would be held
back by them and not by each other. Here each worker thread may use the same small share of a processor (a quota of
the cpu controller of control groups): two of them have twice the time of one, and what they lose to each other, in
locks and in memory they share, is what is missing to twice the messages."""

import contextlib
import pathlib
import statistics

CONTROLLER = pathlib.Path("/sys/fs/cgroup/cpu")  # version 1: it takes threads one by one
PERIOD_US, QUOTA_US = 10_000, 2_000
WORKS = [
    ("20 messages a session, plain", "plain", {"sessions": 512, "messages": 20, "parallel": 512}),
    ("20 messages a session, TLS", "tls", {"sessions": 256, "messages": 20, "parallel": 256}),
    ("new session per message, plain", "plain", {"sessions": 3000, "messages": 1, "parallel": 256}),
]


@contextlib.contextmanager
def slow_workers(server):
    """Each worker thread of the server in a group of its own, with its share."""
    if not (CONTROLLER / "cpu.cfs_quota_us").exists():
        raise SystemExit(f"--scaling needs the cpu controller of version 1 control groups at {CONTROLLER}")
    groups = []
    try:
        for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            if not name.startswith("worker-"):
                continue
            group = CONTROLLER / f"portcullis-bench-{server.name}-{name}"
            group.mkdir()
            groups.append(group)
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
            (group / "tasks").write_text(task.name)
        yield
    finally:
        server.stop()
        for group in groups:
            group.rmdir()


def messages_a_second(load, server, way, options):
    found = load.run(server, server.way(way), **options)["load"]
    return found["messages_acknowledged"] / found["seconds"]


def measure(load, one, two, rounds):
    """Prints what two workers carry by what one does, round by round and in the median."""
    with slow_workers(one), slow_workers(two):
        for title, way, options in WORKS:
            ratios = [messages_a_second(load, two, way, options) / messages_a_second(load, one, way, options)
                      for _ in range(rounds)]
            print(f"{title}: two workers carry {statistics.median(ratios):.2f} times what one does "
                  f"(goal 1.70; rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)})", flush=True)
