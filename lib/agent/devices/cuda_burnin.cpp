#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "agent/devices/cuda_session.hpp"
#include "agent/devices/findings.hpp"
#include "base/codes/validation.hpp"

// Burn-in of a GPU: matrix products whose results fill its memory, slice by slice, each compared bit by bit with the
// value that is known to be right.
namespace kfab::agent::devices::cuda {
namespace {

constexpr std::uint32_t seed = 20261;
constexpr double default_fraction = 0.94;   // of free memory
constexpr int most_side = 8192, least_side = 256, usual_k = 4096, least_k = 256;
constexpr int most_in_batch = 64;
constexpr double batch_seconds = 0.25;      // products between two comparisons

struct Kernel {
  exact::Precision precision;
  int least_capability;
  const char* name;
  int tile_rows, tile_columns;
  const char* how;
};
// The first row of a precision that the GPU can run is taken.
constexpr Kernel kernels[] = {
    {exact::fp8, 89, "kfab_gemm_fp8", 128, 128, "tensor cores (mma.sync e4m3, fp32 sums)"},
    {exact::bf16, 80, "kfab_gemm_bf16", 128, 128, "tensor cores (mma.sync, fp32 sums)"},
    {exact::fp16, 75, "kfab_gemm_fp16", 128, 128, "tensor cores (mma.sync, fp32 sums)"},
    {exact::tf32, 80, "kfab_gemm_tf32", 128, 128, "tensor cores (mma.sync, fp32 sums)"},
    {exact::int8, 75, "kfab_gemm_int8", 128, 128, "tensor cores (mma.sync, int32 sums)"},
    {exact::fp32, 50, "kfab_gemm_fp32", 128, 128, "vector units"},
    {exact::fp64, 80, "kfab_gemm_fp64", 128, 64, "tensor cores (mma.sync)"},
    {exact::fp64, 50, "kfab_gemm_fp64_vector", 64, 64, "vector units"},
};

struct Sizes { int side, k; };
// The largest square result that leaves room for eight slices, and operands of at most a quarter of the memory.
Sizes sizes_for(const exact::Shape& shape, std::uint64_t bytes) {
  Sizes size{most_side, usual_k};
  while (size.side > least_side && std::uint64_t(size.side) * std::uint64_t(size.side) * std::uint64_t(shape.result_bytes) > bytes / 8) size.side /= 2;
  while (size.k > least_k && 2ull * std::uint64_t(size.side) * std::uint64_t(size.k) * std::uint64_t(shape.operand_bytes) > bytes / 4) size.k /= 2;
  return size;
}

class Burn {
 public:
  Burn(Session& session, const Kernel& kernel, const TestRequest& request, TestSink& sink)
      : session_(session), kernel_(kernel), shape_(exact::shapes[kernel.precision]), request_(request), sink_(sink),
        test_(fmt::format("gemm_{}", shape_.name)) {}

  void run(double seconds) {
    const Stopwatch whole;
    auto status = prepare();
    if (status) status = loop(seconds, whole);
    report(whole, status);
  }

 private:
  Status prepare() {
    KFAB_TRY(memory, session_.memory_info());
    free_ = memory.free;
    total_ = memory.total;
    std::uint64_t budget = std::uint64_t(double(free_) * (request_.memory_fraction > 0 ? request_.memory_fraction : default_fraction));
    if (request_.memory_cap_bytes) budget = std::min(budget, request_.memory_cap_bytes);
    size_ = sizes_for(shape_, budget);
    const std::uint64_t operand = std::uint64_t(size_.side) * std::uint64_t(size_.k) * std::uint64_t(shape_.operand_bytes);
    slice_bytes_ = std::uint64_t(size_.side) * std::uint64_t(size_.side) * std::uint64_t(shape_.result_bytes);
    KFAB_TRY(a, session_.allocate(operand));
    a_ = std::move(a);
    KFAB_TRY(b, session_.allocate(operand));
    b_ = std::move(b);
    KFAB_TRY(states, session_.allocate(sizeof(exact::CheckState) * most_in_batch));
    states_ = std::move(states);
    KFAB_TRY_VOID(fill(a_, 0));
    KFAB_TRY_VOID(fill(b_, 1));
    KFAB_TRY_VOID(upload_answers());
    for (std::uint64_t used = 2 * operand; used + slice_bytes_ <= budget; used += slice_bytes_) {
      auto slice = session_.allocate(slice_bytes_);
      if (!slice) {   // what the driver calls free is not all to be had
        if (slices_.size() >= 2) break;
        return std::move(slice).error();
      }
      slices_.push_back(std::move(*slice));
    }
    if (slices_.size() < 2) return error(code::device_memory_short, fmt::format("{} MiB free: not enough for two slices of results", free_ >> 20));
    covered_.assign(slices_.size(), false);
    return session_.synchronize(session_.stream());
  }

  Status fill(const DeviceMemory& memory, int columns) {
    const std::uint64_t elements = std::uint64_t(size_.side) * std::uint64_t(size_.k);
    return session_.launch("kfab_fill_operand", session_.filling(elements, 256), session_.stream(), memory.at(), int(kernel_.precision), columns,
                           seed, shape_.coefficient, shape_.basis, shape_.operand_bytes, size_.k, static_cast<unsigned long long>(elements));
  }

  // The tables from which the comparison takes the right answers, in the width of the result.
  Status upload_answers() {
    const auto gram = exact::gram(seed, shape_.basis, size_.k);
    std::vector<std::int64_t> weights, coefficients;
    for (int i = 0; i < size_.side; ++i) {
      std::int64_t w[exact::rank];
      exact::row_weights(seed, gram, shape_.coefficient, std::uint32_t(i), w);
      weights.insert(weights.end(), w, w + exact::rank);
      for (int s = 0; s < exact::rank; ++s)
        coefficients.push_back(exact::draw(seed, exact::column_coefficient, s, std::uint32_t(i), shape_.coefficient));
    }
    const auto put = [&](const std::vector<std::int64_t>& table, DeviceMemory& to) -> Status {
      KFAB_TRY(memory, session_.allocate(table.size() * std::size_t(shape_.result_bytes)));
      to = std::move(memory);
      if (shape_.result_bytes == 8) return session_.upload(to.at(), table.data(), to.bytes());
      const std::vector<std::int32_t> narrow(table.begin(), table.end());
      return session_.upload(to.at(), narrow.data(), to.bytes());
    };
    KFAB_TRY_VOID(put(weights, weights_));
    return put(coefficients, coefficients_);
  }

  int shift_of(std::size_t slice) const { return int(slice % std::size_t(size_.side / 128)) * 128; }

  Status multiply(std::size_t slice) {
    return session_.launch(kernel_.name, {unsigned(size_.side / kernel_.tile_columns), unsigned(size_.side / kernel_.tile_rows), 256}, session_.stream(),
                           a_.at(), b_.at(), slices_[slice].at(), size_.side, size_.side, size_.k * shape_.operand_bytes, shift_of(slice));
  }
  Status compare(std::size_t slice, int state) {
    const bool wide = shape_.result_bytes == 8;
    const unsigned per_block = wide ? 512 : 1024, x = (unsigned(size_.side) + per_block - 1) / per_block;
    const unsigned y = std::max(1u, std::min(unsigned(size_.side) / 8, unsigned(session_.multiprocessors()) * 16 / x));
    return session_.launch(wide ? "kfab_verify_64" : "kfab_verify_32", {x, y, 256}, session_.stream(), slices_[slice].at(), size_.side, size_.side,
                           shift_of(slice), weights_.at(), coefficients_.at(), int(kernel_.precision),
                           states_.at(sizeof(exact::CheckState) * std::uint64_t(state)));
  }
  // Compares slices [from, from + count), modulo their number.
  Result<std::vector<exact::CheckState>> compare_all(std::size_t from, int count) {
    std::vector<exact::CheckState> states(std::size_t(count), exact::empty_check_state());
    KFAB_TRY_VOID(session_.upload(states_.at(), states.data(), sizeof(exact::CheckState) * states.size()));
    for (int i = 0; i < count; ++i) KFAB_TRY_VOID(compare((from + std::size_t(i)) % slices_.size(), i));
    KFAB_TRY_VOID(session_.synchronize(session_.stream()));
    KFAB_TRY_VOID(session_.download(states.data(), states_.at(), sizeof(exact::CheckState) * states.size()));
    return states;
  }

