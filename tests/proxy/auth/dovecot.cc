#include "tests/proxy/auth/dovecot.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "smtp/base64.h"

namespace portcullis::auth::testing {

namespace {

constexpr char signing_key[] = "the key of the token issuer";

std::string base64url(std::string_view bytes) {
  std::string text = smtp::encode_base64(bytes);
  while (text.ends_with('=')) text.pop_back();
  for (char& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

constexpr char configuration[] = R"(
protocols = imap
listen = 127.0.0.1, 127.0.0.2
ssl = yes
auth_mechanisms = plain login xoauth2 oauthbearer
auth_username_chars =
auth_failure_delay = 0
mail_location = maildir:~/mail
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = DIR/oauth2.conf
}
passdb {
  driver = passwd-file
  mechanisms = plain login
  args = scheme=PLAIN username_format=%u DIR/db/passwd
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=DIR/home
}
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
ssl_cert = <DIR/server.pem
ssl_key = <DIR/server.key
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  inet_listener imap {
    port = PORT
  }
  inet_listener imaps {
    port = SECURE
    ssl = yes
  }
}
)";

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

Dovecot::Dovecot(const std::string& extra) {
  const std::string& dir = dir_.path();
  ::chmod(dir.c_str(), 0755);
  make_certificates(dir);
  std::filesystem::create_directory(dir + "/home");
  ::chmod((dir + "/home").c_str(), 0777);
  std::filesystem::create_directory(dir + "/db");
  // A passwd-file escapes quotes and backslashes in names.
  std::ofstream(dir + "/db/passwd") << "alice@example.com:alice secret\n"
                                       "bob:b\xc3\xb6\x62 \"secret\" \\ {5}\n"
                                       "odd \\\"user\\\" \\\\ {3}:odd secret\n";
  std::filesystem::create_directories(dir + "/keys/default/HS256");
  std::ofstream(dir + "/keys/default/HS256/default") << smtp::encode_base64(signing_key);
  std::ofstream(dir + "/oauth2.conf")
      << "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix=" << dir
      << "/keys/\nusername_attribute = sub\n";
  std::string text = configuration + extra;
  replace_all(text, "DIR", dir);
  replace_all(text, "PORT", std::to_string(port_));
  replace_all(text, "SECURE", std::to_string(secure_port_));
  std::ofstream(dir + "/dovecot.conf") << text;
  process_.start({"dovecot", "-F", "-c", dir + "/dovecot.conf"}, dir + "/log");
  process_.wait_for_port(port_);
  process_.wait_for_port(secure_port_);
}

// A file where a directory should be: unlike a file that is missing, this is an internal failure to Dovecot.
void Dovecot::break_database() {
  std::filesystem::rename(dir_.path() + "/db", dir_.path() + "/db.away");
  std::ofstream(dir_.path() + "/db") << "in the way";
}

std::string Dovecot::token(const std::string& login, bool expired) const {
  const auto now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const std::string signed_part =
      base64url(R"({"alg":"HS256","typ":"JWT"})") + "." +
      base64url(R"({"sub":")" + login + R"(","iat":)" + std::to_string(now - 7200) + R"(,"exp":)" +
                std::to_string(expired ? now - 3600 : now + 3600) + "}");
  std::array<std::uint8_t, 32> mac{};
  unsigned length = 0;
  HMAC(EVP_sha256(), signing_key, sizeof signing_key - 1,
       reinterpret_cast<const std::uint8_t*>(signed_part.data()), signed_part.size(), mac.data(), &length);
  return signed_part + "." + base64url({reinterpret_cast<const char*>(mac.data()), mac.size()});
}

ImapBackend Dovecot::settings(ConnectionTls tls) const {
  ImapBackend settings;
  settings.tls = tls;
  settings.ca_file = certificate("ca.pem");
  settings.server = "localhost:" + std::to_string(tls == ConnectionTls::implicit ? secure_port_ : port_);
  return settings;
}

}  // namespace portcullis::auth::testing
