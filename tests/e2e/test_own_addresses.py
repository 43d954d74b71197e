"""What users write about themselves is theirs alone: addresses in a directory that they may edit, names for one
entry, logins of domains that a server does not look at."""

import base64

import pytest
from parts.dovecot import Dovecot
from parts.gateway import ALICE, PASSWORD, Gateway, settings
from parts.loopback import ADDRESS
from parts.sink import Sink
from parts.slapd import BASE, Slapd
from wire import Wire

CEO = "ceo@example.com"
OUT = b"someone@example.net"
# Written by a user into an own attribute: none of them is more than one address.
WRITTEN = ["*@example.com", "\uff0a@example.com", "\ufe61@example.com", '"*"@example.com', '"\uff0a"@example.com',
           "\uff0a\uff20example.com", "\uff0a@example\u3002com", "\uff0a@\uff45xample.com", "@example.com", "%@example.com",
           "*%example.com@example.com", "ceo\uff20example.com@example.org", "ceo@example.com@example.org", "*@*.com",
           "ceo\u3000@example.com", "\uff1cceo@example.com\uff1e", "c*@example.com", "\u2217@example.com"]


@pytest.fixture
def start(parts, directory, program, pair):
    """A gateway with these tables of [auth]; no reply is held back."""
    sink = parts.use(Sink(program, directory / "sink"))

    def start(auth, **changes):
        tree = settings(directory, pair, sink.port, **changes)
        tree["auth"] = {"cache": {"ttl": "0s", "negative_ttl": "0s"}, **auth}
        tree["auth"]["lockout"] = {"first_delay": "0ms", "max_delay": "0ms", **auth.get("lockout", {})}
        tree["network"] = [{"name": "here", "addresses": ["127.0.0.0/8"], "may_auth_without_tls": True}]
        return parts.use(Gateway(program, directory, tree, users=()))
    return start


def plain(login, password):
    return b"AUTH PLAIN " + base64.b64encode(f"\0{login}\0{password}".encode())


def try_login(gateway, login, password, source=""):
    with Wire(gateway.port("submission"), source=source) as client:
        return client.ask(plain(login, password))[0]


@pytest.fixture
def slapd(parts, directory, pair, authority):
    slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
    slapd.add_person(ALICE, PASSWORD, addresses=["alice.smith@example.com"], may_send_as=["*@lists.example.com"])
    return slapd


def ldap(slapd, **more):
    return {"backends": ["ldap"], "ldap": {"url": slapd.url, "base_dn": f"ou=people,{BASE}", **more}}


def test_an_attribute_that_users_edit_holds_addresses(start, slapd):
    gateway = start(ldap(slapd, filter="(&(objectClass=inetOrgPerson)(uid={login}))", login_attribute="uid",
                         grant_attribute="maySendAs"))
    dn = f"uid=alice,ou=people,{BASE}"
    for written in WRITTEN:
        value = base64.b64encode(f"smtp:{written}".encode()).decode()
        slapd.modify_as(dn, PASSWORD, f"dn: {dn}\nchangetype: modify\nreplace: proxyAddresses\nproxyAddresses:: {value}\n")
        with Wire(gateway.port("submission")) as client:
            assert client.ask(plain("alice", PASSWORD))[0] == 235, written
            for victim in (CEO, "cfo@example.com", "c@example.com", "a@sub.example.com"):
                code, text = client.ask(f"MAIL FROM:<{victim}>".encode())
                assert code == 553 and b"not owned" in text, (written, victim, text)
            # Nor in the header.
            client.envelope(ALICE.encode(), OUT)
            assert client.ask(b"DATA")[0] == 354
            client.send(f"From: The CEO <{CEO}>\r\nSubject: pay\r\n\r\nhi\r\n.\r\n".encode())
            assert client.reply()[0] == 550, written
            # What an administrator granted is a pattern.
            assert client.ask(b"MAIL FROM:<news@lists.example.com>")[0] == 250


