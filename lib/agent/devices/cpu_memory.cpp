#include <algorithm>
#include <mutex>

#include <fmt/format.h>

#include "agent/devices/cpu_host.hpp"
#include "agent/devices/cpu_kernels.hpp"
#include "agent/devices/cpu_tests.hpp"
#include "agent/devices/memory_family.inc"

// Memory patterns over as much memory as the request allows, in all threads.
namespace kfab::agent::devices::cpu {
namespace {

class Tester {
 public:
  Tester(Pages& pages, std::uint64_t bytes, int threads) : words_(bytes / 8), data_(pages.as<std::uint64_t>()), threads_(threads) {}

  std::uint64_t words() const { return words_; }
  std::uint64_t bytes_moved() const { return bytes_moved_; }
  void reset_bytes_moved() { bytes_moved_ = 0; }
  const Diagnostic* failure() const { return nullptr; }
  bool prove() {
    const PatternStep step{exact::own_address, 0, 0};
    fill(step);
    const std::uint64_t place = words_ / 3 * 2 + 1, bit = std::uint64_t{1} << 41;
    data_[place] ^= bit;
    const bool found = found_exactly(check(step, false), place, bit);
    data_[place] ^= bit;
    return found;
  }

  void fill(const PatternStep& step) {
    spread([&](std::uint64_t from, std::uint64_t to, exact::CheckState&) {
      pattern_fill(data_, from, to, step.pattern, step.parameter, step.flip);
    });
    bytes_moved_ += words_ * 8;
  }
  PatternStep move(const PatternStep& step) {
    const std::uint64_t windows = words_ / exact::window_words, each = (windows + std::uint64_t(threads_) - 1) / std::uint64_t(threads_);
    for (const bool back : {false, true})
      in_parallel(threads_, [&](int worker) {
        const std::uint64_t from = std::min(windows, each * std::uint64_t(worker));
        blocks_move(data_, from, std::min(windows, from + each), back);
      });
    bytes_moved_ += 2 * words_ * 8;
    return {exact::moved_blocks, step.parameter, step.flip};
  }
  exact::CheckState check(const PatternStep& step, bool rewrite) {
    auto state = spread([&](std::uint64_t from, std::uint64_t to, exact::CheckState& mine) {
      pattern_check(data_, from, to, step.pattern, step.parameter, step.flip, rewrite, mine);
    });
    bytes_moved_ += words_ * 8 * (rewrite ? 2 : 1);
    return state;
  }

 private:
  template <class F>
  exact::CheckState spread(F&& work) {
    exact::CheckState all = exact::empty_check_state();
    std::mutex mutex;
    const std::uint64_t each = (words_ / std::uint64_t(threads_) + 511) / 512 * 512;
    in_parallel(threads_, [&](int worker) {
      exact::CheckState mine = exact::empty_check_state();
      const std::uint64_t from = std::min(words_, each * std::uint64_t(worker));
      work(from, worker + 1 == threads_ ? words_ : std::min(words_, from + each), mine);
      const std::lock_guard lock(mutex);
      merge(all, mine);
    });
    return all;
  }
  std::uint64_t words_;
  std::uint64_t* data_;
  int threads_;
  std::uint64_t bytes_moved_ = 0;
};

// So many bytes that the proof and the first two patterns, which are never left out, come to their end within the time: else
// a short test on a large or a busy machine would be taken for one that hangs. Nothing is heard of it during a pass, which must not be
// as long as a watchdog's silence either. By the time that a first part takes.
std::uint64_t bytes_in_time(Pages& pages, int threads, double seconds) {
  constexpr double passes = 10, most_pass_s = 40;
  const std::uint64_t part = std::min<std::uint64_t>(pages.bytes(), std::uint64_t(threads) << 25);
  Tester tester(pages, part, threads);
  const PatternStep step{exact::own_address, 0, 0};
  const Stopwatch first;
  tester.fill(step);   // whose pages the system has to find
  const double first_s = first.seconds();
  const Stopwatch later;
  tester.fill(step);   // a comparison takes about as long; its findings are the test's, not to be lost here
  const double s_per_byte = (first_s + (passes - 1) * later.seconds()) / double(part);
  const double fit = std::min(seconds, passes * most_pass_s) / std::max(s_per_byte, 1e-15);
  return fit >= double(pages.bytes()) ? pages.bytes() : std::max(std::uint64_t(fit), part) >> 20 << 20;
}

}  // namespace

void run_memory(const TestRequest& request, double seconds, TestSink& sink) {
  const auto facts = memory_facts();
  const std::uint64_t bytes = std::max<std::uint64_t>(memory_budget(request, 0.5) >> 20 << 20, 1 << 20);   // whole windows of the block moves
  auto pages = Pages::take(bytes);
  if (!pages) return sink.test_done("memory", "not_run", 0, pages.error().message, to_string(pages.error().code));
  const int threads = thread_count(request);
  const std::uint64_t tested = bytes_in_time(*pages, threads, seconds);
  Tester tester(*pages, tested, threads);
  const std::string left = tested < bytes ? fmt::format("; the time is too short for the {} MiB that may be used", bytes >> 20) : std::string();
  run_memory_family(tester, request, seconds,
                    {tested, facts.total_bytes, fmt::format("{} MiB of {} MiB installed, {} MiB were available{}", tested >> 20, facts.total_bytes >> 20, facts.available_bytes >> 20, left)},
                    fmt::format("{} threads", threads), sink);
}

}  // namespace kfab::agent::devices::cpu
