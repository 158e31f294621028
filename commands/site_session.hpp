#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "commands/private_keys.hpp"
#include "commands/selection.hpp"
#include "fleet/fleet.hpp"
#include "fleet/pace.hpp"
#include "manifest/load.hpp"
#include "ssh/target.hpp"

// What every command that reaches nodes does first: read the manifest, select the nodes, say how each is reached.
namespace kfab::commands {

// What the command line says about reaching nodes; empty members leave the manifest's settings.
struct ReachOptions {
  std::string user;
  std::optional<std::uint16_t> port;
  std::vector<std::string> identity_files;
  std::vector<std::string> known_hosts;
  std::string host_keys;               // verify | trust-on-first-use
  bool become = false;
  bool ask_become_password = false;    // at the terminal, once for all nodes
  std::string become_password_file;    // its first line
  std::size_t window = 512;
  bool relay = false;                  // the agent travels once per rack
  std::optional<double> connect_timeout_s;
  fleet::PaceOptions pace;             // batches and failure budgets
  bool connect_timeout_said = false;   // else it is the default, and an OpenSSH configuration may say it
  std::string ssh_config;              // OpenSSH configuration: a file or none; empty: the manifest's, without one the user's
  std::string transport;               // libssh2 | openssh
};

struct SiteOptions {
  std::string manifest;
  Selection selection;
  ReachOptions reach;
};

struct SiteSession {
  std::shared_ptr<const manifest::Loaded> loaded;   // holds what `site` and `nodes` point to
  const manifest::Site* site = nullptr;
  std::vector<const manifest::Node*> nodes;
  std::vector<ssh::Target> targets;                 // of `nodes`, in their order
  std::vector<bool> sudo;                           // likewise: whether the agent runs as root there
  Diagnostics findings{};                           // about the ways to them
  std::shared_ptr<ssh::PrivateAgent> agent{};       // holds keys that were unlocked for this run; may be null
  std::shared_ptr<const Secret> password{};         // for sudo; null: it must not ask for one

  SiteRef ref() const { return {site->metadata.name, loaded->sha256}; }
  CommandOutput output() const;                     // an output about this site, with what was found in the manifest
};

// The same about some of its nodes, by their places.
SiteSession part_of(const SiteSession&, const std::vector<std::size_t>& indices);

// The session, or the output of a command that could not start: a manifest with errors, no site, nothing selected.
std::variant<SiteSession, CommandOutput> open_site(const SiteOptions&, Env&);

// A manifest by path, or from standard input for "-".
manifest::Loaded load_manifest(const std::string& path, Env&);

// Targets for machines that no manifest describes: the names are what one would type after `ssh`, and the user's OpenSSH
// configuration is followed as ssh does, unless the options say otherwise. Warnings go to `findings`.
Result<std::vector<ssh::Target>> bare_targets(const std::vector<std::string>& names, const ReachOptions&, const Env&, Diagnostics& findings);

// The same for what the node sets of the command line name, when there is no manifest. Error: no_target.
Result<std::vector<ssh::Target>> bare_targets(const SiteOptions&, const Env&, Diagnostics& findings);

// Machines with all that is needed to log in to them, whether a manifest describes them or the command line names them.
struct Reached {
  std::vector<ssh::Target> targets;
  std::shared_ptr<ssh::PrivateAgent> agent{};    // holds keys that were unlocked for this run; may be null
  std::shared_ptr<const Secret> password{};      // for sudo; null: it must not ask for one
  CommandOutput output{};                        // what the command's output begins with
};

// Those of the manifest's selected nodes, or without one those that the node sets name; or the output of a command that
// could not start.
std::variant<Reached, CommandOutput> reach(const SiteOptions&, Env&);

fleet::FleetOptions fleet_options(const ReachOptions&);

// The password for sudo with a line end, as it is sent to nodes; null when none was asked for. Errors:
// become_cannot_ask, become_file_unusable (not a file of this user's own that nobody else can read, or empty).
Result<std::shared_ptr<const Secret>> become_password(const ReachOptions&, const Env&);

// The transport of the environment, or the ordinary one.
std::shared_ptr<ssh::Transport> transport_of(Env&);

// How the nodes of a run ended, for counts and for the run's own outcome.
struct OutcomeCounts {
  std::int64_t ok = 0, failed = 0, timed_out = 0, refused = 0, unreachable = 0;
  void add(NodeOutcome);
  json::Value to_json() const;
};

// Of several answers the one that the exit code tells: cancelled, then incomplete, then no, then yes.
Outcome overall(const Env&, bool incomplete, bool no);

}  // namespace kfab::commands
