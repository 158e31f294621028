#include "readiness/node_states.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/codes/readiness.hpp"
#include "base/codes/reboot.hpp"
#include "base/codes/validation.hpp"
#include "base/fact_names.hpp"
#include "base/text.hpp"
#include "manifest/criteria_choice.hpp"
#include "readiness/node_links.hpp"
#include "readiness/tested_level.hpp"

namespace kfab::readiness {
namespace {

using std::chrono::days;
using std::chrono::hours;

// Clocks of nodes and control hosts differ; what lies further ahead than this is no evidence of today.
constexpr auto clock_tolerance = hours(1);

bool has_expectations(const manifest::Profile& profile) {
  const auto* object = profile.expect.as_object();
  return object && !object->empty();
}

bool expects_unknown_fact(const manifest::Profile& profile) {
  const auto* object = profile.expect.as_object();
  return object && std::any_of(object->members().begin(), object->members().end(), [](const auto& row) { return !is_fact_name(row.first); });
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    if (std::isalnum(static_cast<unsigned char>(c))) words.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!words.back().empty()) words.emplace_back();
  }
  return words;
}

// "NVIDIA H100 80GB HBM3" is an "H100 SXM": the first word of the profile's name with a digit must be a word of the
// model. A GB200 is no B200. Nothing to compare is no contradiction.
bool model_fits(const manifest::Profile& profile, std::string_view model) {
  if (profile.vendor == "cpu" || model.empty()) return true;
  const auto wanted = words_of(profile.accelerator);
  const auto key = std::find_if(wanted.begin(), wanted.end(), [](const std::string& word) {
    return std::any_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c); });
  });
  if (key == wanted.end()) return true;
  const auto found = words_of(model);
  return std::find(found.begin(), found.end(), *key) != found.end();
}

std::string why(const store::NodeRecord& record, std::string_view otherwise) {
  return record.reason.empty() ? std::string(otherwise) : one_line(record.reason);
}

// Collects the answer; each `stop` is the end of the chain of steps.
class Judge {
 public:
  Judge(const manifest::Node& node, const NodeRules& rules, const NodeEvidence* evidence, const Context& context, const SeenElsewhere* elsewhere)
      : node_(node), rules_(rules), evidence_(evidence), context_(context), elsewhere_(elsewhere) {
    status_.name = node.name;
    status_.group = node.group;
    status_.profile = node.profile;
    status_.rack = node.rack;
    status_.slot = node.slot;
    status_.tranche = node.tranche;
    status_.accelerators = accelerators_of(rules.profile);
  }

  NodeStatus run() {
    if (evidence_ && evidence_->newest) status_.evidence_at = evidence_->newest->at;
    if (reached() && same_board() && inventoried() && provisioned() && validated()) {
      status_.state = NodeState::accepted;
      status_.verdict = Verdict::pass;
      status_.reason.clear();
      status_.links = links();
    } else if (status_.reached && status_.state != NodeState::failed && status_.state != NodeState::revoked) {
      tell_failure();
    }
    return std::move(status_);
  }

 private:
  bool failed(Code code, std::string reason, Verdict verdict = Verdict::fail) {
    status_.state = NodeState::failed;
    status_.verdict = verdict;
    return say(code, std::move(reason));
  }
  bool revoked(Code code, std::string reason) {
    status_.state = NodeState::revoked;
    return say(code, std::move(reason));
  }
  bool unknown(std::string reason, Code code = code::evidence_missing) { return say(code, std::move(reason)); }
  bool say(Code code, std::string reason) {
    status_.code = code;
    status_.reason = std::move(reason);
    return false;
  }

