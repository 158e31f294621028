#include "commands/left_work.hpp"

#include <algorithm>
#include <filesystem>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/codes/store.hpp"
#include "base/text.hpp"
#include "commands/kept_records.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_runs = 1000;   // that are looked at for the last one that can be gone on with
constexpr std::size_t most_runs_of_tests = 32;   // left to nodes, whose work is read: that of a whole site is long

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

}  // namespace

std::string_view step_of(std::string_view command) {
  if (command == "reboot" || command == "provision" || command == "undo") return command;
  return "validate";
}

bool is_testing(std::string_view command) { return step_of(command) == "validate"; }

bool is_done(std::string_view command, const store::NodeRecord& record) {
  if (is_testing(command)) return record.outcome == NodeOutcome::ok || record.verdict == Verdict::fail;
  return record.verdict == Verdict::pass || (command == "reboot" && record.verdict == Verdict::degraded);
}

std::vector<std::pair<std::string, std::string>> nodes_of(const json::Value& work) {
  std::vector<std::pair<std::string, std::string>> nodes;
  for (const auto& node : work.array_at("nodes")) nodes.emplace_back(node.string_or("node"), node.string_or("desired_sha256"));
  return nodes;
}

json::Value work_document(const std::vector<std::string>& argv, const std::string& plan, const std::vector<std::pair<std::string, std::string>>& nodes) {
  json::Array words, list;
  for (const auto& word : argv) words.emplace_back(word);
  for (const auto& [node, desired] : nodes) list.emplace_back(json::Object{{"node", node}, {"desired_sha256", desired}});
  std::error_code problem;
  return json::Object{{"argv", std::move(words)}, {"directory", std::filesystem::current_path(problem).string()},
                      {"plan", plan.empty() ? json::Value() : json::Value(plan)}, {"nodes", std::move(list)}};
}

Result<std::optional<Resumable>> left_of_chain(const std::string& run_id, const store::Store& store) {
  Resumable out;
  out.run_id = run_id;
  KFAB_TRY(chain, store.chain(run_id));
  for (const auto& id : chain) {
    // The first that kept its work says what all of them are about: the others were given what it had left.
    if (out.command.empty()) {
      KFAB_TRY(work, store.work(id));
      if (work.is_null()) continue;
      KFAB_TRY(first, store.run(id));
      out.command = first.command;
      out.site = first.site;
      out.directory = work.string_or("directory");
      out.plan = work.string_or("plan");
      for (const auto& word : work.array_at("argv"))
        if (word.as_string() != nullptr) out.argv.push_back(*word.as_string());
      for (auto& [node, digest] : nodes_of(work)) out.left.emplace(std::move(node), std::move(digest));
      out.nodes = out.left.size();
    }
    KFAB_TRY(records, store.node_records(id, step_of(out.command)));
    for (auto& record : records)
      if (out.left.contains(record.node)) out.records.insert_or_assign(record.node, std::move(record));
    if (out.command != "provision") continue;
    KFAB_TRY(reboots, store.node_records(id, "reboot"));
    for (auto& record : reboots)
      if (out.left.contains(record.node)) out.reboots.insert_or_assign(record.node, std::move(record));
  }
  if (out.command.empty()) return std::optional<Resumable>();
  for (const auto& [node, record] : out.records)
    if (is_done(out.command, record)) out.left.erase(node);
  out.chain = std::move(chain);
  return std::optional(std::move(out));
}

bool left_nothing(const store::Store& store, const std::string& run_id) {
  const auto run = store.run(run_id);
  if (!run) return run.error().code == code::unknown_run;
  const auto work = store.work(run_id);
  if (!work) return false;
  if (work->is_null() || is_testing(run->command)) return true;   // tests leave no node half changed
  const auto left = left_of_chain(run_id, store);
  return left && *left && (*left)->left.empty();
}

Result<std::map<std::string, std::string>> tests_left_to_nodes(const std::string& site, const store::Store& store) {
  std::map<std::string, std::string> out;
  KFAB_TRY(runs, store.runs(most_runs));
  std::size_t looked_at = 0;
  for (const store::RunRecord& run : runs) {
    if (run.site != site || !is_testing(run.command)) continue;
    KFAB_TRY(work, store.work(run.id));
    auto jobs = read_detached(work);
    if (!jobs) continue;
    KFAB_TRY(done, store.node_records(run.id, "validate"));
    for (const auto& job : detached_run(run, work, std::move(*jobs), done).left) out.try_emplace(job.node, run.id);
    if (++looked_at == most_runs_of_tests) break;
  }
  return out;
}

namespace {

// The run that gave its tests to the nodes, where the named one only asked after them: the one stands for the other.
Status stand_for_asked(store::RunRecord& run, json::Value& work, const store::Store& store) {
  KFAB_TRY(chain, store.chain(run.id));
  for (const auto& id : chain) {
    KFAB_TRY(of, store.work(id));
    if (!read_detached(of)) continue;
    KFAB_TRY(first, store.run(id));
    run = std::move(first);
    work = std::move(of);
    break;
  }
  return ok();
}

Result<DetachedRun> tests_of(const store::RunRecord& run, const json::Value& work, std::vector<DetachedJob> jobs, const store::Store& store) {
  KFAB_TRY(done, store.node_records(run.id, "validate"));
  DetachedRun tests = detached_run(run, work, std::move(jobs), done);
  KFAB_TRY(chain, store.chain(run.id));
  tests.chain = std::move(chain);
  return tests;
}

Result<ToResume> find_named(const std::string& wanted, const store::Store& store) {
  KFAB_TRY(run, store.run(wanted));
  KFAB_TRY(work, store.work(run.id));
  if (work.is_null()) KFAB_TRY_VOID(stand_for_asked(run, work, store));
  if (auto jobs = read_detached(work)) {
    KFAB_TRY(tests, tests_of(run, work, std::move(*jobs), store));
    return ToResume{std::move(tests), {}};
  }
  KFAB_TRY(left, left_of_chain(run.id, store));
  if (left) return ToResume{std::move(*left), {}};
  return error(code::nothing_to_resume, fmt::format("the run {} changed no node and left no tests to one", one_line(wanted, 60)));
}

// Tests that came to an end are over, whatever they found; only those that were cut are gone on with unasked.
Result<bool> is_over(const Resumable& tests, const store::Store& store) {
  KFAB_TRY(newest, store.run(tests.chain.back()));
  return tests.left.empty() || (newest.finished_at && newest.outcome != Outcome::cancelled);
}

Result<ToResume> find_newest(const store::Store& store, Wanted kind) {
  KFAB_TRY(runs, store.runs(most_runs));
  ToResume found;
  std::optional<DetachedRun> over;   // the newest run of tests, when nothing is left of it
  std::optional<PassedOver> harmless;   // the newest that did what it should and leaves nothing; it hides no other
  for (const store::RunRecord& run : runs) {
    KFAB_TRY(work, store.work(run.id));
    if (auto jobs = read_detached(work)) {
      KFAB_TRY(tests, tests_of(run, work, std::move(*jobs), store));
      if (!tests.left.empty()) {
        found.what = std::move(tests);
        return found;
      }
      if (!over) over = std::move(tests);   // one of which something is left may have begun before it
      continue;
    }
    if (kind == Wanted::detached_tests) continue;
    const bool is_newest = !over && !found.newer;
    if (work.is_null()) {   // it was asked about and not agreed to, or does nothing that could be left
      KFAB_TRY(links, store.links(run.id));
      if (!links.continues.empty()) continue;   // of these the run before speaks, which comes yet
      if (run.outcome == Outcome::yes) harmless = harmless.value_or(PassedOver{run, 0, 0});   // an inventory, a plan
      else if (is_newest) found.newer = PassedOver{run, 0, 0};
      continue;
    }
    KFAB_TRY(left, left_of_chain(run.id, store));
    if (!left) continue;
    if (is_testing(left->command)) {
      KFAB_TRY(ended, is_over(*left, store));
      if (ended && is_newest) found.newer = PassedOver{run, left->nodes, left->left.size()};
      if (ended) continue;
    }
    if (over) break;
    found.what = std::move(*left);
    return found;
  }
  if (!over && !found.newer) found.newer = std::move(harmless);
  if (over) found.what = std::move(*over);
  else if (found.newer) found.what = *found.newer;
  if (over || found.newer) return found;
  return error(code::nothing_to_resume, kind == Wanted::detached_tests ? "no run is recorded that left tests to a node" : "no run is recorded that changed a node, or left tests to one");
}

bool has_left(const Resumable& run) { return !run.left.empty(); }
bool has_left(const DetachedRun& run) { return !run.left.empty(); }
bool has_left(const PassedOver&) { return false; }

}  // namespace

Result<ToResume> find_resumable(const std::string& wanted, Env& env, Wanted kind) {
  KFAB_TRY(store, open_records(env));
  if (!wanted.empty()) return find_named(wanted, *store);
  KFAB_TRY(found, find_newest(*store, kind));
  // That an older run has nothing left is no answer where the newest came to a bad end.
  if (found.newer && !std::visit([](const auto& run) { return has_left(run); }, found.what)) found.what = *found.newer;
  return found;
}

}  // namespace kfab::commands
