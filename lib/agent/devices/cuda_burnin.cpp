#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "agent/devices/cublaslt.hpp"
#include "agent/devices/cuda_products.hpp"
#include "agent/devices/findings.hpp"
#include "agent/devices/load_clock.hpp"
#include "agent/devices/nvml_sampler.hpp"
#include "base/codes/validation.hpp"
#include "base/statistics.hpp"
#include "base/text.hpp"

// Burn-in of a GPU: matrix products whose results fill its memory, slice by slice, each compared bit by bit: with the value
// that is known to be right, or, for full mantissas, with a slice that the first ones voted for.
namespace kfab::agent::devices::cuda {
namespace {

constexpr double default_fraction = 0.94;   // of free memory
constexpr int most_in_batch = 512;           // as many as a fast chip does in batch_seconds: between batches it waits for the host, and draws less
constexpr double batch_seconds = 0.25;      // products between two comparisons
constexpr double algorithm_share = 0.9;     // of results wrong in the same way twice: no GPU is so broken and multiplies by other kernels
constexpr double exact_share = 0.6;         // of a precision's time; the rest is for full mantissas

enum Engine : std::size_t { own, library, engine_count };

struct Context {   // of one burn-in, over its precisions
  Session& session;
  const TestRequest& request;
  TestSink& sink;
  NvmlSampler& telemetry;
  const LoadClock& clock;
  LoadMeter& meter;
  CublasLt* library;          // nullptr: not there, `library_missing` says why
  std::string library_missing;
};

// Which kernels might not be used, and how many of them computed wrong bits. `used`: the kernel that does the work, nullptr for none.
void report_refusals(TestSink& sink, const std::string& test, const std::string& metric, const std::vector<KernelProof>& refused, const char* used) {
  std::string refusals;
  for (const auto& one : refused) refusals += fmt::format("{}{}: {}", refusals.empty() ? "" : "; ", one.name, one.reason);
  const std::string words = used ? fmt::format("{} was used", used) : std::string("there is no other kernel for it");
  sink.measurement(test, metric + "kernels_refused", double(refused.size()), "count",
                   refused.empty() ? words : fmt::format("{}; {} {}", words, to_string(code::kernel_refused), refusals));
  sink.measurement(test, metric + "kernels_wrong", double(std::count_if(refused.begin(), refused.end(), [](const auto& one) { return one.wrong; })), "count", refusals);
}

// One precision and one kind of data.
class Burn {
 public:
  Burn(Context& context, const ProductKernel& kernel, Data data, std::vector<KernelProof> refused)
      : context_(context), session_(context.session), kernel_(kernel), shape_(exact::shapes[kernel.precision]), sink_(context.sink), data_(data),
        refused_(std::move(refused)), test_(fmt::format("gemm_{}{}", shape_.name, data == Data::exact ? "" : "_random")),
        metric_(fmt::format("burnin.gemm_{}.{}", shape_.name, prefix_of(data))) {}

  // False when the GPU can do no more.
  bool run(double seconds) {
    const Stopwatch whole;
    const auto energy = context_.telemetry.energy_j();
    auto status = prepare();
    if (status) {
      const double began = context_.clock.elapsed();
      const bool steady = context_.request.load.kind == LoadShape::Kind::steady;   // the pauses of another draw nothing
      if (steady) context_.telemetry.begin_work(fmt::format("gemm_{}", shape_.name));   // both kinds of data together
      status = loop(seconds, whole);
      if (steady) context_.telemetry.end_work();
      context_.meter.over(began, context_.clock.elapsed(), worked_s_);
    }
    if (const auto after = context_.telemetry.energy_j(); energy && after) energy_j_ = *after - *energy;
    report(whole, status);
    return status || !is_broken(status.error().code);
  }

