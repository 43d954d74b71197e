"""One person is one identity however the name is spelled, for AUTH, ownership, rates and brute-force control;
somebody who is not there is not told from somebody with another password."""

import base64
import re
import smtplib
import ssl

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS
from parts.sink import Sink
from parts.slapd import BASE, Slapd

BOB = "bob@example.net"
JURGEN, JURGEN_PASSWORD = "j\u00fcrgen@b\u00fccher.example", "umlaut"
SPELLINGS = {
    ALICE: ["alice@example.com", "ALICE@EXAMPLE.COM", "Alice@Example.com.", "\uff41\uff4c\uff49\uff43\uff45@example.com",
            "alice\uff20example.com", "alice@\uff45xample.com"],
    JURGEN: ["j\u00fcrgen@b\u00fccher.example", "J\u00dcRGEN@B\u00dcCHER.example", "ju\u0308rgen@bu\u0308cher.example",
             "j\u00fcrgen@xn--bcher-kva.example"],
}
# What a person would take for Alice. An account with the first of these names exists: it is somebody else's.
LIKE_ALICE = ["\u0430lice@example.com", "ali\u200bce@example.com", "\u202ealice@example.com", "alice@example.com\u00a0",
              "alice@example.com ", "ali\u00adce@example.com", "alice@ex\u0430mple.com", "alice", "alice@example.org",
              "alice+x@example.com", "alice@sub.example.com", "\"alice\"@example.com", "alice@example.com@example.com"]


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


@pytest.fixture
def start(parts, directory, program, pair, sink):
    def start(auth=None, **changes):
        tree = settings(directory, pair, sink.port, **changes)
        tree["auth"] |= {"cache": {"ttl": "0s", "negative_ttl": "0s"},
                         "lockout": {"first_delay": "0ms", "max_delay": "0ms", "failures_per_network": 1000,
                                     "distinct_passwords_per_login": 1000}, **(auth or {})}
        return parts.use(Gateway(program, directory, tree, users=[
            (ALICE, PASSWORD), (JURGEN, JURGEN_PASSWORD), (LIKE_ALICE[0], PASSWORD)]))
    return start


def connect(gateway, source="127.0.0.1"):
    client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=20, source_address=(source, 0),
                              context=ssl._create_unverified_context())
    client.ehlo("client.test")
    return client


def encoded(octets):
    return base64.b64encode(octets.encode() if isinstance(octets, str) else octets).decode()


def login(client, user, password, mechanism="PLAIN"):
    if mechanism == "LOGIN":
        client.docmd("AUTH", "LOGIN")
        client.docmd(encoded(user))
        return client.docmd(encoded(password))
    return client.docmd("AUTH", f"PLAIN {encoded(f'{chr(0)}{user}{chr(0)}{password}')}")


def send(client, sender, header=None, options=()):
    code, text = client.mail(sender, options)
    if code == 250:
        code, text = client.rcpt(BOB)
    if code == 250:
        code, text = client.data(f"From: {header or sender}\r\n\r\nhi\r\n")
    client.rset()
    return code, text.decode()


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_every_spelling_is_the_same_person(start, mechanism):
    gateway = start()
    for canonical, password in ((ALICE, PASSWORD), (JURGEN, JURGEN_PASSWORD)):
        for spelling in SPELLINGS[canonical]:
            with connect(gateway) as client:
                assert login(client, spelling, password, mechanism)[0] == 235, spelling
                if canonical == ALICE:  # what is owned is the person's too, in any spelling
                    for sender in ("alice@example.com", "ALICE@example.COM", "Alice@Example.com"):
                        code, text = send(client, sender)
                        assert code == 250, (spelling, sender, text)
    logins = {line["login"] for line in gateway.wait_for_journal(len(SPELLINGS[ALICE]) * 3, type="transaction")}
    assert logins == {ALICE}
    assert len({line["login"] for line in gateway.wait_for_journal(10, type="session")}) == 2


