#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>

#include <fmt/format.h>

#include "agent/devices/cuda_session.hpp"
#include "agent/devices/findings.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

// Copies between host and GPU, within the GPU and between GPUs, by the method and under the names of nvbandwidth, so that
// figures can be compared: buffers of 512 MiB, four copies to warm up and sixteen timed by events, all queued behind a
// kernel that spins until the host lets go, so that no launch is timed. Here each figure is the median of at least ten
// samples, and after every sample the whole destination is compared.
namespace kfab::agent::devices::cuda {
namespace {

constexpr std::uint64_t usual_buffer = std::uint64_t{512} << 20;
constexpr int warm_up_copies = 4, timed_copies = 16;
constexpr unsigned long long spin_limit_ns = 10'000'000'000ull;

// Keeps this thread on the processors of a NUMA node while it lives: memory that is pinned meanwhile is local to it.
class NearNode {
 public:
  explicit NearNode(int node) {
    if (node < 0 || sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    std::ifstream in(fmt::format("/sys/devices/system/node/node{}/cpulist", node));
    std::string list;
    std::getline(in, list);
    cpu_set_t near;
    CPU_ZERO(&near);
    int count = 0;
    for (const auto& part : split(trim(list), ',')) {
      int from = 0, to = 0;
      const int got = std::sscanf(part.c_str(), "%d-%d", &from, &to);
      for (int i = from; got > 0 && i <= (got == 2 ? to : from) && i < CPU_SETSIZE; ++i, ++count)
        if (CPU_ISSET(std::size_t(i), &before_)) CPU_SET(std::size_t(i), &near);
    }
    held_ = count > 0 && sched_setaffinity(0, sizeof near, &near) == 0;
  }
  ~NearNode() { if (held_) sched_setaffinity(0, sizeof before_, &before_); }
  bool held() const { return held_; }

 private:
  cpu_set_t before_{};
  bool held_ = false;
};

void host_fill(std::uint64_t* p, std::uint64_t words, std::uint64_t seed) {
  for (std::uint64_t i = 0; i < words; ++i) p[i] = exact::copy_word(i, seed);
}
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

// One end of a copy: memory of this GPU, of the host, or of a peer.
struct End {
  Pointer address = 0;
  std::uint64_t* host = nullptr;    // set when the host can read it
};

class Copies {
 public:
  Copies(Session& session, std::uint64_t bytes, const TestRequest& request, TestSink& sink)
      : session_(session), bytes_(bytes), samples_wanted_(std::max(request.samples, 1)), sink_(sink) {}

  Status prepare() {
    KFAB_TRY(latch, session_.allocate_pinned(4096));
    latch_.emplace(std::move(latch));
    KFAB_TRY(state, session_.allocate(sizeof(exact::CheckState)));
    state_ = std::move(state);
    for (int i = 0; i < 2; ++i) {
      KFAB_TRY(stream, session_.make_stream());
      streams_.push_back(std::move(stream));
      KFAB_TRY(event, session_.make_event());
      events_.push_back(std::move(event));
    }
    return ok();
  }

  struct Interference { End from, to; };   // copies of twice the size the other way, so that the measured ones are covered

  // One test of nvbandwidth's name. `fill`/`check`: whether an end is seen by the host is in the End.
  void test(const std::string& name, const End& from, const End& to, const std::string& link, const std::string& how,
            const Interference* against, double* gbps_out = nullptr) {
    const Stopwatch whole;
    const std::string metric = "bandwidth." + name;
    std::vector<double> samples;
    exact::CheckState wrong = exact::empty_check_state();
    bool proven = false;
    int compared = 0;
    auto status = fill(from, 0x5eed);
    for (int i = 0; status && i < samples_wanted_ + 1 && !sink_.stop_requested(); ++i) {
      status = fill(to, 0xbad + std::uint64_t(i));   // what was there before cannot be taken for what was copied
      if (!status) break;
      auto seconds = sample(from, to, against);
      if (!seconds) {
        status = std::move(seconds).error();
        break;
      }
      auto state = check(to, 0x5eed);
      if (!state) {
        status = std::move(state).error();
        break;
      }
      ++compared;
      if (state->mismatches && wrong.mismatches == 0) emit_mismatches(sink_, name, *state, 8, [&](std::uint64_t index) {
          return fmt::format("{}byte {} of {}", link.empty() ? std::string() : "link " + link + ", ", index * 8, bytes_);
        });
      wrong.mismatches += state->mismatches;
      wrong.mask |= state->mask;
      if (i == 0) {
        auto planted = plant(to, *state);
        if (!planted) {
          status = std::move(planted).error();
          break;
        }
        proven = *planted;
        emit_selftest(sink_, name, 1, proven);
        continue;   // the first sample warms the path
      }
      samples.push_back(double(bytes_) * timed_copies / std::max(*seconds, 1e-9) * 1e-9);
      sink_.progress(name, i, samples_wanted_, fmt::format("{:.1f} GB/s", samples.back()));
    }
    const bool enough = int(samples.size()) >= samples_wanted_;
    if (status && compared) {
      sink_.measurement(name, metric + "_gbps", enough ? json::Value(median_of(samples)) : json::Value(), "gbps",
                        fmt::format("{} MiB, {} + {} copies a sample, {}; {}", bytes_ >> 20, warm_up_copies, timed_copies, how, describe_samples(samples)), samples, link);
      sink_.measurement(name, metric + ".mismatches", double(wrong.mismatches), "count",
                        fmt::format("{} destinations compared whole, wrong bits {}", compared, hex_word(wrong.mask)), {}, link);
      if (gbps_out && enough) *gbps_out = median_of(samples);
    }
    if (!status) return end_by(sink_, name, whole.seconds(), status.error());
    if (!proven && compared) return sink_.test_done(name, "failed", whole.seconds(), "the checker missed a planted fault", to_string(code::checker_not_proven));
    if (!enough) return sink_.test_done(name, "not_run", whole.seconds(), "stopped before there were enough samples", to_string(code::test_stopped));
    sink_.test_done(name, "ran", whole.seconds());
  }

