#include "tests/proxy/auth/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

namespace portcullis::auth::testing {

namespace {

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

pid_t spawn(const std::vector<std::string>& command, int input, int output) {
  std::vector<char*> arguments;
  for (const std::string& argument : command) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(input, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
  ::setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

}  // namespace

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw std::runtime_error("no free port");
  }
  ::close(fd);
  return ntohs(address.sin_port);
}

std::string run(const std::vector<std::string>& command, const std::string& input) {
  std::FILE* in = std::tmpfile();
  std::FILE* out = std::tmpfile();
  if (in == nullptr || out == nullptr) throw std::runtime_error("no temporary file");
  std::fwrite(input.data(), 1, input.size(), in);
  std::fflush(in);
  if (std::fseek(in, 0, SEEK_SET) != 0) throw std::runtime_error("no temporary file");
  int status = 0;
  ::waitpid(spawn(command, ::fileno(in), ::fileno(out)), &status, 0);
  if (std::fseek(out, 0, SEEK_SET) != 0) throw std::runtime_error("no temporary file");
  std::string text;
  for (int c = std::fgetc(out); c != EOF; c = std::fgetc(out)) text += static_cast<char>(c);
  std::fclose(in);
  std::fclose(out);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(command[0] + " failed (is its package installed?): " + text);
  }
  return text;
}

void ServerProcess::start(const std::vector<std::string>& command, const std::string& log) {
  stop();
  log_ = log;
  const int output = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  pid_ = spawn(command, input, output);
  ::close(output);
  ::close(input);
}

void ServerProcess::wait_for_port(std::uint16_t port) {
  const sockaddr_in address = loopback(port);
  for (int i = 0; i < 1000; ++i) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      throw std::runtime_error("the server ended (is its package installed?): " + slurp(log_));
    }
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    if (connected) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  throw std::runtime_error("the server does not listen: " + slurp(log_));
}

void ServerProcess::freeze() {
  if (pid_ <= 0) throw std::runtime_error("there is no server to freeze");
  int status = 0;
  ::kill(-pid_, SIGSTOP);
  if (::waitpid(pid_, &status, WUNTRACED) != pid_ || !WIFSTOPPED(status)) {
    throw std::runtime_error("the server does not freeze");
  }
}

void ServerProcess::thaw() {
  if (pid_ > 0) ::kill(-pid_, SIGCONT);
}

void ServerProcess::stop() {
  if (pid_ <= 0) return;
  ::kill(-pid_, SIGCONT);
  ::kill(-pid_, SIGTERM);
  for (int i = 0; i < 100; ++i) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      ::kill(-pid_, SIGKILL);  // its children, if any are left
      pid_ = -1;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ::kill(-pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

void make_certificates(const std::string& directory) {
  const auto in = [&](const char* name) { return directory + "/" + name; };
  const auto key = std::vector<std::string>{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"};
  const auto authority = [&](const char* name) {
    std::vector<std::string> command = {"openssl",
                                        "req",
                                        "-x509",
                                        "-days",
                                        "2",
                                        "-subj",
                                        std::string("/CN=") + name,
                                        "-keyout",
                                        in(name) + ".key",
                                        "-out",
                                        in(name) + ".pem"};
    command.insert(command.end(), key.begin(), key.end());
    run(command);
  };
  authority("ca");
  authority("other-ca");
  const auto server = [&](const char* name, const std::string& names) {
    std::vector<std::string> request = {
        "openssl",         "req",  "-subj",          std::string("/CN=") + name, "-keyout",
        in(name) + ".key", "-out", in(name) + ".csr"};
    request.insert(request.end(), key.begin(), key.end());
    run(request);
    std::ofstream(in(name) + ".ext") << "subjectAltName=" << names << "\n";
    run({"openssl", "x509", "-req", "-days", "2", "-in", in(name) + ".csr", "-CA", in("ca.pem"), "-CAkey",
         in("ca.key"), "-CAcreateserial", "-extfile", in(name) + ".ext", "-out", in(name) + ".pem"});
  };
  server("server", "DNS:localhost,IP:127.0.0.1");
  server("wrong", "DNS:elsewhere.example");
}

}  // namespace portcullis::auth::testing
