#include "tests/proxy/auth/slapd.h"

#include <filesystem>
#include <fstream>

namespace portcullis::auth::testing {

namespace {

constexpr char people[] = R"(
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: ou=policies,dc=example,dc=com
objectClass: organizationalUnit
ou: policies

dn: cn=default,ou=policies,dc=example,dc=com
objectClass: applicationProcess
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 5
pwdMustChange: TRUE
pwdMaxAge: 0

dn: cn=short,ou=policies,dc=example,dc=com
objectClass: applicationProcess
objectClass: pwdPolicy
cn: short
pwdAttribute: userPassword
pwdMaxAge: 1
pwdGraceAuthNLimit: 0

dn: cn=grace,ou=policies,dc=example,dc=com
objectClass: applicationProcess
objectClass: pwdPolicy
cn: grace
pwdAttribute: userPassword
pwdMaxAge: 1
pwdGraceAuthNLimit: 2

dn: cn=gateway,dc=example,dc=com
objectClass: applicationProcess
objectClass: simpleSecurityObject
cn: gateway
userPassword: service secret

dn: uid=alice,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
objectClass: extensibleObject
uid: alice
cn: Alice
sn: Smith
mail: Alice@Example.com
mail: alice.smith@example.com
proxyAddresses: SMTP:primary@example.com
proxyAddresses: smtp:second@example.com
proxyAddresses: sip:alice@example.com
mail;lang-en: english@example.com
description: sales@example.com
description: *@lists.example.com
labeledURI: *@example.com
userPassword: alice secret

dn: uid=bob,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: bob
cn: Bob
sn: Jones
mail: bob@example.com
userPassword:: YsO2YiBzZWNyZXQ=

dn: cn=odd \28name\29 \2A\, \5C,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: odd(*)\
cn: odd (name) *, \
sn: Odd
mail: odd@example.com
userPassword: odd secret

dn: uid=twin1,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin1
cn: Twin
sn: Twin
mail: twin@example.com
userPassword: twin secret

dn: uid=twin2,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: twin2
cn: Twin
sn: Twin
mail: twin@example.com
userPassword: twin secret

dn: uid=nopassword,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: nopassword
cn: None
sn: None
mail: nopassword@example.com

dn: uid=locked,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: locked
cn: Locked
sn: Locked
mail: locked@example.com
userPassword: locked secret

dn: uid=reset,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: reset
cn: Reset
sn: Reset
mail: reset@example.com
userPassword: reset secret

dn: uid=expired,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: expired
cn: Expired
sn: Expired
mail: expired@example.com
userPassword: expired secret
pwdPolicySubentry: cn=short,ou=policies,dc=example,dc=com

dn: uid=grace,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: grace
cn: Grace
sn: Grace
mail: grace@example.com
userPassword: grace secret
pwdPolicySubentry: cn=grace,ou=policies,dc=example,dc=com

dn: cn=Staff,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: Staff
member: uid=alice,ou=people,dc=example,dc=com
member: uid=bob,ou=people,dc=example,dc=com

dn: cn=Mail Admins,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: Mail Admins
member: uid=alice,ou=people,dc=example,dc=com
)";

}  // namespace

Slapd::Slapd() {
  make_certificates(dir_.path());
  std::filesystem::create_directory(dir_.path() + "/db");
  std::ofstream(dir_.path() + "/slapd.conf")
      << "include /etc/ldap/schema/core.schema\n"
         "include /etc/ldap/schema/cosine.schema\n"
         "include /etc/ldap/schema/inetorgperson.schema\n"
         // Exchange's attribute, as far as we read it.
         "attributetype ( 1.2.840.113556.1.2.210 NAME 'proxyAddresses' EQUALITY caseIgnoreMatch"
         " SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
         "modulepath /usr/lib/ldap\nmoduleload back_mdb\nmoduleload ppolicy\nmoduleload memberof\n"
      << "pidfile " << dir_.path() << "/slapd.pid\n"
      << "TLSCACertificateFile " << certificate("ca.pem") << "\n"
      << "TLSCertificateFile " << certificate("server.pem") << "\n"
      << "TLSCertificateKeyFile " << certificate("server.key") << "\n"
      << "database mdb\nsuffix dc=example,dc=com\ndirectory " << dir_.path() << "/db\n"
      << "rootdn cn=admin,dc=example,dc=com\nrootpw admin-secret\n"
         "overlay memberof\nmemberof-group-oc groupOfNames\n"
         "overlay ppolicy\nppolicy_default cn=default,ou=policies,dc=example,dc=com\nppolicy_use_lockout\n"
         "access to attrs=userPassword by anonymous auth by * none\n"
         "access to * by dn.exact=cn=gateway,dc=example,dc=com read by self read by * auth\n";
  start();
  run({"ldapadd", "-x", "-H", url(), "-D", "cn=admin,dc=example,dc=com", "-w", "admin-secret"}, people);
}

void Slapd::start() {
  process_.start({"slapd", "-d", "0", "-f", dir_.path() + "/slapd.conf", "-h",
                  url() + "/ " + secure_url() + "/ " + misnamed_url() + "/"},
                 dir_.path() + "/log");
  process_.wait_for_port(port_);
  process_.wait_for_port(secure_port_);
}

void Slapd::modify(const std::string& ldif) {
  run({"ldapmodify", "-x", "-e", "relax", "-H", url(), "-D", "cn=admin,dc=example,dc=com", "-w",
       "admin-secret"},
      ldif);
}

LdapBackend Slapd::settings() const {
  LdapBackend settings;
  settings.urls = {url()};
  settings.bind_dn = "cn=gateway,dc=example,dc=com";
  settings.bind_password = "service secret";
  settings.base_dn = "ou=people,dc=example,dc=com";
  settings.filter = "(&(objectClass=inetOrgPerson)(|(mail={login})(uid={login})))";
  settings.login_attribute = "uid";
  return settings;
}

}  // namespace portcullis::auth::testing
