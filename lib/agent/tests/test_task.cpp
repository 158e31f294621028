#include "agent/tests/test_task.hpp"

#include <algorithm>
#include <ctime>
#include <map>
#include <set>

#include <fmt/format.h>

#include "agent/devices/device.hpp"
#include "agent/devices/findings.hpp"
#include "agent/tests/accelerator_list.hpp"
#include "agent/tests/test_process.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using devices::Family;

constexpr double health_s = 10;     // within which health is read; a driver without persistence mode starts slowly
constexpr double slow_links_s = 900; // so much longer may copies take as long as they tell of their progress
constexpr double counters_s = 20;   // to read what moved after a test's process has died: a driver that hangs costs no more

// How the time is shared among the families that run where the request says nothing else (health takes a second or two whatever is asked for),
// and whether accelerators of a node take turns: copies of one must not share a link with those of another, while heat and power
// want all at once.
enum class Turns : std::uint8_t { none, process_each, process_shared };
struct FamilyRow { Family family; double share; Turns turns; };
constexpr FamilyRow family_rows[] = {{Family::health, 0, Turns::none}, {Family::memory, 0.2, Turns::none}, {Family::bandwidth, 0.3, Turns::process_shared}, {Family::burnin, 0.5, Turns::none}};

json::Object test_done(std::string_view accelerator, std::string_view device, std::string_view test, std::string_view status,
                       Code code, std::string_view reason) {
  return test_done_message(accelerator, device, test, status, to_string(code), reason);
}

// Sends on what one family's processes say, and says what they could not.
class FamilyRun {
 public:
  FamilyRun(const devices::TestRequest& request, const AcceleratorList& list, TaskContext& context, const TestChildLaunch& launch)
      : request_(request), list_(list), context_(context), launch_(launch) {}

  // Accelerators that hung or were lost before are not touched again: each time would cost a watchdog's silence. `last`: no family
  // comes after this one.
  void run(const FamilyRow& row, double seconds, const std::vector<std::string>& all, bool last) {
    std::vector<std::string> accelerators;
    for (const auto& id : all) {
      const auto known = sick_.find(id);
      if (known == sick_.end()) accelerators.push_back(id);
      else context_.emit(test_done(id, request_.device, to_string(row.family), "not_run", known->second.code, known->second.words));
    }
    if (accelerators.empty()) return;
    if (!list_.no_cuda.empty() && row.family != Family::health) {
      for (const auto& id : accelerators)
        context_.emit(test_done(id, request_.device, to_string(row.family), "not_run", list_.no_cuda_code, "CUDA does not start on this node: " + list_.no_cuda));
      return;
    }
    const auto proofs = row.family == Family::burnin && request_.device == "cuda" ? prove(accelerators) : std::map<std::string, Proven>();
    for (bool first = true; !accelerators.empty(); first = false) {
      if (!first && context_.stop_requested()) {
        for (const auto& id : accelerators)
          context_.emit(test_done(id, request_.device, to_string(row.family), "not_run", code::test_stopped, "stopped before it began"));
        return;
      }
      accelerators = run_round(row, seconds, accelerators, proofs, last);
    }
  }

 private:
  struct Proven {
    std::vector<devices::KernelProof> kernels;
    json::Value before;   // the counters before the proof
  };
  // What a process does of a family, and which of its accelerators it is at.
  struct Work {
    TestOrder order;
    std::size_t turn = 0;
    bool told = false;      // whether a test of this one came to an end
    json::Value before{};   // its counters before the first
    const std::string& accelerator() const { return turn == 0 ? order.accelerator : order.then[turn - 1]; }
    void next() { ++turn, told = false, before = json::Value(); }
  };

  // `then`: what the same process goes on to.
  TestOrder order_of(Family family, double seconds, const std::string& id, const std::map<std::string, Proven>& proofs, std::vector<std::string> then) const {
    const auto proven = proofs.find(id);
    devices::TestRequest mine = request_;
    if (proven != proofs.end()) mine.kernels = proven->second.kernels;
    mine.silence_s = launch_.silence_s;
    for (const auto& [sick, why] : sick_) mine.sick.push_back(sick);
    const double waiting = family == Family::burnin ? std::max(0.0, request_.load.start_at - double(std::time(nullptr))) : 0;
    json::Object order{{"do", "run"}, {"request", devices::to_json(mine)}, {"accelerator", id},
                       {"family", to_string(family)}, {"seconds", seconds}, {"slots", json::Array(list_.slots.begin(), list_.slots.end())}};
    if (family == Family::health && request_.device != "vendor") order.set("described", list_.described(id)).set("no_cuda", list_.no_cuda);
    if (proven != proofs.end() && proven->second.before.is_object()) order.set("before", proven->second.before);
    if (!then.empty()) order.set("then", json::Array(then.begin(), then.end()));
    return {std::move(order), seconds + waiting, id, std::string(to_string(family)), family == Family::bandwidth ? slow_links_s : 0, std::move(then)};
  }

