"""AUTH against the real things: user file, slapd, Dovecot; and what is said when they are away."""

import base64
import signal
import smtplib
import ssl
import time

import pytest
from parts.clients import swaks
from parts.dovecot import Dovecot
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS, wait_until
from parts.sink import Sink
from parts.slapd import ADMIN, ADMIN_PASSWORD, BASE, Slapd

BOB = "bob@example.net"


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


def gateway_with(parts, directory, program, pair, sink, auth, users=()):
    tree = settings(directory, pair, sink.port)
    tree["auth"] = {"cache": {"ttl": "0s", "negative_ttl": "0s"},
                    "lockout": {"first_delay": "0ms", "max_delay": "0ms"}, **auth}
    return parts.use(Gateway(program, directory, tree, users=users))


def login(gateway, user, password, mechanism="PLAIN", source="127.0.0.1"):
    """The reply code of an AUTH over implicit TLS, with its text; from a source address."""
    with smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30, source_address=(source, 0),
                          context=ssl._create_unverified_context()) as client:
        client.ehlo("client.test")
        if mechanism in ("XOAUTH2", "OAUTHBEARER"):
            text = (f"user={user}\1auth=Bearer {password}\1\1" if mechanism == "XOAUTH2"
                    else f"n,a={user},\1auth=Bearer {password}\1\1")
        else:
            text = f"\0{user}\0{password}"
        code, reply = client.docmd("AUTH", f"{mechanism} {base64.b64encode(text.encode()).decode()}")
        if code == 334:  # the OAuth mechanisms tell why before they fail (RFC 7628 3.2.3)
            code, reply = client.docmd("AQ==")
        return code, reply.decode()


def send_as(gateway, user, password, sender):
    outcome = swaks(gateway.port("submissions"), sender, BOB, "implicit", user, password)
    return outcome.ok, outcome.text


# --- LDAP


@pytest.fixture
def slapd(parts, directory, pair, authority):
    slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
    slapd.add_person(ALICE, PASSWORD, addresses=["sales@example.com"], may_send_as=["office@example.com"], groups=["staff"])
    slapd.add_person("bob@example.com", "builder")
    return slapd


def ldap(slapd, authority, **more):
    return {"backends": ["ldap"], "ldap": {
        "url": slapd.url, "base_dn": f"ou=people,{BASE}", "filter": "(&(objectClass=inetOrgPerson)(mail={login}))",
        "ca_file": authority.certificate, "deadline": "3s", "connect_timeout": "1s", **more}}


@pytest.mark.parametrize("mode", ["plain", "starttls", "ldaps", "template", "bound"])
def test_ldap(parts, directory, program, pair, authority, sink, slapd, mode):
    more = {"plain": {}, "starttls": {"starttls": True}, "ldaps": {"url": slapd.tls_url},
            "template": {"dn_template": f"uid={{local}},ou=people,{BASE}"},
            "bound": {"bind_dn": ADMIN, "bind_password": ADMIN_PASSWORD}}[mode]
    auth = ldap(slapd, authority, **more)
    if mode == "template":
        del auth["ldap"]["filter"], auth["ldap"]["base_dn"]
    gateway = gateway_with(parts, directory, program, pair, sink, auth)
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    assert login(gateway, ALICE, "wrong")[0] == 535
    assert login(gateway, "nobody@example.com", PASSWORD)[0] == 535
    assert login(gateway, ALICE, "")[0] in (501, 535)  # never an unauthenticated bind
    assert gateway.metric("portcullis_auth_attempts_total", result="success") == 1


def test_ldap_says_what_an_account_owns(parts, directory, program, pair, authority, sink, slapd):
    gateway = gateway_with(parts, directory, program, pair, sink, ldap(slapd, authority, grant_attribute="maySendAs"))
    for sender in (ALICE, "sales@example.com", "office@example.com"):
        ok, text = send_as(gateway, ALICE, PASSWORD, sender)
        assert ok, text
    ok, text = send_as(gateway, ALICE, PASSWORD, "bob@example.com")
    assert not ok and "5.7.1" in text, text
    ok, text = send_as(gateway, "bob@example.com", "builder", "sales@example.com")
    assert not ok and "5.7.1" in text, text


@pytest.mark.parametrize("user", ["*", "*@example.com", "alice@example.com)(uid=*", "alice@example.com\\2a", "a*", "(", "\\"])
def test_ldap_filter_can_not_be_broken_out_of(parts, directory, program, pair, authority, sink, slapd, user):
    gateway = gateway_with(parts, directory, program, pair, sink, ldap(slapd, authority))
    assert login(gateway, user, PASSWORD)[0] == 535


