#include "agent/devices/cuda_copies.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "agent/devices/findings.hpp"
#include "base/codes/validation.hpp"
#include "base/statistics.hpp"

namespace kfab::agent::devices::cuda {
namespace {

constexpr int warm_up_copies = 4, timed_copies = 16, quick_part = 4;
constexpr unsigned long long spin_limit_ns = 10'000'000'000ull;
constexpr std::uint64_t source_seed = 0x5eed, target_seed = 0xbad;
constexpr std::uint64_t ring_stride = 128;
constexpr std::uint64_t hops = 100'000;

exact::CheckState host_check(const std::uint64_t* p, std::uint64_t words, std::uint64_t seed) {
  exact::CheckState state = exact::empty_check_state();
  for (std::uint64_t i = 0; i < words; ++i) {
    const std::uint64_t expected = exact::copy_word(i, seed), got = p[i];
    if (got == expected) continue;
    ++state.mismatches;
    state.mask |= got ^ expected;
    state.first = std::min(state.first, i);
    state.last = std::max(state.last, i);
    if (state.recorded < exact::max_records) state.records[state.recorded] = {i, expected, got, *static_cast<const volatile std::uint64_t*>(p + i)};
    ++state.recorded;
  }
  state.checked = words;
  return state;
}

}  // namespace

Copies::Copies(Session& session, std::uint64_t bytes, const TestRequest& request, TestSink& sink)
    : session_(session), bytes_(bytes), samples_wanted_(std::max(request.samples, 1)),
      warm_up_(request.level == "quick" ? warm_up_copies / quick_part : warm_up_copies), timed_(request.level == "quick" ? timed_copies / quick_part : timed_copies), sink_(sink) {}

Status Copies::prepare() {
  KFAB_TRY(latch, session_.allocate_pinned(4096));
  latch_.emplace(std::move(latch));
  KFAB_TRY(state, session_.allocate(sizeof(exact::CheckState)));
  state_ = std::move(state);
  return ok();
}

// This GPU fills and compares whatever it reaches, a peer's memory by the peer itself: over the same way as the copies, or
// beside it. What the host can read, the host itself compares in the last sample.
Status Copies::fill(const End& end, std::uint64_t seed) {
  Session& by = end.owner ? *end.owner : session_;
  KFAB_TRY_VOID(by.use());
  KFAB_TRY_VOID(by.launch("kfab_copy_fill", by.filling(words(), 512), by.stream(), end.address, static_cast<unsigned long long>(words()), static_cast<unsigned long long>(seed)));
  KFAB_TRY_VOID(by.synchronize(by.stream()));
  return session_.use();
}

Result<exact::CheckState> Copies::check(const End& end, std::uint64_t seed, bool by_host) {
  if (by_host && end.host) return host_check(end.host, words(), seed);
  Session& by = end.owner ? *end.owner : session_;
  exact::CheckState state = exact::empty_check_state();
  const auto compare = [&]() -> Status {
    KFAB_TRY_VOID(by.use());
    DeviceMemory own_state;
    if (&by != &session_) {
      KFAB_TRY(memory, by.allocate(sizeof state));
      own_state = std::move(memory);
    }
    const Pointer place = &by == &session_ ? state_.at() : own_state.at();
    KFAB_TRY_VOID(by.upload(place, &state, sizeof state));
    KFAB_TRY_VOID(by.launch("kfab_copy_check", by.filling(words(), 512), by.stream(), end.address, static_cast<unsigned long long>(words()),
                            static_cast<unsigned long long>(seed), place));
    KFAB_TRY_VOID(by.synchronize(by.stream()));
    return by.download(&state, place, sizeof state);
  };
  auto compared = compare();
  KFAB_TRY_VOID(session_.use());
  KFAB_TRY_VOID(std::move(compared));
  if (state.checked != words()) return error(code::device_call_failed, fmt::format("the GPU compared {} of {} words", state.checked, words()));
  return state;
}

// With real mismatches there already, the checker has found something: proven.
Result<bool> Copies::plant(const End& end, std::uint64_t seed, const exact::CheckState& before) {
  if (before.mismatches) return true;
  const std::uint64_t place = words() / 3 * 2 + 1, bit = std::uint64_t{1} << 17;
  for (const bool by_host : {false, true}) {
    if (by_host && !end.host) continue;
    const std::uint64_t word = exact::copy_word(place, seed) ^ bit;
    Session& by = end.owner ? *end.owner : session_;
    if (end.host) end.host[place] = word;
    else {
      KFAB_TRY_VOID(by.use());
      auto written = by.upload(end.address + place * 8, &word, 8);
      KFAB_TRY_VOID(session_.use());
      KFAB_TRY_VOID(std::move(written));
    }
    KFAB_TRY(state, check(end, seed, by_host));
    if (!found_exactly(state, place, bit)) return false;
  }
  return true;
}

Status Copies::queue(const Flow& flow, const Lane& lane, int copies) {
  const std::uint64_t bytes = flow.measured ? bytes_ : 2 * bytes_;
  const auto& driver = session_.driver();
  for (int i = 0; i < copies; ++i) {
    if (!flow.multiprocessors) {
      KFAB_TRY_VOID(driver->checked(driver->copy_async(flow.to.address, flow.from.address, bytes, lane.stream.get()), "queue a copy"));
    } else {
      const unsigned long long vectors = bytes / 16;
      KFAB_TRY_VOID(flow.by->launch("kfab_copy_sm", {unsigned(flow.by->multiprocessors()), 1, 512}, lane.stream.get(), flow.to.address, flow.from.address, vectors));
    }
  }
  return ok();
}

// Seconds for the timed copies of the first flow, or of all.
Result<double> Copies::sample(const CopyTest& test, std::vector<Lane>& lanes) {
  const auto& driver = session_.driver();
  volatile int* latch = latch_->as<int>();
  *latch = 0;
  const Pointer latch_address = latch_->address();
  const auto queue_all = [&]() -> Status {
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      KFAB_TRY_VOID(lanes[i].by->use());
      KFAB_TRY_VOID(lanes[i].by->launch("kfab_spin", {1, 1, 1}, lanes[i].stream.get(), latch_address, static_cast<unsigned long long>(spin_limit_ns)));
      KFAB_TRY_VOID(queue(test.flows[i], lanes[i], warm_up_));
      if (i == 0) KFAB_TRY_VOID(session_.record(lanes[0].start, lanes[0].stream.get()));
      else KFAB_TRY_VOID(driver->checked(driver->stream_wait(lanes[i].stream.get(), lanes[0].start.get(), 0), "order the streams"));
    }
    for (std::size_t i = lanes.size(); i-- > 0;) {   // the first one last: when it begins, all others have begun
      KFAB_TRY_VOID(lanes[i].by->use());
      KFAB_TRY_VOID(queue(test.flows[i], lanes[i], timed_));
      if (i > 0) KFAB_TRY_VOID(session_.record(lanes[i].end, lanes[i].stream.get()));
    }
    if (test.total)
      for (std::size_t i = 1; i < lanes.size(); ++i)
        KFAB_TRY_VOID(driver->checked(driver->stream_wait(lanes[0].stream.get(), lanes[i].end.get(), 0), "order the streams"));
    return session_.record(lanes[0].end, lanes[0].stream.get());
  };
  auto queued = queue_all();
  *latch = 1;   // also when something failed: no stream stays held
  KFAB_TRY_VOID(std::move(queued));
  KFAB_TRY_VOID(session_.wait(lanes[0].end));
  for (auto& lane : lanes) {
    KFAB_TRY_VOID(lane.by->use());
    KFAB_TRY_VOID(session_.synchronize(lane.stream.get()));
  }
  KFAB_TRY_VOID(lanes[0].by->use());
  auto seconds = session_.seconds_between(lanes[0].start, lanes[0].end);
  KFAB_TRY_VOID(session_.use());
  return seconds;
}

