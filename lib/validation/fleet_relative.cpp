#include "validation/fleet_relative.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/codes/validation.hpp"

namespace kfab::validation {
namespace {

using manifest::Direction;

// Which way is bad follows from the unit; figures in others are not compared.
struct UnitRow { std::string_view unit; Direction direction; };
constexpr std::array unit_rows{UnitRow{"tflops", Direction::min}, UnitRow{"tops", Direction::min}, UnitRow{"gbps", Direction::min},
                               UnitRow{"c", Direction::max},      UnitRow{"ns", Direction::max},   UnitRow{"us", Direction::max}};
std::optional<Direction> bad_side(std::string_view unit) {
  const auto row = std::find_if(unit_rows.begin(), unit_rows.end(), [&](const UnitRow& r) { return r.unit == unit; });
  return row == unit_rows.end() ? std::nullopt : std::optional(row->direction);
}

constexpr std::size_t most_links = 72;          // of one accelerator and metric: more peers no node has
constexpr std::size_t most_outliers = 200, most_positions = 50, most_shared = 20;
constexpr double telling_chance = 0.05;         // over all places of a kind together
constexpr double median_error = 1.2533;         // standard error of a median by that of a mean, sqrt(pi / 2)

// The chance that of `drawn` among `all`, of which `marked` are marked, at least `hit` are: the tail of the hypergeometric
// distribution, by logarithms of factorials.
double chance(std::size_t hit, std::size_t marked, std::size_t drawn, std::size_t all) {
  const auto choose = [](std::size_t n, std::size_t k) { return std::lgamma(double(n) + 1) - std::lgamma(double(k) + 1) - std::lgamma(double(n - k) + 1); };
  double sum = 0;
  for (std::size_t k = hit; k <= std::min(marked, drawn); ++k) {
    if (drawn - k > all - marked) continue;
    sum += std::exp(choose(marked, k) + choose(all - marked, drawn - k) - choose(all, drawn));
  }
  return std::min(1.0, sum);
}

struct Kind { std::string_view word; std::string (*name)(const FleetPlace&, int slot); };
constexpr std::array kinds{Kind{"slot", [](const FleetPlace&, int slot) { return std::to_string(slot); }},
                           Kind{"rack", [](const FleetPlace& place, int) { return place.rack; }},
                           Kind{"tranche", [](const FleetPlace& place, int) { return place.tranche; }},
                           Kind{"node", [](const FleetPlace& place, int) { return place.node; }}};

double to_bad_side(double difference, Direction direction) { return direction == Direction::min ? -difference : difference; }

}  // namespace

void Fleet::add(FleetPlace place, const TestReport& report, std::string_view device) {
  places_.push_back(std::move(place));
  std::map<std::string, std::size_t> member_of;
  for (const auto& accelerator : report.accelerators) {
    if (accelerator.device != device) continue;
    members_.push_back({places_.size() - 1, &accelerator});
    member_of[accelerator.id] = members_.size() - 1;
  }
  std::map<std::pair<std::size_t, std::string_view>, std::size_t> links_of;
  std::set<std::tuple<std::size_t, std::string_view, std::string_view>> counted;   // who tells a figure twice has one voice all the same
  for (const auto& m : report.measurements) {
    const auto member = member_of.find(m.accelerator);
    const bool digest = m.unit == "digest";
    if (member == member_of.end() || m.device != device || !m.value || (!digest && !bad_side(m.unit))) continue;
    if (!counted.emplace(member->second, m.metric, m.link).second) continue;
    std::size_t& links = links_of[{member->second, m.metric}];
    if (++links > most_links) continue;
    const Accelerator& accelerator = *members_[member->second].accelerator;
    Model& model = models_[places_.back().profile + '\n' + accelerator.model];
    model.profile = places_.back().profile;
    model.model = accelerator.model;
    (digest ? model.digests[m.metric + '\n' + m.link] : model.figures[m.metric]).push_back({member->second, &m});
  }
}

void Fleet::reckon(const Model& model) const {
  if (model.reckoned) return;
  model.reckoned = true;
  for (const auto& [metric, figures] : model.figures) {
    std::vector<double> values;
    std::set<std::size_t> members;
    for (const auto& figure : figures) {
      values.push_back(*figure.measurement->value);
      members.insert(figure.member);
    }
    model.peers[metric] = {*robust(std::move(values)), members.size()};
  }
}

const Peers& Fleet::peers(const std::string& profile, const std::string& model) const {
  static const Peers none;
  const auto found = models_.find(profile + '\n' + model);
  if (found == models_.end()) return none;
  reckon(found->second);
  return found->second.peers;
}

std::map<std::string, const Peers*> Fleet::peers_of(const std::string& profile, const TestReport& report) const {
  std::map<std::string, const Peers*> out;
  for (const auto& accelerator : report.accelerators) out.emplace(accelerator.model, &peers(profile, accelerator.model));
  return out;
}

std::vector<Dissent> Fleet::dissents() const {
  std::vector<Dissent> out;
  for (const auto& [key, model] : models_)
    for (const auto& [metric, figures] : model.digests) {
      std::map<double, std::size_t> parties;
      for (const auto& figure : figures) ++parties[*figure.measurement->value];
      if (parties.size() < 2) continue;
      const auto largest = std::max_element(parties.begin(), parties.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
      const bool decided = figures.size() >= 3 && largest->second * 2 > figures.size();
      for (const auto& figure : figures) {
        if (decided && *figure.measurement->value == largest->first) continue;
        if (out.size() >= most_outliers) return out;
        const Member& member = members_[figure.member];
        out.push_back({places_[member.place].node, member.accelerator->id, figure.measurement->metric, figure.measurement->link, member.accelerator->index, figures.size(), largest->second, decided});
      }
    }
  return out;
}

FleetFindings Fleet::findings() const {
  FleetFindings out;
  out.dissents = dissents();
  for (const auto& [key, model] : models_) {
    reckon(model);
    std::set<std::size_t> outlying;      // members, over all metrics of the model
    std::set<std::size_t> everyone;
    for (const auto& [metric, figures] : model.figures) {
      const std::string& unit = figures.front().measurement->unit;
      const Direction direction = *bad_side(unit);
      const PeerFigures& peers = model.peers.at(metric);
      Population population{model.profile, model.model, metric, unit, peers.accelerators, 0, peers.robust.median, peers.robust.mad, 0, 0, peers.accelerators > fewest_peers};
      std::set<std::size_t> nodes;
      population.least = population.most = *figures.front().measurement->value;
      for (const auto& figure : figures) {
        everyone.insert(figure.member);
        nodes.insert(members_[figure.member].place);
        population.least = std::min(population.least, *figure.measurement->value);
        population.most = std::max(population.most, *figure.measurement->value);
      }
      population.nodes = nodes.size();
      const double spread = spread_of(peers.robust);
      if (!(spread > 0) || !std::isfinite(spread)) population.judged = false;
      out.populations.push_back(population);
      if (!population.judged) continue;

      for (const auto& figure : figures) {
        const double deviations = to_bad_side(*figure.measurement->value - peers.robust.median, direction) / spread;
        if (deviations <= outlier_deviations) continue;
        outlying.insert(figure.member);
        ++out.outliers_in_all;
        const Member& member = members_[figure.member];
        const FleetPlace& place = places_[member.place];
        out.outliers.push_back({place.node, member.accelerator->id, place.rack, place.tranche, metric, unit, figure.measurement->link, member.accelerator->index,
                                *figure.measurement->value, deviations});
      }
      for (const Kind& kind : kinds) {
        std::map<std::string, std::vector<double>> groups;
        for (const auto& figure : figures) {
          const Member& member = members_[figure.member];
          const std::string name = kind.name(places_[member.place], member.accelerator->index);
          if (!name.empty()) groups[name].push_back(*figure.measurement->value);
        }
        if (groups.size() < 2) continue;
        for (const auto& [name, values] : groups) {
          if (values.size() <= fewest_peers || values.size() * 2 > figures.size() + 1) continue;   // it would be compared with itself
          const auto of_group = robust(values);
          const double off = to_bad_side(of_group->median - peers.robust.median, direction);
          const double error = spread * median_error / std::sqrt(double(values.size()));
          if (off / error < position_errors || off < 0.01 * std::abs(peers.robust.median)) continue;
          out.positions.push_back({model.profile, model.model, metric, unit, std::string(kind.word), name, values.size(), of_group->median, peers.robust.median, off / error});
        }
      }
    }
    if (outlying.size() < 2) continue;
    for (const Kind& kind : kinds) {
      std::map<std::string, std::pair<std::size_t, std::size_t>> places;   // outliers, all
      for (const std::size_t member : everyone) {
        const std::string name = kind.name(places_[members_[member].place], members_[member].accelerator->index);
        if (name.empty()) continue;
        auto& [hit, all] = places[name];
        ++all;
        hit += outlying.count(member);
      }
      if (places.size() < 2) continue;
      for (const auto& [name, counts] : places) {
        const auto [hit, all] = counts;
        if (hit < 2 || chance(hit, all, outlying.size(), everyone.size()) * double(places.size()) > telling_chance) continue;
        out.shared.push_back({model.profile, model.model, std::string(kind.word), name, hit, outlying.size(), all});
      }
    }
  }
  std::sort(out.outliers.begin(), out.outliers.end(), [](const Outlier& a, const Outlier& b) { return std::tie(b.deviations, a.node, a.slot, a.metric) < std::tie(a.deviations, b.node, b.slot, b.metric); });
  if (out.outliers.size() > most_outliers) out.outliers.resize(most_outliers);
  std::stable_sort(out.positions.begin(), out.positions.end(), [](const Position& a, const Position& b) { return a.deviations > b.deviations; });
  if (out.positions.size() > most_positions) out.positions.resize(most_positions);
  std::stable_sort(out.shared.begin(), out.shared.end(), [](const SharedPlace& a, const SharedPlace& b) { return a.outliers > b.outliers; });
  if (out.shared.size() > most_shared) out.shared.resize(most_shared);
  return out;
}

void take_dissents(const std::vector<Dissent>& dissents, const std::string& node, NodeJudgement& judgement) {
  for (const auto& dissent : dissents) {
    if (dissent.node != node) continue;
    const Verdict verdict = dissent.decided ? Verdict::fail : Verdict::not_judged;
    const std::string reason =
        dissent.decided ? fmt::format("{}: its result differs from that of {} of {} accelerators of its model, given the same work ({})", dissent.metric, dissent.agreeing, dissent.voters,
                                      kfab::to_string(code::wrong_bits))
                        : fmt::format("{}: {} accelerators of its model do not agree on the result, and no majority says who is right", dissent.metric, dissent.voters);
    for (auto& accelerator : judgement.accelerators) {
      if (accelerator.id != dissent.accelerator) continue;
      accelerator.verdict = worse(accelerator.verdict, verdict);
      accelerator.reasons.insert(accelerator.reasons.begin(), reason);
      judgement.verdict = worse(judgement.verdict, verdict);
      judgement.reasons.insert(judgement.reasons.begin(), judgement.accelerators.size() > 1 ? fmt::format("{} {}: {}", accelerator.device, accelerator.index, reason) : reason);
    }
  }
}

}  // namespace kfab::validation
