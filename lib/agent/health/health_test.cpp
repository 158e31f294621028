#include <algorithm>
#include <array>
#include <chrono>
#include <map>

#include <fmt/format.h>

#include "agent/devices/cuda_session.hpp"
#include "agent/devices/findings.hpp"
#include "agent/health/watch.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

constexpr std::size_t load_bytes = std::size_t{4} << 20;
constexpr int planted = 32;                // movements and lines that the proof of the checker plants
constexpr std::string_view test_name = "health";

// The proof: movements planted into these very readings are found, and lines of the log with a number of their own too.
int found_of_planted(const Readings& readings, const std::string& slot, std::uint64_t seed) {
  int found = 0;
  Readings known = readings;
  // Where nothing could be read the comparison is proven on made-up figures.
  if (std::none_of(known.begin(), known.end(), [](const Reading& r) { return r.value.has_value(); })) known = {{"a", 1, {}}, {"b", 2, {}}, {"c", 3, {}}};
  for (int i = 0; i < planted / 2; ++i) found += finds_planted_movement(known, seed + static_cast<std::uint64_t>(i));
  for (int i = 0; i < planted / 2; ++i) {
    const int number = 1 + static_cast<int>((seed + static_cast<std::uint64_t>(i) * 7919) % 200);
    const std::string place = slot.empty() ? "0000:3b:00" : slot;
    const auto event = parse_kernel_line(fmt::format("NVRM: Xid (PCI:{}): {}, pid=1, planted", place, number));
    found += event && event->number == number && event->slot == place;
  }
  return found;
}

// Returns where its reading of the log ended, so that another process can go on there when this one dies.
Before tell_log(const devices::Accelerator& accelerator, const std::string& slot, const std::vector<std::string>& slots, const Sources& sources,
              devices::TestSink& sink) {
  KernelLog log(sources);
  auto events = log.next();
  std::string from(log.from());
  bool whole = log.readable() && !log.begins_late();
  if (log.readable() && log.cheap() && log.begins_late()) {   // the ring went round: the journal may have kept what it no longer has
    KernelLog journal(sources, KernelLog::Way::journal);
    auto older = journal.next();
    std::erase_if(older, [&](const KernelEvent& event) { return event.at_s < 0 || event.at_s >= log.first_at_s(); });
    events.insert(events.begin(), older.begin(), older.end());
    whole = journal.readable() && !journal.cut() && !journal.begins_late();
    if (journal.readable()) from += " and the journal";
  }
  // A record that went away while it was read may have been an XID: then this was no reading of the log.
  sink.measurement(test_name, "health.kernel_log", log.readable() && !log.cut() ? json::Value(1) : json::Value(), "count",
                   !log.readable() ? log.why_not()
                   : log.cut()     ? log.lost()
                                   : "by " + from);
  sink.measurement(test_name, "health.kernel_log_whole", log.readable() ? json::Value(whole ? 1 : 0) : json::Value(), "count",
                   !log.readable() ? log.why_not()
                   : whole         ? std::string()
                                   : fmt::format("{} by {}, its oldest record is of {:.0f} s after the boot", to_string(code::kernel_log_begins_late), from, std::max(0.0, log.first_at_s())));
  tell_lost(test_name, log.lost(), sink);
  struct Group { std::uint64_t count = 0; double first = -1, last = -1; std::string line; bool fatal = false; };
  std::map<std::string, Group> groups;
  const bool is_cpu = accelerator.device == "cpu", speaks_for_strays = !is_cpu && !slots.empty() && slot == slots.front();
  for (const auto& event : events) {
    const bool xid = event.kind == KernelEvent::Kind::xid, sxid = event.kind == KernelEvent::Kind::sxid;
    if (is_cpu != (event.kind == KernelEvent::Kind::machine_check)) continue;
    if (xid && event.slot != slot) {
      const bool anothers = std::find(slots.begin(), slots.end(), event.slot) != slots.end();
      if (!anothers && speaks_for_strays)
        sink.emit(json::Object{{"type", "stray_event"}, {"number", event.number}, {"slot", event.slot}, {"line", event.line}});
      continue;
    }
    auto& group = groups[xid ? fmt::format("xid.{}", event.number) : sxid ? fmt::format("sxid.{}", event.number) : std::string("health.machine_checks")];
    if (group.count++ == 0) group.first = event.at_s;
    group.last = event.at_s;
    group.line = event.line;
    group.fatal = group.fatal || event.fatal;
  }
  if (is_cpu && log.readable() && !log.cut() && !groups.contains("health.machine_checks")) sink.measurement(test_name, "health.machine_checks", 0, "count");
  for (const auto& [metric, group] : groups)
    sink.measurement(test_name, metric, group.count, "count",
                     fmt::format("{}since boot{}: {}", group.fatal ? "fatal, " : "",
                                 group.last < 0 ? std::string() : group.count > 1 ? fmt::format(", from {:.0f} s to {:.0f} s after it", group.first, group.last) : fmt::format(", {:.0f} s after it", group.last),
                                 group.line));
  return {slot, accelerator.pci_bus_id, {}, log.readable() ? std::max(0.0, log.last_at_s()) : -1, log.last_record(), {}};
}