  // STREAM's four on the GPU.
  void stream() {
    const std::string test = "stream";
    const Stopwatch whole;
    if (auto status = stream_samples(test, whole); !status) end_by(sink_, test, whole.seconds(), status.error());
  }

 private:
  std::uint64_t words() const { return bytes_ / 8; }

  Status fill(const End& end, std::uint64_t seed) {
    if (end.host) return host_fill(end.host, words(), seed), ok();
    KFAB_TRY_VOID(session_.launch("kfab_copy_fill", session_.filling(words(), 512), session_.stream(), end.address,
                                  static_cast<unsigned long long>(words()), static_cast<unsigned long long>(seed)));
    return session_.synchronize(session_.stream());
  }
  Result<exact::CheckState> check(const End& end, std::uint64_t seed) {
    if (end.host) return host_check(end.host, words(), seed);
    exact::CheckState state = exact::empty_check_state();
    KFAB_TRY_VOID(session_.upload(state_.at(), &state, sizeof state));
    KFAB_TRY_VOID(session_.launch("kfab_copy_check", session_.filling(words(), 512), session_.stream(), end.address,
                                  static_cast<unsigned long long>(words()), static_cast<unsigned long long>(seed), state_.at()));
    KFAB_TRY_VOID(session_.synchronize(session_.stream()));
    KFAB_TRY_VOID(session_.download(&state, state_.at(), sizeof state));
    if (state.checked != words()) return error(code::device_call_failed, fmt::format("the GPU compared {} of {} words", state.checked, words()));
    return state;
  }
  // With real mismatches there already, the checker has found something: proven.
  Result<bool> plant(const End& end, const exact::CheckState& before) {
    if (before.mismatches) return true;
    const std::uint64_t place = words() / 3 * 2 + 1, bit = std::uint64_t{1} << 17;
    if (end.host) {
      end.host[place] ^= bit;
    } else {
      std::uint64_t word = exact::copy_word(place, 0x5eed) ^ bit;
      KFAB_TRY_VOID(session_.upload(end.address + place * 8, &word, 8));
    }
    KFAB_TRY(state, check(end, 0x5eed));
    return found_exactly(state, place, bit);
  }

  Status queue_copies(const End& from, const End& to, int copies, void* stream, std::uint64_t bytes) {
    for (int i = 0; i < copies; ++i) KFAB_TRY_VOID(session_.driver()->checked(session_.driver()->copy_async(to.address, from.address, bytes, stream), "queue a copy"));
    return ok();
  }

