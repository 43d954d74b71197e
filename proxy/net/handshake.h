// A TLS handshake that has ended, well or not, as the metrics count it: the same for both sides.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>

#include "metrics/labels.h"
#include "metrics/shard.h"

namespace portcullis::net {

struct Handshake {
  metrics::Outcome outcome = metrics::Outcome::failure;
  metrics::TlsVersion version = metrics::TlsVersion::none;
  metrics::TlsFailure failure = metrics::TlsFailure::other;
  std::int64_t duration_ms = 0;
};

inline Handshake succeeded(const SSL* ssl, std::int64_t duration_ms) {
  const bool newest = SSL_version(ssl) == TLS1_3_VERSION;
  const bool known = newest || SSL_version(ssl) == TLS1_2_VERSION;
  const auto version = newest  ? metrics::TlsVersion::tls13
                       : known ? metrics::TlsVersion::tls12
                               : metrics::TlsVersion::none;
  return {metrics::Outcome::success, version, {}, duration_ms};
}

inline Handshake failed(metrics::TlsFailure why) { return {.failure = why}; }

// `shard`: a worker's, or the shared one.
template <class Shard>
void count(Shard& shard, metrics::TlsSide side, const Handshake& handshake) {
  shard.template add<metrics::Metric::tls_handshakes>(side, handshake.outcome, handshake.version);
  if (handshake.outcome == metrics::Outcome::failure) {
    shard.template add<metrics::Metric::tls_handshake_failures>(side, handshake.failure);
  } else {
    shard.template observe<metrics::Metric::tls_handshake_duration>(
        side, static_cast<double>(handshake.duration_ms) / 1000);
  }
}

}  // namespace portcullis::net
