#include "ssh/openssh.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/codes/ssh.hpp"
#include "base/sha256.hpp"
#include "base/text.hpp"
#include "ssh/known_hosts.hpp"

namespace kfab::ssh {
namespace {

// How long a control master outlives its last command, and with it a kfab that was killed.
constexpr int persist_s = 60;
// A peer that vanished is noticed after a minute, as by libssh2's sockets.
constexpr int alive_interval_s = 15, alive_count = 4;

Diagnostic not_possible(const Target& target, std::string_view what) {
  return error(code::openssh_not_possible, fmt::format("{}: {}", one_line(target.node), what));
}

bool is_plain(std::string_view name, std::string_view further) {
  if (name.empty() || name.size() > 255 || name.front() == '-') return false;
  return std::all_of(name.begin(), name.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || further.find(c) != std::string_view::npos;
  });
}

// A value in quotes. `tokens`: the option expands %, so that it is doubled.
std::optional<std::string> quoted(std::string_view value, bool tokens) {
  std::string out = "\"";
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < ' ' || c == 127) return std::nullopt;
    if (c == '"' || c == '\\') out += '\\';
    if (c == '%' && tokens) out += '%';
    out += c;
  }
  if (tokens && value.find("${") != std::string_view::npos) return std::nullopt;   // it would be an environment variable
  return out + "\"";
}

// The blocks of one configuration, one for each machine on the way.
class Writer {
 public:
  Writer(const Target& target, const Deadlines& deadlines, const OpensshPlace& place)
      : target_(target), deadlines_(deadlines), place_(place) {}

  Result<OpensshConfig> write() {
    // Options that an older ssh does not know must not stop it.
    text_ = "IgnoreUnknown KnownHostsCommand,SessionType,ForkAfterAuthentication,StdinNull\n";
    for (std::size_t i = 0; i < target_.via.size(); ++i) KFAB_TRY_VOID(block(*target_.via[i], alias(i), i));
    const std::string destination = alias(target_.via.size());
    KFAB_TRY_VOID(block(target_, destination, target_.via.size()));
    for (const std::string& file : target_.config_files) {
      const auto path = quoted(file, false);
      if (!path || file.find_first_of("*?[") != std::string::npos) return not_possible(target_, "the path of the OpenSSH configuration cannot be written into another");
      text_ += "Host *\nInclude " + *path + "\n";
    }
    const std::string digest = sha256_hex(text_).substr(0, 16);
    // Each connection that is shared has a socket; those of jump hosts are named by what leads to them.
    std::string whole;
    for (std::string_view rest = text_; !rest.empty();) {
      const std::size_t at = std::min(rest.find("@CONFIG@"), rest.size());
      whole += rest.substr(0, at);
      if (at == rest.size()) break;
      whole += place_.directory + "/" + digest + ".conf";
      rest.remove_prefix(at + 8);
    }
    return OpensshConfig{std::move(whole), digest + ".conf", destination};
  }

 private:
  // What a machine is called on ssh's command line: its own name, so that blocks of an included configuration apply to
  // it, unless a shell or a pattern could read something into it.
  std::string alias(std::size_t i) const {
    const Target& one = i < target_.via.size() ? *target_.via[i] : target_;
    const bool repeated = i == target_.via.size() && std::any_of(target_.via.begin(), target_.via.end(), [&](const auto& jump) { return jump->node == one.node; });
    if (is_plain(one.node, ".-_") && !repeated) return one.node;
    return i < target_.via.size() ? fmt::format("kfab-jump-{}", i + 1) : "kfab-node";
  }

  Status option(const Target& of, std::string_view keyword, std::string_view value, bool tokens = false) {
    const auto text = quoted(value, tokens);
    if (!text) return not_possible(of, fmt::format("ssh_config cannot hold this value of {}: {}", keyword, one_line(value, 100)));
    text_ += fmt::format("  {} {}\n", keyword, *text);
    return ok();
  }

  Status files(const Target& of, std::string_view keyword, const std::vector<std::string>& paths) {
    std::string line = fmt::format("  {}", keyword);
    for (const std::string& path : paths) {
      const auto text = quoted(path, true);
      if (!text) return not_possible(of, "ssh_config cannot hold the path " + one_line(path, 100));
      line += " " + *text;
    }
    text_ += line + "\n";
    return ok();
  }

  Status host_keys(const Target& of, bool known) {
    const bool first_use = of.host_keys == HostKeyPolicy::trust_on_first_use && !known && !of.site_store.empty();
    text_ += fmt::format("  StrictHostKeyChecking {}\n", first_use ? "accept-new" : "yes");
    std::vector<std::string> books;
    if (!of.site_store.empty()) books.push_back(of.site_store);   // the first one is the one that ssh writes
    for (const std::string& file : of.known_hosts) books.push_back(file);
    if (of.known_hosts.empty() && !place_.home.empty()) books.push_back(place_.home + "/.ssh/known_hosts");
    if (books.empty()) books.emplace_back("/dev/null");
    KFAB_TRY_VOID(files(of, "UserKnownHostsFile", books));
    if (!of.known_hosts.empty()) text_ += "  GlobalKnownHostsFile /dev/null\n";
    if (!of.host_key_alias.empty()) KFAB_TRY_VOID(option(of, "HostKeyAlias", of.host_key_alias));
    text_ += "  HashKnownHosts no\n  UpdateHostKeys no\n  CheckHostIP no\n  VerifyHostKeyDNS no\n  KnownHostsCommand none\n";
    return ok();
  }

