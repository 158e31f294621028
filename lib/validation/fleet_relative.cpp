#include "validation/fleet_relative.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "validation/doubt.hpp"

namespace kfab::validation {
namespace {

using manifest::Direction;

constexpr std::array unit_rows{ComparedUnit{"tflops", Direction::min}, ComparedUnit{"tops", Direction::min}, ComparedUnit{"gbps", Direction::min},
                               ComparedUnit{"ratio", Direction::min},  ComparedUnit{"c", Direction::max},    ComparedUnit{"ns", Direction::max},
                               ComparedUnit{"us", Direction::max},     ComparedUnit{"mhz", Direction::min}};   // not watts: who needs less for the same work is no worse
std::optional<Direction> bad_side(std::string_view unit) {
  const auto row = std::find_if(unit_rows.begin(), unit_rows.end(), [&](const ComparedUnit& r) { return r.unit == unit; });
  return row == unit_rows.end() ? std::nullopt : std::optional(row->good);
}

constexpr std::size_t most_links = 72;          // of one accelerator and metric: more peers no node has
constexpr std::size_t most_dissents = 200, most_outliers = 200, most_positions = 50, most_shared = 20;
constexpr double median_error = 1.2533;         // standard error of a median by that of a mean, sqrt(pi / 2)

// Figures that tell on an accelerator where most of its model have 0, and only there: what all of a model have is the fault of kfab
// or of the library.
struct Telltale { std::string_view end; Verdict verdict; std::string_view words; };
constexpr std::array telltales{Telltale{"kernels_wrong", Verdict::fail, "a kernel for its chip computes wrong bits on it"},
                               Telltale{"cublaslt_inexact_pct", Verdict::fail, "what cuBLASLt computes on it is not exact"},
                               Telltale{"kernels_refused", Verdict::degraded, "it does the work with another kernel than they do, because it refused one for its chip"}};
const Telltale* telltale_of(std::string_view metric) {
  const auto row = std::find_if(telltales.begin(), telltales.end(), [&](const Telltale& t) { return metric.ends_with(t.end); });
  return row == telltales.end() ? nullptr : &*row;
}
// The steps or pulses that the burn-in of an accelerator came in, as words; none of a steady one.
std::string shape_of_load(const TestReport& report, std::string_view accelerator, std::string_view device) {
  for (const auto& m : report.measurements)
    if (m.metric == "burnin.load.asked_pct" && m.accelerator == accelerator && m.device == device && m.value && *m.value < 100) return m.detail.empty() ? "shaped" : m.detail;
  return {};
}

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

// The worst first, the others gone.
void keep_worst(std::vector<Outlier>& outliers) {
  std::sort(outliers.begin(), outliers.end(), [](const Outlier& a, const Outlier& b) { return std::tie(b.deviations, a.node, a.slot, a.metric) < std::tie(a.deviations, b.node, b.slot, b.metric); });
  if (outliers.size() > most_outliers) outliers.resize(most_outliers);
}

double to_bad_side(double difference, Direction direction) { return direction == Direction::min ? -difference : difference; }

}  // namespace

std::span<const ComparedUnit> compared_units() { return unit_rows; }

std::uint32_t Fleet::link_number(const std::string& link) {
  const auto [known, is_new] = link_numbers_.try_emplace(link, static_cast<std::uint32_t>(links_.size()));
  if (is_new) links_.push_back(link);
  return known->second;
}

void Fleet::add(FleetPlace place, const TestReport& report, std::string_view device) {
  const std::string profile = place.profile, level = place.level;
  const auto first = static_cast<std::uint32_t>(members_.size());
  std::vector<Members>& of_node = members_of_[place.node];
  places_.push_back(std::move(place));
  struct Known { std::uint32_t member; Model* model; std::map<std::string, Compared, std::less<>>* votes; bool listed; };
  std::map<std::string_view, Known> known;
  for (const auto& accelerator : report.accelerators) {
    if (accelerator.device != device) continue;
    const std::string shape = shape_of_load(report, accelerator.id, device);
    Model& model = models_[key_of(profile, accelerator.model, level + shape)];
    model.profile = profile;
    model.model = accelerator.model;
    model.level = level + shape;
    known[accelerator.id] = {static_cast<std::uint32_t>(members_.size()), &model, &votes_[profile + '\n' + accelerator.model], false};
    members_.push_back({static_cast<std::uint32_t>(places_.size() - 1), accelerator.index, accelerator.id});
  }
  of_node.push_back({first, static_cast<std::uint32_t>(members_.size())});
  const Doubts doubts(report);
  std::map<std::pair<std::uint32_t, std::string_view>, std::size_t> links_of;
  std::set<std::tuple<std::uint32_t, std::string_view, std::string_view>> counted;   // who tells a figure twice has one voice all the same
  for (const auto& m : report.measurements) {
    const auto of = known.find(m.accelerator);
    const bool voted = m.unit == "digest" || telltale_of(m.metric);
    if (of == known.end() || m.device != device || !m.value || (!voted && (!bad_side(m.unit) || m.metric.starts_with("selftest.") || doubts.failed(m) || !doubts.about(m).empty()))) continue;
    auto& [member, model, votes, listed] = of->second;
    if (!counted.emplace(member, m.metric, m.link).second || ++links_of[{member, m.metric}] > most_links) continue;
    listed = listed || !voted;
    Compared& compared = voted ? (*votes)[m.metric + '\n' + m.link] : model->figures[m.metric];
    if (compared.figures.empty()) compared.metric = m.metric, compared.unit = m.unit;
    // A figure in another unit than the first of its name cannot be held against it.
    if (compared.unit == m.unit) compared.figures.push_back({member, link_number(m.link), *m.value}), compared.vote.reset();
  }
  for (const auto& accelerator : report.accelerators)   // in the order of their numbers
    if (const auto of = known.find(accelerator.id); accelerator.device == device && of != known.end() && std::exchange(of->second.listed, false)) of->second.model->members.push_back(of->second.member);
}

void Fleet::reckon(const Model& model) const {
  if (model.reckoned) return;
  model.reckoned = true;
  for (const auto& [metric, compared] : model.figures) {
    std::vector<double> values;
    values.reserve(compared.figures.size());
    std::vector<bool> seen(members_.size());
    std::size_t members = 0;
    for (const auto& figure : compared.figures) {
      values.push_back(figure.value);
      members += !seen[figure.member];
      seen[figure.member] = true;
    }
    model.peers[metric] = {*robust(std::move(values)), members};
  }
}

const Peers& Fleet::peers(const std::string& profile, const std::string& model, const std::string& level) const {
  static const Peers none;
  const auto found = models_.find(key_of(profile, model, level));
  if (found == models_.end()) return none;
  reckon(found->second);
  return found->second.peers;
}

std::map<std::string, const Peers*> Fleet::peers_of(const std::string& profile, const TestReport& report, const std::string& level) const {
  std::map<std::string, const Peers*> out;
  for (const auto& accelerator : report.accelerators)
    out.emplace(accelerator.model, &peers(profile, accelerator.model, level + shape_of_load(report, accelerator.id, accelerator.device)));
  return out;
}

const Fleet::Vote& Fleet::vote_on(const Compared& compared) {
  if (compared.vote) return *compared.vote;
  const bool of_telltale = telltale_of(compared.metric) != nullptr;
  std::map<double, std::size_t> parties;
  for (const auto& figure : compared.figures) ++parties[of_telltale ? double(figure.value > 0) : figure.value];
  const auto largest = std::max_element(parties.begin(), parties.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  Vote vote{largest->first, compared.figures.size(), largest->second, parties.size() > 1, false};
  vote.decided = vote.voters >= 3 && vote.agreeing * 2 > vote.voters;
  return compared.vote.emplace(vote);
}

// Who of these members dissents in one vote.
void Fleet::collect_dissents(const Compared& compared, Members of, std::vector<Dissent>& out) const {
  if (compared.figures.empty()) return;
  const Vote& vote = vote_on(compared);
  if (!vote.split) return;
  const Telltale* telltale = telltale_of(compared.metric);
  if (telltale && (!vote.decided || vote.winner > 0)) return;
  const Verdict verdict = telltale ? telltale->verdict : vote.decided ? Verdict::fail : Verdict::not_judged;
  const std::string reason =
      telltale      ? fmt::format("{}: {}, while {} of {} accelerators of its model do without ({})", compared.metric, telltale->words, vote.agreeing, vote.voters,
                                  kfab::to_string(telltale->verdict == Verdict::fail ? code::wrong_bits : code::kernel_refused))
      : vote.decided ? fmt::format("{}: its result differs from that of {} of {} accelerators of its model, given the same work ({})", compared.metric, vote.agreeing, vote.voters,
                                  kfab::to_string(code::wrong_bits))
                    : fmt::format("{}: {} accelerators of its model do not agree on the result, and no majority says who is right", compared.metric, vote.voters);
  const auto before = [](const Figure& figure, std::uint32_t member) { return figure.member < member; };
  // Figures of a node stand together, in any order.
  for (auto figure = std::lower_bound(compared.figures.begin(), compared.figures.end(), of.first, before); figure != compared.figures.end() && figure->member < of.end; ++figure) {
    if (vote.decided && (telltale ? double(figure->value > 0) : figure->value) == vote.winner) continue;
    const Member& member = members_[figure->member];
    out.push_back({places_[member.place].node, member.id, compared.metric, links_[figure->link], member.slot, vote.voters, vote.agreeing, vote.decided, verdict, reason});
  }
}

std::vector<Dissent> Fleet::dissents() const {
  std::vector<Dissent> out;
  for (const auto& [model, votes] : votes_)
    for (const auto& [key, compared] : votes) collect_dissents(compared, {0, static_cast<std::uint32_t>(members_.size())}, out);
  return out;
}

std::vector<Dissent> Fleet::dissents_of(const std::string& node) const {
  std::vector<Dissent> out;
  const auto known = members_of_.find(node);
  if (known == members_of_.end()) return out;
  for (const auto& [model, votes] : votes_)
    for (const auto& [key, compared] : votes)
      for (const Members& of : known->second) collect_dissents(compared, of, out);
  return out;
}

Fleet::Grouping Fleet::grouped(const Model& model, std::size_t kind) const {
  Grouping out;
  std::unordered_map<std::string, std::uint32_t> numbers;
  out.of_member.reserve(model.members.size());
  for (const std::uint32_t m : model.members) {
    std::string name = kinds[kind].name(places_[members_[m].place], members_[m].slot);
    if (name.empty()) {
      out.of_member.push_back(no_group);
      continue;
    }
    const auto [known, is_new] = numbers.try_emplace(name, static_cast<std::uint32_t>(out.names.size()));
    if (is_new) out.names.push_back(std::move(name));
    out.of_member.push_back(known->second);
  }
  return out;
}

// One metric over all accelerators of a model: its population, who lies off, and which places do.
void Fleet::compare(const Model& model, const Compared& compared, const std::vector<Grouping>& groupings, std::vector<bool>& outlying, FleetFindings& out) const {
  const auto& figures = compared.figures;
  const Direction direction = *bad_side(compared.unit);
  const PeerFigures& peers = model.peers.at(compared.metric);
  const auto place_in_model = [&](std::uint32_t member) { return static_cast<std::size_t>(std::lower_bound(model.members.begin(), model.members.end(), member) - model.members.begin()); };
  Population population{model.profile, model.model, compared.metric, compared.unit, peers.accelerators, 0, peers.robust.median, peers.robust.mad, 0, 0, peers.accelerators > fewest_peers};
  std::vector<bool> seen(places_.size());
  population.least = population.most = figures.front().value;
  for (const auto& figure : figures) {
    const std::uint32_t place = members_[figure.member].place;
    population.nodes += !seen[place];
    seen[place] = true;
    population.least = std::min(population.least, figure.value);
    population.most = std::max(population.most, figure.value);
  }
  const double spread = spread_of(peers.robust);
  if (!(spread > 0) || !std::isfinite(spread)) population.judged = false;
  out.populations.push_back(population);
  if (!population.judged) return;

  for (const auto& figure : figures) {
    const double deviations = to_bad_side(figure.value - peers.robust.median, direction) / spread;
    if (deviations <= outlier_deviations) continue;
    outlying[place_in_model(figure.member)] = true;
    ++out.outliers_in_all;
    const Member& member = members_[figure.member];
    const FleetPlace& place = places_[member.place];
    out.outliers.push_back({place.node, member.id, place.rack, place.tranche, compared.metric, compared.unit, links_[figure.link], member.slot, figure.value, deviations});
    if (out.outliers.size() > 50 * most_outliers) keep_worst(out.outliers);   // a fleet of which a tenth is ill must not fill the memory
  }
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    const Grouping& grouping = groupings[kind];
    std::vector<std::vector<double>> groups(grouping.names.size());
    for (const auto& figure : figures)
      if (const std::uint32_t group = grouping.of_member[place_in_model(figure.member)]; group != no_group) groups[group].push_back(figure.value);
    if (std::count_if(groups.begin(), groups.end(), [](const auto& values) { return !values.empty(); }) < 2) continue;
    for (std::size_t group = 0; group < groups.size(); ++group) {
      const auto& values = groups[group];
      if (values.size() <= fewest_peers || values.size() * 2 > figures.size() + 1) continue;   // it would be compared with itself
      const auto of_group = robust(values);
      const double off = to_bad_side(of_group->median - peers.robust.median, direction);
      const double error = spread * median_error / std::sqrt(double(values.size()));
      if (off / error < position_errors || off < position_share * std::abs(peers.robust.median)) continue;
      out.positions.push_back({model.profile, model.model, compared.metric, compared.unit, std::string(kinds[kind].word), grouping.names[group], values.size(), of_group->median,
                               peers.robust.median, off / error});
    }
  }
}

// What outliers of a model share, over all its metrics.
void Fleet::share(const Model& model, const std::vector<Grouping>& groupings, const std::vector<bool>& outlying, FleetFindings& out) const {
  const auto outliers = static_cast<std::size_t>(std::count(outlying.begin(), outlying.end(), true));
  if (outliers < 2) return;
  for (std::size_t kind = 0; kind < kinds.size(); ++kind) {
    const Grouping& grouping = groupings[kind];
    std::vector<std::pair<std::size_t, std::size_t>> places(grouping.names.size());   // outliers, all
    for (std::size_t m = 0; m < model.members.size(); ++m) {
      if (grouping.of_member[m] == no_group) continue;
      auto& [hit, all] = places[grouping.of_member[m]];
      ++all;
      hit += outlying[m];
    }
    if (places.size() < 2) continue;
    for (std::size_t place = 0; place < places.size(); ++place) {
      const auto [hit, all] = places[place];
      if (hit < 2 || chance(hit, all, outliers, model.members.size()) * double(places.size()) > telling_chance) continue;
      out.shared.push_back({model.profile, model.model, std::string(kinds[kind].word), grouping.names[place], hit, outliers, all});
    }
  }
}

FleetFindings Fleet::findings() const {
  FleetFindings out;
  for (const auto& [name, votes] : votes_)
    for (const auto& [key, compared] : votes) {
      std::vector<Dissent> some;
      collect_dissents(compared, {0, static_cast<std::uint32_t>(members_.size())}, some);
      out.dissents_in_all += some.size();
      for (auto& one : some)
        if (out.dissents.size() < most_dissents) out.dissents.push_back(std::move(one));
    }
  for (const auto& [key, model] : models_) {
    if (model.figures.empty()) continue;
    reckon(model);
    std::vector<Grouping> groupings;
    for (std::size_t kind = 0; kind < kinds.size(); ++kind) groupings.push_back(grouped(model, kind));
    std::vector<bool> outlying(model.members.size());
    for (const auto& [metric, compared] : model.figures) compare(model, compared, groupings, outlying, out);
    share(model, groupings, outlying, out);
  }
  keep_worst(out.outliers);
  std::stable_sort(out.positions.begin(), out.positions.end(), [](const Position& a, const Position& b) { return a.deviations > b.deviations; });
  if (out.positions.size() > most_positions) out.positions.resize(most_positions);
  std::stable_sort(out.shared.begin(), out.shared.end(), [](const SharedPlace& a, const SharedPlace& b) { return a.outliers > b.outliers; });
  if (out.shared.size() > most_shared) out.shared.resize(most_shared);
  return out;
}

void take_dissents(const std::vector<Dissent>& dissents, const std::string& node, NodeJudgement& judgement) {
  for (const auto& dissent : dissents) {
    if (dissent.node != node) continue;
    for (auto& accelerator : judgement.accelerators) {
      if (accelerator.id != dissent.accelerator) continue;
      accelerator.verdict = worse(accelerator.verdict, dissent.verdict);
      accelerator.reasons.insert(accelerator.reasons.begin(), dissent.reason);
      judgement.verdict = worse(judgement.verdict, dissent.verdict);
      judgement.reasons.insert(judgement.reasons.begin(), judgement.accelerators.size() > 1 ? fmt::format("{} {}: {}", accelerator.device, accelerator.index, dissent.reason) : dissent.reason);
    }
  }
}

}  // namespace kfab::validation
