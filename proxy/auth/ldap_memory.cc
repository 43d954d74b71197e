// liblber gives memory back without wiping it, and a bind request with the password in it stays there for
// whoever reads a core. Its option for allocators of one's own (LBER_OPT_MEMORY_FNS) applies to calls with a
// context only, which libldap does not make. So these two definitions stand before those of the library:
// libldap and liblber call them by name.
#include "proxy/auth/ldap_memory.h"

#include <lber.h>
#include <malloc.h>
#include <openssl/mem.h>

#include <cstdlib>
#include <cstring>

extern "C" {

void ber_memfree_x(void* pointer, void* /*context*/) {
  if (pointer == nullptr) return;
  OPENSSL_cleanse(pointer, ::malloc_usable_size(pointer));
  std::free(pointer);
}

void* ber_memrealloc_x(void* pointer, ber_len_t octets, void* context) {
  if (pointer == nullptr) return std::malloc(octets);
  if (octets == 0) {
    ber_memfree_x(pointer, context);
    return nullptr;
  }
  const std::size_t held = ::malloc_usable_size(pointer);
  if (octets <= held) return pointer;
  void* const grown = std::malloc(octets);
  if (grown == nullptr) return nullptr;  // the old memory stays the caller's
  std::memcpy(grown, pointer, held);
  ber_memfree_x(pointer, context);
  return grown;
}
}

namespace portcullis::auth {

void wipe_ldap_memory() {}

}  // namespace portcullis::auth
