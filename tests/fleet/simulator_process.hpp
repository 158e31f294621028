#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "base/ids.hpp"
#include "ssh/target.hpp"

namespace kfab::fleet::test {

// The node simulator (tests/fleet/simulator) as a child of this process, gone with this object.
class SimulatorProcess {
 public:
  // `arguments` are those of node_simulator, without --identity. port stays 0 when it did not start.
  SimulatorProcess(const std::string& program, std::vector<std::string> arguments) {
    std::filesystem::create_directories(dir);
    arguments.insert(arguments.begin(), {program, "--identity", dir + "/id"});
    start(arguments);
    const std::string said = read_line(std::chrono::seconds(60));
    port = number_after(said, " port=");
    closed_port = number_after(said, " closed_port=");
    if (const std::size_t at = said.find("host_key="); at != std::string::npos) host_key = said.substr(at + 9);
    // One line for all: whoever has another key is caught by it.
    (void)write_file_atomically(dir + "/known_hosts", "[127.*]:" + std::to_string(port) + " " + host_key + "\n[127.*]:" +
                                                          std::to_string(closed_port) + " " + host_key + "\n");
  }
  ~SimulatorProcess() {
    if (input_ >= 0) ::close(input_);
    if (output_ >= 0) ::close(output_);
    if (pid_ > 0) {
      for (int tenth = 0; tenth < 50 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++tenth) ::usleep(100'000);
      if (::kill(pid_, 0) == 0) {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
      }
    }
    std::filesystem::remove_all(dir);
  }
  SimulatorProcess(const SimulatorProcess&) = delete;
  SimulatorProcess& operator=(const SimulatorProcess&) = delete;

  ssh::Target target(const std::string& node, const std::string& address) const {
    ssh::Target target;
    target.node = node;
    target.address = address;
    target.port = static_cast<std::uint16_t>(port);
    target.user = "operator";
    target.identity_files = {dir + "/id"};
    target.use_agent = false;
    target.known_hosts = {dir + "/known_hosts"};
    return target;
  }
  // One number of its "stats" line; -1 when it does not answer.
  long long stat(const std::string& name) {
    if (::write(input_, "stats\n", 6) != 6) return -1;
    last_stats = read_line(std::chrono::seconds(20));
    return number_after(last_stats, " " + name + "=");
  }

  std::string dir = std::filesystem::temp_directory_path() / ("kfab-simulator-" + random_hex(6));
  long long port = 0, closed_port = 0;
  std::string host_key, last_stats;

 private:
  void start(std::vector<std::string>& arguments) {
    std::array<int, 2> in{-1, -1}, out{-1, -1};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    input_ = in[1];
    output_ = out[0];
  }

  std::string read_line(std::chrono::seconds patience) const {
    std::string line;
    const auto until = std::chrono::steady_clock::now() + patience;
    while (std::chrono::steady_clock::now() < until) {
      pollfd ready{output_, POLLIN, 0};
      if (::poll(&ready, 1, 100) <= 0) continue;
      char byte = 0;
      if (::read(output_, &byte, 1) != 1 || byte == '\n') break;
      line += byte;
    }
    return line;
  }
  static long long number_after(const std::string& text, const std::string& mark) {
    const std::size_t at = text.find(mark);
    return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + mark.size());
  }

  pid_t pid_ = -1;
  int input_ = -1, output_ = -1;
};

}  // namespace kfab::fleet::test
