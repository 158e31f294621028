#include "readiness/gates.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "base/codes/readiness.hpp"
#include "base/text.hpp"
#include "nodeset/nodeset.hpp"
#include "readiness/blocks.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

// Parts of a whole that must be there: never rounded down, and 98 % of 100 is 98.
std::int64_t share_of(std::int64_t whole, double percent) {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(whole) * percent / 100 - 1e-9));
}

std::string_view unit(bool in_nodes) { return in_nodes ? "node" : "accelerator"; }

// One gate's answer; no value where the tranche does not have that gate, with the reason in `detail`.
struct Answer {
  std::optional<Verdict> verdict;
  std::string detail;
};
Answer not_required(std::string why) { return {std::nullopt, std::move(why)}; }

class Gates {
 public:
  Gates(const TrancheScope& scope, TrancheStatus& out) : scope_(scope), tranche_(scope.tranche), out_(out) {}

  void run() {
    read_targets();
    using Method = Answer (Gates::*)();
    struct Row { const char* id; Method judge; };
    static constexpr std::array rows{
        Row{"accepted", &Gates::accepted},       Row{"contiguous", &Gates::contiguous}, Row{"spares", &Gates::spares},
        Row{"power", &Gates::power},             Row{"fabric", &Gates::fabric},         Row{"facility", &Gates::facility},
        Row{"findings", &Gates::findings},       Row{"allocations", &Gates::allocations}, Row{"signatures", &Gates::signatures},
        Row{"fresh", &Gates::fresh},             Row{"deliveries", &Gates::deliveries}, Row{"depends_on", &Gates::depends_on},
    };
    for (const Row& row : rows) {
      Answer answer = (this->*row.judge)();
      if (answer.verdict) out_.gates.push_back({row.id, *answer.verdict, std::move(answer.detail)});
      else out_.not_required.push_back({row.id, std::move(answer.detail)});
    }
  }

 private:
  const NodeRefs& nodes_for(bool cumulative) const { return cumulative ? scope_.nodes_with_dependencies : scope_.nodes; }

  void read_targets() {
    for (const auto& target : tranche_.targets) {
      TargetStatus status;
      status.profile = target.profile;
      status.assumption = target.assumption;
      status.source = target.source.empty() ? target.accelerators.source : target.source;
      status.cumulative = target.cumulative;
      status.stated_unknown = target.accelerators.unknown() || target.nodes.unknown();
      const auto amount = scope_.plan.amount(target);
      status.accelerators = amount.accelerators;
      status.nodes = amount.nodes;
      status.in_nodes = !amount.accelerators && amount.nodes;
      status.spares_pct = target.spares_pct.get();
      const auto found = tally(nodes_for(target.cumulative), target.profile, status.in_nodes);
      status.accepted = found.accepted;
      if (const auto whole = status.in_nodes ? amount.nodes : amount.accelerators)
        status.required = share_of(*whole, tranche_.ready_when.accepted_pct);
      out_.targets.push_back(std::move(status));
    }
  }

  Answer accepted() {
    std::optional<Verdict> verdict;
    std::string detail;
    const auto add = [&](Verdict part, std::string text) {
      verdict = verdict ? worse(*verdict, part) : part;
      detail = join_sentences(detail, text);
    };
    bool stated = false;
    for (const auto& target : out_.targets) {
      if (!target.required) continue;
      stated = true;
      const auto found = tally(nodes_for(target.cumulative), target.profile, target.in_nodes);
      const auto whole = target.in_nodes ? *target.nodes : *target.accelerators;
      const auto undeclared = std::max<std::int64_t>(0, whole - found.all());
      const Verdict part = judge_count(found.accepted, found.undecided + undeclared, *target.required);
      add(part, count_sentence(found, *target.required, whole, undeclared, target.in_nodes, target.profile));
    }
    if (stated) return {verdict, detail};
    // No target: what is declared is what there is to accept.
    const auto found = tally(scope_.nodes, {}, true);
    const bool unknown = std::any_of(out_.targets.begin(), out_.targets.end(), [](const auto& target) { return target.stated_unknown; });
    const std::string why = unknown ? "how many accelerators it shall have, nobody has said" : "no target is stated";
    if (found.all() == 0) return {Verdict::not_judged, why + ", and no node is declared"};
    const auto required = share_of(found.all(), tranche_.ready_when.accepted_pct);
    return {judge_count(found.accepted, found.undecided, required),
            fmt::format("{}; held against the declared nodes: {}", why, count_sentence(found, required, found.all(), 0, true, {}))};
  }

