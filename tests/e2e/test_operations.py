"""What operators do and see: check, reload, stop, metrics, journal, HTTP."""

import json
import os
import pathlib
import signal
import smtplib
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest
from parts import toml
from parts.clients import swaks
from parts.gateway import ALICE, PASSWORD, Gateway, check, settings
from parts.loopback import ADDRESS, wait_until
from parts.process import run
from parts.prometheus import Prometheus, promtool_check
from parts.rsyslog import Rsyslog
from parts.scripted import SILENCE, ScriptedUpstream
from parts.sink import Sink

BOB = "bob@example.net"
TEXT = f"From: {ALICE}\r\nSubject: x\r\nMessage-ID: <ops@client.test>\r\n\r\nbody\r\n"


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


@pytest.fixture
def gateway(parts, directory, program, pair, sink):
    return parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))


def session(gateway, context=None):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30,
                              context=context or ssl._create_unverified_context())
    client.ehlo("client.test")
    client.login(ALICE, PASSWORD)
    return client


def served_certificate(gateway):
    with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as plain, \
            ssl._create_unverified_context().wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True)


# --- reload


def test_reload_takes_a_new_certificate_and_keeps_sessions(gateway, authority):
    before = served_certificate(gateway)
    client = session(gateway)
    client.mail(ALICE)
    new = authority.server("mx.example.com", "localhost")
    gateway.tree["tls"] = {"certificate": new.certificate, "private_key": new.private_key}
    gateway.reload()
    assert served_certificate(gateway) != before
    # The session, and the transaction in it, went through the reload.
    assert client.rcpt(BOB)[0] == 250 and client.data(TEXT)[0] == 250 and client.quit()[0] == 221
    assert gateway.metric("portcullis_config_last_reload_successful") == 1


def test_reload_of_a_broken_file_keeps_the_old_one(gateway):
    before = gateway.metric("portcullis_config_last_reload_success_timestamp_seconds")
    gateway.tree["listener"][0]["tls"] = "sometimes"
    gateway.reload(result="failure")
    assert gateway.metric("portcullis_config_last_reload_successful") == 0
    assert gateway.metric("portcullis_config_last_reload_success_timestamp_seconds") == before
    assert swaks(gateway.port("mx"), "stranger@example.org", "bob@example.com").ok
    (event,) = gateway.wait_for_journal(type="event", event="reload_failed")
    assert event["level"] == "error" and f"{gateway.config}:" in gateway.process.errors()
    gateway.tree["listener"][0]["tls"] = "starttls"
    gateway.reload()
    assert gateway.metric("portcullis_config_last_reload_successful") == 1


def test_a_failed_reload_leaves_the_metrics_alone(gateway, authority):
    def told():
        return sorted((name, *labels.values(), value) for name, labels, value in gateway.samples() if name in
                      ("portcullis_tls_certificate_not_after_timestamp_seconds", "portcullis_upstream_up"))

    before = told()
    new = authority.server("mx.example.com", "localhost")
    gateway.tree["tls"] = {"certificate": new.certificate, "private_key": new.private_key}
    with socket.create_server((ADDRESS, 0)) as busy:
        gateway.tree["listener"].append({"name": "busy", "address": f"{ADDRESS}:{busy.getsockname()[1]}"})
        gateway.reload(result="failure")
    assert told() == before


def test_reload_while_it_starts(parts, directory, program, pair):
    greets = threading.Event()
    upstream = parts.use(ScriptedUpstream({"GREETING": lambda _: greets.wait(20) and b"220 scripted ESMTP\r\n"}))
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port), ready=False))

    def answers():
        try:
            return gateway.http("/readyz") == (503, "starting\nno server of upstream legacy is up\n")
        except OSError:
            return False

    wait_until(answers, "the admin server")
    gateway.tree["local_domains"] = ["example.net"]
    gateway.write_config()
    gateway.send(signal.SIGHUP)
    for _ in range(2):  # the main loop, which also serves these, has seen the signal by then
        assert gateway.http("/readyz")[0] == 503
    greets.set()
    wait_until(lambda: gateway.metric("portcullis_config_reloads_total", result="success") == 1, "the reload")
    assert swaks(gateway.port("mx"), "stranger@example.org", BOB).ok


def test_reload_changes_rules_for_new_sessions(gateway):
    assert swaks(gateway.port("mx"), "stranger@example.org", "bob@example.com").ok
    gateway.tree["local_domains"] = ["example.net"]
    gateway.reload()
    assert not swaks(gateway.port("mx"), "stranger@example.org", "bob@example.com").ok
    assert swaks(gateway.port("mx"), "stranger@example.org", BOB).ok


