// Why a TLS handshake failed, as a sentence for the journal: which side, what the peer offered, which
// certificate was not good and why, with the wanted and the found names. BoringSSL's own words say none of
// that.
//
//   explain_handshakes(context);                     // once for each context, before its first session
//   if (SSL_do_handshake(ssl) != 1) text = handshake_reason(ssl);
//   else handshake_done(ssl);
#pragma once

#include <string>

struct ssl_ctx_st;
struct ssl_st;
struct x509_store_ctx_st;

namespace portcullis::auth {

// Makes the context's sessions keep what handshake_reason() needs: on a server, the offer of the ClientHello;
// where the peer's certificate is verified, what was wrong with it. Sets the contexts' select-certificate and
// verify callbacks; a session that sets a verify callback of its own calls note_verification() from it.
// `authorities`: the file of the trusted certificates, to be named.
void explain_handshakes(ssl_ctx_st* context, const std::string& authorities = {});

// A verify callback: notes the first fault and returns `ok` unchanged.
int note_verification(int ok, x509_store_ctx_st* store);
// On a client: the name or address that the certificate must be for.
void expect_name(ssl_st* ssl, const std::string& name);

// After a handshake that failed; empties BoringSSL's queue of errors. At most about 1 KiB, of ASCII.
std::string handshake_reason(ssl_st* ssl);
// Whether a server has seen a ClientHello.
bool handshake_began(const ssl_st* ssl);
// After one that succeeded: forgets what was kept.
void handshake_done(ssl_st* ssl);

// The newest error of BoringSSL's queue in its own words, for anything but a handshake; empties the queue.
std::string tls_error_text();

}  // namespace portcullis::auth
