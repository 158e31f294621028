#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "json/value.hpp"

// What the agent said about the accelerators of one node, read from messages that may be hostile: counts are capped,
// numbers finite, words printable, devices known.
namespace kfab::validation {

struct Accelerator {
  std::string id, device, model, pci_bus_id, detail;   // device: cpu | cuda | vendor
  int index = 0;
  int numa_node = -1;
  std::uint64_t memory_bytes = 0;
  std::map<std::string, std::string> versions{};       // driver, vbios, ...: of family health
  int capability = 0;                  // compute capability, 90 for 9.0; 0: not told
  bool done = false;                   // the agent said that all of its tests came to their end
};

struct Measurement {
  std::string accelerator, device;
  std::string test;                  // "gemm_fp32", "memory", "stream", "host_to_device_memcpy_ce"
  std::string metric;                // "burnin.gemm_fp32.tflops"
  std::string unit;
  std::optional<double> value;       // absent: the test yielded none, `detail` says why
  std::vector<double> samples;
  std::string link;                  // "0->1" for figures of a pair of accelerators
  std::string detail;
};

enum class TestState : std::uint8_t { ran, not_run, failed };
std::string_view to_string(TestState);

struct TestStatus {
  std::string accelerator, device, test;
  TestState state = TestState::not_run;
  std::string reason, code;          // code: "KF4003", empty when there is none
  double duration_s = 0;
};

// One wrong value. The bit patterns are hexadecimal words as the agent wrote them.
struct Mismatch {
  std::string accelerator, device, test, where;
  std::uint64_t index = 0, stride = 0, count = 0;
  std::string expected, got, mask, second_read;
};

struct TestReport {
  std::vector<Accelerator> accelerators;
  std::vector<Measurement> measurements;
  std::vector<TestStatus> statuses;
  std::vector<Mismatch> mismatches;
  Diagnostics refused;               // measurement_refused: what was left out, and why; at most 20. Such a report must not pass
  bool truncated = false;            // more than the limits: the report is incomplete and must not pass
};

// The report in words that a ReportReader reads again with its bounds, to be kept: those in which agents tell it, but for the figures, which
// are rows ("figures"). Samples are left out: what is judged is the figure.
json::Array messages_of(const TestReport&);

struct ReportLimits {
  std::size_t accelerators = 256, measurements = 20'000, statuses = 5'000, mismatches = 4'096, samples = 10'000, samples_in_all = 1'000'000;
};

// Collects the messages of one node's "test" task. Messages of other types are ignored.
class ReportReader {
 public:
  explicit ReportReader(ReportLimits limits = {}) : limits_(limits) {}
  // Whether the message is one of a report.
  bool take(const json::Value& message);
  const TestReport& report() const { return report_; }
  TestReport finish() { return std::move(report_); }

 private:
  void refuse(std::string why);
  void keep(Measurement, const json::Value& value);
  void read(const json::Value& message, const std::string& type);
  ReportLimits limits_;
  TestReport report_;
  std::size_t samples_ = 0;          // of all figures
};

}  // namespace kfab::validation
