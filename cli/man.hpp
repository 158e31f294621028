#pragma once

#include <istream>
#include <ostream>
#include <string>
#include <string_view>

#include "cli/option_table.hpp"

namespace kfab::cli {

// Pages in scdoc's language. "kfab", "kfab-roles" and "kfab-checks" take their prose from `in` and put a table where a line
// names one (%commands%, %roles%, %criteria%: the markers of man.cpp); "kfab-<command>" is made from the command's row alone;
// "list" prints the names of the pages of section 1. Returns an exit code: 2 for an unknown page.
int write_manual(const std::string& page, std::istream& in, std::ostream& out);

// The page of a command.
std::string command_page(const CommandSpec&);

}  // namespace kfab::cli
