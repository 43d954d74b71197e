"""Who stands in front of the gateway and speaks for others: HAProxy with the PROXY protocol, a proxy with XCLIENT.
Believed from the networks that the configuration names, and from nobody else."""

import pytest
from parts.clients import swaks
from parts.gateway import Gateway, settings
from parts.loopback import ADDRESS, free_port, listens
from parts.process import Process
from parts.sink import Sink
from wire import Wire

BOB = "bob@example.com"
LOCAL = "127.0.0.1"  # where connections come from that name no address of their own
STRANGER = "stranger@example.org"
V2 = b"\r\n\r\n\0\r\nQUIT\n"
V2_TCP4 = V2 + b"\x21\x11\0\x0c" + bytes([203, 0, 113, 8, 192, 0, 2, 1]) + b"\x12\x67\0\x19"


@pytest.fixture
def sink(parts, directory, program):
    return parts.use(Sink(program, directory / "sink"))


@pytest.fixture
def start(parts, directory, program, pair, sink):
    """A gateway whose listeners `balanced` and `balanced-tls` need a PROXY header."""
    def start(network=None, **changes):
        tree = settings(directory, pair, sink.port, **changes)
        for name, tls in (("balanced", "starttls"), ("balanced-tls", "implicit")):
            tree["listener"].append({"name": name, "address": f"{ADDRESS}:{free_port()}", "tls": tls, "auth": "optional",
                                     "proxy_protocol": True, "limits": {"greeting_timeout": "3s"}})
        tree["network"] = [{"name": "front", "addresses": [LOCAL, ADDRESS], "may_send_proxy_header": True,
                            **(network or {})}]
        return parts.use(Gateway(program, directory, tree))
    return start


class HAProxy:
    """The real balancer, in TCP mode, from a port of its own to each (port, option) of the gateway."""

    def __init__(self, directory, routes):
        self.ports = [free_port() for _ in routes]
        sections = "".join(
            f"listen route{i}\n  bind {ADDRESS}:{own}\n  server gateway {ADDRESS}:{port} {option} source {ADDRESS}\n"
            for i, (own, (port, option)) in enumerate(zip(self.ports, routes)))
        config = directory / "haproxy.cfg"
        config.write_text("global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n"
                          "  timeout server 30s\n" + sections)
        self.process = Process("haproxy", ["haproxy", "-db", "-f", config], directory)
        self.process.ready(lambda: all(listens(port) for port in self.ports))

    def stop(self):
        self.process.stop()


def test_behind_haproxy(start, parts, directory, sink, authority):
    gateway = start()
    haproxy = parts.use(HAProxy(directory, [
        (gateway.port("balanced"), "send-proxy"), (gateway.port("balanced"), "send-proxy-v2"),
        (gateway.port("balanced-tls"), "send-proxy-v2")]))
    for number, (port, tls) in enumerate(zip(haproxy.ports, ("starttls", None, "implicit")), 1):
        # From another address of this machine: with the header the gateway sees it, not the balancer's.
        outcome = swaks(port, STRANGER, BOB, tls, more=["--local-interface", f"127.0.0.{10 + number}"])
        assert outcome.ok, outcome
        record = gateway.wait_for_journal(number, type="transaction")[-1]
        assert (record["client"], record["via"]) == (f"127.0.0.{10 + number}", ADDRESS), record
        assert record.get("tls_version", "none") != "none" if tls else "tls_version" not in record
    assert b"[127.0.0.11]" in sink.maildir.wait_for(3)[0]
    assert gateway.metric("portcullis_proxy_headers_total", version="1", result="accepted") >= 1
    assert gateway.metric("portcullis_proxy_headers_total", version="2", result="accepted") >= 2


def test_limits_count_the_client_not_the_balancer(start):
    gateway = start(limits={"connections": {"concurrent_per_network": 1}})
    port = gateway.port("balanced")

    def connect(number):
        client = Wire(port, greet=False)
        client.send(b"PROXY TCP4 198.51.100.%d 192.0.2.1 4711 25\r\n" % number)
        return client, client.reply()[0]

    first, code = connect(1)
    assert code == 220
    second, code = connect(2)
    assert code == 220
    third, code = connect(1)
    assert code == 421
    for client in (first, second, third):
        client.socket.close()


