"""What is refused, with which words, and that it never reaches the server behind."""

import smtplib
import ssl

import pytest
from parts.clients import message, swaks
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS
from parts.sink import Sink

BOB = "bob@example.net"
CAROL = "carol@example.com"


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


@pytest.fixture
def start(parts, directory, program, pair, sink):
    def start(**changes):
        tree = settings(directory, pair, sink.port, **changes)
        return parts.use(Gateway(program, directory, tree, users=[(ALICE, PASSWORD), (CAROL, "cat")]))
    return start


def session(gateway, login=ALICE, password=PASSWORD):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=20, context=ssl._create_unverified_context())
    client.ehlo("client.test")
    if login:
        client.login(login, password)
    return client


def attempt(client, reverse_path, header, recipient=BOB):
    """The final reply to a message: (code, text)."""
    code, text = client.mail(reverse_path)
    if code == 250:
        code, text = client.rcpt(recipient)
    if code == 250:
        code, text = client.data(header + "\r\nhi\r\n")
    client.rset()
    return code, text.decode()


def test_nobody_sends_as_somebody_else(start, sink):
    gateway = start()
    with session(gateway) as client:
        forged = [
            ("carol@example.com", f"From: {ALICE}\r\n", "envelope"),
            ("alice@example.org", f"From: {ALICE}\r\n", "envelope"),
            (ALICE, f"From: {CAROL}\r\n", "header"),
            (ALICE, f"From: {ALICE}, {CAROL}\r\n", "header"),
            (ALICE, f"From: {ALICE}\r\nSender: {CAROL}\r\n", "header"),
            (ALICE, f'From: "{ALICE}" <{CAROL}>\r\n', "header"),
            (ALICE, f"From: =?utf-8?q?{ALICE.replace('@', '=40')}?= <{CAROL}>\r\n", "header"),
            (ALICE, f"From: group: {ALICE}, {CAROL};\r\n", "header"),
            (ALICE, f"From: {ALICE}\r\nFrom: {CAROL}\r\n", "header"),
            (ALICE, f"From : {CAROL}\r\n", "header"),
            (ALICE, "Subject: no From at all\r\n", "header"),
        ]
        for reverse_path, header, where in forged:
            code, text = attempt(client, reverse_path, header)
            assert 500 <= code < 600, (header, code, text)
            if where == "envelope":
                assert "identity" in text and "5.7.1" in text, text
        code, text = attempt(client, ALICE, f"From: {ALICE}\r\n")
        assert code == 250, text
        code, text = attempt(client, "alice+lists@example.com", "From: Alice <Alice@Example.COM>\r\n")
        assert code == 250, text
    assert len(sink.maildir.wait_for(2)) == 2
    assert gateway.metric("portcullis_spoof_detections_total", check="envelope", mode="enforce") == 2
    assert gateway.metric("portcullis_spoof_detections_total", check="header_from", mode="enforce") == 2
    assert gateway.metric("portcullis_spoof_detections_total", check="sender", mode="enforce") == 1


def test_a_refusal_names_rule_and_id(start):
    gateway = start()
    with session(gateway) as client:
        code, text = attempt(client, CAROL, f"From: {CAROL}\r\n")
    assert code == 553 or code == 550
    (record,) = gateway.wait_for_journal(type="transaction", result="rejected")
    assert record["rule"] == "identity" and "identity" in text and record["id"].split(".")[0] in text, (text, record)


def test_grants(start):
    gateway = start(grant=[{"who": ALICE, "send_as": "sales@example.com"}, {"who": "*@example.com", "send_as": "*@lists.example.com"}])
    with session(gateway) as client:
        assert attempt(client, "sales@example.com", "From: sales@example.com\r\n")[0] == 250
        assert attempt(client, "x@lists.example.com", "From: x@lists.example.com\r\n")[0] == 250
        assert attempt(client, CAROL, f"From: {CAROL}\r\n")[0] >= 500
    with session(gateway, CAROL, "cat") as client:
        assert attempt(client, "sales@example.com", "From: sales@example.com\r\n")[0] >= 500


def test_strangers(start, sink):
    gateway = start()
    port = gateway.port("mx")
    relay = swaks(port, "stranger@example.org", BOB)
    assert not relay.ok and "relay" in relay.text and "5.7.1" in relay.text, relay
    claims = swaks(port, CAROL, "bob@example.com")
    assert not claims.ok and "local-sender" in claims.text, claims
    header = swaks(port, "stranger@example.org", "bob@example.com", data=message(CAROL, "bob@example.com"))
    assert not header.ok and "local-sender" in header.text, header
    assert sink.maildir.messages() == []
    # A bounce from outside has no sender, and is not ours to refuse.
    assert swaks(port, "<>", "bob@example.com", data=message("MAILER-DAEMON@example.org", "bob@example.com")).ok


