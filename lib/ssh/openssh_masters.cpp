#include "ssh/openssh_masters.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/file.hpp"
#include "ssh/codec.hpp"

namespace kfab::ssh {
namespace {

namespace fs = std::filesystem;

constexpr auto patience = std::chrono::seconds(2);
constexpr std::size_t most_kept = 200;

std::vector<std::string> sockets_in(const std::string& directory) {
  std::vector<std::string> sockets;
  std::error_code failed;
  for (fs::directory_iterator entry(directory, failed), end; !failed && entry != end; entry.increment(failed))
    if (entry->is_socket(failed)) sockets.push_back(entry->path().string());
  return sockets;
}

}  // namespace

bool end_control_master(const std::string& socket_path) {
  constexpr std::uint32_t hello = 1, version = 4, terminate = 0x10000005, request_id = 0;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) return false;
  socket_path.copy(address.sun_path, socket_path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  bool sent = false;
  if (::connect(fd, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address) == 0) {
    std::string greeting, order, bytes;
    put_u32(greeting, hello);
    put_u32(greeting, version);
    put_u32(order, terminate);
    put_u32(order, request_id);
    put_string(bytes, greeting);
    put_string(bytes, order);
    sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
    // It reads the order only after its own greeting has gone out; hanging up before would lose it.
    char answer[256];
    for (pollfd ready{fd, POLLIN, 0}; sent && ::poll(&ready, 1, 200) > 0 && ::recv(fd, answer, sizeof answer, 0) > 0;) {}
  }
  ::close(fd);
  return sent;
}

OpensshMasters::~OpensshMasters() {
  if (!dir_) return;
  const auto until = std::chrono::steady_clock::now() + patience;
  for (const std::string& socket : sockets_in(dir_->path())) {
    if (std::chrono::steady_clock::now() >= until) break;   // the rest ends by itself
    end_control_master(socket);
  }
  while (!sockets_in(dir_->path()).empty() && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

Result<std::string> OpensshMasters::directory() {
  const std::lock_guard lock(mutex_);
  if (!dir_) {
    KFAB_TRY(made, PrivateDir::make("ssh"));
    dir_ = std::move(made);
  }
  return dir_->path();
}

Status OpensshMasters::put(const OpensshConfig& config) {
  const std::lock_guard lock(mutex_);
  if (written_.contains(config.name)) return ok();
  KFAB_TRY_VOID(write_file_atomically(dir_->path() + "/" + config.name, config.text, 0600));
  written_.insert(config.name);
  return ok();
}

std::string OpensshMasters::next_log() {
  const std::lock_guard lock(mutex_);
  return dir_->path() + "/log" + std::to_string(++logs_);
}

void OpensshMasters::set_master_log(const OpensshConfig& config, const std::string& log) {
  const std::lock_guard lock(mutex_);
  masters_[config.name] = log;
  master_logs_.insert(log);
}

bool OpensshMasters::may_keep(const OpensshConfig& config) {
  const std::lock_guard lock(mutex_);
  if (kept_.size() < most_kept) kept_.insert(config.name);
  return kept_.contains(config.name);
}

std::string OpensshMasters::master_log(const OpensshConfig& config) const {
  const std::lock_guard lock(mutex_);
  const auto found = masters_.find(config.name);
  return found == masters_.end() ? "" : found->second;
}

bool OpensshMasters::is_master_log(const std::string& log) const {
  const std::lock_guard lock(mutex_);
  return master_logs_.contains(log);
}

}  // namespace kfab::ssh
