#include "commands/doctor_checks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text.hpp"
#include "nodeset/nodeset.hpp"

namespace kfab::commands {
namespace {

using Checks = std::vector<DoctorCheck>;

constexpr std::string_view by_openssh_hint = "set ssh.transport: openssh (--transport openssh)";
// A connection holds a socket and, while something is awaited, a copy of it; ssh(1) three pipes with copies and a pidfd.
constexpr std::uint64_t files_per_session = 2, files_per_ssh = 8, files_besides = 64;
// DESIGN, "The figures": 160 KiB per open connection. An ssh process has 2.2 MiB of its own, two while it connects.
constexpr double mib_per_session = 0.16, mib_per_ssh = 4.5, mib_besides = 200, mib_per_node = 0.02;
constexpr std::uint64_t state_mib_needed = 100;

long long count(std::size_t n) { return static_cast<long long>(n); }

std::string number(std::size_t n) { return with_thousands(count(n)); }

std::string some(const std::vector<std::string>& names) {
  return one_line(nodeset::fold_names(names), 120);
}

bool usable_by_libssh2(std::string_view type, bool rsa_sha2) {
  if (type.find("-cert-") != std::string_view::npos || type.starts_with("sk-")) return false;
  return type != "ssh-rsa" || rsa_sha2;
}

bool is_usable(const IdentityFact& key) { return key.trouble.empty() && (!key.encrypted || key.held_by_agent); }

DoctorCheck libssh2(const DoctorFacts& facts) {
  DoctorCheck check{"libssh2", Verdict::pass, "libssh2 " + facts.libssh2_version, ""};
  if (facts.libssh2_rsa_sha2) {
    check.seen += "; security keys, Kerberos and host certificates need ssh(1)";
    return check;
  }
  check.seen += ": no RSA keys with today's sshd, no GCM or ChaCha20 ciphers, no -etm MACs, no certificates, no security keys";
  if (facts.by_libssh2 == 0 && facts.site) return check;
  const bool needed = !facts.rsa_only.empty();
  check.verdict = needed ? Verdict::fail : Verdict::degraded;
  check.next = needed ? fmt::format("{} known by an RSA host key alone: {}, or scan their other keys", plural(count(facts.rsa_only.size()), "node is", "nodes are"), by_openssh_hint)
                      : fmt::format("where a node asks for more, {}, or run kfab where libssh2 is 1.11 or newer", by_openssh_hint);
  return check;
}

DoctorCheck openssh(const DoctorFacts& facts) {
  if (!facts.ssh_version.empty()) return {"openssh", Verdict::pass, facts.ssh_version + " at " + facts.ssh_program, ""};
  const bool needed = facts.by_openssh > 0;
  return {"openssh", needed ? Verdict::fail : Verdict::degraded,
          facts.ssh_program.empty() ? "ssh(1) is not installed" : facts.ssh_program + " is not OpenSSH's",
          needed ? "install the OpenSSH client: nodes are to be reached by it" : "install the OpenSSH client, the way out where libssh2 cannot do what a node wants"};
}

DoctorCheck agent(const DoctorFacts& facts) {
  if (facts.agent_socket.empty()) return {"ssh-agent", Verdict::pass, "no ssh-agent (SSH_AUTH_SOCK is not set)", ""};
  if (!facts.agent_trouble.empty()) return {"ssh-agent", Verdict::degraded, facts.agent_trouble, "check SSH_AUTH_SOCK with `ssh-add -l`, or unset it"};
  std::map<std::string, int> types;
  for (const std::string& type : facts.agent_key_types) ++types[type];
  std::vector<std::string> parts;
  for (const auto& [type, how_many] : types) parts.push_back(fmt::format("{} {}", how_many, one_line(type, 60)));
  return {"ssh-agent", Verdict::pass, parts.empty() ? "ssh-agent answers and holds no keys" : "ssh-agent answers and holds " + join(parts, ", "), ""};
}

DoctorCheck identities(const DoctorFacts& facts) {
  std::vector<std::string> good, bad, loose;
  bool locked = false, any_named = false, works = false;
  for (const IdentityFact& key : facts.identities) {
    any_named = any_named || key.named;
    const std::string shown = one_line(key.path, 120) + (key.type.empty() ? "" : " (" + one_line(key.type, 60) + ")");
    const bool by_kfab = usable_by_libssh2(key.type, facts.libssh2_rsa_sha2) || facts.by_openssh > 0;
    if (!key.trouble.empty()) bad.push_back(key.trouble);
    else if (!is_usable(key)) {
      bad.push_back(shown + " is encrypted and not in ssh-agent");
      locked = true;
    } else if (!by_kfab) bad.push_back(fmt::format("{} cannot be used by libssh2 {}", shown, facts.libssh2_version));
    else {
      good.push_back(shown);
      works = true;
      if (key.open_to_others) loose.push_back(key.path);
    }
  }
  const bool by_agent = std::any_of(facts.agent_key_types.begin(), facts.agent_key_types.end(), [&](const std::string& type) {
    return usable_by_libssh2(type, facts.libssh2_rsa_sha2) || facts.by_openssh > 0;
  });
  DoctorCheck check{"identities", Verdict::pass, "", ""};
  std::vector<std::string> seen = good;
  seen.insert(seen.end(), bad.begin(), bad.end());
  check.seen = seen.empty() ? "no key file" : join(seen, "; ");
  if (by_agent && !works) check.seen += "; a key of ssh-agent can be used";
  if (!works && !by_agent) {
    check.verdict = Verdict::fail;
    check.next = locked ? "load the key with `ssh-add FILE`; at a terminal kfab lets ssh-add ask"
               : bad.empty() ? "name a key in the manifest (ssh.identity_files) or make one with `ssh-keygen -t ed25519`"
                             : fmt::format("use an ed25519 key, or {}", by_openssh_hint);
  } else if (!bad.empty() && any_named) {
    check.verdict = Verdict::degraded;
    check.next = "what cannot be used is passed over; put it right or name it no more";
  } else if (!loose.empty()) {
    check.verdict = facts.by_openssh > 0 ? Verdict::fail : Verdict::degraded;
    check.next = fmt::format("others may read {}: chmod 600; ssh(1) refuses such keys", one_line(join(loose, ", "), 200));
  }
  return check;
}

DoctorCheck known_hosts(const DoctorFacts& facts) {
  DoctorCheck check{"known-hosts", Verdict::pass, "", ""};
  std::size_t entries = 0, skipped = 0, files = 0;
  for (const KnownHostsFact& file : facts.known_hosts) {
    if (!file.trouble.empty()) return {"known-hosts", Verdict::fail, file.trouble, "check its permissions: while it cannot be read, no host key can be checked"};
    files += file.exists ? 1 : 0;
    entries += file.entries;
    skipped += file.skipped;
  }
  check.seen = fmt::format("{} in {}", plural(count(entries), "host key"), plural(count(files), "file"));
  if (skipped > 0) {
    check.verdict = Verdict::degraded;
    check.seen += fmt::format(", {} cannot be read", plural(count(skipped), "line"));
    check.next = "correct or remove the lines that `ssh-keygen -l -f FILE` does not show";
  }
  if (!facts.site) return check;
  check.seen += fmt::format("; of {} the key is known", number(facts.known) + " of " + plural(count(facts.nodes), "node"));
  if (facts.perhaps_known > 0) check.seen += fmt::format(", of {} it may stand in a hashed line", number(facts.perhaps_known));
  if (facts.unknown.empty()) return check;
  check.seen += ", unknown: " + some(facts.unknown);
  if (facts.first_use >= facts.nodes) return check;   // they are trusted on first use
  check.verdict = worse(check.verdict, Verdict::degraded);
  check.next = "unknown nodes are refused: add their keys to the site's known_hosts, or set ssh.host_keys: trust-on-first-use";
  return check;
}

DoctorCheck file_limit(const DoctorFacts& facts) {
  if (facts.file_limit == 0) return {"open-files", Verdict::not_judged, "the limit on open files is not known", ""};
  const std::uint64_t each = facts.by_openssh > 0 ? files_per_ssh : files_per_session;
  const std::uint64_t at_once = facts.site ? std::min(facts.window, std::max<std::size_t>(facts.nodes, 1)) : facts.window;
  const std::uint64_t needed = at_once * each + files_besides;
  DoctorCheck check{"open-files", Verdict::pass, fmt::format("{} open files allowed, about {} needed at a window of {}", number(facts.file_limit), number(needed), at_once), ""};
  if (facts.file_limit < needed) {
    check.verdict = Verdict::fail;
    check.next = fmt::format("`ulimit -n {}` before kfab, or --window {}", needed, std::max<std::uint64_t>(1, (facts.file_limit - std::min(facts.file_limit, files_besides)) / each));
  }
  return check;
}

DoctorCheck memory(const DoctorFacts& facts) {
  if (facts.memory_mib == 0) return {"memory", Verdict::not_judged, "the free memory is not known", ""};
  const auto at_once = static_cast<double>(facts.site ? std::min(facts.window, std::max<std::size_t>(facts.nodes, 1)) : facts.window);
  const double needed = mib_besides + at_once * (facts.by_openssh > 0 ? mib_per_ssh : mib_per_session) + static_cast<double>(facts.nodes) * mib_per_node;
  DoctorCheck check{"memory", Verdict::pass, fmt::format("{} MiB available, about {:.0f} needed", number(facts.memory_mib), needed), ""};
  if (static_cast<double>(facts.memory_mib) < needed) {
    check.verdict = Verdict::degraded;
    check.next = "use a smaller --window, or another machine";
  }
  return check;
}

DoctorCheck state(const DoctorFacts& facts) {
  const std::string where = one_line(facts.state_dir, 200);
  if (!facts.state_trouble.empty()) return {"state", Verdict::fail, where + ": " + facts.state_trouble, "give a directory that can be written with --state"};
  if (!facts.store_trouble.empty()) return {"state", Verdict::fail, facts.store_trouble, "move the file aside or restore it; kfab leaves it as it is"};
  DoctorCheck check{"state", Verdict::pass,
                    fmt::format("{}: {}, {} MiB free", where, facts.store_there ? "the store opens" : "no store yet", number(facts.state_free_mib)), ""};
  if (facts.state_free_mib < state_mib_needed) {
    check.verdict = Verdict::degraded;
    check.next = "make room: a run that cannot be recorded counts for nothing";
  }
  return check;
}

DoctorCheck clock(const DoctorFacts& facts) {
  const std::string now = to_rfc3339(facts.now);
  const int year = static_cast<int>(date_of(facts.now).value.year());
  if (year < 2025 || year > 2100) return {"clock", Verdict::fail, "the clock says " + now, "set it: evidence is dated by it"};
  if (!facts.clock_synchronised) return {"clock", Verdict::not_judged, now + "; whether it is synchronised cannot be seen", ""};
  if (!*facts.clock_synchronised)
    return {"clock", Verdict::degraded, now + ", and the kernel does not know it to be synchronised", "run chrony or another NTP client: evidence is dated by this clock"};
  return {"clock", Verdict::pass, now + ", synchronised", ""};
}

DoctorCheck names(const DoctorFacts& facts) {
  std::vector<std::string> failed;
  std::string why;
  for (const NameFact& name : facts.names) {
    if (name.trouble.empty()) continue;
    failed.push_back(name.node);
    if (why.empty()) why = fmt::format("{}: {}", one_line(name.address, 80), name.trouble);
  }
  DoctorCheck check{"names", Verdict::pass, fmt::format("{} of {} resolve, {} are numbers", facts.names.size() - failed.size(),
                                                        plural(count(facts.names.size()), "name"), number(facts.names_numeric)), ""};
  if (facts.names_not_asked > 0) check.seen += fmt::format(", {} were not asked", number(facts.names_not_asked));
  if (failed.empty()) return check;
  check.verdict = Verdict::fail;
  check.seen += "; not: " + some(failed) + " (" + why + ")";
  check.next = "check the addresses in the manifest and the name service of this machine";
  return check;
}

DoctorCheck embedded(const DoctorFacts& facts) {
  if (facts.agent_bytes == 0 || facts.agent_sha256.size() != 64)
    return {"agent", Verdict::fail, "no agent travels in this kfab", "build kfab again: only exec works without"};
  return {"agent", Verdict::pass, fmt::format("sha256 {}, {} bytes; for nodes of {}; devices: {}", facts.agent_sha256.substr(0, 12), number(facts.agent_bytes),
                                                  join(facts.agent_machines, " and "), join(facts.devices, ", ")), ""};
}

}  // namespace

std::vector<DoctorCheck> doctor_checks(const DoctorFacts& facts) {
  Checks checks{libssh2(facts), openssh(facts), agent(facts)};
  const bool logs_in = !facts.site || facts.by_libssh2 + facts.by_openssh > 0;
  if (logs_in) {
    checks.push_back(identities(facts));
    checks.push_back(known_hosts(facts));
  }
  if (facts.site && logs_in) checks.push_back(names(facts));
  checks.push_back(file_limit(facts));
  checks.push_back(memory(facts));
  checks.push_back(state(facts));
  checks.push_back(clock(facts));
  checks.push_back(embedded(facts));
  return checks;
}

std::vector<std::string> doctor_notes(const DoctorFacts& facts) {
  std::vector<std::string> notes;
  if (!facts.jump_hosts.empty())
    notes.push_back(fmt::format("nodes are reached through {}: their forwarding (AllowTcpForwarding, PermitOpen) and MaxStartups show only when nodes are reached",
                                one_line(join(facts.jump_hosts, ", "), 200)));
  if (facts.with_sudo > 0)
    notes.push_back(fmt::format("sudo is used on {}: whether it lets this user in shows only there", plural(count(facts.with_sudo), "node")));
  return notes;
}

}  // namespace kfab::commands