 private:
  Status prepare() {
    KFAB_TRY(memory, session_.memory_info());
    free_ = memory.free;
    total_ = memory.total;
    std::uint64_t budget = std::uint64_t(double(free_) * (context_.request.memory_fraction > 0 ? context_.request.memory_fraction : default_fraction));
    if (context_.request.memory_cap_bytes) budget = std::min(budget, context_.request.memory_cap_bytes);
    const Sizes size = sizes_for(shape_, data_, budget);
    products_.emplace(session_, kernel_.precision, data_, size);
    KFAB_TRY_VOID(products_->prepare());
    KFAB_TRY_VOID(states_.prepare(session_, int(std::clamp<std::uint64_t>(budget / products_->result_bytes(), least_slices, most_in_batch))));   // no batch has more than there are slices
    KFAB_TRY_VOID(try_library());
    for (std::uint64_t used = Products::operand_bytes(shape_, size); used + products_->result_bytes() <= budget; used += products_->result_bytes()) {
      auto slice = session_.allocate(products_->result_bytes());
      if (!slice) {   // what the driver calls free is not all to be had
        if (slices_.size() >= least_slices) break;
        return std::move(slice).error();
      }
      slices_.push_back(std::move(*slice));
    }
    if (slices_.size() < least_slices)
      return error(code::device_memory_short, fmt::format("{} MiB free: not enough for {} slices of results", free_ >> 20, least_slices));
    covered_.assign(slices_.size(), false);
    digests_.assign(slices_.size(), 0);
    if (data_ == Data::random)
      for (const auto engine : {own, library})
        if (engine == own || library_) KFAB_TRY_VOID(elect(engine));
    return session_.synchronize(session_.stream());
  }

  // cuBLASLt multiplies exact data twice before it counts. The sums of these small integers are exact in the accumulators that its
  // products in bf16, fp16, tf32 (fp32), int8 (int32), fp32 and fp64 are asked for, in whatever order it adds: what is wrong there is
  // the GPU's, and counted, be it one bit or the share of a multiprocessor. Two exceptions, both only where it finds the same bits
  // twice, since no algorithm is told from a fault by one look: nearly everything is wrong (another algorithm or layout than was meant;
  // a GPU that is so broken fails kfab's own products as well), and fp8, whose sums some chips keep in fewer bits. Then it is left
  // out, the share is told as cublaslt_inexact_pct, and a GPU that is alone in that among its model fails by their vote.
  Status try_library() {
    if (!context_.library) return library_missing_ = context_.library_missing, ok();
    const Sizes& size = products_->size();
    if (auto planned = context_.library->plan(session_, kernel_.precision, size.m, size.n, size.k, data_ == Data::random); !planned) {
      library_missing_ = planned.error().message;
      return ok();
    }
    KFAB_TRY(result, session_.allocate(products_->result_bytes()));
    const auto multiply_into = [&](const DeviceMemory& to) { return context_.library->multiply(products_->a(), products_->b(), to.at(), session_.stream()); };
    auto multiplied = context_.library->choose_fastest(session_, products_->a(), products_->b(), result.at());
    if (multiplied) multiplied = multiply_into(result);
    library_chosen_ = context_.library->chosen();
    if (!multiplied) {
      library_missing_ = multiplied.error().message;
      return session_.synchronize(session_.stream());
    }
    bool usable = true;
    if (data_ == Data::exact) {
      KFAB_TRY(again, session_.allocate(products_->result_bytes()));
      KFAB_TRY_VOID(multiply_into(again));
      KFAB_TRY_VOID(states_.clear(session_, 3));
      KFAB_TRY_VOID(products_->compare_known(result.at(), 0, states_.at(0)));
      KFAB_TRY_VOID(products_->compare_known(again.at(), 0, states_.at(1)));
      KFAB_TRY_VOID(products_->compare_same(again.at(), result.at(), states_.at(2)));
      KFAB_TRY(states, states_.collect(session_, 3));
      usable = judge_library(states[0], states[1], states[2]);
    }
    KFAB_TRY_VOID(session_.synchronize(session_.stream()));
    library_ = warmed_up_[library] = usable;
    return ok();
  }

