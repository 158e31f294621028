#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/task.hpp"
#include "base/result.hpp"
#include "json/value.hpp"

namespace kfab::agent {

// Task "test": measures accelerators and checks that they compute, store and copy without a wrong bit. It judges
// nothing; lib/validation does, on the host.
//
// Request, beside the header of protocol.hpp (every member optional but `device`):
//   {"device":"cpu|cuda", "level":"quick|standard|soak", "families":["health","memory","bandwidth","burnin"],
//    "duration_s":9,                    for all families of one accelerator together
//    "family_s":{"bandwidth":20},       for one family of one accelerator; a family that is not named has its share of duration_s
//    "threads":0,                       cpu: 0 is all that the process may run on
//    "memory_fraction":0.5, "memory_cap_mib":1024,   cpu: of MemAvailable, at most the cap; cuda: of free memory
//    "precisions":["fp32","int8"],      empty: all that the device has
//    "accelerators":["GPU-..."],        empty: all
//    "patterns":["own_address"], "samples":10, "buffer_mib":512,
//    "load":"steady|stepped|pulsed", "period_s":20, "duty":0.5,   of the burn-in (devices/load_shape.hpp)
//    "silence_s":120,                   a test process that says nothing for so long is killed: its accelerator hangs (1 s to 1 h); so is a
//                                       proof of kernels, and each may overrun its time by as much (30 s and 60 s where it is not said)
//    "second_engine":true,              whether a burn-in multiplies by cuBLASLt as well where that is there
//    "start_at":1800000000.0}           seconds since 1970 at which the burn-in begins, the same for many nodes; 0: at once
// Messages, each with "type":
//   accelerator  {id, device, index, model, numa_node, memory_bytes, pci_bus_id, compute_capability, driver, detail}
//   progress     {step, done, total, message, accelerator}
//   measurement  {accelerator, device, test, metric, value|null, unit, samples|null, link|null, detail}
//   mismatch     {accelerator, device, test, where, index, stride, expected, got, mask, second_read, nature, count}
//                the bit patterns as "0x..." strings; at most 32 a test, `count` is the number of all; `nature` says what
//                the second read tells: "stored" (wrong again), "read" (right now), "unsteady"
//   versions     {accelerator, device, versions{driver, vbios, inforom, ...}}   of family health: text, what is told
//   test_done    {accelerator, device, test, status:"ran|not_run|failed", code|null, reason, duration_s}
//   accelerator_done {accelerator, device}   every family's tests of it came to their end, with the counters after them: nothing more is
//                told of it, and its verdict stands even if the run is cut while others are still tested
// Units: tflops, tops, gbps (1e9 bytes), count, percent, ratio, w, j, c, mhz, s, ns; digest: equal on all GPUs of a model, or
// one of them computes something else (52 bits; the link says of which kernel and sizes). A test that could not run is "not_run" with the
// reason, one that broke (hung, crashed, lost its device, or whose checker missed the planted fault) is "failed".
// Counters are read before and after every test; what they moved by comes as measurements counters.<name>, xid.<number> and
// pcie.<name> of the family, whose detail names the tests that moved them (health/watch.hpp), also when a test's process died.
// Each accelerator and family runs in a process of its own under a watchdog, so that it costs no other its result. Copies, which take
// turns, share one for as long as nothing fails in it: of eight GPUs it opens 8 contexts where eight processes would open 64.
// Of device cuda CUDA_VISIBLE_DEVICES is not obeyed: each test sees its own GPU, copies see all. Where CUDA does not start the GPUs are
// those of NVML (health/inventory.hpp).
// Errors: unknown device or family. No accelerator at all is a message (test_done not_run), not an error.
Status run_test_task(const json::Value& request, TaskContext&);

// How test processes are started. The default executes this very file as `<agent> test-child`; unit tests, whose
// executable is another, fork instead.
struct TestChildLaunch {
  std::vector<std::string> argv{"/proc/self/exe", "test-child"};   // empty: fork and call test_child_main
  double silence_s = 120;     // a child that says nothing for so long is killed: the accelerator hangs
  double overrun_factor = 2;  // beyond factor x planned duration + grace it is killed as well
  double overrun_grace_s = 60;
  double proof_silence_s = 90;   // of kernels that prove themselves, and not beyond silence_s: the products take milliseconds, but GPUs without persistence mode wake for each process anew
};
Status run_test_task(const json::Value& request, TaskContext&, const TestChildLaunch&);

// `kfab-agent test-child`: one test request on `in` (a line), messages on `out`, then exit status 0. The agent's main
// dispatches to it; nobody types it.
int test_child_main(int in = 0, int out = 1);

}  // namespace kfab::agent
