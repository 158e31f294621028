#include <algorithm>
#include <optional>

#include "agent/devices/cuda_session.hpp"
#include "agent/devices/memory_family.inc"
#include "base/codes/validation.hpp"

// Memory patterns over all of a GPU's free memory, 16 bytes a thread, at the speed of the memory.
namespace kfab::agent::devices::cuda {
namespace {

constexpr double default_fraction = 0.99;   // of free memory; what cannot be had of it is left out and shows in the coverage
constexpr std::uint64_t most_chunk = std::uint64_t{1} << 30;   // memory is taken in pieces, so that its last part is to be had as well
constexpr std::uint64_t granule = std::uint64_t{2} << 20;

class Tester {
 public:
  explicit Tester(Session& session) : session_(session) {}

  Status take(std::uint64_t budget) {
    KFAB_TRY(state, session_.allocate(sizeof(exact::CheckState)));
    state_ = std::move(state);
    std::uint64_t chunk = std::clamp(budget / 8 / granule * granule, granule, most_chunk);
    while (bytes_ + granule <= budget) {
      const std::uint64_t bytes = std::min(chunk, (budget - bytes_) / granule * granule);
      auto piece = session_.allocate(bytes);
      if (piece) {
        bytes_ += bytes;
        pieces_.push_back(std::move(*piece));
      } else if (bytes > granule) {
        chunk = std::max(granule, bytes / 2 / granule * granule);   // what is left lies in smaller pieces
      } else if (pieces_.empty()) {
        return std::move(piece).error();
      } else {
        break;
      }
    }
    if (pieces_.empty()) return error(code::device_memory_short, "less than 2 MiB of GPU memory are free");
    return ok();
  }

  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t words() const { return bytes_ / 8; }
  std::uint64_t bytes_moved() const { return moved_; }
  void reset_bytes_moved() { moved_ = 0; }
  const Diagnostic* failure() const { return failure_ ? &*failure_ : nullptr; }

  void fill(const PatternStep& step) {
    if (step.pattern == exact::modulo_20) {   // the marked words once, then the others twice: a write must not reach its neighbour
      fill_words(step, 1);
      fill_words(step, 2);
      fill_words(step, 2);
    } else {
      fill_words(step, 0);
    }
  }
  PatternStep move(const PatternStep& step) {
    for (const int back : {0, 1})
      for (const auto& piece : pieces_) {
        if (failure_) return step;
        const unsigned long long words = piece.bytes() / 8;
        keep(session_.launch("kfab_memory_move", session_.filling(words / 4, 512), session_.stream(), piece.at(), words, back));
      }
    moved_ += 2 * bytes_;   // half of it read and the other half written, twice
    return {exact::moved_blocks, step.parameter, step.flip};
  }
  exact::CheckState check(const PatternStep& step, bool rewrite) {
    exact::CheckState state = exact::empty_check_state();
    keep(session_.upload(state_.at(), &state, sizeof state));
    std::uint64_t base = 0;
    for (const auto& piece : pieces_) {
      if (failure_) return state;
      const unsigned long long words = piece.bytes() / 8, first = base, parameter = step.parameter, flip = step.flip;
      keep(session_.launch("kfab_memory_check", session_.filling(words / 2, 512), session_.stream(), piece.at(), words, first, step.pattern,
                           parameter, flip, int(rewrite), state_.at()));
      base += words;
    }
    keep(session_.synchronize(session_.stream()));
    keep(session_.download(&state, state_.at(), sizeof state));
    moved_ += bytes_ * (rewrite ? 2 : 1);
    if (!rewrite) look_again(state);
    if (!failure_ && state.checked != words())
      failure_ = error(code::device_call_failed, "the GPU compared " + std::to_string(state.checked) + " of " + std::to_string(words()) + " words");
    return state;
  }
  bool prove() {
    const PatternStep step{exact::own_address, 0, 0};
    fill(step);
    const auto& piece = pieces_.back();
    const std::uint64_t in_piece = piece.bytes() / 8 / 3 * 2 + 1, place = words() - piece.bytes() / 8 + in_piece, bit = std::uint64_t{1} << 41;
    std::uint64_t kept = 0;
    keep(session_.synchronize(session_.stream()));
    keep(session_.download(&kept, piece.at(in_piece * 8), 8));
    const std::uint64_t wrong = kept ^ bit;
    keep(session_.upload(piece.at(in_piece * 8), &wrong, 8));
    const bool found = found_exactly(check(step, false), place, bit);
    keep(session_.upload(piece.at(in_piece * 8), &kept, 8));
    return found && !failure_;
  }

 private:
  // What was recorded is read once more when the pass is over: by then the caches hold other words, so that this comes from
  // the memory itself. Not after a rewrite, where the kernel's own second look must do.
  void look_again(exact::CheckState& state) {
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(state.recorded, exact::max_records) && !failure_; ++i) {
      std::uint64_t at = state.records[i].index * 8;
      for (const auto& piece : pieces_) {
        if (at < piece.bytes()) {
          keep(session_.download(&state.records[i].second_read, piece.at(at), 8));
          break;
        }
        at -= piece.bytes();
      }
    }
  }
  void fill_words(const PatternStep& step, int only) {
    std::uint64_t base = 0;
    for (const auto& piece : pieces_) {
      if (failure_) return;
      const unsigned long long words = piece.bytes() / 8, first = base, parameter = step.parameter, flip = step.flip;
      keep(session_.launch("kfab_memory_fill", session_.filling(words / 2, 512), session_.stream(), piece.at(), words, first, step.pattern,
                           parameter, flip, only));
      base += words;
    }
    moved_ += only == 0 ? bytes_ : only == 1 ? bytes_ / 20 : bytes_ - bytes_ / 20;
  }
  void keep(const Status& status) {
    if (!status && !failure_) failure_ = status.error();
  }

  Session& session_;
  DeviceMemory state_;
  std::vector<DeviceMemory> pieces_;
  std::uint64_t bytes_ = 0, moved_ = 0;
  std::optional<Diagnostic> failure_;
};

}  // namespace

void run_memory(Session& session, const TestRequest& request, double seconds, TestSink& sink) {
  const auto memory = session.memory_info();
  if (!memory) return end_by(sink, "memory", 0, memory.error());
  std::uint64_t budget = std::uint64_t(double(memory->free) * (request.memory_fraction > 0 ? request.memory_fraction : default_fraction));
  if (request.memory_cap_bytes) budget = std::min(budget, request.memory_cap_bytes);
  Tester tester(session);
  if (const auto taken = tester.take(budget); !taken) return end_by(sink, "memory", 0, taken.error());
  run_memory_family(tester, request, seconds,
                    {tester.bytes(), memory->total,
                     fmt::format("{} MiB of the {} MiB that the driver gives in all, {} MiB were free", tester.bytes() >> 20, memory->total >> 20, memory->free >> 20)},
                    "the GPU", sink);
}

}  // namespace kfab::agent::devices::cuda