  // Whether cuBLASLt may go on; counts what is the GPU's fault.
  bool judge_library(const exact::CheckState& known, const exact::CheckState& second, const exact::CheckState& repeated) {
    const std::uint64_t elements = products_->elements();
    const bool short_sums = kernel_.precision == exact::fp8 || kernel_.precision == exact::fp8_e5m2 || kernel_.precision == exact::fp4;
    const bool algorithm = known.mismatches > 0 && repeated.mismatches == 0 && (short_sums || double(known.mismatches) >= algorithm_share * double(elements));
    inexact_pct_ = algorithm ? 100.0 * double(known.mismatches) / double(elements) : 0;
    if (algorithm) {
      library_missing_ = fmt::format("cuBLASLt {}: {} of {} results are not those of exact sums, the same ones twice: {}, so that it is not compared with", context_.library->version(),
                                     known.mismatches, elements, short_sums ? "sums of fewer bits" : "another algorithm or layout");
      return false;
    }
    if (short_sums && repeated.mismatches > 0) {   // what is wrong of it cannot be told from its sums; that it differs can
      take(repeated, 0, "in cuBLASLt's second product, against its first", library);
      library_missing_ = fmt::format("cuBLASLt {}: two products of the same data differ in {} results", context_.library->version(), repeated.mismatches);
      return false;
    }
    take(known, 0, "in cuBLASLt's first product", library);
    take(second, 0, "in cuBLASLt's second product", library);
    return true;
  }

  // The first three products of an engine vote which bits are right; the winner stays where it is and is what all others are
  // compared with.
  Status elect(Engine engine) {
    const std::size_t voters[] = {engine, slices_.size() - 1, slices_.size() - 2};
    for (const auto slice : voters) KFAB_TRY_VOID(multiply(engine, slice));
    KFAB_TRY_VOID(states_.clear(session_, 3));
    for (int i = 0; i < 3; ++i) KFAB_TRY_VOID(products_->compare_same(slices_[voters[i]].at(), slices_[voters[0]].at(), states_.at(i)));
    KFAB_TRY(states, states_.collect(session_, 3));
    std::size_t winner = 0;
    if (states[1].digest == states[2].digest && states[0].digest != states[1].digest) winner = 1;
    reference_digest_[engine] = states[winner].digest;
    if (winner != 0) {   // the first one was wrong: say where, and make it anew
      KFAB_TRY_VOID(states_.clear(session_, 1));
      KFAB_TRY_VOID(products_->compare_same(slices_[voters[0]].at(), slices_[voters[1]].at(), states_.at(0)));
      KFAB_TRY(wrong, states_.collect(session_, 1));
      take(wrong[0], voters[0], "outvoted by the two that followed", engine);
      KFAB_TRY_VOID(multiply(engine, voters[0]));
      KFAB_TRY_VOID(states_.clear(session_, 1));
      KFAB_TRY_VOID(products_->compare_same(slices_[voters[0]].at(), slices_[voters[1]].at(), states_.at(0)));
      KFAB_TRY(again, states_.collect(session_, 1));
      take(again[0], voters[0], "outvoted by the two that followed", engine);
    } else {
      for (int i = 1; i < 3; ++i) take(states[std::size_t(i)], voters[i], {}, engine);
    }
    covered_[voters[0]] = true;
    digests_[voters[0]] = reference_digest_[engine];
    return ok();
  }

  // Slices that hold references are not written again.
  std::size_t first_free() const { return data_ == Data::exact ? 0 : library_ ? 2 : 1; }
  std::size_t slice_at(std::size_t turn) const { return first_free() + turn % (slices_.size() - first_free()); }
  int shift_of(Engine engine, std::size_t slice) const {
    return data_ == Data::random || engine == library ? 0 : int(slice % std::size_t(products_->size().m / 128)) * 128;
  }

  Status multiply(Engine engine, std::size_t slice) {
    if (engine == library) return context_.library->multiply(products_->a(), products_->b(), slices_[slice].at(), session_.stream());
    return products_->multiply(kernel_, slices_[slice].at(), shift_of(engine, slice));
  }
  Status compare(Engine engine, std::size_t slice, int state) {
    if (data_ == Data::exact) return products_->compare_known(slices_[slice].at(), shift_of(engine, slice), states_.at(state));
    return products_->compare_same(slices_[slice].at(), slices_[engine].at(), states_.at(state));
  }
  Result<std::vector<exact::CheckState>> compare_all(Engine engine, std::size_t turn, int count) {
    KFAB_TRY_VOID(states_.clear(session_, count));
    for (int i = 0; i < count; ++i) KFAB_TRY_VOID(compare(engine, slice_at(turn + std::size_t(i)), i));
    return states_.collect(session_, count);
  }

