#include "commands/host_key_review.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "base/codes/internal.hpp"
#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "nodeset/nodeset.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_certificate.hpp"
#include "ssh/host_key_exchange.hpp"
#include "ssh/host_names.hpp"

namespace kfab::commands {
namespace {

constexpr std::array key_states{KeyState::known, KeyState::certified, KeyState::further, KeyState::fresh, KeyState::changed, KeyState::revoked};
constexpr std::size_t most_lines = 200;   // that a person reads before agreeing

using Standing = ssh::HostKeys::Standing;

KeyState state_of(const Standing& standing, bool one_known, bool complete) {
  switch (standing.state) {
    case Standing::State::known: return KeyState::known;
    case Standing::State::certified: return KeyState::certified;
    case Standing::State::revoked: return KeyState::revoked;
    case Standing::State::changed: return KeyState::changed;
    case Standing::State::unknown: break;
  }
  if (one_known) return KeyState::further;
  // It is known, but by none of the keys that it has.
  return complete && !standing.known_by.empty() ? KeyState::changed : KeyState::fresh;
}

NodeKeys worst(const ReviewedNode& node) {
  const auto any = [&](KeyState state) { return std::any_of(node.keys.begin(), node.keys.end(), [&](const ReviewedKey& key) { return key.state == state; }); };
  if (any(KeyState::revoked)) return NodeKeys::revoked;
  if (any(KeyState::changed)) return NodeKeys::changed;
  if (node.scan.outcome != NodeOutcome::ok) return NodeKeys::not_asked;
  return any(KeyState::fresh) ? NodeKeys::fresh : NodeKeys::known;
}

// Certificates first: a key that an authority vouches for is known.
Result<std::vector<std::string>> take_certificates(const ssh::Target& target, ReviewedNode& node, ssh::HostKeys& keys, std::uint64_t now_s) {
  std::vector<std::string> plain, words;
  for (const std::string& blob : node.scan.key_blobs) {
    if (!ssh::is_certificate(blob)) {
      plain.push_back(blob);
      continue;
    }
    ssh::HostKeyInquiry inquiry;
    auto looked_at = keys.certify(target, inquiry, blob, ssh::scannable_types(), now_s);
    if (!looked_at && looked_at.error().code != code::host_key_revoked) return looked_at.error();
    const std::string said = !looked_at ? looked_at.error().message : inquiry.certificate_trouble;
    if (!said.empty() && std::find(words.begin(), words.end(), said) == words.end()) words.push_back(said);
  }
  node.certificate = join(words, "; ");
  return plain;
}

// The nodes by the key that they show, and what the store has under other names.
void find_duplicates(const std::vector<ssh::Target>& targets, ssh::HostKeys& keys, HostKeyReview& review) {
  std::unordered_map<std::string_view, std::vector<std::size_t>> by_key;
  for (std::size_t i = 0; i < review.nodes.size(); ++i) {
    for (const ReviewedKey& key : review.nodes[i].keys) by_key[key.blob].push_back(i);
  }
  std::map<std::vector<std::size_t>, std::vector<std::string_view>> by_nodes;
  for (const auto& [blob, nodes] : by_key) {
    if (nodes.size() > 1) by_nodes[nodes].push_back(blob);
  }
  for (auto& [nodes, blobs] : by_nodes) {
    if (std::all_of(nodes.begin(), nodes.end(), [&](std::size_t i) { return targets[i].shares_machine; })) continue;   // as declared
    std::sort(blobs.begin(), blobs.end());
    Duplicate duplicate;
    duplicate.one_address = true;
    for (const std::size_t i : nodes) {
      review.nodes[i].duplicated = true;
      duplicate.nodes.push_back(review.nodes[i].scan.node);
      duplicate.one_address = duplicate.one_address && ssh::address_name(targets[i]) == ssh::address_name(targets[nodes.front()]);
    }
    for (const std::string_view blob : blobs) {
      duplicate.types.push_back(one_line(ssh::key_type(blob)));
      duplicate.fingerprints.push_back(ssh::fingerprint(blob));
    }
    review.duplicates.push_back(std::move(duplicate));
  }
  // A key that is stored for somebody who does not show it: two nodes have changed places, or one is another's clone.
  for (const auto& [blob, nodes] : by_key) {
    if (std::all_of(nodes.begin(), nodes.end(), [&](std::size_t i) { return targets[i].shares_machine; })) continue;
    auto lines = keys.store_lines_of_key(targets[nodes.front()], blob);
    if (!lines || lines->empty()) continue;
    std::unordered_set<std::string> shown_by;
    Duplicate duplicate{{}, {one_line(ssh::key_type(blob))}, {ssh::fingerprint(blob)}, false, {}};
    for (const std::size_t i : nodes) {
      for (std::string& name : ssh::all_names_of(targets[i])) shown_by.insert(std::move(name));
      duplicate.nodes.push_back(review.nodes[i].scan.node);
    }
    for (const auto& line : *lines) {
      if (line.marker != ssh::KnownHost::Marker::none || line.names.find_first_of("|*?!") != std::string::npos) continue;
      const auto names = split(to_lower(line.names), ',');
      if (std::any_of(names.begin(), names.end(), [&](const std::string& name) { return shown_by.contains(name); })) continue;
      for (const std::size_t i : nodes) review.nodes[i].duplicated = true;
      duplicate.stored_as = fmt::format("{} ({}:{})", one_line(names.front()), one_line(line.file), line.line);
      review.duplicates.push_back(duplicate);
      break;   // one is enough to look into
    }
  }
}

// Without those for which `settled` was decided.
std::vector<std::string> nodes_where(const HostKeyReview& review, NodeKeys state, std::optional<Decision> settled = {}) {
  std::vector<std::string> names;
  for (const ReviewedNode& node : review.nodes) {
    if (node.state == state && (!settled || node.decision != settled)) names.push_back(node.scan.node);
  }
  return names;
}

// Nodes that could not be asked, by why.
std::map<std::string, std::pair<Code, std::vector<std::string>>> not_asked(const HostKeyReview& review) {
  std::map<std::string, std::pair<Code, std::vector<std::string>>> groups;
  for (const ReviewedNode& node : review.nodes) {
    if (node.scan.outcome == NodeOutcome::ok) continue;
    const Code code = node.scan.why ? node.scan.why->code : code::internal;
    auto& group = groups[fmt::format("{} in phase {}: {}", to_string(node.scan.outcome), ssh::to_string(node.scan.phase), info(code).cause)];
    group.first = code;
    group.second.push_back(node.scan.node);
  }
  return groups;
}

std::string sentence(const Duplicate& duplicate) {
  const std::string types = join(duplicate.types, ", ");
  if (!duplicate.stored_as.empty()) return fmt::format("{} {} the {} key that is stored for {}", folded(duplicate.nodes), duplicate.nodes.size() == 1 ? "shows" : "show", types, duplicate.stored_as);
  if (duplicate.one_address) return fmt::format("{} are one machine: the same address, and the same {} key", folded(duplicate.nodes), types);
  return fmt::format("{} show the same {} key: cloned from one image, or one machine under several names", folded(duplicate.nodes), types);
}

void render_keys(const HostKeyReview& review, NodeKeys state, KeyState shown, term::Style style, bool all, term::Writer& out) {
  std::size_t lines = 0, left_out = 0;
  for (const ReviewedNode& node : review.nodes) {
    if (node.state != state) continue;
    for (const ReviewedKey& key : node.keys) {
      if (key.state != shown) continue;
      if (!all && lines >= most_lines) {
        ++left_out;
        continue;
      }
      ++lines;
      out.text("  ").text(style, one_line(node.scan.node)).text(fmt::format("  {}  {}", one_line(key.type), key.fingerprint)).line();
      if (shown == KeyState::changed) {
        for (const std::string& was : key.known_by) out.line(term::Style::faint, "      was known by " + was);
      }
      if (shown == KeyState::revoked) out.line(term::Style::faint, "      revoked by a line for " + key.where);
    }
  }
  if (left_out > 0) out.line(term::Style::faint, fmt::format("  ... and {} more: -v shows all", with_thousands(static_cast<long long>(left_out))));
}

}  // namespace

std::string_view to_string(KeyState state) {
  constexpr std::array<std::string_view, 6> words{"known", "certified", "further", "new", "changed", "revoked"};
  return words[static_cast<std::size_t>(state)];
}
std::string_view to_string(NodeKeys state) {
  constexpr std::array<std::string_view, 5> words{"known", "new", "changed", "revoked", "not_asked"};
  return words[static_cast<std::size_t>(state)];
}
std::string_view to_string(Decision decision) {
  constexpr std::array<std::string_view, 9> words{"nothing_to_do", "stored",        "replaced",      "left_changed", "left_revoked",
                                                  "left_duplicate", "left_unlisted", "left_mismatch", "not_asked"};
  return words[static_cast<std::size_t>(decision)];
}

std::string folded(const std::vector<std::string>& nodes) {
  std::vector<std::string> lines;
  for (const std::string& node : nodes) lines.push_back(one_line(node));
  return nodes.size() == 1 ? lines.front() : fmt::format("{} ({})", nodeset::fold_names(lines), with_thousands(static_cast<long long>(nodes.size())));
}

Result<HostKeyReview> review(const std::vector<ssh::Target>& targets, std::vector<fleet::ScannedNode> scans, ssh::HostKeys& keys, std::uint64_t now_s) {
  HostKeyReview review;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    ReviewedNode node;
    node.scan = std::move(scans[i]);
    node.address = targets[i].address;
    node.port = targets[i].port;
    KFAB_TRY(plain, take_certificates(targets[i], node, keys, now_s));
    KFAB_TRY(standings, keys.standings(targets[i], plain));
    const bool one_known = std::any_of(standings.begin(), standings.end(), [](const Standing& standing) {
      return standing.state == Standing::State::known || standing.state == Standing::State::certified;
    });
    for (std::size_t k = 0; k < plain.size(); ++k) {
      ReviewedKey key{std::string(ssh::key_type(plain[k])), plain[k], ssh::fingerprint(plain[k]), KeyState::fresh, standings[k].where, standings[k].known_by, false};
      key.state = state_of(standings[k], one_known, node.scan.outcome == NodeOutcome::ok);
      node.keys.push_back(std::move(key));
    }
    node.state = worst(node);
    review.nodes.push_back(std::move(node));
  }
  find_duplicates(targets, keys, review);
  for (const ssh::Target& target : targets) {
    for (std::string& trouble : keys.authority_trouble(target)) {
      auto& told = review.authority_trouble;
      if (std::find(told.begin(), told.end(), trouble) == told.end()) told.push_back(std::move(trouble));
    }
  }
  return review;
}