def test_reload_changes_session_tickets(gateway):
    def gives_tickets():
        context = ssl._create_unverified_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as plain, \
                context.wrap_socket(plain) as secure:
            return secure.session.has_ticket

    gateway.tree["tls"]["ticket_key_lifetime"] = "0s"
    gateway.reload()
    assert not gives_tickets()
    gateway.tree["tls"]["ticket_key_lifetime"] = "12h"
    gateway.reload()
    assert gives_tickets()
    assert not gateway.journal(event="restart_needed")


def test_reload_says_what_needs_a_restart(gateway, directory):
    gateway.tree["workers"] = 3
    gateway.tree["state"] = {"path": directory / "other.sqlite"}
    gateway.tree["journal"]["level"] = "error"
    gateway.reload()
    (event,) = gateway.wait_for_journal(event="restart_needed")
    assert event["fields"]["keys"] == "workers, [journal], [state]"
    del gateway.tree["workers"], gateway.tree["state"]
    gateway.tree["state"] = {"path": directory / "state.sqlite"}
    gateway.tree["journal"]["level"] = "debug"
    gateway.reload()
    gateway.wait_for_journal(2, event="reloaded")
    assert len(gateway.journal(event="restart_needed")) == 1


def test_reload_though_nobody_reads_standard_error(gateway, parts, directory, program, pair, sink):
    """What is wrong with the file is told there, and must not stop the main loop."""
    read, write = os.pipe()
    here = directory / "stalled"
    here.mkdir()
    tree = settings(here, pair, sink.port)
    config = here / "portcullis.toml"
    tree["auth"]["file"]["path"] = gateway.tree["auth"]["file"]["path"]
    config.write_text(toml.dump(tree) + "\n")
    process = subprocess.Popen([program, "serve", "--config", config], stderr=write)
    try:
        def healthy():
            try:
                with urllib.request.urlopen(f"http://{tree['metrics']['address']}/readyz", timeout=2) as answer:
                    return answer.status == 200
            except OSError:
                return False

        def refused():
            with urllib.request.urlopen(f"http://{tree['metrics']['address']}/metrics", timeout=2) as answer:
                return b'portcullis_config_reloads_total{result="failure"} 1' in answer.read()

        wait_until(healthy, "the start")
        full = os.open(f"/proc/self/fd/{write}", os.O_WRONLY | os.O_NONBLOCK)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(full, b"x")
        config.write_text("nothing = 1\n")
        process.send_signal(1)
        wait_until(refused, "the reload to fail", 10)
        assert healthy()
    finally:
        process.send_signal(15)
        try:
            process.wait(20)
        finally:
            process.kill()
            os.close(read)
            os.close(write)


# --- hostile requests


def test_many_requests_at_once_do_not_hold_up_the_main_loop(gateway):
    host, port = gateway.metrics_url.removeprefix("http://").split(":")
    burst = b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 400
    clients = [socket.create_connection((host, int(port)), timeout=30) for _ in range(20)]
    for client in clients:
        client.sendall(burst)
    gateway.tree["local_domains"] = ["example.net"]
    started = time.monotonic()
    gateway.write_config()
    gateway.process.send(1)
    gateway.wait_for_journal(event="reloaded", seconds=30)
    took = time.monotonic() - started
    for client in clients:
        client.close()
    assert took < 5


# --- the end


def test_stop_lets_a_transaction_finish(parts, directory, program, pair):
    whole, answers = threading.Event(), threading.Event()

    def late(_):
        whole.set()
        answers.wait(20)
        return b"250 2.0.0 Ok: queued as LATE\r\n"
    upstream = parts.use(ScriptedUpstream({"DOT": late}))
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port)))
    idle, busy = session(gateway), session(gateway)
    busy.mail(ALICE)
    busy.rcpt(BOB)
    busy.docmd("DATA")
    busy.send(TEXT + ".\r\n")
    assert whole.wait(20)
    gateway.process.send(15)
    # The idle session ends at once, the busy one after its message.
    assert idle.getreply()[0] == 421
    answers.set()
    code, text = busy.getreply()
    assert code == 250 and b"LATE" in text
    assert busy.getreply()[0] == 421
    with pytest.raises(OSError):
        socket.create_connection((ADDRESS, gateway.port("mx")), timeout=2)
    gateway.stop()
    assert len(upstream.messages) == 1


def test_stop_does_not_wait_for_ever(parts, directory, program, pair):
    upstream = parts.use(ScriptedUpstream())
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, drain="1s")))
    client = session(gateway)
    client.mail(ALICE)
    client.rcpt(BOB)
    client.docmd("DATA")
    client.send("From: alice@example.com\r\n")  # … and no more
    between = session(gateway)
    between.mail(ALICE)
    between.rcpt(BOB)  # … and no more
    started = time.monotonic()
    gateway.stop()
    assert 0.5 < time.monotonic() - started < 10
    assert upstream.messages == []
    for each in (client, between):
        code, text = each.getreply()
        assert code == 421 and b"4.3.2" in text, (code, text)
    assert [end["reason"] for end in gateway.journal(type="session")] == ["drain"] * 2


