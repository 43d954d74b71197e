"""A real slapd with people, groups and a password policy."""

import os

from .loopback import ADDRESS, free_port, listens
from .process import Process, run

BASE = "dc=example,dc=com"
ADMIN = f"cn=admin,{BASE}"
ADMIN_PASSWORD = "admin-secret"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses'
  EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'maySendAs'
  EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'mailOwner' SUP top AUXILIARY MAY ( proxyAddresses $ maySendAs ) )
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {base}/slapd.pid
TLSCACertificateFile {ca}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {private_key}
TLSVerifyClient never
database mdb
suffix "{suffix}"
rootdn "{admin}"
rootpw {admin_password}
directory {base}/data
index objectClass,mail,uid eq
access to attrs=userPassword by anonymous auth by self write by * none
access to attrs=proxyAddresses by self write by * read
access to * by * read
overlay memberof
overlay ppolicy
ppolicy_default "cn=default,ou=policies,{suffix}"
ppolicy_use_lockout
"""

_TREE = """
dn: {base}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,{base}
objectClass: organizationalUnit
ou: people

dn: ou=groups,{base}
objectClass: organizationalUnit
ou: groups

dn: ou=policies,{base}
objectClass: organizationalUnit
ou: policies

dn: cn=default,ou=policies,{base}
objectClass: organizationalRole
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 50
pwdMustChange: TRUE
"""


class Slapd:
    def __init__(self, directory, pair, ca):
        (directory / "data").mkdir(parents=True)
        self.directory = directory
        self.port, self.tls_port = free_port(), free_port()
        config = directory / "slapd.conf"
        config.write_text(_CONFIG.format(base=directory, ca=ca, certificate=pair.certificate,
                                         private_key=pair.private_key, suffix=BASE, admin=ADMIN,
                                         admin_password=ADMIN_PASSWORD))
        run("slapadd", "-f", config, stdin=_TREE.format(base=BASE))
        self.url, self.tls_url = f"ldap://{ADDRESS}:{self.port}", f"ldaps://{ADDRESS}:{self.tls_port}"
        self._config = config
        self.start()

    def start(self, log="none"):
        """log: "stats" has a line for each operation on standard error."""
        self.process = Process("slapd", ["/usr/sbin/slapd", "-d", log, "-f", self._config, "-h",
                                         f"{self.url} {self.tls_url}"], self.directory)
        self.process.ready(lambda: listens(self.port) and listens(self.tls_port))

    def add_person(self, login, password, addresses=(), may_send_as=(), groups=(), **attributes):
        """A person found by mail=login, with more owned addresses in proxyAddresses."""
        uid = login.split("@")[0]
        dn = f"uid={uid},ou=people,{BASE}"
        lines = [f"dn: {dn}", "objectClass: inetOrgPerson", "objectClass: mailOwner", f"uid: {uid}", f"cn: {uid}",
                 f"sn: {uid}", f"mail: {login}", f"userPassword: {password}"]
        lines += [f"proxyAddresses: smtp:{address}" for address in addresses]
        lines += [f"maySendAs: {address}" for address in may_send_as]
        lines += [f"{name}: {value}" for name, value in attributes.items()]
        self.load("\n".join(lines) + "\n")
        for group in groups:
            self.load(f"dn: cn={group},ou=groups,{BASE}\nobjectClass: groupOfNames\ncn: {group}\nmember: {dn}\n")
        return dn

    def load(self, ldif):
        run("ldapadd", "-x", "-H", self.url, "-D", ADMIN, "-w", ADMIN_PASSWORD, stdin=ldif)

    def modify_as(self, dn, password, ldif):
        run("ldapmodify", "-x", "-H", self.url, "-D", dn, "-w", password, stdin=ldif)

    def modify(self, ldif):
        run("ldapmodify", "-x", "-H", self.url, "-D", ADMIN, "-w", ADMIN_PASSWORD, stdin=ldif)

    def stop(self):
        self.process.stop()
