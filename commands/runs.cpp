#include "commands/runs.hpp"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/text.hpp"
#include "commands/kept_records.hpp"
#include "commands/left_work.hpp"
#include "commands/run_lock.hpp"
#include "commands/validate_nodes.hpp"
#include "nodeset/nodeset.hpp"
#include "term/table.hpp"

namespace kfab::commands {
namespace {

constexpr std::string_view state_words[] = {"finished", "running", "killed", "not finished", "continued"};
std::string_view word_of(RunState state) { return state_words[static_cast<std::size_t>(state)]; }

// Whether the process of a run without an end still lives, by the locks that it holds.
RunState state_of(const store::RunRecord& run, const store::RunLinks& links, const store::Store& store, const Env& env) {
  if (run.finished_at) return RunState::finished;
  if (!links.continued_by.empty()) return RunState::continued;
  const auto locks = store.locks(run.site, env.clock.now());
  if (!locks) return RunState::unknown;
  for (const auto& lock : *locks)
    if (lock.run_id == run.id && lock.pid != 0) return is_stale(lock, env) ? RunState::killed : RunState::running;
  return RunState::unknown;
}

Result<RunRow> row_of(const store::RunRecord& run, const store::Store& store, const Env& env, bool whole) {
  KFAB_TRY(links, store.links(run.id));
  RunRow row{run, state_of(run, links, store, env), links};
  KFAB_TRY(work, store.work(run.id));
  KFAB_TRY(chain, store.chain(run.id));
  if (whole) row.chain = chain;
  const auto nodes = nodes_of(work);
  if (nodes.empty()) {
    KFAB_TRY(seen, store.nodes_done(run.id));
    row.nodes = row.done = seen.size();
    return row;
  }
  const bool detached = read_detached(work).has_value();
  std::map<std::string, store::NodeRecord> by_node;
  for (auto id = std::find(chain.begin(), chain.end(), run.id); id != chain.end(); ++id) {
    KFAB_TRY(records, store.node_records(*id, detached ? "validate" : step_of(run.command)));
    for (auto& record : records) by_node.insert_or_assign(record.node, std::move(record));
  }
  row.nodes = nodes.size();
  for (const auto& [node, digest] : nodes) {
    const auto record = by_node.find(node);
    if (detached && record != by_node.end() && record->second.detail.bool_or(cut_short_mark, false) && record->second.verdict == Verdict::not_judged) {
      ++row.cut;
      if (whole) row.cut_nodes.push_back(record->second);
      continue;
    }
    // What was left to the nodes is done when there is a result, whatever it is.
    if (record != by_node.end() && (detached || is_done(run.command, record->second))) {
      ++row.done;
    } else if (whole) {
      row.left.push_back(record == by_node.end() ? store::NodeRecord{} : record->second);
      row.left.back().node = node;
    }
  }
  return row;
}

std::string outcome_text(const RunRow& row) {
  return row.run.outcome ? std::string(to_string(*row.run.outcome)) : std::string(word_of(row.state));
}

std::size_t left_of(const RunRow& row) { return row.nodes - row.done - row.cut; }

json::Value records_json(const std::vector<store::NodeRecord>& nodes) {
  json::Array list;
  for (const auto& node : nodes)
    list.emplace_back(json::Object{{"node", node.node}, {"verdict", to_string(node.verdict)}, {"reason", node.reason.empty() ? json::Value() : json::Value(node.reason)}});
  return list;
}

void render_by_reason(const std::vector<store::NodeRecord>& nodes, term::Writer& out) {
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const auto& node : nodes) by_reason[node.reason.empty() ? "not ended" : node.reason].push_back(node.node);
  if (!by_reason.empty()) out.line();
  for (const auto& [reason, names] : by_reason) out.text(term::Style::strong, nodeset::fold_names(names)).line(": " + one_line(reason, 300));
}

std::string shown_argv(const store::RunRecord& run) { return one_line("kfab " + join(run.argv, " "), 100); }

}  // namespace