  // Verdict and outcome of a step that must have passed.
  bool passed(const store::NodeRecord& record, Code code, std::string_view step) {
    const bool ok = record.outcome == NodeOutcome::ok;
    if (ok && record.verdict == Verdict::pass) return true;
    const std::string reason = fmt::format("{}: {}", step, why(record, ok ? to_string(record.verdict) : to_string(record.outcome)));
    if (record.verdict == Verdict::fail || record.verdict == Verdict::degraded) return failed(code, reason, record.verdict);
    // A step that was cut off says nothing about the node; one that is said to have failed and passed is not believed.
    return record.verdict == Verdict::not_judged || record.outcome != NodeOutcome::failed ? unknown(reason) : failed(code, reason);
  }

  bool reached() {
    if (!evidence_ || !evidence_->newest) return unknown("nothing has been run on it");
    const auto& newest = *evidence_->newest;
    const bool spoke = newest.outcome == NodeOutcome::ok || newest.outcome == NodeOutcome::failed;
    if (!spoke) return unknown(fmt::format("{}: {}", to_string(newest.outcome), why(newest, "no more is known")), code::node_not_reached);
    status_.reached = true;
    status_.state = NodeState::reachable;
    return true;
  }

  bool same_board() {
    std::string_view first;
    for (const auto* record : {evidence_->inventory, evidence_->provision, evidence_->validate, evidence_->newest}) {
      if (!record || record->board_serial.empty()) continue;
      if (first.empty()) first = record->board_serial;
      if (first != record->board_serial && !node_.identity_by_name)
        return revoked(code::acceptance_revoked, fmt::format("its steps were done on two boards, {} and {}",
                                                             one_line(first, 60), one_line(record->board_serial, 60)));
    }
    if (!node_.serial.empty() && !first.empty() && first != node_.serial && !node_.identity_by_name)
      return failed(code::hardware_differs, fmt::format("reports board serial {}, the manifest says {}", one_line(first, 60),
                                                        one_line(node_.serial, 60)));
    return true;
  }

  bool inventoried() {
    if (!rules_.profile) return unknown(node_.profile.empty() ? "the manifest gives it no profile"
                                                              : fmt::format("its profile {} is not defined", one_line(node_.profile, 60)));
    const auto* record = evidence_->inventory;
    if (!record) return unknown("no inventory was taken");
    // Where a profile expects nothing, having taken the facts is all there is to do.
    const bool nothing_asked = record->outcome == NodeOutcome::ok && record->verdict == Verdict::not_judged && !has_expectations(*rules_.profile);
    if (!nothing_asked && !passed(*record, code::hardware_differs, "inventory")) {
      // No further inventory tells a fact that there is not: the manifest is what must change.
      const bool open = status_.code == code::evidence_missing && record->outcome == NodeOutcome::ok;
      if (open && expects_unknown_fact(*rules_.profile)) status_.code = code::unknown_fact;
      return false;
    }
    status_.state = NodeState::inventoried;
    return true;
  }

  static bool waits_for_reboot(const store::NodeRecord& record) {
    return record.detail.string_or("code") == to_string(code::reboot_awaited) || record.detail.bool_or("reboot_required", false);
  }

  bool provisioned() {
    if (!rules_.profile->roles.empty()) {
      const auto* record = evidence_->provision;
      if (!record) return unknown("it was never provisioned");
      if (!passed(*record, code::node_not_provisioned, "provision")) {
        // Nothing is missing but a boot, and what comes after it.
        if (status_.code == code::evidence_missing && record->outcome == NodeOutcome::ok && waits_for_reboot(*record)) status_.code = code::reboot_awaited;
        return false;
      }
      const auto wanted = context_.desired_sha256.find(node_.name);
      // Records of a kfab that kept one digest alone hold it for both; where no secret stands in the state they are the same.
      const std::string was = record->detail.string_or("declared_sha256", record->detail.string_or("desired_sha256"));
      if (wanted != context_.desired_sha256.end() && was != wanted->second)
        return revoked(code::acceptance_revoked, "it was provisioned for another desired state than the manifest's of today");
    }
    status_.state = NodeState::provisioned;
    status_.provisioned = true;
    return true;
  }

  bool current(const store::AcceleratorRecord& record) const {
    return rules_.criteria && !record.criteria_sha256.empty() && record.criteria_sha256 == rules_.criteria->sha256 &&
           !record.profile_sha256.empty() && record.profile_sha256 == rules_.profile->sha256;
  }

