#include "commands/copy.hpp"

#include <filesystem>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/text.hpp"
#include "commands/output_files.hpp"
#include "fleet/fold.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

namespace fs = std::filesystem;

// Octal permission bits, "0644"; 0 for none given.
Result<unsigned> parse_mode(const std::string& text) {
  if (text.empty()) return 0U;
  unsigned mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7' || text.size() > 4) return error(code::copy_usage, fmt::format("'{}' is no mode: write it in octal, 0644", one_line(text, 20)));
    mode = mode * 8 + static_cast<unsigned>(c - '0');
  }
  if (mode == 0) return error(code::copy_usage, "mode 0 would leave a file that nobody can read");
  return mode;
}

// The last part of a path: what the file is called.
Result<std::string> name_of(const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  if (name.empty() || name == "." || name == "..") return error(code::copy_usage, fmt::format("'{}' does not name a file", one_line(path, 80)));
  return name;
}

// DIR/NODE/NAME for every node; the folders are made. Names of nodes are made safe (output_files.hpp).
Result<std::vector<std::string>> places(const std::string& directory, const std::string& name, const std::vector<ssh::Target>& targets) {
  std::vector<std::string> local;
  for (const ssh::Target& target : targets) {
    const fs::path folder = fs::absolute(directory) / file_name_of(target.node);
    std::error_code failed;
    fs::create_directories(folder, failed);
    if (failed) return error(code::copy_folder_unusable, fmt::format("{}: {}", one_line(folder.string()), failed.message()));
    local.push_back((folder / name).string());
    if (fs::is_directory(local.back(), failed))
      return error(code::copy_folder_unusable, fmt::format("{}: is a directory", one_line(local.back())));
  }
  return local;
}

// The file with its checksums. A large one takes longer than a person waits without a word, so its reading is told, in
// MiB and in hundredths of the whole.
Result<fleet::LocalFile> read_once(const std::string& path, Env& env) {
  constexpr std::uint64_t mib = 1 << 20, large = 64 * mib;
  std::optional<std::uint64_t> told;
  auto file = fleet::LocalFile::open(path, [&](std::uint64_t done, std::uint64_t total) {
    const std::uint64_t share = total < large ? 0 : done * 100 / total;
    const auto whole = static_cast<double>((total + mib - 1) / mib);
    if (!told && total >= large) env.events.emit({.type = "run_started", .message = "reading the file, MiB", .total = whole});
    if (total >= large && told != share) env.events.emit({.type = "progress", .step = "checksum", .done = static_cast<double>(done / mib), .total = whole});
    if (total >= large) told = share;
    return !env.cancel.requested();
  });
  if (told) env.events.emit({.type = "run_finished"});
  return file;
}

// What a node ended with, in words.
std::string ending(const CopyRun& run, const fleet::CopyResult& node) {
  if (node.outcome != NodeOutcome::ok) return node.why ? without_lead(node.why->message, node.node) : std::string(to_string(node.phase));
  if (!node.changed) return run.fetch ? "is here already" : "already there";
  const std::string from = node.resumed_from_bytes > 0
                               ? fmt::format(", resumed after {}", with_thousands(static_cast<long long>(node.resumed_from_bytes))) : "";
  if (node.bytes_sent == 0 && node.resumed_from_bytes == 0 && run.size_bytes > 0) return "already there, its rights were set";
  return fmt::format("{} bytes {}{}", with_thousands(static_cast<long long>(node.bytes_sent)), run.fetch ? "fetched" : "sent", from);
}

}  // namespace

json::Value to_json(const CopyRun& run) {
  json::Array nodes;
  for (std::size_t i = 0; i < run.nodes.size(); ++i) {
    const auto& node = run.nodes[i];
    json::Object row{{"node", node.node}, {"outcome", to_string(node.outcome)}, {"phase", ssh::to_string(node.phase)}};
    row.set("bytes_sent", node.bytes_sent).set("resumed_from_bytes", node.resumed_from_bytes);
    row.set("sha256", node.sha256.empty() ? json::Value() : json::Value(node.sha256)).set("changed", node.changed);
    row.set("path", run.fetch ? run.local.at(i) : run.destination).set("duration_s", node.duration_s);
    row.set("reason", node.outcome == NodeOutcome::ok ? json::Value() : json::Value(ending(run, node)));
    row.set("code", node.why ? json::Value(to_string(node.why->code)) : json::Value());
    nodes.emplace_back(std::move(row));
  }
  json::Object data{{"direction", run.fetch ? "from_nodes" : "to_nodes"}, {"source", run.source}, {"destination", run.destination},
                    {"counts", run.counts.to_json()}};
  add_to(data, run.summary);
  return data.set("nodes", std::move(nodes));
}

