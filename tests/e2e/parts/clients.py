"""The mail clients that people use, as functions. Each returns an Outcome: whether the server took the
message, and what was said."""

from .loopback import ADDRESS
from .process import run


class Outcome:
    def __init__(self, ok, text):
        self.ok = ok
        self.text = text

    def __repr__(self):
        return f"Outcome(ok={self.ok}):\n{self.text}"


def message(sender, recipient, subject="hello", body="hi there\r\n", extra=""):
    return (f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\nMessage-ID: <{abs(hash(subject))}@client.test>\r\n"
            f"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n{extra}\r\n{body}")


def swaks(port, sender, recipient, tls=None, login=None, password=None, mechanism="PLAIN", ca=None, data=None,
          more=(), address=ADDRESS):
    """tls: None, "starttls" or "implicit"."""
    argv = ["swaks", "--server", address, "--port", port, "--from", sender, "--to", recipient, "--helo", "client.test",
            "--timeout", "20"]
    argv += {None: [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}[tls]
    if tls and ca:
        argv += ["--tls-verify", "--tls-ca-path", ca]
    if login:
        argv += ["--auth", mechanism, "--auth-user", login, "--auth-password", password]
    if data is not None:
        argv += ["--data", data.replace("\r\n", "\\n")]
    done = run(*argv, *more, check=False)
    return Outcome(done.returncode == 0, done.stdout)


def curl(port, sender, recipients, text, directory, tls=None, login=None, password=None, ca=None, more=(),
         address=ADDRESS):
    recipients = [recipients] if isinstance(recipients, str) else recipients
    file = directory / "curl-upload.eml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    scheme = "smtps" if tls == "implicit" else "smtp"
    argv = ["curl", "-sSv", "--max-time", "60", "--url", f"{scheme}://{address}:{port}/client.test",
            "--mail-from", sender, "-T", file]
    for recipient in recipients:
        argv += ["--mail-rcpt", recipient]
    if tls == "starttls":
        argv += ["--ssl-reqd"]
    if ca:
        argv += ["--cacert", ca]
    if login:
        argv += ["--user", f"{login}:{password}"]
    done = run(*argv, *more, check=False, seconds=90)
    return Outcome(done.returncode == 0, done.stdout)


def msmtp(port, sender, recipient, text, directory, tls=None, login=None, password=None, ca=None, mechanism="plain",
          address=ADDRESS):
    config = directory / "msmtprc"
    lines = [f"account default\nhost {address}\nport {port}\nfrom {sender}\ntimeout 20\ndomain client.test"]
    if tls:
        lines += ["tls on", f"tls_starttls {'on' if tls == 'starttls' else 'off'}", f"tls_trust_file {ca}"]
    if login:
        lines += [f"auth {mechanism}", f"user {login}", f"password {password}"]
    config.write_text("\n".join(lines) + "\n")
    config.chmod(0o600)
    done = run("msmtp", "--debug", f"--file={config}", "--", recipient, stdin=text.replace("\r\n", "\n"), check=False)
    return Outcome(done.returncode == 0, done.stdout)
