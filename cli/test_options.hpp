#pragma once

#include <string_view>

#include "cli/args.hpp"
#include "commands/validate.hpp"

namespace kfab::cli {

// Whether a command of that name runs tests that can be left to the nodes, and gone on with by `kfab resume`.
bool is_test_command(std::string_view name);
// The words of such a command as options; for others, nothing that would run.
commands::ValidateOptions test_options_of(const Args&);

}  // namespace kfab::cli
