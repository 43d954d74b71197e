"""What is measured: Portcullis and its peers, each as one worker in front of the same sink, all on loopback.

Every server has ports by what a client does there: "plain", and "tls" (with the way TLS begins). They are set up
to be as cheap as they can be at the same work: TLS 1.3 with AES-128-GCM and one P-256 certificate, no access log,
buffers in which a whole message of the short kinds fits (nginx reads a message in two pieces, and waits 40 ms for a
delayed acknowledgement, with its page-sized smtp_client_buffer), splice() where HAProxy's own heuristics want it, and
nothing asked of nginx's own worker for its auth_http (another nginx answers, whose time is not counted)."""

import dataclasses
import os
import pathlib
import pwd
import resource

from parts import toml
from parts.loopback import free_port, listens
from parts.process import Process, run

ADDRESS = "127.0.0.1"
LOGIN, PASSWORD = "alice@example.com", "wonderland"


@dataclasses.dataclass
class Way:
    """How the load generator reaches a server."""
    port: int
    security: str = "plain"
    login: bool = False

    def arguments(self):
        words = ["--port", self.port, "--security", self.security]
        if self.login:
            words += ["--login", LOGIN, "--password", PASSWORD, "--from", LOGIN, "--to", "bob@example.net"]
        return words


class Server:
    name = ""
    sessions_max = 1000000  # at a time

    def __init__(self, directory):
        self.directory = directory / self.name
        self.directory.mkdir(parents=True)
        self.process = None

    def start(self, *argv):
        self.process = Process(self.name, argv, self.directory)
        for way in self.ways().values():
            self.process.ready(lambda port=way.port: listens(port, ADDRESS))

    def ways(self):
        """Kind of work -> Way."""
        raise NotImplementedError

    def way(self, name):
        """None where there is no such way. Whether BDAT is used behind is a choice only we have."""
        return self.ways().get(name) or self.ways().get(name.removesuffix("-bdat"))

    def pids(self):
        return descendants(self.process.pid)

    def stop(self):
        if self.process is not None:
            self.process.stop()


def descendants(pid):
    """A process and all below it."""
    found = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Sink(Server):
    """Where all mail goes; as a server of its own, the floor of every latency."""
    name = "sink"

    def __init__(self, directory, program, name=None, beside=True):
        """beside: with another one for hostile senders. What is measured beside them is the server in between, not how
        long they keep the sink."""
        self.name = name or self.name
        super().__init__(directory)
        self.port = free_port(ADDRESS)
        self.start(program, "sink", "--discard", "--listen", f"{ADDRESS}:{self.port}")
        self.hostile = Sink(directory, program, "sink-hostile", beside=False) if beside else None

    def stop(self):
        super().stop()
        if self.hostile is not None:
            self.hostile.stop()

    def ways(self):
        return {"plain": Way(self.port)}


