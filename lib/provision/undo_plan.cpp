#include "provision/undo_plan.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/codes/undo.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "json/shorthand.hpp"

namespace kfab::provision {
namespace {

constexpr std::size_t max_resources = 20'000;
constexpr std::size_t max_name = 200;

}  // namespace

std::string owner_of(const std::string& site, const std::string& node) { return site + "/" + node; }

json::Object undo_request(const std::vector<std::string>& roles, const std::string& owner, Mode mode) {
  return json::Object{{"mode", mode == Mode::plan ? "plan" : "apply"}, {"roles", json::array_of(roles)}, {"owner", owner}};
}

std::string undo_sha256(std::vector<std::string> roles) {
  std::sort(roles.begin(), roles.end());
  return sha256_hex("undo " + json::dump(json::array_of(roles)));
}

NodePlan judge_undo(const std::string& node, const std::vector<std::string>& roles, Mode mode, const std::vector<json::Value>& messages) {
  DesiredState listed;
  listed.node = node;
  listed.sha256 = undo_sha256(roles);
  bool told = false;
  for (const auto& message : messages) {
    if (message.string_or("type") != "undo" || told) continue;
    told = true;
    for (const auto& item : message.array_at("resources")) {
      if (listed.resources.size() == max_resources) break;
      DesiredResource resource;
      resource.id = one_line(item.string_or("id"), max_name);
      resource.type = one_line(item.string_or("type"), 40);
      listed.resources.push_back(std::move(resource));
    }
  }
  NodePlan plan = judge(listed, mode, messages);
  if (!told && plan.complete) {   // an agent that says it is done and names nothing was not asked what we asked
    plan.complete = false;
    plan.verdict = Verdict::not_judged;
    plan.reason = "the agent did not say what there is to undo";
  }
  const bool only_those = plan.verdict == Verdict::fail && plan.complete && plan.failed == 0 && plan.skipped == impossible(plan);
  if (!only_those) return plan;
  plan.verdict = plan.would_change > 0 ? Verdict::not_judged : Verdict::pass;
  plan.reason = plan.would_change > 0 ? fmt::format("{} would change", plural(plan.would_change, "resource")) : "";
  plan.code.clear();
  return plan;
}

int impossible(const NodePlan& plan) {
  return static_cast<int>(std::count_if(plan.resources.begin(), plan.resources.end(), [](const ResourceRecord& record) {
    return record.status == ResourceStatus::skipped && record.code == to_string(code::undo_impossible);
  }));
}

}  // namespace kfab::provision
