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
constexpr std::uint64_t usual_hops = 100'000, quick_hops = 5'000;   // of about a microsecond each: events tell both times to a part in a thousand
// PCIe 1 over one lane moves 0.2 GB/s: what is slower than half of that does not work.
constexpr double slowest_gbps = 0.1, usual_silence_s = 120, most_sample_s = 1;

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
    : session_(session), most_bytes_(bytes), bytes_(bytes), hops_(request.level == "quick" ? quick_hops : usual_hops), samples_wanted_(std::max(request.samples, 1)),
      warm_up_(request.level == "quick" ? warm_up_copies / quick_part : warm_up_copies), timed_(request.level == "quick" ? timed_copies / quick_part : timed_copies),
      silence_s_(request.silence_s), sink_(sink), working_(&session) {}

Status Copies::prepare() {
  KFAB_TRY(latch, session_.allocate_pinned(4096));
  latch_.emplace(std::move(latch));
  KFAB_TRY(staged, session_.allocate_pinned(sizeof(exact::CheckState)));
  staged_.emplace(std::move(staged));
  KFAB_TRY(state, session_.allocate(sizeof(exact::CheckState)));
  state_ = std::move(state);
  return ok();
}

Status Copies::use(Session& by) {
  working_ = &by;
  return by.use();
}

// A third of the silence at most: what is found within is told by whoever waits, not by the one who watches.
double Copies::limit_for(double bytes) const { return std::min(10 + bytes / (slowest_gbps * 1e9), silence_s_ / 3); }

// Whether a GPU still runs a kernel that is over at once.
bool Copies::answers(Session& by) {
  *latch_->as<volatile int>() = 1;
  const auto ask = [&]() -> Status {
    KFAB_TRY_VOID(by.use());
    KFAB_TRY(stream, by.make_stream());
    KFAB_TRY_VOID(by.launch("kfab_spin", {1, 1, 1}, stream.get(), latch_->address(), 1ull));
    return by.finish(stream.get(), limit_for(0));
  };
  const bool answered = ask().has_value();
  return session_.use().has_value() && answered;
}

// This GPU fills and compares whatever it reaches, a peer's memory by the peer itself: over the same way as the copies, or
// beside it. What the host can read, the host itself compares in the last sample.
Status Copies::fill(const End& end, std::uint64_t seed) {
  Session& by = end.owner ? *end.owner : session_;
  KFAB_TRY_VOID(use(by));
  KFAB_TRY_VOID(by.launch("kfab_copy_fill", by.filling(words(), 512), by.stream(), end.address, static_cast<unsigned long long>(words()), static_cast<unsigned long long>(seed)));
  KFAB_TRY_VOID(by.finish(by.stream(), limit_for(double(bytes_))));
  return use(session_);
}

