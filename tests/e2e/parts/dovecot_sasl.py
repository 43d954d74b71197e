"""A real Dovecot as nothing but the SASL server of a Postfix."""

import os

from .process import Process

_CONFIG = """
protocols =
base_dir = {base}/run
state_dir = {base}/state
log_path = /dev/stderr
auth_verbose = yes
auth_mechanisms = plain login
disable_plaintext_auth = no
ssl = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {base}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
service auth {{
  unix_listener {base}/sasl {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
"""


class DovecotSasl:
    def __init__(self, directory, users):
        """users: {login: password}. `socket` is what smtpd_sasl_path names."""
        directory.mkdir(parents=True)
        for folder in (directory, *directory.parents):
            if folder.stat().st_uid == os.geteuid() and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o055)
        (directory / "users").write_text("".join(f"{u}:{{PLAIN}}{p}::::::\n" for u, p in users.items()))
        config = directory / "dovecot.conf"
        config.write_text(_CONFIG.format(base=directory))
        self.socket = directory / "sasl"
        self.process = Process("dovecot", ["dovecot", "-F", "-c", config], directory, root=True)
        self.process.ready(self.socket.exists)

    def log(self):
        return self.process.errors()

    def stop(self):
        self.process.stop()
