#include "commands/run_lock.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <set>

#include <fmt/format.h>

#include "base/codes/plan.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "commands/left_work.hpp"
#include "commands/recorder.hpp"

namespace kfab::commands {
namespace {

constexpr std::chrono::hours longest_run{24 * 7};   // a lock of a run ends by itself after it

std::string own_host() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return host.data();
}

// The boot and the time since then at which a process was started: the same number of another process differs in it.
std::string process_start(pid_t pid) {
  const auto boot = read_file("/proc/sys/kernel/random/boot_id", 256);
  const auto stat = read_file(fmt::format("/proc/{}/stat", pid), 4096);
  if (!stat) return {};
  const auto after_name = stat->rfind(')');   // the name may hold anything
  if (after_name == std::string::npos) return {};
  const auto fields = split(trim(std::string_view(*stat).substr(after_name + 1)), ' ');
  constexpr std::size_t started = 19;   // field 22 of proc(5), counted from the third
  return fmt::format("{}:{}", boot ? trim(*boot) : "", fields.size() > started ? fields[started] : "");
}

}  // namespace

store::LockRecord own_lock(const Env& env, std::string site, std::string scope, std::string reason) {
  store::LockRecord lock;
  lock.site = std::move(site);
  lock.scope = std::move(scope);
  lock.owner = who(env);
  lock.host = own_host();
  lock.run_id = env.run_id;
  lock.reason = std::move(reason);
  lock.at = env.clock.now();
  return lock;
}

bool is_stale(const store::LockRecord& lock, const Env&) {
  if (lock.pid == 0 || lock.host != own_host()) return false;
  const auto pid = static_cast<pid_t>(lock.pid);
  const bool there = ::kill(pid, 0) == 0 || errno == EPERM;
  return !there || process_start(pid) != lock.process;
}

std::string scope_text(const store::LockRecord& lock) {
  if (lock.scope == store::whole_site) return "the whole site";
  return lock.scope.empty() ? "the nodes of no tranche" : "tranche " + one_line(lock.scope, 60);
}

std::string holder_text(const store::LockRecord& lock, const Env& env) {
  const double age_s = std::chrono::duration<double>(env.clock.now() - lock.at).count();
  std::string text = fmt::format("held by {} since {} ({})", one_line(lock.owner, 80), to_rfc3339(lock.at), format_duration_s(std::max(age_s, 0.0)));
  if (lock.pid != 0) text += fmt::format(", process {} on {}", lock.pid, one_line(lock.host, 60));
  text += ": " + one_line(lock.reason, 200);
  if (lock.expires_at && lock.pid == 0) text += ", until " + to_rfc3339(*lock.expires_at);
  return text;
}

Diagnostic in_the_way(const store::LockRecord& lock, const std::string& manifest, const Env& env) {
  const bool stale = is_stale(lock, env);
  Diagnostic why = error(stale ? code::lock_stale : code::lock_held,
                         stale ? fmt::format("{} is locked by process {} of {}, which is dead: {}", scope_text(lock), lock.pid, one_line(lock.owner, 80), one_line(lock.reason, 200))
                               : fmt::format("{} is locked, {}", scope_text(lock), holder_text(lock, env)));
  const std::string scope = lock.scope == store::whole_site || lock.scope.empty() ? "" : fmt::format(" -t {}", one_line(lock.scope, 60));
  if (stale && !lock.run_id.empty()) why.help.push_back(fmt::format("to go on where it stopped: kfab resume {}", one_line(lock.run_id, 60)));
  why.help.push_back(fmt::format("{}: kfab lock {}{} --break REASON", stale ? "to do something else" : "if they agree, or cannot be asked", one_line(manifest, 160), scope));
  return why;
}

RunLock::RunLock(std::unique_ptr<store::Store> store, Env& env, std::vector<store::LockRecord> held)
    : store_(std::move(store)), env_(env), held_(std::move(held)) {}

RunLock::~RunLock() {
  for (const auto& lock : held_) (void)store_->end_lock(lock.seq, store::LockEnd::released, lock.owner, "the run ended", env_.clock.now());
}

Result<std::unique_ptr<RunLock>> RunLock::take(Env& env, const SiteSession& session, const std::string& manifest, std::string reason, const std::vector<std::string>& resumes) {
  const std::string& site = session.site->metadata.name;
  KFAB_TRY(store, store::Store::open(env.state_dir, site));
  std::set<std::string> scopes;
  for (const auto* node : session.nodes) scopes.insert(node->tranche);
  std::vector<store::LockRecord> wanted;
  for (const auto& scope : scopes) {
    auto lock = own_lock(env, site, scope, reason);
    lock.pid = ::getpid();
    lock.process = process_start(::getpid());
    lock.expires_at = lock.at + longest_run;
    wanted.push_back(std::move(lock));
  }
  const std::string owner = who(env);
  std::vector<std::int64_t> taken_over;
  auto blocked = store->take_locks(wanted, env.clock.now(), [&](const store::LockRecord& held) {
    if (held.pid == 0) return held.owner == owner;
    if (!is_stale(held, env)) return false;
    const bool passes = std::find(resumes.begin(), resumes.end(), held.run_id) != resumes.end() || left_nothing(*store, held.run_id);
    if (passes) taken_over.push_back(held.seq);
    return passes;
  });
  if (!blocked) return std::move(blocked).error();
  if (*blocked) return in_the_way(**blocked, manifest, env);
  for (const auto seq : taken_over) KFAB_TRY_VOID(store->end_lock(seq, store::LockEnd::broken, owner, "its process is dead, and this run goes on with it", env.clock.now()));
  return std::unique_ptr<RunLock>(new RunLock(std::move(store), env, std::move(wanted)));
}

Status release_locks_of(const std::vector<std::string>& runs, const std::string& site, const Env& env) {
  KFAB_TRY(store, store::Store::open(env.state_dir, site));
  KFAB_TRY(locks, store->locks(site, env.clock.now()));
  for (const auto& lock : locks)
    if (std::find(runs.begin(), runs.end(), lock.run_id) != runs.end() && is_stale(lock, env))
      KFAB_TRY_VOID(store->end_lock(lock.seq, store::LockEnd::broken, who(env), "its process is dead, and its run had nothing left to do", env.clock.now()));
  return ok();
}

}  // namespace kfab::commands