class Portcullis(Server):
    name = "portcullis"

    def __init__(self, directory, program, sink, pair, workers=1, rules=0, name=None):
        self.name = name or self.name
        super().__init__(directory)
        self.plain, self.bdat, self.submission, self.hostile = (free_port(ADDRESS) for _ in range(4))
        config = self.directory / "portcullis.toml"
        config.write_text(toml.dump(self.settings(sink, pair, workers, rules)) + "\n")
        config.chmod(0o600)
        run(program, "passwd", "add", LOGIN, "--file", self.directory / "users", "--stdin", stdin=PASSWORD + "\n")
        self.start(program, "serve", "--config", config)

    def settings(self, sink, pair, workers, rules):
        """Everything on: login (cached), identity and spoof checks, rates, usage, journal, metrics, state."""
        limits = {"connections_max": 100000,
                  "connections": {"concurrent_per_network": 1000000, "new_per_minute_per_network": 10000000}}
        return {
            "hostname": "mx.example.com",
            "local_domains": ["example.com"],
            "workers": workers,
            "drain": "1s",
            "tls": {"certificate": pair.certificate, "private_key": pair.private_key},
            "limits": limits,
            "listener": [
                {"name": "mx", "address": f"{ADDRESS}:{self.plain}", "tls": "starttls", "auth": "optional",
                 "upstream": "sink"},
                {"name": "submission", "address": f"{ADDRESS}:{self.submission}", "tls": "starttls",
                 "auth": "required", "upstream": "sink"},
                {"name": "mx-bdat", "address": f"{ADDRESS}:{self.bdat}", "tls": "starttls", "auth": "optional",
                 "upstream": "sink-bdat"},
                {"name": "mx-hostile", "address": f"{ADDRESS}:{self.hostile}", "tls": "starttls", "auth": "optional",
                 "upstream": "sink-hostile"},
            ],
            "upstream": [{"name": "sink", "servers": [f"{ADDRESS}:{sink.port}"], "tls": "off"},
                         {"name": "sink-bdat", "servers": [f"{ADDRESS}:{sink.port}"], "tls": "off", "chunking": True},
                         {"name": "sink-hostile", "servers": [f"{ADDRESS}:{sink.hostile.port}"], "tls": "off"}],
            "auth": {"backends": ["file"], "file": {"path": self.directory / "users"}},
            "usage": [{"name": "size", "message_size": "100MiB", "recipients_per_message": 500,
                       "attachments_per_message": 100}],
            "rate": [{"name": "per-user-day", "key": "login", "limit": "100000000 recipients/day"},
                     {"name": "per-address-hour", "key": "client_ip", "limit": "100000000 messages/hour"}],
            "domain_rule": [{"name": f"customer-{i}", "logins": [f"user{i}@example.com"],
                                "domains": [f"customer{i}.example"]} for i in range(rules)],
            "journal": {"sink": "file", "path": self.directory / "journal.jsonl"},
            "metrics": {"address": f"{ADDRESS}:{free_port(ADDRESS)}"},
            "state": {"path": self.directory / "state.sqlite"},
        }

    def ways(self):
        return {"plain": Way(self.plain), "plain-bdat": Way(self.bdat), "hostile": Way(self.hostile),
                "tls": Way(self.submission, "starttls", login=True), "tls-open": Way(self.plain, "starttls")}


class Haproxy(Server):
    """A TCP pipe; with TLS it can only begin at once, and asks for no login."""
    name = "haproxy"

    def __init__(self, directory, sink, pair):
        super().__init__(directory)
        self.plain, self.tls, self.hostile = (free_port(ADDRESS) for _ in range(3))
        bundle = self.directory / "bundle.pem"
        bundle.write_text(pathlib.Path(pair.certificate).read_text() + pathlib.Path(pair.private_key).read_text())
        bundle.chmod(0o600)
        config = self.directory / "haproxy.cfg"
        config.write_text(f"""
global
    maxconn {(descriptors() - 1000) * 2 // 5}
    nbthread 1
    tune.bufsize 65536
    tune.pipesize 1048576
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode tcp
    option splice-auto
    timeout connect 10s
    timeout client 10m
    timeout server 10m
frontend plain
    bind {ADDRESS}:{self.plain}
    default_backend sink
frontend tls
    bind {ADDRESS}:{self.tls} ssl crt {bundle}
    default_backend sink
frontend hostile
    bind {ADDRESS}:{self.hostile}
    default_backend sink-hostile
backend sink
    server sink {ADDRESS}:{sink.port}
backend sink-hostile
    server sink {ADDRESS}:{sink.hostile.port}
""")
        self.start("haproxy", "-db", "-f", config)

    def ways(self):
        return {"plain": Way(self.plain), "tls": Way(self.tls, "implicit"), "tls-open": Way(self.tls, "implicit"),
                "hostile": Way(self.hostile)}


