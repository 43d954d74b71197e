"""No spelling of the end of data but CRLF.CRLF ends a message, and none reaches a server that might take
it for one: a second message never stands behind the first."""

import itertools

import pytest

from lax_upstream import LaxUpstream
from parts.gateway import Gateway, settings
from parts.loopback import wait_until
from parts.postfix import Postfix
from wire import Wire

ENDS = {"CRLF": b"\r\n", "LF": b"\n", "CR": b"\r"}
SPELLINGS = {f"{a}.{b}": ENDS[a] + b"." + ENDS[b] for a, b in itertools.product(ENDS, ENDS) if (a, b) != ("CRLF", "CRLF")}
SPELLINGS |= {
    "CRLF NUL.CRLF": b"\r\n\0.\r\n", "CRLF.NUL CRLF": b"\r\n.\0\r\n", "CRLF.CR NUL LF": b"\r\n.\r\0\n",
    "CR NUL LF.CRLF": b"\r\0\n.\r\n", "CR CR LF.CRLF": b"\r\r\n.\r\n", "CRLF.CR CR LF": b"\r\n.\r\r\n",
    "LF NUL.LF": b"\n\0.\n", "CRLF.CR CRLF": b"\r\n.\r\r\n", "LF CR.LF CR": b"\n\r.\n\r",
}
SMUGGLED = (b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nFrom: admin@example.com\r\n"
            b"Subject: smuggled\r\n\r\nsmuggled")
HEAD = b"From: out@else.test\r\nSubject: first\r\n\r\n"


def gateway(program, directory, pair, upstream_port, bare_lf):
    tree = settings(directory, pair, upstream_port, limits={"connections": {"new_per_minute_per_network": 1000000}})
    tree["listener"][0]["bare_lf"] = bare_lf
    tree["upstream"][0]["chunking"] = True  # BDAT where the server takes it
    return Gateway(program, directory, tree)


def data(port, octets, pieces=None):
    """One message by DATA, then QUIT; all that was answered."""
    with Wire(port) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(octets + b"\r\n.\r\nQUIT\r\n", pieces)
        return client.replies()


def bdat(port, chunks):
    with Wire(port) as client:
        client.envelope()
        for number, chunk in enumerate(chunks):
            client.send(b"BDAT %d%s\r\n%s" % (len(chunk), b" LAST" if number + 1 == len(chunks) else b"", chunk))
            reply = client.reply()
            if reply[0] != 250:
                break
        client.send(b"QUIT\r\n")
        return [reply, *client.replies()]


def accepted(replies):
    """One reply to the message and one to QUIT (or the end, where a bare CR or NUL makes the end of the
    message doubtful), nothing behind; whether the message was taken."""
    assert len(replies) == 1 and replies[0][0] == 550 or len(replies) == 2 and replies[1][0] == 221, replies
    assert replies[0][0] in (250, 550), replies
    return replies[0][0] == 250


def check(messages, taken):
    """As many messages as were acknowledged, each ours from its first to its last line."""
    assert len(messages) == taken
    for sender, content in messages:
        assert sender.upper().startswith(b"MAIL FROM:<OUT@ELSE.TEST>"), sender
        assert content.startswith(b"Received: ")


