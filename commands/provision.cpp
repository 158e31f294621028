#include "commands/provision.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/plan.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "commands/provision_pass.hpp"
#include "commands/provision_reboots.hpp"
#include "commands/run_lock.hpp"
#include "commands/left_work.hpp"
#include "commands/secrets.hpp"

namespace kfab::commands {
namespace {

using provision::Mode;

constexpr std::size_t largest_plan = std::size_t{2} << 30;
constexpr mode_t own_only = 0600;   // what nodes hold, and how it would change, is nobody else's

// Agreed, or the output of a command that was not.
std::optional<CommandOutput> refused(Env& env, const std::string& what) {
  auto agreed = env.confirm(what);
  if (!agreed) return not_started(std::move(agreed).error());
  if (!*agreed) return not_started(error(code::confirmation_missing, "not confirmed; nothing was changed"));
  return std::nullopt;
}

// Keeps what this run is about to do, with the plan that it follows, so that another can go on with it.
Status keep_work(const ProvisionWork& work, const std::string& plan_text, const ProvisionOptions& options, const Env& env, Recorder& recorder) {
  std::string plan;
  if (!plan_text.empty()) {
    const auto folder = env.state_dir / "runs" / env.run_id;
    std::error_code problem;
    std::filesystem::create_directories(folder, problem);
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, problem);
    plan = (folder / "plan").string();
    KFAB_TRY_VOID(write_file_atomically(plan, plan_text, own_only));
  }
  std::vector<std::pair<std::string, std::string>> nodes;
  for (std::size_t i = 0; i < work.states.size(); ++i) nodes.emplace_back(work.session.nodes[i]->name, work.states[i].sha256);
  recorder.work(work_document(options.resumed ? options.resumed->argv : env.command_line, plan, nodes));
  return ok();
}

// Of a run that is gone on with: the nodes whose declared state is still what it was. The others are left out.
ProvisionWork still_wanted(ProvisionWork work, const ProvisionOptions& options) {
  std::vector<std::size_t> same;
  std::vector<ProvisionedNode> left_out;
  for (std::size_t i = 0; i < work.states.size(); ++i) {
    const std::string& node = work.session.nodes[i]->name;
    const auto then = options.resumed->left.find(node);
    if (then != options.resumed->left.end() && then->second == work.states[i].sha256) same.push_back(i);
    else left_out.push_back(left_out_node(node, error(code::resume_state_changed, "its declared state is not what it was when the run was started")));
  }
  ProvisionWork part = part_of(work, same);
  part.left_out = std::move(left_out);
  return part;
}

// None of the selected nodes is worked on; why, of the first few.
CommandOutput nothing_left(const std::vector<ProvisionedNode>& left_out, const SiteRef& site) {
  CommandOutput output = not_started(error(code::no_target, "nothing can be done on any of the selected nodes"));
  output.site = site;
  for (const auto& node : left_out) {
    if (output.diagnostics.front().help.size() == 5) break;
    output.diagnostics.front().help.push_back(fmt::format("{}: {}", node.name, node.reason));
  }
  return output;
}

// The lock for the whole of the work, or the output of a command that does not get it.
std::optional<CommandOutput> take_lock(std::unique_ptr<RunLock>& lock, const ProvisionWork& work, const std::string& manifest, const ProvisionOptions& options, Env& env) {
  auto taken = RunLock::take(env, work.session, manifest, "kfab " + join(env.command_line, " "), chain_of(options.resumed));
  if (taken) return lock = std::move(*taken), std::nullopt;
  CommandOutput output = not_started(std::move(taken).error());
  output.site = work.session.ref();
  return output;
}

std::string what_is_asked(const ProvisionWork& work, const ProvisionOptions& options, std::string_view what) {
  const std::string nodes = plural(static_cast<long long>(work.session.nodes.size()), "node");
  if (options.resumed) return fmt::format("Go on with {}: {} of {} left?", options.resumed->run_id, nodes, options.resumed->nodes);
  return fmt::format("{} {} of {}", what, nodes, work.session.site->metadata.name);
}

// Of a question whose nodes are not planned yet.
std::string_view with_reboots(const ProvisionOptions& options) {
  return options.reboot ? ", and reboot those whose roles ask for it? What runs there ends." : "?";
}

std::vector<std::size_t> nodes_to_change(const ProvisionResult& planned) {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < planned.nodes.size(); ++i) {
    const auto& plan = planned.nodes[i].plan;
    if (plan.complete && plan.would_change > 0) indices.push_back(i);
  }
  return indices;
}

CommandOutput finished(ProvisionResult result, CommandOutput output, const ProvisionOptions& options, Env& env, Recorder& recorder) {
  output = conclude(std::move(result), std::move(output), options, env);
  recorder.finish(output);
  return output;
}

// Plans, shows, asks, and applies what was shown to the nodes where something is to be changed.
CommandOutput provision_reviewed(ProvisionWork& work, CommandOutput output, const ProvisionOptions& options, Env& env, Recorder& recorder) {
  ProvisionResult result = run_pass(work, Mode::plan, options, env, recorder);
  count(result);
  const auto indices = nodes_to_change(result);
  if (indices.empty() || env.cancel.requested()) {
    result.mode = env.cancel.requested() ? Mode::plan : Mode::apply;
    return finished(std::move(result), std::move(output), options, env, recorder);
  }
  if (options.show_review) {
    std::ostringstream text;
    term::Writer review(text, env.out_facts);
    render(result, review);
    review.line();
    env.out << env.redactor->text(text.str()) << std::flush;
  }
  if (auto stopped = refused(env, fmt::format("{}{}. Apply exactly this?", folded_changes(result), reboots_text(result, options)))) {
    stopped->site = output.site;
    recorder.finish(*stopped);
    return std::move(*stopped);
  }
  provision::PlanFile plan = plan_file_of(work, result, options, env);
  ProvisionWork part = part_of(work, indices);
  for (const auto* node : part.session.nodes) part.expect.push_back(provision::expectation(plan, *plan.find(node->name)));
  if (auto kept = keep_work(part, provision::to_text(plan), options, env, recorder); !kept) {
    CommandOutput stopped = not_started(std::move(kept).error());
    recorder.finish(stopped);
    return stopped;
  }
  replace(result, apply_past_reboots(part, options, env, recorder));
  return finished(std::move(result), std::move(output), options, env, recorder);
}