Result<exact::CheckState> Copies::check(const End& end, std::uint64_t seed, bool by_host) {
  if (by_host && end.host) return host_check(end.host, words(), seed);
  Session& by = end.owner ? *end.owner : session_;
  const auto& driver = session_.driver();
  auto& state = *staged_->as<exact::CheckState>();
  state = exact::empty_check_state();
  KFAB_TRY_VOID(use(by));
  DeviceMemory own_state;
  if (&by != &session_) {
    KFAB_TRY(memory, by.allocate(sizeof state));
    own_state = std::move(memory);
  }
  const Pointer place = &by == &session_ ? state_.at() : own_state.at();
  // Queued like the rest: a call that waits by itself would wait for ever on a GPU that hangs.
  KFAB_TRY_VOID(driver->checked(driver->copy_async(place, staged_->address(), sizeof state, by.stream()), "copy to the GPU"));
  KFAB_TRY_VOID(by.launch("kfab_copy_check", by.filling(words(), 512), by.stream(), end.address, static_cast<unsigned long long>(words()),
                          static_cast<unsigned long long>(seed), place));
  KFAB_TRY_VOID(driver->checked(driver->copy_async(staged_->address(), place, sizeof state, by.stream()), "copy from the GPU"));
  KFAB_TRY_VOID(by.finish(by.stream(), limit_for(double(bytes_))));
  if (state.checked != words()) return error(code::device_call_failed, fmt::format("the GPU compared {} of {} words", state.checked, words()));
  KFAB_TRY_VOID(use(session_));
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
      KFAB_TRY_VOID(use(by));
      KFAB_TRY_VOID(by.upload(end.address + place * 8, &word, 8));
      KFAB_TRY_VOID(use(session_));
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

// Seconds for the timed copies: of the first flow, of all, or of each.
Result<std::vector<double>> Copies::sample(const CopyTest& test, std::vector<Lane>& lanes, const Samples& how) {
  const auto& driver = session_.driver();
  volatile int* latch = latch_->as<int>();
  *latch = 0;
  const Pointer latch_address = latch_->address();
  const bool total = test.figures == Figures::total, each = test.figures == Figures::each;
  const auto queue_all = [&]() -> Status {
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      KFAB_TRY_VOID(use(*lanes[i].by));
      KFAB_TRY_VOID(lanes[i].by->launch("kfab_spin", {1, 1, 1}, lanes[i].stream.get(), latch_address, static_cast<unsigned long long>(spin_limit_ns)));
      KFAB_TRY_VOID(queue(test.flows[i], lanes[i], how.warm_up));
      if (i == 0) KFAB_TRY_VOID(lanes[0].by->record(lanes[0].start, lanes[0].stream.get()));
      else KFAB_TRY_VOID(driver->checked(driver->stream_wait(lanes[i].stream.get(), lanes[0].start.get(), 0), "order the streams"));
      if (i > 0 && each) KFAB_TRY_VOID(lanes[i].by->record(lanes[i].start, lanes[i].stream.get()));
    }
    for (std::size_t i = lanes.size(); i-- > 0;) {   // the first one last: when it begins, all others have begun
      KFAB_TRY_VOID(use(*lanes[i].by));
      KFAB_TRY_VOID(queue(test.flows[i], lanes[i], how.timed));
      if (i > 0) KFAB_TRY_VOID(lanes[i].by->record(lanes[i].end, lanes[i].stream.get()));
    }
    if (total)
      for (std::size_t i = 1; i < lanes.size(); ++i)
        KFAB_TRY_VOID(driver->checked(driver->stream_wait(lanes[0].stream.get(), lanes[i].end.get(), 0), "order the streams"));
    return lanes[0].by->record(lanes[0].end, lanes[0].stream.get());
  };
  auto queued = queue_all();
  *latch = 1;   // also when something failed: no stream stays held
  KFAB_TRY_VOID(std::move(queued));
  const double limit = limit_for(double(bytes_) * double(how.warm_up + how.timed) * double(2 * lanes.size()));
  for (auto& lane : lanes) {   // who copies for another one waits with it: the culprit is found by asking each
    KFAB_TRY_VOID(use(*lane.by));
    KFAB_TRY_VOID(lane.by->wait(lane.end, limit));
  }
  std::vector<double> seconds;
  for (std::size_t i = 0; i < (each ? lanes.size() : 1); ++i) {
    KFAB_TRY_VOID(use(*lanes[i].by));
    KFAB_TRY(one, lanes[i].by->seconds_between(lanes[i].start, lanes[i].end));
    seconds.push_back(one);
  }
  KFAB_TRY_VOID(use(session_));
  return seconds;
}

// Every measured destination against what its source held.
Status Copies::compare_all(const CopyTest& test, bool first, bool last, Samples& out) {
  std::uint64_t seed = source_seed;
  for (const auto& flow : test.flows) {
    if (!flow.measured) continue;
    const std::uint64_t wanted = flow.from.address == test.flows[0].from.address ? source_seed : ++seed;
    KFAB_TRY(state, check(flow.to, wanted, last));
    ++out.compared;
    if (state.mismatches && out.wrong.mismatches == 0)
      emit_mismatches(sink_, test.name, state, 8, [&](std::uint64_t index) {
        return fmt::format("{}byte {} of {}", test.link.empty() ? std::string() : "link " + test.link + ", ", index * 8, bytes_);
      });
    out.wrong.mismatches += state.mismatches;
    out.wrong.mask |= state.mask;
    if (!first || &flow != test.flows.data()) continue;
    KFAB_TRY(found, plant(flow.to, wanted, state));
    out.proven = found;
    emit_selftest(sink_, test.name, 1, found);
  }
  return ok();
}

