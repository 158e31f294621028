#pragma once

#include <cstddef>
#include <map>
#include <optional>
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
inline constexpr double outlier_deviations = 3, position_errors = 4;

class Fleet {
 public:
  // The reports must outlive it. Of a figure that a report has several times for one accelerator and link the first counts.
  void add(FleetPlace, const TestReport&, std::string_view device);
  // The figures of the model, for criteria of basis fleet_relative; empty for one that nobody has.
  const Peers& peers(const std::string& profile, const std::string& model) const;
  // The same for each model that a report has, for JudgeInput::peers_by_model.
  std::map<std::string, const Peers*> peers_of(const std::string& profile, const TestReport&) const;
  FleetFindings findings() const;
  // Who dissents, without the rest.
  std::vector<Dissent> dissents() const;

 private:
  struct Member { std::size_t place; const Accelerator* accelerator; };
  struct Figure { std::size_t member; const Measurement* measurement; };
  struct Model {
    std::string profile, model;
    std::map<std::string, std::vector<Figure>> figures;     // by metric
    std::map<std::string, std::vector<Figure>> digests;     // by metric and link
    mutable Peers peers;
    mutable bool reckoned = false;
  };
  void reckon(const Model&) const;

  std::vector<FleetPlace> places_;
  std::vector<Member> members_;
  std::map<std::string, Model> models_;                     // by profile and model
};

}  // namespace kfab::validation