def test_ldap_away_is_454_and_comes_back(parts, directory, program, pair, authority, sink, slapd):
    gateway = gateway_with(parts, directory, program, pair, sink,
                           ldap(slapd, authority, breaker_failures=2, breaker_pause="1s"))
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    slapd.process.stop()
    for _ in range(4):
        code, text = login(gateway, ALICE, PASSWORD)
        assert code == 454 and "4.7.0" in text
    assert login(gateway, "nobody@example.com", "x")[0] == 454
    assert gateway.metric("portcullis_auth_backend_up", backend="ldap") == 0
    slapd.start()
    wait_until(lambda: login(gateway, ALICE, PASSWORD)[0] == 235, "LDAP to be asked again")
    assert gateway.metric("portcullis_auth_backend_up", backend="ldap") == 1


def test_a_hung_directory_slows_nobody_else(parts, directory, program, pair, authority, sink, slapd):
    gateway = gateway_with(parts, directory, program, pair, sink, ldap(slapd, authority))
    slapd.process.send(signal.SIGSTOP)
    try:
        waiting = [smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=30,
                                    context=ssl._create_unverified_context()) for _ in range(20)]
        token = base64.b64encode(f"\0{ALICE}\0{PASSWORD}".encode()).decode()
        for client in waiting:
            client.ehlo()
            client.putcmd("AUTH", f"PLAIN {token}")
        started = time.monotonic()
        outcome = swaks(gateway.port("mx"), "stranger@example.org", "bob@example.com")
        took = time.monotonic() - started
        assert outcome.ok and took < 2, (took, outcome)
        for client in waiting:
            assert client.getreply()[0] == 454
            client.close()
    finally:
        slapd.process.send(signal.SIGCONT)


def test_two_directory_servers(parts, directory, program, pair, authority, sink, slapd):
    auth = ldap(slapd, authority)
    auth["ldap"]["url"] = [f"ldap://{ADDRESS}:1", slapd.url]
    gateway = gateway_with(parts, directory, program, pair, sink, auth)
    assert login(gateway, ALICE, PASSWORD)[0] == 235


def test_a_directory_with_a_wrong_certificate_is_not_asked(parts, directory, program, pair, sink, slapd, authority):
    gateway = gateway_with(parts, directory, program, pair, sink,
                           ldap(slapd, authority, url=slapd.tls_url, ca_file="/etc/ssl/certs/ca-certificates.crt"))
    assert login(gateway, ALICE, PASSWORD)[0] == 454


def test_account_locked_in_the_directory(parts, directory, program, pair, authority, sink, slapd):
    gateway = gateway_with(parts, directory, program, pair, sink, ldap(slapd, authority))
    slapd.modify(f"dn: uid=bob,ou=people,{BASE}\nchangetype: modify\nadd: pwdAccountLockedTime\n"
                 "pwdAccountLockedTime: 000001010000Z\n")
    code, text = login(gateway, "bob@example.com", "builder")
    assert code in (525, 535), (code, text)  # slapd tells it apart only with ppolicy_use_lockout
    slapd.modify(f"dn: uid=alice,ou=people,{BASE}\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n")
    code, text = login(gateway, ALICE, PASSWORD)
    assert code == 534 and "5.7.9" in text, (code, text)


# --- IMAP


@pytest.fixture
def dovecot(parts, directory, pair):
    return parts.use(Dovecot(directory / "dovecot", pair, {
        ALICE: PASSWORD, "quote@example.com": 'p"ass\\wo{rd} %*', "umlaut@example.com": "pässwörd"}))


def imap(dovecot, authority, port=None, **more):
    return {"backends": ["imap"], "imap": {"server": f"{ADDRESS}:{port or dovecot.imaps}", "ca_file": authority.certificate,
                                           "deadline": "5s", **more}}


@pytest.mark.parametrize("tls", ["implicit", "starttls", "off"])
def test_imap(parts, directory, program, pair, authority, sink, dovecot, tls):
    port = dovecot.imaps if tls == "implicit" else dovecot.imap
    gateway = gateway_with(parts, directory, program, pair, sink, imap(dovecot, authority, port, tls=tls))
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    assert login(gateway, ALICE, "wrong")[0] == 535
    assert login(gateway, "nobody@example.com", PASSWORD)[0] == 535
    ok, text = send_as(gateway, ALICE, PASSWORD, ALICE)
    assert ok, text
    assert gateway.wait_for_journal(type="transaction")[0]["backend"] == "imap"


