#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

#include <fmt/format.h>

#include "base/text.hpp"
#include "validation/judge.hpp"

namespace kfab::validation {
namespace {

// "memory.total_gib" or "gpus.0.name": members of objects, places in arrays.
const json::Value& at_path(const json::Value& facts, std::string_view path) {
  static const json::Value missing;
  const json::Value* here = &facts;
  for (const auto& part : split(path, '.')) {
    if (const auto* array = here->as_array()) {
      std::size_t index = 0;
      if (part.empty() || part.size() > 6 || part.find_first_not_of("0123456789") != std::string::npos) return missing;
      for (const char c : part) index = index * 10 + std::size_t(c - '0');
      if (index >= array->size()) return missing;
      here = &(*array)[index];
    } else {
      here = &(*here)[part];
    }
  }
  return *here;
}

std::string shown(const json::Value& value) {
  if (const auto* text = value.as_string()) return one_line(*text, 100);
  if (value.is_number()) return format_number(value.as_double().value_or(0), 3);
  return one_line(json::dump(value), 100);
}

bool same(const json::Value& a, const json::Value& b) {
  if (a.is_number() && b.is_number()) return a.as_double() == b.as_double();
  return json::dump(a) == json::dump(b);
}

FactVerdict judge_fact(const std::string& path, const json::Value& wanted, const json::Value& found) {
  FactVerdict out;
  out.path = path;
  out.found = found.is_null() ? std::string() : shown(found);
  // A bare value means equal.
  const json::Value rules = wanted.is_object() ? wanted : json::Value(json::Object{{"equal", wanted}});
  Verdict verdict = Verdict::pass;
  bool any = false;
  for (const auto& [rule, value] : rules.as_object()->members()) {
    out.expected += (out.expected.empty() ? "" : ", ") + rule + " " + shown(value);
    if (found.is_null()) continue;
    any = true;
    if (rule == "min" || rule == "max") {
      const bool comparable = found.is_number() && value.is_number();
      const double number = found.as_double().value_or(0), limit = value.as_double().value_or(0);
      if (!comparable) {
        verdict = worse(verdict, Verdict::not_judged);
        out.reason = fmt::format("{} is {}, which is no number to be held against {} {}", path, out.found, rule, shown(value));
      } else if (rule == "min" ? number < limit : number > limit) {
        verdict = Verdict::fail;
        out.reason = fmt::format("{} is {}, {} {} was expected", path, out.found, rule == "min" ? "at least" : "at most", shown(value));
      }
    } else if (rule == "equal") {
      if (same(found, value)) continue;
      verdict = Verdict::fail;
      out.reason = fmt::format("{} is {}, {} was expected", path, out.found, shown(value));
    } else if (rule == "one_of") {
      bool one = false;
      if (const auto* choices = value.as_array())
        for (const auto& choice : *choices) one |= same(found, choice);
      if (one) continue;
      verdict = Verdict::fail;
      out.reason = fmt::format("{} is {}, one of {} was expected", path, out.found, shown(value));
    } else {
      verdict = worse(verdict, Verdict::not_judged);
      out.reason = fmt::format("{}: there is no rule '{}'; use min, max, equal or one_of", path, one_line(rule, 40));
    }
  }
  if (found.is_null()) {
    out.verdict = Verdict::not_judged;
    out.reason = fmt::format("the node tells no {}", path);
  } else {
    out.verdict = any ? verdict : Verdict::not_judged;
    if (!any) out.reason = fmt::format("{}: nothing is expected of it", path);
  }
  return out;
}

// How many accelerators of the profile's vendor the node shows: by its driver, or on the bus while it has none. Fewer
// than the profile says are missing; where kfab cannot be sure of what it counts, they are only not seen.
std::optional<FactVerdict> judge_count(const manifest::Profile& profile, const json::Value& facts) {
  if (profile.vendor == "cpu" || profile.device == "cpu" || !profile.per_node.known()) return std::nullopt;
  const auto& cards = facts.array_at("accelerators");
  const auto on_bus = std::count_if(cards.begin(), cards.end(), [&](const auto& card) { return card.string_or("vendor") == profile.vendor; });
  const auto by_driver = profile.vendor == "nvidia" ? std::ssize(facts.array_at("gpus")) : 0;
  const auto found = by_driver > 0 ? by_driver : on_bus;
  FactVerdict out{"accelerators", fmt::format("min {}", *profile.per_node), std::to_string(found), Verdict::pass, {}};
  if (found >= *profile.per_node) return out;
  out.verdict = profile.vendor == "nvidia" || profile.vendor == "amd" ? Verdict::fail : Verdict::not_judged;
  out.reason = fmt::format("{} of {} accelerators of {} are there{}", found, *profile.per_node, profile.vendor, by_driver > 0 ? ", says the driver" : ", on the PCI bus");
  return out;
}

}  // namespace

std::string InventoryJudgement::reason() const {
  const FactVerdict* worst = nullptr;
  std::size_t others = 0;
  for (const auto& fact : facts) {
    if (fact.verdict == Verdict::pass) continue;
    if (!worst || (fact.verdict == Verdict::fail && worst->verdict != Verdict::fail)) others += worst != nullptr, worst = &fact;
    else ++others;
  }
  if (!worst) return facts.empty() ? "the profile states no expectation" : std::string();
  return others ? fmt::format("{} (and {} more)", worst->reason, others) : worst->reason;
}

InventoryJudgement judge_inventory(const manifest::Profile& profile, const json::Value& facts) {
  InventoryJudgement out;
  if (auto count = judge_count(profile, facts)) out.facts.push_back(std::move(*count));
  if (const auto* expected = profile.expect.as_object())
    for (const auto& [path, wanted] : expected->members()) out.facts.push_back(judge_fact(path, wanted, at_path(facts, path)));
  for (std::size_t i = 0; i < out.facts.size(); ++i) out.verdict = i == 0 ? out.facts[i].verdict : worse(out.verdict, out.facts[i].verdict);
  return out;
}

}  // namespace kfab::validation