  Status identities(const Target& of) {
    for (const std::string& file : of.identity_files) KFAB_TRY_VOID(option(of, "IdentityFile", file, true));
    if (of.identities_only) text_ += "  IdentitiesOnly yes\n";
    if (!of.use_agent) text_ += "  IdentityAgent none\n";
    else if (!of.agent_socket.empty()) KFAB_TRY_VOID(option(of, "IdentityAgent", of.agent_socket, true));
    return ok();
  }

  Status block(const Target& of, const std::string& name, std::size_t hop) {
    if (!is_plain(of.address, ".-_:%")) return not_possible(of, "its address has characters that no address has: " + one_line(of.address, 100));
    text_ += fmt::format("Host {}\n", name);
    KFAB_TRY_VOID(option(of, "HostName", of.address, true));
    text_ += fmt::format("  Port {}\n", of.port);
    if (!of.user.empty()) KFAB_TRY_VOID(option(of, "User", of.user));
    KFAB_TRY_VOID(host_keys(of, hop == target_.via.size() && place_.knows_target));
    KFAB_TRY_VOID(identities(of));
    text_ += "  BatchMode yes\n  RequestTTY no\n  EscapeChar none\n  ClearAllForwardings yes\n  ForwardAgent no\n  ForwardX11 no\n"
             "  Tunnel no\n  PermitLocalCommand no\n  RemoteCommand none\n  SessionType default\n  ForkAfterAuthentication no\n  StdinNull no\n";
    // A safety only: kfab's own deadlines come first.
    const auto patience = deadlines_.connect + deadlines_.banner + deadlines_.kex;
    text_ += fmt::format("  ConnectTimeout {}\n  ServerAliveInterval {}\n  ServerAliveCountMax {}\n",
                         std::chrono::ceil<std::chrono::seconds>(patience).count() + 1, alive_interval_s, alive_count);
    text_ += hop == target_.via.size() ? "  LogLevel DEBUG2\n" : "  LogLevel DEBUG1\n";
    if (hop > 0) {
      // The only words in this line of a shell's are made here or hold letters, digits and .-_:% alone.
      const Target& before = *target_.via[hop - 1];
      if (!is_plain(before.address, ".-_:%")) return not_possible(before, "its address has characters that no address has");
      std::string address = of.address;
      for (std::size_t at = 0; (at = address.find('%', at)) != std::string::npos; at += 2) address.insert(at, 1, '%');
      text_ += fmt::format("  ProxyCommand {} -F @CONFIG@ -E \"${}.j{}\" -W '[{}]:{}' -- {}\n", place_.program, openssh_log_variable, hop,
                           address, of.port, alias(hop - 1));
    }
    // Whoever goes the same way to the same machine by the same rules has the same text up to here.
    const std::string socket = sha256_hex(text_ + join(target_.config_files, "\n")).substr(0, 16);
    text_ += fmt::format("  ControlMaster auto\n  ControlPath {}/{}\n  ControlPersist {}\n", place_.directory, socket, persist_s);
    return ok();
  }

  const Target& target_;
  const Deadlines& deadlines_;
  const OpensshPlace& place_;
  std::string text_;
};

}  // namespace

Result<OpensshConfig> openssh_config(const Target& target, const Deadlines& deadlines, const OpensshPlace& place) {
  const auto is_path = [](std::string_view path) { return path.starts_with('/') && is_plain(path.substr(1), "/.-_"); };
  if (!is_path(place.directory) || !is_path(place.program))
    return not_possible(target, "the path of ssh or of the private directory has characters that a shell reads");
  return Writer(target, deadlines, place).write();
}

std::vector<std::string> openssh_arguments(const OpensshConfig& config, const OpensshPlace& place, const std::string& log, const std::string& line, bool shared) {
  std::vector<std::string> words{place.program, "-F", place.directory + "/" + config.name, "-E", log, "-T"};
  if (!shared) words.insert(words.end(), {"-o", "ControlMaster=no", "-o", "ControlPath=none"});
  words.insert(words.end(), {"--", config.destination, line});
  return words;
}

std::vector<std::string> openssh_environment(const std::vector<std::string>& ours, const std::string& agent_socket, const std::string& log) {
  std::vector<std::string> out;
  const auto sets = [](const std::string& entry, std::string_view name) { return entry.starts_with(name) && entry.substr(name.size()).starts_with('='); };
  for (const std::string& entry : ours) {
    constexpr std::string_view asking[] = {"SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY", "WAYLAND_DISPLAY", "SSH_AUTH_SOCK"};
    const bool left_out = std::any_of(std::begin(asking), std::end(asking), [&](std::string_view name) { return sets(entry, name); });
    if (!left_out && !sets(entry, openssh_log_variable)) out.push_back(entry);
  }
  out.emplace_back("SSH_ASKPASS_REQUIRE=never");
  if (!agent_socket.empty()) out.push_back("SSH_AUTH_SOCK=" + agent_socket);
  out.push_back(std::string(openssh_log_variable) + "=" + log);
  return out;
}

std::string openssh_version(std::string_view said) {
  if (!said.starts_with("OpenSSH_")) return {};
  return one_line(said.substr(0, said.find(',')), 80);
}

}  // namespace kfab::ssh
