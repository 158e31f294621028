#include "agent/boot_task.hpp"

#include <unistd.h>

#include <charconv>
#include <optional>

#include <fmt/format.h>

#include "base/codes/reboot.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr std::size_t most_units = 20;
constexpr double systemctl_s = 15;

std::optional<std::string> first_line(const std::string& path) {
  const auto text = read_file(path, 64 * 1024);
  if (!text || trim(*text).empty()) return std::nullopt;
  return one_line(split_lines(*text).front(), 200);
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

// The start of process 1 stands in the 22nd field of its stat, in ticks since the kernel started; its name, the second
// field, may hold blanks and brackets, so what is counted begins after the last bracket.
std::optional<double> init_age_s(const BootEnvironment& node) {
  constexpr std::size_t start_time_after_name = 19;
  const auto uptime = first_line(node.proc + "/uptime");
  const auto stat = first_line(node.proc + "/1/stat");
  if (!uptime || !stat || stat->rfind(')') == std::string::npos) return std::nullopt;
  const auto fields = split(trim(std::string_view(*stat).substr(stat->rfind(')') + 1)), ' ');
  if (fields.size() <= start_time_after_name) return std::nullopt;
  const auto up_s = number(*uptime);
  const auto ticks = number(fields[start_time_after_name]);
  const long ticks_per_s = ::sysconf(_SC_CLK_TCK);
  if (!up_s || !ticks || ticks_per_s <= 0) return std::nullopt;
  return *up_s - *ticks / static_cast<double>(ticks_per_s);
}

class Boot {
 public:
  Boot(TaskContext& task, const BootEnvironment& node) : task_(task), node_(node) {}

  void tell() const {
    json::Array failed;
    for (auto& unit : failed_units()) failed.emplace_back(std::move(unit));
    task_.emit(json::Object{{"type", "boot"},
                            {"boot_id", json::Value(first_line(node_.proc + "/sys/kernel/random/boot_id"))},
                            {"machine_id", json::Value(first_line(node_.machine_id))},
                            {"init_age_s", json::Value(init_age_s(node_))},
                            {"state", state()},
                            {"failed_units", std::move(failed)}});
  }

  Status order() const {
    const std::vector<std::string> argv = systemd() ? std::vector<std::string>{"systemctl", "--no-block", "reboot"} : std::vector<std::string>{"reboot"};
    const auto result = run(argv);
    if (result.success()) {
      task_.emit(json::Object{{"type", "reboot_ordered"}});
      return ok();
    }
    const std::string words = result.last_words();
    return error(code::reboot_not_ordered, fmt::format("{}: {}{}", join(argv, " "), result.end == ProcessResult::End::not_found ? "not found" : result.how(),
                                                       words.empty() ? "" : ": " + words));
  }

 private:
  bool systemd() const { return ::access(node_.systemd_marker.c_str(), F_OK) == 0; }

  ProcessResult run(std::vector<std::string> argv) const {
    ProcessSpec spec;
    spec.argv = std::move(argv);
    spec.environment = node_.process_environment;
    spec.timeout_s = systemctl_s;
    return task_.run(std::move(spec));
  }

  // The word is told also where the exit status is not 0: "starting" and "degraded" are no success for systemctl.
  std::string state() const {
    if (!systemd()) return "unknown";
    const auto result = run({"systemctl", "is-system-running"});
    const std::string word = one_line(trim(result.out), 40);
    return result.end == ProcessResult::End::exited && !word.empty() ? word : "unknown";
  }

  std::vector<std::string> failed_units() const {
    std::vector<std::string> units;
    if (!systemd()) return units;
    const auto result = run({"systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager", "--full"});
    for (const auto line : split_lines(result.out)) {
      const std::string_view unit = trim(line).substr(0, trim(line).find(' '));
      if (!unit.empty() && units.size() < most_units) units.push_back(one_line(unit, 200));
    }
    return units;
  }

  TaskContext& task_;
  const BootEnvironment& node_;
};

}  // namespace

Status run_boot_task(const json::Value&, TaskContext& task, const BootEnvironment& node) {
  Boot(task, node).tell();
  return ok();
}

Status run_reboot_task(const json::Value&, TaskContext& task, const BootEnvironment& node) {
  const Boot boot(task, node);
  boot.tell();
  if (task.stop_requested()) return ok();   // whoever asked is gone: a reboot nobody waits for is not wanted
  return boot.order();
}

Status run_boot_task(const json::Value& request, TaskContext& task) { return run_boot_task(request, task, BootEnvironment{}); }
Status run_reboot_task(const json::Value& request, TaskContext& task) { return run_reboot_task(request, task, BootEnvironment{}); }

}  // namespace kfab::agent
