#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "agent/devices/cuda_session.hpp"

// Copies by the method of nvbandwidth, so that figures can be compared: four copies to warm up and sixteen timed by events,
// all queued behind a kernel that spins until the host lets go, so that no launch is timed. Each figure is the median of all
// samples, and after every sample each measured destination is compared whole. A quick look queues a quarter of that, and less at a
// time over links, for it has to pass by eight GPUs in turn: on PCIe 5 four copies of 64 MiB still last 5 ms, which events tell to 0.01 %,
// and what passes between two of them is 0.2 %; between GPUs four of 128 MiB last 1 ms, and less than 2 % passes. The warm-up sample
// is of one copy; where it tells of a slow link, so many are timed that a sample lasts about a second, and never less than one.
//
// Every wait has a limit. Whose work does not end, or whose call fails, is told apart: this GPU, another one, or the link.
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

// What is told of a test: the rate of the first flow; that of all flows by the time until the last has ended; that of each flow by
// its own time, and their sum.
enum class Figures : std::uint8_t { first, total, each };

struct CopyTest {
  std::string name;                 // nvbandwidth's
  std::vector<Flow> flows;
  Figures figures = Figures::first;
  std::string link;                 // "0->1", empty within one GPU and its host
  std::string how;                  // words for the detail
  std::vector<std::pair<std::string, std::string>> each{};   // name's suffix and link of each flow's figure
  std::uint64_t bytes = 0;          // of a copy, at most what the buffers hold; 0: that
  double sample_s = 1;              // about the most that a sample may last
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
  // Whether a peer failed or did not answer: no test with it can be had any more.
  bool lost(const Session* peer) const { return std::find(lost_.begin(), lost_.end(), peer) != lost_.end(); }

 private:
  struct Lane { Session* by; Stream stream; Event start, end; };
  struct Samples {
    std::vector<std::vector<double>> rates;   // of the figure, or of each flow and of all together
    exact::CheckState wrong = exact::empty_check_state();
    int compared = 0, warm_up = 0, timed = 0;
    bool proven = false;
  };
  // Says why a test ended, and whether it was this GPU or another one of the test that failed.
  void fail(const std::string& test, const std::string& link, double seconds, const Diagnostic&, const std::vector<Session*>& others);
  Status use(Session& by);
  bool answers(Session&);
  double limit_for(double bytes) const;   // within which a GPU moves so much over the slowest link that works
  std::uint64_t words() const { return bytes_ / 8; }
  Status fill(const End&, std::uint64_t seed);
  Result<exact::CheckState> check(const End&, std::uint64_t seed, bool by_host);
  Result<bool> plant(const End&, std::uint64_t seed, const exact::CheckState& before);
  Status queue(const Flow&, const Lane&, int copies);
  Result<std::vector<double>> sample(const CopyTest&, std::vector<Lane>&, const Samples&);
  Status compare_all(const CopyTest&, bool first, bool last, Samples&);
  void fit(const CopyTest&, double seconds_of_one, Samples&) const;
  Status samples_of(const CopyTest&, Samples&);
  void tell(const CopyTest&, const Samples&, bool enough);
  Status latency_samples(const End&, std::uint64_t bytes, std::vector<double>& ns, exact::CheckState& wrong, bool& proven);
  Status stream_samples(const std::string& test);

  Session& session_;
  std::uint64_t most_bytes_, bytes_;   // that the buffers hold; of a copy of the test that is run
  std::uint64_t hops_;              // of a sample of the latency
  int samples_wanted_;
  int warm_up_, timed_;             // copies of a sample
  double silence_s_;
  TestSink& sink_;
  std::optional<PinnedMemory> latch_, staged_;   // staged_: a state on its way to a GPU and back
  DeviceMemory state_;
  bool dead_ = false;
  Session* working_;                // in whose context what may fail is done
  std::vector<const Session*> lost_;
};

}  // namespace kfab::agent::devices::cuda
