"""Every command in README and docs is run here, or stands in a list with the reason why it is not."""

import pathlib
import re
import shlex
import shutil
import smtplib
import ssl
import subprocess

import pytest

from parts import gateway
from parts.loopback import ADDRESS
from parts.process import run

TOP = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [TOP / "README.md", TOP / "SECURITY.md", *sorted((TOP / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(portcullis [^`]*)`")

# Commands that are not run here: their first words, and why.
NOT_RUN = {
    "git clone YOUR-COPY-OF-THIS-REPOSITORY": "a placeholder; tests/packaging/quick_start.sh runs what follows",
    "./dev run": "tests/packaging/quick_start.sh runs it",
    "./dev package": "builds the package; tests/packaging installs it",
    "./dev bench": "measures for minutes; tests/house knows its help",
    "apt install": "tests/packaging/bare_system.sh installs the package",
    "cmake --install": "tests/packaging installs from the build",
    "adduser": "changes the machine's users; etc/deb/postinst runs the same",
    "chgrp": "changes the machine's files",
    "editor": "waits for a person",
    "install -d -m 0750 -g portcullis": "needs the service's group; etc/deb/postinst makes it",
    "install -m 0640 -g portcullis": "a hook of certbot, for its variables and the service's group",
    "systemctl": "needs systemd as process 1; test_systemd.py runs what the unit's lines name",
    "journalctl": "needs systemd's journal",
    "curl -s http://127.0.0.1:9925/metrics": "needs the metrics port of the package; test_metrics_line runs its grep",
    "swaks": "needs the example's names; test_listeners.py sends with swaks in the same way",
}
# Inline commands with words that stand for something else.
PLACEHOLDERS = {"FILE": "CONFIG", "NAME": gateway.ALICE, "ADDRESS": "192.0.2.7", "USER": "root"}


def commands_of(text):
    """The commands of a block, continued lines and quotes over several lines joined, comments left out."""
    command = ""
    for line in text.splitlines():
        if not command and (not line.strip() or line.lstrip().startswith("#")):
            continue
        command += line
        if command.endswith("\\"):
            command = command[:-1] + " "
            continue
        try:
            shlex.split(command, comments=True)
        except ValueError:  # a quote is open
            command += "\n"
            continue
        yield command.strip()
        command = ""


def documented():
    """(document, command) of all shell blocks and sessions, and of `portcullis ...` in the text."""
    for document in DOCUMENTS:
        text = document.read_text()
        for language, body in BLOCK.findall(text):
            if language in ("sh", "bash", "console"):
                for command in commands_of(body):
                    yield document.name, command
            elif re.search(r"^\$ ", body, re.MULTILINE):
                lines = re.findall(r"^\$ ((?:.*\\\n)*.*)$", body, re.MULTILINE)
                for command in lines:
                    yield document.name, command.replace("\\\n", " ")
            elif re.match(r"\./dev ", body):
                for command in commands_of(body):
                    yield document.name, command
        for command in INLINE.findall(BLOCK.sub("", text)):
            yield document.name, command


def words_of(command):
    return shlex.split(command, comments=True)


ALL = list(documented())
OURS = sorted({command for _, command in ALL if words_of(command)[0] == "portcullis"})
OTHERS = sorted({(name, command) for name, command in ALL if words_of(command)[0] not in ("portcullis", "jq")})
QUERIES = sorted({command for _, command in ALL if words_of(command)[0] == "jq"})


def test_commands_are_found():
    assert len(OURS) > 8 and len(OTHERS) > 10 and QUERIES
    assert any("explain" in command for command in OURS)


@pytest.mark.parametrize("name, command", OTHERS, ids=[f"{n}: {c[:40]}" for n, c in OTHERS])
def test_other_commands_are_listed(name, command):
    assert any(command.startswith(first) for first in NOT_RUN), f"{name}: run it in a test, or list it with a reason"


def test_every_reason_is_needed():
    for first in NOT_RUN:
        assert any(command.startswith(first) for _, command in OTHERS), f"no document has {first!r}"


@pytest.fixture(scope="module")
def place(program, module_directory, pair):
    """A directory with the configuration and the accounts of the examples."""
    tree = gateway.settings(module_directory, pair, 25)
    config = module_directory / "portcullis.toml"
    config.write_text(gateway.toml.dump(tree) + "\n")
    config.chmod(0o600)
    run(program, "passwd", "add", gateway.ALICE, "--file", module_directory / "users", "--stdin", stdin="wonderland\n")
    return module_directory


def as_here(command, program, place):
    """The words of a documented command, with this test's program, configuration and user file."""
    words = [str(place / "portcullis.toml") if PLACEHOLDERS.get(word) == "CONFIG" else PLACEHOLDERS.get(word, word)
             for word in words_of(command)]
    words = [str(place / "portcullis.toml") if word == "/etc/portcullis/portcullis.toml" else word for word in words]
    words = ["root" if before == "--as" else word for before, word in zip([""] + words, words)]
    if words[1:2] in (["check"], ["explain"]) and "--config" not in words and "--print-keys" not in " ".join(words):
        words += ["--config", str(place / "portcullis.toml")]
    if words[1:2] == ["passwd"] and len(words) > 2:
        words += ["--file", str(place / "users")]
        if words[2] in ("add", "set", "verify") and "--keep-password" not in words:
            words += ["--stdin"]
    return [program, *words[1:]]


@pytest.mark.parametrize("command", OURS)
def test_our_own_commands_run(command, program, place):
    words = as_here(command, program, place)
    subcommand = words[1] if len(words) > 1 else "--help"
    written = words_of(command)[1:]
    unfinished = {"explain": len(words) == 4, "passwd": len(written) < 3 and written[1:] != ["list"], "sink": True,
                  "serve": True}
    if unfinished.get(subcommand, False):  # only named: it and the options must exist
        named = [word for word in written if word.startswith("--")]
        first = written[:2] if subcommand == "passwd" else written[:1]
        told = run(program, *first, "--help").stdout
        assert all(text in told for text in [" ".join(["portcullis", *first]) + " ", *named]), told
        return
    if subcommand == "passwd" and words[2] in ("set", "verify", "remove"):
        run(program, "passwd", "remove", words[3], "--file", place / "users", check=False)
        run(program, "passwd", "add", words[3], "--file", place / "users", "--stdin", stdin="wonderland\n")
    elif subcommand == "passwd" and words[2] == "add":
        run(program, "passwd", "remove", words[3], "--file", place / "users", check=False)
    done = run(*words, stdin="wonderland\n", check=False)
    # 69: a probe finds no server there.
    assert done.returncode == 0 or "--probe" in words and done.returncode == 69, done.stdout
    if subcommand == "passwd" and words[2] == "remove":
        run(program, "passwd", "add", gateway.ALICE, "--file", place / "users", "--stdin", stdin="wonderland\n")


@pytest.mark.parametrize("command", QUERIES)
def test_queries_of_the_journal_run(command, tmp_path):
    (tmp_path / "journal.log").write_text(
        '{"type":"transaction","id":"1.1","time":"t","client":"192.0.2.7","result":"rejected","rule":"identity",'
        '"reply":"no","queue_id":"4XyZ","hits":[{"rule":"few","mode":"shadow"}]}\n{"type":"session"}\n')
    done = run("sh", "-c", command, cwd=tmp_path)
    assert done.stdout.count("\n") == 1, done.stdout


def test_metrics_line(program, directory, parts, pair):
    """The grep of docs/deployment.md finds what a rule in shadow would have refused."""
    (command,) = [c for _, c in ALL if c.startswith("curl -s http://127.0.0.1:9925/metrics")]
    tree = gateway.settings(directory, pair, 25, policy={"identity": {"mode": "shadow"}})
    running = parts.use(gateway.Gateway(program, directory, tree, ready=False))
    running.process.ready(lambda: running.journal(event="started"))
    command = command.replace("http://127.0.0.1:9925", running.metrics_url)
    with smtplib.SMTP_SSL(ADDRESS, running.port("submissions"), timeout=20,
                          context=ssl._create_unverified_context()) as client:
        client.login(gateway.ALICE, gateway.PASSWORD)
        assert client.mail("carol@example.com")[0] == 250, "shadow refuses nothing"
    (line,) = run("sh", "-c", command).stdout.splitlines()
    assert 'rule="identity"' in line and 'mode="shadow"' in line and line.endswith(" 1")


NFT = [body for document in DOCUMENTS for language, body in BLOCK.findall(document.read_text()) if language == "nft"]


def test_packet_filters_cover_both_families_and_all_ports():
    assert len(NFT) == 2
    for body in NFT:
        assert "25, 465, 587" in body and "ip6 " in body
    assert 'iifname "lo" accept' in NFT[1]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
@pytest.mark.parametrize("body", NFT)
def test_packet_filters_load(body, tmp_path):
    file = tmp_path / "rules.nft"
    file.write_text(body)
    done = subprocess.run(["unshare", "-rn", "nft", "-f", file], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("no network namespace here")
    assert done.returncode == 0, done.stderr
