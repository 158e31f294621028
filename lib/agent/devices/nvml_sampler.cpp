#include "agent/devices/nvml_sampler.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "agent/devices/findings.hpp"
#include "agent/nvml_library.hpp"
#include "base/codes/validation.hpp"
#include "base/statistics.hpp"

namespace kfab::agent::devices {
namespace {

// Bits of nvmlClocksEventReasons.
struct Reason { unsigned long long bit; const char* name; };
constexpr Reason reasons[] = {{0x2, "clock_setting"}, {0x4, "power_cap"}, {0x8, "hw_slowdown"}, {0x20, "sw_thermal"}, {0x40, "hw_thermal"}, {0x80, "power_brake"}};

struct Sample {
  std::optional<double> power_w, temperature_c, clock_mhz;
  std::optional<unsigned long long> reasons;
  std::string_view interval{};
};

// What is told of all samples of an interval, also of those that were dropped since: a slowdown that came once in a soak is one,
// and the highest temperature stays the highest. Weights are the time between samples, which grows.
struct Totals {
  double power = 0, power_weight = 0, most_power = 0, most_heat = 0, reasons_weight = 0;
  std::array<double, std::size(reasons)> held{};
  std::size_t powers = 0, heats = 0, looks = 0;

  void take(const Sample& one, double weight) {
    if (one.power_w) {
      power += *one.power_w * weight;
      power_weight += weight;
      most_power = std::max(most_power, *one.power_w);
      ++powers;
    }
    if (one.temperature_c) {
      most_heat = heats == 0 ? *one.temperature_c : std::max(most_heat, *one.temperature_c);
      ++heats;
    }
    if (!one.reasons) return;
    reasons_weight += weight;
    ++looks;
    for (std::size_t i = 0; i < std::size(reasons); ++i)
      if (*one.reasons & reasons[i].bit) held[i] += weight;
  }
};

// What was done under one name: by the GPU's meter where it has one, and by samples of its settled part.
struct Work {
  double joules = 0, seconds = 0;
  bool metered = true;
  Totals settled;
};

// What kept it from drawing more, in words.
std::string held_back_by(const Totals& of) {
  if (of.looks == 0) return "what held it back the driver does not tell";
  std::string why;
  for (std::size_t k = 0; k < std::size(reasons); ++k)
    if (of.held[k] > 0) why += fmt::format("{}{} {:.0f} % of the time", why.empty() ? "held back by " : ", ", reasons[k].name, 100 * of.held[k] / of.reasons_weight);
  return why.empty() ? "nothing held it back as far as the driver tells: the load draws no more" : why;
}

}  // namespace

struct NvmlSampler::State {
  using Handle = void*;
  template <class F> F find(const char* name) const { return reinterpret_cast<F>(::dlsym(library, name)); }

  void* library = nullptr;
  Handle device = nullptr;
  std::string why_not;
  int (*power)(Handle, unsigned*) = nullptr;
  int (*temperature)(Handle, int, unsigned*) = nullptr;
  int (*clock)(Handle, int, unsigned*) = nullptr;
  int (*events)(Handle, unsigned long long*) = nullptr;
  int (*limit)(Handle, unsigned*) = nullptr;
  int (*ecc)(Handle, int, int, unsigned long long*) = nullptr;
  int (*energy)(Handle, unsigned long long*) = nullptr;
  std::optional<unsigned long long> ecc_before;
  mutable bool ecc_unsupported = false;   // said by NVML the last time

  std::mutex mutex;
  std::condition_variable wake;
  bool stop = false;
  std::string_view interval;
  std::string work;                        // under way since work_since; empty: none
  std::chrono::steady_clock::time_point work_since;
  std::optional<double> work_from_j;
  std::map<std::string, Work> of_work;
  double least_work_s = 3;
  double integrated_j = 0;
  std::chrono::milliseconds period{100};
  std::size_t most_samples = 100'000;      // then every second one is dropped and the period doubles
  std::vector<Sample> samples;             // for medians
  Totals all;
  std::map<std::string_view, Totals> of_interval;
  std::thread thread;

