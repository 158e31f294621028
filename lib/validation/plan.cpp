#include "validation/plan.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::validation {
namespace {

// Ten samples of 512 MiB in five directions take so long on one of several GPUs whatever is asked for: 20 copies a sample at 25 to
// 55 GB/s, and the peers. A quick look copies 5 times 64 MiB a sample (0.4 s in all at 55 GB/s), opens each GPU once for all of them, and
// spends the rest on pinning memory, comparing by the host, fourteen links to peers and the counters. Reckoned, not measured yet.
constexpr double copy_floor_s(Level level) { return level == Level::quick ? 2.2 : 20; }
// And so long one sample of all copies of a level on one GPU, at most: the time that is asked for beyond that takes more samples where
// nothing but copies is to be done, and else is the burn-in's, or the memory test's.
constexpr double copy_s_of_sample(Level level, bool peers) { return level == Level::quick ? (peers ? 0.22 : 0.15) : peers ? 20 : 5; }
constexpr int most_copy_samples = 1000;
// What an accelerator that hangs costs the node: a watchdog's silence, and the reading of its counters. It hangs once, for no later test
// touches it.
constexpr double hang_s = 150;
// From the first word to a node until its first test, and from the end of the last one until that is told: a driver takes seconds to start.
constexpr double cpu_start_s = 0.3, gpu_start_s = 5;
constexpr std::string_view stress_vendors[] = {"amd", "furiosa", "intel"};   // whose stress tool kfab drives
// So much of a burn-in's usual time is left to it when copies of many GPUs in turn take the rest; a quick one is short as it is.
constexpr double least_burnin_share(Level level) { return level == Level::quick ? 0.5 : 0.25; }

// What a test may take of the node's memory. Quick on a cpu is small: it also runs on laptops, and four at a time in the
// demonstration.
struct MemoryRow { std::string_view device; Level level; double fraction; int cap_mib; };
constexpr MemoryRow memory_rows[] = {
    {"cpu", Level::quick, 0.25, 768},   {"cpu", Level::standard, 0.5, 0},   {"cpu", Level::soak, 0.8, 0},
    {"cuda", Level::quick, 0, 0},       {"cuda", Level::standard, 0, 0},    {"cuda", Level::soak, 0, 0},   // the device's own
    {"vendor", Level::quick, 0, 0},     {"vendor", Level::standard, 0, 0},  {"vendor", Level::soak, 0, 0},
};

bool contains(const std::vector<std::string>& words, std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); }

Result<std::vector<std::string>> families_asked(const std::vector<std::string>& asked) {
  const auto known = all_families();
  std::vector<std::string> families;
  for (const auto& family : asked.empty() ? known : asked) {
    if (!contains(known, family)) {
      auto diagnostic = error(code::unknown_test_family, "there is no family of tests '" + one_line(family, 40) + "'");
      diagnostic.suggestions = nearest(family, known);
      return diagnostic;
    }
    if (!contains(families, family)) families.push_back(family);
  }
  return families;
}

struct Memory { double fraction; int cap_mib; };   // of the free memory, at most so much; 0: no cap

Memory memory_of(const std::string& device, const RequestOptions& options) {
  const auto& row = *std::find_if(std::begin(memory_rows), std::end(memory_rows), [&](const auto& one) { return one.device == device && one.level == options.level; });
  const int share = std::max(1, options.share);
  const double fraction = options.memory_fraction.value_or(row.fraction) / (device == "cpu" ? share : 1);
  const int usual_cap = row.cap_mib / share;
  if (!options.memory_cap_mib) return {fraction, usual_cap};
  return {fraction, usual_cap > 0 ? std::min(*options.memory_cap_mib, usual_cap) : *options.memory_cap_mib};
}

struct FamilyTime {
  const Check* check;
  bool is_run;                       // at this level
  double usual_s;                    // by the catalogue and what was asked for
  double of_node_s, of_one_s;        // for all accelerators of the node, and for each of them
};

