#include "commands/ways_in.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/codes/ssh.hpp"
#include "base/text.hpp"
#include "ssh/transport.hpp"

namespace kfab::commands {
namespace {

constexpr std::size_t most_jumps = 8;   // one after the other; nobody has more than three

}  // namespace

Result<WaysIn> WaysIn::open(const std::string& config, const Env& env) {
  WaysIn ways;
  const std::string home = env.getenv("HOME").value_or("");
  ways.home_ = home;
  if (config == "none" || (config.empty() && home.empty())) return ways;
  if (config.empty()) ways.files_ = {home + "/.ssh/config", "/etc/ssh/ssh_config"};
  else ways.files_ = {config};
  KFAB_TRY(loaded, ssh::SshConfig::load(ways.files_, ssh::local_facts(home, ssh::options_from_environment().user), !config.empty()));
  if (!loaded.empty()) ways.config_ = std::move(loaded);
  return ways;
}

void WaysIn::note(const Diagnostics& findings) {
  for (const Diagnostic& one : findings)
    if (told_.insert(one.message).second) findings_.push_back(one);
}

Status WaysIn::complete(ssh::Target& target, const Said& said, const std::vector<std::string>& via) {
  const ssh::Target as_said = target;
  std::vector<ssh::HostSpec> specs;
  if (config_) {
    KFAB_TRY(settings, config_->resolve(target.node, target.user, said.port ? std::optional(target.port) : std::nullopt));
    note(settings.findings);
    KFAB_TRY_VOID(fill(target, said, settings));
    specs = settings.proxy_jump;
    if (via.empty() && !settings.proxy_command.empty() && target.transport == ssh::TransportKind::libssh2)
      return error(code::proxy_command_unsupported, fmt::format("{} is reached by ProxyCommand {}", one_line(target.node), one_line(settings.proxy_command, 80)));
  }
  if (target.transport == ssh::TransportKind::local) return ok();
  if (!via.empty()) specs.clear();
  for (const std::string& text : via) {
    KFAB_TRY(spec, ssh::parse_host_spec(text));
    specs.push_back(std::move(spec));
  }
  if (specs.empty()) return ok();
  KFAB_TRY(way, jumps(as_said, specs, !via.empty(), {}));
  target.via = std::move(way);
  return ok();
}

Status WaysIn::fill(ssh::Target& target, const Said& said, const ssh::HostSettings& settings) {
  if (!said.address) target.address = settings.host_name;
  if (target.user.empty()) target.user = settings.user;
  if (!said.port && settings.port) target.port = *settings.port;
  if (target.identity_files.empty()) {
    target.identity_files = settings.identity_files;
    target.identities_only = settings.identities_only.value_or(false);
  }
  if (settings.identity_agent == "none") target.use_agent = false;
  else if (settings.identity_agent && *settings.identity_agent != "SSH_AUTH_SOCK") target.agent_socket = *settings.identity_agent;
  if (target.known_hosts.empty() && (settings.user_known_hosts || settings.global_known_hosts)) {
    const std::vector<std::string> users{home_ + "/.ssh/known_hosts"}, systems{"/etc/ssh/ssh_known_hosts"};
    target.known_hosts = settings.user_known_hosts.value_or(users);
    for (const std::string& file : settings.global_known_hosts.value_or(systems)) target.known_hosts.push_back(file);
    if (target.known_hosts.empty()) target.known_hosts = {"/dev/null"};   // `none`: not the default ones either
  }
  if (!said.host_keys && settings.strict_host_key_checking == "accept-new") target.host_keys = ssh::HostKeyPolicy::trust_on_first_use;
  target.host_key_alias = settings.host_key_alias;
  if (!said.connect_timeout && settings.connect_timeout_s)
    target.connect_timeout = std::chrono::milliseconds(static_cast<long long>(*settings.connect_timeout_s * 1000));
  target.config_files = files_;
  return ok();
}

Result<std::vector<WaysIn::Jump>> WaysIn::jumps(const ssh::Target& base, const std::vector<ssh::HostSpec>& specs, bool with_user,
                                                std::vector<std::string> seen) {
  std::vector<std::string> texts;
  for (const ssh::HostSpec& spec : specs) texts.push_back(spec.text);
  std::string key = join(texts, ",") + "\n" + base.site_store + "\n" + join(base.identity_files, "\n") + "\n\n" + join(base.known_hosts, "\n");
  key += fmt::format("\n{}\n{}\n{}", with_user ? base.user : "", static_cast<int>(base.host_keys), static_cast<int>(base.transport));
  if (const auto known = known_.find(key); known != known_.end()) return known->second;

  std::vector<Jump> way;
  for (const ssh::HostSpec& spec : specs) {
    ssh::Target jump = base;
    jump.node = spec.host;
    jump.address = spec.host;
    jump.port = spec.port == 0 ? 22 : spec.port;
    if (!spec.user.empty() || !with_user) jump.user = spec.user;
    jump.via.clear();
    jump.rack.clear();
    jump.host_key_alias.clear();
    if (config_) {
      KFAB_TRY(settings, config_->resolve(spec.host, jump.user, spec.port == 0 ? std::nullopt : std::optional(spec.port)));
      note(settings.findings);
      KFAB_TRY_VOID(fill(jump, {.port = spec.port != 0, .host_keys = base.host_keys != ssh::HostKeyPolicy::verify}, settings));
      if (jump.transport == ssh::TransportKind::libssh2 && !settings.proxy_command.empty())
        return error(code::proxy_command_unsupported, fmt::format("the jump host {} is reached by a ProxyCommand", one_line(spec.host)));
      if (way.empty() && !settings.proxy_jump.empty()) {   // the outermost one may itself stand behind others
        seen.push_back(spec.text);
        for (const ssh::HostSpec& before : settings.proxy_jump)
          if (seen.size() > most_jumps || std::find(seen.begin(), seen.end(), before.text) != seen.end())
            return error(code::jump_host_loop, fmt::format("the way to {} leads through {} again", one_line(seen.front()), one_line(before.text)));
        KFAB_TRY(before, jumps(base, settings.proxy_jump, with_user, seen));
        way = std::move(before);
      }
    }
    way.push_back(std::make_shared<const ssh::Target>(std::move(jump)));
    if (way.size() > most_jumps) return error(code::jump_host_loop, fmt::format("more than {} jump hosts stand before {}", most_jumps, one_line(spec.host)));
  }
  known_.emplace(std::move(key), way);
  return way;
}

}  // namespace kfab::commands
