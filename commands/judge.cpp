#include "commands/judge.hpp"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <variant>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/codes/store.hpp"
#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "commands/criteria_checks.hpp"
#include "commands/kept_records.hpp"
#include "commands/recorder.hpp"
#include "commands/site_session.hpp"
#include "commands/test_records.hpp"
#include "manifest/criteria_choice.hpp"
#include "manifest/load.hpp"

namespace kfab::commands {
namespace {

using CriteriaPtr = std::shared_ptr<const manifest::CriteriaSet>;

// By what the nodes of each profile are judged. One for all where the command line names one.
class CriteriaChoice {
 public:
  static std::variant<CriteriaChoice, Diagnostics> make(const manifest::Site& site, const std::string& wanted, Env& env, std::vector<manifest::SourceText>& sources) {
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
    const auto kind = std::filesystem::status(wanted, ignored).type();
    if (kind == std::filesystem::file_type::directory)
      return Diagnostics{error(code::file_unreadable, fmt::format("--criteria {} is a directory: name a file with criteria", one_line(wanted, 120)))};
    if (kind == std::filesystem::file_type::not_found || kind == std::filesystem::file_type::none) {
      Words known;
      for (const auto& one : manifest::built_ins())
        if (one.kind == "Criteria") known.emplace_back(one.name);
      for (const auto& [name, set] : site.criteria) known.push_back(name);
      auto problem = error(code::unknown_reference, fmt::format("there is no file and no criteria set '{}'", one_line(wanted, 80)));
      problem.suggestions = nearest(wanted, known);
      return Diagnostics{std::move(problem)};
    }
    auto loaded = load_manifest(wanted, env);
    sources.insert(sources.end(), loaded.sources.begin(), loaded.sources.end());
    if (has_errors(loaded.diagnostics)) return std::move(loaded.diagnostics);   // each of them, as lint does
    auto* set = std::get_if<manifest::CriteriaSet>(&loaded.document);
    if (!set) return Diagnostics{error(code::unknown_reference, fmt::format("{} holds no criteria", one_line(wanted, 120)))};
    if (auto wrong = criteria_errors(loaded); !wrong.empty()) return wrong;
    out.all_ = std::make_shared<const manifest::CriteriaSet>(std::move(*set));
    return out;
  }

  CriteriaPtr of(const manifest::Profile& profile) const {
    return all_ ? all_ : manifest::criteria_of(site_->criteria, profile);
  }
  // Whether it is by these that the manifest judges the profile. Verdicts by others say what would be, and take no evidence's place.
  bool is_own(const manifest::Profile& profile) const {
    if (!all_) return true;
    const auto own = manifest::criteria_of(site_->criteria, profile);
    return own && own->sha256 == all_->sha256;
  }

