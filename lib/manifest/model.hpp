#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/diagnostic.hpp"
#include "base/words.hpp"
#include "json/value.hpp"

// What a manifest says, typed. Nothing here is computed beyond reading: what is not written is absent, and what is
// written `unknown` is unknown, which is a legal answer and never zero. Powers are in kW, counts are whole numbers.
namespace kfab::manifest {

// A value as a document states it, with where it comes from. In YAML either the bare value, the word `unknown`, or
// `{value: 41 MW, source: S2, as_of: 2026-11-21}` (value may be unknown there too).
template <class T>
struct Stated {
  enum class State : std::uint8_t { absent, unknown, known };
  State state = State::absent;
  T value{};
  std::string source{};   // key of metadata.sources, or free text
  std::string as_of{};    // "2026-11-21", empty when the document's own as_of holds
  SourceSpan span{};

  bool known() const { return state == State::known; }
  bool unknown() const { return state == State::unknown; }
  explicit operator bool() const { return known(); }
  const T& operator*() const { return value; }
  std::optional<T> get() const { return known() ? std::optional<T>(value) : std::nullopt; }
};

struct Metadata {
  std::string name;        // identifier: [a-z0-9-]
  std::string title;       // for people
  std::string country;     // ISO 3166-1 alpha-2
  std::string federation;  // programme or federation that the site belongs to; empty when none
  std::string version;     // of a profile, criteria set or role
  std::string source;      // where the document as a whole comes from
  std::string as_of;       // day on which the document was true
  std::map<std::string, std::string> sources;   // short name -> what it is
};

// A statement that no other field holds (money, purpose, a plan), kept with its source. Money is metadata, never a gate.
struct Fact {
  std::string id;
  std::string text;               // what is said, in words
  std::optional<double> value;    // when it is a number
  std::string unit;               // "krw", "usd", "gpus", "mw", ...
  std::string source, as_of;
  SourceSpan span;
};

struct Party {
  std::string name;
  std::vector<std::string> roles;   // owner builder operator accepter beneficiary supplier
  std::string source;
};

struct Sovereignty {
  std::string residency;                     // country in which data and evidence stay
  std::vector<std::string> data_classes;
  std::vector<std::string> egress_allow;     // endpoints that a node may reach outside
  std::string operator_nationality;
  std::optional<bool> remote_support;
};

struct Security {
  std::vector<std::string> labels;           // CSAP tier, N2SF class, ISMS-P: labels, evidence is separate
  std::optional<bool> secure_boot, confidential_computing, disk_wipe;
  std::optional<bool> bmc_password_changed;  // no BMC may keep its maker's password
  std::string ssh_ca;                        // file with the CA that signs host or user keys
};

struct Connectivity {
  std::string mode;                          // always windowed sneakernet; empty when not said
  Stated<double> bandwidth_mbps;
  std::vector<std::string> via;              // jump hosts, outermost first
  std::string package_mirror;
  std::string source;
};

// How nodes are reached. Paths may start with ~/ ; relative ones are relative to the manifest.
struct SshSettings {
  std::string user;                          // empty: the user who runs kfab
  std::uint16_t port = 22;
  bool port_said = false, host_keys_said = false;   // not said: an OpenSSH configuration may say it
  std::vector<std::string> identity_files;   // empty: the agent and the default keys
  std::vector<std::string> known_hosts;      // empty: ~/.ssh/known_hosts; the per-site store is always asked as well
  std::string host_keys = "verify";          // verify | trust-on-first-use
  std::string become = "none";               // none | sudo
  std::string transport = "libssh2";         // libssh2 | openssh (ssh(1)) | local (on this machine, through a pipe)
  std::string config = "none";               // OpenSSH configuration to follow; none: no file, whoever runs kfab
};

// What a kind of node is: its hardware, its power at nameplate, what it must contain and by what it is judged.
struct Profile {
  std::string name;
  std::string version;
  std::string vendor;            // nvidia furiosa rebellions amd intel cpu
  std::string accelerator;       // "B200", "RNGD"; for vendor cpu the processor; "unknown" is legal
  std::string function;          // pf | vf: whether nodes see whole devices or virtual functions; empty: pf
  std::string device;            // which of the agent's devices tests it: cuda | cpu | vendor; default from vendor
  Stated<int> per_node;          // accelerators in a node
  Stated<double> nameplate_kw;   // of one whole node at its rated maximum
  Stated<double> memory_gib;     // of one accelerator
  Stated<int> pcie_gen, pcie_width, nvlinks;
  std::map<std::string, double> nominal;        // "bf16_tflops", "hbm_gbps", "pcie_gbps": what criteria may refer to
  std::map<std::string, std::string> nominal_sources;   // for the keys of `nominal` that state one
  std::map<std::string, std::string> pins;      // driver, vbios, kernel: exact versions
  std::vector<std::string> roles;               // in order
  std::string criteria;                         // name of a criteria set
  SourceSpan criteria_span;                     // where it names it
  std::map<std::string, json::Value> vars;      // for the roles' templates; overridden by group and node
  std::vector<Fact> facts;                      // what is said of this hardware and no other field holds
  json::Value expect;                           // facts that must hold: {"cpu.threads": {"min": 64}, "memory.total_gib": {...}}
  std::string sha256;                           // of the canonical text; goes into every verdict
  SourceSpan span;
};

// A figure that a criterion may refer to: one of `nominal`, else what the profile itself states as nvlinks, pcie_gen, pcie_width,
// memory_gib or per_node. Nothing when it states none.
std::optional<double> figure_of(const Profile&, std::string_view key);

// Whether an accelerator of that device (cuda) tells a figure of that key by itself, so that no profile needs to state it.
bool told_by_device(std::string_view device, std::string_view key);

enum class Direction : std::uint8_t { min, max, equal };      // the limit is a floor, a ceiling, the only good value
enum class Basis : std::uint8_t { nominal, fleet_relative, record_only };

// One limit. `metric` is the id that the agent reports ("burnin.gemm_fp32.mismatches"); the value is compared in `unit`.
struct Criterion {
  std::string id;                 // "gemm-fp32-exact"
  std::string metric;
  std::string device;             // cuda | cpu | any
  std::string unit;
  Direction direction = Direction::min;
  Basis basis = Basis::nominal;
  std::optional<double> limit;    // absent for record_only, and where it is derived
  std::string nominal_key;        // the limit is `factor` x profile.nominal[nominal_key]
  double factor = 1.0;
  Verdict on_violation = Verdict::fail;        // fail | degraded
  Verdict on_missing = Verdict::not_judged;    // not_judged | fail
  bool optional = false;          // `on_missing: skip`: where there is no figure the criterion does not count
  bool optional_if_unsupported = false;   // `on_missing: skip_unsupported`: so only where the accelerator says that it has nothing of the kind
  std::string source;             // why this number
  std::string action;             // what to do about a violation; may be empty
  SourceSpan span, metric_span, unit_span, limit_span;   // of the whole, and of what it says
};

struct CriteriaSet {
  std::string name, version;
  std::vector<std::string> extends;  // sets whose criteria come first; one of its own with the same id replaces theirs
  std::vector<Criterion> criteria;   // those of the extended sets included
  std::string sha256;             // of the canonical text, and of the sets that it extends; goes into every verdict
};

// One resource as a role declares it. `attributes` holds the keys of its type (resource_types.hpp), already checked for
// names and types; templates in it are not expanded yet.
struct ResourceDecl {
  std::string type;               // package file directory service sysctl user command
  std::string id;                 // unique in the role; default "<type>:<name or path>"
  json::Value attributes;         // an object
  std::vector<std::string> after;         // ids that must be done before
  std::vector<std::string> restart_on;    // service only: restarted when one of these changed
  std::size_t concurrency = 0;            // nodes that may apply it at the same time; 0: any number
  SourceSpan span;
};

struct Role {
  std::string name, version, description;
  std::map<std::string, json::Value> vars;    // defaults; overridden by profile, group and node variables
  std::map<std::string, std::string> needs;   // `requires`: variables that have no default, and what they are for
  std::vector<ResourceDecl> resources;
  std::size_t concurrency = 0;                // nodes that may be at work on its resources at the same time; 0: any number
  std::string file;                           // for messages
};

// A power envelope. With `cumulative` the figures are those of the whole site once this tranche stands, that is, of this
// tranche and of every one that it depends on, directly or not: "103 MW by February 2029" when 41 MW came before. A
// check then holds the nodes of all of them against it. Without it they are this tranche's alone.
struct Power {
  Stated<double> facility_kw;      // at the meter
  Stated<double> it_kw;            // at the racks; derived from facility_kw / pue when absent
  Stated<double> pue;
  Stated<double> overhead_fraction;  // IT load that is not accelerator nodes (network, storage), of the nodes' load
  Stated<double> rack_cap_kw;
  Stated<double> row_cap_kw;
  std::string supply;              // grid ppa onsite
  Stated<Date> available_from;
  bool cumulative = false;
};

// How many accelerators of one profile. With `cumulative` the counts include those of the tranches that this one depends
// on. `assumption` says why this profile is taken where the sources name no chip; empty where they do. The profile may
// be empty: counts without a chip. Where only one of accelerators and nodes is stated the other is absent, not derived.
struct Target {
  std::string profile;
  Stated<std::int64_t> accelerators;
  Stated<std::int64_t> nodes;
  Stated<double> spares_pct;
  bool cumulative = false;
  std::string assumption;
  std::string source;
};

struct ReadyWhen {
  double accepted_pct = 98.0;
  std::vector<int> contiguous;               // sizes, in nodes, of the blocks that must be whole
  std::string level = "standard";            // quick | standard | soak: what validate runs
  std::vector<std::string> signatures;       // parties that must sign
  std::optional<int> evidence_max_age_days;
};

struct Delivery {
  std::string id;
  Stated<Date> expected, arrived;
  Stated<std::int64_t> accelerators, nodes;
  std::string profile, source;
  std::vector<std::string> serials;   // the packing list: written out, or read from a CSV with a column `serial`
};

struct FacilityGate {
  std::string id;                  // L1..L5, or free: "electrical", "cooling", "land"
  std::string tranche;             // empty: the whole site
  std::string status;              // open closed unknown
  std::string evidence, source;
};

struct Tranche {
  std::string name, title;
  Stated<Date> due;
  std::string due_kind;            // hard soft
  std::string due_owner;
  Power power;
  std::vector<Target> targets;     // one per profile; may be empty: then nothing can be forecast
  ReadyWhen ready_when;
  std::vector<std::string> depends_on;
  std::vector<Delivery> deliveries;
  std::string source;
  SourceSpan span;
};

struct Tenant { std::string name, title, kind, source; };   // kind: state university research company public operator

struct Allocation {
  std::string tenant, tranche, profile;
  Stated<std::int64_t> accelerators;
  Stated<double> percent;          // of the tranche's target, when no count is stated
  // An allocation without a tranche is of the whole programme: those add up to Program::accelerators. One with a tranche
  // draws on that tranche's targets.
  std::string use;                 // government operator; exclusive or shared is `mode`
  std::string mode;                // exclusive shared
  Stated<Date> from;
  std::string source;
  SourceSpan span;
};

struct Pool { std::string name; std::vector<std::string> tranches; std::string mode; bool waiting_list = false; std::string source; };

// One machine, resolved from a group's range, list or CSV.
struct Node {
  std::string name, address, bmc, rack, slot, serial;
  std::string group, profile, tranche;
  bool identity_by_name = false;   // several names of one machine (demo, tests): the board serial does not identify it
  std::map<std::string, json::Value> vars;   // group's, overridden by the node's own
  std::optional<SshSettings> ssh;            // group's own, else the site's
};

// What a group declares; the nodes it yields are in Site::nodes.
struct NodeGroup {
  std::string name, expression, csv_file, profile, tranche;
  std::string fabric;              // name of the fabric domain that the group is in
  std::vector<std::string> node_names;
  SourceSpan span;
};

// A part of a container site that is checked by itself: power, cooling, security, ...
struct Subsystem {
  std::string name, serial, source;
  std::vector<std::string> checks;    // in words: what must be seen before it counts as working
};

// Days on which nobody accepts anything: for forecasts in working days.
struct Calendar {
  std::vector<int> working_days;      // ISO: 1 Monday .. 7 Sunday; empty: 1 to 5
  std::vector<Date> holidays;
};

struct Site {
  Metadata metadata;
  std::string kind;                // campus container edge
  std::vector<Party> parties;
  Sovereignty sovereignty;
  Security security;
  Connectivity connectivity;
  SshSettings ssh;
  std::string blueprint;           // dsx dgx-superpod ocp custom
  Power power;                     // the site's own, where a tranche states none
  std::map<std::string, Profile> profiles;
  std::map<std::string, CriteriaSet> criteria;
  std::map<std::string, Role> roles;
  std::vector<Tranche> tranches;
  std::vector<NodeGroup> groups;
  std::vector<Node> nodes;         // all, in the order of declaration
  std::vector<Tenant> tenants;
  std::vector<Allocation> allocations;
  std::vector<Pool> pools;
  std::vector<FacilityGate> facility_gates;
  std::vector<std::string> subsystems;   // of a container site: power cooling security
  std::vector<Subsystem> subsystem_details;   // the same, in the same order, with all that is said of them
  std::string container_serial;          // of a container site
  std::map<std::string, std::string> pins;   // the blueprint's exact versions; a profile's own come first
  Calendar calendar;
  std::vector<Fact> facts;
  std::string file;
  std::string sha256;              // over the document and everything it drew in

  const Tranche* find_tranche(std::string_view name) const;
  const Profile* find_profile(std::string_view name) const;
};

// How two sites are joined, for work that is balanced across them.
struct SiteLink {
  std::vector<std::string> between;     // names of two sites
  std::string link_class;               // lan metro wan offline
  Stated<double> bandwidth_mbps;
  std::string source;
};

// Several sites under one plan: totals, tranches and allocations that no single site holds.
struct Program {
  Metadata metadata;
  std::vector<Party> parties;
  Sovereignty sovereignty;
  Stated<std::int64_t> accelerators;       // the whole programme
  std::map<std::string, Profile> profiles;
  std::vector<Tranche> tranches;
  std::vector<Tenant> tenants;
  std::vector<Allocation> allocations;
  std::vector<Pool> pools;
  std::vector<Fact> facts;
  Security security;
  std::vector<SiteLink> links;
  Power power;                             // assumptions (pue, overhead) where a tranche states none
  std::map<std::string, CriteriaSet> criteria;
  std::map<std::string, Role> roles;
  std::vector<Site> sites;                 // loaded from spec.sites, paths relative to the document
  std::string file, sha256;
};

}  // namespace kfab::manifest