def test_trusted_networks(start, sink):
    gateway = start(network=[{"name": "printers", "addresses": ["127.0.0.0/8"], "may_use_local_senders": True}])
    port = gateway.port("mx")
    assert swaks(port, "scanner@example.com", "bob@example.com", data=message("scanner@example.com", "bob@example.com")).ok
    assert not swaks(port, "scanner@example.com", BOB).ok
    gateway.tree["network"][0]["may_relay"] = True
    gateway.reload()
    assert swaks(port, "scanner@example.com", BOB, data=message("scanner@example.com", BOB)).ok


def test_shadow_decides_and_lets_pass(start, sink):
    gateway = start(policy={"identity": {"mode": "shadow"}})
    with session(gateway) as client:
        assert attempt(client, CAROL, f"From: {CAROL}\r\n")[0] == 250
    sink.maildir.wait_for(1)
    (record,) = gateway.wait_for_journal(type="transaction")
    assert record["result"] == "accepted"
    assert {"identity"} == {hit["rule"] for hit in record["hits"] if hit["mode"] == "shadow"}
    assert gateway.metric("portcullis_policy_decisions_total", rule="identity", mode="shadow", action="reject") >= 1


def test_domain_rule(start):
    gateway = start(domain_rule=[{"name": "only-ours", "logins": [ALICE], "domains": ["example.org"]}])
    with session(gateway) as client:
        code, text = attempt(client, ALICE, f"From: {ALICE}\r\n")
        assert code >= 500 and "only-ours" in text
    with session(gateway, CAROL, "cat") as client:
        assert attempt(client, CAROL, f"From: {CAROL}\r\n")[0] == 250


def test_usage(start, sink):
    gateway = start(usage=[{"name": "small", "recipients_per_message": 3, "message_size": "10KiB",
                            "attachments_per_message": 1, "messages_per_session": 4}])
    with session(gateway) as client:
        client.mail(ALICE)
        codes = [client.rcpt(f"r{i}@example.net")[0] for i in range(5)]
        assert codes[:3] == [250, 250, 250] and all(400 <= c < 600 for c in codes[3:]), codes
        client.rset()
        assert client.mail(ALICE, [f"SIZE={20 * 1024}"])[0] == 552
        client.rset()
        code, text = attempt(client, ALICE, f"From: {ALICE}\r\n\r\n" + ("x" * 70 + "\r\n") * 300)
        assert code == 552 and "small" in text, (code, text)
    with session(gateway) as client:
        part = "--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nx\r\n"
        header = f"From: {ALICE}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        code, text = attempt(client, ALICE, header + part + part + "--b--\r\n")
        assert code >= 500 and "small" in text, (code, text)
        assert attempt(client, ALICE, header + part + "--b--\r\n")[0] == 250
    with session(gateway) as client:
        codes = [attempt(client, ALICE, f"From: {ALICE}\r\n")[0] for _ in range(5)]
        assert codes[:4] == [250] * 4 and codes[4] >= 400, codes
    assert len(sink.maildir.messages()) == 5


def test_rates(start, sink):
    gateway = start(rate=[{"name": "five-a-day", "key": "login", "limit": "5 recipients/day"}])
    with session(gateway) as client:
        codes = [attempt(client, ALICE, f"From: {ALICE}\r\n") for _ in range(7)]
        assert [c for c, _ in codes] == [250] * 5 + [codes[5][0]] * 2
        code, text = codes[5]
        assert code in (450, 452) and "4.7." in text and "five-a-day" in text, (code, text)
    with session(gateway, CAROL, "cat") as client:
        assert attempt(client, CAROL, f"From: {CAROL}\r\n")[0] == 250
    assert gateway.metric("portcullis_rate_limit_exceeded_total", limit="five-a-day", mode="enforce") == 2
    sink.maildir.wait_for(6)


def test_quotas_survive_a_restart(start, parts, directory, program, pair, sink):
    gateway = start(rate=[{"name": "two-a-day", "key": "login", "limit": "2 messages/day"}])
    with session(gateway) as client:
        assert [attempt(client, ALICE, f"From: {ALICE}\r\n")[0] for _ in range(2)] == [250, 250]
    gateway.stop()
    again = parts.use(Gateway(program, directory, gateway.tree, users=()))
    with session(again) as client:
        assert attempt(client, ALICE, f"From: {ALICE}\r\n")[0] in (450, 452)


def test_connections_of_one_network(start):
    gateway = start(limits={"connections": {"concurrent_per_network": 3}})
    held = [smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=10) for _ in range(3)]
    with pytest.raises(smtplib.SMTPConnectError) as refused:
        smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=10)
    assert refused.value.smtp_code == 421
    held.pop().quit()
    smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=10).quit()
    for client in held:
        client.quit()
    assert gateway.metric("portcullis_connections_rejected_total", listener="mx") == 1
