// Who may send where without a login, as sentences for an admin to read before strangers try it.
#pragma once

#include <string>
#include <vector>

#include "proxy/config/config.h"

namespace portcullis::config {

// One sentence a line; none where nobody may send to other domains than `local_domains` without a login.
std::vector<std::string> relay_in_words(const Config& config);

}  // namespace portcullis::config
