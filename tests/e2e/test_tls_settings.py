"""TLS toward clients, as configured: versions and curves, whole chains, names, client certificates as logins,
tickets over reloads, and peers that speak something else or nothing."""

import contextlib
import re
import socket
import ssl
import time

import pytest
from parts.certificates import Authority, Pair
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port
from parts.process import run
from parts.scripted import ScriptedUpstream

CAROL = "carol@example.com"


@pytest.fixture
def start(parts, directory, program, pair):
    """start(tls={...}, listener={...}, **changes): a gateway; `listener` changes the one for submissions."""
    upstream = parts.use(ScriptedUpstream())

    def start(tls=None, listener=None, more_listeners=(), **changes):
        tree = settings(directory, pair, upstream.port, **changes)
        tree["tls"] = tls if tls and isinstance(tls.get("certificate"), list) else {**tree["tls"], **(tls or {})}
        tree["listener"][2].update(listener or {})
        tree["listener"] += more_listeners
        return parts.use(Gateway(program, directory, tree, users=[(ALICE, PASSWORD), (CAROL, "cat")]))
    return start


def s_client(gateway, *more, listener="submissions", script="QUIT\n"):
    """What openssl s_client says and hears, whatever becomes of it."""
    done = run("openssl", "s_client", "-connect", f"{ADDRESS}:{gateway.port(listener)}", "-crlf", "-ign_eof", *more,
               stdin=script, check=False, seconds=20)
    return done.stdout


@contextlib.contextmanager
def connected(gateway, context=None, name="mx.example.com", listener="submissions", session=None):
    context = context or ssl._create_unverified_context()
    with socket.create_connection((ADDRESS, gateway.port(listener)), timeout=10) as plain, \
            context.wrap_socket(plain, server_hostname=name, session=session) as secure:
        yield secure


def greeting(secure):
    octets = secure.recv(1000)
    assert octets.startswith(b"220 mx.example.com"), octets
    return octets


def everything(connection, seconds=10):
    """All that comes until the other side closes; an AssertionError when it does not."""
    connection.settimeout(seconds)
    octets = b""
    try:
        while chunk := connection.recv(65536):
            octets += chunk
    except TimeoutError:
        raise AssertionError(f"still open after {seconds} s, said {octets!r}") from None
    except OSError:
        pass
    return octets


# --- versions, curves, certificates


def test_minimum_version(start):
    gateway = start(tls={"minimum_version": "1.3"})
    assert "221 2.0.0" in s_client(gateway, "-tls1_3")
    refused = s_client(gateway, "-tls1_2")
    assert "220 mx" not in refused and "alert protocol version" in refused, refused
    assert gateway.metric("portcullis_tls_handshake_failures_total", side="client", reason="protocol_version") == 1


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_are_refused(start, version):
    refused = s_client(start(), version, "-cipher", "ALL:@SECLEVEL=0")
    assert "220 mx" not in refused and "alert protocol version" in refused, refused


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
def test_no_cipher_without_forward_secrecy_or_aead(start, cipher):
    assert "220 mx" not in s_client(start(), "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")


def test_curves(start):
    gateway = start(tls={"curves": ["P-384"]})
    assert "secp384r1" in s_client(gateway, "-curves", "X25519:P-256:P-384")
    assert "220 mx" not in s_client(gateway, "-curves", "X25519:P-256")


def test_the_whole_chain_is_sent(start, authority, directory):
    """A client that trusts the root alone must be able to build the chain through the intermediate."""
    between = Authority(directory / "between", "Intermediate CA")
    request, extensions = directory / "between.csr", directory / "between.ext"
    run("openssl", "x509", "-x509toreq", "-in", between.certificate, "-signkey", between.private_key, "-out", request)
    extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
    run("openssl", "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.private_key,
        "-CAcreateserial", "-days", "10", "-extfile", extensions, "-out", between.certificate)
    leaf = between.server("mx.example.com")
    gateway = start(tls={"certificate": leaf.certificate, "private_key": leaf.private_key})
    said = s_client(gateway, "-showcerts", "-CAfile", str(authority.certificate), "-verify_return_error",
                    "-verify_hostname", "mx.example.com")
    assert said.count("BEGIN CERTIFICATE") >= 2 and "Verification: OK" in said and "221 2.0.0" in said, said