@pytest.mark.parametrize("bare_lf", ["refuse", "normalize"])
@pytest.mark.parametrize("chunking", [False, True])
def test_lax_upstream(program, parts, directory, pair, bare_lf, chunking):
    upstream = parts.use(LaxUpstream(chunking))
    running = parts.use(gateway(program, directory, pair, upstream.port, bare_lf))
    port = running.port("mx")
    wait_until(lambda: upstream.commands, "the probe")
    taken = 0
    for name, spelling in SPELLINGS.items():
        body = HEAD + b"one" + spelling + SMUGGLED
        octets = [accepted(data(port, body)), accepted(data(port, body, 1 if len(name) < 8 else 7)),
                  accepted(bdat(port, [body + b"\r\n"]))]
        for cut in range(1, len(spelling) + 1):  # every cut of the look-alike by a chunk boundary
            at = len(HEAD) + 3 + cut
            octets.append(accepted(bdat(port, [body[:at], body[at:] + b"\r\n"])))
        # In the header, where it might end that too.
        octets.append(accepted(data(port, b"From: out@else.test\r\nX-A: one" + spelling + SMUGGLED)))
        clean = bare_lf == "normalize" and b"\r" not in spelling.replace(b"\r\n", b"") and b"\0" not in spelling
        assert all(octets[:-1]) if clean else not any(octets), name
        taken += sum(octets)
        check(upstream.messages, taken)
    # What is content everywhere stays content: a dot on a line of its own, stuffed, and CRLF.CRLF in a chunk.
    assert accepted(data(port, HEAD + b"..\r\n" + SMUGGLED.replace(b"DATA\r\n", b"DATA\r\n..\r\n")))
    if chunking:
        assert accepted(bdat(port, [HEAD + b"\r\n.\r\n" + SMUGGLED + b"\r\n"]))
        taken += 1
        assert b"\r\n.\r\n" in upstream.messages[-1][1]
    check(upstream.messages, taken + 1)
    assert not [c for c in upstream.commands if b"admin@" in c]


def test_chunk_with_end_of_data_to_an_upstream_without_chunking(program, parts, directory, pair):
    """A CRLF.CRLF inside a chunk is content: toward DATA it is stuffed."""
    upstream = parts.use(LaxUpstream())
    port = parts.use(gateway(program, directory, pair, upstream.port, "refuse")).port("mx")
    assert accepted(bdat(port, [HEAD + b"one\r\n.\r\n" + SMUGGLED + b"\r\n"]))
    check(upstream.messages, 1)
    assert b"\r\n..\r\nMAIL FROM" in upstream.messages[0][1]


@pytest.mark.parametrize("octets", [
    b"MAIL FROM:<out@else.test>\nRCPT TO:<bob@example.com>\r\n", b"MAIL FROM:<out@else.test>\rRCPT TO:<bob@example.com>\r\n",
    b"MAIL FROM:<out@else.test>\0\r\n", b"MAIL FROM:<out@else.test>\r\r\n", b"NOOP\n", b"NOOP\r.\r", b"\0NOOP\r\n"])
def test_commands(program, parts, directory, pair, octets):
    upstream = parts.use(LaxUpstream())
    port = parts.use(gateway(program, directory, pair, upstream.port, "normalize")).port("mx")
    for pieces in (None, 1):
        with Wire(port) as client:
            client.send(octets, pieces)
            (reply,) = client.replies()
            assert reply[0] == 554, reply
    assert not [c for c in upstream.commands if c[:4] in (b"MAIL", b"RCPT")]


@pytest.mark.parametrize("bare_lf", ["refuse", "normalize"])
def test_postfix(program, parts, directory, pair, bare_lf):
    # Postfix of before its own defence: it takes LF.LF and the like when asked plainly.
    postfix = parts.use(Postfix.upstream(directory / "postfix"))
    port = parts.use(gateway(program, directory, pair, postfix.port, bare_lf)).port("mx")
    taken = 0
    for spelling in SPELLINGS.values():
        body = HEAD + b"one" + spelling + SMUGGLED
        taken += accepted(data(port, body)) + accepted(bdat(port, [body + b"\r\n"]))
    taken += accepted(data(port, HEAD + b"the last"))
    box = postfix.mailbox("bob@example.com")
    wait_until(lambda: postfix.log().count(": removed") >= taken, "all that was taken to be delivered")
    for text in box.wait_for(taken):
        assert text.count(b"Return-Path: <out@else.test>") == 1 and b"Subject: first" in text.split(b"\n\n")[0]
    assert taken == 1 or bare_lf == "normalize"
