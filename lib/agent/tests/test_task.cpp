#include "agent/tests/test_task.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "agent/devices/device.hpp"
#include "agent/tests/child_protocol.hpp"
#include "agent/tests/test_process.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using devices::Family;

// How the time is shared among the families that run, and whether accelerators of a node take turns: copies of one must
// not share a link with those of another, while heat and power want all at once.
struct FamilyRow { Family family; double share; bool one_at_a_time; };
constexpr FamilyRow family_rows[] = {{Family::memory, 0.2, false}, {Family::bandwidth, 0.3, true}, {Family::burnin, 0.5, false}};

json::Object test_done(std::string_view accelerator, std::string_view device, std::string_view test, std::string_view status,
                       Code code, std::string_view reason) {
  return json::Object{{"type", "test_done"}, {"accelerator", accelerator}, {"device", device}, {"test", test}, {"status", status},
                      {"code", to_string(code)}, {"reason", one_line(reason, 500)}, {"duration_s", 0.0}};
}

// Sends on what one family's processes say, and says what they could not.
class FamilyRun {
 public:
  FamilyRun(const devices::TestRequest& request, TaskContext& context, const TestChildLaunch& launch)
      : request_(request), context_(context), launch_(launch) {}

  void run(const FamilyRow& row, double seconds, const std::vector<std::string>& accelerators) {
    const std::size_t at_once = row.one_at_a_time ? 1 : accelerators.size();
    for (std::size_t from = 0; from < accelerators.size(); from += at_once) {
      std::vector<TestOrder> orders;
      for (std::size_t i = from; i < std::min(from + at_once, accelerators.size()); ++i)
        orders.push_back({json::Object{{"do", "run"}, {"request", devices::to_json(request_)}, {"accelerator", accelerators[i]},
                                       {"family", to_string(row.family)}, {"seconds", seconds}},
                          seconds, accelerators[i], std::string(to_string(row.family))});
      std::vector<bool> told(orders.size(), false);   // whether a test of it came to an end
      const auto ends = run_test_processes(orders, launch_, [&](std::size_t i, const json::Value& message) {
          if (message.string_or("type") == "test_done") told[i] = true;
          forward(message, orders[i].accelerator);
        }, [&] { return context_.stop_requested(); });
      for (std::size_t i = 0; i < ends.size(); ++i) conclude(orders[i], ends[i], told[i]);
    }
  }

 private:
  // The accelerator is what the order was about, whatever the child says.
  void forward(const json::Value& message, const std::string& accelerator) {
    const auto* object = message.as_object();
    if (!object) return;
    json::Object out = *object;
    context_.emit(std::move(out.set("accelerator", accelerator).set("device", request_.device)));
  }
  void conclude(const TestOrder& order, const TestEnd& end, bool told) {
    const auto say = [&](std::string_view status, Code code, std::string_view reason) {
      context_.emit(test_done(order.accelerator, request_.device, order.family, status, code, reason));
    };
    if (end.kind == TestEnd::Kind::hung) return say("failed", code::test_hung, end.reason);
    if (end.stopped) {
      if (end.kind != TestEnd::Kind::finished || !told) say("not_run", code::test_stopped, "stopped before it was done");
      return;
    }
    if (end.kind == TestEnd::Kind::died) return say("failed", code::test_process_died, end.reason);
    if (end.kind == TestEnd::Kind::not_started) return say("not_run", code::test_process_died, end.reason);
    if (!told) say("failed", code::test_process_died, "it ended without a result");
  }

  const devices::TestRequest& request_;
  TaskContext& context_;
  const TestChildLaunch& launch_;
};

}  // namespace

Status run_test_task(const json::Value& document, TaskContext& context, const TestChildLaunch& launch) {
  KFAB_TRY(request, devices::read_request(document));

  // The inventory in a process of its own as well: a sick driver can hang there already.
  std::vector<std::string> found;
  bool told = false;
  const TestOrder list{json::Object{{"do", "list"}, {"request", devices::to_json(request)}}, 60, "", std::string(inventory_test)};
  const auto ends = run_test_processes({list}, launch, [&](std::size_t, const json::Value& message) {
      if (message.string_or("type") == "accelerator" && found.size() < 256) {
        const std::string id = message.string_or("id");
        const bool wanted = request.accelerators.empty() ||
                            std::find(request.accelerators.begin(), request.accelerators.end(), id) != request.accelerators.end();
        if (wanted) found.push_back(id);
      }
      if (message.string_or("type") == "test_done") told = true;
      context.emit(message);
    }, [&] { return context.stop_requested(); });
  const auto no_inventory = [&](std::string_view status, Code code, std::string_view reason) {
    context.emit(test_done("", request.device, inventory_test, status, code, reason));
    return ok();
  };
  if (ends[0].kind == TestEnd::Kind::hung) return no_inventory("failed", code::test_hung, ends[0].reason);
  if (ends[0].stopped) return no_inventory("not_run", code::test_stopped, "stopped before the accelerators were found");
  if (ends[0].kind != TestEnd::Kind::finished) return no_inventory("failed", code::test_process_died, ends[0].reason);
  if (found.empty()) {
    if (told) return ok();
    return no_inventory("not_run", code::no_accelerator, request.accelerators.empty() ? "no accelerator was found" : "none of the accelerators asked for was found");
  }
  for (const auto& wanted : request.accelerators) {
    if (std::find(found.begin(), found.end(), wanted) == found.end())
      context.emit(test_done(wanted, request.device, inventory_test, "failed", code::accelerator_lost, "the accelerator is not there"));
  }

  double shares = 0;
  const auto asked = [&](Family family) { return std::find(request.families.begin(), request.families.end(), family) != request.families.end(); };
  for (const auto& row : family_rows) shares += asked(row.family) ? row.share : 0;
  FamilyRun run(request, context, launch);
  for (const auto& row : family_rows) {
    if (!asked(row.family)) continue;
    if (context.stop_requested()) {
      for (const auto& id : found)
        context.emit(test_done(id, request.device, to_string(row.family), "not_run", code::test_stopped, "stopped before it began"));
      continue;
    }
    run.run(row, request.duration_s * row.share / shares, found);
  }
  return ok();
}

Status run_test_task(const json::Value& request, TaskContext& context) { return run_test_task(request, context, TestChildLaunch{}); }

}  // namespace kfab::agent