  struct Device {
    const store::AcceleratorRecord* newest = nullptr;
    const store::AcceleratorRecord* passed = nullptr;   // newest pass at the level that the tranche asks for
    const store::AcceleratorRecord* bad = nullptr;      // a failure that nothing has made good
    std::vector<const store::AcceleratorRecord*> records;
  };

  // Whether a later pass takes back an earlier failure: it must have tested at least the same. A single family answers
  // for itself only, a shorter level never for a longer one, and tests that were cut short for nothing.
  bool makes_good(const store::AcceleratorRecord& pass, const store::AcceleratorRecord& failure) const {
    if (pass.verdict != Verdict::pass || !current(pass) || pass.at <= failure.at) return false;
    const TestedLevel later = tested_level(pass.level);
    TestedLevel earlier = tested_level(failure.level);
    if (earlier.rank < 0 && later.rank >= 0) earlier.rank = std::max(rank_of(rules_.level), 0);   // it is not told how long it was
    return covers(later, earlier);
  }

  // A pass holds until the same was tried again and came to no verdict.
  static void drop_doubted_pass(Device& device) {
    if (!device.passed) return;
    for (const auto* record : device.records)
      if (record->verdict == Verdict::not_judged && record->level == device.passed->level && record->at > device.passed->at) {
        device.passed = nullptr;
        return;
      }
  }

  void find_bad(Device& device) const {
    for (const auto* record : device.records) {
      if (record->verdict != Verdict::fail && record->verdict != Verdict::degraded) continue;
      const bool good_again = std::any_of(device.records.begin(), device.records.end(),
                                          [&](const auto* later) { return makes_good(*later, *record); });
      if (good_again) continue;
      if (!device.bad || (device.bad->verdict == Verdict::degraded && record->verdict == Verdict::fail)) device.bad = record;
    }
  }

