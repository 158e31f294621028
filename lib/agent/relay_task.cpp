#include "agent/relay_task.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int poll_ms = 200;   // how soon it sees that it shall end
constexpr std::size_t token_chars = 32;

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

struct Request {
  std::string token, address;
  long max_clients = 0, max_serves = 0;
};

Result<Request> read_request(const json::Value& request) {
  Request read{request.string_or("token"), request.string_or("address"), request.int_or("max_clients", 8), request.int_or("max_serves", 1000)};
  const bool hex = std::all_of(read.token.begin(), read.token.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (read.token.size() != token_chars || !hex) return error(code::agent_bad_request, "relay: token must be 32 hex digits");
  if (read.max_clients < 1 || read.max_clients > 64) return error(code::agent_bad_request, "relay: max_clients must be 1 to 64");
  if (read.max_serves < 1 || read.max_serves > 100'000) return error(code::agent_bad_request, "relay: max_serves must be 1 to 100000");
  return read;
}

// A listening socket on a port of the kernel's choice; -1 where this machine does not have the address.
Fd listen_on(const std::string& address) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  auto* four = static_cast<sockaddr_in*>(static_cast<void*>(&storage));
  auto* six = static_cast<sockaddr_in6*>(static_cast<void*>(&storage));
  if (::inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    size = sizeof *four;
  } else if (::inet_pton(AF_INET6, address.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    size = sizeof *six;
  } else {
    return Fd();
  }
  Fd fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  auto* plain = static_cast<sockaddr*>(static_cast<void*>(&storage));
  if (fd.get() < 0 || ::bind(fd.get(), plain, size) != 0 || ::listen(fd.get(), 64) != 0) return Fd();
  return fd;
}

int port_of(const Fd& fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd.get(), static_cast<sockaddr*>(static_cast<void*>(&storage)), &size) != 0) return -1;
  const auto* four = static_cast<const sockaddr_in*>(static_cast<const void*>(&storage));
  const auto* six = static_cast<const sockaddr_in6*>(static_cast<const void*>(&storage));
  return ntohs(storage.ss_family == AF_INET ? four->sin_port : six->sin6_port);
}

// The third word of SSH_CONNECTION: the address by which this node was reached.
std::string sshd_address() {
  const char* connection = std::getenv("SSH_CONNECTION");
  const auto words = split(connection == nullptr ? "" : connection, ' ');
  return words.size() == 4 ? words[2] : "";
}

struct Client {
  Fd fd;
  Clock::time_point until;
  std::string said;
  bool serving = false;
  off_t sent = 0;
};

class Relay {
 public:
  Relay(Request request, Fd listener, Fd file, off_t size, TaskContext& context)
      : request_(std::move(request)), listener_(std::move(listener)), file_(std::move(file)), size_(size), context_(context) {}

  void run() {
    while (!context_.stop_requested() && serves_ < request_.max_serves) {
      wait();
      accept();
      const auto now = Clock::now();
      std::erase_if(clients_, [&](Client& client) {
        const bool over = now > client.until || !step(client);
        if (over) closed(client);
        return over;
      });
    }
  }

 private:
  void wait() {
    std::vector<pollfd> waits{{listener_.get(), static_cast<short>(full() ? 0 : POLLIN), 0}};
    for (const Client& client : clients_) waits.push_back({client.fd.get(), static_cast<short>(client.serving ? POLLOUT : POLLIN), 0});
    ::poll(waits.data(), waits.size(), poll_ms);
  }
  bool full() const { return clients_.size() >= static_cast<std::size_t>(request_.max_clients); }

  void accept() {
    while (!full()) {
      Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (fd.get() < 0) return;
      const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(relay_client_s));
      clients_.push_back({std::move(fd), until, {}, false, 0});
    }
  }

  // Whether the client is to be kept.
  bool step(Client& client) {
    if (!client.serving && !listen_to(client)) return false;
    while (client.serving && client.sent < size_) {
      const ssize_t sent = ::sendfile(client.fd.get(), file_.get(), &client.sent, static_cast<std::size_t>(size_ - client.sent));
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return errno == EAGAIN;
      if (sent == 0) return false;
    }
    return client.sent < size_;
  }

  bool listen_to(Client& client) {
    std::array<char, token_chars + 2> bytes{};
    const ssize_t got = ::recv(client.fd.get(), bytes.data(), bytes.size() - client.said.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    client.said.append(bytes.data(), static_cast<std::size_t>(got));
    const std::size_t end = client.said.find('\n');
    if (end == std::string::npos) return client.said.size() <= token_chars;
    // No byte of the comparison ends it early: how long it takes tells nothing of the token.
    unsigned differs = end == token_chars ? 0 : 1;
    for (std::size_t i = 0; i < token_chars && i < end; ++i) differs |= static_cast<unsigned char>(client.said[i] ^ request_.token[i]);
    client.serving = differs == 0;
    return client.serving;
  }

  void closed(const Client& client) {
    if (client.sent < size_) ++refused_;
    else ++serves_;
    bytes_ += client.sent;
    context_.emit(json::Object{{"type", "relay_served"}, {"serves", serves_}, {"refused", refused_}, {"bytes", static_cast<std::int64_t>(bytes_)}});
  }

  const Request request_;
  Fd listener_, file_;
  const off_t size_;
  TaskContext& context_;
  std::vector<Client> clients_;
  long serves_ = 0, refused_ = 0;
  off_t bytes_ = 0;
};

}  // namespace

Status run_relay_task(const json::Value& message, TaskContext& context) {
  KFAB_TRY(request, read_request(message));
  Fd file(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  struct stat about {};
  if (file.get() < 0 || ::fstat(file.get(), &about) != 0) return error(code::agent_relay_failed, std::string("cannot read the agent's own file: ") + std::strerror(errno));
  Fd listener = listen_on(request.address);
  if (listener.get() < 0) {
    request.address = sshd_address();
    listener = listen_on(request.address);
  }
  if (listener.get() < 0) return error(code::agent_relay_failed, "this node has no address that the others of its rack could reach");
  const int port = port_of(listener);
  context.emit(json::Object{{"type", "relay"}, {"address", request.address}, {"port", port}});
  Relay(std::move(request), std::move(listener), std::move(file), about.st_size, context).run();
  return ok();
}

}  // namespace kfab::agent
