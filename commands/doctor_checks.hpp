#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/words.hpp"

// What `kfab doctor` makes of what it found on this machine. Pure: facts in, checks out.
namespace kfab::commands {

// An identity file that some target names, or one of ssh's default ones.
struct IdentityFact {
  std::string path;
  std::string trouble{};        // why it cannot be used; empty: it can
  std::string type{};           // "ssh-rsa"; empty when the format does not tell
  bool encrypted = false;
  bool held_by_agent = false;
  bool open_to_others = false;  // group or others may read it
  bool named = false;           // by the manifest, the configuration or the command line
};

struct KnownHostsFact {
  std::string file;
  bool exists = false;
  std::string trouble;          // why it cannot be read
  std::size_t entries = 0, hashed = 0, skipped = 0;
};

struct NameFact { std::string node, address, trouble; };   // trouble empty: it resolves

struct DoctorFacts {
  std::string libssh2_version;
  bool libssh2_rsa_sha2 = false;      // and, from the same version on, AEAD ciphers, etm MACs and user certificates
  std::string ssh_program, ssh_version;   // empty: none, or not OpenSSH's

  bool site = false;                  // a manifest was given
  std::size_t nodes = 0;
  std::size_t by_libssh2 = 0, by_openssh = 0;
  std::size_t first_use = 0;          // nodes whose key is trusted on first use
  std::vector<std::string> jump_hosts;
  std::size_t with_sudo = 0;

  std::string agent_socket, agent_trouble;     // socket empty: no agent
  std::vector<std::string> agent_key_types;
  std::vector<IdentityFact> identities;

  std::vector<KnownHostsFact> known_hosts;
  std::size_t known = 0;              // nodes for which a key is known
  std::vector<std::string> unknown, rsa_only;
  std::size_t perhaps_known = 0;      // hashed lines do not tell without a key

  std::uint64_t file_limit = 0;       // 0: not known or none
  std::size_t window = 64;
  std::uint64_t memory_mib = 0;       // available; 0: not known

  std::string state_dir, state_trouble;   // trouble: it cannot be made or written
  std::uint64_t state_free_mib = 0;
  bool store_there = false;
  std::string store_trouble;

  Timestamp now{};
  std::optional<bool> clock_synchronised;

  std::vector<NameFact> names;        // those that were asked
  std::size_t names_numeric = 0, names_not_asked = 0;

  std::string agent_sha256;           // of the kfab agent in this executable
  std::uint64_t agent_bytes = 0;
  std::vector<std::string> agent_machines;   // that there is an agent for, as `uname -m` names them
  std::vector<std::string> devices;   // built into it
};

// One thing that was looked at.
struct DoctorCheck {
  std::string id;       // "libssh2", "identities", ...
  Verdict verdict = Verdict::not_judged;
  std::string seen;     // what was found, one line
  std::string next;     // what to do; empty when there is nothing to do
};

std::vector<DoctorCheck> doctor_checks(const DoctorFacts&);

// What doctor cannot judge without reaching nodes and a person should know: jump hosts, sudo.
std::vector<std::string> doctor_notes(const DoctorFacts&);

}  // namespace kfab::commands