  // "2,003 of the 16,347 accelerators of b200x8 that are needed (98 % of 16,680) are accepted; 8 failed, 13,669 ..."
  std::string count_sentence(const Tally& found, std::int64_t required, std::int64_t whole, std::int64_t undeclared, bool in_nodes,
                             std::string_view profile) const {
    std::string text = fmt::format("{} of {} {} accepted, {} needed ({} of {})", with_thousands(found.accepted), with_thousands(whole),
                                   std::string(unit(in_nodes)) + "s" + (profile.empty() ? "" : fmt::format(" of {}", profile)), with_thousands(required),
                                   percent_text(tranche_.ready_when.accepted_pct), with_thousands(whole));
    if (found.failed > 0) text += fmt::format(", {} in nodes that failed", with_thousands(found.failed));
    if (found.undecided > 0) text += fmt::format(", {} without a verdict", with_thousands(found.undecided));
    if (undeclared > 0) text += fmt::format(", {} in no declared node yet", with_thousands(undeclared));
    return text;
  }

  // Lengths of runs of neighbouring nodes that are accepted, or that may still be. Neighbours follow each other in the
  // manifest, within one fabric domain (within one group where none is named).
  std::vector<std::int64_t> runs(bool undecided_too) const {
    std::vector<std::int64_t> lengths;
    std::string_view domain;
    bool open = false;
    for (const auto* node : scope_.nodes) {
      const auto fabric = scope_.fabric_of_group.find(node->group);
      const std::string_view here = fabric == scope_.fabric_of_group.end() ? std::string_view(node->group) : fabric->second;
      const bool counts = node->state == NodeState::accepted || (undecided_too && node->state != NodeState::failed);
      if (counts && open && here == domain) ++lengths.back();
      else if (counts) lengths.push_back(1);
      open = counts;
      domain = here;
    }
    return lengths;
  }

  Answer contiguous() {
    const auto& sizes = tranche_.ready_when.contiguous;
    if (sizes.empty()) return not_required("no block sizes are stated");
    std::vector<std::int64_t> blocks(sizes.begin(), sizes.end());
    std::vector<std::string> words;
    for (const auto size : blocks) words.push_back(with_thousands(size));
    const auto now = runs(false);
    const std::int64_t longest = now.empty() ? 0 : *std::max_element(now.begin(), now.end());
    const std::string text = fmt::format("blocks of {} neighbouring accepted nodes; the longest unbroken run is {}", join(words, " + "), count_text(longest, "node"));
    if (const Packing found = pack(blocks, now); found != Packing::does_not_fit)
      return {found == Packing::fits ? Verdict::pass : Verdict::not_judged, found == Packing::fits ? text + ": all are there" : text + "; whether they fit side by side was too costly to decide"};
    std::int64_t wanted = 0;
    for (const auto size : blocks) wanted += size;
    const auto declared = static_cast<std::int64_t>(scope_.nodes.size());
    if (declared < wanted) return {Verdict::not_judged, fmt::format("{}; only {} of {} nodes are declared", text, with_thousands(declared), with_thousands(wanted))};
    if (pack(blocks, runs(true)) != Packing::does_not_fit) return {Verdict::not_judged, text + "; nodes without a verdict could still complete them"};
    return {Verdict::fail, text + "; nodes that failed break them"};
  }

