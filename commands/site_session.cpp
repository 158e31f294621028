#include "commands/site_session.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>

#include <fmt/format.h>

#include "base/codes/commands.hpp"
#include "base/text.hpp"
#include "nodeset/nodeset.hpp"
#include "commands/ways_in.hpp"
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

ssh::TransportKind transport_of_word(std::string_view word) {
  if (word == "local") return ssh::TransportKind::local;
  return word == "openssh" ? ssh::TransportKind::openssh : ssh::TransportKind::libssh2;
}

// What the command line says about reaching nodes, over what the manifest says.
void apply(const ReachOptions& reach, const Env& env, ssh::Target& target) {
  if (!reach.user.empty()) target.user = reach.user;
  if (reach.port) target.port = *reach.port;
  if (!reach.identity_files.empty()) target.identity_files = absolute_paths(reach.identity_files, ".", env);
  if (!reach.known_hosts.empty()) target.known_hosts = absolute_paths(reach.known_hosts, ".", env);
  if (!reach.host_keys.empty()) target.host_keys = policy_of(reach.host_keys);
  if (!reach.transport.empty() && target.transport != ssh::TransportKind::local) target.transport = transport_of_word(reach.transport);
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
  target.transport = transport_of_word(settings.transport);
  target.rack = node.rack;
  target.shares_machine = node.identity_by_name;
  apply(reach, env, target);
  return target;
}

// The OpenSSH configuration and the jump hosts of every target of the session.
Status find_ways(SiteSession& session, const ReachOptions& reach, const Env& env) {
  std::map<std::string, WaysIn> by_config;
  for (std::size_t i = 0; i < session.targets.size(); ++i) {
    const manifest::Node& node = *session.nodes[i];
    const manifest::SshSettings& settings = node.ssh ? *node.ssh : session.site->ssh;
    std::string config = settings.config == "none" ? "none" : absolute_path(settings.config, fs::path(session.site->file).parent_path(), env);
    if (!reach.ssh_config.empty()) config = reach.ssh_config == "none" ? "none" : absolute_path(reach.ssh_config, ".", env);
    auto ways = by_config.find(config);
    if (ways == by_config.end()) {
      KFAB_TRY(opened, WaysIn::open(config, env));
      ways = by_config.emplace(config, std::move(opened)).first;
    }
    const Said said{.address = !node.address.empty(),
                    .port = settings.port_said || reach.port.has_value(),
                    .host_keys = settings.host_keys_said || !reach.host_keys.empty(),
                    .connect_timeout = reach.connect_timeout_said};
    KFAB_TRY_VOID(ways->second.complete(session.targets[i], said, session.site->connectivity.via));
  }
  for (const auto& [config, ways] : by_config)
    session.findings.insert(session.findings.end(), ways.findings().begin(), ways.findings().end());
  return ok();
}

// The first line of a file that is this user's and that nobody else can read. Nothing of it stays in memory but there.
Result<Secret> read_secret_file(const std::string& path) {
  const auto unusable = [&](std::string_view why) { return error(code::become_file_unusable, fmt::format("{}: {}", one_line(path), why)); };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return unusable(std::strerror(errno));
  struct stat facts{};
  Secret secret;
  bool whole = true;
  std::optional<std::string_view> wrong;
  if (::fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode)) wrong = "is no regular file";
  else if (facts.st_uid != ::geteuid()) wrong = "belongs to somebody else";
  else if ((facts.st_mode & 077) != 0) wrong = "others have rights on it";
  for (char byte = 0; !wrong && whole && ::read(fd, &byte, 1) == 1 && byte != '\n';) whole = secret.append(byte);
  ::close(fd);
  if (wrong) return unusable(*wrong);
  if (!whole) return unusable("its first line is too long");
  if (secret.view().ends_with('\r')) secret.drop_last();
  if (secret.empty()) return unusable("its first line is empty");
  return secret;
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
  SiteSession session{loaded, loaded->site(), {}, {}, {}, {}};
  const auto stop = [&](Diagnostic why) {
    CommandOutput output = not_started({std::move(why)}, sources_of(options.selection));
    if (session.site) output.site = session.ref();
    return output;
  };
  if (!session.site)
    return stop(error(code::not_a_site, fmt::format("{} is not the manifest of a site", one_line(options.manifest))));
  auto nodes = select_nodes(*session.site, options.selection);
  if (!nodes) return stop(std::move(nodes).error());
  session.nodes = std::move(*nodes);
  for (const manifest::Node* node : session.nodes) {
    session.targets.push_back(target_of(*session.site, *node, options.reach, env));
    const auto& settings = node->ssh ? *node->ssh : session.site->ssh;
    session.sudo.push_back(options.reach.become || settings.become == "sudo");
  }
  if (auto led = find_ways(session, options.reach, env); !led) return stop(std::move(led).error());
  if (auto usable = check_keys(absolute_paths(options.reach.identity_files, ".", env), session.targets); !usable) return stop(std::move(usable).error());
  auto agent = unlock_keys(session.targets, env);
  if (!agent) return stop(std::move(agent).error());
  session.agent = std::move(*agent);
  auto password = become_password(options.reach, env);
  if (!password) return stop(std::move(password).error());
  session.password = std::move(*password);
  return session;
}

