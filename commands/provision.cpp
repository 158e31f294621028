#include "commands/provision.hpp"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "commands/provision_pass.hpp"

namespace kfab::commands {
namespace {

using provision::Mode;

constexpr std::size_t largest_plan = std::size_t{2} << 30;
constexpr mode_t own_only = 0600;   // what nodes hold, and how it would change, is nobody else's

// The desired state of every node of the session, and everything that is wrong with them.
struct DesiredStates {
  std::vector<provision::DesiredState> states;
  Diagnostics diagnostics;
};

DesiredStates desired_states(const SiteSession& session) {
  DesiredStates out;
  for (const manifest::Node* node : session.nodes) {
    auto desired = provision::desired_state(*session.site, *node);
    // A mistake in a role is the same on every node; one telling is enough.
    for (auto& why : desired.diagnostics)
      if (out.diagnostics.size() < 20 && std::none_of(out.diagnostics.begin(), out.diagnostics.end(), [&](const Diagnostic& told) {
            return told.code == why.code && told.message == why.message && told.path == why.path;
          }))
        out.diagnostics.push_back(std::move(why));
    out.states.push_back(desired.state ? std::move(*desired.state) : provision::DesiredState{});
  }
  return out;
}

// Agreed, or the output of a command that was not.
std::optional<CommandOutput> refused(Env& env, const std::string& what) {
  auto agreed = env.confirm(what);
  if (!agreed) return not_started(std::move(agreed).error());
  if (!*agreed) return not_started(error(code::confirmation_missing, "not confirmed; nothing was changed"));
  return std::nullopt;
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
    term::Writer review(env.out, env.out_facts);
    render(result, review);
    review.line();
    env.out.flush();
  }
  if (auto stopped = refused(env, fmt::format("{}. Apply exactly this?", folded_changes(result)))) {
    stopped->site = output.site;
    recorder.finish(*stopped);
    return std::move(*stopped);
  }
  const provision::PlanFile plan = plan_file_of(work, result, options, env);
  ProvisionWork part = part_of(work, indices);
  for (const auto* node : part.session.nodes) part.expect.push_back(provision::expectation(plan, *plan.find(node->name)));
  replace(result, run_pass(part, Mode::apply, options, env, recorder));
  return finished(std::move(result), std::move(output), options, env, recorder);
}

CommandOutput provision_manifest(const ProvisionOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  ProvisionWork work{std::move(std::get<SiteSession>(opened)), {}, {}, {}};
  auto desired = desired_states(work.session);
  if (has_errors(desired.diagnostics)) {
    CommandOutput output = not_started(std::move(desired.diagnostics), work.session.loaded->sources);
    output.site = work.session.ref();
    return output;
  }
  work.states = std::move(desired.states);
  const bool apply = options.mode == Mode::apply, review = apply && !options.unattended && env.interactive;
  if (apply && !review)
    if (auto stopped = refused(env, fmt::format("Bring {} of {} into the declared state?", plural(static_cast<long long>(work.session.nodes.size()), "node"),
                                                work.session.site->metadata.name)))
      return std::move(*stopped);
  auto recorder = Recorder::begin(env, apply ? "provision" : "plan", work.session.ref());
  if (!recorder) return not_started(std::move(recorder).error());
  CommandOutput output = work.session.output();
  output.diagnostics.insert(output.diagnostics.end(), desired.diagnostics.begin(), desired.diagnostics.end());
  if (review) return provision_reviewed(work, std::move(output), options, env, **recorder);
  ProvisionResult result = run_pass(work, options.mode, options, env, **recorder);
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

CommandOutput provision_plan(const provision::PlanFile& plan, const ProvisionOptions& options, Env& env) {
  auto opened = work_of_plan(plan, options, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& work = std::get<ProvisionWork>(opened);
  CommandOutput output = work.session.output();
  output.site = {plan.site, plan.manifest_sha256};
  if (work.session.nodes.empty()) {
    output = not_started(error(code::no_target, "none of the selected nodes can be provisioned by this plan"));
    output.site = {plan.site, plan.manifest_sha256};
    for (const auto& node : work.left_out) {
      if (output.diagnostics.front().help.size() == 5) break;
      output.diagnostics.front().help.push_back(fmt::format("{}: {}", node.name, node.reason));
    }
    return output;
  }
  if (auto stopped = refused(env, fmt::format("Apply the plan of {} by {} to {} of {}?", to_rfc3339(plan.created_at), one_line(plan.created_by, 80),
                                              plural(static_cast<long long>(work.session.nodes.size()), "node"), plan.site)))
    return std::move(*stopped);
  auto recorder = Recorder::begin(env, "provision", output.site);
  if (!recorder) return not_started(std::move(recorder).error());
  ProvisionResult result = run_pass(work, Mode::apply, options, env, **recorder);
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
    if (!options.manifest.empty()) return not_started(error(code::bad_value, "--manifest belongs to a plan file, and the first word is the manifest itself"));
    return provision_manifest(options, env);
  }
  if (!options.out_file.empty()) return not_started(error(code::bad_value, "--out saves a new plan; a plan file is shown, or applied by `kfab provision`"));
  const auto text = read_file(options.site.manifest, largest_plan);
  if (!text) return not_started(text.error());
  const auto plan = provision::read_plan_file(*text, options.site.manifest);
  if (!plan) return not_started(plan.error());
  return options.mode == Mode::apply ? provision_plan(*plan, options, env) : show_plan(*plan, options, env);
}

}  // namespace kfab::commands