  Answer spares() {
    std::optional<Verdict> verdict;
    std::string detail;
    for (const auto& target : out_.targets) {
      const auto whole = target.in_nodes ? target.nodes : target.accelerators;
      if (!target.spares_pct || !whole) continue;
      const auto needed = share_of(*whole, *target.spares_pct);
      const auto found = tally(nodes_for(target.cumulative), target.profile, target.in_nodes);
      const auto have = std::max<std::int64_t>(0, found.accepted - *whole);
      Verdict part = judge_count(found.accepted, found.undecided, *whole + needed);
      if (needed == 0) part = Verdict::pass;
      std::string text = fmt::format("{} of {} tested beyond the target of {} ({})", with_thousands(have), count_text(needed, std::string("spare ") + std::string(unit(target.in_nodes))),
                                     with_thousands(*whole), percent_text(*target.spares_pct));
      if (part == Verdict::fail && found.all() < *whole + needed) {
        part = Verdict::not_judged;
        text += fmt::format(", {} are in no declared node yet", with_thousands(*whole + needed - found.all()));
      }
      verdict = verdict ? worse(*verdict, part) : part;
      detail = join_sentences(detail, text);
    }
    if (!verdict) return not_required("no spares are stated");
    return {verdict, detail};
  }

  Answer power() {
    PowerInput input;
    input.power = &scope_.power;
    input.today = scope_.today;
    read_loads(input);
    read_measured(input);
    read_racks(input);
    auto finding = judge_power(input);
    out_.power = std::move(finding.status);
    if (!finding.applies && finding.verdict != Verdict::fail) return not_required("no power envelope is stated");
    return {finding.verdict, std::move(finding.detail)};
  }

  void read_loads(PowerInput& input) const {
    std::map<std::string, PowerLoad> loads;
    input.load_known = false;
    for (const auto* tranche : scope_.power_tranches) {
      bool sized = false;
      for (const auto& share : scope_.plan.shares(*tranche)) {
        if (!share.nodes && !share.accelerators) continue;
        sized = input.load_known = true;
        auto& load = loads[share.profile];
        load.profile = scope_.plan.profile(share.profile);
        load.profile_name = share.profile;
        load.nodes += share.nodes.value_or(0);
        load.nodes_known = load.nodes_known && share.nodes.has_value();
        if (!share.nodes) load.accelerators = load.accelerators.value_or(0) + *share.accelerators;
      }
      if (!sized && !covered_by_total(*tranche)) input.load_missing_of.push_back(tranche->name);
    }
    for (auto& [name, load] : loads) input.loads.push_back(load);
    if (!input.loads.empty()) {
      for (const auto& load : input.loads) input.profiles.push_back(load.profile);
    } else {
      for (const auto& target : tranche_.targets)
        if (const auto* profile = scope_.plan.profile(target.profile)) input.profiles.push_back(profile);
    }
    if (input.profiles.empty()) input.profiles = scope_.plan.all_profiles();
  }

  // A cumulative target of a later tranche covers those before it, whether their own share is stated or not.
  bool covered_by_total(const manifest::Tranche& earlier) const {
    const auto covers = [&](const manifest::Tranche* later) {
      const bool total = std::any_of(later->targets.begin(), later->targets.end(), [](const auto& target) {
        return target.cumulative && (target.accelerators.known() || target.nodes.known());
      });
      if (later == &earlier || !total) return false;
      const auto before = scope_.plan.with_dependencies(*later);
      return std::find(before.begin(), before.end(), &earlier) != before.end();
    };
    return std::any_of(scope_.power_tranches.begin(), scope_.power_tranches.end(), covers);
  }

  void read_measured(PowerInput& input) const {
    if (!scope_.evidence) return;
    for (const auto* node : scope_.power_nodes) {
      const auto* evidence = scope_.evidence->find(node->name);
      if (!evidence) continue;
      if (evidence->measured_kw) {
        input.measured_kw = input.measured_kw.value_or(0) + *evidence->measured_kw;
        ++input.measured_nodes;
      }
      if (evidence->measured_accelerators_kw)
        input.measured_accelerators_kw = input.measured_accelerators_kw.value_or(0) + *evidence->measured_accelerators_kw;
    }
  }

  void read_racks(PowerInput& input) const {
    if (!scope_.power.rack_cap_kw.known()) return;
    std::map<std::string_view, RackExcess> racks;
    for (const auto* node : scope_.nodes) {
      const auto* profile = scope_.plan.profile(node->profile);
      if (node->rack.empty() || !profile || !profile->nameplate_kw.known()) continue;
      RackExcess& rack = racks[node->rack];
      rack.rack = node->rack;
      ++rack.nodes;
      rack.needed_kw += *profile->nameplate_kw;
    }
    input.racks = static_cast<std::int64_t>(racks.size());
    for (const auto& [name, rack] : racks)
      if (rack.needed_kw > *scope_.power.rack_cap_kw * (1 + 1e-9)) input.rack_excess.push_back(rack);
  }

