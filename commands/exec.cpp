#include "commands/exec.hpp"

#include <map>

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/text.hpp"
#include "fleet/fold.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

std::string single_quoted(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// What the node ended with, in words: "exit status 7", "killed by signal KILL", or why there is neither.
std::string ending(const fleet::CommandResult& node) {
  if (!node.signal.empty()) return "killed by signal " + node.signal;
  if (node.outcome == NodeOutcome::failed && node.exit_status) return fmt::format("exit status {}", *node.exit_status);
  if (node.outcome == NodeOutcome::ok) return {};
  return node.why ? node.why->message : std::string(to_string(node.phase));
}

Result<std::string> standard_input(const ExecOptions& options, Env& env) {
  if (options.stdin_file.empty()) return std::string();
  return options.stdin_file == "-" ? env.read_stdin() : read_file(options.stdin_file);
}

// Targets named by addresses on the command line, when there is no manifest.
Result<std::vector<ssh::Target>> bare_targets(const SiteOptions& options, const Env& env) {
  if (options.selection.nodes.empty()) return error(Code::no_target, "neither a manifest nor --nodes says where to run");
  KFAB_TRY(set, nodeset::NodeSet::parse(options.selection.nodes));
  if (!options.selection.exclude.empty()) {
    KFAB_TRY(without, nodeset::NodeSet::parse(options.selection.exclude));
    set -= without;
  }
  std::vector<ssh::Target> targets;
  for (const auto& name : set.names()) targets.push_back(bare_target(name, options.reach, env));
  if (targets.empty()) return error(Code::no_target, "no node is selected");
  return targets;
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
  return json::Object{{"command", result.command_line}, {"counts", result.counts.to_json()}, {"nodes", std::move(nodes)}};
}

void render(const ExecResult& result, term::Writer& out) {
  // One block for the nodes that ended alike and said the same; which of the three differs is part of the key.
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, const fleet::CommandResult*> sample;
  for (const auto& node : result.nodes) {
    const std::string key = fmt::format("{}\1{}\1{}\1{}", to_string(node.outcome), ending(node), node.stdout_text, node.stderr_text);
    sample.emplace(key, &node);
    keyed.emplace_back(node.node, key);
  }
  for (const auto& group : fleet::fold(keyed)) {
    const fleet::CommandResult& node = *sample.at(group.text);
    out.text(term::Style::strong, nodeset::fold_names(group.nodes));
    if (group.nodes.size() > 1) out.text(term::Style::faint, fmt::format(" ({})", group.nodes.size()));
    out.text(": ").word(to_string(node.outcome));
    if (const std::string how = ending(node); !how.empty()) out.text(", " + one_line(how));
    if (node.truncated_bytes > 0) out.text(fmt::format(", {} bytes of output dropped", with_thousands(static_cast<long long>(node.truncated_bytes))));
    out.line();
    for (const auto line : split_lines(node.stdout_text)) out.line("  " + std::string(line));
    for (const auto line : split_lines(node.stderr_text)) out.line(term::Style::faint, "  | " + std::string(line));
  }
}

CommandOutput run_exec(const ExecOptions& options, Env& env) {
  if (options.command.empty()) return not_started(error(Code::empty_command, "no command stands after `--`"));
  auto input = standard_input(options, env);
  if (!input) return not_started(std::move(input).error());

  CommandOutput output;
  std::vector<ssh::Target> targets;
  std::vector<bool> sudo;
  if (options.site.manifest.empty()) {
    auto bare = bare_targets(options.site, env);
    if (!bare) return not_started(std::move(bare).error());
    targets = std::move(*bare);
  } else {
    auto opened = open_site(options.site, env);
    if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
    auto& session = std::get<SiteSession>(opened);
    targets = std::move(session.targets);
    output = session.output();
  }

  ExecResult result;
  result.command_line = join(options.command, " ");
  const std::string line =
      options.site.reach.become ? "exec sudo -n -- /bin/sh -c " + single_quoted(result.command_line) : result.command_line;
  auto fleet = fleet_options(options.site.reach);
  fleet.deadlines.total = std::chrono::milliseconds(static_cast<long long>(options.timeout_s * 1000));
  const auto transport = transport_of(env);
  env.events.emit({.type = "run_started", .message = "running the command", .total = static_cast<double>(targets.size())});
  result.nodes = fleet::run_command(*transport, targets, line, *input, fleet, env.clock, env.events, env.cancel);
  env.events.emit({.type = "run_finished"});

  bool incomplete = false, no = false;
  for (const auto& node : result.nodes) {
    result.counts.add(node.outcome);
    if (node.outcome == NodeOutcome::failed) no = true;
    else if (node.outcome != NodeOutcome::ok) incomplete = true;
    if (node.why && node.outcome != NodeOutcome::failed) output.diagnostics.push_back(*node.why);
  }
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands
