"""No second message behind the gateway in real Exim and OpenSMTPD either, of the versions that Debian 12 has.
Asked directly they take some look-alikes for the end of data: that is shown first."""

import pytest
from parts.caged import Exim, OpenSmtpd
from test_smuggling import HEAD, SMUGGLED, SPELLINGS, accepted, bdat, data, gateway
from wire import Wire

_SECOND = b"From: admin@example.com\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"
# As SMUGGLED, for servers that want to be asked before DATA is gone on with.
BY_CHUNK = b"MAIL FROM:<admin@example.com>\r\nRCPT TO:<bob@example.com>\r\nBDAT %d LAST\r\n" % len(_SECOND) + _SECOND[:-2]
SERVERS = {"exim": Exim, "exim-without-chunking": lambda directory: Exim(directory, chunking=False), "opensmtpd": OpenSmtpd}


@pytest.fixture(params=SERVERS)
def server(request, parts, directory):
    return parts.use(SERVERS[request.param](directory / "server"))


def ends_at(port, spelling):
    """Whether the server, asked without a gateway, goes back to commands at this spelling: then what follows, up to
    the true end, is heard as commands."""
    with Wire(port) as client:
        client.envelope()
        assert client.ask(b"DATA")[0] == 354
        client.send(HEAD + b"one" + spelling + b"x\r\n.\r\n")
        return client.reply()[0] != 250 or client.ask(b"NOOP")[0] != 250


def test_each_server_alone(server):
    """The control: without it the test below might pass for want of a hole to get through. Exim 4.96 (-15+deb12u10)
    ends data at CR CR LF.CRLF; that is not insisted on, as Debian may mend it any day."""
    assert ends_at(server.port, b"\r\n.\r\n") and not ends_at(server.port, b"\r\n..\r\n")
    taken = {name for name, spelling in SPELLINGS.items() if ends_at(server.port, spelling)}
    if isinstance(server, OpenSmtpd):
        assert taken >= {"LF.LF", "LF.CRLF", "CRLF.LF"}, taken
    assert taken <= {"LF.LF", "LF.CRLF", "CRLF.LF", "CR CR LF.CRLF", "CRLF.NUL CRLF", "CR NUL LF.CRLF"}, taken


@pytest.mark.parametrize("bare_lf", ["refuse", "normalize"])
def test_no_second_message(program, parts, directory, pair, server, bare_lf):
    port = parts.use(gateway(program, directory, pair, server.port, bare_lf)).port("mx")
    taken = 0
    for name, spelling in SPELLINGS.items():
        octets = []
        for smuggled in (SMUGGLED, BY_CHUNK):
            body = HEAD + b"one" + spelling + smuggled
            octets += [accepted(data(port, body)), accepted(bdat(port, [body + b"\r\n"]))]
            for cut in range(1, len(spelling) + 1):
                at = len(HEAD) + 3 + cut
                octets.append(accepted(bdat(port, [body[:at], body[at:] + b"\r\n"])))
        octets.append(accepted(data(port, body, 1 if len(name) < 8 else 7)))
        clean = bare_lf == "normalize" and b"\r" not in spelling.replace(b"\r\n", b"") and b"\0" not in spelling
        assert all(octets) if clean else not any(octets), name
        taken += sum(octets)
    # CRLF.CRLF inside a chunk, and lines of dots, are content.
    taken += accepted(bdat(port, [HEAD + b"one\r\n.\r\n" + BY_CHUNK + b"\r\n"]))
    taken += accepted(data(port, HEAD + b"..\r\n...\r\nthe last"))
    messages = server.box.wait_for(taken)
    for text in messages:
        assert text.count(b"Subject: first") == 1 and b"Subject: first" in text.split(b"\n\n")[0], text
    assert any(b"\n.\n..\nthe last" in text for text in messages)
    # Not a second message, nor a try at one: no command of it was ever seen.
    for trace in ("admin@", "synchronization error", "bad-input"):
        assert trace not in server.log(), server.log()[-4000:]
