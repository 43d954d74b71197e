#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <expected>
#include <thread>

#include "proxy/config/check.h"
#include "proxy/config/config.h"
#include "proxy/config/document.h"
#include "proxy/config/rows.h"
#include "smtp/utf8.h"

namespace portcullis::config {

namespace {

struct FileContent {
  std::string text;
  bool world_readable = false;
};

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

std::string reason() {
  return std::strerror(errno);
}  // NOLINT(concurrency-mt-unsafe): at start and reload only

std::expected<FileContent, std::string> read_file(const std::string& path) {
  const Descriptor file(path);
  struct stat status{};
  if (file.fd() < 0 || fstat(file.fd(), &status) != 0) return std::unexpected("can not be read: " + reason());
  if (!S_ISREG(status.st_mode)) return std::unexpected("is not a regular file");
  FileContent content;
  content.world_readable = (status.st_mode & S_IROTH) != 0;
  // One octet more than allowed tells the parser that it is too long.
  content.text.resize(document_octets_max + 1);
  std::size_t length = 0;
  while (length < content.text.size()) {
    const ssize_t got = ::read(file.fd(), content.text.data() + length, content.text.size() - length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected("can not be read: " + reason());
    if (got == 0) break;
    length += static_cast<std::size_t>(got);
  }
  content.text.resize(length);
  return content;
}

// Values that stand for something only this machine or another key knows.
void resolve(Config& config) {
  if (config.workers == 0) config.workers = std::max(1U, std::thread::hardware_concurrency());
  for (Upstream& upstream : config.upstreams) {
    for (Server& server : upstream.servers) {
      if (server.port == 0) server.port = upstream.implicit_tls ? 465 : 25;
    }
  }
  if (config.upstreams.size() != 1) return;
  for (Listener& listener : config.listeners) {
    if (listener.upstream.empty()) listener.upstream = config.upstreams.front().name;
  }
}

Loaded load_content(const FileContent& content, const std::string& name) {
  Reader reader(name);
  const auto document = parse_document(content.text);
  if (!document) {
    reader.error(document.error().at, "", document.error().text);
    return {nullptr, reader.take_problems()};
  }
  Draft draft;
  draft.config.path = name;
  read_table(reader, file_table(), *document, "", draft);
  resolve(draft.config);
  const Check check{reader, *document, draft.config, content.world_readable};
  for (auto* one :
       {check_names, check_listeners, check_upstreams, check_auth, check_relay, check_rules, check_files}) {
    one(check);
  }
  draft.config.pem_files = pem_files(check);
  Loaded loaded;
  if (!reader.failed()) loaded.config = std::make_shared<const Config>(std::move(draft.config));
  loaded.problems = reader.take_problems();
  return loaded;
}

}  // namespace

std::string to_string(const Problem& problem) {
  std::string shown = problem.file;
  if (problem.line != 0) shown += fmt::format(":{}:{}", problem.line, problem.column);
  shown += problem.severity == Problem::Severity::error ? ": error: " : ": warning: ";
  if (!problem.key.empty()) shown += problem.key + ": ";
  shown += problem.text;
  // The text may quote the file; a terminal must not be told anything by it.
  std::string clean;
  for (std::string_view rest = shown; !rest.empty();) {
    const std::size_t octets = smtp::utf8_visible_octets(rest);
    octets == 0 ? clean += '?' : clean += rest.substr(0, octets);
    rest.remove_prefix(std::max<std::size_t>(octets, 1));
  }
  return clean;
}

Loaded load(const std::string& path) {
  const auto content = read_file(path);
  if (!content) return {nullptr, {{Problem::Severity::error, path, 0, 0, "", content.error()}}};
  return load_content(*content, path);
}

Loaded load_text(std::string_view text, const std::string& name) {
  return load_content({std::string(text), false}, name);
}

}  // namespace portcullis::config
