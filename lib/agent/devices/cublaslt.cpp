#include "agent/devices/cublaslt.hpp"

#include <dlfcn.h>
#include <glob.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::devices::cuda {
namespace {

// cudaDataType and cublasComputeType
enum : int { r_32f = 0, r_64f = 1, r_16f = 2, r_8i = 3, r_32i = 10, r_16bf = 14, r_8f_e4m3 = 28 };
enum : int { compute_32f = 68, compute_64f = 70, compute_32i = 72, compute_fast_tf32 = 77 };
// attributes of a product, of a preference; operations
enum : int { transpose_a = 3, transpose_b = 4, fast_accumulation = 25 };
constexpr int most_workspace = 1, no_transpose = 0, transpose = 1;
constexpr std::uint64_t workspace_bytes = std::uint64_t{64} << 20;
constexpr int most_algorithms = 8, timed_products = 4;

struct Row { exact::Precision precision; int operand, result, compute, scale; };
// Without a row there is no such product: e5m2 by e5m2 is not among the library's, fp4 needs scale factors laid out for it.
constexpr Row rows[] = {
    {exact::fp32, r_32f, r_32f, compute_32f, r_32f},       {exact::fp64, r_64f, r_64f, compute_64f, r_64f},
    {exact::fp16, r_16f, r_32f, compute_32f, r_32f},       {exact::bf16, r_16bf, r_32f, compute_32f, r_32f},
    {exact::tf32, r_32f, r_32f, compute_fast_tf32, r_32f}, {exact::int8, r_8i, r_32i, compute_32i, r_32i},
    {exact::fp8, r_8f_e4m3, r_32f, compute_32f, r_32f},
};

struct Choice {   // cublasLtMatmulHeuristicResult_t
  std::uint64_t algorithm[8];
  std::size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Choice) == 96);

// A pattern as the files that are there, the newest version first; a name for the loader as it is.
std::vector<std::string> files_of(const std::string& name) {
  if (name.find_first_of("*[") == std::string::npos) return {name};
  glob_t found{};
  std::vector<std::string> out;
  if (::glob(name.c_str(), 0, nullptr, &found) == 0) out.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  std::sort(out.begin(), out.end(), [](const std::string& a, const std::string& b) { return ::strverscmp(a.c_str(), b.c_str()) > 0; });
  return out;
}

}  // namespace

#define KFAB_CUBLASLT_FUNCTIONS(F)                                                                                              \
  F(create, "cublasLtCreate", int, (void** handle))                                                                             \
  F(destroy, "cublasLtDestroy", int, (void* handle))                                                                            \
  F(version, "cublasLtGetVersion", std::size_t, ())                                                                             \
  F(operation_create, "cublasLtMatmulDescCreate", int, (void** operation, int compute, int scale))                              \
  F(operation_destroy, "cublasLtMatmulDescDestroy", int, (void* operation))                                                     \
  F(operation_set, "cublasLtMatmulDescSetAttribute", int, (void* operation, int attribute, const void* value, std::size_t size)) \
  F(layout_create, "cublasLtMatrixLayoutCreate", int, (void** layout, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading)) \
  F(layout_destroy, "cublasLtMatrixLayoutDestroy", int, (void* layout))                                                         \
  F(preference_create, "cublasLtMatmulPreferenceCreate", int, (void** preference))                                              \
  F(preference_destroy, "cublasLtMatmulPreferenceDestroy", int, (void* preference))                                             \
  F(preference_set, "cublasLtMatmulPreferenceSetAttribute", int, (void* preference, int attribute, const void* value, std::size_t size)) \
  F(choose, "cublasLtMatmulAlgoGetHeuristic", int,                                                                              \
    (void* handle, void* operation, void* a, void* b, void* c, void* d, void* preference, int wanted, void* results, int* found)) \
  F(multiply, "cublasLtMatmul", int,                                                                                            \
    (void* handle, void* operation, const void* alpha, const void* a, void* a_layout, const void* b, void* b_layout, const void* beta, \
     const void* c, void* c_layout, void* d, void* d_layout, const void* algorithm, void* workspace, std::size_t workspace_bytes, void* stream))

