"""A real Postfix on either side of the gateway."""

import re
import smtplib
import ssl

import pytest
from parts.clients import curl, message, swaks
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, listens, wait_until
from parts.postfix import Postfix
from wire import Wire

BOB = "bob@example.net"
CAROL = "carol@example.com"


def gateway_before(postfix, directory, program, pair, **upstream):
    tree = settings(directory, pair, postfix.port)
    tree["upstream"][0].update(upstream)
    return Gateway(program, directory, tree)


@pytest.fixture(scope="module")
def postfix(module_parts, module_directory, pair):
    return module_parts.use(Postfix.upstream(module_directory / "postfix", pair))


def send(gateway, authority, subject, recipients=BOB, directory=None):
    """From 127.0.0.2, so that the client's address is another than the gateway's own."""
    return curl(gateway.port("submission"), ALICE, recipients, message(ALICE, BOB, subject), directory, "starttls",
                ALICE, PASSWORD, authority.certificate, more=("--interface", "127.0.0.2"))


def test_message_and_its_trail(parts, directory, program, pair, authority, postfix):
    gateway = parts.use(gateway_before(postfix, directory, program, pair))
    postfix.mailbox(BOB).clear()
    assert send(gateway, authority, "trail", directory=directory).ok
    (mail,) = postfix.mailbox(BOB).wait_for(1)
    (record,) = gateway.wait_for_journal(type="transaction")
    # One message, found from either end: our id in its Received field, its queue id in our journal.
    assert record["id"].split(".")[0].encode() in mail
    assert re.search(rf"{record['queue_id']}: .*status=sent|{record['queue_id']}: .*from=<{ALICE}>", postfix.log())
    assert record["upstream"] == f"legacy/{ADDRESS}:{postfix.port}" and record["upstream_code"] == 250
    assert "queued as" in record["upstream_reply"]
    received = re.findall(rb"^Received:(?:.*\n)(?:[ \t].*\n)*", mail, re.MULTILINE)
    assert len(received) == 2, mail
    assert b"with ESMTPSA" in received[1] and PASSWORD.encode() not in mail


def test_the_reply_is_postfix_own(parts, directory, program, pair, authority, postfix):
    gateway = parts.use(gateway_before(postfix, directory, program, pair))
    outcome = send(gateway, authority, "own-reply", directory=directory)
    assert re.search(r"< 250 2\.0\.0 Ok: (\d+ bytes )?queued as \w+", outcome.text), outcome


def test_unknown_recipient_is_refused_before_data(parts, directory, program, pair, authority, postfix):
    gateway = parts.use(gateway_before(postfix, directory, program, pair))
    outcome = swaks(gateway.port("submission"), ALICE, "nobody@example.net", "starttls", ALICE, PASSWORD,
                    ca=authority.certificate)
    assert not outcome.ok and re.search(r"550 5\.1\.1 ", outcome.text), outcome
    assert " DATA" not in outcome.text


def test_one_of_two_recipients(parts, directory, program, pair, authority, postfix):
    gateway = parts.use(gateway_before(postfix, directory, program, pair))
    postfix.mailbox(BOB).clear()
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=20, context=context) as client:
        client.login(ALICE, PASSWORD)
        refused = client.sendmail(ALICE, [BOB, "nobody@example.net"], message(ALICE, BOB, "half"))
    assert list(refused) == ["nobody@example.net"] and refused["nobody@example.net"][0] == 550
    postfix.mailbox(BOB).wait_for(1)
    (record,) = gateway.wait_for_journal(type="transaction")
    assert record["recipients_total"] == 2 and record["recipients_accepted"] == 1
    assert [r["code"] for r in record["recipients"]] == [250, 550]


@pytest.mark.parametrize("identity", ["xforward", "xclient"])
def test_postfix_learns_who_the_client_is(parts, directory, program, pair, authority, identity):
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    gateway = parts.use(gateway_before(postfix, directory, program, pair, client_identity=identity))
    assert send(gateway, authority, identity, directory=directory).ok
    record = gateway.wait_for_journal(type="transaction")[0]
    assert record["client"] == "127.0.0.2"
    if identity == "xforward":
        # Postfix logs the original client beside the queue id.
        postfix.wait_for_log(rf"{record['queue_id']}: client=.*orig_client=\S*\[{re.escape(record['client'])}\]")
    else:
        postfix.wait_for_log(rf"{record['queue_id']}: client=\S*\[{re.escape(record['client'])}\]")
        # … and takes it for the client, login and all: its own Received field says ESMTPA.
        (mail,) = postfix.mailbox(BOB).wait_for(1)
        received = mail.split(b"Received:")[1]
        assert b"[127.0.0.2]" in received and b"with ESMTPA" in received
        assert b"from " + record["helo"].encode() + b" (" in received


