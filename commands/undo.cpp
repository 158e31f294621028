#include "commands/undo.hpp"

#include <algorithm>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/plan.hpp"
#include "base/codes/undo.hpp"
#include "base/text.hpp"
#include "commands/left_work.hpp"
#include "commands/provision_pass.hpp"
#include "commands/run_lock.hpp"
#include "manifest/load.hpp"
#include "provision/undo_plan.hpp"

namespace kfab::commands {
namespace {

using provision::Mode;

// Undoing it failed after it had begun: what is refused before is left as it is.
bool failed_half_way(const provision::ResourceRecord& resource) {
  return resource.status == provision::ResourceStatus::failed && resource.code != to_string(code::undo_differs) && resource.code != to_string(code::undo_unfinished);
}

// The nodes of a session, and the roles that are taken back from them.
class Undo {
 public:
  Undo(SiteSession session, const UndoOptions& options, Env& env) : session_(std::move(session)), options_(options), env_(env) {}

  CommandOutput run() {
    if (auto unknown = unknown_role()) return stopped(std::move(*unknown));
    const bool review = !options_.check && !options_.resumed && !options_.unattended && env_.interactive;
    if (!options_.check && !review)
      if (auto no = refused(question())) return std::move(*no);
    std::unique_ptr<RunLock> lock;
    if (!options_.check) {
      auto taken = RunLock::take(env_, session_, options_.site.manifest, "kfab " + join(env_.command_line, " "), chain_of(options_.resumed));
      if (!taken) return stopped(std::move(taken).error());
      lock = std::move(*taken);
    }
    auto recorder = Recorder::begin(env_, "undo", session_.ref(), newest_of(options_.resumed));
    if (!recorder) return not_started(std::move(recorder).error());
    recorder_ = std::move(*recorder);
    if (review) return reviewed();
    if (!options_.check) keep_work();
    return finished(pass(session_, options_.check ? Mode::plan : Mode::apply));
  }

 private:
  // A name that nobody knows is more likely wrong than done already.
  std::optional<Diagnostic> unknown_role() const {
    if (options_.roles.empty()) return error(code::missing_argument, "which roles? name them: --role NAME");
    std::vector<std::string> known;
    for (const auto& [name, role] : session_.site->roles) known.push_back(name);
    for (const auto& built_in : manifest::built_ins())   // whether a profile names them or not
      if (built_in.kind == "Role") known.emplace_back(built_in.name);
    for (const auto& role : options_.roles) {
      if (std::find(known.begin(), known.end(), role) != known.end()) continue;
      Diagnostic why = error(code::undo_role_unknown, fmt::format("neither the manifest nor kfab has a role '{}'", one_line(role, 60)));
      why.suggestions = nearest(role, known);
      return why;
    }
    return std::nullopt;
  }

  CommandOutput stopped(Diagnostic why) const {
    CommandOutput output = not_started(std::move(why));
    output.site = session_.ref();
    return output;
  }

  // Agreed, or the output of a command that was not.
  std::optional<CommandOutput> refused(const std::string& what) const {
    auto agreed = env_.confirm(what);
    if (!agreed) return stopped(std::move(agreed).error());
    if (!*agreed) return stopped(error(code::confirmation_missing, "not confirmed; nothing was changed"));
    return std::nullopt;
  }

  std::string roles_text() const { return (options_.roles.size() == 1 ? "role " : "roles ") + one_line(join(options_.roles, ", "), 120); }

  std::string question() const {
    const std::string nodes = plural(static_cast<long long>(session_.nodes.size()), "node");
    if (options_.resumed) return fmt::format("Go on with {}: {} of {} left?", options_.resumed->run_id, nodes, options_.resumed->nodes);
    return fmt::format("Undo {} on {} of {}?", roles_text(), nodes, session_.site->metadata.name);
  }

  void keep_work() {
    std::vector<std::pair<std::string, std::string>> nodes;
    for (const auto* node : session_.nodes) nodes.emplace_back(node->name, provision::undo_sha256(options_.roles));
    recorder_->work(work_document(options_.resumed ? options_.resumed->argv : env_.command_line, "", nodes));
  }