def test_one_entry_is_guessed_at_once_whatever_its_names(start, slapd):
    """alice, her two addresses and each in other letters: four passwords in all, not four for each name."""
    gateway = start({**ldap(slapd, filter="(&(objectClass=inetOrgPerson)(|(uid={login})(mail={login})(proxyAddresses=smtp:{login})))"),
                     "lockout": {"distinct_passwords_per_login": 4}})
    names = ["alice", ALICE, "alice.smith@example.com", "ALICE", "Alice.Smith@Example.COM"]
    replies = [try_login(gateway, names[i % len(names)], f"wrong {i}", f"127.0.3.{i + 1}") for i in range(8)]
    assert replies == [535] * 4 + [454] * 4
    # Blocked by every name, with the right password too, where nobody knows her.
    assert [try_login(gateway, name, PASSWORD, f"127.0.4.{i + 1}") for i, name in enumerate(names)] == [454] * len(names)


def test_one_entry_has_one_quota_whatever_its_names(start, slapd):
    gateway = start(ldap(slapd, filter="(&(objectClass=inetOrgPerson)(|(uid={login})(mail={login})(proxyAddresses=smtp:{login})))"),
                    rate=[{"name": "day", "key": "login", "limit": "3 recipients/day"}])
    replies = []
    for name in ("alice", ALICE, "alice.smith@example.com"):
        with Wire(gateway.port("submission")) as client:
            assert client.ask(plain(name, PASSWORD))[0] == 235
            assert client.ask(f"MAIL FROM:<{ALICE}>".encode())[0] == 250
            told = [client.ask(b"RCPT TO:<%d@example.net>" % i)[0] for i in range(2)]
            replies += told
            if 250 not in told:
                continue
            assert client.ask(b"DATA")[0] == 354
            client.send(f"From: {ALICE}\r\n\r\nhi\r\n.\r\n".encode())
            client.reply()
    assert replies.count(250) == 3, replies


# --- IMAP


@pytest.fixture
def dovecot(parts, directory, pair):
    """As many are set up: the domain of a login does not count."""
    return parts.use(Dovecot(directory / "dovecot", pair, {"alice": PASSWORD}, more="auth_username_format = %Ln\n"))


def imap(dovecot, authority, **more):
    return {"backends": ["imap"], "imap": {"server": f"{ADDRESS}:{dovecot.imaps}", "ca_file": authority.certificate, **more}}


def test_logins_of_other_domains_are_nobodys(start, dovecot, authority):
    gateway = start({**imap(dovecot, authority, domains=["example.com"]), "lockout": {"distinct_passwords_per_login": 4}},
                    rate=[{"name": "day", "key": "login", "limit": "3 recipients/day"}])
    for other in ("alice@bank.example", "alice@sub.example.com", "alice@xexample.com", "alice@example.com.evil.example"):
        assert try_login(gateway, other, PASSWORD) == 535, other
    accepted = 0
    for name in ("alice@example.com", "alice", "Alice@EXAMPLE.com", "alice@ex\uff41mple.com"):
        with Wire(gateway.port("submission")) as client:
            assert client.ask(plain(name, PASSWORD))[0] == 235
            if client.ask(b"MAIL FROM:<alice@example.com>")[0] != 250:
                continue  # "alice" owns no address
            accepted += sum(client.ask(b"RCPT TO:<%d@example.net>" % i)[0] == 250 for i in range(2))
            assert client.ask(b"DATA")[0] in (354, 554, 503)
    # One account, and one count of wrong passwords.
    replies = [try_login(gateway, ("alice", "alice@example.com")[i % 2], f"wrong {i}", f"127.0.5.{i + 1}") for i in range(6)]
    assert replies == [535] * 4 + [454] * 2


def test_a_server_that_ignores_domains_is_warned_of(start, dovecot, authority, program):
    from parts.gateway import check
    gateway = start(imap(dovecot, authority))
    said = check(program, gateway.config).stdout
    assert "warning: auth.imap: domains is missing" in said
    gateway.tree["auth"]["imap"]["domains"] = ["example.com"]
    gateway.write_config()
    assert "domains" not in check(program, gateway.config).stdout
