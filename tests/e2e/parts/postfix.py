"""A real Postfix of its own queue and configuration: as the legacy server behind the gateway
(`Postfix.upstream`), or as a mail server that sends through it (`Postfix.client`)."""

import os
import re

from .loopback import ADDRESS, free_port, listens, wait_until
from .maildir import Maildir
from .process import AS_ROOT, Process, run

_MASTER = """
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    def __init__(self, directory, settings, files=()):
        self.directory = directory
        self.port = free_port()
        self.mail = directory / "mail"
        config = directory / "config"
        for folder in (config, directory / "queue", directory / "data", self.mail):
            folder.mkdir(parents=True)
        # Postfix drops its rights: it must still find its way here.
        for folder in (directory, *directory.parents):
            if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o055)
        for name, text in files:
            (config / name).write_text(text)
        owner = 65534 if os.geteuid() == 0 else os.geteuid()
        os.chown(self.mail, owner, -1)
        run(*AS_ROOT, "chown", "postfix", directory / "data")
        common = {
            "compatibility_level": "3.6", "queue_directory": directory / "queue", "data_directory": directory / "data",
            "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8",
            "alias_maps": "", "alias_database": "", "mydestination": "", "myorigin": "$myhostname",
            "maillog_file": "/dev/stdout", "smtp_host_lookup": "native", "smtp_dns_support_level": "disabled",
            "virtual_mailbox_base": self.mail, "virtual_minimum_uid": "100", "virtual_uid_maps": f"static:{owner}",
            "virtual_gid_maps": f"static:{owner}", "queue_run_delay": "2s", "minimal_backoff_time": "2s",
            "maximal_backoff_time": "4s", "max_idle": "5s", "multi_instance_name": "postfix-test",
        }
        merged = {**common, **settings}
        (config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in merged.items()))
        (config / "master.cf").write_text(_MASTER.format(listen=f"{ADDRESS}:{self.port}"))
        self.config = config
        self.process = Process("postfix", ["postfix", "-c", config, "start-fg"], directory, root=True)
        self.process.ready(lambda: listens(self.port))

    @classmethod
    def upstream(cls, directory, pair=None, mailboxes=("bob@example.com", "carol@example.com", "bob@example.net"),
                 **settings):
        """The legacy server as sites have it: it trusts the network of the gateway and so relays whatever comes from
        there (the Internet is `discard`); of its own domains it takes mail for the mailboxes, and refuses other
        recipients with 550 5.1.1."""
        base = {
            "myhostname": "legacy.example.com", "virtual_mailbox_domains": "example.com, example.net",
            "virtual_mailbox_maps": f"texthash:{directory}/config/mailboxes",
            "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination", "smtpd_delay_reject": "yes",
            "default_transport": "discard:the Internet",
            "smtpd_authorized_xforward_hosts": "127.0.0.0/8", "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
            "message_size_limit": "20000000", "virtual_mailbox_limit": "0",
        }
        if pair:
            base |= {"smtpd_tls_security_level": "may", "smtpd_tls_chain_files": f"{pair.private_key}, {pair.certificate}",
                     "smtpd_tls_loglevel": "1"}
        table = "".join(f"{address} {address}/\n" for address in mailboxes)
        return cls(directory, {**base, **settings}, [("mailboxes", table)])

    @classmethod
    def client(cls, directory, relay_port, login, password, ca, **settings):
        """A mail server that relays everything to the gateway with SASL over verified TLS."""
        relay = f"[{ADDRESS}]:{relay_port}"
        base = {
            "myhostname": "branch.example.com", "relayhost": relay, "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "smtp_sasl_auth_enable": "yes", "smtp_sasl_security_options": "noanonymous",
            "smtp_sasl_password_maps": f"texthash:{directory}/config/sasl", "smtp_tls_security_level": "encrypt",
            "smtp_tls_CAfile": ca, "smtp_tls_loglevel": "1",
        }
        return cls(directory, {**base, **settings}, [("sasl", f"{relay} {login}:{password}\n")])

    def mailbox(self, address):
        return Maildir(self.mail / address)

    def log(self):
        return self.process.output()

    def wait_for_log(self, pattern, seconds=30.0):
        return wait_until(lambda: re.search(pattern, self.log()), lambda: f"{pattern} in:\n{self.log()}", seconds)

    def freeze(self):
        """Every process of it stands still: connections are accepted by the kernel, and nobody answers."""
        self._signal("STOP")

    def thaw(self):
        self._signal("CONT")

    def _signal(self, name):
        master = (self.directory / "queue/pid/master.pid").read_text().strip()
        children = run("pgrep", "-P", master, check=False).stdout.split()
        run(*AS_ROOT, "kill", f"-{name}", master, *children, check=False)

    def stop(self):
        run(*AS_ROOT, "postfix", "-c", self.config, "stop", check=False)
        self.process.stop()
