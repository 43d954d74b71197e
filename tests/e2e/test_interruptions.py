"""The gateway stopped, killed, reloaded and crowded: what becomes of sessions, messages and counters."""

import contextlib
import json
import pathlib
import shutil
import signal
import smtplib
import socket
import sqlite3
import ssl
import time

import pytest
from parts import kernel
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port, listens, wait_until
from parts.scripted import ScriptedUpstream

BOB = "bob@example.net"
TEXT = f"From: {ALICE}\r\nSubject: interrupted\r\n\r\nbody\r\n"


@pytest.fixture
def upstream(parts):
    return parts.use(ScriptedUpstream())


@pytest.fixture
def start(parts, directory, program, pair, upstream):
    def start(users=((ALICE, PASSWORD),), **changes):
        return parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, **changes), users=users))
    return start


def session(gateway, login=ALICE, password=PASSWORD):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30, context=ssl._create_unverified_context())
    client.ehlo("client.test")
    client.login(login, password)
    return client


def envelope(client):
    assert client.mail(ALICE)[0] == 250 and client.rcpt(BOB)[0] == 250


def send(client):
    """The reply that settled a message."""
    code, text = client.mail(ALICE)
    if code == 250:
        code, text = client.rcpt(BOB)
    if code == 250:
        code, text = client.data(TEXT)
    else:
        client.rset()
    return code, text.decode()


def raw(gateway, listener="mx"):
    connection = socket.create_connection((ADDRESS, gateway.port(listener)), timeout=20)
    return connection, connection.makefile("rb")


# --- SIGTERM


def test_drain_in_the_middle_of_a_body(start, upstream):
    """What has begun may end, by DATA and by BDAT; then 421. Idle sessions go at once, and the exit code is 0."""
    gateway = start(drain="10s")
    idle, by_data, by_bdat = session(gateway), session(gateway), session(gateway)
    for client in (by_data, by_bdat):
        envelope(client)
    assert by_data.docmd("DATA")[0] == 354
    by_data.send(TEXT)
    by_bdat.send(f"BDAT {len(TEXT)}\r\n{TEXT}")
    assert by_bdat.getreply()[0] == 250
    gateway.process.send(signal.SIGTERM)
    code, text = idle.getreply()
    assert code == 421 and text.startswith(b"4.3.2"), (code, text)
    assert not listens(gateway.port("submissions"))
    assert gateway.metric("portcullis_draining") == 1 and gateway.http("/readyz")[0] == 503
    by_data.send(".\r\n")
    assert by_data.getreply()[0] == 250 and by_data.getreply()[0] == 421
    by_bdat.send("BDAT 0 LAST\r\n")
    assert by_bdat.getreply()[0] == 250 and by_bdat.getreply()[0] == 421
    started = time.monotonic()
    gateway.stop()
    assert time.monotonic() - started < 5 and len(upstream.messages) == 2
    reasons = [record["reason"] for record in gateway.journal(type="session")]
    assert reasons.count("drain") == 3


def test_drain_takes_no_new_transaction(start, upstream):
    gateway = start(drain="5s")
    client = session(gateway)
    envelope(client)
    gateway.process.send(signal.SIGTERM)
    wait_until(lambda: not listens(gateway.port("mx")), "no new connections")
    # The open transaction is the last one.
    code, _ = client.data(TEXT)
    assert code == 250
    assert client.getreply()[0] == 421
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        assert client.mail(ALICE)[0] == 421
    assert len(upstream.messages) == 1


def test_drain_does_not_wait_for_a_handshake(start):
    gateway = start(drain="20s")
    connection, _ = raw(gateway, "submissions")
    connection.sendall(b"\x16\x03\x01")
    wait_until(lambda: gateway.metric("portcullis_connections_active", listener="submissions") == 1, "the handshake")
    started = time.monotonic()
    gateway.stop()
    assert time.monotonic() - started < 10
    connection.close()


def test_a_second_sigterm_ends_it_now(start, upstream):
    gateway = start(drain="60s")
    client = session(gateway)
    envelope(client)
    client.docmd("DATA")
    client.send(TEXT)
    gateway.process.send(signal.SIGTERM)
    wait_until(lambda: not listens(gateway.port("mx")), "draining")
    started = time.monotonic()
    gateway.stop()
    assert time.monotonic() - started < 10 and upstream.messages == []


def test_sighup_while_draining_changes_nothing(start, upstream):
    gateway = start(drain="10s")
    client = session(gateway)
    envelope(client)
    gateway.process.send(signal.SIGTERM)
    wait_until(lambda: not listens(gateway.port("mx")), "draining")
    gateway.process.send(signal.SIGHUP)
    for _ in range(2):  # the main loop, which also serves these, has seen the signal by then
        assert gateway.http("/healthz")[0] == 200
    assert not listens(gateway.port("mx"))
    assert client.data(TEXT)[0] == 250
    gateway.stop()


