#include "commands/hostkeys.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/ssh.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "commands/host_key_list.hpp"
#include "nodeset/nodeset.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_key_store.hpp"
#include "ssh/host_names.hpp"
#include "ssh/transport.hpp"

namespace kfab::commands {
namespace {

// What a command about host keys works on.
struct Selected {
  CommandOutput output;   // with the site and what was found in its manifest
  std::vector<ssh::Target> targets;
  std::vector<std::string> local;   // nodes without SSH: there is nothing to ask
  std::string store;
  std::string site_argument;        // how the user named it, for messages
};

std::variant<Selected, CommandOutput> select(const HostKeysOptions& options, Env& env) {
  Selected selected;
  std::vector<ssh::Target> targets;
  if (options.site.manifest.empty()) {
    auto bare = bare_targets(options.site, env, selected.output.diagnostics);
    if (!bare) return not_started({std::move(bare).error()}, sources_of(options.site.selection));
    targets = std::move(*bare);
    selected.site_argument = "-w '" + options.site.selection.nodes + "'";
  } else {
    auto opened = open_site(options.site, env);
    if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
    auto& session = std::get<SiteSession>(opened);
    targets = std::move(session.targets);
    selected.output = session.output();
    selected.site_argument = options.site.manifest;
  }
  for (ssh::Target& target : targets) {
    selected.store = target.site_store;
    if (target.transport == ssh::TransportKind::local) selected.local.push_back(target.node);
    else selected.targets.push_back(std::move(target));
  }
  if (selected.targets.empty()) return not_started(error(code::no_target, "every selected node is local: none has a host key"));
  return selected;
}

struct Trusted {
  std::vector<ssh::ReplacedLine> replaced;
  long long keys = 0, nodes = 0;
};

json::Object counts_json(const HostKeyReview& review) {
  std::map<NodeKeys, long long> nodes;
  long long duplicated = 0;
  for (const ReviewedNode& node : review.nodes) {
    ++nodes[node.state];
    duplicated += node.duplicated ? 1 : 0;
  }
  json::Object counts{{"nodes", static_cast<long long>(review.nodes.size())}};
  for (const NodeKeys state : {NodeKeys::known, NodeKeys::fresh, NodeKeys::changed, NodeKeys::revoked, NodeKeys::not_asked}) {
    counts.set(std::string(to_string(state)), nodes[state]);
  }
  counts.set("duplicated", duplicated);
  return counts;
}

json::Value to_json(std::string_view action, const Selected& selected, const HostKeyReview& review, const Trusted& trusted) {
  json::Array replaced;
  for (const auto& line : trusted.replaced) {
    replaced.emplace_back(json::Object{{"node", line.node}, {"file", selected.store}, {"line", static_cast<long long>(line.line)}, {"type", line.type}, {"fingerprint", line.fingerprint}});
  }
  return json::Object{{"action", action}, {"store", selected.store}, {"counts", counts_json(review)}, {"stored_keys", trusted.keys}, {"stored_nodes", trusted.nodes},
                      {"types", types_json(review)}, {"nodes", nodes_json(review)}, {"duplicates", duplicates_json(review.duplicates)}, {"replaced", std::move(replaced)}};
}

Result<HostKeyReview> scan(const Selected& selected, const HostKeysOptions& options, ssh::HostKeys& keys, Env& env) {
  const auto transport = transport_of(env);
  env.events.emit({.type = "run_started", .message = "asking for host keys", .total = static_cast<double>(selected.targets.size())});
  auto scans = fleet::scan_host_keys(*transport, selected.targets, fleet_options(options.site.reach), env.clock, env.events, env.cancel);
  env.events.emit({.type = "run_finished"});
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(env.clock.now().time_since_epoch()).count();
  return review(selected.targets, std::move(scans), keys, static_cast<std::uint64_t>(now));
}

ssh::HostKeys make_keys() { return ssh::HostKeys(ssh::options_from_environment().home); }

bool any_not_asked(const HostKeyReview& review) {
  return std::any_of(review.nodes.begin(), review.nodes.end(), [](const ReviewedNode& node) { return node.scan.outcome != NodeOutcome::ok; });
}

CommandOutput finish(Selected selected, std::string_view action, const Env& env, const HostKeyReview& review, const Trusted& trusted, bool no) {
  CommandOutput output = std::move(selected.output);
  for (Diagnostic& found : findings(review)) output.diagnostics.push_back(std::move(found));
  output.outcome = overall(env, any_not_asked(review), no);
  output.signal = env.cancel.signal();
  output.data = to_json(action, selected, review, trusted);
  return output;
}

std::string local_line(const Selected& selected) {
  return selected.local.empty() ? std::string() : fmt::format("Local, without host keys: {}", folded(selected.local));
}

CommandOutput run_scan(Selected selected, const HostKeysOptions& options, Env& env) {
  ssh::HostKeys keys = make_keys();
  auto reviewed = scan(selected, options, keys, env);
  if (!reviewed) return not_started(std::move(reviewed).error());
  const auto all_known = [](const ReviewedNode& node) { return node.state == NodeKeys::known || node.state == NodeKeys::not_asked; };
  const bool no = !std::all_of(reviewed->nodes.begin(), reviewed->nodes.end(), all_known) || !reviewed->duplicates.empty();
  const std::string argument = selected.site_argument, local = local_line(selected);
  const bool fresh = std::any_of(reviewed->nodes.begin(), reviewed->nodes.end(), [](const auto& node) { return node.state == NodeKeys::fresh; });
  CommandOutput output = finish(std::move(selected), "scan", env, *reviewed, {}, no);
  output.render = [reviewed = std::move(*reviewed), all = options.all, argument, local, fresh](term::Writer& out) {
    render(reviewed, all, out);
    if (!local.empty()) out.line(local);
    out.line("Nothing was stored." + (fresh ? " To store what is new, after comparing: kfab hostkeys trust " + argument : std::string()));
  };
  return output;
}

// The changes that the decisions ask for, and the question about them.
struct Plan {
  std::vector<ssh::StoreChange> changes;
  std::vector<std::string> added, replaced;
  long long keys = 0;
  std::string question(const std::string& store) const {
    std::vector<std::string> parts;
    if (!added.empty()) parts.push_back("of " + folded(added));
    if (!replaced.empty()) parts.push_back("in place of the known ones of " + folded(replaced));
    return fmt::format("Store {} {} in {}?", plural(keys, "host key"), join(parts, " and "), one_line(store));
  }
};

Plan plan_of(const std::vector<ssh::Target>& targets, const HostKeyReview& review) {
  Plan plan;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const ReviewedNode& node = review.nodes[i];
    if (node.decision != Decision::stored && node.decision != Decision::replaced) continue;
    ssh::StoreChange change{&targets[i], {}, node.decision == Decision::replaced};
    for (const ReviewedKey& key : node.keys) {
      if (key.stored) change.blobs.push_back(key.blob);
    }
    plan.keys += static_cast<long long>(change.blobs.size());
    (change.replace ? plan.replaced : plan.added).push_back(node.scan.node);
    plan.changes.push_back(std::move(change));
  }
  return plan;
}

void forget_stored(HostKeyReview& review) {
  for (ReviewedNode& node : review.nodes) {
    for (ReviewedKey& key : node.keys) key.stored = false;
    if (node.decision == Decision::stored || node.decision == Decision::replaced) node.decision = Decision::nothing_to_do;
  }
}

void render_decisions(const HostKeyReview& review, const Trusted& trusted, const std::string& store, term::Writer& out) {
  struct Row { Decision decision; std::string_view words; };
  constexpr Row rows[] = {{Decision::left_changed, "left alone, their keys have changed (--replace SET after a reinstall that you know of)"},
                          {Decision::left_revoked, "left alone, their keys are revoked"},
                          {Decision::left_duplicate, "left alone, others show the same keys (--allow-duplicates)"},
                          {Decision::left_mismatch, "left alone, NONE of their keys is one that the file of fingerprints lists for them"},
                          {Decision::left_unlisted, "left alone, the file of fingerprints does not name them"},
                          {Decision::not_asked, "not asked, or not for all keys"}};
  for (const Row& row : rows) {
    std::vector<std::string> nodes;
    for (const ReviewedNode& node : review.nodes) {
      if (node.decision == row.decision) nodes.push_back(node.scan.node);
    }
    if (!nodes.empty()) out.line(term::Style::warning, fmt::format("{}: {}", folded(nodes), row.words));
  }
  for (const auto& line : trusted.replaced) {
    out.line(fmt::format("replaced for {}: {} {} (line {})", one_line(line.node), one_line(line.type), line.fingerprint, line.line));
  }
  if (trusted.keys == 0) out.line("Nothing was stored.");
  else out.line(term::Style::good, fmt::format("Stored {} of {} in {}.", plural(trusted.keys, "host key"), plural(trusted.nodes, "node"), one_line(store)));
}

Result<std::vector<std::string>> names_to_replace(const HostKeysOptions& options, const Selected& selected) {
  if (options.replace.empty()) return std::vector<std::string>{};
  KFAB_TRY(set, nodeset::NodeSet::parse(options.replace));
  std::unordered_set<std::string> known;
  for (const ssh::Target& target : selected.targets) known.insert(target.node);
  const auto names = set.names();
  for (const std::string& name : names) {
    if (!known.contains(name)) return error(code::unknown_node, fmt::format("--replace names {}, which is not among the selected nodes", one_line(name)));
  }
  return names;
}

CommandOutput run_trust(Selected selected, const HostKeysOptions& options, Env& env) {
  auto replace = names_to_replace(options, selected);
  if (!replace) return not_started(std::move(replace).error());
  std::vector<ListedFingerprint> listed;
  if (!options.fingerprints_file.empty()) {
    auto text = options.fingerprints_file == "-" ? env.read_stdin() : read_file(options.fingerprints_file);
    if (!text) return not_started(std::move(text).error());
    auto parsed = parse_fingerprints(*text);
    if (!parsed) return not_started(std::move(parsed).error());
    listed = std::move(*parsed);
  }
  ssh::HostKeys keys = make_keys();
  auto reviewed = scan(selected, options, keys, env);
  if (!reviewed) return not_started(std::move(reviewed).error());
  decide(*reviewed, *replace, options.allow_duplicates, options.fingerprints_file.empty() ? nullptr : &listed);

  Plan plan = plan_of(selected.targets, *reviewed);
  const bool ask = !plan.changes.empty() && !env.cancel.requested();
  if (ask && options.show_first) {
    term::Writer out(env.out, env.out_facts);
    render(*reviewed, options.all, out);
    env.out.flush();
  }
  Trusted trusted;
  Diagnostics trouble;
  if (ask) {
    auto agreed = env.confirm(plan.question(selected.store));
    if (!agreed) return not_started(std::move(agreed).error());
    if (!*agreed) return not_started(error(code::confirmation_missing, "not confirmed; nothing was stored"));
    auto stored = ssh::update_store(selected.store, plan.changes);
    if (stored) trusted = {std::move(*stored), plan.keys, static_cast<long long>(plan.changes.size())};
    else trouble.push_back(std::move(stored).error());
  }
  if (trusted.keys == 0) forget_stored(*reviewed);

  std::vector<std::string> mismatched;
  bool no = !trouble.empty();
  for (const ReviewedNode& node : reviewed->nodes) {
    if (node.decision == Decision::left_mismatch) mismatched.push_back(node.scan.node);
    no = no || (node.decision != Decision::nothing_to_do && node.decision != Decision::stored && node.decision != Decision::replaced && node.decision != Decision::not_asked);
    no = no || (node.decision == Decision::nothing_to_do && node.state == NodeKeys::fresh);
  }
  if (!mismatched.empty()) {
    trouble.push_back(error(code::host_key_fingerprint_differs, fmt::format("{}: none of the keys shown is listed in {}", folded(mismatched), one_line(options.fingerprints_file))));
  }
  const std::string store = selected.store, local = local_line(selected);
  CommandOutput output = finish(std::move(selected), "trust", env, *reviewed, trusted, no);
  for (Diagnostic& each : trouble) output.diagnostics.push_back(std::move(each));
  const bool shown = ask && options.show_first;
  output.render = [reviewed = std::move(*reviewed), trusted = std::move(trusted), all = options.all, store, local, shown](term::Writer& out) {
    if (!shown) render(reviewed, all, out);
    if (!local.empty()) out.line(local);
    render_decisions(reviewed, trusted, store, out);
  };
  return output;
}

}  // namespace