struct CublasLt::Functions {
  void* library = nullptr;
  std::shared_ptr<Driver> driver;   // outlives the handle
#define KFAB_CUBLASLT_MEMBER(name, symbol, result, parameters) result(*name) parameters = nullptr;
  KFAB_CUBLASLT_FUNCTIONS(KFAB_CUBLASLT_MEMBER)
#undef KFAB_CUBLASLT_MEMBER
};

Result<std::unique_ptr<CublasLt>> CublasLt::load(const std::vector<std::string>& libraries, const std::shared_ptr<Driver>& driver) {
  std::string why;
  std::vector<std::string> names;
  for (const auto& library : libraries)
    for (auto& file : files_of(library)) names.push_back(std::move(file));
  for (const auto& name : names) {
    auto call = std::make_unique<Functions>();
    call->driver = driver;
    call->library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!call->library) {
      const char* said = ::dlerror();
      why += (why.empty() ? "" : "; ") + one_line(said ? said : name, 150);
      continue;
    }
    const char* missing = nullptr;
#define KFAB_CUBLASLT_RESOLVE(name, symbol, result, parameters)                          \
  call->name = reinterpret_cast<result(*) parameters>(::dlsym(call->library, symbol)); \
  if (!call->name) missing = symbol;
    KFAB_CUBLASLT_FUNCTIONS(KFAB_CUBLASLT_RESOLVE)
#undef KFAB_CUBLASLT_RESOLVE
    if (missing) {
      why += fmt::format("{}{} has no function {}", why.empty() ? "" : "; ", name, missing);
      continue;
    }
    std::unique_ptr<CublasLt> out(new CublasLt);
    if (const int status = call->create(&out->handle_); status != 0) {
      why += fmt::format("{}{} could not be initialised (status {})", why.empty() ? "" : "; ", name, status);
      continue;
    }
    const std::size_t version = call->version();   // 130002 for 13.0.2
    out->version_ = fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
    out->call_ = std::move(call);
    return out;
  }
  return error(code::second_engine_missing, why.empty() ? "no library was named" : why);
}

void CublasLt::forget() {
  if (operation_) call_->operation_destroy(operation_);
  operation_ = nullptr;
  for (auto& layout : layouts_) {
    if (layout) call_->layout_destroy(layout);
    layout = nullptr;
  }
}

CublasLt::~CublasLt() {
  forget();
  if (handle_ && call_) call_->destroy(handle_);
}

Status CublasLt::plan(const Session& session, exact::Precision precision, int m, int n, int k, bool fast_sums) {
  const Row* row = nullptr;
  for (const auto& one : rows)
    if (one.precision == precision) row = &one;
  if (!row) return error(code::second_engine_missing, fmt::format("cuBLASLt has no {} product of this kind", exact::shapes[precision].name));
  forget();
  precision_ = precision;
  const auto checked = [&](int status, const char* what) -> Status {
    return status == 0 ? ok() : Status(error(code::second_engine_missing, fmt::format("cuBLASLt {}: {} for {} answered status {}", version_, what,
                                                                                 exact::shapes[precision].name, status)));
  };
  KFAB_TRY_VOID(checked(call_->operation_create(&operation_, row->compute, row->scale), "the description of a product"));
  // It counts columns first. Our C, row by row, is its C transposed: its first operand is our B, to be transposed, its second
  // our A as it is.
  const std::int32_t first = transpose, second = no_transpose;
  KFAB_TRY_VOID(checked(call_->operation_set(operation_, transpose_a, &first, sizeof first), "transposition"));
  KFAB_TRY_VOID(checked(call_->operation_set(operation_, transpose_b, &second, sizeof second), "transposition"));
  if (precision == exact::fp8) {
    const std::int8_t fast = fast_sums ? 1 : 0;
    KFAB_TRY_VOID(checked(call_->operation_set(operation_, fast_accumulation, &fast, sizeof fast), "the kind of sums"));
  }
  KFAB_TRY_VOID(checked(call_->layout_create(&layouts_[0], row->operand, std::uint64_t(k), std::uint64_t(n), k), "a layout"));
  KFAB_TRY_VOID(checked(call_->layout_create(&layouts_[1], row->operand, std::uint64_t(k), std::uint64_t(m), k), "a layout"));
  KFAB_TRY_VOID(checked(call_->layout_create(&layouts_[2], row->result, std::uint64_t(n), std::uint64_t(m), n), "a layout"));
  if (!workspace_.bytes()) {
    auto memory = session.allocate(workspace_bytes);
    if (memory) workspace_ = std::move(*memory);   // without one it chooses among fewer algorithms
  }
  void* preference = nullptr;
  KFAB_TRY_VOID(checked(call_->preference_create(&preference), "a preference"));
  const std::uint64_t allowed = workspace_.bytes();
  int status = call_->preference_set(preference, most_workspace, &allowed, sizeof allowed);
  std::vector<Choice> choices(most_algorithms);
  int found = 0;
  if (status == 0) status = call_->choose(handle_, operation_, layouts_[0], layouts_[1], layouts_[2], layouts_[2], preference, most_algorithms, choices.data(), &found);
  call_->preference_destroy(preference);
  KFAB_TRY_VOID(checked(status, "the choice of an algorithm"));
  choices.resize(std::size_t(std::clamp(found, 0, most_algorithms)));
  algorithms_.clear();
  chosen_ = 0;
  for (const auto& choice : choices) {
    if (choice.state != 0) continue;
    algorithms_.emplace_back();
    std::copy(std::begin(choice.algorithm), std::end(choice.algorithm), algorithms_.back().words);
  }
  if (algorithms_.empty())
    return error(code::second_engine_missing, fmt::format("cuBLASLt {} has no algorithm for {} of {} x {} x {}", version_, exact::shapes[precision].name, m, n, k));
  return ok();
}

