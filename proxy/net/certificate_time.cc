#include "proxy/net/certificate_time.h"

#include <algorithm>
#include <cstdint>

#include "proxy/auth/tls_reason.h"

namespace portcullis::net {

namespace {

void end_tickets_with_certificate(X509_STORE_CTX* store) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  X509* certificate = X509_STORE_CTX_get_current_cert(store);
  SSL_SESSION* session = ssl != nullptr ? SSL_get_session(ssl) : nullptr;
  if (session == nullptr || certificate == nullptr) return;
  const auto left =
      std::chrono::floor<std::chrono::seconds>(not_after(certificate) - std::chrono::system_clock::now());
  const std::uint32_t lifetime = SSL_SESSION_get_timeout(session);
  SSL_SESSION_set_timeout(session,
                          static_cast<std::uint32_t>(std::clamp<std::int64_t>(left.count(), 0, lifetime)));
}

}  // namespace

std::chrono::system_clock::time_point not_after(const X509* certificate) {
  int days = 0;
  int seconds = 0;
  const bssl::UniquePtr<ASN1_TIME> epoch(ASN1_TIME_set(nullptr, 0));
  if (ASN1_TIME_diff(&days, &seconds, epoch.get(), X509_get0_notAfter(certificate)) != 1) return {};
  return std::chrono::system_clock::time_point(std::chrono::hours(24) * days + std::chrono::seconds(seconds));
}

bool is_in_time(const X509* certificate) {
  return X509_cmp_current_time(X509_get0_notBefore(certificate)) < 0 &&
         X509_cmp_current_time(X509_get0_notAfter(certificate)) > 0;
}

int accept_any_certificate(int, X509_STORE_CTX* store) {
  end_tickets_with_certificate(store);
  return 1;
}

int accept_verified_certificate(int ok, X509_STORE_CTX* store) {
  end_tickets_with_certificate(store);
  return auth::note_verification(ok, store);
}

}  // namespace portcullis::net