std::optional<HostKeysAction> parse_hostkeys_action(std::string_view word) {
  if (word == "scan") return HostKeysAction::scan;
  if (word == "trust") return HostKeysAction::trust;
  if (word == "list") return HostKeysAction::list;
  return std::nullopt;
}

Result<std::vector<ListedFingerprint>> parse_fingerprints(std::string_view text) {
  std::vector<ListedFingerprint> listed;
  std::size_t number = 0;
  for (std::string_view line : split_lines(text)) {
    ++number;
    line = trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    std::vector<std::string> words;
    for (const std::string& word : split(line, ' ')) {
      for (std::string& part : split(word, '\t')) {
        if (!part.empty()) words.push_back(std::move(part));
      }
    }
    const auto print = std::find_if(words.begin(), words.end(), [](const std::string& word) { return word.starts_with("SHA256:"); });
    constexpr std::size_t length = 7 + 43;   // of SHA-256 in base64 without padding
    if (print == words.end() || print == words.begin() || print->size() != length) {
      return error(code::bad_fingerprint_line, fmt::format("line {} of the file of fingerprints is not NODE SHA256:...: {}", number, one_line(line, 80)));
    }
    listed.push_back({words.front(), *print});
  }
  if (listed.empty()) return error(code::bad_fingerprint_line, "the file of fingerprints lists none");
  return listed;
}