  // Flips bits of one result and wants exactly that found; then puts it back.
  Status plant(Engine engine, std::size_t turn, std::uint64_t index, std::uint64_t wanted_bits, bool flip) {
    const std::uint64_t width = std::uint64_t(shape_.result_bytes);
    const Pointer place = slices_[slice_at(turn)].at(index * width);
    std::uint64_t kept = 0;
    KFAB_TRY_VOID(session_.download(&kept, place, width));
    const std::uint64_t wrong = flip ? kept ^ wanted_bits : wanted_bits;
    KFAB_TRY_VOID(session_.upload(place, &wrong, width));
    KFAB_TRY(states, compare_all(engine, turn, 1));
    KFAB_TRY_VOID(session_.upload(place, &kept, width));
    ++planted_;
    found_ += found_exactly(states[0], index, kept ^ wrong);
    return ok();
  }

  // Every third batch is the slower engine's, so that both are seen under the same heat and power.
  Engine engine_of(std::uint64_t batch) const {
    if (!library_) return own;
    const bool library_leads = median_of(rates_[library]) > median_of(rates_[own]);
    return (batch % 3 == 2) != library_leads ? library : own;
  }

  // Waits for the next working interval; false when asked to stop.
  bool wait_for_load(double seconds, const Stopwatch& whole) {
    const auto& shape = context_.request.load;
    for (auto now = load_at(shape, context_.clock.elapsed()); !now.on; now = load_at(shape, context_.clock.elapsed())) {
      if (sink_.stop_requested() || (whole.seconds() >= seconds && !rates_[own].empty())) return false;
      context_.telemetry.interval(interval_at(shape, context_.clock.elapsed()));
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(now.for_s, 0.5)));
      sink_.progress(test_, std::min(whole.seconds(), seconds), seconds, "pausing, as the load asks");
    }
    context_.telemetry.interval(interval_at(shape, context_.clock.elapsed()));
    return !sink_.stop_requested();
  }

  // So many products as fit into a batch's time, what is left, and the interval of the load; one before it is known.
  int batch_size(Engine engine, double left) const {
    if (each_s_[engine] <= 0) return 1;
    left = std::min({left, batch_seconds, load_at(context_.request.load, context_.clock.elapsed()).for_s});
    return int(std::clamp(left / each_s_[engine], 1.0, double(std::min<std::size_t>(most_in_batch, slices_.size() - first_free()))));
  }

  Status loop(double seconds, const Stopwatch& whole) {
    KFAB_TRY(start, session_.make_event());
    KFAB_TRY(end, session_.make_event());
    const std::uint64_t elements = products_->elements();
    std::size_t turn = 0;
    for (std::uint64_t batch = 0; wait_for_load(seconds, whole); ++batch) {
      const Stopwatch working;
      const Engine engine = engine_of(batch);
      const int size = batch_size(engine, std::max(seconds - whole.seconds(), 0.0));
      KFAB_TRY_VOID(session_.record(start, session_.stream()));
      for (int i = 0; i < size; ++i) KFAB_TRY_VOID(multiply(engine, slice_at(turn + std::size_t(i))));
      KFAB_TRY_VOID(session_.record(end, session_.stream()));
      KFAB_TRY_VOID(session_.wait(end));
      KFAB_TRY(took, session_.seconds_between(start, end));
      KFAB_TRY(states, compare_all(engine, turn, size));
      KFAB_TRY(stalled, products_->stalled());
      if (stalled) return error(code::kernel_stalled, fmt::format("{} waited 5 s for data that never came", kernel_.name));
      for (int i = 0; i < size; ++i) {
        const std::size_t slice = slice_at(turn + std::size_t(i));
        take(states[std::size_t(i)], slice, {}, engine);
        if (states[std::size_t(i)].checked == elements) covered_[slice] = true;
        else unchecked_ += elements - std::min(elements, states[std::size_t(i)].checked);
      }
      if (planted_ == 0 && total_state_.mismatches == 0) {   // the comparison proves itself before its answers count
        KFAB_TRY_VOID(plant(engine, turn, elements / 2 + 3, 1, true));
        KFAB_TRY_VOID(plant(engine, turn, elements - 1, shape_.result_bytes == 8 ? 0x7ff8000000000001ull : 0x7fc00001ull, false));
      }
      busy_ += took;
      const double rate = products_->operations() * size / std::max(took, 1e-9) * 1e-12;
      if (warmed_up_[engine]) rates_[engine].push_back(rate);   // the first product warms up
      warmed_up_[engine] = true;
      iterations_ += std::uint64_t(size);
      turn += std::size_t(size);
      worked_s_ += working.seconds();
      sink_.progress(test_, std::min(whole.seconds(), seconds), seconds, fmt::format("{} products, {:.1f} {}", iterations_, rate, unit()));
      if (whole.seconds() >= seconds && !rates_[own].empty() && (!library_ || !rates_[library].empty())) break;
      each_s_[engine] = std::max(took / size, 1e-6);
    }
    return ok();
  }

