"""A certificate authority of one test run, and what it signs: made with the openssl tool."""

import time

from .loopback import ADDRESS
from .process import run


class Pair:
    """Certificate chain and private key, as paths of PEM files."""

    def __init__(self, certificate, private_key):
        self.certificate = certificate
        self.private_key = private_key


class Authority:
    def __init__(self, directory, name="Test CA"):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.pem"
        self.private_key = directory / "ca.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self.private_key, "-out", self.certificate)

    def server(self, name, *more_names, days=30):
        return self._sign(name, [f"DNS:{n}" for n in (name, *more_names)] + [f"IP:{ADDRESS}", "IP:127.0.0.1", "IP:::1"],
                          "serverAuth", days)

    def client(self, email, common_name="client", seconds=None):
        """seconds: how long it holds from now on (a month)."""
        return self._sign(common_name, [f"email:{email}"], "clientAuth", 30, seconds)

    def _sign(self, common_name, alternatives, usage, days, seconds=None):
        stem = f"{common_name}-{usage}-{len(list(self.directory.iterdir()))}"
        key, request = self.directory / f"{stem}.key", self.directory / f"{stem}.csr"
        chain, extensions = self.directory / f"{stem}.pem", self.directory / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage={usage}\n"
                              "basicConstraints=CA:FALSE\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={common_name}", "-keyout", key, "-out", request)
        if seconds is None:
            run("openssl", "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.private_key,
                "-CAcreateserial", "-days", days, "-extfile", extensions, "-out", chain)
        else:
            self._sign_until(time.time() + seconds, request, extensions, chain)
        chain.write_text(chain.read_text() + self.certificate.read_text())
        key.chmod(0o600)
        return Pair(chain, key)

    def _sign_until(self, end, request, extensions, chain):
        """`openssl x509` knows whole days only."""
        config = self.directory / "until.cnf"
        config.write_text(f"[ca]\ndefault_ca = own\n[own]\ndatabase = {self.directory}/index\nnew_certs_dir = {self.directory}\n"
                          "rand_serial = yes\ndefault_md = sha256\npolicy = any\n[any]\ncommonName = supplied\n")
        (self.directory / "index").touch()
        (self.directory / "index.attr").write_text("unique_subject = no\n")
        begin, until = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(at)) for at in (time.time() - 3600, end))
        run("openssl", "ca", "-batch", "-notext", "-config", config, "-in", request, "-cert", self.certificate, "-keyfile",
            self.private_key, "-startdate", begin, "-enddate", until, "-extfile", extensions, "-out", chain)
