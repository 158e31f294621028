#include "fleet/simulator/wire.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "fleet/simulator/net.hpp"
#include "fleet/simulator/raw_node.hpp"

namespace kfab::sim {
namespace {

constexpr std::size_t most_held = 256 * 1024;
constexpr unsigned outer = 0, inner = 1;
// Within the reply: type, host key, server's public key, then the signature, whose last byte is this far from the end
// of what is no padding. The middle of the signature is where a flip matters.
constexpr std::uint64_t signature_byte = 4 + 1 + 1 + (4 + 51) + (4 + 32) + (4 + 4 + 11 + 4) + 20;

int packet_of(Point point) {
  switch (point) {
    case Point::kexinit: return PacketScanner::kexinit;
    case Point::kexreply: return PacketScanner::kexreply;
    default: return PacketScanner::newkeys;
  }
}
PacketScanner scanner_for(const Fault& fault) {
  if (fault.behaviour == Behaviour::bad_signature) return {PacketScanner::kexreply, signature_byte};
  return {packet_of(fault.point), fault.number};
}

}  // namespace

bool PacketScanner::is_it(char byte) {
  if (current_ > newkeys) return false;
  const bool found = current_ == packet_ && at_ == number_;
  const auto value = static_cast<unsigned char>(byte);
  bool ends = false;
  if (current_ == banner) {
    ends = byte == '\n';
  } else {
    if (at_ < 4) length_ = length_ << 8 | value;
    ends = at_ >= 4 && at_ + 1 == 4 + std::uint64_t{length_};
  }
  ++at_;
  if (ends) {
    ++current_;
    at_ = length_ = 0;
  }
  return found;
}

Wire::Wire(Loop& loop, int outer_fd, int inner_fd, const Fault& fault, Stats& stats)
    : loop_(loop), seat_(stats), fault_(fault), scanner_(scanner_for(fault)) {
  down_.from = up_.to = inner_fd;
  down_.to = up_.from = outer_fd;
  const std::chrono::milliseconds number(static_cast<std::chrono::milliseconds::rep>(fault.number));
  if (fault.behaviour == Behaviour::laggy) lag_ = number;
  else if (fault.behaviour == Behaviour::slow_banner) pace_ = number;
  else if (fault.behaviour == Behaviour::bad_signature) fault_.action = Action::corrupt;
  met_ = fault_.action == Action::none;
}

Wire::~Wire() {
  if (down_.to >= 0) ::close(down_.to);
  if (down_.from >= 0) ::close(down_.from);
}

void Wire::start() {
  loop_.watch(*this, down_.to, outer, armed_[outer] = EPOLLIN);
  loop_.watch(*this, down_.from, inner, armed_[inner] = EPOLLIN);
}

bool Wire::reached(char byte) {
  if (fault_.behaviour == Behaviour::at_point && fault_.point == Point::byte) return passed_ == fault_.number;
  return scanner_.is_it(byte);
}

void Wire::take(Pipe& pipe, std::string_view bytes, bool from_server) {
  constexpr std::uint64_t paced_bytes = 64;   // a banner and a little more
  if (!from_server || met_) {
    passed_ += from_server ? bytes.size() : 0;
    if (from_server && pace_.count() > 0 && passed_ <= paced_bytes) {
      for (const char byte : bytes) queue(pipe, std::string(1, byte), std::max(SteadyClock::now(), pipe.last_due + pace_));
    } else {
      queue(pipe, std::string(bytes), SteadyClock::now() + lag_);
    }
    return;
  }
  std::size_t passing = 0;
  std::string changed(bytes);
  for (; passing < bytes.size() && !met_; ++passing, ++passed_) {
    if (!reached(bytes[passing])) continue;
    met_ = true;
    if (fault_.action != Action::corrupt) break;
    changed[passing] = static_cast<char>(changed[passing] ^ 1);
  }
  if (fault_.action == Action::corrupt) passing = bytes.size();
  changed.resize(passing);
  queue(pipe, std::move(changed), SteadyClock::now());
}

void Wire::queue(Pipe& pipe, std::string bytes, Time due) {
  if (bytes.empty()) return;
  pipe.held += bytes.size();
  pipe.last_due = std::max(due, pipe.last_due);
  pipe.chunks.push_back({pipe.last_due, std::move(bytes)});
}

void Wire::fill(Pipe& pipe, bool from_server) {
  std::array<char, 16 * 1024> bytes;
  while (!pipe.ended && pipe.held < most_held && !(from_server && strikes())) {
    const auto got = ::recv(pipe.from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) pipe.ended = true;
    else take(pipe, {bytes.data(), static_cast<std::size_t>(got)}, from_server);
  }
}

void Wire::flush(Pipe& pipe) {
  pipe.blocked = false;
  const Time now = SteadyClock::now();
  while (!pipe.chunks.empty() && pipe.chunks.front().due <= now) {
    std::string& bytes = pipe.chunks.front().bytes;
    const std::size_t written = write_some(pipe.to, bytes);
    pipe.held -= written;
    if (written < bytes.size()) {
      bytes.erase(0, written);
      pipe.blocked = true;
      return;
    }
    pipe.chunks.pop_front();
  }
  if (!pipe.chunks.empty()) loop_.wake_at(*this, pipe.chunks.front().due);
}

bool Wire::strikes() const { return met_ && fault_.action != Action::none && fault_.action != Action::corrupt; }

void Wire::strike() {
  struck_ = true;
  ::close(down_.from);
  down_.from = up_.to = -1;
  down_.to = up_.from = act(fault_.action, down_.to);
  if (down_.to < 0) loop_.retire(*this);
}

void Wire::pump() {
  if (down_.to < 0) return;
  if (struck_) {
    if (!drain(down_.to)) over();
    return;
  }
  fill(up_, false);
  fill(down_, true);
  if (down_.ended && down_.from >= 0) {   // or epoll would tell so until the last byte is out
    ::close(down_.from);
    down_.from = up_.to = -1;
  }
  if (up_.to >= 0) flush(up_);
  flush(down_);
  if (strikes() && down_.chunks.empty()) strike();
  else if (up_.ended || (down_.ended && down_.chunks.empty())) over();
  if (down_.to >= 0) arm();
}

void Wire::arm() {
  const auto interest = [](const Pipe& in, const Pipe& out) {
    return (!in.ended && in.held < most_held ? std::uint32_t{EPOLLIN} : 0U) | (out.blocked ? std::uint32_t{EPOLLOUT} : 0U);
  };
  const std::uint32_t wanted[2] = {struck_ ? std::uint32_t{EPOLLIN} : interest(up_, down_), strikes() ? 0U : interest(down_, up_)};
  for (const unsigned which : {outer, inner}) {
    const int fd = which == outer ? down_.to : down_.from;
    if (fd < 0 || wanted[which] == armed_[which]) continue;
    loop_.change(*this, fd, which, armed_[which] = wanted[which]);
  }
}

void Wire::over() {
  if (down_.from >= 0) ::close(down_.from);
  ::close(down_.to);
  down_.from = down_.to = up_.from = up_.to = -1;
  loop_.retire(*this);
}

void Wire::on_ready(unsigned, std::uint32_t) { pump(); }
void Wire::on_time() { pump(); }

}  // namespace kfab::sim