# --- kill -9


def test_killed_in_the_middle_of_a_message(parts, start, upstream, directory, program):
    """Nobody had a 250, so nothing may have arrived; after the restart the client's second try does, once."""
    gateway = start()
    client = session(gateway)
    envelope(client)
    client.docmd("DATA")
    client.send(TEXT)
    gateway.process.kill()
    gateway._stopped = True
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        client.send(".\r\n")
        client.getreply()
    wait_until(lambda: kernel.established(near=upstream.port) == 0, "the end of its connections")
    assert upstream.messages == []
    again = parts.use(Gateway(program, directory, gateway.tree, users=()))
    assert send(session(again))[0] == 250 and len(upstream.messages) == 1


def stored(gateway):
    """The counters of the state file: (limit, amounts). Of a copy: the gateway keeps its file locked."""
    path = pathlib.Path(gateway.tree["state"]["path"])
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{path}.copy{suffix}")
    with contextlib.closing(sqlite3.connect(f"{path}.copy")) as state:
        return [(name, amounts.strip("0 ")) for name, amounts in
                state.execute("SELECT limit_name, amounts FROM counters WHERE limit_name = 'three-a-day'")]


def test_quota_survives_a_kill(parts, start, upstream, directory, program):
    """What the state file holds counts after a restart; it is written at least every second."""
    gateway = start(rate=[{"name": "three-a-day", "key": "login", "limit": "3 messages/day"}])
    client = session(gateway)
    assert [send(client)[0] for _ in range(3)] == [250] * 3
    wait_until(lambda: stored(gateway) == [("three-a-day", "3")], "the count in the state file")
    gateway.process.kill()
    gateway._stopped = True
    again = parts.use(Gateway(program, directory, gateway.tree, users=()))
    code, text = send(session(again))
    assert code in (450, 452) and "three-a-day" in text, (code, text)
    assert len(upstream.messages) == 3


# --- SIGHUP


def test_reload_adds_and_removes_listeners(start, upstream):
    gateway = start()
    old, old_lines = raw(gateway, "mx")
    assert old_lines.readline().startswith(b"220")
    extra = {"name": "extra", "address": f"{ADDRESS}:{free_port()}", "tls": "starttls", "auth": "optional",
             "banner": "extra door"}
    gone = gateway.tree["listener"].pop(0)
    gateway.tree["listener"].append(extra)
    gateway.reload()
    wait_until(lambda: listens(gateway.port("extra")), "the new listener")
    with smtplib.SMTP(ADDRESS, gateway.port("extra"), timeout=10) as client:
        assert client.ehlo("x.test")[0] == 250
        assert client.mail("stranger@example.org")[0] == 250 and client.rcpt("bob@example.com")[0] == 250
    assert gateway.metric("portcullis_connections_total", listener="extra") >= 1
    wait_until(lambda: not listens(int(gone["address"].rpartition(":")[2])), "the removed listener")
    # … and who was in keeps talking.
    old.sendall(b"EHLO x.test\r\n")
    assert old_lines.readline().startswith(b"250")
    old.close()
    assert send(session(gateway))[0] == 250


def test_reload_that_can_not_listen(start):
    """A port that is taken: the whole new configuration is refused, the old one goes on."""
    gateway = start()
    with socket.create_server((ADDRESS, free_port())) as taken:
        gateway.tree["listener"].append({"name": "taken", "address": f"{ADDRESS}:{taken.getsockname()[1]}", "auth": "off"})
        gateway.tree["local_domains"] = ["example.org"]
        gateway.reload(result="failure")
    assert gateway.metric("portcullis_config_last_reload_successful") == 0
    assert gateway.process.running() and send(session(gateway))[0] == 250
    gateway.tree["listener"].pop()
    gateway.reload()
    assert gateway.metric("portcullis_config_last_reload_successful") == 1


def test_reload_with_transactions_open_on_every_side(start, upstream):
    """Ten sessions in all states go through three reloads and lose nothing."""
    gateway = start()
    clients = [session(gateway) for _ in range(10)]
    for client in clients[:5]:
        envelope(client)
    for client in clients[:2]:
        assert client.docmd("DATA")[0] == 354
        client.send(TEXT)
    for _ in range(3):
        gateway.reload()
    for client in clients[:2]:
        client.send(".\r\n")
        assert client.getreply()[0] == 250
    for client in clients[2:5]:
        assert client.data(TEXT)[0] == 250
    for client in clients[5:]:
        assert send(client)[0] == 250
    for client in clients:
        assert client.quit()[0] == 221
    assert len(upstream.messages) == 10
    assert gateway.metric("portcullis_connections_active") == 0


