#include "agent/tests/selftest_task.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <vector>

#include <fmt/format.h>

#include "agent/devices/cpu_kernels.hpp"
#include "agent/devices/findings.hpp"
#include "agent/health/kernel_log.hpp"
#include "agent/health/source.hpp"
#include "agent/tests/test_process.hpp"
#include "base/random.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using namespace devices;

constexpr int places = 24;                           // flips for each checker
constexpr std::uint64_t words = 40'000;              // no multiple of anything that a pattern repeats by
constexpr double silence_s = 0.6;                    // of a child that hangs on purpose

class SelfTest {
 public:
  SelfTest(TaskContext& context, const TestChildLaunch& launch, std::uint64_t seed, double seconds) : context_(context), launch_(launch), random_(seed), seed_(seed), seconds_(seconds) {}

  void say(std::string_view where, std::string_view fault, bool found, std::string_view detail) {
    context_.emit(json::Object{{"type", "planted"}, {"where", where}, {"fault", fault}, {"found", found}, {"detail", one_line(detail, 400)}});
  }

  void patterns() {
    std::vector<std::uint64_t> memory(words);
    const char* names[] = {"solid", "walking_one", "walking_zero", "own_address", "random_words", "modulo_20", "shifted_32", "moved_blocks"};
    static_assert(std::size(names) == exact::pattern_count);
    for (int pattern = 0; pattern < exact::pattern_count; ++pattern) {
      const std::uint64_t parameter = pattern == exact::modulo_20 ? random_.below(20) : random_();
      int found = 0;
      std::string missed;
      const auto check = [&] {
        auto state = exact::empty_check_state();
        cpu::pattern_check(memory.data(), 0, words, pattern, parameter, 0, false, state);
        return state;
      };
      // What a test reaches by moves stands there at once: it is the comparison that is to be proven.
      for (std::uint64_t i = 0; i < words; ++i) memory[i] = exact::pattern_word(pattern, i, parameter);
      const bool quiet = check().mismatches == 0;
      for (int i = 0; i < places; ++i) {
        const std::uint64_t place = random_.below(words), mask = std::uint64_t{1} << random_.below(64);
        memory[place] ^= mask;
        const bool hit = found_exactly(check(), place, mask);
        found += hit;
        if (!hit && missed.empty()) missed = fmt::format("; missed bit {} of word {}", std::countr_zero(mask), place);
        memory[place] ^= mask;
      }
      say("cpu", fmt::format("a flipped bit under the pattern {}", names[pattern]), quiet && found == places,
          fmt::format("{} of {} found, {} where nothing was flipped, seed {}{}", found, places, quiet ? "quiet" : "an alarm", seed_, missed));
    }
  }

  void copies() {
    std::vector<double> a(words), b(words), c(words);
    cpu::stream(cpu::Stream::start, a.data(), b.data(), c.data(), 0, words);
    const auto check = [&] {
      auto state = exact::empty_check_state();
      cpu::stream_check(a.data(), 1, 0, words, state);
      return state;
    };
    const bool quiet = check().mismatches == 0;
    int found = 0;
    for (int i = 0; i < places; ++i) {
      const std::uint64_t place = random_.below(words), mask = std::uint64_t{1} << random_.below(64);
      const double kept = a[place];
      a[place] = std::bit_cast<double>(std::bit_cast<std::uint64_t>(kept) ^ mask);   // infinities and NaN among them
      found += found_exactly(check(), place, mask);
      a[place] = kept;
    }
    say("cpu", "a flipped bit in what a copy carries", quiet && found == places, fmt::format("{} of {} found, {} where nothing was flipped, seed {}", found, places, quiet ? "quiet" : "an alarm", seed_));
  }

  // The tests themselves, as short as they can be: each plants a fault into its own data and says whether it found it.
  void own_proofs(const std::string& device) {
    struct Listener final : TaskContext {
      TaskContext& owner;
      std::map<std::string, double> proofs;
      std::map<std::string, std::string> ends;
      bool any = false;
      std::string why;
      explicit Listener(TaskContext& context) : owner(context) {}
      void emit(const json::Value& message) override {
        const std::string type = message.string_or("type"), test = message.string_or("test");
        if (type == "accelerator") any = true;
        if (type == "measurement" && message.string_or("metric") == "selftest." + test + ".found") {
          auto [known, is_new] = proofs.emplace(test, message.double_or("value", 0));
          if (!is_new) known->second = std::min(known->second, message.double_or("value", 0));
        }
        if (type == "test_done") {
          ends[test] = message.string_or("status") + (message.string_or("reason").empty() ? "" : ": " + message.string_or("reason"));
          if (why.empty()) why = message.string_or("reason");
        }
      }
      bool stop_requested() const override { return owner.stop_requested(); }
      double remaining_s() const override { return owner.remaining_s(); }
    } listener(context_);
    const auto done = run_test_task(json::Object{{"device", device}, {"level", "quick"}, {"families", json::Array{"memory", "bandwidth", "burnin"}}, {"duration_s", seconds_},
                                                 {"memory_cap_mib", 64}, {"samples", 1}, {"buffer_mib", 16}},
                                    listener, launch_);
    if (!done || !listener.any) {
      context_.emit(json::Object{{"type", "not_tried"}, {"where", device}, {"reason", one_line(done ? listener.why : done.error().message, 300)}});
      return;
    }
    const auto not_tried = [&](std::string reason, bool nothing_at_all) {
      context_.emit(json::Object{{"type", "not_tried"}, {"where", device}, {"reason", one_line(reason, 300)}, {"nothing_planted", nothing_at_all}});
    };
    for (const auto& [test, share] : listener.proofs)
      say(device, fmt::format("a fault in the data of {}", test), share >= 1, fmt::format("{} % of those planted were found; the test {}", int(share * 100), listener.ends[test]));
    // A test that ran without a proof would be believed for nothing.
    for (const auto& [test, end] : listener.ends) {
      if (listener.proofs.contains(test)) continue;
      if (end == "ran") say(device, fmt::format("a fault in the data of {}", test), false, "it ran without planting any");
      else not_tried(fmt::format("{} planted nothing; it {}", test, end), false);
    }
    // Tests of which none planted anything have shown nothing, however many faults were found elsewhere.
    if (listener.proofs.empty()) not_tried("none of its tests planted a fault", true);
  }

