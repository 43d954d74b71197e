"""What operators are told when something is wrong: TLS, certificates, the directory, secrets, probes, reloads."""

import base64
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from parts import gateway as parts_gateway
from parts.certificates import Pair
from parts.gateway import ALICE, PASSWORD, Gateway, check, settings
from parts.loopback import ADDRESS, free_port, wait_until
from parts.process import run
from parts.scripted import ScriptedUpstream
from parts.scripted_tls import TlsScriptedUpstream
from parts.sink import Sink
from wire import Wire

TOP = pathlib.Path(__file__).resolve().parents[2]
SECRET = "S3cret-Passw0rd"
CLEAR = [{"name": "here", "addresses": ["127.0.0.0/8"], "may_auth_without_tls": True}]


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def plain(login, password):
    return base64.b64encode(f"\0{login}\0{password}".encode())


# --- secrets that servers quote back

class EchoingImap:
    """Refuses each login with the words of the command."""

    def __init__(self, capability, status):
        self.capability, self.status, self.port = capability, status, free_port()
        self._listener = socket.create_server((ADDRESS, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.sendall(b"* OK hello\r\n")
        for line in connection.makefile("rb"):
            tag, _, rest = line.strip().partition(b" ")
            if rest.upper().startswith(b"CAPABILITY"):
                connection.sendall(b"* CAPABILITY IMAP4rev1" + self.capability + b"\r\n" + tag + b" OK done\r\n")
            elif rest.upper().startswith(b"LOGOUT"):
                return connection.close()
            else:
                connection.sendall(tag + b" " + self.status + b" Error in IMAP command: " + rest + b"\r\n")

    def stop(self):
        self._listener.close()


def no_secret(text, secret, login):
    forms = [secret, secret.lower(), base64.b64encode(secret.encode()).decode(), plain(login, secret).decode()]
    assert not any(form in text for form in forms), text


@pytest.mark.parametrize("status", [b"BAD", b"NO"])
@pytest.mark.parametrize("capability", [b"", b" AUTH=PLAIN SASL-IR"], ids=["login", "plain"])
def test_a_password_that_the_imap_server_quotes_is_nowhere(parts, directory, program, pair, sink, capability, status):
    imap = parts.use(EchoingImap(capability, status))
    tree = settings(directory, pair, sink.port, network=CLEAR,
                    auth={"backends": ["imap"], "imap": {"server": f"{ADDRESS}:{imap.port}", "tls": "off"}})
    gateway = parts.use(Gateway(program, directory, tree, users=[]))
    with Wire(gateway.port("submission")) as client:
        reply = client.ask(b"AUTH PLAIN " + plain(ALICE, SECRET))
        assert reply[0] in (454, 535)
    (event,) = gateway.wait_for_journal(event="auth_failed")
    assert "[...]" in event["fields"]["detail"], event
    no_secret((directory / "journal.jsonl").read_text(), SECRET, ALICE)
    no_secret(reply[1].decode(), SECRET, ALICE)


def test_a_password_that_the_upstream_quotes_is_nowhere(parts, directory, program, pair):
    quoted = {}

    def refuse(upstream):
        quoted["line"] = upstream.seen("AUTH")[-1]
        return b'500 5.5.1 Command unrecognized: "' + quoted["line"] + b'"\r\n'
    upstream = parts.use(ScriptedUpstream({"AUTH": refuse, "EHLO": b"250-up\r\n250 AUTH PLAIN\r\n"}))
    tree = settings(directory, pair, upstream.port)
    tree["upstream"][0].update({"login": "gateway", "password": SECRET})
    gateway = parts.use(Gateway(program, directory, tree, ready=False))
    event = gateway.wait_for_journal(event="upstream_down")[0]
    assert plain("gateway", SECRET) in quoted["line"] and "[...]" in event["fields"]["detail"]
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<a@else.test>")[0] == 250
        code, text = client.ask(b"RCPT TO:<bob@example.com>")
        assert code == 451
    no_secret((directory / "journal.jsonl").read_text() + text.decode(), SECRET, "gateway")


# --- the journal

def test_a_record_is_never_longer_than_journald_takes(parts, directory, program, pair):
    """The server answers as Sendmail does, with the recipient in its words."""
    def answer(upstream):
        return b"250 2.1.5 " + upstream.seen("RCPT")[-1][8:] + b"... Recipient ok\r\n"
    upstream = parts.use(ScriptedUpstream({"RCPT": answer}))
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, upstream.port)))
    with Wire(gateway.port("mx")) as client:
        client.ask(b"EHLO " + b".".join([b"h" * 63] * 3))
        client.ask(b"MAIL FROM:<" + b"s" * 60 + b"@" + b"x" * 60 + b".example>")
        for number in range(100):
            assert client.ask(b'RCPT TO:<"' + b'\\"' * 25 + b'%03d"@example.com>' % number)[0] == 250
        assert client.ask(b"DATA")[0] == 354
        client.send(b'From: "' + b"N" * 1500 + b'" <a@b.example>\r\nMessage-ID: <' + b"i" * 980 + b">\r\n\r\nhi\r\n.\r\n")
        assert client.reply()[0] == 250
    (record,) = gateway.wait_for_journal(type="transaction")
    lines = (directory / "journal.jsonl").read_bytes().splitlines()
    assert max(map(len, lines)) < 48 * 1024
    assert record["recipients_total"] == 100 and 50 < len(record["recipients"]) <= 100