def test_journal_under_logrotate(start):
    gateway = start()
    path = gateway.tree["journal"]["path"]
    assert send(session(gateway))[0] == 250
    gateway.wait_for_journal(type="transaction")
    rotated = path.with_suffix(".1")
    path.rename(rotated)
    before = rotated.read_text()
    gateway.reload()
    assert send(session(gateway))[0] == 250
    gateway.wait_for_journal(1, type="transaction")
    assert rotated.read_text().count('"transaction"') == before.count('"transaction"')


# --- shadow mode and limits


SHADOWED = {
    "rate": {"rate": [{"name": "shy", "key": "login", "limit": "1 messages/day", "mode": "shadow"}]},
    "usage": {"usage": [{"name": "shy", "messages_per_session": 1, "mode": "shadow"}]},
    "domain": {"domain_rule": [{"name": "shy", "domains": ["example.org"], "mode": "shadow"}]},
}


@pytest.mark.parametrize("rule", SHADOWED)
def test_a_rule_in_shadow_decides_and_lets_pass(start, rule):
    gateway = start(**SHADOWED[rule])
    client = session(gateway)
    assert [send(client)[0] for _ in range(3)] == [250] * 3
    assert gateway.metric("portcullis_policy_decisions_total", rule="shy", mode="shadow") >= 2
    assert gateway.wait_for_journal(3, type="transaction", result="accepted")
    # The same rule enforced refuses, with its name and the transaction's id.
    for table in SHADOWED[rule]:
        gateway.tree[table] = [{**gateway.tree[table][0], "mode": "enforce"}]
    gateway.reload()
    client = session(gateway)
    code, text = [send(client) for _ in range(3)][-1]
    assert code >= 400 and "shy" in text, (code, text)
    (record,) = [r for r in gateway.wait_for_journal(6, type="transaction") if r["id"] in text]
    assert record["result"] != "accepted" and '"shy"' in json.dumps(record), record


def test_listener_limit(start):
    gateway = start(limits={"connections_max": 3})
    held = [raw(gateway) for _ in range(3)]
    for _, lines in held:
        assert lines.readline().startswith(b"220")
    connection, lines = raw(gateway)
    assert lines.readline().startswith(b"421 4.3.2 ") and lines.readline() == b""
    connection.close()
    assert gateway.metric("portcullis_connections_rejected_total", listener="mx", reason="listener_limit") == 1
    # Other listeners have their own, and a place that is free again is taken again.
    assert send(session(gateway))[0] == 250
    held[0][0].close()
    held[0][1].close()

    def free():
        with contextlib.closing(raw(gateway)[0]) as one:
            return one.recv(3) == b"220"
    wait_until(free, "a free place", 10, 0.2)


def test_listener_limit_is_one_for_all_workers(start):
    gateway = start(limits={"connections_max": 3}, workers=4)
    held = [raw(gateway) for _ in range(24)]
    said = [lines.readline()[:3] for _, lines in held]
    assert said.count(b"220") == 3 and said.count(b"421") == 21, said


def test_listener_limit_counts_over_a_reload(start):
    """Sessions from before a reload still take their places."""
    gateway = start(limits={"connections_max": 3})
    held = [raw(gateway) for _ in range(3)]
    for _, lines in held:
        assert lines.readline().startswith(b"220")
    gateway.reload()
    _, lines = raw(gateway)
    assert lines.readline().startswith(b"421 4.3.2 ")


def test_new_connections_a_minute(start):
    gateway = start(limits={"connections": {"new_per_minute_per_network": 5}})
    said = []
    for _ in range(8):
        connection, lines = raw(gateway)
        said.append(lines.readline()[:3])
        connection.close()
    assert said == [b"220"] * 5 + [b"421"] * 3
    assert gateway.metric("portcullis_connections_rejected_total", listener="mx", reason="too_fast") == 3


def test_errors_and_idle_commands_end_a_session(start):
    gateway = start(limits={"errors": 5, "commands_without_mail": 10})
    for command, least in ((b"NONSENSE\r\n", 5), (b"NOOP\r\n", 10)):
        connection, lines = raw(gateway)
        lines.readline()
        answers = []
        for _ in range(30):
            with contextlib.suppress(OSError):
                connection.sendall(command)
            line = lines.readline()
            if not line:
                break
            answers.append(line[:3])
        assert answers[-1] == b"421" and least <= len(answers) <= least + 2, answers
        connection.close()


def test_slow_content_is_ended(start, upstream):
    """A client that sends content too slowly is not waited for for ever; nothing of it is completed."""
    gateway = start(limits={"data_timeout": "2s"})
    client = session(gateway)
    envelope(client)
    client.docmd("DATA")
    client.send("From: alice@example.com\r\n")
    code, text = client.getreply()
    assert code == 421 and upstream.messages == [], (code, text)
