#include "agent/health/watch.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent::health {
namespace {

constexpr auto link_period = std::chrono::milliseconds(100);
constexpr std::string_view test_name = "counters";
constexpr std::size_t most_seen = 4096;

bool is_mine(const KernelEvent& event, const std::string& slot, bool is_cpu) {
  if (event.kind == KernelEvent::Kind::machine_check) return is_cpu;
  if (is_cpu) return false;
  // A switch serves all accelerators of a node.
  return event.kind == KernelEvent::Kind::sxid || (!slot.empty() && event.slot == slot);
}

std::string metric_of(const KernelEvent& event) {
  switch (event.kind) {
    case KernelEvent::Kind::xid: return fmt::format("xid.{}", event.number);
    case KernelEvent::Kind::sxid: return fmt::format("sxid.{}", event.number);
    case KernelEvent::Kind::machine_check: return "counters.machine_checks";
  }
  return {};
}

// Says each state that is no longer what it was before the family, of an accelerator that still answers. What uses the accelerator
// and its memory comes and goes with the tests themselves.
void tell_changed(const Readings& before, Source& source, std::string_view family, std::string_view words, devices::TestSink& sink) {
  const Readings now = source.states();
  if (source.lost()) return;
  for (const auto& one : now) {
    const auto then = std::find_if(before.begin(), before.end(), [&](const Reading& r) { return r.name == one.name; });
    if (then == before.end() || then->value == one.value || one.name == "foreign_processes" || one.unit == "bytes") continue;
    sink.measurement(family, "health." + one.name, json::Value(one.value), one.unit,
                     one_line(fmt::format("arose during {} ({} before){}{}", words, then->value ? std::to_string(*then->value) : std::string("not told"), one.detail.empty() ? "" : ": ", one.detail), 500));
  }
}

}  // namespace

json::Object to_json(const Before& before) {
  return json::Object{{"type", "counters"},
                      {"slot", before.slot},
                      {"pci_bus_id", before.pci_bus_id},
                      {"readings", to_json(before.readings)},
                      {"log_at_s", before.log_at_s},
                      {"log_record", before.log_record},
                      {"states", to_json(before.states)}};
}

Before before_from_json(const json::Value& document) {
  return {one_line(document.string_or("slot"), 20), one_line(document.string_or("pci_bus_id"), 32), readings_from_json(document["readings"]),
          document.double_or("log_at_s", -1), document["log_record"].as_uint(), readings_from_json(document["states"])};
}

void tell_lost(std::string_view during, const std::string& lost, devices::TestSink& sink) {
  if (!lost.empty()) sink.test_done("kernel_log", "not_run", 0, fmt::format("during {}: {}", during, lost), to_string(code::kernel_log_gap));
}

namespace {

std::pair<unsigned, unsigned> rank_of(const PcieLink& link) { return {link.generation.value_or(0), link.width.value_or(0)}; }

}  // namespace

void LinkLooks::take(const PcieLink& look) {
  const auto now = rank_of(look), best = rank_of(best_), last = rank_of(last_);
  if (now >= best) {
    if (fallen_ && fallen_->generation.value_or(0) < now.first) fallen_.reset();
    best_ = look;
  } else if (now == last && (under_load_ || now.first == best.first)) {
    if (!fallen_ || now < rank_of(*fallen_)) fallen_ = look;
  }
  last_ = look;
}

void emit_link(std::string_view test, const LinkLooks& looks, std::string_view why, devices::TestSink& sink) {
  const PcieLink& link = looks.told();
  if (!link.generation && !link.width && !link.most_generation) return;   // nothing that sits on PCIe
  const auto say = [&](std::string_view name, const std::optional<unsigned>& now, const std::optional<unsigned>& most) {
    const bool known = now && why.empty();
    sink.measurement(test, fmt::format("pcie.{}", name), known ? json::Value(*now) : json::Value(), "count",
                     known ? looks.fell() ? "it fell to that under load" : "the most that was seen under load" : why.empty() ? "neither the driver nor the kernel tells" : why);
    const bool both = known && most;
    const unsigned missing = both && *most > *now ? *most - *now : 0;
    sink.measurement(test, fmt::format("pcie.{}_missing", name), both ? json::Value(missing) : json::Value(), "count",
                     both ? fmt::format("{} of {} that the accelerator itself can{}", *now, *most, missing > 0 && looks.fell() ? ", to which it fell under load" : "") : known ? std::string("the device's own maximum is not told") : std::string(why));
  };
  say("generation", link.generation, link.most_generation);
  say("width", link.width, link.most_width);
  if (link.host_generation && link.most_generation && *link.host_generation < *link.most_generation)
    sink.measurement(test, "pcie.host_generation", *link.host_generation, "count", "the slot allows less than the accelerator can");
}

