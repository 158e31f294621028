#include <algorithm>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "agent/devices/cuda_copies.hpp"
#include "agent/devices/findings.hpp"
#include "agent/devices/host_memory.hpp"
#include "base/codes/validation.hpp"

// Which copies are measured: those of nvbandwidth, under its names. First, at every level, the ones that find a bad slot, cable
// or link: by copy engines between the GPU and its host, within the GPU, from and to each peer. The other levels go on with all
// the others for as long as there is time, and tell how many were left out. What another GPU does wrong costs the link to it alone:
// what this one is worth by itself is measured before any other is touched.
namespace kfab::agent::devices::cuda {
namespace {

constexpr std::uint64_t usual_buffer = std::uint64_t{512} << 20;
// A quick look copies so small a part over links, of 512 MiB 64 with the host and 128 with a peer; within the GPU it stays what no cache holds.
constexpr std::uint64_t quick_host_part = 8, quick_peer_part = 4, page = 4096;
constexpr std::uint64_t ring_bytes = std::uint64_t{2} << 20;

// Buffers of one GPU and, where asked for, of the host beside it, each of twice the size of a copy.
struct Station {
  Session* session = nullptr;
  int index = 0;                     // the driver's order
  int numa_node = -1;
  DeviceMemory near, far;
  std::optional<PinnedMemory> host, opposite;

  End on_gpu() const { return {near.at(), session, nullptr}; }
  End on_gpu_2() const { return {far.at(), session, nullptr}; }
  End on_host() const { return {host->address(), nullptr, host->as<std::uint64_t>()}; }
  End on_host_2() const { return {opposite->address(), nullptr, opposite->as<std::uint64_t>()}; }

  Status take_device(std::uint64_t bytes) {
    KFAB_TRY_VOID(session->use());
    KFAB_TRY(one, session->allocate(2 * bytes));
    near = std::move(one);
    KFAB_TRY(two, session->allocate(2 * bytes));
    far = std::move(two);
    return ok();
  }
  Status take_host(std::uint64_t bytes) {
    if (host) return ok();
    KFAB_TRY_VOID(session->use());
    KFAB_TRY(one, session->allocate_pinned(2 * bytes));
    KFAB_TRY(two, session->allocate_pinned(2 * bytes));
    host.emplace(std::move(one));
    opposite.emplace(std::move(two));
    return ok();
  }
};

constexpr double overtime = 3, extra_s = 60, watched_s = 120, least_sample_s = 0.1;

std::string_view suffix_of(bool multiprocessors) { return multiprocessors ? "sm" : "ce"; }
std::string_view words_of(bool multiprocessors) { return multiprocessors ? "multiprocessors" : "copy engine"; }

class Bandwidth {
 public:
  Bandwidth(Session& session, const Accelerator& accelerator, const TestRequest& request, double seconds, std::uint64_t bytes, KeptContexts& kept, TestSink& sink)
      : session_(session), accelerator_(accelerator), request_(request), quick_(request.level == "quick"), seconds_(seconds), bytes_(bytes),
        host_bytes_(over_link(quick_host_part)), peer_bytes_(over_link(quick_peer_part)), kept_(kept), sink_(sink), copies_(session, bytes, request, sink) {}
  ~Bandwidth() {
    for (const auto& peer : sessions_) session_.part_from(*peer), peer->part_from(session_);
    static_cast<void>(session_.use());
  }

  Status run() {
    KFAB_TRY_VOID(copies_.prepare());
    own_.session = &session_;
    own_.index = accelerator_.index;
    KFAB_TRY_VOID(own_.take_device(bytes_));
    with_host();
    within();
    if (copies_.dead()) return ok();
    copies_.stream();
    if (copies_.dead()) return ok();
    open_peers();
    share_time();
    for (auto& peer : peers_) with_peer(peer, false);
    static_cast<void>(session_.use());
    if (!copies_.dead() && !quick_) others();
    if (!quick_ || left_out_ > 0)
      sink_.measurement("bandwidth", "bandwidth.tests_left_out", left_out_, "count",
                        left_out_ == 0 ? std::string("all of nvbandwidth's copies were measured") : fmt::format("first {}: the time of this level was used up; a soak, or a longer --duration, measures them", first_left_out_));
    return ok();
  }

