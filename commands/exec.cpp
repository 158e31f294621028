#include "commands/exec.hpp"

#include <map>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/file.hpp"
#include "base/shell_word.hpp"
#include "base/text.hpp"
#include "commands/output_files.hpp"
#include "fleet/fold.hpp"
#include "fleet/run_command.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t shown_beside_files_bytes = 64 * 1024;   // of each stream of a node, when all of it goes to a file

// What the node ended with, in words: "exit status 7", "killed by signal KILL", or why there is neither.
std::string ending(const fleet::CommandResult& node) {
  if (!node.signal.empty()) return "killed by signal " + node.signal;
  if (node.outcome == NodeOutcome::failed && node.exit_status) return fmt::format("exit status {}", *node.exit_status);
  if (node.outcome == NodeOutcome::ok) return {};
  return node.why ? without_lead(node.why->message, node.node) : std::string(to_string(node.phase));
}

Result<std::string> standard_input(const ExecOptions& options, Env& env) {
  if (options.stdin_file.empty()) return std::string();
  return options.stdin_file == "-" ? env.read_stdin() : read_file(options.stdin_file);
}

// What every node is asked to do, without the input.
Result<fleet::CommandTask> task_of(const ExecOptions& options) {
  if (options.command.empty()) return error(code::empty_command, "no command stands after `--`");
  fleet::CommandTask task{.text = join(options.command, " ")};
  for (const std::string& text : options.environment) {
    KFAB_TRY(variable, fleet::parse_variable(text));
    task.environment.push_back(std::move(variable));
  }
  task.plain = options.plain;
  if (options.plain && !task.environment.empty()) return error(code::plain_excludes, "--plain and --env exclude each other");
  const ReachOptions& reach = options.site.reach;
  const bool password = reach.ask_become_password || !reach.become_password_file.empty();
  if (options.plain && password) return error(code::plain_excludes, "--plain and a password for sudo exclude each other");
  if (options.plain && reach.become) task.text = "exec sudo -n -- /bin/sh -c " + shell_word(task.text);
  else if (password) task.become = fleet::Become::sudo_password;
  else if (reach.become) task.become = fleet::Become::sudo;
  return task;
}

}  // namespace

json::Value to_json(const ExecResult& result) {
  json::Array nodes;
  for (const auto& node : result.nodes) {
    json::Object row;
    row.set("node", node.node).set("outcome", to_string(node.outcome)).set("phase", ssh::to_string(node.phase));
    row.set("exit_status", node.exit_status).set("signal", node.signal.empty() ? json::Value() : json::Value(node.signal));
    row.set("stdout", node.stdout_text).set("stderr", node.stderr_text).set("truncated_bytes", node.truncated_bytes);
    row.set("duration_s", node.duration_s);
    const std::string reason = ending(node);
    row.set("reason", reason.empty() ? json::Value() : json::Value(reason));
    row.set("code", node.why ? json::Value(to_string(node.why->code)) : json::Value());
    nodes.emplace_back(std::move(row));
  }
  json::Object data{{"command", result.command_line}, {"counts", result.counts.to_json()}};
  add_to(data, result.summary);
  return data.set("nodes", std::move(nodes));
}

void render(const ExecResult& result, term::Writer& out) {
  // One block for the nodes that ended alike and said the same; which of the three differs is part of the key.
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, std::size_t> sample;
  const auto shared_reason = [&](std::size_t i) {   // as it can be said of several nodes
    const auto& ends = result.summary.ends;
    return result.nodes[i].outcome != NodeOutcome::failed && i < ends.size() ? ends[i].reason : ending(result.nodes[i]);
  };
  for (std::size_t i = 0; i < result.nodes.size(); ++i) {
    const fleet::CommandResult& node = result.nodes[i];
    const std::string key = fmt::format("{}\1{}\1{}\1{}", to_string(node.outcome), shared_reason(i), node.stdout_text, node.stderr_text);
    sample.emplace(key, i);
    keyed.emplace_back(node.node, key);
  }
  for (const auto& group : fleet::fold(keyed)) {
    const std::size_t first = sample.at(group.text);
    const fleet::CommandResult& node = result.nodes[first];
    out.text(term::Style::strong, nodeset::fold_names(group.nodes));
    if (group.nodes.size() > 1) out.text(term::Style::faint, fmt::format(" ({})", group.nodes.size()));
    out.text(": ").word(to_string(node.outcome));
    if (const std::string how = group.nodes.size() > 1 ? shared_reason(first) : ending(node); !how.empty()) out.text(", " + one_line(how));
    if (node.truncated_bytes > 0 && !result.output_dir.empty()) {
      out.text(fmt::format(", {} bytes more in the files", with_thousands(static_cast<long long>(node.truncated_bytes))));
    } else if (node.truncated_bytes > 0) out.text(fmt::format(", {} bytes of output dropped", with_thousands(static_cast<long long>(node.truncated_bytes))));
    out.line();
    for (const auto line : split_lines(node.stdout_text)) out.line("  " + std::string(line));
    for (const auto line : split_lines(node.stderr_text)) out.line(term::Style::faint, "  | " + std::string(line));
  }
  if (!result.output_dir.empty())
    out.line(term::Style::faint, fmt::format("{} wrote to {}/NODE.out, .err and .json", plural(static_cast<long long>(result.nodes.size()), "node"), one_line(result.output_dir)));
  render(result.summary, out);
}

CommandOutput run_exec(const ExecOptions& options, Env& env) {
  auto task = task_of(options);
  if (!task) return not_started(std::move(task).error());
  auto input = standard_input(options, env);
  if (!input) return not_started(std::move(input).error());
  task->input = *input;

  auto opened = reach(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
  auto& [targets, agent, password, output] = std::get<Reached>(opened);
  task->password = password.get();
  ExecResult result;
  result.command_line = join(options.command, " ");
  auto fleet = fleet_options(options.site.reach);
  fleet.deadlines.total = std::chrono::milliseconds(static_cast<long long>(options.timeout_s * 1000));
  fleet::Pace pace(racks_of(targets), options.site.reach.pace);
  fleet.pace = &pace;
  std::unique_ptr<OutputFiles> files;
  if (!options.output_dir.empty()) {
    auto folder = OutputFiles::open(options.output_dir, targets);
    if (!folder) return not_started(std::move(folder).error());
    files = std::move(*folder);
    result.output_dir = options.output_dir;
    fleet.max_stdout_bytes = fleet.max_stderr_bytes = shown_beside_files_bytes;
  }
  const auto transport = transport_of(env);
  env.events.emit({.type = "run_started", .message = "running the command", .total = static_cast<double>(targets.size())});
  result.nodes = fleet::run_command(*transport, targets, *task, fleet, env.clock, env.events, env.cancel, files.get());
  env.events.emit({.type = "run_finished"});

  bool incomplete = false, no = false;
  if (files && files->failed()) {
    output.diagnostics.push_back(*files->failed());
    incomplete = true;
  }
  std::vector<fleet::NodeEnd> ends;
  for (std::size_t i = 0; i < result.nodes.size(); ++i) {
    const auto& node = result.nodes[i];
    result.counts.add(node.outcome);
    if (node.outcome == NodeOutcome::failed) no = true;
    else if (node.outcome != NodeOutcome::ok) incomplete = true;
    ends.push_back(node_end(targets[i], node.outcome, node.phase, node.why));
    ends.back().exit_status = node.exit_status;
    ends.back().signal = node.signal;
  }
  result.summary = summarize(std::move(ends), pace, env);
  add_unanswered(output, result.summary);
  add_to(output, result.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return std::move(output);
}

}  // namespace kfab::commands