  void take(const exact::CheckState& state, std::size_t slice, std::string_view how, Engine engine) {
    if (state.mismatches && total_state_.mismatches == 0)
      emit_mismatches(sink_, test_, state, shape_.result_bytes, [&](std::uint64_t index) {
        const auto columns = std::uint64_t(products_->size().n);
        return fmt::format("slice {} row {} column {}{}{}{}", slice, index / columns, index % columns, engine == library ? ", multiplied by cuBLASLt" : "",
                           how.empty() ? "" : ", ", how);
      });
    total_state_.checked += state.checked;
    total_state_.mismatches += state.mismatches;
    total_state_.mask |= state.mask;
    // A wrong one stays: that a later product in its place was right does not make it the others'.
    if (engine == own && slice < digests_.size() && (digests_[slice] == 0 || state.mismatches > 0)) digests_[slice] = state.digest;
  }

  const char* unit() const { return shape_.integer_result ? "tops" : "tflops"; }
  std::string shape_words() const { return fmt::format("{} x {} x {}", products_->size().m, products_->size().n, products_->size().k); }

  void report_rates() {
    const auto data_words = data_ == Data::exact ? "exact small integers of rank 4" : "full mantissas";
    const auto rate_of = [&](Engine engine) { return rates_[engine].empty() ? json::Value() : json::Value(median_of(rates_[engine])); };
    const auto last = [](const std::vector<double>& all) {
      return std::vector<double>(all.end() - std::ptrdiff_t(std::min<std::size_t>(all.size(), 1000)), all.end());
    };
    sink_.measurement(test_, metric_ + unit(), rate_of(own), unit(),
                      fmt::format("{}, {}, {} ({}); {}", shape_words(), data_words, kernel_.name, kernel_.how, describe_samples(rates_[own])), last(rates_[own]));
    sink_.measurement(test_, metric_ + "cublaslt_" + unit(), rate_of(library), unit(),
                      library_ ? fmt::format("the same product by cuBLASLt {}, {}, compared as well; {}", context_.library->version(), library_chosen_, describe_samples(rates_[library]))
                               : library_missing_,
                      last(rates_[library]));
    const bool both = !rates_[own].empty() && !rates_[library].empty();
    sink_.measurement(test_, metric_ + "own_to_cublaslt", both ? json::Value(median_of(rates_[own]) / std::max(median_of(rates_[library]), 1e-9)) : json::Value(),
                      "ratio", both ? "kfab's kernel beside cuBLASLt, in turn over the same time" : library_missing_);
    if (inexact_pct_)
      sink_.measurement(test_, metric_ + "cublaslt_inexact_pct", *inexact_pct_, "percent", *inexact_pct_ > 0 ? library_missing_ : "every result is that of exact sums, or counted as a mismatch", {},
                        "cuBLASLt " + context_.library->version());
    report_refusals(sink_, test_, metric_, refused_, kernel_.name);
  }

