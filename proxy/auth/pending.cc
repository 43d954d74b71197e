// Backends that are not written yet answer as if they were down.
#include "proxy/auth/backends.h"

namespace portcullis::auth {

namespace {

class MissingBackend : public Backend {
 public:
  MissingBackend(BackendKind kind, std::uint8_t mechanisms) : kind_(kind), mechanisms_(mechanisms) {}
  BackendKind kind() const override { return kind_; }
  std::uint8_t mechanisms() const override { return mechanisms_; }
  std::unique_ptr<Asker> asker() override {
    struct MissingAsker : Asker {
      Answer ask(const Query&, Deadline) override { return {Result::backend_error, {}, "not in this build"}; }
      std::expected<std::string, std::string> probe(Deadline) override {
        return std::unexpected("not in this build");
      }
    };
    return std::make_unique<MissingAsker>();
  }

 private:
  BackendKind kind_;
  std::uint8_t mechanisms_;
};

}  // namespace

std::unique_ptr<Backend> make_imap_backend(const ImapBackend&) {
  return std::make_unique<MissingBackend>(BackendKind::imap, 15);
}

}  // namespace portcullis::auth