def test_imap_passwords_no_quoting_can_break(parts, directory, program, pair, authority, sink, dovecot):
    gateway = gateway_with(parts, directory, program, pair, sink, imap(dovecot, authority))
    assert login(gateway, "umlaut@example.com", "pässwörd")[0] == 235
    assert login(gateway, "quote@example.com", 'p"ass\\wo{rd} %*')[0] == 235
    for password in ('p"ass\\wo{rd} %*', '" OK', "{5}", "x\\", "a b"):
        assert login(gateway, ALICE, password)[0] == 535
    assert login(gateway, ALICE, "x\r\nA1 LOGIN a b")[0] in (501, 535)
    # … and the connection, or the next one, still tells right from wrong.
    assert login(gateway, ALICE, PASSWORD)[0] == 235


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_imap_tokens(parts, directory, program, pair, authority, sink, dovecot, mechanism):
    gateway = gateway_with(parts, directory, program, pair, sink, imap(dovecot, authority))
    assert login(gateway, ALICE, dovecot.token(ALICE), mechanism)[0] == 235
    assert login(gateway, ALICE, dovecot.token(ALICE, seconds=-60), mechanism)[0] == 535
    assert login(gateway, "bob@example.com", dovecot.token(ALICE), mechanism)[0] == 535
    assert login(gateway, ALICE, "not-a-token", mechanism)[0] == 535


def test_imap_away_is_454(parts, directory, program, pair, authority, sink, dovecot):
    gateway = gateway_with(parts, directory, program, pair, sink, imap(dovecot, authority))
    dovecot.stop()
    assert login(gateway, ALICE, PASSWORD)[0] == 454


# --- several, and the file


def test_backends_in_order(parts, directory, program, pair, authority, sink, slapd, dovecot):
    auth = {"backends": ["file", "ldap"], "file": {"path": directory / "users"}, **{"ldap": ldap(slapd, authority)["ldap"]}}
    gateway = gateway_with(parts, directory, program, pair, sink, auth, users=[("carol@example.com", "filed")])
    assert login(gateway, "carol@example.com", "filed")[0] == 235
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    assert login(gateway, ALICE, "wrong")[0] == 535
    slapd.process.stop()
    assert login(gateway, "carol@example.com", "filed")[0] == 235
    assert login(gateway, ALICE, "wrong")[0] == 454  # nobody can say it is wrong
    slapd.start()


def test_the_user_file_is_read_again(parts, directory, program, pair, sink):
    auth = {"backends": ["file"], "file": {"path": directory / "users"}}
    gateway = gateway_with(parts, directory, program, pair, sink, auth, users=[(ALICE, PASSWORD)])
    assert login(gateway, "dave@example.com", "later")[0] == 535
    gateway.add_user("dave@example.com", "later")
    wait_until(lambda: login(gateway, "dave@example.com", "later")[0] == 235, "the new account")
    assert login(gateway, ALICE, PASSWORD)[0] == 235


def test_answers_are_cached(parts, directory, program, pair, authority, sink, slapd):
    gateway = gateway_with(parts, directory, program, pair, sink, {**ldap(slapd, authority), "cache": {"ttl": "60s"}})
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    slapd.process.stop()
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    assert gateway.metric("portcullis_auth_cache_lookups_total", result="hit") == 1
    assert login(gateway, ALICE, "other")[0] == 454
    slapd.start()


def test_brute_force_blocks_strangers_not_owners(parts, directory, program, pair, sink):
    auth = {"backends": ["file"], "file": {"path": directory / "users"},
            "lockout": {"failures_per_network": 8, "distinct_passwords_per_login": 4, "first_delay": "0ms",
                        "max_delay": "0ms", "block": "60s"}}
    gateway = gateway_with(parts, directory, program, pair, sink, auth, users=[(ALICE, PASSWORD), (BOB, PASSWORD)])
    # A stale password, again and again, is one guess.
    for _ in range(10):
        assert login(gateway, ALICE, "stale")[0] == 535
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    # Guessing is not: that network is blocked…
    codes = [login(gateway, f"user{i}@example.com", "guess")[0] for i in range(12)]
    assert codes[0] == 535 and codes[-1] == 454, codes
    assert gateway.metric("portcullis_auth_attempts_total", result="blocked") >= 1
    # … for whoever was never seen there, not for who logged in from it before (an office behind one address).
    assert login(gateway, BOB, PASSWORD)[0] == 454
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    assert login(gateway, BOB, PASSWORD, source="127.0.0.9")[0] == 235
    # … and a login that is guessed at from there, too, but not where its owner has logged in before.
    codes = [login(gateway, ALICE, f"guess{i}", source=f"127.0.1.{i + 1}")[0] for i in range(6)]
    assert codes[0] == 535 and codes[-1] == 454, codes
    assert login(gateway, ALICE, PASSWORD)[0] == 235
    # A restart helps no attacker, and shuts no owner out.
    gateway.stop()
    again = parts.use(Gateway(program, directory, gateway.tree, users=()))
    assert login(again, BOB, PASSWORD)[0] == 454
    assert login(again, ALICE, PASSWORD, source="127.0.1.200")[0] == 454
    assert login(again, ALICE, PASSWORD)[0] == 235
    assert login(again, BOB, PASSWORD, source="127.0.0.9")[0] == 235