Status CublasLt::choose_fastest(const Session& session, Pointer a, Pointer b, Pointer c) {
  if (algorithms_.size() < 2) return ok();
  KFAB_TRY(start, session.make_event());
  KFAB_TRY(end, session.make_event());
  std::optional<double> least;
  Status failed = ok();
  std::size_t fastest = 0;
  for (chosen_ = 0; chosen_ < algorithms_.size(); ++chosen_) {
    Status queued = multiply(a, b, c, session.stream());   // warms up
    if (queued) queued = session.record(start, session.stream());
    for (int i = 0; queued && i < timed_products; ++i) queued = multiply(a, b, c, session.stream());
    if (!queued) {
      failed = std::move(queued);
      continue;
    }
    KFAB_TRY_VOID(session.record(end, session.stream()));
    KFAB_TRY_VOID(session.wait(end));
    KFAB_TRY(seconds, session.seconds_between(start, end));
    if (least && *least <= seconds) continue;
    least = seconds;
    fastest = chosen_;
  }
  chosen_ = fastest;
  return least ? ok() : std::move(failed);
}

std::string CublasLt::chosen() const {
  return algorithms_.size() < 2 ? std::string("the only algorithm that it proposes") : fmt::format("algorithm {} of the {} that it proposes, the fastest", chosen_ + 1, algorithms_.size());
}

Status CublasLt::multiply(Pointer a, Pointer b, Pointer c, void* stream) {
  const double one_64f = 1, zero_64f = 0;
  const float one_32f = 1, zero_32f = 0;
  const std::int32_t one_32i = 1, zero_32i = 0;
  const void *alpha = &one_32f, *beta = &zero_32f;
  if (precision_ == exact::fp64) alpha = &one_64f, beta = &zero_64f;
  if (precision_ == exact::int8) alpha = &one_32i, beta = &zero_32i;
  const auto at = [](Pointer p) { return reinterpret_cast<void*>(std::uintptr_t(p)); };
  const int status = call_->multiply(handle_, operation_, alpha, at(b), layouts_[0], at(a), layouts_[1], beta, at(c), layouts_[2], at(c), layouts_[2],
                                     &algorithms_[chosen_], at(workspace_.at()), workspace_.bytes(), stream);
  return status == 0 ? ok() : Status(error(code::device_call_failed, fmt::format("cuBLASLt {}: a {} product answered status {}", version_,
                                                                           exact::shapes[precision_].name, status)));
}

}  // namespace kfab::agent::devices::cuda
