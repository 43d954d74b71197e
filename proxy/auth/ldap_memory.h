// Memory that libldap and liblber give back is wiped in a program that calls this. Once is enough, at any
// time.
#pragma once

namespace portcullis::auth {

void wipe_ldap_memory();

}  // namespace portcullis::auth