// So many timed copies that a sample lasts about as long as it may; all of them where the link is fast enough.
void Copies::fit(const CopyTest& test, double seconds_of_one, Samples& out) const {
  const double most_s = std::min(test.sample_s, most_sample_s) * std::min(1.0, silence_s_ / usual_silence_s);
  out.timed = int(std::clamp(most_s / std::max(seconds_of_one, 1e-9), 1.0, double(timed_)));
  out.warm_up = out.timed == timed_ ? warm_up_ : std::clamp(out.timed / 4, 1, warm_up_);
}

Status Copies::samples_of(const CopyTest& test, Samples& out) {
  std::vector<Lane> lanes;
  std::uint64_t moved = 0;
  for (const auto& flow : test.flows) {
    KFAB_TRY_VOID(use(*flow.by));
    KFAB_TRY(stream, flow.by->make_stream());
    KFAB_TRY(start, flow.by->make_event());
    KFAB_TRY(end, flow.by->make_event());
    lanes.push_back({flow.by, std::move(stream), std::move(start), std::move(end)});
    if (&flow == test.flows.data() || test.figures == Figures::total) moved += bytes_;
  }
  out.rates.resize(test.figures == Figures::each ? test.flows.size() + 1 : 1);
  std::uint64_t seed = source_seed;
  for (const auto& flow : test.flows)
    if (flow.measured) KFAB_TRY_VOID(fill(flow.from, flow.from.address == test.flows[0].from.address ? source_seed : ++seed));
  out.warm_up = out.timed = 1;   // the first sample warms the path, and tells how fast it is
  for (int i = 0; i < samples_wanted_ + 1 && !sink_.stop_requested(); ++i) {
    for (const auto& flow : test.flows)   // what was there before cannot be taken for what was copied
      if (flow.measured) KFAB_TRY_VOID(fill(flow.to, target_seed + std::uint64_t(i)));
    KFAB_TRY(seconds, sample(test, lanes, out));
    KFAB_TRY_VOID(compare_all(test, i == 0, i == samples_wanted_, out));
    if (i == 0) {
      sink_.progress(test.name, 0, samples_wanted_, "warmed up");
      fit(test, *std::max_element(seconds.begin(), seconds.end()), out);
      continue;
    }
    double all = 0;
    for (std::size_t at = 0; at < seconds.size(); ++at) {
      out.rates[at].push_back(double(moved) * out.timed / std::max(seconds[at], 1e-9) * 1e-9);
      all += out.rates[at].back();
    }
    if (test.figures == Figures::each) out.rates.back().push_back(all);
    sink_.progress(test.name, i, samples_wanted_, fmt::format("{:.1f} GB/s", all));
  }
  return ok();
}

// Who is to blame: the GPU in whose context it failed; where that is this one, a peer that does not answer either, since its memory
// was being used; where all answer and only the copies never end, the link.
void Copies::fail(const std::string& test, const std::string& link, double seconds, const Diagnostic& why, const std::vector<Session*>& others) {
  Session* sick = working_ == &session_ ? nullptr : working_;
  working_ = &session_;
  if (sick && why.code == code::test_hung && answers(*sick)) sick = nullptr;
  const bool own_answers = answers(session_);
  dead_ = !own_answers;
  for (auto* other : others)
    if (!sick && !lost(other) && !answers(*other)) sick = other;
  Diagnostic told = why;
  if (!link.empty()) told.message = fmt::format("link {}: {}", link, why.message);
  if (sick) {
    lost_.push_back(sick);
    return sink_.test_done(test, "not_run", seconds, fmt::format("link {}: {}: {} ({})", link.empty() ? "to the peers" : link, sick->words(), why.message, to_string(why.code)), to_string(code::peer_failed));
  }
  if (own_answers && !others.empty() && why.code == code::test_hung) told.code = code::link_silent;
  end_by(sink_, test, seconds, told);
  if (told.code == code::link_silent) lost_.insert(lost_.end(), others.begin(), others.end());
}

