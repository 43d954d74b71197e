#include "proxy/net/upstream_labels.h"

namespace portcullis::net {

using session::LinkFailure;

metrics::ConnectResult connect_result(LinkFailure failure) {
  switch (failure) {
    case LinkFailure::none:
      return metrics::ConnectResult::success;
    case LinkFailure::connect:
      return metrics::ConnectResult::refused;
    case LinkFailure::timeout:
      return metrics::ConnectResult::timeout;
    case LinkFailure::closed:
      return metrics::ConnectResult::lost;
    case LinkFailure::tls:
    case LinkFailure::tls_not_offered:
      return metrics::ConnectResult::tls;
    case LinkFailure::refused:
    case LinkFailure::malformed:
    case LinkFailure::unasked:
      return metrics::ConnectResult::greeting;
    case LinkFailure::auth:
    case LinkFailure::xclient:
      return metrics::ConnectResult::login;
    case LinkFailure::busy:
      break;
  }
  return metrics::ConnectResult::other;
}

metrics::FailoverReason failover_reason(LinkFailure failure) {
  switch (connect_result(failure)) {
    case metrics::ConnectResult::tls:
      return metrics::FailoverReason::tls;
    case metrics::ConnectResult::greeting:
      return metrics::FailoverReason::greeting;
    case metrics::ConnectResult::login:
      return metrics::FailoverReason::login;
    default:
      return metrics::FailoverReason::connect;
  }
}

metrics::ReclaimReason reclaim_reason(ReclaimReason reason) {
  return metrics::ReclaimReason{static_cast<std::uint8_t>(reason)};
}

metrics::UpstreamVerb verb_of(session::Expect what) {
  using metrics::UpstreamVerb;
  switch (what) {
    case session::Expect::xforward:
      return UpstreamVerb::xforward;
    case session::Expect::mail:
      return UpstreamVerb::mail;
    case session::Expect::rcpt:
      return UpstreamVerb::rcpt;
    case session::Expect::data:
      return UpstreamVerb::data;
    case session::Expect::chunk:
      return UpstreamVerb::bdat;
    case session::Expect::end_of_data:
      return UpstreamVerb::end_of_data;
    default:  // the replies to the commands that open a connection are not counted here
      return UpstreamVerb::rset;
  }
}

}  // namespace portcullis::net