  // What other GPUs of the model must have in common with this one. The link says what it is of, for only equals compare.
  void report_digests() {
    std::vector<double> each;
    for (std::size_t i = 0; i < digests_.size() && each.size() < 1000; ++i)
      if (covered_[i] && digests_[i]) each.push_back(double(exact::folded_digest(digests_[i])));
    const std::uint64_t first = data_ == Data::random ? reference_digest_[own] : digests_[0];
    sink_.measurement(test_, metric_ + "digest", first ? json::Value(double(exact::folded_digest(first))) : json::Value(), "digest",
                      fmt::format("of slice 0, {} in full; one for each slice in the samples", hex_word(first)), each,
                      fmt::format("{} {} {}", kernel_.name, shape_words(), to_string(data_)));
    if (data_ == Data::exact) report_digest_of_slices();
  }

  // Slices of exact data each have answers of their own, so that one digest of many says more than that of the first. Of a power of
  // two of them, since GPUs fill a little more or less in the same time and only equals are voted on. (Slices of full mantissas are
  // all the same one, and compared as such.)
  void report_digest_of_slices() {
    std::size_t whole = 0;
    while (whole < digests_.size() && covered_[whole] && digests_[whole]) ++whole;
    const std::size_t most = std::size_t(products_->size().m / 128), count = std::min(std::bit_floor(whole), most);   // then rows come again
    if (count < 2) return;
    std::uint64_t of_all = 0;
    for (std::size_t i = 0; i < count; ++i) of_all = exact::mix64(of_all + digests_[i]);
    sink_.measurement(test_, metric_ + "slices_digest", double(exact::folded_digest(of_all)), "digest", fmt::format("of slices 0 to {} in turn", count - 1), {},
                      fmt::format("{} {} {}, {} slices", kernel_.name, shape_words(), to_string(data_), count));
  }

  void report(const Stopwatch& whole, const Status& status) {
    if (planted_ > 0) emit_selftest(sink_, test_, planted_, found_);
    else if (total_state_.mismatches > 0) emit_selftest(sink_, test_, 1, 1);   // it found real ones
    if (iterations_ > 0) {
      report_rates();
      report_digests();
      const double done = products_->operations() * double(iterations_) * 1e-12;
      sink_.measurement(test_, metric_ + "energy_j_per_tflop", energy_j_ ? json::Value(*energy_j_ / done) : json::Value(), "j",
                        energy_j_ ? fmt::format("{:.0f} J for {:.1f} tera-operations, comparisons and pauses included", *energy_j_, done) : "NVML tells no energy and no power");
    }
    if (iterations_ > 0 || total_state_.mismatches > 0)
      sink_.measurement(test_, metric_ + "mismatches", unchecked_ ? json::Value() : json::Value(double(total_state_.mismatches)), "count",
                        fmt::format("{} results compared, {} not, wrong bits {}", total_state_.checked, unchecked_, hex_word(total_state_.mask)));
    const auto covered = std::uint64_t(std::count(covered_.begin(), covered_.end(), true));
    sink_.measurement(test_, metric_ + "iterations", double(iterations_), "count", fmt::format("{:.2f} s of multiplying", busy_));
    if (free_ && products_)
      sink_.measurement(test_, metric_ + "coverage", 100.0 * double(covered * products_->result_bytes()) / double(free_), "percent",
                        fmt::format("{} of {} slices of {} KiB in {} MiB of free memory, {} MiB in all", covered, slices_.size(), products_->result_bytes() >> 10, free_ >> 20, total_ >> 20));
    if (!status) return end_by(sink_, test_, whole.seconds(), status.error());
    if (iterations_ == 0 || rates_[own].empty())
      return sink_.test_done(test_, "not_run", whole.seconds(), "stopped before there was a figure", to_string(code::test_stopped));
    if (found_ != planted_) return sink_.test_done(test_, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
    if (unchecked_) return sink_.test_done(test_, "failed", whole.seconds(), fmt::format("{} results were not compared", unchecked_), to_string(code::checker_not_proven));
    sink_.test_done(test_, "ran", whole.seconds());
  }

  static constexpr std::size_t least_slices = 4;   // two references and something to work on

  Context& context_;
  Session& session_;
  const ProductKernel& kernel_;
  const exact::Shape& shape_;
  TestSink& sink_;
  Data data_;
  std::vector<KernelProof> refused_;
  std::string test_, metric_;
  std::optional<Products> products_;
  CheckStates states_;
  std::uint64_t free_ = 0, total_ = 0;
  std::vector<DeviceMemory> slices_;
  std::vector<bool> covered_;
  std::vector<std::uint64_t> digests_;              // by kfab's own kernel
  std::uint64_t reference_digest_[engine_count] = {};
  exact::CheckState total_state_ = exact::empty_check_state();
  std::uint64_t iterations_ = 0, unchecked_ = 0;
  bool library_ = false, warmed_up_[engine_count] = {};
  std::string library_missing_;
  std::string library_chosen_;   // which of its algorithms, in words
  std::optional<double> inexact_pct_;   // of cuBLASLt's results of exact data, where it was asked
  std::vector<double> rates_[engine_count];
  double busy_ = 0, worked_s_ = 0, each_s_[engine_count] = {};
  std::optional<double> energy_j_;
  int planted_ = 0, found_ = 0;
};

}  // namespace

