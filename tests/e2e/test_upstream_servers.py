"""The way to the servers behind: TLS that fails, credentials, several servers of which one goes away, and what
is offered to clients because of what they offer."""

import base64
import contextlib
import os
import re
import smtplib
import socket
import ssl
import subprocess
import time

import pytest
from parts.clients import message
from parts.dovecot_sasl import DovecotSasl
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, listens, wait_until
from parts.postfix import Postfix
from parts.scripted import CLOSE, SILENCE, ScriptedUpstream
from parts.scripted_tls import TlsScriptedUpstream

BOB = "bob@example.net"
TEXT = f"From: {ALICE}\r\nSubject: servers\r\n\r\nbody\r\n"


@pytest.fixture
def start(parts, directory, program, pair):
    """start(upstream..., **settings of [[upstream]]): a gateway before these; does not wait until one is up."""
    def start(*upstreams, ready=True, users=((ALICE, PASSWORD),), limits=None, wrapper=(), workers=None, **changes):
        tree = settings(directory, pair, upstreams[0].port)
        tree["upstream"][0].update({"servers": [f"{ADDRESS}:{u.port}" for u in upstreams], "connect_timeout": "3s",
                                    "command_timeout": "3s", **changes})
        if limits:
            tree["limits"] = limits
        if workers:
            tree["workers"] = workers
        gateway = parts.use(Gateway(program, directory, tree, users=users, ready=ready, wrapper=wrapper))
        if not ready:
            gateway.process.ready(lambda: listens(gateway.port("mx")))
        return gateway
    return start


def session(gateway):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30, context=ssl._create_unverified_context())
    client.ehlo("client.test")
    client.login(ALICE, PASSWORD)
    return client


def send(client, recipient=BOB, text=TEXT):
    """The reply that settled the message: (code, text)."""
    for step in (lambda: client.mail(ALICE), lambda: client.rcpt(recipient), lambda: client.data(text)):
        try:
            code, said = step()
        except smtplib.SMTPDataError as error:
            code, said = error.smtp_code, error.smtp_error
        if code != 250:
            client.rset()
            return code, said.decode()
    return code, said.decode()