class NginxAuth(Server):
    """Answers the auth_http of the nginx that is measured: everybody may, and the sink takes it."""
    name = "nginx-auth"

    def __init__(self, directory, sink):
        super().__init__(directory)
        self.port = free_port(ADDRESS)
        config = self.directory / "nginx.conf"
        config.write_text(f"""
daemon off;
pid {self.directory}/pid;
error_log {self.directory}/error.log;
worker_processes 1;
{nginx_user()}
events {{ worker_connections {descriptors()}; }}
http {{
    access_log off;
    server {{
        listen {ADDRESS}:{self.port} backlog=4096;
        location / {{
            add_header Auth-Status OK;
            add_header Auth-Server {ADDRESS};
            add_header Auth-Port {sink.port};
            return 204;
        }}
    }}
}}
""")
        self.start("nginx", "-e", self.directory / "error.log", "-c", config)

    def ways(self):
        return {"http": Way(self.port)}


class Nginx(Server):
    name = "nginx"

    def __init__(self, directory, sink, pair):
        super().__init__(directory)
        self.auth = NginxAuth(directory, sink)
        self.plain, self.tls = free_port(ADDRESS), free_port(ADDRESS)
        config = self.directory / "nginx.conf"
        config.write_text(f"""
load_module modules/ngx_mail_module.so;
daemon off;
pid {self.directory}/pid;
error_log {self.directory}/error.log crit;
worker_processes 1;
{nginx_user()}
events {{ worker_connections {descriptors()}; }}
mail {{
    server_name mx.example.com;
    auth_http {ADDRESS}:{self.auth.port}/;
    proxy_buffer 64k;
    smtp_client_buffer 64k;
    xclient off;
    timeout 10m;
    proxy_timeout 10m;
    smtp_capabilities PIPELINING 8BITMIME "SIZE 104857600";
    ssl_certificate {pair.certificate};
    ssl_certificate_key {pair.private_key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    server {{
        listen {ADDRESS}:{self.plain} backlog=4096;
        protocol smtp;
        smtp_auth none;
        starttls on;
    }}
    server {{
        listen {ADDRESS}:{self.tls} backlog=4096;
        protocol smtp;
        smtp_auth plain;
        starttls only;
    }}
}}
""")
        self.start("nginx", "-e", self.directory / "error.log", "-c", config)

    def ways(self):
        return {"plain": Way(self.plain), "tls": Way(self.tls, "starttls", login=True), "tls-open": Way(self.plain, "starttls")}

    def stop(self):
        super().stop()
        self.auth.stop()


def nginx_user():
    """nginx started by root would drop to a user that may not read the run's directory."""
    return f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""


class Postfix(Server):
    """smtpd with a before-queue proxy filter: the sink is the filter, and has the last word as here."""
    name = "postfix"
    sessions_max = 100  # a process each

    def __init__(self, directory, sink, pair):
        super().__init__(directory)
        del pair  # no TLS: another mail server's STARTTLS is not the point here
        self.plain = free_port(ADDRESS)
        conf = self.directory / "conf"
        for folder in (conf, self.directory / "queue", self.directory / "data"):
            folder.mkdir()
        for folder in (self.directory, directory):
            folder.chmod(0o755)  # Postfix drops its rights and must still find its way here
        run("chown", "postfix", self.directory / "data")
        (conf / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.directory}/queue
data_directory = {self.directory}/data
maillog_file = /dev/stdout
multi_instance_name = postfix-bench
inet_interfaces = {ADDRESS}
inet_protocols = ipv4
myhostname = mx.example.com
mydestination = example.com
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtpd_proxy_filter = {ADDRESS}:{sink.port}
smtpd_proxy_options =
message_size_limit = 104857600
mailbox_size_limit = 0
default_process_limit = {self.sessions_max}
""")
        (conf / "master.cf").write_text(f"""
{ADDRESS}:{self.plain} inet n - n - {self.sessions_max} smtpd
anvil unix - - n - 1 anvil
cleanup unix n - n - 0 cleanup
pickup unix n - n 60 1 pickup
postlog unix-dgram n - n - 1 postlogd
proxymap unix - - n - - proxymap
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
tlsmgr unix - - n 1000? 1 tlsmgr
""")
        self.conf = conf
        self.start("postfix", "-c", conf, "start-fg")

    def ways(self):
        return {"plain": Way(self.plain)}

    def stop(self):
        run("postfix", "-c", self.conf, "stop", check=False)
        super().stop()
