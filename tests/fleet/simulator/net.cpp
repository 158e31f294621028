#include "fleet/simulator/net.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace kfab::sim {
namespace {

const sockaddr* plain(const sockaddr_in& address) { return static_cast<const sockaddr*>(static_cast<const void*>(&address)); }

sockaddr_in own_name(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, static_cast<sockaddr*>(static_cast<void*>(&address)), &size);
  return address;
}

}  // namespace

int open_socket(std::uint32_t address, std::uint16_t port, int backlog) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  if (backlog >= 0) ::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(address);
  name.sin_port = htons(port);
  if (fd < 0 || ::bind(fd, plain(name), sizeof name) != 0 || (backlog >= 0 && ::listen(fd, backlog) != 0)) {
    std::perror("simulator: no listening socket");
    std::exit(1);
  }
  return fd;
}

std::uint16_t port_of(int fd) { return ntohs(own_name(fd).sin_port); }
std::uint32_t local_address_of(int fd) { return ntohl(own_name(fd).sin_addr.s_addr); }
void set_nonblocking(int fd) { ::fcntl(fd, F_SETFL, O_NONBLOCK); }

void close_with_reset(int fd) {
  const linger at_once{1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  ::close(fd);
}

bool drain(int fd) {
  std::array<char, 16 * 1024> dropped;
  for (int turn = 0; turn < 16; ++turn) {
    const auto got = ::recv(fd, dropped.data(), dropped.size(), MSG_DONTWAIT);
    if (got > 0) continue;
    return got < 0 && (errno == EAGAIN || errno == EINTR);
  }
  return true;
}

std::size_t write_some(int fd, std::string_view bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const auto rc = ::send(fd, bytes.data() + written, bytes.size() - written, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (rc < 0 && errno == EINTR) continue;
    if (rc <= 0) break;
    written += static_cast<std::size_t>(rc);
  }
  return written;
}

std::string noise(std::size_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlimit more = limit;
  more.rlim_cur = more.rlim_max = 1'000'000;
  if (::setrlimit(RLIMIT_NOFILE, &more) == 0) return;
  limit.rlim_cur = limit.rlim_max;   // may not go past the hard limit
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace kfab::sim
