#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/text.hpp"
#include "cli/complete.hpp"
#include "commands/selection.hpp"
#include "manifest/load.hpp"

namespace kfab::cli {
namespace {

constexpr std::size_t most_nodes = 300;   // single names help nobody on a large site; groups and ranges do

ManifestNames names_of(const manifest::Loaded& loaded) {
  ManifestNames names;
  const auto add_tranches = [&](const std::vector<manifest::Tranche>& tranches, const std::string& prefix) {
    for (const manifest::Tranche& tranche : tranches) names.tranches.push_back({prefix + tranche.name, tranche.title});
  };
  if (const manifest::Program* program = loaded.program()) {
    add_tranches(program->tranches, "");
    for (const manifest::Site& site : program->sites) add_tranches(site.tranches, site.metadata.name + "/");
  }
  const manifest::Site* site = loaded.site();
  if (site == nullptr) return names;
  add_tranches(site->tranches, "");
  const nodeset::Groups groups = commands::groups_of(*site);
  for (const std::string& source : groups.sources()) {
    const std::string prefix = source == groups.default_source() ? "@" : "@" + source + ":";
    for (const std::string& group : groups.groups(source)) {
      const nodeset::NodeSet* members = groups.members(source, group);
      names.groups.push_back({prefix + group, plural(static_cast<long long>(members == nullptr ? 0 : members->size()), "node")});
    }
  }
  if (site->nodes.size() <= most_nodes)
    for (const manifest::Node& node : site->nodes) names.nodes.push_back({node.name, node.tranche});
  return names;
}

std::string with_home(const std::string& path) {
  if (!path.starts_with("~/")) return path;
  const char* home = std::getenv("HOME");
  return home == nullptr ? path : home + path.substr(1);
}

}  // namespace

ManifestNames manifest_names(const std::string& path, int deadline_ms) {
  if (path == "-") return {};
  struct Shared {
    std::mutex mutex;
    std::condition_variable ready;
    std::optional<ManifestNames> names;
  };
  const auto shared = std::make_shared<Shared>();
  // The thread is left behind when it is too late: the process ends right after.
  std::thread([shared, file = with_home(path)] {
    ManifestNames names = names_of(manifest::load_file(file));
    const std::lock_guard lock(shared->mutex);
    shared->names = std::move(names);
    shared->ready.notify_one();
  }).detach();
  std::unique_lock lock(shared->mutex);
  shared->ready.wait_for(lock, std::chrono::milliseconds(deadline_ms), [&] { return shared->names.has_value(); });
  return shared->names.value_or(ManifestNames{});
}

}  // namespace kfab::cli
