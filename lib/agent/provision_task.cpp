#include "agent/provision_task.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <fmt/format.h>

#include "agent/plan_drift.hpp"
#include "agent/reboot_due.hpp"
#include "agent/resources/place.hpp"
#include "agent/resources/undo_store.hpp"
#include "base/codes/agent.hpp"
#include "base/codes/plan.hpp"
#include "base/codes/provision.hpp"
#include "base/codes/reboot.hpp"
#include "base/text.hpp"

namespace kfab::agent {
namespace {

using namespace provisioning;

constexpr std::size_t max_resources = 20'000;

constexpr std::array<std::string_view, 7> status_words{"in_sync", "would_change", "changed", "failed",
                                                       "skipped", "cancelled",    "waiting"};

Outcome failed(Diagnostic problem, std::vector<Change> changes = {}, std::string diff = {}) {
  Outcome outcome;
  // A child that was stopped because the run was is not the resource's failure.
  outcome.status = problem.code == code::agent_cancelled ? ResourceStatus::cancelled : ResourceStatus::failed;
  outcome.changes = std::move(changes);
  outcome.diff = std::move(diff);
  outcome.problem = std::move(problem);
  return outcome;
}

// What a reboot does not mend, whatever else it may.
bool outlasts_a_reboot(Code code) {
  static constexpr std::array codes{code::agent_bad_request, code::agent_cancelled, code::provision_no_rights};
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

// Codes that may mean no more than that an earlier resource, not applied in plan mode, will bring what is missing.
bool may_come_with_an_earlier_one(Code code) {
  static constexpr std::array codes{code::service_unknown, code::owner_unknown,        code::sysctl_unknown,
                                    code::program_missing, code::command_guard_failed, code::user_failed,
                                    code::timezone_unknown, code::module_unknown,       code::mount_failed,
                                    code::boot_loader_unknown,
                                    code::package_file_missing, code::repository_key_missing, code::archive_missing,
                                    code::mount_refused,       code::firewall_failed,        code::raid_failed,
                                    code::assertion_failed};
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

Result<std::vector<Declared>> read_resources(const json::Value& request) {
  const json::Array& items = request.array_at("resources");
  if (!request["resources"].is_array()) return error(code::agent_bad_request, "the request has no list of resources");
  if (items.size() > max_resources)
    return error(code::agent_bad_request, fmt::format("more than {} resources", max_resources));
  std::vector<Declared> resources;
  std::map<std::string, bool> known;
  for (const auto& item : items) {
    Declared resource{item.string_or("id"), item.string_or("type"), item["attributes"], string_list(item["after"]),
                      string_list(item["restart_on"]), {}};
    for (const auto& turn : item.array_at("turns")) resource.turns.push_back(turn.string_or("name"));
    const std::string shown = one_line(resource.id, 80);
    if (resource.id.empty() || known.count(resource.id) > 0)
      return error(code::agent_bad_request, fmt::format("the id '{}' is empty or used twice", shown));
    for (const auto* list : {&resource.after, &resource.restart_on})
      for (const auto& id : *list)
        if (known.count(id) == 0)
          return error(code::agent_bad_request,
                       fmt::format("{} waits for {}, which does not stand before it", shown, one_line(id, 80)));
    known[resource.id] = true;
    resources.push_back(std::move(resource));
  }
  return resources;
}

class Run {
 public:
  Run(TaskContext& task, const NodeEnvironment& node, bool apply, std::string owner = {})
      : task_(task), context_{task, node}, apply_(apply), noted_(node), trail_(context_, std::move(owner)) {}

  // The outcome of each, in order; nothing is told of them.
  std::vector<Outcome> look(const std::vector<Declared>& resources) {
    std::vector<Outcome> outcomes;
    find_watched(resources);
    for (std::size_t i = 0; i < resources.size(); ++i) {
      const auto& resource = resources[i];
      if (!task_.stop_requested()) task_.progress(resource.id, static_cast<double>(i), static_cast<double>(resources.size()), "comparing with the plan");
      Outcome outcome = one(resource);
      remember(resource, outcome);
      outcomes.push_back(std::move(outcome));
    }
    return outcomes;
  }

  void all(const std::vector<Declared>& resources) {
    find_watched(resources);
    for (std::size_t i = 0; i < resources.size(); ++i) {
      const auto& resource = resources[i];
      if (!task_.stop_requested())
        task_.progress(resource.id, static_cast<double>(i), static_cast<double>(resources.size()),
                       apply_ ? "applying" : "checking");
      const auto start = std::chrono::steady_clock::now();
      Outcome outcome = one(resource);
      remember(resource, outcome);
      report(resource, outcome, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
      give_back_turns(resources, i);
    }
  }

  // {"resource", "reason", "boot_id"} of the reboot at which the run stopped; null where it did not.
  json::Value stopped() const {
    if (stopped_at_.empty()) return {};
    const std::string boot = boot_id_of(context_.node);
    return json::Object{{"resource", stopped_at_}, {"reason", stop_reason_}, {"boot_id", boot.empty() ? json::Value() : json::Value(boot)}};
  }

  // Says of each of them that nothing was done, because some are not as they were planned.
  void refuse(const std::vector<Declared>& resources, std::vector<Outcome> found, const std::vector<bool>& drifted) {
    for (std::size_t i = 0; i < resources.size(); ++i) {
      Outcome& outcome = found[i];
      const bool cut = outcome.status == ResourceStatus::cancelled;
      if (!cut) outcome.status = drifted[i] ? ResourceStatus::failed : ResourceStatus::skipped;
      if (drifted[i] && !cut)
        outcome.problem = error(code::node_drifted, outcome.problem ? "not as it was when it was planned: " + outcome.problem->message
                                                                    : "not as it was when it was planned; nothing was applied");
      else if (!cut) outcome = {ResourceStatus::skipped, {}, {}, error(code::drift_skipped, "others of this node have drifted since the plan"), {}, {}, {}};
      report(resources[i], outcome, 0);
    }
  }

 private:
  // False when the run is to stop.
  bool take_turns(const Declared& declared) {
    for (const auto& name : declared.turns) {
      if (std::find(held_turns_.begin(), held_turns_.end(), name) != held_turns_.end()) continue;
      if (!task_.wait_for_turn(name)) return false;
      held_turns_.push_back(name);
    }
    return true;
  }

  // Those that no resource after this one has.
  void give_back_turns(const std::vector<Declared>& resources, std::size_t at) {
    std::erase_if(held_turns_, [&](const std::string& name) {
      const bool needed = std::any_of(resources.begin() + static_cast<std::ptrdiff_t>(at) + 1, resources.end(), [&](const Declared& later) {
        return std::find(later.turns.begin(), later.turns.end(), name) != later.turns.end();
      });
      if (!needed) task_.end_turn(name);
      return !needed;
    });
  }

  // Those whose change a reboot waits for: that must be known also to the run after this one.
  void find_watched(const std::vector<Declared>& resources) {
    for (const auto& resource : resources)
      if (resource.is_reboot() && resource.attributes.string_or("when") == "changed") watched_.insert(resource.after.begin(), resource.after.end());
  }

  void remember(const Declared& resource, const Outcome& outcome) {
    status_[resource.id] = outcome.status;
    const bool would_change = outcome.status == ResourceStatus::would_change;
    something_would_change_ = something_would_change_ || would_change;
    if (would_change || outcome.status == ResourceStatus::changed) before_.changed.insert(resource.id);
    if (!outcome.reboot.empty() && !resource.is_reboot()) before_.reasons.push_back(outcome.reboot);
    const bool unknown = !outcome.note.empty();
    if (would_change && (unknown || resource.type == "package" || resource.type == "command")) before_.packages_would_change = true;
    if (outcome.status == ResourceStatus::failed && failed_before_.empty()) failed_before_ = resource.id;
  }

  // Nothing behind a reboot that is due is applied before it was.
  std::optional<Outcome> behind_a_reboot() const {
    Outcome outcome;
    if (!stopped_at_.empty()) {
      outcome.status = ResourceStatus::waiting;
      outcome.note = "waits for the reboot " + stopped_at_;
      return outcome;
    }
    if (barred_by_.empty()) return std::nullopt;
    outcome.status = ResourceStatus::skipped;
    outcome.problem = error(code::resource_skipped, fmt::format("it stands behind {}, which was not done", barred_by_));
    return outcome;
  }

  Outcome reboot(const Declared& declared) {
    auto found = reboot_due(declared.attributes, declared.after, before_, noted_, context_);
    if (!found) {
      Outcome outcome = not_checked(std::move(found).error());
      if (apply_) barred_by_ = declared.id;
      return outcome;
    }
    Outcome outcome;
    if (!found->due && !(found->open && !apply_)) return outcome;
    outcome.note = found->due ? found->reason : "only if what is applied before it asks for one";
    if (!apply_) {
      reboot_before_ = reboot_before_ || found->due;
      outcome.status = ResourceStatus::would_change;
      outcome.changes.push_back(found->due ? Change{"boot", "this one", "a new one"} : Change{"state", std::string(not_known_yet), "as declared"});
      if (found->due && !something_would_change_) outcome.reboot = found->reason;   // else it is only to be expected
      return outcome;
    }
    if (!failed_before_.empty()) {
      barred_by_ = declared.id;
      outcome.status = ResourceStatus::skipped;
      outcome.problem = error(code::reboot_after_failure, fmt::format("{} failed before it; it is due because {}", one_line(failed_before_, 80), found->reason));
      return outcome;
    }
    outcome.status = ResourceStatus::waiting;
    outcome.reboot = stop_reason_ = found->reason;
    stopped_at_ = declared.id;
    return outcome;
  }

  Outcome one(const Declared& declared) {
    if (task_.stop_requested()) return failed(error(code::agent_cancelled, "the run was stopped before it"));
    if (auto waits = behind_a_reboot()) return *waits;
    for (const auto* list : {&declared.after, &declared.restart_on})
      for (const auto& id : *list)
        if (auto skipped = skipped_because_of(id)) {
          if (declared.is_reboot() && skipped->status == ResourceStatus::skipped && apply_) barred_by_ = declared.id;
          return *skipped;
        }
    if (declared.is_reboot()) return reboot(declared);
    auto created = create_resource(declared.type, declared.attributes, context_);
    if (!created) return failed(std::move(created).error());
    Resource& resource = **created;
    if (auto path = resource.written_path(); !path.empty()) file_[declared.id] = std::move(path);
    auto found = resource.check();
    if (!found) return not_checked(std::move(found).error());
    if (auto full = holds_others(declared, *found)) return full_directory(std::move(*full), *found);
    const bool restart = restart_due(declared, resource, *found);
    Outcome outcome{ResourceStatus::in_sync, {}, {}, {}, {}, {}, resource.reboot_reason()};
    if (found->in_sync() && !restart) {
      if (apply_)
        if (auto noted = confirmed(declared, resource); !noted) return failed(std::move(noted).error());
      return reboot_before_ && !apply_ && declared.type == "command" ? known_after_the_reboot(std::move(outcome)) : outcome;
    }
    outcome.status = apply_ ? ResourceStatus::changed : ResourceStatus::would_change;
    outcome.changes = found->changes;
    outcome.diff = found->diff;
    outcome.found = found->found;
    if (restart) outcome.changes.push_back({"restart", "running with what was before", "restarted"});
    if (!apply_) return outcome;
    if (!take_turns(declared)) return failed(error(code::agent_cancelled, "the run was stopped while it waited for its turn"));
    if (watched_.count(declared.id) > 0)
      if (auto noted = noted_.add(declared.id); !noted) return failed(std::move(noted).error(), outcome.changes, outcome.diff);
    if (!found->in_sync())
      if (auto noted = trail_.before(declared.id, declared.type, declared.attributes, resource); !noted) return failed(std::move(noted).error(), outcome.changes, outcome.diff);
    if (auto noted = known_to_read(declared); !noted) return failed(std::move(noted).error(), outcome.changes, outcome.diff);
    Outcome done = apply(resource, *found, restart, std::move(outcome));
    if (auto noted = trail_.after(resource); !noted && !done.problem) return failed(std::move(noted).error(), done.changes, done.diff);
    return done;
  }

  // A directory that is to go and would not be empty by then: told before anything is tried, in a plan as in a run.
  std::optional<Diagnostic> holds_others(const Declared& declared, const Difference& found) {
    const bool goes = (declared.type == "directory" || declared.type == "file") && declared.attributes.string_or("state") == "absent" && !found.in_sync();
    if (!goes) return std::nullopt;
    std::string path = declared.attributes.string_or("path");
    while (path.size() > 1 && path.ends_with('/')) path.pop_back();
    const auto left = declared.type == "directory" ? left_in(path, going_) : std::vector<std::string>();
    if (!apply_) going_.places.insert(path);
    if (left.empty()) return std::nullopt;
    return error(code::provision_path_blocked, fmt::format("cannot remove {}: it is not empty: {}", one_line(path), named(left)));
  }

  Outcome full_directory(Diagnostic why, const Difference& found) const {
    if (apply_ || !before_.packages_would_change) return failed(std::move(why), found.changes);
    Outcome outcome{ResourceStatus::would_change, {{"state", std::string(not_known_yet), "as declared"}}, {}, {}, {}, {}, {}};
    outcome.note = "can be told only when earlier resources are applied: " + why.message;
    return outcome;
  }

  Status confirmed(const Declared& declared, Resource& resource) {
    KFAB_TRY_VOID(trail_.confirm(declared.type, declared.attributes, resource));
    return known_to_read(declared);
  }

  // Whoever reads what others left is restarted when those are undone.
  Status known_to_read(const Declared& declared) {
    return declared.restart_on.empty() ? ok() : trail_.read_by(declared.restart_on, declared.id, declared.attributes);
  }

  // A guard that holds may not do so under another kernel: whether the command is run is not to be foretold.
  static Outcome known_after_the_reboot(Outcome outcome) {
    outcome.status = ResourceStatus::would_change;
    outcome.changes = {{"state", std::string(not_known_yet), "as declared"}};
    outcome.note = "its guard holds now, and is asked again after the reboot";
    return outcome;
  }

  std::optional<Outcome> skipped_because_of(const std::string& id) const {
    const ResourceStatus before = status_.at(id);
    if (before != ResourceStatus::failed && before != ResourceStatus::skipped && before != ResourceStatus::cancelled)
      return std::nullopt;
    Outcome outcome;
    outcome.status = before == ResourceStatus::cancelled ? ResourceStatus::cancelled : ResourceStatus::skipped;
    outcome.problem = error(code::resource_skipped, fmt::format("it waits for {}, which {}", id,
                                                                before == ResourceStatus::skipped  ? "was skipped"
                                                                : before == ResourceStatus::failed ? "failed"
                                                                                                   : "was cancelled"));
    return outcome;
  }

  Outcome not_checked(Diagnostic problem) const {
    const bool after_reboot = reboot_before_ && !outlasts_a_reboot(problem.code);
    if (apply_ || !(after_reboot || (something_would_change_ && may_come_with_an_earlier_one(problem.code)))) return failed(std::move(problem));
    Outcome outcome{ResourceStatus::would_change, {{"state", std::string(not_known_yet), "as declared"}}, {}, {}, {}, {}, {}};
    outcome.note = "can be told only when earlier resources are applied: " + problem.message;
    return outcome;
  }

  // A restart is due when something it depends on changed, and starting it is not what is to be done anyway.
  bool restart_due(const Declared& declared, const Resource& resource, const Difference& found) const {
    const bool starts = std::any_of(found.changes.begin(), found.changes.end(),
                                    [](const Change& change) { return change.what == "state"; });
    if (!resource.restartable() || starts) return false;
    return std::any_of(declared.restart_on.begin(), declared.restart_on.end(), [&](const std::string& id) {
      if (status_.at(id) == ResourceStatus::changed || status_.at(id) == ResourceStatus::would_change) return true;
      const auto file = file_.find(id);   // a run that was cut after the file leaves the restart to this one
      return file != file_.end() && resource.started_before(file->second);
    });
  }

  static Outcome apply(Resource& resource, const Difference& found, bool restart, Outcome outcome) {
    if (!found.in_sync())
      if (auto done = resource.apply(found); !done)
        return failed(std::move(done).error(), outcome.changes, outcome.diff);
    if (restart)
      if (auto done = resource.restart(); !done) return failed(std::move(done).error(), outcome.changes, outcome.diff);
    const auto after = resource.check();
    if (!after) return failed(after.error(), outcome.changes, outcome.diff);
    outcome.reboot = resource.reboot_reason();
    if (after->in_sync()) return outcome;
    std::vector<std::string> left;
    for (const auto& change : after->changes)
      left.push_back(fmt::format("{} is {} and not {}", change.what, change.before, change.after));
    return failed(error(code::resource_verify_failed, "applied, but afterwards " + one_line(join(left, "; "), 300)),
                  outcome.changes, outcome.diff);
  }

  void report(const Declared& resource, const Outcome& outcome, double duration_s) {
    json::Array changes;
    for (const auto& change : outcome.changes)
      changes.emplace_back(json::Object{{"what", change.what}, {"before", change.before}, {"after", change.after}});
    json::Value message, code;
    if (outcome.problem) {
      message = outcome.problem->message;
      code = to_string(outcome.problem->code);
    } else if (!outcome.note.empty()) {
      message = outcome.note;
    }
    json::Array digests;
    for (auto& digest : digests_of(outcome)) digests.emplace_back(std::move(digest));
    task_.emit(json::Object{{"type", "resource"},
                            {"id", resource.id},
                            {"resource_type", resource.type},
                            {"status", status_words[static_cast<std::size_t>(outcome.status)]},
                            {"changes", std::move(changes)},
                            {"diff", outcome.diff},
                            {"message", message},
                            {"code", code},
                            {"digests", std::move(digests)},
                            {"reboot_required", !outcome.reboot.empty()},
                            {"reboot_reason", outcome.reboot.empty() ? json::Value() : json::Value(outcome.reboot)},
                            {"duration_s", duration_s}});
  }

  TaskContext& task_;
  ResourceContext context_;
  bool apply_;
  bool something_would_change_ = false;
  std::map<std::string, ResourceStatus> status_;
  std::map<std::string, std::string> file_;   // path by id
  std::vector<std::string> held_turns_;
  ChangedSinceBoot noted_;
  UndoTrail trail_;
  BeforeReboot before_;
  Going going_;                             // of a look: what would have been removed by now
  std::set<std::string> watched_;
  std::string failed_before_;               // the first that failed
  std::string stopped_at_, stop_reason_;    // the reboot at which the run stopped, and why it is due
  std::string barred_by_;                   // one that is due, or may be, and cannot be asked for
  bool reboot_before_ = false;              // a plan has come past one that is due
};

std::string shown(const json::Value& value) { return value.as_string() == nullptr ? "none" : one_line(*value.as_string(), 64); }

// An error where this node is not the one, or not as the one, that was planned for; what is not in order is told then.
Status compare_with_plan(const Expectation& expected, const std::vector<Declared>& resources, TaskContext& context, const NodeEnvironment& node) {
  const Identity here = identity_of(node);
  const std::array pairs{std::tuple{"board serial", &expected.board_serial, &here.board_serial},
                         std::tuple{"machine-id", &expected.machine_id, &here.machine_id}};
  for (const auto& [what, planned, found] : pairs)
    if (json::dump(*planned) != json::dump(*found))
      return error(code::plan_other_machine, fmt::format("is not the machine that was planned for: its {} is {}, planned was {}; nothing was applied",
                                                         what, shown(*found), shown(*planned)));
  Run look(context, node, false);
  std::vector<Outcome> found = look.look(resources);
  if (context.stop_requested()) return error(code::agent_cancelled, "the run was stopped while it compared the node with the plan; nothing was applied");
  const bool rebooted = !expected.stopped_boot_id.empty() && boot_id_of(node) != expected.stopped_boot_id;
  std::vector<bool> drifted;
  std::vector<std::string> ids;
  for (std::size_t i = 0; i < resources.size(); ++i) {
    const auto planned = expected.resources.find(resources[i].id);
    drifted.push_back(has_drifted(resources[i], found[i], planned == expected.resources.end() ? nullptr : &planned->second, rebooted));
    if (drifted.back()) ids.push_back(one_line(resources[i].id, 80));
  }
  if (ids.empty()) return ok();
  look.refuse(resources, std::move(found), drifted);
  std::string list = join({ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(ids.size(), 5))}, ", ");
  if (ids.size() > 5) list += fmt::format(" and {} more", ids.size() - 5);
  return error(code::node_drifted, fmt::format("has drifted since the plan: {}; nothing was applied, plan again", list));
}

}  // namespace

Status run_provision_task(const json::Value& request, TaskContext& context, const NodeEnvironment& node) {
  const std::string mode = request.string_or("mode");
  if (mode != "plan" && mode != "apply") return error(code::agent_bad_request, "mode must be plan or apply");
  KFAB_TRY(resources, read_resources(request));
  if (mode == "apply" && !request["expect"].is_null())
    KFAB_TRY_VOID(compare_with_plan(read_expectation(request["expect"]), resources, context, node));
  Run run(context, node, mode == "apply", request.string_or("owner", "."));
  run.all(resources);
  const std::string system = system_reboot_reason(node);
  context.emit(json::Object{{"type", "system"}, {"reboot_due", system.empty() ? json::Value() : json::Value(system)}, {"stopped_for_reboot", run.stopped()}});
  if (mode == "plan") {
    Identity identity = identity_of(node);
    context.emit(json::Object{{"type", "identity"}, {"board_serial", std::move(identity.board_serial)}, {"machine_id", std::move(identity.machine_id)}});
  }
  return ok();
}

Status run_provision_task(const json::Value& request, TaskContext& context) {
  const NodeEnvironment node;
  return run_provision_task(request, context, node);
}

}  // namespace kfab::agent
