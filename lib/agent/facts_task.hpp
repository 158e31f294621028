#pragma once

#include "agent/task.hpp"

namespace kfab::agent {

// Task "facts": emits {"type":"facts","facts":{...}} once. The request needs no further members.
Status run_facts_task(const json::Value& request, TaskContext&);

}  // namespace kfab::agent
