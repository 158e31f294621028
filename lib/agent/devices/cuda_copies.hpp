#pragma once

#include <optional>
#include <string>
#include <vector>

#include "agent/devices/cuda_session.hpp"

// Copies by the method of nvbandwidth, so that figures can be compared: four copies to warm up and sixteen timed by events,
// all queued behind a kernel that spins until the host lets go, so that no launch is timed. Each figure is the median of all
// samples, and after every sample each measured destination is compared whole. A quick look queues a quarter of that, for it has
// to pass by eight GPUs in turn: on PCIe 5 four copies of 512 MiB still last 40 ms, which events tell to 0.01 %.
namespace kfab::agent::devices::cuda {

// One end of a copy: memory of a GPU, or pinned memory of the host, which GPUs see under the same address.
struct End {
  Pointer address = 0;
  Session* owner = nullptr;         // nullptr: the host's
  std::uint64_t* host = nullptr;    // set when the host can read it
};

// Copies one after the other in a stream of the GPU that issues them: by its copy engine, or by its multiprocessors.
struct Flow {
  End from, to;
  Session* by;
  bool multiprocessors = false;
  bool measured = true;             // otherwise of twice the size, so that the measured ones are covered, and not compared
};

struct CopyTest {
  std::string name;                 // nvbandwidth's
  std::vector<Flow> flows;          // the first one is timed, or, with `total`, all together
  bool total = false;
  std::string link;                 // "0->1", empty within one GPU and its host
  std::string how;                  // words for the detail
};

class Copies {
 public:
  Copies(Session& session, std::uint64_t bytes, const TestRequest& request, TestSink& sink);
  Status prepare();

  // Runs one test and says its figures; a failure is a message and ends this test alone. The median in GB/s, 0 without one.
  double run(const CopyTest&);
  // Dependent reads of the issuing GPU in a ring over `memory` (least 256 bytes), one every 128 bytes: <name>_ns.
  void latency(const std::string& name, const End& memory, std::uint64_t bytes, const std::string& link, const std::string& how);
  // STREAM's four on the GPU.
  void stream();
  // Whether this GPU answers no more: the next test would only say so again.
  bool dead() const { return dead_; }

 private:
  struct Lane { Session* by; Stream stream; Event start, end; };
  // Says why a test ended, and whether it was this GPU or another one of the test that failed.
  void fail(const std::string& test, double seconds, const Diagnostic&);
  std::uint64_t words() const { return bytes_ / 8; }
  Status fill(const End&, std::uint64_t seed);
  Result<exact::CheckState> check(const End&, std::uint64_t seed, bool by_host);
  Result<bool> plant(const End&, std::uint64_t seed, const exact::CheckState& before);
  Status queue(const Flow&, const Lane&, int copies);
  Result<double> sample(const CopyTest&, std::vector<Lane>&);
  Status samples_of(const CopyTest&, std::vector<double>& rates, exact::CheckState& wrong, int& compared, bool& proven);
  Status latency_samples(const End&, std::uint64_t bytes, std::vector<double>& ns, exact::CheckState& wrong, bool& proven);
  Status stream_samples(const std::string& test);

  Session& session_;
  std::uint64_t bytes_;
  int samples_wanted_;
  int warm_up_, timed_;             // copies of a sample
  TestSink& sink_;
  std::optional<PinnedMemory> latch_;
  DeviceMemory state_;
  bool dead_ = false;
};

}  // namespace kfab::agent::devices::cuda