  // Accelerators of the profile's own device, at most as many as it must have, newest first: what was taken out of the
  // node is in the evidence as well, but was not tested again.
  std::vector<Device> devices() {
    std::vector<Device> found;
    std::unordered_map<std::string_view, std::size_t> place;
    for (const auto* record : evidence_->accelerators) {
      if (record->device != device_of(*rules_.profile)) { ++foreign_; continue; }
      if (elsewhere_ && elsewhere_->contains(record->id)) { moved_ = elsewhere_->find(record->id); continue; }
      if (!model_fits(*rules_.profile, record->model)) { ++foreign_; foreign_model_ = record->model; continue; }
      const auto [at, fresh] = place.try_emplace(record->id, found.size());
      if (fresh) found.emplace_back();
      Device& device = found[at->second];
      device.records.push_back(record);
      if (!device.newest || device.newest->at <= record->at) device.newest = record;
      if (record->verdict == Verdict::pass && current(*record) && level_reached(record->level, rules_.level) &&
          (!device.passed || device.passed->at <= record->at))
        device.passed = record;
    }
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(status_.accelerators, 0));
    if (wanted > 0 && found.size() > wanted) {
      std::stable_sort(found.begin(), found.end(), [](const Device& a, const Device& b) { return a.newest->at > b.newest->at; });
      found.resize(wanted);
    }
    for (Device& device : found) {
      drop_doubted_pass(device);
      find_bad(device);
    }
    return found;
  }

  bool validated() {
    if (found_valid()) return true;
    // What is missing may be at work: to test anew would only be refused by the node.
    const auto left = context_.tests_left.find(node_.name);
    if (left == context_.tests_left.end() || (status_.code != code::evidence_missing && status_.code != code::tests_cut_short && status_.code != code::evidence_stale)) return false;
    return unknown(fmt::format("the tests that the run {} left to it are not fetched", left->second), code::tests_not_fetched);
  }

  bool found_valid() {
    const auto& profile = *rules_.profile;
    if (status_.accelerators == 0) return unknown(fmt::format("profile {} does not say how many accelerators a node has", profile.name));
    if (!rules_.criteria) return unknown(fmt::format("profile {} names no criteria that are defined", profile.name));
    const auto found = devices();
    std::optional<Timestamp> oldest;
    bool cut_short = static_cast<std::int64_t>(found.size()) >= status_.accelerators;   // all that is missing is the rest of the tests
    const store::AcceleratorRecord *bad = nullptr, *outdated = nullptr, *open = nullptr;
    for (const Device& device : found) {
      const auto& last = *device.newest;
      if (device.bad) {
        ++status_.accelerators_failed;
        if (!bad || (bad->verdict == Verdict::degraded && device.bad->verdict == Verdict::fail)) bad = device.bad;
      } else if (device.passed) {
        ++status_.accelerators_validated;
        oldest = oldest ? std::min(*oldest, device.passed->at) : device.passed->at;
      } else if (last.verdict == Verdict::pass && !current(last)) {
        outdated = &last;
      } else {
        open = &last;
        cut_short = cut_short && passed_cut_short(device);
      }
    }
    if (bad) return failed(code::node_failed_validation, words_about(*bad), bad->verdict);
    const auto* record = evidence_->validate;
    if (record && !passed(*record, code::node_failed_validation, "validate")) return false;
    if (outdated) return revoked(code::acceptance_revoked, fmt::format("it passed under {}, which has changed since, or its profile has",
                                                                       outdated->criteria.empty() ? "unnamed criteria" : one_line(outdated->criteria, 60)));
    if (status_.accelerators_validated < status_.accelerators) {
      const bool only_moved = open == nullptr && moved_.has_value();   // to test the node once more would only take the accelerator from the other one
      return unknown(missing_verdicts(open, profile), cut_short ? code::tests_cut_short : only_moved ? code::accelerator_elsewhere : code::evidence_missing);
    }
    if (!record) return unknown("its accelerators passed, but the node itself has no verdict");
    return fresh(std::min(*oldest, record->at));
  }

  // Whether the same tests, run to their end, would have been enough.
  bool passed_cut_short(const Device& device) const {
    return device.newest->verdict == Verdict::pass && current(*device.newest) && rank_if_whole(device.newest->level) >= std::max(rank_of(rules_.level), 0);
  }

  // A step that is missing does not hide what the tests have found, however their run ended: that stands first, and the step after it.
  void tell_failure() {
    if (!rules_.profile) return;
    const std::string step = std::exchange(status_.reason, {});
    const Code code = status_.code;
    if (tests_failed()) {
      if (!step.empty()) status_.reason += fmt::format("; besides, {}", step);
      return;
    }
    // Nor why they could not be judged: whoever takes the missing step would hear it only after that.
    const auto* record = evidence_->validate;
    const std::string open = record && record->verdict == Verdict::not_judged ? fmt::format("validate: {}", why(*record, to_string(record->outcome))) : std::string();
    const bool told = open.empty() || step.empty() || step.find(open) != std::string::npos;
    say(code, told ? step : fmt::format("{}; besides, {}", step, open));
  }

  bool tests_failed() {
    const store::AcceleratorRecord* bad = nullptr;
    status_.accelerators_failed = 0;
    for (const Device& device : devices()) {
      if (!device.bad) continue;
      ++status_.accelerators_failed;
      if (!bad || (bad->verdict == Verdict::degraded && device.bad->verdict == Verdict::fail)) bad = device.bad;
    }
    const auto* record = evidence_->validate;
    if (bad) failed(code::node_failed_validation, words_about(*bad), bad->verdict);
    else if (record && (record->verdict == Verdict::fail || record->verdict == Verdict::degraded)) passed(*record, code::node_failed_validation, "validate");
    return status_.state == NodeState::failed;
  }

  static std::string words_about(const store::AcceleratorRecord& bad) {
    return fmt::format("{} {}: {}", bad.device == "cpu" ? "processor" : "accelerator", one_line(bad.id, 60),
                       bad.reason.empty() ? "does not meet its criteria" : one_line(bad.reason));
  }

  std::string missing_verdicts(const store::AcceleratorRecord* open, const manifest::Profile& profile) const {
    const std::string count = fmt::format("{} of {} {} accelerators have passed at level {}", status_.accelerators_validated,
                                          status_.accelerators, device_of(profile), rules_.level.empty() ? "quick" : rules_.level);
    if (open && !open->reason.empty()) return fmt::format("{}: {}", count, one_line(open->reason));
    if (open && !tested_level(open->level).families.empty()) return fmt::format("{}: only {} was tested", count, one_line(open->level, 60));
    if (open && rank_of(open->level) < std::max(rank_of(rules_.level), 0)) return fmt::format("{}: tested at level {}", count, one_line(open->level, 40));
    if (moved_) return fmt::format("{}: {} was seen on {} since", count, one_line((*moved_)->first, 60), one_line((*moved_)->second, 60));
    if (!foreign_model_.empty()) return fmt::format("{}: it reports {}, the profile says {}", count, one_line(foreign_model_, 60), one_line(profile.accelerator, 60));
    if (foreign_ > 0) return count + ": verdicts on other devices do not count";
    if (device_of(profile) == "vendor") return fmt::format("{}: kfab has no test of its own for {}", count, profile.vendor);
    return count;
  }

  NodeLinks links() {
    NodeLinks worst;
    for (const Device& device : devices()) {
      NodeLinks one = judge_links(*rules_.profile, *evidence_, device.newest->id);
      if (one.state == NodeLinks::State::broken) return one;
      if (worst.state == NodeLinks::State::not_asked || one.state == NodeLinks::State::unknown) worst = std::move(one);
    }
    return worst;
  }

  bool fresh(Timestamp at) {
    if (at > context_.now + clock_tolerance)
      return revoked(code::evidence_stale, fmt::format("its evidence is dated {}, which has not come yet: look at the clocks", to_rfc3339(at)));
    if (rules_.evidence_max_age_days && context_.now - at > days(*rules_.evidence_max_age_days))
      return stale(at);
    status_.state = NodeState::validated;
    status_.validated = true;
    return true;
  }

  bool stale(Timestamp at) {
    const auto age = std::chrono::floor<days>(context_.now - at).count();
    return revoked(code::evidence_stale, fmt::format("its evidence is {} days old, {} are allowed", age, *rules_.evidence_max_age_days));
  }

  const manifest::Node& node_;
  const NodeRules& rules_;
  const NodeEvidence* evidence_;
  const Context& context_;
  const SeenElsewhere* elsewhere_;   // may be null
  NodeStatus status_;
  int foreign_ = 0;
  std::optional<SeenElsewhere::const_iterator> moved_;   // one of them
  std::string foreign_model_;
};