def test_refusals_before_a_message_are_recorded(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    with Wire(gateway.port("submission")) as client:
        for command in (b"MAIL FROM:<a@example.com>", b"RCPT TO:<b@example.com>", b"AUTH PLAIN =", b"NONSENSE", b"EHLO",
                        b"VRFY x", b"EXPN x"):
            client.ask(command)
        client.ask(b"QUIT")
    (session,) = gateway.wait_for_journal(type="session")
    assert [(r["command"], r["code"]) for r in session["refusals"]] == [
        ("MAIL", 530), ("RCPT", 503), ("AUTH", 523), ("other", 500), ("EHLO", 501)]
    assert session["refusals_total"] == 6 and session["refusals"][0]["reply"].startswith("5.7.0 ")
    # A pipelining client does nothing wrong by sending RCPT before it has read the reply to MAIL.
    assert gateway.metric("portcullis_protocol_violations_total", type="bad_sequence") == 0
    assert gateway.metric("portcullis_replies_total", verb="QUIT", code="221") == 1
    assert gateway.metric("portcullis_replies_total", verb="unasked") == 0


def test_nested_mail(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<a@else.test>")[0] == 250
        code, text = client.ask(b"MAIL FROM:<a@else.test>")
        assert code == 503 and b"Nested MAIL" in text
    assert gateway.metric("portcullis_protocol_violations_total", type="bad_sequence") == 1


def test_the_identity_that_failed_is_recorded(parts, directory, program, pair, sink):
    tree = settings(directory, pair, sink.port, network=CLEAR)
    gateway = parts.use(Gateway(program, directory, tree))
    with Wire(gateway.port("submission")) as client:
        assert client.ask(b"AUTH PLAIN " + plain(ALICE, PASSWORD))[0] == 235
        client.ask(b"MAIL FROM:<boss@example.com>")
        client.envelope(ALICE.encode())
        assert client.ask(b"DATA")[0] == 354
        client.send(b"From: %s\r\nSender: chief@example.com\r\n\r\nx\r\n.\r\n" % ALICE.encode())
        assert client.reply()[0] == 550
    first, second = gateway.wait_for_journal(2, type="transaction")
    assert [(h["check"], h["identity"]) for h in first["hits"]] == [("envelope", "boss@example.com")]
    assert [(h["check"], h["identity"]) for h in second["hits"]] == [("sender", "chief@example.com")]


@pytest.mark.parametrize("level, recorded", [("info", 0), ("debug", 4)])
def test_probes_of_a_balancer_leave_no_record(parts, directory, program, pair, sink, level, recorded):
    tree = settings(directory, pair, sink.port, journal={"level": level},
                    network=[{"name": "balancer", "addresses": ["127.0.0.0/8"], "may_send_proxy_header": True}])
    tree["listener"].append({"name": "balanced", "address": f"{ADDRESS}:{free_port()}", "tls": "off", "auth": "off",
                             "proxy_protocol": True})
    gateway = parts.use(Gateway(program, directory, tree))
    for _ in range(2):
        with Wire(gateway.port("mx")) as client:  # HAProxy: option smtpchk
            assert client.ask(b"QUIT")[0] == 221
    socket.create_connection((ADDRESS, gateway.port("mx"))).close()
    socket.create_connection((ADDRESS, gateway.port("balanced"))).close()
    with Wire(gateway.port("balanced"), greet=False) as client:
        client.send(b"PROXY UNKNOWN\r\n")
        assert client.reply()[0] == 220 and client.ask(b"QUIT")[0] == 221
    wait_until(lambda: gateway.metric("portcullis_probe_sessions_total") == 5, "five probes counted")
    with Wire(gateway.port("mx")) as client:
        assert client.ask(b"MAIL FROM:<@@>")[0] == 501
        client.ask(b"QUIT")
    gateway.wait_for_journal(recorded + 1, type="session")
    assert len(gateway.journal(type="session")) == recorded + 1, "a client that does something is recorded"
    assert gateway.journal(event="proxy_header_refused") == []


def test_one_outage_is_summed_up(parts, directory, program, pair):
    tree = settings(directory, pair, free_port())
    gateway = Gateway(program, directory, tree, ready=False)
    gateway.process.ready(lambda: gateway.journal(event="started"))
    for _ in range(40):
        with Wire(gateway.port("mx")) as client:
            client.send(b"MAIL FROM:<a@else.test>\r\nRCPT TO:<bob@example.com>\r\nQUIT\r\n")
            client.replies()
    gateway.stop()
    events = gateway.journal(event="upstream_failed")
    told = [event for event in events if "repeated" not in event["fields"]]
    sums = [int(event["fields"]["repeated"]) for event in events if "repeated" in event["fields"]]
    assert len(told) <= 6 and sum(sums) + len(told) >= 40, events


# --- readiness

def test_readyz_names_a_dead_directory(parts, directory, program, pair, sink):
    port = free_port()
    ldap = {"url": f"ldap://{ADDRESS}:{port}", "dn_template": "uid={local},dc=example,dc=com", "breaker_failures": 2,
            "breaker_pause": "60s"}
    tree = settings(directory, pair, sink.port, network=CLEAR, auth={"backends": ["ldap"], "ldap": ldap})
    gateway = parts.use(Gateway(program, directory, tree, users=[]))
    for _ in range(2):
        with Wire(gateway.port("submission")) as client:
            assert client.ask(b"AUTH PLAIN " + plain(ALICE, PASSWORD))[0] == 454
    status, text = wait_until(lambda: (r := gateway.http("/readyz"))[0] == 503 and r, "not ready")
    assert "no login is possible: backend ldap is down" in text
    (event,) = gateway.wait_for_journal(event="auth_backend_down")
    assert event["level"] == "error" and event["fields"]["backend"] == "ldap"
    assert gateway.metric("portcullis_auth_backend_up", backend="ldap") == 0
    gateway.tree["listener"] = [gateway.tree["listener"][0]]  # auth = "optional": mail is taken without a login
    gateway.reload()
    assert gateway.http("/readyz")[0] == 200


# --- TLS

def tls_event(gateway):
    return gateway.wait_for_journal(event="tls_failed")[0]["fields"]["detail"]


@pytest.mark.parametrize("options, words", [
    (["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], ["no protocol version in common", "TLSv1.2", "the client offers TLSv1.1"]),
    (["-tls1_2", "-cipher", "CAMELLIA256-SHA:AES256-SHA:@SECLEVEL=0"], ["no shared cipher", "the client offers TLSv1.2"]),
], ids=["version", "cipher"])
def test_a_failed_handshake_says_what_the_client_offered(parts, directory, program, pair, sink, options, words):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    subprocess.run(["openssl", "s_client", "-connect", f"{ADDRESS}:{gateway.port('submissions')}", *options],
                   stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    detail = tls_event(gateway)
    for word in words:
        assert word in detail, detail
    (session,) = gateway.wait_for_journal(type="session")
    assert session["detail"].startswith("TLS handshake")


def test_a_failed_handshake_says_what_the_client_thinks_of_the_certificate(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in TLS 1.3 OpenSSL sends this alert in the clear
    with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as raw:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(raw, server_hostname="mx.example.com")
    detail = tls_event(gateway)
    assert "the client ended the handshake with the alert" in detail and "authority" in detail, detail


def test_not_tls(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    with Wire(gateway.port("submissions"), greet=False) as client:
        client.send(b"EHLO x\r\n" * 20)
        client.replies()
    assert "the client sent something that is not TLS" in tls_event(gateway)


@pytest.mark.parametrize("wrong, words", [
    ("name", ['is for "other.example.com"', 'not for "mx.example.com"']),
    ("authority", ["not among the trusted"]),
    ("expired", ["has expired, on 20"]),
])
def test_a_certificate_of_the_server_that_does_not_verify(parts, directory, program, pair, authority, wrong, words):
    server, ca = authority.server("mx.example.com"), authority.certificate
    if wrong == "name":
        server = authority.server("other.example.com")
    elif wrong == "authority":
        ca = "/etc/ssl/certs/ca-certificates.crt"
    else:
        server = authority.server("mx.example.com", days=-1)
    upstream = parts.use(TlsScriptedUpstream(server))
    tree = settings(directory, pair, upstream.port)
    tree["upstream"][0].update({"tls": "verified", "server_name": "mx.example.com", "ca_file": ca})
    gateway = parts.use(Gateway(program, directory, tree, ready=False))
    detail = gateway.wait_for_journal(event="upstream_down")[0]["fields"]["detail"]
    for word in words:
        assert word in detail, detail


# --- certificates in the configuration

class Checked:
    def __init__(self, program, directory, certificate, private_key):
        tree = settings(directory, Pair(certificate, private_key), 25)
        tree["auth"]["file"]["path"].touch(0o600)
        self.config = directory / "checked.toml"
        self.config.write_text(parts_gateway.toml.dump(tree) + "\n")
        self.config.chmod(0o600)
        self.done = check(program, self.config)
        self.text = self.done.stdout

    def line_of(self, key):
        for number, line in enumerate(self.config.read_text().splitlines(), 1):
            if line.lstrip().startswith(f"{key} ="):
                return number
        raise AssertionError(f"no {key}")


def test_what_is_wrong_with_a_certificate_is_said(program, directory, authority):
    good, other = authority.server("a.example.com"), authority.server("b.example.com")
    encrypted, garbage = directory / "encrypted.key", directory / "garbage.pem"
    run("openssl", "pkey", "-in", good.private_key, "-aes256", "-passout", "pass:x", "-out", encrypted)
    encrypted.chmod(0o600)
    damaged = directory / "damaged.pem"
    damaged.write_text(good.certificate.read_text().replace("MII", "!!!", 1))
    garbage.write_text("nothing\n")
    empty = directory / "empty.pem"
    empty.touch()
    der = directory / "cert.der"
    run("openssl", "x509", "-in", good.certificate, "-outform", "der", "-out", der)
    upside_down = directory / "chain.pem"
    leaf, ca = good.certificate.read_text(), authority.certificate.read_text()
    upside_down.write_text(ca + leaf)
    for certificate, key, words in [
        (good.certificate, other.private_key, "is not the private key of the certificate of CN=a.example.com"),
        (good.certificate, encrypted, "is encrypted with a passphrase"),
        (good.certificate, good.certificate, "has no private key: it is a certificate"),
        (good.private_key, good.private_key, "has no certificate: it is a private key"),
        (garbage, good.private_key, "has no certificate: it has no PEM block"),
        (damaged, good.private_key, "certificate number 1 in"),
        (empty, good.private_key, "is empty"),
        (der, good.private_key, "is in DER or PKCS#12 format"),
        (upside_down, good.private_key, "it must be the first"),
    ]:
        if key == good.certificate:
            good.certificate.chmod(0o600)
        checked = Checked(program, directory, certificate, key)
        assert checked.done.returncode == 78 and words in checked.text, checked.text
        assert f"{checked.config}:{checked.line_of('certificate')}:" in checked.text and "tls.certificate" in checked.text
        assert str(certificate) in checked.text or str(key) in checked.text


def signed(directory, name, issuer=None, days=400, bits=2048, digest="sha256", ca=False):
    """A certificate with an RSA key, signed by (certificate, key) or by itself."""
    key, request, certificate = (directory / f"{name}.{end}" for end in ("key", "csr", "pem"))
    extensions = directory / f"{name}.ext"
    extensions.write_text(f"basicConstraints=CA:{'TRUE' if ca else 'FALSE'}\nsubjectAltName=DNS:{name}\n")
    run("openssl", "req", "-newkey", f"rsa:{bits}", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    sign = ["-CA", issuer[0], "-CAkey", issuer[1], "-CAcreateserial"] if issuer else ["-signkey", key]
    run("openssl", "x509", "-req", "-in", request, *sign, "-days", days, f"-{digest}", "-extfile", extensions,
        "-out", certificate)
    key.chmod(0o600)
    return certificate, key


def test_certificates_that_will_not_do_for_long_or_for_everybody(program, directory):
    root = signed(directory, "root.example", ca=True)
    middle = signed(directory, "middle.example", root, ca=True)
    leaf = signed(directory, "leaf.example", middle)
    assert "the intermediate certificate of CN=middle.example is missing" in Checked(program, directory, *leaf).text
    chain = directory / "whole.pem"
    chain.write_text("".join(path.read_text() for path in (leaf[0], middle[0], root[0])))
    whole = Checked(program, directory, chain, leaf[1])
    assert whole.done.returncode == 0 and "(tls.certificate)" not in whole.text, whole.text
    chain.write_text("".join(path.read_text() for path in (leaf[0], root[0])))
    assert "is not the issuer of number 1" in Checked(program, directory, chain, leaf[1]).text
    for made, words in [
        (signed(directory, "weak.example", bits=1024), "has 1024 bits"),
        (signed(directory, "late.example", days=20), None),  # valid for less than 90 days
        (signed(directory, "soon.example", days=10), "expires in 9 days, on 20"),
        (signed(directory, "old.example", days=-1), "has expired, on 20"),
    ]:
        checked = Checked(program, directory, *made)
        if words:
            place = f"{checked.config}:{checked.line_of('certificate')}:"
            assert words in checked.text and place in checked.text and "warning" in checked.text, checked.text
        else:
            assert "(tls.certificate)" not in checked.text, checked.text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_check_as_the_services_user(program, directory, pair, authority):
    own = authority.server("c.example.com")
    key = directory / "own.key"
    shutil.copy(own.private_key, key)
    key.chmod(0o600)  # root's
    tree = settings(directory, Pair(own.certificate, key), 25)
    config = directory / "as.toml"
    config.write_text(parts_gateway.toml.dump(tree) + "\n")
    config.chmod(0o644)
    tree["auth"]["file"]["path"].touch(0o644)
    own.certificate.chmod(0o644)
    done = check(program, config)
    assert done.returncode == 0, done.stdout
    done = check(program, config, "--as", "nobody")
    assert done.returncode == 78 and f'"{key}" can not be read' in done.stdout.replace("cannot", "can not"), done.stdout
    shutil.chown(key, "nobody")
    done = check(program, config, "--as", "nobody")
    assert done.returncode == 78 and "state.path" in done.stdout, "the state cannot be written"
    assert check(program, config, "--as", "no-such-user").returncode == 77


# --- reload

def reload_commands(program, config, pid):
    """The lines of the unit, as systemd runs them: one after another, up to the first that fails."""
    text = (TOP / "systemd/portcullis.service.in").read_text()
    lines = re.findall(r"^ExecReload=(.*)$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        line = line.replace("@sbindir@/portcullis", program).replace("@sysconfdir@/portcullis/portcullis.toml", str(config))
        done = run(*line.replace("$MAINPID", str(pid)).split(), check=False)
        if done.returncode != 0:
            return done.returncode, done.stdout
    return 0, ""


def test_a_reload_of_a_broken_file_fails(parts, directory, program, pair, sink):
    gateway = parts.use(Gateway(program, directory, settings(directory, pair, sink.port)))
    pid = gateway.process.pid
    assert reload_commands(program, gateway.config, pid) == (0, "")
    gateway.wait_for_journal(event="reloaded")
    good = gateway.config.read_text()
    gateway.config.write_text(good + "[nonsense]\n")
    code, text = reload_commands(program, gateway.config, pid)
    assert code == 78 and "nonsense" in text
    gateway.config.write_text(good)
    pair_before = pathlib.Path(pair.certificate).read_text()
    damaged = directory / "damaged.pem"
    damaged.write_text("nothing\n")
    gateway.config.write_text(good.replace(str(pair.certificate), str(damaged)))
    code, text = reload_commands(program, gateway.config, pid)
    assert code == 78 and str(damaged) in text and "has no PEM block" in text
    assert pathlib.Path(pair.certificate).read_text() == pair_before
    # No signal was sent: the gateway knows of one reload. One that is signaled all the same changes nothing.
    assert len(gateway.journal(event="reloaded")) == 1 and gateway.journal(event="reload_failed") == []
    gateway.send(signal.SIGHUP)
    (failed,) = gateway.wait_for_journal(event="reload_failed")
    assert json.dumps(failed) and str(damaged) in gateway.process.errors()
    gateway.config.write_text(good)