json::Value to_json(const RunsResult& result) {
  json::Array runs;
  for (const auto& row : result.runs) {
    json::Array argv, events;
    for (const auto& word : row.run.argv) argv.emplace_back(word);
    for (const auto& [at, event] : row.events)
      events.emplace_back(json::Object{{"at", to_rfc3339(at)}, {"type", event.type}, {"node", event.node.empty() ? json::Value() : json::Value(event.node)}, {"message", event.message}});
    json::Object run{{"id", row.run.id}, {"command", row.run.command}, {"argv", std::move(argv)}, {"site", row.run.site}, {"who", row.run.who}};
    run.set("kfab_version", row.run.kfab_version).set("started_at", to_rfc3339(row.run.started_at));
    run.set("finished_at", row.run.finished_at ? json::Value(to_rfc3339(*row.run.finished_at)) : json::Value());
    run.set("outcome", row.run.outcome ? json::Value(to_string(*row.run.outcome)) : json::Value()).set("state", word_of(row.state));
    run.set("continues", row.links.continues.empty() ? json::Value() : json::Value(row.links.continues));
    run.set("continued_by", row.links.continued_by.empty() ? json::Value() : json::Value(row.links.continued_by));
    run.set("nodes", row.nodes).set("done", row.done).set("cut", row.cut).set("left", left_of(row));
    run.set("left_nodes", result.one ? records_json(row.left) : json::Value()).set("cut_nodes", result.one ? records_json(row.cut_nodes) : json::Value());
    run.set("events", result.one ? json::Value(std::move(events)) : json::Value());
    runs.emplace_back(std::move(run));
  }
  return json::Object{{"runs", std::move(runs)}};
}

void render(const RunsResult& result, term::Writer& out) {
  if (result.runs.empty()) return out.line("No run is recorded."), void();
  std::vector<term::Column> columns{{"Run"}, {"Started"}, {"Who"}, {"Site"}, {"Outcome"}, {"Nodes", term::Align::right}, {"Left", term::Align::right}};
  const bool any_cut = std::any_of(result.runs.begin(), result.runs.end(), [](const RunRow& row) { return row.cut > 0; });
  if (any_cut) columns.push_back({"Cut", term::Align::right});
  const bool continued = std::any_of(result.runs.begin(), result.runs.end(), [](const RunRow& row) { return !row.links.continued_by.empty(); });
  if (continued) columns.push_back({"Continued by"});
  columns.push_back({"Command", term::Align::left, true});
  term::Table table(std::move(columns));
  for (const auto& row : result.runs) {
    const std::string outcome = outcome_text(row);
    std::vector<term::Cell> cells{row.run.id, to_rfc3339(row.run.started_at).substr(0, 16), one_line(row.run.who, 40), one_line(row.run.site, 40), {outcome, term::style_of(outcome)},
                                  with_thousands(static_cast<long long>(row.nodes)), with_thousands(static_cast<long long>(left_of(row)))};
    if (any_cut) cells.emplace_back(with_thousands(static_cast<long long>(row.cut)));
    if (continued) cells.emplace_back(row.links.continued_by);
    cells.emplace_back(shown_argv(row.run));
    table.row(std::move(cells));
  }
  out.table(table);
  if (!result.one) return;
  const RunRow& row = result.runs.front();
  if (row.chain.size() > 1) {
    out.line().line(fmt::format("Runs that go on with each other: {}", join(row.chain, ", then ")));
    if (!row.links.continued_by.empty()) out.line("Done and left are told as they are after the last of them.");
  }
  render_by_reason(row.left, out);
  render_by_reason(row.cut_nodes, out);
  for (const auto& [at, event] : row.events) out.line(fmt::format("{}  {}", to_rfc3339(at), one_line(event.message, 400)));
  if (!row.left.empty()) out.line().line(fmt::format("To go on with them: kfab resume {}", row.run.id));
  if (row.cut_nodes.empty()) return;
  std::vector<std::string> cut;
  for (const auto& node : row.cut_nodes) cut.push_back(node.node);
  out.line().line(fmt::format("Their tests were cut, and nothing is left to go on with. To test them anew: kfab validate MANIFEST -w '{}'", nodeset::fold_names(cut)));
}

CommandOutput run_runs(const RunsOptions& options, Env& env) {
  auto store = open_records(env);
  if (!store) return not_started(std::move(store).error());
  RunsResult result;
  result.one = !options.run.empty();
  std::vector<store::RunRecord> records;
  if (result.one) {
    auto run = (*store)->run(options.run);
    if (!run) return not_started(std::move(run).error());
    records.push_back(std::move(*run));
  } else {
    auto runs = (*store)->runs(options.limit);
    if (!runs) return not_started(std::move(runs).error());
    records = std::move(*runs);
  }
  for (const auto& record : records) {
    auto row = row_of(record, **store, env, result.one);
    if (!row) return not_started(std::move(row).error());
    if (result.one)
      if (auto events = (*store)->events(record.id)) row->events = std::move(*events);
    result.runs.push_back(std::move(*row));
  }
  CommandOutput output;
  if (const auto there = has_records(env); result.runs.empty() && there && !*there) output.diagnostics.push_back(no_records(env));
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands
