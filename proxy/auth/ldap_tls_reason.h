// Why TLS with a directory fails, in words. libldap's GnuTLS says "(unknown error code)" for a certificate
// that does not verify, so the handshake is made once more by our own TLS client, which can explain it.
#pragma once

#include <string>

#include "proxy/auth/backend.h"
#include "proxy/auth/settings.h"

namespace portcullis::auth {

// After libldap could not set up TLS with `url`. Empty: this handshake shows no fault either, or the server
// cannot be reached. Takes until the deadline at most; sends no credentials.
std::string ldap_tls_reason(const LdapBackend& settings, const std::string& url, Deadline deadline);

}  // namespace portcullis::auth
