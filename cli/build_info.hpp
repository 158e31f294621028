#pragma once

#include "commands/version.hpp"

namespace kfab::cli {

// What the build decided, from CMake.
commands::BuildFacts build_facts();

}  // namespace kfab::cli