Diagnostics findings(const HostKeyReview& review) {
  Diagnostics found;
  if (const auto nodes = nodes_where(review, NodeKeys::revoked); !nodes.empty()) found.push_back(error(code::host_key_revoked, folded(nodes) + ": a host key that is marked as revoked"));
  if (const auto nodes = nodes_where(review, NodeKeys::changed, Decision::replaced); !nodes.empty()) {
    Diagnostic changed = error(code::host_key_changed, folded(nodes) + ": THE HOST KEY HAS CHANGED");
    changed.help.push_back(fmt::format("after a reinstall that you know of: kfab hostkeys trust MANIFEST --replace '{}'", nodeset::fold_names(nodes)));
    found.push_back(std::move(changed));
  }
  for (const Duplicate& duplicate : review.duplicates) found.push_back(make_diagnostic(code::host_keys_duplicated, sentence(duplicate)));
  for (const std::string& trouble : review.authority_trouble) found.push_back(make_diagnostic(code::host_ca_unreadable, one_line(trouble)));
  for (const auto& [why, group] : not_asked(review)) found.push_back(make_diagnostic(group.first, fmt::format("{}: {}", folded(group.second), why)));
  return found;
}

json::Array types_json(const HostKeyReview& review) {
  std::map<std::string, std::map<KeyState, long long>> counts;
  for (const ReviewedNode& node : review.nodes) {
    for (const ReviewedKey& key : node.keys) ++counts[key.type][key.state];
  }
  json::Array types;
  for (auto& [type, of_state] : counts) {
    json::Object row{{"type", type}};
    for (const KeyState state : key_states) row.set(std::string(to_string(state)), of_state[state]);
    types.emplace_back(std::move(row));
  }
  return types;
}

