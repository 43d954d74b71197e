// Which domains are public suffixes (publicsuffix.org): below them are the domains of strangers. The one door
// to libpsl.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace portcullis::config {

class PublicSuffixes {
 public:
  // The newest list of this system, or the one that libpsl was built with.
  PublicSuffixes();
  ~PublicSuffixes();
  PublicSuffixes(const PublicSuffixes&) = delete;
  PublicSuffixes& operator=(const PublicSuffixes&) = delete;
  // Whether there is a list at all; without one nothing is a suffix.
  bool known() const { return list_ != nullptr; }

  enum class Section : std::uint8_t {
    registry,  // "com", "co.uk": anybody may register a name below
    company,   // "github.io": a company lends names below to its customers
  };
  // `domain` canonical. A top-level domain that is not in the list ("lan", "internal") is none.
  std::optional<Section> section(const std::string& domain) const;
  // The section of a suffix at `domain` or right below it ("*.ck" is a rule of the list, and "ck" is none).
  std::optional<Section> section_of_children(const std::string& domain) const;

 private:
  void* list_;  // psl_ctx_t
};

}  // namespace portcullis::config