// What the GPU was built as, from which nominal figures follow where nobody has stated any: device.<name>, null where the driver
// does not tell it.
void tell_properties(const devices::Accelerator& accelerator, const PcieLink& link, const Sources& sources, devices::TestSink& sink) {
  using devices::cuda::Driver;
  // Numbers of CUdevice_attribute; clocks in kHz.
  struct Row { std::string_view name; int attribute; double scale; };
  static constexpr std::array rows{Row{"multiprocessors", 16, 1}, Row{"sm_clock_mhz", 13, 1e-3}, Row{"memory_clock_mhz", 36, 1e-3}, Row{"memory_bus_bits", 37, 1}};
  const auto say = [&](std::string_view name, std::optional<double> value) {
    sink.measurement(test_name, fmt::format("device.{}", name), json::Value(value), "count", value ? "" : "not told");
  };
  std::optional<devices::cuda::DeviceHandle> handle;
  auto driver = sources.no_cuda.empty() ? Driver::load(sources.cuda_library) : error(code::driver_missing, sources.no_cuda);
  int count = 0;
  if (driver && (*driver)->device_count(&count) == 0)
    for (int ordinal = 0; ordinal < count && !handle; ++ordinal) {
      const auto one = devices::cuda::describe(**driver, ordinal);
      devices::cuda::DeviceHandle device = 0;
      if (one && one->id == accelerator.id && (*driver)->device_get(&device, ordinal) == 0) handle = device;
    }
  const auto attribute = [&](int number) -> std::optional<double> {
    int value = 0;
    if (!handle || (*driver)->device_attribute(&value, number, *handle) != 0 || value <= 0) return std::nullopt;
    return value;
  };
  for (const auto& row : rows) {
    const auto value = attribute(row.attribute);
    say(row.name, value ? std::optional(*value * row.scale) : std::nullopt);
  }
  const auto major = attribute(devices::cuda::capability_major);
  int minor = 0;
  if (major) (*driver)->device_attribute(&minor, devices::cuda::capability_minor, *handle);
  say("capability", major ? std::optional(*major * 10 + minor) : std::nullopt);
  say("pcie_generation", link.most_generation ? std::optional<double>(*link.most_generation) : std::nullopt);
  say("pcie_width", link.most_width ? std::optional<double>(*link.most_width) : std::nullopt);
}

}  // namespace

