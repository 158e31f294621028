#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

#include <fmt/format.h>

#include "agent/devices/cpu_host.hpp"
#include "agent/devices/cpu_kernels.hpp"
#include "agent/devices/cpu_tests.hpp"
#include "agent/devices/findings.hpp"
#include "agent/devices/load_clock.hpp"
#include "base/codes/validation.hpp"
#include "base/statistics.hpp"

// Burn-in: matrix products in all threads, every result compared bit by bit with the value that is known to be right.
namespace kfab::agent::devices::cpu {
namespace {

constexpr std::uint32_t seed = 20261;
constexpr int slices = 4;   // results are written to different memory in turn, each with answers of its own

struct Sizes { int m, n, k; };
constexpr Sizes sizes_of(exact::Precision precision) {
  switch (precision) {
    case exact::fp64: return {512, 512, 512};
    case exact::int8: return {768, 768, 1024};
    default: return {1024, 1024, 512};
  }
}

// Operands, the known answers, and the memory for results of one precision.
template <class Operand, class Accumulator>
class Work {
 public:
  Work(exact::Precision precision, Pages results) : precision_(precision), shape_(exact::shapes[precision]),
        size_(sizes_of(precision)), results_(std::move(results)) {
    a_.resize(std::size_t(size_.m) * std::size_t(size_.k));
    b_.resize(std::size_t(size_.n) * std::size_t(size_.k));
    gram_ = exact::gram(seed, shape_.basis, size_.k);
    for (int i = 0; i < size_.m; ++i) {
      std::int64_t w[exact::rank];
      exact::row_weights(seed, gram_, shape_.coefficient, std::uint32_t(i), w);
      weights_.insert(weights_.end(), w, w + exact::rank);
    }
    for (int j = 0; j < size_.n; ++j)
      for (int s = 0; s < exact::rank; ++s)
        coefficients_.push_back(exact::draw(seed, exact::column_coefficient, s, std::uint32_t(j), shape_.coefficient));
    fill(a_, size_.m, tile_rows, false);
    fill(b_, size_.n, columns_of_tile(), true);
  }

  static std::uint64_t slice_bytes(exact::Precision precision) {
    return std::uint64_t(sizes_of(precision).m) * std::uint64_t(sizes_of(precision).n) * sizeof(Accumulator);
  }
  const Sizes& size() const { return size_; }
  double operations() const { return 2.0 * size_.m * size_.n * size_.k; }
  static int shift_of(int slice) { return slice * 8 * tile_rows; }

  // C = A B^T with the rows of A taken from `row_shift` on. False when it was stopped half way.
  bool multiply(int slice, int row_shift, int threads, Isa isa, const std::function<bool()>& stopped) {
    std::atomic<int> next{0};
    std::atomic<bool> whole{true};
    const int bands = size_.m / tile_rows;
    Accumulator* c = slice_at(slice);
    in_parallel(threads, [&](int) {
      for (int band = next++; band < bands; band = next++) {
        if (stopped()) {
          whole = false;
          return;
        }
        const int from = ((band * tile_rows + row_shift) % size_.m) / tile_rows;
        const Operand* a = a_.data() + std::ptrdiff_t(from) * tile_rows * size_.k;
        for (int column = 0; column < size_.n; column += columns_of_tile())
          gemm_tile(a, b_.data() + std::ptrdiff_t(column) * size_.k, size_.k, c + std::ptrdiff_t(band) * tile_rows * size_.n + column,
                    size_.n, isa);
      }
    });
    return whole;
  }

  exact::CheckState verify(int slice, int row_shift, int threads) {
    exact::CheckState all = exact::empty_check_state();
    std::mutex mutex;
    const Accumulator* c = slice_at(slice);
    in_parallel(threads, [&](int worker) {
      exact::CheckState mine = exact::empty_check_state();
      for (int row = worker; row < size_.m; row += threads)
        verify_row(precision_, c + std::ptrdiff_t(row) * size_.n, size_.n, std::uint64_t(row) * std::uint64_t(size_.n),
                   weights_.data() + std::ptrdiff_t((row + row_shift) % size_.m) * exact::rank, coefficients_.data(), mine);
      const std::lock_guard lock(mutex);
      merge(all, mine);
    });
    return all;
  }

  // Flips bits of one result, checks that exactly this is found, and puts it back.
  bool plant(int slice, int row_shift, int threads, std::uint64_t index, Accumulator mask_bits, std::uint64_t mask) {
    Accumulator* place = slice_at(slice) + index;
    Accumulator kept = *place;
    unsigned char bytes[sizeof(Accumulator)], flip[sizeof(Accumulator)];
    std::memcpy(bytes, &kept, sizeof bytes);
    std::memcpy(flip, &mask_bits, sizeof flip);
    for (std::size_t i = 0; i < sizeof bytes; ++i) bytes[i] ^= flip[i];
    std::memcpy(static_cast<void*>(place), bytes, sizeof bytes);
    const bool found = found_exactly(verify(slice, row_shift, threads), index, mask);
    std::memcpy(static_cast<void*>(place), &kept, sizeof kept);
    return found;
  }
  std::uint64_t bits_at(int slice, std::uint64_t index) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, slice_at(slice) + index, sizeof(Accumulator));
    return bits;
  }
  Accumulator* slice_at(int slice) { return results_.as<Accumulator>() + std::ptrdiff_t(slice) * size_.m * size_.n; }

