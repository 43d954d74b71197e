// Real servers as child processes of a test: started on loopback ports, killed at the end whatever
// happens; and certificates made for them by the openssl tool. A missing package throws, and the test
// fails.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace portcullis::auth::testing {

// A loopback TCP port that was free a moment ago.
std::uint16_t free_port();

// Runs a program to its end; throws with its output when it does not exit with 0.
std::string run(const std::vector<std::string>& command, const std::string& input = {});

class ServerProcess {
 public:
  ServerProcess() = default;
  // Starts `command` with its output in `log`, in a process group of its own, to die with the test.
  void start(const std::vector<std::string>& command, const std::string& log);
  // Waits until 127.0.0.1:`port` accepts; throws with the log when it does not.
  void wait_for_port(std::uint16_t port);
  void stop();    // SIGTERM, then SIGKILL
  void freeze();  // returns when it stands still: connections open, nothing answers
  void thaw();
  bool running() const { return pid_ > 0; }
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess() { stop(); }

 private:
  pid_t pid_ = -1;
  std::string log_;
};

// ca.pem, and server.pem with server.key signed by it for "localhost" and 127.0.0.1; other-ca.pem, which
// signed nothing here; wrong.pem with wrong.key for "elsewhere.example".
void make_certificates(const std::string& directory);

}  // namespace portcullis::auth::testing