  Answer fabric() {
    std::vector<std::string> names;
    for (const auto& share : scope_.plan.shares(tranche_))
      if (const auto* profile = scope_.plan.profile(share.profile); profile && profile->nvlinks.known() && *profile->nvlinks > 0)
        names.push_back(fmt::format("{} ({} links per accelerator)", profile->name, *profile->nvlinks));
    if (names.empty()) return not_required("no links between accelerators are declared");
    struct Kind { std::vector<std::string> nodes; std::string_view example; };
    std::map<NodeLinks::State, Kind> found;
    for (const auto* node : scope_.nodes) {
      Kind& kind = found[node->links.state];
      if (kind.nodes.empty()) kind.example = node->links.reason;
      kind.nodes.push_back(node->name);
    }
    const auto told = [&](NodeLinks::State state, std::string_view what) {
      const Kind& kind = found[state];
      const auto count = static_cast<std::int64_t>(kind.nodes.size());
      return fmt::format("{} {} ({}): {}{}", what, count_text(count, "node"), one_line(nodeset::fold_names(kind.nodes), 80), count > 1 ? "for example " : "", kind.example);
    };
    const std::string declared = fmt::format("links are declared for {}", join(names, ", "));
    if (found.contains(NodeLinks::State::broken)) return {Verdict::fail, told(NodeLinks::State::broken, declared + ", and not all are up at rate on")};
    if (found.contains(NodeLinks::State::unknown)) return {Verdict::not_judged, told(NodeLinks::State::unknown, declared + ", and it is not known whether they are up at rate on")};
    if (!found.contains(NodeLinks::State::proven)) return {Verdict::not_judged, declared + ", and no node that has them is accepted yet"};
    const auto proven = count_text(static_cast<std::int64_t>(found[NodeLinks::State::proven].nodes.size()), "accepted node");
    // Those that nobody has accepted yet have links as well.
    if (const Verdict accepted = verdict_of("accepted"); accepted != Verdict::pass && accepted != Verdict::degraded)
      return {Verdict::not_judged, fmt::format("{}; they are up at rate on {}, and further nodes are not accepted yet", declared, proven)};
    return {Verdict::pass, fmt::format("{}; they are up at rate on {}", declared, proven)};
  }

  Answer facility() {
    std::optional<Verdict> verdict;
    std::string detail;
    if (scope_.facility_gates)
      for (const auto& gate : *scope_.facility_gates) {
        if (!gate.tranche.empty() && gate.tranche != tranche_.name) continue;
        Verdict part = Verdict::not_judged;
        std::string text = fmt::format("{} is {}", gate.id, gate.status.empty() ? "unknown" : gate.status);
        if (gate.status == "open") part = Verdict::fail;
        if (gate.status == "closed" && !gate.evidence.empty()) part = Verdict::pass;
        if (gate.status == "closed" && gate.evidence.empty()) text += ", but names no evidence";
        verdict = verdict ? worse(*verdict, part) : part;
        detail = join_sentences(detail, text);
      }
    if (!verdict) return not_required("no facility gates are declared");
    return {verdict, detail};
  }

  Verdict verdict_of(std::string_view gate) const {
    const auto found = std::find_if(out_.gates.begin(), out_.gates.end(), [&](const Gate& row) { return row.id == gate; });
    return found == out_.gates.end() ? Verdict::not_judged : found->verdict;
  }

