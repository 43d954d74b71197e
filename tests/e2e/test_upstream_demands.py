"""What the configuration requires of the server behind and the server does not offer: the probe, readiness, `check
--probe`, the journal and the reply agree. And its SIZE, which is kept for what really comes."""

import smtplib

import pytest
from faulty_upstream import CLOSE, FaultyUpstream, say
from parts.gateway import ALICE, Gateway, check, settings
from parts.loopback import ADDRESS, listens, wait_until
from parts.scripted import ScriptedUpstream

STRANGER, BOB = "stranger@example.org", "bob@example.com"


@pytest.fixture
def start(parts, directory, program, pair):
    def start(upstream, ready=True, limits=None, **changes):
        tree = settings(directory, pair, upstream.port)
        tree["upstream"][0] |= changes
        if limits:
            tree["limits"] = limits
        gateway = parts.use(Gateway(program, directory, tree, ready=ready))
        if not ready:
            gateway.process.ready(lambda: listens(gateway.port("mx")))
        return gateway
    return start


def send(gateway, body="body\r\n", options=()):
    """(code, text) of the reply that settled the message."""
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=60) as client:
        client.ehlo("client.test")
        for step in (lambda: client.mail(STRANGER, options), lambda: client.rcpt(BOB),
                     lambda: client.data(f"From: {STRANGER}\r\nSubject: x\r\n\r\n{body}")):
            try:
                code, text = step()
            except smtplib.SMTPDataError as error:
                code, text = error.smtp_code, error.smtp_error
            if code != 250:
                break
        return code, text.decode()


@pytest.mark.parametrize("changes, lack", [
    ({"client_identity": "xclient"}, "does not offer XCLIENT"),
    ({"tls": "required"}, "does not offer STARTTLS"),
    ({"tls": "required", "login": "gateway", "password": "secret"}, "does not offer STARTTLS")])
def test_mail_cannot_go_without(parts, start, program, changes, lack):
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream, ready=False, **changes)
    code, text = send(gateway)
    assert code == 451 and text.startswith("4.3.5"), (code, text)
    status, reason = gateway.http("/readyz")
    assert status == 503 and lack in reason, reason
    assert gateway.metric("portcullis_upstream_up") == 0
    (event,) = gateway.journal(type="event", event="upstream_down")
    assert lack in event["fields"]["detail"]
    checked = check(program, gateway.config, "--probe")
    assert checked.returncode == 69 and lack in checked.stdout, checked.stdout
    # The server is set up for it: all of them see that.
    if "login" in changes or "tls" in changes:
        return
    upstream.answers["EHLO"] = b"250-scripted\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"
    upstream.answers["XCLIENT"] = b"220 scripted ESMTP\r\n"
    wait_until(gateway.is_ready, "readiness")
    assert send(gateway)[0] == 250
    assert check(program, gateway.config, "--probe").returncode == 0


@pytest.mark.parametrize("changes, lack", [
    ({"client_identity": "xforward"}, "does not offer XFORWARD"),
    ({"chunking": True}, "does not offer CHUNKING"),
    ({"trusted_for_auth": True}, "does not offer AUTH")])
def test_mail_can_go_without(parts, start, program, changes, lack):
    gateway = start(parts.use(ScriptedUpstream()), **changes)
    assert send(gateway)[0] == 250
    (event,) = gateway.journal(type="event", event="upstream_up")
    assert lack in event["fields"]["detail"]
    checked = check(program, gateway.config, "--probe")
    assert checked.returncode == 0 and "warning" in checked.stdout and lack in checked.stdout, checked.stdout


@pytest.mark.parametrize("size", [1000, 2048, 5000])
def test_its_size_is_kept(parts, start, size):
    ehlo = f"250-scripted\r\n250-PIPELINING\r\n250 SIZE {size}\r\n".encode()
    upstream = parts.use(ScriptedUpstream({"EHLO": ehlo}))
    gateway = start(upstream)
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=30) as client:
        client.ehlo("client.test")
        assert 0 < int(client.esmtp_features["size"]) < size
    code, text = send(gateway, options=[f"SIZE={size}"])
    assert code == 552 and text.startswith("5.3.4"), (code, text)
    code, text = send(gateway, "x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * (size // 72))
    assert code == 552 and text.startswith("5.3.4"), (code, text)
    assert upstream.messages == []
    assert send(gateway)[0] == 250
    (message,) = upstream.messages
    assert len(message) < size


def test_no_fixed_size(parts, start):
    upstream = parts.use(ScriptedUpstream({"EHLO": b"250-scripted\r\n250 SIZE 0\r\n"}))
    gateway = start(upstream, limits={"message_size": "1MiB"})
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=30) as client:
        client.ehlo("client.test")
        assert int(client.esmtp_features["size"]) == 1 << 20
    assert send(gateway, ("y" * 70 + "\r\n") * 10_000)[0] == 250


@pytest.mark.parametrize("lines", [10, 100_000], ids=["short", "more than sockets hold"])
@pytest.mark.parametrize("chunking", [False, True])
def test_it_refuses_and_hangs_up(parts, start, chunking, lines):
    """In the middle of a message. As 451 it would be sent again for days."""
    upstream = parts.use(FaultyUpstream((b"PIPELINING", b"CHUNKING") if chunking else (b"PIPELINING",)))
    gateway = start(upstream, chunking=chunking)
    upstream.fault("BDAT" if chunking else "BODY", say(b"552 5.3.4 more than I take\r\n", CLOSE))
    if chunking and lines == 10:
        upstream.fault("DOT", say(b"552 5.3.4 more than I take\r\n", CLOSE))  # one chunk, and it is the last
    code, text = send(gateway, ("y" * 70 + "\r\n") * lines)
    assert code == 552 and "more than I take" in text, (code, text)
    assert upstream.accepted == [] and len([c for c in upstream.commands if c.startswith(b"MAIL")]) == 1
    (record,) = gateway.wait_for_journal(type="transaction")
    assert record["result"] == "rejected" and record["upstream_code"] == 552


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize("reply, code", [(b"554 5.7.1 not from there\r\n", 554), (b"451 4.7.1 come again\r\n", 451)])
def test_its_last_words_are_passed_on(parts, start, step, reply, code):
    """It answers a command and closes."""
    upstream = parts.use(FaultyUpstream((b"PIPELINING",)))
    gateway = start(upstream)
    upstream.fault(step, say(reply, CLOSE))
    told, text = send(gateway)
    assert told == code and reply.decode()[10:].strip() in text, (told, text)
    assert upstream.accepted == []