def test_header_in_pieces_and_with_commands_behind(start, sink):
    gateway = start()
    with Wire(gateway.port("balanced"), greet=False) as client:
        client.send(V2_TCP4, pieces=1)
        assert client.reply()[0] == 220
        assert client.ask(b"EHLO client.test")[0] == 250
    with Wire(gateway.port("balanced"), greet=False) as client:
        client.send(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\nEHLO client.test\r\nMAIL FROM:<stranger@example.org>\r\n")
        assert [client.reply()[0] for _ in range(3)] == [220, 250, 250]
    sessions = gateway.wait_for_journal(2, type="session")
    assert [(s["client"], s["client_port"]) for s in sessions] == [("203.0.113.8", 0x1267), ("2001:db8::7", 4711)]


def test_a_health_check_is_the_balancers_own(start):
    gateway = start()
    for header in (V2 + b"\x20\0\0\0", b"PROXY UNKNOWN\r\n"):
        with Wire(gateway.port("balanced"), greet=False) as client:
            client.send(header)
            assert client.reply()[0] == 220
            assert client.ask(b"QUIT")[0] == 221
    sessions = gateway.wait_for_journal(2, type="session")
    assert [s["client"] for s in sessions] == [LOCAL] * 2 and not any(s.get("via") for s in sessions)


@pytest.mark.parametrize("octets", [
    b"EHLO client.test\r\n", b"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n", b"PROXY " + b"x" * 5000, V2 + b"\x21\x12\0\x0c" + bytes(12),
    b"\x16\x03\x01\x02\x00\x01", b"\r\n\r\n\0", b""], ids=["none", "short", "endless", "udp", "tls", "half", "silence"])
def test_no_header_no_session(start, octets):
    gateway = start()
    with Wire(gateway.port("balanced"), greet=False) as client:
        client.send(octets) if octets else None
        replies = client.replies()  # after greeting_timeout at the latest
        assert [code for code, _ in replies] in ([421], []), replies
    assert gateway.metric("portcullis_connections_rejected_total", listener="balanced", reason="proxy_header") == 1
    assert gateway.metric("portcullis_connections_active", listener="balanced") == 0
    assert gateway.journal(type="session") == []


def test_nobody_else_is_believed(start):
    gateway = start({"addresses": ["192.0.2.0/24"]})
    with Wire(gateway.port("balanced"), greet=False) as client:
        assert client.reply()[0] == 421  # at once, whatever it would have said
    assert gateway.metric("portcullis_proxy_headers_total", result="untrusted") == 1
    (event,) = gateway.wait_for_journal(type="event", event="proxy_header_refused")
    assert event["fields"]["reason"] == "untrusted"
    # A header where none is expected is a bad command.
    with Wire(gateway.port("mx"), greet=False) as client:
        client.send(b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 25\r\n")
        assert [client.reply()[0] for _ in range(2)] == [220, 500]
    assert gateway.journal(client="203.0.113.7") == []


def test_xclient_from_a_trusted_proxy(start, sink):
    gateway = start({"may_send_xclient": True})
    port = gateway.port("mx")
    outcome = swaks(port, STRANGER, BOB, more=["--xclient", "ADDR=203.0.113.7 PORT=4711 NAME=[UNAVAILABLE]"])
    assert outcome.ok, outcome
    (record,) = gateway.wait_for_journal(type="transaction")
    assert (record["client"], record["client_port"], record["via"]) == ("203.0.113.7", 4711, LOCAL)
    assert b"[203.0.113.7]" in sink.maildir.wait_for(1)[0]
    with Wire(port) as client:
        # With a login the policies know who it is.
        assert client.ask(b"XCLIENT ADDR=IPV6:2001:db8::7 LOGIN=Alice@example.com")[0] == 220
        assert client.ask(b"MAIL FROM:<alice@example.com>")[0] == 503  # from the start again
        code, text = client.ask(b"EHLO client.test")
        assert code == 250 and b"XCLIENT" in text
        assert client.ask(b"MAIL FROM:<carol@example.com>")[0] == 553
        assert client.ask(b"MAIL FROM:<alice@example.com>")[0] == 250
        assert client.ask(b"XCLIENT ADDR=203.0.113.9")[0] == 503  # not inside a transaction
        assert client.ask(b"RSET")[0] == 250
        # The next client of the same connection is somebody else.
        assert client.ask(b"XCLIENT ADDR=203.0.113.9")[0] == 220
        assert client.ask(b"EHLO client.test")[0] == 250
        assert client.ask(b"MAIL FROM:<alice@example.com>")[0] == 553
        for bad in (b"ADDR=nonsense", b"ADDR=1.2.3.4 ADDR=1.2.3.5", b"LOGIN=a+0D+0Ab", b"FOO=1", b"",
                    b"LOGIN=alice@example.com", b"ADDR=[UNAVAILABLE]"):
            assert client.ask(b"XCLIENT " + bad)[0] == 501
    logins = [r.get("login") for r in gateway.wait_for_journal(3, type="transaction")]
    assert "alice@example.com" in logins


def test_each_client_of_a_proxy_has_its_own_session(start):
    """One connection of the proxy carries several clients, one after the other: none pays for those before."""
    gateway = start({"may_send_xclient": True},
                    usage=[{"name": "few", "messages_per_session": 1, "recipients_per_session": 1}])
    with Wire(gateway.port("mx")) as client:
        for address in (b"203.0.113.7", b"203.0.113.9"):
            assert client.ask(b"XCLIENT ADDR=" + address)[0] == 220
            assert client.ask(b"EHLO client.test")[0] == 250
            client.envelope(STRANGER.encode(), BOB.encode())
            assert client.ask(b"DATA")[0] == 354
            assert client.ask(b"From: stranger@example.org\r\n\r\nx\r\n.")[0] == 250
        code, text = client.ask(b"MAIL FROM:<stranger@example.org>")
        assert code == 450 and b"rule few" in text
        assert client.ask(b"QUIT")[0] == 221
    (record,) = gateway.wait_for_journal(type="session", client="203.0.113.9")
    assert record["messages_accepted"] == 2


def test_xforward_is_for_the_logs_only(start):
    """Where a message came from, told by a mail server in front: in the journal, and nowhere in the policies."""
    gateway = start({"may_send_xforward": True, "addresses": [LOCAL]})
    port = gateway.port("mx")
    with Wire(port) as client:
        code, text = client.ask(b"EHLO front.test")
        assert code == 250 and b"XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE" in text and b"XCLIENT" not in text
        for bad in (b"", b"ADDR=nonsense", b"ADDR=1.2.3.4 ADDR=1.2.3.5", b"LOGIN=alice@example.com", b"HELO=a+0D+0Ab", b"SOURCE=moon"):
            assert client.ask(b"XFORWARD " + bad)[0] == 501, bad
        assert client.ask(b"XFORWARD NAME=spike.test ADDR=203.0.113.9 PORT=4711")[0] == 250
        assert client.ask(b"XFORWARD HELO=spike IDENT=4F2A SOURCE=REMOTE")[0] == 250
        assert client.ask(b"MAIL FROM:<alice@example.com>")[0] == 553  # no login by this
        assert client.ask(b"XFORWARD NAME=spike.test ADDR=203.0.113.7 HELO=spike\"}\x1b[31m".replace(b"\x1b", b"+1B"))[0] == 501
        assert client.ask(b"XFORWARD ADDR=203.0.113.7 HELO=spike\"} IDENT=4F2A")[0] == 250
        assert client.ask(b"MAIL FROM:<" + STRANGER.encode() + b">")[0] == 250
        assert client.ask(b"XFORWARD ADDR=203.0.113.8")[0] == 503
        assert client.ask(b"RCPT TO:<" + BOB.encode() + b">")[0] == 250 and client.ask(b"DATA")[0] == 354
        assert client.ask(b"From: " + STRANGER.encode() + b"\r\n\r\nhi\r\n.")[0] == 250
        # Told for one message: the next is nobody's but the server's own.
        assert client.ask(b"MAIL FROM:<" + STRANGER.encode() + b">")[0] == 250 and client.ask(b"RSET")[0] == 250
    refused, accepted, last = gateway.wait_for_journal(3, type="transaction")
    assert (refused["forwarded_client"], refused["forwarded_helo"], refused["forwarded_id"]) == ("203.0.113.9", "spike", "4F2A")
    assert (accepted["forwarded_client"], accepted["forwarded_helo"], accepted["client"]) == ("203.0.113.7", 'spike"}', LOCAL)
    assert "forwarded_client" not in last
    with Wire(gateway.port("mx"), source="127.0.0.9") as other:
        assert b"XFORWARD" not in other.ask(b"EHLO front.test")[1]
        assert other.ask(b"XFORWARD ADDR=203.0.113.7")[0] == 550


def test_xclient_does_not_get_around_the_rules(start):
    """What the named client may not do, the proxy may not do for it; nobody else may name one."""
    gateway = start({"may_send_xclient": True, "addresses": [LOCAL], "may_auth_without_tls": True})
    with Wire(gateway.port("submission")) as client:
        assert client.ask(b"XCLIENT ADDR=203.0.113.7")[0] == 220
        _, text = client.ask(b"EHLO client.test")
        assert b"AUTH" not in text  # allowed for the proxy's network, not for the client's
        assert client.ask(b"MAIL FROM:<alice@example.com>")[0] == 530
    outcome = swaks(gateway.port("mx"), STRANGER, BOB, more=["--local-interface", "127.0.0.9", "--xclient", "ADDR=203.0.113.7"])
    assert not outcome.ok and "not advertise XCLIENT" in outcome.text