  // Seconds for the timed copies.
  Result<double> sample(const End& from, const End& to, const Interference* against) {
    volatile int* latch = latch_->as<int>();
    *latch = 0;
    Pointer latch_address = 0;
    KFAB_TRY_VOID(session_.driver()->checked(session_.driver()->host_device_pointer(&latch_address, latch_->as<void>(), 0), "map the latch"));
    const auto queue = [&]() -> Status {
      for (int i = 0; i < (against ? 2 : 1); ++i)
        KFAB_TRY_VOID(session_.launch("kfab_spin", {1, 1, 1}, streams_[std::size_t(i)].get(), latch_address, static_cast<unsigned long long>(spin_limit_ns)));
      KFAB_TRY_VOID(queue_copies(from, to, warm_up_copies, streams_[0].get(), bytes_));
      if (against) KFAB_TRY_VOID(queue_copies(against->from, against->to, warm_up_copies, streams_[1].get(), 2 * bytes_));
      KFAB_TRY_VOID(session_.record(events_[0], streams_[0].get()));
      if (against) {
        KFAB_TRY_VOID(session_.driver()->checked(session_.driver()->stream_wait(streams_[1].get(), events_[0].get(), 0), "order the streams"));
        KFAB_TRY_VOID(queue_copies(against->from, against->to, timed_copies, streams_[1].get(), 2 * bytes_));
      }
      KFAB_TRY_VOID(queue_copies(from, to, timed_copies, streams_[0].get(), bytes_));
      return session_.record(events_[1], streams_[0].get());
    };
    auto queued = queue();
    *latch = 1;   // also when something failed: no stream stays held
    KFAB_TRY_VOID(std::move(queued));
    KFAB_TRY_VOID(session_.wait(events_[1]));
    if (against) KFAB_TRY_VOID(session_.synchronize(streams_[1].get()));
    return session_.seconds_between(events_[0], events_[1]);
  }

  Status stream_samples(const std::string& test, const Stopwatch& whole) {
    struct Operation { const char* name; int arrays; };
    constexpr Operation operations[] = {{"copy", 2}, {"scale", 2}, {"add", 3}, {"triad", 3}};
    std::vector<DeviceMemory> arrays;
    for (int i = 0; i < 3; ++i) {
      KFAB_TRY(memory, session_.allocate(bytes_));
      arrays.push_back(std::move(memory));
    }
    const unsigned long long pairs = bytes_ / 16, elements = bytes_ / 8;
    const auto run = [&](int operation) {
      return session_.launch("kfab_stream", session_.filling(pairs, 512), streams_[0].get(), arrays[0].at(), arrays[1].at(), arrays[2].at(), pairs, operation);
    };
    const auto check_all = [&](int rounds) -> Result<exact::CheckState> {
      exact::CheckState state = exact::empty_check_state();
      KFAB_TRY_VOID(session_.upload(state_.at(), &state, sizeof state));
      const double before = std::exp2(3.0 * (rounds - 1)), factors[] = {8 * before, 2 * before, 3 * before};
      for (int i = 0; i < 3; ++i)
        KFAB_TRY_VOID(session_.launch("kfab_stream_check", session_.filling(elements, 512), streams_[0].get(), arrays[std::size_t(i)].at(), elements, factors[i], state_.at()));
      KFAB_TRY_VOID(session_.synchronize(streams_[0].get()));
      KFAB_TRY_VOID(session_.download(&state, state_.at(), sizeof state));
      if (state.checked != 3 * elements) return error(code::device_call_failed, fmt::format("the GPU compared {} of {} elements", state.checked, 3 * elements));
      return state;
    };
    KFAB_TRY_VOID(run(4));
    for (int operation = 0; operation < 4; ++operation) KFAB_TRY_VOID(run(operation));
    int rounds = 1;
    KFAB_TRY_VOID(session_.synchronize(streams_[0].get()));
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
        KFAB_TRY_VOID(session_.record(events_[0], streams_[0].get()));
        KFAB_TRY_VOID(run(operation));
        KFAB_TRY_VOID(session_.record(events_[1], streams_[0].get()));
        KFAB_TRY_VOID(session_.wait(events_[1]));
        KFAB_TRY(seconds, session_.seconds_between(events_[0], events_[1]));
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

  Session& session_;
  std::uint64_t bytes_;
  int samples_wanted_;
  TestSink& sink_;
  std::optional<PinnedMemory> latch_;
  DeviceMemory state_;
  std::vector<Stream> streams_;
  std::vector<Event> events_;
};

// Copies with every other GPU that this one can reach directly. A peer's buffer is made in its own context.
class Peers {
 public:
  Peers(Session& session, std::uint64_t bytes, TestSink& sink) : session_(session), bytes_(bytes), sink_(sink) {}

  void run(Copies& copies, int own_index, const End& own) {
    const auto& driver = session_.driver();
    int count = 0;
    driver->device_count(&count);
    for (int other = 0; other < count; ++other) {
      DeviceHandle peer = 0;
      int reachable = 0;
      if (other == own_index || driver->device_get(&peer, other) != 0 || driver->can_access_peer(&reachable, session_.device(), peer) != 0 || !reachable) continue;
      auto status = with_peer(peer, [&](const End& theirs) {
        copies.test("device_to_device_memcpy_read_ce", theirs, own, fmt::format("{}->{}", other, own_index), "copy engine, peer to this GPU, queued here", nullptr);
        copies.test("device_to_device_memcpy_write_ce", own, theirs, fmt::format("{}->{}", own_index, other), "copy engine, this GPU to peer, queued here", nullptr);
      });
      if (!status) end_by(sink_, "device_to_device_memcpy_read_ce", 0, status.error());
    }
  }

