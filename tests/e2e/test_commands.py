"""check and explain as an admin calls them: what they print, and their exit codes."""

import smtplib
import ssl

import pytest

from parts import gateway
from parts.certificates import Pair
from parts.loopback import ADDRESS, free_port, wait_until
from parts.process import run
from parts.sink import Sink

USAGE, UNAVAILABLE, CONFIG = 64, 69, 78


@pytest.fixture
def config(directory, pair, program):
    tree = gateway.settings(directory, pair, 25, limits={"connections_max": 100}, workers=1)
    tree["rate"] = [{"name": "day", "limit": "3 recipients/day"}]
    path = directory / "portcullis.toml"
    path.write_text(gateway.toml.dump(tree) + "\n")
    path.chmod(0o600)
    run(program, "passwd", "add", gateway.ALICE, "--file", directory / "users", "--stdin",
        "--addresses", "sales@example.com", stdin=gateway.PASSWORD + "\n")
    return path


def explain(program, config, *more):
    return run(program, "explain", "--config", config, "--listener", "submission", *more, check=False)


def test_version_and_usage(program):
    assert run(program, "--version").stdout.startswith("portcullis ")
    for wrong in ([], ["--nonsense"], ["nonsense"], ["check", "--nonsense"], ["explain"]):
        assert run(program, *wrong, check=False).returncode == USAGE, wrong
    assert run(program, "--help", check=False).returncode == 0


def test_a_good_configuration(program, config):
    checked = gateway.check(program, config)
    assert checked.returncode == 0
    assert checked.stdout == f"{config}: ok\n"


def test_every_problem_is_told_with_its_place(program, config):
    config.write_text(config.read_text().replace("mx.example.com", "mx..example.com", 1) + "[nonsense]\n")
    checked = gateway.check(program, config)
    assert checked.returncode == CONFIG
    lines = checked.stdout.splitlines()
    assert lines[0].startswith(f"{config}:1:") and "is not a domain" in lines[0]
    assert f"{config}:" in lines[1] and "unknown table" in lines[1]
    assert len(lines) == 2


def test_no_configuration(program, directory):
    assert gateway.check(program, directory / "absent.toml").returncode == CONFIG


def test_reference(program):
    assert "### `[[listener]]`" in run(program, "check", "--print-keys", "markdown").stdout
    assert '.SS "[[listener]]"' in run(program, "check", "--print-keys", "man").stdout
    assert run(program, "check", "--print-keys", "html", check=False).returncode == USAGE


def test_explain_a_good_message(program, config):
    told = explain(program, config, "--login", "Alice@Example.com", "--from", "alice@example.com",
                   "--to", "bob@example.net", "--to", "carol@example.net")
    assert told.returncode == 0, told.stdout
    assert "would be passed on, for 2 of 2 recipients" in told.stdout
    assert "rate day for alice@example.com: 2 of 3" in told.stdout


def test_explain_knows_the_addresses_in_the_user_file(program, config):
    message = ["--from", "sales@example.com", "--to", "bob@example.net"]
    assert "would be passed on" in explain(program, config, "--login", gateway.ALICE, *message).stdout
    run(program, "passwd", "add", "bob@example.com", "--file", config.parent / "users", "--stdin", stdin="x\n")
    refused = explain(program, config, "--login", "bob@example.com", *message).stdout
    assert "refused by MAIL" in refused and "rule identity" in refused
    assert "would be passed on" in explain(program, config, "--login", "bob@example.com", "--owns",
                                           "sales@example.com", *message).stdout


def test_explain_a_login_alone(program, config):
    """As docs/policies.md tells an admin to ask whether a login is blocked."""
    told = explain(program, config, "--login", gateway.ALICE, "--client", "192.0.2.7")
    assert told.returncode == 0 and "may send MAIL" in told.stdout, told.stdout
    told = explain(program, config, "--login", gateway.ALICE)
    assert told.returncode == 0 and "may send MAIL" in told.stdout, told.stdout