  // Flips bits of one result and wants exactly that found; then puts it back.
  Status plant(std::size_t slice, std::uint64_t index, std::uint64_t wanted_bits, bool flip) {
    const std::uint64_t width = std::uint64_t(shape_.result_bytes);
    const Pointer place = slices_[slice].at(index * width);
    std::uint64_t kept = 0;
    KFAB_TRY_VOID(session_.download(&kept, place, width));
    const std::uint64_t wrong = flip ? kept ^ wanted_bits : wanted_bits;
    KFAB_TRY_VOID(session_.upload(place, &wrong, width));
    KFAB_TRY(states, compare_all(slice, 1));
    KFAB_TRY_VOID(session_.upload(place, &kept, width));
    ++planted_;
    found_ += found_exactly(states[0], index, kept ^ wrong);
    return ok();
  }

  Status loop(double seconds, const Stopwatch& whole) {
    KFAB_TRY(start, session_.make_event());
    KFAB_TRY(end, session_.make_event());
    std::size_t next = 0;
    int batch = 1;
    while (!sink_.stop_requested()) {
      KFAB_TRY_VOID(session_.record(start, session_.stream()));
      for (int i = 0; i < batch; ++i) KFAB_TRY_VOID(multiply((next + std::size_t(i)) % slices_.size()));
      KFAB_TRY_VOID(session_.record(end, session_.stream()));
      KFAB_TRY_VOID(session_.wait(end));
      KFAB_TRY(took, session_.seconds_between(start, end));
      KFAB_TRY(states, compare_all(next, batch));
      const std::uint64_t elements = std::uint64_t(size_.side) * std::uint64_t(size_.side);
      for (int i = 0; i < batch; ++i) {
        const std::size_t slice = (next + std::size_t(i)) % slices_.size();
        take(states[std::size_t(i)], slice, elements);
      }
      if (iterations_ == 0 && total_state_.mismatches == 0) {   // the comparison proves itself before its answers count
        KFAB_TRY_VOID(plant(0, elements / 2 + 3, 1, true));
        KFAB_TRY_VOID(plant(0, elements - 1, shape_.result_bytes == 8 ? 0x7ff8000000000001ull : 0x7fc00001ull, false));
      }
      busy_ += took;
      const double rate = 2.0 * double(elements) * size_.k * batch / std::max(took, 1e-9) * 1e-12;
      if (iterations_ > 0) rates_.push_back(rate);   // the first product warms up
      iterations_ += std::uint64_t(batch);
      next = (next + std::size_t(batch)) % slices_.size();
      sink_.progress(test_, std::min(whole.seconds(), seconds), seconds, fmt::format("{} products, {:.1f} {}", iterations_, rate, unit()));
      if (whole.seconds() >= seconds && !rates_.empty()) break;
      const double each = std::max(took / batch, 1e-6), left = std::max(seconds - whole.seconds(), 0.0);
      batch = int(std::clamp(std::min(batch_seconds, left) / each, 1.0, double(std::min<std::size_t>(most_in_batch, slices_.size()))));
    }
    return ok();
  }

  void take(const exact::CheckState& state, std::size_t slice, std::uint64_t elements) {
    if (state.checked == elements) covered_[slice] = true;
    else unchecked_ += elements - std::min(elements, state.checked);
    if (state.mismatches && total_state_.mismatches == 0)
      emit_mismatches(sink_, test_, state, shape_.result_bytes, [&](std::uint64_t index) {
        return fmt::format("slice {} row {} column {}", slice, index / std::uint64_t(size_.side), index % std::uint64_t(size_.side));
      });
    total_state_.checked += state.checked;
    total_state_.mismatches += state.mismatches;
    total_state_.mask |= state.mask;
    total_state_.digest += state.digest;
  }

  const char* unit() const { return shape_.integer_result ? "tops" : "tflops"; }

