#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "agent/devices/device.hpp"
#include "base/text.hpp"

// A sink that keeps what a test says, with the questions that tests ask of it.
struct Collected final : kfab::agent::devices::TestSink {
  std::vector<kfab::json::Value> messages;
  std::function<bool()> stop = [] { return false; };

  void emit(kfab::json::Object message) override { messages.emplace_back(std::move(message)); }
  bool stop_requested() const override { return stop(); }

  const kfab::json::Value& measured(std::string_view metric) const {
    static const kfab::json::Value none;
    for (const auto& m : messages)
      if (m.string_or("type") == "measurement" && m.string_or("metric") == metric) return m;
    return none;
  }
  double value(std::string_view metric) const { return measured(metric).double_or("value", -1); }
  bool has(std::string_view metric) const { return measured(metric).is_object(); }
  const kfab::json::Value& done(std::string_view test) const {
    static const kfab::json::Value none;
    for (const auto& m : messages)
      if (m.string_or("type") == "test_done" && m.string_or("test") == test) return m;
    return none;
  }
  std::string status(std::string_view test) const { return done(test).string_or("status"); }
  std::string code(std::string_view test) const { return done(test).string_or("code"); }
  std::vector<kfab::json::Value> mismatches() const {
    std::vector<kfab::json::Value> out;
    for (const auto& m : messages)
      if (m.string_or("type") == "mismatch") out.push_back(m);
    return out;
  }
};

// Runs `work` in a forked process and collects the messages that it emits: libraries with planted faults stay there.
inline Collected in_process_of_its_own(const std::function<void(kfab::agent::devices::TestSink&)>& work, int* status_out = nullptr) {
  struct PipeSink final : kfab::agent::devices::TestSink {
    int out;
    explicit PipeSink(int fd) : out(fd) {}
    void emit(kfab::json::Object message) override {
      const std::string line = kfab::json::dump(message) + "\n";
      if (::write(out, line.data(), line.size()) < 0) ::_exit(9);
    }
    bool stop_requested() const override { return false; }
  };
  int ends[2];
  if (::pipe(ends) != 0) return {};
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    PipeSink sink(ends[1]);
    work(sink);
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, std::size_t(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status_out) *status_out = status;
  Collected out;
  for (const auto line : kfab::split_lines(text))
    if (auto message = kfab::json::parse(line)) out.messages.push_back(*message);
  return out;
}

// What `run` says of a load whose periods are long enough for this machine: they double until `enough` says so, at most six times.
inline Collected with_longer_periods(double period_s, const std::function<Collected(double)>& run, const std::function<bool(const Collected&)>& enough) {
  Collected said = run(period_s);
  for (int doubled = 0; doubled < 6 && !enough(said); ++doubled) said = run(period_s *= 2);
  return said;
}