def test_names_choose_certificates(start, authority, pair):
    wild, plain = authority.server("unused.test"), authority.server("mail.example.org")
    tls = [{"certificate": pair.certificate, "private_key": pair.private_key},
           {"certificate": plain.certificate, "private_key": plain.private_key},
           {"certificate": wild.certificate, "private_key": wild.private_key, "server_names": ["*.example.net"]}]
    gateway = start(tls={"certificate": tls})
    for name, expected in [("mail.example.org", "mail.example.org"), ("MAIL.Example.ORG", "mail.example.org"),
                           ("mx3.example.net", "unused.test"), ("example.net", "mx.example.com"),
                           ("a.b.example.net", "mx.example.com"), ("other.test", "mx.example.com")]:
        subject = re.search(r"subject=.*CN = (\S+)", s_client(gateway, "-servername", name))
        assert subject and subject[1] == expected, (name, subject)
    assert "CN = mx.example.com" in s_client(gateway, "-noservername")


def test_a_broken_certificate_is_not_taken(start, directory, pair):
    gateway = start()
    broken = directory / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n")
    gateway.tree["tls"]["certificate"] = broken
    gateway.reload(result="failure")
    assert gateway.metric("portcullis_config_last_reload_successful") == 0
    with connected(gateway) as secure:
        greeting(secure)
    gateway.tree["tls"]["certificate"] = pair.certificate
    gateway.reload()
    assert gateway.metric("portcullis_config_last_reload_successful") == 1


# --- client certificates


def client_context(pair=None):
    context = ssl._create_unverified_context()
    if pair:
        context.load_cert_chain(pair.certificate, pair.private_key)
    return context


def external(secure):
    """(what EHLO offered, the reply to AUTH EXTERNAL); "" when the server left."""
    try:
        greeting(secure)
        secure.sendall(b"EHLO device.test\r\n")
        offer = secure.recv(4096).decode()
        secure.sendall(b"AUTH EXTERNAL =\r\n")
        return offer, secure.recv(4096).decode()
    except (OSError, AssertionError):
        return "", ""


@pytest.mark.parametrize("source, right, wrong", [
    ("subject_cn", ("x@example.org", "device7"), ("x@example.org", "device8")),
    ("san_email", ("device7@devices.test", "any"), ("device8@devices.test", "any")),
])
def test_certificates_mapped_to_logins(start, authority, source, right, wrong):
    value = right[1] if source == "subject_cn" else right[0]
    gateway = start(tls={"client_ca": authority.certificate}, listener={"client_certificate": "request"},
                    auth={"certificate": {"login_from": source, "logins": {f'"{value}"': CAROL}}})
    with connected(gateway, client_context(authority.client(*right))) as secure:
        offer, reply = external(secure)
        assert "EXTERNAL" in offer and reply.startswith("235"), (offer, reply)
        # The identity is the login's, not the certificate's.
        secure.sendall(b"MAIL FROM:<carol@example.com>\r\n")
        assert secure.recv(1000).startswith(b"250")
    assert gateway.wait_for_journal(type="session", login=CAROL, mechanism="EXTERNAL")
    with connected(gateway, client_context(authority.client(*wrong))) as secure:
        offer, reply = external(secure)
        assert "EXTERNAL" not in offer and reply[:1] == "5", (offer, reply)


