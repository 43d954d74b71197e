"""The kinds of work, and what is told of each."""

import dataclasses
import typing

KIB, MIB = 1024, 1024 * 1024


@dataclasses.dataclass
class Work:
    key: str
    title: str
    unit: str
    way: str                 # "plain" or "tls"
    goal: float              # ratio to the best peer
    options: dict = dataclasses.field(default_factory=dict)
    value: typing.Callable = None
    idle: bool = False
    crowd: int = 0           # TLS sessions that do nothing meanwhile
    hostile: bool = False    # beside four senders that want all of the server's time (hostile.py)
    scaled: str = "sessions"  # which option --scale shortens


def cpu_ms_per_message(result):
    return 1000 * result["cpu"] / result["load"]["messages_acknowledged"]


def cpu_s_per_gb(result):
    return result["cpu"] / (result["load"]["octets_sent"] / 1e9)


def cpu_ms_per_session(result):
    return 1000 * result["cpu"] / result["load"]["sessions_ok"]


def session_p50(result):
    return result["load"]["session_ms"]["p50"]


def session_p99(result):
    return result["load"]["session_ms"]["p99"]


def work(key, title, unit, way, goal, value=None, idle=False, crowd=0, hostile=False, **options):
    return Work(key, title, unit, way, goal, options, value, idle, crowd, hostile)


WORKS = [
    # First: memory that other work has freed would be used again, and not seen.
    work("idle-plain", "idle session, plain", "KiB", "plain", 0.5, idle=True, sessions=4000),
    work("idle-tls", "idle session, TLS", "KiB", "tls", 0.6, idle=True, sessions=2000),
    work("new-plain", "new session per 4 KiB message, plain", "CPU ms a message", "plain", 0.70,
         cpu_ms_per_message, sessions=6000, parallel=64, size=4 * KIB),
    work("new-tls", "new session per message, full TLS 1.3 handshake + AUTH", "CPU ms a message", "tls", 0.85,
         cpu_ms_per_message, sessions=1500, parallel=64, size=4 * KIB),
    work("resumed-tls", "new session per message, resumed TLS 1.3 + AUTH", "CPU ms a message", "tls", 0.85,
         cpu_ms_per_message, sessions=2000, parallel=16, size=4 * KIB, resume=True),
    work("handshake", "session of a full TLS 1.3 handshake and EHLO", "CPU ms a session", "tls-open", 1.0,
         cpu_ms_per_session, sessions=2000, parallel=16, messages=0),
    work("handshake-resumed", "the same, resumed", "CPU ms a session", "tls-open", 1.0,
         cpu_ms_per_session, sessions=2000, parallel=16, messages=0, resume=True),
    work("lockstep-32", "100 messages a session, plain, 32 sessions", "CPU ms a message", "plain", 0.85,
         cpu_ms_per_message, sessions=128, messages=100, parallel=32, size=4 * KIB),
    work("lockstep", "the same, 64 sessions", "CPU ms a message", "plain", 0.85,
         cpu_ms_per_message, sessions=128, messages=100, parallel=64, size=4 * KIB),
    work("lockstep-bdat", "100 messages a session, plain, `chunking = true`", "CPU ms a message", "plain-bdat", 0.85,
         cpu_ms_per_message, sessions=128, messages=100, parallel=64, size=4 * KIB),
    work("crowd", "100 messages a session, plain, beside 6,000 idle TLS sessions", "CPU ms a message", "plain", 0.85,
         cpu_ms_per_message, crowd=6000, sessions=128, messages=100, parallel=64, size=4 * KIB),
    work("pipelined-32", "100 messages a session, client pipelines, 32 sessions", "CPU ms a message", "plain", 0.85,
         cpu_ms_per_message, sessions=192, messages=100, parallel=32, size=4 * KIB, pipeline=True),
    work("pipelined", "the same, 64 sessions", "CPU ms a message", "plain", 0.85,
         cpu_ms_per_message, sessions=192, messages=100, parallel=64, size=4 * KIB, pipeline=True),
    work("tls-32", "100 messages a session, TLS, 32 sessions", "CPU ms a message", "tls", 0.85,
         cpu_ms_per_message, sessions=96, messages=100, parallel=32, size=4 * KIB),
    work("tls", "the same, 64 sessions", "CPU ms a message", "tls", 0.85,
         cpu_ms_per_message, sessions=96, messages=100, parallel=64, size=4 * KIB),
    work("large-plain", "10 MiB messages, plain", "CPU s a GB", "plain", 1.2,
         cpu_s_per_gb, sessions=4, messages=24, parallel=4, size=10 * MIB),
    work("large-tls", "10 MiB messages, TLS", "CPU s a GB", "tls", 1.0,
         cpu_s_per_gb, sessions=4, messages=16, parallel=4, size=10 * MIB),
    work("latency-plain", "latency added to a session, 50 a second, plain", "ms, p50", "plain", 1.0,
         session_p50, sessions=150, parallel=4, rate=50, size=4 * KIB),
    work("latency-plain-p99", "the same, p99", "ms, p99", "plain", 1.0,
         session_p99, sessions=600, parallel=4, rate=50, size=4 * KIB),
    work("latency-tls", "latency added to a session, 50 a second, TLS", "ms, p50", "tls", 1.0,
         session_p50, sessions=150, parallel=4, rate=50, size=4 * KIB),
    work("latency-tls-p99", "the same, p99", "ms, p99", "tls", 1.0,
         session_p99, sessions=600, parallel=4, rate=50, size=4 * KIB),
    work("hostile", "session beside four hostile senders, 50 a second", "ms, p50", "plain", 1.0,
         session_p50, hostile=True, sessions=300, parallel=16, rate=50, size=4 * KIB),
    work("hostile-p99", "the same, p99", "ms, p99", "plain", 1.0,
         session_p99, hostile=True, sessions=600, parallel=16, rate=50, size=4 * KIB),
]