void Copies::tell(const CopyTest& test, const Samples& samples, bool enough) {
  const std::string metric = "bandwidth." + test.name;
  const std::string fewer = samples.timed < timed_ && enough ? ", fewer than usual for a slow link" : "";
  for (std::size_t i = 0; i < samples.rates.size(); ++i) {
    const auto& rates = samples.rates[i];
    const bool total = test.figures == Figures::each && i + 1 == samples.rates.size();
    const std::string suffix = test.figures != Figures::each ? "" : total ? "_total" : test.each[i].first;
    const std::string& link = test.figures != Figures::each || total ? test.link : test.each[i].second;
    sink_.measurement(test.name, metric + suffix + "_gbps", enough ? json::Value(median_of(rates)) : json::Value(), "gbps",
                      fmt::format("{} MiB, {} + {} copies a sample{}, {}; {}", bytes_ >> 20, samples.warm_up, samples.timed, fewer, test.how, describe_samples(rates)), rates, link);
    if (enough)
      sink_.measurement(test.name, metric + suffix + ".variation_pct", 100 * variation_of(rates), "percent", "coefficient of variation of the samples", {}, link);
  }
  sink_.measurement(test.name, metric + ".mismatches", double(samples.wrong.mismatches), "count",
                    fmt::format("{} destinations compared whole, wrong bits {}", samples.compared, hex_word(samples.wrong.mask)), {}, test.link);
}

