#include <algorithm>

#include <fmt/format.h>

#include "agent/devices/cuda_products.hpp"
#include "agent/devices/findings.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

// Kernels that were written for one chip must show on that chip that they are right before a burn-in may use them: something
// small with few blocks, so that each computes several tiles, and something of the burn-in's own size, both against the known
// answer and against the general kernel; and full mantissas twice, which must give the same bits. A kernel that fails is
// refused with the reason, and the general one does its work. Whether it computed wrong bits or never came to it is told apart:
// wrong bits on one GPU, and right ones on others of its model, are the GPU's. This runs in a process of its own: a fault ends with it.
namespace kfab::agent::devices::cuda {
namespace {

// fp8 in one accumulator is exact for sums of about 13 bits only: the smallest integers there are.
constexpr int small = 1;
constexpr int small_rows = 256, small_columns = 512, small_k_bytes = 1024;   // eight steps and two tiles a block: each stage is used at least twice
constexpr unsigned few_blocks = 2;
constexpr std::uint64_t full_size_budget = std::uint64_t{4} << 30;

class Proof {
 public:
  Proof(Session& session, const ProductKernel& kernel, const ProductKernel* general)
      : session_(session), kernel_(kernel), general_(general), shape_(exact::shapes[kernel.precision]) {}

  // Whether the kernel gave up waiting.
  bool stalled() const { return stalled_; }
  // Whether it computed bits that are not the right ones.
  bool wrong() const { return wrong_; }

  Status run(std::uint64_t budget) {
    const int k = small_k_bytes * 8 / shape_.operand_width;
    KFAB_TRY_VOID(states_.prepare(session_, 2));
    KFAB_TRY_VOID(known({small_rows, small_columns, k}, few_blocks));
    KFAB_TRY_VOID(known(sizes_for(shape_, Data::exact, std::min(budget, full_size_budget)), 0));
    return repeated({small_rows, small_columns, k});
  }

 private:
  Status known(Sizes size, unsigned most_blocks) {
    constexpr int row_shift = 128;   // so that rows wrap around
    const int override = kernel_.for_exact ? 0 : small;
    Products products(session_, kernel_.precision, Data::exact, size, override, override);
    KFAB_TRY_VOID(products.prepare());
    KFAB_TRY(result, poisoned(products));
    KFAB_TRY_VOID(products.multiply(kernel_, result.at(), row_shift, most_blocks));
    KFAB_TRY_VOID(states_.clear(session_, 2));
    KFAB_TRY_VOID(products.compare_known(result.at(), row_shift, states_.at(0)));
    int count = 1;
    DeviceMemory other;
    if (general_) {
      KFAB_TRY(memory, poisoned(products));
      other = std::move(memory);
      KFAB_TRY_VOID(products.multiply(*general_, other.at(), row_shift));
      KFAB_TRY_VOID(products.compare_same(result.at(), other.at(), states_.at(1)));
      count = 2;
    }
    KFAB_TRY(states, states_.collect(session_, count));
    KFAB_TRY_VOID(went_through(products));
    const auto words = fmt::format("{} x {} x {}", size.m, size.n, size.k);
    if (states[0].checked != products.elements()) return refuse(fmt::format("{} of {} results of {} were compared", states[0].checked, products.elements(), words));
    if (states[0].mismatches)
      return found_wrong(fmt::format("{} of {} results of {} differ from the known answer, first at row {} column {}, wrong bits {:#x}", states[0].mismatches,
                                products.elements(), words, states[0].first / std::uint64_t(size.n), states[0].first % std::uint64_t(size.n), states[0].mask));
    if (count == 2 && states[1].mismatches) return found_wrong(fmt::format("{} results of {} differ from those of {}", states[1].mismatches, words, general_->name));
    return ok();
  }

  // Full mantissas, twice over different memory: the same bits.
  Status repeated(Sizes size) {
    if (!kernel_.for_random) return ok();
    Products products(session_, kernel_.precision, Data::random, size);
    KFAB_TRY_VOID(products.prepare());
    KFAB_TRY(first, poisoned(products));
    KFAB_TRY(second, poisoned(products));
    KFAB_TRY_VOID(products.multiply(kernel_, first.at(), 0, few_blocks));
    KFAB_TRY_VOID(products.multiply(kernel_, second.at(), 0));
    KFAB_TRY_VOID(states_.clear(session_, 1));
    KFAB_TRY_VOID(products.compare_same(second.at(), first.at(), states_.at(0)));
    KFAB_TRY(states, states_.collect(session_, 1));
    KFAB_TRY_VOID(went_through(products));
    if (states[0].mismatches) return found_wrong(fmt::format("{} results differ from one run to the next", states[0].mismatches));
    return ok();
  }

  // Memory for a result, in which nothing looks like one: what was not written shows.
  Result<DeviceMemory> poisoned(const Products& products) {
    KFAB_TRY(memory, session_.allocate(products.result_bytes()));
    KFAB_TRY_VOID(session_.driver()->checked(session_.driver()->fill_words(memory.at(), 0xffc0dead, memory.bytes() / 4), "fill memory"));
    KFAB_TRY_VOID(session_.synchronize(nullptr));
    return memory;
  }
  Status went_through(Products& products) {
    KFAB_TRY(gave_up, products.stalled());
    stalled_ = stalled_ || gave_up;
    return gave_up ? refuse("it waited for data that never came") : ok();
  }
  Status found_wrong(std::string why) { return wrong_ = true, refuse(std::move(why)); }
  Status refuse(std::string why) { return error(code::kernel_refused, std::move(why)); }

  Session& session_;
  const ProductKernel& kernel_;
  const ProductKernel* general_;
  const exact::Shape& shape_;
  CheckStates states_;
  bool stalled_ = false, wrong_ = false;
};

}  // namespace

void prove_kernels(Session& session, const TestRequest& request, TestSink& sink) {
  const auto memory = session.memory_info();
  if (!memory) return;   // the burn-in will say so
  for (const auto& kernel : product_kernels()) {
    if (sink.stop_requested()) return;
    if (!kernel.must_prove || session.capability() < kernel.least_capability || session.capability() > kernel.most_capability) continue;
    const std::string name = exact::shapes[kernel.precision].name;
    if (!request.precisions.empty() && std::find(request.precisions.begin(), request.precisions.end(), name) == request.precisions.end()) continue;
    const ProductKernel* general = choose_kernel(session, kernel.precision, Data::exact, {});
    Status proven = session.has(kernel.name) ? ok() : Status(error(code::kernel_refused, "it is not in this agent's image"));
    Proof proof(session, kernel, general);
    if (proven) proven = proof.run(std::min(memory->free / 2, request.memory_cap_bytes ? request.memory_cap_bytes : memory->free));
    sink.emit(json::Object{{"type", "kernel"}, {"name", kernel.name}, {"proven", bool(proven)}, {"wrong", proof.wrong()}, {"reason", proven ? "" : one_line(proven.error().message, 300)}});
    if (!proven && is_broken(proven.error().code)) return;   // this context does nothing more
    if (!proven && proof.stalled()) return;                  // nobody knows what is still under way in it; the others stay unproven
  }
}

}  // namespace kfab::agent::devices::cuda