json::Array nodes_json(const HostKeyReview& review) {
  const auto words = [](const std::string& text) { return text.empty() ? json::Value() : json::Value(text); };
  json::Array nodes;
  for (const ReviewedNode& node : review.nodes) {
    json::Array keys;
    for (const ReviewedKey& key : node.keys) {
      json::Array known_by;
      for (const std::string& was : key.known_by) known_by.emplace_back(was);
      keys.emplace_back(json::Object{{"type", key.type}, {"fingerprint", key.fingerprint}, {"public_key", ssh::base64_encode(key.blob)}, {"state", to_string(key.state)},
                                     {"source", words(key.where)}, {"known_by", std::move(known_by)}, {"stored", key.stored}});
    }
    json::Object row{{"node", node.scan.node}, {"address", node.address}, {"port", node.port}, {"state", to_string(node.state)}};
    row.set("decision", node.decision ? json::Value(to_string(*node.decision)) : json::Value());
    row.set("outcome", to_string(node.scan.outcome)).set("phase", ssh::to_string(node.scan.phase));
    row.set("reason", node.scan.why ? json::Value(node.scan.why->message) : json::Value());
    row.set("code", node.scan.why ? json::Value(to_string(node.scan.why->code)) : json::Value());
    row.set("certificate", words(node.certificate)).set("duplicated", node.duplicated).set("keys", std::move(keys));
    nodes.emplace_back(std::move(row));
  }
  return nodes;
}

