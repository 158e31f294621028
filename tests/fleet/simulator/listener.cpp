#include "fleet/simulator/listener.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "fleet/simulator/net.hpp"
#include "fleet/simulator/raw_node.hpp"
#include "fleet/simulator/wire.hpp"

namespace kfab::sim {
namespace {

constexpr const char* usual_version = "OpenSSH_9.2p1 Debian-2+deb12u3";
constexpr const char* old_version = "OpenSSH_3.4p1";

}  // namespace

Listener::Listener(Loop& loop, Site& site, int fd) : loop_(loop), site_(site), fd_(fd), common_(make_server(site.host_keys.of(0), usual_version)) {}

Listener::~Listener() {
  ::close(fd_);
  ssh_bind_free(common_);
}

void Listener::start() { loop_.watch(*this, fd_, 0, EPOLLIN); }

void Listener::on_ready(unsigned, std::uint32_t) {
  for (int turn = 0; turn < 64; ++turn) {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    ++site_.stats.accepted;
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    serve(fd);
  }
}

void Listener::serve(int fd) {
  const std::uint32_t address = local_address_of(fd);
  Fault fault = site_.script.of(address);
  if (fault.behaviour == Behaviour::crowded && site_.logging_in.next(address) >= fault.number) {
    site_.logging_in.back(address);
    fault = {Behaviour::max_startups, Action::none, Point::accept, 0};
  } else if (fault.behaviour == Behaviour::max_startups && site_.calls.next(address) >= fault.number) fault = {};
  switch (layer_of(fault)) {
    case Layer::raw: loop_.adopt(std::make_unique<RawNode>(loop_, fd, fault, site_.stats)); break;
    case Layer::wire: {
      int pair[2] = {-1, -1};
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
        ::close(fd);
        return;
      }
      loop_.adopt(std::make_unique<Wire>(loop_, fd, pair[0], fault, site_.stats));
      begin_session(pair[1], address, {});
      break;
    }
    default: begin_session(fd, address, fault);
  }
}

void Listener::begin_session(int fd, std::uint32_t address, const Fault& fault) {
  bool shared = true;
  const ssh_bind server = server_for(address, fault, shared);
  auto session = std::make_unique<NodeSession>(loop_, fd, server, fault, site_.server, site_.stats);
  if (fault.behaviour == Behaviour::crowded) session->when_settled([&counter = site_.logging_in, address] { counter.back(address); });
  loop_.adopt(std::move(session));
  if (!shared) ssh_bind_free(server);
}

ssh_bind Listener::server_for(std::uint32_t address, const Fault& fault, bool& shared) {
  const bool changed = fault.behaviour == Behaviour::changed_host_key && site_.calls.next(address) >= fault.number;
  const bool other = changed || fault.behaviour == Behaviour::wrong_host_key;
  const bool old = fault.behaviour == Behaviour::old_version;
  shared = site_.host_keys.one_for_all() && !other && !old;
  if (shared) return common_;
  return make_server(other ? site_.host_keys.false_of(address) : site_.host_keys.of(address), old ? old_version : usual_version);
}

void dig_black_holes(const std::vector<std::uint32_t>& addresses, std::uint16_t port) {
  for (const std::uint32_t address : addresses) {
    open_socket(address, port, 0);
    const int filler = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(address);
    name.sin_port = htons(port);
    if (filler < 0 || ::connect(filler, static_cast<const sockaddr*>(static_cast<const void*>(&name)), sizeof name) != 0) {
      std::perror("simulator: no black hole");
      std::exit(1);
    }
  }
}

}  // namespace kfab::sim