@pytest.mark.parametrize("twice", [False, True], ids=["drain", "asked twice"])
def test_stop_while_a_message_is_not_answered(parts, directory, program, pair, twice):
    """Nobody knows what became of it: the client hears so, and there is a record."""
    upstream = parts.use(ScriptedUpstream({"DOT": SILENCE}))
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, drain="30s" if twice else "1s")))
    client = session(gateway)
    client.mail(ALICE)
    client.rcpt(BOB)
    client.docmd("DATA")
    client.send(TEXT + ".\r\n")
    wait_until(lambda: upstream.messages, "the message")
    if twice:
        gateway.process.send(15)
        gateway.wait_for_journal(event="draining")
    gateway.stop()
    code, text = client.getreply()
    assert code == 421 and b"4.3.2" in text, (code, text)
    (record,) = gateway.journal(type="transaction")
    assert record["result"] == "aborted" and record["recipients_accepted"] == 1
    assert [end["reason"] for end in gateway.journal(type="session")] == ["drain"]


# --- configuration


def test_a_wrong_configuration_starts_nothing(directory, program, pair):
    tree = settings(directory, pair, 25)
    tree["listener"][0]["tsl"] = "starttls"
    tree["upstream"][0]["servers"] = []
    tree["rate"] = [{"name": "r", "limit": "many"}]
    file = directory / "wrong.toml"
    file.write_text(toml.dump(tree))
    for command in ("check", "serve"):
        done = run(program, command, "--config", file, check=False)
        assert done.returncode == 78, done.stdout
        # All at once, each with its place.
        for key in ("tsl", "servers", "limit"):
            assert any(line.startswith(f"{file}:") and key in line for line in done.stdout.splitlines()), (key, done.stdout)


def test_open_relay_is_refused(directory, program, pair):
    tree = settings(directory, pair, 25, network=[{"name": "all", "addresses": ["0.0.0.0/0"], "may_relay": True}])
    (directory / "users").write_text("")
    file = directory / "relay.toml"
    file.write_text(toml.dump(tree))
    done = check(program, file)
    assert done.returncode == 78 and "relay" in done.stdout, done.stdout


def test_check_probes(gateway, program, sink):
    done = check(program, gateway.config)
    assert done.returncode == 0, done.stdout
    done = check(program, gateway.config, "--probe")
    assert done.returncode == 0 and "legacy" in done.stdout, done.stdout
    sink.stop()
    done = check(program, gateway.config, "--probe")
    assert done.returncode != 0 and "legacy" in done.stdout, done.stdout


# --- metrics


def test_prometheus_scrapes_and_promtool_is_content(parts, gateway, directory):
    prometheus = parts.use(Prometheus(directory / "prometheus", gateway.metrics_url.removeprefix("http://")))
    with session(gateway) as client:
        for _ in range(3):
            client.sendmail(ALICE, [BOB], TEXT)
    prometheus.wait_for('portcullis_messages_total{listener="submissions",result="accepted"}', lambda n: n == 3)
    prometheus.wait_for('portcullis_tls_handshakes_total{side="client",result="success",version="TLSv1.3"}', lambda n: n >= 1)
    prometheus.wait_for('histogram_quantile(0.99, portcullis_message_size_bytes_bucket)')
    assert [v for m, v in prometheus.query("up") if m["job"] == "gateway"] == [1]
    status, text = gateway.http("/metrics")
    assert status == 200 and promtool_check(text) == "", promtool_check(text)
    # No label is made of what a client said.
    assert ALICE not in text and "example.net" not in text and "client.test" not in text


def test_alerts_are_rules():
    done = run("promtool", "check", "rules", pathlib.Path(__file__).resolve().parents[2] / "etc/prometheus/alerts.yml")
    assert "SUCCESS" in done.stdout


def test_counters_are_there_from_the_start(gateway):
    for result in ("accepted", "rejected", "deferred", "aborted"):
        assert gateway.metric("portcullis_messages_total", listener="mx", result=result) == 0
    assert gateway.metric("portcullis_auth_attempts_total", listener="submission", result="bad_credentials") == 0


@pytest.mark.parametrize("request_text", [
    b"BLAH\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"GET " + b"/" * 20000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5000 + b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"],
    ids=["no request", "version", "long target", "many fields", "tls", "post", "two lengths"])
def test_hostile_http(gateway, request_text):
    host, _, port = gateway.metrics_url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=15) as client:
        client.sendall(request_text)
        answer = b""
        try:
            while chunk := client.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
    assert answer == b"" or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 505 ")), answer[:200]
    assert gateway.http("/healthz")[0] == 200