  // Findings on nodes that nobody needs leave a reservation, not a refusal: accepted_pct says how many may be missing.
  Answer findings() {
    std::int64_t failed = 0, silent = 0;
    for (const auto* node : scope_.nodes) {
      failed += node->state == NodeState::failed;
      silent += node->state != NodeState::failed && node->state != NodeState::accepted;
    }
    const bool enough = verdict_of("accepted") == Verdict::pass;
    const std::string text = failed > 0 ? fmt::format("{} with an open finding", count_text(failed, "node")) : "no open finding";
    const std::string rest = silent > 0 ? fmt::format("; {} without a verdict may hold further ones", count_text(silent, "node")) : "";
    if (failed > 0 && enough) return {Verdict::degraded, text + ", outside the share that must be accepted; they must stay out of service" + rest};
    if (failed > 0) return {Verdict::fail, text + rest};
    if (scope_.nodes.empty()) return {Verdict::not_judged, "no node is declared, so nothing was looked at"};
    if (!enough && silent > 0) return {Verdict::not_judged, text + rest};
    return {Verdict::pass, text + rest};
  }

  std::string title_of(const std::string& tenant) const {
    if (scope_.tenants)
      for (const auto& row : *scope_.tenants)
        if (row.name == tenant) return row.title;
    return {};
  }

  // What a tranche has of a profile: the whole of its targets, else of its declared nodes.
  std::optional<std::int64_t> whole_of(std::string_view profile) const {
    std::optional<std::int64_t> sum;
    for (const auto& target : out_.targets)
      if ((profile.empty() || target.profile == profile) && target.accelerators) sum = sum.value_or(0) + *target.accelerators;
    if (!sum && !scope_.nodes.empty()) sum = tally(scope_.nodes, profile, false).all();
    return sum;
  }

  Answer allocations() {
    std::map<std::string, std::int64_t> left;   // by profile, "" for any: accepted and not yet given to a tenant
    const bool cumulative = std::any_of(out_.targets.begin(), out_.targets.end(), [](const auto& target) { return target.cumulative; });
    const auto found = tally(nodes_for(cumulative), {}, false);
    std::int64_t promised = 0, unknown = 0;
    if (scope_.allocations)
      for (const auto& row : *scope_.allocations) {
        if (row.tranche != tranche_.name) continue;
        AllocationStatus status{row.tenant, title_of(row.tenant), row.tranche, row.profile, row.use, row.mode,
                                row.source.empty() ? row.accelerators.source : row.source, row.accelerators.get(), {}, {},
                                row.from.known() ? to_string(*row.from) : ""};
        if (!status.entitled && row.percent.known())
          if (const auto whole = whole_of(row.profile)) status.entitled = share_of(*whole, *row.percent);
        if (status.entitled) {
          promised += *status.entitled;
          auto& pool = left.try_emplace(row.profile, tally(nodes_for(cumulative), row.profile, false).accepted).first->second;
          status.accepted = std::min(pool, *status.entitled);
          status.shortfall = *status.entitled - *status.accepted;
          pool -= *status.accepted;
        } else {
          ++unknown;
        }
        out_.allocations.push_back(std::move(status));
      }
    if (out_.allocations.empty()) return not_required("no allocation draws on it");
    const auto whole = whole_of({});
    const auto undecided = found.undecided + std::max<std::int64_t>(0, whole.value_or(0) - found.all());
    std::string text = fmt::format("{} promised to tenants, {} accepted", count_text(promised, "accelerator"), with_thousands(found.accepted));
    if (whole) text += fmt::format(", {} planned", with_thousands(*whole));
    if (unknown > 0) text += fmt::format("; of {} nobody has said how many", count_text(unknown, "allocation"));
    if (whole && promised > *whole) return {Verdict::fail, text + fmt::format(": {} more than there will be", with_thousands(promised - *whole))};
    Verdict verdict = judge_count(found.accepted, undecided, promised);
    // Per profile as well: H200s do not make up for missing B200s.
    for (const auto& status : out_.allocations)
      if (status.shortfall && *status.shortfall > 0 && verdict == Verdict::pass) verdict = Verdict::not_judged;
    if (unknown > 0) verdict = worse(verdict, Verdict::not_judged);
    return {verdict, text};
  }

  Answer signatures() {
    const auto& wanted = tranche_.ready_when.signatures;
    if (wanted.empty()) return not_required("no signature is asked for");
    return {Verdict::not_judged, fmt::format("not signed by {}: kfab has no signature on record", join(wanted, ", "))};
  }