  // One process for each accelerator, all at once; or one that takes them in turn for as long as nothing breaks: it starts the driver and
  // opens each GPU once, where the copies of each reach all the others, and what one GPU broke in a process is not there for the next to
  // find. Returns those that it did not come to.
  std::vector<std::string> run_round(const FamilyRow& row, double seconds, const std::vector<std::string>& accelerators, const std::map<std::string, Proven>& proofs, bool last) {
    // Makers' stress tools hold what they share on a node for themselves.
    const Turns turns = row.family == Family::burnin && request_.device == "vendor" ? Turns::process_each : row.turns;
    const auto alone = turns == Turns::none ? accelerators.size() : 1;
    std::vector<std::string> then;
    if (turns == Turns::process_shared) then.assign(accelerators.begin() + 1, accelerators.end());
    std::vector<TestOrder> orders;
    std::vector<Work> work;
    for (std::size_t i = 0; i < alone; ++i) {
      orders.push_back(order_of(row.family, seconds, accelerators[i], proofs, then));
      work.push_back({orders.back()});
    }

    const auto ends = run_test_processes(orders, launch_, [&](std::size_t i, const json::Value& message) {
        const std::string type = message.string_or("type");
        if (type == "test_done") work[i].told = true, note(work[i], message.string_or("code"), message.string_or("status"));
        if (type == "counters") work[i].before = message;
        else if (type == "stray_event") stray(message);
        else forward(message, work[i].accelerator());
      }, [&] { return context_.stop_requested(); },
      [&](std::size_t i, const TestEnd& end) {
        // Told at once, whatever the others still do: the run may be cut while one of them hangs.
        const std::string& id = work[i].accelerator();
        const bool whole = end.kind == TestEnd::Kind::finished && !end.stopped && end.unreadable == 0 && work[i].told;
        if (!whole) broken_off_.insert(id);
        else if (last && !broken_off_.contains(id)) context_.emit(json::Object{{"type", "accelerator_done"}, {"accelerator", id}, {"device", request_.device}});
        if (!end.goes_on) return;
        conclude(work[i], end);
        work[i].next();
      });
    std::size_t done = 0;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      conclude(work[i], ends[i]);
      const bool broke_off = ends[i].kind == TestEnd::Kind::hung || ends[i].kind == TestEnd::Kind::died;
      if (broke_off && work[i].before.is_object() && !context_.stop_requested()) counters_after(work[i]);
      done += work[i].turn + 1;
    }
    return {accelerators.begin() + std::ptrdiff_t(done), accelerators.end()};
  }
  // Kernels that nobody trusts unseen prove themselves in processes of their own. What is left unsaid there, for whatever
  // reason, is not proven, and the general kernels do the work. Nothing of this is a verdict on the accelerator by itself: what it
  // refused, and what was wrong on it, is told with its burn-in, and held against others of its model.
  std::map<std::string, Proven> prove(const std::vector<std::string>& accelerators) {
    constexpr double planned_s = 20;
    TestChildLaunch launch = launch_;
    launch.silence_s = std::min(launch.silence_s, launch.proof_silence_s);
    std::vector<TestOrder> orders;
    for (const auto& id : accelerators)
      orders.push_back({json::Object{{"do", "prove"}, {"request", devices::to_json(request_)}, {"accelerator", id}, {"family", "burnin"}}, planned_s, id, "burnin"});
    std::map<std::string, Proven> out;
    const auto ends = run_test_processes(orders, launch, [&](std::size_t i, const json::Value& message) {
        Proven& proven = out[accelerators[i]];
        if (message.string_or("type") == "counters") proven.before = message;
        if (message.string_or("type") == "kernel" && proven.kernels.size() < 64)
          proven.kernels.push_back({one_line(message.string_or("name"), 60), one_line(message.string_or("reason"), 300), message.bool_or("proven", false), message.bool_or("wrong", false)});
      }, [&] { return context_.stop_requested(); });
    for (std::size_t i = 0; i < ends.size(); ++i)
      if (ends[i].kind != TestEnd::Kind::finished || ends[i].unreadable)   // what a process said that then broke proves nothing; wrong bits stay wrong
        std::erase_if(out[accelerators[i]].kernels, [](const auto& kernel) { return !kernel.wrong; });
    return out;
  }
  // What the counters and the kernel's log say after the child that watched them is gone: in a process of its own, because a
  // driver that hung once hangs again.
  void counters_after(const Work& work) {
    const std::string &id = work.accelerator(), &family = work.order.family;
    const TestOrder again{json::Object{{"do", "counters"}, {"request", devices::to_json(request_)}, {"accelerator", id}, {"family", family}, {"before", work.before}}, counters_s, id, family};
    TestChildLaunch launch = launch_;
    launch.silence_s = std::min(launch.silence_s, counters_s);
    launch.overrun_factor = 1;
    launch.overrun_grace_s = 0;
    const auto ends = run_test_processes({again}, launch, [&](std::size_t, const json::Value& message) {
        if (message.string_or("type") == "stray_event") stray(message);
        else forward(message, id);
      }, [&] { return context_.stop_requested(); });
    if (ends[0].unreadable) context_.emit(test_done(id, request_.device, "counters", "not_run", code::test_report_damaged, unreadable_words(ends[0].unreadable)));
    if (ends[0].kind != TestEnd::Kind::finished && !ends[0].stopped)
      context_.emit(test_done(id, request_.device, "counters", "failed", code::test_hung, "after " + family + " broke off: " + ends[0].reason));
  }
  void stray(const json::Value& message) { context_.emit(stray_event_message(message, request_.device)); }
  // The accelerator is what the order was about, whatever the child says.
  void forward(const json::Value& message, const std::string& accelerator) {
    const auto* object = message.as_object();
    if (!object || message.string_or("type") == "accelerator_done") return;   // that is said here alone
    json::Object out = *object;
    context_.emit(std::move(out.set("accelerator", accelerator).set("device", request_.device)));
  }
  void conclude(const Work& work, const TestEnd& end) {
    const bool told = work.told;
    const auto say = [&](std::string_view status, Code code, std::string_view reason) {
      context_.emit(test_done(work.accelerator(), request_.device, work.order.family, status, code, reason));
    };
    if (end.kind == TestEnd::Kind::hung) {
      note(work, std::string(to_string(code::test_hung)), "failed");
      return say("failed", code::test_hung, end.reason);
    }
    if (end.stopped) {
      if (end.kind != TestEnd::Kind::finished || !told) say("not_run", code::test_stopped, "stopped before it was done");
      return;
    }
    if (end.kind == TestEnd::Kind::died) return say("failed", code::test_process_died, end.reason);
    if (end.kind == TestEnd::Kind::not_started) return say("not_run", code::test_process_died, end.reason);
    if (told && end.unreadable) return say("not_run", code::test_report_damaged, unreadable_words(end.unreadable));
    if (!told) say("failed", code::test_process_died, "it ended without a result");
  }

  void note(const Work& work, const std::string& what, std::string_view status) {
    for (const Code gone : {code::test_hung, code::accelerator_lost})
      if (status == "failed" && what == to_string(gone))
        sick_.try_emplace(work.accelerator(), Sick{gone, fmt::format("not tried: it {} in the tests of family {}", gone == code::test_hung ? "hung" : "was lost", work.order.family)});
  }

  struct Sick { Code code; std::string words; };

  const devices::TestRequest& request_;
  const AcceleratorList& list_;
  std::map<std::string, Sick> sick_;
  std::set<std::string> broken_off_;   // accelerators of which a family's tests did not come to their end
  TaskContext& context_;
  const TestChildLaunch& launch_;
};

}  // namespace

