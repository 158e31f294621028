#include "commands/selftest.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>

#include <fmt/format.h>

#include "base/codes/validation.hpp"
#include "base/text.hpp"
#include "commands/agent_runs.hpp"
#include "commands/criteria_checks.hpp"
#include "json/shorthand.hpp"
#include "manifest/load.hpp"

namespace kfab::commands {
namespace {

constexpr double seconds_of_tests = 1.5;             // of a device's own tests
constexpr long long deadline_s = 300;

// This machine through a pipe: the agent is the same that travels to nodes.
constexpr std::string_view this_machine = R"(apiVersion: kfab/v1
kind: Site
metadata: {name: this-machine, title: This machine, country: KR, as_of: 2026-11-22}
spec:
  kind: edge
  ssh: {transport: local}
  tranches:
    - {name: here, due: 2030-01-01, targets: [{profile: here, nodes: 1, accelerators: 1}], ready_when: {level: quick}}
  nodes:
    - {group: here, tranche: here, profile: here, list: [{name: this-machine, address: localhost}], identity: name}
---
apiVersion: kfab/v1
kind: Profile
metadata: {name: here, version: "1", title: this machine}
spec: {vendor: cpu, accelerator: processor, device: cpu, per_node: 1, nameplate: 0.5 kW}
)";

// Criteria are proven with the profile that names them; those that none names with one that states nothing.
void prove_all_criteria(const manifest::Site* site, std::vector<SelftestFault>& out) {
  std::map<std::string, manifest::Profile> profiles;
  for (const auto& one : manifest::built_ins())
    if (one.kind == "Profile")
      if (auto loaded = manifest::load_text(one.text, "built-in", {}); auto* profile = std::get_if<manifest::Profile>(&loaded.document)) profiles.emplace(profile->criteria, *profile);
  const auto prove = [&](const manifest::CriteriaSet& set, const manifest::Profile& profile) {
    for (auto& planted : validation::prove_criteria(set, profile)) out.push_back({{}, std::move(planted)});
  };
  std::vector<std::string> done;
  if (site)
    for (const auto& [name, profile] : site->profiles)
      if (const auto set = site->criteria.find(profile.criteria); set != site->criteria.end()) {
        prove(set->second, profile);
        done.push_back(set->first);
      }
  for (const auto& one : manifest::built_ins()) {
    if (one.kind != "Criteria" || std::find(done.begin(), done.end(), one.name) != done.end()) continue;
    const auto set = manifest::built_in_criteria(one.name);
    if (!set) continue;
    const auto profile = profiles.find(set->name);
    prove(*set, profile == profiles.end() ? manifest::Profile() : profile->second);
  }
}

void take(const std::string& node, const json::Value& message, SelftestResult& result) {
  constexpr std::size_t most = 100'000;
  const std::string type = message.string_or("type");
  if (type == "planted" && result.faults.size() < most)
    result.faults.push_back({node, {one_line(message.string_or("where"), 40), one_line(message.string_or("fault"), 200), message.bool_or("found", false), one_line(message.string_or("detail"), 400)}});
  if (type == "not_tried" && result.not_tried.size() < most)
    result.not_tried.push_back({node, one_line(message.string_or("where"), 40), one_line(message.string_or("reason"), 300), message.bool_or("nothing_planted", false)});
}

}  // namespace

std::size_t SelftestResult::found() const {
  return static_cast<std::size_t>(std::count_if(faults.begin(), faults.end(), [](const auto& fault) { return fault.planted.found; }));
}

json::Value to_json(const SelftestResult& result) {
  json::Array planted, not_tried;
  for (const auto& fault : result.faults)
    planted.push_back(json::Object{{"node", json::text_or_null(fault.node)}, {"where", fault.planted.where}, {"fault", fault.planted.fault}, {"found", fault.planted.found}, {"detail", fault.planted.detail}});
  for (const auto& one : result.not_tried) not_tried.push_back(json::Object{{"node", json::text_or_null(one.node)}, {"where", one.where}, {"reason", one.reason}});
  return json::Object{{"seed", std::to_string(result.seed)},
                      {"counts", json::Object{{"planted", result.faults.size()}, {"found", result.found()}, {"missed", result.faults.size() - result.found()}, {"not_tried", result.not_tried.size()}}},
                      {"planted", std::move(planted)},
                      {"not_tried", std::move(not_tried)}};
}

