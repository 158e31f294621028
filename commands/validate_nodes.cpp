#include "commands/validate_nodes.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "commands/judge.hpp"
#include "commands/report_shelf.hpp"
#include "commands/test_records.hpp"
#include "manifest/criteria_choice.hpp"

namespace kfab::commands {
namespace {

constexpr std::ptrdiff_t worth_telling = 200;   // nodes that are held beside each other, before somebody waits for it

// The verdict on the node's report, beside its peers where they are known.
void judge_report(ValidatedNode& node, const NodeTest& test, const std::map<std::string, const validation::Peers*>* peers) {
  validation::JudgeInput input;
  input.profile = test.profile;
  input.criteria = test.criteria;
  input.families = test.plan.families;
  input.device = test.plan.device;
  input.peers_by_model = peers;
  node.judgement = validation::judge(input, node.report);
  hold_to_cut(node.judgement, node.report, node.cut, node.cut_fails);
}

RecordKey key_of(const Env& env, const std::string& run_id, const ValidatedNode& node) { return {run_id, node.name, node.measured_at.value_or(env.clock.now())}; }

JudgedBy judged_by(const NodeTest& test, const ValidatedNode& node) {
  return {level_of(node.level, test.plan.families), node.criteria, test.criteria ? test.criteria->sha256 : std::string(), test.profile->sha256};
}

json::Value detail_of(const NodeTest& test, const ValidatedNode& node) {
  json::Object detail{{"level", node.level}, {"device", node.device}, {"criteria", node.criteria}};
  add_report(detail, node.report, node.judgement, test.plan.families, node.cut, node.cut_fails, test.profile->sha256);
  if (!node.cut.empty() && !node.cut_fails) detail.set(std::string(cut_short_mark), true);
  return detail;
}

}  // namespace

std::string level_word(const NodeTest& test) {
  std::string word(to_string(test.plan.level));
  if (test.plan.load.shaped()) word += fmt::format(" ({}{})", test.plan.load.kind, test.shortened ? ", shortened" : "");
  else if (test.shortened) word += " (shortened)";
  return word;
}

NodeTest criteria_of(const manifest::Site& site, const manifest::Profile* profile) {
  NodeTest test;
  test.profile = profile;
  test.own = manifest::criteria_of(site.criteria, *profile);
  test.criteria = test.own.get();
  return test;
}

// Several names of one machine share its memory and processors.
int names_sharing(const SiteSession& session) {
  return static_cast<int>(std::count_if(session.nodes.begin(), session.nodes.end(), [](const auto* node) { return node->identity_by_name; }));
}

namespace {

validation::RequestOptions request_for(const SiteSession& session, const manifest::Node& node, const ValidateOptions& options, int sharing) {
  validation::RequestOptions request;
  request.families = options.families;
  request.duration_s = options.duration_s;
  request.threads = options.threads;
  request.memory_cap_mib = options.memory_cap_mib;
  request.load = options.load;
  request.share = node.identity_by_name ? std::max(1, sharing) : 1;
  const auto* tranche = session.site->find_tranche(node.tranche);
  request.level = options.level ? *options.level
                  : tranche     ? validation::parse_level(tranche->ready_when.level).value_or(validation::Level::standard)
                                : validation::Level::standard;
  return request;
}

}  // namespace

std::optional<int> share_of_digest(const SiteSession& session, std::size_t at, const NodeTest& test, const ValidateOptions& options, const std::string& digest, int most) {
  const manifest::Node& node = *session.nodes[at];
  if (!node.identity_by_name) return std::nullopt;
  for (int sharing = 1; sharing <= most; ++sharing) {
    const auto plan = validation::plan_tests(*test.profile, request_for(session, node, options, sharing));
    if (plan && sha256_hex(json::dump(plan->members)) == digest) return sharing;
  }
  return std::nullopt;
}

Result<std::vector<NodeTest>> plan_nodes(const SiteSession& session, const ValidateOptions& options) {
  const int sharing = names_sharing(session);
  std::vector<NodeTest> tests;
  for (const manifest::Node* node : session.nodes) {
    const auto* profile = session.site->find_profile(node->profile);
    if (!profile) return error(code::unknown_reference, fmt::format("node {} has no profile, so nothing says how to test it", node->name));
    NodeTest test = criteria_of(*session.site, profile);
    validation::RequestOptions request = request_for(session, *node, options, sharing);
    KFAB_TRY(plan, validation::plan_tests(*test.profile, request));
    test.plan = std::move(plan);
    if (options.duration_s || options.memory_cap_mib) {
      request.duration_s.reset();
      request.memory_cap_mib.reset();
      request.load = {};   // its time alone is asked for
      KFAB_TRY(whole, validation::plan_tests(*test.profile, request));
      const auto cap_of = [](const validation::TestPlan& of) { return json::Value(of.members).int_or("memory_cap_mib", 0); };
      test.shortened = cap_of(test.plan) != cap_of(whole) || test.plan.predicted_s < whole.predicted_s;
    }
    // Some of the processors are not the processor.
    if (options.threads > 0 && test.plan.device == "cpu") test.shortened = true;
    tests.push_back(std::move(test));
  }
  return tests;
}

ValidatedNode judged(const NodeTest& test, const AgentRun& run, std::optional<Cut> cut) {
  validation::ReportReader reader;
  for (const auto& message : run.messages) reader.take(message);
  return judged(test, run, reader.finish(), std::move(cut));
}

ValidatedNode judged(const NodeTest& test, const AgentRun& run, validation::TestReport report, std::optional<Cut> cut) {
  ValidatedNode node;
  node.row = node_row(run.end);
  node.name = run.end.node;
  node.profile = test.profile->name;
  node.device = test.plan.device;
  node.level = level_word(test);
  node.criteria = criteria_name(test.criteria);
  node.outcome = run.end.outcome;
  node.reason = run.reason;
  node.report = std::move(report);
  node.board_serial = one_line(run.end.hello.string_or("board_serial"), 80);
  if (node.outcome != NodeOutcome::ok && !(cut && cut->fails)) cut = Cut{fmt::format("the report is incomplete: {}", one_line(node.reason))};
  if (cut) {
    node.cut = cut->why;
    node.cut_fails = cut->fails;
  }
  judge_report(node, test, nullptr);
  return node;
}

std::string digest_of(const NodeTest& test) { return sha256_hex(json::dump(test.plan.members)); }

store::Findings findings_of(const Env& env, const std::string& run_id, const NodeTest& test, const AgentRun& run, const ValidatedNode& node) {
  const RecordKey key = key_of(env, run_id, node);
  store::Findings found;
  found.nodes.push_back(reach_record(env, run.end));
  found.nodes.back().run_id = run_id;
  store::NodeRecord record = step_record(env, run.end, "validate");
  record.run_id = run_id;
  record.at = key.at;
  record.verdict = node.judgement.verdict;
  record.reason = one_line(node.judgement.reason(), 400);
  record.detail = detail_of(test, node);
  // A node whose agent never answered has no verdict of its tests: only that it was not reached is kept.
  if (reached(run.end)) found.nodes.push_back(record);
  for (const auto& accelerator : node.judgement.accelerators) found.accelerators.push_back(record_of(key, judged_by(test, node), accelerator));
  for (const auto& criterion : node.judgement.criteria)
    if (!criterion.beside_peers) found.measurements.push_back(record_of(key, criterion));   // those come when the peers are known
  add_other_figures(found, key, node.report);
  return found;
}

std::vector<PlannedTests> planned(const std::vector<NodeTest>& tests) {
  std::vector<PlannedTests> out;
  for (const auto& test : tests) {
    const std::string level = level_word(test), criteria = criteria_name(test.criteria);
    auto same = std::find_if(out.begin(), out.end(), [&](const PlannedTests& p) { return p.profile == test.profile->name && p.level == level; });
    if (same == out.end()) same = out.insert(out.end(), {test.profile->name, test.plan.device, level, criteria, 0, test.plan.predicted_s, test.plan.family_s});
    ++same->nodes;
  }
  return out;
}

double predicted_total_s(const ReachOptions& reach, std::size_t nodes, double per_node_s) {
  const std::size_t window = std::max<std::size_t>(reach.window, 1);
  std::size_t rounds = 0;
  for (const std::size_t batch : fleet::batch_sizes(reach.pace, nodes)) rounds += (batch + window - 1) / window;
  return per_node_s * static_cast<double>(rounds);
}

validation::FleetFindings judge_beside_peers(std::vector<ValidatedNode>& nodes, const std::vector<NodeTest>& tests, const std::vector<const manifest::Node*>& places,
                                             const std::string& run_id, const Env& env, Recorder& recorder) {
  validation::Fleet fleet;
  const auto told = std::count_if(nodes.begin(), nodes.end(), [](const auto& node) { return !node.report.accelerators.empty(); });
  if (told >= worth_telling)   // a node takes some 10 ms
    env.events.emit({.type = "message", .message = fmt::format("holding {} beside each other", plural(static_cast<long long>(told), "node"))});
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    ValidatedNode& node = nodes[i];
    if (node.report.accelerators.empty()) continue;
    take_report(node);
    fleet.add({node.name, places[i]->rack, places[i]->tranche, node.profile, node.level}, node.report, node.device);
    drop_report(node);
  }
  auto findings = fleet.findings();
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    ValidatedNode& node = nodes[i];
    const bool asks = tests[i].criteria && std::any_of(tests[i].criteria->criteria.begin(), tests[i].criteria->criteria.end(), [](const auto& c) { return c.basis == manifest::Basis::fleet_relative; });
    const auto dissents = fleet.dissents_of(node.name);   // all of them: what is shown is cut
    const bool other = node.recorded && *node.recorded != node.judgement.verdict;   // the criteria have changed since it was tested
    if (!other && (node.report.accelerators.empty() || (!asks && dissents.empty()))) continue;
    const Verdict was = node.judgement.verdict;
    const auto accelerators_were = node.judgement.accelerators;
    take_report(node);
    const auto peers = fleet.peers_of(node.profile, node.report, node.level);
    judge_report(node, tests[i], &peers);
    validation::take_dissents(dissents, node.name, node.judgement);
    // The evidence is no younger for being judged beside others.
    const std::string& measured_by = node.evidence_run.empty() ? run_id : node.evidence_run;
    store::Findings found;
    const RecordKey key = key_of(env, measured_by, node);
    for (const auto& criterion : node.judgement.criteria)
      if (criterion.beside_peers && criterion.verdict != Verdict::not_judged) found.measurements.push_back(record_of(key, criterion));
    bool changed = other || node.judgement.verdict != was;
    for (std::size_t a = 0; a < node.judgement.accelerators.size(); ++a) {
      if (!other && a < accelerators_were.size() && accelerators_were[a].verdict == node.judgement.accelerators[a].verdict) continue;
      changed = true;
      found.accelerators.push_back(record_of(key, judged_by(tests[i], node), node.judgement.accelerators[a]));
    }
    if (changed) {
      store::NodeRecord record;
      record.run_id = measured_by;
      record.node = node.name;
      record.step = "validate";
      record.at = key.at;
      record.outcome = node.outcome;
      record.board_serial = node.board_serial;
      record.verdict = node.judgement.verdict;
      record.reason = one_line(node.judgement.reason(), 400);
      record.detail = detail_of(tests[i], node);
      found.nodes.push_back(std::move(record));
    }
    if (!found.measurements.empty() || changed) recorder.put(found);
    if (node.shelved) put_away(node, node.shelved->shelf);
  }
  return findings;
}

