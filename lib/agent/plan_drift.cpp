#include "agent/plan_drift.hpp"

#include <algorithm>
#include <initializer_list>

#include "agent/facts_sections.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"

namespace kfab::agent::provisioning {
namespace {

// 128 bits of SHA-256 over what was found: enough that two different findings are never taken for one.
std::string digest_of(std::initializer_list<std::string_view> parts) {
  json::Array list;
  for (const auto part : parts) list.emplace_back(part);
  return sha256_hex(json::dump(list)).substr(0, 32);
}

// What a boot makes anew from what is on the disk: units run or do not, modules are loaded, parameters have their values.
bool is_made_at_boot(const Declared& resource, const Change& change) {
  if (resource.type == "service") return change.what == "state";
  if (resource.type == "raid0") return change.what == "array" && change.before == "not running";
  return change.what == "live" || change.what == "mounted";
}

}  // namespace

std::vector<std::string> digests_of(const Outcome& outcome) {
  std::vector<std::string> digests;
  for (const auto& change : outcome.changes) digests.push_back(digest_of({change.what, change.before, change.after}));
  if (!outcome.diff.empty() || !outcome.found.empty()) digests.push_back(digest_of({"found", outcome.found, outcome.diff}));
  return digests;
}

Expectation read_expectation(const json::Value& said) {
  static const std::string open = digest_of({"state", not_known_yet, "as declared"});
  Expectation expected{said["board_serial"], said["machine_id"], {}, said.string_or("stopped_boot_id")};
  for (const auto& item : said.array_at("resources")) {
    Planned planned{item.bool_or("failed", false), false, string_list(item["digests"])};
    planned.open = std::find(planned.digests.begin(), planned.digests.end(), open) != planned.digests.end();
    expected.resources[item.string_or("id")] = std::move(planned);
  }
  return expected;
}

bool has_drifted(const Declared& resource, Outcome found, const Planned* planned, bool rebooted) {
  if (planned == nullptr) return true;
  if (resource.is_reboot() && !planned->digests.empty()) return false;   // one that was reviewed; whether it is due still, the run tells
  if (found.status == ResourceStatus::failed || found.status == ResourceStatus::skipped) return !planned->failed && !planned->open && !rebooted;
  if (planned->open) return false;
  if (rebooted) {
    std::erase_if(found.changes, [&](const Change& change) { return is_made_at_boot(resource, change); });
    if (found.changes.empty()) return false;
    if (planned->failed) return false;   // it could not be looked at before the boot
  }
  const auto digests = digests_of(found);
  return !std::all_of(digests.begin(), digests.end(), [&](const std::string& digest) {
    return std::find(planned->digests.begin(), planned->digests.end(), digest) != planned->digests.end();
  });
}

Identity identity_of(const NodeEnvironment& node) {
  Identity identity;
  const json::Value facts = identity_facts(FactTree(node.root), {}).value;
  identity.board_serial = facts["board_serial"].is_null() ? facts["product_serial"] : facts["board_serial"];
  if (const auto text = read_file(node.root + "/etc/machine-id", 4096); text && !trim(*text).empty())
    identity.machine_id = one_line(trim(*text), 64);
  return identity;
}

}  // namespace kfab::agent::provisioning
