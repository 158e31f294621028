#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/codes/readiness.hpp"
#include "base/diagnostic.hpp"
#include "base/words.hpp"
#include "manifest/model.hpp"
#include "readiness/power.hpp"
#include "store/records.hpp"

// Is a tranche ready, and if not, why: derived from the manifest and the evidence by pure functions. Nothing here does
// I/O or reads a clock, and nothing can set a state by hand. All powers are in kW, all counts whole.
namespace kfab::readiness {

// What else the answer depends on.
struct Context {
  Timestamp now{};
  // Per node the sha256 of the desired state that the manifest asks for today. Where a node has an entry, provisioning
  // evidence counts only when it was made for that state (`declared_sha256` of the record's detail, or `desired_sha256` where it has none).
  std::map<std::string, std::string> desired_sha256;
  // Nodes that were left with tests which nobody has fetched yet, and the run that began them.
  std::map<std::string, std::string> tests_left{};
};

using EvidenceBySite = std::map<std::string, store::Evidence>;   // by Metadata::name

// How far something has come, as numbers of nodes or of accelerators. `reachable` to `accepted` are cumulative (what is
// accepted is also validated, provisioned and reachable), so they never rise from left to right. `failed` have a finding
// against them (degraded ones too); `not_judged` have no verdict that holds today: nothing was measured, the node was not
// reached, or its evidence is revoked or stale. declared = accepted + failed + not_judged.
struct Counts {
  std::int64_t declared = 0, reachable = 0, provisioned = 0, validated = 0, accepted = 0, failed = 0, not_judged = 0;
};

// The links between the accelerators of an accepted node: proven when all that the profile declares are up and copies over them
// reached what the criteria ask for; broken when one is not; else unknown. Of a node that is not accepted nobody asks.
struct NodeLinks {
  enum class State { not_asked, proven, broken, unknown };
  State state = State::not_asked;
  std::string reason;                      // why it is not proven, one sentence
};

// One node as the evidence shows it. `reason` says in one sentence why it is not accepted; empty when it is.
struct NodeStatus {
  std::string name, group, profile, rack, slot, tranche;
  NodeState state = NodeState::declared;
  Verdict verdict = Verdict::not_judged;   // pass only when accepted
  Code code = code::evidence_missing;      // of the reason
  std::string reason;
  std::int64_t accelerators = 0;           // that it must have; 0 when its profile does not say
  std::int64_t accelerators_validated = 0; // that passed everything under the criteria of today
  std::int64_t accelerators_failed = 0;
  std::optional<Timestamp> evidence_at;    // of the newest record
  NodeLinks links;
  bool reached = false, provisioned = false, validated = false;
};

// One condition of readiness. `pass` and `degraded` (met, with a reservation that the detail names) let a tranche through.
struct Gate {
  std::string id;
  Verdict verdict = Verdict::not_judged;
  std::string detail;                      // one or more sentences, with the numbers
};

// A gate that this tranche does not have, and why.
struct NotRequired { std::string id, reason; };

// Something that stands between the tranche and ready, with what to do. Nodes with the same finding are one blocker.
struct Blocker {
  Code code = code::evidence_missing;
  std::string gate;
  std::string message;
  std::string next_step;
  std::int64_t node_count = 0;
  std::string nodes;                       // folded; empty when it is not about nodes
};

// What was not tested, in words, and why: as loud as what failed.
struct NotTested { std::string what, why; };

// When. Without enough history there is no date, only the arithmetic of what is left (acceptance in at least 10 days and
// of at least 20 accelerators is the least from which a rate is told).
struct Forecast {
  // ready | no_target | no_due_date | due_passed | insufficient_history | rate_only
  std::string status;
  std::string reason;
  std::optional<std::int64_t> remaining_accelerators, remaining_nodes;
  std::optional<int> days_to_due;                        // calendar days; negative when the date has passed
  std::optional<double> rate_needed_per_day;             // accelerators per calendar day from now to the due date
  std::optional<double> nodes_needed_per_day;
  std::int64_t acceptances = 0;                          // accelerators accepted so far
  int days_with_acceptances = 0;
  std::optional<double> rate_observed_per_day;           // accelerators per calendar day since the first; rate_only
};

struct TargetStatus {
  std::string profile, assumption, source;
  bool cumulative = false;
  bool stated_unknown = false;
  std::optional<std::int64_t> accelerators, nodes;       // what the tranche must have; derived by per_node where it can be
  std::optional<std::int64_t> required;                  // accelerators (nodes where only those are known) to be accepted
  bool in_nodes = false;                                 // `required` and `accepted` count nodes
  std::int64_t accepted = 0;
  std::optional<double> spares_pct;
};

struct AllocationStatus {
  std::string tenant, title, tranche, profile, use, mode, source;
  std::optional<std::int64_t> entitled;                  // accelerators
  std::optional<std::int64_t> accepted;                  // of them, accepted ones that earlier rows leave over
  std::optional<std::int64_t> shortfall;
  std::string from;                                      // date, empty when not said
};

struct DeliveryStatus {
  std::string id, profile, expected, arrived, source, state;   // state: arrived due overdue not_dated
  std::optional<std::int64_t> accelerators, nodes;
  std::int64_t serials = 0;                              // on the packing list
  std::optional<std::int64_t> serials_seen;              // of them, reported by a node; absent without a packing list
};

struct TrancheStatus {
  std::string site;                        // empty: of the programme itself
  std::string name, title, source;
  std::string due, due_kind, due_owner;    // due: "YYYY-MM-DD", empty when not known
  bool due_unknown = false;                // the document says that nobody knows
  bool ready = false;
  Verdict verdict = Verdict::not_judged;   // of all gates together
  std::string headline;                    // "2 of 4 nodes accepted; due 2027-11-30"
  Counts counts;                           // nodes
  Counts accelerator_counts;
  std::vector<Gate> gates;
  std::vector<NotRequired> not_required;
  PowerStatus power;
  std::vector<Blocker> blockers;
  Forecast forecast;
  std::vector<TargetStatus> targets;
  std::vector<AllocationStatus> allocations;
  std::vector<DeliveryStatus> deliveries;
  std::vector<NodeStatus> nodes;           // in the order of declaration
  std::vector<NotTested> not_tested;
};

// A statement of the manifest with where it comes from. `value` is what was written, with its unit; "unknown" where the
// document says so.
// A figure is also there as a number, in `unit` ("kw", "pct", "gib", a fact's own such as "krw"; empty for counts).
struct StatedFact {
  std::string subject, text, value;
  std::optional<double> number;
  std::string unit, source, source_text, as_of;
};

// What nobody has said, and what follows from that.
struct Unknown { std::string subject, what, consequence; };

struct PartyStatus { std::string name, source; std::vector<std::string> roles; };
struct SignatureStatus { std::string site, tranche, party; bool on_record = false; };
struct PoolStatus {
  std::string site, name, mode, source;
  std::vector<std::string> tranches;
  bool waiting_list = false;
  std::int64_t accepted = 0;               // accelerators of its tranches, now
};
struct FacilityStatus { std::string site, id, tranche, status, evidence, source; };

// An arithmetic check over the document: "the allocations add up to the programme".
struct PlanCheck { std::string id; Verdict verdict = Verdict::not_judged; std::string detail; };

struct SiteSummary {
  std::string name, title, kind, country, manifest_sha256;
  std::int64_t tranches = 0, tranches_ready = 0;
  Counts counts, accelerator_counts;
  std::optional<Timestamp> evidence_at;    // newest evidence; absent: none
  std::optional<double> evidence_age_days;
};

struct CriteriaInUse { std::string name, version, sha256, profile; };

struct Readiness {
  std::string kind;                        // site | program
  std::string name, title, country, federation, file, manifest_sha256, as_of;
  Timestamp now{};
  bool ready = false;                      // every tranche below is; false when there is none
  Counts counts, accelerator_counts;
  std::optional<std::int64_t> target_accelerators;   // programme: stated total; site: of tranches that end the plan
  std::vector<TrancheStatus> tranches;
  std::vector<SiteSummary> sites;          // one for a site
  std::vector<PlanCheck> plan_checks;
  std::vector<AllocationStatus> allocations;   // those of the whole programme, of no one tranche
  std::vector<NodeStatus> unassigned_nodes;    // declared nodes of no tranche: they make none ready
  std::vector<StatedFact> facts;
  std::vector<Unknown> unknowns;
  std::vector<PartyStatus> parties;
  std::vector<SignatureStatus> signatures;
  std::vector<PoolStatus> pools;
  std::vector<FacilityStatus> facility_gates;
  manifest::Sovereignty sovereignty;
  std::vector<CriteriaInUse> criteria;
  std::vector<std::string> run_ids;        // of the evidence, sorted
  Diagnostics diagnostics;                 // evidence that fits no declared node, and the like
};

Readiness assess(const manifest::Site&, const store::Evidence&, const Context&);
Readiness assess(const manifest::Program&, const EvidenceBySite&, const Context&);

// Leaves only these tranches ("p1", or "ulsan/p1" in a programme; all when empty). Error: unknown_tranche, with the
// nearest names as suggestions.
Status select_tranches(Readiness&, const std::vector<std::string>& names);

}  // namespace kfab::readiness