  CommandOutput reviewed() {
    ProvisionResult result = pass(session_, Mode::plan);
    count(result);
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < result.nodes.size(); ++i)
      if (result.nodes[i].plan.complete && result.nodes[i].plan.would_change > 0) indices.push_back(i);
    if (indices.empty() || env_.cancel.requested()) {
      result.mode = env_.cancel.requested() ? Mode::plan : Mode::apply;
      return finished(std::move(result));
    }
    if (options_.show_review) {
      std::ostringstream text;
      term::Writer review(text, env_.out_facts);
      render(result, review);
      review.line();
      env_.out << env_.redactor->text(text.str()) << std::flush;
    }
    if (auto no = refused(fmt::format("{}. Undo this?", folded_changes(result)))) {
      recorder_->finish(*no);
      return std::move(*no);
    }
    SiteSession part = part_of(session_, indices);
    std::swap(part, session_);
    keep_work();
    replace(result, pass(session_, Mode::apply));
    std::swap(part, session_);
    return finished(std::move(result));
  }

  CommandOutput finished(ProvisionResult result) {
    ProvisionOptions as_provision;
    CommandOutput output = conclude(std::move(result), session_.output(), as_provision, env_);
    recorder_->finish(output);
    return output;
  }

  ProvisionResult pass(SiteSession& session, Mode mode) {
    const bool apply = mode == Mode::apply;
    ProvisionResult result;
    result.mode = mode;
    result.undone_roles = options_.roles;
    result.nodes.resize(session.nodes.size());
    const auto request_of = [&](std::size_t index) {
      json::Object request = provision::undo_request(options_.roles, provision::owner_of(session.site->metadata.name, session.nodes[index]->name), mode);
      request.set("task", "undo").set("run_id", env_.run_id);
      return fleet::AgentTask{std::move(request), session.sudo[index], std::chrono::seconds(std::max(1LL, static_cast<long long>(options_.timeout_s))),
                              session.password.get()};
    };
    const ReachOptions reach = paced(options_.site.reach, apply, session.nodes.size());
    result.summary = run_agents(session, env_, reach, apply ? "undoing" : "planning the undo", request_of, [&](AgentRun run) {
      ProvisionedNode node{node_row(run.end), run.end.node, run.end.outcome, run.reason,
                           provision::judge_undo(run.end.node, options_.roles, mode, run.messages)};
      node.plan.complete = node.plan.complete && run.end.outcome == NodeOutcome::ok;
      if (run.end.outcome != NodeOutcome::ok && node.plan.verdict != Verdict::fail) {
        node.plan.verdict = Verdict::not_judged;
        node.plan.reason = node.reason;
      }
      keep(node, run.end, apply);
      NodeJudged verdict{node.plan.verdict != Verdict::fail, node.plan.code, node.plan.reason};
      result.nodes[run.index] = std::move(node);
      return verdict;
    });
    return result;
  }

  // What came of it, and, where anything was or may have been undone, that the node is not provisioned any more.
  void keep(const ProvisionedNode& node, const fleet::AgentEnd& end, bool apply) {
    const bool cut = was_cancelled(end);
    if (cut && !(apply && reached(end))) return;
    store::Findings findings;
    if (!cut) findings.nodes.push_back(reach_record(env_, end));
    if (apply) {
      store::NodeRecord undone = step_record(env_, end, "undo");
      undone.verdict = node.plan.verdict;
      undone.reason = one_line(node.plan.reason, 400);
      undone.detail = provision::to_json(node.plan);
      if (cut) undone.outcome = NodeOutcome::failed;   // it did answer
      const bool touched = cut || node.plan.changed > 0 || node.plan.cancelled > 0 || node.plan.not_reported > 0 ||
                           std::any_of(node.plan.resources.begin(), node.plan.resources.end(), failed_half_way);
      if (touched && reached(end)) {
        store::NodeRecord provisioned = step_record(env_, end, "provision");
        provisioned.outcome = NodeOutcome::ok;
        provisioned.verdict = Verdict::not_judged;
        provisioned.reason = node.plan.changed > 0 ? fmt::format("{} undone since it was provisioned", roles_text() + (options_.roles.size() == 1 ? " was" : " were"))
                                                   : fmt::format("undoing {} was tried since it was provisioned, and ended half way", roles_text());
        findings.nodes.push_back(std::move(provisioned));
      }
      findings.nodes.push_back(std::move(undone));
    }
    recorder_->put(findings);
  }

  SiteSession session_;
  const UndoOptions& options_;
  Env& env_;
  std::unique_ptr<Recorder> recorder_;
};

}  // namespace

CommandOutput run_undo(const UndoOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  return Undo(std::move(std::get<SiteSession>(opened)), options, env).run();
}

}  // namespace kfab::commands
