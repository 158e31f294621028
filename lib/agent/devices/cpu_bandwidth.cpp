#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>

#include <fmt/format.h>

#include "agent/devices/cpu_host.hpp"
#include "agent/devices/cpu_kernels.hpp"
#include "agent/devices/cpu_tests.hpp"
#include "agent/devices/findings.hpp"
#include "base/codes/validation.hpp"
#include "base/statistics.hpp"

// Memory bandwidth by STREAM's four operations on arrays beyond the last-level cache. Bytes are counted as STREAM does:
// two arrays for copy and scale, three for add and triad, a write's own read not counted. The scalar 2 multiplies `a` by
// eight in each round, so all values stay exact and the last ones are known.
namespace kfab::agent::devices::cpu {
namespace {

constexpr std::uint64_t least_array_bytes = 8 << 20;
constexpr std::size_t most_samples = 10'000;
constexpr int most_rounds = 300;   // 65521 x 8^300 is still a double

struct Operation { Stream kind; std::string_view name; int arrays; };
constexpr Operation operations[] = {{Stream::copy, "copy", 2}, {Stream::scale, "scale", 2}, {Stream::add, "add", 3}, {Stream::triad, "triad", 3}};

struct Arrays { double *a, *b, *c; std::size_t count; };

template <class F>
exact::CheckState over_threads(int threads, std::size_t count, F&& work) {
  exact::CheckState all = exact::empty_check_state();
  std::mutex mutex;
  const std::size_t each = (count / std::size_t(threads) + 511) / 512 * 512;
  in_parallel(threads, [&](int worker) {
    exact::CheckState mine = exact::empty_check_state();
    const std::size_t from = std::min(count, each * std::size_t(worker));
    work(from, worker + 1 == threads ? count : std::min(count, from + each), mine);
    const std::lock_guard lock(mutex);
    merge(all, mine);
  });
  return all;
}

exact::CheckState check_all(const Arrays& x, int threads, int rounds) {
  const double before = std::exp2(3.0 * (rounds - 1));   // 8^(rounds-1)
  return over_threads(threads, x.count, [&](std::size_t from, std::size_t to, exact::CheckState& mine) {
    stream_check(x.a, before * 8, from, to, mine);
    stream_check(x.b, before * 2, from, to, mine);
    stream_check(x.c, before * 3, from, to, mine);
  });
}

}  // namespace

void run_bandwidth(const TestRequest& request, double seconds, TestSink& sink) {
  const std::string test = "stream";
  const Stopwatch whole;
  const int threads = thread_count(request);
  const std::uint64_t cache = last_level_cache_bytes();
  std::uint64_t each = std::max<std::uint64_t>(4 * cache, 64 << 20);
  if (request.buffer_bytes) each = request.buffer_bytes;
  each = std::max(least_array_bytes, std::min(each, memory_budget(request, 0.5) / 3)) >> 12 << 12;
  auto pages = Pages::take(3 * each);
  if (!pages) return sink.test_done(test, "not_run", 0, pages.error().message, to_string(pages.error().code));
  Arrays x{pages->as<double>(), nullptr, nullptr, each / 8};
  x.b = x.a + x.count;
  x.c = x.b + x.count;

  const auto run = [&](Stream operation) {
    const Stopwatch time;
    over_threads(threads, x.count, [&](std::size_t from, std::size_t to, exact::CheckState&) { stream(operation, x.a, x.b, x.c, from, to); });
    return time.seconds();
  };
  run(Stream::start);
  int rounds = 0;
  for (const auto& operation : operations) run(operation.kind);   // warm-up, and first touch by those who will use it
  ++rounds;

  // The checker first: one wrong bit in the middle of `b`.
  auto* place = reinterpret_cast<unsigned char*>(x.b + x.count / 2);
  *place ^= 4;
  const auto planted = check_all(x, threads, rounds);
  *place ^= 4;
  const bool proven = planted.mismatches == 1 && planted.mask == 4 && planted.first == x.count / 2;
  emit_selftest(sink, test, 1, proven);

  std::array<std::vector<double>, std::size(operations)> samples;
  exact::CheckState state = exact::empty_check_state();
  std::uint64_t taken = 0;
  while (!sink.stop_requested()) {
    if (rounds == most_rounds) {   // their values are compared, and begin anew
      merge(state, check_all(x, threads, rounds));
      run(Stream::start);
      rounds = 0;
    }
    for (std::size_t i = 0; i < std::size(operations); ++i) {
      const double rate = double(each) * operations[i].arrays / run(operations[i].kind) * 1e-9;
      if (samples[i].size() < most_samples) samples[i].push_back(rate);
      else samples[i][taken % most_samples] = rate;   // the last ones
    }
    ++rounds;
    ++taken;
    sink.progress(test, std::min(whole.seconds(), seconds), seconds, fmt::format("{} samples", taken));
    if (int(samples[0].size()) >= request.samples && whole.seconds() >= seconds) break;
  }
  merge(state, check_all(x, threads, rounds));
  emit_mismatches(sink, test, state, 8, [](std::uint64_t index) { return fmt::format("element {} of an array", index); });

  const std::string detail = fmt::format("3 arrays of {} MiB ({}), {} threads", each >> 20,
      cache ? fmt::format("{:.1f} x the last-level cache{}", double(each) / double(cache), each < 4 * cache ? ": may be flattered by it" : "") : "cache size not known",
      threads);
  const bool enough = samples[0].size() >= std::min<std::size_t>(std::size_t(request.samples), 10);
  for (std::size_t i = 0; i < std::size(operations); ++i)
    sink.measurement(test, fmt::format("bandwidth.stream_{}_gbps", operations[i].name), enough ? json::Value(median_of(samples[i])) : json::Value(), "gbps",
                     detail + "; " + describe_samples(samples[i]), samples[i]);
  sink.measurement(test, "bandwidth.stream.mismatches", double(state.mismatches), "count", fmt::format("{} elements compared", state.checked));
  if (!proven) return sink.test_done(test, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  if (!enough) return sink.test_done(test, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  sink.test_done(test, "ran", whole.seconds());
}

}  // namespace kfab::agent::devices::cpu
