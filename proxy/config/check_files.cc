#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "proxy/config/check.h"

namespace portcullis::config {

namespace {

// Whether `file` is there and readable; says what is wrong otherwise.
bool check_readable(const Check& check, const std::string& file, const std::string& path,
                    struct stat& status) {
  if (stat(file.c_str(), &status) != 0) {
    check.error(path, "there is no file \"" + file + "\"");
  } else if (!S_ISREG(status.st_mode)) {
    check.error(path, "\"" + file + "\" is not a regular file");
  } else if (access(file.c_str(), R_OK) != 0) {
    check.error(path, "\"" + file + "\" can not be read by this user");
  } else {
    return true;
  }
  return false;
}

void check_public_file(const Check& check, const std::string& file, const std::string& path) {
  struct stat status{};
  if (!file.empty()) check_readable(check, file, path, status);
}

void check_private_key(const Check& check, const std::string& file, const std::string& path) {
  struct stat status{};
  if (file.empty() || !check_readable(check, file, path, status)) return;
  if ((status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
    check.error(path, "\"" + file + "\" is open to everybody on this machine; chmod 640 or 600 it");
  }
}

bool has_certificate_list(const Check& check) {
  return check.given("tls.certificate[1].certificate") || check.given("tls.certificate[1].private_key");
}

void check_certificates(const Check& check) {
  const auto& certificates = check.config.tls.certificates;
  const bool list = has_certificate_list(check);
  for (std::size_t i = 0; i < certificates.size(); ++i) {
    const std::string path = list ? indexed("tls.certificate", i) + '.' : "tls.";
    check_public_file(check, certificates[i].certificate, path + "certificate");
    check_private_key(check, certificates[i].private_key, path + "private_key");
  }
  if (list) {
    if (check.given("tls.private_key"))
      check.error("tls.private_key", "belongs into each [[tls.certificate]]");
  } else if (check.given("tls.certificate") != check.given("tls.private_key")) {
    check.error(check.given("tls.certificate") ? "tls.certificate" : "tls.private_key",
                "certificate and private_key come together");
  }
}

// Whether so many authorities vouch for clients that everybody can have a certificate of one of them: a
// system's bundle, which EXTERNAL would make an open relay with.
void check_client_ca(const Check& check) {
  constexpr std::size_t authorities_max = 20;
  const Config& config = check.config;
  const bool used = std::ranges::any_of(config.listeners, [](const Listener& listener) {
    return listener.client_certificate != ClientCertificate::off;
  });
  if (config.tls.client_ca.empty() || !used || !config.certificate_login.map.empty()) return;
  std::ifstream file(config.tls.client_ca);
  std::size_t authorities = 0;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("-----BEGIN CERTIFICATE")) ++authorities;
  if (authorities <= authorities_max) return;
  check.error("tls.client_ca",
              "names " + std::to_string(authorities) +
                  " authorities: anybody with a certificate of one of them could log in with "
                  "EXTERNAL and send to any domain; name your own, or the logins in "
                  "auth.certificate.logins");
}

// The account file holds hashes: no disaster in the open, but nobody's business either.
void check_account_file(const Check& check) {
  const std::string& file = check.config.auth.file.path;
  struct stat status{};
  if (file.empty()) return;
  if (stat(file.c_str(), &status) != 0) {
    check.warning("auth.file.path", "there is no file \"" + file + "\" yet; portcullis passwd add makes it");
  } else if ((status.st_mode & S_IROTH) != 0) {
    check.warning("auth.file.path",
                  "\"" + file + "\" can be read by everybody on this machine; chmod o-r it");
  }
}

void check_inline_secret(const Check& check, const std::string& path) {
  if (check.world_readable && check.given(path)) {
    check.warning(
        path, "a password in a file that everybody on this machine can read; chmod o-r it, or use " + path +
                  "_file");
  }
}

void check_directory(const Check& check, const std::string& file, const std::string& path) {
  if (file.empty()) return;
  std::error_code error;
  const auto directory = std::filesystem::path(file).parent_path();
  if (!directory.empty() && !std::filesystem::is_directory(directory, error)) {
    check.warning(path, "there is no directory \"" + directory.string() + "\" yet");
  }
}

void check_user(const Check& check) {
  const Config& config = check.config;
  if (!config.user.empty() && getpwnam(config.user.c_str()) == nullptr) {
    check.error("user", "there is no user \"" + config.user + "\" on this machine");
  }
  if (!config.group.empty() && getgrnam(config.group.c_str()) == nullptr) {
    check.error("group", "there is no group \"" + config.group + "\" on this machine");
  }
}

}  // namespace

std::vector<PemFile> pem_files(const Check& check) {
  const Config& config = check.config;
  std::vector<PemFile> files;
  const auto add = [&](PemFile::Kind kind, const std::string& file, const std::string& key,
                       const std::string& private_key = {}) {
    if (file.empty()) return;
    const Position at = find_path(check.document, key).at;
    files.push_back({kind, file, private_key, key, at.line, at.column});
  };
  const bool list = has_certificate_list(check);
  for (std::size_t i = 0; i < config.tls.certificates.size(); ++i) {
    add(PemFile::Kind::certificate, config.tls.certificates[i].certificate,
        (list ? indexed("tls.certificate", i) + '.' : "tls.") + std::string("certificate"),
        config.tls.certificates[i].private_key);
  }
  add(PemFile::Kind::authorities, config.tls.client_ca, "tls.client_ca");
  add(PemFile::Kind::authorities, config.auth.ldap.ca_file, "auth.ldap.ca_file");
  add(PemFile::Kind::authorities, config.auth.imap.ca_file, "auth.imap.ca_file");
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    add(PemFile::Kind::authorities, config.upstreams[i].ca_file, indexed("upstream", i) + ".ca_file");
  }
  return files;
}

void check_files(const Check& check) {
  const Config& config = check.config;
  check_certificates(check);
  check_public_file(check, config.tls.client_ca, "tls.client_ca");
  check_client_ca(check);
  check_public_file(check, config.auth.ldap.ca_file, "auth.ldap.ca_file");
  check_public_file(check, config.auth.imap.ca_file, "auth.imap.ca_file");
  check_inline_secret(check, "auth.ldap.bind_password");
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    check_public_file(check, config.upstreams[i].ca_file, indexed("upstream", i) + ".ca_file");
    check_inline_secret(check, indexed("upstream", i) + ".password");
  }
  check_account_file(check);
  if (config.journal.sink == metrics::JournalSettings::Sink::file) {
    if (config.journal.path.empty() && !check.given("journal.path")) {
      check.error("journal.path", "missing; sink = \"file\" needs it");
    }
    check_directory(check, config.journal.path, "journal.path");
  }
  check_directory(check, config.state_path, "state.path");
  check_user(check);
}

}  // namespace portcullis::config
