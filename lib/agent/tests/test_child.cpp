#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>

#include "agent/devices/device.hpp"
#include "agent/health/inventory.hpp"
#include "agent/health/watch.hpp"
#include "agent/tests/child_protocol.hpp"
#include "agent/tests/test_task.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

volatile sig_atomic_t asked_to_stop = 0;

// Writes messages as whole lines; a reader that is gone ends the test.
class PipeSink final : public devices::TestSink {
 public:
  PipeSink(int out, std::string accelerator, std::string device, std::chrono::milliseconds pause)
      : out_(out), accelerator_(std::move(accelerator)), device_(std::move(device)), pause_(pause) {}

  void emit(json::Object message) override {
    // Progress is for people, and a sign of life: not every product of every node of a site is worth a message.
    if (const auto* type = message.find("type"); type && type->as_string() && *type->as_string() == "progress") {
      const auto now = std::chrono::steady_clock::now();
      if (said_progress_ && now - last_progress_ < pause_) return;
      said_progress_ = true;
      last_progress_ = now;
    }
    note_failure(message);
    if (!message.find("accelerator")) message.set("accelerator", accelerator_);
    if (!message.find("device")) message.set("device", device_);
    const std::string line = json::dump(message) + "\n";
    const std::lock_guard lock(mutex_);
    for (std::size_t at = 0; at < line.size();) {
      const ssize_t wrote = ::write(out_, line.data() + at, line.size() - at);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) {
        broken_ = true;
        return;
      }
      at += std::size_t(wrote);
    }
  }
  bool stop_requested() const override { return asked_to_stop || broken_; }

  // What follows is of another accelerator.
  void begin_turn(const std::string& accelerator) {
    accelerator_ = accelerator;
    emit(json::Object{{"type", "turn"}});
  }
  // Whether something failed that may have left this process with less than a whole driver: a context that an error has spoilt, work that
  // does not end.
  bool failed() const { return failed_; }

 private:
  void note_failure(const json::Object& message) {
    const json::Value told(message);
    if (told.string_or("type") == "test_done" && (told.string_or("status") == "failed" || told.string_or("code") == to_string(code::peer_failed))) failed_ = true;
  }

  int out_;
  std::string accelerator_, device_;
  std::chrono::milliseconds pause_;
  bool said_progress_ = false;
  std::chrono::steady_clock::time_point last_progress_{};
  std::mutex mutex_;
  std::atomic<bool> broken_{false}, failed_{false};
};

// Tells the watch over the counters when a test has ended.
class WatchedSink final : public devices::TestSink {
 public:
  WatchedSink(devices::TestSink& out, health::CounterWatch& watch) : out_(out), watch_(watch) {}
  void emit(json::Object message) override {
    std::string ended;
    if (const auto* type = message.find("type"); type && type->as_string() && *type->as_string() == "test_done") ended = json::Value(message).string_or("test");
    out_.emit(std::move(message));
    if (!ended.empty()) watch_.test_ended(ended);
  }
  bool stop_requested() const override { return out_.stop_requested(); }

 private:
  devices::TestSink& out_;
  health::CounterWatch& watch_;
};

void run_watched(devices::Device& device, devices::Family family, const devices::Accelerator& one, const devices::TestRequest& request, double seconds,
                 const json::Value& earlier, devices::TestSink& sink) {
  const auto before = earlier.is_object() ? std::optional(health::before_from_json(earlier)) : std::nullopt;
  health::CounterWatch watch(one, health::sources(), family == devices::Family::bandwidth, before ? &*before : nullptr);
  sink.emit(health::to_json(watch.before()));
  WatchedSink watched(sink, watch);
  device.run(family, one, request, seconds, watched);
  watch.finish(to_string(family), sink);
}

// The family of the order on one accelerator.
void run_family(devices::Device& device, const std::vector<devices::Accelerator>& found, const devices::TestRequest& request, const json::Value& order, const std::string& id,
                devices::TestSink& sink) {
  const auto family = std::find_if(request.families.begin(), request.families.end(), [&](const auto one) { return to_string(one) == order.string_or("family"); });
  const auto one = std::find_if(found.begin(), found.end(), [&](const auto& accelerator) { return accelerator.id == id; });
  const double seconds = order.double_or("seconds", 10);
  if (family == request.families.end() || one == found.end())
    return sink.test_done(order.string_or("family"), "failed", 0, "the accelerator is no longer there", to_string(code::accelerator_lost));
  if (request.device == "vendor") return device.run(*family, *one, request, seconds, sink);   // its maker's tool is all there is to ask
  run_watched(device, *family, *one, request, seconds, order["before"], sink);
}

