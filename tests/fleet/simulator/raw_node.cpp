#include "fleet/simulator/raw_node.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "fleet/simulator/net.hpp"

namespace kfab::sim {
namespace {

constexpr std::string_view banner = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
constexpr std::size_t noise_bytes = 64;

}  // namespace

int act(Action action, int fd) {
  switch (action) {
    case Action::reset: close_with_reset(fd); return -1;
    case Action::hang_up: ::close(fd); return -1;
    case Action::half_close: ::shutdown(fd, SHUT_WR); return fd;
    case Action::garbage: write_some(fd, noise(noise_bytes)); return fd;
    default: return fd;
  }
}

RawNode::RawNode(Loop& loop, int fd, const Fault& fault, Stats& stats) : loop_(loop), seat_(stats), fd_(fd) {
  const auto number = static_cast<std::size_t>(fault.number);
  switch (fault.behaviour) {
    case Behaviour::at_point:
      then_ = fault.action;
      if (fault.point == Point::banner) text_ = banner;
      break;
    case Behaviour::max_startups:
      text_ = "Exceeded MaxStartups\r\n";   // OpenSSH's own words
      then_ = Action::hang_up;
      break;
    case Behaviour::banner_trickle:
      text_ = "SSH-2.0-x";
      again_from_ = text_.size() - 1;
      for_ever_ = true;
      piece_ = 1;
      every_ = std::chrono::milliseconds(number);
      break;
    case Behaviour::garbage_banner: text_ = noise(number); break;
    case Behaviour::endless_lines:
      text_ = "please wait\r\n";
      for_ever_ = true;
      piece_ = text_.size();
      every_ = std::chrono::milliseconds(number);
      break;
    case Behaviour::http:
      text_ = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request";
      then_ = Action::hang_up;
      break;
    case Behaviour::banner_too_long: text_ = "SSH-2.0-" + std::string(number, 'A') + "\r\n"; break;
    case Behaviour::ssh1: text_ = "SSH-1.5-OpenSSH_1.2.3\r\n"; break;
    case Behaviour::echo: echo_ = true; break;
    case Behaviour::huge_packet: text_ = std::string(banner) + "\xff\xff\xff\xff" + noise(noise_bytes); break;
    default: break;
  }
}

RawNode::~RawNode() {
  if (fd_ >= 0) ::close(fd_);
}

void RawNode::start() {
  loop_.watch(*this, fd_, 0, EPOLLIN);
  say();
}

void RawNode::say() {
  while (at_ < text_.size()) {
    const std::size_t due = piece_ == 0 ? text_.size() - at_ : std::min(piece_, text_.size() - at_);
    at_ += write_some(fd_, std::string_view(text_).substr(at_, due));
    if (at_ < text_.size() && piece_ == 0) {   // the peer does not read; it may later
      loop_.wake_at(*this, SteadyClock::now() + std::chrono::milliseconds(20));
      return;
    }
    if (for_ever_ && at_ == text_.size()) at_ = again_from_;
    if (every_.count() > 0) {
      loop_.wake_at(*this, SteadyClock::now() + every_);
      return;
    }
  }
  if (done_ || echo_) return;
  done_ = true;
  fd_ = act(then_, fd_);
  if (fd_ < 0) loop_.retire(*this);
}

void RawNode::on_time() {
  if (fd_ >= 0) say();
}

void RawNode::on_ready(unsigned, std::uint32_t) {
  if (fd_ < 0) return;
  if (!echo_) {
    if (!drain(fd_)) over();
    return;
  }
  std::array<char, 4096> heard;
  const auto got = ::recv(fd_, heard.data(), heard.size(), MSG_DONTWAIT);
  if (got > 0) write_some(fd_, {heard.data(), static_cast<std::size_t>(got)});
  else if (got == 0) over();
}

void RawNode::over() {
  ::close(fd_);
  fd_ = -1;
  loop_.retire(*this);
}

}  // namespace kfab::sim