CommandOutput SiteSession::output() const {
  CommandOutput output;
  output.site = ref();
  output.diagnostics = loaded->diagnostics;
  output.diagnostics.insert(output.diagnostics.end(), findings.begin(), findings.end());
  output.sources = loaded->sources;
  return output;
}

Result<std::vector<ssh::Target>> bare_targets(const std::vector<std::string>& names, const ReachOptions& reach, const Env& env, Diagnostics& findings) {
  KFAB_TRY(ways, WaysIn::open(reach.ssh_config.empty() || reach.ssh_config == "none" ? reach.ssh_config : absolute_path(reach.ssh_config, ".", env), env));
  std::vector<ssh::Target> targets;
  for (const std::string& name : names) {
    ssh::Target target;
    target.node = name;
    target.address = name;
    target.site_store = (env.state_dir / "known_hosts").string();
    apply(reach, env, target);
    const Said said{.port = reach.port.has_value(), .host_keys = !reach.host_keys.empty(), .connect_timeout = reach.connect_timeout_said};
    KFAB_TRY_VOID(ways.complete(target, said, {}));
    targets.push_back(std::move(target));
  }
  findings.insert(findings.end(), ways.findings().begin(), ways.findings().end());
  return targets;
}

Result<std::vector<ssh::Target>> bare_targets(const SiteOptions& options, const Env& env, Diagnostics& findings) {
  if (options.selection.nodes.empty()) return error(code::no_target, "neither a manifest nor --nodes says which nodes");
  auto set = nodeset::NodeSet::parse(options.selection.nodes);
  if (!set) return in_option("--nodes", std::move(set).error());
  if (!options.selection.exclude.empty()) {
    auto without = nodeset::NodeSet::parse(options.selection.exclude);
    if (!without) return in_option("--exclude", std::move(without).error());
    *set -= *without;
  }
  if (set->empty()) return error(code::no_target, "no node is selected");
  return bare_targets(set->names(), options.reach, env, findings);
}

std::variant<Reached, CommandOutput> reach(const SiteOptions& options, Env& env) {
  Reached reached;
  if (!options.manifest.empty()) {
    auto opened = open_site(options, env);
    if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
    auto& session = std::get<SiteSession>(opened);
    reached.output = session.output();
    reached.targets = std::move(session.targets);
    reached.agent = std::move(session.agent);
    reached.password = std::move(session.password);
    return reached;
  }
  auto bare = bare_targets(options, env, reached.output.diagnostics);
  if (!bare) return not_started({std::move(bare).error()}, sources_of(options.selection));
  reached.targets = std::move(*bare);
  if (auto usable = check_keys(absolute_paths(options.reach.identity_files, ".", env), reached.targets); !usable) return not_started(std::move(usable).error());
  auto unlocked = unlock_keys(reached.targets, env);
  if (!unlocked) return not_started(std::move(unlocked).error());
  reached.agent = std::move(*unlocked);
  auto password = become_password(options.reach, env);
  if (!password) return not_started(std::move(password).error());
  reached.password = std::move(*password);
  return reached;
}

fleet::FleetOptions fleet_options(const ReachOptions& reach) {
  fleet::FleetOptions options;
  options.window = reach.window;
  options.relay = reach.relay;
  if (reach.connect_timeout_s)
    options.deadlines.connect = options.deadlines.banner = std::chrono::milliseconds(static_cast<long long>(*reach.connect_timeout_s * 1000));
  return options;
}

Result<std::shared_ptr<const Secret>> become_password(const ReachOptions& reach, const Env& env) {
  if (!reach.ask_become_password && reach.become_password_file.empty()) return std::shared_ptr<const Secret>();
  auto secret = reach.become_password_file.empty()
                    ? (env.ask_secret ? env.ask_secret("Password for sudo on the nodes: ") : error(code::become_cannot_ask, "cannot ask for a password here"))
                    : read_secret_file(reach.become_password_file);
  if (!secret) return std::move(secret).error();
  if (!secret->append('\n')) return error(code::become_file_unusable, "the password is too long");
  return std::make_shared<const Secret>(std::move(*secret));
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

SiteSession part_of(const SiteSession& all, const std::vector<std::size_t>& indices) {
  SiteSession part = all;
  part.nodes.clear();
  part.targets.clear();
  part.sudo.clear();
  for (const std::size_t i : indices) {
    part.nodes.push_back(all.nodes[i]);
    part.targets.push_back(all.targets[i]);
    part.sudo.push_back(all.sudo[i]);
  }
  return part;
}

Outcome overall(const Env& env, bool incomplete, bool no) {
  if (env.cancel.requested()) return Outcome::cancelled;
  if (incomplete) return Outcome::incomplete;
  return no ? Outcome::no : Outcome::yes;
}

}  // namespace kfab::commands