std::string load_link(const devices::Accelerator& accelerator, const Sources& sources, double seconds, const std::function<void()>& sample) {
  using devices::cuda::Driver;
  if (!sources.no_cuda.empty()) return sources.no_cuda;
  auto driver = Driver::load(sources.cuda_library);
  if (!driver) return driver.error().message;
  const Driver& cuda = **driver;
  int count = 0;
  if (const auto counted = cuda.checked(cuda.device_count(&count), "count the GPUs"); !counted) return counted.error().message;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    const auto one = devices::cuda::describe(cuda, ordinal);
    devices::cuda::DeviceHandle device = 0;
    if (!one || one->id != accelerator.id || cuda.device_get(&device, ordinal) != 0) continue;
    void *context = nullptr, *host = nullptr;
    devices::cuda::Pointer memory = 0;
    auto step = cuda.checked(cuda.context_retain(&context, device), "open the GPU");
    if (step) step = cuda.checked(cuda.context_current(context), "use the GPU");
    if (step) step = cuda.checked(cuda.host_allocate(&host, load_bytes, 0), "take pinned memory");
    if (step) step = cuda.checked(cuda.allocate(&memory, load_bytes), "take memory of the GPU");
    const devices::Stopwatch watch;
    while (step && watch.seconds() < seconds) {
      step = cuda.checked(cuda.copy_to_device(memory, host, load_bytes), "copy to the GPU");
      if (step) step = cuda.checked(cuda.copy_to_host(host, memory, load_bytes), "copy from the GPU");
      if (step) sample();
    }
    if (memory) cuda.release(memory);
    if (host) cuda.host_release(host);
    if (context) cuda.context_release(device);
    return step ? std::string() : step.error().message;
  }
  return "the CUDA driver does not list this GPU";
}

void run_health(const devices::Accelerator& accelerator, const std::vector<std::string>& slots, const Sources& sources, devices::TestSink& sink) {
  const devices::Stopwatch watch;
  // The log first, where it is known whose lines it holds: it says why a driver hangs, and one that hangs lets nothing be said after it.
  const std::string known_slot = pci_slot(accelerator.pci_bus_id);
  const bool log_told = accelerator.device == "cpu" || !known_slot.empty();
  const auto log_and_place = [&](const std::string& slot) { sink.emit(to_json(tell_log(accelerator, slot, slots, sources, sink))); };
  if (log_told) log_and_place(known_slot);
  auto opened = open_source(accelerator, sources);
  if (!opened) {
    const auto& why = opened.error();
    if (!log_told) log_and_place({});
    return sink.test_done(test_name, why.code == code::accelerator_lost ? "failed" : "not_run", watch.seconds(), one_line(why.message, 400), to_string(why.code));
  }
  Source& source = **opened;
  sink.progress(test_name, 0, 1, "counters and states");
  const Readings counters = source.counters(), states = source.states();
  for (const auto* list : {&counters, &states})
    for (const auto& one : *list) {
      const bool memory = one.unit == "bytes";
      sink.measurement(test_name, memory ? "health.memory_gib" : "health." + one.name,
                       !one.value ? json::Value() : memory ? json::Value(double(*one.value) / double(1ULL << 30)) : json::Value(*one.value), memory ? "gib" : "count", one.detail);
    }
  json::Object versions = source.versions();
  if (!versions.empty()) sink.emit(json::Object{{"type", "versions"}, {"versions", std::move(versions)}});
  if (!log_told) log_and_place(source.slot());

  const PcieLink idle = source.link();
  if (accelerator.device == "cuda") tell_properties(accelerator, idle, sources, sink);
  if (idle.generation || idle.width) {
    LinkLooks looks(true);
    looks.take(idle);
    const std::string why = load_link(accelerator, sources, sources.link_load_s, [&] { looks.take(source.link()); });
    // An idle GPU lowers its link: what is below the maximum and was not loaded says nothing. What is at it needs no load.
    const PcieLink& link = looks.told();
    const bool at_most = link.generation && link.most_generation && link.width && link.most_width && *link.generation >= *link.most_generation && *link.width >= *link.most_width;
    emit_link(test_name, looks, why.empty() || at_most ? std::string() : "the link was not loaded, and an idle one is slower: " + why, sink);
  }

  const auto seed = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  const int found = found_of_planted(counters, source.slot(), seed);
  sink.measurement(test_name, "selftest.health.found", double(found) / planted, "ratio", fmt::format("{} of {} planted movements and lines found, seed {}", found, planted, seed));
  if (const auto lost = source.lost()) return sink.test_done(test_name, "failed", watch.seconds(), *lost, to_string(code::accelerator_lost));
  if (found < planted) return sink.test_done(test_name, "failed", watch.seconds(), "the comparison of counters missed a planted movement", to_string(code::checker_not_proven));
  sink.test_done(test_name, "ran", watch.seconds());
}

}  // namespace kfab::agent::health
