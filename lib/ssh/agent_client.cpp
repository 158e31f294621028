#include "ssh/agent_client.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

constexpr std::uint8_t request_identities = 11, identities_answer = 12, sign_request = 13, sign_response = 14;
constexpr std::uint32_t max_reply_bytes = 256 * 1024;   // as ssh itself
constexpr std::uint32_t max_keys = 2048;

}  // namespace

AgentClient::~AgentClient() {
  if (fd_ >= 0) ::close(fd_);
}

Step AgentClient::fail(std::string why) {
  why_ = std::move(why);
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  asked_ = false;
  out_.clear();
  return Step::failed;
}

Step AgentClient::connect() {
  if (fd_ >= 0) return Step::done;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path_.size() >= sizeof address.sun_path) return fail("the path of its socket is too long");
  path_.copy(address.sun_path, path_.size());
  fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return fail(std::strerror(errno));
  if (::connect(fd_, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address) == 0) return Step::done;
  if (errno != EAGAIN) return fail(std::strerror(errno));
  ::close(fd_);   // its queue is full; a Unix socket cannot be waited for here, only tried again
  fd_ = -1;
  return Step::again;
}

Step AgentClient::exchange(std::string_view request, std::uint8_t expected, std::string& reply) {
  if (const Step connected = connect(); connected != Step::done) return connected;
  if (!asked_) {
    asked_ = true;
    in_.clear();
    put_string(out_, request);
  }
  while (!out_.empty()) {
    const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return Step::again;
    if (sent < 0) return fail(std::strerror(errno));
    out_.erase(0, static_cast<std::size_t>(sent));
  }
  for (;;) {
    WireReader reader(in_);
    const auto size = reader.u32();
    if (size && (*size == 0 || *size > max_reply_bytes)) return fail("its answer has an impossible size");
    if (size && reader.rest().size() >= *size) break;
    std::array<char, 4096> chunk{};
    const ssize_t got = ::recv(fd_, chunk.data(), chunk.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return Step::again;
    if (got < 0) return fail(std::strerror(errno));
    if (got == 0) return fail("it hung up");
    in_.append(chunk.data(), static_cast<std::size_t>(got));
  }
  asked_ = false;
  const std::string_view body = *WireReader(in_).string();
  if (static_cast<std::uint8_t>(body.front()) != expected) return fail("it refused");
  reply = body.substr(1);
  return Step::done;
}

Step AgentClient::list(std::vector<AgentKey>& keys) {
  std::string request(1, static_cast<char>(request_identities)), reply;
  if (const Step answered = exchange(request, identities_answer, reply); answered != Step::done) return answered;
  WireReader reader(reply);
  const auto count = reader.u32();
  if (!count || *count > max_keys) return fail("its list of keys is damaged");
  keys.clear();
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto blob = reader.string();
    const auto comment = reader.string();
    if (!blob || !comment) return fail("its list of keys is damaged");
    keys.push_back({std::string(*blob), std::string(*comment)});
  }
  return Step::done;
}

Step AgentClient::sign(std::string_view blob, std::string_view data, std::string& signature) {
  std::string request(1, static_cast<char>(sign_request)), reply;
  put_string(request, blob);
  put_string(request, data);
  put_u32(request, 0);
  if (const Step answered = exchange(request, sign_response, reply); answered != Step::done) return answered;
  WireReader outer(reply);
  const auto whole = outer.string();
  if (!whole) return fail("its signature is damaged");
  WireReader inner(*whole);
  const auto algorithm = inner.string();
  const auto bytes = inner.string();
  if (!algorithm || !bytes) return fail("its signature is damaged");
  signature = *bytes;
  return Step::done;
}

}  // namespace kfab::ssh
