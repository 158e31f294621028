#include "commands/doctor.hpp"

#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "base/file.hpp"
#include "base/text.hpp"
#include "commands/agent_image.hpp"
#include "ssh/agent_client.hpp"
#include "ssh/codec.hpp"
#include "ssh/host_keys.hpp"
#include "ssh/known_hosts.hpp"
#include "ssh/openssh.hpp"
#include "ssh/private_agent.hpp"
#include "ssh/private_key.hpp"
#include "ssh/resolver.hpp"
#include "ssh/transport.hpp"
#include "store/store.hpp"

namespace kfab::commands {
namespace {

namespace fs = std::filesystem;

constexpr int agent_patience_ms = 2000;
constexpr auto names_patience = std::chrono::seconds(5), version_patience = std::chrono::seconds(5);
constexpr std::size_t most_names = 2000, most_key_files = 64;

// What `ssh -V` says, on whichever stream.
std::string said_by_ssh(const std::string& program) {
  auto process = ssh::Process::start_program({program, "-V"}, {"PATH=/usr/bin:/bin"});
  if (!process) return {};
  std::string said;
  const auto until = std::chrono::steady_clock::now() + version_patience;
  bool ended = false;
  while (!ended && std::chrono::steady_clock::now() < until) {
    ended = (*process)->reap().has_value();
    for (const ssh::Stream stream : {ssh::Stream::err, ssh::Stream::out}) {
      std::string_view got;
      while ((*process)->read(stream, got) == ssh::Step::done && !got.empty() && said.size() < 4096) said += got;
    }
    if (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return ssh::openssh_version(said);
}

void look_at_agent(DoctorFacts& facts, const std::string& socket, std::vector<ssh::AgentKey>& held) {
  facts.agent_socket = socket;
  if (socket.empty()) return;
  auto keys = ssh::keys_of_agent(socket, agent_patience_ms);
  if (!keys) {
    facts.agent_trouble = keys.error().message;
    return;
  }
  held = std::move(*keys);
  for (const ssh::AgentKey& key : held) facts.agent_key_types.emplace_back(ssh::key_type(key.blob));
}

IdentityFact identity(const std::string& path, bool named, const std::vector<ssh::AgentKey>& held) {
  IdentityFact fact;
  fact.path = path;
  fact.named = named;
  struct stat about {};
  if (::stat(path.c_str(), &about) != 0) {
    fact.trouble = "there is no private key " + one_line(path, 200);
    return fact;
  }
  fact.open_to_others = (about.st_mode & 077) != 0;
  const auto key = ssh::load_private_key(path);
  if (!key) {
    fact.trouble = key.error().message;
    return fact;
  }
  fact.type = key->type;
  fact.encrypted = key->encrypted;
  fact.held_by_agent = std::any_of(held.begin(), held.end(), [&](const ssh::AgentKey& one) { return one.blob == key->public_blob; });
  return fact;
}

void look_at_identities(DoctorFacts& facts, const std::vector<ssh::Target>& targets, const ReachOptions& reach, const std::string& home,
                        const std::vector<ssh::AgentKey>& held) {
  std::vector<std::string> files = targets.empty() ? reach.identity_files : std::vector<std::string>{};
  bool by_default = targets.empty() && files.empty();
  const auto add = [&](const ssh::Target& target) {
    if (target.transport == ssh::TransportKind::local) return;
    by_default = by_default || target.identity_files.empty();
    for (const std::string& file : target.identity_files)
      if (files.size() < most_key_files && std::find(files.begin(), files.end(), file) == files.end()) files.push_back(file);
  };
  for (const ssh::Target& target : targets) {
    add(target);
    for (const auto& jump : target.via) add(*jump);
  }
  for (const std::string& file : files) facts.identities.push_back(identity(file, true, held));
  if (!by_default || home.empty()) return;
  for (const char* name : {"id_ed25519", "id_ecdsa", "id_rsa"}) {
    const std::string file = home + "/.ssh/" + name;
    if (::access(file.c_str(), F_OK) == 0) facts.identities.push_back(identity(file, false, held));
  }
}

void look_at_known_hosts(DoctorFacts& facts, const std::vector<ssh::Target>& targets, const std::string& home, const std::string& store) {
  std::vector<std::string> files;
  const auto add = [&](const std::string& file) {
    if (!file.empty() && std::find(files.begin(), files.end(), file) == files.end()) files.push_back(file);
  };
  for (const ssh::Target& target : targets) {
    if (target.transport == ssh::TransportKind::local) continue;
    add(target.site_store);
    for (const std::string& file : target.known_hosts) add(file);
    if (target.known_hosts.empty() && !home.empty()) add(home + "/.ssh/known_hosts");
  }
  if (targets.empty()) {
    add(store);
    if (!home.empty()) add(home + "/.ssh/known_hosts");
  }
  add("/etc/ssh/ssh_known_hosts");
  for (const std::string& file : files) {
    KnownHostsFact fact;
    fact.file = file;
    fact.exists = ::access(file.c_str(), F_OK) == 0;
    if (fact.exists) {
      auto text = read_file(file);
      if (text) {
        ssh::KnownHosts hosts;
        hosts.add(*text);
        fact.entries = hosts.size();
        fact.hashed = hosts.hashed();
        fact.skipped = hosts.skipped();
      } else {
        fact.trouble = text.error().message;
      }
    }
    facts.known_hosts.push_back(std::move(fact));
  }
  ssh::HostKeys keys(home);
  for (const ssh::Target& target : targets) {
    if (target.transport == ssh::TransportKind::local) continue;
    const auto asked = keys.prepare(target);
    if (!asked) return;   // told by the file
    if (target.host_keys == ssh::HostKeyPolicy::trust_on_first_use) ++facts.first_use;
    if (asked->guessed) ++facts.perhaps_known;
    else if (asked->types.empty()) facts.unknown.push_back(target.node);
    else {
      ++facts.known;
      if (target.transport == ssh::TransportKind::libssh2 &&
          std::all_of(asked->types.begin(), asked->types.end(), [](const std::string& type) { return type == "ssh-rsa"; }))
        facts.rsa_only.push_back(target.node);
    }
  }
}

void look_at_names(DoctorFacts& facts, const std::vector<ssh::Target>& targets, const CancelToken& cancel) {
  struct Question { NameFact fact; std::shared_ptr<ssh::Lookup> lookup; };
  std::vector<Question> questions;
  std::set<std::string> asked;
  const auto ask = [&](const std::string& node, const std::string& address) {
    if (!asked.insert(address).second) return;
    if (questions.size() == most_names) {
      ++facts.names_not_asked;
      return;
    }
    auto lookup = ssh::Lookup::start(address, 22);
    if (lookup->fd() < 0 && lookup->done()) ++facts.names_numeric;
    else questions.push_back({{node, address, ""}, std::move(lookup)});
  };
  for (const ssh::Target& target : targets) {
    if (target.transport == ssh::TransportKind::local) continue;
    // What lies behind a jump host is resolved there.
    if (target.via.empty()) ask(target.node, target.address);
    else ask(target.via.front()->node, target.via.front()->address);
  }
  const auto until = std::chrono::steady_clock::now() + names_patience;
  for (Question& one : questions) {
    while (!one.lookup->done() && std::chrono::steady_clock::now() < until && !cancel.requested()) {
      pollfd ready{one.lookup->fd(), POLLIN, 0};
      (void)::poll(&ready, 1, 50);
    }
    if (!one.lookup->done()) {
      ++facts.names_not_asked;
      continue;
    }
    if (one.lookup->endpoints().empty()) one.fact.trouble = one.lookup->why().empty() ? "no address" : one.lookup->why();
    facts.names.push_back(std::move(one.fact));
  }
}

// The directory itself, or the nearest one above it that is there.
fs::path nearest_existing(fs::path path) {
  std::error_code failed;
  while (!path.empty() && !fs::exists(path, failed) && path != path.parent_path()) path = path.parent_path();
  return path.empty() ? fs::path(".") : path;
}

void look_at_state(DoctorFacts& facts, const Env& env) {
  facts.state_dir = env.state_dir.string();
  const fs::path there = nearest_existing(fs::absolute(env.state_dir));
  // Rights alone do not tell: root has them all, also where nothing can be made.
  std::string probe = (there / ".kfab-doctor-XXXXXX").string();
  if (::mkdtemp(probe.data()) != nullptr) ::rmdir(probe.c_str());
  else facts.state_trouble = there == fs::absolute(env.state_dir) ? "it cannot be written" : "it cannot be made in " + there.string();
  struct statvfs space {};
  if (::statvfs(there.c_str(), &space) == 0) {
    facts.state_free_mib = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize >> 20;
    if ((space.f_flag & ST_RDONLY) != 0) facts.state_trouble = "its file system is read-only";
  }
  std::error_code failed;
  facts.store_there = facts.state_trouble.empty() && fs::exists(env.state_dir / "kfab.db", failed);
  if (!facts.store_there) return;
  if (auto opened = store::Store::open(env.state_dir); !opened) facts.store_trouble = opened.error().message;
}

std::uint64_t available_memory_mib() {
  const auto text = read_file("/proc/meminfo", 65536);
  if (!text) return 0;
  for (const std::string_view line : split_lines(*text))
    if (line.starts_with("MemAvailable:")) return std::strtoull(std::string(line.substr(13)).c_str(), nullptr, 10) >> 10;
  return 0;
}

std::optional<bool> clock_synchronised() {
  timex state{};
  const int answer = ::ntp_adjtime(&state);
  return answer < 0 ? std::nullopt : std::optional(answer != TIME_ERROR);
}

}  // namespace

json::Value to_json(const DoctorResult& result) {
  json::Array checks, notes;
  for (const DoctorCheck& check : result.checks) {
    json::Object row;
    row.set("id", check.id).set("verdict", to_string(check.verdict)).set("seen", check.seen);
    row.set("next", check.next.empty() ? json::Value() : json::Value(check.next));
    checks.push_back(std::move(row));
  }
  for (const std::string& note : result.notes) notes.emplace_back(note);
  return json::Object{{"verdict", to_string(result.verdict)}, {"checks", std::move(checks)}, {"notes", std::move(notes)}};
}

void render(const DoctorResult& result, term::Writer& out) {
  // The good ones first: what is read last is what is to be done.
  std::vector<const DoctorCheck*> order;
  for (const DoctorCheck& check : result.checks) order.push_back(&check);
  const auto rank = [](Verdict verdict) { return verdict == Verdict::pass ? 0 : verdict == Verdict::degraded ? 1 : verdict == Verdict::not_judged ? 2 : 3; };
  std::stable_sort(order.begin(), order.end(), [&](const auto* a, const auto* b) { return rank(a->verdict) < rank(b->verdict); });
  std::size_t widest_id = 0, widest_word = 0;
  for (const DoctorCheck* check : order) {
    widest_id = std::max(widest_id, check->id.size());
    widest_word = std::max(widest_word, to_string(check->verdict).size());
  }
  for (const DoctorCheck* check : order) {
    out.word(check->verdict).text(std::string(widest_word - to_string(check->verdict).size() + 2, ' '));
    out.text(term::Style::strong, check->id).text(std::string(widest_id - check->id.size() + 2, ' ')).line(check->seen);
    if (!check->next.empty()) out.text(std::string(widest_word + 2, ' ')).line("-> " + check->next);
  }
  for (const std::string& note : result.notes) out.line(term::Style::faint, "note: " + note);
}

CommandOutput run_doctor(const DoctorOptions& options, Env& env) {
  CommandOutput output;
  DoctorFacts facts;
  std::vector<ssh::Target> targets;
  if (!options.site.manifest.empty()) {
    Env asking_nobody = env;
    asking_nobody.interactive = false;
    auto opened = open_site(options.site, asking_nobody);
    if (auto* stopped = std::get_if<CommandOutput>(&opened)) return std::move(*stopped);
    auto& session = std::get<SiteSession>(opened);
    output = session.output();
    targets = std::move(session.targets);
    facts.site = true;
    facts.with_sudo = static_cast<std::size_t>(std::count(session.sudo.begin(), session.sudo.end(), true));
  }
  facts.nodes = targets.size();
  std::set<std::string> jumps;
  for (const ssh::Target& target : targets) {
    facts.by_libssh2 += target.transport == ssh::TransportKind::libssh2 ? 1 : 0;
    facts.by_openssh += target.transport == ssh::TransportKind::openssh ? 1 : 0;
    for (const auto& jump : target.via) jumps.insert(jump->node);
  }
  if (!facts.site && options.site.reach.transport == "openssh") facts.by_openssh = 1;
  facts.jump_hosts.assign(jumps.begin(), jumps.end());

  facts.libssh2_version = ssh::libssh2_version_text();
  facts.libssh2_rsa_sha2 = ssh::libssh2_signs_rsa_sha2();
  facts.ssh_program = ssh::find_program("ssh");
  if (!facts.ssh_program.empty()) facts.ssh_version = said_by_ssh(facts.ssh_program);
  const std::string home = env.getenv("HOME").value_or("");
  std::vector<ssh::AgentKey> held;
  look_at_agent(facts, env.getenv("SSH_AUTH_SOCK").value_or(""), held);
  look_at_identities(facts, targets, options.site.reach, home, held);
  look_at_known_hosts(facts, targets, home, (env.state_dir / "known_hosts").string());
  look_at_names(facts, targets, env.cancel);
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) facts.file_limit = files.rlim_cur;
  facts.window = options.site.reach.window;
  facts.memory_mib = available_memory_mib();
  look_at_state(facts, env);
  facts.now = env.clock.now();
  facts.clock_synchronised = clock_synchronised();
  for (const EmbeddedAgent& one : embedded_agents()) facts.agent_machines.emplace_back(one.machine);
  const EmbeddedAgent agent = embedded_agents().front();
  facts.agent_sha256 = std::string(agent.sha256);
  facts.agent_bytes = agent.size_bytes;
  for (const DeviceFact& device : run_version(options.build).devices)
    if (device.built_in) facts.devices.push_back(device.name);

  DoctorResult result{doctor_checks(facts), doctor_notes(facts), Verdict::pass};
  for (const DoctorCheck& check : result.checks) result.verdict = worse(result.verdict, check.verdict);
  output.outcome = overall(env, result.verdict == Verdict::not_judged, result.verdict == Verdict::fail);
  output.signal = env.cancel.signal();
  output.data = to_json(result);
  output.render = [result = std::move(result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands
