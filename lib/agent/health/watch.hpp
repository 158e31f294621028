#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "agent/devices/device.hpp"
#include "agent/health/kernel_log.hpp"
#include "agent/health/source.hpp"

// The counters of one accelerator before, between and after the tests of a family, so that each movement is tied to the test
// that made it.
namespace kfab::agent::health {

// What the reading before a family holds, so that another process can go on with it when this one dies.
struct Before {
  std::string slot;
  std::string pci_bus_id;
  Readings readings;
  double log_at_s = -1;          // of the last record of the kernel's log; below zero: the log was not readable
  std::optional<std::uint64_t> log_record{};   // its number, where /dev/kmsg was read
  Readings states{};
};
json::Object to_json(const Before&);       // the "counters" message: {type, slot, pci_bus_id, readings[], log_at_s, log_record, states[]}
Before before_from_json(const json::Value&);

// Looks at a link, one after another. An idle accelerator lowers its link and a loaded one raises it, so that the best that was seen
// counts, until it falls: fewer lanes at the generation of the best look, or, where all looks are `under_load`, a lower generation that
// stays (it may go idle before the load begins, and takes a moment to wake). A link that falls is seen so twice in a row: one look may
// come between the two figures of a link that changes.
class LinkLooks {
 public:
  explicit LinkLooks(bool under_load) : under_load_(under_load) {}
  void take(const PcieLink&);
  const PcieLink& told() const { return fallen_ ? *fallen_ : best_; }
  bool fell() const { return fallen_.has_value(); }

 private:
  bool under_load_;
  PcieLink best_, last_;
  std::optional<PcieLink> fallen_;   // the least of them
};

class CounterWatch {
 public:
  // Reads everything once. `sample_link`: look at the PCIe link all the time until finish(). `earlier`: what another process read before
  // it did something to the accelerator: what moved since then is this family's as well, by its test `proof_name`.
  CounterWatch(const devices::Accelerator&, const Sources&, bool sample_link, const Before* earlier = nullptr);
  static constexpr std::string_view proof_name = "the proof of the kernels";
  ~CounterWatch();
  CounterWatch(const CounterWatch&) = delete;
  CounterWatch& operator=(const CounterWatch&) = delete;

  Before before() const;
  // A test has ended: what moved since the last one was moved by it.
  void test_ended(std::string_view test);
  // Reads once more and says it all, as test `family`:
  //   counters.<name>    what it moved by; detail: which tests, and what it is made of. null: why it is not known
  //   counters.xids      XIDs of this accelerator in the kernel's log, or by the driver's events; null: nobody may read them, or
  //                      lines were lost
  //   xid.<N>, sxid.<N>, counters.machine_checks    one for each number that came; detail: during which tests, and the line
  //   health.<state>     states that are no longer what they were before the family, as their new value: what arose under load is
  //                      judged as what was the case from the start
  //   pcie.*             with `sample_link`: see emit_link()
  // A counter that went back, or an accelerator that no longer answers, is test "counters" failed; one that could be read before
  // and not after is "counters" not run. An XID of no place is told as a stray event.
  void finish(std::string_view family, devices::TestSink&);

 private:
  struct Seen { KernelEvent event; std::string test; };
  void look(std::string_view test);
  void look_at_counters(std::string_view test);
  void keep(std::vector<KernelEvent>, std::string_view test);
  std::string own_slot() const;
  void sample();
  void emit_events(std::string_view family, devices::TestSink&);

  devices::Accelerator accelerator_;
  std::unique_ptr<Source> source_;
  std::string why_no_source_;
  KernelLog log_;
  Readings before_, last_, states_;
  double log_at_s_ = -1;
  std::optional<std::uint64_t> log_record_;
  std::vector<std::pair<std::string, std::string>> moved_by_;   // counter and "gemm_bf16 +3"
  std::vector<Seen> events_, by_driver_;
  std::vector<Seen> strays_;      // XIDs of no place: of the node
  bool driver_tells_ = false;
  std::string log_lost_;          // what of the kernel's log was lost, in words; empty: nothing

  std::mutex mutex_;              // over source_ and looks_
  std::condition_variable wake_;
  bool stop_ = false;
  LinkLooks looks_{false};        // copies pause, and go over other links as well
  std::thread sampler_;
};

// Says, as test "kernel_log", that records of the kernel's log were lost, so that whoever looks for XIDs is not judged by a silence;
// nothing when `lost` is empty.
void tell_lost(std::string_view during, const std::string& lost, devices::TestSink&);

// After the process that watched has died: what moved since `before`, tied to the family as a whole.
void finish_for_dead(const devices::Accelerator&, const Before&, std::string_view family, const Sources&, devices::TestSink&);

// pcie.generation, .width, .generation_missing and .width_missing (what lacks to the device's own maximum), of a link that was
// looked at under load; null with `why` where there was no load.
void emit_link(std::string_view test, const LinkLooks&, std::string_view why, devices::TestSink&);

// The health family on one accelerator: counters and states as health.<name>, the XIDs since boot, its versions, its PCIe
// link under a short load, and the proof of the checker; test "health". Events of slots that are none of `slots` are
// told as {"type":"stray_event"}, by the accelerator whose slot is the first of them.
void run_health(const devices::Accelerator&, const std::vector<std::string>& slots, const Sources&, devices::TestSink&);

// Copies to the accelerator for `seconds`, calling `sample` all the while; says why it could not.
std::string load_link(const devices::Accelerator&, const Sources&, double seconds, const std::function<void()>& sample);

}  // namespace kfab::agent::health
