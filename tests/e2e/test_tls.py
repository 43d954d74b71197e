"""TLS toward clients: versions, names, client certificates, resumption, and what comes in before it."""

import socket
import ssl
import subprocess

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port
from parts.process import run
from parts.sink import Sink

CAROL = "carol@example.com"


@pytest.fixture(scope="module")
def second(authority):
    return authority.server("mail.example.org")


@pytest.fixture(scope="module")
def gateway(module_parts, module_directory, program, pair, second, authority):
    sink = module_parts.use(Sink(program, module_directory / "sink"))
    tree = settings(module_directory, pair, sink.port)
    tree["tls"] = {"client_ca": authority.certificate,
                   "certificate": [{"certificate": p.certificate, "private_key": p.private_key} for p in (pair, second)]}
    tree["listener"].append({"name": "devices", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit",
                             "auth": "required", "client_certificate": "request"})
    tree["listener"].append({"name": "strict", "address": f"{ADDRESS}:{free_port()}", "tls": "implicit",
                             "auth": "required", "client_certificate": "require"})
    return module_parts.use(Gateway(program, module_directory, tree, users=[(ALICE, PASSWORD), (CAROL, "cat")]))


def s_client(gateway, listener, *more, stdin="QUIT\n"):
    """-crlf makes CRLF of each LF."""
    return subprocess.run(["openssl", "s_client", "-connect", f"{ADDRESS}:{gateway.port(listener)}", "-quiet", "-crlf", *more],
                          input=stdin, text=True, capture_output=True, timeout=20, check=False)


@pytest.mark.parametrize("version, ok", [("TLSv1_2", True), ("TLSv1_3", True), ("TLSv1_1", False)])
def test_versions(gateway, authority, version, ok):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as plain:
        if not ok:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="mx.example.com")
            return
        with context.wrap_socket(plain, server_hostname="mx.example.com") as secure:
            assert secure.version() == version.replace("_", ".")
            assert secure.recv(1000).startswith(b"220 mx.example.com")


def test_renegotiation_is_refused(gateway):
    """R at the begin of a line makes s_client ask for it, after which the session is over; others are not touched."""
    handshakes = gateway.metric("portcullis_tls_handshakes_total", side="client", result="success")
    done = run("sh", "-c", '{ sleep 1; echo NOOP; sleep 1; echo R; sleep 1; echo NOOP; sleep 1; } | '
               'openssl s_client -tls1_2 -crlf -connect "$1"', "sh", f"{ADDRESS}:{gateway.port('submissions')}", check=False)
    assert "RENEGOTIATING" in done.stdout, done.stdout
    before, after = done.stdout.split("RENEGOTIATING")
    assert "250 2.0.0" in before and "250 2.0.0" not in after, done.stdout
    assert "no renegotiation" in after, after
    assert gateway.metric("portcullis_tls_handshakes_total", side="client", result="success") == handshakes + 1
    assert "221 2.0.0" in s_client(gateway, "submissions").stdout


def test_gnutls_client(gateway, authority):
    # It leaves at the end of its input, answered or not: keep that open for a moment.
    done = run("sh", "-c", '{ echo QUIT; sleep 2; } | gnutls-cli --crlf --x509cafile "$1" --verify-hostname mx.example.com '
               '--port "$2" "$3"', "sh", authority.certificate, gateway.port("submissions"), ADDRESS, check=False)
    assert "220 mx.example.com" in done.stdout and "221 2.0.0" in done.stdout, done.stdout


@pytest.mark.parametrize("name", ["mx.example.com", "mail.example.org"])
def test_sni_chooses_the_certificate(gateway, authority, name):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as plain, \
            context.wrap_socket(plain, server_hostname=name) as secure:
        names = [value for kind, value in secure.getpeercert()["subjectAltName"] if kind == "DNS"]
        assert name in names


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_resumption(gateway, directory, version):
    saved = directory / "session.pem"
    first = s_client(gateway, "submissions", version, "-sess_out", str(saved))
    assert "221 2.0.0" in first.stdout, first
    again = subprocess.run(["openssl", "s_client", "-connect", f"{ADDRESS}:{gateway.port('submissions')}", version, "-crlf",
                            "-sess_in", str(saved), "-ign_eof"], input="QUIT\n", text=True, capture_output=True, timeout=20,
                           check=False)
    assert "Reused, TLSv1" in again.stdout, again.stdout