Status Copies::samples_of(const CopyTest& test, std::vector<double>& rates, exact::CheckState& wrong, int& compared, bool& proven) {
  std::vector<Lane> lanes;
  std::uint64_t moved = 0;
  for (const auto& flow : test.flows) {
    KFAB_TRY_VOID(flow.by->use());
    KFAB_TRY(stream, flow.by->make_stream());
    KFAB_TRY(start, flow.by->make_event());
    KFAB_TRY(end, flow.by->make_event());
    lanes.push_back({flow.by, std::move(stream), std::move(start), std::move(end)});
    if (&flow == test.flows.data() || test.total) moved += bytes_;
  }
  std::uint64_t seed = source_seed;
  for (const auto& flow : test.flows)
    if (flow.measured) KFAB_TRY_VOID(fill(flow.from, flow.from.address == test.flows[0].from.address ? source_seed : ++seed));
  for (int i = 0; i < samples_wanted_ + 1 && !sink_.stop_requested(); ++i) {
    for (const auto& flow : test.flows)   // what was there before cannot be taken for what was copied
      if (flow.measured) KFAB_TRY_VOID(fill(flow.to, target_seed + std::uint64_t(i)));
    KFAB_TRY(seconds, sample(test, lanes));
    seed = source_seed;
    for (const auto& flow : test.flows) {
      if (!flow.measured) continue;
      const std::uint64_t wanted = flow.from.address == test.flows[0].from.address ? source_seed : ++seed;
      KFAB_TRY(state, check(flow.to, wanted, i == samples_wanted_));
      ++compared;
      if (state.mismatches && wrong.mismatches == 0)
        emit_mismatches(sink_, test.name, state, 8, [&](std::uint64_t index) {
          return fmt::format("{}byte {} of {}", test.link.empty() ? std::string() : "link " + test.link + ", ", index * 8, bytes_);
        });
      wrong.mismatches += state.mismatches;
      wrong.mask |= state.mask;
      if (i == 0 && &flow == test.flows.data()) {
        KFAB_TRY(found, plant(flow.to, wanted, state));
        proven = found;
        emit_selftest(sink_, test.name, 1, proven);
      }
    }
    if (i == 0) continue;   // the first sample warms the path
    rates.push_back(double(moved) * timed_ / std::max(seconds, 1e-9) * 1e-9);
    sink_.progress(test.name, i, samples_wanted_, fmt::format("{:.1f} GB/s", rates.back()));
  }
  return ok();
}