def test_where_a_message_came_from_goes_all_the_way(parts, directory, program, pair, authority):
    """Postfix in front tells it with XFORWARD, the journal says it, and Postfix behind logs it."""
    behind = parts.use(Postfix.upstream(directory / "behind"))
    tree = settings(directory, pair, behind.port)
    tree["upstream"][0]["client_identity"] = "xforward"
    tree["network"] = [{"name": "front", "addresses": ["127.0.0.1", ADDRESS], "may_send_xforward": True}]
    gateway = parts.use(Gateway(program, directory, tree))
    front = parts.use(Postfix.client(directory / "front", gateway.port("submission"), ALICE, PASSWORD, authority.certificate,
                                     smtp_send_xforward_command="yes", smtp_bind_address="127.0.0.1"))
    with smtplib.SMTP(ADDRESS, front.port, local_hostname="desk.test", source_address=("127.0.0.6", 0), timeout=20) as client:
        client.sendmail(ALICE, [BOB], message(ALICE, BOB, "from afar"))
    record = gateway.wait_for_journal(type="transaction", result="accepted")[0]
    assert (record["forwarded_client"], record["forwarded_helo"], record["client"]) == ("127.0.0.6", "desk.test", "127.0.0.1")
    assert record["forwarded_id"] in front.log()
    behind.wait_for_log(rf"{record['queue_id']}: client=.*orig_client=\S*\[127\.0\.0\.6\]")


def test_postfix_learns_when_a_session_goes_over_to_somebody_else(parts, directory, program, pair):
    """A proxy in front names one client after the other, a client changes its HELO: never does one pass for another."""
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    tree = settings(directory, pair, postfix.port)
    tree["upstream"][0]["client_identity"] = "xclient"
    tree["network"] = [{"name": "front", "addresses": ["127.0.0.1", ADDRESS], "may_send_xclient": True}]
    gateway = parts.use(Gateway(program, directory, tree))
    stages = [(b"XCLIENT ADDR=203.0.113.7 LOGIN=carol@example.com", "one.test", "203.0.113.7", CAROL),
              (b"XCLIENT ADDR=203.0.113.9", "two.test", "203.0.113.9", None),
              (None, "three.test", "203.0.113.9", None),
              (None, "three.test", "203.0.113.9", None)]
    with Wire(gateway.port("mx")) as client:
        for number, (command, helo, address, login) in enumerate(stages, 1):
            if command:
                assert client.ask(command)[0] == 220
            assert client.ask(b"EHLO " + helo.encode())[0] == 250
            sender = login or "stranger@example.org"
            assert client.ask(f"MAIL FROM:<{sender}>".encode())[0] == 250
            assert client.ask(b"RCPT TO:<bob@example.com>")[0] == 250
            assert client.ask(b"DATA")[0] == 354
            assert client.ask(message(sender, "bob@example.com", f"stage {number}").encode() + b".")[0] == 250
    mails = {re.search(rb"^Subject: stage (\d)", mail, re.MULTILINE)[1]: mail
             for mail in postfix.mailbox("bob@example.com").wait_for(len(stages))}
    for number, (_, helo, address, login) in enumerate(stages, 1):
        received = mails[str(number).encode()].split(b"Received:")[1]
        assert re.match(rf" from {helo} \(\S* ?\[{address}\]\)".encode(), received), received
        assert (b"with ESMTPA" in received) == bool(login), received
    # The last two came from the same client in the same words: by one connection.
    assert gateway.metric("portcullis_upstream_connection_reuses_total") == 1


@pytest.mark.parametrize("tls", ["opportunistic", "required", "verified"])
def test_tls_to_postfix(parts, directory, program, pair, authority, postfix, tls):
    gateway = parts.use(gateway_before(postfix, directory, program, pair, tls=tls, ca_file=authority.certificate,
                                       server_name="mx.example.com"))
    postfix.mailbox(BOB).clear()
    assert send(gateway, authority, tls, directory=directory).ok
    (mail,) = postfix.mailbox(BOB).wait_for(1)
    assert b"with ESMTPS" in mail.split(b"Received:")[1]
    assert gateway.metric("portcullis_tls_handshakes_total", side="upstream", result="success") >= 1


