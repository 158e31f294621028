#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/devices/device.hpp"
#include "agent/kernels/exact.hpp"

// What the devices share in telling what they found: wrong values with the words that lead to the culprit, samples in
// words, and the time.
namespace kfab::agent::devices {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

std::string hex_word(std::uint64_t, int bytes = 8);   // "0x3f800000"
// "median of 12, least 8.2, most 9.1, spread 3.4 %, variation 1.1 %": for `detail`.
std::string describe_samples(const std::vector<double>& samples);

// Whether a diagnostic says that the accelerator itself is at fault: the test is then "failed", else "not_run".
bool is_broken(Code);

// "stored": the second look shows the same wrong bits; "read": it shows the right ones, so the first was read wrong;
// "unsteady": something else again.
std::string_view nature_of(const exact::Record&);

// One "mismatch" message for each recorded wrong value. `where` turns an element's place into words.
void emit_mismatches(TestSink&, std::string_view test, const exact::CheckState&, int word_bytes,
                     const std::function<std::string(std::uint64_t)>& where);

// Whether a check found exactly the one fault that was planted: at that place, in those bits, and nothing else.
bool found_exactly(const exact::CheckState&, std::uint64_t index, std::uint64_t mask);

// Says that the checker was proven, or that it missed what was planted (then the test is "failed").
// The metric is selftest.<test>.found: faults found of those planted, wanted equal to `planted`.
void emit_selftest(TestSink&, std::string_view test, int planted, int found);

}  // namespace kfab::agent::devices