def begin(client):
    """Holds a connection until finish(): one that is idle between two commands would be taken back for others."""
    assert client.mail(ALICE)[0] == 250 and client.rcpt(BOB)[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(TEXT)


def finish(client):
    client.send(".\r\n")
    assert client.getreply()[0] == 250


def own_hosts(directory):
    """A wrapper that shows the gateway a hosts file in which legacy.test has two addresses, the first without a
    listener."""
    hosts = directory / "hosts"
    hosts.write_text(f"127.0.0.77 legacy.test\n{ADDRESS} legacy.test\n")
    return ("unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount",
            "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts)


def verbs(commands):
    return {command.split(b" ")[0].upper() for command in commands}


# --- connections bound to a client


def test_bound_connections_are_bounded(parts, start, directory):
    """With XCLIENT each client has a connection of its own: no more of them than configured, however many clients."""
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    gateway = start(postfix, client_identity="xclient", connections_max=2, waiting_max=3, workers=1)
    with contextlib.ExitStack() as closing:
        clients = [closing.enter_context(session(gateway)) for _ in range(6)]
        for _ in range(2):  # the second time each has lost its connection to the others
            for client in clients:
                assert send(client)[0] == 250
                assert gateway.metric("portcullis_upstream_connections") <= 2
        # The one who sent last still has its own, and uses it.
        before = gateway.metric("portcullis_upstream_connection_reuses_total")
        assert send(clients[-1])[0] == 250
        assert gateway.metric("portcullis_upstream_connection_reuses_total") == before + 1
        # Two in the middle of a transaction: the third waits until one of them has ended.
        for client in clients[:2]:
            begin(client)
        clients[2].mail(ALICE)
        clients[2].putcmd("RCPT", f"TO:<{BOB}>")
        wait_until(lambda: gateway.metric("portcullis_upstream_waiting") == 1, "the third to wait")
        assert gateway.metric("portcullis_upstream_connections") == 2
        finish(clients[0])
        assert clients[2].getreply()[0] == 250
        assert clients[2].data(TEXT)[0] == 250
        finish(clients[1])
    wait_until(lambda: gateway.metric("portcullis_upstream_connections") == 0, "the connections to go with their clients")


# --- how many


@pytest.mark.parametrize("identity", ["none", "xclient"])
def test_each_server_has_its_bound(parts, start, identity):
    """Though there is another one, which is for when the first is down."""
    offer = b"250-scripted\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"
    answers = {"EHLO": offer, "XCLIENT": b"220 scripted ESMTP\r\n"}
    first, second = parts.use(ScriptedUpstream(answers)), parts.use(ScriptedUpstream(answers))
    gateway = start(first, second, client_identity=identity, connections_max=1, workers=1, probe_interval="1h")
    with session(gateway) as one, session(gateway) as other:
        begin(one)
        other.mail(ALICE)
        other.putcmd("RCPT", f"TO:<{BOB}>")
        wait_until(lambda: gateway.metric("portcullis_upstream_waiting") == 1, "the other to wait")
        assert gateway.metric("portcullis_upstream_connections") == 1
        finish(one)
        assert other.getreply()[0] == 250 and other.data(TEXT)[0] == 250
    assert len(first.messages) == 2 and second.seen("MAIL") == []


@pytest.mark.parametrize("identity", ["none", "xclient"])
def test_who_waits_for_the_second_server_is_served(parts, start, identity):
    """The first is down though nobody knows, and the second has as many connections as it may: a try at the first that
    fails is no reason to refuse those who wait for the second."""
    offer = b"250-scripted\r\n250-PIPELINING\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n"
    answers = {"EHLO": offer, "XCLIENT": b"220 scripted ESMTP\r\n"}
    first, second = parts.use(ScriptedUpstream(answers)), parts.use(ScriptedUpstream(answers))
    gateway = start(first, second, client_identity=identity, connections_max=1, workers=1, probe_interval="1h")
    first.answers["GREETING"] = b"421 4.3.2 not now\r\n"
    with session(gateway) as one, session(gateway) as other:
        begin(one)
        time.sleep(2.5)  # the first may be tried again
        other.mail(ALICE)
        other.putcmd("RCPT", f"TO:<{BOB}>")
        wait_until(lambda: gateway.metric("portcullis_upstream_waiting") == 1, "the other to wait")
        time.sleep(0.5)
        finish(one)
        assert other.getreply()[0] == 250 and other.data(TEXT)[0] == 250
    assert len(second.messages) == 2 and first.messages == []


def test_a_server_with_a_bound_of_its_own(parts, start):
    """It serves one, and refuses the connection for another: that one waits for the first, as where the bound is ours.
    Meanwhile it is not asked again and again."""
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream, workers=1, probe_interval="1h")
    with session(gateway) as one, session(gateway) as other:
        begin(one)
        upstream.answers["GREETING"] = b"421 4.7.0 too many connections from you\r\n"
        tries = upstream.connections
        other.mail(ALICE)
        other.putcmd("RCPT", f"TO:<{BOB}>")
        time.sleep(3)
        assert gateway.metric("portcullis_upstream_waiting") == 1
        assert 1 <= upstream.connections - tries <= 2
        finish(one)
        assert other.getreply()[0] == 250 and other.data(TEXT)[0] == 250
    # Where nobody is served there is nothing to wait for.
    upstream.stop()
    client = session(gateway)
    began = time.monotonic()
    assert send(client)[0] == 451 and time.monotonic() - began < 5


# --- TLS


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("tls", ["required", "verified"])
def test_nothing_of_a_message_in_the_clear(parts, start, pair, authority, tls, implicit):
    upstream = parts.use(TlsScriptedUpstream(pair, implicit=implicit))
    gateway = start(upstream, tls=tls, implicit_tls=implicit, ca_file=authority.certificate, server_name="mx.example.com")
    assert send(session(gateway))[0] == 250
    assert upstream.messages and verbs(upstream.clear) <= {b"EHLO", b"STARTTLS"}
    assert gateway.metric("portcullis_tls_handshakes_total", side="upstream", result="success", version="TLSv1.3") >= 1


FAILURES = [
    # what the server does where the handshake should be, and clear text it adds to its 220
    ({"handshake": b"500 5.5.1 what?\r\n"}, "not_tls"),
    ({"handshake": b""}, "closed"),
    ({"handshake": SILENCE}, "timeout"),
    ({"handshake": b"\x15\x03\x03\x00\x02\x02\x28"}, "alert"),
]


@pytest.mark.parametrize("how, reason", FAILURES, ids=[reason for _, reason in FAILURES])
def test_opportunistic_goes_on_in_the_clear(parts, start, pair, how, reason):
    upstream = parts.use(TlsScriptedUpstream(pair, **how))
    gateway = start(upstream, tls="opportunistic")
    client = session(gateway)
    assert send(client) == (250, "2.0.0 Ok: queued as SCRIPTED1")
    assert send(client)[0] == 250
    assert len(upstream.messages) == 2 and b"MAIL" in verbs(upstream.clear)
    # Which label an alert gets depends on what BoringSSL makes of it; that it is counted does not.
    failures = gateway.metric("portcullis_tls_handshakes_total", side="upstream", result="failure", version="none")
    assert failures >= 1 if reason == "alert" else gateway.metric(
        "portcullis_tls_handshake_failures_total", side="upstream", reason=reason) >= 1


@pytest.mark.parametrize("how, reason", FAILURES, ids=[reason for _, reason in FAILURES])
@pytest.mark.parametrize("tls", ["required", "verified"])
def test_no_mail_where_the_handshake_fails(parts, start, pair, authority, tls, how, reason):
    upstream = parts.use(TlsScriptedUpstream(pair, **how))
    gateway = start(upstream, ready=False, tls=tls, ca_file=authority.certificate, server_name="mx.example.com",
                    login="gateway", password="sesame")
    code, text = send(session(gateway))
    assert code == 451 and "4.4.1" in text, (code, text)
    assert upstream.messages == [] and verbs(upstream.clear) <= {b"EHLO", b"STARTTLS"}


@pytest.mark.parametrize("tls", ["opportunistic", "required"])
def test_clear_text_behind_starttls_is_no_answer(parts, start, pair, tls):
    """A reply injected before the handshake must not be read as if it came through TLS."""
    upstream = parts.use(TlsScriptedUpstream(pair, after_220=b"250 2.0.0 injected\r\n"))
    gateway = start(upstream, ready=False, tls=tls)
    code, text = send(session(gateway))
    assert code == 451 and "injected" not in text, (code, text)
    assert upstream.messages == []


def test_starttls_refused(parts, start, pair):
    """Offered and then refused: opportunistic goes on, required does not."""
    upstream = parts.use(ScriptedUpstream({"EHLO": b"250-scripted\r\n250 STARTTLS\r\n", "STARTTLS": b"454 4.7.0 later\r\n"}))
    gateway = start(upstream, tls="opportunistic")
    assert send(session(gateway))[0] == 250
    gateway.tree["upstream"][0]["tls"] = "required"
    gateway.reload()
    assert send(session(gateway))[0] == 451
    assert len(upstream.messages) == 1


@pytest.mark.parametrize("changes, ok", [
    ({}, True), ({"server_name": "other.example.com"}, False), ({"ca_file": "/etc/ssl/certs/ca-certificates.crt"}, False)])
def test_implicit_tls_to_postfix(parts, start, directory, pair, authority, changes, ok):
    postfix = parts.use(Postfix.upstream(directory / "postfix", pair, smtpd_tls_wrappermode="yes"))
    gateway = start(postfix, ready=ok, **{"tls": "verified", "implicit_tls": True, "ca_file": authority.certificate,
                                          "server_name": "mx.example.com", **changes})
    code, text = send(session(gateway))
    assert code == (250 if ok else 451), (code, text)
    if ok:
        (mail,) = postfix.mailbox(BOB).wait_for(1)
        assert b"with ESMTPS" in mail.split(b"Received:")[1]
    else:
        assert postfix.mailbox(BOB).messages() == []
        assert gateway.metric("portcullis_tls_handshake_failures_total", side="upstream", reason="certificate_invalid") >= 1


def test_a_verified_address(parts, start, pair, authority):
    """Without server_name the certificate must be good for the server as configured: here an IP address."""
    upstream = parts.use(TlsScriptedUpstream(pair))
    gateway = start(upstream, tls="verified", ca_file=authority.certificate)
    assert send(session(gateway))[0] == 250


# --- credentials of the gateway


def test_postfix_wants_a_login(parts, start, directory, pair):
    sasl = parts.use(DovecotSasl(directory / "dovecot", {"gateway@example.com": "sesame"}))
    postfix = parts.use(Postfix.upstream(
        directory / "postfix", pair, smtpd_sasl_auth_enable="yes", smtpd_sasl_type="dovecot", smtpd_sasl_path=sasl.socket,
        smtpd_tls_auth_only="yes", smtpd_client_restrictions="permit_sasl_authenticated, reject"))
    gateway = start(postfix, tls="required", login="gateway@example.com", password="sesame")
    assert send(session(gateway))[0] == 250
    postfix.mailbox(BOB).wait_for(1)
    postfix.wait_for_log(r"sasl_method=PLAIN, sasl_username=gateway@example\.com")
    # A wrong password: nothing of it to the client, nor to the log; its own login is not to blame.
    gateway.tree["upstream"][0]["password"] = "open-sesame"
    gateway.reload()
    code, text = send(session(gateway))
    assert code == 451 and "sesame" not in text, (code, text)
    assert "sesame" not in gateway.tree["journal"]["path"].read_text()
    postfix.mailbox(BOB).wait_for(1)


def test_credentials_need_an_offer(parts, start, pair):
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream, ready=False, login="gateway", password="sesame")
    assert send(session(gateway))[0] == 451
    assert upstream.seen("AUTH") == [] and upstream.messages == []


