#include "commands/fleet_summary.hpp"

#include <algorithm>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "base/codes/agent.hpp"
#include "base/codes/internal.hpp"
#include "base/text.hpp"
#include "json/shorthand.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

using Names = std::vector<std::string>;

constexpr std::size_t longest_set = 4000;   // characters of a folded set in a message; the JSON has it whole
constexpr std::size_t usual_width = 120;    // of a line that may be cut, where no terminal says how wide

std::string number(std::size_t count) { return with_thousands(static_cast<long long>(count)); }
std::string nodes_text(std::size_t count) { return plural(static_cast<long long>(count), "node"); }
json::Value group_json(const fleet::FailureGroup& group) {
  json::Object out{{"outcome", to_string(group.outcome)}};
  out.set("code", json::text_or_null(group.code)).set("phase", json::text_or_null(group.phase));
  out.set("exit_status", group.exit_status).set("signal", json::text_or_null(group.signal));
  out.set("reason", json::text_or_null(group.reason)).set("many_reasons", group.many_reasons);
  out.set("count", group.nodes.size()).set("nodes", nodeset::fold_names(group.nodes));
  return out;
}

json::Value trait_json(const fleet::SharedTrait& trait) {
  return json::Object{{"kind", trait.kind}, {"name", trait.name}, {"failures", trait.failures}, {"of_failures", trait.of_failures},
                      {"of_nodes", trait.of_nodes}, {"nodes", nodeset::fold_names(trait.nodes)}};
}

// One line of the end of a run: how, how many, who.
struct Line {
  std::string word;
  Names nodes;
  bool may_be_cut = false;
};

std::vector<Line> lines_of(const FleetSummary& summary) {
  std::vector<Line> lines;
  for (const NodeOutcome outcome : all_node_outcomes) lines.push_back({std::string(to_string(outcome)), {}, outcome == NodeOutcome::ok});
  const std::size_t bad = lines.size(), waiting = bad + 1, stopped = bad + 2;
  for (const char* word : {"verdict fail", "not started", "stopped"}) lines.push_back({word, {}});
  for (const auto& end : summary.ends) {
    std::size_t line = static_cast<std::size_t>(end.outcome);
    if (!end.started) line = end.code == to_string(code::fleet_budget_used_up) ? waiting : stopped;
    else if (end.outcome == NodeOutcome::ok && !end.well) line = bad;
    lines[line].nodes.push_back(end.node);
  }
  std::erase_if(lines, [](const Line& line) { return line.nodes.empty(); });
  return lines;
}

term::Style style_of_line(const std::string& word) {
  if (word == "verdict fail") return term::Style::bad;
  return word == "not started" || word == "stopped" ? term::Style::warning : term::style_of(word);
}

// One kind of end: as it was said of one node, in short of many.
Diagnostic diagnostic_of(const std::string& code_word, const std::string& message, const std::string& reason, const Names& nodes,
                         const std::vector<std::string>& help = {}) {
  const auto code = parse_code(code_word).value_or(code::internal);
  if (nodes.size() == 1) {
    Diagnostic one = error(code, message);
    one.node = nodes.front();
    one.help = help;
    return one;
  }
  Diagnostic many = error(code, fmt::format("{}: {}", nodes_text(nodes.size()), reason));
  many.help.push_back(one_line(nodeset::fold_names(nodes), longest_set));
  many.help.insert(many.help.end(), help.begin(), help.end());
  return many;
}

std::string shortened(std::string text) {
  return text.size() <= longest_set ? text : one_line(text, longest_set) + " (whole in -o json)";
}

std::optional<Diagnostic> budget_diagnostic(const FleetSummary& summary) {
  const auto& failures = summary.failures;
  if (summary.stopped_by.empty() || failures.not_started.empty()) return std::nullopt;
  std::string why = summary.stopped_by.front();
  for (std::size_t i = 1; i < std::min<std::size_t>(summary.stopped_by.size(), 3); ++i) why += "; " + summary.stopped_by[i];
  if (summary.stopped_by.size() > 3) why += fmt::format("; and {} more racks", summary.stopped_by.size() - 3);
  Diagnostic stopped = error(code::fleet_stopped_by_budget,
                             fmt::format("{}, so {} of {} not started", why, number(failures.not_started.size()),
                                         nodes_text(failures.nodes) + (failures.not_started.size() == 1 ? " was" : " were")));
  stopped.help.push_back(fmt::format("failed in the end ({}): {}", number(failures.failed.size()), shortened(nodeset::fold_names(failures.failed))));
  for (const auto& trait : failures.shared) stopped.help.push_back(to_text(trait));
  const std::string rest = nodeset::fold_names(failures.not_started);
  stopped.help.push_back(fmt::format("not started ({}): {}", number(failures.not_started.size()), shortened(rest)));
  stopped.help.push_back(rest.size() <= longest_set ? fmt::format("to go on with them: the same command with -w '{}'", rest)
                                                    : "to go on with them: the same command with -w and data.failures.not_started_nodes of -o json");
  return stopped;
}

}  // namespace

