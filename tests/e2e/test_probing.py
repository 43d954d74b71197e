"""A client that tries addresses gets as many answers as its limit allows, however it leaves: the server behind
is asked no more often."""

import contextlib
import pathlib
import smtplib
import time

import pytest
from parts.gateway import Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.scripted import ScriptedUpstream

LIMIT = 8
STRANGER = "someone@elsewhere.test"
ANSWERS = {"good": b"250 2.1.5 ok\r\n", "bad": b"550 5.1.1 no such user\r\n", "later": b"450 4.2.1 later\r\n"}


@pytest.fixture
def upstream(parts):
    return parts.use(ScriptedUpstream())


@pytest.fixture
def start(parts, directory, program, pair, upstream):
    def start(unit, **changes):
        rate = [{"name": "probes", "key": "client_ip", "limit": f"{LIMIT} {unit}/day"}]
        return parts.use(Gateway(program, directory, settings(directory, pair, upstream.port, rate=rate, **changes)))
    return start


def probes(upstream):
    return len(upstream.seen("RCPT"))


def quit_(client):
    client.quit()


def reset(client):
    client.rset()
    client.quit()


def hello(client):
    client.ehlo("client.test")
    client.close()


def close(client):
    client.close()


def refused_header(client):
    client.docmd("DATA")
    client.send(b"Subject: no author\r\n\r\nx\r\n.\r\n")
    client.getreply()
    client.close()


def no_content(client):
    client.docmd("DATA")
    client.close()


def probe(gateway, number, leave, recipients=1):
    """Asks about addresses, and leaves; the replies that were not the rate's."""
    client = smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=20)
    client.ehlo("client.test")
    assert client.mail(STRANGER)[0] == 250
    replies = [client.rcpt(f"user{number}.{i}@example.com") for i in range(recipients)]
    with contextlib.suppress(smtplib.SMTPServerDisconnected):
        leave(client)
    return [text for _, text in replies if b"probes" not in text]


@pytest.mark.parametrize("unit", ["recipients", "messages"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_charged_however_the_client_leaves(start, upstream, answer, unit):
    upstream.answers["RCPT"] = ANSWERS[answer]
    gateway = start(unit)
    ways = [quit_, reset, hello, close, refused_header, no_content]
    for number in range(4 * LIMIT):
        probe(gateway, number, ways[number % len(ways)])
    assert probes(upstream) == LIMIT


def test_refused_messages_are_charged(start, upstream):
    upstream.answers["DOT"] = b"550 5.7.1 not wanted\r\n"
    gateway = start("recipients")
    codes = []
    for number in range(2 * LIMIT):
        with smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=20) as client:
            try:
                client.sendmail(STRANGER, [f"user{number}@example.com"], f"From: {STRANGER}\r\n\r\nx\r\n")
            except (smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused) as error:
                codes.append(getattr(error, "smtp_code", 452))
    assert codes == [550] * LIMIT + [452] * LIMIT
    assert probes(upstream) == LIMIT


def test_many_in_one_transaction(start, upstream):
    gateway = start("recipients")
    for number in range(4):
        probe(gateway, number, close, recipients=LIMIT - 3)
    assert probes(upstream) == LIMIT


def test_charges_outlive_a_kill(parts, start, upstream, directory, program):
    gateway = start("recipients")
    for number in range(LIMIT // 2):
        probe(gateway, number, close)
    # Written every half second, and no more once nothing is charged.
    log = pathlib.Path(f"{gateway.tree['state']['path']}-wal")
    wait_until(lambda: log.exists() and time.time() - log.stat().st_mtime > 1.5, "the charges in the state file")
    gateway.process.kill()
    gateway._stopped = True
    again = parts.use(Gateway(program, directory, gateway.tree, users=()))
    for number in range(2 * LIMIT):
        probe(again, 100 + number, close)
    assert probes(upstream) == LIMIT


def test_what_the_server_was_not_asked_comes_back(start, upstream):
    gateway = start("recipients")
    upstream.stop()  # cannot be reached
    for number in range(2 * LIMIT):
        (text,) = probe(gateway, number, quit_)
        assert b"4.4.1" in text, text