Status run_test_task(const json::Value& document, TaskContext& context, const TestChildLaunch& usual) {
  KFAB_TRY(request, devices::read_request(document));
  TestChildLaunch launch = usual;
  if (const double silence = document.double_or("silence_s", 0); silence > 0) {   // under a tool that makes kernels slow all of it is slow
    launch.silence_s = launch.proof_silence_s = std::clamp(silence, 1.0, 3600.0);
    launch.overrun_grace_s = std::max(launch.overrun_grace_s, launch.silence_s);
  }

  const AcceleratorList list = list_accelerators(request, context, launch);
  if (list.found.empty()) return ok();
  const std::vector<std::string> found = list.ids();

  double shares = 0;
  const auto asked = [&](Family family) { return std::find(request.families.begin(), request.families.end(), family) != request.families.end(); };
  for (const auto& row : family_rows) shares += asked(row.family) ? row.share : 0;
  FamilyRun run(request, list, context, launch);
  // Of the time of families that were done sooner: where the time is to be filled the burn-in takes it, so that a soak lasts what
  // it is to last.
  double left_over = 0;
  const bool fill_time = document.bool_or("fill_time", false);
  Family last = Family::health;
  for (const auto& row : family_rows)
    if (asked(row.family)) last = row.family;
  for (const auto& row : family_rows) {
    if (!asked(row.family)) continue;
    if (context.stop_requested()) {
      for (const auto& id : found)
        context.emit(test_done(id, request.device, to_string(row.family), "not_run", code::test_stopped, "stopped before it began"));
      continue;
    }
    const double by_share = row.share > 0 ? request.duration_s * row.share / shares : health_s;
    const double told_s = document["family_s"].double_or(to_string(row.family), 0);
    double seconds = row.share > 0 && told_s > 0 ? std::clamp(told_s, 0.1, 30.0 * 24 * 3600) : by_share;
    if (fill_time && row.family == Family::burnin && request.device != "vendor") seconds += std::max(0.0, left_over);
    const devices::Stopwatch watch;
    run.run(row, seconds, found, row.family == last);
    if (row.share > 0) left_over += seconds * (row.turns == Turns::none ? 1 : double(found.size())) - watch.seconds();
  }
  return ok();
}

Status run_test_task(const json::Value& request, TaskContext& context) { return run_test_task(request, context, TestChildLaunch{}); }

}  // namespace kfab::agent
