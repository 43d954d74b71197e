// A program of a few lines, compiled as the released one is, whose code needs each kind of hardening: a
// buffer on the stack, a copy of unknown length, a frame larger than a page.
// tests/packaging/test_hardening.py looks at it.
#include <cstdio>
#include <cstring>

namespace {

[[gnu::noinline]] std::size_t copy(const char* text, std::size_t octets) {
  char buffer[64 * 1024];
  std::memcpy(buffer, text, octets);
  std::fwrite(buffer, 1, octets, stdout);
  return octets;
}

}  // namespace

int main(int count, char** words) { return copy(words[0], static_cast<std::size_t>(count)) == 0 ? 1 : 0; }
