#include "agent/task.hpp"

#include <algorithm>
#include <array>

#include "agent/boot_task.hpp"
#include "agent/clock_task.hpp"
#include "agent/facts_task.hpp"
#include "agent/jobs/job_task.hpp"
#include "agent/provision_task.hpp"
#include "agent/relay_task.hpp"
#include "agent/tests/selftest_task.hpp"
#include "agent/tests/test_task.hpp"
#include "agent/undo_task.hpp"

namespace kfab::agent {

void TaskContext::progress(std::string_view step, double done, double total, std::string_view message) {
  emit(json::Object{{"type", "progress"}, {"step", step}, {"done", done}, {"total", total}, {"message", message}});
}

ProcessResult TaskContext::run(ProcessSpec spec) {
  spec.timeout_s = std::min(spec.timeout_s, remaining_s());
  ProcessResult result = run_process(spec, [this] { return stop_requested(); });
  // What the deadline of the whole task cut off did not take too long by itself.
  if (result.end == ProcessResult::End::timed_out && remaining_s() <= 0) result.end = ProcessResult::End::stopped;
  return result;
}

std::span<const TaskRow> all_tasks() {
  static const std::array tasks{
      TaskRow{"boot", [](const json::Value& request, TaskContext& context) { return run_boot_task(request, context); }},
      TaskRow{"clock", run_clock_task},
      TaskRow{"detach", [](const json::Value& request, TaskContext& context) { return run_detach_task(request, context); }},
      TaskRow{"facts", run_facts_task},
      TaskRow{"job", [](const json::Value& request, TaskContext& context) { return run_job_task(request, context); }},
      TaskRow{"provision",
              [](const json::Value& request, TaskContext& context) -> Status {
                if (request.string_or("mode") == "apply") KFAB_TRY_VOID(no_other_job({}));   // what is changed meanwhile is not what was tested
                return run_provision_task(request, context);
              }},
      TaskRow{"reboot", [](const json::Value& request, TaskContext& context) -> Status {
                KFAB_TRY_VOID(no_other_job({}));
                return run_reboot_task(request, context);
              }},
      TaskRow{"relay", run_relay_task},
      TaskRow{"selftest", [](const json::Value& request, TaskContext& context) { return run_selftest_task(request, context); }},
      // Two runs of tests would spoil each other's figures.
      TaskRow{"test", [](const json::Value& request, TaskContext& context) -> Status {
                KFAB_TRY_VOID(no_other_job(request.string_or("run_id")));
                return run_test_task(request, context);
              }},
      TaskRow{"undo", [](const json::Value& request, TaskContext& context) -> Status {
                if (request.string_or("mode") == "apply") KFAB_TRY_VOID(no_other_job({}));
                return run_undo_task(request, context);
              }},
  };
  return tasks;
}

}  // namespace kfab::agent
