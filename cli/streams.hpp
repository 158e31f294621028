#pragma once

#include <array>
#include <cerrno>
#include <streambuf>

namespace kfab::cli {

// A stream buffer over a file descriptor that remembers why writing failed. After a failure everything is dropped:
// whoever reads stdout may leave at any time (EPIPE), which is no error, while a full disk is one.
class FdBuffer final : public std::streambuf {
 public:
  explicit FdBuffer(int fd);
  ~FdBuffer() override;
  int failure() const { return failure_; }   // errno of the first failed write; 0 when all went well

 protected:
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* bytes, std::streamsize count) override;
  int sync() override;

 private:
  void write_out(const char* bytes, std::size_t count);
  int fd_;
  int failure_ = 0;
  std::array<char, 65536> buffer_;
};

}  // namespace kfab::cli