void run_burnin(Session& session, const TestRequest& request, double seconds, NvmlSampler& telemetry, TestSink& sink) {
  const auto wanted = [&](const char* name) {
    return request.precisions.empty() || std::find(request.precisions.begin(), request.precisions.end(), name) != request.precisions.end();
  };
  struct Row { exact::Precision precision; Data data; const ProductKernel* kernel; std::vector<KernelProof> refused; double share; };
  std::vector<Row> rows;
  int precisions = 0;
  for (int p = 0; p < exact::precision_count; ++p) {
    const auto precision = exact::Precision(p);
    const char* name = exact::shapes[p].name;
    if (!wanted(name)) continue;
    bool any = false;
    std::string why;
    const std::string test = fmt::format("gemm_{}", name);
    for (const auto data : {Data::exact, Data::random}) {
      Row row{precision, data, nullptr, {}, data == Data::exact ? exact_share : 1 - exact_share};
      row.kernel = choose_kernel(session, precision, data, request.kernels, &row.refused);
      if (row.kernel) rows.push_back(row), any = true;
      else if (!row.refused.empty()) {
        why = row.refused.front().reason;
        report_refusals(sink, test, fmt::format("burnin.{}.{}", test, prefix_of(data)), row.refused, nullptr);
      }
    }
    precisions += any;
    // Chips after those that kfab has a kernel for most likely have it as well: that is not their lack.
    const bool no_kernel = precision == exact::fp4 && session.capability() >= 100;
    if (!any && why.empty() && no_kernel)
      sink.test_done(test, "not_run", 0,
                     fmt::format("kfab has no kernel in {} for compute capability {}.{}", name, session.capability() / 10, session.capability() % 10), to_string(code::no_kernel_for_chip));
    else if (!any && why.empty())
      sink.test_done(test, "not_run", 0,
                     fmt::format("compute capability {}.{} has no {} arithmetic that kfab's kernels reach", session.capability() / 10, session.capability() % 10, name),
                     to_string(code::not_supported_by_accelerator));
    else if (!any)   // whose fault that is, its share of the votes tells; here there is nothing to test with
      sink.test_done(test, "not_run", 0, "kfab's only kernel for it was refused: " + one_line(why, 200), to_string(code::no_kernel_for_chip));
  }
  for (const auto& name : request.precisions)
    if (std::none_of(std::begin(exact::shapes), std::end(exact::shapes), [&](const auto& shape) { return shape.name == name; }))
      sink.test_done("gemm_" + name, "not_run", 0, "there is no burn-in in " + name, to_string(code::unknown_precision));
  if (rows.empty() || !wait_for_start(request.load, sink)) return;

  const LoadClock clock(request.load.start_at);
  LoadMeter meter(request.load);
  auto library = CublasLt::load(request.second_engine ? session.libraries().cublaslt : std::vector<std::string>(), session.driver());
  Context context{session, request, sink, telemetry, clock, meter, library ? library->get() : nullptr,
                  library ? std::string() : fmt::format("{} {}", to_string(code::second_engine_missing), one_line(library.error().message, 300))};
  for (auto& row : rows)
    if (!Burn(context, *row.kernel, row.data, row.refused).run(seconds / precisions * row.share)) break;
  meter.report(sink);
}

}  // namespace kfab::agent::devices::cuda
