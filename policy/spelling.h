// The spelling in which an envelope address is judged, and therefore sent (law 3).
#pragma once

#include "smtp/path.h"

namespace portcullis::policy {

// Writes the domain as canonical_domain() reads it: A-labels for U-labels, "example.com" for "example" U+3002
// "com" and for fullwidth letters. The server behind may map other characters, or none. The case of an ASCII
// domain, address literals, the local part, and a domain without a canonical form (which is nobody's) stay.
void spell_as_judged(smtp::Path& path);

}  // namespace portcullis::policy