// How long each family takes. Accelerators run side by side, but take turns at copying, and makers' stress tools load one at a time.
// What a node of many GPUs copies longer it burns shorter, so that a level lasts about as long on any node: the results of a product
// are compared whole however short, and the copies that criteria rest on are never left out.
class Schedule {
 public:
  Schedule(const manifest::Profile& profile, const TestPlan& plan, const RequestOptions& options) : profile_(profile), plan_(plan), options_(options) {
    accelerators_ = plan.device == "cpu" ? 1 : std::max(1, profile.per_node.get().value_or(1));
    samples_ = plan.device == "cuda" && options.level == Level::standard && accelerators_ >= many_gpus ? samples_of_many : samples_of(options.level);
    take_usual_times();
    for (auto& time : times_) {
      if (time.check->family == "bandwidth" && plan.device == "cuda") take_turns_at_copying(time);
      if (time.check->family == "burnin" && plan.device == "vendor") take_turns_at_stress(time);
    }
    if (plan.device == "cuda") make_up_for_copies();
  }

  const std::vector<FamilyTime>& times() const { return times_; }
  // The first family that is to be tested and whose time does not hold one round of its test; null where all do.
  const FamilyTime* too_short() const {
    const auto found = std::find_if(times_.begin(), times_.end(), [](const auto& time) { return time.is_run && time.of_one_s < time.check->least_s * (1 - 1e-9); });
    return found == times_.end() ? nullptr : &*found;
  }
  int samples() const { return samples_; }
  double duration_s() const { return duration_s_; }   // of all families of one accelerator together, as asked for

 private:
  void take_usual_times() {
    const double soak = options_.duration_s.value_or(soak_default_s);
    for (const auto& family : all_families())
      for (const auto& check : all_checks())
        if (check.device == plan_.device && check.family == family && contains(plan_.families, family)) {
          const double seconds = seconds_of(check, options_.level, soak);
          duration_s_ += seconds;
          times_.push_back({&check, seconds > 0, seconds, seconds, seconds});
        }
    if (!options_.duration_s || duration_s_ <= 0) return;
    const double stretch = *options_.duration_s / duration_s_;
    for (auto& time : times_) time.usual_s = time.of_node_s = time.of_one_s = time.usual_s * stretch;
    duration_s_ = *options_.duration_s;
  }

  void take_turns_at_copying(FamilyTime& time) {
    const bool peers = accelerators_ > 1, quick_look = options_.level == Level::quick && !options_.duration_s;
    const bool only_copies = !contains(plan_.families, "memory") && !contains(plan_.families, "burnin");
    const double of_sample = copy_s_of_sample(options_.level, peers);
    time.of_one_s = std::max(quick_look ? time.usual_s : time.usual_s / accelerators_, peers ? copy_floor_s(options_.level) * samples_ / 10.0 : 0);
    if (only_copies) samples_ = std::clamp(static_cast<int>(time.of_one_s / of_sample), samples_, most_copy_samples);
    time.of_one_s = std::min(time.of_one_s, of_sample * (only_copies ? most_copy_samples : samples_));
    time.of_node_s = time.of_one_s * accelerators_;
  }

  void take_turns_at_stress(FamilyTime& time) {
    const bool driven = std::find(std::begin(stress_vendors), std::end(stress_vendors), profile_.vendor) != std::end(stress_vendors);
    if (!driven) time.of_node_s = 0;   // said at once
    time.of_one_s = time.of_node_s / accelerators_;
  }

  // Copies take more than their share, or less: the burn-in has the rest, or the memory test where nothing burns.
  void make_up_for_copies() {
    const FamilyTime* const copies = find("bandwidth");
    FamilyTime* const burnin = find("burnin");
    FamilyTime* const rest = burnin ? burnin : find("memory");
    if (!copies || !rest) return;
    const double less = copies->of_node_s - copies->usual_s;
    if (less < 0) rest->of_one_s = rest->of_node_s -= less;
    else if (burnin) rest->of_one_s = rest->of_node_s = std::max(rest->of_node_s * least_burnin_share(options_.level), rest->of_node_s - less);
  }

  FamilyTime* find(std::string_view family) {
    const auto found = std::find_if(times_.begin(), times_.end(), [&](const auto& time) { return time.check->family == family; });
    return found == times_.end() ? nullptr : &*found;
  }

  const manifest::Profile& profile_;
  const TestPlan& plan_;
  const RequestOptions& options_;
  int accelerators_ = 1, samples_ = 0;
  double duration_s_ = 0;
  std::vector<FamilyTime> times_;    // in the order in which they run
};