 private:
  Status with_peer(DeviceHandle peer, const std::function<void(const End&)>& use) {
    const auto& driver = session_.driver();
    void* context = nullptr;
    KFAB_TRY_VOID(driver->checked(driver->context_retain(&context, peer), "open a context on the peer"));
    const auto in_peer = [&]() -> Result<Pointer> {
      KFAB_TRY_VOID(driver->checked(driver->context_current(context), "use the peer's context"));
      Pointer pointer = 0;
      KFAB_TRY_VOID(driver->checked(driver->allocate(&pointer, bytes_), "allocate on the peer"));
      return pointer;
    };
    auto pointer = in_peer();
    driver->context_current(session_.context());
    if (!pointer) {
      driver->context_release(peer);
      return std::move(pointer).error();
    }
    constexpr Status_ already_enabled = 704;
    const Status_ enabled = driver->enable_peer(context, 0);
    Status status = enabled == already_enabled ? ok() : driver->checked(enabled, "reach the peer's memory");
    if (status) use(End{*pointer, nullptr});
    driver->context_current(context);
    driver->release(*pointer);
    driver->context_current(session_.context());
    driver->context_release(peer);
    return status;
  }

  Session& session_;
  std::uint64_t bytes_;
  TestSink& sink_;
};

}  // namespace

void run_bandwidth(Session& session, const Accelerator& accelerator, const TestRequest& request, double, TestSink& sink) {
  const auto memory = session.memory_info();
  if (!memory) return end_by(sink, "bandwidth", 0, memory.error());
  std::uint64_t bytes = request.buffer_bytes ? request.buffer_bytes : usual_buffer;
  bytes = std::max<std::uint64_t>(std::min(bytes, memory->free / 8) >> 12 << 12, 4096);

  Copies copies(session, bytes, request, sink);
  if (auto ready = copies.prepare(); !ready) return end_by(sink, "bandwidth", 0, ready.error());
  auto near = session.allocate(2 * bytes), far = session.allocate(2 * bytes);
  if (!near || !far) return end_by(sink, "bandwidth", 0, (near ? far : near).error());
  {
    const NearNode node(accelerator.numa_node);
    auto host = session.allocate_pinned(2 * bytes), opposite = session.allocate_pinned(2 * bytes);
    if (!host || !opposite) {
      end_by(sink, "host_to_device_memcpy_ce", 0, (host ? opposite : host).error());
    } else {
      std::memset(host->as<void>(), 0, host->bytes());
      std::memset(opposite->as<void>(), 0, opposite->bytes());
      const End on_host{host->address(), host->as<std::uint64_t>()}, on_host_2{opposite->address(), opposite->as<std::uint64_t>()};
      const End on_gpu{near->at(), nullptr}, on_gpu_2{far->at(), nullptr};
      const std::string how = node.held() ? fmt::format("copy engine, host memory pinned at NUMA node {}", accelerator.numa_node)
                                          : std::string("copy engine, pinned host memory, NUMA node not known");
      const Copies::Interference to_host{on_gpu_2, on_host_2}, to_gpu{on_host_2, on_gpu_2};
      copies.test("host_to_device_memcpy_ce", on_host, on_gpu, "", how, nullptr);
      copies.test("device_to_host_memcpy_ce", on_gpu, on_host, "", how, nullptr);
      copies.test("host_to_device_bidirectional_memcpy_ce", on_host, on_gpu, "", how + ", against copies of twice the size to the host", &to_host);
      copies.test("device_to_host_bidirectional_memcpy_ce", on_gpu, on_host, "", how + ", against copies of twice the size to the GPU", &to_gpu);
    }
  }
  double local = 0;
  copies.test("device_local_copy", End{near->at(), nullptr}, End{far->at(), nullptr}, "", "within the GPU, each byte counted once", nullptr, &local);
  sink.measurement("device_local_copy", "bandwidth.hbm_copy_rw_gbps", local > 0 ? json::Value(2 * local) : json::Value(), "gbps",
                   "device_local_copy with each byte counted as read and as written");
  Peers(session, bytes, sink).run(copies, accelerator.index, End{near->at(), nullptr});
  copies.stream();
}

}  // namespace kfab::agent::devices::cuda
