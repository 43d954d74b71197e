// The backends there are: what the service makes of the settings. Their classes stay in their files.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "proxy/auth/backend.h"
#include "proxy/auth/settings.h"

namespace portcullis::auth {

std::unique_ptr<Backend> make_ldap_backend(const LdapBackend& settings);
std::unique_ptr<Backend> make_imap_backend(const ImapBackend& settings);

}  // namespace portcullis::auth