fleet::NodeEnd node_end(const ssh::Target& target, NodeOutcome outcome, ssh::Phase phase, const std::optional<Diagnostic>& why) {
  fleet::NodeEnd end{.node = target.node, .rack = target.rack, .address = target.address};
  for (const auto& jump : target.via) end.via += (end.via.empty() ? "" : " > ") + jump->node;
  end.outcome = outcome;
  end.well = outcome == NodeOutcome::ok;
  end.started = !why || (why->code != code::fleet_budget_used_up && why->code != code::fleet_cancelled);
  end.phase = ssh::to_string(phase);
  if (why) {
    end.code = to_string(why->code);
    end.message = why->message;
    end.reason = fleet::impersonal(why->message, target.node, target.address);
    end.help = why->help;
  }
  return end;
}

FleetSummary summarize(std::vector<fleet::NodeEnd> ends, const fleet::Pace& pace, const Env& env) {
  FleetSummary summary;
  summary.failures = fleet::summarize_failures(ends);
  for (std::size_t i = 0; i < ends.size() && i < pace.nodes(); ++i) {
    const std::string& why = pace.why_not(i);
    auto& known = summary.stopped_by;
    if (!why.empty() && std::find(known.begin(), known.end(), why) == known.end()) known.push_back(why);
  }
  if (env.usage) {
    const ProcessUsage used = env.usage();
    summary.cost = fleet::RunCost{ends.size(), used.cpu_s, used.peak_rss_bytes,
                                  std::chrono::duration<double>(env.clock.now() - env.started_at).count()};
  }
  summary.ends = std::move(ends);
  return summary;
}

void add_to(json::Object& data, const FleetSummary& summary) {
  const auto& failures = summary.failures;
  json::Array groups, shared, stopped_by;
  for (const auto& group : failures.groups) groups.push_back(group_json(group));
  for (const auto& trait : failures.shared) shared.push_back(trait_json(trait));
  for (const auto& why : summary.stopped_by) stopped_by.emplace_back(why);
  json::Object out{{"failed", failures.failed.size()}, {"failed_nodes", nodeset::fold_names(failures.failed)}};
  out.set("not_started", failures.not_started.size()).set("not_started_nodes", nodeset::fold_names(failures.not_started));
  out.set("stopped_by", std::move(stopped_by)).set("groups", std::move(groups)).set("shared", std::move(shared));
  data.set("failures", std::move(out));
  if (!summary.cost) data.set("cost", json::Value());
  else data.set("cost", json::Object{{"cpu_s", summary.cost->cpu_s}, {"peak_rss_bytes", summary.cost->peak_rss_bytes}, {"wall_s", summary.cost->wall_s}});
}

void render(const FleetSummary& summary, term::Writer& out) {
  if (summary.ends.size() < 2) return;
  const auto lines = lines_of(summary);
  std::size_t word_width = 0, count_width = 0;
  for (const Line& line : lines) {
    word_width = std::max(word_width, line.word.size());
    count_width = std::max(count_width, number(line.nodes.size()).size());
  }
  for (const Line& line : lines) {
    const std::string lead = fmt::format("{:<{}}  {:>{}}  ", line.word, word_width, number(line.nodes.size()), count_width);
    const std::string set = printable(nodeset::fold_names(line.nodes));
    const std::size_t width = out.facts().width.value_or(usual_width);
    out.text(style_of_line(line.word), line.word).text(lead.substr(line.word.size()));
    out.line(line.may_be_cut ? term::fit(set, width > lead.size() + 20 ? width - lead.size() : 20) : set);
  }
  for (const auto& trait : summary.failures.shared) out.line(term::Style::strong, to_text(trait));
}

std::string without_lead(const std::string& message, const std::string& node) {
  const std::string lead = one_line(node) + ": ";
  return message.starts_with(lead) ? message.substr(lead.size()) : message;
}

term::Cell folded_cell(const Names& names, const term::StreamFacts& facts) {
  std::string set = nodeset::fold_names(names);
  if (names.size() == 1) return set;
  if (facts.width) set = term::fit(printable(set), std::max<std::size_t>(*facts.width / 3, 20));
  return set + fmt::format(" ({})", number(names.size()));
}

void add_to(CommandOutput& output, const FleetSummary& summary) {
  if (auto stopped = budget_diagnostic(summary)) output.diagnostics.push_back(std::move(*stopped));
  output.cost = summary.cost;
}

void add_unanswered(CommandOutput& output, const FleetSummary& summary, bool failures_too) {
  for (const auto& group : summary.failures.groups)
    if (group.outcome != NodeOutcome::ok && (failures_too || group.outcome != NodeOutcome::failed))
      output.diagnostics.push_back(diagnostic_of(group.code, group.message, group.reason + (group.many_reasons ? " (the others likewise)" : ""), group.nodes, group.help));
  std::map<std::string, std::pair<const fleet::NodeEnd*, Names>> cancelled;   // by reason
  for (const auto& end : summary.ends) {
    if (end.started || end.code != to_string(code::fleet_cancelled)) continue;
    auto& same = cancelled[end.reason];
    if (same.first == nullptr) same.first = &end;
    same.second.push_back(end.node);
  }
  for (const auto& [reason, same] : cancelled)
    output.diagnostics.push_back(diagnostic_of(same.first->code, same.first->message, reason, same.second));
}

std::vector<std::string> racks_of(const std::vector<ssh::Target>& targets) {
  std::vector<std::string> racks;
  for (const auto& target : targets) racks.push_back(target.rack);
  return racks;
}

}  // namespace kfab::commands