  void report(const Stopwatch& whole, const Status& status) {
    const std::string metric = "burnin." + test_;
    if (planted_ > 0) emit_selftest(sink_, test_, planted_, found_);
    else if (total_state_.mismatches > 0) emit_selftest(sink_, test_, 1, 1);   // it found real ones
    if (iterations_ > 0) {
      sink_.measurement(test_, metric + "." + unit(), rates_.empty() ? json::Value() : json::Value(median_of(rates_)), unit(),
                        fmt::format("{} x {} x {}, {}, exact small integers of rank 4, kfab's own kernel: no measure of the GPU's peak; {}",
                                    size_.side, size_.side, size_.k, kernel_.how, describe_samples(rates_)),
                        std::vector<double>(rates_.end() - std::ptrdiff_t(std::min<std::size_t>(rates_.size(), 1000)), rates_.end()));
      sink_.measurement(test_, metric + ".mismatches", unchecked_ ? json::Value() : json::Value(double(total_state_.mismatches)), "count",
                        fmt::format("{} results compared, {} not, wrong bits {}, digest {}", total_state_.checked, unchecked_, hex_word(total_state_.mask),
                                    hex_word(total_state_.digest)));
    }
    const auto covered = std::uint64_t(std::count(covered_.begin(), covered_.end(), true));
    sink_.measurement(test_, metric + ".iterations", double(iterations_), "count", fmt::format("{:.2f} s of multiplying", busy_));
    if (free_)
      sink_.measurement(test_, metric + ".coverage", 100.0 * double(covered * slice_bytes_) / double(free_), "percent",
                        fmt::format("{} of {} slices of {} KiB in {} MiB of free memory, {} MiB in all", covered, slices_.size(), slice_bytes_ >> 10, free_ >> 20, total_ >> 20));
    if (!status) return end_by(sink_, test_, whole.seconds(), status.error());
    if (iterations_ == 0 || rates_.empty())
      return sink_.test_done(test_, "not_run", whole.seconds(), "stopped before there was a figure", to_string(code::test_stopped));
    if (found_ != planted_) return sink_.test_done(test_, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
    if (unchecked_) return sink_.test_done(test_, "failed", whole.seconds(), fmt::format("{} results were not compared", unchecked_), to_string(code::checker_not_proven));
    sink_.test_done(test_, "ran", whole.seconds());
  }

  Session& session_;
  const Kernel& kernel_;
  const exact::Shape& shape_;
  const TestRequest& request_;
  TestSink& sink_;
  std::string test_;
  Sizes size_{};
  std::uint64_t free_ = 0, total_ = 0, slice_bytes_ = 0;
  DeviceMemory a_, b_, weights_, coefficients_, states_;
  std::vector<DeviceMemory> slices_;
  std::vector<bool> covered_;
  exact::CheckState total_state_ = exact::empty_check_state();
  std::uint64_t iterations_ = 0, unchecked_ = 0;
  std::vector<double> rates_;
  double busy_ = 0;
  int planted_ = 0, found_ = 0;
};

}  // namespace

void run_burnin(Session& session, const TestRequest& request, double seconds, TestSink& sink) {
  const auto wanted = [&](const char* name) {
    return request.precisions.empty() || std::find(request.precisions.begin(), request.precisions.end(), name) != request.precisions.end();
  };
  std::vector<const Kernel*> chosen;
  for (const auto& shape : exact::shapes) {
    if (!wanted(shape.name)) continue;
    const Kernel* best = nullptr;
    for (const auto& kernel : kernels)
      if (!best && exact::shapes[kernel.precision].name == std::string_view(shape.name) && session.capability() >= kernel.least_capability) best = &kernel;
    if (best) chosen.push_back(best);
    else
      sink.test_done(fmt::format("gemm_{}", shape.name), "not_run", 0,
                     fmt::format("compute capability {}.{} has no {} arithmetic", session.capability() / 10, session.capability() % 10, shape.name),
                     to_string(code::not_supported_by_accelerator));
  }
  for (const auto& name : request.precisions)
    if (std::none_of(std::begin(exact::shapes), std::end(exact::shapes), [&](const auto& shape) { return shape.name == name; }))
      sink.test_done("gemm_" + name, "not_run", 0, "there is no burn-in in " + name, to_string(code::not_supported_by_accelerator));
  for (const auto* kernel : chosen) Burn(session, *kernel, request, sink).run(seconds / double(chosen.size()));
}

}  // namespace kfab::agent::devices::cuda
