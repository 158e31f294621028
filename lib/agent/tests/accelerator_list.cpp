#include "agent/tests/accelerator_list.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "agent/health/kernel_log.hpp"
#include "agent/tests/child_protocol.hpp"
#include "agent/tests/test_process.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double list_s = 60, second_list_s = 20;   // a driver without persistence mode starts slowly; one that hung once is not waited for so long again
constexpr std::size_t most_accelerators = 256;

class Lister {
 public:
  Lister(const devices::TestRequest& request, TaskContext& context, const TestChildLaunch& launch) : request_(request), context_(context), launch_(launch) {}

  AcceleratorList list() {
    ask("list", launch_, list_s);
    if (stopped_) return {};
    if (out_.found.empty() && !any_ && request_.device == "cuda") {
      TestChildLaunch launch = launch_;
      launch.silence_s = std::min(launch.silence_s, second_list_s);
      ask("list_without_cuda", launch, second_list_s);
      if (stopped_) return {};
    }
    if (out_.found.empty()) {
      if (!told_) say("", "not_run", to_string(code::no_accelerator), request_.accelerators.empty() ? "no accelerator was found" : "none of the accelerators asked for was found");
      return {};
    }
    const auto ids = out_.ids();
    for (const auto& wanted : request_.accelerators)
      if (std::find(ids.begin(), ids.end(), wanted) == ids.end()) say(wanted, "failed", to_string(code::accelerator_lost), "the accelerator is not there");
    return std::move(out_);
  }

 private:
  void ask(std::string_view job, const TestChildLaunch& launch, double planned_s) {
    const TestOrder order{json::Object{{"do", job}, {"request", devices::to_json(request_)}}, planned_s, "", std::string(inventory_test)};
    const TestEnd end = run_test_processes({order}, launch, [&](std::size_t, const json::Value& message) { take(message); }, [&] { return context_.stop_requested(); })[0];
    if (end.kind == TestEnd::Kind::hung) broke(code::test_hung, end.reason);
    else if (end.stopped) stopped_ = true, say("", "not_run", to_string(code::test_stopped), "stopped before the accelerators were found");
    else if (end.kind != TestEnd::Kind::finished) broke(code::test_process_died, end.reason);
    else if (end.unreadable) say("", "not_run", to_string(code::test_report_damaged), unreadable_words(end.unreadable));
  }
  void take(const json::Value& message) {
    const std::string type = message.string_or("type");
    if (type == "stray_event") return context_.emit(stray_event_message(message, request_.device));
    if (type == "accelerator" && out_.found.size() < most_accelerators) {
      any_ = true;
      const std::string id = message.string_or("id");
      const bool wanted = request_.accelerators.empty() || std::find(request_.accelerators.begin(), request_.accelerators.end(), id) != request_.accelerators.end();
      if (wanted) out_.found.push_back(message);
      if (const std::string slot = health::pci_slot(message.string_or("pci_bus_id")); !slot.empty()) out_.slots.insert(wanted ? out_.slots.begin() : out_.slots.end(), slot);
    }
    if (type == "test_done") {
      told_ = true;
    }
    context_.emit(message);
  }
  void broke(Code code, const std::string& reason) {
    told_ = true;
    if (out_.no_cuda.empty()) out_.no_cuda = reason, out_.no_cuda_code = code;
    say("", "failed", to_string(code), reason);
  }
  void say(std::string_view accelerator, std::string_view status, std::string_view code, std::string_view reason) {
    context_.emit(test_done_message(accelerator, request_.device, inventory_test, status, code, reason));
  }

  const devices::TestRequest& request_;
  TaskContext& context_;
  const TestChildLaunch& launch_;
  AcceleratorList out_;
  bool told_ = false, any_ = false, stopped_ = false;
};

}  // namespace

json::Value AcceleratorList::described(const std::string& id) const {
  const auto one = std::find_if(found.begin(), found.end(), [&](const auto& message) { return message.string_or("id") == id; });
  return one == found.end() ? json::Value() : *one;
}

std::vector<std::string> AcceleratorList::ids() const {
  std::vector<std::string> out;
  for (const auto& one : found) out.push_back(one.string_or("id"));
  return out;
}

AcceleratorList list_accelerators(const devices::TestRequest& request, TaskContext& context, const TestChildLaunch& launch) {
  return Lister(request, context, launch).list();
}

json::Object test_done_message(std::string_view accelerator, std::string_view device, std::string_view test, std::string_view status,
                               std::string_view code, std::string_view reason) {
  return json::Object{{"type", "test_done"}, {"accelerator", accelerator}, {"device", device}, {"test", test}, {"status", status},
                      {"code", code.empty() ? json::Value() : json::Value(code)}, {"reason", one_line(reason, 500)}, {"duration_s", 0.0}};
}

json::Object stray_event_message(const json::Value& stray, std::string_view device) {
  const std::string slot = health::pci_slot(stray.string_or("slot"));
  const auto number = std::clamp<std::int64_t>(stray.int_or("number", 0), 0, 99'999'999);
  return test_done_message("", device, fmt::format("xid.{}", number), "failed", to_string(code::xid_without_accelerator),
                           fmt::format("{}: {}", slot.empty() ? "no place is named" : slot, one_line(stray.string_or("line"), 300)));
}

std::string unreadable_words(std::size_t lines) { return fmt::format("{} of what its process said cannot be read", plural(static_cast<long long>(lines), "line")); }

}  // namespace kfab::agent
