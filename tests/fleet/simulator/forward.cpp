#include "fleet/simulator/forward.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "fleet/simulator/net.hpp"
#include "fleet/simulator/script.hpp"

namespace kfab::sim {
namespace {

int begin_connect(ssh_message request) {
  const char* destination = ssh_message_channel_request_open_destination(request);
  const auto range = parse_addresses(destination == nullptr ? "" : destination);
  if (!range || range->first != range->last) return -1;
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(range->first);
  name.sin_port = htons(static_cast<std::uint16_t>(ssh_message_channel_request_open_destination_port(request)));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (::connect(fd, static_cast<const sockaddr*>(static_cast<const void*>(&name)), sizeof name) == 0 || errno == EINPROGRESS) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

Forward::Forward(Loop& loop, Loop::Member& session, unsigned which, ssh_session ssh, ssh_message request)
    : loop_(loop), owner_(session), which_(which), session_(ssh), request_(request), fd_(begin_connect(request)) {
  if (fd_ < 0) {
    ssh_message_reply_default(request_);
    stage_ = Stage::over;
    return;
  }
  loop_.watch(owner_, fd_, which_, armed_ = EPOLLOUT);
}

Forward::~Forward() {
  if (request_ != nullptr) ssh_message_free(request_);
  if (fd_ >= 0) ::close(fd_);
}

void Forward::connected() {
  pollfd ready{fd_, POLLOUT, 0};
  if (::poll(&ready, 1, 0) == 0) return;
  int failed = 0;
  socklen_t size = sizeof failed;
  ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &failed, &size);
  if (failed == 0) channel_ = ssh_message_channel_request_open_reply_accept(request_);
  else ssh_message_reply_default(request_);
  ssh_message_free(request_);
  request_ = nullptr;
  stage_ = Stage::open;
  if (channel_ == nullptr) end();
}

void Forward::pump() {
  if (stage_ == Stage::connecting) connected();
  if (stage_ != Stage::open) return;
  to_node();
  from_node();
  if (stage_ == Stage::open && (ssh_channel_is_closed(channel_) != 0 || (node_ended_ && client_ended_))) end();
  if (stage_ == Stage::open) arm();
}

void Forward::to_node() {
  std::array<char, 16 * 1024> bytes;
  for (;;) {
    waiting_.erase(0, write_some(fd_, waiting_));
    if (!waiting_.empty()) return;
    const int got = ssh_channel_read_nonblocking(channel_, bytes.data(), static_cast<std::uint32_t>(bytes.size()), 0);
    if (got <= 0) break;
    waiting_.assign(bytes.data(), static_cast<std::size_t>(got));
  }
  if (!client_ended_ && ssh_channel_is_eof(channel_) != 0) {
    client_ended_ = true;
    ::shutdown(fd_, SHUT_WR);
  }
}

void Forward::from_node() {
  std::array<char, 16 * 1024> bytes;
  for (;;) {
    const std::uint32_t window = ssh_channel_window_size(channel_);
    starved_ = window == 0 || (ssh_get_poll_flags(session_) & SSH_WRITE_PENDING) != 0;
    if (node_ended_ || starved_) return;
    const auto got = ::recv(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), window), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
      node_ended_ = true;
      if (got < 0) return end();
      ssh_channel_send_eof(channel_);
      return;
    }
    if (ssh_channel_write(channel_, bytes.data(), static_cast<std::uint32_t>(got)) != got) return end();
  }
}

void Forward::arm() {
  const std::uint32_t wanted = (starved_ || node_ended_ ? 0U : std::uint32_t{EPOLLIN}) | (waiting_.empty() ? 0U : std::uint32_t{EPOLLOUT});
  if (wanted != armed_) loop_.change(owner_, fd_, which_, armed_ = wanted);
}

void Forward::end() {
  stage_ = Stage::over;
  if (channel_ != nullptr) ssh_channel_close(channel_);
  ::close(fd_);
  fd_ = -1;
}

}  // namespace kfab::sim
