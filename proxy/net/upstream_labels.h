// Labels of the metrics for what happens on connections to an upstream.
#pragma once

#include "metrics/labels.h"
#include "proxy/net/upstream_reclaim.h"
#include "proxy/session/upstream_link.h"

namespace portcullis::net {

// How an attempt to open a connection ended.
metrics::ConnectResult connect_result(session::LinkFailure failure);
// Why a server was passed over for the next one.
metrics::FailoverReason failover_reason(session::LinkFailure failure);
// Why a connection was taken back for others.
metrics::ReclaimReason reclaim_reason(ReclaimReason reason);
// The command that a reply answers.
metrics::UpstreamVerb verb_of(session::Expect what);

}  // namespace portcullis::net