  void counters() {
    auto source = health::open_cpu(health::sources());
    health::Readings readings = source ? (*source)->counters() : health::Readings();
    std::erase_if(readings, [](const auto& one) { return !one.value; });
    for (int i = 0; i < 8; ++i) readings.push_back({fmt::format("made_up_{}", i), random_.below(1'000'000), {}});
    int found = 0;
    for (int i = 0; i < 10 * places; ++i) found += health::finds_planted_movement(readings, random_());
    say("counters", "a counter that moves, or goes back", found == 10 * places, fmt::format("{} of {} found, seed {}", found, 10 * places, seed_));
    found = 0;
    for (int i = 0; i < places; ++i) {
      const auto number = 1 + random_.below(200), bus = random_.below(256);
      const auto event = health::parse_kernel_line(fmt::format("NVRM: Xid (PCI:0000:{:02x}:00): {}, pid=4711, name=planted, text", bus, number));
      found += event && event->number == static_cast<int>(number) && event->slot == fmt::format("0000:{:02x}:00", bus);
    }
    say("counters", "an XID in the kernel's log", found == places, fmt::format("{} of {} found, seed {}", found, places, seed_));
  }

  // Children that misbehave cost their own verdict and nobody else's.
  void children() {
    struct Row { const char* how; const char* fault; TestEnd::Kind end; };
    static constexpr Row rows[] = {{"hang", "a test's process that hangs", TestEnd::Kind::hung}, {"crash", "a test's process that crashes", TestEnd::Kind::died},
                                   {"silent", "a test's process that ends without a word", TestEnd::Kind::finished}, {"nonsense", "a test's process that talks nonsense", TestEnd::Kind::finished},
                                   {"sound", "", TestEnd::Kind::finished}};
    TestChildLaunch launch = launch_;
    launch.silence_s = silence_s;
    launch.overrun_factor = 1;
    launch.overrun_grace_s = 20;
    std::vector<TestOrder> orders;
    for (const Row& row : rows)
      orders.push_back({json::Object{{"do", "misbehave"}, {"how", row.how}, {"request", json::Object{{"device", "cpu"}}}, {"accelerator", row.how}, {"family", "memory"}}, 1, row.how, "memory"});
    std::vector<int> heard(orders.size(), 0);
    const Stopwatch watch;
    const auto ends = run_test_processes(orders, launch, [&](std::size_t i, const json::Value& message) { heard[i] += message.string_or("type") == "test_done"; },
                                         [&] { return context_.stop_requested(); });
    const std::size_t sound = orders.size() - 1;
    const bool sound_is_whole = ends[sound].kind == TestEnd::Kind::finished && heard[sound] == 1;
    for (std::size_t i = 0; i < sound; ++i) {
      const bool told = ends[i].kind == rows[i].end && heard[i] == 0;
      say("children", rows[i].fault, told && sound_is_whole && watch.seconds() < 15,
          fmt::format("{}; its neighbour {}; {:.1f} s", ends[i].reason.empty() ? "it ended without a result" : ends[i].reason, sound_is_whole ? "was not disturbed" : "was disturbed", watch.seconds()));
    }
  }

 private:
  TaskContext& context_;
  const TestChildLaunch& launch_;
  SeededRandom random_;
  std::uint64_t seed_;
  double seconds_;
};

}  // namespace

Status run_selftest_task(const json::Value& request, TaskContext& context, const TestChildLaunch& launch) {
  const double seconds = request.double_or("seconds", 1.5);
  SelfTest test(context, launch, request["seed"].as_uint().value_or(1), std::isfinite(seconds) ? std::clamp(seconds, 0.3, 60.0) : 1.5);
  std::vector<std::string> devices;
  for (const auto& item : request.array_at("devices"))
    if (const auto* text = item.as_string(); text && (*text == "cpu" || *text == "cuda")) devices.push_back(*text);
  if (devices.empty()) devices = {"cpu", "cuda"};
  context.progress("selftest", 0, 4, "checkers");
  test.patterns();
  test.copies();
  context.progress("selftest", 1, 4, "counters");
  test.counters();
  context.progress("selftest", 2, 4, "processes");
  test.children();
  context.progress("selftest", 3, 4, "devices");
  for (const auto& device : devices)
    if (!context.stop_requested()) test.own_proofs(device);
  return ok();
}

}  // namespace kfab::agent
