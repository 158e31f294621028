#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "agent/relay_task.hpp"
#include "base/codes/agent.hpp"
#include "base/file.hpp"

using namespace kfab;
using namespace kfab::agent;

namespace {

const std::string token = "0123456789abcdef0123456789abcdef";

class Context final : public TaskContext {
 public:
  void emit(const json::Value& message) override {
    const std::lock_guard lock(mutex_);
    messages_.push_back(message);
    came_.notify_all();
  }
  bool stop_requested() const override { return stop; }
  double remaining_s() const override { return 60; }
  // The newest message of this type, after a wait of at most 10 s.
  json::Value await(const std::string& type, std::size_t count = 1) {
    std::unique_lock lock(mutex_);
    std::vector<json::Value> found;
    came_.wait_for(lock, std::chrono::seconds(10), [&] {
      found.clear();
      for (const auto& message : messages_)
        if (message.string_or("type") == type) found.push_back(message);
      return found.size() >= count;
    });
    return found.empty() ? json::Value() : found.back();
  }
  std::atomic<bool> stop{false};

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<json::Value> messages_;
};

json::Value request(const std::string& with_token, const std::string& address = "127.0.0.1", int max_serves = 100, int max_clients = 4) {
  return json::Object{{"token", with_token}, {"address", address}, {"max_serves", max_serves}, {"max_clients", max_clients}};
}

// What a client that says `words` is given.
std::string fetch(int port, const std::string& words) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{10, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string got;
  if (::connect(fd, static_cast<const sockaddr*>(static_cast<const void*>(&address)), sizeof address) == 0) {
    (void)::send(fd, words.data(), words.size(), MSG_NOSIGNAL);
    char chunk[65536];
    for (ssize_t n; (n = ::recv(fd, chunk, sizeof chunk, 0)) > 0;) got.append(chunk, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return got;
}

}  // namespace

TEST_CASE("a relay hands out the agent's own file to whoever has the token, and to nobody else") {
  Context context;
  Status ended = ok();
  std::thread relay([&] { ended = run_relay_task(request(token), context); });
  const int port = static_cast<int>(context.await("relay").int_or("port", 0));
  REQUIRE(port > 0);
  const auto own = read_file("/proc/self/exe", std::size_t{1} << 30);
  REQUIRE(own);
  CHECK((fetch(port, token + "\n") == *own));
  CHECK(fetch(port, "0" + token.substr(0, 31) + "\n").empty());
  CHECK(fetch(port, token.substr(0, 31) + "\n").empty());
  CHECK(fetch(port, token + token + token).empty());
  CHECK(fetch(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").empty());
  std::vector<std::thread> many;
  std::atomic<int> whole{0};
  for (int i = 0; i < 12; ++i) many.emplace_back([&] { whole += fetch(port, token + "\n") == *own ? 1 : 0; });   // more than may at once
  for (auto& one : many) one.join();
  CHECK(whole == 12);
  const auto served = context.await("relay_served", 17);
  CHECK(served.int_or("serves", 0) == 13);
  CHECK(served.int_or("refused", 0) == 4);
  context.stop = true;
  relay.join();
  CHECK(ended);
}

TEST_CASE("a relay ends by itself when it has served as often as it may") {
  Context context;
  std::thread relay([&] { (void)run_relay_task(request(token, "127.0.0.1", 1), context); });
  const int port = static_cast<int>(context.await("relay").int_or("port", 0));
  CHECK_FALSE(fetch(port, token + "\n").empty());
  relay.join();
}

TEST_CASE("requests that a relay does not take") {
  Context context;
  CHECK_FALSE(run_relay_task(request("short"), context));
  CHECK_FALSE(run_relay_task(request(std::string(32, 'x')), context));
  CHECK_FALSE(run_relay_task(request(token, "127.0.0.1", 0), context));
  CHECK_FALSE(run_relay_task(request(token, "127.0.0.1", 1, 65), context));
  ::unsetenv("SSH_CONNECTION");
  const auto nowhere = run_relay_task(request(token, "192.0.2.1"), context);
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().code == code::agent_relay_failed);
}
