"""Each listener in each TLS mode with the clients that people use, and what each listener must not do."""

import smtplib
import ssl

import pytest
from parts.clients import curl, message, msmtp, swaks
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, free_port
from parts.sink import Sink

BOB = "bob@example.net"


@pytest.fixture(scope="module")
def sink(module_parts, module_directory, program):
    return module_parts.use(Sink(program, module_directory / "sink"))


@pytest.fixture(scope="module")
def gateway(module_parts, module_directory, program, pair, sink):
    tree = settings(module_directory, pair, sink.port)
    tree["listener"][1]["address"] = [f"{ADDRESS}:{free_port()}", f"[::1]:{free_port('::1')}"]
    tree["listener"].append({"name": "trusted", "address": f"{ADDRESS}:{free_port()}", "tls": "off", "auth": "required"})
    tree["network"] = [{"name": "this-machine", "addresses": ["127.0.0.1"], "may_auth_without_tls": True}]
    tree["listener"].append({"name": "open", "address": f"{ADDRESS}:{free_port()}", "tls": "off", "auth": "off"})
    return module_parts.use(Gateway(program, module_directory, tree))


def delivered(sink, subject):
    """The one message with this subject."""
    found = [m for m in sink.maildir.messages() if f"Subject: {subject}\r\n".encode() in m or
             f"Subject: {subject}\n".encode() in m]
    assert len(found) == 1, f"{len(found)} messages with subject {subject}"
    return found[0]


AUTHENTICATED = [("submission", "starttls"), ("submissions", "implicit"), ("mx", "starttls"), ("trusted", None)]


@pytest.mark.parametrize("listener, tls", AUTHENTICATED)
@pytest.mark.parametrize("client", ["swaks", "curl", "msmtp", "smtplib"])
def test_a_user_sends(gateway, sink, authority, directory, listener, tls, client):
    subject = f"{listener}-{client}"
    text = message(ALICE, BOB, subject)
    port, ca = gateway.port(listener), authority.certificate
    if client == "swaks":
        outcome = swaks(port, ALICE, BOB, tls, ALICE, PASSWORD, ca=ca, data=text)
    elif client == "curl":
        outcome = curl(port, ALICE, BOB, text, directory, tls, ALICE, PASSWORD, ca)
    elif client == "msmtp":
        outcome = msmtp(port, ALICE, BOB, text, directory, tls, ALICE, PASSWORD, ca)
    else:
        send_with_smtplib(port, tls, ca, text)
        outcome = None
    assert outcome is None or outcome.ok, outcome
    assert b"hi there" in delivered(sink, subject)
    (record,) = gateway.wait_for_journal(type="transaction", listener=listener,
                                         message_id=f"<{abs(hash(subject))}@client.test>")
    assert record["result"] == "accepted" and record["login"] == ALICE
    assert record.get("tls_version", "none") == ("none" if tls is None else "TLSv1.3")


def send_with_smtplib(port, tls, ca, text):
    context = ssl.create_default_context(cafile=str(ca))
    if tls == "implicit":
        client = smtplib.SMTP_SSL(ADDRESS, port, timeout=20, context=context)
    else:
        client = smtplib.SMTP(ADDRESS, port, timeout=20)
    with client:
        if tls == "starttls":
            client.starttls(context=context)
        client.login(ALICE, PASSWORD)
        assert client.sendmail(ALICE, [BOB], text) == {}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_mechanisms(gateway, authority, mechanism):
    outcome = swaks(gateway.port("submission"), ALICE, BOB, "starttls", ALICE, PASSWORD, mechanism, authority.certificate)
    assert outcome.ok, outcome


def test_ipv6(gateway, authority):
    (_, address) = gateway.tree["listener"][1]["address"]
    port = int(address.rpartition(":")[2])
    outcome = swaks(port, ALICE, BOB, "starttls", ALICE, PASSWORD, ca=authority.certificate, address="::1")
    assert outcome.ok, outcome
    assert gateway.wait_for_journal(type="transaction", client="::1")


def test_a_stranger_may_write_to_us(gateway, sink):
    outcome = swaks(gateway.port("mx"), "stranger@example.org", "bob@example.com", data=message(
        "stranger@example.org", "bob@example.com", "from-outside"))
    assert outcome.ok, outcome
    delivered(sink, "from-outside")


@pytest.mark.parametrize("listener", ["submission", "submissions"])
def test_nothing_without_login(gateway, listener):
    outcome = swaks(gateway.port(listener), "stranger@example.org", "bob@example.com",
                    "implicit" if listener == "submissions" else "starttls")
    assert not outcome.ok and "530 5.7.0" in outcome.text, outcome


def test_auth_is_offered_only_where_it_may_be_used(gateway):
    with smtplib.SMTP(ADDRESS, gateway.port("submission"), timeout=20, source_address=("127.0.0.2", 0)) as client:
        client.ehlo()
        assert client.has_extn("starttls") and not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] in (523, 538)
    with smtplib.SMTP(ADDRESS, gateway.port("open"), timeout=20) as client:
        client.ehlo()
        assert not client.has_extn("auth") and not client.has_extn("starttls")
    with smtplib.SMTP(ADDRESS, gateway.port("trusted"), timeout=20) as client:
        client.ehlo()
        assert client.has_extn("auth")


def test_capabilities_stay_the_same_after_auth(gateway):
    context = ssl._create_unverified_context()
    with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=20, context=context) as client:
        client.ehlo()
        before = {key: value for key, value in client.esmtp_features.items() if key != "auth"}
        client.login(ALICE, PASSWORD)
        client.ehlo()
        after = {key: value for key, value in client.esmtp_features.items() if key != "auth"}
    assert before == after and "size" in before and "pipelining" in before


def test_wrong_password_is_535_and_unknown_user_alike(gateway, authority):
    def answer(login):
        outcome = swaks(gateway.port("submission"), ALICE, BOB, "starttls", login, "wrong", ca=authority.certificate)
        assert not outcome.ok
        return [line for line in outcome.text.splitlines() if " 535 5.7.8 " in line]
    known, unknown = answer(ALICE), answer("nobody@example.com")
    assert known and len(known) == len(unknown)
    session = gateway.wait_for_journal(type="session", auth_failures=1)
    assert session


def test_large_message_arrives_unchanged(gateway, sink, directory, authority):
    lines = "".join(f"{i:08d} {'x' * (i % 70)}\r\n.dot {i}\r\n" for i in range(60000))
    text = message(ALICE, BOB, "large", lines)
    outcome = curl(gateway.port("submission"), ALICE, BOB, text, directory, "starttls", ALICE, PASSWORD,
                   authority.certificate)
    assert outcome.ok, outcome.text[-2000:]
    arrived = delivered(sink, "large").replace(b"\r\n", b"\n")
    body = arrived.partition(b"\n\n")[2]
    assert body == lines.replace("\r\n", "\n").encode()