void mark_twin(NodeStatus& node, const std::string& other, std::string_view board_serial) {
  node.state = NodeState::failed;
  node.verdict = Verdict::fail;
  node.code = code::duplicate_identity;
  node.validated = false;
  node.reason = fmt::format("reports the same board serial {} as {}", one_line(board_serial, 60), other);
}

// By node, the accelerators in its evidence that another node has told of since, and which node: they were moved, or are
// those of one machine under two names, and count where they were seen last. Names of one machine that are declared as
// such are left out.
std::map<std::string_view, SeenElsewhere> moved_away(const manifest::Site& site, const EvidenceIndex& index) {
  struct Seen { const manifest::Node* node; Timestamp at; };
  std::unordered_map<std::string_view, Seen> last;
  std::map<std::string_view, SeenElsewhere> moved;
  for (const bool second_look : {false, true})
    for (const auto& node : site.nodes) {
      const NodeEvidence* evidence = node.identity_by_name ? nullptr : index.find(node.name);
      if (!evidence) continue;
      for (const auto* record : evidence->accelerators) {
        const auto [place, fresh] = last.try_emplace(record->id, Seen{&node, record->at});
        Seen& seen = place->second;
        if (second_look && seen.node != &node) moved[node.name].emplace(record->id, seen.node->name);
        if (!second_look && !fresh && record->at >= seen.at) seen = {&node, record->at};
      }
    }
  return moved;
}

}  // namespace

