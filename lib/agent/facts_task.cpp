#include "agent/facts_task.hpp"

#include "agent/facts.hpp"

namespace kfab::agent {

Status run_facts_task(const json::Value&, TaskContext& context) {
  const FactsOptions options;
  context.emit(json::Object{{"type", "facts"}, {"facts", read_facts(options)}});
  return ok();
}

}  // namespace kfab::agent