 private:
  std::uint64_t over_link(std::uint64_t quick_part) const { return quick_ ? std::max(bytes_ / quick_part / page * page, page) : bytes_; }
  // What criteria do not rest on.
  void others() {
    if (own_.host) {
      const NearNode node(accelerator_.numa_node);
      copies_with_host(true);
    }
    for (auto& peer : peers_) with_peer(peer, true);
    if (!peers_.empty() && !copies_.dead()) together();
    static_cast<void>(session_.use());
  }
  // Many peers share what the host's copies left of the time: a sample of slow links is of fewer copies then.
  void share_time() {
    if (peers_.empty()) return;
    constexpr double directions = 2;
    sample_s_ = std::clamp((seconds_ - watch_.seconds()) / (directions * double(peers_.size()) * (std::max(request_.samples, 1) + 1)), least_sample_s, sample_s_);
  }
  // Stops asked for between tests cost no further message: the family's end tells.
  void test(CopyTest one) { copies_.run(one); }
  // One of those that are measured as far as there is time.
  void test_if_time(CopyTest one) {
    if (watch_.seconds() < seconds_) return test(std::move(one));
    leave_out(one.name);
  }
  void leave_out(const std::string& name) {
    if (left_out_++ == 0) first_left_out_ = name;
  }
  // One that criteria rest on: it may take more than the time, but not without end. Where it is left out its link has a row that
  // says so, so that the others' links do not stand for all.
  void test_of_link(CopyTest one) {
    one.sample_s = sample_s_;
    one.bytes = peer_bytes_;
    if (watch_.seconds() < overtime * seconds_ + extra_s * std::min(1.0, request_.silence_s / watched_s)) return test(std::move(one));
    leave_out(one.name);
    sink_.measurement(one.name, fmt::format("bandwidth.{}_gbps", one.name), json::Value(), "gbps", "not measured: the time was used up before its turn came", {}, one.link);
  }

  void with_host() {
    const NearNode node(accelerator_.numa_node);
    if (auto taken = own_.take_host(host_bytes_); !taken) return end_by(sink_, "host_to_device_memcpy_ce", 0, taken.error());
    std::fill_n(own_.host->as<std::uint64_t>(), own_.host->bytes() / 8, 0);
    std::fill_n(own_.opposite->as<std::uint64_t>(), own_.opposite->bytes() / 8, 0);
    const double local = part_on_node(own_.host->as<void>(), own_.host->bytes(), accelerator_.numa_node);
    place_ = accelerator_.numa_node < 0 ? std::string("pinned host memory, NUMA node not known")
             : local < 0                ? fmt::format("pinned host memory{}, {}", node.held() ? fmt::format(" taken at NUMA node {}", accelerator_.numa_node) : "", node.words())
                                        : fmt::format("pinned host memory, {:.0f} % of it at NUMA node {}{}", 100 * local, accelerator_.numa_node, node.whole() ? "" : ", " + node.words());
    place_ += node_of_pci(accelerator_.pci_bus_id).note();
    sink_.measurement("host_memory", "bandwidth.host_memory_local_pct", local < 0 ? json::Value() : json::Value(100 * local), "percent", place_);
    if (const auto why = not_local(accelerator_.numa_node, node.held(), local))
      sink_.test_done("host_memory", "not_run", 0, fmt::format("{}; copies between the GPU and its own node were not measured", place_), to_string(*why));
    copies_with_host(false);
    copies_.latency("host_device_latency_sm", own_.on_host_2(), std::min(ring_bytes, own_.opposite->bytes()), "", place_);
  }

  void copies_with_host(bool sm) {
    const Flow to_gpu{own_.on_host(), own_.on_gpu(), &session_, sm}, to_host{own_.on_gpu(), own_.on_host(), &session_, sm};
    const Flow against_to_host{own_.on_gpu_2(), own_.on_host_2(), &session_, sm, false}, against_to_gpu{own_.on_host_2(), own_.on_gpu_2(), &session_, sm, false};
    const std::string how = fmt::format("{}, {}", words_of(sm), place_);
    const auto copy = [&](const char* name, std::vector<Flow> flows, const std::string& words) {
      CopyTest one{fmt::format("{}_{}", name, suffix_of(sm)), std::move(flows), Figures::first, "", words};
      one.bytes = host_bytes_;
      if (sm) test_if_time(std::move(one));
      else test(std::move(one));
    };
    copy("host_to_device_memcpy", {to_gpu}, how);
    copy("device_to_host_memcpy", {to_host}, how);
    copy("host_to_device_bidirectional_memcpy", {to_gpu, against_to_host}, how + ", against copies of twice the size to the host");
    copy("device_to_host_bidirectional_memcpy", {to_host, against_to_gpu}, how + ", against copies of twice the size to the GPU");
  }