double Copies::run(const CopyTest& test) {
  if (dead_) return 0;
  bytes_ = test.bytes ? std::min(test.bytes, most_bytes_) : most_bytes_;
  std::vector<Session*> others;
  for (const auto& flow : test.flows)
    for (auto* one : {flow.by, flow.from.owner, flow.to.owner})
      if (one && one != &session_ && std::find(others.begin(), others.end(), one) == others.end()) others.push_back(one);
  const Stopwatch whole;
  Samples samples;
  const auto status = samples_of(test, samples);
  const bool enough = !samples.rates.empty() && int(samples.rates[0].size()) >= samples_wanted_;
  if (status && samples.compared) tell(test, samples, enough);
  if (!status) fail(test.name, test.link, whole.seconds(), status.error(), others);
  else if (!samples.proven && samples.compared) sink_.test_done(test.name, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  else if (!enough) sink_.test_done(test.name, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  else sink_.test_done(test.name, "ran", whole.seconds());
  return status && enough ? median_of(samples.rates[0]) : 0;
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
    KFAB_TRY_VOID(session_.launch("kfab_chase", {1, 1, 1}, session_.stream(), memory.address, static_cast<unsigned long long>(hops_ + planting), out.at()));
    KFAB_TRY_VOID(session_.record(end, session_.stream()));
    KFAB_TRY_VOID(session_.wait(end, limit_for(0)));
    KFAB_TRY(seconds, session_.seconds_between(start, end));
    sink_.progress("latency", i, samples_wanted_, "dependent reads");
    std::uint64_t arrived = 0;
    KFAB_TRY_VOID(session_.download(&arrived, out.at(), sizeof arrived));
    if (planting) proven = arrived != memory.address + hops_ % links * ring_stride;
    const std::uint64_t expected = memory.address + (hops_ + planting) % links * ring_stride;
    ++wrong.checked;
    if (arrived != expected) {
      ++wrong.mismatches;
      wrong.mask |= arrived ^ expected;
    }
    if (!planting) ns.push_back(seconds / double(hops_) * 1e9);
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
                      fmt::format("{} dependent reads, {} bytes apart in {} KiB, {}; {}", hops_, ring_stride, bytes >> 10, how, describe_samples(ns)), ns, link);
    sink_.measurement(name, fmt::format("bandwidth.{}.mismatches", name), double(wrong.mismatches), "count",
                      fmt::format("{} ways through the ring, each of which must end where it should", wrong.checked), {}, link);
  }
  if (status && wrong.checked) emit_selftest(sink_, name, 1, proven);
  if (!status) fail(name, link, whole.seconds(), status.error(), memory.owner && memory.owner != &session_ ? std::vector<Session*>{memory.owner} : std::vector<Session*>{});
  else if (!proven && wrong.checked) sink_.test_done(name, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  else if (!enough) sink_.test_done(name, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  else sink_.test_done(name, "ran", whole.seconds());
}

void Copies::stream() {
  if (dead_) return;
  const std::string test = "stream";
  const Stopwatch whole;
  if (auto status = stream_samples(test); !status) fail(test, {}, whole.seconds(), status.error(), {});
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
    KFAB_TRY(memory, session_.allocate(most_bytes_));
    arrays.push_back(std::move(memory));
  }
  const unsigned long long pairs = most_bytes_ / 16, elements = most_bytes_ / 8;
  const auto run = [&](int operation) {
    return session_.launch("kfab_stream", session_.filling(pairs, 512), lane.get(), arrays[0].at(), arrays[1].at(), arrays[2].at(), pairs, operation);
  };
  const auto check_all = [&](int rounds) -> Result<exact::CheckState> {
    exact::CheckState state = exact::empty_check_state();
    KFAB_TRY_VOID(session_.upload(state_.at(), &state, sizeof state));
    const double before = std::exp2(3.0 * (rounds - 1)), factors[] = {8 * before, 2 * before, 3 * before};
    for (int i = 0; i < 3; ++i)
      KFAB_TRY_VOID(session_.launch("kfab_stream_check", session_.filling(elements, 512), lane.get(), arrays[std::size_t(i)].at(), elements, factors[i], state_.at()));
    KFAB_TRY_VOID(session_.finish(lane.get(), limit_for(0)));
    KFAB_TRY_VOID(session_.download(&state, state_.at(), sizeof state));
    if (state.checked != 3 * elements) return error(code::device_call_failed, fmt::format("the GPU compared {} of {} elements", state.checked, 3 * elements));
    return state;
  };
  KFAB_TRY_VOID(run(4));
  for (int operation = 0; operation < 4; ++operation) KFAB_TRY_VOID(run(operation));
  int rounds = 1;
  KFAB_TRY_VOID(session_.finish(lane.get(), limit_for(0)));
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
      KFAB_TRY_VOID(session_.wait(after_event, limit_for(0)));
      KFAB_TRY(seconds, session_.seconds_between(before_event, after_event));
      samples[operation].push_back(double(most_bytes_) * operations[operation].arrays / std::max(seconds, 1e-9) * 1e-9);
    }
    sink_.progress(test, i + 1, samples_wanted_, fmt::format("{:.1f} GB/s", samples[3].back()));
  }
  KFAB_TRY(state, check_all(rounds));
  emit_mismatches(sink_, test, state, 8, [](std::uint64_t index) { return fmt::format("element {} of an array", index); });
  const bool enough = int(samples[3].size()) >= std::min(samples_wanted_, 10);
  for (int operation = 0; operation < 4; ++operation)
    sink_.measurement(test, fmt::format("bandwidth.stream_{}_gbps", operations[operation].name), enough ? json::Value(median_of(samples[operation])) : json::Value(), "gbps",
                      fmt::format("3 arrays of {} MiB; {}", most_bytes_ >> 20, describe_samples(samples[operation])), samples[operation]);
  sink_.measurement(test, "bandwidth.stream.mismatches", double(state.mismatches), "count", fmt::format("{} elements compared", state.checked));
  if (!proven) sink_.test_done(test, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
  else if (!enough) sink_.test_done(test, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
  else sink_.test_done(test, "ran", whole.seconds());
  return ok();
}

}  // namespace kfab::agent::devices::cuda
