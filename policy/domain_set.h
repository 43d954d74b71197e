// A set of domain patterns (see domain_matches), searched in one look-up per label.
#pragma once

#include <string_view>
#include <vector>

#include "policy/identity.h"
#include "policy/text_map.h"

namespace portcullis::policy {

class DomainSet {
 public:
  explicit DomainSet(const std::vector<std::string>& patterns) {
    for (const std::string& pattern : patterns) {
      if (pattern.starts_with("*.")) {
        below_.insert(pattern.substr(2));
      } else if (pattern.starts_with('.')) {
        below_.insert(pattern.substr(1));
      } else {
        exact_.insert(pattern);
      }
    }
  }

  bool empty() const { return exact_.empty() && below_.empty(); }
  bool contains(std::string_view domain) const {
    if (exact_.contains(domain)) return true;
    if (below_.empty()) return false;
    for (auto dot = domain.find('.'); dot != domain.npos; dot = domain.find('.', dot + 1)) {
      if (below_.contains(domain.substr(dot + 1))) return true;
    }
    return false;
  }

 private:
  TextSet exact_;
  TextSet below_;
};

}  // namespace portcullis::policy
