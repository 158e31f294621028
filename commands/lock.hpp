#pragma once

#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "store/locks.hpp"

// `kfab lock`: the locks that a person takes, gives back, looks at and breaks.
namespace kfab::commands {

enum class LockAction { take, list, release, break_ };

struct LockOptions {
  std::string manifest;
  std::vector<std::string> tranches;   // empty: the whole site; for list, release and break: all locks
  LockAction action = LockAction::take;
  std::string reason;                  // of taking or breaking
  double for_s = 0;                    // how long it holds; 0: until it is released
};

struct ListedLock {
  store::LockRecord lock;
  bool stale = false;
  std::string text;                    // who, since when, why
};

struct LockResult {
  LockAction action = LockAction::take;
  std::vector<ListedLock> locks;       // taken, held, released or broken
};

// action, locks[]: tranche (null: the whole site, or nodes of none), whole_site, owner, host, pid, run, reason, since, expires, stale.
json::Value to_json(const LockResult&);
void render(const LockResult&, term::Writer&);

CommandOutput run_lock(const LockOptions&, Env&);

}  // namespace kfab::commands
