"""Mail servers of packages that can not be installed beside Postfix. `dev` unpacks them into build/unpacked;
here they run in a root directory of their own (chroot), with the users they expect, so that nothing of this
machine is changed and each finds its files where it was built to look for them."""

import pathlib
import re
import shutil

from .loopback import ADDRESS, free_port, listens
from .maildir import Maildir
from .process import AS_ROOT, Process, run

UNPACKED = pathlib.Path(__file__).resolve().parents[3] / "build" / "unpacked"
_LIBRARY = re.compile(r"(/\S+) \(0x")
_MAILER = 2001  # who owns what is delivered

_EXIM = """
primary_hostname = legacy.example.com
exim_path = /usr/sbin/exim4
spool_directory = /var/spool/exim4
log_file_path = /var/log/exim4/%slog
local_interfaces = {address}
daemon_smtp_ports = {port}
tls_advertise_hosts =
chunking_advertise_hosts = {chunking}
pipelining_advertise_hosts = *
smtp_accept_max_per_connection = 100000
smtp_accept_queue_per_connection = 0
message_size_limit = 20M
received_headers_max = 100
rfc1413_query_timeout = 0s
host_lookup =
deliver_drop_privilege
keep_environment =
acl_smtp_rcpt = rcpt
acl_smtp_data = data

begin acl
rcpt:
  accept domains = example.com : example.net
  deny
data:
  accept

begin routers
everybody:
  driver = accept
  transport = box

begin transports
box:
  driver = appendfile
  directory = /mail
  maildir_format
  envelope_to_add
  return_path_add
"""

_OPENSMTPD = """
listen on {address} port {port} hostname legacy.example.com
action "box" maildir "/mail" virtual {{ "@" = "mailer" }}
match from any for domain {{ "example.com", "example.net" }} action "box"
"""


class Caged:
    """A server that takes mail for example.com and example.net; `box` has all that it delivered, for whomever."""

    def __init__(self, directory, package, programs, users, files, command):
        """programs: what is copied out of the package. users: {name: uid}. files: {path: text}."""
        self.directory = directory
        self.root = directory / "root"
        self.package = UNPACKED / package
        assert self.package.is_dir(), f"{self.package} is missing: `./dev packages test` unpacks it"
        for folder in ("dev", "etc", "tmp", "run", "var/spool", "var/log", "var/lib", "mail/tmp", "mail/new", "mail/cur"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / "var/run").symlink_to("../run")
        for pattern in programs:
            for program in sorted(self.package.glob(pattern)):
                self._copy(program, self.root / program.relative_to(self.package))
        self._copy(pathlib.Path("/bin/sh").resolve(), self.root / "bin/sh")  # what OpenSMTPD delivers through
        accounts = {"root": 0, "nobody": 65534, **users}
        texts = {"etc/passwd": "".join(f"{n}:x:{i}:{i}::/:/bin/false\n" for n, i in accounts.items()),
                 "etc/group": "".join(f"{n}:x:{i}:\n" for n, i in accounts.items()),
                 "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
                 "etc/hosts": f"127.0.0.1 localhost\n{ADDRESS} legacy.example.com\n", "etc/resolv.conf": "", **files}
        for name, text in texts.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        run(*AS_ROOT, "mknod", "-m", "666", self.root / "dev/null", "c", "1", "3")
        run(*AS_ROOT, "chown", "-R", "0:0", self.root / "etc", self.root / "var", self.root / "usr")
        run(*AS_ROOT, "chown", "-R", f"{_MAILER}:{_MAILER}", self.root / "mail")
        self._prepare()
        self.box = Maildir(self.root / "mail")
        self.process = Process(package, ["chroot", self.root, *command], directory, root=True)
        self.process.ready(lambda: listens(self.port))

    def _prepare(self):
        pass

    def _copy(self, program, target):
        """A program, or a link to one, with the libraries it needs."""
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(program, target, follow_symlinks=False)
        if program.is_symlink():
            return
        for library in _LIBRARY.findall(run("ldd", program).stdout):
            copy = self.root / library[1:]
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists():
                shutil.copy2(library, copy)

    def log(self):
        """All that the server has logged so far."""
        files = sorted((self.root / "var/log").rglob("*log"))
        return self.process.output() + self.process.errors() + "".join(f.read_text("utf-8", "replace") for f in files)

    def stop(self):
        self.process.stop()


class Exim(Caged):
    def __init__(self, directory, chunking=True):
        self.port = free_port()
        config = _EXIM.format(address=ADDRESS, port=self.port, chunking="*" if chunking else "")
        super().__init__(directory, "exim4-daemon-light", ["usr/sbin/exim4"], {"Debian-exim": _MAILER},
                         {"etc/exim4/exim4.conf": config}, ["/usr/sbin/exim4", "-bdf", "-q1m"])

    def _prepare(self):
        for folder in ("var/spool/exim4", "var/log/exim4"):
            run(*AS_ROOT, "install", "-d", "-o", _MAILER, "-g", _MAILER, self.root / folder)


class OpenSmtpd(Caged):
    def __init__(self, directory):
        self.port = free_port()
        super().__init__(directory, "opensmtpd", ["usr/sbin/smtpd", "usr/sbin/smtpctl", "usr/libexec/opensmtpd/*"],
                         {"mailer": _MAILER, "opensmtpd": 2002, "opensmtpq": 2003},
                         {"etc/smtpd.conf": _OPENSMTPD.format(address=ADDRESS, port=self.port), "etc/mailname": "legacy.example.com\n"},
                         ["/usr/sbin/smtpd", "-d"])

    def _prepare(self):
        run(*AS_ROOT, "install", "-d", "-m", "711", self.root / "var/spool/smtpd", self.root / "var/lib/opensmtpd/empty")