def test_an_unverified_certificate_is_nobody(start, authority, directory):
    """Where certificates are asked for only, a stranger's is no reason to hang up, and no login."""
    gateway = start(tls={"client_ca": authority.certificate}, listener={"client_certificate": "request"})
    stranger = Authority(directory / "other", "Other CA").client(CAROL)
    with connected(gateway, client_context(stranger)) as secure:
        offer, reply = external(secure)
        assert "EXTERNAL" not in offer and "PLAIN" in offer and reply[:1] == "5", (offer, reply)


# --- resumption


def resumable(gateway, context, name="mx.example.com", listener="submissions"):
    """A session to resume. TLS 1.3 tickets come with the first octets after the handshake."""
    with connected(gateway, context, name, listener=listener) as secure:
        greeting(secure)
        return secure.session


def versions():
    return pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3],
                                   ids=["1.2", "1.3"])


def of_version(context, version):
    context.minimum_version = context.maximum_version = version
    return context


@versions()
def test_tickets_outlive_a_reload(start, version):
    gateway = start()
    context = of_version(client_context(), version)
    session = resumable(gateway, context)
    gateway.reload()
    with connected(gateway, context, session=session) as secure:
        greeting(secure)
        assert secure.session_reused


@versions()
def test_tickets_can_be_turned_off(start, version):
    gateway = start(tls={"ticket_key_lifetime": "0s"})
    context = of_version(client_context(), version)
    session = resumable(gateway, context)
    with connected(gateway, context, session=session if session and session.has_ticket else None) as secure:
        greeting(secure)
        assert not secure.session_reused


def test_gnutls_resumes(start):
    gateway = start()
    said = run("sh", "-c", '{ sleep 2; echo QUIT; sleep 2; } | gnutls-cli --crlf --insecure --resume --port "$1" "$2"', "sh",
               gateway.port("submissions"), ADDRESS, check=False).stdout
    assert "*** This is a resumed session" in said and "221 2.0.0" in said, said


def test_a_certificate_login_is_resumed(start, authority):
    gateway = start(tls={"client_ca": authority.certificate}, listener={"client_certificate": "require"})
    context = client_context(authority.client(CAROL))
    session = resumable(gateway, context)
    with connected(gateway, context, session=session) as secure:
        offer, reply = external(secure)
        assert secure.session_reused and "EXTERNAL" in offer and reply.startswith("235"), (offer, reply)


@versions()
@pytest.mark.parametrize("origin, name", [("submissions", "mx.example.com"), ("devices", "mx.example.com"),
                                          ("submissions", "mail.example.org")])