void Copies::fail(const std::string& test, double seconds, const Diagnostic& why) {
  end_by(sink_, test, seconds, why);
  dead_ = dead_ || !session_.use() || !session_.synchronize(session_.stream());
}

double Copies::run(const CopyTest& test) {
  if (dead_) return 0;
  const Stopwatch whole;
  const std::string metric = "bandwidth." + test.name;
  std::vector<double> rates;
  exact::CheckState wrong = exact::empty_check_state();
  bool proven = false;
  int compared = 0;
  const auto status = samples_of(test, rates, wrong, compared, proven);
  const bool enough = int(rates.size()) >= samples_wanted_;
  if (status && compared) {
    sink_.measurement(test.name, metric + "_gbps", enough ? json::Value(median_of(rates)) : json::Value(), "gbps",
                      fmt::format("{} MiB, {} + {} copies a sample, {}; {}", bytes_ >> 20, warm_up_, timed_, test.how, describe_samples(rates)), rates, test.link);
    if (enough)
      sink_.measurement(test.name, metric + ".variation_pct", 100 * variation_of(rates), "percent", "coefficient of variation of the samples", {}, test.link);
    sink_.measurement(test.name, metric + ".mismatches", double(wrong.mismatches), "count",
                      fmt::format("{} destinations compared whole, wrong bits {}", compared, hex_word(wrong.mask)), {}, test.link);
  }
  if (!status) fail(test.name, whole.seconds(), status.error());
  else if (!proven && compared) sink_.test_done(test.name, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  else if (!enough) sink_.test_done(test.name, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  else sink_.test_done(test.name, "ran", whole.seconds());
  return status && enough ? median_of(rates) : 0;
}

Status Copies::latency_samples(const End& memory, std::uint64_t bytes, std::vector<double>& ns, exact::CheckState& wrong, bool& proven) {
  const std::uint64_t links = bytes / ring_stride, step = ring_stride / 8;
  std::vector<std::uint64_t> ring(links * step);
  for (std::uint64_t i = 0; i < links; ++i) ring[i * step] = memory.address + (i + 1) % links * ring_stride;
  if (memory.host) std::copy(ring.begin(), ring.end(), memory.host);
  else KFAB_TRY_VOID(session_.upload(memory.address, ring.data(), ring.size() * 8));
  KFAB_TRY(start, session_.make_event());
  KFAB_TRY(end, session_.make_event());
  KFAB_TRY(out, session_.allocate(256));
  for (int i = 0; i < samples_wanted_ + 1 && !sink_.stop_requested(); ++i) {
    const std::uint64_t nowhere = 0;
    KFAB_TRY_VOID(session_.upload(out.at(), &nowhere, sizeof nowhere));
    KFAB_TRY_VOID(session_.record(start, session_.stream()));
    const bool planting = i == 0;   // the first way warms up, and goes a step too far: the comparison proves itself by it
    KFAB_TRY_VOID(session_.launch("kfab_chase", {1, 1, 1}, session_.stream(), memory.address, static_cast<unsigned long long>(hops + planting), out.at()));
    KFAB_TRY_VOID(session_.record(end, session_.stream()));
    KFAB_TRY_VOID(session_.wait(end));
    KFAB_TRY(seconds, session_.seconds_between(start, end));
    std::uint64_t arrived = 0;
    KFAB_TRY_VOID(session_.download(&arrived, out.at(), sizeof arrived));
    if (planting) proven = arrived != memory.address + hops % links * ring_stride;
    const std::uint64_t expected = memory.address + (hops + planting) % links * ring_stride;
    ++wrong.checked;
    if (arrived != expected) {
      ++wrong.mismatches;
      wrong.mask |= arrived ^ expected;
    }
    if (!planting) ns.push_back(seconds / double(hops) * 1e9);
  }
  return ok();
}

void Copies::latency(const std::string& name, const End& memory, std::uint64_t bytes, const std::string& link, const std::string& how) {
  if (dead_) return;
  const Stopwatch whole;
  std::vector<double> ns;
  exact::CheckState wrong = exact::empty_check_state();
  bool proven = false;
  const auto status = latency_samples(memory, bytes, ns, wrong, proven);
  const bool enough = int(ns.size()) >= samples_wanted_;
  if (status && wrong.checked) {
    sink_.measurement(name, fmt::format("bandwidth.{}_ns", name), enough ? json::Value(median_of(ns)) : json::Value(), "ns",
                      fmt::format("{} dependent reads, {} bytes apart in {} KiB, {}; {}", hops, ring_stride, bytes >> 10, how, describe_samples(ns)), ns, link);
    sink_.measurement(name, fmt::format("bandwidth.{}.mismatches", name), double(wrong.mismatches), "count",
                      fmt::format("{} ways through the ring, each of which must end where it should", wrong.checked), {}, link);
  }
  if (status && wrong.checked) emit_selftest(sink_, name, 1, proven);
  if (!status) fail(name, whole.seconds(), status.error());
  else if (!proven && wrong.checked) sink_.test_done(name, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  else if (!enough) sink_.test_done(name, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  else sink_.test_done(name, "ran", whole.seconds());
}

void Copies::stream() {
  if (dead_) return;
  const std::string test = "stream";
  const Stopwatch whole;
  if (auto status = stream_samples(test); !status) fail(test, whole.seconds(), status.error());
}

Status Copies::stream_samples(const std::string& test) {
  const Stopwatch whole;
  KFAB_TRY(lane, session_.make_stream());
  KFAB_TRY(before_event, session_.make_event());
  KFAB_TRY(after_event, session_.make_event());
  struct Operation { const char* name; int arrays; };
  constexpr Operation operations[] = {{"copy", 2}, {"scale", 2}, {"add", 3}, {"triad", 3}};
  std::vector<DeviceMemory> arrays;
  for (int i = 0; i < 3; ++i) {
    KFAB_TRY(memory, session_.allocate(bytes_));
    arrays.push_back(std::move(memory));
  }
  const unsigned long long pairs = bytes_ / 16, elements = bytes_ / 8;
  const auto run = [&](int operation) {
    return session_.launch("kfab_stream", session_.filling(pairs, 512), lane.get(), arrays[0].at(), arrays[1].at(), arrays[2].at(), pairs, operation);
  };
  const auto check_all = [&](int rounds) -> Result<exact::CheckState> {
    exact::CheckState state = exact::empty_check_state();
    KFAB_TRY_VOID(session_.upload(state_.at(), &state, sizeof state));
    const double before = std::exp2(3.0 * (rounds - 1)), factors[] = {8 * before, 2 * before, 3 * before};
    for (int i = 0; i < 3; ++i)
      KFAB_TRY_VOID(session_.launch("kfab_stream_check", session_.filling(elements, 512), lane.get(), arrays[std::size_t(i)].at(), elements, factors[i], state_.at()));
    KFAB_TRY_VOID(session_.synchronize(lane.get()));
    KFAB_TRY_VOID(session_.download(&state, state_.at(), sizeof state));
    if (state.checked != 3 * elements) return error(code::device_call_failed, fmt::format("the GPU compared {} of {} elements", state.checked, 3 * elements));
    return state;
  };
  KFAB_TRY_VOID(run(4));
  for (int operation = 0; operation < 4; ++operation) KFAB_TRY_VOID(run(operation));
  int rounds = 1;
  KFAB_TRY_VOID(session_.synchronize(lane.get()));
  const std::uint64_t place = elements / 2 + 1;
  std::uint64_t kept = 0;
  KFAB_TRY_VOID(session_.download(&kept, arrays[1].at(place * 8), 8));
  const std::uint64_t wrong = kept ^ 4;
  KFAB_TRY_VOID(session_.upload(arrays[1].at(place * 8), &wrong, 8));
  KFAB_TRY(planted, check_all(rounds));
  KFAB_TRY_VOID(session_.upload(arrays[1].at(place * 8), &kept, 8));
  const bool proven = found_exactly(planted, place, 4);
  emit_selftest(sink_, test, 1, proven);

  std::vector<double> samples[4];
  for (int i = 0; i < samples_wanted_ && rounds < 300 && !sink_.stop_requested(); ++i, ++rounds) {
    for (int operation = 0; operation < 4; ++operation) {
      KFAB_TRY_VOID(session_.record(before_event, lane.get()));
      KFAB_TRY_VOID(run(operation));
      KFAB_TRY_VOID(session_.record(after_event, lane.get()));
      KFAB_TRY_VOID(session_.wait(after_event));
      KFAB_TRY(seconds, session_.seconds_between(before_event, after_event));
      samples[operation].push_back(double(bytes_) * operations[operation].arrays / std::max(seconds, 1e-9) * 1e-9);
    }
    sink_.progress(test, i + 1, samples_wanted_, fmt::format("{:.1f} GB/s", samples[3].back()));
  }
  KFAB_TRY(state, check_all(rounds));
  emit_mismatches(sink_, test, state, 8, [](std::uint64_t index) { return fmt::format("element {} of an array", index); });
  const bool enough = int(samples[3].size()) >= std::min(samples_wanted_, 10);
  for (int operation = 0; operation < 4; ++operation)
    sink_.measurement(test, fmt::format("bandwidth.stream_{}_gbps", operations[operation].name), enough ? json::Value(median_of(samples[operation])) : json::Value(), "gbps",
                      fmt::format("3 arrays of {} MiB; {}", bytes_ >> 20, describe_samples(samples[operation])), samples[operation]);
  sink_.measurement(test, "bandwidth.stream.mismatches", double(state.mismatches), "count", fmt::format("{} elements compared", state.checked));
  if (!proven) sink_.test_done(test, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  else if (!enough) sink_.test_done(test, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  else sink_.test_done(test, "ran", whole.seconds());
  return ok();
}

}  // namespace kfab::agent::devices::cuda