 private:
  using Words = std::vector<std::string>;
  explicit CriteriaChoice(const manifest::Site& site) : site_(&site) {}
  const manifest::Site* site_;
  CriteriaPtr all_;
};

constexpr std::size_t nodes_at_once = 32;            // that are kept in one transaction
constexpr std::size_t most_accelerators = 1024, most_reasons = 12;

// What the store holds of a node's tests.
struct Kept {
  store::NodeRecord record;
  validation::TestReport report;
  std::vector<std::string> families;
  std::vector<std::pair<std::string, Verdict>> accelerators_were;
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

// Nothing for a record that cannot be judged, because it was kept without the report.
std::optional<Kept> read_record(store::NodeRecord record) {
  if (!record.detail["report"].is_array()) return std::nullopt;
  Kept kept;
  validation::ReportReader reader;
  for (const auto& message : record.detail.array_at("report")) reader.take(message);
  kept.report = reader.finish();
  kept.report.truncated = record.detail.bool_or("report_truncated", kept.report.truncated);
  for (const auto& one : record.detail.array_at("verdicts"))
    if (kept.accelerators_were.size() < most_accelerators)
      kept.accelerators_were.emplace_back(one_line(one.string_or("id"), 128), parse_verdict(one.string_or("verdict")).value_or(Verdict::not_judged));
  kept.families = words_of(record.detail["families"]);
  kept.cut = one_line(record.detail["cut"].string_or("why"), 400);
  kept.cut_fails = record.detail["cut"].bool_or("fails", false);
  kept.profile_sha256 = one_line(record.detail.string_or("profile_sha256"), 64);
  kept.record = std::move(record);
  return kept;
}

// What was known of the node before it is judged again.
void describe(RejudgedNode& node, const Kept& kept) {
  const auto& detail = kept.record.detail;
  node.device = one_line(detail.string_or("device"), 20);
  node.level = one_line(detail.string_or("level"), 40);
  node.was_criteria = one_line(detail.string_or("criteria"), 120);
  node.was = kept.record.verdict;
  node.measured_at = kept.record.at;
  node.record_run = kept.record.run_id;
  node.evidence_run = detail["judged_again"].is_object() ? one_line(detail["judged_again"].string_or("evidence_run"), 60) : kept.record.run_id;
}

validation::NodeJudgement judge_again(const RejudgedNode& node, const Kept& kept, const manifest::Profile& profile, const manifest::CriteriaSet* set,
                                      const validation::Fleet& fleet) {
  validation::JudgeInput input;
  input.profile = &profile;
  input.criteria = set;
  input.families = kept.families;
  input.device = node.device;
  const auto peers = fleet.peers_of(node.profile, kept.report, node.level);
  input.peers_by_model = &peers;
  auto judgement = validation::judge(input, kept.report);
  hold_to_cut(judgement, kept.report, kept.cut, kept.cut_fails);
  validation::take_dissents(fleet.dissents_of(node.name), node.name, judgement);
  return judgement;
}

// Of criteria that a whole site misses each reason would be there 260,000 times; every one of them is kept in the store.
std::vector<std::string> first_of(const std::vector<std::string>& reasons) {
  std::vector<std::string> out(reasons.begin(), reasons.begin() + static_cast<std::ptrdiff_t>(std::min(reasons.size(), most_reasons)));
  if (reasons.size() > most_reasons) out.push_back(fmt::format("and {} more", reasons.size() - most_reasons));
  return out;
}

// What is told of it at the end.
void take(RejudgedNode& node, const Kept& kept, const validation::NodeJudgement& judgement) {
  node.verdict = judgement.verdict;
  node.reasons = first_of(judgement.reasons);
  for (const auto& a : judgement.accelerators) {
    const auto was = std::find_if(kept.accelerators_were.begin(), kept.accelerators_were.end(), [&](const auto& known) { return known.first == a.id; });
    node.accelerators.push_back({a.id, a.model, a.index, was == kept.accelerators_were.end() ? Verdict::not_judged : was->second, a.verdict, first_of(a.reasons)});
  }
}

// `own`: judged by the criteria that the manifest gives the profile.
void add_findings(store::Findings& found, const Env& env, const RejudgedNode& node, Kept kept, const validation::NodeJudgement& judgement, bool own) {
  const RecordKey key{env.run_id, node.name, kept.record.at};   // the evidence is no younger for being judged again
  store::Findings one;
  for (const auto& accelerator : judgement.accelerators)
    if (own) one.accelerators.push_back(record_of(key, {level_of(node.level, kept.families), node.criteria, node.criteria_sha256, kept.profile_sha256}, accelerator));
  for (const auto& criterion : judgement.criteria) one.measurements.push_back(record_of(key, criterion));
  add_other_figures(one, key, kept.report);

  store::NodeRecord record = std::move(kept.record);
  record.run_id = env.run_id;
  record.verdict = judgement.verdict;
  record.reason = one_line(judgement.reason(), 400);
  // Everything that was kept stays; what is new is who judged, by what.
  json::Object detail = record.detail.as_object() ? *record.detail.as_object() : json::Object();
  detail.set("criteria", node.criteria).set("criteria_sha256", node.criteria_sha256);
  detail.set("judged_again", json::Object{{"evidence_run", node.evidence_run}, {"judged_at", to_rfc3339(env.clock.now())}, {"criteria", node.criteria},
                                          {"criteria_sha256", node.criteria_sha256}, {"was", to_string(node.was)}, {"was_criteria", node.was_criteria}});
  json::Array verdicts;
  for (const auto& accelerator : judgement.accelerators) verdicts.push_back(json::Object{{"id", accelerator.id}, {"verdict", to_string(accelerator.verdict)}});
  detail.set("verdicts", std::move(verdicts));
  record.detail = std::move(detail);
  found.nodes.push_back(std::move(record));
  if (!own) found.nodes.back().step = "judged";   // as a step of its own it stands beside the verdict by the manifest's criteria
  std::move(one.accelerators.begin(), one.accelerators.end(), std::back_inserter(found.accelerators));
  std::move(one.measurements.begin(), one.measurements.end(), std::back_inserter(found.measurements));
}

// Reads the records of all nodes twice, one node at a time: first for the figures that are compared over the fleet, then to judge.
// The reports of a whole site would not fit into memory.
class Rejudging {
 public:
  Rejudging(const manifest::Site& site, const JudgeOptions& options, Env& env, const store::Store& store) : site_(site), options_(options), env_(env), store_(store) {}

  Status look_at(const std::vector<const manifest::Node*>& selected) {
    result.nodes.reserve(selected.size());
    for (const manifest::Node* declared : selected) {
      RejudgedNode& node = result.nodes.emplace_back();
      node.name = declared->name;
      node.rack = declared->rack;
      node.tranche = declared->tranche;
      node.profile = declared->profile;
      KFAB_TRY(record, store_.node_record(options_.run, site_.metadata.name, node.name, "validate"));
      if (!record) {
        node.why_not = options_.run.empty() ? "it was never tested" : "it was not tested in that run";
      } else if (!site_.find_profile(node.profile)) {
        node.why_not = "it has no profile";
      } else if (const auto kept = read_record(std::move(*record))) {
        describe(node, *kept);
        fleet_.add({node.name, node.rack, node.tranche, node.profile, node.level}, kept->report, node.device);
      } else {
        node.why_not = "its last test was kept by an older kfab, without the report";
      }
    }
    result.fleet = fleet_.findings();
    return ok();
  }

