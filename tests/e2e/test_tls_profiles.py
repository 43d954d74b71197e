"""Cipher suites by listener: "modern" for passwords, "compatible" where an old mail server would fall back to clear
text (RFC 7435)."""

import socket
import ssl
import xml.etree.ElementTree

import pytest
from parts.gateway import Gateway, check, settings
from parts.loopback import ADDRESS
from parts.process import run
from parts.sink import Sink

CBC = ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA"]
RSA_KEY_EXCHANGE = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA", "AES256-SHA"]


@pytest.fixture(scope="module")
def rsa(session_directory):
    """An RSA certificate: key exchange with it is what old servers do."""
    key, certificate = session_directory / "rsa.key", session_directory / "rsa.pem"
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "90",
        "-subj", "/CN=mx.example.com", "-addext", "subjectAltName=DNS:mx.example.com")
    key.chmod(0o600)

    class Pair:
        pass
    pair = Pair()
    pair.certificate, pair.private_key = certificate, key
    return pair


@pytest.fixture(scope="module")
def gateway(module_parts, module_directory, program, rsa):
    sink = module_parts.use(Sink(program, module_directory / "sink"))
    many = {"connections": {"new_per_minute_per_network": 1000000}}
    tree = settings(module_directory, rsa, sink.port, limits=many)
    tree["listener"][0]["tls_profile"] = "compatible"
    return module_parts.use(Gateway(program, module_directory, tree))


def negotiated(gateway, listener, ciphers, version=ssl.TLSVersion.TLSv1_2, session=None, context=None):
    """(protocol, cipher, the socket's session, reused), None where there is nothing in common."""
    if context is None:
        context = ssl._create_unverified_context()
        context.maximum_version = version
        context.set_ciphers(ciphers + ":@SECLEVEL=0")
    with socket.create_connection((ADDRESS, gateway.port(listener)), timeout=20) as plain:
        if listener != "submissions":
            plain.recv(1000)
            plain.sendall(b"EHLO old.test\r\n")
            plain.recv(4000)
            plain.sendall(b"STARTTLS\r\n")
            assert plain.recv(1000).startswith(b"220")
        try:
            with context.wrap_socket(plain, server_hostname="mx.example.com", session=session) as secure:
                secure.sendall(b"EHLO old.test\r\n")
                secure.recv(4000)
                return secure.version(), secure.cipher()[0], secure.session, secure.session_reused
        except ssl.SSLError:
            return None


@pytest.mark.parametrize("cipher", CBC + RSA_KEY_EXCHANGE)
def test_old_suites_are_for_mail_servers_only(gateway, cipher):
    assert negotiated(gateway, "mx", cipher)[:2] == ("TLSv1.2", cipher)
    assert negotiated(gateway, "submission", cipher) is None
    assert negotiated(gateway, "submissions", cipher) is None


def test_better_ones_come_first(gateway):
    everything = "AES256-SHA:AES128-SHA:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-GCM-SHA256:AES128-GCM-SHA256"
    assert negotiated(gateway, "mx", everything)[1] == "ECDHE-RSA-AES128-GCM-SHA256"
    assert negotiated(gateway, "mx", "AES128-GCM-SHA256:AES256-SHA:ECDHE-RSA-AES256-SHA")[1] == "ECDHE-RSA-AES256-SHA"
    assert negotiated(gateway, "mx", "ALL", ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"


def test_nothing_broken_is_taken(gateway):
    for cipher in ("DES-CBC3-SHA", "RC4-SHA", "NULL", "aNULL", "SEED-SHA", "CAMELLIA128-SHA", "DHE-RSA-AES128-SHA"):
        try:
            assert negotiated(gateway, "mx", cipher) is None, cipher
        except ssl.SSLError:
            pass  # not even this client has it


def test_a_ticket_brings_no_old_suite_to_submission(gateway):
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    old = ssl._create_unverified_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA:@SECLEVEL=0")
    *_, session, _ = negotiated(gateway, "mx", "", context=old)
    assert negotiated(gateway, "mx", "", context=old, session=session)[3], "resumed where it came from"
    assert negotiated(gateway, "submission", "", context=old, session=session) is None


@pytest.mark.parametrize("listener, modern", [("mx", False), ("submission", True)])
def test_sslscan(gateway, directory, listener, modern):
    file = directory / "sslscan.xml"
    said = run("sslscan", "--no-colour", f"--xml={file}", "--starttls-smtp", f"{ADDRESS}:{gateway.port(listener)}",
               seconds=100).stdout
    test = xml.etree.ElementTree.parse(file).getroot().find("ssltest")
    enabled = {(p.get("type"), p.get("version")) for p in test.iter("protocol") if p.get("enabled") == "1"}
    assert enabled == {("tls", "1.2"), ("tls", "1.3")}, said
    ciphers = [c.get("cipher") for c in test.iter("cipher")]
    aead = ["GCM" in c or "POLY1305" in c for c in ciphers]
    assert all(int(c.get("bits")) >= 128 for c in test.iter("cipher")), said
    assert all(aead) == modern and ({"AES128-SHA", "ECDHE-RSA-AES128-SHA"} <= set(ciphers)) != modern, said
    assert all(c.startswith(("TLS_", "ECDHE-")) for c in ciphers) == modern, said


def test_is_told_where_it_does_not_belong(program, directory, gateway):
    gateway.tree["listener"][1]["tls_profile"] = "compatible"
    try:
        gateway.write_config()
        assert "listener[2].tls_profile: lets passwords cross with old cipher suites" in check(program, gateway.config).stdout
    finally:
        del gateway.tree["listener"][1]["tls_profile"]
        gateway.write_config()
