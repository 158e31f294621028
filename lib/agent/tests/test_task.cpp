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
struct FamilyRow { Family family; double share; bool one_at_a_time; };
constexpr FamilyRow family_rows[] = {{Family::health, 0, false}, {Family::memory, 0.2, false}, {Family::bandwidth, 0.3, true}, {Family::burnin, 0.5, false}};

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
    std::vector<Proven> proofs(accelerators.size());
    if (row.family == Family::burnin && request_.device == "cuda") proofs = prove(accelerators);
    // Makers' stress tools hold what they share on a node for themselves.
    const bool in_turn = row.one_at_a_time || (row.family == Family::burnin && request_.device == "vendor");
    const std::size_t at_once = in_turn ? 1 : accelerators.size();
    for (std::size_t from = 0; from < accelerators.size(); from += at_once) {
      std::vector<TestOrder> orders;
      for (std::size_t i = from; i < std::min(from + at_once, accelerators.size()); ++i) {
        devices::TestRequest mine = request_;
        mine.kernels = proofs[i].kernels;
        mine.silence_s = launch_.silence_s;
        for (const auto& [id, why] : sick_) mine.sick.push_back(id);
        const double waiting = row.family == Family::burnin ? std::max(0.0, request_.load.start_at - double(std::time(nullptr))) : 0;
        json::Object order{{"do", "run"}, {"request", devices::to_json(mine)}, {"accelerator", accelerators[i]},
                           {"family", to_string(row.family)}, {"seconds", seconds}, {"slots", json::Array(list_.slots.begin(), list_.slots.end())}};
        if (row.family == Family::health && request_.device != "vendor") order.set("described", list_.found[i]).set("no_cuda", list_.no_cuda);
        if (proofs[i].before.is_object()) order.set("before", proofs[i].before);
        orders.push_back({std::move(order), seconds + waiting, accelerators[i], std::string(to_string(row.family)), row.family == Family::bandwidth ? slow_links_s : 0});
      }
      std::vector<bool> told(orders.size(), false);   // whether a test of it came to an end
      std::vector<json::Value> before(orders.size()); // its counters before the first
      const auto ends = run_test_processes(orders, launch_, [&](std::size_t i, const json::Value& message) {
          const std::string type = message.string_or("type");
          if (type == "test_done") told[i] = true, note(orders[i], message.string_or("code"), message.string_or("status"));
          if (type == "counters") before[i] = message;
          else if (type == "stray_event") stray(message);
          else forward(message, orders[i].accelerator);
        }, [&] { return context_.stop_requested(); },
        [&](std::size_t i, const TestEnd& end) {
          // Told at once, whatever the others still do: the run may be cut while one of them hangs.
          const bool whole = end.kind == TestEnd::Kind::finished && !end.stopped && end.unreadable == 0 && told[i];
          if (!whole) broken_off_.insert(orders[i].accelerator);
          else if (last && !broken_off_.contains(orders[i].accelerator))
            context_.emit(json::Object{{"type", "accelerator_done"}, {"accelerator", orders[i].accelerator}, {"device", request_.device}});
        });
      for (std::size_t i = 0; i < ends.size(); ++i) {
        conclude(orders[i], ends[i], told[i]);
        const bool broke_off = ends[i].kind == TestEnd::Kind::hung || ends[i].kind == TestEnd::Kind::died;
        if (broke_off && before[i].is_object() && !context_.stop_requested()) counters_after(orders[i], before[i]);
      }
    }
  }

 private:
  struct Proven {
    std::vector<devices::KernelProof> kernels;
    json::Value before;   // the counters before the proof
  };
  // Kernels that nobody trusts unseen prove themselves in processes of their own. What is left unsaid there, for whatever
  // reason, is not proven, and the general kernels do the work. Nothing of this is a verdict on the accelerator by itself: what it
  // refused, and what was wrong on it, is told with its burn-in, and held against others of its model.
  std::vector<Proven> prove(const std::vector<std::string>& accelerators) {
    constexpr double planned_s = 20;
    TestChildLaunch launch = launch_;
    launch.silence_s = std::min(launch.silence_s, launch.proof_silence_s);
    std::vector<TestOrder> orders;
    for (const auto& id : accelerators)
      orders.push_back({json::Object{{"do", "prove"}, {"request", devices::to_json(request_)}, {"accelerator", id}, {"family", "burnin"}}, planned_s, id, "burnin"});
    std::vector<Proven> out(accelerators.size());
    const auto ends = run_test_processes(orders, launch, [&](std::size_t i, const json::Value& message) {
        if (message.string_or("type") == "counters") out[i].before = message;
        if (message.string_or("type") == "kernel" && out[i].kernels.size() < 64)
          out[i].kernels.push_back({one_line(message.string_or("name"), 60), one_line(message.string_or("reason"), 300), message.bool_or("proven", false), message.bool_or("wrong", false)});
      }, [&] { return context_.stop_requested(); });
    for (std::size_t i = 0; i < ends.size(); ++i)
      if (ends[i].kind != TestEnd::Kind::finished || ends[i].unreadable)   // what a process said that then broke proves nothing; wrong bits stay wrong
        std::erase_if(out[i].kernels, [](const auto& kernel) { return !kernel.wrong; });
    return out;
  }
  // What the counters and the kernel's log say after the child that watched them is gone: in a process of its own, because a
  // driver that hung once hangs again.
  void counters_after(const TestOrder& order, const json::Value& before) {
    const TestOrder again{json::Object{{"do", "counters"}, {"request", devices::to_json(request_)}, {"accelerator", order.accelerator}, {"family", order.family}, {"before", before}},
                          counters_s, order.accelerator, order.family};
    TestChildLaunch launch = launch_;
    launch.silence_s = std::min(launch.silence_s, counters_s);
    launch.overrun_factor = 1;
    launch.overrun_grace_s = 0;
    const auto ends = run_test_processes({again}, launch, [&](std::size_t, const json::Value& message) {
        if (message.string_or("type") == "stray_event") stray(message);
        else forward(message, order.accelerator);
      }, [&] { return context_.stop_requested(); });
    if (ends[0].unreadable) context_.emit(test_done(order.accelerator, request_.device, "counters", "not_run", code::test_report_damaged, unreadable_words(ends[0].unreadable)));
    if (ends[0].kind != TestEnd::Kind::finished && !ends[0].stopped)
      context_.emit(test_done(order.accelerator, request_.device, "counters", "failed", code::test_hung, "after " + order.family + " broke off: " + ends[0].reason));
  }
  void stray(const json::Value& message) { context_.emit(stray_event_message(message, request_.device)); }
  // The accelerator is what the order was about, whatever the child says.
  void forward(const json::Value& message, const std::string& accelerator) {
    const auto* object = message.as_object();
    if (!object || message.string_or("type") == "accelerator_done") return;   // that is said here alone
    json::Object out = *object;
    context_.emit(std::move(out.set("accelerator", accelerator).set("device", request_.device)));
  }
  void conclude(const TestOrder& order, const TestEnd& end, bool told) {
    const auto say = [&](std::string_view status, Code code, std::string_view reason) {
      context_.emit(test_done(order.accelerator, request_.device, order.family, status, code, reason));
    };
    if (end.kind == TestEnd::Kind::hung) {
      note(order, std::string(to_string(code::test_hung)), "failed");
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

  void note(const TestOrder& order, const std::string& what, std::string_view status) {
    for (const Code gone : {code::test_hung, code::accelerator_lost})
      if (status == "failed" && what == to_string(gone))
        sick_.try_emplace(order.accelerator, Sick{gone, fmt::format("not tried: it {} in the tests of family {}", gone == code::test_hung ? "hung" : "was lost", order.family)});
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
    if (row.share > 0) left_over += seconds * (row.one_at_a_time ? double(found.size()) : 1) - watch.seconds();
  }
  return ok();
}

Status run_test_task(const json::Value& request, TaskContext& context) { return run_test_task(request, context, TestChildLaunch{}); }

}  // namespace kfab::agent
