#include <algorithm>
#include <cmath>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>

#include "base/codes/manifest.hpp"
#include "base/text.hpp"
#include "manifest/decode.hpp"

namespace kfab::manifest {
namespace {

void report(const Document& document, Code code, std::string path, const SourceSpan& span, std::string message, std::string label) {
  Diagnostic d = make_diagnostic(code, std::move(message));
  d.path = std::move(path);
  d.span = span;
  d.label = std::move(label);
  document.findings->add(std::move(d));
}

// The accelerators that a target stands for, if that can be said: stated, or nodes times what a node has.
std::optional<std::int64_t> accelerators_of(const Target& target, const std::map<std::string, Profile>& profiles) {
  if (target.accelerators) return *target.accelerators;
  const auto profile = profiles.find(target.profile);
  if (!target.nodes || profile == profiles.end() || !profile->second.per_node) return std::nullopt;
  return *target.nodes * *profile->second.per_node;
}

}  // namespace

std::vector<std::vector<std::size_t>> find_cycles(const std::vector<std::vector<std::size_t>>& before) {
  // What has nothing before it that is still there is taken away, again and again; what stays is in a circle or waits
  // for one. Walking backwards from it ends in the circle.
  const std::size_t count = before.size();
  std::vector<std::vector<std::size_t>> after(count);
  std::vector<std::size_t> open(count);
  for (std::size_t i = 0; i < count; ++i) {
    open[i] = before[i].size();
    for (const std::size_t j : before[i]) after[j].push_back(i);
  }
  std::vector<std::size_t> free;
  std::vector<bool> gone(count, false);
  const auto take_free = [&] {
    while (!free.empty()) {
      const std::size_t i = free.back();
      free.pop_back();
      if (gone[i]) continue;
      gone[i] = true;
      for (const std::size_t j : after[i])
        if (open[j] > 0 && --open[j] == 0) free.push_back(j);
    }
  };
  for (std::size_t i = 0; i < count; ++i)
    if (open[i] == 0) free.push_back(i);
  take_free();
  std::vector<std::vector<std::size_t>> circles;
  for (std::size_t start = 0; start < count; ++start) {
    if (gone[start]) continue;
    std::vector<std::size_t> way;
    std::unordered_map<std::size_t, std::size_t> step;
    std::size_t at = start;
    while (step.emplace(at, way.size()).second) {
      way.push_back(at);
      at = *std::find_if(before[at].begin(), before[at].end(), [&](std::size_t j) { return !gone[j]; });
    }
    std::vector<std::size_t> circle(way.begin() + static_cast<std::ptrdiff_t>(step[at]), way.end());
    std::rotate(circle.begin(), std::min_element(circle.begin(), circle.end()), circle.end());
    for (const std::size_t i : circle) free.push_back(i);   // so that what waits for it is not told again
    circles.push_back(std::move(circle));
    take_free();
  }
  return circles;
}

void check_tranches(const std::vector<Tranche>& tranches, const Document& document) {
  std::unordered_map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < tranches.size(); ++i) index.emplace(tranches[i].name, i);
  std::vector<std::vector<std::size_t>> before(tranches.size());
  for (std::size_t i = 0; i < tranches.size(); ++i)
    for (const std::string& name : tranches[i].depends_on)
      if (const auto found = index.find(name); found != index.end()) before[i].push_back(found->second);
  for (const auto& circle : find_cycles(before)) {
    Words words;
    for (const std::size_t i : circle) words.push_back(tranches[i].name);
    words.push_back(words.front());
    report(document, code::dependency_cycle, fmt::format("spec.tranches[{}].depends_on", circle.front()), tranches[circle.front()].span,
           "tranches depend on each other: " + one_line(join(words, " on "), 300), "part of the circle");
  }
  for (std::size_t i = 0; i < tranches.size(); ++i)
    for (const std::size_t j : before[i])
      if (i != j && tranches[i].due && tranches[j].due && *tranches[i].due < *tranches[j].due)
        report(document, code::due_before_dependency, fmt::format("spec.tranches[{}].due", i), tranches[i].due.span,
               fmt::format("'{}' is due on {}, before '{}' on {}, which it depends on", tranches[i].name, to_string(*tranches[i].due),
                           tranches[j].name, to_string(*tranches[j].due)),
               "earlier than its dependency");
}