def test_explain_an_account_that_does_not_exist(program, config):
    unknown = ["--login", "nobody@example.com"]
    assert "refused by the listener: 535 5.7.8" in explain(program, config, *unknown).stdout
    told = explain(program, config, *unknown, "--from", "nobody@example.com", "--to", "bob@example.net").stdout
    assert "refused by the listener: 535 5.7.8" in told and "would be passed on" not in told


def test_explain_a_message_that_is_too_large(program, config):
    told = explain(program, config, "--login", gateway.ALICE, "--from", gateway.ALICE, "--to", "bob@example.net",
                   "--size", str(1 << 40)).stdout
    assert "552 5.3.4 Message is larger" in told and "refused by MAIL" in told


def test_explain_charges_nothing(program, config):
    message = ["--login", gateway.ALICE, "--from", gateway.ALICE] + ["--to", "bob@example.net"] * 3
    for _ in range(2):
        assert "rate day for alice@example.com: 3 of 3" in explain(program, config, *message).stdout


def test_explain_refuses_nonsense(program, config):
    for wrong in ([], ["--from", "a@example.com"], ["--to", "a@example.com"], ["--login", "a", "--from", ""]):
        told = explain(program, config, *wrong)
        assert told.returncode == USAGE, (wrong, told)
    for wrong in (["--client", "office"], ["--listener", "nowhere"], ["--login", "\x01"], ["--owns", "sales", "--login", "a"]):
        told = explain(program, config, "--from", "a@example.com", "--to", "b@example.com", *wrong)
        assert told.returncode == USAGE, (wrong, told)


def test_probe(program, directory, pair, config):
    checked = gateway.check(program, config, "--probe")
    assert "ok: backend file: 1 accounts" in checked.stdout

    ldap = {"url": f"ldap://127.0.0.1:{free_port()}", "dn_template": "uid={local},dc=example,dc=com"}
    tree = gateway.settings(directory, pair, 25, auth={"backends": ["ldap"], "ldap": ldap})
    config.write_text(gateway.toml.dump(tree) + "\n")
    checked = gateway.check(program, config, "--probe")
    assert checked.returncode == UNAVAILABLE
    assert "FAILED: backend ldap: " in checked.stdout


def test_certificates_are_looked_into(program, directory, authority, config):
    def checked_with(certificate, private_key):
        tree = gateway.settings(directory, Pair(certificate, private_key), 25)
        config.write_text(gateway.toml.dump(tree) + "\n")
        return gateway.check(program, config)

    old = authority.server("old.example.com", days=5)
    soon = checked_with(old.certificate, old.private_key)
    assert soon.returncode == 0
    assert f"warning: {old.certificate} expires in 4 days" in soon.stdout

    other = authority.server("other.example.com")
    assert checked_with(other.certificate, old.private_key).returncode == CONFIG
    nothing = directory / "nothing.pem"
    nothing.write_text("nothing\n")
    wrong = checked_with(nothing, other.private_key)
    assert wrong.returncode == CONFIG and str(nothing) in wrong.stdout


def test_explain_knows_what_a_running_gateway_has_counted(program, directory, authority, pair, parts):
    sink = parts.use(Sink(program, directory / "sink"))
    tree = gateway.settings(directory, pair, sink.port, rate=[{"name": "day", "limit": "5 recipients/day"}])
    running = parts.use(gateway.Gateway(program, directory, tree))
    with smtplib.SMTP(ADDRESS, running.port("submission")) as client:
        client.starttls(context=ssl.create_default_context(cafile=authority.certificate))
        client.login(gateway.ALICE, gateway.PASSWORD)
        client.sendmail(gateway.ALICE, ["bob@example.net", "carol@example.net"],
                        f"From: {gateway.ALICE}\r\nSubject: counted\r\n\r\nHello\r\n")

    def used():
        return explain(program, running.config, "--login", gateway.ALICE, "--from", gateway.ALICE, "--to",
                       "dave@example.net").stdout
    wait_until(lambda: "rate day for alice@example.com: 3 of 5" in used(), used)
