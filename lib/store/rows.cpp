#include "store/rows.hpp"

#include <algorithm>
#include <array>

namespace kfab::store {
namespace {

constexpr std::size_t longest_summary_text = 400;
constexpr std::array outcomes{Outcome::yes, Outcome::no, Outcome::invalid, Outcome::incomplete, Outcome::bug, Outcome::cancelled};

}  // namespace

NodeOutcome read_node_outcome(std::string_view word) {
  for (const NodeOutcome outcome : all_node_outcomes)
    if (to_string(outcome) == word) return outcome;
  return NodeOutcome::unreachable;
}

Verdict read_verdict(std::string_view word) { return parse_verdict(word).value_or(Verdict::not_judged); }

std::optional<Outcome> read_outcome(std::string_view word) {
  for (const Outcome outcome : outcomes)
    if (to_string(outcome) == word) return outcome;
  return std::nullopt;
}

json::Value summary_of(const json::Value& document) {
  const json::Object* object = document.as_object();
  if (object == nullptr) return {};
  std::vector<json::Member> summary;
  for (const auto& [key, value] : object->members()) {
    const std::string* text = value.as_string();
    if (value.is_array() || value.is_object() || (text && text->size() > longest_summary_text)) continue;
    summary.emplace_back(key, value);
  }
  return json::Object::from_members(std::move(summary));
}

json::Value read_document(const std::string& text) {
  if (text.empty() || text == "null") return {};
  auto parsed = json::parse(text);
  return parsed ? std::move(parsed).value() : json::Value();
}

}  // namespace kfab::store