void decide(HostKeyReview& review, const std::vector<std::string>& replace, bool allow_duplicates, const std::vector<ListedFingerprint>* listed) {
  const std::unordered_set<std::string> expected(replace.begin(), replace.end());
  std::unordered_map<std::string, std::set<std::string>> fingerprints;
  if (listed != nullptr) {
    for (const auto& [node, fingerprint] : *listed) fingerprints[to_lower(node)].insert(fingerprint);
  }
  const auto one_is = [](const ReviewedNode& node, KeyState state) {
    return std::any_of(node.keys.begin(), node.keys.end(), [&](const ReviewedKey& key) { return key.state == state; });
  };
  for (ReviewedNode& node : review.nodes) {
    const bool changed = node.state == NodeKeys::changed;
    const bool replaced = changed && expected.contains(node.scan.node);
    const bool news = changed || one_is(node, KeyState::fresh) || one_is(node, KeyState::further);
    node.decision = Decision::nothing_to_do;
    if (node.scan.outcome != NodeOutcome::ok) node.decision = Decision::not_asked;
    else if (node.state == NodeKeys::revoked) node.decision = Decision::left_revoked;
    else if (changed && !replaced) node.decision = Decision::left_changed;
    else if (news && node.duplicated && !allow_duplicates) node.decision = node.state == NodeKeys::known ? Decision::nothing_to_do : Decision::left_duplicate;
    else if (news) node.decision = replaced ? Decision::replaced : Decision::stored;
    if (node.decision != Decision::stored && node.decision != Decision::replaced) continue;

    const std::set<std::string>* prints = nullptr;
    if (listed != nullptr) {
      for (const std::string& name : {to_lower(node.scan.node), to_lower(node.address)}) {
        if (const auto found = fingerprints.find(name); found != fingerprints.end() && prints == nullptr) prints = &found->second;
      }
      if (prints == nullptr) {
        node.decision = node.state == NodeKeys::known ? Decision::nothing_to_do : Decision::left_unlisted;
        continue;
      }
    }
    bool any = false, match = false;
    for (ReviewedKey& key : node.keys) {
      const bool listed_key = prints == nullptr || prints->contains(key.fingerprint);
      match = match || listed_key;
      // When all that was known of a node goes, all that it shows comes in.
      const bool wanted = replaced || key.state == KeyState::fresh || key.state == KeyState::further;
      key.stored = wanted && listed_key;
      any = any || key.stored;
    }
    if (!match) node.decision = Decision::left_mismatch;
    else if (!any) node.decision = Decision::nothing_to_do;
  }
}

CommandOutput run_hostkeys(const HostKeysOptions& options, Env& env) {
  auto chosen = select(options, env);
  if (auto* stopped = std::get_if<CommandOutput>(&chosen)) return std::move(*stopped);
  auto& selected = std::get<Selected>(chosen);
  switch (options.action) {
    case HostKeysAction::scan: return run_scan(std::move(selected), options, env);
    case HostKeysAction::trust: return run_trust(std::move(selected), options, env);
    case HostKeysAction::list: break;
  }
  CommandOutput output = std::move(selected.output);
  list_host_keys(selected.targets, selected.store, options.all, env, output);
  return output;
}

}  // namespace kfab::commands