# --- journal


def test_journal_says_who_what_and_what_became_of_it(gateway, sink):
    with session(gateway) as client:
        client.sendmail(ALICE, [BOB, "carol@example.net"], TEXT)
    (t,) = gateway.wait_for_journal(type="transaction")
    assert t["result"] == "accepted" and t["code"] == 250
    assert t["login"] == ALICE and t["mechanism"] == "PLAIN" and t["backend"] == "file"
    assert t["helo"] == "client.test" and t["listener"] == "submissions" and t["tls_version"] == "TLSv1.3"
    assert t["client"].startswith("127.") and t["client_port"] > 0
    assert t["reverse_path"] == ALICE and [r["recipient"] for r in t["recipients"]] == [BOB, "carol@example.net"]
    assert t["header_from"] == ALICE and t["message_id"] == "<ops@client.test>" and t["octets"] == len(TEXT)
    assert t["upstream"].startswith("legacy/") and t["upstream_code"] == 250 and t["duration_seconds"] >= 0
    assert "subject" not in t
    (s,) = gateway.wait_for_journal(type="session", reason="quit", login=ALICE)
    assert t["id"] == s["id"] + ".1" and s["transactions"] == 1 and s["messages_accepted"] == 1
    text = gateway.tree["journal"]["path"].read_text()
    assert PASSWORD not in text and "body" not in text


def test_journal_lines_can_not_be_forged(gateway):
    evil = 'x","result":"accepted","y":"\u202e\x1b[31m'
    with socket.create_connection((ADDRESS, gateway.port("mx")), timeout=10) as client:
        client.recv(1000)
        client.sendall(b"HELO " + evil.encode() + b"\r\n")
        client.recv(1000)
        client.sendall(b"HELO a.example\r\nMAIL FROM:<\"a\\\"b\"@example.org>\r\nRCPT TO:<x@elsewhere.example>\r\nQUIT\r\n")
        while client.recv(1000):
            pass
    gateway.wait_for_journal(type="session")
    raw = gateway.tree["journal"]["path"].read_bytes()
    for line in raw.splitlines():
        json.loads(line)
        assert b"\x1b" not in line and "\u202e".encode() not in line
    assert gateway.journal(result="accepted") == []


def test_journal_on_standard_error_and_reopened(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port)
    gateway = parts.use(Gateway(program, directory, tree))
    path = tree["journal"]["path"]
    path.rename(directory / "journal.1")
    gateway.reload()
    with session(gateway) as client:
        client.sendmail(ALICE, [BOB], TEXT)
    gateway.wait_for_journal(type="transaction")
    assert path.exists()
    other = directory / "stderr"
    other.mkdir()
    tree = settings(other, pair, sink.port)
    tree["journal"] = {"sink": "stderr"}
    gateway = parts.use(Gateway(program, other, tree))
    with session(gateway) as client:
        client.sendmail(ALICE, [BOB], TEXT)
    gateway.wait_for_journal(type="transaction", result="accepted")


def test_journal_to_a_syslog_daemon(parts, directory, program, pair, sink):
    """rsyslogd reads what a transaction leaves, the longest kind too, and nothing is lost after it was restarted."""
    daemon = parts.use(Rsyslog(directory / "syslog"))
    tree = settings(directory, pair, sink.port, journal={"sink": "syslog", "path": daemon.socket, "subject": True})
    gateway = parts.use(Gateway(program, directory, tree))

    def told(sessions):
        """The transactions, when as many sessions have their record."""
        def transactions():
            records = daemon.records()
            ended = sum('"type":"session"' in record[2] for record in records)
            return [record for record in records if '"type":"transaction"' in record[2]] if ended >= sessions else None
        return wait_until(transactions, f"{sessions} sessions in syslog")

    with session(gateway) as client:
        assert client.sendmail(ALICE, [f"{i:0>60}@example.net" for i in range(120)],
                               TEXT.replace("Subject: x", "Subject: " + "\u00fc\u202e" * 400).encode(),
                               mail_options=["SMTPUTF8"]) == {}
    kind, tag, message = told(1)[0]
    assert kind == "mail.info" and tag.startswith("portcullis[") and tag.endswith("]:")
    record = json.loads(message)
    assert (record["result"], record["login"], len(record["recipients"])) == ("accepted", ALICE, 100)
    assert len(message) > 8192  # rsyslog's own bound, unless told otherwise

    daemon.stop()
    daemon.start()
    with session(gateway) as client:
        assert client.sendmail(ALICE, [BOB], TEXT) == {}
    assert json.loads(told(2)[1][2])["result"] == "accepted"
    assert gateway.metric("portcullis_log_records_dropped_total") == 0