 private:
  int columns_of_tile() const {
    if constexpr (sizeof(Operand) == 1) return tile_columns_i8;
    else return sizeof(Operand) == 4 ? tile_columns_f32 : tile_columns_f64;
  }
  // Floating-point operands are packed in panels of `panel` rows, k-major; int8 stays row by row.
  void fill(std::vector<Operand>& out, int rows, int panel, bool columns) {
    // The coefficients are drawn once for each row and once for each k: drawing them for each element would cost more
    // than the product.
    const auto drawn = [&](int stream, int count, int range) {
      std::vector<int> all;
      for (int i = 0; i < count; ++i)
        for (int r = 0; r < exact::rank; ++r) all.push_back(exact::draw(seed, stream, r, std::uint32_t(i), range));
      return all;
    };
    const auto of_row = drawn(columns ? exact::column_coefficient : exact::row_coefficient, rows, shape_.coefficient);
    const auto of_k = drawn(columns ? exact::column_basis : exact::row_basis, size_.k, shape_.basis);
    for (int row = 0; row < rows; ++row) {
      for (int k = 0; k < size_.k; ++k) {
        int value = 0;
        for (int r = 0; r < exact::rank; ++r) value += of_row[std::size_t(row * exact::rank + r)] * of_k[std::size_t(k * exact::rank + r)];
        const std::ptrdiff_t at = sizeof(Operand) == 1 ? std::ptrdiff_t(row) * size_.k + k
                                                       : std::ptrdiff_t(row / panel) * panel * size_.k + std::ptrdiff_t(k) * panel + row % panel;
        out[std::size_t(at)] = static_cast<Operand>(value);
      }
    }
  }

  exact::Precision precision_;
  const exact::Shape& shape_;
  Sizes size_;
  std::vector<Operand> a_, b_;
  std::vector<std::int64_t> weights_;
  std::vector<std::int32_t> coefficients_;
  exact::Gram gram_{};
  Pages results_;
};

// The load of one burn-in, over its precisions.
struct Load {
  const LoadShape& shape;
  LoadClock clock;
  LoadMeter meter;
};

// Waits for the next working interval; false when asked to stop, or when the time is over and there is a figure.
bool wait_for_load(const Load& load, std::string_view test, double seconds, const Stopwatch& whole, bool has_figure, TestSink& sink) {
  for (auto now = load_at(load.shape, load.clock.elapsed()); !now.on; now = load_at(load.shape, load.clock.elapsed())) {
    if (sink.stop_requested() || (whole.seconds() >= seconds && has_figure)) return false;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(now.for_s, 0.5)));
    sink.progress(test, std::min(whole.seconds(), seconds), seconds, "pausing, as the load asks");
  }
  return !sink.stop_requested();
}

