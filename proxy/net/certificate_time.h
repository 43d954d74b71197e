// When certificates hold, and that nothing outlasts a client's: session tickets bring it along without
// another look at it.
#pragma once

#include <openssl/ssl.h>

#include <chrono>

namespace portcullis::net {

// The epoch where it can not be told.
std::chrono::system_clock::time_point not_after(const X509* certificate);
// Between notBefore and notAfter.
bool is_in_time(const X509* certificate);

// Callbacks of SSL_set_verify: a session's tickets end with the first certificate of the client's chain that
// ends, those that a ticket is renewed by too.
int accept_any_certificate(int ok, X509_STORE_CTX* store);       // verified or not
int accept_verified_certificate(int ok, X509_STORE_CTX* store);  // what is `ok`

}  // namespace portcullis::net
