#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/result.hpp"

namespace kfab::ssh {

// A machine named as ssh(1) names jump hosts: `[user@]host[:port]`, an IPv6 address with a port in brackets.
struct HostSpec {
  std::string user;               // empty: not said
  std::string host;
  std::uint16_t port = 0;         // 0: not said
  std::string text;               // as it was written
};
// Errors: jump_host_malformed. The host has no blanks and none of the characters that a shell or ssh_config reads.
Result<HostSpec> parse_host_spec(std::string_view text);

// What the tokens of ssh_config(5) and "~" stand for on this machine, and where relative includes begin.
struct LocalFacts {
  std::string home;        // of the user: "~", %d
  std::string user;        // %u, Match localuser
  unsigned uid = 0;        // %i
  std::string host_name;   // %l; %L is what stands before its first dot
};
LocalFacts local_facts(std::string home, std::string user);

// One value as the file says it, with where it stands. `value` is not expanded; several words are joined by blanks.
struct StatedValue {
  std::string keyword;   // in lower case: "hostname"
  std::string value;
  std::string file;
  std::size_t line = 0;
};

// What OpenSSH's configuration says about one machine, expanded. Only what kfab follows; the rest is not looked at.
struct HostSettings {
  std::string name;                             // as it was asked for
  std::string host_name;                        // where to connect to; `name` when no HostName applies
  std::string user;                             // empty: not said
  std::optional<std::uint16_t> port{};
  std::vector<std::string> identity_files{};    // in order, expanded
  std::optional<bool> identities_only{};
  std::optional<std::string> identity_agent{};  // a socket, "none" or "SSH_AUTH_SOCK"
  std::vector<HostSpec> proxy_jump{};           // outermost first; empty: none
  std::string proxy_command;                    // empty: none
  std::optional<std::vector<std::string>> user_known_hosts{}, global_known_hosts{};
  std::string strict_host_key_checking;         // as written, in lower case; empty: not said
  std::string host_key_alias;
  std::optional<double> connect_timeout_s{};
  std::vector<StatedValue> stated{};            // every value that applies, in the order in which it was found
  Diagnostics findings{};                       // what is not done as it is written: exec, StrictHostKeyChecking no
};

// OpenSSH client configuration (ssh_config(5)): Host, Match (all, canonical, final, host, originalhost, user,
// localuser), Include, and the keywords of HostSettings. The first value wins, except that IdentityFile adds up.
// `Match exec` is never run: such a block does not apply, and that is a finding. No name is canonicalised. Reading is
// bounded: 1 MiB per file, 500 files, includes 16 deep.
class SshConfig {
 public:
  // Reads the files in order, as ssh reads the user's and then the system's. One that does not exist is skipped, unless
  // `must_exist`. The first of several must be writable by its owner only, as ssh demands of ~/.ssh/config. Errors:
  // ssh_config_unreadable, ssh_config_malformed.
  static Result<SshConfig> load(const std::vector<std::string>& files, LocalFacts, bool must_exist);
  // The same from a text; includes are relative to ~/.ssh.
  static Result<SshConfig> parse(std::string_view text, const std::string& file, LocalFacts);

  // What applies to `name`, as in `ssh name` or `ssh user@name`; `user` and `port` are what the caller has settled
  // already, "" and nothing when the configuration may decide. Errors: ssh_config_malformed (a token that its keyword
  // does not know, a port that is none, a jump host that cannot be read).
  Result<HostSettings> resolve(std::string_view name, std::string_view user = {}, std::optional<std::uint16_t> port = {}) const;

  bool empty() const;   // nothing that could apply to any machine

  struct Block;         // one file, read; an implementation's affair

 private:
  explicit SshConfig(LocalFacts local) : local_(std::move(local)) {}
  LocalFacts local_;
  std::vector<std::shared_ptr<const Block>> files_;
};

// A pattern of ssh_config and known_hosts: * and ?. Linear memory, and time of at most the product of both lengths.
bool matches_pattern(std::string_view text, std::string_view pattern);

}  // namespace kfab::ssh
