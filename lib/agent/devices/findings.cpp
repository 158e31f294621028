#include "agent/devices/findings.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/statistics.hpp"

namespace kfab::agent::devices {

std::string hex_word(std::uint64_t word, int bytes) { return fmt::format("0x{:0{}x}", word, bytes * 2); }

std::string describe_samples(const std::vector<double>& samples) {
  if (samples.empty()) return "no sample";
  const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
  const double middle = median_of(samples);
  return fmt::format("median of {}, least {:.4g}, most {:.4g}, spread {:.1f} %, variation {:.2f} %", samples.size(), *low, *high,
                     middle > 0 ? (*high - *low) / middle * 100 : 0.0, 100 * variation_of(samples));
}

bool is_broken(Code code) {
  for (const auto broken : {code::accelerator_lost, code::accelerator_faulted, code::accelerator_memory_fault, code::accelerator_link_fault,
                            code::launch_timed_out, code::kernel_stalled, code::test_hung, code::link_silent, code::device_call_failed})
    if (code == broken) return true;
  return false;
}

std::string_view nature_of(const exact::Record& record) {
  if (record.second_read == record.expected) return "read";
  return record.second_read == record.got ? "stored" : "unsteady";
}

void emit_mismatches(TestSink& sink, std::string_view test, const exact::CheckState& state, int word_bytes,
                     const std::function<std::string(std::uint64_t)>& where) {
  const auto count = std::min<std::uint64_t>(state.recorded, exact::max_records);
  std::vector<exact::Record> records(state.records, state.records + count);
  std::sort(records.begin(), records.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto& r = records[i];
    sink.emit(json::Object{{"type", "mismatch"},
                           {"test", test},
                           {"where", where(r.index)},
                           {"index", r.index},
                           {"stride", i ? r.index - records[i - 1].index : 0},
                           {"expected", hex_word(r.expected, word_bytes)},
                           {"got", hex_word(r.got, word_bytes)},
                           {"mask", hex_word(r.expected ^ r.got, word_bytes)},
                           {"second_read", hex_word(r.second_read, word_bytes)},
                           {"nature", nature_of(r)},
                           {"count", state.mismatches}});
  }
}

bool found_exactly(const exact::CheckState& state, std::uint64_t index, std::uint64_t mask) {
  return state.mismatches == 1 && state.mask == mask && state.first == index && state.last == index && state.recorded == 1 &&
         state.records[0].index == index && (state.records[0].expected ^ state.records[0].got) == mask;
}

void emit_selftest(TestSink& sink, std::string_view test, int planted, int found) {
  sink.measurement(test, fmt::format("selftest.{}.found", test), planted > 0 ? double(found) / planted : 0.0, "ratio",
                   fmt::format("{} of {} planted faults found", found, planted));
}

}  // namespace kfab::agent::devices