CommandOutput provision_manifest(const ProvisionOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  Diagnostics findings;
  auto prepared = work_of_site(std::move(std::get<SiteSession>(opened)), env, findings);
  if (auto* stopped = std::get_if<CommandOutput>(&prepared)) return std::move(*stopped);
  auto& work = std::get<ProvisionWork>(prepared);
  const bool resumes = options.resumed.has_value(), apply = options.mode == Mode::apply;
  const bool review = apply && !resumes && !options.unattended && env.interactive;
  if (resumes) work = still_wanted(std::move(work), options);
  if (work.states.empty()) return nothing_left(work.left_out, work.session.ref());
  if (apply && !review)
    if (auto stopped = refused(env, resumes ? what_is_asked(work, options, "") : fmt::format("{} into the declared state{}", what_is_asked(work, options, "Bring"), with_reboots(options)))) return std::move(*stopped);
  std::unique_ptr<RunLock> lock;
  if (apply)
    if (auto stopped = take_lock(lock, work, options.site.manifest, options, env)) return std::move(*stopped);
  auto recorder = Recorder::begin(env, apply ? "provision" : "plan", work.session.ref(), newest_of(options.resumed));
  if (!recorder) return not_started(std::move(recorder).error());
  CommandOutput output = work.session.output();
  output.diagnostics.insert(output.diagnostics.end(), findings.begin(), findings.end());
  if (review) return provision_reviewed(work, std::move(output), options, env, **recorder);
  if (apply)
    if (auto kept = keep_work(work, "", options, env, **recorder); !kept) return not_started(std::move(kept).error());
  ProvisionResult result = apply ? apply_past_reboots(work, options, env, **recorder) : run_pass(work, options.mode, options, env, **recorder);
  append(result, std::move(work.left_out));
  if (!options.out_file.empty() && !env.cancel.requested()) {
    provision::PlanFile plan = plan_file_of(work, result, options, env);
    if (auto written = write_file_atomically(options.out_file, provision::to_text(plan), own_only); !written) {
      output = not_started(std::move(written).error());
      output.site = work.session.ref();
      (*recorder)->finish(output);
      return output;
    }
    result.saved = options.out_file;
  }
  return finished(std::move(result), std::move(output), options, env, **recorder);
}

CommandOutput provision_plan(const provision::PlanFile& plan, const std::string& text, const ProvisionOptions& options, Env& env) {
  auto opened = work_of_plan(plan, options, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& work = std::get<ProvisionWork>(opened);
  CommandOutput output = work.session.output();
  output.site = {plan.site, plan.manifest_sha256};
  if (work.session.nodes.empty()) return nothing_left(work.left_out, output.site);
  const std::string what = fmt::format("Apply the plan of {} by {} to", to_rfc3339(plan.created_at), one_line(plan.created_by, 80));
  if (auto stopped = refused(env, what_is_asked(work, options, what) + std::string(options.resumed ? "" : with_reboots(options)))) return std::move(*stopped);
  std::unique_ptr<RunLock> lock;
  if (auto stopped = take_lock(lock, work, options.manifest.empty() ? plan.manifest : options.manifest, options, env)) return std::move(*stopped);
  auto recorder = Recorder::begin(env, "provision", output.site, newest_of(options.resumed));
  if (!recorder) return not_started(std::move(recorder).error());
  if (auto kept = keep_work(work, text, options, env, **recorder); !kept) return not_started(std::move(kept).error());
  ProvisionResult result = apply_past_reboots(work, options, env, **recorder);
  result.manifest = options.manifest.empty() ? plan.manifest : options.manifest;
  append(result, std::move(work.left_out));
  return finished(std::move(result), std::move(output), options, env, **recorder);
}

// Whether the file is a plan: asked of its first bytes, so that a manifest is not read twice.
bool holds_plan(const std::string& path) {
  if (path == "-" || path.empty()) return false;
  std::ifstream file(path, std::ios::binary);
  std::string start(64, '\0');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return provision::is_plan_file(start);
}

}  // namespace

CommandOutput run_provision(const ProvisionOptions& options, Env& env) {
  if (!holds_plan(options.site.manifest)) {
    if (!options.manifest.empty()) return not_started(error(code::option_misplaced, "--manifest belongs to a plan file, and the first word is the manifest itself"));
    return provision_manifest(options, env);
  }
  if (!options.out_file.empty()) return not_started(error(code::option_misplaced, "--out saves a new plan; a plan file is shown, or applied by `kfab provision`"));
  const auto text = read_file(options.site.manifest, largest_plan);
  if (!text) return not_started(text.error());
  const auto plan = provision::read_plan_file(*text, options.site.manifest);
  if (!plan) return not_started(plan.error());
  return options.mode == Mode::apply ? provision_plan(*plan, *text, options, env) : show_plan(*plan, options, env);
}

}  // namespace kfab::commands
