#include "readiness/plan_checks.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/text.hpp"
#include "readiness/node_states.hpp"
#include "readiness/words.hpp"

namespace kfab::readiness {
namespace {

// What all tranches together plan, cumulative targets taken apart. Absent when one of them does not say.
struct Total { std::int64_t accelerators = 0; bool complete = true; bool any = false; };

Total planned(const Plan& plan) {
  Total total;
  for (const auto& tranche : plan.tranches()) {
    const auto& shares = plan.shares(tranche);
    if (shares.empty()) total.complete = false;
    for (const auto& share : shares) {
      if (share.accelerators) total.accelerators += *share.accelerators;
      total.complete = total.complete && share.accelerators.has_value();
      total.any = total.any || share.accelerators.has_value();
    }
  }
  return total;
}

// "50,000 + 50,000 + 60,000"
std::string sum_text(const std::vector<std::int64_t>& parts) {
  std::vector<std::string> words;
  for (const auto part : parts) words.push_back(with_thousands(part));
  return parts.size() > 8 ? fmt::format("{} parts", parts.size()) : join(words, " + ");
}

std::string title_of(const std::vector<manifest::Tenant>& tenants, const std::string& name) {
  const auto found = std::find_if(tenants.begin(), tenants.end(), [&](const auto& tenant) { return tenant.name == name; });
  return found == tenants.end() ? "" : found->title;
}

// Allocations of the whole, of no one tranche, against the whole.
void check_allocations(const std::vector<manifest::Allocation>& allocations, const std::vector<manifest::Tenant>& tenants,
                       std::optional<std::int64_t> whole, std::int64_t accepted, Readiness& out) {
  std::vector<std::int64_t> parts;
  std::int64_t sum = 0, unknown = 0, left = accepted;
  for (const auto& row : allocations) {
    if (!row.tranche.empty()) continue;
    AllocationStatus status{row.tenant, title_of(tenants, row.tenant), {}, row.profile, row.use, row.mode,
                            row.source.empty() ? row.accelerators.source : row.source, row.accelerators.get(), {}, {},
                            row.from.known() ? to_string(*row.from) : ""};
    if (!status.entitled && row.percent.known() && whole) status.entitled = static_cast<std::int64_t>(static_cast<double>(*whole) * *row.percent / 100);
    if (status.entitled) {
      parts.push_back(*status.entitled);
      sum += *status.entitled;
      status.accepted = std::min(left, *status.entitled);
      left -= *status.accepted;
      status.shortfall = *status.entitled - *status.accepted;
    } else {
      ++unknown;
    }
    out.allocations.push_back(std::move(status));
  }
  if (out.allocations.empty()) return;
  PlanCheck check{"allocations_sum", Verdict::pass, fmt::format("{} = {} allocated", sum_text(parts), count_text(sum, "accelerator"))};
  if (!whole) {
    check.verdict = Verdict::not_judged;
    check.detail += "; the whole is not stated";
  } else if (sum > *whole) {
    check.verdict = Verdict::fail;
    check.detail += fmt::format(", {} more than the {} of the whole", with_thousands(sum - *whole), with_thousands(*whole));
  } else if (unknown > 0) {
    check.verdict = Verdict::not_judged;
    check.detail += fmt::format(" of {}; of {} nobody has said how many", with_thousands(*whole), count_text(unknown, "allocation"));
  } else if (sum < *whole) {
    check.verdict = Verdict::degraded;
    check.detail += fmt::format("; {} of the {} of the whole are allocated to nobody", with_thousands(*whole - sum), with_thousands(*whole));
  } else {
    check.detail += ", which is the whole";
  }
  out.plan_checks.push_back(std::move(check));
}

void check_unassigned(const manifest::Site& site, Readiness& out) {
  std::int64_t without = 0;
  for (const auto& node : site.nodes) without += site.find_tranche(node.tranche) == nullptr;
  if (without > 0)
    out.plan_checks.push_back({"nodes_in_tranches", Verdict::degraded, fmt::format("{} of {} are in no tranche and make none ready", with_thousands(without), count_text(static_cast<std::int64_t>(site.nodes.size()), "node"))});
}

}  // namespace

void check_plan(const manifest::Site& site, const Plan& plan, Readiness& out) {
  const Total total = planned(plan);
  if (total.any) out.target_accelerators = total.accelerators;
  check_allocations(site.allocations, site.tenants, total.any && total.complete ? std::optional(total.accelerators) : std::nullopt,
                    out.accelerator_counts.accepted, out);
  check_unassigned(site, out);
}

void check_plan(const manifest::Program& program, const Plan& plan, Readiness& out) {
  const auto whole = program.accelerators.get();
  out.target_accelerators = whole;
  check_allocations(program.allocations, program.tenants, whole, out.accelerator_counts.accepted, out);

  const Total total = planned(plan);
  if (whole && total.any) {
    PlanCheck check{"tranches_sum", Verdict::pass, fmt::format("its tranches hold {} of {}", count_text(total.accelerators, "accelerator"), with_thousands(*whole))};
    if (total.accelerators > *whole) check.verdict = Verdict::fail;
    else if (total.accelerators < *whole) {
      check.verdict = Verdict::degraded;
      check.detail += fmt::format("; {} are in no tranche yet", with_thousands(*whole - total.accelerators));
    }
    out.plan_checks.push_back(std::move(check));
  }

  // What the whole needs at nameplate, per profile that could make it up, against what the sites have.
  if (!whole) return;
  double envelopes = 0;
  std::map<std::string, double> largest;   // per site, for cumulative tranches
  for (const auto& tranche : out.tranches)
    if (!tranche.site.empty() && tranche.power.envelope_kw)
      largest[tranche.site] = tranche.power.cumulative ? std::max(largest[tranche.site], *tranche.power.envelope_kw) : largest[tranche.site] + *tranche.power.envelope_kw;
  for (const auto& [site, kw] : largest) envelopes += kw;
  for (const auto& [name, profile] : program.profiles) {
    const auto per_node = accelerators_of(&profile);
    if (per_node == 0 || !profile.nameplate_kw.known()) continue;
    const auto nodes = (*whole + per_node - 1) / per_node;
    const double it_kw = static_cast<double>(nodes) * *profile.nameplate_kw;
    const double with_overhead = it_kw * (1 + (program.power.overhead_fraction ? *program.power.overhead_fraction : 0.0));
    std::string text = fmt::format("{} at {} per node are {} of {}: {} of IT load at nameplate", count_text(*whole, "accelerator"), per_node,
                                   count_text(nodes, "node"), name, power_text(it_kw));
    double needed = with_overhead;
    if (program.power.pue) {
      needed *= *program.power.pue;
      text += fmt::format(", {} at the meter with PUE {}{}", power_text(needed), format_number(*program.power.pue, 2),
                          program.power.overhead_fraction ? " and overhead " + percent_text(*program.power.overhead_fraction * 100) : "");
    }
    PlanCheck check{"power_of_whole", Verdict::not_judged, text};
    if (largest.empty()) check.detail += "; no site of the programme states an envelope";
    else if (needed > envelopes) {
      check.verdict = Verdict::fail;
      check.detail += fmt::format("; the envelopes of its sites are {} together", power_text(envelopes));
    } else {
      check.verdict = program.power.pue ? Verdict::pass : Verdict::not_judged;
      check.detail += fmt::format("; the envelopes of its sites are {} together{}", power_text(envelopes), program.power.pue ? "" : ", and the PUE is not stated");
    }
    out.plan_checks.push_back(std::move(check));
  }
}

}  // namespace kfab::readiness
