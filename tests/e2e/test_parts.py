"""The parts alone: what a test with the gateway in the middle relies on, proven without it."""

import imaplib
import smtplib
import ssl
import tomllib

from parts.clients import curl, message, msmtp, swaks
from parts.dovecot import Dovecot
from parts.loopback import ADDRESS
from parts.postfix import Postfix
from parts.process import run
from parts.prometheus import Prometheus, promtool_check
from parts.scripted import CLOSE, ScriptedUpstream
from parts.slapd import BASE, Slapd
from parts.toml import dump


def test_postfix_as_legacy_server(parts, directory, pair, authority):
    postfix = parts.use(Postfix.upstream(directory / "postfix", pair))
    text = message("alice@example.com", "bob@example.com")
    with smtplib.SMTP(ADDRESS, postfix.port, timeout=20) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(authority.certificate)))
        client.ehlo()
        assert client.has_extn("xforward") and client.has_extn("xclient")
        refused = client.sendmail("alice@example.com", ["bob@example.com", "nobody@example.com"], text)
    assert refused["nobody@example.com"][0] == 550
    (delivered,) = postfix.mailbox("bob@example.com").wait_for(1)
    assert b"Subject: hello" in delivered


def test_clients_against_postfix(parts, directory, pair, authority):
    postfix = parts.use(Postfix.upstream(directory / "postfix", pair))
    ca = authority.certificate
    text = message("alice@example.com", "bob@example.com")
    box = postfix.mailbox("bob@example.com")
    assert swaks(postfix.port, "alice@example.com", "bob@example.com", "starttls", ca=ca).ok
    assert curl(postfix.port, "alice@example.com", "bob@example.com", text, directory, "starttls", ca=ca).ok
    assert msmtp(postfix.port, "alice@example.com", "bob@example.com", text, directory, "starttls", ca=ca).ok
    box.wait_for(3)
    assert not swaks(postfix.port, "alice@example.com", "nobody@example.com").ok
    assert not curl(postfix.port, "alice@example.com", "nobody@example.com", text, directory).ok
    assert not msmtp(postfix.port, "alice@example.com", "nobody@example.com", text, directory).ok
    box.wait_for(3)


def test_postfix_as_client_relays_everything(parts, directory):
    upstream = parts.use(Postfix.upstream(directory / "upstream"))
    client = parts.use(Postfix.client(directory / "client", upstream.port, "x", "y", "/dev/null",
                                      smtp_tls_security_level="none", smtp_sasl_auth_enable="no"))
    with smtplib.SMTP(ADDRESS, client.port, timeout=20) as session:
        session.sendmail("alice@example.com", ["bob@example.net"], message("alice@example.com", "bob@example.net"))
    client.wait_for_log(r"status=sent \(250 2\.0\.0 Ok: queued as")
    upstream.mailbox("bob@example.net").wait_for(1)


def test_dovecot_logs_in(parts, directory, pair, authority):
    dovecot = parts.use(Dovecot(directory / "dovecot", pair, {"alice@example.com": "wonderland"}))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    with imaplib.IMAP4_SSL(ADDRESS, dovecot.imaps, ssl_context=context) as client:
        assert client.login("alice@example.com", "wonderland")[0] == "OK"
    with imaplib.IMAP4(ADDRESS, dovecot.imap) as client:
        client.starttls(context)
        token = dovecot.token("alice@example.com")
        oauth = f"user=alice@example.com\1auth=Bearer {token}\1\1".encode()
        assert client.authenticate("XOAUTH2", lambda _: oauth)[0] == "OK"
    with imaplib.IMAP4(ADDRESS, dovecot.imap) as client:
        try:
            client.login("alice@example.com", "wrong")
        except imaplib.IMAP4.error:
            return
    raise AssertionError("a wrong password was taken")


def test_slapd_binds_people(parts, directory, pair, authority):
    slapd = parts.use(Slapd(directory / "slapd", pair, authority.certificate))
    dn = slapd.add_person("alice@example.com", "wonderland", ["sales@example.com"], groups=["staff"])
    environment = {"LDAPTLS_CACERT": str(authority.certificate)}
    found = run("ldapsearch", "-x", "-LLL", "-H", slapd.tls_url, "-D", dn, "-w", "wonderland", "-b", BASE,
                "(mail=alice@example.com)", "proxyAddresses", "memberOf", env=environment).stdout
    assert "proxyAddresses: smtp:sales@example.com" in found
    assert "memberOf: cn=staff" in found
    wrong = run("ldapwhoami", "-x", "-H", slapd.url, "-D", dn, "-w", "wrong", check=False)
    assert wrong.returncode == 49


def test_prometheus_scrapes(parts, directory):
    first = parts.use(Prometheus(directory / "first", "127.0.0.1:1"))
    second = parts.use(Prometheus(directory / "second", f"{ADDRESS}:{first.port}"))
    second.wait_for("prometheus_build_info")
    assert promtool_check("# TYPE bad_total gauge\nbad_total 1\n") != ""
    assert promtool_check("# HELP good_total Good things.\n# TYPE good_total counter\ngood_total 1\n") == ""


def test_scripted_upstream_fails_where_told(parts, directory):
    text = message("alice@example.com", "bob@example.com")
    good = parts.use(ScriptedUpstream())
    assert curl(good.port, "alice@example.com", "bob@example.com", text, directory).ok
    assert good.messages == [text.encode()]
    for broken in ({"GREETING": CLOSE}, {"MAIL": b"451 4.3.0 no\r\n"}, {"RCPT": CLOSE}, {"DATA": b"554 5.3.0 no\r\n"},
                   {"DOT": CLOSE}):
        upstream = parts.use(ScriptedUpstream(broken))
        assert not curl(upstream.port, "alice@example.com", "bob@example.com", text, directory).ok
        assert len(upstream.messages) == (1 if "DOT" in broken else 0)


def test_toml_is_what_was_meant():
    tree = {"a": "x\"y", "n": 3, "yes": True, "t": {"l": ["1", "2"]}, "r": [{"name": "one"}, {"name": "two", "s": {"k": 1}}]}
    assert tomllib.loads(dump(tree)) == tree
