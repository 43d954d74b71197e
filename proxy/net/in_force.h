// The policies of a snapshot as sessions follow them (law 9): they keep the snapshot alive.
#pragma once

#include <memory>

#include "proxy/net/snapshot.h"
#include "proxy/session/policies.h"

namespace portcullis::net {

std::shared_ptr<const session::Policies> policies_of(std::shared_ptr<const Snapshot> snapshot);

}  // namespace portcullis::net
