#include "tests/proxy/session/dialog.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace portcullis::session::testing {

namespace {

std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out.push_back(text[i]);
      continue;
    }
    switch (text[++i]) {
      case 'r':
        out.push_back('\r');
        break;
      case 'n':
        out.push_back('\n');
        break;
      case 't':
        out.push_back('\t');
        break;
      case '0':
        out.push_back('\0');
        break;
      case 'x': {
        out.push_back(static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)));
        i += 2;
        break;
      }
      default:
        out.push_back(text[i]);
    }
  }
  return out;
}

void apply(Setup& setup, const std::string& key, const std::string& value) {
  if (key == "auth") {
    setup.auth = value == "required"   ? config::AuthMode::required
                 : value == "optional" ? config::AuthMode::optional
                                       : config::AuthMode::off;
  } else if (key == "tls") {
    setup.tls = value == "starttls"   ? config::ListenerTls::starttls
                : value == "implicit" ? config::ListenerTls::implicit
                                      : config::ListenerTls::off;
  } else if (key == "auth-without-tls") {
    setup.auth_without_tls = value == "yes";
  } else if (key == "bare-lf") {
    setup.bare_lf = value == "normalize" ? smtp::BareLf::normalize : smtp::BareLf::refuse;
  } else if (key == "message-octets") {
    setup.message_octets = std::stoull(value);
  } else if (key == "errors") {
    setup.errors = static_cast<std::uint32_t>(std::stoul(value));
  } else if (key == "identity") {
    setup.identity = value == "xforward" ? config::ClientIdentity::xforward : config::ClientIdentity::none;
  } else if (key == "reuse") {
    setup.reuse = value == "yes";
  } else if (key == "upstream") {
    // Keywords, comma-separated; "none" for a server that only knows HELO-time features.
    setup.upstream_ehlo.clear();
    std::istringstream words(value);
    std::string word;
    while (std::getline(words, word, ',')) {
      std::replace(word.begin(), word.end(), '_', ' ');
      if (word != "none") setup.upstream_ehlo += "250-" + word + "\r\n";
    }
    setup.upstream_ehlo = "250-up\r\n" + setup.upstream_ehlo + "250 HELP\r\n";
  } else {
    throw std::runtime_error("unknown set-up key " + key);
  }
}

}  // namespace

Dialog read_dialog(const std::string& path) {
  std::ifstream file(path);
  Dialog dialog;
  dialog.name = std::filesystem::path(path).stem();
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '@') {
      std::istringstream words(line.substr(1));
      std::string word;
      while (words >> word)
        apply(dialog.setup, word.substr(0, word.find('=')), word.substr(word.find('=') + 1));
      continue;
    }
    const char kind = line[1] == '|' ? '|' : line[0];
    if (std::string("C|U<>!=").find(kind) == std::string::npos) {
      throw std::runtime_error(path + ':' + std::to_string(number) + ": not a dialog line");
    }
    const std::size_t skip = line[1] == ':' || line[1] == '|' ? 3 : 2;
    std::string text = line.size() >= skip ? line.substr(skip) : std::string();
    if (kind == 'C' || kind == 'U') text = unescaped(text) + "\r\n";
    if (kind == '|') text = unescaped(text);
    dialog.steps.push_back({kind, text, number});
  }
  return dialog;
}

std::vector<std::string> dialog_paths() {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(PORTCULLIS_SOURCE_DIR "/tests/dialogs")) {
    if (entry.path().extension() == ".dialog") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace portcullis::session::testing
