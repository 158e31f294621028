#include "commands/lock.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include <fmt/format.h>

#include "base/codes/cli.hpp"
#include "base/codes/commands.hpp"
#include "base/codes/plan.hpp"
#include "base/text.hpp"
#include "commands/kept_records.hpp"
#include "commands/recorder.hpp"
#include "commands/run_lock.hpp"
#include "json/shorthand.hpp"

namespace kfab::commands {
namespace {

constexpr std::array<std::string_view, 4> action_words{"take", "list", "release", "break"};
constexpr std::array<std::string_view, 4> done_words{"locked", "", "released", "broken"};

std::string_view word_of(LockAction action) { return action_words[static_cast<std::size_t>(action)]; }

bool is_meant(const store::LockRecord& lock, const LockOptions& options) {
  return options.tranches.empty() || std::find(options.tranches.begin(), options.tranches.end(), lock.scope) != options.tranches.end();
}

std::vector<std::string> scopes_of(const LockOptions& options) {
  return options.tranches.empty() ? std::vector<std::string>{store::whole_site} : options.tranches;
}

ListedLock listed(const store::LockRecord& lock, const Env& env) { return {lock, is_stale(lock, env), holder_text(lock, env)}; }

// The locks of the store that are meant, or why they cannot be ended by who asks.
Result<std::vector<store::LockRecord>> locks_to_end(const std::vector<store::LockRecord>& active, const LockOptions& options, const Env& env) {
  std::vector<store::LockRecord> meant;
  for (const auto& lock : active)
    if (is_meant(lock, options) && (options.action == LockAction::break_ || lock.owner == who(env) || !options.tranches.empty())) meant.push_back(lock);
  if (meant.empty())
    return error(code::lock_not_held, active.empty() ? std::string("nothing is locked") : fmt::format("none of the {} held is meant", plural(static_cast<long long>(active.size()), "lock")));
  if (options.action == LockAction::break_) return meant;
  for (const auto& lock : meant)
    if (lock.owner != who(env) || (lock.pid != 0 && !is_stale(lock, env))) return in_the_way(lock, options.manifest, env);
  return meant;
}

Result<LockResult> act(const LockOptions& options, const manifest::Site& site, store::Store& store, Env& env) {
  LockResult result{options.action, {}};
  const Timestamp now = env.clock.now();
  if (options.action == LockAction::take) {
    std::vector<store::LockRecord> wanted;
    for (const auto& scope : scopes_of(options)) {
      auto lock = own_lock(env, site.metadata.name, scope, options.reason);
      if (options.for_s > 0) lock.expires_at = now + std::chrono::milliseconds(static_cast<long long>(options.for_s * 1000));
      wanted.push_back(std::move(lock));
    }
    KFAB_TRY(blocked, store.take_locks(wanted, now, [](const store::LockRecord&) { return false; }));
    if (blocked) return in_the_way(*blocked, options.manifest, env);
    for (const auto& lock : wanted) result.locks.push_back(listed(lock, env));
    return result;
  }
  KFAB_TRY(active, store.locks(site.metadata.name, now));
  if (options.action == LockAction::list) {
    for (const auto& lock : active)
      if (is_meant(lock, options)) result.locks.push_back(listed(lock, env));
    return result;
  }
  KFAB_TRY(ending, locks_to_end(active, options, env));
  const bool breaks = options.action == LockAction::break_;
  for (const auto& lock : ending) {
    result.locks.push_back(listed(lock, env));
    KFAB_TRY_VOID(store.end_lock(lock.seq, breaks ? store::LockEnd::broken : store::LockEnd::released, who(env), breaks ? options.reason : "given back", now));
  }
  return result;
}

Status check_tranches(const manifest::Site& site, const LockOptions& options) {
  for (const auto& name : options.tranches) {
    if (site.find_tranche(name) != nullptr) continue;
    std::vector<std::string> known;
    for (const auto& tranche : site.tranches) known.push_back(tranche.name);
    Diagnostic why = error(code::unknown_tranche, fmt::format("the site has no tranche '{}'", one_line(name, 60)));
    why.suggestions = nearest(name, known);
    return why;
  }
  return ok();
}

}  // namespace

json::Value to_json(const LockResult& result) {
  json::Array locks;
  for (const auto& [lock, stale, text] : result.locks) {
    const bool whole = lock.scope == store::whole_site;
    locks.emplace_back(json::Object{{"tranche", whole ? json::Value() : json::text_or_null(lock.scope)},
                                    {"whole_site", whole},
                                    {"owner", lock.owner},
                                    {"host", lock.host},
                                    {"pid", lock.pid == 0 ? json::Value() : json::Value(lock.pid)},
                                    {"run", json::text_or_null(lock.run_id)},
                                    {"reason", lock.reason},
                                    {"since", to_rfc3339(lock.at)},
                                    {"expires", lock.expires_at ? json::Value(to_rfc3339(*lock.expires_at)) : json::Value()},
                                    {"stale", stale}});
  }
  return json::Object{{"action", word_of(result.action)}, {"locks", std::move(locks)}};
}

void render(const LockResult& result, term::Writer& out) {
  if (result.locks.empty()) out.line("Nothing is locked.");
  for (const auto& [lock, stale, text] : result.locks) {
    out.text(term::Style::strong, scope_text(lock)).text(": ");
    if (result.action != LockAction::list) out.text(done_words[static_cast<std::size_t>(result.action)]).text("; ");
    out.text(text);
    if (stale) out.text(term::Style::warning, " (that process is dead)");
    out.line();
  }
}

CommandOutput run_lock(const LockOptions& options, Env& env) {
  const bool needs_reason = options.action == LockAction::take || options.action == LockAction::break_;
  if (needs_reason && trim(options.reason).empty())
    return not_started(error(code::missing_argument, options.action == LockAction::take ? "--reason TEXT is missing: what others are told" : "--break needs a reason, which is recorded"));
  const auto loaded = load_manifest(options.manifest, env);
  if (has_errors(loaded.diagnostics)) return not_started(loaded.diagnostics, loaded.sources);
  const manifest::Site* site = loaded.site();
  if (site == nullptr) return not_started(error(code::not_a_site, fmt::format("{} is not the manifest of a site", one_line(options.manifest))));
  CommandOutput output;
  output.site = {site->metadata.name, loaded.sha256};
  const auto stop = [&](Diagnostic why) {
    CommandOutput stopped = not_started(std::move(why));
    stopped.site = output.site;
    return stopped;
  };
  if (auto known = check_tranches(*site, options); !known) return stop(std::move(known).error());
  auto store = options.action == LockAction::take ? store::Store::open(env.state_dir, site->metadata.name) : open_records(env, site->metadata.name);
  if (!store) return stop(std::move(store).error());
  auto result = act(options, *site, **store, env);
  if (!result) return stop(std::move(result).error());
  if (options.action == LockAction::break_) {
    // It stands in the history of runs, beside what was done because of it.
    auto recorder = Recorder::begin(env, "lock", output.site);
    if (!recorder) return stop(std::move(recorder).error());
    for (const auto& each : result->locks)
      (*recorder)->event({.type = "lock_broken", .message = fmt::format("{}, {}; broken by {}: {}", scope_text(each.lock), each.text, who(env), one_line(options.reason, 300))});
    (*recorder)->finish(output);
  }
  output.data = to_json(*result);
  output.render = [result = std::move(*result)](term::Writer& out) { render(result, out); };
  return output;
}

}  // namespace kfab::commands