json::Object members_of(const manifest::Profile& profile, const TestPlan& plan, const Schedule& schedule, const RequestOptions& options) {
  const auto list = [](const std::vector<std::string>& words) { return json::Array(words.begin(), words.end()); };
  json::Object family_s;
  for (const auto& time : schedule.times())
    if (time.of_one_s > 0) family_s.set(std::string(time.check->family), time.of_one_s);
  const Memory memory = memory_of(plan.device, options);
  return json::Object{{"device", plan.device},
                      {"vendor", profile.vendor},
                      {"level", to_string(options.level)},
                      {"families", list(plan.families)},
                      {"duration_s", schedule.duration_s()},
                      {"family_s", std::move(family_s)},
                      {"fill_time", options.level != Level::quick || options.duration_s.has_value()},   // a quick look is over when all is seen
                      {"threads", options.threads},
                      {"memory_fraction", memory.fraction},
                      {"memory_cap_mib", memory.cap_mib},
                      {"precisions", list(options.precisions)},
                      {"accelerators", list(options.accelerators)},
                      {"samples", schedule.samples()},
                      {"load", options.load.kind},
                      {"period_s", options.load.period_s},
                      {"duty", options.load.duty}};
}

// What a round of a test needs, and the least of these times that holds one of all.
std::string words_of_least(const manifest::Profile& profile, const TestPlan& plan, RequestOptions options, const FamilyTime& cut) {
  constexpr double times_s[] = {0.2, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 3600};
  std::string out = fmt::format("profile {}: of --duration {} the {} tests get {}, and one round of them takes {}", one_line(profile.name, 60), brief_duration_s(*options.duration_s),
                                cut.check->family, brief_duration_s(cut.of_one_s), brief_duration_s(cut.check->least_s));
  for (const double seconds : times_s) {
    options.duration_s = seconds;
    if (!Schedule(profile, plan, options).too_short()) return fmt::format("{}: --duration {} is enough", out, brief_duration_s(seconds));
  }
  return out;
}

// The parts, so that they add up to the whole: the time that each is given, what it takes whatever that is, and the start.
void predict(TestPlan& plan, const Schedule& schedule) {
  double parts = 0;
  for (const auto& time : schedule.times()) {
    plan.family_s.emplace_back(time.check->family, time.of_node_s + time.check->fixed_s);
    parts += plan.family_s.back().second;
  }
  plan.predicted_s = parts + (plan.device == "cpu" ? cpu_start_s : gpu_start_s);
  // The start is the first test's: a family of which there is no test stays without time, and so can be told.
  const auto first = std::find_if(plan.family_s.begin(), plan.family_s.end(), [](const auto& part) { return part.second > 0; });
  if (first != plan.family_s.end()) first->second += plan.predicted_s - parts;
  plan.deadline_s = plan.predicted_s * 2 + 120 + hang_s;
}

}  // namespace

std::string device_of(const manifest::Profile& profile) {
  if (!profile.device.empty()) return profile.device;
  if (profile.vendor == "nvidia") return "cuda";
  return profile.vendor == "cpu" ? "cpu" : "vendor";
}

Result<TestPlan> plan_tests(const manifest::Profile& profile, const RequestOptions& options) {
  TestPlan plan;
  plan.device = device_of(profile);
  plan.level = options.level;
  plan.load = options.load;
  if (plan.device != "cpu" && plan.device != "cuda" && plan.device != "vendor")
    return error(code::no_tests_for_device, "profile " + profile.name + ": kfab has no test of its own for " + (profile.accelerator.empty() ? profile.vendor : profile.accelerator));
  KFAB_TRY(families, families_asked(options.families));
  plan.families = std::move(families);
  if (options.duration_s && *options.duration_s <= 0) return error(code::no_time_to_test, "--duration leaves no time for any test");

  const Schedule schedule(profile, plan, options);
  if (const auto* cut = schedule.too_short(); cut && options.duration_s) return error(code::no_time_to_test, words_of_least(profile, plan, options, *cut));
  plan.members = members_of(profile, plan, schedule, options);
  predict(plan, schedule);

  const auto burnin = std::find_if(plan.family_s.begin(), plan.family_s.end(), [](const auto& part) { return part.first == "burnin"; });
  if (burnin != plan.family_s.end() && plan.device != "vendor" && plan.load.shaped() && 2 * plan.load.period_s > burnin->second)
    return error(code::load_too_long, fmt::format("profile {}: a burn-in of about {} holds no two periods of {}", profile.name, format_duration_s(burnin->second),
                                                  format_duration_s(plan.load.period_s)));
  return plan;
}

}  // namespace kfab::validation