void render(const SelftestResult& result, term::Writer& out) {
  struct Row { std::size_t planted = 0, found = 0; };
  std::vector<std::pair<std::string, Row>> rows;
  for (const auto& fault : result.faults) {
    const std::string where = fault.node.empty() ? fault.planted.where : fault.node + ": " + fault.planted.where;
    auto row = std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.first == where; });
    if (row == rows.end()) row = rows.insert(rows.end(), {where, {}});
    ++row->second.planted;
    row->second.found += fault.planted.found;
  }
  term::Table table({{"Where"}, {"Planted", term::Align::right}, {"Found", term::Align::right}, {"Verdict"}});
  for (const auto& [where, row] : rows) {
    const std::string word(to_string(row.found == row.planted ? Verdict::pass : Verdict::fail));
    table.row({where, std::to_string(row.planted), std::to_string(row.found), {word, term::style_of(word)}});
  }
  out.table(table);
  for (const auto& fault : result.faults)
    if (!fault.planted.found) out.line(fmt::format("missed: {}{}: {} ({})", fault.node.empty() ? "" : fault.node + ": ", fault.planted.where, fault.planted.fault, fault.planted.detail));
  for (const auto& one : result.not_tried) out.line(fmt::format("not tried: {}{}: {}", one.node.empty() ? "" : one.node + ": ", one.where, one.reason));
  const std::string untried = result.not_tried.empty() ? "" : fmt::format("; {} not tried", plural(static_cast<long long>(result.not_tried.size()), "place"));
  out.line(fmt::format("{} of {} planted faults found{}, seed {}", result.found(), result.faults.size(), untried, result.seed));
}

CommandOutput run_selftest(const SelftestOptions& options, Env& env) {
  Env local = env;
  SiteOptions site = options.site;
  if (site.manifest.empty()) {
    site.manifest = std::string("-");   // not the text itself: GCC 12 takes that assignment for an overlap
    local.read_stdin = [] { return Result<std::string>(std::string(this_machine)); };
  }
  auto opened = open_site_to_judge(site, local);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& session = std::get<SiteSession>(opened);

  SelftestResult result;
  result.seed = options.seed.value_or(static_cast<std::uint64_t>(env.clock.now().time_since_epoch().count()) % 1'000'000'007);
  for (auto& planted : validation::plant_into_judge(result.seed)) result.faults.push_back({{}, std::move(planted)});
  prove_all_criteria(options.site.manifest.empty() ? nullptr : session.site, result.faults);

  bool incomplete = false;
  auto summary = run_agents(
      session, env, site.reach, "planting faults",
      [&](std::size_t index) {
        json::Object request{{"task", "selftest"}, {"run_id", env.run_id}, {"seed", result.seed}, {"seconds", seconds_of_tests}};
        return fleet::AgentTask{std::move(request), session.sudo[index], std::chrono::seconds(deadline_s), session.password.get()};
      },
      [&](AgentRun run) {
        const std::string node = options.site.manifest.empty() ? std::string() : run.end.node;
        const std::size_t before = result.faults.size(), untried = result.not_tried.size();
        for (const auto& message : run.messages) take(node, message, result);
        const bool whole = run.end.outcome == NodeOutcome::ok && result.faults.size() > before;
        if (!whole) {
          incomplete = true;
          result.not_tried.push_back({node, "agent", run.reason.empty() ? "it told of no planted fault" : run.reason});
        }
        // A device whose tests planted nothing at all has proven none of its checkers.
        incomplete |= std::any_of(result.not_tried.begin() + static_cast<std::ptrdiff_t>(untried), result.not_tried.end(), [](const auto& one) { return one.nothing_planted; });
        const bool well = std::all_of(result.faults.begin() + static_cast<std::ptrdiff_t>(before), result.faults.end(), [](const auto& fault) { return fault.planted.found; });
        return NodeJudged{well, {}, well ? "" : "a planted fault was missed"};
      });

  CommandOutput output = options.site.manifest.empty() ? CommandOutput() : session.output();
  add_to(output, summary);
  const std::size_t missed = result.faults.size() - result.found();
  if (missed > 0)
    output.diagnostics.push_back(error(code::checker_not_proven, fmt::format("{} of {} planted faults were missed", missed, result.faults.size())));
  output.outcome = overall(env, incomplete, missed > 0);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands
