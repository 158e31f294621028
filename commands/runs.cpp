#include "commands/runs.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/codes/store.hpp"
#include "base/text.hpp"
#include "commands/run_lock.hpp"
#include "nodeset/nodeset.hpp"
#include "term/table.hpp"

namespace kfab::commands {
namespace {

constexpr std::string_view state_words[] = {"finished", "running", "killed", "not finished"};
std::string_view word_of(RunState state) { return state_words[static_cast<std::size_t>(state)]; }

// Whether the process of a run without an end still lives, by the locks that it holds.
RunState state_of(const store::RunRecord& run, const store::Store& store, const Env& env) {
  if (run.finished_at) return RunState::finished;
  const auto locks = store.locks(run.site, env.clock.now());
  if (!locks) return RunState::unknown;
  for (const auto& lock : *locks)
    if (lock.run_id == run.id && lock.pid != 0) return is_stale(lock, env) ? RunState::killed : RunState::running;
  return RunState::unknown;
}

// The nodes that a run was to bring somewhere, with the digests of where to.
std::vector<std::pair<std::string, std::string>> nodes_of(const json::Value& work) {
  std::vector<std::pair<std::string, std::string>> nodes;
  for (const auto& node : work.array_at("nodes")) nodes.emplace_back(node.string_or("node"), node.string_or("desired_sha256"));
  return nodes;
}

// Of commands that can be gone on with: what is done, and the step of which they keep records.
bool is_done(std::string_view command, Verdict verdict) {
  return verdict == Verdict::pass || (command == "reboot" && verdict == Verdict::degraded);
}
std::string_view step_of(std::string_view command) { return command == "reboot" ? "reboot" : "provision"; }

Result<Resumable> resumable_of(const store::RunRecord& run, const json::Value& work, const store::Store& store) {
  Resumable out{run.id, run.command, {}, work.string_or("directory"), work.string_or("plan"), run.site, 0, {}, {}};
  for (const auto& word : work.array_at("argv"))
    if (word.as_string() != nullptr) out.argv.push_back(*word.as_string());
  KFAB_TRY(records, store.node_records(run.id, step_of(run.command)));
  for (auto& record : records) out.records.emplace(record.node, std::move(record));
  for (auto& node : nodes_of(work)) {
    ++out.nodes;
    const auto record = out.records.find(node.first);
    if (record != out.records.end() && is_done(run.command, record->second.verdict)) out.records.erase(record);
    else out.left.push_back(std::move(node));
  }
  return out;
}

Result<RunRow> row_of(const store::RunRecord& run, const store::Store& store, const Env& env, bool whole) {
  RunRow row{run, state_of(run, store, env)};
  KFAB_TRY(work, store.work(run.id));
  const auto nodes = nodes_of(work);
  if (nodes.empty()) {
    KFAB_TRY(seen, store.nodes_done(run.id));
    row.nodes = row.done = seen.size();
    return row;
  }
  const bool tests = work.string_or("kind") == "tests";
  KFAB_TRY(records, store.node_records(run.id, tests ? "validate" : step_of(run.command)));
  std::map<std::string, store::NodeRecord> by_node;
  for (auto& record : records) by_node.emplace(record.node, std::move(record));
  row.nodes = nodes.size();
  for (const auto& [node, desired] : nodes) {
    const auto record = by_node.find(node);
    // Tests are done when there is a result, whatever it is.
    if (record != by_node.end() && (tests || is_done(run.command, record->second.verdict))) {
      ++row.done;
    } else if (whole) {
      row.left.push_back(record == by_node.end() ? store::NodeRecord{} : record->second);
      row.left.back().node = node;
    }
  }
  return row;
}

DetachedRun detached_run(const store::RunRecord& run, const json::Value& work, std::vector<DetachedJob> jobs, const std::vector<store::NodeRecord>& done) {
  DetachedRun out{run.id, run.command, run.site, {}, work.string_or("directory"), jobs.size(), {}, 0, 0, run.started_at, {}};
  for (const auto& word : work.array_at("argv"))
    if (word.as_string() != nullptr) out.argv.push_back(*word.as_string());
  std::map<std::string, Verdict> verdicts;
  for (const auto& record : done) verdicts[record.node] = record.verdict;
  for (auto& job : jobs) {
    const auto verdict = verdicts.find(job.node);
    if (verdict == verdicts.end()) {
      out.left.push_back(std::move(job));
      continue;
    }
    if (verdict->second == Verdict::not_judged) ++out.not_judged;
    else if (verdict->second != Verdict::pass) ++out.failed;
    out.fetched.push_back(std::move(job));
  }
  return out;
}

std::string outcome_text(const RunRow& row) {
  return row.run.outcome ? std::string(to_string(*row.run.outcome)) : std::string(word_of(row.state));
}

std::string shown_argv(const store::RunRecord& run) { return one_line("kfab " + join(run.argv, " "), 100); }

}  // namespace

json::Value to_json(const RunsResult& result) {
  json::Array runs;
  for (const auto& row : result.runs) {
    json::Array argv, left, events;
    for (const auto& word : row.run.argv) argv.emplace_back(word);
    for (const auto& node : row.left)
      left.emplace_back(json::Object{{"node", node.node}, {"verdict", to_string(node.verdict)}, {"reason", node.reason.empty() ? json::Value() : json::Value(node.reason)}});
    for (const auto& [at, event] : row.events)
      events.emplace_back(json::Object{{"at", to_rfc3339(at)}, {"type", event.type}, {"node", event.node.empty() ? json::Value() : json::Value(event.node)}, {"message", event.message}});
    json::Object run{{"id", row.run.id}, {"command", row.run.command}, {"argv", std::move(argv)}, {"site", row.run.site}, {"who", row.run.who}};
    run.set("kfab_version", row.run.kfab_version).set("started_at", to_rfc3339(row.run.started_at));
    run.set("finished_at", row.run.finished_at ? json::Value(to_rfc3339(*row.run.finished_at)) : json::Value());
    run.set("outcome", row.run.outcome ? json::Value(to_string(*row.run.outcome)) : json::Value()).set("state", word_of(row.state));
    run.set("nodes", row.nodes).set("done", row.done).set("left", row.nodes - row.done);
    run.set("left_nodes", result.one ? json::Value(std::move(left)) : json::Value()).set("events", result.one ? json::Value(std::move(events)) : json::Value());
    runs.emplace_back(std::move(run));
  }
  return json::Object{{"runs", std::move(runs)}};
}

void render(const RunsResult& result, term::Writer& out) {
  if (result.runs.empty()) return out.line("No run is recorded."), void();
  term::Table table({{"Run"}, {"Started"}, {"Who"}, {"Site"}, {"Outcome"}, {"Nodes", term::Align::right}, {"Left", term::Align::right}, {"Command", term::Align::left, true}});
  for (const auto& row : result.runs) {
    const std::string outcome = outcome_text(row);
    table.row({row.run.id, to_rfc3339(row.run.started_at).substr(0, 16), one_line(row.run.who, 40), one_line(row.run.site, 40), {outcome, term::style_of(outcome)},
               with_thousands(static_cast<long long>(row.nodes)), with_thousands(static_cast<long long>(row.nodes - row.done)), shown_argv(row.run)});
  }
  out.table(table);
  if (!result.one) return;
  const RunRow& row = result.runs.front();
  std::map<std::string, std::vector<std::string>> by_reason;
  for (const auto& node : row.left) by_reason[node.reason.empty() ? "not ended" : node.reason].push_back(node.node);
  if (!by_reason.empty()) out.line();
  for (const auto& [reason, names] : by_reason) out.text(term::Style::strong, nodeset::fold_names(names)).line(": " + one_line(reason, 300));
  for (const auto& [at, event] : row.events) out.line(fmt::format("{}  {}", to_rfc3339(at), one_line(event.message, 400)));
  if (!row.left.empty()) out.line().line(fmt::format("To go on with them: kfab resume {}", row.run.id));
}

CommandOutput run_runs(const RunsOptions& options, Env& env) {
  auto store = store::Store::open(env.state_dir);
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
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

json::Value work_document(const std::vector<std::string>& argv, const std::string& plan, const std::vector<std::pair<std::string, std::string>>& nodes) {
  json::Array words, list;
  for (const auto& word : argv) words.emplace_back(word);
  for (const auto& [node, desired] : nodes) list.emplace_back(json::Object{{"node", node}, {"desired_sha256", desired}});
  std::error_code problem;
  return json::Object{{"argv", std::move(words)}, {"directory", std::filesystem::current_path(problem).string()},
                      {"plan", plan.empty() ? json::Value() : json::Value(plan)}, {"nodes", std::move(list)}};
}

bool left_nothing(const store::Store& store, const std::string& run_id) {
  const auto work = store.work(run_id);
  if (!work) return work.error().code == code::unknown_run;
  if (work->is_null()) return true;
  if (read_detached(*work)) return true;   // its tests go on without it
  const auto run = store.run(run_id);
  if (!run) return false;
  const auto resumable = resumable_of(*run, *work, store);
  return resumable && resumable->left.empty();
}

Result<std::variant<Resumable, DetachedRun>> find_resumable(const std::string& wanted, Env& env) {
  KFAB_TRY(store, store::Store::open(env.state_dir));
  std::vector<store::RunRecord> candidates;
  if (!wanted.empty()) {
    KFAB_TRY(run, store->run(wanted));
    candidates.push_back(std::move(run));
  } else {
    KFAB_TRY(runs, store->runs(1000));
    candidates = std::move(runs);
  }
  std::optional<DetachedRun> over;   // the newest run of tests, when nothing is left of it
  for (const auto& run : candidates) {
    KFAB_TRY(work, store->work(run.id));
    if (work.is_null()) continue;   // it was asked about and not agreed to, or does nothing that could be left
    if (auto jobs = read_detached(work)) {
      KFAB_TRY(done, store->node_records(run.id, "validate"));
      DetachedRun tests = detached_run(run, work, std::move(*jobs), done);
      if (!tests.left.empty() || !wanted.empty()) return std::variant<Resumable, DetachedRun>(std::move(tests));
      if (!over) over = std::move(tests);   // one of which something is left may have begun before it
      continue;
    }
    if (over) break;
    KFAB_TRY(left, resumable_of(run, work, *store));
    return std::variant<Resumable, DetachedRun>(std::move(left));
  }
  if (over) return std::variant<Resumable, DetachedRun>(std::move(*over));
  return error(code::nothing_to_resume, wanted.empty() ? std::string("no run is recorded that changed a node, or left tests to one")
                                                       : fmt::format("the run {} changed no node and left no tests to one", one_line(wanted, 60)));
}

}  // namespace kfab::commands
