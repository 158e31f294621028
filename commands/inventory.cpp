#include "commands/inventory.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/text.hpp"
#include "commands/recorder.hpp"
#include "fleet/fold.hpp"
#include "json/diagnostic.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

void add_finding(InventoriedNode& node, Code code, std::string message) {
  Diagnostic finding = error(code, std::move(message));
  finding.node = node.name;
  if (finding.severity == Severity::error) node.verdict = Verdict::fail;
  node.findings.push_back(std::move(finding));
}

void check_serial(const manifest::Node& declared, InventoriedNode& node) {
  if (declared.serial.empty() || node.facts.is_null() || declared.identity_by_name) return;
  if (node.board_serial.empty()) {
    add_finding(node, code::serial_not_told, fmt::format("serial {} is declared, and the node tells none", declared.serial));
    if (node.verdict == Verdict::pass) node.verdict = Verdict::not_judged;
  } else if (declared.serial != node.board_serial) {
    add_finding(node, code::board_serial_differs,
                fmt::format("serial {} is declared, the node's board has {}{}", declared.serial, node.board_serial,
                            declared.serial == node.facts["identity"].string_or("product_serial")
                                ? "; what is declared is the chassis' serial, and a node is known by its board's"
                                : ""));
  }
}

InventoriedNode judged(const manifest::Site& site, const manifest::Node& declared, const AgentRun& run) {
  InventoriedNode node;
  node.row = node_row(run.end);
  node.name = declared.name;
  node.profile = declared.profile;
  node.outcome = run.end.outcome;
  node.reason = run.reason;
  for (const auto& message : run.messages)
    if (message.string_or("type") == "facts") node.facts = message["facts"];
  if (node.facts.is_null()) return node;
  node.board_serial = one_line(run.end.hello.string_or("board_serial"), 80);
  if (const auto* profile = site.find_profile(declared.profile)) {
    auto judgement = validation::judge_inventory(*profile, node.facts);
    node.verdict = judgement.verdict;
    node.not_as_expected = judgement.reason();
    node.expected = std::move(judgement.facts);
  }
  check_serial(declared, node);
  if (node.outcome != NodeOutcome::ok && node.verdict == Verdict::pass) node.verdict = Verdict::not_judged;
  return node;
}

std::string reason_of(const InventoriedNode& node) {
  if (node.outcome != NodeOutcome::ok) return node.reason;
  if (!node.findings.empty()) return node.findings.front().message;
  return node.expected.empty() ? "the profile expects nothing, so there is nothing to compare with" : node.not_as_expected;
}

store::NodeRecord inventory_record(const Env& env, const fleet::AgentEnd& end, const InventoriedNode& node) {
  store::NodeRecord record = step_record(env, end, "inventory");
  record.verdict = node.verdict;
  record.reason = node.verdict == Verdict::pass ? "" : one_line(reason_of(node), 400);
  record.detail = json::Object{{"profile", node.profile}, {"facts", node.facts}};
  return record;
}

// The same board under several names is found only when all have answered.
void find_clones(const SiteSession& session, InventoryResult& result, const std::function<void(std::size_t index)>& changed) {
  std::map<std::string, std::vector<std::size_t>> by_serial;
  for (std::size_t i = 0; i < result.nodes.size(); ++i)
    if (!result.nodes[i].board_serial.empty() && !session.nodes[i]->identity_by_name)
      by_serial[result.nodes[i].board_serial].push_back(i);
  for (const auto& [serial, indices] : by_serial) {
    if (indices.size() < 2) continue;
    std::vector<std::string> names;
    for (const auto i : indices) names.push_back(result.nodes[i].name);
    for (const auto i : indices) {
      add_finding(result.nodes[i], code::cloned_identity, fmt::format("board serial {} is told by {}", serial, nodeset::fold_names(names)));
      changed(i);
    }
  }
}

// Facts that nothing is expected of are no verdict: told once for each profile, with what is to be done.
Diagnostics without_expectations(const InventoryResult& result) {
  std::map<std::string, std::vector<std::string>> by_profile;
  for (const auto& node : result.nodes)
    if (node.outcome == NodeOutcome::ok && node.verdict == Verdict::not_judged && node.expected.empty()) by_profile[node.profile].push_back(node.name);
  Diagnostics out;
  for (const auto& [profile, nodes] : by_profile) {
    Diagnostic why = make_diagnostic(code::nothing_expected, profile.empty() ? std::string("no profile: facts are recorded, not judged")
                                                                             : fmt::format("profile {} expects nothing: facts are recorded, not judged", one_line(profile, 60)));
    if (nodes.size() == 1) why.node = nodes.front();
    else why.help.push_back(fmt::format("{}: {}", plural(static_cast<long long>(nodes.size()), "node"), nodeset::fold_names(nodes)));
    out.push_back(std::move(why));
  }
  return out;
}

std::string gpus_text(const json::Value& facts) {
  std::map<std::string, int> models;
  for (const auto& gpu : facts.array_at("gpus")) ++models[one_line(gpu.string_or("name", "GPU"), 40)];
  if (models.empty())
    for (const auto& card : facts.array_at("accelerators")) ++models[one_line(card.string_or("vendor", "?"), 20) + " (no driver)"];
  std::vector<std::string> parts;
  for (const auto& [model, count] : models) parts.push_back(fmt::format("{} x {}", count, model));
  return parts.empty() ? "-" : join(parts, ", ");
}

