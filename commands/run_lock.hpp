#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "commands/env.hpp"
#include "commands/site_session.hpp"
#include "store/store.hpp"

// What keeps two operators from working on the same nodes at once: a lock per tranche, taken by commands that change nodes,
// or by a person on purpose.
namespace kfab::commands {

// Who asks: user@host, the host, and this process with the time at which it was started.
store::LockRecord own_lock(const Env&, std::string site, std::string scope, std::string reason);

// Whether the process that holds it is gone. False where that cannot be told: another host, or a lock of a person.
bool is_stale(const store::LockRecord&, const Env&);

// "tranche p1", "the whole site", "the nodes of no tranche".
std::string scope_text(const store::LockRecord&);
// "held by ana@control-1 since ... for ...": who, since when, why, and until when.
std::string holder_text(const store::LockRecord&, const Env&);
// Why a lock is in the way: lock_held, or lock_stale with how to break it.
Diagnostic in_the_way(const store::LockRecord&, const std::string& manifest, const Env&);

// Gives back what dead processes still hold for these runs, of which nothing is left to be done.
Status release_locks_of(const std::vector<std::string>& runs, const std::string& site, const Env&);

// The locks of one run, given back when it ends. Those of a process that is killed stay, and name it.
class RunLock {
 public:
  // Locks the tranches of these nodes. What the same person holds on purpose is no obstacle, nor is what a dead process
  // holds for one of the runs `resumes`, or for one that left nothing to go on with: that had not begun, had done all, only
  // tested, or keeps no work. Errors: lock_held, lock_stale, those of the store.
  static Result<std::unique_ptr<RunLock>> take(Env&, const SiteSession&, const std::string& manifest, std::string reason, const std::vector<std::string>& resumes = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  RunLock(std::unique_ptr<store::Store>, Env&, std::vector<store::LockRecord>);
  std::unique_ptr<store::Store> store_;
  Env& env_;
  std::vector<store::LockRecord> held_;
};

}  // namespace kfab::commands