def test_a_ticket_is_no_way_around_a_required_certificate(start, pair, authority, directory, origin, name, version):
    """A session made where no certificate is needed must not open the listener that requires one."""
    other = authority.server("mail.example.org")
    gateway = start(tls={"client_ca": authority.certificate, "certificate": [
        {"certificate": each.certificate, "private_key": each.private_key} for each in (pair, other)]}, more_listeners=[
        {"name": "devices", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit", "client_certificate": "request"},
        {"name": "strict", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit", "client_certificate": "require"}])
    stranger = Authority(directory / "other", "Other CA").client(CAROL)
    context = of_version(client_context(stranger if origin == "devices" else None), version)
    session = resumable(gateway, context, name, listener=origin)
    with connected(gateway, context, name, listener=origin, session=session) as secure:
        greeting(secure)
        assert secure.session_reused
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        with connected(gateway, context, name, listener="strict", session=session) as secure:
            greeting(secure)


def test_a_ticket_ends_with_its_authority(start, authority, directory):
    """After a reload with another client CA, what the old one vouched for is no login any more."""
    gateway = start(tls={"client_ca": authority.certificate}, listener={"client_certificate": "require"})
    context = client_context(authority.client(CAROL))
    session = resumable(gateway, context)
    gateway.tree["tls"]["client_ca"] = Authority(directory / "other", "Other CA").certificate
    gateway.reload()
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        with connected(gateway, context, session=session) as secure:
            greeting(secure)


# --- who is no mail client


@pytest.mark.parametrize("protocols, served", [
    (["h2", "http/1.1"], False), (["http/1.1"], False), (["http/1.0"], False), (["smtp"], True), (["imap", "smtp"], True)])
def test_alpn(start, protocols, served):
    gateway = start()
    context = client_context()
    context.set_alpn_protocols(protocols)
    if served:
        with connected(gateway, context) as secure:
            greeting(secure)
        return
    with pytest.raises((ssl.SSLError, ConnectionError)):
        with connected(gateway, context) as secure:
            secure.recv(1000)


@pytest.mark.parametrize("octets", [
    b"EHLO client.test\r\nMAIL FROM:<alice@example.com>\r\n", b"GET / HTTP/1.1\r\nHost: mx.example.com\r\n\r\n",
    b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\x80\x2e\x01\x00\x02" + b"\0" * 60, b"\0" * 100],
    ids=["smtp", "http", "oversized-record", "ssl2", "zeros"])
def test_no_tls_where_tls_is_spoken(start, octets):
    gateway = start()
    with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as plain:
        with contextlib.suppress(OSError):
            plain.sendall(octets)
        said = everything(plain)
    # Nothing but a TLS alert.
    assert said == b"" or said[:2] == b"\x15\x03" and b"250" not in said, said
    assert gateway.metric("portcullis_tls_handshakes_total", side="client", result="failure") == 1
    # (A record with a length that no TLS has is told apart by its header, not by what follows.)
    reason = "other" if octets.startswith(b"\x16") else "not_tls"
    assert gateway.metric("portcullis_tls_handshake_failures_total", side="client", reason=reason) == 1
    with connected(gateway) as secure:
        greeting(secure)


def test_clear_text_after_starttls_is_not_executed(start):
    """Commands in the clear where the handshake should be: no answer, and no effect."""
    gateway = start()
    with socket.create_connection((ADDRESS, gateway.port("mx")), timeout=10) as plain:
        plain.recv(1000)
        for line in (b"EHLO x.test\r\n", b"STARTTLS\r\n"):
            plain.sendall(line)
            answer = plain.recv(1000)
        assert answer.startswith(b"220"), answer
        plain.sendall(b"MAIL FROM:<inject@example.org>\r\nRCPT TO:<bob@example.com>\r\n")
        said = everything(plain)
    assert b"250" not in said and b"2.1." not in said, said
    (record,) = gateway.wait_for_journal(type="session")
    assert record["transactions"] == 0


def drip(connection, octets, seconds):
    """One octet every 0.2 s; the time until the other side had enough."""
    started = time.monotonic()
    connection.settimeout(0.2)
    for octet in octets:
        try:
            connection.sendall(bytes([octet]))
            if connection.recv(1000) == b"":
                break
        except TimeoutError:
            pass
        except OSError:
            break
        if time.monotonic() - started > seconds:
            raise AssertionError(f"still open after {seconds} s")
    return time.monotonic() - started


@pytest.mark.parametrize("starttls", [False, True])
@pytest.mark.parametrize("dripping", [False, True])
def test_a_stalled_handshake_ends(start, starttls, dripping):
    gateway = start(limits={"greeting_timeout": "2s", "command_timeout": "3s"})
    with socket.create_connection((ADDRESS, gateway.port("mx" if starttls else "submissions")), timeout=10) as plain:
        if starttls:
            plain.recv(1000)
            for line in (b"EHLO x.test\r\n", b"STARTTLS\r\n"):
                plain.sendall(line)
                assert plain.recv(1000)[:1] == b"2"
        started = time.monotonic()
        if dripping:
            drip(plain, b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03" + b"r" * 200, 12)
        else:
            assert everything(plain, 12) == b""
        assert 1.0 < time.monotonic() - started < 9
    (record,) = gateway.wait_for_journal(type="session")
    assert record["reason"] == "timeout"
    assert gateway.metric("portcullis_tls_handshake_failures_total", side="client", reason="timeout") == 1