void check_targets(const std::vector<Tranche>& tranches, const std::map<std::string, Profile>& profiles, const std::vector<Node>& declared, const Document& document) {
  std::unordered_map<std::string_view, std::int64_t> in_tranche;
  for (const Node& node : declared) ++in_tranche[node.tranche];
  for (std::size_t i = 0; i < tranches.size(); ++i) {
    const Tranche& tranche = tranches[i];
    std::int64_t nodes = 0;
    bool counted = !tranche.targets.empty();   // in nodes, all of them
    for (std::size_t k = 0; k < tranche.targets.size(); ++k) {
      const Target& target = tranche.targets[k];
      const auto profile = profiles.find(target.profile);
      const std::int64_t per_node = profile == profiles.end() || !profile->second.per_node ? 0 : *profile->second.per_node;   // 0: not known
      if (target.accelerators && target.nodes && per_node > 0 && *target.nodes * per_node != *target.accelerators)
        report(document, code::target_contradicts, fmt::format("spec.tranches[{}].targets[{}].nodes", i, k), target.nodes.span,
               fmt::format("{} with {} each are {} accelerators, and the target states {}", plural(*target.nodes, "node"), per_node,
                           with_thousands(*target.nodes * per_node), with_thousands(*target.accelerators)),
               "does not agree with accelerators");
      if (target.nodes) nodes += *target.nodes;
      else if (target.accelerators && per_node > 0) nodes += (*target.accelerators + per_node - 1) / per_node;
      else counted = false;
    }
    // Spares, and what else is declared, may be part of a block.
    nodes = std::max(nodes, in_tranche[tranche.name]);
    for (const Target& target : tranche.targets) counted = counted && !target.spares_pct && !target.cumulative;
    std::int64_t wanted = 0;
    for (const int block : tranche.ready_when.contiguous) wanted += block;
    if (counted && wanted > nodes)
      report(document, code::blocks_over_target, fmt::format("spec.tranches[{}].ready_when.contiguous", i), tranche.span,
             fmt::format("the blocks of tranche '{}' take {}, and it has {} by its targets and by what is declared", tranche.name, plural(wanted, "node"), plural(nodes, "node")),
             "can never be ready");
  }
}

void check_allocations(const std::vector<Tranche>& tranches, const std::vector<Allocation>& allocations,
                       const std::map<std::string, Profile>& profiles, const Document& document) {
  for (const Tranche& tranche : tranches) {
    // Once for the whole tranche, and once for each profile that allocations name.
    std::vector<std::string> parts{""};
    for (const Allocation& one : allocations)
      if (one.tranche == tranche.name && !one.profile.empty() && std::find(parts.begin(), parts.end(), one.profile) == parts.end())
        parts.push_back(one.profile);
    for (const std::string& profile : parts) {
      std::int64_t target = 0;
      bool stated = !tranche.targets.empty();
      for (const Target& one : tranche.targets) {
        if (!profile.empty() && one.profile != profile) continue;
        const auto count = accelerators_of(one, profiles);
        if (count) target += *count;
        else stated = false;
      }
      if (!stated) continue;   // nothing to hold it against
      std::int64_t promised = 0;
      for (std::size_t i = 0; i < allocations.size(); ++i) {
        const Allocation& one = allocations[i];
        if (one.tranche != tranche.name || (!profile.empty() && one.profile != profile)) continue;
        if (one.accelerators) promised += *one.accelerators;
        else if (one.percent) promised += static_cast<std::int64_t>(std::floor(*one.percent / 100.0 * static_cast<double>(target)));
        if (promised <= target) continue;
        report(document, code::allocations_over_target, fmt::format("spec.allocations[{}]", i), one.span,
               fmt::format("allocations of tranche '{}'{} reach {}, its target is {}", tranche.name,
                           profile.empty() ? "" : fmt::format(" and profile '{}'", profile), with_thousands(promised), with_thousands(target)),
               fmt::format("{} too many with this one", with_thousands(promised - target)));
        break;
      }
    }
  }
}

void check_program_total(const Program& program, const Document& document) {
  if (!program.accelerators) return;
  const std::int64_t total = *program.accelerators;
  std::int64_t promised = 0;
  bool any = false, all_stated = true;
  for (std::size_t i = 0; i < program.allocations.size(); ++i) {
    const Allocation& one = program.allocations[i];
    if (!one.tranche.empty()) continue;
    any = true;
    if (one.accelerators) promised += *one.accelerators;
    else if (one.percent) promised += static_cast<std::int64_t>(std::floor(*one.percent / 100.0 * static_cast<double>(total)));
    else all_stated = false;
    if (promised <= total) continue;
    report(document, code::allocations_over_total, fmt::format("spec.allocations[{}]", i), one.span,
           fmt::format("allocations reach {}, the programme has {}", with_thousands(promised), with_thousands(total)),
           fmt::format("{} too many with this one", with_thousands(promised - total)));
    return;
  }
  if (any && all_stated && promised < total)
    report(document, code::allocations_below_total, "spec.accelerators", program.accelerators.span,
           fmt::format("allocations add up to {}, the programme has {}", with_thousands(promised), with_thousands(total)),
           fmt::format("{} not allocated", with_thousands(total - promised)));
  std::int64_t in_tranches = 0;
  for (std::size_t i = 0; i < program.tranches.size(); ++i) {
    for (const Target& target : program.tranches[i].targets)
      if (target.accelerators) in_tranches = target.cumulative ? std::max(in_tranches, *target.accelerators) : in_tranches + *target.accelerators;
    if (in_tranches <= total) continue;
    report(document, code::allocations_over_total, fmt::format("spec.tranches[{}].targets", i), program.tranches[i].span,
           fmt::format("the targets of the tranches reach {}, the programme has {}", with_thousands(in_tranches), with_thousands(total)),
           fmt::format("{} too many with this one", with_thousands(in_tranches - total)));
    return;
  }
}

}  // namespace kfab::manifest
