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

struct FleetPlace { std::string node, rack, tranche, profile; };

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
// and all that differ are told.
struct Dissent {
  std::string node, accelerator, metric, link;
  int slot = 0;
  std::size_t voters = 0, agreeing = 0;   // agreeing: of the largest party
  bool decided = false;
};
struct FleetFindings {
  std::vector<Population> populations;
  std::vector<Outlier> outliers;        // the worst first, at most 200
  std::vector<Position> positions;      // likewise, at most 50
  std::vector<SharedPlace> shared;      // likewise, at most 20
  std::size_t outliers_in_all = 0;
  std::vector<Dissent> dissents;        // at most 200
};

// What a dissent makes of the node that it is of: a fail of the accelerator where the majority is known, else not judged.
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
  // Of a figure that a report has several times for one accelerator and link the first counts.
  void add(FleetPlace, const TestReport&, std::string_view device);
  // The figures of the model, for criteria of basis fleet_relative; empty for one that nobody has.
  const Peers& peers(const std::string& profile, const std::string& model) const;
  // The same for each model that a report has, for JudgeInput::peers_by_model.
  std::map<std::string, const Peers*> peers_of(const std::string& profile, const TestReport&) const;
  FleetFindings findings() const;
  // Who dissents, without the rest.
  std::vector<Dissent> dissents() const;

 private:
  struct Member { std::uint32_t place; int slot; std::string id; };
  struct Figure { std::uint32_t member, link; double value; };
  struct Compared { std::string metric, unit; std::vector<Figure> figures; };
  struct Model {
    std::string profile, model;
    std::vector<std::uint32_t> members;                       // ascending
    std::map<std::string, Compared, std::less<>> figures;     // by metric
    std::map<std::string, Compared, std::less<>> digests;     // by metric and link
    mutable Peers peers;
    mutable bool reckoned = false;
  };
  // The places of one kind that a model's accelerators are in: `of_member` goes along with Model::members, no_group for none.
  struct Grouping { std::vector<std::string> names; std::vector<std::uint32_t> of_member; };
  static constexpr std::uint32_t no_group = UINT32_MAX;

  void reckon(const Model&) const;
  Grouping grouped(const Model&, std::size_t kind) const;
  std::uint32_t link_number(const std::string&);
  void compare(const Model&, const Compared&, const std::vector<Grouping>&, std::vector<bool>& outlying, FleetFindings&) const;
  void share(const Model&, const std::vector<Grouping>&, const std::vector<bool>& outlying, FleetFindings&) const;

  std::vector<FleetPlace> places_;
  std::vector<Member> members_;
  std::vector<std::string> links_{std::string()};             // what figures of pairs are of; the first is none
  std::map<std::string, std::uint32_t, std::less<>> link_numbers_{{std::string(), 0}};
  std::map<std::string, Model> models_;                       // by profile and model
};

}  // namespace kfab::validation
