#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fleet/fleet.hpp"
#include "fleet/simulator_process.hpp"

// What the fault campaign stands on: a case, a site of cases among healthy nodes, and the process's own accounts.
namespace kfab::fleet::test {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
constexpr int patience = 2;   // deadlines are this much longer
#else
constexpr bool sanitized = false;
constexpr int patience = 1;
#endif

// One faulty node and all the ways in which its command may end.
struct Case {
  std::string fault;
  std::vector<NodeOutcome> outcomes;
  std::vector<ssh::Phase> phases;
  std::vector<Code> codes{};                                    // none: ok, without any
  std::function<void(const CommandResult&)> also{};
  bool on_closed_port = false;
};

struct Ran {
  std::vector<CommandResult> results;   // of the cases, then of the healthy nodes
  double wall_s = 0, slowest_healthy_s = 0;
};

inline std::string told(const CommandResult& result) {
  return fmt::format("{} in phase {}: {}", to_string(result.outcome), to_string(result.phase),
                     result.why ? to_string(result.why->code) + " " + result.why->message : "no more is known");
}

// What commands on healthy nodes print.
inline const std::string healthy_output(4000, 'o');

// A simulated site: one node for each case, healthy ones in between.
class Site {
 public:
  Site(std::vector<Case> cases, std::size_t healthy)
      : cases_(std::move(cases)), healthy_(healthy), simulator_(KFAB_NODE_SIMULATOR, scripted()) {
    REQUIRE(simulator_.port > 0);
    const std::size_t every = cases_.empty() ? 1 : std::max<std::size_t>(cases_.size() / std::max<std::size_t>(healthy_, 1), 1);
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      if (i % every == 0 && targets_.size() - i < healthy_) add_healthy(targets_.size() - i);
      ssh::Target target = simulator_.target(cases_[i].fault, address(i));
      if (cases_[i].on_closed_port) target.port = static_cast<std::uint16_t>(simulator_.closed_port);
      places_.push_back(targets_.size());
      targets_.push_back(target);
    }
    while (targets_.size() < cases_.size() + healthy_) add_healthy(targets_.size() - cases_.size());
  }

  Ran run(FleetOptions options, std::string_view input = {}, const CancelToken& cancel = {}) {
    options.window = std::max(options.window, targets_.size());
    Ran ran;
    auto transport = ssh::make_transport({});
    auto clock = make_system_clock();
    NullEventSink sink;
    const auto begin = std::chrono::steady_clock::now();
    auto results = run_command(*transport, targets_, "true", input, options, *clock, sink, cancel);
    ran.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    REQUIRE(results.size() == targets_.size());
    for (const std::size_t place : places_) ran.results.push_back(results[place]);
    for (std::size_t i = 0; i < results.size(); ++i) {
      CHECK(results[i].node == targets_[i].node);
      if (std::find(places_.begin(), places_.end(), i) != places_.end()) continue;
      ran.results.push_back(results[i]);
      ran.slowest_healthy_s = std::max(ran.slowest_healthy_s, results[i].duration_s);
    }
    return ran;
  }

  // Every case ended in one of its ways, and every healthy node is ok. Returns how many did not.
  std::size_t judge(const Ran& ran) const {
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < ran.results.size(); ++i) {
      const CommandResult& result = ran.results[i];
      INFO(result.node, " is ", told(result));
      const bool right = i < cases_.size() ? as_expected(cases_[i], result) : result.outcome == NodeOutcome::ok && result.stdout_text == healthy_output;
      CHECK(right);
      wrong += right ? 0 : 1;
      if (right && i < cases_.size() && cases_[i].also) cases_[i].also(result);
    }
    return wrong;
  }

  // Nobody on this side keeps a connection: waits for the simulator to see the last one go.
  bool all_hung_up() {
    for (int tenth = 0; tenth < 200; ++tenth) {
      if (simulator_.stat("open") == 0) return true;
      ::usleep(100'000);
    }
    return false;
  }

  const std::vector<Case>& cases() const { return cases_; }
  ssh::Target target_of(std::size_t which) const { return targets_[places_[which]]; }
  std::vector<ssh::Target>& targets() { return targets_; }
  SimulatorProcess& simulator() { return simulator_; }

 private:
  static std::string address(std::size_t i) { return fmt::format("127.66.{}.{}", i >> 8, i & 255); }
  static std::string healthy_address(std::size_t i) { return fmt::format("127.67.{}.{}", i >> 8, i & 255); }
  void add_healthy(std::size_t i) { targets_.push_back(simulator_.target(fmt::format("healthy{}", i), healthy_address(i))); }

  std::vector<std::string> scripted() const {
    std::vector<std::string> arguments{"--output", healthy_output};
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      if (cases_[i].on_closed_port) continue;
      arguments.emplace_back("--node");
      arguments.push_back(address(i) + " " + cases_[i].fault);
    }
    return arguments;
  }
  static bool as_expected(const Case& expected, const CommandResult& result) {
    const auto one_of = [](const auto& list, const auto& what) { return std::find(list.begin(), list.end(), what) != list.end(); };
    if (!one_of(expected.outcomes, result.outcome) || !one_of(expected.phases, result.phase)) return false;
    if (result.outcome == NodeOutcome::ok) return !result.why;
    return result.why && result.why->node == result.node && one_of(expected.codes, result.why->code);
  }

  std::vector<Case> cases_;
  std::size_t healthy_;
  SimulatorProcess simulator_;
  std::vector<ssh::Target> targets_;
  std::vector<std::size_t> places_;   // of the cases
};

// What this process holds.
struct Accounts {
  std::size_t descriptors = 0, threads = 0;
  static Accounts now() {
    std::thread([] {}).join();   // a sanitizer's own thread comes with the first of ours
    // The kernel lists a thread for a moment after it was joined: the least of several looks is what is there.
    Accounts found{count("/proc/self/fd"), count("/proc/self/task")};
    for (int look = 0; look < 5; ++look) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      found.threads = std::min(found.threads, count("/proc/self/task"));
    }
    return found;
  }
  bool operator==(const Accounts&) const = default;

 private:
  static std::size_t count(const char* folder) {
    const std::filesystem::directory_iterator files(folder);
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }
};

inline long memory_kib(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::atol(line.c_str() + line.find_first_of("0123456789"));
  }
  return -1;
}
inline void forget_peak_memory() { std::ofstream("/proc/self/clear_refs") << "5"; }

}  // namespace kfab::fleet::test
