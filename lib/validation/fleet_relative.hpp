#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "manifest/model.hpp"
#include "validation/judge.hpp"
#include "validation/measurement.hpp"

// Accelerators beside their peers: the same model under the same profile, in one run. Finds the slow one that passes every
// floor, and what slow ones share: a place in the server, a rack, a tranche.
namespace kfab::validation {

// `level`: in the words of `kfab validate`, "soak", "quick (pulsed)". Figures are compared within one level only: what a quick look
// reaches says nothing of a soak.
struct FleetPlace { std::string node, rack, tranche, profile, level{}; };

// One figure that lies on the bad side of its peers.
struct Outlier {
  std::string node, accelerator, rack, tranche, metric, unit, link;
  int slot = 0;                    // the accelerator's index in its node
  double value = 0, deviations = 0;   // robust standard deviations, to the bad side
};
// What is known of one metric over one model.
struct Population {
  std::string profile, model, metric, unit;
  std::size_t accelerators = 0, nodes = 0;
  double median = 0, mad = 0, least = 0, most = 0;
  bool judged = false;             // false: too few to say anything
};
// Places of one kind whose median lies off that of all: slot 7 of every node is hot.
struct Position {
  std::string profile, model, metric, unit, kind, name;   // kind: slot rack tranche node
  std::size_t accelerators = 0;
  double median = 0, of_all = 0, deviations = 0;          // in standard errors of a median, to the bad side
};
// What outliers share more often than chance would have it.
struct SharedPlace {
  std::string profile, model, kind, name;
  std::size_t outliers = 0, of_outliers = 0, accelerators = 0;
};
// An accelerator whose result differs from that of most others of its model, given the same work: the digests of metrics in
// unit `digest` must be equal. With fewer than three voters, or without a majority, nobody knows who is wrong: `decided` is false,
// and all that differ are told. Beside digests there are figures that tell on an accelerator only where most of its model have
// none of it (a kernel that computes wrong bits on all of them is kfab's fault): those dissent with a majority against them or not
// at all.
struct Dissent {
  std::string node, accelerator, metric, link;
  int slot = 0;
  std::size_t voters = 0, agreeing = 0;   // agreeing: of the largest party
  bool decided = false;
  Verdict verdict = Verdict::not_judged;  // what it makes of the accelerator
  std::string reason;                     // in words
};
struct FleetFindings {
  std::vector<Population> populations;
  std::vector<Outlier> outliers;        // the worst first, at most 200
  std::vector<Position> positions;      // likewise, at most 50
  std::vector<SharedPlace> shared;      // likewise, at most 20
  std::size_t outliers_in_all = 0;
  std::vector<Dissent> dissents;        // at most 200, to be shown; verdicts follow from Fleet::dissents_of
  std::size_t dissents_in_all = 0;
};

// What dissents make of the node that they are of; those of others are passed over.
void take_dissents(const std::vector<Dissent>&, const std::string& node, NodeJudgement&);

// An accelerator counts as an outlier from this many robust deviations on, and a place from this many standard errors and one
// percent of the median on.
inline constexpr double outlier_deviations = 3, position_errors = 4, position_share = 0.01;
// The chance over all places of a kind together below which a share of outliers is no accident.
inline constexpr double telling_chance = 0.05;
// Which way is bad follows from the unit; figures in others are not compared.
struct ComparedUnit { std::string_view unit; manifest::Direction good; };   // min: more is better
std::span<const ComparedUnit> compared_units();

// Takes from each report what is compared and nothing else: of 260,000 accelerators the reports are gigabytes, their figures a
// few hundred megabytes. A report may go when it has been added.
class Fleet {
 public:
  // Of a figure that a report has several times for one accelerator and link the first counts. A figure that is worth nothing
  // (doubt.hpp) or comes from a test that failed is left out; a digest stays, for who is wrong may fail as well.
  void add(FleetPlace, const TestReport&, std::string_view device);
  // The figures of the model, for criteria of basis fleet_relative; empty for one that nobody has.
  const Peers& peers(const std::string& profile, const std::string& model, const std::string& level = {}) const;
  // The same for each model that a report has, for JudgeInput::peers_by_model.
  std::map<std::string, const Peers*> peers_of(const std::string& profile, const TestReport&, const std::string& level = {}) const;
  FleetFindings findings() const;
  // All that dissent, and those of one node: the votes are counted once, so that this costs no more for one node of thousands.
  std::vector<Dissent> dissents() const;
  std::vector<Dissent> dissents_of(const std::string& node) const;

 private:
  struct Member { std::uint32_t place; int slot; std::string id; };
  struct Figure { std::uint32_t member, link; double value; };
  struct Vote { double winner = 0; std::size_t voters = 0, agreeing = 0; bool split = false, decided = false; };
  struct Compared {
    std::string metric, unit;
    std::vector<Figure> figures;       // ascending by the node that they are of
    mutable std::optional<Vote> vote{};
  };
  struct Members { std::uint32_t first, end; };
  struct Model {
    std::string profile, model, level;
    std::vector<std::uint32_t> members;                       // ascending
    std::map<std::string, Compared, std::less<>> figures;     // by metric
    mutable Peers peers;
    mutable bool reckoned = false;
  };
  // The places of one kind that a model's accelerators are in: `of_member` goes along with Model::members, no_group for none.
  struct Grouping { std::vector<std::string> names; std::vector<std::uint32_t> of_member; };
  static constexpr std::uint32_t no_group = UINT32_MAX;

  static std::string key_of(const std::string& profile, const std::string& model, const std::string& level) { return profile + '\n' + model + '\n' + level; }
  void reckon(const Model&) const;
  static const Vote& vote_on(const Compared&);
  void collect_dissents(const Compared&, Members, std::vector<Dissent>&) const;
  Grouping grouped(const Model&, std::size_t kind) const;
  std::uint32_t link_number(const std::string&);
  void compare(const Model&, const Compared&, const std::vector<Grouping>&, std::vector<bool>& outlying, FleetFindings&) const;
  void share(const Model&, const std::vector<Grouping>&, const std::vector<bool>& outlying, FleetFindings&) const;

  std::vector<FleetPlace> places_;
  std::vector<Member> members_;
  std::vector<std::string> links_{std::string()};             // what figures of pairs are of; the first is none
  std::map<std::string, std::uint32_t, std::less<>> link_numbers_{{std::string(), 0}};
  std::map<std::string, Model> models_;                       // by profile, model and level
  std::map<std::string, std::map<std::string, Compared, std::less<>>> votes_;   // by profile and model; then by metric and link: bits are the same at every level
  std::map<std::string, std::vector<Members>, std::less<>> members_of_;         // by node
};

}  // namespace kfab::validation
