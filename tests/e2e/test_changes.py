"""What an operator changes takes effect on sessions that are open already, without a restart."""

import contextlib
import smtplib
import ssl

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.process import run
from parts.sink import Sink

CAROL = "carol@example.com"
SALES = "sales@example.com"
BOB = "bob@example.net"
TEXT = "\r\n\r\nhi\r\n"


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


@pytest.fixture
def start(parts, directory, program, pair, sink):
    def start(**changes):
        tree = settings(directory, pair, sink.port, **changes)
        return parts.use(Gateway(program, directory, tree, users=[(ALICE, PASSWORD), (CAROL, "cat")]))
    return start


@contextlib.contextmanager
def session(gateway, login=ALICE, password=PASSWORD):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=20, context=ssl._create_unverified_context())
    client.ehlo("client.test")
    client.login(login, password)
    yield client
    client.close()


def send(client, sender=ALICE, recipient=BOB):
    """The reply that settled a message, 421 when the session ended. Nothing follows a refusal but RSET."""
    try:
        code, _ = client.mail(sender)
        if code == 250:
            code, _ = client.rcpt(recipient)
        if code == 250:
            code, _ = client.data(f"From: {sender}{TEXT}")
    except smtplib.SMTPDataError as error:
        code = error.smtp_code
    except smtplib.SMTPServerDisconnected:
        return 421
    if code != 421:
        client.rset()
    return code


def users(gateway, *command):
    run(gateway.program, "passwd", *command, "--file", gateway.tree["auth"]["file"]["path"])


def test_accounts_of_the_user_file(start):
    gateway = start()
    with session(gateway) as alice, session(gateway) as sleepy, session(gateway, CAROL, "cat") as carol:
        assert [send(each) for each in (alice, sleepy)] == [250, 250] and send(carol, CAROL) == 250
        assert send(alice, SALES) == 553
        users(gateway, "set", ALICE, "--keep-password", "--addresses", SALES)
        wait_until(lambda: send(alice, SALES) == 250, "the new address", seconds=10)
        users(gateway, "remove", ALICE)
        assert wait_until(lambda: send(sleepy) == 421, "the end of a removed account", seconds=10)
        assert send(carol, CAROL) == 250, "an account that nobody touched"


def test_a_lowered_limit_and_a_grant_taken_away(start):
    grant = {"who": ALICE, "send_as": SALES}
    gateway = start(grant=[grant], rate=[{"name": "a-day", "key": "login", "limit": "100 messages/day"}])
    with session(gateway) as client:
        assert [send(client), send(client, SALES)] == [250, 250]
        gateway.tree["grant"] = []
        gateway.reload()
        assert [send(client), send(client, SALES)] == [250, 553]
        gateway.tree["rate"][0]["limit"] = "3 messages/day"
        gateway.reload()
        assert send(client) == 450, "three were sent"


def test_rights_of_a_network(start):
    inside = {"name": "inside", "addresses": ["127.0.0.0/8"], "may_relay": True}
    gateway = start(network=[inside])
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=20) as client:
        client.ehlo("client.test")
        assert send(client, "a@elsewhere.test") == 250
        inside["may_relay"] = False
        gateway.reload()
        assert send(client, "a@elsewhere.test") == 550
        assert send(client, "a@elsewhere.test", ALICE) == 250


def test_another_listener_wants_another_connection(start):
    gateway = start()
    (mx,) = [each for each in gateway.tree["listener"] if each["name"] == "mx"]
    with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=20) as client, session(gateway) as alice:
        client.ehlo("client.test")
        assert send(client, "a@elsewhere.test", ALICE) == 250 and send(alice) == 250
        gateway.reload()
        assert send(client, "a@elsewhere.test", ALICE) == 250, "nothing changed"
        mx["auth"] = "required"
        gateway.reload()
        assert send(client, "a@elsewhere.test", ALICE) == 421
        assert send(alice) == 250, "a listener that nobody touched"