def test_who_only_looks_like_somebody_is_somebody_else(start):
    gateway = start()
    for name in LIKE_ALICE[1:]:
        with connect(gateway) as client:
            assert login(client, name, PASSWORD)[0] == 535, ascii(name)
    with connect(gateway) as client:
        assert login(client, LIKE_ALICE[0], PASSWORD)[0] == 235
        code, text = send(client, ALICE)
        assert code == 553 and "5.7.1" in text, text


def test_rates_count_the_person(start):
    gateway = start(rate=[{"name": "few", "key": "login", "limit": "4 messages/day"}])
    codes = []
    for spelling in SPELLINGS[ALICE]:
        with connect(gateway) as client:
            assert login(client, spelling, PASSWORD)[0] == 235
            codes.append(send(client, ALICE)[0])
    assert codes == [250] * 4 + [450] * 2 or codes == [250] * 4 + [452] * 2, codes
    with connect(gateway) as client:  # and nobody else
        assert login(client, LIKE_ALICE[0], PASSWORD)[0] == 235


def test_guesses_count_against_the_person(start):
    gateway = start({"lockout": {"first_delay": "0ms", "max_delay": "0ms", "failures_per_network": 1000,
                                 "distinct_passwords_per_login": 4, "block": "60s"}})

    def guess(number):
        spelling = SPELLINGS[ALICE][number % len(SPELLINGS[ALICE])]
        with connect(gateway, f"127.0.2.{number + 1}") as client:
            return login(client, spelling, f"guess{number}")[0]
    codes = [guess(number) for number in range(len(SPELLINGS[ALICE]))]
    assert codes[0] == 535 and codes[-1] == 454, codes
    with connect(gateway, "127.0.3.1") as client:
        assert login(client, LIKE_ALICE[0], PASSWORD)[0] == 235


# What can be said without a valid login and password.
REFUSED = [(ALICE, "wrong"), ("nobody@example.com", "wrong"), ("nobody@example.com", PASSWORD), ("nobody", "wrong"),
           ("ali\u200bce@example.com", "wrong"), ("*", "wrong"), ("n" * 300, "wrong"), (ALICE, "w" * 900)]


def conversation(gateway, user, password, mechanism):
    """All that is said to a login that fails, and to the next command; without the session's id."""
    with connect(gateway) as client:
        said = [login(client, user, password, mechanism), client.docmd("NOOP"), client.docmd("MAIL", "FROM:<a@example.com>")]
    return [(code, re.sub(rb"\(id \w+\)", b"(id ID)", text)) for code, text in said]


def indistinguishable(gateway):
    for mechanism in ("PLAIN", "LOGIN"):
        heard = {str(conversation(gateway, user, password, mechanism)) for user, password in REFUSED}
        assert len(heard) == 1 and "535" in heard.pop(), heard


def test_unknown_and_wrong_sound_alike(start):
    indistinguishable(start())


def test_a_directory_is_asked_alike(start, parts, directory, pair, authority):
    """Unknown or wrong: the same words, and the same operations at the directory, for who watches the clock."""
    slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
    slapd.add_person(ALICE, PASSWORD)
    slapd.process.stop()
    slapd.start(log="stats")
    gateway = start({"backends": ["ldap"], "ldap": {
        "url": slapd.url, "base_dn": f"ou=people,{BASE}", "filter": "(&(objectClass=inetOrgPerson)(mail={login}))"}})

    def operations(user, password):
        with connect(gateway) as client:
            before = len(slapd.process.errors())
            assert login(client, user, password)[0] == 535
            return re.findall(r"op=\d+ (BIND dn=\"\w+|SRCH base)", slapd.process.errors()[before:])
    operations(ALICE, "wrong")  # the connections are there now
    wrong = operations(ALICE, "wrong")
    assert len(wrong) == 2, wrong
    for user in ("nobody@example.com", "*@example.com", "alice@example.com)(uid=*"):
        assert [o.split()[0] for o in operations(user, "wrong")] == [o.split()[0] for o in wrong]
    indistinguishable(gateway)
