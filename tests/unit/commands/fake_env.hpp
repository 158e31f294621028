#pragma once

#include <deque>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/codes/internal.hpp"
#include "base/text.hpp"
#include "commands/env.hpp"
#include "commands/command.hpp"
#include "ssh/transport.hpp"

// An environment without a network: the transport answers from a script, per node.
namespace kfab::test {

struct Answer {
  ssh::CommandEnd end{};
  std::string out{}, err{};
};

inline ssh::CommandEnd ended(NodeOutcome outcome, std::optional<int> status = {}, std::string signal = {}) {
  ssh::CommandEnd end;
  end.outcome = outcome;
  end.phase = outcome == NodeOutcome::ok || outcome == NodeOutcome::failed ? ssh::Phase::close : ssh::Phase::connect;
  end.exit_status = status;
  end.signal = std::move(signal);
  if (outcome != NodeOutcome::ok) end.why = error(code::internal, "scripted");
  return end;
}

// What the nonce of a supervised line is (fleet/supervisor.hpp): the sixth word from its end; empty of other lines.
inline std::string nonce_of(const std::string& line) {
  if (!line.starts_with("exec /bin/sh -c 'eval ")) return {};
  const auto words = split(line, ' ');
  return words.at(words.size() - 6);
}

class FakeTransport final : public ssh::Transport {
 public:
  std::map<std::string, Answer> answers;          // by node; a node without one is unreachable
  std::vector<std::string> lines;                 // what was run, in order
  std::vector<std::string> inputs;                // what each was given on standard input

  void launch(const ssh::Target& target, const ssh::Command& command, std::shared_ptr<ssh::CommandListener> listener) override {
    lines.push_back(command.line);
    waiting_.push_back({target.node, command.line, std::move(listener)});
  }
  void drive(std::chrono::milliseconds) override {
    if (waiting_.empty()) return;
    auto [node, line, listener] = std::move(waiting_.front());
    waiting_.pop_front();
    const auto found = answers.find(node);
    const Answer answer = found == answers.end() ? Answer{ended(NodeOutcome::unreachable)} : found->second;
    Peer peer;
    if (answer.end.outcome == NodeOutcome::ok || answer.end.outcome == NodeOutcome::failed) {
      listener->on_start(peer);
      if (const std::string nonce = nonce_of(line); !nonce.empty()) listener->on_stderr(nonce + ":ready:;");
    }
    inputs.push_back(peer.input);
    if (!answer.out.empty()) listener->on_stdout(answer.out);
    if (!answer.err.empty()) listener->on_stderr(answer.err);
    listener->on_end(answer.end);
  }
  std::size_t running() const override { return waiting_.size(); }

 private:
  struct Peer final : ssh::CommandPeer {
    bool write(std::string bytes) override { input += bytes; return true; }
    bool write_view(std::string_view bytes) override { input += bytes; return true; }
    bool write_from(const ssh::ByteSource& source, std::uint64_t from, std::uint64_t count) override {
      const std::size_t before = input.size();
      input.resize(before + count);
      return source.read(from, input.data() + before, count);
    }
    void close_input() override {}
    void abort() override {}
    std::string input;
  };
  struct Waiting {
    std::string node, line;
    std::shared_ptr<ssh::CommandListener> listener;
  };
  std::deque<Waiting> waiting_;
};

class FixedClock final : public Clock {
 public:
  Timestamp now() const override { return Timestamp{std::chrono::milliseconds{1'795'000'000'000}}; }
  std::chrono::steady_clock::time_point steady_now() const override { return {}; }
};

struct World {
  std::ostringstream out, err;
  FixedClock clock;
  NullEventSink events;
  CancelToken cancel;
  std::shared_ptr<FakeTransport> transport = std::make_shared<FakeTransport>();
  Env env{.out = out, .err = err, .clock = clock, .events = events, .cancel = cancel,
          .getenv = [](std::string_view) { return std::optional<std::string>(); },
          .state_dir = "/nonexistent",
          .run_id = "20261121T000000Z-000001",
          .read_stdin = [] { return Result<std::string>(std::string("typed")); },
          .confirm = [](std::string_view) { return Result<bool>(true); },
          .transport = [this] { return transport; }};
};

inline std::string rendered(const CommandOutput& output) {
  std::ostringstream text;
  term::Writer writer(text, {});
  if (output.render) output.render(writer);
  return text.str();
}

}  // namespace kfab::test