template <class Operand, class Accumulator>
void burn(exact::Precision precision, const TestRequest& request, double seconds, Load& load, TestSink& sink) {
  const std::string test = fmt::format("gemm_{}", exact::shapes[precision].name);
  const std::string metric = "burnin." + test;
  const Stopwatch whole;
  auto pages = Pages::take(Work<Operand, Accumulator>::slice_bytes(precision) * slices);
  if (!pages) return sink.test_done(test, "not_run", 0, pages.error().message, kfab::to_string(pages.error().code));
  Work<Operand, Accumulator> work(precision, std::move(pages).value());
  const int threads = thread_count(request);
  const Isa isa = best_isa();
  const auto stopped = [&] { return sink.stop_requested(); };
  const auto& size = work.size();

  exact::CheckState total = exact::empty_check_state();
  std::vector<double> rates;
  std::uint64_t iterations = 0;
  double busy = 0, worked = 0;
  bool slice_done[slices] = {};
  int planted = 0, found = 0;
  const double began = load.clock.elapsed();
  while (wait_for_load(load, test, seconds, whole, !rates.empty(), sink)) {
    const Stopwatch working;
    const int slice = int(iterations % slices), shift = work.shift_of(slice);
    const Stopwatch one;
    if (!work.multiply(slice, shift, threads, isa, stopped)) break;
    const double took = one.seconds();
    const auto state = work.verify(slice, shift, threads);
    if (iterations == 0) {
      // Before the answer counts: a low bit, and a result that became NaN (all exponent bits and one of the fraction).
      const std::uint64_t place = std::uint64_t(size.m / 2) * std::uint64_t(size.n) + std::uint64_t(size.n / 3);
      Accumulator low{};
      const std::uint64_t one_bit = 1;
      std::memcpy(&low, &one_bit, sizeof low);
      found += work.plant(slice, shift, threads, place, low, 1);
      Accumulator high{};
      const std::uint64_t nan = sizeof(Accumulator) == 8 ? 0x7ff8000000000001ull : 0x7fc00001u;
      const std::uint64_t flip = (work.bits_at(slice, place + 7) ^ nan) & (sizeof(Accumulator) == 8 ? ~0ull : 0xffffffffull);
      std::memcpy(&high, &flip, sizeof high);
      found += work.plant(slice, shift, threads, place + 7, high, flip);
      planted = 2;
      if (state.mismatches) found = planted;   // planted on top of real faults: these are the finding
    } else {
      rates.push_back(work.operations() / took * 1e-12);   // the first warms caches and clocks
    }
    const auto before = total.mismatches;
    merge(total, state);
    if (before == 0 && state.mismatches) emit_mismatches(sink, test, state, sizeof(Accumulator), [&](std::uint64_t index) {
        return fmt::format("slice {} row {} column {}", slice, index / std::uint64_t(size.n), index % std::uint64_t(size.n));
      });
    ++iterations;
    slice_done[slice] = true;
    busy += took;
    worked += working.seconds();
    sink.progress(test, std::min(whole.seconds(), seconds), seconds, fmt::format("{} products", iterations));
    if (whole.seconds() >= seconds && !rates.empty()) break;
  }

  load.meter.over(began, load.clock.elapsed(), worked);

  int covered = 0;
  for (const bool done : slice_done) covered += done;
  const std::string detail = fmt::format("{} x {} x {}, {} threads, {}, exact small integers of rank 4; every result compared",
                                         size.m, size.n, size.k, threads, to_string(isa));
  const std::string unit = exact::shapes[precision].integer_result ? "tops" : "tflops";
  emit_selftest(sink, test, planted, found);
  sink.measurement(test, metric + "." + unit, rates.empty() ? json::Value() : json::Value(median_of(rates)), unit,
                   detail + "; " + describe_samples(rates), std::vector<double>(rates.end() - std::ptrdiff_t(std::min<std::size_t>(rates.size(), 1000)), rates.end()));
  sink.measurement(test, metric + ".mismatches", iterations ? json::Value(double(total.mismatches)) : json::Value(), "count",
                   fmt::format("{} results compared, wrong bits {}, digest {}", total.checked, hex_word(total.mask), hex_word(total.digest)));
  sink.measurement(test, metric + ".iterations", double(iterations), "count", fmt::format("{:.2f} s of multiplying", busy));
  sink.measurement(test, metric + ".coverage", 100.0 * covered / slices, "percent",
                   fmt::format("{} of {} slices of {} KiB", covered, slices, Work<Operand, Accumulator>::slice_bytes(precision) >> 10));
  if (iterations == 0) return sink.test_done(test, "not_run", whole.seconds(), "stopped before the first product was done", to_string(code::test_stopped));
  if (found != planted) return sink.test_done(test, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  sink.test_done(test, "ran", whole.seconds());
}

}  // namespace

void run_burnin(const TestRequest& request, double seconds, TestSink& sink) {
  struct Row { exact::Precision precision; void (*run)(exact::Precision, const TestRequest&, double, Load&, TestSink&); };
  constexpr Row rows[] = {{exact::fp32, burn<float, float>}, {exact::fp64, burn<double, double>}, {exact::int8, burn<std::int8_t, std::int32_t>}};
  std::vector<Row> chosen;
  for (const auto& row : rows) {
    const std::string_view name = exact::shapes[row.precision].name;
    const bool wanted = request.precisions.empty() || std::find(request.precisions.begin(), request.precisions.end(), name) != request.precisions.end();
    if (wanted) chosen.push_back(row);
  }
  for (const auto& name : request.precisions) {
    bool known = false;
    for (const auto& row : rows) known |= name == exact::shapes[row.precision].name;
    if (!known)
      sink.test_done("gemm_" + name, "not_run", 0, "the cpu device has no burn-in in " + name, to_string(code::not_supported_by_accelerator));
  }
  if (chosen.empty() || !wait_for_start(request.load, sink)) return;
  Load load{request.load, LoadClock(request.load.start_at), LoadMeter(request.load)};
  for (const auto& row : chosen) row.run(row.precision, request, seconds / double(chosen.size()), load, sink);
  load.meter.report(sink);
}

namespace {
template <class Operand, class Accumulator>
Product product(exact::Precision precision, int threads, int row_shift) {
  auto pages = Pages::take(Work<Operand, Accumulator>::slice_bytes(precision));
  if (!pages) return {exact::empty_check_state(), 0};
  Work<Operand, Accumulator> work(precision, std::move(pages).value());
  const Stopwatch time;
  work.multiply(0, row_shift, threads, best_isa(), [] { return false; });
  const double took = time.seconds();
  return {work.verify(0, row_shift, threads), took};
}
}  // namespace

Product one_product(exact::Precision precision, int threads, int row_shift) {
  if (precision == exact::fp64) return product<double, double>(precision, threads, row_shift);
  if (precision == exact::int8) return product<std::int8_t, std::int32_t>(precision, threads, row_shift);
  return product<float, float>(exact::fp32, threads, row_shift);
}

}  // namespace kfab::agent::devices::cpu
