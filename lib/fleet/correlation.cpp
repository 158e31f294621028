#include "fleet/correlation.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "base/text.hpp"

namespace kfab::fleet {
namespace {

constexpr std::size_t fewest_failures = 3;
constexpr std::size_t most_shared = 5;
constexpr std::size_t most_reasons = 4;      // of one outcome, code and phase, before they become one group
constexpr double likely_by_chance = 0.05;

// "10.1.7.0/24" of a numeric address, "2001:db8:0:7::/64" of an IPv6 one; nothing of a name.
std::string prefix_of(const std::string& address) {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) {
    std::array<unsigned char, 4> bytes{};
    std::copy_n(reinterpret_cast<const unsigned char*>(&v4), bytes.size(), bytes.begin());
    return fmt::format("{}.{}.{}.0/24", bytes[0], bytes[1], bytes[2]);
  }
  in6_addr v6{};
  if (inet_pton(AF_INET6, address.c_str(), &v6) != 1) return {};
  std::fill(std::begin(v6.s6_addr) + 8, std::end(v6.s6_addr), static_cast<unsigned char>(0));
  char text[INET6_ADDRSTRLEN] = {};
  return inet_ntop(AF_INET6, &v6, text, sizeof text) == nullptr ? std::string() : std::string(text) + "/64";
}

using GroupKey = std::tuple<NodeOutcome, std::string, std::string, int, bool, std::string>;
GroupKey key_of(const NodeEnd& end) {
  return {end.outcome, end.code, end.phase, end.exit_status.value_or(0), end.exit_status.has_value(), end.signal};
}

std::vector<FailureGroup> groups_of(const std::vector<const NodeEnd*>& failed) {
  std::map<GroupKey, std::set<std::string>> reasons;
  for (const NodeEnd* end : failed) reasons[key_of(*end)].insert(end->reason);
  std::map<std::pair<GroupKey, std::string>, std::size_t> index;
  std::vector<FailureGroup> groups;
  std::vector<const NodeEnd*> first_of;   // each group
  for (const NodeEnd* end : failed) {
    const GroupKey key = key_of(*end);
    const bool many = reasons.at(key).size() > most_reasons;
    const auto [at, fresh] = index.emplace(std::pair(key, many ? std::string() : end->reason), groups.size());
    if (fresh) groups.push_back({end->outcome, end->code, end->phase, end->reason, end->message, end->exit_status, end->signal, many, {}, {}});
    FailureGroup& group = groups[at->second];
    group.nodes.push_back(end->node);
    if (fresh) first_of.push_back(end);
    const auto own = [](const NodeEnd& of, const std::string& line) { return impersonal(line, of.node, of.address) != line; };
    if (group.nodes.size() == 2) std::erase_if(group.help, [&](const std::string& line) { return own(*first_of[at->second], line); });
    for (const std::string& line : end->help) {
      if (group.help.size() >= FailureGroup::most_help) break;
      if (group.nodes.size() > 1 && own(*end, line)) continue;
      if (std::find(group.help.begin(), group.help.end(), line) == group.help.end()) group.help.push_back(line);
    }
  }
  std::stable_sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.nodes.size() > b.nodes.size(); });
  return groups;
}

bool telling(const SharedTrait& trait, std::size_t started, std::size_t traits) {
  if (trait.failures < fewest_failures || trait.of_started == started) return false;
  if (trait.failures * 10 < trait.of_failures && trait.failures * 2 < trait.of_started) return false;
  const double chance = chance_of_at_least(trait.failures, started, trait.of_started, trait.of_failures);
  return chance * static_cast<double>(traits) < likely_by_chance;
}

