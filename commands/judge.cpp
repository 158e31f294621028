#include "commands/judge.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "commands/recorder.hpp"
#include "commands/site_session.hpp"
#include "manifest/load.hpp"
#include "validation/catalogue.hpp"

namespace kfab::commands {
namespace {

using CriteriaPtr = std::shared_ptr<const manifest::CriteriaSet>;

// By what the nodes of each profile are judged. One for all where the command line names one.
class CriteriaChoice {
 public:
  static Result<CriteriaChoice> make(const manifest::Site& site, const std::string& wanted, Env& env, std::vector<manifest::SourceText>& sources) {
    CriteriaChoice out(site);
    if (wanted.empty()) return out;
    if (const auto own = site.criteria.find(wanted); own != site.criteria.end()) {
      out.all_ = std::make_shared<const manifest::CriteriaSet>(own->second);
      return out;
    }
    if (auto built_in = manifest::built_in_criteria(wanted)) {
      out.all_ = std::move(built_in);
      return out;
    }
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(wanted, ignored)) {
      Words known;
      for (const auto& one : manifest::built_ins())
        if (one.kind == "Criteria") known.emplace_back(one.name);
      for (const auto& [name, set] : site.criteria) known.push_back(name);
      auto problem = error(code::unknown_reference, fmt::format("there is no file and no criteria set '{}'", one_line(wanted, 80)));
      problem.suggestions = nearest(wanted, known);
      return problem;
    }
    auto loaded = load_manifest(wanted, env);
    sources.insert(sources.end(), loaded.sources.begin(), loaded.sources.end());
    for (auto& diagnostic : loaded.diagnostics)
      if (diagnostic.severity == Severity::error) return std::move(diagnostic);
    auto* set = std::get_if<manifest::CriteriaSet>(&loaded.document);
    if (!set) return error(code::unknown_reference, fmt::format("{} holds no criteria", one_line(wanted, 120)));
    out.all_ = std::make_shared<const manifest::CriteriaSet>(std::move(*set));
    return out;
  }

  CriteriaPtr of(const manifest::Profile& profile) {
    if (all_) return all_;
    auto& known = by_profile_[profile.name];
    if (known) return known;
    if (const auto own = site_->criteria.find(profile.criteria); own != site_->criteria.end()) known = std::make_shared<const manifest::CriteriaSet>(own->second);
    else if (profile.criteria.empty() && validation::device_of(profile) == "cuda") known = manifest::built_in_criteria("nvidia-any");
    return known;
  }
  // Whether it is by these that the manifest judges the profile. Verdicts by others say what would be, and take no evidence's place.
  bool is_own(const manifest::Profile& profile) {
    if (!all_) return true;
    CriteriaChoice usual(*site_);
    const auto own = usual.of(profile);
    return own && own->sha256 == all_->sha256;
  }

