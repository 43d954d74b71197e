"""The messages of tests/messages through the gateway, over sockets: what passes is compared octet for octet, what is
refused names its rule in the reply, the journal and the metrics. Then the same with the configuration that
docs/deployment.md shows for watching: what may be relaxed passes unchanged, and the journal has what would have been."""

import re
import smtplib
import ssl
import tomllib
from pathlib import Path

import pytest
from parts.gateway import ALICE, PASSWORD, Gateway, check, settings
from parts.loopback import ADDRESS
from parts.sink import Sink

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "tests" / "messages"
# Above the message: what the sink writes down of the envelope, and the gateway's Received field.
ADDED = re.compile(rb"([\w-]+: .*\r\n)*Received: .*\r\n(\t.*\r\n)+")
RELAXED = {"author_count", "author_missing", "author_syntax", "author_hidden", "header_control", "identity", "local-sender"}


def messages():
    """(name, sender, verdict, octets) of each."""
    for line in (FOLDER / "index.txt").read_text().splitlines():
        if line and line[0] != "#":
            name, sender, verdict = line.split(" | ")
            yield name, sender, verdict, (FOLDER / f"{name}.eml").read_bytes()


@pytest.fixture(scope="module")
def sink(module_parts, module_directory, program):
    return module_parts.use(Sink(program, module_directory / "sink"))


def start(module_parts, directory, program, pair, sink, **changes):
    directory.mkdir()
    tree = settings(directory, pair, sink.port,
                    limits={"connections": {"new_per_minute_per_network": 1000000}}, **changes)
    return module_parts.use(Gateway(program, directory, tree))


def send(gateway, sender, octets):
    """(code, text) of the reply to the message, over a connection of its own."""
    if sender in ("person", "null"):
        client = smtplib.SMTP(ADDRESS, gateway.port("mx"), timeout=20, local_hostname="client.test")
        client.ehlo()
    else:
        context = ssl._create_unverified_context()
        client = smtplib.SMTP_SSL(ADDRESS, gateway.port("submissions"), timeout=20, context=context)
        client.login(ALICE, PASSWORD)
    with client:
        path = {"person": "jane@remote.test", "login": ALICE}.get(sender, "")
        for verb, argument in (("MAIL", f"FROM:<{path}>"), ("RCPT", "TO:<bob@example.com>")):
            code, text = client.docmd(verb, argument)
            assert code == 250, text
        assert client.docmd("DATA")[0] == 354
        client.send(re.sub(rb"(?m)^\.", b"..", octets) + b".\r\n")
        code, text = client.getreply()
        client.close()  # behind a doubtful message the connection is gone
        return code, text.decode()


def passes_unchanged(sink, octets):
    (there,) = sink.maildir.wait_for(1)
    sink.maildir.clear()
    return there.endswith(octets) and ADDED.fullmatch(there[:-len(octets)]) is not None


def test_messages(module_parts, module_directory, program, pair, sink):
    gateway = start(module_parts, module_directory / "enforce", program, pair, sink)
    wrong, refused = [], {}
    for name, sender, verdict, octets in messages():
        code, text = send(gateway, sender, octets)
        if verdict == "accepted":
            if code != 250 or not passes_unchanged(sink, octets):
                wrong.append((name, code, text))
            continue
        rule, _, says = verdict.partition(" ")
        refused[rule] = refused.get(rule, 0) + 1
        found = re.search(r"\(rule (\S+), id (\S+)\)$", text)
        if code != 550 or says not in text or not found or found[1] != rule:
            wrong.append((name, code, text))
            continue
        (line,) = gateway.wait_for_journal(1, id=found[2], type="transaction")
        hit = [h["mode"] for h in line["hits"] if h["rule"] == rule]
        written = re.search(rb"(?m)^From: ?(.*)\r$", octets)
        if line["rule"] != rule or hit != ["enforce"] or (written and written[1].isascii() and not line["header_from"]):
            wrong.append((name, line))
    assert not wrong, "\n".join(map(str, wrong))
    assert not sink.maildir.messages()
    for rule, count in refused.items():
        assert gateway.metric("portcullis_policy_decisions_total", rule=rule, action="reject", mode="enforce") == count, rule
    gateway.stop()


def watching():
    """What docs/deployment.md shows for the step in which nothing is refused yet."""
    text = (TOP / "docs" / "deployment.md").read_text()
    step = text[text.index("### 2."):text.index("### 3.")]
    return tomllib.loads(re.search(r"```toml\n(.*?)```", step, re.DOTALL)[1])


def test_messages_while_watching(module_parts, module_directory, program, pair, sink):
    gateway = start(module_parts, module_directory / "watch", program, pair, sink, **watching())
    done = check(program, gateway.config)
    assert done.returncode == 0, done.stdout + done.stderr
    wrong, passed, relaxed = [], 0, 0
    for name, sender, verdict, octets in messages():
        code, text = send(gateway, sender, octets)
        rule = verdict.partition(" ")[0]
        if verdict != "accepted" and rule not in RELAXED:
            if code != 550 or f"(rule {rule}," not in text:
                wrong.append((name, code, text))
            continue
        if code != 250 or not passes_unchanged(sink, octets):
            wrong.append((name, code, text))
            continue
        passed += 1
        if verdict != "accepted":
            relaxed += 1
            line = gateway.wait_for_journal(passed, type="transaction", result="accepted")[-1]
            if (rule, "shadow") not in {(h["rule"], h["mode"]) for h in line["hits"]}:
                wrong.append((name, line))
    assert not wrong, "\n".join(map(str, wrong))
    assert relaxed > 20
    gateway.stop()


def test_a_rule_that_keeps_the_author_unambiguous_is_not_relaxed(module_parts, module_directory, program, pair, sink):
    gateway = start(module_parts, module_directory / "strict", program, pair, sink,
                    policy={"strictness": {"mode": "shadow", "field_once": "enforce"}})
    two_from = (FOLDER / "two_from.eml").read_bytes()
    assert send(gateway, "person", two_from)[0] == 550, "mode is for what may be relaxed"
    code, text = send(gateway, "person", (FOLDER / "subject_twice.eml").read_bytes())
    assert code == 550 and "(rule field_once," in text
    gateway.tree["policy"]["strictness"]["author_count"] = "shadow"
    gateway.reload("failure")
    done = check(program, gateway.config)
    assert done.returncode == 78 and "policy.strictness.author_count" in done.stdout
    gateway.stop()
