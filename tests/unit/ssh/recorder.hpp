#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "ssh/transport.hpp"

namespace kfab::ssh::test {

// Keeps all that a command says.
struct Recorder final : CommandListener {
  explicit Recorder(std::string given) : input(std::move(given)) {}
  void on_start(CommandPeer& peer) override {
    if (abort_at_start) peer.abort();
    peer.write(input);
    peer.close_input();
  }
  void on_stdout(std::string_view bytes) override { out += bytes; }
  void on_stderr(std::string_view bytes) override { err += bytes; }
  void on_end(const CommandEnd& how) override {
    ++ends;
    end = how;
  }
  std::string input, out, err;
  std::optional<CommandEnd> end;
  int ends = 0;
  bool abort_at_start = false;
};

// Bounded, so that a fault fails a test instead of hanging it.
inline void drive_to_end(Transport& transport) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (transport.running() > 0 && std::chrono::steady_clock::now() < until) transport.drive(std::chrono::milliseconds(200));
}

}  // namespace kfab::ssh::test