std::int64_t accelerators_of(const manifest::Profile* profile) {
  if (!profile) return 0;
  if (profile->per_node.known()) return *profile->per_node;
  return profile->vendor == "cpu" ? 1 : 0;
}

std::string_view device_of(const manifest::Profile& profile) {
  if (!profile.device.empty()) return profile.device;
  if (profile.vendor == "nvidia") return "cuda";
  return profile.vendor == "cpu" ? "cpu" : "vendor";
}

NodeStatus judge_node(const manifest::Node& node, const NodeRules& rules, const NodeEvidence* evidence, const Context& context,
                      const SeenElsewhere* elsewhere) {
  return Judge(node, rules, evidence, context, elsewhere).run();
}

std::vector<NodeStatus> judge_nodes(const manifest::Site& site, const EvidenceIndex& index, const Context& context) {
  std::map<std::pair<std::string_view, std::string_view>, NodeRules> rules;   // by tranche and profile
  const auto rules_of = [&](const manifest::Node& node) -> const NodeRules& {
    const auto [place, fresh] = rules.try_emplace({node.tranche, node.profile});
    if (fresh) {
      NodeRules& made = place->second;
      made.profile = site.find_profile(node.profile);
      // What is not the site's own lives as long as kfab (criteria_of), so that the pointer holds.
      if (made.profile) made.criteria = manifest::criteria_of(site.criteria, *made.profile).get();
      if (const auto* tranche = site.find_tranche(node.tranche)) {
        made.level = tranche->ready_when.level;
        made.evidence_max_age_days = tranche->ready_when.evidence_max_age_days;
      }
    }
    return place->second;
  };

  std::vector<NodeStatus> nodes;
  nodes.reserve(site.nodes.size());
  std::unordered_map<std::string_view, std::size_t> boards;
  const auto moved = moved_away(site, index);
  for (const auto& node : site.nodes) {
    const NodeEvidence* evidence = index.find(node.name);
    const auto elsewhere = moved.find(node.name);
    nodes.push_back(judge_node(node, rules_of(node), evidence, context, elsewhere == moved.end() ? nullptr : &elsewhere->second));
    if (!evidence || node.identity_by_name || !evidence->newest || evidence->newest->board_serial.empty()) continue;
    const auto [place, fresh] = boards.try_emplace(evidence->newest->board_serial, nodes.size() - 1);
    if (fresh) continue;
    mark_twin(nodes[place->second], nodes.back().name, place->first);
    mark_twin(nodes.back(), nodes[place->second].name, place->first);
  }
  return nodes;
}

Counts count_nodes(const std::vector<const NodeStatus*>& nodes) {
  Counts counts;
  for (const auto* node : nodes) {
    ++counts.declared;
    counts.reachable += node->reached;
    counts.provisioned += node->provisioned;
    counts.validated += node->validated;
    counts.accepted += node->state == NodeState::accepted;
    counts.failed += node->state == NodeState::failed;
  }
  counts.not_judged = counts.declared - counts.accepted - counts.failed;
  return counts;
}

Counts count_accelerators(const std::vector<const NodeStatus*>& nodes) {
  Counts counts;
  for (const auto* node : nodes) {
    counts.declared += node->accelerators;
    if (node->reached) counts.reachable += node->accelerators;
    if (node->provisioned) {
      counts.provisioned += node->accelerators;
      counts.validated += node->accelerators_validated;
    }
    if (node->state == NodeState::accepted) counts.accepted += node->accelerators;
    counts.failed += node->accelerators_failed;
  }
  counts.not_judged = counts.declared - counts.accepted - counts.failed;
  return counts;
}

}  // namespace kfab::readiness