 private:
  using Words = std::vector<std::string>;
  explicit CriteriaChoice(const manifest::Site& site) : site_(&site) {}
  const manifest::Site* site_;
  CriteriaPtr all_;
  std::map<std::string, CriteriaPtr> by_profile_;
};

std::string name_of(const manifest::CriteriaSet* set) { return !set ? std::string() : set->version.empty() ? set->name : set->name + "@" + set->version; }

struct Kept {
  store::NodeRecord record;
  std::vector<std::string> families;
  std::string cut, profile_sha256;
  bool cut_fails = false;
};

std::vector<std::string> words_of(const json::Value& list) {
  std::vector<std::string> out;
  if (const auto* items = list.as_array())
    for (const auto& item : *items)
      if (const auto* text = item.as_string(); text && out.size() < 64) out.push_back(one_line(*text, 60));
  return out;
}

// What the record holds, into the node; says why it cannot be judged.
std::string read_record(const store::NodeRecord& record, RejudgedNode& node, Kept& kept) {
  const auto& detail = record.detail;
  if (!detail["report"].is_array()) return "its last test was kept by an older kfab, without the report";
  validation::ReportReader reader;
  for (const auto& message : detail.array_at("report")) reader.take(message);
  node.report = reader.finish();
  node.report.truncated = detail.bool_or("report_truncated", node.report.truncated);
  node.device = one_line(detail.string_or("device"), 20);
  node.level = one_line(detail.string_or("level"), 40);
  node.was_criteria = one_line(detail.string_or("criteria"), 120);
  node.was = record.verdict;
  node.measured_at = record.at;
  node.evidence_run = detail["judged_again"].is_object() ? one_line(detail["judged_again"].string_or("evidence_run"), 60) : record.run_id;
  for (const auto& one : detail.array_at("verdicts"))
    if (node.accelerators_were.size() < 1024)
      node.accelerators_were.emplace_back(one_line(one.string_or("id"), 128), parse_verdict(one.string_or("verdict")).value_or(Verdict::not_judged));
  kept.record = record;
  kept.families = words_of(detail["families"]);
  kept.cut = one_line(detail["cut"].string_or("why"), 400);
  kept.cut_fails = detail["cut"].bool_or("fails", false);
  kept.profile_sha256 = one_line(detail.string_or("profile_sha256"), 64);
  return {};
}

void judge_again(RejudgedNode& node, const Kept& kept, const manifest::Profile& profile, const manifest::CriteriaSet* set, const validation::Fleet& fleet) {
  validation::JudgeInput input;
  input.profile = &profile;
  input.criteria = set;
  input.families = kept.families;
  input.device = node.device;
  const auto peers = fleet.peers_of(node.profile, node.report);
  input.peers_by_model = &peers;
  node.judgement = validation::judge(input, node.report);
  node.criteria = name_of(set);
  node.criteria_sha256 = set ? set->sha256 : std::string();
  if (!kept.cut.empty()) {
    const Verdict at_best = kept.cut_fails ? Verdict::fail : Verdict::not_judged;
    if (node.judgement.verdict != Verdict::fail) node.judgement.verdict = at_best;
    node.judgement.reasons.insert(node.judgement.reasons.begin(), kept.cut);
    for (auto& accelerator : node.judgement.accelerators)
      if (accelerator.verdict != Verdict::fail) accelerator.verdict = at_best;
  }
}

store::Findings findings_again(const Env& env, const RejudgedNode& node, const Kept& kept, bool own) {
  store::Findings found;
  store::NodeRecord record = kept.record;
  record.run_id = env.run_id;
  record.verdict = node.judgement.verdict;
  record.reason = one_line(node.judgement.reason(), 400);
  // Everything that was kept stays; what is new is who judged, by what.
  json::Object detail = record.detail.as_object() ? *record.detail.as_object() : json::Object();
  detail.set("criteria", node.criteria).set("criteria_sha256", node.criteria_sha256);
  detail.set("judged_again", json::Object{{"evidence_run", node.evidence_run}, {"judged_at", to_rfc3339(env.clock.now())}, {"criteria", node.criteria},
                                          {"criteria_sha256", node.criteria_sha256}, {"was", to_string(node.was)}, {"was_criteria", node.was_criteria}});
  json::Array verdicts;
  for (const auto& accelerator : node.judgement.accelerators) verdicts.push_back(json::Object{{"id", accelerator.id}, {"verdict", to_string(accelerator.verdict)}});
  detail.set("verdicts", std::move(verdicts));
  record.detail = std::move(detail);
  const bool all = kept.families.size() == validation::all_families().size();
  for (const auto& accelerator : node.judgement.accelerators) {
    store::AcceleratorRecord row;
    row.run_id = env.run_id;
    row.node = node.name;
    row.id = accelerator.id;
    row.device = accelerator.device;
    row.model = accelerator.model;
    row.index = accelerator.index;
    row.at = kept.record.at;            // the evidence is no younger for being judged again
    row.verdict = accelerator.verdict;
    row.reason = one_line(accelerator.reason(), 400);
    row.level = all ? node.level : join(kept.families, "+");
    row.criteria = node.criteria;
    row.criteria_sha256 = node.criteria_sha256;
    row.profile_sha256 = kept.profile_sha256;
    found.accelerators.push_back(std::move(row));
  }
  const auto row_of = [&](const auto& from) {
    store::MeasurementRecord row;
    row.run_id = env.run_id;
    row.node = node.name;
    row.accelerator_id = from.accelerator;
    row.device = from.device;
    row.test = from.test;
    row.metric = from.metric;
    row.unit = from.unit;
    row.value = from.value;
    row.at = kept.record.at;
    return row;
  };
  std::set<std::tuple<std::string, std::string, std::optional<double>>> judged;
  for (const auto& criterion : node.judgement.criteria) {
    auto row = row_of(criterion);
    row.verdict = criterion.verdict;
    row.criterion = criterion.criterion;
    row.limit = criterion.limit;
    row.detail = criterion.reason;
    judged.emplace(row.metric, row.accelerator_id, row.value);
    found.measurements.push_back(std::move(row));
  }
  for (const auto& figure : node.report.measurements) {
    if (judged.contains({figure.metric, figure.accelerator, figure.value})) continue;
    found.measurements.push_back(row_of(figure));
    found.measurements.back().detail = figure.detail;
  }
  found.nodes.push_back(std::move(record));
  if (own) return found;
  // As a step of its own it stands beside the verdict by the manifest's criteria.
  found.nodes.back().step = "judged";
  found.accelerators.clear();
  return found;
}

}  // namespace

