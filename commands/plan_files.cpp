#include <algorithm>
#include <filesystem>
#include <set>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/plan.hpp"
#include "base/text.hpp"
#include "commands/provision_pass.hpp"
#include "commands/secrets.hpp"
#include "nodeset/nodeset.hpp"

// Plans between the file, the manifest and the nodes.
namespace kfab::commands {
namespace {

namespace fs = std::filesystem;

// Why nothing is done to a node of the selection; absent when its plan can be applied.
std::optional<Diagnostic> obstacle(const provision::PlannedNode* planned) {
  if (planned == nullptr) return error(code::node_not_planned, "the plan does not hold this node");
  if (!planned->found.empty()) return std::nullopt;
  return error(code::node_not_planned,
               planned->reason.empty() ? "it was not planned to its end" : "it was not planned: " + one_line(planned->reason, 300));
}

std::vector<std::string> names_of(const provision::PlanFile& plan) {
  std::vector<std::string> names;
  for (const auto& node : plan.nodes) names.push_back(node.node);
  return names;
}

CommandOutput of_plan(const provision::PlanFile& plan, Diagnostic why) {
  CommandOutput output = not_started(std::move(why));
  output.site = {plan.site, plan.manifest_sha256};
  return output;
}

// What nodes said may hold what was sent to them.
provision::NodePlan redacted(provision::NodePlan plan, const Redactor& redactor) {
  if (redactor.empty()) return plan;
  for (auto& record : plan.resources) {
    for (auto* text : {&record.diff, &record.message, &record.reboot_reason}) *text = redactor.text(std::move(*text));
    for (auto& change : record.changes)
      for (auto* text : {&change.what, &change.before, &change.after}) *text = redactor.text(std::move(*text));
  }
  return plan;
}

NodeOutcome outcome_of(std::string_view word) {
  for (const NodeOutcome outcome : all_node_outcomes)
    if (to_string(outcome) == word) return outcome;
  return NodeOutcome::unreachable;
}

}  // namespace

provision::PlanFile plan_file_of(const ProvisionWork& work, const ProvisionResult& result, const ProvisionOptions& options, const Env& env) {
  provision::PlanFile plan;
  plan.kfab_version = env.kfab_version;
  plan.created_by = who(env);
  plan.run_id = env.run_id;
  plan.created_at = env.clock.now();
  plan.site = work.session.site->metadata.name;
  std::error_code problem;
  if (options.site.manifest != "-") plan.manifest = fs::absolute(options.site.manifest, problem).lexically_normal().string();
  plan.manifest_sha256 = work.session.loaded->sha256;
  for (const auto& [id, value] : work.secrets) plan.secrets.emplace(id, provision::secret_digest(plan.run_id, value));
  for (std::size_t i = 0; i < result.nodes.size(); ++i) {
    const ProvisionedNode& node = result.nodes[i];
    const json::Value row = node.row;
    provision::add_node(plan, work.states[i], redacted(node.plan, *env.redactor),
                        {.node = node.name, .outcome = std::string(to_string(node.outcome)), .phase = row.string_or("phase"),
                         .code = row.string_or("code"), .reason = env.redactor->text(one_line(node.reason, 400)), .desired = {}, .found = {}, .board_serial = {}, .machine_id = {}});
  }
  return plan;
}

std::variant<ProvisionWork, CommandOutput> work_of_plan(const provision::PlanFile& plan, const ProvisionOptions& options, Env& env) {
  SiteOptions site = options.site;
  site.manifest = options.manifest.empty() ? plan.manifest : options.manifest;
  if (site.manifest.empty())
    return of_plan(plan, error(code::plan_manifest_changed, "the plan was made from standard input, so the manifest must be named: --manifest FILE"));
  if (site.selection.nodes.empty() && site.selection.tranches.empty()) site.selection.nodes = nodeset::fold_names(names_of(plan));
  // Looked at before the nodes are, because names of an older manifest may mean nothing in this one.
  {
    const auto loaded = load_manifest(site.manifest, env);
    if (!has_errors(loaded.diagnostics) && loaded.sha256 != plan.manifest_sha256)
      return of_plan(plan, error(code::plan_manifest_changed, fmt::format("{} is not as it was when the plan was made", one_line(site.manifest, 160))));
  }
  auto opened = open_site(site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  ProvisionWork all{std::move(std::get<SiteSession>(opened)), {}, {}, {}, {}};
  std::vector<std::size_t> able;
  std::vector<ProvisionedNode> left_out;
  for (std::size_t i = 0; i < all.session.nodes.size(); ++i) {
    const std::string& name = all.session.nodes[i]->name;
    const provision::PlannedNode* planned = plan.find(name);
    all.states.emplace_back();
    all.expect.emplace_back();
    if (auto why = obstacle(planned)) {
      left_out.push_back(left_out_node(name, std::move(*why)));
      continue;
    }
    all.states.back() = plan.states.at(planned->desired);
    all.states.back().node = name;
    all.expect.back() = provision::expectation(plan, *planned);
    able.push_back(i);
  }
  std::set<std::string> ids;
  for (const auto& state : all.states) ids.insert(state.secrets.begin(), state.secrets.end());
  auto secrets = read_secrets(ids, *all.session.site, env);
  if (!secrets) return of_plan(plan, std::move(secrets).error());
  if (auto same = provision::check_secrets(plan, provision::declared_secrets(*all.session.site), *secrets); !same) return of_plan(plan, std::move(same).error());
  all.secrets = std::move(*secrets);
  ProvisionWork work = part_of(all, able);
  work.left_out = std::move(left_out);
  return work;
}

namespace {

// The nodes of a plan that -w and -x leave. The manifest is not looked at, so tranches and groups mean nothing here.
Result<nodeset::NodeSet> shown_nodes(const provision::PlanFile& plan, const Selection& selection) {
  if (!selection.tranches.empty()) return error(code::option_misplaced, "a plan file knows no tranches: select nodes by -w, or plan the tranche");
  KFAB_TRY(all, nodeset::NodeSet::from_names(names_of(plan)));
  if (!selection.nodes.empty()) {
    KFAB_TRY(wanted, nodeset::NodeSet::parse(selection.nodes));
    if (const auto strangers = wanted - all; !strangers.empty())
      return error(code::node_not_planned, fmt::format("the plan does not hold {}", one_line(strangers.fold(), 200)));
    all &= wanted;
  }
  if (!selection.exclude.empty()) {
    KFAB_TRY(without, nodeset::NodeSet::parse(selection.exclude));
    all -= without;
  }
  if (all.empty()) return error(code::no_target, "no node of the plan is selected");
  return all;
}

}  // namespace

CommandOutput show_plan(const provision::PlanFile& plan, const ProvisionOptions& options, const Env& env) {
  ProvisionResult result;
  const auto shown = shown_nodes(plan, options.site.selection);
  if (!shown) return of_plan(plan, shown.error());
  const auto names = shown->names();
  const std::set<std::string> selected(names.begin(), names.end());
  std::vector<fleet::NodeEnd> ends;
  for (const auto& planned : plan.nodes) {
    if (selected.count(planned.node) == 0) continue;
    fleet::AgentEnd end;
    end.node = planned.node;
    end.outcome = outcome_of(planned.outcome);
    ProvisionedNode node{node_row(end), planned.node, end.outcome, planned.reason, plan.plan_of(planned)};
    node.row.set("phase", planned.phase);
    if (!planned.code.empty()) node.row.set("code", planned.code);
    if (!planned.reason.empty()) node.row.set("reason", planned.reason);
    fleet::NodeEnd ended{.node = planned.node};
    ended.outcome = end.outcome;
    ended.well = end.outcome == NodeOutcome::ok && node.plan.verdict != Verdict::fail;
    ended.code = planned.code.empty() ? node.plan.code : planned.code;
    ended.phase = planned.phase;
    ended.reason = planned.reason.empty() ? node.plan.reason : planned.reason;
    ended.message = planned.node + ": " + ended.reason;
    ends.push_back(std::move(ended));
    result.nodes.push_back(std::move(node));
  }
  std::vector<provision::DesiredState> states;
  for (const auto& [digest, state] : plan.states) states.push_back(state);
  result.turns = provision::turn_limits(states);
  result.summary.failures = fleet::summarize_failures(ends);
  result.summary.ends = std::move(ends);
  result.manifest = options.manifest.empty() ? plan.manifest : options.manifest;
  CommandOutput output;
  output.site = {plan.site, plan.manifest_sha256};
  output = conclude(std::move(result), std::move(output), options, env);
  const std::string about = fmt::format("Plan of {} made {} by {} with kfab {} from {}.", one_line(plan.site, 80), to_rfc3339(plan.created_at),
                                        one_line(plan.created_by, 80), one_line(plan.kfab_version, 40),
                                        plan.manifest.empty() ? "standard input" : one_line(plan.manifest, 200));
  output.render = [about, rest = std::move(output.render)](term::Writer& out) {
    out.line(about).line();
    rest(out);
  };
  return output;
}

}  // namespace kfab::commands