void render(const CopyRun& run, term::Writer& out) {
  std::vector<std::pair<std::string, std::string>> keyed;
  std::map<std::string, std::size_t> sample;
  // A reason as it can be said of several nodes; a failure of the node's own is told as it is.
  const auto how = [&](std::size_t i, bool shared) {
    const auto& ends = run.summary.ends;
    return shared && run.nodes[i].outcome != NodeOutcome::ok && i < ends.size() ? ends[i].reason : ending(run, run.nodes[i]);
  };
  for (std::size_t i = 0; i < run.nodes.size(); ++i) {
    std::string key = fmt::format("{}\1{}", to_string(run.nodes[i].outcome), how(i, true));
    sample.emplace(key, i);
    keyed.emplace_back(run.nodes[i].node, std::move(key));
  }
  for (const auto& group : fleet::fold(keyed)) {
    const std::size_t first = sample.at(group.text);
    const fleet::CopyResult& node = run.nodes[first];
    out.text(term::Style::strong, nodeset::fold_names(group.nodes));
    if (group.nodes.size() > 1) out.text(term::Style::faint, fmt::format(" ({})", group.nodes.size()));
    out.text(": ").word(to_string(node.outcome)).text(", " + one_line(how(first, group.nodes.size() > 1)));
    out.line();
  }
  if (run.fetch && run.counts.ok > 0) out.line(term::Style::faint, "in " + one_line(run.destination) + "/NODE/" + one_line(run.source.substr(run.source.rfind('/') + 1)));
  render(run.summary, out);
}

CommandOutput run_copy(const CopyOptions& options, Env& env) {
  const bool fetch = !options.from.empty();
  if (options.words.size() != (fetch ? 1 : 2))
    return not_started(error(code::copy_usage, fetch ? "with --from one folder is wanted" : "a file and a path on the nodes are wanted"));
  if (fetch && !options.owner.empty()) return not_started(error(code::copy_usage, "--owner is for files on the nodes"));
  auto mode = parse_mode(options.mode);
  if (!mode) return not_started(std::move(mode).error());
  CopyRun run;
  run.fetch = fetch;
  run.source = fetch ? options.from : options.words[0];
  run.destination = fetch ? options.words[0] : options.words[1];
  auto name = name_of(run.source);
  if (!name) return not_started(std::move(name).error());
  if (run.destination.empty()) return not_started(error(code::copy_usage, "the path to copy to is empty"));

  std::optional<fleet::LocalFile> file;
  if (!fetch) {
    auto opened = read_once(run.source, env);
    if (!opened) {
      CommandOutput stopped = not_started(std::move(opened).error());
      stopped.outcome = overall(env, false, false) == Outcome::cancelled ? Outcome::cancelled : Outcome::invalid;
      stopped.signal = env.cancel.signal();
      return stopped;
    }
    run.size_bytes = opened->size();
    file.emplace(std::move(*opened));
  }
  auto reached = reach(options.site, env);
  if (auto* stopped = std::get_if<CommandOutput>(&reached)) return std::move(*stopped);
  auto& [targets, agent, password, output] = std::get<Reached>(reached);
  fleet::CopyRights rights;
  if (password) rights = {fleet::Become::sudo_password, password.get()};
  else if (options.site.reach.become) rights.become = fleet::Become::sudo;

  auto fleet = fleet_options(options.site.reach);
  fleet::Pace pace(racks_of(targets), options.site.reach.pace);
  fleet.pace = &pace;
  fleet.deadlines.total = std::chrono::milliseconds(static_cast<long long>(options.timeout_s * 1000));
  const auto transport = transport_of(env);
  env.events.emit({.type = "run_started", .message = fetch ? "fetching the file" : "copying the file", .total = static_cast<double>(targets.size())});
  if (fetch) {
    auto local = places(run.destination, *name, targets);
    if (!local) return not_started(std::move(local).error());
    run.local = std::move(*local);
    const fleet::FetchTask task{.path = run.source, .local = run.local, .max_bytes = options.max_bytes, .mode = *mode == 0 ? 0600U : *mode, .rights = rights};
    run.nodes = fleet::fetch_from(*transport, targets, task, fleet, env.clock, env.events, env.cancel);
  } else {
    const fleet::CopyTask task{.file = &*file, .path = run.destination, .name = *name, .mode = *mode == 0 ? file->mode() : *mode, .owner = options.owner, .rights = rights};
    run.nodes = fleet::copy_to(*transport, targets, task, fleet, env.clock, env.events, env.cancel);
  }
  env.events.emit({.type = "run_finished"});

  bool incomplete = false, no = false;
  std::vector<fleet::NodeEnd> ends;
  for (std::size_t i = 0; i < run.nodes.size(); ++i) {
    const auto& node = run.nodes[i];
    run.counts.add(node.outcome);
    if (node.outcome == NodeOutcome::failed) no = true;
    else if (node.outcome != NodeOutcome::ok) incomplete = true;
    ends.push_back(node_end(targets[i], node.outcome, node.phase, node.why));
  }
  run.summary = summarize(std::move(ends), pace, env);
  add_unanswered(output, run.summary, true);
  add_to(output, run.summary);
  output.outcome = overall(env, incomplete, no);
  output.signal = env.cancel.signal();
  output.data = to_json(run);
  output.render = [run = std::move(run)](term::Writer& out) { render(run, out); };
  return std::move(output);
}

}  // namespace kfab::commands