  void within() {
    const double local = copies_.run({"device_local_copy", {{own_.on_gpu(), own_.on_gpu_2(), &session_}}, Figures::first, "", "within the GPU, each byte counted once"});
    if (copies_.dead()) return;
    sink_.measurement("device_local_copy", "bandwidth.hbm_copy_rw_gbps", local > 0 ? json::Value(2 * local) : json::Value(), "gbps",
                      "device_local_copy with each byte counted as read and as written");
  }

  // Every other GPU that this one can reach directly. One that cannot be opened costs its own link; one that the driver does not
  // let it reach has a row that says so, so that the others' links do not stand for all.
  void open_peers() {
    const auto& driver = session_.driver();
    int count = 0;
    if (driver->device_count(&count) != 0) return sink_.measurement("peers", "bandwidth.peer_reachable", json::Value(), "count", "the driver does not say how many GPUs there are");
    std::vector<int> reached, unreached;
    const Stopwatch watch;
    for (int other = 0; other < count; ++other) {
      if (other == accelerator_.index) continue;
      DeviceHandle handle = 0;
      int reachable = 0;
      int error = driver->device_get(&handle, other);
      if (error == 0 && handle == session_.device()) continue;   // whatever its number was when it was listed
      if (error == 0) error = driver->can_access_peer(&reachable, session_.device(), handle);
      const auto reach = reach_of(error, reachable);
      (reach.value_or(false) ? reached : unreached).push_back(other);
      const auto words = !reach ? std::string("the driver does not say whether this GPU reaches it directly") : *reach ? std::string("by the driver") : std::string(out_of_reach);
      sink_.measurement("peers", "bandwidth.peer_reachable", reach ? json::Value(*reach ? 1 : 0) : json::Value(), "count", words, {}, fmt::format("{}->{}", accelerator_.index, other));
    }
    if (!reached.empty() || !unreached.empty()) {
      // The proof: made-up answers of a driver that says yes, no, and nothing that holds.
      const int found = (reach_of(0, 1) == std::optional(true)) + (reach_of(0, 0) == std::optional(false)) + !reach_of(999, 1).has_value();
      emit_selftest(sink_, "peers", 3, found);
      sink_.test_done("peers", found == 3 ? "ran" : "failed", watch.seconds(), found == 3 ? "" : "the reader of the driver's answers missed a planted one", found == 3 ? "" : to_string(code::checker_not_proven));
    }
    if (!reached.empty())
      for (const int other : unreached) tell_unreached(other);
    for (const int other : reached) {
      auto opened = open_peer(other);
      if (!opened) {
        static_cast<void>(session_.use());
        sink_.test_done(fmt::format("device_to_device_memcpy_{}", other), "not_run", 0, fmt::format("link {}<->{}: {}", accelerator_.index, other, opened.error().message),
                        to_string(opened.error().code));
      }
    }
  }
  // What the driver's answer means; nothing where it gave none.
  static std::optional<bool> reach_of(int error, int reachable) { return error == 0 ? std::optional(reachable != 0) : std::nullopt; }
  static constexpr std::string_view out_of_reach = "the driver does not let this GPU reach it directly";
  void tell_unreached(int other) {
    for (const auto& [test, link] : {std::pair{"device_to_device_memcpy_read_ce", fmt::format("{}->{}", other, accelerator_.index)},
                                     std::pair{"device_to_device_memcpy_write_ce", fmt::format("{}->{}", accelerator_.index, other)}})
      sink_.measurement(test, fmt::format("bandwidth.{}_gbps", test), json::Value(), "gbps", fmt::format("not measured: {}, and it reaches others ({})", out_of_reach, to_string(code::peer_unreachable)), {}, link);
  }
  Status open_peer(int other) {
    const auto described = describe(*session_.driver(), other);
    const std::string id = described ? described->id : nameless(other);
    // What fails in the other's own context is the other's.
    const auto of_peer = [&](const std::string& why) { return error(code::peer_failed, fmt::format("GPU {} ({}): {}", other, id, why)); };
    if (std::find(request_.sick.begin(), request_.sick.end(), id) != request_.sick.end()) return of_peer("it hung or was lost before, and is left alone");
    auto opened = Session::open_peer(session_.libraries(), session_, other);
    if (!opened) return of_peer(fmt::format("{} ({})", opened.error().message, to_string(opened.error().code)));
    sessions_.push_back(std::move(*opened));
    Session* const session = sessions_.back().get();
    kept_.keep(*session);
    KFAB_TRY_VOID(session_.reach(*session));
    KFAB_TRY_VOID(session->reach(session_));
    Station station;
    station.session = session;
    station.index = other;
    station.numa_node = described ? described->numa_node : -1;
    auto taken = station.take_device(peer_bytes_);
    if (taken) peers_.push_back(std::move(station));
    KFAB_TRY_VOID(session_.use());
    return taken ? ok() : Status(of_peer(fmt::format("{} ({})", taken.error().message, to_string(taken.error().code))));
  }