// What a sick test does, for the self-test.
int misbehave(const std::string& how, int out) {
  const auto write_all = [&](std::string_view text) { return ::write(out, text.data(), text.size()) == ssize_t(text.size()); };
  if (how == "hang") {
    ::signal(SIGTERM, SIG_IGN);
    for (;;) ::pause();
  }
  if (how == "crash") ::raise(SIGKILL);
  if (how == "nonsense") {
    const bool wrote = write_all(std::string(1, char(27)) + "[31mpass\n[1, 2\n{\"type\": 7}\n\"test_done\"\n" + std::string(10'000, 'x') + "\n");
    return wrote ? 0 : 1;
  }
  if (how == "sound") return write_all("{\"type\":\"test_done\",\"test\":\"memory\",\"status\":\"ran\"}\n") ? 0 : 1;
  return 0;
}

// What CUDA_VISIBLE_DEVICES hides from whoever started the agent is part of the node all the same. Where the test is of one GPU alone
// nothing else is shown to CUDA: it opens every GPU that it sees, and one that is sick keeps it from starting. Copies need all of them.
void see_what_is_tested(const std::string& job, const std::string& family, const std::string& accelerator) {
  const bool alone = job == "prove" || (job == "run" && family != "bandwidth");
  if (alone && accelerator.rfind("GPU-", 0) == 0) ::setenv("CUDA_VISIBLE_DEVICES", accelerator.c_str(), 1);
  else ::unsetenv("CUDA_VISIBLE_DEVICES");
}

std::string read_line(int in) {
  std::string line;
  char c;
  while (line.size() < (std::size_t{1} << 20)) {
    const ssize_t got = ::read(in, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') break;
    line += c;
  }
  return line;
}

}  // namespace

namespace {

int run_child(int in, int out) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);   // an accelerator does not go on burning without its owner
  struct sigaction action {};
  action.sa_handler = [](int) { asked_to_stop = 1; };
  ::sigaction(SIGTERM, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  const auto order = json::parse(read_line(in));
  if (!order) return 2;
  const auto request = devices::read_request((*order)["request"]);
  if (!request) return 2;
  const auto device = devices::make_device(request->device, request->vendor);
  if (!device) return 2;
  const std::string wanted = order->string_or("accelerator");
  if (request->device == "cuda") see_what_is_tested(order->string_or("do"), order->string_or("family"), wanted);
  if (order->string_or("do") == "misbehave") return misbehave(order->string_or("how"), out);
  PipeSink sink(out, wanted, request->device, std::chrono::milliseconds(request->level == "quick" ? 500 : 10'000));

  if (order->string_or("do") == "counters") {
    const auto before = health::before_from_json((*order)["before"]);
    devices::Accelerator one;
    one.id = wanted;
    one.device = request->device;
    one.pci_bus_id = before.pci_bus_id;
    health::finish_for_dead(one, before, one_line(order->string_or("family"), 20), health::sources(), sink);
    return 0;
  }
  if (order->string_or("do") == "list_without_cuda") {
    health::list_without_cuda(health::sources(), sink);
    return 0;
  }
  if ((*order)["described"].is_object() && order->string_or("family") == to_string(devices::Family::health)) {
    health::sources().no_cuda = one_line(order->string_or("no_cuda"), 300);
    std::vector<std::string> slots;
    for (const auto& slot : order->array_at("slots"))
      if (const auto* text = slot.as_string()) slots.push_back(*text);
    health::run_health(devices::accelerator_from_json((*order)["described"]), slots, health::sources(), sink);
    return 0;
  }
  const auto found = device->accelerators();
  if (!found && found.error().code == code::no_accelerator && ::getenv("CUDA_VISIBLE_DEVICES") != nullptr) {
    sink.test_done(order->string_or("family"), "failed", 0, "the accelerator is no longer there: " + one_line(found.error().message), to_string(code::accelerator_lost));
    return 0;
  }
  if (!found) {
    sink.test_done(inventory_test, "not_run", 0, one_line(found.error().message), to_string(found.error().code));
    return 0;
  }
  if (order->string_or("do") == "list") {
    for (const auto& one : *found) sink.emit(*devices::to_json(one).as_object());
    return 0;
  }
  if (order->string_or("do") == "prove") {
    for (const auto& one : *found) {
      if (one.id != wanted) continue;
      // What the proof moves is found by the burn-in, which goes on from here.
      sink.emit(health::to_json(health::CounterWatch(one, health::sources(), false).before()));
      device->prove(one, *request, sink);
    }
    return 0;
  }
  run_family(*device, *found, *request, *order, wanted, sink);
  for (const auto& next : order->array_at("then")) {
    // What broke here is nobody else's: another process takes the rest.
    if (sink.failed() || sink.stop_requested() || devices::gpu_given_up() || next.as_string() == nullptr) break;
    sink.begin_turn(*next.as_string());
    run_family(*device, *found, *request, *order, *next.as_string(), sink);
  }
  return 0;
}

}  // namespace

int test_child_main(int in, int out) {
  // What a library prints must not come between the messages: they have a way of their own.
  if (out == 1)
    if (const int own = ::fcntl(1, F_DUPFD_CLOEXEC, 3); own >= 0 && ::dup2(2, 1) == 1) out = own;
  const int status = run_child(in, out);
  if (devices::gpu_given_up()) ::_exit(status == 0 && asked_to_stop ? test_child_stopped : status);   // all is said; the driver's own end would wait
  return status == 0 && asked_to_stop ? test_child_stopped : status;
}

}  // namespace kfab::agent