  bool open(const std::string& name, const std::string& uuid, const std::string& pci_bus_id) {
    const NvmlLibrary nvml(name);
    if (!nvml.loaded()) return why_not = name + " cannot be loaded", false;
    library = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (nvml.call("nvmlInit_v2") != NvmlLibrary::success) return why_not = name + " could not be initialised", false;
    const auto found = nvml.find_gpu(uuid, pci_bus_id);
    if (found.code != NvmlLibrary::success) return why_not = found.why, false;
    device = found.device;
    power = find<decltype(power)>("nvmlDeviceGetPowerUsage");
    temperature = find<decltype(temperature)>("nvmlDeviceGetTemperature");
    clock = find<decltype(clock)>("nvmlDeviceGetClockInfo");
    events = find<decltype(events)>("nvmlDeviceGetCurrentClocksEventReasons");
    if (!events) events = find<decltype(events)>("nvmlDeviceGetCurrentClocksThrottleReasons");
    limit = find<decltype(limit)>("nvmlDeviceGetEnforcedPowerLimit");
    ecc = find<decltype(ecc)>("nvmlDeviceGetTotalEccErrors");
    energy = find<decltype(energy)>("nvmlDeviceGetTotalEnergyConsumption");
    ecc_before = ecc_count();
    return true;
  }
  std::optional<unsigned long long> ecc_count() const {   // uncorrected, since the driver was loaded
    unsigned long long count = 0;
    constexpr int not_supported = NvmlLibrary::not_supported;
    const int told = ecc ? ecc(device, 1, 0, &count) : -1;
    ecc_unsupported = told == not_supported;
    if (told == 0) return count;
    return std::nullopt;
  }
  std::optional<double> metered_j() const {
    unsigned long long millijoules = 0;
    if (device && energy && energy(device, &millijoules) == 0) return double(millijoules) / 1000;
    return std::nullopt;
  }
  // In watts; nothing where it was too short for its meter.
  std::optional<double> power_of(const Work& of) const {
    if (of.metered) return of.seconds >= least_work_s ? std::optional(of.joules / of.seconds) : std::nullopt;
    const double sampled_s = of.settled.power_weight * std::chrono::duration<double>(period).count();
    return of.settled.powers > 1 && sampled_s >= least_work_s ? std::optional(of.settled.power / of.settled.power_weight) : std::nullopt;
  }
  Sample take() const {
    Sample out;
    unsigned value = 0;
    unsigned long long bits = 0;
    if (power && power(device, &value) == 0) out.power_w = value / 1000.0;
    if (temperature && temperature(device, 0, &value) == 0) out.temperature_c = value;
    if (clock && clock(device, 1, &value) == 0) out.clock_mhz = value;
    if (events && events(device, &bits) == 0) out.reasons = bits;
    return out;
  }
  void run() {
    auto pause = period;
    std::optional<std::chrono::steady_clock::time_point> last;
    std::unique_lock lock(mutex);
    do {   // one at least: a test that is over before this thread has its turn has a figure as well
      lock.unlock();
      const auto asked = std::chrono::steady_clock::now();
      Sample one = take();   // may block in the driver: not under the lock
      lock.lock();
      one.interval = interval;
      const auto now = std::chrono::steady_clock::now();
      if (one.power_w && last) integrated_j += *one.power_w * std::chrono::duration<double>(now - *last).count();
      last = now;
      samples.push_back(one);
      const double weight = double(pause.count()) / double(period.count());
      all.take(one, weight);
      of_interval[one.interval].take(one, weight);
      if (!work.empty() && std::chrono::duration<double>(asked - work_since).count() >= std::min(1.0, least_work_s / 3)) of_work[work].settled.take(one, weight);
      if (samples.size() >= most_samples) {
        for (std::size_t i = 0; i < samples.size() / 2; ++i) samples[i] = samples[2 * i];
        samples.resize(samples.size() / 2);
        pause *= 2;
      }
      wake.wait_for(lock, pause, [this] { return stop; });
    } while (!stop);
  }
  template <class Member>
  std::vector<double> values(Member member, std::optional<std::string_view> of = std::nullopt) const {
    std::vector<double> out;
    for (const auto& sample : samples)
      if (sample.*member && (!of || sample.interval == *of)) out.push_back(double(*(sample.*member)));
    return out;
  }
};

NvmlSampler::NvmlSampler(const std::string& library, const std::string& uuid, const std::string& pci_bus_id, std::chrono::milliseconds period, std::size_t most_samples, double least_work_s) : state_(std::make_unique<State>()) {
  state_->least_work_s = least_work_s;
  state_->period = period;
  state_->most_samples = most_samples;
  if (state_->open(library, uuid, pci_bus_id)) state_->thread = std::thread([this] { state_->run(); });
}

NvmlSampler::~NvmlSampler() {
  if (!state_->thread.joinable()) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  state_->thread.join();
}

void NvmlSampler::interval(std::string_view name) {
  const std::lock_guard lock(state_->mutex);
  state_->interval = name;
}

void NvmlSampler::begin_work(std::string name) {
  const auto from = state_->metered_j();
  const std::lock_guard lock(state_->mutex);
  state_->work = std::move(name);
  state_->work_since = std::chrono::steady_clock::now();
  state_->work_from_j = from;
}

void NvmlSampler::end_work() {
  const auto to = state_->metered_j();
  const std::lock_guard lock(state_->mutex);
  if (state_->work.empty()) return;
  Work& of = state_->of_work[state_->work];
  of.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - state_->work_since).count();
  if (to && state_->work_from_j && *to >= *state_->work_from_j) of.joules += *to - *state_->work_from_j;
  else of.metered = false;
  state_->work.clear();
}

std::optional<double> NvmlSampler::energy_j() const {
  if (!state_->thread.joinable()) return std::nullopt;
  if (const auto metered = state_->metered_j()) return metered;
  if (!state_->power) return std::nullopt;
  const std::lock_guard lock(state_->mutex);
  return state_->integrated_j;
}