  void with_peer(Station& peer, bool further) {
    if (copies_.lost(peer.session)) return;   // said when it was lost
    const std::string out = fmt::format("{}->{}", own_.index, peer.index), in = fmt::format("{}->{}", peer.index, own_.index);
    for (const bool sm : {false, true}) {
      const std::string how = fmt::format("{}, queued by this GPU", words_of(sm));
      const Flow read{peer.on_gpu(), own_.on_gpu(), &session_, sm}, write{own_.on_gpu(), peer.on_gpu(), &session_, sm};
      if (!further) {
        test_of_link({fmt::format("device_to_device_memcpy_read_{}", suffix_of(sm)), {read}, Figures::first, in, how});
        if (!copies_.lost(peer.session)) test_of_link({fmt::format("device_to_device_memcpy_write_{}", suffix_of(sm)), {write}, Figures::first, out, how});
        break;
      }
      if (sm) {
        test_if_time({fmt::format("device_to_device_memcpy_read_{}", suffix_of(sm)), {read}, Figures::first, in, how});
        test_if_time({fmt::format("device_to_device_memcpy_write_{}", suffix_of(sm)), {write}, Figures::first, out, how});
      }
      // The opposite way by the peer, as much and as well compared: each reads, or each writes.
      const Flow peer_reads{own_.on_gpu_2(), peer.on_gpu_2(), peer.session, sm}, peer_writes{peer.on_gpu_2(), own_.on_gpu_2(), peer.session, sm};
      const std::string both = fmt::format("{}<->{}", own_.index, peer.index), each = fmt::format("{}, each way queued by the GPU that", words_of(sm));
      test_if_time({fmt::format("device_to_device_bidirectional_memcpy_read_{}", suffix_of(sm)), {read, peer_reads}, Figures::each, both, each + " reads", {{"_read1", in}, {"_read2", out}}});
      test_if_time({fmt::format("device_to_device_bidirectional_memcpy_write_{}", suffix_of(sm)), {write, peer_writes}, Figures::each, both, each + " writes", {{"_write1", out}, {"_write2", in}}});
    }
    if (!further && !copies_.lost(peer.session)) copies_.latency("device_to_device_latency_sm", peer.on_gpu_2(), std::min(ring_bytes, peer.far.bytes()), fmt::format("{}->{}", own_.index, peer.index), "memory of the peer");
  }