  // With a recorder the verdicts are kept.
  Status judge_all(const CriteriaChoice& criteria, Recorder* recorder) {
    store::Findings found;
    for (RejudgedNode& node : result.nodes) {
      if (!node.measured_at) continue;
      KFAB_TRY(record, store_.node_record(node.record_run, site_.metadata.name, node.name, "validate"));
      auto kept = record ? read_record(std::move(*record)) : std::nullopt;
      if (!kept) return error(code::store_failed, fmt::format("the record of {} in run {} is not there any more", node.name, node.record_run));
      const auto& profile = *site_.find_profile(node.profile);
      const CriteriaPtr set = criteria.of(profile);
      node.criteria = criteria_name(set.get());
      node.criteria_sha256 = set ? set->sha256 : std::string();
      const auto judgement = judge_again(node, *kept, profile, set.get(), fleet_);
      take(node, *kept, judgement);
      if (recorder == nullptr) continue;
      add_findings(found, env_, node, std::move(*kept), judgement, criteria.is_own(profile));
      if (found.nodes.size() < nodes_at_once) continue;
      recorder->put(found);
      found = {};
    }
    if (!found.nodes.empty()) recorder->put(found);
    result.kept = recorder != nullptr;
    return ok();
  }

  JudgeResult result;

 private:
  const manifest::Site& site_;
  const JudgeOptions& options_;
  Env& env_;
  const store::Store& store_;
  validation::Fleet fleet_;
};

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
  const auto refuse_all = [&](Diagnostics whys) {
    output.outcome = Outcome::invalid;
    std::move(whys.begin(), whys.end(), std::back_inserter(output.diagnostics));
    return std::move(output);
  };
  const auto refuse = [&](Diagnostic why) { return refuse_all({std::move(why)}); };
  const bool by_own = options.criteria.empty() || site->criteria.contains(options.criteria);
  if (auto wrong = criteria_errors(loaded); by_own && !wrong.empty()) return refuse_all(std::move(wrong));
  auto selected = select_nodes(*site, options.selection);
  if (!selected) {
    const auto texts = sources_of(options.selection);
    output.sources.insert(output.sources.end(), texts.begin(), texts.end());
    return refuse(std::move(selected).error());
  }
  auto chosen = CriteriaChoice::make(*site, options.criteria, env, output.sources);
  if (auto* wrong = std::get_if<Diagnostics>(&chosen)) return refuse_all(std::move(*wrong));
  const auto& choice = std::get<CriteriaChoice>(chosen);
  auto store = open_records(env, site->metadata.name);
  if (!store) return refuse(std::move(store).error());
  if (!options.run.empty())
    if (auto run = (*store)->run(options.run); !run) return refuse(std::move(run).error());

  Rejudging work(*site, options, env, **store);
  if (auto read = work.look_at(*selected); !read) return refuse(std::move(read).error());
  std::unique_ptr<Recorder> recorder;
  if (!options.dry_run) {
    auto begun = Recorder::begin(env, "judge", output.site);
    if (!begun) return refuse(std::move(begun).error());
    recorder = std::move(*begun);
  }
  if (auto judged = work.judge_all(choice, recorder.get()); !judged) {
    output.outcome = Outcome::incomplete;
    output.diagnostics.push_back(std::move(judged).error());
    if (recorder) recorder->finish(output);
    return output;
  }
  JudgeResult result = std::move(work.result);

  bool incomplete = false, no = false;
  std::vector<std::string> without;
  for (const auto& node : result.nodes) {
    if (!node.measured_at) without.push_back(node.name);
    incomplete = incomplete || !node.measured_at || node.verdict == Verdict::not_judged;
    no = no || (node.measured_at && (node.verdict == Verdict::fail || node.verdict == Verdict::degraded));
  }
  if (!without.empty()) {
    auto why = make_diagnostic(code::no_report_kept, fmt::format("{} cannot be judged again", plural(static_cast<long long>(without.size()), "node")));
    if (without.size() == 1) why.node = without.front();
    output.diagnostics.push_back(std::move(why));
  }
  output.outcome = overall(env, incomplete, no);
  const auto shown = std::make_shared<const JudgeResult>(std::move(result));
  output.make_data = [shown] { return to_json(*shown); };
  output.render = [shown](term::Writer& out) { render(*shown, out); };
  if (recorder) recorder->finish(output);
  return output;
}

}  // namespace kfab::commands
