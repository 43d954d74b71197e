"""A configuration that makes an open relay starts nothing, and changes nothing on reload; `check` says in words
who may send where."""

import pytest
from parts.gateway import Gateway, check, settings
from parts.process import run
from parts.sink import Sink
from wire import Wire


def relaying(*networks):
    return {"network": [{"name": f"n{i}", "may_relay": True, **each} for i, each in enumerate(networks)]}


EIGHTS = [f"{i}.0.0.0/8" for i in range(256)]
V6_EIGHTS = [f"{i:x}00::/8" for i in range(256)]

OPEN = {
    "everything": relaying({"addresses": ["0.0.0.0/0"]}),
    "eights": relaying({"addresses": EIGHTS}),
    "eights-in-many": relaying(*({"addresses": [each]} for each in EIGHTS)),
    "one-public-eight": relaying({"addresses": ["198.0.0.0/8"]}),
    "many-sixteens": relaying({"addresses": [f"81.{i}.0.0/16" for i in range(200)]}),
    "sixteens-in-two": relaying({"addresses": [f"81.{i}.0.0/16" for i in range(10)]},
                                {"addresses": [f"91.{i}.0.0/16" for i in range(10)]}),
    "half-of-v6": relaying({"addresses": ["::/1"]}),
    "v6-eights": relaying({"addresses": V6_EIGHTS}),
    "six-to-four": relaying({"addresses": ["2002::/16"]}),
    "nat64": relaying({"addresses": ["64:ff9b::/96"]}),
    "xclient": relaying({"addresses": EIGHTS, "may_relay": False, "may_send_xclient": True}),
    "relay-and-xclient": relaying({"addresses": [f"81.{i}.0.0/16" for i in range(10)]},
                                  {"addresses": [f"91.{i}.0.0/16" for i in range(10)], "may_relay": False,
                                   "may_send_xclient": True}),
    "com": {"local_domains": ["com"]},
    "below-com": {"local_domains": ["*.com", "*.net"]},
    "below-co-uk": {"local_domains": ["example.com", "*.co.uk"]},
    "dot-com": {"local_domains": [".com"]},
    "upper-case": {"local_domains": ["*.COM"]},
    "unicode": {"local_domains": ["*.\u0440\u0444"]},
    "below-a-hoster": {"local_domains": ["*.github.io"]},
    "below-a-wildcard": {"local_domains": ["*.ck"]},
}
CLOSED = {
    "private": relaying({"addresses": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8",
                                       "fc00::/7", "fe80::/10"]}),
    "office": relaying({"addresses": ["81.2.3.0/24", "2a00:1450:4001::/48"]}),
    "own-domains": {"local_domains": ["example.com", "*.example.com", "*.example.co.uk", "localhost", "*.lan", "www.ck"]},
    "registry": {"local_domains": ["*.k12.ca.us"], "public_suffixes_owned": ["k12.ca.us"]},
}


@pytest.fixture
def tree(directory, pair):
    (directory / "users").write_text("")

    def tree(changes, port=25):
        return settings(directory, pair, port, **changes)
    return tree


def written(program, directory, tree):
    gateway = Gateway.__new__(Gateway)
    gateway.tree, gateway.config = tree, directory / "relay.toml"
    gateway.write_config()
    return gateway.config


@pytest.mark.parametrize("changes", OPEN.values(), ids=OPEN.keys())
def test_is_refused(program, directory, tree, changes):
    config = written(program, directory, tree(changes))
    for command in ("check", "serve"):
        done = run(program, command, "--config", config, check=False)
        assert done.returncode == 78, done.stdout
        errors = [line for line in done.stdout.splitlines() if ": error: " in line]
        assert errors and all("network[" in line or "local_domains" in line for line in errors), done.stdout


@pytest.mark.parametrize("changes", CLOSED.values(), ids=CLOSED.keys())
def test_is_none(program, directory, tree, changes):
    done = check(program, written(program, directory, tree(changes)))
    assert done.returncode == 0, done.stdout
    assert ("public_suffixes_owned" in done.stdout) == ("public_suffixes_owned" in changes)


def test_says_who_may_send_where(program, directory, tree):
    said = check(program, written(program, directory, tree(relaying({"name": "office", "addresses": ["81.2.3.0/24", "10.0.0.0/8"]})))).stdout
    assert 'relay: network "office" (81.2.3.0/24, 10.0.0.0/8: 256 public IPv4 addresses (a /24)) may send to any domain' in said
    assert "everybody else may send without a login only to example.com, by mx" in said
    assert "relay:" not in check(program, written(program, directory, tree({}))).stdout


def test_a_reload_changes_nothing(parts, program, directory, tree):
    sink = parts.use(Sink(program, directory / "sink"))
    gateway = parts.use(Gateway(program, directory, tree({}, sink.port)))
    for changes in (OPEN["eights"], OPEN["below-com"]):
        gateway.tree.update(changes)
        gateway.reload("failure")
        with Wire(gateway.port("mx")) as client:
            assert client.ask(b"MAIL FROM:<stranger@example.org>")[0] == 250
            assert client.ask(b"RCPT TO:<victim@example.net>")[0] == 550
            assert client.ask(b"RCPT TO:<victim@elsewhere.com>")[0] == 550
            assert client.ask(b"RCPT TO:<bob@example.com>")[0] == 250
        gateway.tree.pop("network", None)
        gateway.tree["local_domains"] = ["example.com"]


def test_authorities_of_everybody_vouch_for_nobody(program, directory, tree):
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    changed = tree({"tls": {"client_ca": bundle}})
    changed["listener"][2]["client_certificate"] = "request"
    done = check(program, written(program, directory, changed))
    assert done.returncode == 78 and "tls.client_ca" in done.stdout, done.stdout
    changed["auth"]["certificate"] = {"login_from": "san_dns", "logins": {'"printer.example.com"': "printer@example.com"}}
    done = check(program, written(program, directory, changed))
    assert done.returncode == 0, done.stdout
