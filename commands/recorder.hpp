#pragma once

#include <memory>
#include <string>
#include <vector>

#include "commands/command.hpp"
#include "commands/env.hpp"
#include "store/store.hpp"

namespace kfab::commands {

// The one who runs kfab: user@host.
std::string who(const Env&);

// The run in the store: opened before the first node is touched, so that evidence always has a place to go to, written
// node by node as results come, closed with the run's outcome. A run without `finished_at` was killed.
class Recorder {
 public:
  // `continues` is the run that this one goes on with, if any. Errors: those of the store (no space, no permission, damaged, newer
  // than this kfab).
  static Result<std::unique_ptr<Recorder>> begin(Env&, std::string command, const SiteRef&, const std::string& continues = {});
  ~Recorder();

  // Commits at once. A failure is remembered and told by finish(): the run goes on, its result says that it is not kept.
  void put(const store::Findings&);
  // Something that happened; written with what comes next.
  void event(const Event&);
  // What the run sets out to do, before it begins (Store::put_work).
  void work(const json::Value& document);
  // Closes the run. What could not be kept is told in the output (not_recorded), which is incomplete then.
  void finish(CommandOutput&);

 private:
  Recorder(std::unique_ptr<store::Store>, Env&);
  std::unique_ptr<store::Store> store_;
  Env& env_;
  Diagnostics problems_;
};

}  // namespace kfab::commands
