#include "cli/streams.hpp"

#include <poll.h>
#include <unistd.h>

namespace kfab::cli {

FdBuffer::FdBuffer(int fd) : fd_(fd) { setp(buffer_.data(), buffer_.data() + buffer_.size()); }

FdBuffer::~FdBuffer() { FdBuffer::sync(); }

void FdBuffer::write_out(const char* bytes, std::size_t count) {
  while (count > 0 && failure_ == 0) {
    const ssize_t written = ::write(fd_, bytes, count);
    if (written >= 0) {
      bytes += written;
      count -= static_cast<std::size_t>(written);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {   // somebody made the terminal non-blocking
      pollfd waiting{fd_, POLLOUT, 0};
      ::poll(&waiting, 1, -1);
    } else if (errno != EINTR) {
      failure_ = errno;
    }
  }
}

int FdBuffer::sync() {
  write_out(pbase(), static_cast<std::size_t>(pptr() - pbase()));
  setp(buffer_.data(), buffer_.data() + buffer_.size());
  return 0;
}

FdBuffer::int_type FdBuffer::overflow(int_type c) {
  sync();
  if (!traits_type::eq_int_type(c, traits_type::eof())) sputc(traits_type::to_char_type(c));
  return traits_type::not_eof(c);
}

std::streamsize FdBuffer::xsputn(const char* bytes, std::streamsize count) {
  if (count > epptr() - pptr()) sync();
  if (count > epptr() - pptr()) {
    write_out(bytes, static_cast<std::size_t>(count));
  } else {
    traits_type::copy(pptr(), bytes, static_cast<std::size_t>(count));
    pbump(static_cast<int>(count));
  }
  return count;
}

}  // namespace kfab::cli