def test_credentials_as_sent(parts, start, pair):
    upstream = parts.use(TlsScriptedUpstream(pair))
    gateway = start(upstream, tls="required", login="gateway", password="sésame")
    assert send(session(gateway))[0] == 250
    assert set(upstream.seen("AUTH")) == {b"AUTH PLAIN " + base64.b64encode("\0gateway\0sésame".encode())}
    assert not any(command.startswith(b"AUTH") for command in upstream.clear)


# --- several servers


def test_the_first_dies_while_running(parts, start):
    first, second = parts.use(ScriptedUpstream()), parts.use(ScriptedUpstream())
    gateway = start(first, second)
    client = session(gateway)
    assert send(client)[0] == 250 and len(first.messages) == 1
    first.stop()
    # The session goes on, the client notices nothing.
    for _ in range(3):
        assert send(client)[0] == 250
    assert len(second.messages) == 3 and len(first.messages) == 1
    server = f"{ADDRESS}:{first.port}"
    wait_until(lambda: gateway.metric("portcullis_upstream_up", server=server) == 0, "the first shown as down")
    assert gateway.metric("portcullis_upstream_up", server=f"{ADDRESS}:{second.port}") == 1
    assert gateway.http("/readyz")[0] == 200
    assert gateway.metric("portcullis_upstream_failovers_total") >= 1 or send(client)[0] == 250