def external(gateway, listener, pair, *more):
    arguments = ["-cert", str(pair.certificate), "-key", str(pair.private_key)] if pair else []
    return s_client(gateway, listener, *arguments, "-ign_eof", *more, stdin="EHLO device.test\nAUTH EXTERNAL =\nQUIT\n")


def test_client_certificate_is_a_login(gateway, authority):
    done = external(gateway, "devices", authority.client(CAROL))
    assert "AUTH " in done.stdout and "EXTERNAL" in done.stdout and "235 2.7.0" in done.stdout, done
    assert gateway.wait_for_journal(type="session", login=CAROL, mechanism="EXTERNAL")


def test_no_certificate_no_external(gateway):
    done = external(gateway, "devices", None)
    assert "EXTERNAL" not in done.stdout.partition("QUIT")[0].replace("AUTH EXTERNAL =", "") and "235" not in done.stdout, done


def test_a_foreign_authority_signs_nobody_in(gateway, directory):
    from parts.certificates import Authority
    stranger = Authority(directory / "other-ca", "Other CA").client(CAROL)
    done = external(gateway, "strict", stranger)
    assert "235" not in done.stdout and "220 mx" not in done.stdout, done


def test_required_certificate(gateway, authority):
    assert "220 mx" not in external(gateway, "strict", None).stdout
    assert "235 2.7.0" in external(gateway, "strict", authority.client(CAROL)).stdout


def test_plaintext_with_starttls_is_never_executed(gateway):
    """CVE-2011-0411: commands in the packet of STARTTLS must not be answered inside TLS."""
    with socket.create_connection((ADDRESS, gateway.port("mx")), timeout=10) as plain:
        assert plain.recv(1000).startswith(b"220")
        plain.sendall(b"EHLO x.test\r\n")
        plain.recv(1000)
        plain.sendall(b"STARTTLS\r\nRSET\r\nMAIL FROM:<inject@example.org>\r\n")
        answer = plain.recv(1000)
        if answer.startswith(b"220"):
            try:
                with ssl._create_unverified_context().wrap_socket(plain) as secure:
                    secure.settimeout(2)
                    secure.sendall(b"NOOP\r\n")
                    answer = secure.recv(1000)
                    assert answer == b"" or answer.startswith(b"250 2.0.0") and answer.count(b"\r\n") == 1, answer
            except OSError:
                pass
        else:
            assert answer.startswith(b"5"), answer
    assert gateway.metric("portcullis_protocol_violations_total", type="starttls_injection") >= 1


def test_state_before_tls_is_forgotten(gateway):
    with socket.create_connection((ADDRESS, gateway.port("mx")), timeout=10) as plain:
        plain.recv(1000)
        plain.sendall(b"EHLO x.test\r\n")
        plain.recv(1000)
        plain.sendall(b"MAIL FROM:<before@example.org>\r\n")
        assert plain.recv(1000).startswith(b"250")
        plain.sendall(b"RSET\r\n")
        plain.recv(1000)
        plain.sendall(b"STARTTLS\r\n")
        assert plain.recv(1000).startswith(b"220")
        with ssl._create_unverified_context().wrap_socket(plain) as secure:
            secure.sendall(b"MAIL FROM:<after@example.org>\r\n")
            assert secure.recv(1000).startswith(b"503")  # EHLO again first (RFC 3207 4.2)


def test_certificate_expiry_is_a_metric(gateway):
    values = [v for n, _, v in gateway.samples() if n == "portcullis_tls_certificate_not_after_timestamp_seconds"]
    assert len(values) == 2 and all(v > 1.7e9 for v in values)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_client_that_has_said_all_still_hears_all(gateway, authority, version):
    """close_notify right behind its commands ends what it sends (RFC 8446 6.1), not what it is told."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(arrived, leaving, server_hostname="mx.example.com")
    with socket.create_connection((ADDRESS, gateway.port("submissions")), timeout=10) as plain:
        def until_done(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    plain.sendall(leaving.read())
                    octets = plain.recv(65536)
                    arrived.write(octets) if octets else arrived.write_eof()
        until_done(client.do_handshake)
        assert until_done(lambda: client.read(1000)).startswith(b"220 ")
        client.write(b"NOOP\r\nRSET\r\nQUIT\r\n")
        with pytest.raises(ssl.SSLWantReadError):
            client.unwrap()
        said = b""
        with pytest.raises(ssl.SSLZeroReturnError):  # the gateway's own close_notify
            while octets := until_done(lambda: client.read(1000)):
                said += octets
        assert [line[:3] for line in said.split(b"\r\n")] == [b"250", b"250", b"221", b""]