// Whether it drew what it may, and if not, what held it back. Precisions draw differently: the one that draws most is what counts.
void NvmlSampler::report_power_of_work(std::string_view family, std::optional<double> limit_w, TestSink& sink) {
  constexpr double enough_pct = 95;
  const auto tell = [&](const std::string& metric, std::optional<double> power, const std::string& what, const Totals& of) {
    if (!limit_w) return;
    const auto share = power ? std::optional(100 * *power / *limit_w) : std::nullopt;
    sink.measurement("telemetry", metric, json::Value(share), "percent",
                     fmt::format("{} of the enforced limit of {:.0f} W{}", what, *limit_w, !share || *share >= enough_pct ? std::string() : "; " + held_back_by(of)));
  };
  const std::string metric = fmt::format("{}.power_of_limit_pct", family);
  const Totals& all = state_->all;
  if (state_->of_work.empty()) return tell(metric, all.power / all.power_weight, "mean", all);
  const std::pair<const std::string, Work>* most = nullptr;
  for (const auto& one : state_->of_work) {
    const auto power = state_->power_of(one.second);
    const std::string how = !power ? fmt::format("nothing told: {:.1f} s of work are too short for it,", one.second.seconds)
                                   : fmt::format("mean over {:.1f} s {}", one.second.seconds, one.second.metered ? "by the GPU's energy meter" : fmt::format("by {} samples", one.second.settled.powers));
    sink.measurement("telemetry", fmt::format("{}.{}.power_w", family, one.first), json::Value(power), "w", how);
    tell(fmt::format("{}.{}.power_of_limit_pct", family, one.first), power, how, one.second.settled);
    if (power && (!most || *power > state_->power_of(most->second))) most = &one;
  }
  if (!most) return tell(metric, std::nullopt, "nothing told: no precision was multiplied for long enough,", all);
  const double power = *state_->power_of(most->second);
  tell(metric, power, fmt::format("{}, which draws most: {:.0f} W over {:.1f} s", most->first, power, most->second.seconds), most->second.settled);
}

void NvmlSampler::report(std::string_view family, TestSink& sink) {
  if (state_->thread.joinable()) {
    {
      const std::lock_guard lock(state_->mutex);
      state_->stop = true;
    }
    state_->wake.notify_all();
    state_->thread.join();
  }
  const std::string test = "telemetry", missing = state_->why_not.empty() ? "not told by this driver or GPU" : state_->why_not;
  const auto say = [&](std::string_view metric, bool known, double value, std::string_view unit, const std::string& detail) {
    sink.measurement(test, fmt::format("{}.{}", family, metric), known ? json::Value(value) : json::Value(), unit, known ? detail : missing);
  };
  unsigned limit = 0;
  const bool limited = state_->limit && state_->limit(state_->device, &limit) == 0;
  const auto say_all = [&](const std::string& prefix, const Totals& of, std::optional<std::string_view> interval) {
    const auto clock = state_->values(&Sample::clock_mhz, interval);
    say(prefix + "power_w", of.powers > 0, of.powers ? of.power / of.power_weight : 0, "w",
        fmt::format("mean of {} samples, most {:.0f} W{}", of.powers, of.most_power, limited ? fmt::format(", limit {:.0f} W", limit / 1000.0) : ""));
    say(prefix + "temperature_c", of.heats > 0, of.most_heat, "c", fmt::format("most of {} samples", of.heats));
    say(prefix + "sm_clock_mhz", !clock.empty(), clock.empty() ? 0 : median_of(clock), "mhz", fmt::format("median of {} samples", clock.size()));
    for (std::size_t k = 0; k < std::size(reasons); ++k)
      say(fmt::format("{}throttle.{}_pct", prefix, reasons[k].name), of.looks > 0, of.looks ? 100 * of.held[k] / of.reasons_weight : 0, "percent", fmt::format("of {} samples", of.looks));
  };
  say_all("", state_->all, std::nullopt);
  if (state_->all.powers > 0) report_power_of_work(family, limited && limit > 0 ? std::optional(limit / 1000.0) : std::nullopt, sink);
  const auto named = std::count_if(state_->of_interval.begin(), state_->of_interval.end(), [](const auto& one) { return !one.first.empty(); });
  if (named > 1)
    for (const auto& [name, totals] : state_->of_interval)
      if (!name.empty()) say_all(fmt::format("load.{}.", name), totals, name);
  const auto after = state_->device ? state_->ecc_count() : std::nullopt;
  const bool known = after && state_->ecc_before && *after >= *state_->ecc_before;
  sink.measurement(test, fmt::format("{}.ecc_uncorrected", family), known ? json::Value(double(*after - *state_->ecc_before)) : json::Value(), "count",
                   known                              ? std::string("uncorrected ECC errors that arose during the test")
                   : state_->device && state_->ecc_unsupported ? fmt::format("NVML counts none on this GPU ({})", to_string(code::not_supported_by_accelerator))
                                                               : std::string(missing));
}

}  // namespace kfab::agent::devices