// The telling traits of one kind; `trait_of` gives each node's, empty for none.
template <class TraitOf>
void add_shared(std::string_view kind, const std::vector<NodeEnd>& ends, std::size_t started, std::size_t failures, TraitOf trait_of,
                std::vector<SharedTrait>& shared) {
  std::map<std::string, SharedTrait> traits;
  for (const NodeEnd& end : ends) {
    const std::string name = trait_of(end);
    if (name.empty()) continue;
    SharedTrait& trait = traits[name];
    ++trait.of_nodes;
    if (end.started) ++trait.of_started;
    if (end.well || !end.started) continue;
    ++trait.failures;
    trait.nodes.push_back(end.node);
  }
  for (auto& [name, trait] : traits) {
    trait.kind = kind;
    trait.name = name;
    trait.of_failures = failures;
    if (!telling(trait, started, traits.size())) continue;
    if (std::none_of(shared.begin(), shared.end(), [&](const SharedTrait& known) { return known.nodes == trait.nodes; }))
      shared.push_back(std::move(trait));
  }
}

double log_choose(std::size_t n, std::size_t k) {
  return std::lgamma(static_cast<double>(n) + 1) - std::lgamma(static_cast<double>(k) + 1) - std::lgamma(static_cast<double>(n - k) + 1);
}

bool is_letter(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-'; }
bool is_joint(char c) { return c == '.' || c == ':'; }   // of a name or an address, where a letter follows

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    const std::size_t end = at + from.size();
    const bool goes_on = end < text.size() && (is_letter(text[end]) || (is_joint(text[end]) && end + 1 < text.size() && is_letter(text[end + 1])));
    const bool whole = (at == 0 || !(is_letter(text[at - 1]) || is_joint(text[at - 1]))) && !goes_on;
    if (whole) text.replace(at, from.size(), to);
    else at += from.size() - std::min(from.size(), to.size());
  }
}

}  // namespace

double chance_of_at_least(std::size_t marked, std::size_t all, std::size_t kind, std::size_t drawn) {
  double sum = 0;
  for (std::size_t k = marked; k <= std::min(kind, drawn); ++k) {
    if (drawn - k > all - kind) continue;   // not so many others are there
    sum += std::exp(log_choose(kind, k) + log_choose(all - kind, drawn - k) - log_choose(all, drawn));
  }
  return std::min(sum, 1.0);
}

FailureSummary summarize_failures(const std::vector<NodeEnd>& ends) {
  FailureSummary summary;
  summary.nodes = ends.size();
  std::vector<const NodeEnd*> failed;
  for (const NodeEnd& end : ends) {
    if (!end.started) {
      summary.not_started.push_back(end.node);
      continue;
    }
    if (end.well) continue;
    failed.push_back(&end);
    summary.failed.push_back(end.node);
  }
  summary.groups = groups_of(failed);
  const std::size_t started = ends.size() - summary.not_started.size();
  add_shared("rack", ends, started, failed.size(), [](const NodeEnd& end) { return end.rack; }, summary.shared);
  add_shared("jump_host", ends, started, failed.size(), [](const NodeEnd& end) { return end.via; }, summary.shared);
  add_shared("address_prefix", ends, started, failed.size(), [](const NodeEnd& end) { return prefix_of(end.address); }, summary.shared);
  std::stable_sort(summary.shared.begin(), summary.shared.end(), [](const auto& a, const auto& b) { return a.failures > b.failures; });
  if (summary.shared.size() > most_shared) summary.shared.resize(most_shared);
  return summary;
}

std::string to_text(const SharedTrait& trait) {
  const auto number = [](std::size_t n) { return with_thousands(static_cast<long long>(n)); };
  std::string kind = trait.kind;
  std::replace(kind.begin(), kind.end(), '_', ' ');
  return fmt::format("{} of {} failures share {} {} ({} of its {} nodes)", number(trait.failures), number(trait.of_failures), kind,
                     one_line(trait.name, 80), number(trait.failures), number(trait.of_nodes));
}

std::string impersonal(std::string_view reason, std::string_view node, std::string_view address) {
  std::string text(reason);
  const std::string lead = one_line(node) + ": ";
  if (text.starts_with(lead)) text.erase(0, lead.size());
  if (!address.empty()) replace_all(text, one_line(address), "its address");
  // Only names that are no words: a node may be called "a" or "command".
  if (node != address && node.find_first_of("0123456789") != std::string_view::npos) replace_all(text, one_line(node), "it");
  return text;
}

}  // namespace kfab::fleet
