#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include "agent/resources/resource.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double query_timeout_s = 30;

// Unit file states that already start when they should and cannot be enabled any further.
bool counts_as_enabled(std::string_view state) {
  static constexpr std::array states{"enabled", "static", "indirect", "generated", "alias", "transient", "linked"};
  return std::find(states.begin(), states.end(), state) != states.end();
}

class ServiceResource final : public Resource {
 public:
  ServiceResource(const json::Value& attributes, const ResourceContext& context)
      : context_(context), name_(attributes.string_or("name")), state_(attributes.string_or("state")),
        enabled_(attributes["enabled"].as_bool()), timeout_s_(attributes.double_or("timeout_s", 120)) {}

  Result<Difference> check() override {
    KFAB_TRY(unit, show());
    Difference difference;
    active_ = unit["ActiveState"];
    masked_ = unit["LoadState"] == "masked" || unit["UnitFileState"].starts_with("masked");
    reload_ = unit["NeedDaemonReload"] == "yes";
    const std::string& since = unit["ActiveEnterTimestampMonotonic"];
    active_since_us_ = 0;
    std::from_chars(since.data(), since.data() + since.size(), active_since_us_);
    const bool wanted = state_ == "running" || enabled_.value_or(false);
    if (unit["LoadState"] == "not-found") {
      if (!wanted) return difference;   // what is not there is stopped and not enabled
      return error(code::service_unknown, fmt::format("the node has no unit {}", one_line(name_, 80)));
    }
    if (enabled_) {
      const std::string& now = unit["UnitFileState"];
      if (*enabled_ && (masked_ || !counts_as_enabled(now)))
        difference.changes.push_back({"enabled", now.empty() ? "no" : now, "enabled"});
      if (!*enabled_ && now.starts_with("enabled")) difference.changes.push_back({"enabled", now, "disabled"});
    }
    const bool running = active_ == "active" || active_ == "reloading";
    if (state_ == "running" && !running) difference.changes.push_back({"state", active_, "running"});
    if (state_ == "stopped" && (running || active_ == "activating"))
      difference.changes.push_back({"state", active_, "stopped"});
    return difference;
  }

  Status apply(const Difference& found) override {
    if (reload_) KFAB_TRY_VOID(systemctl("daemon-reload", false));
    if (masked_ && (state_ == "running" || enabled_.value_or(false))) KFAB_TRY_VOID(systemctl("unmask"));
    for (const auto& change : found.changes) {
      if (change.what == "enabled") KFAB_TRY_VOID(systemctl(*enabled_ ? "enable" : "disable"));
      if (change.what == "state") KFAB_TRY_VOID(systemctl(state_ == "running" ? "start" : "stop"));
    }
    return ok();
  }

  bool restartable() const override {
    return state_ != "stopped" && (active_ == "active" || active_ == "reloading" || active_ == "failed");
  }

  bool started_before(const std::string& path) const override {
    struct stat found {};
    timespec wall{}, monotonic{};
    if (active_since_us_ == 0 || ::stat(path.c_str(), &found) != 0) return false;
    if (::clock_gettime(CLOCK_REALTIME, &wall) != 0 || ::clock_gettime(CLOCK_MONOTONIC, &monotonic) != 0) return false;
    const auto seconds = [](const timespec& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    };
    const double started = seconds(wall) - seconds(monotonic) + static_cast<double>(active_since_us_) * 1e-6;
    const double written = seconds(found.st_mtim);
    // A second of grace for the clocks; a time in the future tells nothing.
    return written > started + 1.0 && written <= seconds(wall);
  }

  Status restart() override {
    KFAB_TRY_VOID(systemctl("daemon-reload", false));
    return systemctl("restart");
  }

  // Whether it runs and starts at boot. What is not there is stopped and disabled.
  Result<json::Value> snapshot() override {
    KFAB_TRY(unit, show());
    json::Object now;
    const std::string& active = unit["ActiveState"];
    now.set("state", active == "active" || active == "reloading" || active == "activating" ? "running" : "stopped");
    const std::string& file = unit["UnitFileState"];
    const bool masked = unit["LoadState"] == "masked" || file.starts_with("masked");
    now.set("at boot", masked ? "masked" : counts_as_enabled(file) ? "enabled" : "disabled");
    return json::Value(std::move(now));
  }

  Status restore(const json::Value& before) override {
    KFAB_TRY(unit, show());
    if (unit["NeedDaemonReload"] == "yes") KFAB_TRY_VOID(systemctl("daemon-reload", false));
    const auto state = before.string_or("state"), boot = before.string_or("at boot");
    if (state == "stopped") KFAB_TRY_VOID(systemctl("stop"));
    if (boot == "enabled") KFAB_TRY_VOID(systemctl("enable"));
    if (boot == "disabled" || boot == "masked") KFAB_TRY_VOID(systemctl("disable"));
    if (boot == "masked") KFAB_TRY_VOID(systemctl("mask"));
    return state == "running" ? systemctl("start") : ok();
  }

 private:
  Result<std::map<std::string, std::string>> show() const {
    const auto result =
        context_.run({"systemctl", "show", "-p", "LoadState", "-p", "ActiveState", "-p", "UnitFileState", "-p",
                      "NeedDaemonReload", "-p", "ActiveEnterTimestampMonotonic", "--", name_},
                     query_timeout_s);
    if (result.end == ProcessResult::End::not_found || ::access(context_.node.systemd_marker.c_str(), F_OK) != 0)
      return error(code::service_manager_missing,
                   fmt::format("cannot look at {}: systemd does not run on this node", one_line(name_, 80)));
    if (!result.success())
      return process_failure(code::service_failed, "systemctl show " + one_line(name_, 80), result);
    std::map<std::string, std::string> unit;
    for (const auto line : split_lines(result.out))
      if (const auto equals = line.find('='); equals != std::string_view::npos)
        unit[std::string(line.substr(0, equals))] = line.substr(equals + 1);
    return unit;
  }

  Status systemctl(const std::string& verb, bool named = true) const {
    std::vector<std::string> argv{"systemctl", verb};
    if (named) argv.insert(argv.end(), {"--", name_});
    const auto result = context_.run(argv, timeout_s_);
    if (result.success()) return ok();
    Diagnostic problem =
        process_failure(code::service_failed, fmt::format("systemctl {} {}", verb, one_line(name_, 80)), result);
    if (problem.code == code::service_failed && (verb == "start" || verb == "restart")) {
      const auto log = context_.run({"journalctl", "-u", name_, "-n", "3", "-o", "cat", "--no-pager", "-q"}, 10);
      if (log.success() && !trim(log.out).empty()) problem.message += "; its log ends: " + log.last_words();
    }
    return problem;
  }

  ResourceContext context_;
  std::string name_, state_;
  std::optional<bool> enabled_;
  double timeout_s_;
  std::string active_;
  bool masked_ = false, reload_ = false;
  long long active_since_us_ = 0;   // on the monotonic clock; 0 when it does not run
};

}  // namespace

std::unique_ptr<Resource> make_service(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<ServiceResource>(attributes, context);
}

}  // namespace kfab::agent