void add_report(json::Object& detail, const validation::TestReport& report, const validation::NodeJudgement& judgement, const std::vector<std::string>& families,
                const std::string& cut, bool cut_fails, const std::string& profile_sha256) {
  json::Array words(families.begin(), families.end()), verdicts;
  for (const auto& accelerator : judgement.accelerators) verdicts.push_back(json::Object{{"id", accelerator.id}, {"verdict", to_string(accelerator.verdict)}});
  detail.set("families", std::move(words)).set("profile_sha256", profile_sha256).set("verdicts", std::move(verdicts));
  detail.set("cut", cut.empty() ? json::Value() : json::Value(json::Object{{"why", cut}, {"fails", cut_fails}}));
  detail.set("report_truncated", report.truncated).set("report", validation::messages_of(report));
}

CommandOutput run_judge(const JudgeOptions& options, Env& env) {
  auto loaded = load_manifest(options.manifest, env);
  CommandOutput output;
  output.diagnostics = loaded.diagnostics;
  output.sources = loaded.sources;
  const auto* site = loaded.site();
  if (has_errors(loaded.diagnostics) || !site) {
    output.outcome = Outcome::invalid;
    if (!site && !has_errors(loaded.diagnostics)) output.diagnostics.push_back(error(code::unknown_reference, "this document is no site"));
    return output;
  }
  output.site = {site->metadata.name, loaded.sha256};
  const auto refuse = [&](Diagnostic why) {
    output.outcome = Outcome::invalid;
    output.diagnostics.push_back(std::move(why));
    return std::move(output);
  };
  auto selected = select_nodes(*site, options.selection);
  if (!selected) return refuse(std::move(selected).error());
  auto choice = CriteriaChoice::make(*site, options.criteria, env, output.sources);
  if (!choice) return refuse(std::move(choice).error());
  auto store = store::Store::open(env.state_dir, site->metadata.name);
  if (!store) return refuse(std::move(store).error());
  if (!options.run.empty())
    if (auto run = (*store)->run(options.run); !run) return refuse(std::move(run).error());

  JudgeResult result;
  std::vector<Kept> kept;
  result.nodes.resize(selected->size());
  kept.resize(selected->size());
  for (std::size_t i = 0; i < selected->size(); ++i) {
    const manifest::Node& declared = *(*selected)[i];
    RejudgedNode& node = result.nodes[i];
    node.name = declared.name;
    node.rack = declared.rack;
    node.tranche = declared.tranche;
    node.profile = declared.profile;
    auto record = (*store)->node_record(options.run, site->metadata.name, declared.name, "validate");
    if (!record) return refuse(std::move(record).error());
    if (!*record) node.why_not = options.run.empty() ? "it was never tested" : "it was not tested in that run";
    else node.why_not = read_record(**record, node, kept[i]);
    if (node.why_not.empty() && !site->find_profile(node.profile)) node.why_not = "it has no profile", node.measured_at.reset();
  }
  validation::Fleet fleet;
  for (const auto& node : result.nodes)
    if (node.measured_at) fleet.add({node.name, node.rack, node.tranche, node.profile}, node.report, node.device);
  for (std::size_t i = 0; i < result.nodes.size(); ++i) {
    RejudgedNode& node = result.nodes[i];
    if (!node.measured_at) continue;
    const auto& profile = *site->find_profile(node.profile);
    judge_again(node, kept[i], profile, choice->of(profile).get(), fleet);
  }
  result.fleet = fleet.findings();
  for (RejudgedNode& node : result.nodes)
    if (node.measured_at) validation::take_dissents(result.fleet.dissents, node.name, node.judgement);

  std::unique_ptr<Recorder> recorder;
  if (!options.dry_run) {
    auto begun = Recorder::begin(env, "judge", output.site);
    if (!begun) return refuse(std::move(begun).error());
    recorder = std::move(*begun);
    for (std::size_t i = 0; i < result.nodes.size(); ++i)
      if (result.nodes[i].measured_at) recorder->put(findings_again(env, result.nodes[i], kept[i], choice->is_own(*site->find_profile(result.nodes[i].profile))));
    result.kept = true;
  }

  bool incomplete = false, no = false;
  std::vector<std::string> without;
  for (const auto& node : result.nodes) {
    if (!node.measured_at) without.push_back(node.name);
    incomplete = incomplete || !node.measured_at || node.judgement.verdict == Verdict::not_judged;
    no = no || (node.measured_at && (node.judgement.verdict == Verdict::fail || node.judgement.verdict == Verdict::degraded));
  }
  if (!without.empty()) {
    auto why = make_diagnostic(code::no_report_kept, fmt::format("{} cannot be judged again", plural(static_cast<long long>(without.size()), "node")));
    if (without.size() == 1) why.node = without.front();
    output.diagnostics.push_back(std::move(why));
  }
  output.outcome = overall(env, incomplete, no);
  output.data = to_json(result);
  const auto shown = std::make_shared<JudgeResult>(std::move(result));
  output.render = [shown](term::Writer& out) { render(*shown, out); };
  if (recorder) recorder->finish(output);
  return output;
}

}  // namespace kfab::commands