@pytest.mark.parametrize("changes", [{"server_name": "other.example.com"}, {"ca_file": "/etc/ssl/certs/ca-certificates.crt"}])
def test_a_certificate_that_is_not_the_servers_gets_no_mail(parts, directory, program, pair, authority, postfix, changes):
    upstream = {"tls": "verified", "ca_file": authority.certificate, "server_name": "mx.example.com", **changes}
    gateway = parts.use(Gateway(program, directory, _tree(directory, pair, postfix, upstream), ready=False))
    gateway.process.ready(lambda: listens(gateway.port("submission")))
    postfix.mailbox(BOB).clear()
    outcome = send(gateway, authority, "mitm", directory=directory)
    assert not outcome.ok and "451" in outcome.text, outcome
    assert postfix.mailbox(BOB).messages() == []


def test_no_tls_no_mail_where_it_is_required(parts, directory, program, pair, authority):
    postfix = parts.use(Postfix.upstream(directory / "plain"))
    gateway = parts.use(Gateway(program, directory, _tree(directory, pair, postfix, {"tls": "required"}), ready=False))
    gateway.process.ready(lambda: listens(gateway.port("submission")))
    outcome = send(gateway, authority, "downgrade", directory=directory)
    assert not outcome.ok and "451" in outcome.text, outcome
    assert postfix.mailbox(BOB).messages() == []


def _tree(directory, pair, postfix, upstream):
    tree = settings(directory, pair, postfix.port)
    tree["upstream"][0].update(upstream)
    return tree


def test_failover_to_the_second_server(parts, directory, program, pair, authority, postfix):
    dead = ADDRESS + ":1"
    gateway = parts.use(gateway_before(postfix, directory, program, pair, servers=[dead, f"{ADDRESS}:{postfix.port}"]))
    postfix.mailbox(BOB).clear()
    assert send(gateway, authority, "failover", directory=directory).ok
    postfix.mailbox(BOB).wait_for(1)
    wait_until(lambda: gateway.metric("portcullis_upstream_up", server=dead) == 0, "the dead server shown as down")


def test_postfix_as_client_with_sasl(parts, directory, program, pair, authority, postfix):
    gateway = parts.use(gateway_before(postfix, directory, program, pair))
    client = parts.use(Postfix.client(directory / "client", gateway.port("submission"), ALICE, PASSWORD,
                                      authority.certificate, smtp_tls_security_level="secure",
                                      smtp_tls_secure_cert_match="mx.example.com"))
    postfix.mailbox(BOB).clear()
    with smtplib.SMTP(ADDRESS, client.port, timeout=20) as session:
        for i in range(5):
            session.sendmail(ALICE, [BOB], message(ALICE, BOB, f"relayed-{i}"))
    postfix.mailbox(BOB).wait_for(5, 60)
    assert len(re.findall(r"status=sent \(250 2\.0\.0 Ok: (?:\d+ bytes )?queued as", client.log())) == 5
    records = gateway.wait_for_journal(5, type="transaction", login=ALICE, result="accepted")
    assert len(records) == 5


def test_postfix_as_client_keeps_what_is_deferred(parts, directory, program, pair, authority, postfix):
    """The upstream is away, the client hears 451 and keeps the message; it comes back, the message arrives once."""
    tree = settings(directory, pair, 1)
    gateway = parts.use(Gateway(program, directory, tree, ready=False))
    gateway.process.ready(lambda: listens(gateway.port("submission")))
    client = parts.use(Postfix.client(directory / "client", gateway.port("submission"), ALICE, PASSWORD,
                                      authority.certificate))
    postfix.mailbox(BOB).clear()
    with smtplib.SMTP(ADDRESS, client.port, timeout=20) as session:
        session.sendmail(ALICE, [BOB], message(ALICE, BOB, "later"))
    client.wait_for_log(r"status=deferred .*said: 451 4\.")
    gateway.tree["upstream"][0]["servers"] = [f"{ADDRESS}:{postfix.port}"]
    gateway.reload()
    client.wait_for_log(r"status=sent", 60)
    postfix.mailbox(BOB).wait_for(1)
