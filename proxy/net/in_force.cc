#include "proxy/net/in_force.h"

#include <utility>

namespace portcullis::net {

namespace {

struct Held {
  explicit Held(std::shared_ptr<const Snapshot> s)
      : snapshot(std::move(s)), policies{*snapshot->config, *snapshot->chain, snapshot->rule_labels} {}
  std::shared_ptr<const Snapshot> snapshot;
  session::Policies policies;
};

}  // namespace

std::shared_ptr<const session::Policies> policies_of(std::shared_ptr<const Snapshot> snapshot) {
  const auto held = std::make_shared<const Held>(std::move(snapshot));
  return {held, &held->policies};
}

}  // namespace portcullis::net