CounterWatch::CounterWatch(const devices::Accelerator& accelerator, const Sources& sources, bool sample_link, const Before* earlier) : accelerator_(accelerator), log_(sources) {
  auto opened = open_source(accelerator, sources);
  if (opened) {
    source_ = std::move(*opened);
    before_ = last_ = earlier && !earlier->readings.empty() ? earlier->readings : source_->counters();
    states_ = earlier && !earlier->states.empty() ? earlier->states : source_->states();
    driver_tells_ = source_->driver_xids().has_value();
  } else {
    why_no_source_ = one_line(opened.error().message, 300);
  }
  const bool goes_on = earlier && earlier->log_at_s >= 0;
  const bool by_number = goes_on && earlier->log_record && log_.cheap();
  if (by_number) log_.go_on_after(*earlier->log_record);
  auto events = log_.next();
  if (goes_on && log_.readable()) {
    std::erase_if(events, [&](const KernelEvent& event) { return !by_number && event.at_s <= earlier->log_at_s; });
    keep(std::move(events), proof_name);
    log_at_s_ = earlier->log_at_s;
    log_record_ = earlier->log_record;
  } else {   // what was before is none of this family's doing
    log_at_s_ = log_.readable() ? std::max(0.0, log_.last_at_s()) : -1;
    log_record_ = log_.last_record();
  }
  if (earlier && source_) look_at_counters(proof_name);
  if (!source_ || !sample_link) return;
  looks_.take(source_->link());
  sampler_ = std::thread([this] { sample(); });
}

CounterWatch::~CounterWatch() {
  if (!sampler_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  sampler_.join();
}

void CounterWatch::sample() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    looks_.take(source_->link());
    wake_.wait_for(lock, link_period, [this] { return stop_; });
  }
}

Before CounterWatch::before() const { return {source_ ? source_->slot() : std::string(), accelerator_.pci_bus_id, before_, log_at_s_, log_record_, states_}; }

void CounterWatch::look_at_counters(std::string_view test) {
  Readings now = source_->counters();
  for (const auto& one : movements(last_, now))
    if (one.moved.value_or(0) > 0 && moved_by_.size() < most_seen) moved_by_.emplace_back(one.name, fmt::format("{} +{}", test, *one.moved));
  last_ = std::move(now);
}

void CounterWatch::look(std::string_view test) {
  if (source_) {
    const std::lock_guard lock(mutex_);
    look_at_counters(test);
    if (driver_tells_) {
      const auto numbers = source_->driver_xids();
      driver_tells_ = numbers.has_value();
      // Kept whether or not the log says the same with the whole line: until the end nobody knows whether it can be read so long.
      if (numbers)
        for (const int number : *numbers) {
          KernelEvent event;
          event.number = number;
          event.slot = source_->slot();
          event.line = "told by the driver's events";
          if (by_driver_.size() < most_seen) by_driver_.push_back({std::move(event), std::string(test)});
        }
    }
  }
  keep(log_.next(), test);
}

// Of what the log just said, that which concerns this accelerator or no other.
void CounterWatch::keep(std::vector<KernelEvent> events, std::string_view test) {
  const std::string slot = own_slot();
  const bool is_cpu = accelerator_.device == "cpu";
  for (auto& event : events) {
    const bool placeless = !is_cpu && event.kind == KernelEvent::Kind::xid && event.slot.empty();
    if (!placeless && !is_mine(event, slot, is_cpu)) continue;
    auto& to = placeless ? strays_ : events_;
    if (to.size() < most_seen) to.push_back({std::move(event), std::string(test)});
    else log_lost_ = fmt::format("there were more than {} events", most_seen);
  }
  if (log_.cut()) log_lost_ = log_.lost();
}

std::string CounterWatch::own_slot() const { return source_ && !source_->slot().empty() ? source_->slot() : pci_slot(accelerator_.pci_bus_id); }

