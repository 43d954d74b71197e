"""A real Dovecot that knows some users, by password and (XOAUTH2, OAUTHBEARER) by signed token."""

import base64
import hashlib
import hmac
import json
import pwd
import os
import time

from .loopback import ADDRESS, free_port, listens
from .process import Process

_CONFIG = """
protocols = imap
listen = {address}
base_dir = {base}/run
state_dir = {base}/state
log_path = /dev/stderr
auth_verbose = yes
auth_mechanisms = plain login xoauth2 oauthbearer
disable_plaintext_auth = {disable_plaintext}
mail_location = maildir:{base}/mail/%u
first_valid_uid = 1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{private_key}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service anvil {{
  # No growing delay after wrong passwords: the tests have many, all from one address.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
  chroot =
}}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {base}/oauth2.conf
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={base}/mail/%u
}}
"""


class Dovecot:
    def __init__(self, directory, pair, users, plaintext=True, more=""):
        """users: {login: password}. plaintext: whether LOGIN is allowed before TLS on the imap port. more: settings."""
        directory.mkdir(parents=True)
        for folder in (directory, *directory.parents):
            if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o055)
        self.imap, self.imaps = free_port(), free_port()
        self._key = os.urandom(32)
        keys = directory / "keys" / "default" / "HS256"
        keys.mkdir(parents=True)
        (keys / "default").write_text(base64.b64encode(self._key).decode())
        (directory / "users").write_text("".join(f"{u}:{{PLAIN}}{p}::::::\n" for u, p in users.items()))
        (directory / "oauth2.conf").write_text(
            "introspection_mode = local\n"
            f"local_validation_key_dict = fs:posix:prefix={directory}/keys/\n"
            "username_attribute = email\n")
        owner = pwd.getpwnam("nobody")
        mail = directory / "mail"
        mail.mkdir()
        if os.geteuid() == 0:
            os.chown(mail, owner.pw_uid, owner.pw_gid)
        config = directory / "dovecot.conf"
        config.write_text(_CONFIG.format(
            address=ADDRESS, base=directory, certificate=pair.certificate, private_key=pair.private_key,
            imap=self.imap, imaps=self.imaps, uid=owner.pw_uid, gid=owner.pw_gid,
            disable_plaintext="no" if plaintext else "yes") + more)
        self.process = Process("dovecot", ["dovecot", "-F", "-c", config], directory, root=True)
        self.process.ready(lambda: listens(self.imap) and listens(self.imaps))

    def token(self, email, seconds=3600):
        """A bearer token that this server takes: a JWT signed with its key."""
        def encoded(octets):
            return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
        now = int(time.time())
        head = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
        body = encoded(json.dumps({"email": email, "sub": email, "iat": now - 10, "exp": now + seconds}).encode())
        signature = hmac.new(self._key, f"{head}.{body}".encode(), hashlib.sha256).digest()
        return f"{head}.{body}.{encoded(signature)}"

    def log(self):
        return self.process.errors()

    def stop(self):
        self.process.stop()