  // All GPUs at once: over the host's links, and from and to this one.
  void together() {
    for (const auto& peer : peers_)
      if (copies_.lost(peer.session))
        return sink_.test_done("all_to_host_memcpy_ce", "not_run", 0, fmt::format("copies of all GPUs at once: {} failed before", peer.session->words()), to_string(code::peer_failed));
    bool hosts = true;
    for (auto& peer : peers_) {
      const NearNode node(peer.numa_node);   // each beside its own processors
      const auto taken = peer.take_host(host_bytes_);
      static_cast<void>(session_.use());
      if (taken) continue;
      end_by(sink_, "all_to_host_memcpy_ce", 0, taken.error());
      hosts = false;
      break;
    }
    const std::string words = fmt::format("{} other GPUs at once", peers_.size());
    for (const bool sm : {false, true}) {
      const auto over_host = [&](bool to_host, bool both) {
        const auto flow = [&](Station& s, bool up, bool measured) {
          if (measured) return up ? Flow{s.on_gpu(), s.on_host(), s.session, sm} : Flow{s.on_host(), s.on_gpu(), s.session, sm};
          return up ? Flow{s.on_gpu_2(), s.on_host_2(), s.session, sm, false} : Flow{s.on_host_2(), s.on_gpu_2(), s.session, sm, false};
        };
        std::vector<Flow> flows{flow(own_, to_host, true)};
        if (both) flows.push_back(flow(own_, !to_host, false));
        for (auto& peer : peers_) {
          Flow same = flow(peer, to_host, true);   // the other pair of buffers than the opposite way's
          same.measured = false;
          flows.push_back(same);
          if (both) flows.push_back(flow(peer, !to_host, false));
        }
        test_if_time({fmt::format("{}{}_memcpy_{}", to_host ? "all_to_host" : "host_to_all", both ? "_bidirectional" : "", suffix_of(sm)), flows, Figures::first, "",
              fmt::format("{}, {}, against copies of {}{}", words_of(sm), place_, words, both ? ", both ways" : "")});
      };
      if (hosts && own_.host)
        for (const bool both : {false, true})
          for (const bool to_host : {true, false}) over_host(to_host, both);
      all_and_one(sm, words);
    }
  }
  void all_and_one(bool sm, const std::string& words) {
    std::vector<DeviceMemory> targets;   // here, one for each peer
    for (std::size_t i = 0; i < peers_.size(); ++i) {
      auto memory = session_.allocate(bytes_);
      if (!memory) return end_by(sink_, fmt::format("all_to_one_write_{}", suffix_of(sm)), 0, memory.error());
      targets.push_back(std::move(*memory));
    }
    for (const bool to_one : {true, false})
      for (const bool write : {true, false}) {
        std::vector<Flow> flows;
        for (std::size_t i = 0; i < peers_.size(); ++i) {
          const End here{targets[i].at(), &session_, nullptr}, there = peers_[i].on_gpu();
          // Who writes is the source, who reads is the target.
          Session* by = to_one == write ? peers_[i].session : &session_;
          flows.push_back(to_one ? Flow{there, here, by, sm} : Flow{here, there, by, sm});
        }
        test_if_time({fmt::format("{}_{}_{}", to_one ? "all_to_one" : "one_to_all", write ? "write" : "read", suffix_of(sm)), flows, Figures::total, fmt::format("{}{}", to_one ? "*->" : "", to_one ? fmt::format("{}", own_.index) : fmt::format("{}->*", own_.index)),
              fmt::format("{}, {}, all of it counted", words_of(sm), words)});
      }
  }

  Session& session_;
  const Accelerator& accelerator_;
  const TestRequest& request_;
  bool quick_;
  double seconds_, sample_s_ = 1;
  Stopwatch watch_;
  int left_out_ = 0;
  std::string first_left_out_;
  std::uint64_t bytes_, host_bytes_, peer_bytes_;   // of a copy: within the GPU, with the host, with another GPU
  KeptContexts& kept_;
  TestSink& sink_;
  Copies copies_;
  std::string place_;
  Station own_;
  std::vector<std::unique_ptr<Session>> sessions_;   // of the peers; destroyed after what lies in them
  std::vector<Station> peers_;
};

}  // namespace

void run_bandwidth(Session& session, const Accelerator& accelerator, const TestRequest& request, double seconds, KeptContexts& kept, TestSink& sink) {
  const auto memory = session.memory_info();
  if (!memory) return end_by(sink, "bandwidth", 0, memory.error());
  std::uint64_t bytes = request.buffer_bytes ? request.buffer_bytes : usual_buffer;
  bytes = std::max(std::min(bytes, memory->free / 16) / page * page, page);
  if (const auto ran = Bandwidth(session, accelerator, request, seconds, bytes, kept, sink).run(); !ran) end_by(sink, "bandwidth", 0, ran.error());
}

}  // namespace kfab::agent::devices::cuda