void CounterWatch::test_ended(std::string_view test) {
  // Where looking costs a process, once at the end is enough: the family is then what the movement is tied to.
  if (log_.readable() && !log_.cheap()) {
    if (!source_) return;
    const std::lock_guard lock(mutex_);
    look_at_counters(test);
    return;
  }
  look(test);
}

void CounterWatch::emit_events(std::string_view family, devices::TestSink& sink) {
  const bool is_cpu = accelerator_.device == "cpu";
  for (const auto& seen : strays_)
    sink.emit(json::Object{{"type", "stray_event"}, {"number", seen.event.number}, {"slot", seen.event.slot}, {"line", seen.event.line}});
  const bool log_tells = log_.readable() && log_lost_.empty() && (is_cpu || !own_slot().empty());
  if (!log_tells) {   // then the driver is believed, and what both tell of counts once
    std::multiset<int> in_log;
    for (const auto& seen : events_)
      if (seen.event.kind == KernelEvent::Kind::xid) in_log.insert(seen.event.number);
    for (auto& seen : by_driver_)
      if (const auto same = in_log.find(seen.event.number); same != in_log.end()) in_log.erase(same);
      else events_.push_back(std::move(seen));
  }
  struct Group { std::uint64_t count = 0; std::string line; std::vector<std::string> tests; bool fatal = false; };
  tell_lost(family, log_lost_, sink);
  std::map<std::string, Group> groups;
  std::uint64_t xids = 0;
  for (const auto& seen : events_) {
    auto& group = groups[metric_of(seen.event)];
    if (group.count++ == 0) group.line = seen.event.line;
    group.fatal = group.fatal || seen.event.fatal;
    if (std::find(group.tests.begin(), group.tests.end(), seen.test) == group.tests.end() && group.tests.size() < 20) group.tests.push_back(seen.test);
    xids += seen.event.kind == KernelEvent::Kind::xid;
  }
  const bool known = log_tells || driver_tells_;
  const std::string why = !log_.readable() ? "the kernel's log may not be read: " + log_.why_not()
                          : !log_lost_.empty() ? fmt::format("{} {}", to_string(code::kernel_log_gap), log_lost_)
                                          : std::string("the accelerator's place on the bus is not known, by which the kernel's log names it");
  if (!is_cpu)
    sink.measurement(family, "counters.xids", known || xids > 0 ? json::Value(xids) : json::Value(), "count",
                     log_tells ? fmt::format("by {}", log_.from()) : known ? std::string("by the driver's events, without the kernel's words") : why);
  else if (!groups.contains("counters.machine_checks"))
    sink.measurement(family, "counters.machine_checks", log_tells ? json::Value(0) : json::Value(), "count", log_tells ? std::string() : why);
  for (const auto& [metric, group] : groups)
    sink.measurement(family, metric, group.count, "count", fmt::format("{}during {}: {}", group.fatal ? "fatal, " : "", join(group.tests, ", "), group.line));
}

void CounterWatch::finish(std::string_view family, devices::TestSink& sink) {
  if (sampler_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    sampler_.join();
    emit_link(family, looks_, {}, sink);
  }
  look(family);
  if (!source_) {
    sink.measurement(family, "counters.read", json::Value(), "count", why_no_source_);
  } else {
    std::vector<std::string> back, vanished;
    for (const auto& one : movements(before_, last_)) {
      std::string by;
      for (const auto& [name, words] : moved_by_)
        if (name == one.name && by.size() < 300) by += (by.empty() ? "" : ", ") + words;
      std::string detail = by.empty() ? one.detail : one.detail.empty() ? by : by + "; now " + one.detail;
      sink.measurement(family, "counters." + one.name, one.moved ? json::Value(*one.moved) : json::Value(), "count", one_line(detail, 500));
      if (one.went_back) back.push_back(one.name + ": " + one.detail);
      if (one.vanished) vanished.push_back(one.name + ": " + one.detail);
    }
    tell_changed(states_, *source_, family, family, sink);
    if (const auto lost = source_->lost())
      sink.test_done(test_name, "failed", 0, fmt::format("during {}: {}", family, *lost), to_string(code::accelerator_lost));
    else if (!back.empty())
      sink.test_done(test_name, "failed", 0, fmt::format("during {}: {}", family, join(back, "; ")), to_string(code::counter_went_back));
    else if (!vanished.empty())
      sink.test_done(test_name, "not_run", 0, one_line(fmt::format("during {}: {}", family, join(vanished, "; ")), 400), to_string(code::counter_unreadable));
  }
  emit_events(family, sink);
}

namespace {

void counters_of_dead(const devices::Accelerator& accelerator, const Before& before, std::string_view family, const Sources& sources, devices::TestSink& sink) {
  auto opened = open_source(accelerator, sources);
  if (!opened) {
    sink.test_done(test_name, "failed", 0, fmt::format("after {} broke off: {}", family, one_line(opened.error().message, 300)), to_string(opened.error().code));
    return;
  }
  Source& source = **opened;
  const auto moved = movements(before.readings, source.counters());
  if (const auto gone = std::find_if(moved.begin(), moved.end(), [](const auto& one) { return one.vanished; }); gone != moved.end() && !source.lost())
    sink.test_done(test_name, "not_run", 0, one_line(fmt::format("after {} broke off: {}: {}", family, gone->name, gone->detail), 400), to_string(code::counter_unreadable));
  for (const auto& one : moved)
    sink.measurement(family, "counters." + one.name, one.moved ? json::Value(*one.moved) : json::Value(), "count",
                     one_line(one.moved.value_or(0) > 0 ? fmt::format("{}, which broke off, +{}", family, *one.moved) : one.detail, 500));
  tell_changed(before.states, source, family, fmt::format("{}, which broke off", family), sink);
  if (const auto lost = source.lost())
    sink.test_done(test_name, "failed", 0, fmt::format("after {} broke off: {}", family, *lost), to_string(code::accelerator_lost));
}

void log_of_dead(const devices::Accelerator& accelerator, const Before& before, std::string_view family, const Sources& sources, devices::TestSink& sink) {
  KernelLog log(sources);
  const std::string slot = before.slot.empty() ? pci_slot(accelerator.pci_bus_id) : before.slot;
  if (!log.readable() || before.log_at_s < 0) {
    sink.measurement(family, "counters.xids", json::Value(), "count", "the kernel's log may not be read: " + log.why_not());
    return;
  }
  if (before.log_record) log.go_on_after(*before.log_record);
  const bool by_number = before.log_record && log.cheap();
  std::map<std::string, std::pair<std::uint64_t, std::string>> groups;
  std::uint64_t xids = 0;
  for (const auto& event : log.next()) {
    if (!by_number && event.at_s <= before.log_at_s) continue;
    if (accelerator.device != "cpu" && event.kind == KernelEvent::Kind::xid && event.slot.empty())
      sink.emit(json::Object{{"type", "stray_event"}, {"number", event.number}, {"slot", event.slot}, {"line", event.line}});
    if (!is_mine(event, slot, accelerator.device == "cpu")) continue;
    auto& [count, line] = groups[metric_of(event)];
    if (count++ == 0) line = (event.fatal ? "fatal, " : "") + event.line;
    xids += event.kind == KernelEvent::Kind::xid;
  }
  // A journal that no longer goes back to what was read before was shortened meanwhile; records of the device are known by their numbers.
  const bool shortened = !by_number && log.first_at_s() > before.log_at_s;
  const std::string gone = !log.lost().empty() ? log.lost() : shortened ? std::string("the journal no longer goes back to where the tests began") : std::string();
  tell_lost(family, gone, sink);
  const bool whole = xids > 0 || (gone.empty() && !slot.empty());
  if (accelerator.device != "cpu")
    sink.measurement(family, "counters.xids", whole ? json::Value(xids) : json::Value(), "count",
                     whole ? fmt::format("by {}", log.from()) : !gone.empty() ? fmt::format("{} {}", to_string(code::kernel_log_gap), gone) : std::string("the accelerator's place on the bus is not known, by which the kernel's log names it"));
  for (const auto& [metric, group] : groups)
    sink.measurement(family, metric, group.first, "count", fmt::format("during {}, which broke off: {}", family, group.second));
}

}  // namespace

void finish_for_dead(const devices::Accelerator& accelerator, const Before& before, std::string_view family, const Sources& sources, devices::TestSink& sink) {
  // The log first: a driver that hung once hangs again, and the log says why.
  log_of_dead(accelerator, before, family, sources, sink);
  if (family == to_string(devices::Family::health)) return;   // it moves nothing, and has told itself what it could read
  counters_of_dead(accelerator, before, family, sources, sink);
}

}  // namespace kfab::agent::health
