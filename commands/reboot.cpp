#include "commands/reboot.hpp"

#include <filesystem>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/text.hpp"
#include "commands/left_work.hpp"
#include "commands/provision_pass.hpp"
#include "commands/reboot_waves.hpp"
#include "commands/run_lock.hpp"
#include "store/store.hpp"

namespace kfab::commands {
namespace {

// Which nodes say that a reboot is due: one pass of planning, which changes nothing.
struct Due {
  std::vector<std::size_t> nodes;                   // of the session
  std::vector<RebootedNode> unknown;                // that could not be asked
  std::vector<fleet::NodeEnd> ends;                 // of those
  std::size_t not_needed = 0;
  std::map<std::string, std::set<std::string>> to_apply;   // of nodes that stopped half way, which is why a reboot is due
};

Due nodes_due(ProvisionWork& work, const RebootOptions& options, Env& env, Recorder& recorder) {
  ProvisionOptions asking;
  asking.site = options.site;
  asking.site.reach.pace = {};
  asking.timeout_s = static_cast<double>(reboot_check_limit.count());
  ProvisionResult planned = run_pass(work, provision::Mode::plan, asking, env, recorder);
  Due due;
  for (std::size_t i = 0; i < planned.nodes.size(); ++i) {
    ProvisionedNode& node = planned.nodes[i];
    if (node.plan.reboot_required) {
      due.nodes.push_back(i);
      for (const auto& resource : node.plan.resources)
        if (resource.status != provision::ResourceStatus::in_sync) due.to_apply[node.name].insert(resource.id);
    }
    else if (node.plan.complete) ++due.not_needed;
    else {
      RebootedNode row;
      row.name = node.name;
      row.outcome = node.outcome;
      const json::Value said = node.row;
      row.phase = said.string_or("phase");
      row.code = said.string_or("code");
      row.reason = node.reason;
      due.unknown.push_back(std::move(row));
      due.ends.push_back(std::move(planned.summary.ends[i]));
    }
  }
  return due;
}

// What is on record of nodes as not applied before the reboot: those resources are not laid to it, and the way on is told.
struct NotApplied {
  std::map<std::string, std::set<std::string>> resources;   // by node
  std::map<std::string, std::string> stopped_run;           // by node, the run that stopped for a reboot
};

// Of a store that cannot be read nothing is known.
NotApplied not_applied(const SiteSession& session, const Env& env) {
  NotApplied out;
  if (!std::filesystem::exists(env.state_dir / "kfab.db")) return out;
  const auto store = store::Store::open(env.state_dir, session.site->metadata.name);
  if (!store) return out;
  for (const auto* node : session.nodes) {
    const auto record = (*store)->node_record({}, session.site->metadata.name, node->name, "provision");
    // One that failed is no node on its way: what is wrong there is told again.
    if (!record || !*record || (*record)->verdict != Verdict::not_judged) continue;
    for (const auto& resource : (*record)->detail.array_at("resources")) {
      const auto status = provision::parse_resource_status(resource.string_or("status"));
      if (status && *status != provision::ResourceStatus::in_sync && *status != provision::ResourceStatus::changed) out.resources[node->name].insert(resource.string_or("id"));
    }
    if (!(*record)->detail["waits_for_reboot"].is_null()) out.stopped_run[node->name] = (*record)->run_id;
  }
  return out;
}

// Keeps which nodes are to be rebooted, so that another run can go on with them.
void keep_work(const ProvisionWork& work, const RebootOptions& options, const Env& env, Recorder& recorder) {
  std::vector<std::pair<std::string, std::string>> nodes;
  for (std::size_t i = 0; i < work.states.size(); ++i) nodes.emplace_back(work.session.nodes[i]->name, work.states[i].sha256);
  recorder.work(work_document(options.resumed ? options.resumed->argv : env.command_line, "", nodes));
}

std::string question(const RebootOptions& options, const ProvisionWork& work, std::size_t asked) {
  const std::string nodes = plural(static_cast<long long>(work.session.nodes.size()), "node"), site = work.session.site->metadata.name;
  if (options.resumed) return fmt::format("Go on with {}, and reboot what is left of it: {} of {}? What runs there ends.", options.resumed->run_id, nodes, options.resumed->nodes);
  if (options.needed) return fmt::format("A reboot is due on {} of {} of {}. Reboot now? What runs there ends.", nodes, asked, site);
  return fmt::format("Reboot {} of {} now? What runs there ends.", nodes, site);
}

// Agreed, or the output of a command that was not.
std::optional<CommandOutput> refused(Env& env, const std::string& what, const SiteRef& site) {
  auto agreed = env.confirm(what);
  if (agreed && *agreed) return std::nullopt;
  CommandOutput output = not_started(agreed ? error(code::confirmation_missing, "not confirmed; nothing was rebooted") : std::move(agreed).error());
  output.site = site;
  return output;
}

CommandOutput concluded(RebootResult result, const SiteSession& session, Env& env, Recorder& recorder) {
  CommandOutput output = session.output();
  bool incomplete = false, no = false;
  for (const auto& node : result.nodes) {
    no = no || node.verdict == Verdict::fail;
    incomplete = incomplete || node.verdict == Verdict::not_judged;
  }
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  recorder.finish(output);
  return output;
}

}  // namespace

CommandOutput run_reboot(const RebootOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  ProvisionWork work{std::move(std::get<SiteSession>(opened)), {}, {}, {}, {}};
  if (options.check || options.needed) {
    Diagnostics told_by_provision;
    auto prepared = work_of_site(std::move(work.session), env, told_by_provision);
    if (auto* stopped = std::get_if<CommandOutput>(&prepared)) return std::move(*stopped);
    work = std::move(std::get<ProvisionWork>(prepared));
  }
  work.states.resize(work.session.nodes.size());
  const SiteRef site = work.session.ref();
  const std::size_t asked = work.session.nodes.size();
  if (!options.needed)
    if (auto stopped = refused(env, question(options, work, asked), site)) return std::move(*stopped);
  auto lock = RunLock::take(env, work.session, options.site.manifest, "kfab " + join(env.command_line, " "), chain_of(options.resumed));
  if (!lock) return not_started(std::move(lock).error());
  auto recorder = Recorder::begin(env, "reboot", site, newest_of(options.resumed));
  if (!recorder) return not_started(std::move(recorder).error());

  Due due;
  NotApplied known = not_applied(work.session, env);
  if (options.needed) {
    due = nodes_due(work, options, env, **recorder);
    work = part_of(work, due.nodes);
    if (!work.session.nodes.empty() && !env.cancel.requested())
      if (auto stopped = refused(env, question(options, work, asked), site)) {
        (*recorder)->finish(*stopped);
        return std::move(*stopped);
      }
  }
  keep_work(work, options, env, **recorder);
  if (!options.check) work.states.assign(work.session.nodes.size(), {});
  RebootOptions waves = options;
  if (options.needed) waves.to_apply = std::move(due.to_apply);
  else if (!options.resumed) waves.to_apply = std::move(known.resources);   // a run that is gone on with has kept it
  RebootResult result = reboot_in_waves(work.session, env, waves, work.states, work.secrets, **recorder);
  result.not_needed = due.not_needed;
  result.next = std::move(known.stopped_run);
  result.manifest = options.site.manifest;
  result.selection = as_typed(options.site.selection);
  for (auto& node : due.unknown) result.nodes.push_back(std::move(node));
  if (!due.ends.empty()) {
    for (auto& end : due.ends) result.summary.ends.push_back(std::move(end));
    result.summary.failures = fleet::summarize_failures(result.summary.ends);
  }
  return concluded(std::move(result), work.session, env, **recorder);
}

}  // namespace kfab::commands