  Answer fresh() {
    const auto days = tranche_.ready_when.evidence_max_age_days;
    if (!days) return not_required("no greatest age of evidence is stated");
    std::int64_t stale = 0;
    for (const auto* node : scope_.nodes) stale += node->state == NodeState::revoked && node->code == code::evidence_stale;
    const bool enough = verdict_of("accepted") == Verdict::pass;
    const std::string limit = count_text(*days, "day");
    if (stale > 0) return {enough ? Verdict::degraded : Verdict::fail, fmt::format("the evidence of {} is older than {}{}", count_text(stale, "node"), limit, enough ? ", outside the share that must be accepted" : "")};
    const bool any = std::any_of(scope_.nodes.begin(), scope_.nodes.end(), [](const auto* node) { return node->state == NodeState::accepted; });
    if (!any) return {Verdict::not_judged, "there is no evidence whose age could be told"};
    return {Verdict::pass, fmt::format("the evidence of every accepted node is at most {} old", limit)};
  }

  Answer deliveries() {
    std::optional<Verdict> verdict;
    std::string detail;
    for (const auto& row : tranche_.deliveries) {
      DeliveryStatus status{row.id, row.profile, {}, {}, row.source, {}, row.accelerators.get(), row.nodes.get(), static_cast<std::int64_t>(row.serials.size()), {}};
      if (row.expected.known()) status.expected = to_string(*row.expected);
      if (row.arrived.known()) status.arrived = to_string(*row.arrived);
      const bool arrived = row.arrived.known() && *row.arrived <= scope_.today;
      const bool late = !arrived && row.expected.known() && *row.expected < scope_.today;
      status.state = arrived ? "arrived" : late ? "overdue" : row.expected.known() ? "due" : "not_dated";
      Verdict part = arrived ? Verdict::pass : late ? Verdict::fail : Verdict::not_judged;
      std::string text = arrived ? fmt::format("{} arrived {}", row.id, status.arrived)
                         : late  ? fmt::format("{} was expected {} and has not arrived", row.id, status.expected)
                         : row.expected.known() ? fmt::format("{} is expected {}", row.id, status.expected)
                                                : fmt::format("when {} arrives, nobody has said", row.id);
      if (!row.serials.empty() && scope_.serials_seen) {
        status.serials_seen = std::count_if(row.serials.begin(), row.serials.end(), [&](const auto& serial) { return scope_.serials_seen->contains(serial); });
        text += fmt::format(", {} of {} serials seen on a node", with_thousands(*status.serials_seen), with_thousands(status.serials));
      }
      verdict = verdict ? worse(*verdict, part) : part;
      detail = join_sentences(detail, text);
      out_.deliveries.push_back(std::move(status));
    }
    if (!verdict) return not_required("no deliveries are declared");
    return {verdict, detail};
  }

  Answer depends_on() {
    if (tranche_.depends_on.empty()) return not_required("it depends on no other tranche");
    Verdict verdict = Verdict::pass;
    std::string detail;
    for (const auto& name : tranche_.depends_on) {
      const auto found = scope_.dependency_ready.find(name);
      const bool ready = found != scope_.dependency_ready.end() && found->second;
      verdict = worse(verdict, ready ? Verdict::pass : Verdict::not_judged);
      detail = join_sentences(detail, fmt::format("{} is {}", name, ready ? "ready" : "not ready"));
    }
    return {verdict, detail};
  }

  const TrancheScope& scope_;
  const manifest::Tranche& tranche_;
  TrancheStatus& out_;
};

}  // namespace

Verdict judge_count(std::int64_t accepted, std::int64_t undecided, std::int64_t needed) {
  if (accepted >= needed) return Verdict::pass;
  return accepted + undecided >= needed ? Verdict::not_judged : Verdict::fail;
}

Tally tally(const NodeRefs& nodes, std::string_view profile, bool in_nodes) {
  Tally sum;
  for (const auto* node : nodes) {
    if (!profile.empty() && node->profile != profile) continue;
    const std::int64_t count = in_nodes ? 1 : node->accelerators;
    if (node->state == NodeState::accepted) sum.accepted += count;
    else if (node->state == NodeState::failed) sum.failed += count;
    else sum.undecided += count;
  }
  return sum;
}

void judge_gates(const TrancheScope& scope, TrancheStatus& out) { Gates(scope, out).run(); }

}  // namespace kfab::readiness