// What is told of a node, after its name.
std::vector<term::Cell> cells_of(const InventoriedNode& node) {
  const auto number = [&](std::string_view section, std::string_view key, int decimals) {
    const auto value = node.facts[section][key].as_double();
    return value ? format_number(*value, decimals) : std::string("-");
  };
  const std::string outcome(to_string(node.outcome)), verdict(to_string(node.verdict));
  return {{outcome, term::style_of(outcome)}, {verdict, term::style_of(verdict)}, number("cpu", "threads", 0),
          number("memory", "total_gib", 1), gpus_text(node.facts), node.facts["os"].string_or("pretty_name", "-"),
          node.facts["os"].string_or("kernel", "-"), node.verdict == Verdict::pass ? std::string() : reason_of(node)};
}

}  // namespace

json::Value to_json(const InventoryResult& result) {
  json::Array nodes;
  for (const auto& node : result.nodes) {
    json::Array expected;
    for (const auto& fact : node.expected)
      expected.push_back(json::Object{{"path", fact.path}, {"expected", fact.expected}, {"found", fact.found},
                                      {"verdict", to_string(fact.verdict)},
                                      {"reason", fact.reason.empty() ? json::Value() : json::Value(fact.reason)}});
    json::Object row = node.row;
    row.set("profile", node.profile.empty() ? json::Value() : json::Value(node.profile)).set("verdict", to_string(node.verdict));
    row.set("board_serial", node.board_serial.empty() ? json::Value() : json::Value(node.board_serial));
    row.set("expected", std::move(expected)).set("findings", json::to_json(node.findings)).set("facts", node.facts);
    nodes.emplace_back(std::move(row));
  }
  json::Object data{{"counts", result.counts.to_json()}};
  add_to(data, result.summary);
  return data.set("nodes", std::move(nodes));
}

void render(const InventoryResult& result, term::Writer& out) {
  // Nodes of which the same is to be said stand in one row: 650 dead nodes are not 650 lines.
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, std::vector<term::Cell>> rows;
  for (const auto& node : result.nodes) {
    auto cells = cells_of(node);
    std::string key;
    for (const auto& cell : cells) key += cell.text + '\1';
    keyed.emplace_back(node.name, key);
    rows.emplace(std::move(key), std::move(cells));
  }
  term::Table table({{result.nodes.size() > 1 ? "Nodes" : "Node"}, {"Outcome"}, {"Verdict"}, {"Threads", term::Align::right},
                     {"Memory GiB", term::Align::right}, {"Accelerators"}, {"System"}, {"Kernel"}, {"Why", term::Align::left, true}});
  for (const auto& group : fleet::fold(keyed)) {
    auto cells = rows.at(group.text);
    cells.insert(cells.begin(), folded_cell(group.nodes, out.facts()));
    table.row(std::move(cells));
  }
  out.table(table);
  if (result.nodes.size() > 1) out.line();
  render(result.summary, out);
}

CommandOutput run_inventory(const InventoryOptions& options, Env& env) {
  auto opened = open_site(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& session = std::get<SiteSession>(opened);
  auto recorder = Recorder::begin(env, "inventory", session.ref());
  if (!recorder) return not_started(std::move(recorder).error());

  InventoryResult result;
  result.nodes.resize(session.nodes.size());
  std::vector<fleet::AgentEnd> ends(session.nodes.size());
  const auto request_of = [&](std::size_t index) {
    return fleet::AgentTask{json::Object{{"task", "facts"}, {"run_id", env.run_id}}, session.sudo[index],
                            std::chrono::seconds(std::max(1LL, static_cast<long long>(options.timeout_s))), session.password.get()};
  };
  result.summary = run_agents(session, env, options.site.reach, "reading facts", request_of, [&](AgentRun run) {
    InventoriedNode node = judged(*session.site, *session.nodes[run.index], run);
    store::Findings found{{reach_record(env, run.end)}, {}, {}};
    if (!node.facts.is_null()) found.nodes.push_back(inventory_record(env, run.end, node));
    ends[run.index] = run.end;
    if (!was_cancelled(run.end)) (*recorder)->put(found);
    NodeJudged verdict{node.verdict != Verdict::fail, {}, reason_of(node)};
    for (const auto& finding : node.findings)
      if (verdict.code.empty()) verdict.code = to_string(finding.code);
    result.nodes[run.index] = std::move(node);
    return verdict;
  });
  find_clones(session, result, [&](std::size_t index) {
    (*recorder)->put({{inventory_record(env, ends[index], result.nodes[index])}, {}, {}});
  });

  CommandOutput output = session.output();
  bool incomplete = false, no = false;
  for (const auto& node : result.nodes) {
    result.counts.add(node.outcome);
    if (node.outcome != NodeOutcome::ok || node.verdict == Verdict::not_judged) incomplete = true;
    if (node.verdict == Verdict::fail) no = true;
    output.diagnostics.insert(output.diagnostics.end(), node.findings.begin(), node.findings.end());
  }
  for (auto& why : without_expectations(result)) output.diagnostics.push_back(std::move(why));
  add_unanswered(output, result.summary);
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  (*recorder)->finish(output);
  return output;
}

}  // namespace kfab::commands