def test_a_name_of_several_addresses(parts, start, directory):
    """Nobody listens at the first address of the name; one server, so no failover is counted."""
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream, servers=[f"legacy.test:{upstream.port}"], wrapper=own_hosts(directory))
    for _ in range(3):
        assert send(session(gateway))[0] == 250
    assert gateway.metric("portcullis_upstream_connects_total", result="success") >= 1
    assert gateway.metric("portcullis_upstream_connects_total", result="refused") == 0
    assert gateway.metric("portcullis_upstream_failovers_total") == 0


def test_an_address_that_never_answers(parts, start, directory, program):
    """The first address of the name drops what comes (here: its queue is full): the second has its turn in time."""
    upstream = parts.use(ScriptedUpstream())
    with contextlib.ExitStack() as closing:
        silent = closing.enter_context(socket.socket())
        silent.bind(("127.0.0.77", upstream.port))
        silent.listen(0)
        for _ in range(4):
            filler = closing.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.77", upstream.port))
        begun = time.monotonic()
        gateway = start(upstream, servers=[f"legacy.test:{upstream.port}"], wrapper=own_hosts(directory))
        assert time.monotonic() - begun > 1, "the first address was not silent"
        client = session(gateway)
        begun = time.monotonic()
        assert send(client)[0] == 250
        assert time.monotonic() - begun < 1, "the probe has found out, and the session need not"
        assert gateway.metric("portcullis_upstream_connects_total", result="success") == 1
        assert gateway.metric("portcullis_upstream_connects_total", result="timeout") == 0
        checked = subprocess.run([*own_hosts(directory), program, "check", "--probe", "--config", gateway.config],
                                 capture_output=True, text=True, timeout=30, check=False)
        assert checked.returncode == 0 and "ready" in checked.stdout, checked


