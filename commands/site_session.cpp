#include "commands/site_session.hpp"

#include <chrono>
#include <filesystem>

#include <fmt/format.h>

#include "base/text.hpp"
#include "ssh/transport.hpp"

namespace kfab::commands {
namespace {

namespace fs = std::filesystem;

// "~/x" in the user's home, other relative paths in `base`.
std::string absolute_path(const std::string& path, const fs::path& base, const Env& env) {
  if (path.starts_with("~/")) return (fs::path(env.getenv("HOME").value_or("/")) / path.substr(2)).string();
  if (path.starts_with('/')) return path;
  return (fs::current_path() / base / path).lexically_normal().string();
}

std::vector<std::string> absolute_paths(const std::vector<std::string>& paths, const fs::path& base, const Env& env) {
  std::vector<std::string> out;
  for (const auto& path : paths) out.push_back(absolute_path(path, base, env));
  return out;
}

ssh::HostKeyPolicy policy_of(std::string_view word) {
  return word == "trust-on-first-use" ? ssh::HostKeyPolicy::trust_on_first_use : ssh::HostKeyPolicy::verify;
}

// What the command line says about reaching nodes, over what the manifest says.
void apply(const ReachOptions& reach, const Env& env, ssh::Target& target) {
  if (!reach.user.empty()) target.user = reach.user;
  if (reach.port) target.port = *reach.port;
  if (!reach.identity_files.empty()) target.identity_files = absolute_paths(reach.identity_files, ".", env);
  if (!reach.known_hosts.empty()) target.known_hosts = absolute_paths(reach.known_hosts, ".", env);
  if (!reach.host_keys.empty()) target.host_keys = policy_of(reach.host_keys);
}

ssh::Target target_of(const manifest::Site& site, const manifest::Node& node, const ReachOptions& reach, const Env& env) {
  const manifest::SshSettings& settings = node.ssh ? *node.ssh : site.ssh;
  const fs::path base = fs::path(site.file).parent_path();
  ssh::Target target;
  target.node = node.name;
  target.address = node.address.empty() ? node.name : node.address;
  target.port = settings.port;
  target.user = settings.user;
  target.identity_files = absolute_paths(settings.identity_files, base, env);
  target.known_hosts = absolute_paths(settings.known_hosts, base, env);
  target.site_store = (env.state_dir / "sites" / site.metadata.name / "known_hosts").string();
  if (!site.security.ssh_ca.empty()) target.host_ca_files = {absolute_path(site.security.ssh_ca, base, env)};
  target.host_keys = policy_of(settings.host_keys);
  target.transport = settings.transport == "local" ? ssh::TransportKind::local : ssh::TransportKind::libssh2;
  target.rack = node.rack;
  apply(reach, env, target);
  return target;
}

}  // namespace

manifest::Loaded load_manifest(const std::string& path, Env& env) {
  if (path != "-") return manifest::load_file(path);
  auto text = env.read_stdin();
  if (text) return manifest::load_text(*text, "<stdin>", fs::current_path());
  manifest::Loaded failed;
  failed.diagnostics.push_back(std::move(text).error());
  return failed;
}

std::variant<SiteSession, CommandOutput> open_site(const SiteOptions& options, Env& env) {
  auto loaded = std::make_shared<manifest::Loaded>(load_manifest(options.manifest, env));
  if (has_errors(loaded->diagnostics)) return not_started(loaded->diagnostics, loaded->sources);
  SiteSession session{loaded, loaded->site(), {}, {}, {}};
  const auto stop = [&](Diagnostic why) {
    CommandOutput output = not_started(std::move(why));
    if (session.site) output.site = session.ref();
    return output;
  };
  if (!session.site)
    return stop(error(Code::not_a_site, fmt::format("{} is not the manifest of a site", one_line(options.manifest))));
  if (!session.site->connectivity.via.empty())
    return stop(error(Code::jump_hosts_unsupported, "the site is reached through " +
                                                        one_line(join(session.site->connectivity.via, ", "))));
  auto nodes = select_nodes(*session.site, options.selection);
  if (!nodes) return stop(std::move(nodes).error());
  session.nodes = std::move(*nodes);
  for (const manifest::Node* node : session.nodes) {
    session.targets.push_back(target_of(*session.site, *node, options.reach, env));
    const auto& settings = node->ssh ? *node->ssh : session.site->ssh;
    session.sudo.push_back(options.reach.become || settings.become == "sudo");
  }
  return session;
}

CommandOutput SiteSession::output() const {
  CommandOutput output;
  output.site = ref();
  output.diagnostics = loaded->diagnostics;
  output.sources = loaded->sources;
  return output;
}

ssh::Target bare_target(const std::string& address, const ReachOptions& reach, const Env& env) {
  ssh::Target target;
  target.node = address;
  target.address = address;
  target.site_store = (env.state_dir / "known_hosts").string();
  apply(reach, env, target);
  return target;
}

fleet::FleetOptions fleet_options(const ReachOptions& reach) {
  fleet::FleetOptions options;
  options.window = reach.window;
  options.relay = reach.relay;
  if (reach.connect_timeout_s)
    options.deadlines.connect = options.deadlines.banner = std::chrono::milliseconds(static_cast<long long>(*reach.connect_timeout_s * 1000));
  return options;
}

std::shared_ptr<ssh::Transport> transport_of(Env& env) {
  if (env.transport) return env.transport();
  return ssh::make_transport(ssh::options_from_environment());
}

void OutcomeCounts::add(NodeOutcome outcome) {
  switch (outcome) {
    case NodeOutcome::ok: ++ok; break;
    case NodeOutcome::failed: ++failed; break;
    case NodeOutcome::timed_out: ++timed_out; break;
    case NodeOutcome::refused: ++refused; break;
    case NodeOutcome::unreachable: ++unreachable; break;
  }
}

json::Value OutcomeCounts::to_json() const {
  return json::Object{{"ok", ok}, {"failed", failed}, {"timed_out", timed_out}, {"refused", refused}, {"unreachable", unreachable}};
}

Outcome overall(const Env& env, bool incomplete, bool no) {
  if (env.cancel.requested()) return Outcome::cancelled;
  if (incomplete) return Outcome::incomplete;
  return no ? Outcome::no : Outcome::yes;
}

}  // namespace kfab::commands
