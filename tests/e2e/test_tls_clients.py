"""Clients with TLS of their own make: Node.js and GnuTLS, which come back with the session that they were given, and
NSS, which is what Thunderbird has."""

import json
import pathlib

import pytest
from parts import clients
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS
from parts.process import run
from parts.sink import Sink

PARTS = pathlib.Path(clients.__file__).parent
MODES = {"starttls": "submission", "implicit": "submissions"}


VERSIONS = ["1.2", "1.3"]


@pytest.fixture(scope="module")
def sink(module_parts, module_directory, program):
    return module_parts.use(Sink(program, module_directory / "sink"))


@pytest.fixture(scope="module")
def gateway(module_parts, module_directory, program, pair, sink):
    return module_parts.use(Gateway(program, module_directory, settings(module_directory, pair, sink.port)))


@pytest.fixture
def sent(gateway, sink):
    """Each test sends two messages; called, it waits for their records and tells by which versions of TLS they came."""
    sink.maildir.clear()
    before = len(gateway.journal(type="transaction"))
    yield lambda: {line["tls_version"] for line in gateway.wait_for_journal(before + 2, type="transaction", result="accepted")[before:]}
    assert len(sink.maildir.messages()) == 2


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_node(gateway, authority, sent, mode, version):
    done = run("node", f"--tls-max-v{version}", PARTS / "mail_client.mjs", ADDRESS, gateway.port(MODES[mode]), mode,
               authority.certificate, ALICE, PASSWORD, ALICE, "bob@example.net")
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["protocol"] == f"TLSv{version}" and said["reused"] == [False, True], said
    assert all(replies[-2].startswith("250") for replies in said["replies"]), said
    assert sent() == {f"TLSv{version}"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_nss(gateway, authority, sent, mode, version):
    scheme = "smtps" if mode == "implicit" else "smtp"
    done = run("/usr/bin/python3", PARTS / "nss_client.py", f"{scheme}://{ADDRESS}:{gateway.port(MODES[mode])}/client.test",
               authority.certificate, ALICE, PASSWORD, ALICE, "bob@example.net", version,
               stdin=clients.message(ALICE, "bob@example.net"))
    assert "NSS/" in done.stdout and done.stdout.count("250 2.0.0") >= 2, done.stdout
    assert sent() == {f"TLSv{version}"}


@pytest.mark.parametrize("version", VERSIONS)
def test_gnutls_resumes(gateway, authority, version):
    priority = f"NORMAL:-VERS-ALL:+VERS-TLS{version}"
    # It leaves at the end of its input, answered or not: keep that open for a moment.
    done = run("sh", "-c", '{ echo QUIT; sleep 2; } | gnutls-cli --resume --crlf --priority "$4" --x509cafile "$1" '
               '--verify-hostname mx.example.com --port "$2" "$3"', "sh", authority.certificate, gateway.port("submissions"),
               ADDRESS, priority, check=False)
    assert "This is a resumed session" in done.stdout and "221 2.0.0" in done.stdout, done.stdout