def test_the_first_comes_back(parts, start):
    first, second = parts.use(ScriptedUpstream({"GREETING": b"421 4.3.2 not now\r\n"})), parts.use(ScriptedUpstream())
    gateway = start(first, second, workers=1, probe_interval="1s")
    names = [f"{ADDRESS}:{server.port}" for server in (first, second)]
    client = session(gateway)
    for _ in range(3):
        assert send(client)[0] == 250
    assert len(second.messages) == 3 and first.seen("MAIL") == []
    assert gateway.metric("portcullis_upstream_connections", server=names[1]) == 1
    under_way = session(gateway)
    assert under_way.mail(ALICE)[0] == 250 and under_way.rcpt(BOB)[0] == 250
    first.answers["GREETING"] = b"220 scripted ESMTP\r\n"
    wait_until(lambda: gateway.metric("portcullis_upstream_up", server=names[0]) == 1, "the first up again")
    # Though the connection to the second is never idle for long, nor full.
    wait_until(lambda: send(client)[0] == 250 and first.messages, "the first server preferred again", 20, 0.1)
    taken = len(second.messages)
    assert send(client)[0] == 250 and len(second.messages) == taken
    # A message is finished where it was begun; then nothing is left there.
    assert under_way.data(TEXT)[0] == 250 and len(second.messages) == taken + 1
    wait_until(lambda: gateway.metric("portcullis_upstream_connections", server=names[1]) == 0, "no connection to the second")
    assert send(under_way)[0] == 250 and len(second.messages) == taken + 1


def test_the_first_only_seems_to_be_up(parts, start):
    """For the probe it is, for messages it is not: what works is kept until the first really is back."""
    first, second = parts.use(ScriptedUpstream()), parts.use(ScriptedUpstream())
    gateway = start(first, second, workers=1, probe_interval="1h")
    first.answers["EHLO"] = CLOSE
    client = session(gateway)
    tries, connections = first.connections, second.connections
    until = time.monotonic() + 14
    while time.monotonic() < until:
        assert send(client)[0] == 250
        time.sleep(0.2)  # fewer than transactions_per_connection
    assert first.messages == [] and second.connections == connections + 1
    assert 2 <= first.connections - tries <= 3
    first.answers["EHLO"] = second.answers["EHLO"]
    wait_until(lambda: send(client)[0] == 250 and first.messages, "the first server preferred again", 20, 0.1)


def test_a_message_under_way_is_not_moved(parts, start):
    """The server dies after the end of data: nobody knows whether it took the message. 451, and no second copy
    by ourselves."""
    first, second = parts.use(ScriptedUpstream({"DOT": CLOSE})), parts.use(ScriptedUpstream())
    gateway = start(first, second)
    code, _ = send(session(gateway))
    assert code == 451 and len(first.messages) == 1 and second.messages == []


def test_all_servers_down(parts, start):
    first, second = parts.use(ScriptedUpstream()), parts.use(ScriptedUpstream())
    gateway = start(first, second)
    first.stop()
    second.stop()
    client = session(gateway)
    code, text = send(client)
    assert code == 451 and "4.4.1" in text, (code, text)
    assert client.noop()[0] == 250


# --- what is offered


def offer(gateway):
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=20) as client:
        client.ehlo("client.test")
        return dict(client.esmtp_features)


@pytest.mark.parametrize("discarded, gone", [
    ("", set()), ("8bitmime, dsn", {"8bitmime", "dsn", "smtputf8"}), ("smtputf8", {"smtputf8"}), ("chunking", set())])
def test_only_what_postfix_takes(parts, start, directory, discarded, gone):
    postfix = parts.use(Postfix.upstream(directory / "postfix", smtpd_discard_ehlo_keywords=discarded, smtputf8_enable="yes"))
    gateway = start(postfix)
    offered = offer(gateway)
    if "8bitmime" in gone:
        # SMTPUTF8 needs 8BITMIME (RFC 6531 3.1 item 8); Postfix itself goes on offering it here.
        gone = gone if "smtputf8" not in offered else gone - {"smtputf8"}
    for name in ("8bitmime", "dsn", "smtputf8"):
        assert (name in offered) == (name not in gone), (name, offered)
    # These are ours, whatever the server has.
    for name in ("pipelining", "chunking", "enhancedstatuscodes", "size"):
        assert name in offered, offered
    for name in ("xforward", "xclient", "etrn", "vrfy", "auth"):
        assert name not in offered, offered


@pytest.mark.parametrize("ours, theirs, told", [("30MiB", 20_000_000, 20_000_000), ("1MiB", 20_000_000, 1 << 20), ("5MiB", 0, 5 << 20)])
def test_the_smaller_size(parts, start, directory, ours, theirs, told):
    postfix = parts.use(Postfix.upstream(directory / "postfix", message_size_limit=str(theirs)))
    gateway = start(postfix, limits={"message_size": ours})
    size = int(offer(gateway)["size"])
    # Less what our Received field may add, where the limit is the server's.
    assert told - 8192 < size <= told, size
    client = session(gateway)
    code, text = client.mail(ALICE, [f"SIZE={size + 1}"])
    assert code == 552 and text.startswith(b"5.3.4"), (code, text)
    assert client.mail(ALICE, [f"SIZE={size}"])[0] == 250


def test_a_message_of_the_largest_size_told(parts, start, directory):
    """What SIZE promises is kept: our own header field does not push the message over the server's limit."""
    postfix = parts.use(Postfix.upstream(directory / "postfix", message_size_limit="300000"))
    gateway = start(postfix)
    client = session(gateway)
    size = int(client.esmtp_features["size"])
    head = f"From: {ALICE}\r\nSubject: full\r\n\r\n"
    body = ("x" * 76 + "\r\n") * (size // 78 + 1)
    text = (head + body)[:size - 2] + "\r\n"
    assert len(text) == size
    code, said = send(client, text=text)
    assert code == 250, said
    postfix.mailbox(BOB).wait_for(1)


def test_addresses_and_headers_beyond_ascii(parts, start, directory):
    postfix = parts.use(Postfix.upstream(directory / "postfix", mailboxes=("jörg@example.com", BOB), smtputf8_enable="yes"))
    gateway = start(postfix)
    client = session(gateway)
    client.command_encoding = "utf-8"
    assert client.mail(ALICE, ["SMTPUTF8", "BODY=8BITMIME"])[0] == 250
    assert client.rcpt("jörg@example.com")[0] == 250
    code, text = client.docmd("DATA")
    assert code == 354, text
    client.sock.sendall(f"From: {ALICE}\r\nTo: jörg@example.com\r\nSubject: Grüße\r\n\r\nÄ\r\n.\r\n".encode())
    code, text = client.getreply()
    assert code == 250, text
    (mail,) = postfix.mailbox("jörg@example.com").wait_for(1)
    assert "Subject: Grüße".encode() in mail and b"UTF8SMTPSA" in mail


def test_dsn_reaches_postfix(parts, start, directory):
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    gateway = start(postfix)
    client = session(gateway)
    assert client.mail(ALICE, ["RET=HDRS", "ENVID=QQ314159"])[0] == 250
    assert client.rcpt(BOB, ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;robert@example.net"])[0] == 250
    assert client.data(TEXT)[0] == 250
    postfix.mailbox(BOB).wait_for(1)
    (record,) = gateway.wait_for_journal(type="transaction")
    postfix.wait_for_log(rf"{record['queue_id']}: to=<{BOB}>, orig_to=<robert@example\.net>|{record['queue_id']}: sender delivery status notification")
    # The notification that was asked for, with our ENVID, is on its way to the sender.
    assert re.search(r"sender delivery status notification", postfix.log()), postfix.log()


def test_a_server_that_nobody_has_reached_yet(parts, start):
    """The gateway starts while the server behind is away. A client must not hear of fewer extensions than there may
    be: it would send the message back to its author. What turns out to be missing is a reason to come again."""
    upstream = parts.use(ScriptedUpstream({"GREETING": b"421 4.3.2 not now\r\n"}))
    gateway = start(upstream, ready=False)
    client = session(gateway)
    assert client.has_extn("8bitmime") and client.has_extn("smtputf8")
    assert client.mail(ALICE, ["BODY=8BITMIME", "SMTPUTF8"])[0] == 250
    assert client.rcpt(BOB)[0] == 451
    assert client.rset()[0] == 250
    # It comes, and knows neither.
    upstream.answers["GREETING"] = b"220 old\r\n"
    upstream.answers["EHLO"] = b"250-old\r\n250 SIZE\r\n"
    wait_until(gateway.is_ready, "the server behind")
    assert client.mail(ALICE, ["SMTPUTF8"])[0] == 250
    code, said = client.rcpt(BOB)
    assert code == 451 and said.startswith(b"4.6.7"), (code, said)
    assert client.rset()[0] == 250
    assert client.mail(ALICE, ["BODY=8BITMIME"])[0] == 250 and client.rcpt(BOB)[0] == 250
    code, said = client.data(TEXT.encode() + b"\xc3\xa4\r\n")
    assert code == 451 and said.startswith(b"4.6.3"), (code, said)
    assert upstream.messages == []
    # Seven-bit mail goes, and the next session hears the truth.
    client = session(gateway)
    assert not client.has_extn("8bitmime") and not client.has_extn("smtputf8")
    assert send(client)[0] == 250


def test_eight_bit_not_offered(parts, start):
    """8-bit content to a server that does not take it is refused, not sent and not altered."""
    upstream = parts.use(ScriptedUpstream({"EHLO": b"250-scripted\r\n250 PIPELINING\r\n"}))
    gateway = start(upstream)
    client = session(gateway)
    assert "8bitmime" not in client.esmtp_features
    code, text = client.mail(ALICE, ["BODY=8BITMIME"])
    assert code == 555, (code, text)
    code, text = send(client, text=TEXT.encode() + b"\xc3\xa4\r\n")
    assert 500 <= code < 600 and upstream.messages == [], (code, text)
    gateway.tree["upstream"][0]["assume_eight_bit"] = True
    gateway.reload()
    code, text = send(session(gateway), text=TEXT.encode() + b"\xc3\xa4\r\n")
    assert code == 250 and b"\xc3\xa4" in upstream.messages[0], (code, text)


def test_mail_from_postfix_and_to_it_names_the_same_message(parts, start, directory):
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    gateway = start(postfix, client_identity="xforward")
    client = session(gateway)
    replies = [send(client, text=message(ALICE, BOB, f"n{i}"))[1] for i in range(5)]
    queued = [re.search(r"queued as (\w+)", reply)[1] for reply in replies]
    records = gateway.wait_for_journal(5, type="transaction")
    assert [record["queue_id"] for record in records] == queued
    for record in records:
        postfix.wait_for_log(rf"{record['queue_id']}: .*orig_queue_id={re.escape(record['id'])}|{record['queue_id']}: removed")
    assert gateway.metric("portcullis_upstream_connection_reuses_total") == 4


# --- what we add, and what says that a message goes round in circles


def test_the_login_for_a_server_that_is_trusted_with_it(parts, start):
    """RFC 4954 section 5."""
    upstream = parts.use(ScriptedUpstream({"EHLO": b"250-scripted\r\n250 AUTH PLAIN\r\n"}))
    gateway = start(upstream, trusted_for_auth=True)
    assert send(session(gateway))[0] == 250
    assert upstream.seen("MAIL") == [b"MAIL FROM:<alice@example.com> AUTH=alice@example.com"]
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=30) as stranger:
        stranger.sendmail("stranger@example.org", ["bob@example.com"], "From: stranger@example.org\r\n\r\nhi\r\n")
    assert upstream.seen("MAIL")[1:] == [b"MAIL FROM:<stranger@example.org> AUTH=<>"]
    gateway.tree["upstream"][0]["trusted_for_auth"] = False
    gateway.reload()
    assert send(session(gateway))[0] == 250
    assert upstream.seen("MAIL")[2:] == [b"MAIL FROM:<alice@example.com>"]


def test_the_received_field_as_configured(parts, start):
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream)
    (submissions,) = [listener for listener in gateway.tree["listener"] if listener["name"] == "submissions"]
    for client, login in ((False, False), (True, False), (False, True), (True, True)):
        submissions |= {"hide_client_in_received": client, "hide_login_in_received": login}
        gateway.reload()
        assert send(session(gateway))[0] == 250
        field = re.match(rb"Received: .*?\r\n(?=\S)", upstream.messages[-1], re.DOTALL)[0]
        assert (b"client.test" in field) == (b"[127." in field) == (not client), field
        assert (b"authenticated as alice@example.com" in field) == (not login), field
        assert b"with ESMTPSA id " in field and b"by mx.example.com" in field and b"using TLSv1.3" in field, field


def test_a_message_that_goes_round_in_circles(parts, start):
    upstream = parts.use(ScriptedUpstream())
    gateway = start(upstream)
    gateway.tree["received_fields_max"] = 5
    gateway.reload()
    client = session(gateway)
    hops = [f"Received: by hop{i}.test; Sat, 21 Nov 2026 12:00:00 +0000\r\n" for i in range(6)]
    code, said = send(client, text="".join(hops) + TEXT)
    assert (code, said[:5]) == (554, "5.4.6") and upstream.messages == []
    assert send(client, text="".join(hops[:5]) + TEXT)[0] == 250 and len(upstream.messages) == 1
