#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"

namespace kfab {

// Something that happened during a run, as it is shown live and streamed by `-o ndjson`.
struct Event {
  std::string type;              // "node_started", "progress", "node_done", "finding", "message", "tick"
  std::string node{};            // empty when it is about the run
  std::string step{};            // what the node is doing: "connect", "package:chrony", "gemm_f32"
  std::string message{};         // for people, one line
  std::string outcome{};         // for "node_done": a NodeOutcome or Verdict word
  std::optional<double> done{};  // progress in units of `total`; without a node: of the run itself
  std::optional<double> total{};
};

// The observer of a run. Implementations do not throw and are called from one thread.
class EventSink {
 public:
  virtual ~EventSink() = default;
  virtual void emit(const Event&) = 0;
};

class NullEventSink final : public EventSink {
 public:
  void emit(const Event&) override {}
};

}  // namespace kfab
