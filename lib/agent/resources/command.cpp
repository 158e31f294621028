#include <sys/stat.h>

#include <cerrno>

#include <fmt/format.h>

#include "agent/resources/resource.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/provision.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

constexpr double guard_timeout_s = 60;

// A list is run as it is; a string is a line for the shell.
std::vector<std::string> argv_of(const json::Value& value) {
  if (const auto* line = value.as_string()) return {"/bin/sh", "-c", *line};
  return string_list(value);
}

// A command with guards that say whether it is needed. It counts as done only when its guards say so afterwards.
class CommandResource final : public Resource {
 public:
  CommandResource(const json::Value& attributes, const ResourceContext& context)
      : attributes_(attributes), context_(context), creates_(attributes.string_or("creates")),
        directory_(attributes.string_or("directory", "/")), timeout_s_(attributes.double_or("timeout_s", 300)) {
    const bool shell = !attributes["shell"].is_null();
    argv_ = shell ? argv_of(attributes["shell"]) : string_list(attributes["run"]);
    shown_ = shell ? attributes.string_or("shell") : join(argv_, " ");
  }

  Result<Difference> check() override {
    if (argv_.empty()) return error(code::agent_bad_request, "a command without run and without shell");
    const bool guarded = !creates_.empty() || !attributes_["unless"].is_null() || !attributes_["only_if"].is_null();
    if (!guarded) return error(code::agent_bad_request, "a command without a guard");
    if (!creates_.empty()) {
      struct stat found {};
      if (::lstat(creates_.c_str(), &found) == 0) return Difference{};
      if (errno != ENOENT && errno != ENOTDIR) return system_failure(errno, "look at", creates_);
    }
    if (!attributes_["unless"].is_null()) {
      KFAB_TRY(succeeds, guard("unless"));
      if (succeeds) return Difference{};
    }
    if (!attributes_["only_if"].is_null()) {
      KFAB_TRY(succeeds, guard("only_if"));
      if (!succeeds) return Difference{};
    }
    return Difference{{Change{"run", "needed", one_line(shown_, 200)}}, {}};
  }

  Status apply(const Difference&) override {
    const auto result = context_.run(argv_, timeout_s_, directory_);
    if (result.success()) return ok();
    return process_failure(code::command_failed, one_line(shown_, 120), result);
  }

 private:
  // Whether the guard succeeds. One that cannot be run at all answers nothing: 126 and 127 are how a shell says so.
  Result<bool> guard(std::string_view name) const {
    const auto result = context_.run(argv_of(attributes_[name]), guard_timeout_s, directory_);
    if (result.end != ProcessResult::End::exited || result.exit_status == 126 || result.exit_status == 127) {
      Diagnostic problem = process_failure(code::command_guard_failed, fmt::format("the guard {}", name), result);
      if (problem.code == code::program_missing) problem.code = code::command_guard_failed;
      return problem;
    }
    return result.exit_status == 0;
  }

  json::Value attributes_;
  ResourceContext context_;
  std::string creates_, directory_;
  double timeout_s_;
  std::vector<std::string> argv_;
  std::string shown_;
};

}  // namespace

std::unique_ptr<Resource> make_command(const json::Value& attributes, const ResourceContext& context) {
  return std::make_unique<CommandResource>(attributes, context);
}

}  // namespace kfab::agent
