#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "validation/measurement.hpp"

// Which figures of a report are worth nothing: those of a checker that was not proven, of a test that made no iteration or never
// came to its end.
namespace kfab::validation {

// A state of health that was read again after the tests of another family, and was another by then (health/watch.hpp): it stands for
// itself, as the counters do.
bool arose_under_load(const Measurement&);

class Doubts {
 public:
  explicit Doubts(const TestReport&);   // which must stay
  // Why a figure is worth nothing, or empty.
  std::string about(const Measurement&) const;
  // Whether the test that it is of failed.
  bool failed(const Measurement&) const;

 private:
  struct Test { const Measurement *selftest = nullptr, *iterations = nullptr; bool ended = false, failed = false; };
  using Key = std::tuple<std::string_view, std::string_view, std::string_view>;   // accelerator, device, test
  const Test* of(const Measurement&) const;
  std::map<Key, Test> tests_;
};

}  // namespace kfab::validation
