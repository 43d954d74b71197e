#include "proxy/config/public_suffix.h"

#include <libpsl.h>

namespace portcullis::config {

namespace {

const psl_ctx_t* list_of(void* list) { return static_cast<const psl_ctx_t*>(list); }

}  // namespace

PublicSuffixes::PublicSuffixes() : list_(psl_latest(nullptr)) {}

PublicSuffixes::~PublicSuffixes() { psl_free(static_cast<psl_ctx_t*>(list_)); }

std::optional<PublicSuffixes::Section> PublicSuffixes::section(const std::string& domain) const {
  const psl_ctx_t* const list = list_of(list_);
  if (list == nullptr) return std::nullopt;
  if (psl_is_public_suffix2(list, domain.c_str(), PSL_TYPE_ICANN | PSL_TYPE_NO_STAR_RULE) == 1) {
    return Section::registry;
  }
  if (psl_is_public_suffix2(list, domain.c_str(), PSL_TYPE_PRIVATE | PSL_TYPE_NO_STAR_RULE) == 1) {
    return Section::company;
  }
  return std::nullopt;
}

std::optional<PublicSuffixes::Section> PublicSuffixes::section_of_children(const std::string& domain) const {
  if (const auto own = section(domain)) return own;
  // A name that no list excepts: only a wildcard rule makes it a suffix.
  return section("any-name-at-all." + domain);
}

}  // namespace portcullis::config