json::Array duplicates_json(const std::vector<Duplicate>& duplicates) {
  const auto list = [](const std::vector<std::string>& words) {
    json::Array values;
    for (const std::string& word : words) values.emplace_back(word);
    return values;
  };
  json::Array rows;
  for (const Duplicate& duplicate : duplicates) {
    rows.emplace_back(json::Object{{"nodes", list(duplicate.nodes)}, {"types", list(duplicate.types)}, {"fingerprints", list(duplicate.fingerprints)},
                                   {"one_address", duplicate.one_address},
                                   {"stored_as", duplicate.stored_as.empty() ? json::Value() : json::Value(duplicate.stored_as)}});
  }
  return rows;
}

void render(const std::vector<Duplicate>& duplicates, term::Writer& out) {
  if (duplicates.empty()) return;
  out.line(term::Style::warning, "The same key more than once:");
  for (const Duplicate& duplicate : duplicates) out.line("  " + sentence(duplicate));
}

void render(const HostKeyReview& review, bool all, term::Writer& out) {
  term::Table table({{"key type"}, {"known", term::Align::right}, {"certified", term::Align::right}, {"further", term::Align::right}, {"new", term::Align::right},
                     {"changed", term::Align::right}, {"revoked", term::Align::right}});
  for (const json::Value& type : types_json(review)) {
    std::vector<term::Cell> cells{type.string_or("type")};
    for (const KeyState state : key_states) {
      const auto count = type.int_or(to_string(state), 0);
      const bool bad = state == KeyState::changed || state == KeyState::revoked;
      cells.emplace_back(with_thousands(count), count > 0 && bad ? term::Style::bad : term::Style::plain);
    }
    table.row(std::move(cells));
  }
  if (!table.empty()) out.table(table).line();
  if (const auto nodes = nodes_where(review, NodeKeys::revoked); !nodes.empty()) {
    out.line(term::Style::bad, "Revoked: " + folded(nodes));
    render_keys(review, NodeKeys::revoked, KeyState::revoked, term::Style::bad, all, out);
  }
  if (const auto nodes = nodes_where(review, NodeKeys::changed); !nodes.empty()) {
    out.line(term::Style::bad, "CHANGED: " + folded(nodes));
    render_keys(review, NodeKeys::changed, KeyState::changed, term::Style::bad, all, out);
  }
  render(review.duplicates, out);
  const auto groups = not_asked(review);
  if (!groups.empty()) out.line(term::Style::warning, "Not asked:");
  for (const auto& [why, group] : groups) out.line(fmt::format("  {}: {}", folded(group.second), why));
  if (const auto nodes = nodes_where(review, NodeKeys::fresh); !nodes.empty()) {
    out.line(term::Style::strong, "New: " + folded(nodes));
    render_keys(review, NodeKeys::fresh, KeyState::fresh, term::Style::plain, all, out);
  }
  std::map<std::string, std::vector<std::string>> certificates;
  for (const ReviewedNode& node : review.nodes) {
    if (!node.certificate.empty()) certificates[node.certificate].push_back(node.scan.node);
  }
  for (const auto& [words, nodes] : certificates) out.line(term::Style::warning, fmt::format("Certificate of {}: {}", folded(nodes), words));
  if (const auto nodes = nodes_where(review, NodeKeys::known); !nodes.empty()) {
    const bool further = std::any_of(review.nodes.begin(), review.nodes.end(), [](const ReviewedNode& node) {
      return std::any_of(node.keys.begin(), node.keys.end(), [](const ReviewedKey& key) { return key.state == KeyState::further; });
    });
    out.text(term::Style::good, "Known: ").line(folded(nodes) + (further ? ", some with further keys that are not known yet" : ""));
  }
}

}  // namespace kfab::commands