ValidatedNode node_of_record(const NodeTest& test, const store::NodeRecord& record) {
  validation::ReportReader reader;
  for (const auto& message : record.detail.array_at("report")) reader.take(message);
  ValidatedNode node;
  node.name = record.node;
  node.profile = test.profile->name;
  node.device = test.plan.device;
  node.level = level_word(test);
  node.criteria = criteria_name(test.criteria);
  node.outcome = record.outcome;
  node.report = reader.finish();
  node.report.truncated = record.detail.bool_or("report_truncated", node.report.truncated);
  node.board_serial = record.board_serial;
  node.measured_at = record.at;
  node.cut = one_line(record.detail["cut"].string_or("why"), 400);
  node.cut_fails = record.detail["cut"].bool_or("fails", false);
  node.judgement.verdict = record.verdict;
  for (const auto& one : record.detail.array_at("verdicts")) {
    validation::AcceleratorVerdict accelerator;
    accelerator.id = one.string_or("id");
    accelerator.verdict = parse_verdict(one.string_or("verdict")).value_or(Verdict::not_judged);
    node.judgement.accelerators.push_back(std::move(accelerator));
  }
  return node;
}

ValidatedNode kept_node(const NodeTest& test, const store::NodeRecord& record) {
  ValidatedNode node = node_of_record(test, record);
  fleet::AgentEnd end;   // of the session then; of its course nothing is told again
  end.node = record.node;
  end.outcome = record.outcome;
  end.phase = ssh::Phase::close;
  node.row = node_row(end);
  node.evidence_run = record.run_id;
  node.recorded = record.verdict;
  node.judgement = {};
  judge_report(node, test, nullptr);
  return node;
}

}  // namespace kfab::commands
